/* SPDX-License-Identifier: MIT */
/*
 * Names: made, linked, read, renamed and removed.  A name is one component,
 * checked by dispatch, and is used with the *at() calls on its directory's own
 * fd, so no path is ever walked.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fuse/fs.h"

/* Before something is made whose node could then not be given out. */
static int
check_room(struct fs_ctx *c)
{
	if ((c->node->mount->flags & FS_MOUNT_HANDLES) ||
	    fs_nodefd_room(c->share))
		return 0;
	fs_count(&c->req->counters->nodes_limit, 1);
	return -ENFILE;
}

/* As the kernel's new_encode_dev() packs it. */
static dev_t
decode_dev(uint32_t dev)
{
	return makedev((dev & 0xfff00) >> 8,
		       (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

ssize_t
fs_op_mknod(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_mknod_in *in = arg;
	int err = check_room(c);

	if (err)
		return err;
	fs_use_umask(c, in->umask);
	if (mknodat(c->fd, c->name, in->mode & (S_IFMT | 07777),
		    decode_dev(in->rdev)) < 0)
		return -errno;
	return fs_reply_entry(c, c->name, out);
}

ssize_t
fs_op_mkdir(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_mkdir_in *in = arg;
	int err = check_room(c);

	if (err)
		return err;
	fs_use_umask(c, in->umask);
	if (mkdirat(c->fd, c->name, in->mode & 07777) < 0)
		return -errno;
	return fs_reply_entry(c, c->name, out);
}

ssize_t
fs_op_symlink(struct fs_ctx *c, const void *in, void *out)
{
	int err = check_room(c);

	(void)in;
	if (err)
		return err;
	if (symlinkat(c->name2, c->fd, c->name) < 0)
		return -errno;
	return fs_reply_entry(c, c->name, out);
}

/* Through /proc, for AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH. */
ssize_t
fs_op_link(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_link_in *in = arg;
	char from[16];
	int err = fs_ctx_node2(c, in->oldnodeid, false);

	if (err)
		return err;
	if (S_ISDIR(c->node2->type))
		return -EPERM;
	snprintf(from, sizeof(from), "%d", c->fd2);
	if (linkat(c->share->proc_fd, from, c->fd, c->name,
		   AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	atomic_store(&c->node2->deleted, false);
	return fs_reply_entry(c, c->name, out);
}

/* The Windows client has room for 260 bytes, and its request, which should
 * have none, brings as many of no meaning. */
ssize_t
fs_op_readlink(struct fs_ctx *c, const void *in, void *out)
{
	size_t room = c->req->out_len - sizeof(struct fuse_out_header);
	ssize_t n;

	(void)in;
	(void)out;
	if (!S_ISLNK(c->node->type))
		return -EINVAL;
	n = readlinkat(c->fd, "", c->t->out, PATH_MAX);
	if (n < 0)
		return -errno;
	if ((size_t)n > room)
		return -ENAMETOOLONG;
	c->body = c->t->out;
	return n;
}

/* ------------------------------------------------------------------ */

/* An inode whose name is about to go: known by `stx` if *known. */
static void
look_before(struct fs_ctx *c, int fd, const char *name, struct statx *stx,
	    bool *known)
{
	*known = !fs_statx(c, fd, name, stx);
}

static ssize_t
remove_name(struct fs_ctx *c, int flags)
{
	struct statx stx;
	bool known;

	look_before(c, c->fd, c->name, &stx, &known);
	if (unlinkat(c->fd, c->name, flags) < 0)
		return -errno;
	if (known)
		fs_node_removed(c->s, &stx);
	return 0;
}

ssize_t
fs_op_unlink(struct fs_ctx *c, const void *in, void *out)
{
	(void)in;
	(void)out;
	return remove_name(c, 0);
}

ssize_t
fs_op_rmdir(struct fs_ctx *c, const void *in, void *out)
{
	(void)in;
	(void)out;
	return remove_name(c, AT_REMOVEDIR);
}

static ssize_t
rename_to(struct fs_ctx *c, uint64_t newdir, unsigned flags)
{
	const char *to = c->name2;
	struct statx stx;
	bool known = false;
	int err = fs_ctx_node2(c, newdir, true);

	if (err)
		return err;
	if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
		look_before(c, c->fd2, to, &stx, &known);
	if (renameat2(c->fd, c->name, c->fd2, to, flags) < 0)
		err = -errno;
	if (err == -EINVAL && flags == RENAME_NOREPLACE &&
	    fs_is_windows(c->s))
		err = fs_win_rename(c, c->name, to);
	if (!err && known)
		fs_node_removed(c->s, &stx);
	return err;
}

ssize_t
fs_op_rename(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_rename_in *in = arg;

	(void)out;
	return rename_to(c, in->newdir, 0);
}

/* A whiteout is a file that the caller makes; only root can. */
ssize_t
fs_op_rename2(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_rename2_in *in = arg;

	(void)out;
	if (in->flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE |
				    RENAME_WHITEOUT))
		return -EINVAL;
	return rename_to(c, in->newdir, in->flags);
}
