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

static struct share *
share_new(struct gw *gw, struct conf_share *conf)
{
	struct share *share = calloc(1, sizeof(*share));

	if (!share)
		return NULL;
	share->gw = gw;
	share->conf = conf_share_get(conf);
	share->sock.fd = -1;
	TAILQ_INIT(&share->sessions);
	pthread_mutex_init(&share->lock, NULL);
	pool_share_init(share);
	return share;
}

void
share_discard(struct share *share)
{
	share_unlisten(share);
	if (share->fs)
		fs_share_free(share->fs);
	fold_discard(share);
	pthread_mutex_destroy(&share->lock);
	for (size_t i = 0; i < share->nolder; i++)
		conf_share_put(share->older[i]);
	free(share->older);
	conf_share_put(share->conf);
	free(share->failed);
	free(share);
}

int
share_prepare(struct gw *gw, struct conf_share *conf, struct share *old,
	      struct share **out, char *why, size_t size)
{
	struct share *share = share_new(gw, conf);
	int err = -ENOMEM;

	if (share && conf->enabled) {
		err = fs_share_new(conf, &share->fs, why, size);
		if (!err)
			err = fold_new(share);
		if (!err)
			err = share_bind(conf, old, &share->sock, why, size);
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

	TAILQ_INSERT_TAIL(&share->gw->shares, share, link);
	if (old)
		share_retire(old);
	if (share->sock.fd < 0)
		return;
	if (share_accept(share))
		log_error("%s: out of memory", c->tag);
	else
		log_info("%s: listening path=%s socket=%s", c->tag, c->path,
			 c->socket);
}

void
share_start(struct gw *gw, struct conf_share *conf)
{
	struct share *share;
	char why[256] = "";

	if (!share_prepare(gw, conf, NULL, &share, why, sizeof(why))) {
		share_commit(share, NULL);
		return;
	}
	log_error("%s: not served: %s", conf->tag, why);
	share = share_new(gw, conf);
	if (!share)
		return;
	share->failed = strdup(why);
	TAILQ_INSERT_TAIL(&gw->shares, share, link);
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
	if (!conf->enabled)
		return 0;
	if (share->sock.fd < 0 || strcmp(share->conf->socket, conf->socket))
		return share_bind(conf, share, sock, why, size);
	return listen_own(conf->socket, conf->socket_user, conf->socket_group,
			  conf->socket_mode);
}

int
share_apply(struct share *share, struct conf_share *conf, char *why,
	    size_t size)
{
	struct gw_socket sock;
	int err = rebind(share, conf, &sock, why, size);

	if (!err)
		err = keep_older(share, share->conf);
	if (err) {
		listen_close(&sock);
		return err;
	}
	if (sock.fd >= 0 || !conf->enabled)
		share_unlisten(share);
	share->conf = conf_share_get(conf);
	if (share->fs)
		fs_share_set(share->fs, conf);
	if (sock.fd >= 0) {
		share->sock = sock;
		err = share_accept(share);
	}
	return err;
}

void
share_retire(struct share *share)
{
	share->retired = true;
	share_unlisten(share);
	log_info("%s: no longer listening guests=%u", share->conf->tag,
		 share->nsessions);
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

/* What it counted goes to the share that took its place. */
void
share_free(struct share *share)
{
	struct share *heir;

	if (!fold_close(share))
		return;
	TAILQ_REMOVE(&share->gw->shares, share, link);
	heir = share_find(share->gw, share->conf->tag);
	if (heir) {
		pthread_mutex_lock(&heir->lock);
		fs_counters_add(&heir->past, &share->past);
		pthread_mutex_unlock(&heir->lock);
		fold_add(&heir->fold_past, &share->fold_past);
		heir->sessions_total += share->sessions_total;
		heir->refused += share->refused;
	}
	share_discard(share);
}

static void
add_counters(struct share *share, struct fs_counters *sum)
{
	struct session *s;

	pthread_mutex_lock(&share->lock);
	fs_counters_add(sum, &share->past);
	pthread_mutex_unlock(&share->lock);
	TAILQ_FOREACH(s, &share->sessions, link)
		for (unsigned i = 1; i < VH_QUEUES_MAX; i++)
			if (s->queue[i].thread)
				fs_counters_add(sum,
						&s->queue[i].thread->counters);
}

void
share_counters(struct share *share, struct fs_counters *sum)
{
	struct share *each = NULL;

	memset(sum, 0, sizeof(*sum));
	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		add_counters(each, sum);
}

void
share_fold_counters(struct share *share, struct cf_stats *sum)
{
	struct share *each = NULL;

	memset(sum, 0, sizeof(*sum));
	while ((each = share_of_tag(share->gw, each, share->conf->tag))) {
		fold_add(sum, &each->fold_past);
		fold_counters(each, sum);
	}
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
	if (share_sessions(share))
		return share->sock.fd >= 0 ? "serving" : "leaving";
	return share->sock.fd >= 0 ? "listening" : "disabled";
}
