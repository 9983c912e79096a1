/* SPDX-License-Identifier: MIT */
/*
 * What is counted per opcode.  Each queue thread has a table of its own, which
 * no other thread writes; the pool's requests and those of threads that ended
 * are in a table of the share, under its lock.  Readers add the tables up.
 */
#ifndef GATEWAYD_OPSTATS_H
#define GATEWAYD_OPSTATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fuse/fuse.h"
#include "gatewayd/hist.h"

#define OP_ERRNOS 12

struct op_stats {
	uint64_t count;			/* this and five more: a cache line */
	uint64_t ns, max_ns;		/* all of them, the longest */
	uint64_t bytes_in, bytes_out;	/* of requests, of replies */
	uint64_t slow;			/* longer than slow_request */
	uint64_t errors[OP_ERRNOS];
	int errnum[OP_ERRNOS];		/* -errno; the last: any other */
	struct hist hist;
};

/* By opcode; what has no place is 0.  NULL: never used. */
struct op_table {
	struct op_stats *_Atomic op[FS_OPCODES];
};

static inline void
op_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) +
			 n, __ATOMIC_RELAXED);
}

/* A request of one opcode, as it ended. */
struct op_done {
	uint32_t opcode;
	int error;			/* 0 or -errno */
	size_t bytes_in, bytes_out;
	uint64_t ns;
	bool slow;
};

struct op_stats *op_stats_new(struct op_table *t, uint32_t opcode);
void op_stats_error(struct op_stats *s, int error, uint64_t n);

/* Count it in the calling thread's own table. */
static inline void
op_count(struct op_table *t, const struct op_done *d)
{
	uint32_t op = d->opcode < FS_OPCODES ? d->opcode : 0;
	struct op_stats *s = atomic_load_explicit(&t->op[op],
						  memory_order_relaxed);

	if (!s && !(s = op_stats_new(t, op)))
		return;
	op_add(&s->count, 1);
	op_add(&s->ns, d->ns);
	op_add(&s->bytes_in, d->bytes_in);
	op_add(&s->bytes_out, d->bytes_out);
	op_add(&s->hist.n[hist_bucket(d->ns)], 1);
	if (d->ns > __atomic_load_n(&s->max_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&s->max_ns, d->ns, __ATOMIC_RELAXED);
	if (d->error)
		op_stats_error(s, d->error, 1);
	if (d->slow)
		op_add(&s->slow, 1);
}

/* The time that `part` of all stay below, in nanoseconds. */
uint64_t op_stats_at(const struct op_stats *s, double part);
void op_stats_add(struct op_stats *to, const struct op_stats *from);
uint64_t op_stats_errors(const struct op_stats *s);

/* `to` belongs to the caller; `from` may be counting. */
void op_table_add(struct op_table *to, const struct op_table *from);
/* Reset the maxima; the table may be counting. */
void op_table_clear_max(struct op_table *t);
void op_table_fini(struct op_table *t);

/* "ENOENT", or "other": the name of errors[i]. */
const char *op_error_name(const struct op_stats *s, unsigned i);
/* "LOOKUP"; "OPCODE_60" and "OTHER" for what has no name. */
const char *op_name(uint32_t opcode, char *buf, size_t size);

#endif
