/* SPDX-License-Identifier: MIT */
/*
 * An answer to a control client that takes a while: a pool thread makes it,
 * what is large in a file without a name, and the control thread gives it away
 * piece by piece, as fast as the client reads.  Whoever is slow holds up
 * neither thread.
 */
#ifndef GATEWAYD_ANSWER_H
#define GATEWAYD_ANSWER_H

#include "gatewayd/gw.h"

enum {
	ANSWER_WHY = CF_STATE_WHY,
	ANSWER_PIECE = 128 << 10,	/* bytes of it in memory */
};

struct answer;

struct answer_work {
	/* On a pool thread: make it with answer_put() or answer_file(); 0 or
	 * -errno with a sentence in `why`. */
	int (*run)(struct answer *a, void *arg, char why[ANSWER_WHY]);
	/* On the control thread, after it, even if nobody wants it any more:
	 * frees arg. */
	void (*end)(void *arg, int err, const char *why);
	/* Some of thousands: a log line for each would be too much.  It says
	 * answer_count() for each that was done or refused. */
	bool small;
};

struct answer_counts {
	unsigned long done, refused;
	bool first;		/* the first was done */
};

/*
 * Begin.  Takes `arg`, also when it fails.  What does not fit in memory is
 * written to `dir` (copied; NULL = the answer is short).  0, or -errno with a
 * sentence in why[size].
 */
int answer_new(struct gw *gw, const struct answer_work *work, void *arg,
	       const char *dir, struct answer **answer, char *why, size_t size);

/* ---- the pool thread, in run() ---- */

/* Add a line; -ECANCELED: nobody wants it any more. */
int answer_put(struct answer *a, const char *line);
bool answer_is_wanted(const struct answer *a);
/* The i-th of those, from 0; in any order. */
void answer_count(struct answer *a, size_t i, bool done);
/* Forget what was added. */
int answer_reset(struct answer *a);
/* It is what this file holds.  Takes `fd`. */
int answer_file(struct answer *a, int fd);

/* ---- the control thread ---- */

/* Tell when there is a result, and when there is a piece. */
void answer_watch(struct answer *a, void (*ready)(void *arg), void *arg);
/* Once ready: 0 and its length, or -errno and why, valid until the drop. */
int answer_result(const struct answer *a, uint64_t *len, const char **why);
/* Fetch the next piece; `ready` is called.  False at the end. */
bool answer_fetch(struct answer *a);
/* Move the piece to `out`; -errno if it could not be read. */
int answer_take(struct answer *a, struct evbuffer *out);
bool answer_is_small(const struct answer *a);
const struct answer_counts *answer_counts(const struct answer *a);
/* It is not wanted any more, or done. */
void answer_drop(struct answer *a);

#endif
