/* SPDX-License-Identifier: MIT */
/*
 * One connected front end: from accept to the moment when no thread, no ring
 * and no request of it is left.  Its trouble ends it and nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gatewayd/gw.h"

#define SILENT_S 10	/* a front end that says nothing, or half of it, is closed */

static const char *
tag(const struct session *s)
{
	return s->share->conf->tag;
}

static void
session_free(struct session *s)
{
	struct share *share = s->share;
	struct gw *gw = share->gw;

	gw_unpost(gw, &s->broken_msg);
	gw_unpost(gw, &s->idle_msg);
	squeue_fini(s);
	if (s->event)
		event_free(s->event);
	if (s->silent)
		event_free(s->silent);
	if (s->conn)
		vh_conn_free(s->conn);
	if (s->fs)
		fs_session_free(s->fs);
	TAILQ_REMOVE(&share->sessions, s, link);
	share->nsessions--;
	conf_share_put(s->conf);
	pthread_mutex_destroy(&s->lock);
	free(s);
	gw_status(gw);
	gw_check_stopped(gw);
}

void
session_reap(struct session *s)
{
	bool idle;

	if (!s->ending || !squeue_is_idle(s) || !vh_conn_is_idle(s->conn))
		return;
	pthread_mutex_lock(&s->lock);
	idle = s->njobs == 0;
	pthread_mutex_unlock(&s->lock);
	if (idle)
		session_free(s);
}

void
session_end(struct session *s, const char *why)
{
	if (s->ending)
		return;
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_mutex_unlock(&s->lock);
	if (why)
		log_limited(&s->share->limit, CONF_LOG_WARN,
			    "%s: session %llu ended: %s pid=%d", tag(s),
			    (unsigned long long)s->id, why, (int)s->peer.pid);
	else
		log_limited(&s->share->tag->leaves, CONF_LOG_INFO,
			    "%s: session %llu left pid=%d", tag(s),
			    (unsigned long long)s->id, (int)s->peer.pid);
	event_del(s->event);
	evtimer_del(s->silent);
	fs_session_wait(s->fs, false);
	vh_conn_close(s->conn);
	session_reap(s);
}

void
session_watch(struct session *s)
{
	if (s->ending)
		return;
	if (vh_conn_wants_read(s->conn))
		event_add(s->event, NULL);
	else
		event_del(s->event);
}

/* From the first byte on, however slowly the others come. */
static void
expect_the_rest(struct session *s)
{
	struct timeval tv = { .tv_sec = SILENT_S };

	if (!vh_conn_is_midway(s->conn))
		evtimer_del(s->silent);
	else if (!evtimer_pending(s->silent, NULL))
		evtimer_add(s->silent, &tv);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	int err;

	(void)fd;
	(void)what;
	s->heard = true;
	err = vh_conn_process(s->conn);
	expect_the_rest(s);
	if (err == -ENOTCONN)
		session_end(s, NULL);
	else if (err)
		session_end(s, vh_conn_why(s->conn));
	else
		session_watch(s);
}

static void
on_silent(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	session_end(s, s->heard ? "it began a message and did not end it in "
				  "10 s" :
				  "it connected and said nothing for 10 s");
}

void
session_broken(struct session *s, const char *why)
{
	pthread_mutex_lock(&s->lock);
	if (!s->broken[0])
		snprintf(s->broken, sizeof(s->broken), "%s", why);
	pthread_mutex_unlock(&s->lock);
	gw_post(s->share->gw, &s->broken_msg);
}

static void
on_broken(struct gw *gw, struct gw_msg *msg)
{
	struct session *s = (struct session *)((char *)msg -
			    offsetof(struct session, broken_msg));

	(void)gw;
	session_end(s, s->broken);
}

void
session_job_begin(struct session *s, unsigned index)
{
	pthread_mutex_lock(&s->lock);
	s->queue[index].inflight++;
	s->njobs++;
	pthread_mutex_unlock(&s->lock);
}

/* The last touch of a job: the session may be gone after the unlock. */
void
session_job_end(struct session *s, unsigned index)
{
	struct gw *gw = s->share->gw;

	pthread_mutex_lock(&s->lock);
	if (--s->queue[index].inflight == 0 && s->queue[index].released)
		gw_post(gw, &s->queue[index].drained);
	if (--s->njobs == 0 && s->ending)
		gw_post(gw, &s->idle_msg);
	pthread_mutex_unlock(&s->lock);
}

/* Not from here: a front end can make its eventfd block.  When no thread
 * serves the queue now, the next one begins with it. */
void
session_signal(struct session *s, unsigned index)
{
	pthread_mutex_lock(&s->lock);
	if (s->queue[index].thread)
		qthread_wake(s->queue[index].thread);
	pthread_mutex_unlock(&s->lock);
}

static void
on_idle(struct gw *gw, struct gw_msg *msg)
{
	(void)gw;
	session_reap((struct session *)((char *)msg -
		     offsetof(struct session, idle_msg)));
}

/* What session_free() undoes; false if something could not be made. */
static bool
make_parts(struct session *s, int fd)
{
	struct vh_settings set = {
		.nqueues = 1 + s->conf->max_request_queues,
		.tag = s->conf->advertise_tag ? s->conf->tag : NULL,
	};
	struct event_base *base = s->share->gw->base;

	if (vh_conn_new(fd, &set, &session_vh_ops, s, &s->conn))
		return false;
	s->event = event_new(base, vh_conn_fd(s->conn), EV_READ | EV_PERSIST,
			     on_readable, s);
	s->silent = evtimer_new(base, on_silent, s);
	return s->event && s->silent &&
	       !fs_session_new(s->share->fs, &s->fs);
}

int
session_start(struct share *share, int fd, const struct ucred *peer)
{
	struct timeval tv = { .tv_sec = SILENT_S };
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->share = share;
	s->conf = conf_share_get(share->conf);
	s->id = ++share->gw->next_session;
	s->peer = *peer;
	s->since = time(NULL);
	s->broken_msg.run = on_broken;
	s->idle_msg.run = on_idle;
	pthread_mutex_init(&s->lock, NULL);
	squeue_init(s);
	TAILQ_INSERT_TAIL(&share->sessions, s, link);
	share->nsessions++;
	if (!make_parts(s, fd)) {
		if (s->conn)
			vh_conn_close(s->conn);
		session_free(s);
		return -ENOMEM;
	}
	share->tag->sessions_total++;
	evtimer_add(s->silent, &tv);
	event_add(s->event, NULL);
	log_limited(&share->tag->comes, CONF_LOG_INFO,
		    "%s: session %llu connected pid=%d uid=%u", tag(s),
		    (unsigned long long)s->id, (int)peer->pid, peer->uid);
	gw_status(share->gw);
	return 0;
}
