/* SPDX-License-Identifier: MIT */
/*
 * What the host says of a directory.  Which file systems count as local, and
 * when a time stamp proves that nothing changed, is decided here.
 */
#include "config.h"

#include "casefold/scan.h"

#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum {
	SCAN_BUFFER = 64 << 10,
	SMALL = 4096,		/* bytes of a directory */
};

#ifndef FS_CASEFOLD_FL
#define FS_CASEFOLD_FL 0x40000000
#endif

/* linux/fs.h has it since 6.9. */
struct fsuuid {
	uint8_t len;
	uint8_t uuid[16];
};
#define GET_FS_UUID _IOR(0x15, 0, struct fsuuid)

/* Magic numbers that linux/magic.h lacks. */
enum {
	MAGIC_BCACHEFS = 0xca451a4e,
	MAGIC_EXFAT = 0x2011bab0,
	MAGIC_JFS = 0x3153464a,
	MAGIC_NTFS3 = 0x7366746e,
	MAGIC_UBIFS = 0x24051905,
	MAGIC_ZFS = 0x2fc12fc1,
};

/* Where every change is seen by this kernel.  All others count as remote. */
static const uint32_t local_fs[] = {
	BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC,
	ISOFS_SUPER_MAGIC, JFFS2_SUPER_MAGIC, MINIX3_SUPER_MAGIC,
	MSDOS_SUPER_MAGIC, NILFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
	RAMFS_MAGIC, REISERFS_SUPER_MAGIC, SQUASHFS_MAGIC, TMPFS_MAGIC,
	UDF_SUPER_MAGIC, XFS_SUPER_MAGIC, MAGIC_BCACHEFS, MAGIC_EXFAT,
	MAGIC_JFS, MAGIC_NTFS3, MAGIC_UBIFS, MAGIC_ZFS,
};

static bool
is_local(const struct statfs *st)
{
	for (size_t i = 0; i < sizeof(local_fs) / sizeof(local_fs[0]); i++) {
		if ((uint32_t)st->f_type == local_fs[i])
			return true;
	}
	return false;
}

enum cf_fs
cf_fs_of(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && is_local(&st) ? CF_FS_LOCAL : CF_FS_REMOTE;
}

/* A block at most, which was read already when a name was not found in it.  A
 * merged directory of overlayfs has the size of one of its parts. */
bool
cf_dir_is_small(int fd)
{
	struct statfs fs;
	struct stat st;

	return !fstat(fd, &st) && st.st_size <= SMALL && !fstatfs(fd, &fs) &&
	       is_local(&fs) && (uint32_t)fs.f_type != OVERLAYFS_SUPER_MAGIC;
}

bool
cf_fs_folds(int fd)
{
	int flags = 0;

	return !ioctl(fd, FS_IOC_GETFLAGS, &flags) && (flags & FS_CASEFOLD_FL);
}

/* ------------------------------------------------------------------ */

static bool
is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int
scan_buffer(const char *buf, size_t size, cf_scan_fn *put, void *arg)
{
	const struct dirent64 *d;
	size_t len;
	int err;

	for (size_t at = 0; at < size; at += d->d_reclen) {
		d = (const struct dirent64 *)(buf + at);
		if (is_dots(d->d_name))
			continue;
		len = strlen(d->d_name);
		if (len > CF_NAME_MAX)
			continue;
		err = put(arg, d->d_name, len);
		if (err)
			return err;
	}
	return 0;
}

int
cf_scan(int fd, cf_scan_fn *put, void *arg)
{
	char *buf = malloc(SCAN_BUFFER);
	int err = 0;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	if (lseek(fd, 0, SEEK_SET) < 0)
		err = -errno;
	while (!err) {
		n = getdents64(fd, buf, SCAN_BUFFER);
		if (n < 0)
			err = -errno;
		if (n <= 0)
			break;
		err = scan_buffer(buf, (size_t)n, put, arg);
	}
	free(buf);
	return err;
}

/* ------------------------------------------------------------------ */

