/* SPDX-License-Identifier: MIT */
/*
 * A queue's life: its eventfds, starting and stopping its ring, changing the
 * memory under it.  ring.c works the ring.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- eventfds ---- */

int
vh_event_new(int fd, struct vh_event **out)
{
	struct vh_event *ev = malloc(sizeof *ev);

	if (!ev) {
		close(fd);
		return -ENOMEM;
	}
	ev->refs = 1;
	ev->fd = fd;
	*out = ev;
	return 0;
}

void
vh_event_put(struct vh_event *ev)
{
	if (!ev ||
	    atomic_fetch_sub_explicit(&ev->refs, 1, memory_order_acq_rel) > 1)
		return;
	close(ev->fd);
	free(ev);
}

void
vh_event_signal(struct vh_event *ev)
{
	static const uint64_t one = 1;

	/*
	 * EAGAIN: its counter is full, so it is signalled anyway.  EINTR: a
	 * front end made its fd block again, and filled it; our thread was
	 * interrupted to get it out of there.
	 */
	if (write(ev->fd, &one, sizeof one) < 0)
		return;
}

/* ---- what breaks a ring ---- */

void
vh_event_signal_at(struct vh_queue *q, struct vh_event *const *at)
{
	struct vh_event *ev;

	pthread_mutex_lock(&q->lock);
	ev = *at;
	if (ev)
		atomic_fetch_add_explicit(&ev->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&q->lock);
	if (!ev)
		return;
	vh_event_signal(ev);
	vh_event_put(ev);
}

int
vh_ring_fail(struct vh_queue *q, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (atomic_load_explicit(&q->broken, memory_order_relaxed))
		return -EPROTO;
	if (vh_mem_is_broken(q->mem)) {
		snprintf(q->why, sizeof q->why,
			 "guest memory was truncated while in use");
	} else {
		n = snprintf(q->why, sizeof q->why, "queue %u: ", q->index);
		va_start(ap, fmt);
		vsnprintf(q->why + n, sizeof q->why - (size_t)n, fmt, ap);
		va_end(ap);
	}
	atomic_store_explicit(&q->broken, true, memory_order_release);
	vh_event_signal_at(q, &q->err);
	return -EPROTO;
}

const char *
vh_queue_why(const struct vh_queue *q)
{
	return atomic_load_explicit(&q->broken, memory_order_acquire) ? q->why
								      : "";
}

/* ---- start, change, stop ---- */

struct ring_parts {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

static bool
is_aligned(const void *p, uintptr_t to)
{
	return !((uintptr_t)p & (to - 1));
}

/* Find the three parts, each with its event field, in `mem`. */
static bool
find_parts(const struct vh_queue *q, const struct vh_mem *mem,
	   struct ring_parts *p)
{
	uint64_t n = q->num;

