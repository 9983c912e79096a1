/* SPDX-License-Identifier: MIT */
/*
 * Rings that start and stop, on the control thread: which thread serves which
 * queue, and when a stop is complete.
 *
 * A request queue has a thread of its own.  Hiprio is served by the first of
 * these threads and waits while there is none; not by the control thread,
 * because to answer is to write to an eventfd of the front end's, which can
 * block for ever.
 *
 * A stop is complete when the thread has let go and the queue's requests in
 * the pool have ended; those that do not end within STOP_S are cut loose,
 * because an unanswered GET_VRING_BASE freezes the whole virtual machine, and
 * answered when the ring goes on (vhost/late.c).  A thread that does not let
 * go is interrupted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"

#define STOP_S 2
#define HIPRIO 0

/* A ring that stops waits for no lock. */
static void
allow_waits(struct session *s)
{
	bool may = !s->ending;

	for (unsigned i = 0; i < VH_QUEUES_MAX; i++)
		if (s->queue[i].stopping)
			may = false;
	fs_session_wait(s->fs, may);
}

static void
queue_done(struct squeue *sq)
{
	struct session *s = sq->session;

	if (sq->stop_timer)
		evtimer_del(sq->stop_timer);
	sq->running = sq->stopping = false;
	allow_waits(s);
	pthread_mutex_lock(&s->lock);
	sq->released = false;
	pthread_mutex_unlock(&s->lock);
	vh_queue_stopped(sq->queue);
	session_watch(s);
	session_reap(s);	/* may free s */
}

static void
arm_stop_timer(struct squeue *sq)
{
	struct timeval tv = { .tv_sec = STOP_S };

	if (sq->stop_timer)
		evtimer_add(sq->stop_timer, &tv);
}

/* No thread serves it any more: done, or waiting for the pool. */
static void
queue_released(struct squeue *sq)
{
	struct session *s = sq->session;
	bool wait;

	pthread_mutex_lock(&s->lock);
	sq->released = true;
	/* One ring of a session has waited in vain: the others need not. */
	wait = sq->inflight > 0 && !s->stuck;
	pthread_mutex_unlock(&s->lock);
	if (wait && !s->ending && sq->stop_timer)
		arm_stop_timer(sq);
	else
		queue_done(sq);
}

static void
on_drained(struct gw *gw, struct gw_msg *msg)
{
	struct squeue *sq = (struct squeue *)((char *)msg -
			    offsetof(struct squeue, drained));

	(void)gw;
	if (sq->stopping && sq->released)
		queue_released(sq);
}

static void
on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct squeue *sq = arg;

	(void)fd;
	(void)what;
	if (!sq->released) {
		qthread_interrupt(sq->thread);
		arm_stop_timer(sq);
		return;
	}
	pthread_mutex_lock(&sq->session->lock);
	sq->session->stuck = sq->inflight > 0;
	pthread_mutex_unlock(&sq->session->lock);
	log_limited(&sq->session->share->limit, CONF_LOG_WARN,
		    "%s: session %llu: queue %u stopped with requests "
		    "outstanding", sq->session->share->conf->tag,
		    (unsigned long long)sq->session->id,
		    vh_queue_index(sq->queue));
	queue_done(sq);
}

/* ---- threads ---- */

static void
set_thread(struct squeue *sq, struct qthread *t)
{
	pthread_mutex_lock(&sq->session->lock);
	sq->thread = t;
	pthread_mutex_unlock(&sq->session->lock);
}

static struct qthread *
first_thread(struct session *s)
{
	for (unsigned i = 1; i < VH_QUEUES_MAX; i++)
		if (s->queue[i].running && !s->queue[i].stopping &&
		    s->queue[i].thread)
			return s->queue[i].thread;
	return NULL;
}

/* Hiprio has lost its thread, or never had one. */
static void
place_hiprio(struct session *s)
{
	struct squeue *sq = &s->queue[HIPRIO];
	struct qthread *t = first_thread(s);

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->hiprio = sq->queue;
	pthread_mutex_unlock(&t->lock);
	set_thread(sq, t);
	qthread_attend(t);
}

/* What an ended thread has counted stays with the tag. */
static void
count_past(struct tag *tag, struct qthread *t)
{
	pthread_mutex_lock(&tag->lock);
	fs_counters_add(&tag->past, &t->counters);
	op_table_add(&tag->past_ops, &t->ops);
	tag->past_polls += t->polls;
	tag->past_poll_hits += t->poll_hits;
	pthread_mutex_unlock(&tag->lock);
}

static void
on_thread_done(struct gw *gw, struct gw_msg *msg)
{
	struct qthread *t = (struct qthread *)((char *)msg -
			    offsetof(struct qthread, msg));
	struct session *s = t->session;
	struct squeue *own = vh_queue_data(t->queue);
	struct squeue *hiprio = &s->queue[HIPRIO];
	bool had_hiprio = hiprio->thread == t;

	qthread_join(t);
	gw->nthreads--;
	set_thread(own, NULL);
	if (had_hiprio)
		set_thread(hiprio, NULL);
	count_past(s->share->tag, t);
	qthread_free(t);

	if (had_hiprio && hiprio->running && !hiprio->stopping)
		place_hiprio(s);
	if (had_hiprio && hiprio->stopping)
		queue_released(hiprio);
	queue_released(own);	/* may free s */
}

