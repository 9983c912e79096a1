/* SPDX-License-Identifier: MIT */
/*
 * fserrno DIR HOST: what cannot be done says why as the file system itself
 * does.  DIR is a mounted share, HOST its directory on the host.  Each probe is
 * done in both, and the errors must be the same; then all of them again, for
 * Linux remembers some errors of a share for ever, and takes others then for
 * all that may come.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/tap.h"

/* -errno, or 0. */
#define E(call) ((call) < 0 ? -errno : 0)

/* A probe is done in a directory of its own, which is the working directory
 * and has a file "f" of 8 KiB, a directory "d", a link "l" to f and a fifo
 * "p".  What `n` means is the probe's own matter. */
typedef int probe_fn(long n);

struct probe {
	const char *words;
	probe_fn *run;
	long n;
	int client;	/* what Linux's client says by itself, or 0 */
};

static int
open_file(int flags)
{
	return open("f", flags | O_CLOEXEC, 0644);
}

static int
closing(int fd, int err)
{
	if (fd >= 0)
		close(fd);
	return err;
}

/* ------------------------------------------------------------------ */

static int
falloc(long mode)
{
	int fd = open_file(O_RDWR);

	return closing(fd, E(fallocate(fd, (int)mode, 0, 4096)));
}

static int
falloc_odd(long mode)
{
	int fd = open_file(O_RDWR);

	return closing(fd, E(fallocate(fd, (int)mode, 100, 1000)));
}

static int
falloc_at(long offset)
{
	int fd = open_file(O_RDWR);

	return closing(fd, E(fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, 4096)));
}

static int
falloc_reader(long mode)
{
	int fd = open_file(O_RDONLY);

	return closing(fd, E(fallocate(fd, (int)mode, 0, 4096)));
}

/* ------------------------------------------------------------------ */

static int
copy(long flags)
{
	int from = open_file(O_RDONLY);
	int to = open("copy", O_WRONLY | O_CREAT, 0644);
	loff_t in = 0, out = 0;
	int err = E(copy_file_range(from, &in, to, &out, 4096,
				    (unsigned)flags));

	close(from);
	return closing(to, err);
}

/* Within the file, to a place. */
static int
copy_within(long place)
{
	int fd = open_file(O_RDWR);
	loff_t in = 0, out = place;

	return closing(fd, E(copy_file_range(fd, &in, fd, &out, 4096, 0)));
}

static int
copy_to_flags(long flags)
{
	int from = open_file(O_RDONLY);
	int to = open("copy", (int)flags | O_CREAT, 0644);
	loff_t in = 0;
	int err = E(copy_file_range(from, &in, to, NULL, 4096, 0));

	close(from);
	return closing(to, err);
}

static int
copy_dir(long n)
{
	int from = open("d", O_RDONLY), to = open_file(O_WRONLY);
	int err = E(copy_file_range(from, NULL, to, NULL, 4096, 0));

	(void)n;
	close(from);
	return closing(to, err);
}

/* ------------------------------------------------------------------ */

static char big[XATTR_SIZE_MAX + 2], longest[300];

static const struct {
	const char *file, *name;
	size_t size;
	int flags;
} xattrs[] = {
	{ "f", "user.a", 10, 0 },
	{ "f", "user.a", 10, XATTR_REPLACE },
	{ "f", "user.a", 0, 0 },
	{ "f", "user.a", 10, 4 },
	{ "f", "trusted.a", 10, 0 },
	{ "f", "security.a", 10, 0 },
	{ "f", "security.capability", 10, 0 },
	{ "f", "system.a", 10, 0 },
	{ "f", "system.posix_acl_access", 10, 0 },
	{ "f", "system.posix_acl_access", 0, 0 },
	{ "f", "system.posix_acl_default", 0, 0 },
	{ "f", "none.a", 10, 0 },
	{ "f", "user.", 10, 0 },
	{ "f", "user", 10, 0 },
	{ "f", "user.big", 5000, 0 },
	{ "f", "user.big", XATTR_SIZE_MAX, 0 },
	{ "f", "user.big", XATTR_SIZE_MAX + 1, 0 },
	{ "f", longest, 10, 0 },
	{ "d", "user.a", 10, 0 },
	{ "d", "system.posix_acl_default", 10, 0 },
	{ "l", "user.a", 10, 0 },
	{ "l", "trusted.a", 10, 0 },
	{ "l", "system.posix_acl_access", 10, 0 },
	{ "p", "user.a", 10, 0 },
	{ "p", "trusted.a", 10, 0 },
};

