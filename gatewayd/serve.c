/* SPDX-License-Identifier: MIT */
/*
 * A queue thread takes requests off the ring in batches, has fuse/ serve them,
 * and answers.
 */
#include <errno.h>

#include "gatewayd/gw.h"
#include "gatewayd/serve.h"

#define SERVE_BATCH 64		/* requests answered together */
#define BATCH_BYTES (256 << 10)	/* answer earlier after this much data */
#define BATCH_NS 50000		/* or after this long */
#define BATCH_SHOW 4		/* answers that the guest may see before */
#define LATER_BYTES (1 << 20)	/* put off no more than that, */
#define LATER_NS 10000		/* nor for longer behind others */

/* A request that is put off (FS_LATER). */
struct later {
	struct vh_chain chain;
	struct fs_req req;
	uint64_t since;
};

/* Answers that wait to be published together. */
struct batch {
	struct qthread *t;
	struct vh_queue *q;
	struct fs_thread *ft;
	struct vh_used used[BATCH_SHOW];
	unsigned n;
	bool shown;		/* published, but not signalled */
	size_t bytes;
	uint64_t begun;		/* since when answers wait */
	bool tracing;		/* these three as they were when it began */
	uint64_t slow_ns;
	struct throttle *throttle;	/* NULL: no limit */
	struct iovec *iov;	/* for the next chain */
	struct later later[FS_TOGETHER_MAX];
	unsigned nlater;
	size_t later_bytes;
};

static void
batch_publish(struct batch *b)
{
	if (b->n || b->shown)
		vh_queue_complete(b->q, b->used, b->n);
	b->n = 0;
	b->shown = false;
	b->bytes = 0;
	b->begun = b->t->now;
}

/* A guest that looks at its ring goes on while we serve the rest. */
static void
batch_show(struct batch *b)
{
	vh_queue_publish(b->q, b->used, b->n);
	b->n = 0;
	b->shown = true;
}

static void
batch_add(struct batch *b, const struct vh_chain *c, ssize_t len)
{
	b->used[b->n++] = (struct vh_used){ c->head, (uint32_t)len };
	b->bytes += c->in_len + (size_t)len;
	if (b->bytes >= BATCH_BYTES || b->t->now - b->begun >= BATCH_NS)
		batch_publish(b);
	else if (b->n == BATCH_SHOW)
		batch_show(b);
}

static unsigned
hold_of(const struct vh_queue *q)
{
	return vh_queue_index(q) == 0 ? HOLD_HIPRIO : HOLD_REQUESTS;
}

static bool
must_wait(struct batch *b)
{
	struct qthread *t = b->t;
	uint64_t ns = throttle_wait(b->throttle, t->now);

	if (!ns || !vh_queue_has_work(b->q))
		return false;
	if (t->now >= t->until)
		atomic_fetch_add_explicit(&b->throttle->waits, 1,
					  memory_order_relaxed);
	t->held |= HOLD_REQUESTS;
	t->until = t->now + ns;
	return true;
}

/* To the pool. */
static int
defer(struct batch *b, struct vh_chain *c, const struct fs_req *req)
{
	struct qthread *t = b->t;
	int r;

	batch_publish(b);
	r = pool_submit(t->session->share->gw->pool, t, b->q, c, req);
	if (r > 0)
		t->held |= HOLD_REQUESTS | hold_of(b->q);
	t->now = gw_clock_ns(&t->clock);
	return r < 0 ? r : 0;
}

/* Count what was served from `since` until now. */
static void
served(struct batch *b, const struct fs_req *req, size_t len, uint64_t since)
{
	struct qthread *t = b->t;
	struct op_done done = {
		.opcode = req->opcode,
		.error = req->error,
		.bytes_in = req->in_len,
		.bytes_out = len,
		.ns = t->now - since,
	};

	done.slow = b->slow_ns && done.ns >= b->slow_ns;
	op_count(&t->ops, &done);
	if (done.slow)
		inflight_slow(t->session, req, done.ns);
	if (b->tracing)
		trace_reply(t->session, req, len, done.ns);
}

/* With what fs_serve() returned.  0 or, when the session is broken, -errno. */
static inline __attribute__((always_inline)) int
answer(struct batch *b, struct vh_chain *c, const struct fs_req *req,
       ssize_t n, uint64_t since)
{
	if (b->throttle)
		throttle_pay(b->throttle, since,
			     fs_req_data(req, n == FS_DEFER ? c->out_len :
					      n > 0 ? (size_t)n : 0));
	if (n == FS_DEFER) {
		if (!defer(b, c, req))
			return 0;
		n = 0;		/* out of memory: the chain is given back */
	}
	if (n == FS_GONE) {
		session_broken(b->t->session, "guest memory went away while a "
			       "request used it");
		return -EFAULT;
	}
	n = n > 0 ? n : 0;
	served(b, req, (size_t)n, since);
	batch_add(b, c, n);
	return 0;
}

