/* SPDX-License-Identifier: MIT */
/*
 * Counters and states as text: "name value" lines.  Counters only grow and
 * keep their names.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gatewayd/tree.h"

static void
add(struct evbuffer *out, const char *name, unsigned long long value)
{
	evbuffer_add_printf(out, "%s %llu\n", name, value);
}

static void
add_counters(struct evbuffer *out, const struct fs_counters *c)
{
#define ADD(name, help) add(out, #name, c->name);
	FS_STATS(ADD)
#undef ADD
}

static void
add_fold(struct evbuffer *out, const struct cf_stats *c)
{
#define ADD(name, help) add(out, "casefold_" #name, c->name);
	CF_STATS(ADD)
#undef ADD
}

/* Operations that were used, in the order of their opcodes. */
static void
add_ops(struct evbuffer *out, const struct fs_counters *c)
{
	for (uint32_t i = 0; i < FS_OPCODES; i++)
		if (c->op[i])
			evbuffer_add_printf(out, "op.%s %llu\nop.%s.errors "
					    "%llu\n", fs_op_name(i),
					    (unsigned long long)c->op[i],
					    fs_op_name(i),
					    (unsigned long long)
					    c->op_errors[i]);
}

void
stats_share(struct share *share, struct evbuffer *out)
{
	struct fs_counters c;
	struct cf_stats fold;
	struct fs_info info = { 0 };

	share_counters(share, &c);
	if (share->fs)
		fs_share_info(share->fs, &info);
	add_counters(out, &c);
	add(out, "sessions", share_sessions(share));
	add(out, "sessions_total", share->sessions_total);
	add(out, "sessions_refused", share->refused);
	add(out, "nodes", info.nodes);
	add(out, "handles", info.handles);
	add(out, "node_fds", info.node_fds);
	if (share->conf->casefold != CONF_CASEFOLD_NO) {
		share_fold_counters(share, &fold);
		add_fold(out, &fold);
	}
	add_ops(out, &c);
}

void
stats_gateway(struct gw *gw, struct evbuffer *out)
{
	struct fs_counters sum = { 0 }, c;
	struct pool_info pool;
	struct share *share;
	unsigned nshares = 0, nsessions = 0;

	TAILQ_FOREACH(share, &gw->shares, link) {
		nsessions += share->nsessions;
		if (share != share_find(gw, share->conf->tag))
			continue;	/* counted with the one in use */
		share_counters(share, &c);
		fs_counters_add(&sum, &c);
		nshares++;
	}
	pool_info(gw->pool, &pool);
	add(out, "uptime_seconds", now_us() / 1000000 -
	    (unsigned long long)gw->started);
	add(out, "shares", nshares);
	add(out, "sessions", nsessions);
	add(out, "queue_threads", gw->nthreads);
	add(out, "pool_threads", pool.threads);
	add(out, "pool_idle", pool.idle);
	add(out, "pool_size", pool.size);
	add(out, "pool_waiting", pool.waiting);
	add_counters(out, &sum);
}

static void
add_queue(struct session *s, unsigned index, struct evbuffer *out)
{
	struct squeue *sq = &s->queue[index];
	struct vh_queue_stats st;

	if (!sq->running)
		return;
	vh_queue_get_stats(sq->queue, &st);
	evbuffer_add_printf(out, "session.%llu.queue.%u chains=%llu "
			    "batches=%llu kicks=%llu calls=%llu "
			    "calls_suppressed=%llu",
			    (unsigned long long)s->id, index,
			    (unsigned long long)st.chains,
			    (unsigned long long)st.batches,
			    (unsigned long long)st.kicks,
			    (unsigned long long)st.calls,
			    (unsigned long long)st.calls_suppressed);
	if (sq->thread && index)
		evbuffer_add_printf(out, " polls=%llu poll_hits=%llu",
				    (unsigned long long)sq->thread->polls,
				    (unsigned long long)sq->thread->poll_hits);
	evbuffer_add_printf(out, "\n");
}

static void
add_session(struct session *s, struct evbuffer *out)
{
	struct fs_info fs;
	struct vh_info vh;
	char since[32];
	struct tm tm;

	fs_session_info(s->fs, &fs);
	vh_conn_info(s->conn, &vh);
	gmtime_r(&s->since, &tm);
	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	evbuffer_add_printf(out, "session.%llu pid=%d uid=%u since=%s "
			    "guest=%s fuse=7.%u virtio=0x%llx queues=%u "
			    "memory=%llu regions=%u nodes=%llu handles=%llu"
			    "%s\n",
			    (unsigned long long)s->id, (int)s->peer.pid,
			    s->peer.uid, since, !fs.ready ? "none" :
			    fs.windows ? "windows" : "linux", fs.minor,
			    (unsigned long long)vh.features, vh.nstarted,
			    (unsigned long long)vh.mem_size, vh.nregions,
			    (unsigned long long)fs.nodes,
			    (unsigned long long)fs.handles,
			    s->share->retired ? " stale" : "");
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++)
		add_queue(s, i, out);
}

void
status_share(struct share *share, struct evbuffer *out)
{
	struct share *each = NULL;
	struct session *s;

	evbuffer_add_printf(out, "tag %s\n", share->conf->tag);
	evbuffer_add_printf(out, "state %s\n", share_state(share));
	if (share->failed)
		evbuffer_add_printf(out, "why %s\n", share->failed);
	if (share->conf->comment[0])
		evbuffer_add_printf(out, "comment %s\n", share->conf->comment);
	evbuffer_add_printf(out, "path %s\n", share->conf->path);
	evbuffer_add_printf(out, "socket %s\n", share->conf->socket);
	evbuffer_add_printf(out, "sessions %u\n", share_sessions(share));
	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		TAILQ_FOREACH(s, &each->sessions, link)
			add_session(s, out);
}