static int
xattr_set(long i)
{
	return E(lsetxattr(xattrs[i].file, xattrs[i].name, big, xattrs[i].size,
			   xattrs[i].flags));
}

static int
xattr_create(long i)
{
	int err = xattr_set(i);

	return err ? err : E(lsetxattr(xattrs[i].file, xattrs[i].name, big,
				       xattrs[i].size, XATTR_CREATE));
}

/* What is not there. */
static int
xattr_get(long i)
{
	return E(lgetxattr(xattrs[i].file, xattrs[i].name, big, 100));
}

static int
xattr_get_short(long i)
{
	int err = xattr_set(i);

	return err ? err : E(lgetxattr(xattrs[i].file, xattrs[i].name, big, 1));
}

static int
xattr_remove(long i)
{
	return E(lremovexattr(xattrs[i].file, xattrs[i].name));
}

static int
xattr_list(long i)
{
	return E(llistxattr(xattrs[i].file, big, XATTR_LIST_MAX));
}

/* A list that is none, and good ones. */
static const struct {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[5];
} acls[] = {
	{ 2, { { 1, 7, ~0U }, { 2, 6, 12345 }, { 4, 5, ~0U }, { 16, 7, ~0U },
	       { 32, 0, ~0U } } },
	{ 2, { { 1, 7, ~0U }, { 2, 6, 12345 }, { 4, 5, ~0U }, { 32, 0, ~0U },
	       { 16, 7, ~0U } } },
	{ 7, { { 1, 7, ~0U } } },
};

static int
acl_of(long i)
{
	return E(setxattr("f", "system.posix_acl_access", &acls[i],
			  sizeof(acls[i]), 0));
}

static int
acl_of_dir(long i)
{
	return E(setxattr("d", "system.posix_acl_default", &acls[i],
			  sizeof(acls[i]), 0));
}

static int
acl_default_of_file(long i)
{
	return E(setxattr("f", "system.posix_acl_default", &acls[i],
			  sizeof(acls[i]), 0));
}

/* ------------------------------------------------------------------ */

static int
open_as(long flags)
{
	int fd = open_file((int)flags);

	return closing(fd, E(fd));
}

static int
open_dir_as(long flags)
{
	int fd = open("d", (int)flags | O_CLOEXEC, 0644);

	return closing(fd, E(fd));
}

static int
open_link_as(long flags)
{
	int fd = open("l", (int)flags | O_CLOEXEC, 0644);

	return closing(fd, E(fd));
}

static int
open_fifo_as(long flags)
{
	int fd = open("p", (int)flags | O_NONBLOCK | O_CLOEXEC);

	return closing(fd, E(fd));
}

static int
name_of(long len)
{
	char name[512];
	int fd;

	memset(name, 'n', sizeof(name));
	name[len] = '\0';
	fd = open(name, O_RDWR | O_CREAT, 0644);
	return closing(fd, E(fd));
}

static int
tmpfile_as(long flags)
{
	int fd = open(".", O_TMPFILE | (int)flags, 0644), err = E(fd);
	char path[64];

	if (fd < 0)
		return err;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return closing(fd, E(linkat(AT_FDCWD, path, AT_FDCWD, "t",
				    AT_SYMLINK_FOLLOW)));
}

/* ------------------------------------------------------------------ */

static int
rename_as(long flags)
{
	return E(renameat2(AT_FDCWD, "f", AT_FDCWD, "new", (unsigned)flags));
}

static int
rename_over(long flags)
{
	int fd = open("other", O_RDWR | O_CREAT, 0644);

	return closing(fd, E(renameat2(AT_FDCWD, "f", AT_FDCWD, "other",
				       (unsigned)flags)));
}

static int
rename_to_dir(long flags)
{
	return E(renameat2(AT_FDCWD, "f", AT_FDCWD, "d", (unsigned)flags));
}

static int
rename_into_itself(long flags)
{
	return E(renameat2(AT_FDCWD, "d", AT_FDCWD, "d/in", (unsigned)flags));
}

static int
make_node(long mode)
{
	return E(mknod("node", (mode_t)mode | 0644, makedev(1, 3)));
}

