/* SPDX-License-Identifier: MIT */
/*
 * Random changes of the bytes of one file, compared with a copy in memory: by
 * read, write, map, O_APPEND and O_DIRECT, with holes made and copied, with
 * caches dropped and the file closed and opened in between.  All ways see the
 * same bytes at all times.
 *
 *	fsbytes [-n OPERATIONS] [-s SEED] [-f] FILE [OTHER]
 *
 * OTHER is the same file by another way, compared at the end.  With -f a byte
 * is changed behind our back: a run that does not find it is no test.  What
 * the file system refuses (EOPNOTSUPP; maps: ENODEV) is left out.
 * Exit status: 0 all as it should be, 1 a difference, 2 could not run.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	MOST = 600 * 1024,	/* bytes of the file */
	BLOCK = 4096,		/* of O_DIRECT */
	LOG = 40,		/* operations shown when one has failed */
};

static struct {
	const char *path;
	int fd, append, direct;	/* the same file; direct: or -1 */
	char *map;		/* of MOST bytes, or NULL */
	char *want;		/* what must be in it */
	size_t size;
	uint64_t rng;
	char log[LOG][80];
	unsigned long nth;
} f;

static void wrong(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));
static void
wrong(const char *fmt, ...)
{
	unsigned long first = f.nth < LOG ? 0 : f.nth - LOG + 1;
	va_list ap;

	for (unsigned long i = first; i <= f.nth; i++)
		fprintf(stderr, "%6lu %s\n", i, f.log[i % LOG]);
	fprintf(stderr, "fsbytes: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static void
die(const char *what)
{
	fprintf(stderr, "fsbytes: %s: %s\n", what, strerror(errno));
	exit(2);
}

__attribute__((format(printf, 1, 2))) static void
note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.log[f.nth % LOG], sizeof(f.log[0]), fmt, ap);
	va_end(ap);
}

static size_t
below(size_t n)
{
	uint64_t x = f.rng += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return n ? (size_t)((x ^ (x >> 31)) % n) : 0;
}

/* Where and how much: small, or large, now and then whole blocks. */
static void
range(size_t end, size_t *off, size_t *len)
{
	*off = below(end);
	*len = 1 + below(below(3) ? 5000 : 200000);
	if (!below(4)) {
		*off -= *off % BLOCK;
		*len += BLOCK - *len % BLOCK;
	}
	if (*len > MOST - *off)
		*len = MOST - *off;
}

static void
fill(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (char)(1 + below(255));
}

static void
same(const char *got, size_t off, size_t len, const char *how)
{
	for (size_t i = 0; i < len; i++) {
		if (got[i] != f.want[off + i])
			wrong("%s: byte %zu is %02x, not %02x (size %zu)", how,
			      off + i, (unsigned char)got[i],
			      (unsigned char)f.want[off + i], f.size);
	}
}

static void
grown(size_t end)
{
	if (end > f.size)
		f.size = end;
}

/* ------------------------------------------------------------------ */

static void
open_all(void)
{
	f.fd = open(f.path, O_RDWR | O_CREAT, 0644);
	f.append = open(f.path, O_WRONLY | O_APPEND);
	f.direct = open(f.path, O_RDWR | O_DIRECT);
	if (f.fd < 0 || f.append < 0 || (f.direct < 0 && errno != EINVAL))
		die(f.path);
	f.map = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	if (f.map == MAP_FAILED && errno != ENODEV)
		die("mmap");
	if (f.map == MAP_FAILED)
		f.map = NULL;
}

static void
close_all(void)
{
	if (f.map)
		munmap(f.map, MOST);
	if (f.direct >= 0)
		close(f.direct);
	if (close(f.fd) < 0 || close(f.append) < 0)
		die("close");
}

static void
do_read(void)
{
	static char buf[MOST];
	size_t off, len, want;
	ssize_t n;

	range(MOST, &off, &len);
	note("read %zu at %zu", len, off);
	n = pread(f.fd, buf, len, (off_t)off);
	want = off >= f.size ? 0 : len < f.size - off ? len : f.size - off;
	if (n != (ssize_t)want)
		wrong("read: %zd bytes, not %zu: %s", n, want,
		      n < 0 ? strerror(errno) : "");
	same(buf, off, want, "read");
}