static int64_t
ns_of(int64_t sec, uint32_t nsec)
{
	return sec * 1000000000 + nsec;
}

int
cf_stamp_get(int fd, struct cf_stamp *stamp)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT,
		  STATX_CTIME | STATX_MTIME, &st))
		return -errno;
	stamp->ctime_ns = ns_of(st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec);
	stamp->mtime_ns = ns_of(st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec);
	return 0;
}

/*
 * The steps in which a file system keeps time are not known; what a stamp ends
 * with tells how long they may be: 2 s for whole seconds (FAT), else the power
 * of ten that divides it.
 */
static int64_t
step_of(int64_t ns)
{
	int64_t step = 1;

	if (ns % 1000000000 == 0)
		return 2000000000;
	while (ns % (step * 10) == 0)
		step *= 10;
	return step;
}

/*
 * A change after the stamp was taken is stamped with a time of at least
 * `before`, cut to a step.  If that is later than the stamp, it differs.
 */
bool
cf_stamp_is_aged(const struct cf_stamp *stamp, int64_t before)
{
	return before >= stamp->ctime_ns + step_of(stamp->ctime_ns);
}

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return ns_of(t.tv_sec, (uint32_t)t.tv_nsec);
}

int64_t
cf_clock_stamps(void)
{
	return clock_ns(CLOCK_REALTIME_COARSE);
}

int64_t
cf_clock_us(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000;
}

/* ------------------------------------------------------------------ */

int
cf_dir_init(struct cf_dir *dir, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	*dir = (struct cf_dir){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
	return 0;
}

static void
put_handle(struct cf_id *id, const struct file_handle *h)
{
	int32_t type = h->handle_type;

	id->handle[0] = 'h';
	memcpy(id->handle + 1, &type, sizeof(type));
	memcpy(id->handle + 5, h->f_handle, h->handle_bytes);
	id->len = 5 + h->handle_bytes;
}

static int
put_birth(struct cf_id *id, int fd)
{
	struct statx st;
	int64_t ns = 0;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st))
		return -errno;
	if (st.stx_mask & STATX_BTIME)
		ns = ns_of(st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
	id->handle[0] = 'b';
	memcpy(id->handle + 1, &ns, sizeof(ns));
	id->len = 1 + sizeof(ns);
	return 0;
}

int
cf_id_of(const struct cf_dir *dir, struct cf_id *id)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount_id;

	id->dev = dir->dev;
	id->ino = dir->ino;
	if (dir->handle && dir->handle->handle_bytes <= 128) {
		put_handle(id, dir->handle);
		return 0;
	}
	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (!name_to_handle_at(dir->fd, "", &u.h, &mount_id, AT_EMPTY_PATH)) {
		put_handle(id, &u.h);
		return 0;
	}
	return put_birth(id, dir->fd);
}

int
cf_fs_old_id(int fd, unsigned char id[CF_FSID_MAX])
{
	struct statfs st;
	uint64_t type;

	if (fstatfs(fd, &st))
		return -errno;
	type = (uint64_t)st.f_type;
	id[0] = 'f';
	memcpy(id + 1, &type, sizeof(type));
	memcpy(id + 9, &st.f_fsid, sizeof(st.f_fsid));
	return 9 + sizeof(st.f_fsid);
}

int
cf_fs_id(int fd, unsigned char id[CF_FSID_MAX])
{
	struct fsuuid u = { 0 };
	struct statfs st;
	int len = 1 + sizeof(u.uuid);

	if (ioctl(fd, GET_FS_UUID, &u) || u.len != sizeof(u.uuid))
		return cf_fs_old_id(fd, id);
	if (fstatfs(fd, &st))
		return -errno;
	id[0] = 'u';
	memcpy(id + 1, u.uuid, sizeof(u.uuid));
	if (st.f_type != BTRFS_SUPER_MAGIC)
		return len;
	/* Its subvolumes count inodes each for itself. */
	memcpy(id + len, &st.f_fsid, sizeof(st.f_fsid));
	return len + (int)sizeof(st.f_fsid);
}
