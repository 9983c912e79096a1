/* SPDX-License-Identifier: MIT */
/*
 * A share's life: its directory opened, its socket listening, its sessions,
 * its end.  One share that fails does not keep the others from being served.
 *
 * A struct share stands for one set of settings that its guests connected
 * with.  New settings that those guests cannot take over make a new struct
 * share in its place; the old one is retired and ends with its last guest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"

struct share *
share_of_tag(struct gw *gw, struct share *after, const char *tag)
{
	struct share *share = after ? TAILQ_NEXT(after, link) :
				      TAILQ_FIRST(&gw->shares);

	while (share && strcmp(share->conf->tag, tag))
		share = TAILQ_NEXT(share, link);
	return share;
}

struct share *
share_find(struct gw *gw, const char *tag)
{
	struct share *share = NULL, *stayed = NULL;

	while ((share = share_of_tag(gw, share, tag))) {
		if (!share->retired)
			return share;
		stayed = share;
	}
	return stayed;
}

bool
share_is_wanted(const struct conf_share *conf, const struct share *old)
{
	if (old && old->tag->wish && old->conf->enabled == conf->enabled)
		return old->tag->wish == TAG_ENABLED;
	return conf->enabled;
}

/* A configuration that says otherwise than before ends the admin's wish. */
static void
keep_wish(struct tag *tag, const struct conf_share *was,
	  const struct conf_share *conf)
{
	if (was->enabled != conf->enabled)
		tag->wish = TAG_AS_CONFIGURED;
}

static struct share *
share_new(struct gw *gw, struct conf_share *conf)
{
	struct share *share = calloc(1, sizeof(*share));

	if (!share)
		return NULL;
	share->gw = gw;
	share->tag = tag_get(gw, conf->tag);
	if (!share->tag) {
		free(share);
		return NULL;
	}
	share->conf = conf_share_get(conf);
	share->sock.fd = -1;
	if (conf->trace && share->tag->refs == 1)
		tag_trace(share->tag, (enum conf_trace)conf->trace);
	TAILQ_INIT(&share->sessions);
	pool_share_init(share);
	return share;
}

struct closing {
	struct aside aside;
	struct fs_share *fs;
};

static void
run_closing(struct aside *a)
{
	fs_share_free(((struct closing *)a)->fs);
}

static void
closed(struct gw *gw, struct aside *a)
{
	(void)gw;
	free(a);
}

void
share_close_fs(struct gw *gw, struct fs_share *fs)
{
	struct closing *c = NULL;

	if (fs_share_ends_slowly(fs))
		c = calloc(1, sizeof(*c));
	if (!c) {
		fs_share_free(fs);
		return;
	}
	c->fs = fs;
	c->aside.run = run_closing;
	c->aside.done = closed;
	aside_run(gw, &c->aside);
}

void
share_discard(struct share *share)
{
	share_unlisten(share);
	if (share->opening)
		share->gw->nopening--;
	if (share->fs)
		share_close_fs(share->gw, share->fs);
	fold_discard(share);
	owners_close(share);
	for (size_t i = 0; i < share->nolder; i++)
		conf_share_put(share->older[i]);
	free(share->older);
	conf_share_put(share->conf);
	tag_put(share->tag);
	free(share->failed);
	free(share);
}

int
share_open_ahead(struct gw *gw, struct conf_share *conf,
		 const struct share *old, char *why, size_t size)
{
	return share_is_wanted(conf, old) ?
		opening_begin(gw, conf, why, size) : 0;
}

int
share_prepare(struct gw *gw, struct conf_share *conf, struct share *old,
	      struct share **out, char *why, size_t size)
{
	struct share *share = share_new(gw, conf);
	struct owners *owners = NULL;
	int err = -ENOMEM;

