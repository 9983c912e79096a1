/* SPDX-License-Identifier: MIT */
/*
 * Split rings, the device's side ("Virtio 1.2", 2.7).
 *
 * Order of memory accesses: avail->idx is loaded with acquire before the
 * entries and descriptors it covers; used->idx is stored with release after
 * the elements it covers.  Between "I published" and "does the other side
 * want to know / has it published meanwhile" stands a full fence, on both
 * sides, or each could miss the other.
 *
 * Descriptors are read once, each field into a local variable that is then
 * checked and used; an indirect table is copied first.  The driver may change
 * all of it meanwhile, to no effect.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void
full_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline uint16_t
load_acquire(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* A counter with one writer and readers who need no order. */
static inline void
count(_Atomic uint64_t *n, uint64_t add)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) +
			      add, memory_order_relaxed);
}

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

static void
event_signal(struct vh_event *ev)
{
	static const uint64_t one = 1;
	ssize_t n;

	/* EAGAIN: its counter is full, so it is signalled anyway. */
	do
		n = write(ev->fd, &one, sizeof one);
	while (n < 0 && errno == EINTR);
}

/* ---- what breaks a ring ---- */

/* Called by the serving thread: nothing more is taken off this ring. */
__attribute__((format(printf, 2, 3), cold)) static int
ring_fail(struct vh_queue *q, const char *fmt, ...)
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
	return -EPROTO;
}

const char *
vh_queue_why(const struct vh_queue *q)
{
	return atomic_load_explicit(&q->broken, memory_order_acquire) ? q->why
								      : "";
}

/* ---- taking chains ---- */

/* A walk along one chain. */
struct walk {
	struct iovec *iov;
	unsigned n;
	struct vh_chain *c;
};

/* The pointer to gpa, and how much of *len can be had there in one piece. */
static inline char *
translate(struct vh_queue *q, uint64_t gpa, uint64_t *len)
{
	const struct vh_region *r = q->last;
	uint64_t left;

	if (!r || gpa - r->gpa >= r->size) {
		r = vh_mem_find(q->mem, gpa);
		if (!r)
			return NULL;
		q->last = r;
	}
	left = r->size - (gpa - r->gpa);
	if (*len > left)
		*len = left;
	return r->host + (gpa - r->gpa);
}

/* Add one descriptor's bytes, in as few pieces as can be. */
static int
add_pieces(struct vh_queue *q, struct walk *w, uint64_t gpa, uint32_t len,
	   bool write)
{
	unsigned *n = write ? &w->c->nout : &w->c->nin;
	uint64_t left = len, part;

	if (!write && w->c->nout)
		return ring_fail(q, "a descriptor to read follows one to write");
	while (left) {
		struct iovec *last;
		char *p;

		part = left;
		p = translate(q, gpa, &part);
		if (!p)
			return ring_fail(q, "a descriptor points outside guest "
					 "memory, to 0x%" PRIx64, gpa);
		last = w->iov + w->n - (*n ? 1 : 0);
		if (*n && (char *)last->iov_base + last->iov_len == p) {
			last->iov_len += part;
		} else {
			if (w->n == VH_IOV_MAX)
				return ring_fail(q, "a chain has more than %d "
						 "pieces", VH_IOV_MAX);
			w->iov[w->n++] = (struct iovec){ p, part };
			++*n;
		}
		left -= part;
		gpa += part;	/* a region ends below 2^64 */
	}
	*(write ? &w->c->out_len : &w->c->in_len) += len;
	if (w->c->in_len + w->c->out_len > UINT32_MAX)
		return ring_fail(q, "a chain is longer than 4 GiB");
	return 0;
}

static inline struct vring_desc
read_desc(const struct vring_desc *d)
{
	return (struct vring_desc){
		.addr = READ_ONCE(d->addr),
		.len = READ_ONCE(d->len),
		.flags = READ_ONCE(d->flags),
		.next = READ_ONCE(d->next),
	};
}

/* Copy an indirect table, which may lie across regions. */
static int
copy_table(struct vh_queue *q, uint64_t gpa, uint32_t len)
{
	uint64_t done = 0, part;

	if (!len || len % sizeof(struct vring_desc) ||
	    len / sizeof(struct vring_desc) > VH_INDIRECT_MAX)
		return ring_fail(q, "an indirect table of %" PRIu32 " bytes",
				 len);
	for (; done < len; done += part) {
		char *p;

		part = len - done;
		p = translate(q, gpa + done, &part);
		if (!p)
			return ring_fail(q, "an indirect table lies outside "
					 "guest memory, at 0x%" PRIx64, gpa);
		memcpy((char *)q->table + done, p, part);
	}
	return 0;
}

