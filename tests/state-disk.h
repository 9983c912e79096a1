/* SPDX-License-Identifier: MIT */
/*
 * A disk and a clock for the tests of the store, in place of the C library's
 * calls.
 *
 * Loss of power is simulated: fsync() and fdatasync() note what a file held,
 * and fsync() of a directory which names it had.  What comes back after the
 * loss is that, mixed at random with blocks that were written later.
 */
#ifndef TESTS_STATE_DISK_H
#define TESTS_STATE_DISK_H

#include <sys/syscall.h>
#include <time.h>

#include "tests/state-test.h"

enum { FILES = 40, BLOCK = 4096, NAMES = 2 };

static const char *const db_names[NAMES] = { "state.db", "state.db-wal" };

static struct image {
	char *data;
	size_t size;
	bool named;		/* the directory was synced with it */
} safe[NAMES];
static bool noting, disk_fails, disk_is_slow;
static _Atomic bool db_hangs, db_waits;	/* syncs of state.db alone */
static _Atomic int64_t clock_ns;	/* added to the clock */

/* ------------------------------------------------------------------ */
/* In place of the C library's. */

static int
path_in_store(int fd)
{
	char link[64], path[PATH_MAX];
	size_t len = strlen(store_dir);
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)len || memcmp(path, store_dir, len))
		return -1;
	path[n] = '\0';
	for (int i = 0; i < NAMES; i++) {
		if (path[len] == '/' && !strcmp(path + len + 1, db_names[i]))
			return i;
	}
	return path[len] ? -1 : NAMES;
}

__attribute__((unused)) static void
read_image(int i, struct image *image)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", store_dir, db_names[i]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	free(image->data);
	image->data = NULL;
	image->size = 0;
	if (fd < 0 || fstat(fd, &st))
		return;
	image->data = malloc((size_t)st.st_size + 1);
	image->size = (size_t)st.st_size;
	if (pread(fd, image->data, image->size, 0) != (ssize_t)image->size)
		bail("pread");
	/* Not closed: that would drop the locks that SQLite has on it. */
	fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int
note_sync(int fd)
{
	int i = noting ? path_in_store(fd) : -1;

	if (disk_is_slow)
		usleep(5000);
	if (db_hangs && path_in_store(fd) == 0) {
		db_waits = true;
		while (db_hangs)
			usleep(1000);
	}
	if (i == NAMES) {
		for (int k = 0; k < NAMES; k++)
			safe[k].named = in_store_dir(db_names[k]);
	} else if (i >= 0) {
		read_image(i, &safe[i]);
	}
	return 0;
}

int
fsync(int fd)
{
	return note_sync(fd);
}

int
fdatasync(int fd)
{
	if (disk_fails) {
		errno = EIO;
		return -1;
	}
	return note_sync(fd);
}

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	int64_t ns;

	if (syscall(SYS_clock_gettime, clock, t))
		return -1;
	ns = t->tv_nsec + clock_ns;
	t->tv_sec += ns / 1000000000;
	t->tv_nsec = ns % 1000000000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (t)
		*t = now.tv_sec;
	return now.tv_sec;
}

/* ------------------------------------------------------------------ */

static struct cf_state_file
fake_file(unsigned i)
{
	static struct {
		struct file_handle h;
		unsigned char bytes[8];
	} handle[FILES];

	handle[i % FILES].h.handle_bytes = 8;
	handle[i % FILES].h.handle_type = 1;
	memcpy(handle[i % FILES].h.f_handle, &(uint64_t){ i }, 8);
	return (struct cf_state_file){
		.ino = 1000 + i, .btime_ns = 1 + i, .fd = -1,
		.handle = &handle[i % FILES].h,
	};
}

__attribute__((unused)) static int
set_fake(unsigned i, long uid)
{
	struct cf_state_row row = { .has = uid < 0 ? 0 : CF_STATE_UID,
				    .uid = (uint32_t)uid };
	struct cf_state_file file = fake_file(i);

	return cf_state_change(store_fs, &file, CF_STATE_UID, &row, NULL);
}

__attribute__((unused)) static long
get_fake(unsigned i)
{
	struct cf_state_file file = fake_file(i);
	struct cf_state_row row;
	int n = cf_state_find(store_fs, &file, &row);

	return n < 0 ? -1000 + n : n ? (long)row.uid : -1;
}

#endif