	if (share && share_is_wanted(conf, old)) {
		err = opening_take(gw, conf, &share->fs, &owners, why, size);
		if (!err)
			fs_share_budget(share->fs, gw->budget);
		if (!err)
			err = owners_new(share, owners);
		if (!err)
			err = fold_new(share);
		if (!err)
			err = share_bind(gw, conf, old, &share->sock, why,
					 size);
	} else if (share) {
		err = 0;
	}
	if (err && !why[0])
		snprintf(why, size, "%s", strerror(-err));
	if (err && share)
		share_discard(share);
	else
		*out = share;
	return err;
}

void
share_commit(struct share *share, struct share *old)
{
	const struct conf_share *c = share->conf;

	/* Lists of shares keep their order. */
	if (old)
		TAILQ_INSERT_BEFORE(old, share, link);
	else
		TAILQ_INSERT_TAIL(&share->gw->shares, share, link);
	fold_commit(share);
	if (old && old->conf->trace != c->trace)
		tag_trace(share->tag, (enum conf_trace)c->trace);
	if (old)
		keep_wish(share->tag, old->conf, c);
	tag_limit(share);
	if (old)
		share_retire(old);
	if (share->sock.fd < 0)
		return;
	if (share_accept(share))
		log_error("%s: out of memory", c->tag);
	else
		log_info("%s: listening path=%s socket=%s", c->tag, c->path,
			 share->sock.path);
}

static void
start_failed(struct share *share, const char *why)
{
	log_error("%s: not served: %s", share->conf->tag, why);
	share->failed = strdup(why);
}

void
share_start(struct gw *gw, struct conf_share *conf)
{
	struct share *share = share_new(gw, conf);
	char why[256] = "";
	int err;

	if (!share)
		return;
	TAILQ_INSERT_TAIL(&gw->shares, share, link);
	err = share_open_ahead(gw, conf, NULL, why, sizeof(why));
	if (err == -EINPROGRESS) {
		share->opening = true;
		gw->nopening++;
	} else if (err) {
		start_failed(share, why[0] ? why : strerror(-err));
	}
}

/* Its directory is open, or could not be opened: go on with its start. */
static void
start_opened(struct share *share)
{
	struct gw *gw = share->gw;
	struct share *fresh;
	char why[256] = "";
	int err = share_prepare(gw, share->conf, share, &fresh, why,
				sizeof(why));

	share->opening = false;
	gw->nopening--;
	if (err)
		start_failed(share, why);
	else
		share_commit(fresh, share);
}

void
share_opened(struct gw *gw, const char *tag)
{
	struct share *share = NULL;
	char why[256];

	while ((share = share_of_tag(gw, share, tag)))
		if (share->opening)
			break;
	if (share && !gw->stopping &&
	    !share_open_ahead(gw, share->conf, share, why, sizeof(why)))
		start_opened(share);
}

/* Keep the settings in use until no thread can be reading them. */
static int
keep_older(struct share *share, struct conf_share *conf)
{
	struct conf_share **v = realloc(share->older, (share->nolder + 1) *
					sizeof(*v));

	if (!v)
		return -ENOMEM;
	share->older = v;
	share->older[share->nolder++] = conf;
	return 0;
}

/* A new socket where the name has changed, else owner and mode of the old. */
static int
rebind(struct share *share, const struct conf_share *conf,
       struct gw_socket *sock, char *why, size_t size)
{
	sock->fd = -1;
	if (!share_is_wanted(conf, share) || share->sock.inherited)
		return 0;
	if (share->sock.fd < 0 || strcmp(share->conf->socket, conf->socket))
		return share_bind(share->gw, conf, share, sock, why, size);
	return listen_own(conf->socket, conf->socket_user, conf->socket_group,
			  conf->socket_mode);
}

