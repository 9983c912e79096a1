/* SPDX-License-Identifier: MIT */
/*
 * What the host says of a directory: its names, its time stamps, its file
 * system, its identity.  Inside casefold/ only.
 */
#ifndef CASEFOLD_SCAN_H
#define CASEFOLD_SCAN_H

#include "casefold/casefold.h"

/* How far the host can be trusted to show changes. */
enum cf_fs {
	CF_FS_LOCAL,	/* all changes go through this kernel */
	CF_FS_REMOTE,	/* others change it, too; or we do not know */
};
enum cf_fs cf_fs_of(int fd);

/* Is it read as fast as a name is looked up? */
bool cf_dir_is_small(int fd);

/* The kernel folds names in this directory itself (ext4 and f2fs +F). */
bool cf_fs_folds(int fd);

/* Call `put` for each name but . and ..; ends early when it returns not 0.
 * `fd` was opened for reading.  Returns 0, what put said, or -errno. */
typedef int cf_scan_fn(void *arg, const char *name, size_t len);
int cf_scan(int fd, cf_scan_fn *put, void *arg);

struct cf_stamp {
	int64_t ctime_ns, mtime_ns;
};
int cf_stamp_get(int fd, struct cf_stamp *stamp);
static inline bool
cf_stamp_same(const struct cf_stamp *a, const struct cf_stamp *b)
{
	return a->ctime_ns == b->ctime_ns && a->mtime_ns == b->mtime_ns;
}

/*
 * With `before` = cf_clock_stamps() taken before the stamp was: will every
 * change from now on show in the stamp?
 */
bool cf_stamp_is_aged(const struct cf_stamp *stamp, int64_t before);
int64_t cf_clock_stamps(void);	/* the clock that stamps files, ns */

int64_t cf_clock_us(void);	/* for durations */

/* Which directory it is: never two at different times. */
struct cf_id {
	uint64_t dev, ino;
	unsigned len;
	/* Type and file handle; or 'b', birth time where there is none. */
	unsigned char handle[5 + 128];
};
int cf_id_of(const struct cf_dir *dir, struct cf_id *id);
static inline size_t
cf_id_size(const struct cf_id *id)
{
	return offsetof(struct cf_id, handle) + id->len;
}

/* Which file system, also after a restart; returns the length or -errno. */
enum { CF_FSID_MAX = 32 };
int cf_fs_id(int fd, unsigned char id[CF_FSID_MAX]);
/* The same as kernels before 6.9 have it, and as O_PATH descriptors do. */
int cf_fs_old_id(int fd, unsigned char id[CF_FSID_MAX]);

#endif
