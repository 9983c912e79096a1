/* SPDX-License-Identifier: MIT */
/*
 * READs that are put off, to be done together.  Only what is answered whole by
 * what the host has in memory is answered here: the rest is as if it had never
 * been put off.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse/fs.h"
#include "fuse/reads.h"
#include "fuse/uring.h"

enum { SIZE_MAX_EACH = 128 << 10 };	/* of more, the call is a small part */

struct put_off {
	struct fs_handle *fh;		/* with a reference */
	const struct iovec *out;	/* the caller's */
	unsigned nout;
	struct fs_counters *counters;
	uint64_t unique;
	size_t size;
	struct iovec iov[FS_LATER_PIECES];
};

struct fs_reads {
	bool dead;			/* io_uring cannot be had */
	struct fs_uring ring;
	unsigned n;
	struct put_off read[FS_TOGETHER_MAX];
};

static struct fs_reads *
reads_of(struct fs_thread *t)
{
	struct fs_reads *r = t->reads;

	if (r)
		return r->dead ? NULL : r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	t->reads = r;
	r->dead = fs_uring_init(&r->ring, FS_TOGETHER_MAX) < 0;
	return r->dead ? NULL : r;
}

void
fs_reads_free(struct fs_reads *r)
{
	if (r && !r->dead)
		fs_uring_fini(&r->ring);
	free(r);
}

bool
fs_may_be_later(const struct fs_req *req)
{
	uint32_t opcode = 0;

	fs_iov_read(req->in, req->nin, offsetof(struct fuse_in_header, opcode),
		    &opcode, sizeof(opcode));
	return opcode == FUSE_READ && req->nin + req->nout <= FS_LATER_PIECES;
}

bool
fs_reads_add(struct fs_ctx *c, uint64_t offset, size_t size)
{
	const struct fs_req *req = c->req;
	struct put_off *p;
	struct fs_reads *r;
	unsigned n;
	size_t got;

	if (!(req->flags & FS_MORE) || !c->share->set->io_uring || !size ||
	    size > SIZE_MAX_EACH)
		return false;
	r = reads_of(c->t);
	if (!r || r->n == FS_TOGETHER_MAX)
		return false;
	p = &r->read[r->n];
	n = fs_iov_slice(req->out, req->nout, sizeof(struct fuse_out_header),
			 size, p->iov, FS_LATER_PIECES, &got);
	if (got < size)
		return false;
	p->fh = c->fh;
	p->out = req->out;
	p->nout = req->nout;
	p->counters = req->counters;
	p->unique = c->h.unique;
	p->size = size;
	fs_uring_read(&r->ring, c->fh->fd, p->iov, n, offset);
	r->n++;
	c->fh = NULL;
	return true;
}

/* What fs_serve() would have returned. */
static ssize_t
answer(const struct put_off *p, int res)
{
	struct fuse_out_header h = { .unique = p->unique };

	if (res == -EAGAIN) {
		fs_count(&p->counters->deferred, 1);
		return FS_DEFER;
	}
	if (res < 0 || (size_t)res < p->size)
		return FS_ALONE;
	h.len = (uint32_t)(sizeof(h) + p->size);
	fs_iov_write(p->out, p->nout, 0, &h, sizeof(h));
	fs_count(&p->counters->requests, 1);
	fs_count(&p->counters->read_bytes, p->size);
	fs_count(&p->counters->reads_together, 1);
	return h.len;
}

void
fs_together(struct fs_thread *t, ssize_t *answers)
{
	struct fs_reads *r = t->reads;
	int res[FS_TOGETHER_MAX];
	int err = fs_uring_go(&r->ring, res);

	for (unsigned i = 0; i < r->n; i++) {
		answers[i] = err ? FS_ALONE : answer(&r->read[i], res[i]);
		fs_handle_put(r->read[i].fh);
	}
	r->n = 0;
	if (!err)
		return;
	fs_uring_fini(&r->ring);
	r->dead = true;
}