static void
take(struct batch *b, const struct vh_chain *c)
{
	struct fs_req *req = &b->t->req;

	req->in = c->iov;
	req->nin = c->nin;
	req->in_len = c->in_len;
	req->out = c->iov + c->nin;
	req->nout = c->nout;
	req->out_len = c->out_len;
	req->flags = vh_queue_index(b->q) == 0 ? FS_HIPRIO : 0;
}

/* What fs_serve() returns; t->now is the end of it. */
static inline __attribute__((always_inline)) ssize_t
serve(struct batch *b)
{
	struct qthread *t = b->t;
	ssize_t n;

	atomic_store_explicit(&t->since, t->now, memory_order_relaxed);
	n = fs_serve(t->session->fs, b->ft, &t->req);
	t->now = gw_clock_ns(&t->clock);
	return n;
}

static void
keep_answer(void *ctx, unsigned i, ssize_t n)
{
	ssize_t *answers = ctx;

	answers[i] = n;
}

/* Do what was put off. */
static int
serve_later(struct batch *b)
{
	ssize_t n[FS_TOGETHER_MAX];
	struct qthread *t = b->t;
	unsigned nlater = b->nlater;
	int rc = 0;

	b->iov = b->later[0].chain.iov;
	b->nlater = 0;
	b->later_bytes = 0;
	fs_together(b->ft, keep_answer, n);
	t->now = gw_clock_ns(&t->clock);
	for (unsigned i = 0; i < nlater && !rc; i++) {
		struct later *l = &b->later[i];
		const struct fs_req *req = &l->req;

		if (n[i] == FS_ALONE) {
			take(b, &l->chain);
			n[i] = serve(b);
			req = &t->req;
		}
		rc = answer(b, &l->chain, req, n[i], l->since);
	}
	return rc;
}

static int
put_off(struct batch *b, const struct vh_chain *c, uint64_t since)
{
	b->later[b->nlater++] = (struct later){ *c, b->t->req, since };
	b->iov += c->nin + c->nout;
	b->later_bytes += c->out_len;
	return b->nlater == FS_TOGETHER_MAX || b->later_bytes >= LATER_BYTES ?
	       serve_later(b) : 0;
}

static int
serve_one(struct batch *b, struct vh_chain *c)
{
	struct qthread *t = b->t;
	uint64_t since = t->now;
	ssize_t n;
	int rc;

	take(b, c);
	if (fs_may_be_later(&t->req) &&
	    (b->nlater || vh_queue_has_work(b->q)))
		t->req.flags |= FS_MORE;
	if (b->tracing)
		trace_request(t->session, &t->req);
	n = serve(b);
	if (n == FS_LATER)
		return put_off(b, c, since);
	rc = answer(b, c, &t->req, n, since);
	if (!rc && b->nlater && t->now - b->later[0].since > LATER_NS)
		rc = serve_later(b);
	return rc;
}

int
serve_batch(struct qthread *t, struct vh_queue *q, struct fs_thread *ft,
	    struct iovec *iov)
{
	struct batch b;
	struct vh_chain c;
	unsigned hold = hold_of(q);
	int rc, taken = 0;

	b.t = t;
	b.q = q;
	b.ft = ft;
	b.n = 0;
	b.shown = false;
	b.bytes = 0;
	b.begun = t->now;
	b.tracing = atomic_load_explicit(&t->session->share->tag->tracing,
					 memory_order_acquire);
	b.slow_ns = atomic_load_explicit(&t->session->share->gw->slow_ns,
					 memory_order_relaxed);
	b.iov = iov;
	b.nlater = 0;
	b.later_bytes = 0;
	b.throttle = &t->session->share->tag->throttle;
	if (hold != HOLD_REQUESTS ||
	    !atomic_load_explicit(&b.throttle->on, memory_order_relaxed))
		b.throttle = NULL;
	rc = vh_queue_sync(q);
	while (!rc && taken < SERVE_BATCH && !(t->held & hold)) {
		if (b.throttle && must_wait(&b))
			break;
		rc = vh_queue_pop(q, &c, b.iov);
		if (rc <= 0)
			break;
		taken++;
		rc = serve_one(&b, &c);
	}
	if (b.nlater) {
		int err = serve_later(&b);

		rc = rc < 0 ? rc : err;
	}
	if (taken)
		atomic_store_explicit(&t->since, 0, memory_order_relaxed);
	batch_publish(&b);
	if (rc < 0) {
		session_broken(t->session, vh_queue_why(q));
		return rc;
	}
	return taken;
}

