/* SPDX-License-Identifier: MIT */
/*
 * Requests that are put off, to be done together.  Only one that moves all that
 * was asked for is answered here: the rest is as if it had never been put off.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse/fs.h"
#include "fuse/later.h"
#include "fuse/uring.h"

enum {
	LONGEST = 128 << 10,	/* that do not wait: of more, the call is a
				 * small part */
	IN_VAIN = 64,		/* WRITEs that are not tried behind one that
				 * could not be begun */
};

struct put_off {
	struct fs_handle *fh;		/* with a reference; NULL: none is here */
	const struct iovec *out;	/* the caller's */
	unsigned nout;
	struct fs_counters *counters;
	uint64_t unique;
	size_t size;
	bool may_wait, is_write;
	bool nowait;			/* by RWF_NOWAIT */
	void *buf;			/* for O_DIRECT, or NULL */
	struct iovec iov[FS_LATER_PIECES];
};

struct fs_later {
	bool dead;			/* io_uring cannot be had */
	bool writes;			/* one of them is a WRITE */
	struct fs_uring ring;
	unsigned n, left;		/* put off; of them, not answered */
	struct put_off put[FS_TOGETHER_MAX];
};

static struct fs_later *
later_of(struct fs_thread *t)
{
	struct fs_later *l = t->later;

	if (l)
		return l->dead ? NULL : l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	t->later = l;
	l->dead = fs_uring_init(&l->ring, FS_TOGETHER_MAX) < 0;
	return l->dead ? NULL : l;
}

static void
end_ring(struct fs_later *l)
{
	fs_uring_fini(&l->ring);
	l->dead = true;
}

void
fs_later_free(struct fs_later *l)
{
	if (l && !l->dead)
		end_ring(l);
	free(l);
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
	return later_of(t);
}

bool
fs_later_wanted(const struct fs_ctx *c, const struct fs_mount *m)
{
	return c->share->set->io_uring && !(m->flags & FS_MOUNT_REMOTE) &&
	       !atomic_load_explicit(&m->no_nowait, memory_order_relaxed);
}

/* A place for it; NULL: it cannot be put off. */
static struct put_off *
place_for(struct fs_ctx *c, size_t size)
{
	struct fs_later *l;

	if (!(c->req->flags & FS_MORE) || !size ||
	    !fs_later_wanted(c, c->fh->node->mount))
		return NULL;
	l = later_of(c->t);
	if (!l || l->n == FS_TOGETHER_MAX)
		return NULL;
	l->put[l->n].size = size;
	l->put[l->n].buf = NULL;
	return &l->put[l->n];
}

/* An aligned buffer for all of it; how many pieces that is, 0 if there is no
 * memory. */
static unsigned
make_buf(struct put_off *p)
{
	p->buf = fs_aligned(p->size);
	p->iov[0] = (struct iovec){ p->buf, p->size };
	return p->buf != NULL;
}

/* Where the data goes, at most FS_LATER_PIECES; 0 if that is not possible. */
static unsigned
find_room(const struct fs_ctx *c, struct put_off *p)
{
	const struct fs_req *req = c->req;
	size_t got;
	unsigned n;

	if (c->fh->flags & O_DIRECT)
		return make_buf(p);
	n = fs_iov_slice(req->out, req->nout, sizeof(struct fuse_out_header),
			 p->size, p->iov, FS_LATER_PIECES, &got);
	return got == p->size ? n : 0;
}

/*
 * The kernel is not to begin another thread for what would keep this one from
 * going on: the pool has threads.  Who may wait for what is read into the
 * host's cache does so without one.
 */
static int
flags_for(const struct fs_ctx *c)
{
	return c->may_block && !(c->fh->flags & O_DIRECT) ? 0 : RWF_NOWAIT;
}

/* It is in its place and on the ring. */
static void
keep(struct fs_ctx *c, struct put_off *p, bool is_write)
{
	struct fs_later *l = c->t->later;

	p->fh = c->fh;
	p->out = c->req->out;
	p->nout = c->req->nout;
	p->counters = c->req->counters;
	p->unique = c->h.unique;
	p->may_wait = c->may_block;
	p->is_write = is_write;
	p->nowait = flags_for(c);
	l->writes |= is_write;
	l->n++;
	c->fh = NULL;
}

