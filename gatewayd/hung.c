/* SPDX-License-Identifier: MIT */
/*
 * Requests that hang: the log tells of each once, and once more when it has
 * ended.  A timer of the control thread looks at what is under way; a tag
 * without guests costs nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include "gatewayd/gw.h"

#define TICK_MIN_US 100000
#define TICK_MAX_US 5000000

static bool
is_same(const struct inflight *a, const struct inflight *b)
{
	return a->since_ns == b->since_ns && a->unique == b->unique &&
	       a->session == b->session;
}

static bool
is_among(const struct inflight *one, const struct inflight *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_same(one, &list[i]))
			return true;
	return false;
}

static void
say(struct tag *tag, struct log_limit *limit, const char *what,
    const struct inflight *r, uint64_t now)
{
	char buf[24];

	log_limited(limit, CONF_LOG_WARN, "%s: hung request %sop=%s n=%llu "
		    "u=%llu session=%llu age_ms=%llu", tag->name, what,
		    op_name(r->opcode, buf, sizeof(buf)),
		    (unsigned long long)r->nodeid,
		    (unsigned long long)r->unique,
		    (unsigned long long)r->session,
		    (unsigned long long)(now - r->since_ns) / 1000000);
}

/* Keep those of list[n] that hang; how many. */
static size_t
keep_hung(struct gw *gw, struct inflight *list, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (inflight_is_hung(gw, &list[i]))
			list[kept++] = list[i];
	return kept;
}

static void
look_at_tag(struct share *share)
{
	struct gw *gw = share->gw;
	struct tag *tag = share->tag;
	uint64_t now = gw_clock_ns(&gw->clock);
	struct inflight *list;
	size_t n;

	if (inflight_list(share, &list, &n))
		return;
	n = keep_hung(gw, list, n);
	for (size_t i = 0; i < n; i++)
		if (!is_among(&list[i], tag->hung, tag->nhung))
			say(tag, &tag->hangs, "", &list[i], now);
	for (size_t i = 0; i < tag->nhung; i++)
		if (!is_among(&tag->hung[i], list, n))
			say(tag, &tag->ends, "has ended ", &tag->hung[i], now);
	free(tag->hung);
	tag->hung = list;
	tag->nhung = n;
}

static void
arm(struct gw *gw)
{
	uint64_t us = gw->conf->gateway.hung_request_us / 8;
	struct timeval tv;

	if (us < TICK_MIN_US)
		us = us ? TICK_MIN_US : TICK_MAX_US;
	if (us > TICK_MAX_US)
		us = TICK_MAX_US;
	tv.tv_sec = (time_t)(us / 1000000);
	tv.tv_usec = (suseconds_t)(us % 1000000);
	evtimer_add(gw->hung_timer, &tv);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw *gw = arg;
	struct share *share;

	(void)fd;
	(void)what;
	gw->hung_round++;
	TAILQ_FOREACH(share, &gw->shares, link) {
		struct tag *tag = share->tag;

		if (tag->hung_round == gw->hung_round ||
		    (!share->nsessions && !tag->nhung))
			continue;
		tag->hung_round = gw->hung_round;
		look_at_tag(share);
	}
	arm(gw);
}

int
hung_init(struct gw *gw)
{
	gw->hung_timer = evtimer_new(gw->base, on_tick, gw);
	if (!gw->hung_timer)
		return -ENOMEM;
	arm(gw);
	return 0;
}