static int
others(long n)
{
	switch (n) {
	case 0:
		return E(link("d", "new"));
	case 1:
		return E(link("f", "d"));
	case 2:
		return E(unlink("d"));
	case 3:
		return E(rmdir("f"));
	case 4:
		return E(mkdir("f", 0755));
	case 5:
		return E(symlink("", "new"));
	case 6:
		return E(symlink("x", "f"));
	case 7:
		return E(readlink("f", big, 100));
	case 8:
		return E(truncate("d", 0));
	case 9:
		return E(truncate("p", 0));
	case 10:
		return E(truncate("f", -1));
	case 11:
		return E(chmod("none", 0600));
	case 12:
		return E(mkdir("f/x", 0755));
	case 13:
		return E(rmdir("d/."));
	default:
		return E(rmdir("d/.."));
	}
}

static int
seek(long whence)
{
	int fd = open_file(O_RDONLY);

	return closing(fd, E(lseek(fd, 100000, (int)whence)));
}

static int
seek_back(long whence)
{
	int fd = open_file(O_RDONLY);

	return closing(fd, E(lseek(fd, -1, (int)whence)));
}

/* Beyond what a file may have on some file systems. */
static int
write_far(long at)
{
	int fd = open_file(O_RDWR), err = E(pwrite(fd, "x", 1, at));

	if (!err)
		err = E(fsync(fd));
	return closing(fd, err);
}

static int
truncate_far(long at)
{
	return E(truncate("f", at));
}

static int
sync_it(long dir)
{
	int fd = dir ? open("d", O_RDONLY) : open_file(O_RDONLY);
	int err = E(fsync(fd));

	if (!err)
		err = E(fdatasync(fd));
	return closing(fd, err);
}

/* ------------------------------------------------------------------ */

static const unsigned long ioctls[] = {
	FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, FIONBIO, 0x12345678, FIDEDUPERANGE,
};

static int
ioctl_of(long i)
{
	char arg[256] = "";
	int fd = open_file(O_RDWR);

	return closing(fd, E(ioctl(fd, ioctls[i], arg)));
}

static int
ioctl_of_dir(long i)
{
	char arg[256] = "";
	int fd = open("d", O_RDONLY);

	return closing(fd, E(ioctl(fd, ioctls[i], arg)));
}

static int
set_flags(long flags)
{
	int fd = open_file(O_RDWR), now = 0;
	int err = E(ioctl(fd, FS_IOC_GETFLAGS, &now));

	now |= (int)flags;
	if (!err)
		err = E(ioctl(fd, FS_IOC_SETFLAGS, &now));
	return closing(fd, err);
}

static int
set_xflags(long flags)
{
	int fd = open_file(O_RDWR);
	struct fsxattr x = { 0 };
	int err = E(ioctl(fd, FS_IOC_FSGETXATTR, &x));

	x.fsx_xflags |= (uint32_t)flags;
	if (!err)
		err = E(ioctl(fd, FS_IOC_FSSETXATTR, &x));
	return closing(fd, err);
}

/* What may be done with a file that may not change, or only grow. */
static int
unchangeable(long n)
{
	long flag = n < 10 ? FS_IMMUTABLE_FL : FS_APPEND_FL;
	int fd = open_file(O_RDWR), none = 0, err = set_flags(flag);

	if (err)
		return closing(fd, err);
	switch (n % 10) {
	case 0:
		err = open_as(O_WRONLY);
		break;
	case 1:
		err = E(unlink("f"));
		break;
	case 2:
		err = E(chmod("f", 0600));
		break;
	case 3:
		err = E(link("f", "new"));
		break;
	case 4:
		err = E(truncate("f", 0));
		break;
	case 5:
		err = E(rename("f", "new"));
		break;
	case 6:
		err = E(setxattr("f", "user.a", "x", 1, 0));
		break;
	case 7:
		err = E(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				  FALLOC_FL_KEEP_SIZE, 0, 4096));
		break;
	case 8:
		err = open_as(O_WRONLY | O_APPEND);
		break;
	case 9:
		err = open_as(O_RDONLY | O_TRUNC);
		break;
	}
	if (ioctl(fd, FS_IOC_SETFLAGS, &none) < 0)
		printf("# a file is left that cannot be removed\n");
	return closing(fd, err);
}

/* ------------------------------------------------------------------ */

#define KEEP FALLOC_FL_KEEP_SIZE
#define UNSUP (-EOPNOTSUPP)

