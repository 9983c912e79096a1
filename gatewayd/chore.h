/* SPDX-License-Identifier: MIT */
/*
 * Work in the background that may wait for a disk: one task at a time, on a
 * pool thread, does all that was wanted when it began; the control thread says
 * what is next.
 */
#ifndef GATEWAYD_CHORE_H
#define GATEWAYD_CHORE_H

#include "gatewayd/gw.h"

/* What can be wanted, as bits; run() knows how it is done. */
enum {
	CHORE_WORK = 1 << 0,	/* for `work`, and after next_ms */
	CHORE_CLOSE = 1 << 1,
	CHORE_MORE = 1 << 2,	/* this and above: what else there is */
};

/*
 * Embedded in what it is about.  The control thread's, but for `work`, which
 * any thread may post, and for what its task has while it runs.
 */
struct chore {
	struct gw *gw;
	/* Pool thread: after how many ms there is more work, or -1. */
	int (*run)(void *arg, unsigned doing);
	/* Control thread, after it; false: the memory is gone. */
	bool (*ended)(struct gw *gw, void *arg, unsigned done);
	void *arg;
	struct gw_msg work;	/* there is something to do */
	struct event *timer;	/* more work by then */
	unsigned wanted;
	unsigned doing;		/* not changed while it runs; 0 = it does not */
	bool closing;		/* what `work` and next_ms say does not count */

	/* The task's, and its message that it has ended. */
	struct pool_task task;
	struct gw_msg done;
	int next_ms;
};

/* gw, run, ended and arg are set, the rest is 0.  0 or -ENOMEM. */
int chore_init(struct chore *c);
/* Also after chore_init() failed; it does not run. */
void chore_fini(struct chore *c);
void chore_want(struct chore *c, unsigned what);

#endif
