/* SPDX-License-Identifier: MIT */
/*
 * What a share needs before it can be served: its directory, then the store for
 * what the host cannot hold (owners.c).  Both are opened aside (aside.c),
 * because one on storage that hangs takes as long as that does.  Who needs them
 * asks with opening_begin(), goes away on -EINPROGRESS, and asks again when
 * told: a share that starts, a control client or SIGHUP, whose request is then
 * done again from the beginning.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"

#define WAIT_US 5000000		/* nobody waits longer for one */

struct opening {
	TAILQ_ENTRY(opening) link;
	struct aside aside;
	struct conf_share *conf;	/* held */
	uint64_t since;			/* 0: who asked was told no */
	bool opened;			/* the directory is, or cannot be */
	bool done;			/* all is */
	bool again;			/* its store's phase has changed */
	struct owners *owners;		/* held, or NULL: it uses none */

	/* While it is not opened, the thread's. */
	struct fs_share *fs;
	int err;
	char why[256];
};

static void
on_key(void *other, const char *key, enum conf_reload when)
{
	(void)key;
	if (when != CONF_LIVE)
		*(bool *)other = true;
}

/* Are all settings the same that opening may look at? */
static bool
is_same(const struct conf_share *a, const struct conf_share *b)
{
	bool other = a->state_inside != b->state_inside;

	return !strcmp(a->tag, b->tag) && !other &&
	       conf_share_diff(a, b, on_key, &other) >= 0 && !other;
}

static struct opening *
find(struct gw *gw, const struct conf_share *conf)
{
	struct opening *o;

	TAILQ_FOREACH(o, &gw->openings, link)
		if (is_same(o->conf, conf))
			return o;
	return NULL;
}

static void
run(struct aside *a)
{
	struct opening *o = (struct opening *)((char *)a -
			    offsetof(struct opening, aside));

	o->err = fs_share_new(o->conf, &o->fs, o->why, sizeof(o->why));
}

static void
drop(struct gw *gw, struct opening *o)
{
	TAILQ_REMOVE(&gw->openings, o, link);
	if (o->owners)
		owners_release(o->owners, false);
	if (o->fs)
		share_close_fs(gw, o->fs);
	conf_share_put(o->conf);
	free(o);
}

void
openings_drop(struct gw *gw)
{
	struct opening *o, *next;

	for (o = TAILQ_FIRST(&gw->openings); o; o = next) {
		next = TAILQ_NEXT(o, link);
		if (o->done)
			drop(gw, o);
	}
}

/* To those who wait. */
static void
tell(struct gw *gw)
{
	bool waits;

	reload_go_on(gw);
	waits = gw->ctl && ctl_go_on(gw->ctl);
	if (gw->stopping || (!waits && !gw->reload_waits))
		openings_drop(gw);
}

/* Its directory is open: the store, then those who wait.  It may be gone after
 * this. */
static void
go_on(struct gw *gw, struct opening *o)
{
	if (!o->err && !gw->stopping)
		o->err = owners_begin(gw, o->conf, o->fs, &o->owners);
	if (o->err == -EINPROGRESS) {
		o->err = 0;
		return;
	}
	o->done = true;
	share_opened(gw, o->conf->tag);
	tell(gw);
}

void
openings_go_on(struct gw *gw, const char *tag)
{
	struct opening *o;

	TAILQ_FOREACH(o, &gw->openings, link)
		o->again = o->opened && !o->done && !strcmp(o->conf->tag, tag);
	/* Others may go with one, and come. */
	do {
		TAILQ_FOREACH(o, &gw->openings, link)
			if (o->again)
				break;
		if (o) {
			o->again = false;
			go_on(gw, o);
		}
	} while (o);
}

static void
on_done(struct gw *gw, struct aside *a)
{
	struct opening *o = (struct opening *)((char *)a -
			    offsetof(struct opening, aside));

	o->opened = true;
	go_on(gw, o);
}

/* Some have had their time. */
static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell(arg);
}

/* For the one whose time is over first.  libevent counts from when it last
 * looked at the clock, which may be a while ago. */
static void
arm_timer(struct gw *gw)
{
	uint64_t now = now_us(), left = WAIT_US;
	struct opening *o;
	struct timeval tv;

	TAILQ_FOREACH(o, &gw->openings, link)
		if (!o->done && o->since && o->since + WAIT_US < now + left)
			left = o->since + WAIT_US > now ?
			       o->since + WAIT_US - now : 0;
	left += 1000;
	tv.tv_sec = (time_t)(left / 1000000);
	tv.tv_usec = (suseconds_t)(left % 1000000);
	event_base_update_cache_time(gw->base);
	if (!gw->opening_timer)
		gw->opening_timer = evtimer_new(gw->base, on_timeout, gw);
	if (gw->opening_timer)
		evtimer_add(gw->opening_timer, &tv);
}

int
opening_begin(struct gw *gw, struct conf_share *conf, char *why, size_t size)
{
	struct opening *o = find(gw, conf);

	if (o && o->done)
		return 0;
	if (o && !o->since)		/* somebody asks once more */
		o->since = now_us();
	if (o && now_us() - o->since < WAIT_US) {
		arm_timer(gw);
		return -EINPROGRESS;
	}
	if (o) {
		o->since = 0;
		snprintf(why, size, "%s does not answer",
			 o->opened ? gw->state_dir : conf->path);
		return -ETIMEDOUT;
	}
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->conf = conf_share_get(conf);
	o->since = now_us();
	o->aside.run = run;
	o->aside.done = on_done;
	TAILQ_INSERT_TAIL(&gw->openings, o, link);
	arm_timer(gw);
	aside_run(gw, &o->aside);
	return -EINPROGRESS;
}

int
opening_take(struct gw *gw, struct conf_share *conf, struct fs_share **fs,
	     struct owners **owners, char *why, size_t size)
{
	struct opening *o = find(gw, conf);
	int err;

	if (!o || !o->done)
		return -EAGAIN;
	err = o->err;
	if (err)
		snprintf(why, size, "%s", o->why);
	else
		err = fs_share_begin(o->fs, conf);
	if (!err) {
		*fs = o->fs;
		*owners = o->owners;
		o->fs = NULL;
		o->owners = NULL;
	}
	drop(gw, o);
	return err;
}

void
openings_fini(struct gw *gw)
{
	struct opening *o;

	while ((o = TAILQ_FIRST(&gw->openings))) {
		if (o->fs)
			fs_share_free(o->fs);
		o->fs = NULL;
		drop(gw, o);
	}
	if (gw->opening_timer)
		event_free(gw->opening_timer);
}
