/* SPDX-License-Identifier: MIT */
/*
 * The control thread's loop: signals, mail from other threads, the orderly
 * end.
 */
#include "gatewayd/gw.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define STOP_MARGIN_US 5000000	/* to end what has been drained */
#define START_US 5000000	/* wait so long for directories to open */

uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Under mail_lock: who has got the message may close the eventfd. */
static void
wake(struct gw *gw)
{
	uint64_t one = 1;

	if (write(gw->mail_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("mail to the control thread is lost: %s",
			  strerror(errno));
}

/* A message already on its way is not posted twice. */
void
gw_post(struct gw *gw, struct gw_msg *msg)
{
	pthread_mutex_lock(&gw->mail_lock);
	if (!msg->posted) {
		msg->posted = true;
		if (STAILQ_EMPTY(&gw->mail))
			wake(gw);
		STAILQ_INSERT_TAIL(&gw->mail, msg, link);
	}
	pthread_mutex_unlock(&gw->mail_lock);
}

void
gw_unpost(struct gw *gw, struct gw_msg *msg)
{
	pthread_mutex_lock(&gw->mail_lock);
	if (msg->posted)
		STAILQ_REMOVE(&gw->mail, msg, gw_msg, link);
	msg->posted = false;
	pthread_mutex_unlock(&gw->mail_lock);
}

static struct gw_msg *
next_mail(struct gw *gw)
{
	struct gw_msg *msg;

	pthread_mutex_lock(&gw->mail_lock);
	msg = STAILQ_FIRST(&gw->mail);
	if (msg) {
		STAILQ_REMOVE_HEAD(&gw->mail, link);
		msg->posted = false;
	}
	pthread_mutex_unlock(&gw->mail_lock);
	return msg;
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct gw *gw = arg;
	struct gw_msg *msg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_error("eventfd: %s", strerror(errno));
	while ((msg = next_mail(gw)))
		msg->run(gw, msg);
}

static void
on_stop_signal(evutil_socket_t sig, short what, void *arg)
{
	struct gw *gw = arg;

	(void)what;
	log_info("stopping on %s", sig == SIGTERM ? "SIGTERM" : "SIGINT");
	gw_stop(gw, 0);
}

static void
on_reload_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	reload_on_signal(arg);
}

void
gw_apply(struct gw *gw)
{
	const struct conf_gateway *c = &gw->conf->gateway;
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned most = n > 1 ? (unsigned)n / 2 : 0;

	atomic_store(&gw->poll_max, (int)(c->poll_max_given ? c->poll_max :
							      most));
	atomic_store(&gw->slow_ns, c->slow_request_us * 1000);
}

int
gw_init(struct gw *gw)
{
	pthread_mutex_init(&gw->mail_lock, NULL);
	STAILQ_INIT(&gw->mail);
	TAILQ_INIT(&gw->shares);
	TAILQ_INIT(&gw->openings);
	gw->started = (time_t)(now_us() / 1000000);
	gw->reloads.when = time(NULL);
	gw->base = event_base_new();
	gw->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!gw->base || gw->mail_fd < 0)
		return -ENOMEM;
	gw->mail_event = event_new(gw->base, gw->mail_fd, EV_READ | EV_PERSIST,
				   on_mail, gw);
	gw->signals[0] = evsignal_new(gw->base, SIGTERM, on_stop_signal, gw);
	gw->signals[1] = evsignal_new(gw->base, SIGINT, on_stop_signal, gw);
	gw->signals[2] = evsignal_new(gw->base, SIGHUP, on_reload_signal, gw);
	if (!gw->mail_event || !gw->signals[0] || !gw->signals[1] ||
	    !gw->signals[2])
		return -ENOMEM;
	event_add(gw->mail_event, NULL);
	for (int i = 0; i < 3; i++)
		event_add(gw->signals[i], NULL);
	return hung_init(gw) || trace_log_init(gw) ? -ENOMEM : 0;
}

