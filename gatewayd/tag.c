/* SPDX-License-Identifier: MIT */
/*
 * What belongs to a mount tag and not to one set of its settings: counters,
 * the trace, and what an admin asked for while the daemon runs.  A reload
 * keeps it all; it ends with the last share of that tag.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gatewayd/gw.h"

#define TRACE_BYTES (1 << 20)
#define COMINGS_SHOWN 100	/* at once: as many guests may start together */

struct tag *
tag_get(struct gw *gw, const char *name)
{
	struct share *share = share_of_tag(gw, NULL, name);
	struct tag *t = share ? share->tag : calloc(1, sizeof(*t));

	if (t && !share) {
		t->name = strdup(name);
		if (!t->name) {
			free(t);
			return NULL;
		}
		t->gw = gw;
		t->comes.burst = t->leaves.burst = COMINGS_SHOWN;
		pthread_mutex_init(&t->lock, NULL);
		LIST_INIT(&t->folds);
	}
	if (t)
		t->refs++;
	return t;
}

void
tag_put(struct tag *t)
{
	if (--t->refs)
		return;
	if (t->drain_timer)
		event_free(t->drain_timer);
	op_table_fini(&t->cleared);
	op_table_fini(&t->past_ops);
	if (t->trace_logged)
		trace_log(t);
	lines_free(t->trace);
	free(t->hung);
	pthread_mutex_destroy(&t->lock);
	free(t->name);
	free(t);
}

/* Its memory stays: a thread may be adding a line. */
int
tag_trace(struct tag *t, enum conf_trace trace)
{
	bool on = trace != CONF_TRACE_NO;
	struct lines *lines;
	int err;

	if (on && !atomic_load(&t->trace)) {
		err = lines_new(TRACE_BYTES, &lines);
		if (err)
			return err;
		atomic_store(&t->trace, lines);
	}
	atomic_store(&t->tracing, on);
	if (t->trace_logged)
		trace_log(t);
	else if (trace == CONF_TRACE_LOG)
		trace_log_begin(t);
	t->trace_logged = trace == CONF_TRACE_LOG;
	return 0;
}

static void
attend(struct qthread *t, void *ctx)
{
	(void)ctx;
	qthread_attend(t);
}

void
tag_limit(struct share *share)
{
	const struct conf_share *c = share->conf;

	if (throttle_set(&share->tag->throttle, c->iops_limit,
			 c->bandwidth_limit))
		share_each_thread(share, attend, NULL);
}

/* ---- directories ---- */

char *
tag_dir(const char *top, const char *tag)
{
	char *enc = conf_tag_encode(tag), *dir;

	if (!enc || asprintf(&dir, "%s/%s", top, enc) < 0)
		dir = NULL;
	free(enc);
	return dir;
}

void
tag_make_dirs(const char *key, const char *path)
{
	char *dir = strdup(path);

	for (char *p = dir; p && (p = strchr(p + 1, '/'));) {
		*p = '\0';
		mkdir(dir, 0755);
		*p = '/';
	}
	if (dir && mkdir(dir, 0700) && errno != EEXIST)
		log_warn("%s %s: %s", key, dir, strerror(errno));
	free(dir);
}

/* ---- on and off ---- */

static void
cancel_drain(struct tag *t)
{
	if (t->drain_timer)
		evtimer_del(t->drain_timer);
}

/* Make all of it anew: its directory was not open, or could not be.  `share`
 * is gone after it. */
static int
replace(struct share *share, char *why, size_t size)
{
	struct share *fresh;
	int err = share_open_ahead(share->gw, share->conf, share, why, size);

	if (!err)
		err = share_prepare(share->gw, share->conf, share, &fresh,
				    why, size);
	if (!err)
		share_commit(fresh, share);
	return err;
}

static int
listen_again(struct share *share, char *why, size_t size)
{
	int err = share_bind(share->gw, share->conf, share, &share->sock, why,
			     size);

	if (!err)
		err = share_accept(share);
	if (err)
		share_unlisten(share);
	else
		log_info("%s: listening path=%s socket=%s", share->conf->tag,
			 share->conf->path, share->conf->socket);
	return err;
}

int
tag_enable(struct share *share, char *why, size_t size)
{
	struct tag *t = share->tag;
	enum tag_wish had = t->wish;
	int err = 0;

	if (share->retired) {
		snprintf(why, size, "%s is not configured any more",
			 share->conf->tag);
		return -ENOENT;
	}
	t->wish = TAG_ENABLED;
	if (!share->fs)
		err = replace(share, why, size);
	else if (share->sock.fd < 0)
		err = listen_again(share, why, size);
	if (err)
		t->wish = had;
	else
		cancel_drain(t);
	return err;
}

void
tag_disable(struct share *share)
{
	cancel_drain(share->tag);
	share->tag->wish = TAG_DISABLED;
	if (share->sock.fd < 0)
		return;
	share_unlisten(share);
	log_info("%s: disabled guests=%u", share->conf->tag,
		 share_sessions(share));
	share_rest(share);
}

static void
on_drained(evutil_socket_t fd, short what, void *arg)
{
	struct gw *gw = arg;
	struct share *share = NULL;

	(void)fd;
	(void)what;
	/* Which of the timers it was does not matter: one is not pending. */
	TAILQ_FOREACH(share, &gw->shares, link) {
		struct tag *t = share->tag;

		if (!t->drain_timer || t->wish != TAG_DISABLED ||
		    evtimer_pending(t->drain_timer, NULL))
			continue;
		event_free(t->drain_timer);
		t->drain_timer = NULL;
		log_info("%s: drained for long enough dropped=%u", t->name,
			 share_drop(share, 0));
		return;		/* the list may have changed */
	}
}

int
tag_drain(struct share *share, uint64_t us)
{
	struct timeval tv = {
		.tv_sec = (time_t)(us / 1000000),
		.tv_usec = (suseconds_t)(us % 1000000),
	};
	struct tag *t = share->tag;

	tag_disable(share);
	if (!us)
		return 0;
	if (!t->drain_timer)
		t->drain_timer = evtimer_new(share->gw->base, on_drained,
					     share->gw);
	if (!t->drain_timer)
		return -ENOMEM;
	evtimer_add(t->drain_timer, &tv);
	return 0;
}

/* ---- clear ---- */

static void
clear_max(struct qthread *t, void *ctx)
{
	(void)ctx;
	op_table_clear_max(&t->ops);
}

/*
 * Percentiles are of what came after this copy of the table.  A thread that
 * is just counting may keep a maximum from before.
 */
void
tag_clear(struct share *share)
{
	struct tag *t = share->tag;

	op_table_fini(&t->cleared);
	share_ops(share, &t->cleared);
	pthread_mutex_lock(&t->lock);
	op_table_clear_max(&t->past_ops);
	pthread_mutex_unlock(&t->lock);
	share_each_thread(share, clear_max, NULL);
}
