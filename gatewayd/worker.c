/* SPDX-License-Identifier: MIT */
/*
 * Queue threads: take requests off the ring in batches, have fuse/ serve them,
 * answer; between batches look at the ring for a while, then sleep.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gatewayd/gw.h"

#define SERVE_BATCH 64		/* requests answered together */
#define BATCH_BYTES (256 << 10)	/* answer earlier after this much data */
#define BATCH_NS 50000		/* or after this long */
#define BATCH_SHOW 4		/* answers that the guest may see before */

/* Answers that wait to be published together. */
struct batch {
	struct qthread *t;
	struct vh_queue *q;
	struct fs_thread *ft;
	struct vh_used used[BATCH_SHOW];
	unsigned n;
	bool shown;		/* published, but not signalled */
	size_t bytes;
	uint64_t begun;		/* since when answers wait */
	bool tracing;		/* these three as they were when it began */
	uint64_t slow_ns;
	struct throttle *throttle;	/* NULL: no limit */
};

static void
batch_publish(struct batch *b)
{
	if (b->n || b->shown)
		vh_queue_complete(b->q, b->used, b->n);
	b->n = 0;
	b->shown = false;
	b->bytes = 0;
	b->begun = b->t->now;
}

/* A guest that looks at its ring goes on while we serve the rest. */
static void
batch_show(struct batch *b)
{
	vh_queue_publish(b->q, b->used, b->n);
	b->n = 0;
	b->shown = true;
}

static void
batch_add(struct batch *b, const struct vh_chain *c, ssize_t len)
{
	b->used[b->n++] = (struct vh_used){ c->head, (uint32_t)len };
	b->bytes += c->in_len + (size_t)len;
	if (b->bytes >= BATCH_BYTES || b->t->now - b->begun >= BATCH_NS)
		batch_publish(b);
	else if (b->n == BATCH_SHOW)
		batch_show(b);
}

/*
 * Why a thread takes nothing off its rings for a while.  Hiprio is served on,
 * unless it is what fills the pool.
 */
enum {
	HOLD_REQUESTS = 1 << 0,
	HOLD_HIPRIO = 1 << 1,
};

static unsigned
hold_of(const struct vh_queue *q)
{
	return vh_queue_index(q) == 0 ? HOLD_HIPRIO : HOLD_REQUESTS;
}

static bool
must_wait(struct batch *b)
{
	struct qthread *t = b->t;
	uint64_t ns = throttle_wait(b->throttle, t->now);

	if (!ns || !vh_queue_has_work(b->q))
		return false;
	if (t->now >= t->until)
		atomic_fetch_add_explicit(&b->throttle->waits, 1,
					  memory_order_relaxed);
	t->held |= HOLD_REQUESTS;
	t->until = t->now + ns;
	return true;
}

/* To the pool. */
static int
defer(struct batch *b, struct vh_chain *c)
{
	struct qthread *t = b->t;
	int r;

	batch_publish(b);
	r = pool_submit(t->session->share->gw->pool, t, b->q, c);
	if (r > 0)
		t->held |= HOLD_REQUESTS | hold_of(b->q);
	t->now = gw_clock_ns(&t->clock);
	return r < 0 ? r : 0;
}

/* Count what was served; the end of one is the beginning of the next. */
static void
served(struct batch *b, const struct vh_chain *c, size_t len)
{
	struct qthread *t = b->t;
	uint64_t since = t->now;
	struct op_done done = {
		.opcode = t->req.opcode,
		.error = t->req.error,
		.bytes_in = c->in_len,
		.bytes_out = len,
	};

	t->now = gw_clock_ns(&t->clock);
	done.ns = t->now - since;
	done.slow = b->slow_ns && done.ns >= b->slow_ns;
	op_count(&t->ops, &done);
	if (done.slow)
		inflight_slow(t->session, &t->req, done.ns);
	if (b->tracing)
		trace_reply(t->session, &t->req, len, done.ns);
}