void
gw_fini(struct gw *gw)
{
	for (size_t i = 0; i < sizeof(gw->signals) / sizeof(gw->signals[0]);
	     i++)
		if (gw->signals[i])
			event_free(gw->signals[i]);
	if (gw->stop_timer)
		event_free(gw->stop_timer);
	openings_fini(gw);
	if (gw->sweep)
		event_free(gw->sweep);
	if (gw->leave)
		event_free(gw->leave);
	if (gw->watchdog)
		event_free(gw->watchdog);
	if (gw->hung_timer)
		event_free(gw->hung_timer);
	if (gw->trace_timer)
		event_free(gw->trace_timer);
	if (gw->mail_event)
		event_free(gw->mail_event);
	if (gw->mail_fd >= 0)
		close(gw->mail_fd);
	if (gw->base) {
		/* Control clients that were connected are freed by the loop. */
		event_base_loop(gw->base, EVLOOP_NONBLOCK);
		event_base_free(gw->base);
	}
	activate_fini(gw);
	pthread_mutex_destroy(&gw->mail_lock);
}

static void
gw_end(struct gw *gw)
{
	gw->ended = true;
	event_base_loopbreak(gw->base);
}

static void
on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	log_warn("some requests did not end in time; leaving them");
	gw_end(arg);
}

void
gw_run(struct gw *gw)
{
	if (!gw->ended)
		event_base_dispatch(gw->base);
}

void
gw_run_start(struct gw *gw)
{
	uint64_t end = now_us() + START_US;
	struct share *share;

	while (gw->nopening && !gw->ended && now_us() < end)
		event_base_loop(gw->base, EVLOOP_ONCE);
	TAILQ_FOREACH(share, &gw->shares, link)
		if (share->opening)
			log_warn("%s: path %s does not answer; it is served "
				 "when it does", share->conf->tag,
				 share->conf->path);
}

/* Shares go when their sessions have gone; the loop ends with the last. */
void
gw_check_stopped(struct gw *gw)
{
	struct share *share, *next;

	for (share = TAILQ_FIRST(&gw->shares); share; share = next) {
		next = TAILQ_NEXT(share, link);
		if (share->nsessions == 0 && (gw->stopping || share->retired))
			share_free(share);
		else
			share_rest(share);
	}
	if (gw->stopping && TAILQ_EMPTY(&gw->shares) &&
	    LIST_EMPTY(&gw->stores) && !gw->nasides)
		gw_end(gw);
}

void
gw_stop(struct gw *gw, int status)
{
	uint64_t us = gw->conf->gateway.drain_timeout_us;
	struct timeval tv = {
		.tv_sec = (time_t)(us / 1000000),
		.tv_usec = (suseconds_t)(us % 1000000),
	};
	struct share *share;

	if (gw->stopping)
		return;
	gw->stopping = true;
	gw->exit_status = status;
	/* Whatever TimeoutStopSec= is, drain_timeout counts. */
	notify_systemd("STOPPING=1\nSTATUS=Waiting for requests to end\n"
		       "EXTEND_TIMEOUT_USEC=%llu",
		       (unsigned long long)us + STOP_MARGIN_US);
	gw->stop_timer = evtimer_new(gw->base, on_stop_timeout, gw);
	if (gw->stop_timer)
		evtimer_add(gw->stop_timer, &tv);
	TAILQ_FOREACH(share, &gw->shares, link)
		share_close(share);
	openings_drop(gw);
	gw_check_stopped(gw);
}

void
gw_status(struct gw *gw)
{
	unsigned nshares = 0, nguests = 0;
	struct share *share;

	if (gw->stopping)
		return;
	TAILQ_FOREACH(share, &gw->shares, link) {
		nshares += share->sock.fd >= 0;
		nguests += share->nsessions;
	}
	notify_systemd("STATUS=Serving %u shares, %u guests", nshares,
		       nguests);
}
