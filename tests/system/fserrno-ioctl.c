/* SPDX-License-Identifier: MIT */
/* Flags of inodes, and what they forbid. */
#include "config.h"

#include "tests/system/fserrno.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

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

/* clang-format off */
const struct probe fserrno_ioctls[] = {
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
	{ NULL, NULL, 0, 0 },
};
/* clang-format on */
