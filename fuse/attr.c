/* SPDX-License-Identifier: MIT */
/*
 * Attributes of nodes and of file systems: GETATTR, SETATTR, STATX, ACCESS,
 * STATFS, SYNCFS.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fuse/dosattr.h"
#include "fuse/owners.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452	/* Linux 6.6; the same on all architectures */
#endif

void
fs_timeout(int64_t us, unsigned cache, uint64_t *sec, uint32_t *nsec)
{
	static const int64_t by_cache[] = {
		[CONF_CACHE_AUTO] = 1000000,
		[CONF_CACHE_ALWAYS] = 86400000000,
		[CONF_CACHE_METADATA] = 86400000000,
		[CONF_CACHE_NEVER] = 0,
	};

	if (us < 0)
		us = by_cache[cache];
	*sec = (uint64_t)us / 1000000;
	*nsec = (uint32_t)((uint64_t)us % 1000000 * 1000);
}

/* As the kernel's new_encode_dev() packs it. */
static uint32_t
encode_dev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12);
}

/* As the guest is to see the node. */
static int
look_at(struct fs_ctx *c, struct fs_node *n, int fd, const struct statx *stx,
	struct fs_look *look)
{
	struct cf_state_row row;
	int found = fs_owners_find(c, n, fd, stx, &row);

	if (found < 0)
		return found;
	fs_look(c, stx, found ? &row : NULL, look);
	return 0;
}

int
fs_attr_fill(struct fs_ctx *c, struct fs_node *n, int fd,
	     const struct statx *stx, struct fuse_attr *a)
{
	struct fs_look look;
	int err = look_at(c, n, fd, stx, &look);

	if (err)
		return err;
	a->ino = stx->stx_ino;
	a->size = stx->stx_size;
	a->blocks = stx->stx_blocks;
	a->atime = (uint64_t)stx->stx_atime.tv_sec;
	a->mtime = (uint64_t)stx->stx_mtime.tv_sec;
	a->ctime = (uint64_t)stx->stx_ctime.tv_sec;
	a->atimensec = stx->stx_atime.tv_nsec;
	a->mtimensec = stx->stx_mtime.tv_nsec;
	a->ctimensec = stx->stx_ctime.tv_nsec;
	a->mode = look.mode;
	a->nlink = stx->stx_nlink;
	a->uid = look.uid;
	a->gid = look.gid;
	a->rdev = encode_dev(look.rdev_major, look.rdev_minor);
	a->blksize = stx->stx_blksize;
	a->flags = 0;
	if (fs_is_windows(c->s))
		fs_win_attr(c->share, stx, &look, a);
	return 0;
}

/*
 * An fd to look at or change the node through: the handle that the request
 * names, else the node's own, else any handle if the inode has lost its last
 * name.  With the last two a wrong handle does no harm.
 */
static int
find_fd(struct fs_ctx *c, bool by_handle, uint64_t id, int *fd)
{
	int err;

	if (by_handle)
		c->fh = fs_handle_get(c->s, id);
	if (c->fh && c->fh->node != c->node) {
		fs_handle_put(c->fh);
		c->fh = NULL;
	}
	if (!c->fh) {
		err = fs_node_pin(c, c->node, &c->fd);
		*fd = c->fd;
		if (err != -ESTALE)
			return err;
		c->fh = fs_handle_of_node(c->s, c->node, false);
		if (!c->fh)
			return -ESTALE;
	}
	*fd = c->fh->fd;
	return 0;
}

/* The host removed the file.  One that is held and open stays as it is: an
 * O_TMPFILE may get a name yet. */
static void
let_go_of_nameless(struct fs_ctx *c)
{
	struct fs_handle *h = NULL;

	if (!c->node->handle)
		h = fs_handle_of_node(c->s, c->node, false);
	if (h)
		fs_handle_put(h);
	else
		fs_node_nameless(c->node);
}

static struct statx_timestamp
statx_time(struct timespec t)
{
	return (struct statx_timestamp){
		.tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec,
	};
}

