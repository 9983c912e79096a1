/* SPDX-License-Identifier: MIT */
/*
 * The streams of the control socket: lines until the client leaves.  One that
 * does not read loses lines and is told how many.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/ctlpriv.h"
#include "gatewayd/tree.h"

#define RING_TICK_US 50000	/* how often a watched ring is looked at */

/* The lines of a ring wait there. */
static void
stream_ring(struct client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	size_t had = evbuffer_get_length(out);

	if (had < OUTPUT_HIGH)
		tree_watch_poll(c->watch, OUTPUT_HIGH - had, out);
}

void
ctl_watch_tick(struct client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	struct evbuffer *lines;
	char *line;

	if (tree_watch_is_ring(c->watch)) {
		stream_ring(c);
		return;
	}
	lines = evbuffer_new();
	if (!lines)
		return;
	tree_watch_poll(c->watch, SIZE_MAX, lines);
	if (c->lost && evbuffer_get_length(out) < OUTPUT_HIGH) {
		evbuffer_add_printf(out, "lost %lu\n", c->lost);
		c->lost = 0;
	}
	while ((line = evbuffer_readln(lines, NULL, EVBUFFER_EOL_LF))) {
		if (evbuffer_get_length(out) < OUTPUT_HIGH)
			evbuffer_add_printf(out, "%s\n", line);
		else
			c->lost++;
		free(line);
	}
	evbuffer_free(lines);
}

void
ctl_set_ticking(struct client *c, bool on)
{
	struct timeval second = { .tv_sec = 1 };

	if (c->ticking == on)
		return;
	c->ticking = on;
	if (on && c->ctl->nticking++ == 0)
		evtimer_add(c->ctl->tick, &second);
	if (!on && --c->ctl->nticking == 0)
		evtimer_del(c->ctl->tick);
}

bool
ctl_has_left(const struct client *c)
{
	struct pollfd fd = { .fd = bufferevent_getfd(c->bev) };

	return c->eof && poll(&fd, 1, 0) > 0 &&
	       (fd.revents & (POLLHUP | POLLERR));
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval second = { .tv_sec = 1 };
	struct ctl *ctl = arg;
	struct client *c, *next;

	(void)fd;
	(void)what;
	for (c = TAILQ_FIRST(&ctl->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if ((c->watch || c->answer) && ctl_has_left(c))
			ctl_client_free(c);
		else if (c->watch)
			ctl_watch_tick(c);
	}
	if (ctl->nticking)
		evtimer_add(ctl->tick, &second);
}

static void
on_ring_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval soon = { .tv_usec = RING_TICK_US };
	struct ctl *ctl = arg;
	struct client *c;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(c, &ctl->clients, link)
		if (c->watch && tree_watch_is_ring(c->watch))
			stream_ring(c);
	evtimer_add(ctl->ring_tick, &soon);
}

int
ctl_watch(struct client *c, struct request *r, char *why, size_t size)
{
	struct timeval soon = { .tv_usec = RING_TICK_US };
	int err = tree_watch_new(c->ctl->gw, r->path, &c->watch, why, size);

	if (err)
		return err;
	ctl_set_ticking(c, true);
	if (tree_watch_is_ring(c->watch) && c->ctl->nrings++ == 0)
		evtimer_add(c->ctl->ring_tick, &soon);
	evbuffer_add_printf(bufferevent_get_output(c->bev), "ok stream\n");
	ctl_watch_tick(c);
	return 0;
}

int
ctl_watch_init(struct ctl *ctl)
{
	ctl->tick = evtimer_new(ctl->gw->base, on_tick, ctl);
	ctl->ring_tick = evtimer_new(ctl->gw->base, on_ring_tick, ctl);
	return ctl->tick && ctl->ring_tick ? 0 : -ENOMEM;
}

void
ctl_watch_end(struct client *c)
{
	ctl_set_ticking(c, false);
	if (!c->watch)
		return;
	if (tree_watch_is_ring(c->watch) && --c->ctl->nrings == 0)
		evtimer_del(c->ctl->ring_tick);
	tree_watch_free(c->watch);
}
