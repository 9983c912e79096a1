/* SPDX-License-Identifier: MIT */
/*
 * The clock that times requests: nanoseconds that only ever grow, read as
 * cheaply as the machine allows.  For durations; it drifts from CLOCK_MONOTONIC
 * by some millionths.  Each thread keeps a copy: it never changes once made.
 */
#ifndef GATEWAYD_CLOCK_H
#define GATEWAYD_CLOCK_H

#include <stdint.h>
#include <time.h>

struct gw_clock {
	uint64_t mult;		/* ns of a tick << 32; 0 = ask the kernel */
	uint64_t ticks, ns;	/* both as they were once */
};

/* Takes 2 ms where the processor's counter is used. */
void gw_clock_init(struct gw_clock *clock);

/* compat: the counter of the processor, where there is one we know. */
#ifdef __x86_64__
#define gw_clock_ticks() __builtin_ia32_rdtsc()
#else
#define gw_clock_ticks() 0
#endif

static inline uint64_t
gw_clock_kernel(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static inline uint64_t
gw_clock_ns(const struct gw_clock *c)
{
	uint64_t ticks;

	if (!c->mult)
		return gw_clock_kernel();
	ticks = gw_clock_ticks() - c->ticks;
	return c->ns + (uint64_t)(((unsigned __int128)ticks * c->mult) >> 32);
}

#endif