/* clang-format off */
static const struct probe probes[] = {
	{ "fallocate", falloc, 0, 0 },
	{ "fallocate: KEEP_SIZE", falloc, KEEP, 0 },
	{ "fallocate: PUNCH_HOLE", falloc, FALLOC_FL_PUNCH_HOLE | KEEP, 0 },
	{ "fallocate: PUNCH_HOLE alone", falloc, FALLOC_FL_PUNCH_HOLE, 0 },
	{ "fallocate: ZERO_RANGE", falloc, FALLOC_FL_ZERO_RANGE, 0 },
	{ "fallocate: ZERO_RANGE, KEEP_SIZE", falloc, FALLOC_FL_ZERO_RANGE | KEEP, 0 },
	{ "fallocate: COLLAPSE_RANGE", falloc, FALLOC_FL_COLLAPSE_RANGE, UNSUP },
	{ "fallocate: INSERT_RANGE", falloc, FALLOC_FL_INSERT_RANGE, UNSUP },
	{ "fallocate: UNSHARE_RANGE", falloc, FALLOC_FL_UNSHARE_RANGE, UNSUP },
	{ "fallocate: an unknown mode", falloc, 0x8000, 0 },
	{ "fallocate: PUNCH_HOLE and ZERO_RANGE", falloc, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | KEEP, 0 },
	{ "fallocate: in blocks", falloc_odd, 0, 0 },
	{ "fallocate: PUNCH_HOLE in blocks", falloc_odd, FALLOC_FL_PUNCH_HOLE | KEEP, 0 },
	{ "fallocate: ZERO_RANGE in blocks", falloc_odd, FALLOC_FL_ZERO_RANGE, 0 },
	{ "fallocate: before the file", falloc_at, -1, 0 },
	{ "fallocate: too far", falloc_at, INT64_MAX - 100, 0 },
	{ "fallocate: of a reader", falloc_reader, 0, 0 },
	{ "fallocate: PUNCH_HOLE of a reader", falloc_reader, FALLOC_FL_PUNCH_HOLE | KEEP, 0 },
	{ "copy_file_range", copy, 0, 0 },
	{ "copy_file_range: flags", copy, 1, 0 },
	{ "copy_file_range: onto itself", copy_within, 100, 0 },
	{ "copy_file_range: beside itself", copy_within, 8192, 0 },
	{ "copy_file_range: to a reader", copy_to_flags, O_RDONLY, 0 },
	{ "copy_file_range: to who appends", copy_to_flags, O_WRONLY | O_APPEND, 0 },
	{ "copy_file_range: of a directory", copy_dir, 0, 0 },
	{ "access list", acl_of, 0, 0 },
	{ "access list: in disorder", acl_of, 1, 0 },
	{ "access list: of another version", acl_of, 2, 0 },
	{ "default list", acl_of_dir, 0, 0 },
	{ "default list: in disorder", acl_of_dir, 1, 0 },
	{ "default list: of a file", acl_default_of_file, 0, 0 },
	{ "open: O_DIRECT", open_as, O_RDWR | O_DIRECT, 0 },
	{ "open: O_DIRECTORY", open_as, O_RDONLY | O_DIRECTORY, 0 },
	{ "open: O_EXCL", open_as, O_RDWR | O_CREAT | O_EXCL, 0 },
	{ "open: O_TRUNC", open_as, O_RDWR | O_TRUNC, 0 },
	{ "open: O_SYNC", open_as, O_RDWR | O_SYNC, 0 },
	{ "open: O_NOATIME", open_as, O_RDONLY | O_NOATIME, 0 },
	{ "open: a directory to write", open_dir_as, O_RDWR, 0 },
	{ "open: a directory to make", open_dir_as, O_RDONLY | O_CREAT, 0 },
	{ "open: a directory and truncate", open_dir_as, O_RDONLY | O_TRUNC, 0 },
	{ "open: a link, O_NOFOLLOW", open_link_as, O_RDONLY | O_NOFOLLOW, 0 },
	{ "open: a link, O_EXCL", open_link_as, O_RDWR | O_CREAT | O_EXCL, 0 },
	{ "open: a fifo to write", open_fifo_as, O_WRONLY, 0 },
	{ "open: a name of 255 bytes", name_of, 255, 0 },
	{ "open: a name of 256 bytes", name_of, 256, 0 },
	{ "O_TMPFILE", tmpfile_as, O_RDWR, 0 },
	{ "O_TMPFILE: to read", tmpfile_as, O_RDONLY, 0 },
	{ "O_TMPFILE: O_EXCL", tmpfile_as, O_RDWR | O_EXCL, 0 },
	{ "O_TMPFILE: O_DIRECT", tmpfile_as, O_RDWR | O_DIRECT, 0 },
	{ "rename: NOREPLACE", rename_as, RENAME_NOREPLACE, 0 },
	{ "rename: EXCHANGE of nothing", rename_as, RENAME_EXCHANGE, 0 },
	{ "rename: WHITEOUT", rename_as, RENAME_WHITEOUT, 0 },
	{ "rename: an unknown flag", rename_as, 64, 0 },
	{ "rename: NOREPLACE over", rename_over, RENAME_NOREPLACE, 0 },
	{ "rename: EXCHANGE over", rename_over, RENAME_EXCHANGE, 0 },
	{ "rename: WHITEOUT over", rename_over, RENAME_WHITEOUT, 0 },
	{ "rename: WHITEOUT, NOREPLACE over", rename_over, RENAME_WHITEOUT | RENAME_NOREPLACE, 0 },
	{ "rename: WHITEOUT, EXCHANGE over", rename_over, RENAME_WHITEOUT | RENAME_EXCHANGE, 0 },
	{ "rename: NOREPLACE, EXCHANGE over", rename_over, RENAME_NOREPLACE | RENAME_EXCHANGE, 0 },
	{ "rename: to a directory", rename_to_dir, 0, 0 },
	{ "rename: EXCHANGE with a directory", rename_to_dir, RENAME_EXCHANGE, 0 },
	{ "rename: into itself", rename_into_itself, 0, 0 },
	{ "mknod: a file", make_node, S_IFREG, 0 },
	{ "mknod: a fifo", make_node, S_IFIFO, 0 },
	{ "mknod: a socket", make_node, S_IFSOCK, 0 },
	{ "mknod: a character device", make_node, S_IFCHR, 0 },
	{ "mknod: a block device", make_node, S_IFBLK, 0 },
	{ "mknod: a directory", make_node, S_IFDIR, 0 },
	{ "mknod: a link", make_node, S_IFLNK, 0 },
	{ "link: of a directory", others, 0, 0 },
	{ "link: a name that is taken", others, 1, 0 },
	{ "unlink: a directory", others, 2, 0 },
	{ "rmdir: a file", others, 3, 0 },
	{ "mkdir: a name that is taken", others, 4, 0 },
	{ "symlink: to nothing", others, 5, 0 },
	{ "symlink: a name that is taken", others, 6, 0 },
	{ "readlink: of a file", others, 7, 0 },
	{ "truncate: a directory", others, 8, 0 },
	{ "truncate: a fifo", others, 9, 0 },
	{ "truncate: to less than nothing", others, 10, 0 },
	{ "chmod: of nothing", others, 11, 0 },
	{ "mkdir: in a file", others, 12, 0 },
	{ "rmdir: dot", others, 13, 0 },
	{ "rmdir: dots", others, 14, 0 },
	{ "lseek: SEEK_DATA beyond the end", seek, SEEK_DATA, 0 },
	{ "lseek: SEEK_HOLE beyond the end", seek, SEEK_HOLE, 0 },
	{ "lseek: SEEK_DATA before the file", seek_back, SEEK_DATA, 0 },
	{ "lseek: SEEK_HOLE before the file", seek_back, SEEK_HOLE, 0 },
	{ "write: at 20 TiB", write_far, 20L << 40, 0 },
	{ "write: at 4 EiB", write_far, 1L << 62, 0 },
	{ "truncate: to 20 TiB", truncate_far, 20L << 40, 0 },
	{ "truncate: to 4 EiB", truncate_far, 1L << 62, 0 },
	{ "fsync", sync_it, 0, 0 },
	{ "fsync: of a directory", sync_it, 1, 0 },
	{ "ioctl: GETFLAGS", ioctl_of, 0, 0 },
	{ "ioctl: FSGETXATTR", ioctl_of, 1, 0 },
	{ "ioctl: FIONBIO", ioctl_of, 2, 0 },
	{ "ioctl: an unknown one", ioctl_of, 3, 0 },
	{ "ioctl: FIDEDUPERANGE of nothing", ioctl_of, 4, UNSUP },
	{ "ioctl: GETFLAGS of a directory", ioctl_of_dir, 0, 0 },
	{ "ioctl: FSGETXATTR of a directory", ioctl_of_dir, 1, 0 },
	{ "ioctl: an unknown one of a directory", ioctl_of_dir, 3, 0 },
	{ "ioctl: SETFLAGS, NODUMP", set_flags, FS_NODUMP_FL, 0 },
	{ "ioctl: SETFLAGS, compressed", set_flags, FS_COMPR_FL, 0 },
	{ "ioctl: SETFLAGS, an unknown one", set_flags, 0x08000000, 0 },
	{ "ioctl: SETFLAGS, encrypted", set_flags, FS_ENCRYPT_FL, 0 },
	{ "ioctl: FSSETXATTR, none", set_xflags, 0, 0 },
	{ "ioctl: FSSETXATTR, NODUMP", set_xflags, FS_XFLAG_NODUMP, 0 },
	{ "ioctl: FSSETXATTR, realtime", set_xflags, FS_XFLAG_REALTIME, 0 },
	{ "immutable: open", unchangeable, 0, 0 },
	{ "immutable: unlink", unchangeable, 1, 0 },
	{ "immutable: chmod", unchangeable, 2, 0 },
	{ "immutable: link", unchangeable, 3, 0 },
	{ "immutable: truncate", unchangeable, 4, 0 },
	{ "immutable: rename", unchangeable, 5, 0 },
	{ "immutable: setxattr", unchangeable, 6, 0 },
	{ "immutable: fallocate", unchangeable, 7, 0 },
	{ "append-only: open", unchangeable, 10, 0 },
	{ "append-only: unlink", unchangeable, 11, 0 },
	{ "append-only: truncate", unchangeable, 14, 0 },
	{ "append-only: fallocate", unchangeable, 17, 0 },
	{ "append-only: O_APPEND", unchangeable, 18, 0 },
	{ "append-only: O_TRUNC", unchangeable, 19, 0 },
};
/* clang-format on */