/* 0 or, when the session is broken, -errno. */
static int
serve_one(struct batch *b, struct vh_chain *c)
{
	struct qthread *t = b->t;
	struct session *s = t->session;
	struct fs_req *req = &t->req;
	ssize_t n;

	req->in = c->iov;
	req->nin = c->nin;
	req->in_len = c->in_len;
	req->out = c->iov + c->nin;
	req->nout = c->nout;
	req->out_len = c->out_len;
	req->flags = vh_queue_index(b->q) == 0 ? FS_HIPRIO : 0;
	atomic_store_explicit(&t->since, t->now, memory_order_relaxed);
	if (b->tracing)
		trace_request(s, req);
	n = fs_serve(s->fs, b->ft, req);
	if (b->throttle)
		throttle_pay(b->throttle, t->now,
			     fs_req_data(req, n == FS_DEFER ? c->out_len :
					      n > 0 ? (size_t)n : 0));
	if (n == FS_DEFER) {
		if (!defer(b, c))
			return 0;
		n = 0;		/* out of memory: the chain is given back */
	}
	if (n == FS_GONE) {
		session_broken(s, "guest memory went away while a request "
			       "used it");
		return -EFAULT;
	}
	n = n > 0 ? n : 0;
	served(b, c, (size_t)n);
	batch_add(b, c, n);
	return 0;
}

/*
 * Serve what waits on `q` in one batch.  Number of requests taken, or -errno
 * after session_broken().
 */
static int
serve_batch(struct qthread *t, struct vh_queue *q, struct fs_thread *ft,
	    struct iovec *iov)
{
	struct batch b;
	struct vh_chain c;
	unsigned hold = hold_of(q);
	int rc, taken = 0;

	b.t = t;
	b.q = q;
	b.ft = ft;
	b.n = 0;
	b.shown = false;
	b.bytes = 0;
	b.begun = t->now;
	b.tracing = atomic_load_explicit(&t->session->share->tag->tracing,
					 memory_order_acquire);
	b.slow_ns = atomic_load_explicit(&t->session->share->gw->slow_ns,
					 memory_order_relaxed);
	b.throttle = &t->session->share->tag->throttle;
	if (hold != HOLD_REQUESTS ||
	    !atomic_load_explicit(&b.throttle->on, memory_order_relaxed))
		b.throttle = NULL;
	rc = vh_queue_sync(q);
	while (!rc && taken < SERVE_BATCH && !(t->held & hold)) {
		if (b.throttle && must_wait(&b))
			break;
		rc = vh_queue_pop(q, &c, iov);
		if (rc <= 0)
			break;
		taken++;
		rc = serve_one(&b, &c);
	}
	if (taken)
		atomic_store_explicit(&t->since, 0, memory_order_relaxed);
	batch_publish(&b);
	if (rc < 0) {
		session_broken(t->session, vh_queue_why(q));
		return rc;
	}
	return taken;
}

/* ---- polling and sleeping ---- */

#define POLL_FIRST_NS 8000	/* the window that a lively ring begins with */
#define LOOK_NS 1000000	/* at a ring without a kick fd */
#define POLL_YIELD_NS 2000	/* let somebody else run this often; */
#define POLL_LATE_NS 10000	/* who runs for so long needs the CPU more */

/*
 * How long to look before sleeping.  The window grows while requests come
 * back within it and shrinks to nothing when they do not; a window that
 * failed is tried again only after `patience` short sleeps, twice as many
 * each time.
 */
struct poller {
	uint64_t most_ns, window_ns;
	unsigned patience, waited;
};

static void
poller_missed(struct poller *p)
{
	p->window_ns /= 2;
	if (p->window_ns >= POLL_FIRST_NS)
		return;
	p->window_ns = 0;
	p->waited = 0;
	if (p->patience < 1024)
		p->patience = p->patience ? p->patience * 2 : 1;
}

static void
poller_hit(struct poller *p, uint64_t after_ns)
{
	p->patience = 0;
	if (after_ns * 2 > p->window_ns)
		p->window_ns *= 2;
	if (p->window_ns > p->most_ns)
		p->window_ns = p->most_ns;
}

/* The ring was empty for so long while we slept. */
static void
poller_slept(struct poller *p, uint64_t ns)
{
	if (ns > p->most_ns || p->window_ns || ++p->waited < p->patience)
		return;
	p->window_ns = p->most_ns < POLL_FIRST_NS * 4 ? p->most_ns :
		       POLL_FIRST_NS * 4;
}

static bool
any_work(struct vh_queue *a, struct vh_queue *b)
{
	return vh_queue_has_work(a) || (b && vh_queue_has_work(b));
}

static bool
take_poll_slot(struct gw *gw)
{
	if (atomic_fetch_add_explicit(&gw->pollers, 1, memory_order_relaxed) <
	    atomic_load_explicit(&gw->poll_max, memory_order_relaxed))
		return true;
	atomic_fetch_sub_explicit(&gw->pollers, 1, memory_order_relaxed);
	return false;
}

