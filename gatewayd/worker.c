/* SPDX-License-Identifier: MIT */
/*
 * Queue threads: serve what is on the ring (serve.c), look at it for a while
 * when that was all, then sleep.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"
#include "gatewayd/serve.h"

/* ---- polling and sleeping ---- */

#define POLL_FIRST_NS 8000	/* the window that a lively ring begins with */
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

/* How long it may take no requests. */
static uint64_t
held_for(struct qthread *t)
{
	uint64_t now = gw_clock_ns(&t->clock);

	if (atomic_load(&t->full))
		return KICKS_FOREVER;
	return t->until > now ? t->until - now : 0;
}

/* Sleep until it may take requests again, serving hiprio. */
static void
wait_held(struct qthread *t, struct vh_queue *hiprio, struct fs_thread *ft)
{
	fs_thread_relax(ft);
	if (!hiprio || t->held & HOLD_HIPRIO || vh_queue_arm(hiprio))
		kicks_sleep(&t->kicks, held_for(t));
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
	kicks_sleep(&t->kicks, KICKS_FOREVER);
	t->now = gw_clock_ns(&t->clock);
	poller_slept(p, t->now - begin);
	vh_queue_suppress(t->queue);
}

/* Take over what the control thread has set.  False when it is time to go. */
static bool
attend(struct qthread *t, struct vh_queue **hiprio)
{
	struct session *s = t->session;
	struct vh_queue *before = *hiprio;
	bool stop, drop;

	atomic_store(&t->attention, false);
	pthread_mutex_lock(&t->lock);
	*hiprio = t->hiprio;
	stop = t->stop;
	drop = t->drop;
	t->drop = false;
	pthread_mutex_unlock(&t->lock);
	if (before && before != *hiprio)
		kicks_remove(&t->kicks, before);
	if (*hiprio && before != *hiprio)
		kicks_add(&t->kicks, *hiprio);
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
		/* Until the control thread ends the session. */
		while (broken && !atomic_load(&t->attention))
			kicks_sleep(&t->kicks, KICKS_FOREVER);
	}
}

static void *
qthread_main(void *arg)
{
	struct qthread *t = arg;
	struct iovec *iov = malloc(SERVE_IOV * sizeof(*iov));
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
			kicks_sleep(&t->kicks, KICKS_FOREVER);
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
	err = kicks_init(&t->kicks);
	if (err)
		goto free_thread;
	kicks_add(&t->kicks, q);
	/* Signals are the control thread's; SIGBUS goes to who caused it. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGUSR1);	/* qthread_interrupt() */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&t->thread, NULL, qthread_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		goto close_kicks;
	snprintf(name, sizeof(name), "q%u %s", vh_queue_index(q),
		 s->share->conf->tag);
	pthread_setname_np(t->thread, name);
	*out = t;
	return 0;

close_kicks:
	kicks_fini(&t->kicks);
free_thread:
	pthread_mutex_destroy(&t->lock);
	free(t);
	return err;
}

void
qthread_wake(struct qthread *t)
{
	int err = kicks_wake(&t->kicks);

	if (err)
		log_error("%s: a queue thread cannot be woken: %s",
			  t->session->share->conf->tag, strerror(-err));
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
	kicks_fini(&t->kicks);
	op_table_fini(&t->ops);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
