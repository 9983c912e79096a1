/* SPDX-License-Identifier: MIT */
/*
 * More names than anybody keeps open.
 *
 *	manynames dir -n COUNT MOUNT HOST
 *	manynames lookup -n COUNT MOUNT HOST
 *
 * HOST is the directory that MOUNT shows.  "dir" makes one directory of that
 * many names there and reads it through the mount: all of it, from places that
 * were noted before, and while others make and remove names.  "lookup" makes
 * that many files, looks each up, and then reads some of them.
 *
 * Exit status: 0 good, 1 something was wrong, 2 could not run.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	PER_DIR = 1000,		/* files of a directory of "lookup" */
	PLACES = 1000,		/* that are noted */
	READS = 20,		/* at most, while others change */
};

static int mnt, host;
static long count;
static unsigned long seed = 4711;

static void stop(int status, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));
static void
stop(int status, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "manynames: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(status);
}

static long
any(long below)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (long)((seed >> 33) % (unsigned long)below);
}

static void
make(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0 || (*text && write(fd, text, strlen(text)) < 0))
		stop(2, "%s: %s", name, strerror(errno));
	close(fd);
}

static int
open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		stop(1, "%s: %s", name, strerror(errno));
	return fd;
}

/* ------------------------------------------------------------------ */
/* One directory. */

static int32_t *order;		/* the numbers of the names, as they came */
static unsigned char *seen;	/* how often each one came */

static DIR *
open_stream(void)
{
	DIR *d = fdopendir(open_dir(mnt, "big"));

	if (!d)
		stop(2, "fdopendir: %s", strerror(errno));
	return d;
}

/* The number of the next name that has one, or -1 at the end. */
static long
next_name(DIR *d)
{
	struct dirent *e;

	for (errno = 0; (e = readdir(d)) != NULL; errno = 0) {
		if (e->d_name[0] == 'f')
			return atol(e->d_name + 1);
	}
	if (errno)
		stop(1, "readdir: %s", strerror(errno));
	return -1;
}

static void
make_names(void)
{
	char name[32];
	int dir;

	mkdirat(host, "big", 0755);
	dir = open_dir(host, "big");
	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%07ld", i);
		make(dir, name, "");
	}
	close(dir);
}

struct place {
	long at;		/* as telldir(3) says */
	long nth;		/* in `order`: the name that comes next */
};

static long
read_all(struct place *places)
{
	long n = 0, nplaces = 0, step = count / PLACES + 1, i, at;
	DIR *d = open_stream();

	for (at = telldir(d); (i = next_name(d)) >= 0; at = telldir(d)) {
		if (i >= count || seen[i]++)
			stop(1, "f%07ld came twice, or from nowhere", i);
		if (n % step == 0)
			places[nplaces++] = (struct place){ at, n };
		order[n++] = (int32_t)i;
	}
	closedir(d);
	if (n != count)
		stop(1, "%ld names of %ld", n, count);
	return nplaces;
}

/* From each place the same name comes next, whatever was read before. */
static void
seek_all(const struct place *places, long n)
{
	DIR *d = open_stream();

	for (long k = 0; k < 2 * n; k++) {
		const struct place *p = &places[any(n)];
		long i;

		seekdir(d, p->at);
		i = next_name(d);
		if (i != order[p->nth])
			stop(1, "after place %ld comes %ld, not %d", p->nth, i,
			     order[p->nth]);
	}
	closedir(d);
}

/* Odd names go, new ones come, by way of the mount and behind it. */
static void
change(void)
{
	int dirs[2] = { open_dir(mnt, "big"), open_dir(host, "big") };
	char name[32];

	for (long i = 1; i < count; i += 2) {
		int dir = dirs[i / 2 % 2];

		snprintf(name, sizeof(name), "f%07ld", i);
		if (unlinkat(dir, name, 0) < 0)
			stop(1, "unlink %s: %s", name, strerror(errno));
		snprintf(name, sizeof(name), "f%07ld", count + i);
		make(dir, name, "");
	}
	_exit(0);
}

/* Every even name once, the others once at most, for as long as they change
 * and once more. */
