/* SPDX-License-Identifier: MIT */
/*
 * What is measured, and the floor of it: the system calls that one request
 * cannot do without, in this process.
 */
#include "config.h"

#include "tests/bench/bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static unsigned
next_file(void)
{
	static unsigned n;

	return n++ % BENCH_FILES;
}

static unsigned
stat_name(int dir, const char *name)
{
	struct statx st;

	statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
	      STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &st);
	return 1;
}

static unsigned
floor_getattr(const struct bench_op *op, int dir)
{
	struct stat st;

	(void)op;
	/* The C library may have its own idea of fstat. */
	return syscall(SYS_fstat, dir, &st) ? 0 : 1;
}

static unsigned
floor_lookup(const struct bench_op *op, int dir)
{
	char name[32];

	snprintf(name, sizeof(name), op->file, next_file());
	return stat_name(dir, name);
}

static unsigned
floor_new(const struct bench_op *op, int dir)
{
	static unsigned n;
	char name[32];

	(void)op;
	snprintf(name, sizeof(name), "Floor%u", n++);
	return stat_name(dir, name);
}

static unsigned
floor_open(const struct bench_op *op, int dir)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), op->file, next_file());
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return 2;
}

static unsigned
floor_create(const struct bench_op *op, int dir)
{
	int fd = openat(dir, "floor", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			0644);

	(void)op;
	if (fd >= 0)
		close(fd);
	unlinkat(dir, "floor", 0);
	return 3;
}

/* Where the next request goes to: anywhere, as those of the guest do. */
static off_t
any_place(uint32_t io)
{
	static uint32_t random;

	random = random * 1664525 + 1013904223;
	return (off_t)((random >> 8) % (BENCH_DATA_SIZE / io)) * io;
}

/* The file "data" and pages to move, as many as 16 requests have. */
static unsigned
floor_io(const struct bench_op *op, int dir)
{
	static int fd = -1;
	static unsigned char *pages, *to;
	struct iovec iov[BENCH_IO_MAX / PAGE];
	const size_t size = (size_t)BENCH_DEPTH_MAX * BENCH_IO_MAX;
	int n = (int)(op->io / PAGE);
	off_t at = any_place(op->io);

	if (fd < 0)
		fd = openat(dir, "data", O_RDWR | O_CLOEXEC);
	if (!pages)
		to = pages = aligned_alloc(PAGE, size);
	if (fd < 0 || !pages)
		return 1;
	for (int i = 0; i < n; i++)
		iov[i] = (struct iovec){ to + i * PAGE, PAGE };
	to += BENCH_IO_MAX;
	if (to == pages + size)
		to = pages;
	if ((op->opcode[0] == FUSE_READ ? preadv(fd, iov, n, at)
					: pwritev(fd, iov, n, at)) < 0)
		perror("data");
	return 1;
}

/* Read a part of the directory and stat what it names. */
static unsigned
floor_readdir(const struct bench_op *op, int dir)
{
	static int fd = -1;
	static char buf[BENCH_DIR_SIZE / 4];	/* a quarter is names */
	unsigned count = 0;
	long n;

	(void)op;
	if (fd < 0)
		fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n = syscall(SYS_getdents64, fd, buf, sizeof(buf));
	if (n <= 0)
		lseek(fd, 0, SEEK_SET);
	for (long at = 0; at < n; count++) {
		struct dirent64 *d = (void *)(buf + at);

		stat_name(dir, d->d_name);
		at += d->d_reclen;
	}
	return count;
}

/* clang-format off */
const struct bench_op bench_ops[] = {
	{ "getattr",			1, { FUSE_GETATTR }, .file = "f%u", .floor = floor_getattr },
	{ "lookup, known file",		1, { FUSE_LOOKUP }, .file = "f%u", .floor = floor_lookup },
	{ "lookup, no such file",	1, { FUSE_LOOKUP }, .file = "none%u", .missing = true, .floor = floor_lookup },
	{ "lookup, new name",		1, { FUSE_LOOKUP }, .file = "New%u", .missing = true, .fresh = true, .floor = floor_new },
	{ "lookup, other case",		1, { FUSE_LOOKUP }, .file = "F%u", .missing = true, .floor = floor_lookup },
	{ "open, release",		2, { FUSE_OPEN, FUSE_RELEASE }, .file = "f%u", .floor = floor_open },
	{ "create, release, unlink",	3, { FUSE_CREATE, FUSE_RELEASE, FUSE_UNLINK }, .floor = floor_create },
	{ "read 4 KiB",			1, { FUSE_READ }, .io = 4096, .floor = floor_io },
	{ "write 4 KiB",		1, { FUSE_WRITE }, .io = 4096, .floor = floor_io },
	{ "read 128 KiB",		1, { FUSE_READ }, .io = 131072, .floor = floor_io },
	{ "write 128 KiB",		1, { FUSE_WRITE }, .io = 131072, .floor = floor_io },
	{ "readdirplus, entry",		1, { FUSE_READDIRPLUS }, .entries = true, .floor = floor_readdir },
};
/* clang-format on */

const unsigned bench_nops = sizeof(bench_ops) / sizeof(bench_ops[0]);

static double
cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double
measure(const struct bench_op *op, const char *path, double seconds)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	double start, used = 0;
	unsigned long n = 0;

	if (dir < 0)
		return 0;
	for (int i = 0; i < 100; i++)
		op->floor(op, dir);
	start = cpu_ns();
	while (used < seconds * 1e9) {
		for (int i = 0; i < 50; i++)
			n += op->floor(op, dir);
		used = cpu_ns() - start;
	}
	close(dir);
	return used / (double)n;
}

static void *
wait_for_end(void *end)
{
	pthread_mutex_lock(end);
	pthread_mutex_unlock(end);
	return NULL;
}

/*
 * In a process of two threads, as every server has some: only where there is
 * one does the kernel use a file without counting who does.
 */
double
bench_floor(const struct bench_op *op, const char *path, double seconds)
{
	pthread_mutex_t end = PTHREAD_MUTEX_INITIALIZER;
	pthread_t other;
	double ns;

	pthread_mutex_lock(&end);
	if (pthread_create(&other, NULL, wait_for_end, &end))
		return 0;
	ns = measure(op, path, seconds);
	pthread_mutex_unlock(&end);
	pthread_join(other, NULL);
	return ns;
}
