/* SPDX-License-Identifier: MIT */
/*
 * A guest's request queue with a thread of its own, which keeps a number of
 * requests of one kind under way and notes how long each took.  It sleeps
 * until it is called, because there are more of them than processors.
 */
#ifndef TESTS_BENCH_LANE_H
#define TESTS_BENCH_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gatewayd/hist.h"
#include "vhost/vhost.h"

#define LANE_DEPTH_MAX 64
#define LANE_DATA (16u << 20)		/* bytes of the file "data" */

enum lane_kind {
	LANE_LOOKUP,			/* of "data" */
	LANE_READ,			/* 4 KiB of it, anywhere */
	LANE_BIG_READ,			/* 64 KiB */
};

/* A guest: a session of a share that has a file "data". */
struct lane_guest {
	struct vh_front *front;
	unsigned nqueues;		/* for requests */
	uint64_t nodeid, fh;		/* of `file` */
	uint64_t other_nodeid, other_fh;
};

/* Open `file` of the share, and `other` unless it is NULL: names, or a
 * directory's and a name.  0, or -errno with a line on standard error. */
int lane_guest_open(struct lane_guest *g, const char *socket,
		    unsigned nqueues, const char *file, const char *other);
void lane_guest_close(struct lane_guest *g);
/* One request by name, waiting: -errno of the server. */
int lane_guest_lookup(struct lane_guest *g, const char *name);

struct lane {
	struct lane_guest *guest;
	unsigned queue;			/* 1 .. guest->nqueues */
	enum lane_kind kind;
	unsigned depth;
	bool fsync_beside;		/* one of them is FSYNC of `other` */
	atomic_bool *stop;

	pthread_t thread;
	uint64_t count, fsyncs, began_ns, ended_ns;
	struct hist hist;		/* of ns */
	uint64_t worst_ns;
	int err;
};

void lane_start(struct lane *l);
void lane_join(struct lane *l);
uint64_t lane_now_ns(void);

#endif