static const struct {
	const char *words;
	probe_fn *run;
} xattr_calls[] = {
	{ "getxattr", xattr_get },
	{ "removexattr", xattr_remove },
	{ "setxattr", xattr_set },
	{ "setxattr: XATTR_CREATE again", xattr_create },
	{ "getxattr: no room", xattr_get_short },
	{ "listxattr", xattr_list },
};

/* ------------------------------------------------------------------ */

static char sides[2][4096];	/* DIR, HOST */

static int
make_place(const char *place)
{
	int fd;

	if (mkdir(place, 0755) || chdir(place))
		return -errno;
	fd = open_file(O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0 || pwrite(fd, big, 8192, 0) != 8192)
		return closing(fd, -EIO);
	close(fd);
	if (mkdir("d", 0755) || symlink("f", "l") || mkfifo("p", 0644))
		return -errno;
	return 0;
}

/* The probe on one side. */
static int
result(const struct probe *p, int side, int number, int round)
{
	char place[64];
	int err = E(chdir(sides[side]));

	snprintf(place, sizeof(place), "%d.%d.%d", number, round, side);
	if (!err)
		err = make_place(place);
	if (err) {
		printf("# %s: %s\n", place, strerror(-err));
		return -1000 - side;
	}
	return p->run(p->n);
}