/*
 * GETATTR needs no more than fstat tells, unless owners are mapped (the root
 * of a share is known by its mount), recorded (found by birth time), or birth
 * times shown.
 */
static bool
needs_basics(const struct fs_ctx *c)
{
	return !c->share->ids && !c->node->mount->state &&
	       !fs_is_windows(c->s);
}

/* What fstat tells, but for the device. */
static int
get_basics(int fd, struct statx *stx)
{
	struct stat st;
	int err = fs_fstat(fd, &st);

	if (err)
		return err;
	stx->stx_mask = STATX_BASIC_STATS;
	stx->stx_blksize = (uint32_t)st.st_blksize;
	stx->stx_nlink = (uint32_t)st.st_nlink;
	stx->stx_uid = st.st_uid;
	stx->stx_gid = st.st_gid;
	stx->stx_mode = (uint16_t)st.st_mode;
	stx->stx_ino = st.st_ino;
	stx->stx_size = (uint64_t)st.st_size;
	stx->stx_blocks = (uint64_t)st.st_blocks;
	stx->stx_atime = statx_time(st.st_atim);
	stx->stx_mtime = statx_time(st.st_mtim);
	stx->stx_ctime = statx_time(st.st_ctim);
	stx->stx_btime = (struct statx_timestamp){ 0 };
	stx->stx_rdev_major = st.st_rdev ? major(st.st_rdev) : 0;
	stx->stx_rdev_minor = st.st_rdev ? minor(st.st_rdev) : 0;
	return 0;
}

static ssize_t
reply_attr(struct fs_ctx *c, int fd, struct fuse_attr_out *out)
{
	const struct conf_share *set = c->share->set;
	struct statx stx;
	int err = needs_basics(c) ? get_basics(fd, &stx)
				  : fs_statx(c, fd, "", &stx);

	if (err)
		return err;
	if (stx.stx_nlink == 0)
		let_go_of_nameless(c);
	fs_timeout(set->attr_timeout_us, set->cache, &out->attr_valid,
		   &out->attr_valid_nsec);
	err = fs_attr_fill(c, c->node, fd, &stx, &out->attr);
	return err ? err : (ssize_t)sizeof(*out);
}

ssize_t
fs_op_getattr(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_getattr_in *in = arg;
	int fd, err;

	err = find_fd(c, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &fd);
	return err ? err : reply_attr(c, fd, out);
}

/* ------------------------------------------------------------------ */
/* SETATTR */

/* Before Linux 6.6 only /proc can. */
int
fs_chmod_path(struct fs_ctx *c, int fd, mode_t mode)
{
	char name[16];

	if (!syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH))
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	snprintf(name, sizeof(name), "%d", fd);
	return fchmodat(c->share->proc_fd, name, mode, 0) < 0 ? -errno : 0;
}

static int
set_mode(struct fs_ctx *c, const struct fuse_setattr_in *in, int fd)
{
	mode_t mode = in->mode & 07777;
	struct fs_look look;
	struct statx stx;
	int err = 0;

	if (fs_is_windows(c->s) || c->share->records) {
		err = fs_statx(c, fd, "", &stx);
		if (!err)
			err = look_at(c, c->node, fd, &stx, &look);
	}
	if (!err && fs_is_windows(c->s))
		mode = fs_win_mode(look.mode, mode) & 07777;
	if (!err && c->share->records)
		err = fs_chmod(c, fd, &stx, &mode);
	if (err)
		return err == FS_SAME ? 0 : err;
	if (c->fh && !(c->fh->flags & O_PATH))
		return fchmod(fd, mode) < 0 ? -errno : 0;
	return fs_chmod_path(c, fd, mode);
}

static bool
can_write(const struct fs_handle *h)
{
	return !(h->flags & O_PATH) && (h->flags & O_ACCMODE) != O_RDONLY;
}

/* Truncate through the request's handle, any that can write when Windows
 * names none, or a new one.  `at` is any fd of the file. */