static void
put(int fd, size_t off, size_t len, const char *how)
{
	ssize_t n = pwrite(fd, f.want + off, len, (off_t)off);

	if (n != (ssize_t)len)
		wrong("%s: %zd bytes, not %zu: %s", how, n, len,
		      n < 0 ? strerror(errno) : "");
	grown(off + len);
}

static void
do_write(void)
{
	size_t off, len;

	range(MOST, &off, &len);
	note("write %zu at %zu", len, off);
	fill(f.want + off, len);
	put(f.fd, off, len, "write");
}

static void
do_append(void)
{
	size_t off = f.size, len = 1 + below(9000);

	if (len > MOST - off)
		return;
	note("append %zu to %zu", len, off);
	fill(f.want + off, len);
	put(f.append, off, len, "append");
}

static void
do_map_read(void)
{
	size_t off, len;

	if (!f.map || !f.size)
		return;
	range(f.size, &off, &len);
	if (len > f.size - off)
		len = f.size - off;
	note("look at %zu at %zu", len, off);
	same(f.map + off, off, len, "map");
}

static void
do_map_write(void)
{
	size_t off, len;

	if (!f.map || !f.size)
		return;
	range(f.size, &off, &len);
	if (len > f.size - off)
		len = f.size - off;
	note("change %zu at %zu", len, off);
	fill(f.want + off, len);
	memcpy(f.map + off, f.want + off, len);
}

static void
do_direct(void)
{
	static char buf[MOST] __attribute__((aligned(BLOCK)));
	size_t off = below(MOST / BLOCK - 16) * BLOCK;
	size_t len = (1 + below(16)) * BLOCK;
	bool writes = below(2);
	ssize_t n;

	if (f.direct < 0)
		return;
	note("direct %s %zu at %zu", writes ? "write" : "read", len, off);
	if (writes) {
		fill(buf, len);
		memcpy(f.want + off, buf, len);
		n = pwrite(f.direct, buf, len, (off_t)off);
		grown(off + len);
	} else {
		n = pread(f.direct, buf, len, (off_t)off);
		len = off >= f.size ? 0 :
		      len < f.size - off ? len : f.size - off;
	}
	if (n != (ssize_t)len)
		wrong("direct: %zd bytes, not %zu: %s", n, len,
		      n < 0 ? strerror(errno) : "");
	same(buf, off, len, "direct");
}

static void
do_truncate(void)
{
	size_t size = below(4) ? below(MOST) : f.size / 2;

	note("truncate %zu to %zu", f.size, size);
	if (ftruncate(f.fd, (off_t)size) < 0)
		wrong("truncate: %s", strerror(errno));
	if (size < f.size)
		memset(f.want + size, 0, f.size - size);
	f.size = size;
}

static void
do_allocate(void)
{
	static const struct {
		int mode;
		bool clears;
		const char *name;
	} modes[] = {
		{ 0, false, "allocate" },
		{ FALLOC_FL_KEEP_SIZE, false, "allocate, keep size" },
		{ FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, true, "punch" },
		{ FALLOC_FL_ZERO_RANGE, true, "zero" },
		{ FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, true,
		  "zero, keep size" },
	};
	size_t k = below(sizeof(modes) / sizeof(modes[0])), off, len;

	range(MOST, &off, &len);
	note("%s %zu at %zu", modes[k].name, len, off);
	if (fallocate(f.fd, modes[k].mode, (off_t)off, (off_t)len) < 0) {
		if (errno == EOPNOTSUPP)
			return;
		wrong("%s: %s", modes[k].name, strerror(errno));
	}
	if (modes[k].clears)
		memset(f.want + off, 0, len);
	if (!(modes[k].mode & FALLOC_FL_KEEP_SIZE))
		grown(off + len);
}

static void
do_copy(void)
{
	size_t from, to, len;
	loff_t in, out;

	if (!f.size)
		return;
	range(f.size, &from, &len);
	if (len > f.size - from)
		len = f.size - from;
	to = below(MOST - len);
	if (to < from + len && from < to + len)
		return;
	note("copy %zu from %zu to %zu", len, from, to);
	in = (loff_t)from;
	out = (loff_t)to;
	while (in < (loff_t)(from + len)) {
		ssize_t n = copy_file_range(f.fd, &in, f.fd, &out,
					    from + len - (size_t)in, 0);

		if (n <= 0)
			wrong("copy: %zd: %s", n, strerror(errno));
	}
	memcpy(f.want + to, f.want + from, len);
	grown(to + len);
}

