/* SPDX-License-Identifier: MIT */
/* Histograms of times: see hist.h. */
#include "gatewayd/hist.h"

static uint64_t
load(const uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

uint64_t
hist_floor(unsigned i)
{
	if (i < 4)
		return (uint64_t)i << HIST_UNIT_SHIFT;
	return (uint64_t)(4 + i % 4) << (i / 4 - 1 + HIST_UNIT_SHIFT);
}

void
hist_add(struct hist *to, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		to->n[i] += load(&from->n[i]);
}

void
hist_sub(struct hist *from, const struct hist *what)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		from->n[i] -= what->n[i] < from->n[i] ? what->n[i] : from->n[i];
}

uint64_t
hist_count(const struct hist *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		n += load(&h->n[i]);
	return n;
}

uint64_t
hist_below(const struct hist *h, uint64_t ns)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HIST_BUCKETS && hist_floor(i + 1) <= ns; i++)
		n += load(&h->n[i]);
	return n;
}

uint64_t
hist_at(const struct hist *h, double part)
{
	double want = part * (double)hist_count(h), seen = 0;

	if (want <= 0)
		return 0;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		double n = (double)load(&h->n[i]);
		uint64_t from = hist_floor(i), to = hist_floor(i + 1);

		if (n > 0 && seen + n >= want)
			return from + (uint64_t)((double)(to - from) *
						 (want - seen) / n);
		seen += n;
	}
	return hist_floor(HIST_BUCKETS);
}