static int
walk_table(struct vh_queue *q, struct walk *w, unsigned n)
{
	unsigned i = 0;

	for (unsigned seen = 0; seen < n; seen++) {
		const struct vring_desc *d = &q->table[i];

		if (d->flags & VRING_DESC_F_INDIRECT)
			return ring_fail(q, "an indirect table within an "
					 "indirect table");
		if (add_pieces(q, w, d->addr, d->len,
			       d->flags & VRING_DESC_F_WRITE))
			return -EPROTO;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return 0;
		i = d->next;
		if (i >= n)
			return ring_fail(q, "an indirect table of %u entries "
					 "goes on at %u", n, i);
	}
	return ring_fail(q, "an indirect table runs in a loop");
}

static int
walk_indirect(struct vh_queue *q, struct walk *w, const struct vring_desc *d)
{
	if (!q->indirect)
		return ring_fail(q, "an indirect table, which was not "
				 "negotiated");
	if (d->flags & VRING_DESC_F_NEXT)
		return ring_fail(q, "a chain goes on behind an indirect table");
	if (copy_table(q, d->addr, d->len))
		return -EPROTO;
	return walk_table(q, w, d->len / sizeof(struct vring_desc));
}

static int
walk_chain(struct vh_queue *q, struct walk *w, unsigned i)
{
	for (unsigned seen = 0; seen < q->size; seen++) {
		struct vring_desc d = read_desc(&q->desc[i]);

		if (d.flags & VRING_DESC_F_INDIRECT)
			return walk_indirect(q, w, &d);
		if (add_pieces(q, w, d.addr, d.len,
			       d.flags & VRING_DESC_F_WRITE))
			return -EPROTO;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
		if (i >= q->size)
			return ring_fail(q, "a chain goes on at descriptor %u "
					 "of %u", i, q->size);
	}
	return ring_fail(q, "a chain runs in a loop");
}

/* Is there an entry to take?  1, 0, -EPROTO. */
static inline int
look(struct vh_queue *q)
{
	if (q->seen_avail != q->next_avail)
		return 1;
	q->seen_avail = load_acquire(&q->avail->idx);
	if ((uint16_t)(q->seen_avail - q->next_avail) > q->size)
		return ring_fail(q, "the driver's index jumps from %u to %u",
				 q->next_avail, q->seen_avail);
	return q->seen_avail != q->next_avail;
}

int
vh_queue_pop(struct vh_queue *q, struct vh_chain *c, struct iovec *iov)
{
	struct walk w = { .iov = iov, .c = c };
	uint16_t head;
	int r;

	if (atomic_load_explicit(&q->broken, memory_order_relaxed))
		return -EPROTO;
	r = look(q);
	if (r <= 0)
		return r;
	head = READ_ONCE(q->avail->ring[q->next_avail & q->mask]);
	if (head >= q->size)
		return ring_fail(q, "chain %u of a ring of %u", head, q->size);
	if (__atomic_load_n(&q->busy[head], __ATOMIC_RELAXED))
		return ring_fail(q, "chain %u is offered again before it was "
				 "answered", head);
	c->head = head;
	c->nin = c->nout = 0;
	c->in_len = c->out_len = 0;
	c->iov = iov;
	c->epoch = q->epoch;
	c->mem = NULL;
	if (walk_chain(q, &w, head))
		return -EPROTO;
	__atomic_store_n(&q->busy[head], 1, __ATOMIC_RELAXED);
	q->next_avail++;
	count(&q->nchains, 1);
	return 1;
}

bool
vh_queue_has_work(struct vh_queue *q)
{
	return q->seen_avail != q->next_avail ||
	       READ_ONCE(q->avail->idx) != q->next_avail;
}

/* ---- kicks ---- */

/* The entry behind the used ring: the driver kicks when it passes it. */
static inline uint16_t *
avail_event(struct vh_queue *q)
{
	return (void *)&q->used->ring[q->size];
}

void
vh_queue_suppress(struct vh_queue *q)
{
	/* With EVENT_IDX the index that was left behind is enough. */
	if (!q->event_idx)
		WRITE_ONCE(q->used->flags, VRING_USED_F_NO_NOTIFY);
}

bool
vh_queue_arm(struct vh_queue *q)
{
	if (q->event_idx)
		WRITE_ONCE(*avail_event(q), q->next_avail);
	else
		WRITE_ONCE(q->used->flags, 0);
	full_fence();
	return !vh_queue_has_work(q);
}

void
vh_queue_drain_kick(struct vh_queue *q)
{
	uint64_t n;

	if (q->kick_fd >= 0 && read(q->kick_fd, &n, sizeof n) == sizeof n)
		count(&q->nkicks, 1);
}

/* ---- answers ---- */