int
share_apply(struct share *share, struct conf_share *conf, char *why,
	    size_t size)
{
	struct gw_socket sock;
	bool wanted = share_is_wanted(conf, share);
	int err = rebind(share, conf, &sock, why, size);

	if (!err)
		err = keep_older(share, share->conf);
	if (err) {
		listen_close(&sock);
		return err;
	}
	if (sock.fd >= 0 || !wanted)
		share_unlisten(share);
	keep_wish(share->tag, share->conf, conf);
	if (share->conf->trace != conf->trace)
		tag_trace(share->tag, (enum conf_trace)conf->trace);
	share->conf = conf_share_get(conf);
	tag_limit(share);
	if (share->fs)
		fs_share_set(share->fs, conf);
	if (sock.fd >= 0) {
		share->sock = sock;
		err = share_accept(share);
	}
	share_rest(share);
	return err;
}

void
share_rest(struct share *share)
{
	if (share->sock.fd >= 0 || share->nsessions || !share->fs)
		return;
	share_close_fs(share->gw, share->fs);
	share->fs = NULL;
	fold_close(share);
}

void
share_retire(struct share *share)
{
	share->retired = true;
	if (share->sock.fd >= 0 || share->nsessions)
		log_info("%s: no longer listening guests=%u",
			 share->conf->tag, share->nsessions);
	share_unlisten(share);
	if (share->nsessions == 0)
		share_free(share);
}

void
share_close(struct share *share)
{
	struct session *s, *next;

	share_unlisten(share);
	for (s = TAILQ_FIRST(&share->sessions); s; s = next) {
		next = TAILQ_NEXT(s, link);
		session_end(s, NULL);
	}
}

/* Sessions may take their share, and others, with them when they end. */
unsigned
share_drop(struct share *share, uint64_t id)
{
	struct gw *gw = share->gw;
	const char *tag = share->tag->name;
	struct share *each = NULL;
	struct session *s;
	unsigned n = 0;

	share->tag->refs++;
again:
	while ((each = share_of_tag(gw, each, tag)))
		TAILQ_FOREACH(s, &each->sessions, link) {
			if (s->ending || (id && s->id != id))
				continue;
			session_end(s, "dropped by an admin");
			n++;
			goto again;
		}
	tag_put(share->tag);
	return n;
}

void
share_free(struct share *share)
{
	if (!fold_close(share))
		return;
	TAILQ_REMOVE(&share->gw->shares, share, link);
	share_discard(share);
}

void
share_each_thread(struct share *share, void (*fn)(struct qthread *, void *),
		  void *ctx)
{
	struct share *each = NULL;
	struct session *s;

	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		TAILQ_FOREACH(s, &each->sessions, link)
			for (unsigned i = 1; i < VH_QUEUES_MAX; i++)
				if (s->queue[i].thread)
					fn(s->queue[i].thread, ctx);
}

static void
add_counters(struct qthread *t, void *ctx)
{
	fs_counters_add(ctx, &t->counters);
}

void
share_counters(struct share *share, struct fs_counters *sum)
{
	memset(sum, 0, sizeof(*sum));
	pthread_mutex_lock(&share->tag->lock);
	fs_counters_add(sum, &share->tag->past);
	pthread_mutex_unlock(&share->tag->lock);
	share_each_thread(share, add_counters, sum);
}

static void
add_ops(struct qthread *t, void *ctx)
{
	op_table_add(ctx, &t->ops);
}

void
share_ops(struct share *share, struct op_table *sum)
{
	memset(sum, 0, sizeof(*sum));
	pthread_mutex_lock(&share->tag->lock);
	op_table_add(sum, &share->tag->past_ops);
	pthread_mutex_unlock(&share->tag->lock);
	share_each_thread(share, add_ops, sum);
}

unsigned
share_sessions(struct share *share)
{
	struct share *each = NULL;
	unsigned n = 0;

	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		n += each->nsessions;
	return n;
}

const char *
share_state(struct share *share)
{
	if (share->failed)
		return "failed";
	if (share->opening)
		return "opening";
	if (share_sessions(share))
		return share->sock.fd >= 0 ? "serving" : "leaving";
	return share->sock.fd >= 0 ? "listening" : "disabled";
}
