/* SPDX-License-Identifier: MIT */
/*
 * Requests under way, and those that took too long.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"

#define SLACK 64	/* more may come between counting and copying */

static uint64_t
load(const uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

struct collect {
	struct inflight *list;
	size_t max, n;
	uint64_t now;
};

static void
add_thread(struct qthread *t, void *ctx)
{
	struct collect *c = ctx;
	uint64_t since = atomic_load(&t->since);

	if (!since || c->n++ >= c->max)
		return;
	c->list[c->n - 1] = (struct inflight){
		.session = t->session->id,
		.queue = vh_queue_index(t->queue),
		.opcode = __atomic_load_n(&t->req.opcode, __ATOMIC_RELAXED),
		.unique = load(&t->req.unique),
		.nodeid = load(&t->req.nodeid),
		.since_ns = since,
		.age_ns = c->now > since ? c->now - since : 0,
		.where = IN_QUEUE,
	};
}

static size_t
collect(struct share *share, struct inflight *list, size_t max)
{
	struct collect c = {
		.list = list,
		.max = max,
		.now = gw_clock_ns(&share->gw->clock),
	};
	struct share *each = NULL;

	share_each_thread(share, add_thread, &c);
	while ((each = share_of_tag(share->gw, each, share->conf->tag)))
		pool_inflight(share->gw->pool, each, c.now, list, max, &c.n);
	return c.n;
}

int
inflight_list(struct share *share, struct inflight **list, size_t *n)
{
	size_t max = collect(share, NULL, 0) + SLACK;

	*list = calloc(max, sizeof(**list));
	if (!*list)
		return -ENOMEM;
	*n = collect(share, *list, max);
	if (*n > max)
		*n = max;
	return 0;
}

bool
inflight_is_hung(const struct gw *gw, const struct inflight *r)
{
	uint64_t us = gw->conf->gateway.hung_request_us;

	return us && r->age_ns >= us * 1000 && r->where != IN_LOCK;
}

void
inflight_slow(struct session *s, const struct fs_req *req, uint64_t ns)
{
	char buf[24], vm[sizeof(s->vm)];

	pthread_mutex_lock(&s->lock);
	memcpy(vm, s->vm, sizeof(vm));
	pthread_mutex_unlock(&s->lock);
	log_limited(&s->share->limit, CONF_LOG_WARN,
		    "%s: slow request op=%s n=%llu u=%llu us=%llu error=%d "
		    "session=%llu pid=%d vm=\"%s\"", s->share->tag->name,
		    op_name(req->opcode, buf, sizeof(buf)),
		    (unsigned long long)req->nodeid,
		    (unsigned long long)req->unique,
		    (unsigned long long)(ns / 1000), -req->error,
		    (unsigned long long)s->id, (int)s->peer.pid, vm);
}
