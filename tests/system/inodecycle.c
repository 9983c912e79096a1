/* SPDX-License-Identifier: MIT */
/*
 * Inode numbers that come back: files are made, seen, removed and made anew,
 * through a mount and behind its back, as fast as it goes.  ext4 gives the
 * number of a removed file to the next one at once, often with the same birth
 * time, so a server that tells files apart by these alone hands out an old
 * file for a new one.
 *
 *	inodecycle [-n CYCLES] MOUNT BEHIND
 *
 * BEHIND is the directory that MOUNT shows.  A new file must show its own
 * size and contents.  What was opened before must stay what it was, or be
 * gone (ESTALE, ENOENT), and never become the new file.  Prints how often a
 * number came back.  Exit status: 0 good, 1 a file was taken for another,
 * 2 could not run.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELD 16			/* old files kept open */
#define LEN_MAX 6000		/* bytes of a file */

struct held {
	int fd;			/* -1 = none */
	unsigned long id;
};

struct cycle {
	int mount, behind;
	unsigned long id;	/* of the latest file; decides its contents */
	unsigned long repeats, pairs;
	struct held held[HELD];
};

static void wrong(const char *fmt, ...)
	__attribute__((format(printf, 1, 2), noreturn));
static void
wrong(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "inodecycle: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static void
die(const char *what)
{
	fprintf(stderr, "inodecycle: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* The contents of file `id`. */
static size_t
fill(unsigned long id, char *buf)
{
	size_t size = 32 + id * 37 % (LEN_MAX - 64), n = 0;

	while (n < size)
		n += (size_t)snprintf(buf + n, 32, "file %lu;", id);
	return size;
}

static void
name_of(unsigned long id, char *name)
{
	snprintf(name, 32, "n%lu", id);
}

static int
gone(int err)
{
	return err == ESTALE || err == ENOENT;
}

static int
make(int dir, unsigned long id)
{
	char name[32], buf[LEN_MAX];
	size_t size = fill(id, buf);
	int fd;

	name_of(id, name);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, buf, size) != (ssize_t)size)
		die("create");
	return fd;
}

/* `fd` must hold file `id`; an old one may also be gone. */
static void
check_fd(int fd, unsigned long id, int old, const char *what)
{
	char want[LEN_MAX], got[LEN_MAX + 64];
	size_t size = fill(id, want);
	struct stat st;
	ssize_t n;

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	n = pread(fd, got, sizeof(got), 0);
	if (n < 0 && old && gone(errno))
		return;
	if (n < 0)
		wrong("%s, file %lu: read: %s", what, id, strerror(errno));
	got[n < 40 ? n : 40] = '\0';
	if ((size_t)n != size || memcmp(got, want, n < 40 ? (size_t)n : 40))
		wrong("%s, file %lu: %zd bytes \"%s\", not %zu", what, id, n,
		      got, size);
	if (fstat(fd, &st) < 0) {
		if (old && gone(errno))
			return;
		wrong("%s, file %lu: stat: %s", what, id, strerror(errno));
	}
	if ((size_t)st.st_size != size)
		wrong("%s, file %lu: size %lld, not %zu", what, id,
		      (long long)st.st_size, size);
}

/* Look the file up afresh through the mount: it must be itself. */
static void
check_new(struct cycle *c, unsigned long id, const char *what)
{
	char name[32], buf[LEN_MAX];
	struct stat st;
	int fd;

	name_of(id, name);
	if (fstatat(c->mount, name, &st, 0) < 0)
		wrong("%s, file %lu: stat: %s", what, id, strerror(errno));
	if ((size_t)st.st_size != fill(id, buf))
		wrong("%s, file %lu: size %lld, not %zu", what, id,
		      (long long)st.st_size, fill(id, buf));
	fd = openat(c->mount, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		wrong("%s, file %lu: open: %s", what, id, strerror(errno));
	check_fd(fd, id, 0, what);
	close(fd);
}

/* The name was removed behind the mount, which may not know yet. */
static void
check_removed(struct cycle *c, unsigned long id)
{
	char name[32];
	int fd;

	name_of(id, name);
	fd = openat(c->mount, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (!gone(errno))
			wrong("removed file %lu: %s", id, strerror(errno));
		return;
	}
	check_fd(fd, id, 1, "removed file");
	close(fd);
}

static void
hold(struct cycle *c, int fd, unsigned long id)
{
	struct held *h = &c->held[id / 2 % HELD];

	if (h->fd >= 0) {
		check_fd(h->fd, h->id, 1, "old open file");
		close(h->fd);
	}
	h->fd = fd;
	h->id = id;
}

static ino_t
ino_of(int dir, unsigned long id)
{
	char name[32];
	struct stat st;

	name_of(id, name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		die("stat");
	return st.st_ino;
}

static void
removed(int dir, unsigned long id, int flags)
{
	char name[32];

	name_of(id, name);
	if (unlinkat(dir, name, flags) < 0)
		die("unlink");
}

static void
count(struct cycle *c, ino_t a, ino_t b)
{
	c->pairs++;
	c->repeats += a == b;
}

/* All by way of the mount. */
static void
cycle_through(struct cycle *c)
{
	unsigned long a = c->id++, b = c->id++;
	int fd = make(c->mount, a);
	ino_t ino = ino_of(c->behind, a);

	removed(c->mount, a, 0);
	if (a % 3)
		close(fd);
	else
		hold(c, fd, a);
	close(make(c->mount, b));
	count(c, ino, ino_of(c->behind, b));
	check_new(c, b, "made through the mount");
	removed(c->mount, b, 0);
}

/* The mount knows a file; it is removed, and another made, behind it. */
static void
cycle_behind(struct cycle *c)
{
	unsigned long a = c->id++, b = c->id++;
	int fd = make(c->mount, a);
	ino_t ino = ino_of(c->behind, a);

	if (a % 3) {
		close(fd);
		check_new(c, a, "first file");
	}
	removed(c->behind, a, 0);
	close(make(c->behind, b));
	count(c, ino, ino_of(c->behind, b));
	check_new(c, b, "made behind the mount");
	if (a % 3)
		check_removed(c, a);
	else
		hold(c, fd, a);
	removed(c->behind, b, 0);
}

static void
make_dir(int at, unsigned long id)
{
	char name[64];

	name_of(id, name);
	if (mkdirat(at, name, 0755) < 0)
		die("mkdir");
	snprintf(name, sizeof(name), "n%lu/in-%lu", id, id);
	if (mkdirat(at, name, 0755) < 0)
		die("mkdir");
}

static void
remove_dir(int at, unsigned long id)
{
	char name[64];

	snprintf(name, sizeof(name), "n%lu/in-%lu", id, id);
	if (unlinkat(at, name, AT_REMOVEDIR) < 0)
		die("rmdir");
	removed(at, id, AT_REMOVEDIR);
}

/* The directory behind `fd` (closed here) holds in-ID, or nothing if old. */
static void
check_listing(int fd, unsigned long id, int old)
{
	DIR *d = fdopendir(fd);
	char want[32];
	struct dirent *de;
	int n = 0;

	if (!d)
		die("fdopendir");
	snprintf(want, sizeof(want), "in-%lu", id);
	for (errno = 0; (de = readdir(d)) != NULL; errno = 0) {
		if (de->d_name[0] == '.')
			continue;
		if (strcmp(de->d_name, want))
			wrong("directory %lu shows %s", id, de->d_name);
		n++;
	}
	if (!old && n != 1)
		wrong("directory %lu shows %d names: %s", id, n,
		      strerror(errno));
	closedir(d);
}

static void
cycle_dirs(struct cycle *c)
{
	unsigned long a = c->id++, b = c->id++;
	char name[32];
	ino_t ino;
	int old = -1, fd;

	make_dir(c->mount, a);
	ino = ino_of(c->behind, a);
	name_of(a, name);
	fd = openat(c->mount, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		wrong("directory %lu: %s", a, strerror(errno));
	if (a % 3)
		check_listing(fd, a, 0);
	else
		old = fd;	/* an open directory keeps its number */
	remove_dir(c->behind, a);
	make_dir(c->behind, b);
	count(c, ino, ino_of(c->behind, b));
	name_of(b, name);
	fd = openat(c->mount, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		wrong("directory %lu: %s", b, strerror(errno));
	check_listing(fd, b, 0);
	if (old >= 0)
		check_listing(old, a, 1);
	remove_dir(c->behind, b);
}

static void
cycle_links(struct cycle *c)
{
	unsigned long a = c->id++, b = c->id++;
	char name[32], target[32], got[64];
	ino_t ino;
	ssize_t n;

	name_of(a, name);
	if (symlinkat(name, c->mount, name) < 0)
		die("symlink");
	ino = ino_of(c->behind, a);
	removed(c->behind, a, 0);
	name_of(b, name);
	snprintf(target, sizeof(target), "to-%lu", b);
	if (symlinkat(target, c->behind, name) < 0)
		die("symlink");
	count(c, ino, ino_of(c->behind, b));
	n = readlinkat(c->mount, name, got, sizeof(got));
	if (n < 0)
		wrong("link %lu: %s", b, strerror(errno));
	if ((size_t)n != strlen(target) || memcmp(got, target, (size_t)n))
		wrong("link %lu leads to \"%.*s\"", b, (int)n, got);
	removed(c->behind, b, 0);
}

static const struct {
	const char *name;
	void (*run)(struct cycle *c);
} parts[] = {
	{ "files, through the mount", cycle_through },
	{ "files, behind the mount", cycle_behind },
	{ "directories", cycle_dirs },
	{ "symbolic links", cycle_links },
};

int
main(int argc, char **argv)
{
	struct cycle c = { .id = 2 };
	unsigned long n = 2000;

	if (argc > 2 && !strcmp(argv[1], "-n")) {
		n = strtoul(argv[2], NULL, 10);
		argv += 2;
		argc -= 2;
	}
	if (argc != 3) {
		fprintf(stderr, "usage: inodecycle [-n CYCLES] MOUNT BEHIND\n");
		return 2;
	}
	c.mount = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c.behind = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.mount < 0 || c.behind < 0)
		die("open");
	for (int i = 0; i < HELD; i++)
		c.held[i].fd = -1;
	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		c.repeats = c.pairs = 0;
		for (unsigned long i = 0; i < n; i++)
			parts[p].run(&c);
		printf("%s: number came back in %lu of %lu cycles\n",
		       parts[p].name, c.repeats, c.pairs);
		fflush(stdout);
	}
	for (int i = 0; i < HELD; i++)
		if (c.held[i].fd >= 0)
			check_fd(c.held[i].fd, c.held[i].id, 1, "old file");
	printf("no file was taken for another\n");
	return 0;
}
