/* SPDX-License-Identifier: MIT */
/*
 * Inode numbers that come back: files are made, seen, removed and made anew,
 * through a mount and behind its back, as fast as it goes.  ext4 gives the
 * number of a removed file to the next one at once, often with the same birth
 * time, so a server that tells files apart by these alone hands out an old
 * file for a new one.
 *
 *	inodecycle [-n CYCLES] [--set-clock] MOUNT BEHIND
 *
 * BEHIND is the directory that MOUNT shows.  A new file must show its own
 * size and contents.  What was opened before must stay what it was, or be
 * gone (ESTALE, ENOENT), and never become the new file.  Prints how often a
 * number came back.
 *
 * With --set-clock the machine's clock is set back between the old file and
 * the new one, so that both have number and birth time in common even where
 * the mount is slow.  For a guest that is thrown away.
 *
 * Exit status: 0 good, 1 a file was taken for another,
 * 2 could not run.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH 40	/* more than a server with max_fds = 16 keeps open */
#define LEN_MAX 6000		/* bytes of a file */

struct cycle;

/* What is tried with files, directories and symbolic links alike. */
struct kind {
	void (*make)(int dir, unsigned long id);
	void (*remove)(int dir, unsigned long id);
	void (*check_new)(struct cycle *c, unsigned long id);
	int (*open)(struct cycle *c, unsigned long id);	/* NULL: cannot be */
	/* Closes fd.  What was opened is itself, or gone. */
	void (*check_old)(int fd, unsigned long id);
};

struct cycle {
	int mount, behind;
	unsigned long id;	/* of the latest file; decides its contents */
	unsigned long cycles, repeats, same_birth;
};

/* What tells a file apart, to a server that does not know better. */
struct identity {
	uint64_t ino;
	int64_t birth_s;
	uint32_t birth_ns;
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

/* ------------------------------------------------------------------ */
/* Files */

static void
make_file(int dir, unsigned long id)
{
	char name[32], buf[LEN_MAX];
	size_t size = fill(id, buf);
	int fd;

	name_of(id, name);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, buf, size) != (ssize_t)size)
		die("create");
	close(fd);
}

static void
remove_file(int dir, unsigned long id)
{
	char name[32];

	name_of(id, name);
	if (unlinkat(dir, name, 0) < 0)
		die("unlink");
}

/* `fd` must hold file `id`; an old one may also be gone. */
static void
check_fd(int fd, unsigned long id, int old)
{
	char want[LEN_MAX], got[LEN_MAX + 64];
	size_t size = fill(id, want);
	struct stat st;
	ssize_t n;

	/* Ask the server, not the kernel's cache; not always, it is slow. */
	if (old && id % 8 == 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	n = pread(fd, got, sizeof(got), 0);
	if (n < 0 && old && gone(errno))
		return;
	if (n < 0)
		wrong("file %lu: read: %s", id, strerror(errno));
	if ((size_t)n != size || memcmp(got, want, size))
		wrong("%s file %lu: %zd bytes \"%.*s\", not %zu",
		      old ? "old" : "new", id, n, n < 40 ? (int)n : 40, got,
		      size);
	if (fstat(fd, &st) < 0) {
		if (old && gone(errno))
			return;
		wrong("file %lu: fstat: %s", id, strerror(errno));
	}
	if ((size_t)st.st_size != size)
		wrong("%s file %lu: size %lld, not %zu", old ? "old" : "new",
		      id, (long long)st.st_size, size);
}

static void
check_old_file(int fd, unsigned long id)
{
	check_fd(fd, id, 1);
	close(fd);
}

static int
open_name(struct cycle *c, unsigned long id)
{
	char name[32];

	name_of(id, name);
	return openat(c->mount, name, O_RDONLY | O_CLOEXEC);
}

static void
check_new_file(struct cycle *c, unsigned long id)
{
	char name[32], buf[LEN_MAX];
	struct stat st;
	int fd;

	name_of(id, name);
	if (fstatat(c->mount, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		wrong("new file %lu: stat: %s", id, strerror(errno));
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size != fill(id, buf))
		wrong("new file %lu: mode %o size %lld, not %zu", id,
		      st.st_mode, (long long)st.st_size, fill(id, buf));
	fd = open_name(c, id);
	if (fd < 0)
		wrong("new file %lu: open: %s", id, strerror(errno));
	check_fd(fd, id, 0);
	close(fd);
}

static const struct kind files = { make_file, remove_file, check_new_file,
				   open_name, check_old_file };

/* ------------------------------------------------------------------ */
/* Directories: each holds one name of its own. */

static void
make_dir(int at, unsigned long id)
{
	char name[64];

	name_of(id, name);
	if (mkdirat(at, name, 0755) < 0)
		die("mkdir");
	snprintf(name, sizeof(name), "n%lu/in-%lu", id, id);
	if (symlinkat("nowhere", at, name) < 0)
		die("symlink");
}

static void
remove_dir(int at, unsigned long id)
{
	char name[64];

	snprintf(name, sizeof(name), "n%lu/in-%lu", id, id);
	if (unlinkat(at, name, 0) < 0)
		die("unlink");
	name_of(id, name);
	if (unlinkat(at, name, AT_REMOVEDIR) < 0)
		die("rmdir");
}

/* The directory behind `fd`, which is closed here. */
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
			wrong("%s directory %lu shows %s", old ? "old" : "new",
			      id, de->d_name);
		n++;
	}
	if (!old && n != 1)
		wrong("new directory %lu shows %d names: %s", id, n,
		      strerror(errno));
	closedir(d);
}

