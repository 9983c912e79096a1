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
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 128	/* of a request: what is looked at first */
#define FETCH_MAX 640		/* of an indirect table */

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

/* ---- taking chains ---- */

/* A walk along one chain. */
struct walk {
	struct iovec *iov;
	unsigned n, nin;	/* pieces; those to read, once one is written */
	uint64_t len, in_len;	/* bytes of this direction; those to read */
	char *end;		/* of the last piece, which may go on there */
	bool writes;
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

/* Where [gpa, gpa + len) begins, if it is of the region that the last address
 * was of, else NULL. */
static inline char *
near(const struct vh_queue *q, uint64_t gpa, uint64_t len)
{
	const struct vh_region *r = q->last;
	uint64_t at = r ? gpa - r->gpa : 0;

	return r && at < r->size && len <= r->size - at ? r->host + at : NULL;
}

static inline int
turn_round(struct vh_queue *q, struct walk *w, bool write)
{
	if (!write)
		return vh_ring_fail(q, "a descriptor to read follows one to "
				    "write");
	w->writes = true;
	w->nin = w->n;
	w->in_len = w->len;
	w->len = 0;
	w->end = NULL;
	return 0;
}

static inline int
add_piece(struct vh_queue *q, struct walk *w, char *p, uint64_t len)
{
	if (p == w->end) {
		w->iov[w->n - 1].iov_len += len;
	} else {
		if (w->n == VH_IOV_MAX)
			return vh_ring_fail(q, "a chain has more than %d "
					    "pieces", VH_IOV_MAX);
		w->iov[w->n++] = (struct iovec){ p, len };
	}
	w->end = p + len;
	w->len += len;
	return 0;
}

/* Bytes that are not all of the region that the last ones were of. */
static int
add_elsewhere(struct vh_queue *q, struct walk *w, uint64_t gpa, uint64_t len)
{
	while (len) {
		uint64_t part = len;
		char *p = translate(q, gpa, &part);

		if (!p)
			return vh_ring_fail(q, "a descriptor points outside "
					    "guest memory, to 0x%" PRIx64, gpa);
		if (add_piece(q, w, p, part))
			return -EPROTO;
		len -= part;
		gpa += part;	/* a region ends below 2^64 */
	}
	return 0;
}

/* Add one descriptor's bytes, in as few pieces as can be. */
static inline __attribute__((always_inline)) int
add_desc(struct vh_queue *q, struct walk *w, const struct vring_desc *d)
{
	bool write = d->flags & VRING_DESC_F_WRITE;
	char *p = near(q, d->addr, d->len);
	struct walk away;
	int err;

	if (write != w->writes && turn_round(q, w, write))
		return -EPROTO;
	if (p && d->len)
		return add_piece(q, w, p, d->len);
	away = *w;		/* so that w itself can be in registers */
	err = add_elsewhere(q, &away, d->addr, d->len);
	*w = away;
	return err;
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
		return vh_ring_fail(q, "an indirect table of %" PRIu32 " bytes",
				    len);
	for (; done < len; done += part) {
		char *p;

		part = len - done;
		p = translate(q, gpa + done, &part);
		if (!p)
			return vh_ring_fail(q, "an indirect table lies outside "
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
			return vh_ring_fail(q, "an indirect table within an "
					    "indirect table");
		if (add_desc(q, w, d))
			return -EPROTO;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return 0;
		i = d->next;
		if (i >= n)
			return vh_ring_fail(q, "an indirect table of %u "
					    "entries goes on at %u", n, i);
	}
	return vh_ring_fail(q, "an indirect table runs in a loop");
}

static int
walk_indirect(struct vh_queue *q, struct walk *w, const struct vring_desc *d)
{
	if (!q->indirect)
		return vh_ring_fail(q, "an indirect table, which was not "
				    "negotiated");
	if (d->flags & VRING_DESC_F_NEXT)
		return vh_ring_fail(q, "a chain goes on behind an indirect "
				    "table");
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
		if (add_desc(q, w, &d))
			return -EPROTO;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
		if (i >= q->size)
			return vh_ring_fail(q, "a chain goes on at descriptor "
					    "%u of %u", i, q->size);
	}
	return vh_ring_fail(q, "a chain runs in a loop");
}

/*
 * Is there an entry to take?  1, 0, -EPROTO.  An entry may be of memory that
 * came, or was to go, just before it: with news to take over, entries that
 * have not been seen yet are left for after that.
 */
static inline int
look(struct vh_queue *q)
{
	uint16_t avail;

	if (q->seen_avail != q->next_avail)
		return 1;
	avail = load_acquire(&q->avail->idx);
	if (atomic_load_explicit(&q->news, memory_order_relaxed))
		return 0;
	q->seen_avail = avail;
	if ((uint16_t)(q->seen_avail - q->next_avail) > q->size)
		return vh_ring_fail(q, "the driver's index jumps from %u to %u",
				    q->next_avail, q->seen_avail);
	return q->seen_avail != q->next_avail;
}

/* The descriptor that entry `at` begins with, or NULL. */
static inline const struct vring_desc *
first_desc(const struct vh_queue *q, uint16_t at)
{
	uint16_t head = READ_ONCE(q->avail->ring[at & q->mask]);

	return head < q->size ? &q->desc[head] : NULL;
}

static inline void
fetch(const void *from, size_t len)
{
	for (size_t at = 0; from && at < len && at < FETCH_MAX; at += 64)
		__builtin_prefetch((const char *)from + at);
}

/*
 * The first lines of an answer, which the driver's processor has: not only to
 * have them here, but to have them alone.  Compilers do not say so unless all
 * processors that they build for know how to; to the others it means nothing.
 */
static inline void
fetch_to_write(const struct iovec *v, unsigned n)
{
	for (unsigned i = 0; i < n && i < 2; i++) {
		const char *at = v[i].iov_base;
		const char *next = v[i].iov_len > 64 ? at + 64 : at;

#ifdef __x86_64__
		__asm__("prefetchw %0" : : "m"(*at));
		__asm__("prefetchw %0" : : "m"(*next));
#else
		__builtin_prefetch(at, 1);
		__builtin_prefetch(next, 1);
#endif
	}
}

/* What a chain begins with, from its descriptor or its indirect table on. */
static inline void
fetch_header(const struct vh_queue *q, const struct vring_desc *d)
{
	fetch(near(q, READ_ONCE(d->addr), HEADER_BYTES), HEADER_BYTES);
}

/*
 * What the driver wrote is in its processor's cache.  Have it on the way to
 * ours while the chain that was just taken is served: the descriptor of the
 * third chain from here, the indirect table of the second, the request of the
 * first.  Each has come when the next step needs it.  A wrong address is of no
 * consequence here.
 */
static inline void
fetch_ahead(const struct vh_queue *q)
{
	uint16_t left = q->seen_avail - q->next_avail;
	const struct vring_desc *d;

	if (left > 2)
		__builtin_prefetch(first_desc(q, q->next_avail + 2));
	d = left > 1 ? first_desc(q, q->next_avail + 1) : NULL;
	if (d && (READ_ONCE(d->flags) & VRING_DESC_F_INDIRECT)) {
		uint32_t len = READ_ONCE(d->len);

		fetch(near(q, READ_ONCE(d->addr), len), len);
	} else if (d) {
		fetch_header(q, d);
	}
	d = left ? first_desc(q, q->next_avail) : NULL;
	if (d && (READ_ONCE(d->flags) & VRING_DESC_F_INDIRECT)) {
		d = (const void *)near(q, READ_ONCE(d->addr), sizeof *d);
		if (d && !((uintptr_t)d % _Alignof(struct vring_desc)))
			fetch_header(q, d);
	}
}

int
vh_queue_pop(struct vh_queue *q, struct vh_chain *c, struct iovec *iov)
{
	struct walk w = { .iov = iov };
	uint16_t head;
	int r;

	if (atomic_load_explicit(&q->broken, memory_order_relaxed))
		return -EPROTO;
	r = look(q);
	if (r <= 0)
		return r;
	head = READ_ONCE(q->avail->ring[q->next_avail & q->mask]);
	if (head >= q->size)
		return vh_ring_fail(q, "chain %u of a ring of %u", head,
				    q->size);
	if (__atomic_load_n(&q->busy[head], __ATOMIC_RELAXED))
		return vh_ring_fail(q, "chain %u is offered again before it "
				    "was answered", head);
	if (walk_chain(q, &w, head))
		return -EPROTO;
	if (w.in_len + w.len > UINT32_MAX)
		return vh_ring_fail(q, "a chain is longer than 4 GiB");
	if (!w.writes)
		turn_round(q, &w, true);
	c->head = head;
	c->nin = w.nin;
	c->nout = w.n - w.nin;
	c->in_len = w.in_len;
	c->out_len = w.len;
	c->iov = iov;
	c->epoch = q->epoch;
	c->mem = NULL;
	__atomic_store_n(&q->busy[head], 1, __ATOMIC_RELAXED);
	q->next_avail++;
	count(&q->nchains, 1);
	if (c->nout)
		fetch_to_write(&iov[c->nin], c->nout);
	fetch_ahead(q);
	return 1;
}

bool
vh_queue_has_work(struct vh_queue *q)
{
	return q->seen_avail != q->next_avail ||
	       READ_ONCE(q->avail->idx) != q->next_avail ||
	       atomic_load_explicit(&q->signal_due, memory_order_relaxed);
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
vh_queue_kicked(struct vh_queue *q)
{
	count(&q->nkicks, 1);
}

/* ---- answers ---- */

/* Does the driver want to hear of what was published since the last time that
 * this was asked? */
static bool
wants_signal(struct vh_queue *q)
{
	uint16_t old = q->decided;

	q->decided = q->next_used;
	if (!q->signalled) {
		q->signalled = true;
		return true;
	}
	if (q->event_idx)
		return vring_need_event(READ_ONCE(*q->used_event),
					q->next_used, old);
	return !(READ_ONCE(*q->avail_flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* Under lock. */
static void
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
	count(&q->nbatches, 1);
}

/* Under lock.  The event to signal once it is released, or NULL. */
static struct vh_event *
decide(struct vh_queue *q)
{
	full_fence();
	if (!q->call || !wants_signal(q)) {
		count(&q->nsuppressed, 1);
		return NULL;
	}
	count(&q->ncalls, 1);
	atomic_fetch_add_explicit(&q->call->refs, 1, memory_order_relaxed);
	return q->call;
}

void
vh_queue_publish(struct vh_queue *q, const struct vh_used *used, unsigned n)
{
	pthread_mutex_lock(&q->lock);
	if (q->used)
		publish(q, used, n);
	pthread_mutex_unlock(&q->lock);
}

void
vh_queue_complete(struct vh_queue *q, const struct vh_used *used, unsigned n)
{
	struct vh_event *ev = NULL;

	pthread_mutex_lock(&q->lock);
	if (q->used && n)
		publish(q, used, n);
	if (q->used && q->decided != q->next_used)
		ev = decide(q);
	pthread_mutex_unlock(&q->lock);
	if (ev) {
		vh_event_signal(ev);
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

/* Publish one answer; true when the driver wants to hear of it. */
static bool
publish_late(struct vh_queue *q, uint16_t head, uint32_t len)
{
	struct vh_used used = { head, len };
	struct vh_event *ev = NULL;

	pthread_mutex_lock(&q->lock);
	if (q->used) {
		publish(q, &used, 1);
		ev = decide(q);
	}
	pthread_mutex_unlock(&q->lock);
	if (!ev)
		return false;
	vh_event_put(ev);
	atomic_store(&q->signal_due, true);
	return true;
}

int
vh_chain_finish(struct vh_queue *q, struct vh_chain *c, const void *buf,
		size_t len)
{
	int r = VH_LATE;

	if (len > c->out_len)
		len = c->out_len;
	pthread_rwlock_rdlock(&q->epoch_lock);
	if (c->epoch == q->epoch && q->halted) {
		if (!vh_late_keep(q, c, buf, len)) {
			pthread_rwlock_unlock(&q->epoch_lock);
			c->mem = NULL;
			return VH_KEPT;
		}
	} else if (c->epoch == q->epoch) {
		if (buf)
			copy_out(c, buf, len);
		r = publish_late(q, c->head, (uint32_t)len) ? VH_SIGNAL_DUE
							    : VH_ANSWERED;
	}
	pthread_rwlock_unlock(&q->epoch_lock);
	if (r != VH_LATE && vh_mem_is_broken(c->mem))
		r = -EFAULT;
	vh_mem_put(c->mem);
	c->mem = NULL;
	/* The last touch: the connection may be freed after it. */
	atomic_fetch_sub_explicit(&q->holds, 1, memory_order_release);
	return r;
}

void
vh_queue_signal(struct vh_queue *q)
{
	if (atomic_load_explicit(&q->signal_due, memory_order_relaxed) &&
	    atomic_exchange(&q->signal_due, false))
		vh_event_signal_at(q, &q->call);
}