static void
compare(const struct probe *p, int number, int round)
{
	int there = result(p, 1, number, round);
	int here = result(p, 0, number, round);

	if (!ok(here == there || (p->client && here == p->client), "%s%s",
		p->words, round ? ", again" : ""))
		printf("# %s, on the host %s\n", strerror(-here),
		       strerror(-there));
	else if (here != there)
		printf("# the client's own error; on the host: %s\n",
		       strerror(-there));
}

static void
compare_all(int round)
{
	int n = 0;

	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		compare(&probes[i], n++, round);
	for (size_t i = 0; i < sizeof(xattrs) / sizeof(xattrs[0]); i++) {
		for (size_t k = 0;
		     k < sizeof(xattr_calls) / sizeof(xattr_calls[0]); k++) {
			char words[400];
			struct probe p = { words, xattr_calls[k].run, (long)i,
					   0 };

			snprintf(words, sizeof(words), "%s: %s of %s, %zu bytes",
				 xattr_calls[k].words, xattrs[i].name,
				 xattrs[i].file, xattrs[i].size);
			compare(&p, n++, round);
		}
	}
}

int
main(int argc, char **argv)
{
	if (argc != 3 || !realpath(argv[1], sides[0]) ||
	    !realpath(argv[2], sides[1])) {
		fprintf(stderr, "usage: fserrno DIR HOST\n");
		return 2;
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "user.", 5);
	longest[256] = '\0';
	umask(022);
	alarm(300);
	for (int round = 0; round < 2; round++)
		compare_all(round);
	return tap_done();
}
