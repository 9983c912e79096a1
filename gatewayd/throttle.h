/* SPDX-License-Identifier: MIT */
/*
 * iops_limit and bandwidth_limit of a mount tag, for all its guests and queues
 * together.  Each limit is one number: the time at which all that was served
 * would have been served at exactly the limit.  It may run ahead of the clock
 * by THROTTLE_BURST_NS; a thread that finds it further ahead takes no requests
 * until it is not.  What a request costs is known when it is served and paid
 * then, so a large one makes the next wait.
 *
 * An unlimited share costs one look at `on` per batch.
 */
#ifndef GATEWAYD_THROTTLE_H
#define GATEWAYD_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THROTTLE_BURST_NS 100000000	/* may be served at once */
/* Who waits waits for so much more: not to be woken for each request. */
#define THROTTLE_STEP_NS 10000000

struct throttle {
	atomic_bool on;
	atomic_ullong iops, bandwidth;	/* 0 = no limit */
	atomic_ullong ops_at, bytes_at;	/* ns */
	atomic_ullong waits;
};

/* New limits; what was used of the old ones is forgiven.  False: the same. */
bool throttle_set(struct throttle *t, uint64_t iops, uint64_t bandwidth);
/* How long to take no requests, ns; 0 = take the next one. */
uint64_t throttle_wait(struct throttle *t, uint64_t now);
/* One was served, with so many bytes of file data. */
void throttle_pay(struct throttle *t, uint64_t now, size_t bytes);

#endif
