/* SPDX-License-Identifier: MIT */
/*
 * Split rings, the driver's side ("Virtio 1.2", 2.7): put chains on the ring,
 * take answers off.  What the device answers is checked; nothing that matters
 * is ever read back from shared memory but its answers.
 */
#include "config.h"

#include "vhost/front.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Indirect tables of a queue.  They cost memory only once they are used. */
#define TABLES_MAX 1024
/* From one to the next, in entries: not a power of two, or the beginnings of
 * all would share one set of a cache. */
#define TABLE_STRIDE (VH_INDIRECT_MAX + 4)

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

static size_t
align_to(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static unsigned
tables_of(unsigned size)
{
	return size < TABLES_MAX ? size : TABLES_MAX;
}

/* The three parts of a ring, each on pages of its own. */
static size_t
desc_bytes(unsigned size)
{
	return align_to(size * sizeof(struct vring_desc), 4096);
}

static size_t
avail_bytes(unsigned size)
{
	return align_to(sizeof(struct vring_avail) +
			(size + 1) * sizeof(uint16_t), 4096);
}

static size_t
used_bytes(unsigned size)
{
	return align_to(sizeof(struct vring_used) +
			size * sizeof(struct vring_used_elem) +
			sizeof(uint16_t), 4096);
}

size_t
vh_front_ring_bytes(unsigned size)
{
	return desc_bytes(size) + avail_bytes(size) + used_bytes(size) +
	       tables_of(size) * TABLE_STRIDE * sizeof(struct vring_desc);
}

int
vh_front_ring_init(struct vh_front_queue *q, void *mem, unsigned size,
		   uint64_t features)
{
	char *p = mem;

	q->size = size;
	q->mask = (uint16_t)(size - 1);
	q->event_idx = features & VH_BIT(VIRTIO_RING_F_EVENT_IDX);
	q->indirect = features & VH_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	q->desc = (void *)p;
	q->avail = (void *)(p += desc_bytes(size));
	q->used = (void *)(p += avail_bytes(size));
	q->tables = (void *)(p += used_bytes(size));
	q->next = malloc(size * sizeof *q->next);
	q->chain = calloc(size, sizeof *q->chain);
	q->ntables = tables_of(size);
	q->free_table = malloc(q->ntables * sizeof *q->free_table);
	if (!q->next || !q->chain || !q->free_table)
		return -ENOMEM;
	for (unsigned i = 0; i < size; i++)
		q->next[i] = (uint16_t)(i + 1);
	for (unsigned i = 0; i < q->ntables; i++)
		q->free_table[i] = (uint16_t)(q->ntables - 1 - i);
	q->nfree = size;
	if (!q->event_idx)
		q->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	return 0;
}

void
vh_front_ring_fini(struct vh_front_queue *q)
{
	free(q->next);
	free(q->chain);
	free(q->free_table);
}

/* ---- submitting ---- */

/* Are all pieces in shared memory?  Counts what the device may write. */
static int
check_iov(const struct vh_front *f, const struct iovec *iov, unsigned nin,
	  unsigned n, uint32_t *out_len)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < n; i++) {
		uintptr_t off = (uintptr_t)iov[i].iov_base - (uintptr_t)f->base;

		if (off > f->size || iov[i].iov_len > f->size - off ||
		    iov[i].iov_len > UINT32_MAX)
			return -EFAULT;
		if (i >= nin)
			out += iov[i].iov_len;
	}
	if (out > UINT32_MAX)
		return -EINVAL;
	*out_len = (uint32_t)out;
	return 0;
}

static struct vring_desc
make_desc(const struct vh_front *f, const struct iovec *v, bool write,
	  bool more, unsigned next)
{
	uintptr_t off = (uintptr_t)v->iov_base - (uintptr_t)f->base;

	return (struct vring_desc){
		.addr = VH_FRONT_GPA + off,
		.len = (uint32_t)v->iov_len,
		.flags = (uint16_t)((write ? VRING_DESC_F_WRITE : 0) |
				    (more ? VRING_DESC_F_NEXT : 0)),
		.next = (uint16_t)(more ? next : 0),
	};
}

/* Take n descriptors off the free list; the head. */
static uint16_t
take_descs(struct vh_front_queue *q, unsigned n)
{
	uint16_t head = q->free;

	for (unsigned i = 0; i < n; i++)
		q->free = q->next[q->free];
	q->nfree -= n;
	return head;
}

static uint16_t
put_direct(struct vh_front_queue *q, const struct iovec *iov, unsigned nin,
	   unsigned n)
{
	uint16_t head = take_descs(q, n), d = head;

	for (unsigned i = 0; i < n; i++, d = q->next[d])
		q->desc[d] = make_desc(q->front, &iov[i], i >= nin, i + 1 < n,
				       q->next[d]);
	q->chain[head].ndesc = (uint16_t)n;
	q->chain[head].table = -1;
	return head;
}