static void
on_dropped(struct gw *gw, struct gw_msg *msg)
{
	struct squeue *sq = (struct squeue *)((char *)msg -
			    offsetof(struct squeue, dropped));

	(void)gw;
	if (!sq->thread || !sq->stopping)
		return;
	set_thread(sq, NULL);
	queue_released(sq);
}

/* ---- callbacks of vhost/ ---- */

static int
start_thread(struct session *s, struct squeue *sq)
{
	struct squeue *hiprio = &s->queue[HIPRIO];
	struct gw *gw = s->share->gw;
	bool both = hiprio->running && !hiprio->stopping && !hiprio->thread;
	struct qthread *t;
	int err;

	if (gw->nthreads >= gw->conf->gateway.max_threads) {
		log_limited(&s->share->limit, CONF_LOG_WARN,
			    "%s: session %llu: max_threads = %u queue threads "
			    "run already", s->share->conf->tag,
			    (unsigned long long)s->id,
			    gw->conf->gateway.max_threads);
		return -EAGAIN;
	}
	err = qthread_start(s, sq->queue, both ? hiprio->queue : NULL, &t);
	if (err)
		return err;
	t->msg.run = on_thread_done;
	gw->nthreads++;
	set_thread(sq, t);
	if (both)
		set_thread(hiprio, t);
	qthread_wake(t);	/* nobody could before (session_signal) */
	return 0;
}

static int
queue_start(void *ctx, struct vh_queue *q)
{
	struct session *s = ctx;
	unsigned index = vh_queue_index(q);
	struct squeue *sq = &s->queue[index];
	int err = 0;

	sq->queue = q;
	vh_queue_set_data(q, sq);
	sq->running = true;
	sq->held_back = s->clearing;
	if (s->clearing)
		return 0;
	if (index == HIPRIO)
		place_hiprio(s);
	else
		err = start_thread(s, sq);
	if (err)
		sq->running = false;
	return err;
}

void
squeue_go_on(struct session *s)
{
	for (unsigned i = VH_QUEUES_MAX; i-- > 0;) {
		struct squeue *sq = &s->queue[i];
		bool go = sq->held_back && sq->running && !sq->stopping;

		sq->held_back = false;
		if (go && i == HIPRIO && !sq->thread) {
			place_hiprio(s);
		} else if (go && i != HIPRIO && start_thread(s, sq)) {
			session_end(s, "its queues cannot be served");
			return;
		}
	}
}

static void
queue_stop(void *ctx, struct vh_queue *q)
{
	struct squeue *sq = vh_queue_data(q);
	struct qthread *t = sq->thread;

	if (sq->stopping)
		return;
	sq->stopping = true;
	allow_waits(ctx);
	if (!t) {
		queue_released(sq);
		return;
	}
	pthread_mutex_lock(&t->lock);
	if (t->queue == q) {
		t->stop = true;
	} else {
		t->hiprio = NULL;
		t->drop = true;
	}
	pthread_mutex_unlock(&t->lock);
	qthread_attend(t);
	arm_stop_timer(sq);
}

static void
queue_wake(void *ctx, struct vh_queue *q)
{
	struct squeue *sq = vh_queue_data(q);

	(void)ctx;
	if (sq && sq->running && !sq->stopping && sq->thread)
		qthread_attend(sq->thread);
}

/* Requests that were cut loose may still look at the files: then the next
 * INIT does what is left to do. */
static void
on_reset(void *ctx)
{
	struct session *s = ctx;
	struct fs_info info;
	bool idle;

	if (s->clearing)
		return;
	pthread_mutex_lock(&s->lock);
	idle = s->njobs == 0;
	pthread_mutex_unlock(&s->lock);
	fs_session_info(s->fs, &info);
	if (idle && info.ready && !info.windows)
		session_clear(s);
}

const struct vh_ops session_vh_ops = {
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.queue_wake = queue_wake,
	.reset = on_reset,
};

void
squeue_init(struct session *s)
{
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++) {
		struct squeue *sq = &s->queue[i];

		sq->session = s;
		sq->drained.run = on_drained;
		sq->dropped.run = on_dropped;
		sq->stop_timer = i <= s->conf->max_request_queues ?
			evtimer_new(s->share->gw->base, on_stop_timeout, sq) :
			NULL;
	}
}

void
squeue_fini(struct session *s)
{
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++) {
		struct squeue *sq = &s->queue[i];

		gw_unpost(s->share->gw, &sq->drained);
		gw_unpost(s->share->gw, &sq->dropped);
		if (sq->stop_timer)
			event_free(sq->stop_timer);
	}
}

bool
squeue_is_idle(const struct session *s)
{
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++)
		if (s->queue[i].running || s->queue[i].thread)
			return false;
	return true;
}