static long
read_changing(void)
{
	long reads = 0, i;
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		change();
	for (bool last = false; !last; reads++) {
		DIR *d = open_stream();

		last = waitpid(pid, &status, reads < READS ? WNOHANG : 0) ==
		       pid;
		memset(seen, 0, 2 * (size_t)count);
		while ((i = next_name(d)) >= 0) {
			if (i >= 2 * count || seen[i]++)
				stop(1, "f%07ld came twice while others "
				     "changed", i);
		}
		closedir(d);
		for (i = 0; i < count; i += 2) {
			if (!seen[i])
				stop(1, "f%07ld was missed while others "
				     "changed", i);
		}
	}
	if (status)
		stop(1, "changing failed: status %x", status);
	for (i = 1; i < count; i += 2) {
		if (seen[i] || !seen[count + i])
			stop(1, "f%07ld: removed and seen, or its successor "
			     "was not", i);
	}
	return reads;
}

/* Places outlive the names around them. */
static void
seek_changed(const struct place *places, long n)
{
	DIR *d = open_stream();

	for (long k = 0; k < n; k++) {
		long nth = places[k].nth, i;

		while (nth < count && order[nth] % 2)
			nth++;
		seekdir(d, places[k].at);
		do {
			i = next_name(d);
		} while (i >= count);	/* a new one */
		if (i != (nth < count ? order[nth] : -1))
			stop(1, "after changes %ld comes at place %ld", i,
			     places[k].nth);
	}
	closedir(d);
}

static void
try_dir(void)
{
	struct place *places = calloc(PLACES + 1, sizeof(*places));
	long n, reads;

	order = calloc((size_t)count, sizeof(*order));
	seen = calloc(2 * (size_t)count, 1);
	if (!places || !order || !seen)
		stop(2, "no memory");
	make_names();
	n = read_all(places);
	printf("%ld names read, each once\n", count);
	seek_all(places, n);
	printf("%ld places found again\n", n);
	reads = read_changing();
	printf("read %ld times while half of them changed\n", reads);
	seek_changed(places, n);
	printf("%ld places found again after it\n", n);
}

/* ------------------------------------------------------------------ */
/* Many files. */

static void
name_file(long i, char name[64])
{
	snprintf(name, 64, "d%05ld/file%03ld", i / PER_DIR, i % PER_DIR);
}

static void
make_files(void)
{
	char name[64], text[32];

	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d%05ld", i / PER_DIR);
		if (i % PER_DIR == 0 && mkdirat(host, name, 0755) < 0)
			stop(2, "%s: %s", name, strerror(errno));
		name_file(i, name);
		/* The others are empty: data costs more than names. */
		snprintf(text, sizeof(text), "%ld", i);
		make(host, name, i % 100 ? "" : text);
	}
}

static void
look_at(long i)
{
	char name[64];
	struct stat st, want;

	name_file(i, name);
	if (fstatat(mnt, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		stop(1, "%s: %s", name, strerror(errno));
	if (i % 100)
		return;
	if (fstatat(host, name, &want, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_ino != want.st_ino || st.st_size != want.st_size)
		stop(1, "%s: another file", name);
}

static void
read_one(long i)
{
	char name[64], want[32], got[32] = "";
	int fd;

	name_file(i, name);
	snprintf(want, sizeof(want), "%ld", i);
	fd = openat(mnt, name, O_RDONLY);
	if (fd < 0 || read(fd, got, sizeof(got) - 1) < 0)
		stop(1, "%s: %s", name, strerror(errno));
	if (strcmp(want, got))
		stop(1, "%s: \"%s\"", name, got);
	close(fd);
}

static void
try_lookup(void)
{
	make_files();
	for (long i = 0; i < count; i++)
		look_at(i);
	printf("%ld files looked up\n", count);
	for (long i = 0; i < count; i += 100)
		read_one(i);
	for (long k = 0; k < 10000; k++)
		read_one(any(count) / 100 * 100);
	printf("and some read\n");
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int opt;

	optind = 2;
	while (argc > 1 && (opt = getopt(argc, argv, "n:")) != -1) {
		if (opt == 'n')
			count = atol(optarg);
	}
	if (count < 1 || optind + 2 != argc)
		stop(2, "usage: manynames dir|lookup -n COUNT MOUNT HOST");
	mnt = open_dir(AT_FDCWD, argv[optind]);
	host = open_dir(AT_FDCWD, argv[optind + 1]);
	if (!strcmp(what, "dir"))
		try_dir();
	else if (!strcmp(what, "lookup"))
		try_lookup();
	else
		stop(2, "dir or lookup?");
	return 0;
}
