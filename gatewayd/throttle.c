/* SPDX-License-Identifier: MIT */
/* Limits of a share, see throttle.h. */
#include "gatewayd/throttle.h"

#define SECOND UINT64_C(1000000000)

bool
throttle_set(struct throttle *t, uint64_t iops, uint64_t bandwidth)
{
	if (iops == atomic_load(&t->iops) &&
	    bandwidth == atomic_load(&t->bandwidth))
		return false;
	atomic_store(&t->iops, iops);
	atomic_store(&t->bandwidth, bandwidth);
	atomic_store(&t->ops_at, 0);
	atomic_store(&t->bytes_at, 0);
	atomic_store(&t->on, iops || bandwidth);
	return true;
}

static uint64_t
too_far(atomic_ullong *at, uint64_t now)
{
	uint64_t then = atomic_load_explicit(at, memory_order_relaxed);

	if (then <= now + THROTTLE_BURST_NS)
		return 0;
	return then - now - THROTTLE_BURST_NS + THROTTLE_STEP_NS;
}

uint64_t
throttle_wait(struct throttle *t, uint64_t now)
{
	uint64_t a = too_far(&t->ops_at, now), b = too_far(&t->bytes_at, now);

	return a > b ? a : b;
}

static void
add(atomic_ullong *at, uint64_t now, uint64_t ns)
{
	unsigned long long was = atomic_load_explicit(at, memory_order_relaxed);
	uint64_t from;

	do {
		from = was > now ? was : now;
	} while (!atomic_compare_exchange_weak_explicit(at, &was, from + ns,
							memory_order_relaxed,
							memory_order_relaxed));
}

/* 2^33 bytes at most: times a second, that fits. */
void
throttle_pay(struct throttle *t, uint64_t now, size_t bytes)
{
	uint64_t iops = atomic_load_explicit(&t->iops, memory_order_relaxed);
	uint64_t bandwidth = atomic_load_explicit(&t->bandwidth,
						  memory_order_relaxed);

	if (iops)
		add(&t->ops_at, now, SECOND / iops);
	if (bandwidth && bytes)
		add(&t->bytes_at, now, bytes * SECOND / bandwidth);
}
