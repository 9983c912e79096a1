/* SPDX-License-Identifier: MIT */
/*
 * One ring in 4 MiB of guest memory, for tests that fill it by hand: set it
 * up, write descriptors and tables, offer chains, answer them.
 */
#ifndef TESTS_VHOST_RING_H
#define TESTS_VHOST_RING_H

#include "tests/tap.h"
#include "tests/vhost-raw.h"

#define MEM (4u << 20)
#define DATA (3u << 20)		/* offset of memory for buffers */
#define TABLE (DATA + 0x80000)	/* and for indirect tables */

#define W VRING_DESC_F_WRITE
#define N VRING_DESC_F_NEXT
#define I VRING_DESC_F_INDIRECT

static struct raw r;
static struct vh_queue *q;
static unsigned ring_size;
static uint16_t made;		/* avail->idx as it should be */
static struct iovec iov[VH_IOV_MAX];

static inline struct vring_desc *
descs(void)
{
	return (void *)(r.mem + RAW_DESC(1));
}

static inline struct vring_desc *
table(void)
{
	return (void *)(r.mem + TABLE);
}

static inline struct vring_avail *
avail(void)
{
	return (void *)(r.mem + RAW_AVAIL(1));
}

static inline struct vring_used *
used(void)
{
	return (void *)(r.mem + RAW_USED(1));
}

static inline uint16_t *
avail_event(void)
{
	return (void *)&used()->ring[ring_size];
}

static inline void
start(uint64_t features, unsigned size, uint16_t base)
{
	raw_open(&r, 2, NULL);
	if (raw_setup(&r, RAW_FEATURES | features, MEM))
		abort();
	ring_size = size;
	made = base;
	avail()->idx = base;
	used()->idx = base;
	q = raw_ring(&r, 1, size, base);
	if (!q)
		abort();
}

static inline void
end(void)
{
	if (!raw_close(&r))
		ok(0, "not idle");
}

static inline void
desc(unsigned i, uint64_t off, uint32_t len, unsigned flags, unsigned next)
{
	descs()[i] = (struct vring_desc){ RAW_GPA + off, len, (uint16_t)flags,
					  (uint16_t)next };
}

static inline void
entry(unsigned i, uint64_t off, uint32_t len, unsigned flags, unsigned next)
{
	table()[i] = (struct vring_desc){ RAW_GPA + off, len, (uint16_t)flags,
					  (uint16_t)next };
}

static inline void
offer(unsigned head)
{
	avail()->ring[made++ & (ring_size - 1)] = (uint16_t)head;
	__atomic_store_n(&avail()->idx, made, __ATOMIC_RELEASE);
}

static inline void
answer(unsigned head, uint32_t len)
{
	vh_queue_complete(q, &(struct vh_used){ (uint16_t)head, len }, 1);
}

#endif