/* Look at the rings until there is work (true) or the window ends. */
static bool
poll_rings(struct qthread *t, struct poller *p, struct vh_queue *hiprio)
{
	struct gw *gw = t->session->share->gw;
	uint64_t begin, now, yielded;
	bool found = false;

	if (!p->window_ns || !take_poll_slot(gw))
		return false;
	begin = now = yielded = gw_clock_ns(&t->clock);
	while (!found && now - begin < p->window_ns &&
	       !atomic_load_explicit(&t->attention, memory_order_relaxed)) {
		for (int i = 0; i < 32 && !found; i++) {
			found = any_work(t->queue, hiprio);
			__builtin_ia32_pause();
		}
		now = gw_clock_ns(&t->clock);
		if (!found && now - yielded >= POLL_YIELD_NS) {
			sched_yield();
			yielded = gw_clock_ns(&t->clock);
			if (yielded - now > POLL_LATE_NS)
				break;
		}
	}
	atomic_fetch_sub_explicit(&gw->pollers, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&t->polls, 1, memory_order_relaxed);
	if (found) {
		atomic_fetch_add_explicit(&t->poll_hits, 1,
					  memory_order_relaxed);
		poller_hit(p, now - begin);
		t->now = now;
	} else {
		poller_missed(p);
	}
	return found;
}

static void
sleep_on(struct qthread *t, struct vh_queue *hiprio)
{
	struct pollfd fds[3] = {
		{ .fd = t->wake_fd, .events = POLLIN },
		{ .fd = vh_queue_kick_fd(t->queue), .events = POLLIN },
		{ .fd = hiprio ? vh_queue_kick_fd(hiprio) : -1,
		  .events = POLLIN },
	};
	int timeout = fds[1].fd < 0 || (hiprio && fds[2].fd < 0) ? 1 : -1;
	uint64_t n;

	if (poll(fds, 3, timeout) < 0)
		return;
	if (fds[0].revents && read(t->wake_fd, &n, sizeof(n)) < 0)
		return;
	if (fds[1].revents)
		vh_queue_drain_kick(t->queue);
	if (fds[2].revents)
		vh_queue_drain_kick(hiprio);
}

/* For poll(2); NULL = until it is woken. */
static const struct timespec *
held_for(struct qthread *t, bool look_often, struct timespec *ts)
{
	uint64_t now = gw_clock_ns(&t->clock);
	uint64_t ns = t->until > now ? t->until - now : 0;

	if (atomic_load(&t->full))
		ns = UINT64_MAX;
	if (look_often && ns > LOOK_NS)
		ns = LOOK_NS;
	ts->tv_sec = (time_t)(ns / 1000000000);
	ts->tv_nsec = (long)(ns % 1000000000);
	return ns == UINT64_MAX ? NULL : ts;
}

/* Sleep until it may take requests again, serving hiprio. */
static void
wait_held(struct qthread *t, struct vh_queue *hiprio, struct fs_thread *ft)
{
	struct vh_queue *also = t->held & HOLD_HIPRIO ? NULL : hiprio;
	struct pollfd fds[2] = {
		{ .fd = t->wake_fd, .events = POLLIN },
		{ .fd = also ? vh_queue_kick_fd(also) : -1, .events = POLLIN },
	};
	struct timespec ts;
	uint64_t n;

	fs_thread_relax(ft);
	if ((!also || vh_queue_arm(also)) &&
	    ppoll(fds, 2, held_for(t, also && fds[1].fd < 0, &ts), NULL) > 0) {
		if (fds[0].revents && read(t->wake_fd, &n, sizeof(n)) < 0)
			return;
		if (fds[1].revents)
			vh_queue_drain_kick(also);
	}
	/* A limit is looked at again when requests are. */
	if (!atomic_load(&t->full))
		t->held = 0;
	t->now = gw_clock_ns(&t->clock);
}

/* Wait until there is something to do. */
static void
wait_for_work(struct qthread *t, struct poller *p, struct vh_queue *hiprio,
	      struct fs_thread *ft)
{
	uint64_t begin;

	if (t->held) {
		wait_held(t, hiprio, ft);
		return;
	}
	if (poll_rings(t, p, hiprio))
		return;
	fs_thread_relax(ft);
	t->now = begin = gw_clock_ns(&t->clock);
	if (!vh_queue_arm(t->queue) || (hiprio && !vh_queue_arm(hiprio)))
		return;
	sleep_on(t, hiprio);
	t->now = gw_clock_ns(&t->clock);
	poller_slept(p, t->now - begin);
	vh_queue_suppress(t->queue);
}

