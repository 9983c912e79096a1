/* SPDX-License-Identifier: MIT */
/* Opening, making, renaming and removing. */
#include "config.h"

#include "tests/system/fserrno.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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
	char buf[100];

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
		return E(readlink("f", buf, sizeof(buf)));
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

/* clang-format off */
const struct probe fserrno_names[] = {
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
	{ NULL, NULL, 0, 0 },
};
/* clang-format on */