	p->desc = vh_mem_user(mem, q->addr.desc, n * sizeof *p->desc);
	p->avail = vh_mem_user(mem, q->addr.avail,
			       sizeof *p->avail + (n + 1) * sizeof(uint16_t));
	p->used = vh_mem_user(mem, q->addr.used, sizeof *p->used +
			      n * sizeof(struct vring_used_elem) +
			      sizeof(uint16_t));
	return p->desc && p->avail && p->used &&
	       is_aligned(p->desc, VRING_DESC_ALIGN_SIZE) &&
	       is_aligned(p->avail, VRING_AVAIL_ALIGN_SIZE) &&
	       is_aligned(p->used, VRING_USED_ALIGN_SIZE);
}

/* Under lock once the ring runs. */
static void
use_parts(struct vh_queue *q, const struct ring_parts *p)
{
	q->desc = p->desc;
	q->avail = p->avail;
	q->used = p->used;
	q->avail_flags = &p->avail->flags;
	q->used_event = &p->avail->ring[q->size];
	q->last = NULL;
}

/*
 * Does the ring go on where it was stopped?  Chains of then that are still
 * under way are answered on it.  A new driver begins with other indices: they
 * can be the same only when nothing is under way.
 */
static bool
goes_on(const struct vh_queue *q, const struct ring_parts *p,
	uint64_t features)
{
	return q->busy && q->size == q->num && q->base == q->next_avail &&
	       !memcmp(&q->addr, &q->ran_addr, sizeof q->addr) &&
	       READ_ONCE(p->used->idx) == q->next_used &&
	       q->event_idx == !!(features & VH_BIT(VIRTIO_RING_F_EVENT_IDX));
}

static int
make_tables(struct vh_queue *q)
{
	if (!q->busy)
		q->busy = calloc(q->num, 1);
	q->table = malloc(VH_INDIRECT_MAX * sizeof *q->table);
	if (q->busy && q->table)
		return 0;
	vh_ring_forget(q);
	free(q->table);
	q->table = NULL;
	return -ENOMEM;
}

int
vh_ring_start(struct vh_queue *q, struct vh_mem *mem, uint64_t features,
	      char why[VH_WHY_MAX])
{
	struct ring_parts parts;

	if (!find_parts(q, mem, &parts)) {
		snprintf(why, VH_WHY_MAX, "queue %u: its ring is not in guest "
			 "memory, or not aligned", q->index);
		return -EFAULT;
	}
	if (!goes_on(q, &parts, features))
		vh_ring_forget(q);
	if (make_tables(q)) {
		snprintf(why, VH_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
	q->ran_addr = q->addr;
	q->guard_events = vh_guard_events();
	q->mem = vh_mem_get(mem);
	q->size = q->num;
	q->mask = (uint16_t)(q->num - 1);
	q->event_idx = features & VH_BIT(VIRTIO_RING_F_EVENT_IDX);
	q->indirect = features & VH_BIT(VIRTIO_RING_F_INDIRECT_DESC);
	atomic_store(&q->broken, false);
	pthread_mutex_lock(&q->lock);
	use_parts(q, &parts);
	q->next_avail = q->seen_avail = q->base;
	q->next_used = READ_ONCE(q->used->idx);
	q->decided = q->next_used;
	q->signalled = false;
	WRITE_ONCE(q->used->flags, 0);
	pthread_mutex_unlock(&q->lock);
	pthread_rwlock_wrlock(&q->epoch_lock);
	q->halted = false;
	pthread_rwlock_unlock(&q->epoch_lock);
	return 0;
}

void
vh_ring_stop(struct vh_queue *q)
{
	struct vh_mem *mem, *next;

	pthread_rwlock_wrlock(&q->epoch_lock);
	q->halted = true;
	pthread_rwlock_unlock(&q->epoch_lock);
	pthread_mutex_lock(&q->lock);
	q->base = q->next_avail;
	q->used = NULL;
	mem = q->mem;
	next = q->next_mem;
	q->mem = q->next_mem = NULL;
	atomic_store(&q->news, q->late);
	pthread_mutex_unlock(&q->lock);
	free(q->table);
	q->table = NULL;
	q->last = NULL;
	vh_mem_put(mem);
	vh_mem_put(next);
}

void
vh_ring_forget(struct vh_queue *q)
{
	pthread_rwlock_wrlock(&q->epoch_lock);
	q->epoch++;
	pthread_rwlock_unlock(&q->epoch_lock);
	vh_late_drop(q);
	free(q->busy);
	q->busy = NULL;
}

void
vh_ring_set_mem(struct vh_queue *q, struct vh_mem *mem)
{
	struct vh_mem *old;

	pthread_mutex_lock(&q->lock);
	old = q->next_mem;
	q->next_mem = vh_mem_get(mem);
	pthread_mutex_unlock(&q->lock);
	atomic_store_explicit(&q->news, true, memory_order_release);
	vh_mem_put(old);
}

void
vh_ring_set_event(struct vh_queue *q, struct vh_event **slot,
		  struct vh_event *ev)
{
	struct vh_event *old;

	pthread_mutex_lock(&q->lock);
	old = *slot;
	*slot = ev;
	pthread_mutex_unlock(&q->lock);
	vh_event_put(old);
}

/*
 * Take over the next table.  One without the ring is put aside: a front end
 * that splits a region removes it first and adds its parts after, and the
 * ring runs on in the old mapping of the same pages meanwhile.
 */
static void
take_mem(struct vh_queue *q)
{
	struct vh_mem *old = NULL, *mem;
	struct ring_parts parts;

	atomic_store_explicit(&q->news, false, memory_order_relaxed);
	pthread_mutex_lock(&q->lock);
	mem = q->next_mem;
	q->next_mem = NULL;
	if (mem && find_parts(q, mem, &parts)) {
		use_parts(q, &parts);
		old = q->mem;
		q->mem = mem;
		mem = NULL;
	}
	pthread_mutex_unlock(&q->lock);
	vh_mem_put(old);
	vh_mem_put(mem);
}

int
vh_queue_sync(struct vh_queue *q)
{
	unsigned events;

	if (atomic_load_explicit(&q->broken, memory_order_relaxed))
		return -EPROTO;
	vh_queue_signal(q);
	events = vh_guard_events();
	if (events != q->guard_events) {
		q->guard_events = events;
		if (vh_mem_is_broken(q->mem))
			return vh_ring_fail(q, "memory is broken");
	}
	if (atomic_load_explicit(&q->news, memory_order_acquire)) {
		take_mem(q);
		vh_late_give(q);
	}
	return 0;
}

/* ---- small things ---- */

int
vh_queue_init(struct vh_queue *q, struct vh_conn *conn, unsigned index,
	      void *owner)
{
	int err;

	memset(q, 0, sizeof *q);
	q->conn = conn;
	q->owner = owner;
	q->index = index;
	q->enable = -1;
	q->kick_fd = -1;
	err = pthread_mutex_init(&q->lock, NULL);
	if (err)
		return -err;
	err = pthread_rwlock_init(&q->epoch_lock, NULL);
	if (err)
		pthread_mutex_destroy(&q->lock);
	return -err;
}

void
vh_queue_fini(struct vh_queue *q)
{
	if (q->kick_fd >= 0)
		close(q->kick_fd);
	free(q->busy);
	vh_event_put(q->call);
	vh_event_put(q->err);
	pthread_rwlock_destroy(&q->epoch_lock);
	pthread_mutex_destroy(&q->lock);
}

unsigned
vh_queue_index(const struct vh_queue *q)
{
	return q->index;
}

void *
vh_queue_owner(const struct vh_queue *q)
{
	return q->owner;
}

void
vh_queue_set_data(struct vh_queue *q, void *data)
{
	atomic_store_explicit(&q->data, data, memory_order_release);
}

void *
vh_queue_data(const struct vh_queue *q)
{
	return atomic_load_explicit(&q->data, memory_order_acquire);
}

int
vh_queue_kick_fd(const struct vh_queue *q)
{
	return q->kick_fd;
}

void
vh_queue_get_stats(const struct vh_queue *q, struct vh_queue_stats *st)
{
	st->kicks = atomic_load_explicit(&q->nkicks, memory_order_relaxed);
	st->chains = atomic_load_explicit(&q->nchains, memory_order_relaxed);
	st->calls = atomic_load_explicit(&q->ncalls, memory_order_relaxed);
	st->calls_suppressed =
		atomic_load_explicit(&q->nsuppressed, memory_order_relaxed);
	st->batches = atomic_load_explicit(&q->nbatches, memory_order_relaxed);
}