/* A broken session is not served any more; wait for the control thread. */
static void
wait_for_attention(struct qthread *t)
{
	struct pollfd fd = { .fd = t->wake_fd, .events = POLLIN };
	uint64_t n;

	if (poll(&fd, 1, -1) > 0 && read(t->wake_fd, &n, sizeof(n)) < 0)
		return;
}

/* Take over what the control thread has set.  False when it is time to go. */
static bool
attend(struct qthread *t, struct vh_queue **hiprio)
{
	struct session *s = t->session;
	bool stop, drop;

	atomic_store(&t->attention, false);
	pthread_mutex_lock(&t->lock);
	*hiprio = t->hiprio;
	stop = t->stop;
	drop = t->drop;
	t->drop = false;
	pthread_mutex_unlock(&t->lock);
	if (drop)
		gw_post(s->share->gw, &s->queue[0].dropped);
	return !stop;
}

static void
serve_until_stopped(struct qthread *t, struct fs_thread *ft,
		    struct iovec *iov)
{
	struct poller p = { .most_ns = t->session->conf->poll_us * 1000 };
	struct vh_queue *hiprio = NULL;
	bool broken = false;

	while (attend(t, &hiprio)) {
		int n = 0, h = 0;

		do {
			if (hiprio)
				h = serve_batch(t, hiprio, ft, iov);
			n = serve_batch(t, t->queue, ft, iov);
			broken = n < 0 || h < 0;
			if (!broken && n == 0 && h <= 0)
				wait_for_work(t, &p, hiprio, ft);
		} while (!broken &&
			 !atomic_load_explicit(&t->attention,
					       memory_order_acquire));
		while (broken && !atomic_load(&t->attention))
			wait_for_attention(t);
	}
}

static void *
qthread_main(void *arg)
{
	struct qthread *t = arg;
	struct iovec *iov = malloc(VH_IOV_MAX * sizeof(*iov));
	struct vh_queue *hiprio = NULL;
	struct fs_thread *ft = NULL;

	peer_look(t->session);
	t->now = gw_clock_ns(&t->clock);
	if (iov && !fs_thread_new(&ft)) {
		serve_until_stopped(t, ft, iov);
		fs_thread_free(ft);
	} else {
		session_broken(t->session, "out of memory");
		while (attend(t, &hiprio))
			wait_for_attention(t);
	}
	free(iov);
	gw_post(t->session->share->gw, &t->msg);
	return NULL;
}

int
qthread_start(struct session *s, struct vh_queue *q, struct vh_queue *hiprio,
	      struct qthread **out)
{
	struct qthread *t = calloc(1, sizeof(*t));
	sigset_t all, old;
	char name[16];
	int err;

	if (!t)
		return -ENOMEM;
	t->session = s;
	t->queue = q;
	t->hiprio = hiprio;
	t->clock = s->share->gw->clock;
	t->req.counters = &t->counters;
	pthread_mutex_init(&t->lock, NULL);
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake_fd < 0) {
		err = -errno;
		goto free_thread;
	}
	/* Signals are the control thread's; SIGBUS goes to who caused it. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGUSR1);	/* qthread_interrupt() */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&t->thread, NULL, qthread_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		goto close_fd;
	snprintf(name, sizeof(name), "q%u %s", vh_queue_index(q),
		 s->share->conf->tag);
	pthread_setname_np(t->thread, name);
	*out = t;
	return 0;

close_fd:
	close(t->wake_fd);
free_thread:
	pthread_mutex_destroy(&t->lock);
	free(t);
	return err;
}

void
qthread_wake(struct qthread *t)
{
	uint64_t one = 1;

	if (write(t->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("%s: a queue thread cannot be woken: %s",
			  t->session->share->conf->tag, strerror(errno));
}

void
qthread_attend(struct qthread *t)
{
	atomic_store(&t->attention, true);
	qthread_wake(t);
}

/*
 * A front end may have made its eventfd block and left it full: the write
 * ends with EINTR.
 */
void
qthread_interrupt(struct qthread *t)
{
	pthread_kill(t->thread, SIGUSR1);
}

void
qthread_join(struct qthread *t)
{
	pthread_join(t->thread, NULL);
}

void
qthread_free(struct qthread *t)
{
	gw_unpost(t->session->share->gw, &t->msg);
	pool_forget(t->session->share->gw->pool, t);
	close(t->wake_fd);
	op_table_fini(&t->ops);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