static int
set_size(struct fs_ctx *c, const struct fuse_setattr_in *in, int at)
{
	bool windows = fs_is_windows(c->s);
	bool kill = windows || (in->valid & FATTR_KILL_SUIDGID);
	struct fs_handle *h = c->fh && can_write(c->fh) ? c->fh : NULL;
	int fd = -1, err;

	if (!S_ISREG(c->node->type))
		return S_ISDIR(c->node->type) ? -EISDIR : -EINVAL;
	if (in->size > INT64_MAX)
		return -EFBIG;
	err = fs_ctx_write(c, c->node, c->fh, at, kill);
	if (err)
		return err;
	if (!h && windows)
		h = fs_handle_of_node(c->s, c->node, true);
	if (!h) {
		fd = fs_node_open(c, c->node, O_WRONLY | O_NONBLOCK);
		if (fd < 0)
			return fd;
	}
	if (ftruncate(h ? h->fd : fd, (off_t)in->size) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (h && h != c->fh)
		fs_handle_put(h);
	return err;
}

static int
set_times(const struct fuse_setattr_in *in, int fd, bool real)
{
	struct timespec ts[2] = {
		{ .tv_sec = (time_t)in->atime, .tv_nsec = in->atimensec },
		{ .tv_sec = (time_t)in->mtime, .tv_nsec = in->mtimensec },
	};

	for (int i = 0; i < 2; i++) {
		if (in->valid & (i ? FATTR_MTIME_NOW : FATTR_ATIME_NOW))
			ts[i].tv_nsec = UTIME_NOW;
		else if (!(in->valid & (i ? FATTR_MTIME : FATTR_ATIME)))
			ts[i].tv_nsec = UTIME_OMIT;
		else if (ts[i].tv_nsec > 999999999)
			return -EINVAL;
	}
	if (real)
		return futimens(fd, ts) < 0 ? -errno : 0;
	return utimensat(fd, "", ts, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0
		       ? -errno : 0;
}

#define TIMES (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)

/* Owner before mode: chown clears suid and sgid bits.  The time of change that
 * a Windows client sends is what it shows as the creation time. */
static int
set_all(struct fs_ctx *c, const struct fuse_setattr_in *in, int fd)
{
	bool birth = (in->valid & FATTR_CTIME) && fs_sets_birth(c);
	int err = 0;

	if (birth && !c->may_block)
		return FS_DEFER;
	if (in->valid & (FATTR_UID | FATTR_GID))
		err = c->share->records ? fs_chown(c, fd, in) :
					  fs_ids_set_owner(c, fd, in);
	if (!err && (in->valid & FATTR_MODE))
		err = set_mode(c, in, fd);
	if (!err && (in->valid & FATTR_SIZE))
		err = set_size(c, in, fd);
	if (!err && (in->valid & TIMES))
		err = set_times(in, fd, c->fh && !(c->fh->flags & O_PATH));
	if (!err && birth)
		err = fs_set_birth(c, fd, (int64_t)in->ctime, in->ctimensec);
	return err;
}

#define CHANGES (FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | TIMES)

/*
 * Linux changes nothing before a write that will clear suid and sgid bits, and
 * afterwards asks for size and times only.  What it hears now it must not keep.
 */
ssize_t
fs_op_setattr(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_setattr_in *in = arg;
	struct fuse_attr_out *out = reply;
	ssize_t n;
	int fd, err;

	if ((in->valid & FATTR_SIZE) && fs_disk_defers(c, c->node->mount))
		return FS_DEFER;
	err = find_fd(c, in->valid & FATTR_FH, in->fh, &fd);
	if (!err)
		err = set_all(c, in, fd);
	n = err ? err : reply_attr(c, fd, out);
	if (n > 0 && !(in->valid & CHANGES))
		out->attr_valid = out->attr_valid_nsec = 0;
	return n;
}

/* ------------------------------------------------------------------ */
/* STATX */

static struct fs_wire_time
wire_time(const struct statx_timestamp *t)
{
	return (struct fs_wire_time){ .tv_sec = t->tv_sec,
				      .tv_nsec = t->tv_nsec };
}

static void
fill_statx(const struct statx *stx, const struct fs_look *look,
	   struct fs_wire_statx *w)
{
	w->mask = stx->stx_mask & STATX_BASIC_STATS;
	if (look->has_btime)
		w->mask |= STATX_BTIME;
	w->blksize = stx->stx_blksize;
	w->attributes = stx->stx_attributes;
	w->attributes_mask = stx->stx_attributes_mask;
	w->nlink = stx->stx_nlink;
	w->uid = look->uid;
	w->gid = look->gid;
	w->mode = (uint16_t)look->mode;
	w->ino = stx->stx_ino;
	w->size = stx->stx_size;
	w->blocks = stx->stx_blocks;
	w->atime = wire_time(&stx->stx_atime);
	w->btime = wire_time(&look->btime);
	w->ctime = wire_time(&stx->stx_ctime);
	w->mtime = wire_time(&stx->stx_mtime);
	w->rdev_major = look->rdev_major;
	w->rdev_minor = look->rdev_minor;
}

ssize_t
fs_op_statx(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fs_wire_statx_in *in = arg;
	struct fs_wire_statx_out *out = reply;
	const struct conf_share *set = c->share->set;
	struct fs_look look;
	struct statx stx;
	int fd, err;

	err = find_fd(c, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &fd);
	if (!err)
		err = fs_statx(c, fd, "", &stx);
	if (!err)
		err = look_at(c, c->node, fd, &stx, &look);
	if (err)
		return err;
	fs_timeout(set->attr_timeout_us, set->cache, &out->attr_valid,
		   &out->attr_valid_nsec);
	fill_statx(&stx, &look, &out->stat);
	return sizeof(*out);
}

/* ------------------------------------------------------------------ */

/* Kernels that check permissions themselves, as virtiofs does, never ask. */
ssize_t
fs_op_access(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_access_in *in = arg;
	unsigned mask = in->mask, rights;
	struct fs_look look;
	struct statx stx;
	int err = fs_statx(c, c->fd, "", &stx);

	(void)out;
	if (!err)
		err = look_at(c, c->node, c->fd, &stx, &look);
	if (err)
		return err;
	if (mask & ~(unsigned)(R_OK | W_OK | X_OK))
		return -EINVAL;
	if ((mask & W_OK) && fs_is_readonly(c->share))
		return -EROFS;
	if (c->h.uid == look.uid)
		rights = look.mode >> 6;
	else if (c->h.gid == look.gid)
		rights = look.mode >> 3;
	else
		rights = look.mode;
	if (c->h.uid == 0) {
		rights = R_OK | W_OK;
		if (S_ISDIR(look.mode) || (look.mode & 0111))
			rights |= X_OK;
	}
	return mask & ~rights ? -EACCES : 0;
}

ssize_t
fs_op_statfs(struct fs_ctx *c, const void *in, void *reply)
{
	struct fuse_kstatfs *out = &((struct fuse_statfs_out *)reply)->st;
	struct statfs sf;

	(void)in;
	if (fstatfs(c->fd, &sf) < 0)
		return -errno;
	out->blocks = sf.f_blocks;
	out->bfree = sf.f_bfree;
	out->bavail = sf.f_bavail;
	out->files = sf.f_files;
	out->ffree = sf.f_ffree;
	out->namelen = (uint32_t)sf.f_namelen;
	out->frsize = (uint32_t)(sf.f_frsize ? sf.f_frsize : sf.f_bsize);
	/* Windows multiplies blocks by the wrong one of the two. */
	out->bsize = fs_is_windows(c->s) ? out->frsize : (uint32_t)sf.f_bsize;
	return sizeof(struct fuse_statfs_out);
}

/* The node's own mount, through the fd that we keep of it. */
ssize_t
fs_op_syncfs(struct fs_ctx *c, const void *in, void *out)
{
	int fd = c->node->mount->fd, err = fs_owners_sync(c);
	bool ours = fd < 0;

	(void)in;
	(void)out;
	if (err)
		return err;
	if (ours) {
		if (!S_ISDIR(c->node->type))
			return -EOPNOTSUPP;
		fd = fs_node_open(c, c->node, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			return fd;
	}
	if (syncfs(fd) < 0)
		err = -errno;
	if (ours)
		close(fd);
	return err;
}