static uint16_t
put_indirect(struct vh_front_queue *q, const struct iovec *iov, unsigned nin,
	     unsigned n)
{
	uint16_t head = take_descs(q, 1), t = q->free_table[--q->ntables];
	struct vring_desc *table = q->tables + (size_t)t * TABLE_STRIDE;
	struct iovec all = { table, n * sizeof *table };

	for (unsigned i = 0; i < n; i++)
		table[i] = make_desc(q->front, &iov[i], i >= nin, i + 1 < n,
				     i + 1);
	q->desc[head] = make_desc(q->front, &all, false, false, 0);
	q->desc[head].flags = VRING_DESC_F_INDIRECT;
	q->chain[head].ndesc = 1;
	q->chain[head].table = t;
	return head;
}

int
vh_front_submit(struct vh_front_queue *q, const struct iovec *iov,
		unsigned nin, unsigned nout, uint64_t cookie)
{
	unsigned n = nin + nout;
	bool indirect = q->indirect && n <= VH_INDIRECT_MAX &&
			(n > 2 || n > q->size);
	uint32_t out_len;
	uint16_t head;
	int err;

	if (!n)
		return -EINVAL;
	err = check_iov(q->front, iov, nin, n, &out_len);
	if (err)
		return err;
	if (!indirect && n > q->size)
		return -E2BIG;
	if (q->nfree < (indirect ? 1 : n) || (indirect && !q->ntables))
		return -ENOSPC;
	head = indirect ? put_indirect(q, iov, nin, n)
			: put_direct(q, iov, nin, n);
	q->chain[head].cookie = cookie;
	q->chain[head].out_len = out_len;
	WRITE_ONCE(q->avail->ring[q->avail_idx & q->mask], head);
	q->avail_idx++;
	__atomic_store_n(&q->avail->idx, q->avail_idx, __ATOMIC_RELEASE);
	return 0;
}

/* The entry behind the used ring: the device wants a kick when we pass it. */
static const uint16_t *
avail_event(const struct vh_front_queue *q)
{
	return (const void *)&q->used->ring[q->size];
}

int
vh_front_kick(struct vh_front_queue *q)
{
	static const uint64_t one = 1;
	uint16_t old = q->kicked, event;
	bool wanted;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->kicked = q->avail_idx;
	if (q->event_idx) {
		event = READ_ONCE(*avail_event(q));
		wanted = vring_need_event(event, q->avail_idx, old);
	} else {
		wanted = !(READ_ONCE(q->used->flags) & VRING_USED_F_NO_NOTIFY);
	}
	if (!wanted || q->kick_fd < 0)
		return 0;
	if (write(q->kick_fd, &one, sizeof one) < 0 && errno != EAGAIN)
		return -errno;
	return 1;
}

/* ---- answers ---- */

static void
give_back(struct vh_front_queue *q, uint16_t head)
{
	struct vh_front_chain *c = &q->chain[head];
	uint16_t last = head;

	for (unsigned i = 1; i < c->ndesc; i++)
		last = q->next[last];
	q->next[last] = q->free;
	q->free = head;
	q->nfree += c->ndesc;
	if (c->table >= 0)
		q->free_table[q->ntables++] = (uint16_t)c->table;
	c->ndesc = 0;
}

int
vh_front_reap(struct vh_front_queue *q, uint64_t *cookie, uint32_t *len)
{
	uint16_t idx = __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE);
	struct vring_used_elem *e;
	uint32_t id;

	if (idx == q->used_idx)
		return 0;
	if ((uint16_t)(idx - q->used_idx) > q->size)
		return -EPROTO;
	e = &q->used->ring[q->used_idx & q->mask];
	id = READ_ONCE(e->id);
	*len = READ_ONCE(e->len);
	if (id >= q->size || !q->chain[id].ndesc || *len > q->chain[id].out_len)
		return -EPROTO;
	*cookie = q->chain[id].cookie;
	give_back(q, (uint16_t)id);
	q->used_idx++;
	return 1;
}

int
vh_front_call_fd(const struct vh_front_queue *q)
{
	return q->call_fd;
}

bool
vh_front_arm(struct vh_front_queue *q)
{
	if (q->event_idx)
		WRITE_ONCE(q->avail->ring[q->size], q->used_idx);
	else
		WRITE_ONCE(q->avail->flags, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return READ_ONCE(q->used->idx) == q->used_idx;
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Sleep until the device calls, leaves, or `end`. */
static int
sleep_on_call(struct vh_front_queue *q, int64_t end)
{
	struct pollfd p[2] = {
		{ .fd = q->call_fd, .events = POLLIN },
		/* Only a hang-up counts: replies are for others. */
		{ .fd = q->front->fd, .events = POLLRDHUP },
	};
	int64_t left = end < 0 ? -1 : end - now_ms();
	uint64_t n;
	int r;

	if (end >= 0 && left < 0)
		left = 0;
	r = poll(p, 2, (int)left);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (r == 0)
		return -ETIMEDOUT;
	if (p[0].revents & POLLIN) {
		if (read(q->call_fd, &n, sizeof n) < 0 && errno != EAGAIN)
			return -errno;
		return 0;
	}
	return p[1].revents ? -ENOTCONN : 0;
}

int
vh_front_wait(struct vh_front_queue *q, uint64_t *cookie, uint32_t *len,
	      int timeout_ms)
{
	int64_t end = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	int r, err = 0;

	while (!(r = vh_front_reap(q, cookie, len)) && !err)
		if (vh_front_arm(q))
			err = sleep_on_call(q, end);
	if (!q->event_idx)
		WRITE_ONCE(q->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
	return r ? r : err;
}
