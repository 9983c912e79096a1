/* SPDX-License-Identifier: MIT */
/*
 * From a directory and a name to a node, and back: LOOKUP, FORGET.  A file
 * that is known already costs one statx and no open.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "fuse/fold.h"
#include "fuse/owners.h"

uint64_t
fs_statx_dev(const struct statx *stx)
{
	return makedev(stx->stx_dev_major, stx->stx_dev_minor);
}

/* With a reference.  What this request made is on a mount that its directory
 * holds, and must not be deferred. */
static int
get_mount(struct fs_ctx *c, const struct statx *stx, int fd, bool fresh,
	  struct fs_mount **mount)
{
	struct fs_mount *m = fs_mount_get(c->share, stx);
	int err;

	if (!m) {
		if (!c->may_block && !fresh)
			return FS_DEFER;
		err = fs_cred_self(&c->t->cred, false);
		if (!err)
			err = fs_mount_open(c->share, stx, fd, &m);
		if (err)
			return err;
	}
	if (c->share->set->inode_file_handles == CONF_HANDLES_MANDATORY &&
	    !(m->flags & FS_MOUNT_HANDLES)) {
		fs_mount_put(c->share, m);
		return -EOPNOTSUPP;
	}
	*mount = m;
	return 0;
}

/* What an inode is. */
struct seen {
	struct timespec now;		/* the coarse clock, before */
	struct fs_mount *mount;		/* with a reference */
	struct file_handle *handle;	/* in buf, or NULL */
	struct fs_handle_buf buf;
};

static int
see(struct fs_ctx *c, int fd, struct statx *stx, bool fresh, struct seen *s)
{
	int err;

	clock_gettime(CLOCK_REALTIME_COARSE, &s->now);
	err = fs_statx(c, fd, "", stx);
	if (!err)
		err = get_mount(c, stx, fd, fresh, &s->mount);
	if (err)
		return err;
	s->handle = s->mount->flags & FS_MOUNT_HANDLES ?
		    fs_handle_of(fd, &s->buf) : NULL;
	return 0;
}

/* The node of what `fd` (O_PATH, taken, also on error) is. */
static int
add_path_fd(struct fs_ctx *c, int fd, struct statx *stx, bool fresh,
	    struct fs_node **node)
{
	struct seen s;
	int err = see(c, fd, stx, fresh, &s);

	if (!err && fs_is_closed(c, s.mount)) {
		fs_mount_put(c->share, s.mount);
		err = -EACCES;
	}
	if (err) {
		close(fd);
		return err;
	}
	return fs_node_add(c, s.mount, stx, &s.now, s.handle, fd, node);
}

static int
open_path(struct fs_ctx *c, int dirfd, const char *name)
{
	int fd, err;

	do {
		fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	} while ((err == -EMFILE || err == -ENFILE) &&
		 fs_nodefd_shrink(c->share));
	return err ? err : fd;
}

/*
 * The node of a name.  `fresh`: this request made it, so nobody knows it yet.
 */
int
fs_walk(struct fs_ctx *c, struct fs_node *dir, int dirfd, const char *name,
	bool fresh, struct statx *stx, struct fs_node **node)
{
	int fd;

	if (!fresh) {
		struct fs_mount *m;
		int err = fs_statx(c, dirfd, name, stx);

		if (err)
			return err;
		m = fs_mount_find(c->share, stx);
		if (!c->may_block &&
		    (!m || (m != dir->mount && fs_mount_defers(c, m))))
			return FS_DEFER;
		if (m && fs_is_closed(c, m))
			return -EACCES;
		*node = m ? fs_node_find(c->s, m, stx) : NULL;
		if (*node)
			return 0;
		if (!c->may_block && !fs_mount_is_used(c->share, m))
			return FS_DEFER;
	}
	fd = open_path(c, dirfd, name);
	return fd < 0 ? fd : add_path_fd(c, fd, stx, fresh, node);
}

/* An O_PATH fd of a file open as `fd`. */
static int
path_of(struct fs_ctx *c, int fd)
{
	int err = fs_cred_self(&c->t->cred, false);
	int path = err ? -1 : fs_open_proc(c->share, fd, O_PATH);

	if (err)
		return err;
	return path < 0 ? -errno : path;
}

int
fs_walk_fd(struct fs_ctx *c, int fd, struct statx *stx, struct fs_node **node)
{
	struct seen s;
	int err = see(c, fd, stx, true, &s);

	if (err)
		return err;
	fd = s.handle ? -1 : path_of(c, fd);
	if (fd < 0 && !s.handle) {
		fs_mount_put(c->share, s.mount);
		return fd;
	}
	return fs_node_add(c, s.mount, stx, &s.now, s.handle, fd, node);
}

/* ------------------------------------------------------------------ */

static bool
is_submount(const struct fs_ctx *c, const struct fs_node *n)
{
	const struct fs_node *dir = c->fh ? c->fh->node : c->node;

	return S_ISDIR(n->type) && dir && dir != n &&
	       (n->mount != dir->mount || n->dev != dir->dev);
}