static void
check_old_dir(int fd, unsigned long id)
{
	check_listing(fd, id, 1);
}

static void
check_new_dir(struct cycle *c, unsigned long id)
{
	int fd = open_name(c, id);

	if (fd < 0)
		wrong("new directory %lu: %s", id, strerror(errno));
	check_listing(fd, id, 0);
}

static const struct kind dirs = { make_dir, remove_dir, check_new_dir,
				  open_name, check_old_dir };

/* ------------------------------------------------------------------ */
/* Symbolic links */

static void
make_link(int at, unsigned long id)
{
	char name[32], target[32];

	name_of(id, name);
	snprintf(target, sizeof(target), "to-%lu", id);
	if (symlinkat(target, at, name) < 0)
		die("symlink");
}

static void
check_new_link(struct cycle *c, unsigned long id)
{
	char name[32], want[32], got[64];
	ssize_t n;

	name_of(id, name);
	snprintf(want, sizeof(want), "to-%lu", id);
	n = readlinkat(c->mount, name, got, sizeof(got));
	if (n < 0)
		wrong("new link %lu: %s", id, strerror(errno));
	if ((size_t)n != strlen(want) || memcmp(got, want, (size_t)n))
		wrong("new link %lu leads to \"%.*s\"", id, (int)n, got);
}

static const struct kind links = { make_link, remove_file, check_new_link,
				   NULL, NULL };

/* ------------------------------------------------------------------ */

static void
identify(int dir, unsigned long id, struct identity *who)
{
	char name[32];
	struct statx stx;

	name_of(id, name);
	if (statx(dir, name, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME,
		  &stx) < 0)
		die("statx");
	who->ino = stx.stx_ino;
	who->birth_s = stx.stx_btime.tv_sec;
	who->birth_ns = stx.stx_btime.tv_nsec;
}

/* Is the number of `b` one of those that the removed ones had? */
static void
count(struct cycle *c, const struct identity *old, unsigned n,
      const struct identity *b)
{
	c->cycles++;
	for (unsigned i = 0; i < n; i++) {
		if (old[i].ino != b->ino)
			continue;
		c->repeats++;
		c->same_birth += old[i].birth_s == b->birth_s &&
				 old[i].birth_ns == b->birth_ns;
		return;
	}
}

/* Let the mount know it: by a look only, by its contents, or by an open fd,
 * which is returned. */
