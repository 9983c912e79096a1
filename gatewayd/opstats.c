/* SPDX-License-Identifier: MIT */
/* Counters per opcode: see opstats.h. */
#include "gatewayd/opstats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64		/* of the processor's cache */

static uint64_t
load(const uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

/* Memory is taken at the first request of an opcode; without, not counted. */
struct op_stats *
op_stats_new(struct op_table *t, uint32_t opcode)
{
	struct op_stats *s = aligned_alloc(LINE, (sizeof(*s) + LINE - 1) /
					   LINE * LINE);

	if (s)
		memset(s, 0, sizeof(*s));
	atomic_store_explicit(&t->op[opcode], s, memory_order_release);
	return s;
}

/* The place of an errno: its own, a free one, or the last. */
static unsigned
error_place(struct op_stats *s, int error)
{
	unsigned i;

	for (i = 0; i < OP_ERRNOS - 1; i++) {
		int had = __atomic_load_n(&s->errnum[i], __ATOMIC_RELAXED);

		if (had == error)
			break;
		if (had)
			continue;
		__atomic_store_n(&s->errnum[i], error, __ATOMIC_RELAXED);
		break;
	}
	return i;
}

void
op_stats_error(struct op_stats *s, int error, uint64_t n)
{
	op_add(&s->errors[error ? error_place(s, error) : OP_ERRNOS - 1], n);
}

uint64_t
op_stats_errors(const struct op_stats *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < OP_ERRNOS; i++)
		n += load(&s->errors[i]);
	return n;
}

void
op_stats_add(struct op_stats *to, const struct op_stats *from)
{
	uint64_t max = load(&from->max_ns);

	to->count += load(&from->count);
	to->ns += load(&from->ns);
	to->max_ns = max > to->max_ns ? max : to->max_ns;
	to->bytes_in += load(&from->bytes_in);
	to->bytes_out += load(&from->bytes_out);
	to->slow += load(&from->slow);
	for (unsigned i = 0; i < OP_ERRNOS; i++)
		if (load(&from->errors[i]))
			op_stats_error(to, __atomic_load_n(&from->errnum[i],
							   __ATOMIC_RELAXED),
				       load(&from->errors[i]));
	hist_add(&to->hist, &from->hist);
}

/* The histogram knows less exactly than the maximum. */
uint64_t
op_stats_at(const struct op_stats *s, double part)
{
	uint64_t ns = hist_at(&s->hist, part);

	return s->max_ns && ns > s->max_ns ? s->max_ns : ns;
}

void
op_table_add(struct op_table *to, const struct op_table *from)
{
	for (uint32_t i = 0; i < FS_OPCODES; i++) {
		struct op_stats *f = atomic_load(&from->op[i]);
		struct op_stats *t = to->op[i];

		if (f && (t || (t = op_stats_new(to, i))))
			op_stats_add(t, f);
	}
}

void
op_table_clear_max(struct op_table *t)
{
	for (uint32_t i = 0; i < FS_OPCODES; i++) {
		struct op_stats *s = atomic_load(&t->op[i]);

		if (s)
			__atomic_store_n(&s->max_ns, 0, __ATOMIC_RELAXED);
	}
}

void
op_table_fini(struct op_table *t)
{
	for (uint32_t i = 0; i < FS_OPCODES; i++) {
		free(t->op[i]);
		t->op[i] = NULL;
	}
}

const char *
op_name(uint32_t opcode, char *buf, size_t size)
{
	const char *name = fs_op_name(opcode);

	if (name)
		return name;
	if (!opcode || opcode >= FS_OPCODES)
		snprintf(buf, size, "OTHER");
	else
		snprintf(buf, size, "OPCODE_%u", opcode);
	return buf;
}

const char *
op_error_name(const struct op_stats *s, unsigned i)
{
	const char *name = strerrorname_np(-s->errnum[i]);

	return i < OP_ERRNOS - 1 && s->errnum[i] && name ? name : "other";
}
