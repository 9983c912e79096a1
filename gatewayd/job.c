/* SPDX-License-Identifier: MIT */
/*
 * A request in the worker pool: copied, served, counted, answered.  When and by
 * whom is pool.c's business.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"
#include "gatewayd/job.h"

#define JOB_MAX (1088 << 10)	/* bytes of a request, of a reply: 1 MiB and headers */

static size_t
copy_in(char *to, size_t size, const struct iovec *iov, unsigned n)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < size; i++) {
		size_t len = iov[i].iov_len;

		if (len > size - done)
			len = size - done;
		memcpy(to + done, iov[i].iov_base, len);
		done += len;
	}
	return done;
}

/* One allocation: the job, its pieces of guest memory, request, reply. */
struct job *
job_new(struct session *s, struct vh_queue *q, const struct vh_chain *c,
	const struct fs_req *req)
{
	size_t in = req->in_len < JOB_MAX ? req->in_len : JOB_MAX;
	size_t out = req->out_len < JOB_MAX ? req->out_len : JOB_MAX;
	size_t pieces = (size_t)(c->nin + c->nout) * sizeof(struct iovec);
	struct job *job = malloc(sizeof(*job) + pieces + in + out);
	char *buf;

	if (!job)
		return NULL;
	job->session = s;
	job->queue = q;
	job->chain = *c;
	job->chain.iov = (struct iovec *)(job + 1);
	memcpy(job->chain.iov, c->iov, pieces);
	buf = (char *)(job + 1) + pieces;
	job->in.iov_base = buf;
	job->in.iov_len = copy_in(buf, in, req->in, req->nin);
	job->out.iov_base = buf + in;
	job->out.iov_len = out;
	job->flags = req->flags;
	job->opcode = req->opcode;
	job->unique = req->unique;
	job->nodeid = req->nodeid;
	job->wait = NULL;
	job->slept = job->asleep = job->resumed = false;
	return job;
}

/* Counted with the time that it waited. */
static void
count_job(struct job *job, const struct fs_req *req, size_t len)
{
	struct session *s = job->session;
	struct gw *gw = s->share->gw;
	struct tag *tag = s->share->tag;
	uint64_t slow = atomic_load(&gw->slow_ns);
	uint64_t ns = gw_clock_ns(&gw->clock) - job->since;
	struct op_done done = {
		.opcode = req->opcode,
		.error = req->error,
		.bytes_in = job->in.iov_len,
		.bytes_out = len,
		.ns = ns,
		.slow = slow && ns >= slow && !job->slept,
	};

	pthread_mutex_lock(&tag->lock);
	fs_counters_add(&tag->past, req->counters);
	op_count(&tag->past_ops, &done);
	pthread_mutex_unlock(&tag->lock);
	if (done.slow)
		inflight_slow(s, req, ns);
	if (atomic_load(&tag->tracing))
		trace_reply(s, req, len, ns);
}

/* A job while it is served. */
struct served {
	struct job *job;
	struct fs_req req;
	struct fs_counters counters;
};

static void
begin(struct served *d, struct job *job)
{
	memset(&d->counters, 0, sizeof(d->counters));
	d->job = job;
	d->req = (struct fs_req){
		.in = &job->in,
		.nin = 1,
		.in_len = job->in.iov_len,
		.out = &job->out,
		.nout = job->out.iov_len > 0,
		.out_len = job->out.iov_len,
		.flags = job->flags | FS_MAY_BLOCK,
		.counters = &d->counters,
		.resume = job_resume,
		.cookie = job,
		.wait = job->wait,
	};
}

/* fs_serve() returned n. */
static void
answer(struct served *d, ssize_t n)
{
	struct job *job = d->job;
	struct session *s = job->session;

	n = n > 0 ? n : 0;
	count_job(job, &d->req, (size_t)n);
	switch (vh_chain_finish(job->queue, &job->chain, job->out.iov_base,
				(size_t)n)) {
	case VH_SIGNAL_DUE:
		session_signal(s, vh_queue_index(job->queue));
		break;
	case -EFAULT:
		session_broken(s, "guest memory was truncated while in use");
		break;
	}
}

bool
job_run(struct job *job, struct fs_thread *ft)
{
	struct served d;
	ssize_t n;

	begin(&d, job);
	d.req.flags &= ~(unsigned)FS_MORE;
	n = fs_serve(job->session->fs, ft, &d.req);
	fs_thread_relax(ft);
	job->wait = d.req.wait;
	job->wake_us = d.req.wake_us;
	if (n == FS_PARKED)
		return false;
	answer(&d, n);
	return true;
}

struct together {
	struct served served[FS_TOGETHER_MAX];
	unsigned later[FS_TOGETHER_MAX];	/* of these */
	job_done *done;
	void *ctx;
};

static void
end_one(struct together *to, struct served *d, ssize_t n)
{
	if (n == FS_ALONE)
		d->job->flags &= ~(unsigned)FS_MORE;
	else
		answer(d, n);
	to->done(to->ctx, d->job, n != FS_ALONE);
}

static void
end_later(void *ctx, unsigned i, ssize_t n)
{
	struct together *to = ctx;

	end_one(to, &to->served[to->later[i]], n);
}

void
job_run_together(struct job **jobs, unsigned n, struct fs_thread *ft,
		 job_done *done, void *ctx)
{
	struct together to = { .done = done, .ctx = ctx };
	unsigned nlater = 0;

	for (unsigned i = 0; i < n; i++) {
		struct served *d = &to.served[i];
		ssize_t got;

		begin(d, jobs[i]);
		got = fs_serve(jobs[i]->session->fs, ft, &d->req);
		if (got == FS_LATER)
			to.later[nlater++] = i;
		else
			end_one(&to, d, got);
	}
	if (nlater)
		fs_together(ft, end_later, &to);
	fs_thread_relax(ft);
}
