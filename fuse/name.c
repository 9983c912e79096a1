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

#include "fuse/fold.h"
#include "fuse/owners.h"

/* Before something is made whose node could then not be given out. */
static int
check_room(struct fs_ctx *c)
{
	if ((c->node->mount->flags & FS_MOUNT_HANDLES) ||
	    fs_nodefd_room(c->s))
		return 0;
	fs_count(&c->req->counters->nodes_limit, 1);
	return -ENFILE;
}

/* Before c->name is made with *mode, of which some may be recorded, and
 * after. */
static int
begin(struct fs_ctx *c, struct fs_making *m, mode_t *mode)
{
	int err = check_room(c);

	if (!err)
		err = fs_make_owner(c, mode);
	return err ? err : fs_make_begin(c, m);
}

static ssize_t
end(struct fs_ctx *c, struct fs_making *m, int err, void *out)
{
	err = fs_make_end(c, m, err);
	return err ? err : fs_reply_entry(c, c->name, true, out);
}

/* As the kernel's new_encode_dev() packs it. */
static dev_t
decode_dev(uint32_t dev)
{
	return makedev((dev & 0xfff00) >> 8,
		       (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

/* A device, a fifo or a socket that the host does not let us make: an empty
 * file, of which it is recorded what it is to be. */
static int
emulate(struct fs_ctx *c, const struct fuse_mknod_in *in, mode_t mode)
{
	struct fs_make *m = &c->make;
	uint32_t umask = fs_session_has(c->s, FUSE_DONT_MASK) ? in->umask : 0;
	int fd;

	if (!c->may_block)
		return FS_DEFER;
	if (!(m->has & CF_STATE_MODE))
		m->mode = mode & 07000;
	m->mode |= (in->mode & S_IFMT) | (mode & 0777 & ~umask);
	m->rdev = in->rdev;
	m->has |= CF_STATE_MODE | CF_STATE_RDEV;
	fd = openat(c->fd, c->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
				    O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

ssize_t
fs_op_mknod(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_mknod_in *in = arg;
	mode_t mode = fs_file_mode(c, in->mode);
	struct fs_making m;
	int err = begin(c, &m, &mode);

	if (err)
		return err;
	fs_use_umask(c, in->umask);
	if (mknodat(c->fd, c->name, (in->mode & S_IFMT) | mode,
		    decode_dev(in->rdev)) < 0)
		err = -errno;
	if (err == -EPERM && fs_owners_can(c, c->node->mount))
		err = emulate(c, in, mode);
	return end(c, &m, err, out);
}

ssize_t
fs_op_mkdir(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_mkdir_in *in = arg;
	mode_t mode = in->mode & 07777 & c->share->set->directory_mask;
	struct fs_making m;
	int err = begin(c, &m, &mode);

	if (err)
		return err;
	fs_use_umask(c, in->umask);
	if (mkdirat(c->fd, c->name, mode) < 0)
		err = -errno;
	return end(c, &m, err, out);
}

ssize_t
fs_op_symlink(struct fs_ctx *c, const void *in, void *out)
{
	struct fs_making m;
	mode_t mode = 0;
	int err = begin(c, &m, &mode);

	(void)in;
	if (err)
		return err;
	if (symlinkat(c->name2, c->fd, c->name) < 0)
		err = -errno;
	return end(c, &m, err, out);
}

/* Through /proc, for AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH. */
ssize_t
fs_op_link(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_link_in *in = arg;
	struct fs_making m;
	char from[16];
	int err = fs_ctx_node2(c, in->oldnodeid, false);

	if (err)
		return err;
	if (S_ISDIR(c->node2->type))
		return -EPERM;
	err = fs_make_begin(c, &m);
	if (err)
		return err;
	snprintf(from, sizeof(from), "%d", c->fd2);
	if (linkat(c->share->proc_fd, from, c->fd, c->name,
		   AT_SYMLINK_FOLLOW) < 0)
		err = -errno;
	err = fs_make_end(c, &m, err);
	return err ? err : fs_reply_entry(c, c->name, false, out);
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

static int
remove_one(struct fs_ctx *c, const char *name, void *flags)
{
	struct fs_going going = { .fd = -1 };
	struct statx stx;
	bool known;
	int err = 0;

	look_before(c, c->fd, name, &stx, &known);
	if (known)
		err = fs_going_begin(c, c->fd, name, &stx, &going);
	if (err)
		return err;
	err = fs_unlinkat(c->fd, name, *(int *)flags);
	fs_going_end(c, &going, !err);
	if (err)
		return err;
	if (known)
		fs_node_removed(c->s, &stx);
	if (c->share->fold)
		fs_fold_removed(c, name);
	return 0;
}

static ssize_t
remove_name(struct fs_ctx *c, int flags)
{
	int err = remove_one(c, c->name, &flags);

	if (err == -ENOENT && c->share->fold)
		err = fs_fold_find(c, remove_one, &flags);
	return err;
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

static int
rename_one(void *arg, int from_fd, const char *from, int to_fd, const char *to,
	   unsigned flags)
{
	struct fs_going going = { .fd = -1 };
	struct fs_ctx *c = arg;
	struct statx stx;
	bool known = false;
	int err = 0;

	if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
		look_before(c, to_fd, to, &stx, &known);
	if (known)
		err = fs_going_begin(c, to_fd, to, &stx, &going);
	if (err)
		return err;
	if (renameat2(from_fd, from, to_fd, to, flags) < 0)
		err = -errno;
	if (err == -EINVAL && flags == RENAME_NOREPLACE &&
	    fs_is_windows(c->s))
		err = fs_win_rename(c, from_fd, from, to_fd, to);
	fs_going_end(c, &going, !err);
	if (!err && known)
		fs_node_removed(c->s, &stx);
	return err;
}

static ssize_t
rename_to(struct fs_ctx *c, uint64_t newdir, unsigned flags)
{
	int err = fs_ctx_node2(c, newdir, true);

	if (err)
		return err;
	if (c->share->fold)
		return fs_fold_rename(c, flags, rename_one);
	return rename_one(c, c->fd, c->name, c->fd2, c->name2, flags);
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