static int
get_known(struct cycle *c, const struct kind *k, unsigned long id,
	  unsigned how)
{
	char name[32];
	struct stat st;

	if (how == 0 && k->open)
		return k->open(c, id);
	if (how == 1)
		k->check_new(c, id);
	name_of(id, name);
	if (fstatat(c->mount, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		wrong("file %lu: stat: %s", id, strerror(errno));
	return -1;
}

/* It was removed; the mount may not know yet.  `fd` is it, or -1. */
static void
check_removed(struct cycle *c, const struct kind *k, unsigned long id, int fd)
{
	if (!k->open)
		return;
	if (fd >= 0)
		k->check_old(fd, id);
	fd = k->open(c, id);
	if (fd >= 0)
		k->check_old(fd, id);
	else if (!gone(errno))
		wrong("removed file %lu: %s", id, strerror(errno));
}

/*
 * The mount knows `n` things.  They are removed, and as many made, by way of
 * the mount or behind it; some of the old ones are open meanwhile.
 */
static void
cycle(struct cycle *c, const struct kind *k, unsigned n, int through)
{
	int at = through ? c->mount : c->behind, held[BATCH];
	struct identity old[BATCH], new;
	unsigned long a = c->id, b = c->id + n;

	c->id += 2 * n;
	for (unsigned i = 0; i < n; i++) {
		k->make(n == 1 ? c->mount : at, a + i);
		identify(c->behind, a + i, &old[i]);
	}
	for (unsigned i = 0; i < n; i++)
		held[i] = get_known(c, k, a + i, (unsigned)(a / n + i) % 5);
	for (unsigned i = 0; i < n; i++)
		k->remove(at, a + i);
	for (unsigned i = 0; i < n; i++)
		k->make(at, b + i);
	for (unsigned i = 0; i < n; i++) {
		k->check_new(c, b + i);
		identify(c->behind, b + i, &new);
		count(c, old, n, &new);
	}
	for (unsigned i = 0; i < n; i++)
		check_removed(c, k, a + i, held[i]);
	for (unsigned i = 0; i < n; i++)
		k->remove(at, b + i);
}

/* The time that a new inode gets; it moves on with each tick (4 ms). */
static struct timespec
coarse_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now;
}

static void
set_clock(const struct timespec *to)
{
	if (clock_settime(CLOCK_REALTIME, to) < 0)
		die("clock_settime");
}

/* Look at so many new things that a server which keeps 16 open closes all
 * others; or remove them again. */
static void
fillers(struct cycle *c, const struct kind *k, unsigned long first, int make)
{
	for (unsigned long id = first; id < first + BATCH; id++) {
		if (!make) {
			k->remove(c->behind, id);
			continue;
		}
		k->make(c->behind, id);
		get_known(c, k, id, 2);
	}
}

/*
 * One old thing, which the mount came to know in the very tick that it was
 * made in; and a new one with its number and its birth time.  Of all else
 * that is done no time comes twice: a server may trust that.
 *
 * With `later` the mount comes to know it only when the clock has moved on, so
 * that a server may take number and birth time for proof, and is wrong: then
 * it may say ESTALE once, and the client asks again.
 */
static void
cycle_same_birth(struct cycle *c, const struct kind *k, int later)
{
	unsigned long a = c->id, b = c->id + 1, more = c->id + 2;
	struct timespec start = coarse_clock(), seen;
	struct identity old, new;

	c->id = more + BATCH;
	start.tv_sec += 60;
	set_clock(&start);
	k->make(c->behind, a);
	identify(c->behind, a, &old);
	if (later)
		usleep(20000);
	get_known(c, k, a, 2);
	seen = coarse_clock();
	fillers(c, k, more, 1);
	/* A tick later the server may rightly have trusted the clock. */
	if (later ||
	    (seen.tv_sec == old.birth_s && seen.tv_nsec == old.birth_ns))
		set_clock(&start);
	k->remove(c->behind, a);
	k->make(c->behind, b);
	k->check_new(c, b);
	identify(c->behind, b, &new);
	count(c, &old, 1, &new);
	check_removed(c, k, a, -1);
	k->remove(c->behind, b);
	fillers(c, k, more, 0);
}

static const struct {
	const char *name;
	const struct kind *kind;
	unsigned batch;
	int through;
} parts[] = {
	{ "files, through the mount", &files, 1, 1 },
	{ "files, behind it", &files, 1, 0 },
	{ "files, behind it, in batches", &files, BATCH, 0 },
	{ "directories, through the mount", &dirs, 1, 1 },
	{ "directories, behind it", &dirs, 1, 0 },
	{ "directories, behind it, in batches", &dirs, BATCH, 0 },
	{ "symbolic links, behind it", &links, 1, 0 },
	{ "symbolic links, behind it, in batches", &links, BATCH, 0 },
};

static void
report(struct cycle *c, const char *what)
{
	printf("%s: number came back in %lu of %lu cycles, "
	       "%lu times with the same birth time\n",
	       what, c->repeats, c->cycles, c->same_birth);
	fflush(stdout);
	c->cycles = c->repeats = c->same_birth = 0;
}

static void
run_same_birth(struct cycle *c, unsigned long n)
{
	static const struct {
		const char *name;
		const struct kind *kind;
		int later;
	} runs[] = {
		{ "files, clock set back", &files, 0 },
		{ "directories, clock set back", &dirs, 0 },
		{ "symbolic links, clock set back", &links, 0 },
		{ "files known for long, clock set back", &files, 1 },
		{ "directories known for long, clock set back", &dirs, 1 },
		{ "links known for long, clock set back", &links, 1 },
	};

	for (size_t r = 0; r < sizeof(runs) / sizeof(runs[0]); r++) {
		for (unsigned long i = 0; i < n >> runs[r].later; i++)
			cycle_same_birth(c, runs[r].kind, runs[r].later);
		report(c, runs[r].name);
	}
}

static void
usage(void)
{
	fprintf(stderr, "usage: inodecycle [-n CYCLES] [--set-clock] "
			"MOUNT BEHIND\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "set-clock", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	struct cycle c = { .id = BATCH };
	unsigned long n = 2000;
	int opt, clock = 0;

	while ((opt = getopt_long(argc, argv, "n:", longs, NULL)) != -1) {
		if (opt == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (opt == 'c')
			clock = 1;
		else
			usage();
	}
	if (optind + 2 != argc)
		usage();
	c.mount = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	c.behind = open(argv[optind + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.mount < 0 || c.behind < 0)
		die("open");
	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++) {
		for (unsigned long i = 0; i < n; i += parts[p].batch)
			cycle(&c, parts[p].kind, parts[p].batch,
			      parts[p].through);
		report(&c, parts[p].name);
	}
	if (clock)
		run_same_birth(&c, n / 4);
	printf("no file was taken for another\n");
	return 0;
}
