/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the store share: a directory of files, a store beside it,
 * and one-line ways to record and to ask.
 */
#ifndef TESTS_STATE_TEST_H
#define TESTS_STATE_TEST_H

#include <inttypes.h>
#include <limits.h>

#include "tests/casefold-test.h"

static struct cf_state *store;
static struct cf_state_fs *store_fs;
static char store_dir[PATH_MAX - 32];	/* of state.db */
static char why[CF_STATE_WHY];
static int files_fd = -1;		/* the share's directory, for reading */
static _Atomic int troubles, works;
static char trouble[CF_STATE_WHY];	/* the last */

static void
on_trouble(void *arg, const char *what)
{
	(void)arg;
	snprintf(trouble, sizeof(trouble), "%s", what);
	troubles++;
}

static void
on_work(void *arg)
{
	(void)arg;
	works++;
}

static const struct cf_state_calls state_calls = { on_trouble, on_work, NULL };

/* Open the store of store_dir; 0 or -errno. */
__attribute__((unused)) static int
open_store_with(size_t memory, bool readonly)
{
	struct cf_state_settings set;
	int err;

	cf_state_settings_init(&set);
	set.dir = store_dir;
	set.root_fd = files_fd;
	set.readonly = readonly;
	if (memory)
		set.memory = memory;
	store = NULL;
	err = cf_state_open(&set, &state_calls, &store, why);
	if (!err && cf_state_fs(store, files_fd, &store_fs))
		bail("cf_state_fs");
	return err;
}

__attribute__((unused)) static void
open_store(void)
{
	if (open_store_with(0, false))
		bail(why);
}

__attribute__((unused)) static void
close_store(void)
{
	cf_state_put(store);
	store = NULL;
}

/* The files in top_dir/files, the store in top_dir/state. */
__attribute__((unused)) static void
begin_store(const char *where)
{
	if (begin_dir(where) || mkdirat(top_fd, "files", 0700))
		bail("begin_dir");
	files_fd = openat(top_fd, "files", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(store_dir, sizeof(store_dir), "%s/state", top_dir);
	if (files_fd < 0)
		bail("files");
}

__attribute__((unused)) static void
end_store(void)
{
	close(files_fd);
	end_dir();
}

/* Delete state.db and what is beside it. */
__attribute__((unused)) static void
remove_store(void)
{
	int fd = open(store_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	empty_dir(fd);
	close(fd);
}

__attribute__((unused)) static bool
in_store_dir(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", store_dir, name);
	return !access(path, F_OK);
}

/* An O_PATH fd of a file, and which one it is. */
__attribute__((unused)) static int
file_at(const char *name, struct cf_state_file *file)
{
	struct statx stx;
	int fd = openat(files_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
			    STATX_INO | STATX_BTIME, &stx))
		bail(name);
	*file = (struct cf_state_file){ .fd = fd, .ino = stx.stx_ino };
	if (stx.stx_mask & STATX_BTIME)
		file->btime_ns = stx.stx_btime.tv_sec * 1000000000ll +
				 stx.stx_btime.tv_nsec;
	return fd;
}

__attribute__((unused)) static void
make_file(const char *name)
{
	int fd = openat(files_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC,
			0644);

	if (fd < 0)
		bail(name);
	close(fd);
}

__attribute__((unused)) static int
set_row(const char *name, unsigned mask, const struct cf_state_row *row)
{
	struct cf_state_file file;
	int fd = file_at(name, &file);
	int err = cf_state_change(store_fs, &file, mask, row, NULL);

	close(fd);
	return err;
}

__attribute__((unused)) static int
set_uid(const char *name, uint32_t uid)
{
	struct cf_state_row row = { .has = CF_STATE_UID, .uid = uid };

	return set_row(name, CF_STATE_UID, &row);
}

/* As cf_state_find(). */
__attribute__((unused)) static int
find_row(const char *name, struct cf_state_row *row)
{
	struct cf_state_file file;
	int fd = file_at(name, &file), n;

	memset(row, 0, sizeof(*row));
	n = cf_state_find(store_fs, &file, row);
	close(fd);
	return n;
}

/* The uid that is recorded, -1 for none, or -errno - 1000. */
__attribute__((unused)) static long
uid_of(const char *name)
{
	struct cf_state_row row;
	int n = find_row(name, &row);

	if (n < 0)
		return n - 1000;
	return n && (row.has & CF_STATE_UID) ? (long)row.uid : -1;
}

__attribute__((unused)) static struct cf_state_stats
store_stats(void)
{
	struct cf_state_stats stats;

	cf_state_stats(store, &stats);
	return stats;
}

__attribute__((unused)) static struct cf_state_info
store_info(void)
{
	struct cf_state_info info;

	cf_state_info(store, &info);
	return info;
}

/* What the daemon does for the store. */
__attribute__((unused)) static int
host_open(void *arg, struct cf_state_fs *fs, const struct file_handle *handle)
{
	int fd;

	(void)arg;
	if (fs != store_fs)
		return -ENODEV;
	fd = open_by_handle_at(files_fd, (struct file_handle *)(uintptr_t)handle,
			       O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

__attribute__((unused)) static int
host_path(void *arg, int fd, char *path)
{
	char link[64], top[PATH_MAX], file[PATH_MAX];
	ssize_t n, t;

	(void)arg;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", files_fd);
	t = readlink(link, top, sizeof(top));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, file, sizeof(file));
	if (t < 0 || n < t || n == PATH_MAX || memcmp(top, file, (size_t)t))
		return -ENOENT;
	file[n] = '\0';
	if (strstr(file, " (deleted)"))
		return -ENOENT;
	strcpy(path, n == t ? "." : file + t + 1);
	return 0;
}

static const struct cf_state_host host = {
	.open = host_open, .path = host_path,
};

/* Can handles be opened here? */
__attribute__((unused)) static bool
has_handles(void)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int id, fd;

	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(files_fd, "", &u.h, &id, AT_EMPTY_PATH))
		return false;
	fd = open_by_handle_at(files_fd, &u.h, O_PATH | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Put what the store unused warns of to use. */
__attribute__((unused)) static const void *const state_test_used[] = {
	&host, &state_calls,
};

#endif
