/* SPDX-License-Identifier: MIT */
/*
 * READs that are put off, to be done together.  Only one that brings all that
 * was asked for is answered here: the rest is as if it had never been put off.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse/fs.h"
#include "fuse/reads.h"
#include "fuse/uring.h"

enum { LONGEST = 128 << 10 };	/* that do not wait: of more, the call is
				 * a small part */

struct put_off {
	struct fs_handle *fh;		/* with a reference; NULL: none is here */
	const struct iovec *out;	/* the caller's */
	unsigned nout;
	struct fs_counters *counters;
	uint64_t unique;
	size_t size;
	bool may_wait;
	void *buf;			/* for O_DIRECT, or NULL */
	struct iovec iov[FS_LATER_PIECES];
};

struct fs_reads {
	bool dead;			/* io_uring cannot be had */
	struct fs_uring ring;
	unsigned n, left;		/* put off; of them, not answered */
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
fs_can_be_later(struct fs_thread *t)
{
	return reads_of(t);
}

bool
fs_reads_wanted(const struct fs_ctx *c, const struct fs_mount *m)
{
	return c->share->set->io_uring && !(m->flags & FS_MOUNT_REMOTE) &&
	       !atomic_load_explicit(&m->no_nowait, memory_order_relaxed);
}

/* Where the data goes, at most FS_LATER_PIECES; 0 if that is not possible. */
static unsigned
find_room(struct fs_ctx *c, struct put_off *p)
{
	const struct fs_req *req = c->req;
	size_t got;
	unsigned n;

	p->buf = NULL;
	if (c->fh->flags & O_DIRECT) {
		p->buf = fs_aligned(p->size);
		p->iov[0] = (struct iovec){ p->buf, p->size };
		return p->buf != NULL;
	}
	n = fs_iov_slice(req->out, req->nout, sizeof(struct fuse_out_header),
			 p->size, p->iov, FS_LATER_PIECES, &got);
	return got == p->size ? n : 0;
}

bool
fs_reads_add(struct fs_ctx *c, uint64_t offset, size_t size)
{
	const struct fs_req *req = c->req;
	struct put_off *p;
	struct fs_reads *r;
	unsigned n;

	if (!(req->flags & FS_MORE) || !size ||
	    (!c->may_block && size > LONGEST) ||
	    !fs_reads_wanted(c, c->fh->node->mount))
		return false;
	r = reads_of(c->t);
	if (!r || r->n == FS_TOGETHER_MAX)
		return false;
	p = &r->read[r->n];
	p->size = size;
	n = find_room(c, p);
	if (!n)
		return false;
	p->fh = c->fh;
	p->out = req->out;
	p->nout = req->nout;
	p->counters = req->counters;
	p->unique = c->h.unique;
	p->may_wait = c->may_block;
	fs_uring_read(&r->ring, c->fh->fd, p->iov, n, offset,
		      p->may_wait ? 0 : RWF_NOWAIT, r->n++);
	c->fh = NULL;
	return true;
}

/* What fs_serve() would have returned. */
static ssize_t
answer(const struct put_off *p, int res)
{
	struct fuse_out_header h = { .unique = p->unique };

	if (res == -EAGAIN && !p->may_wait) {
		fs_count(&p->counters->deferred, 1);
		return FS_DEFER;
	}
	if (res < 0 || (size_t)res < p->size)
		return FS_ALONE;
	h.len = (uint32_t)(sizeof(h) + p->size);
	fs_iov_write(p->out, p->nout, 0, &h, sizeof(h));
	if (p->buf)
		fs_iov_write(p->out, p->nout, sizeof(h), p->buf, p->size);
	fs_count(&p->counters->requests, 1);
	fs_count(&p->counters->read_bytes, p->size);
	fs_count(&p->counters->reads_together, 1);
	return h.len;
}

struct together {
	struct fs_reads *reads;
	fs_later_done *done;
	void *ctx;
};

static void
end_read(void *ctx, unsigned number, int res)
{
	struct together *to = ctx;
	struct put_off *p = &to->reads->read[number];
	ssize_t n = answer(p, res);

	free(p->buf);
	fs_handle_put(p->fh);
	p->fh = NULL;
	to->reads->left--;
	to->done(to->ctx, number, n);
}

void
fs_together(struct fs_thread *t, fs_later_done *done, void *ctx)
{
	struct together to = { t->reads, done, ctx };
	struct fs_reads *r = t->reads;
	unsigned n = r->n;

	r->left = n;
	while (r->left && !r->dead) {
		unsigned wait = r->read[0].may_wait ? 1 : r->left;

		if (!fs_uring_go(&r->ring, wait, end_read, &to))
			continue;
		fs_uring_fini(&r->ring);
		r->dead = true;
	}
	r->n = 0;
	for (unsigned i = 0; i < n; i++)
		if (r->read[i].fh)
			end_read(&to, i, -EIO);
}