/* What is said to be a hole reads as zeros.  Linux asks the server without
 * writing back what was changed by way of a map. */
static void
do_seek(void)
{
	off_t off = (off_t)below(f.size), data;

	if (!f.size)
		return;
	note("seek data at %lld of %zu", (long long)off, f.size);
	if (f.map && msync(f.map, MOST, MS_SYNC) < 0)
		wrong("msync: %s", strerror(errno));
	data = lseek(f.fd, off, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		data = (off_t)f.size;
	if (data < off)
		wrong("seek: %s", strerror(errno));
	for (; off < data; off++) {
		if (f.want[off])
			wrong("byte %lld is in a hole", (long long)off);
	}
}

static void
do_sync(void)
{
	size_t how = below(3);

	note("sync %zu", how);
	if (how == 0 && fsync(f.fd) < 0)
		wrong("fsync: %s", strerror(errno));
	if (how == 1 && fdatasync(f.fd) < 0)
		wrong("fdatasync: %s", strerror(errno));
	if (how == 2 && f.map && msync(f.map, MOST, MS_ASYNC) < 0)
		wrong("msync: %s", strerror(errno));
}

/* The next one to read asks the server. */
static void
do_drop(void)
{
	note("drop");
	if (fsync(f.fd) < 0 ||
	    posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED))
		wrong("drop: %s", strerror(errno));
}

static void
do_reopen(void)
{
	note("close, open");
	close_all();
	open_all();
}

static void
do_stat(void)
{
	struct stat st;

	note("stat");
	if (fstat(f.fd, &st) < 0 || st.st_size != (off_t)f.size)
		wrong("size %lld, not %zu", (long long)st.st_size, f.size);
}

static void (*const operations[])(void) = {
	do_read, do_read, do_read, do_write, do_write, do_write, do_append,
	do_map_read, do_map_read, do_map_write, do_map_write, do_direct,
	do_direct, do_truncate, do_allocate, do_allocate, do_copy, do_seek,
	do_sync, do_drop, do_reopen, do_stat,
};

/* ------------------------------------------------------------------ */

static void
compare_all(const char *path)
{
	static char buf[MOST + 1];
	int fd = open(path, O_RDONLY);
	size_t have = 0;
	ssize_t n;

	if (fd < 0)
		die(path);
	while ((n = read(fd, buf + have, sizeof(buf) - have)) > 0)
		have += (size_t)n;
	close(fd);
	note("compare %s", path);
	if (have != f.size)
		wrong("%s: %zu bytes, not %zu", path, have, f.size);
	same(buf, 0, have, path);
}

int
main(int argc, char **argv)
{
	unsigned long n = 10000, seed = (unsigned long)time(NULL);
	bool fault = false;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:f")) != -1) {
		if (opt == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			seed = strtoul(optarg, NULL, 10);
		else if (opt == 'f')
			fault = true;
		else
			return 2;
	}
	if (optind >= argc || argc > optind + 2) {
		fprintf(stderr, "usage: fsbytes [-n OPERATIONS] [-s SEED] "
				"[-f] FILE [OTHER]\n");
		return 2;
	}
	f.path = argv[optind];
	f.rng = seed;
	f.want = calloc(1, MOST);
	if (!f.want)
		die("memory");
	printf("fsbytes: seed %lu\n", seed);
	unlink(f.path);
	open_all();
	printf("fsbytes: %s maps, %s O_DIRECT\n", f.map ? "with" : "without",
	       f.direct >= 0 ? "with" : "without");
	fflush(stdout);
	for (f.nth = 0; f.nth < n; f.nth++) {
		operations[below(sizeof(operations) / sizeof(*operations))]();
		if (fault && f.nth % 50 == 49)
			f.want[f.size / 2] ^= 1;
	}
	close_all();
	compare_all(f.path);
	if (optind + 1 < argc)
		compare_all(argv[optind + 1]);
	return 0;
}
