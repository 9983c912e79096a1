/* SPDX-License-Identifier: MIT */
/*
 * A share's state, its guests, and what they are doing just now: the files
 * status, clients, inflight and handles.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gatewayd/json.h"
#include "gatewayd/tree.h"
#include "gatewayd/view.h"

#define ULL unsigned long long
#define HANDLES_SHOWN 10000	/* a reading is to end soon */

/* ---- sessions ---- */

/* What is told of a session, gathered once for text and JSON. */
struct client_view {
	struct session *s;
	struct fs_info fs;
	struct vh_info vh;
	char since[32], vm[80], program[32];
	uint64_t polls, poll_hits;
};

static const char *
guest_kind(const struct client_view *c)
{
	return !c->fs.ready ? "none" : c->fs.windows ? "windows" : "linux";
}

static void
look_at(struct session *s, struct client_view *c)
{
	struct tm tm;

	memset(c, 0, sizeof(*c));
	c->s = s;
	fs_session_info(s->fs, &c->fs);
	vh_conn_info(s->conn, &c->vh);
	gmtime_r(&s->since, &tm);
	strftime(c->since, sizeof(c->since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	pthread_mutex_lock(&s->lock);
	memcpy(c->vm, s->vm, sizeof(c->vm));
	memcpy(c->program, s->program, sizeof(c->program));
	pthread_mutex_unlock(&s->lock);
}

static void
add_queue(struct session *s, unsigned index, unsigned ring_size,
	  struct evbuffer *out)
{
	struct squeue *sq = &s->queue[index];
	struct vh_queue_stats st;

	if (!sq->running)
		return;
	vh_queue_get_stats(sq->queue, &st);
	evbuffer_add_printf(out, "session.%llu.queue.%u size=%u chains=%llu "
			    "batches=%llu kicks=%llu calls=%llu "
			    "calls_suppressed=%llu", (ULL)s->id, index,
			    ring_size, (ULL)st.chains, (ULL)st.batches,
			    (ULL)st.kicks, (ULL)st.calls,
			    (ULL)st.calls_suppressed);
	if (sq->thread && index)
		evbuffer_add_printf(out, " polls=%llu poll_hits=%llu",
				    (ULL)sq->thread->polls,
				    (ULL)sq->thread->poll_hits);
	evbuffer_add_printf(out, "\n");
}

static void
add_session(struct session *s, struct evbuffer *out)
{
	struct client_view c;

	look_at(s, &c);
	evbuffer_add_printf(out, "session.%llu pid=%d uid=%u program=%s "
			    "vm=\"%s\" since=%s guest=%s fuse=7.%u "
			    "init=0x%llx virtio=0x%llx protocol=0x%llx "
			    "queues=%u memory=%llu regions=%u nodes=%llu "
			    "handles=%llu%s\n", (ULL)s->id, (int)s->peer.pid,
			    s->peer.uid, c.program[0] ? c.program : "unknown",
			    c.vm, c.since, guest_kind(&c), c.fs.minor,
			    (ULL)c.fs.flags, (ULL)c.vh.features,
			    (ULL)c.vh.protocol_features, c.vh.nstarted,
			    (ULL)c.vh.mem_size, c.vh.nregions,
			    (ULL)c.fs.nodes, (ULL)c.fs.handles,
			    s->share->retired ? " stale" : "");
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++)
		add_queue(s, i, c.vh.queue[i].size, out);
}

int
clients_share(struct share *share, struct evbuffer *out)
{
	struct share *each = NULL;
	struct session *s;

	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		TAILQ_FOREACH(s, &each->sessions, link)
			add_session(s, out);
	return 0;
}

int
status_share(struct share *share, struct evbuffer *out)
{
	struct tag *t = share->tag;

	evbuffer_add_printf(out, "tag %s\n", share->conf->tag);
	evbuffer_add_printf(out, "state %s\n", share_state(share));
	if (share->failed)
		evbuffer_add_printf(out, "why %s\n", share->failed);
	if (t->wish)
		evbuffer_add_printf(out, "admin %s\n",
				    t->wish == TAG_ENABLED ? "enabled" :
				    "disabled");
	if (t->drain_timer && evtimer_pending(t->drain_timer, NULL))
		evbuffer_add_printf(out, "draining yes\n");
	if (share->conf->comment[0])
		evbuffer_add_printf(out, "comment %s\n", share->conf->comment);
	evbuffer_add_printf(out, "path %s\n", share->conf->path);
	evbuffer_add_printf(out, "socket %s\n", share->sock.path ?
			    share->sock.path : share->conf->socket);
	evbuffer_add_printf(out, "trace %s\n",
			    atomic_load(&t->tracing) ? "on" : "off");
	owners_show(share, out);
	evbuffer_add_printf(out, "sessions %u\n", share_sessions(share));
	return clients_share(share, out);
}

static void
json_session(struct json *j, struct session *s)
{
	struct client_view c;

	look_at(s, &c);
	json_open(j, NULL, '{');
	json_uint(j, "session", s->id);
	json_uint(j, "pid", (uint64_t)s->peer.pid);
	json_uint(j, "uid", s->peer.uid);
	json_str(j, "program", c.program);
	json_str(j, "vm", c.vm);
	json_str(j, "since", c.since);
	json_str(j, "guest", guest_kind(&c));
	json_uint(j, "fuse_minor", c.fs.minor);
	json_uint(j, "init_flags", c.fs.flags);
	json_uint(j, "virtio_features", c.vh.features);
	json_uint(j, "protocol_features", c.vh.protocol_features);
	json_uint(j, "queues", c.vh.nstarted);
	json_uint(j, "memory", c.vh.mem_size);
	json_uint(j, "regions", c.vh.nregions);
	json_uint(j, "nodes", c.fs.nodes);
	json_uint(j, "handles", c.fs.handles);
	json_bool(j, "stale", s->share->retired);
	json_close(j, '}');
}

void
clients_json(struct share *share, struct json *j)
{
	struct share *each = NULL;
	struct session *s;

	json_open(j, "clients", '[');
	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		TAILQ_FOREACH(s, &each->sessions, link)
			json_session(j, s);
	json_close(j, ']');
}

/* ---- requests under way ---- */

static int
older_first(const void *a, const void *b)
{
	const struct inflight *x = a, *y = b;

	return (x->age_ns < y->age_ns) - (x->age_ns > y->age_ns);
}

int
inflight_share(struct share *share, struct evbuffer *out)
{
	static const char *const where[] = {
		[IN_QUEUE] = "queue", [IN_POOL] = "pool",
		[IN_WAITING] = "waiting", [IN_LOCK] = "lock",
	};
	struct inflight *list;
	char buf[24];
	size_t n;
	int err = inflight_list(share, &list, &n);

	if (err)
		return err;
	qsort(list, n, sizeof(*list), older_first);
	for (size_t i = 0; i < n; i++)
		evbuffer_add_printf(out, "age_us=%llu op=%s n=%llu u=%llu "
				    "session=%llu queue=%u in=%s\n",
				    (ULL)list[i].age_ns / 1000,
				    op_name(list[i].opcode, buf, sizeof(buf)),
				    (ULL)list[i].nodeid, (ULL)list[i].unique,
				    (ULL)list[i].session, list[i].queue,
				    where[list[i].where]);
	free(list);
	return 0;
}

/* ---- open files ---- */

struct handles {
	struct evbuffer *out;
	uint64_t session;
	unsigned left;
	uint64_t more;
};

/* A name may hold anything. */
static void
add_path(struct evbuffer *out, const char *path)
{
	for (; *path; path++) {
		unsigned char ch = (unsigned char)*path;

		if (ch < 0x20 || ch == 0x7f || ch == '"' || ch == '\\')
			evbuffer_add_printf(out, "\\%03o", ch);
		else
			evbuffer_add(out, path, 1);
	}
}

static void
add_handle(void *ctx, const struct fs_handle_info *h)
{
	struct handles *to = ctx;

	if (!to->left) {
		to->more++;
		return;
	}
	to->left--;
	evbuffer_add_printf(to->out, "session=%llu fh=%llu n=%llu type=%s "
			    "flags=0%o path=\"", (ULL)to->session, (ULL)h->fh,
			    (ULL)h->nodeid, h->dir ? "dir" : "file",
			    (unsigned)h->flags);
	add_path(to->out, h->path);
	evbuffer_add_printf(to->out, "\"\n");
}

int
handles_share(struct share *share, struct evbuffer *out)
{
	struct handles to = { .out = out, .left = HANDLES_SHOWN };
	struct share *each = NULL;
	struct session *s;

	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		TAILQ_FOREACH(s, &each->sessions, link) {
			to.session = s->id;
			fs_session_handles(s->fs, add_handle, &to);
		}
	if (to.more)
		evbuffer_add_printf(out, "more %llu\n", (ULL)to.more);
	return 0;
}