/* After next_used moved from `old`: does the driver want to hear of it? */
static bool
wants_signal(struct vh_queue *q, uint16_t old)
{
	if (!q->signalled) {
		q->signalled = true;
		return true;
	}
	if (q->event_idx)
		return vring_need_event(READ_ONCE(*q->used_event),
					q->next_used, old);
	return !(READ_ONCE(*q->avail_flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* Under lock.  The event to signal once it is released, or NULL. */
static struct vh_event *
publish(struct vh_queue *q, const struct vh_used *used, unsigned n)
{
	uint16_t old = q->next_used;

	for (unsigned i = 0; i < n; i++) {
		struct vring_used_elem *e =
			&q->used->ring[(uint16_t)(old + i) & q->mask];

		WRITE_ONCE(e->id, used[i].head);
		WRITE_ONCE(e->len, used[i].len);
		__atomic_store_n(&q->busy[used[i].head], 0, __ATOMIC_RELAXED);
	}
	q->next_used = (uint16_t)(old + n);
	__atomic_store_n(&q->used->idx, q->next_used, __ATOMIC_RELEASE);
	full_fence();
	count(&q->nbatches, 1);
	if (!q->call || !wants_signal(q, old)) {
		count(&q->nsuppressed, 1);
		return NULL;
	}
	count(&q->ncalls, 1);
	atomic_fetch_add_explicit(&q->call->refs, 1, memory_order_relaxed);
	return q->call;
}

void
vh_queue_complete(struct vh_queue *q, const struct vh_used *used, unsigned n)
{
	struct vh_event *ev = NULL;

	if (!n)
		return;
	pthread_mutex_lock(&q->lock);
	if (q->used)
		ev = publish(q, used, n);
	pthread_mutex_unlock(&q->lock);
	if (ev) {
		event_signal(ev);
		vh_event_put(ev);
	}
}

void
vh_chain_hold(struct vh_queue *q, struct vh_chain *c)
{
	c->mem = vh_mem_get(q->mem);
	atomic_fetch_add_explicit(&q->holds, 1, memory_order_relaxed);
}

static void
copy_out(const struct vh_chain *c, const char *buf, size_t len)
{
	for (unsigned i = c->nin; i < c->nin + c->nout && len; i++) {
		size_t n = c->iov[i].iov_len < len ? c->iov[i].iov_len : len;

		memcpy(c->iov[i].iov_base, buf, n);
		buf += n;
		len -= n;
	}
}

bool
vh_chain_finish(struct vh_queue *q, struct vh_chain *c, const void *buf,
		size_t len)
{
	bool in_time;

	if (len > c->out_len)
		len = c->out_len;
	pthread_rwlock_rdlock(&q->epoch_lock);
	in_time = c->epoch == q->epoch;
	if (in_time) {
		struct vh_used used = { c->head, (uint32_t)len };

		if (buf)
			copy_out(c, buf, len);
		vh_queue_complete(q, &used, 1);
	}
	pthread_rwlock_unlock(&q->epoch_lock);
	vh_mem_put(c->mem);
	c->mem = NULL;
	/* The last touch: the connection may be freed after it. */
	atomic_fetch_sub_explicit(&q->holds, 1, memory_order_release);
	return in_time;
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
	q->busy = calloc(q->num, 1);
	q->table = malloc(VH_INDIRECT_MAX * sizeof *q->table);
	if (!q->busy || !q->table) {
		free(q->busy);
		free(q->table);
		q->busy = NULL;
		q->table = NULL;
		snprintf(why, VH_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
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
	q->next_used = load_acquire(&q->used->idx);
	q->signalled = false;
	WRITE_ONCE(q->used->flags, 0);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

void
vh_ring_stop(struct vh_queue *q)
{
	struct vh_mem *mem, *next;

	pthread_rwlock_wrlock(&q->epoch_lock);
	q->epoch++;
	pthread_rwlock_unlock(&q->epoch_lock);
	pthread_mutex_lock(&q->lock);
	q->base = q->next_avail;
	q->used = NULL;
	mem = q->mem;
	next = q->next_mem;
	q->mem = q->next_mem = NULL;
	atomic_store(&q->news, false);
	free(q->busy);
	q->busy = NULL;
	pthread_mutex_unlock(&q->lock);
	free(q->table);
	q->table = NULL;
	q->last = NULL;
	vh_mem_put(mem);
	vh_mem_put(next);
}

void
vh_ring_signal_err(const struct vh_queue *q)
{
	if (q->err && atomic_load_explicit(&q->broken, memory_order_acquire))
		event_signal(q->err);
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
vh_ring_set_call(struct vh_queue *q, struct vh_event *ev)
{
	struct vh_event *old;

	pthread_mutex_lock(&q->lock);
	old = q->call;
	q->call = ev;
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
	events = vh_guard_events();
	if (events != q->guard_events) {
		q->guard_events = events;
		if (vh_mem_is_broken(q->mem))
			return ring_fail(q, "memory is broken");
	}
	if (atomic_load_explicit(&q->news, memory_order_acquire))
		take_mem(q);
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
