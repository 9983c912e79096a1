/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram of times: each power of two in four equal steps, so a
 * percentile is right to a quarter.  From 16 ns to 18 minutes.  One thread
 * writes it, without atomics that cost anything; any may read.
 */
#ifndef GATEWAYD_HIST_H
#define GATEWAYD_HIST_H

#include <stdint.h>

#define HIST_UNIT_SHIFT 4	/* the finest step is 16 ns */
#define HIST_BUCKETS 144

struct hist {
	uint64_t n[HIST_BUCKETS];
};

/* The bucket that a time belongs to. */
static inline unsigned
hist_bucket(uint64_t ns)
{
	uint64_t v = ns >> HIST_UNIT_SHIFT;
	unsigned top, i;

	if (v < 4)
		return (unsigned)v;
	top = 63 - (unsigned)__builtin_clzll(v);
	i = (top - 1) * 4 + (unsigned)((v >> (top - 2)) & 3);
	return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

/* The first time that belongs to bucket `i`; the last bucket has no end. */
uint64_t hist_floor(unsigned i);

void hist_add(struct hist *to, const struct hist *from);
void hist_sub(struct hist *from, const struct hist *what);
uint64_t hist_count(const struct hist *h);
/* How many were shorter than `ns`, exact for powers of two. */
uint64_t hist_below(const struct hist *h, uint64_t ns);
/* The time that `part` (0.5, 0.99) of all stay below; 0 when there is none. */
uint64_t hist_at(const struct hist *h, double part);

#endif
