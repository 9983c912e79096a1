/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing files: OPEN, CREATE, TMPFILE, RELEASE, FLUSH, FSYNC.
 * Nothing but a regular file is ever opened, and never before its type is
 * known: opening a device or a fifo of the host does things.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fuse/fold.h"
#include "fuse/owners.h"

/* What a guest may ask of open(2); the other flags mean nothing here or
 * different things on different machines. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_DSYNC | O_SYNC)

enum {
	SPECIAL_TYPE = -ENXIO,
	CREATE_TRIES = 100,
};

static int
clean_flags(struct fs_ctx *c, uint32_t asked)
{
	const struct conf_share *set = c->share->set;
	int flags = OPEN_FLAGS;

	if (set->allow_direct_io)
		flags |= O_DIRECT;
	if (set->preserve_noatime)
		flags |= O_NOATIME;
	flags &= (int)asked;
	/* A guest that writes later reads around what it writes, and knows
	 * itself where the end is. */
	if (fs_session_has(c->s, FUSE_WRITEBACK_CACHE)) {
		flags &= ~O_APPEND;
		if ((flags & O_ACCMODE) == O_WRONLY)
			flags = (flags & ~O_ACCMODE) | O_RDWR;
	}
	/* O_NONBLOCK: a lease of a host process must not hold us up. */
	return flags | O_NONBLOCK;
}

static bool
writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

uint32_t
fs_open_flags(struct fs_ctx *c, const struct fs_node *n, bool dir)
{
	uint32_t flags = 0;

	switch (c->share->set->cache) {
	case CONF_CACHE_NEVER:
		flags = dir ? 0 : FOPEN_DIRECT_IO;
		break;
	case CONF_CACHE_METADATA:
		flags = dir ? FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR
			    : FOPEN_DIRECT_IO;
		break;
	case CONF_CACHE_ALWAYS:
		flags = FOPEN_KEEP_CACHE | (dir ? FOPEN_CACHE_DIR : 0);
		break;
	}
	/* FLUSH has nothing to do on a local disk: spare the guest the trip.
	 * Locks of the process that closes end with it. */
	if (!dir && !(n->mount->flags & FS_MOUNT_REMOTE) &&
	    !fs_session_has(c->s, FUSE_POSIX_LOCKS))
		flags |= FOPEN_NOFLUSH;
	return flags;
}

/* Put an open file into the guest's hands; takes all three. */
static void
hand_out(struct fs_ctx *c, struct fs_handle *h, struct fs_node *n, int fd,
	 int flags, struct fuse_open_out *out)
{
	out->open_flags = fs_open_flags(c, n, false);
	out->fh = fs_handle_open(h, n, fd, flags);
}

/*
 * Appending is done write by write: a guest may write back mapped pages, which
 * have their place, through the same handle.
 *
 * Windows opens a file to rename or delete it, too; if we may not read it, a
 * handle that can do nothing else is what it needs.
 */
static int
open_node(struct fs_ctx *c, struct fs_node *n, int *flags)
{
	int fd;

	if (!S_ISREG(n->type))
		return S_ISDIR(n->type) ? -EISDIR : SPECIAL_TYPE;
	fd = fs_node_open(c, n, *flags & ~O_APPEND);
	if (fd == -EPERM && (*flags & O_APPEND))	/* chattr +a */
		fd = fs_node_open(c, n, *flags);
	/* The guest has checked who may ask for it. */
	if (fd == -EPERM && (*flags & O_NOATIME)) {
		*flags &= ~O_NOATIME;
		fd = fs_node_open(c, n, *flags);
	}
	if (fd == -EACCES && fs_is_windows(c->s) && !writes(*flags)) {
		*flags = O_PATH;
		fd = fs_node_open(c, n, O_PATH);
	}
	return fd;
}

/* `flags`: of OPEN or CREATE, about the opening itself. */
static int
become_truncating(struct fs_ctx *c, struct fs_node *n, uint32_t flags)
{
	bool kill = fs_is_windows(c->s) || (flags & FUSE_OPEN_KILL_SUIDGID);
	int fd = -1, err = kill ? fs_node_pin(c, n, &fd) : 0;

	if (err)
		return err;
	err = fs_ctx_write(c, n, NULL, fd, kill);
	if (kill)
		fs_node_unpin(n);
	return err;
}

