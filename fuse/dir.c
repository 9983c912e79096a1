/* SPDX-License-Identifier: MIT */
/*
 * Directories: OPENDIR, READDIR, READDIRPLUS.  (RELEASEDIR and FSYNCDIR are
 * those of files.)
 *
 * Offsets are the host's d_off.  The kernel is asked for many entries at once;
 * what does not fit into the reply waits in a buffer of the handle, as long as
 * not too many handles have one, else it is read again.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fuse/owners.h"

enum {
	DIRBUFS_MAX = 256,		/* buffers of a share */
	NAME_BYTES = 3 * 256,		/* a name, written for Windows */
	BUDGET_NS = 5000000,		/* READDIRPLUS answers by then */
	BUDGET_ENTRIES = 16,		/* looks at the clock this often */
	BRIEF = 3,			/* entries: dots, and one */
	BRIEF_ROOM = 1024,		/* bytes that they take at most */
};

struct dent {			/* as getdents64 gives it */
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

struct reply {
	struct fs_ctx *c;
	size_t len, room;
	bool plus;
	unsigned tried;		/* entries */
	bool brief;			/* as is_brief() says */
	unsigned n, others;		/* entries; but for the dots */
	struct timespec start;
};

/* The other flags say nothing but O_DIRECTORY, in the guest's numbers. */
static int
open_dir(struct fs_ctx *c, struct fs_node *n, uint32_t asked)
{
	int flags = O_RDONLY | O_DIRECTORY, fd = -EPERM;

	if (c->share->set->preserve_noatime && (asked & O_NOATIME))
		fd = fs_node_open(c, n, flags | O_NOATIME);
	/* The guest has checked who may ask for it. */
	return fd == -EPERM ? fs_node_open(c, n, flags) : fd;
}

ssize_t
fs_op_opendir(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_open_in *in = arg;
	struct fuse_open_out *out = reply;
	struct fs_node *n = c->node;
	struct fs_handle *h;
	int fd, err;

	err = fs_handle_new(c->s, &h);
	if (err)
		return err;
	fd = open_dir(c, n, in->flags);
	if (fd < 0) {
		fs_handle_cancel(h);
		return fd;
	}
	out->open_flags = fs_open_flags(c, n, true);
	/* The handle gets our reference of the node, but not the pin. */
	fs_node_unpin(n);
	c->fd = -1;
	c->node = NULL;
	out->fh = fs_handle_open(h, n, fd, O_RDONLY);
	return sizeof(*out);
}

/* ------------------------------------------------------------------ */
/* Entries; under h->stream. */

static char *
get_buf(struct fs_ctx *c, struct fs_handle *h)
{
	if (h->buf)
		return h->buf;
	if (atomic_fetch_add(&c->share->ndirbufs, 1) < DIRBUFS_MAX)
		h->buf = malloc(FS_DENTS_MAX);
	if (!h->buf) {
		atomic_fetch_sub(&c->share->ndirbufs, 1);
		return c->t->dents;
	}
	return h->buf;
}

/* Read entries from h->pos on.  0 at the end of the directory. */
static int
fill(struct fs_ctx *c, struct fs_handle *h, char *buf, unsigned size)
{
	long n = syscall(SYS_getdents64, h->fd, buf, size);

	h->at = h->len = 0;
	if (n < 0)
		return -errno;
	if (!n && buf == h->buf)
		fs_handle_free_buf(h);
	h->len = (unsigned)n;
	(void)c;
	return (int)n;
}

static int
seek_to(struct fs_handle *h, uint64_t offset)
{
	if (offset == h->pos && offset)
		return 0;
	h->at = h->len = 0;
	if (lseek(h->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	h->pos = offset;
	return 0;
}

/* ------------------------------------------------------------------ */
/* Replies. */

static bool
is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* A node of the name and its attributes; without a node on most errors, for
 * one bad entry must not end a listing.  -ENOENT: leave it out. */
static int
look_at(struct fs_ctx *c, struct fs_handle *h, const char *name,
	struct fuse_entry_out *e)
{
	struct fs_node *n = NULL;
	struct statx stx;
	int err;

	stx.stx_mask = 0;
	if (is_dots(name))	/* "..", too: the real one may be outside */
		err = fs_statx(c, h->fd, "", &stx);
	else
		err = fs_walk(c, h->node, h->fd, name, false, &stx, &n);
	if (err == -ENOENT || err == FS_DEFER)
		return err;
	err = 0;
	if (n) {
		err = fs_entry_fill(c, n, -1, &stx, e);
		if (err)
			fs_node_forget(n, 1);
		fs_node_put(n);
	} else if (stx.stx_mask) {
		err = fs_attr_fill(c, h->node, h->fd, &stx, &e->attr);
	}
	if (err)
		memset(e, 0, sizeof(*e));
	return err == FS_DEFER ? err : 0;
}

static void
forget(struct fs_ctx *c, uint64_t id)
{
	struct fs_node *n = id ? fs_node_get(c->s, id) : NULL;

	if (!n)
		return;
	fs_node_forget(n, 1);
	fs_node_put(n);
}

static bool
is_shown(struct fs_ctx *c, uint32_t type)
{
	return !fs_is_windows(c->s) || type == DT_UNKNOWN || type == DT_REG ||
	       type == DT_DIR || type == DT_LNK;
}

/* What the guest is to take a regular file for; most often there is nothing
 * recorded of it. */
static int
type_of(struct fs_ctx *c, struct fs_handle *h, const struct dent *d,
	uint32_t *type)
{
	struct fuse_entry_out e = { 0 };
	int err;

	if (fs_owners_none(c, h->node->mount, d->ino))
		return 0;
	err = fs_cred_self(&c->t->cred, false);
	if (!err)
		err = look_at(c, h, d->name, &e);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (e.attr.mode)
		*type = e.attr.mode >> 12;
	forget(c, e.nodeid);
	return 0;
}

static uint64_t
ino_of(struct fs_ctx *c, struct fs_handle *h, const struct dent *d)
{
	bool up = d->name[0] == '.' && d->name[1] == '.' && !d->name[2];

	/* Nothing is above the root. */
	if (up && fs_node_id(h->node) == FUSE_ROOT_ID)
		return c->share->root_stx.stx_ino;
	return d->ino;
}

/* Add one entry.  0: added or left out; -ENOSPC: it does not fit. */
static int
put(struct reply *r, struct fs_handle *h, const struct dent *d)
{
	struct fs_ctx *c = r->c;
	size_t fixed = r->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	char name[NAME_BYTES], *p = c->t->out + r->len;
	struct fuse_entry_out e;
	size_t len = strlen(d->name), size;
	struct fuse_dirent out = { .off = (uint64_t)d->off, .type = d->type };

	if (d->type == DT_REG && !r->plus) {
		int err = type_of(c, h, d, &out.type);

		if (err)
			return err;
	}
	if (!is_shown(c, out.type) || len > NAME_MAX)
		return 0;
	if (r->brief && !is_dots(d->name) && r->others)
		return 0;
	if (fs_is_windows(c->s))
		len = fs_win_name(d->name, len, name, sizeof(name));
	else
		memcpy(name, d->name, len);
	size = FUSE_DIRENT_ALIGN(fixed + len);
	if (size > r->room - r->len)
		return -ENOSPC;
	memset(p, 0, size);
	if (r->plus) {
		int err = look_at(c, h, d->name, (void *)p);

		if (err)
			return err == -ENOENT ? 0 : err;
		memcpy(&e, p, sizeof(e));
		if (e.attr.mode)
			out.type = e.attr.mode >> 12;
		if (!is_shown(c, out.type)) {
			forget(c, e.nodeid);
			return 0;
		}
	}
	out.ino = ino_of(c, h, d);
	out.namelen = (uint32_t)len;
	memcpy(p + fixed - FUSE_NAME_OFFSET, &out, FUSE_NAME_OFFSET);
	memcpy(p + fixed, name, len);
	r->len += size;
	r->others += !is_dots(d->name);
	r->n++;
	return 0;
}

/* READDIRPLUS looks each name up; do not keep other requests waiting.  A small
 * directory is answered whole, also by a thread that had to wait its turn. */
static bool
has_enough(struct reply *r)
{
	struct timespec now;

	if (r->brief && r->n == BRIEF)
		return true;
	if (!r->plus || ++r->tried % BUDGET_ENTRIES || !r->len)
		return false;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (now.tv_sec - r->start.tv_sec) * 1000000000LL +
	       now.tv_nsec - r->start.tv_nsec > BUDGET_NS;
}

/* Entries out of buf[h->at, h->len).  0: all of them, 1: enough. */
static int
put_all(struct reply *r, struct fs_handle *h, const char *buf)
{
	while (h->at < h->len) {
		const struct dent *d = (const void *)(buf + h->at);
		int err = has_enough(r) ? -ENOSPC : put(r, h, d);

		if (err)
			return r->len ? 1 : err;
		h->at += d->reclen;
		h->pos = (uint64_t)d->off;
	}
	return 0;
}

/* How much to read at once without a buffer to keep the rest in: at most what
 * surely fits, but room for one entry. */
static unsigned
read_size(const struct reply *r, bool keeps)
{
	size_t left = r->room - r->len;
	size_t size = r->plus ? left / 8 : left / 2;

	if (keeps || size > FS_DENTS_MAX)
		return FS_DENTS_MAX;
	return size < 512 ? 512 : (unsigned)size;
}

static int
read_entries(struct reply *r, struct fs_handle *h)
{
	int n = 1, enough = 0;

	if (h->buf)
		enough = put_all(r, h, h->buf);
	while (!enough && n > 0) {
		char *buf = get_buf(r->c, h);
		bool keeps = buf == h->buf;

		n = fill(r->c, h, buf, read_size(r, keeps));
		if (n > 0)
			enough = put_all(r, h, buf);
		if (!keeps && h->at < h->len) {
			uint64_t pos = h->pos;

			h->pos = (uint64_t)-1;
			seek_to(h, pos);
		}
		if (!keeps)
			h->at = h->len = 0;
		if (n > 0 && !keeps && r->room - r->len < 1024)
			enough = 1;
	}
	if (n < 0 && !r->len)
		return n;
	return enough < 0 ? enough : 0;
}

/*
 * The Windows client lists by READDIRPLUS.  READDIR has two uses there: is a
 * directory empty, and, with its option -i, the search for a name in other
 * case when we have said that there is none, a page of 4 KiB after the other to
 * the end.  We have looked ourselves, and better: so the dots and one entry are
 * all that it gets, at offset 0, and then the end.
 */
static bool
is_brief(const struct fs_ctx *c, bool plus, size_t room)
{
	return !plus && c->share->fold && fs_is_windows(c->s) &&
	       room >= BRIEF_ROOM;
}

static ssize_t
read_dir(struct fs_ctx *c, const struct fuse_read_in *in, bool plus)
{
	struct fs_handle *h = c->fh;
	struct reply r = { .c = c, .plus = plus };
	size_t room = c->req->out_len - sizeof(struct fuse_out_header);
	int err;

	r.room = in->size < room ? in->size : room;
	if (r.room > FS_OUT_MAX)
		r.room = FS_OUT_MAX;
	r.brief = is_brief(c, plus, r.room);
	if (r.brief && in->offset)
		return 0;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &r.start);
	pthread_mutex_lock(&h->stream);
	err = seek_to(h, in->offset);
	if (!err)
		err = read_entries(&r, h);
	pthread_mutex_unlock(&h->stream);
	c->body = c->t->out;
	/* Not even one entry fits. */
	if (err == -ENOSPC)
		err = -EINVAL;
	return err ? err : (ssize_t)r.len;
}

ssize_t
fs_op_readdir(struct fs_ctx *c, const void *in, void *out)
{
	(void)out;
	return read_dir(c, in, false);
}

ssize_t
fs_op_readdirplus(struct fs_ctx *c, const void *in, void *out)
{
	(void)out;
	return read_dir(c, in, true);
}
