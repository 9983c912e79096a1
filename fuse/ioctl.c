/* SPDX-License-Identifier: MIT */
/*
 * IOCTL: the flags of inodes, as lsattr(1), chattr(1) and xfs_io(8) see and
 * set them.  All else is answered as by a file system that does not know it.
 */
#include "config.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuse/fs.h"

/* As a guest of 32 bits writes them. */
#define GETFLAGS_32 _IOR('f', 1, int)
#define SETFLAGS_32 _IOW('f', 2, int)

#ifndef FS_CASEFOLD_FL
#define FS_CASEFOLD_FL 0x40000000
#endif

union arg {
	int flags;
	struct fsxattr x;
};

/* clang-format off */
static const struct {
	unsigned long cmd, ours;
	unsigned char in, out;		/* bytes of `arg` */
} cmds[] = {
	{ FS_IOC_GETFLAGS,	FS_IOC_GETFLAGS,	0, sizeof(int) },
	{ GETFLAGS_32,		FS_IOC_GETFLAGS,	0, sizeof(int) },
	{ FS_IOC_SETFLAGS,	FS_IOC_SETFLAGS,	sizeof(int), 0 },
	{ SETFLAGS_32,		FS_IOC_SETFLAGS,	sizeof(int), 0 },
	{ FS_IOC_FSGETXATTR,	FS_IOC_FSGETXATTR,	0, sizeof(struct fsxattr) },
	{ FS_IOC_FSSETXATTR,	FS_IOC_FSSETXATTR,	sizeof(struct fsxattr), 0 },
};
/* clang-format on */

/* Projects are how a host limits the room that a share may take: not for the
 * guest to choose. */
static int
check_project(int fd, const struct fsxattr *want)
{
	struct fsxattr now;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &now) < 0)
		return -errno;
	if (want->fsx_projid != now.fsx_projid ||
	    ((want->fsx_xflags ^ now.fsx_xflags) & FS_XFLAG_PROJINHERIT))
		return -EPERM;
	return 0;
}

static int
check_flags(int fd, int want)
{
	int now;

	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0)
		return -errno;
	return (want ^ now) & FS_PROJINHERIT_FL ? -EPERM : 0;
}

static int
check_set(struct fs_ctx *c, unsigned long cmd, const union arg *arg)
{
	int fd = c->fh->fd;

	if (fs_is_readonly(c->share))
		return -EROFS;
	return cmd == FS_IOC_SETFLAGS ? check_flags(fd, arg->flags)
				      : check_project(fd, &arg->x);
}

/* Directories of a share that folds say so; on the host it is another thing,
 * and stays as it is. */
static bool
says_fold(const struct fs_ctx *c)
{
	return c->share->fold && c->fh->dir;
}

static void
hide_fold(int fd, int *flags)
{
	int now;

	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0)
		return;
	*flags = (*flags & ~FS_CASEFOLD_FL) | (now & FS_CASEFOLD_FL);
}

static int
do_ioctl(struct fs_ctx *c, unsigned long cmd, union arg *arg)
{
	int err;

	if (cmd == FS_IOC_SETFLAGS && says_fold(c))
		hide_fold(c->fh->fd, &arg->flags);
	err = ioctl(c->fh->fd, cmd, arg) < 0 ? -errno : 0;
	if (cmd == FS_IOC_GETFLAGS && says_fold(c) &&
	    (!err || err == -ENOTTY)) {
		arg->flags |= FS_CASEFOLD_FL;
		err = 0;
	}
	return err;
}

/* Does what the guest wants and return the bytes that are then in `arg`. */
static ssize_t
run(struct fs_ctx *c, const struct fuse_ioctl_in *in, union arg *arg)
{
	size_t n = sizeof(cmds) / sizeof(cmds[0]), i = 0;
	size_t room = c->req->out_len - sizeof(struct fuse_out_header) -
		      sizeof(struct fuse_ioctl_out);
	int err = 0;

	while (i < n && (uint32_t)cmds[i].cmd != in->cmd)
		i++;
	if (i == n)
		return -ENOTTY;
	if (in->in_size < cmds[i].in || c->in_len - sizeof(*in) < cmds[i].in ||
	    in->out_size < cmds[i].out || room < cmds[i].out)
		return -EINVAL;
	memcpy(arg, in + 1, cmds[i].in);
	if (cmds[i].in)
		err = check_set(c, cmds[i].ours, arg);
	if (!err)
		err = do_ioctl(c, cmds[i].ours, arg);
	return err ? err : cmds[i].out;
}

ssize_t
fs_op_ioctl(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_ioctl_in *in = arg;
	struct fuse_ioctl_out head = { 0 };
	const struct fs_mount *m;
	union arg data = { 0 };
	ssize_t n;

	(void)out;
	c->fh = fs_handle_get(c->s, in->fh);
	if (!c->fh || fs_node_id(c->fh->node) != c->h.nodeid)
		return -EBADF;
	m = c->fh->node->mount;
	if (fs_mount_defers(c, m))
		return FS_DEFER;
	n = run(c, in, &data);
	if (n < 0)
		return n;
	memcpy(c->t->out, &head, sizeof(head));
	memcpy(c->t->out + sizeof(head), &data, (size_t)n);
	c->body = c->t->out;
	return (ssize_t)sizeof(head) + n;
}