ssize_t
fs_op_open(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_open_in *in = arg;
	int flags = clean_flags(c, in->flags), fd, err;
	struct fs_handle *h;

	if (writes(flags) && fs_is_readonly(c->share))
		return -EROFS;
	if ((flags & O_TRUNC) && fs_disk_defers(c, c->node->mount))
		return FS_DEFER;
	err = fs_handle_new(c->s, &h);
	if (err)
		return err;
	if (flags & O_TRUNC)
		err = become_truncating(c, c->node, in->open_flags);
	fd = err ? err : open_node(c, c->node, &flags);
	if (fd < 0) {
		fs_handle_cancel(h);
		return fd;
	}
	hand_out(c, h, c->node, fd, flags, out);
	c->node = NULL;		/* the handle has our reference */
	return sizeof(struct fuse_open_out);
}

/* ------------------------------------------------------------------ */

/* What CREATE finds when the name exists: opened as OPEN would. */
static int
open_existing(struct fs_ctx *c, const struct fuse_create_in *in,
	      const char *name, struct statx *stx, struct fs_node **n,
	      int *flags)
{
	int fd = fs_walk(c, c->node, c->fd, name, false, stx, n);
	bool truncates = *flags & O_TRUNC;

	if (fd)
		return fd;
	if (truncates && fs_disk_defers(c, (*n)->mount))
		fd = FS_DEFER;
	else if (truncates && S_ISREG((*n)->type))
		fd = become_truncating(c, *n, in->open_flags);
	if (!fd)
		fd = open_node(c, *n, flags);
	if (fd >= 0 && truncates)
		(void)fs_statx(c, fd, "", stx);
	if (fd < 0) {
		fs_node_forget(*n, 1);
		fs_node_put(*n);
	}
	return fd;
}

/* The new file is the caller's. */
static int
own(struct fs_ctx *c, int fd, const struct statx *stx, struct fs_node *n)
{
	int err = fs_made(c, n, fd, stx);

	if (err) {
		fs_node_forget(n, 1);
		fs_node_put(n);
	}
	return err;
}

/* Make the file.  Always with O_EXCL, which follows nothing and opens nothing
 * that was there. */
static int
create_new(struct fs_ctx *c, struct fs_making *m, int flags, mode_t mode,
	   struct statx *stx, struct fs_node **n)
{
	int fd, err;

	if (!(c->node->mount->flags & FS_MOUNT_HANDLES) &&
	    !fs_nodefd_room(c->s)) {
		fs_count(&c->req->counters->nodes_limit, 1);
		return -ENFILE;
	}
	err = fs_make_begin(c, m);
	if (err)
		return err;
	do {
		fd = fs_openat(c->fd, c->name, (flags & ~O_APPEND) | O_CREAT |
			       O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		err = fd < 0 ? fd : 0;
	} while ((err == -EMFILE || err == -ENFILE) &&
		 fs_nodefd_shrink(c->share));
	err = fs_make_end(c, m, err);
	if (err)
		return err;
	err = fs_set_label(c, fd);
	if (!err)
		err = fs_walk_fd(c, fd, stx, n);
	if (!err)
		err = own(c, fd, stx, *n);
	if (err) {
		close(fd);
		unlinkat(c->fd, c->name, 0);
	}
	return err ? err : fd;
}

/* Others may make and remove the file while we look: then look again. */
static int
create(struct fs_ctx *c, const struct fuse_create_in *in, mode_t mode,
       int *flags, struct statx *stx, struct fs_node **n)
{
	int asked = *flags, fd = -EEXIST;
	struct fs_making m;

	for (int tries = 0; tries < CREATE_TRIES; tries++) {
		fd = create_new(c, &m, asked, mode, stx, n);
		if (fd != -EEXIST || (in->flags & O_EXCL))
			break;
		*flags = asked;
		fd = open_existing(c, in, m.name, stx, n, flags);
		if (fd != -ENOENT && fd != -ESTALE)
			break;
		/* Opening by handle made us ourselves. */
		fd = fs_ctx_become(c);
		if (fd)
			break;
		fd = -EEXIST;
	}
	return fd;
}

/* Before a file is made that will be open: its handle, and *mode, of which some
 * may be recorded. */
static int
begin(struct fs_ctx *c, const struct fuse_create_in *in, mode_t *mode,
      struct fs_handle **h)
{
	int err = fs_handle_new(c->s, h);