int
fs_entry_fill(struct fs_ctx *c, struct fs_node *n, int fd,
	      const struct statx *stx, struct fuse_entry_out *e)
{
	const struct conf_share *set = c->share->set;
	int err = fs_attr_fill(c, n, fd, stx, &e->attr);

	if (err)
		return err;
	e->nodeid = fs_node_id(n);
	/* Removed by one spelling, it must not live on under another. */
	if (!c->share->fold)
		fs_timeout(set->entry_timeout_us, set->cache, &e->entry_valid,
			   &e->entry_valid_nsec);
	fs_timeout(set->attr_timeout_us, set->cache, &e->attr_valid,
		   &e->attr_valid_nsec);
	if (fs_session_has(c->s, FUSE_SUBMOUNTS) && is_submount(c, n))
		e->attr.flags |= FUSE_ATTR_SUBMOUNT;
	return 0;
}

/* What this request made is open through its node's fd for its label. */
static int
label(struct fs_ctx *c, struct fs_node *n)
{
	int fd, err;

	if (!c->label)
		return 0;
	err = fs_node_pin(c, n, &fd);
	if (err)
		return err;
	err = fs_set_label(c, fd);
	fs_node_unpin(n);
	return err;
}

ssize_t
fs_reply_entry(struct fs_ctx *c, const char *name, bool made,
	       struct fuse_entry_out *e)
{
	struct statx stx;
	struct fs_node *n;
	int err = fs_walk(c, c->node, c->fd, name, true, &stx, &n);

	if (err)
		return err;
	c->late = true;
	err = label(c, n);
	if (!err && made)
		err = fs_made(c, n, -1, &stx);
	if (err)
		unlinkat(c->fd, name, S_ISDIR(n->type) ? AT_REMOVEDIR : 0);
	else
		err = fs_entry_fill(c, n, -1, &stx, e);
	if (err)
		fs_node_forget(n, 1);
	fs_node_put(n);
	return err ? err : (ssize_t)sizeof(*e);
}

/* What is above a directory, for a guest that has but its id. */
static ssize_t
lookup_parent(struct fs_ctx *c, struct fuse_entry_out *e)
{
	struct statx stx;
	struct fs_node *n;
	int fd = fs_export_parent(c, c->fd), err;

	if (fd < 0)
		return fd;
	err = add_path_fd(c, fd, &stx, false, &n);
	if (err)
		return err;
	err = fs_entry_fill(c, n, -1, &stx, e);
	if (err)
		fs_node_forget(n, 1);
	fs_node_put(n);
	return err ? err : (ssize_t)sizeof(*e);
}

/* "." of any directory, ".." of the root.  Without export_support, ".." of
 * another is never looked at: it may be outside. */
static ssize_t
lookup_dots(struct fs_ctx *c, struct fuse_entry_out *e)
{
	struct statx stx;
	int err;

	if (c->name[1] && c->h.nodeid != FUSE_ROOT_ID)
		return fs_is_exported(c->s) ? lookup_parent(c, e) : -EINVAL;
	err = fs_statx(c, c->fd, "", &stx);
	if (err)
		return err;
	if (!stx.stx_nlink && fs_is_exported(c->s)) {
		fs_node_nameless(c->node);
		return -ESTALE;		/* an fd of ours was left of it */
	}
	err = fs_entry_fill(c, c->node, c->fd, &stx, e);
	if (err)
		return err;
	fs_node_count(c->node);
	fs_node_put(c->node);
	return sizeof(*e);
}

/* The guest may remember for a while that there is no such name. */
static ssize_t
negative(struct fs_ctx *c, struct fuse_entry_out *e)
{
	int64_t us = c->share->set->negative_timeout_us;

	if (us <= 0 || fs_is_windows(c->s) || c->share->fold)
		return -ENOENT;
	fs_timeout(us, CONF_CACHE_NEVER, &e->entry_valid,
		   &e->entry_valid_nsec);
	return sizeof(*e);
}

ssize_t
fs_op_lookup(struct fs_ctx *c, const void *in, void *out)
{
	const char *name = c->name;
	struct fuse_entry_out *e = out;
	struct statx stx;
	struct fs_node *n;
	int err;

	(void)in;
	if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
		return lookup_dots(c, out);
	err = fs_walk(c, c->node, c->fd, name, false, &stx, &n);
	if (err == -ENOENT && c->share->fold)
		err = fs_fold_walk(c, &stx, &n);
	if (err == -ENOENT)
		return negative(c, out);
	if (err)
		return err;
	err = fs_entry_fill(c, n, -1, &stx, e);
	if (!err && fs_is_windows(c->s) && !fs_win_shows(e->attr.mode))
		err = -ENOENT;
	if (err)
		fs_node_forget(n, 1);
	fs_node_put(n);
	return err ? err : (ssize_t)sizeof(struct fuse_entry_out);
}

static void
forget(struct fs_session *s, uint64_t id, uint64_t nlookup)
{
	struct fs_node *n = fs_node_get(s, id);

	if (!n)
		return;
	fs_node_forget(n, nlookup);
	fs_node_put(n);
}

ssize_t
fs_op_forget(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_forget_in *in = arg;

	(void)out;
	forget(c->s, c->h.nodeid, in->nlookup);
	return 0;
}

ssize_t
fs_op_batch_forget(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_batch_forget_in *in = arg;
	size_t off = sizeof(c->h) + sizeof(*in);
	size_t there = (c->in_len - sizeof(*in)) /
		       sizeof(struct fuse_forget_one);

	(void)out;
	for (size_t i = 0; i < in->count && i < there; i++) {
		struct fuse_forget_one one;

		fs_iov_read(c->req->in, c->req->nin, off, &one, sizeof(one));
		forget(c->s, one.nodeid, one.nlookup);
		off += sizeof(one);
	}
	return 0;
}