bool
fs_later_read(struct fs_ctx *c, uint64_t offset, size_t size)
{
	struct put_off *p;
	struct fs_later *l;
	unsigned n;

	if (!c->may_block && size > LONGEST)
		return false;
	p = place_for(c, size);
	n = p ? find_room(c, p) : 0;
	if (!n)
		return false;
	l = c->t->later;
	fs_uring_read(&l->ring, c->fh->fd, p->iov, n, offset, flags_for(c),
		      l->n);
	keep(c, p, false);
	return true;
}

bool
fs_later_write(struct fs_ctx *c, uint64_t offset, size_t size)
{
	const struct fs_req *req = c->req;
	struct put_off *p;
	struct fs_later *l;

	p = c->may_block ? place_for(c, size) : NULL;
	if (!p || !make_buf(p))
		return false;
	fs_iov_read(req->in, req->nin,
		    sizeof(c->h) + sizeof(struct fuse_write_in), p->buf, size);
	l = c->t->later;
	fs_uring_write(&l->ring, c->fh->fd, p->iov, 1, offset, flags_for(c),
		       l->n);
	keep(c, p, true);
	return true;
}

/* Its threads count roughly. */
bool
fs_later_try_write(struct fs_handle *h)
{
	unsigned n = atomic_load_explicit(&h->alone, memory_order_relaxed);

	if (n)
		atomic_store_explicit(&h->alone, n - 1, memory_order_relaxed);
	return !n;
}

static void
answer_read(const struct put_off *p)
{
	if (p->buf)
		fs_iov_write(p->out, p->nout, sizeof(struct fuse_out_header),
			     p->buf, p->size);
	fs_count(&p->counters->read_bytes, p->size);
	fs_count(&p->counters->reads_together, 1);
}

static void
answer_write(const struct put_off *p)
{
	struct fuse_write_out out = { .size = (uint32_t)p->size };

	fs_iov_write(p->out, p->nout, sizeof(struct fuse_out_header), &out,
		     sizeof(out));
	fs_count(&p->counters->written_bytes, p->size);
	fs_count(&p->counters->writes_together, 1);
}

/* For those that come after it. */
static void
learn(const struct put_off *p, int res)
{
	struct fs_handle *h = p->fh;

	if (res == -EOPNOTSUPP && p->nowait)
		atomic_store(&h->node->mount->no_nowait, true);
	if (res == -EAGAIN && p->is_write)
		atomic_store_explicit(&h->alone, IN_VAIN,
				      memory_order_relaxed);
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
	if (res < 0 || (size_t)res < p->size) {
		learn(p, res);
		return FS_ALONE;
	}
	h.len = (uint32_t)(sizeof(h) + (p->is_write ?
					sizeof(struct fuse_write_out) :
					p->size));
	fs_iov_write(p->out, p->nout, 0, &h, sizeof(h));
	if (p->is_write)
		answer_write(p);
	else
		answer_read(p);
	fs_count(&p->counters->requests, 1);
	return h.len;
}

struct together {
	struct fs_later *later;
	fs_later_done *done;
	void *ctx;
};

static void
end_one(void *ctx, unsigned number, int res)
{
	struct together *to = ctx;
	struct put_off *p = &to->later->put[number];
	ssize_t n = answer(p, res);

	free(p->buf);
	fs_handle_put(p->fh);
	p->fh = NULL;
	to->later->left--;
	to->done(to->ctx, number, n);
}

void
fs_together(struct fs_thread *t, fs_later_done *done, void *ctx)
{
	struct together to = { t->later, done, ctx };
	struct fs_later *l = t->later;
	unsigned n = l->n;

	/* A request in between may have made somebody of this thread whose
	 * writes clear bits; newer kernels do not, with RWF_NOWAIT. */
	if (l->writes && fs_cred_self(&t->cred, false))
		end_ring(l);
	l->writes = false;
	l->left = n;
	while (l->left && !l->dead) {
		unsigned wait = l->put[0].may_wait ? 1 : l->left;

		if (fs_uring_go(&l->ring, wait, end_one, &to))
			end_ring(l);
	}
	l->n = 0;
	for (unsigned i = 0; i < n; i++)
		if (l->put[i].fh)
			end_one(&to, i, -EIO);
}