	if (err)
		return err;
	*mode = fs_file_mode(c, in->mode);
	err = fs_make_owner(c, mode);
	if (err)
		fs_handle_cancel(*h);
	else
		fs_use_umask(c, in->umask);
	return err;
}

/* The two structs stand one after the other. */
static ssize_t
reply_created(struct fs_ctx *c, struct fs_handle *h, struct fs_node *n, int fd,
	      int flags, const struct statx *stx, void *out)
{
	struct fuse_entry_out *e = out;
	int err;

	c->late = true;
	err = fs_entry_fill(c, n, fd, stx, e);
	if (err) {
		fs_node_forget(n, 1);
		fs_node_put(n);
		close(fd);
		fs_handle_cancel(h);
		return err;
	}
	hand_out(c, h, n, fd, flags, (struct fuse_open_out *)(e + 1));
	return sizeof(*e) + sizeof(struct fuse_open_out);
}

ssize_t
fs_op_create(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_create_in *in = arg;
	int flags = clean_flags(c, in->flags), fd, err;
	struct fs_handle *h;
	struct statx stx;
	struct fs_node *n;
	mode_t mode;

	err = begin(c, in, &mode, &h);
	if (err)
		return err;
	fd = create(c, in, mode, &flags, &stx, &n);
	if (fd < 0) {
		fs_handle_cancel(h);
		return fd;
	}
	return reply_created(c, h, n, fd, flags, &stx, out);
}

ssize_t
fs_op_tmpfile(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_create_in *in = arg;
	int flags = clean_flags(c, in->flags) & ~O_TRUNC, fd, err;
	struct fs_handle *h;
	struct statx stx;
	struct fs_node *n;
	mode_t mode;

	err = begin(c, in, &mode, &h);
	if (err)
		return err;
	/* O_EXCL: it can never be linked. */
	fd = openat(c->fd, ".", O_TMPFILE | O_CLOEXEC | (flags & ~O_APPEND) |
				(int)(in->flags & O_EXCL),
		    mode);
	err = fd < 0 ? -errno : fs_set_label(c, fd);
	if (!err)
		err = fs_walk_fd(c, fd, &stx, &n);
	if (!err)
		err = own(c, fd, &stx, n);
	if (err) {
		if (fd >= 0)
			close(fd);
		fs_handle_cancel(h);
		return err;
	}
	return reply_created(c, h, n, fd, flags, &stx, out);
}

/* ------------------------------------------------------------------ */

/* By handle alone: the guest may have forgotten the node.  Closing the last
 * user of a deleted file frees its blocks, which takes time. */
ssize_t
fs_op_release(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_release_in *in = arg;
	struct fs_handle *h = fs_handle_get(c->s, in->fh);
	const struct fs_mount *m;
	bool ends;

	(void)out;
	if (!h)
		return in->fh ? -EBADF : 0;	/* Windows releases 0 */
	c->fh = h;
	m = h->node->mount;
	ends = fs_owners_end(c, h);
	if (fs_mount_defers(c, m) || (ends && !c->may_block) ||
	    (atomic_load(&h->node->deleted) && fs_disk_defers(c, m)))
		return FS_DEFER;
	fs_locks_release(c, h, in->release_flags & FUSE_RELEASE_FLOCK_UNLOCK);
	fs_handle_release(h);
	if (ends)
		fs_owners_release(c, h);
	return 0;
}

/* close(2) of a copy makes a network file system report late errors.  To a
 * Windows guest it is what fsync is to others. */
ssize_t
fs_op_flush(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_flush_in *in = arg;
	const struct fs_mount *m = c->fh->node->mount;
	int fd, err;

	(void)out;
	fs_locks_flush(c, in->lock_owner);
	if (fs_is_windows(c->s)) {
		if (fs_disk_defers(c, m))
			return FS_DEFER;
		err = fs_owners_sync(c);
		if (!err && fdatasync(c->fh->fd) < 0)
			err = -errno;
		return err;
	}
	if (!(m->flags & FS_MOUNT_REMOTE))
		return 0;
	fd = fcntl(c->fh->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 || close(fd) < 0 ? -errno : 0;
}

ssize_t
fs_op_fsync(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_fsync_in *in = arg;
	int err = fs_owners_sync(c);

	(void)out;
	if (err)
		return err;
	if (in->fsync_flags & FUSE_FSYNC_FDATASYNC)
		err = fdatasync(c->fh->fd);
	else
		err = fsync(c->fh->fd);
	return err < 0 ? -errno : 0;
}
