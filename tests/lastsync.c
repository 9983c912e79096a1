/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a daemon under test: a disk that keeps of the files in one
 * directory what they held when they were synced last, as copies in another.
 *
 * LASTSYNC_OF is the directory, LASTSYNC_TO where copies go: NAME, and an empty
 * NAME.named when the directory was synced with that name in it.  The copy is
 * taken before fsync() or fdatasync() returns, and replaces the one before it
 * at once, so that the daemon may be killed at any time.  Nothing reaches the
 * real disk.
 *
 * While there is a file LASTSYNC_HOLD no sync ends; while there is one of that
 * name and ".open", no state.db is opened.  Who waits makes a file of that name
 * and ".held".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The name in the directory that is looked after, "" for that itself, or
 * NULL.  Never opened: closing it would drop the locks that SQLite has. */
static const char *
name_of(int fd, char path[PATH_MAX])
{
	const char *of = getenv("LASTSYNC_OF");
	size_t len = of ? strlen(of) : 0;
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = of ? readlink(link, path, PATH_MAX - 1) : -1;
	if (n < (ssize_t)len || memcmp(path, of, len))
		return NULL;
	path[n] = '\0';
	if (!path[len])
		return path + len;
	return path[len] == '/' ? path + len + 1 : NULL;
}

static int
copy_to(int from, const char *path)
{
	static char buf[PIECE];
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t at = 0;
	ssize_t n = 0;

	if (to < 0)
		return -1;
	while ((n = pread(from, buf, sizeof(buf), at)) > 0) {
		if (write(to, buf, (size_t)n) != n)
			break;
		at += n;
	}
	return close(to) || n ? -1 : 0;
}

static int
keep_file(int fd, const char *name)
{
	const char *to = getenv("LASTSYNC_TO");
	char new[PATH_MAX + 300], path[PATH_MAX + 300];

	snprintf(path, sizeof(path), "%s/%s", to, name);
	snprintf(new, sizeof(new), "%s/%s.new", to, name);
	return copy_to(fd, new) || rename(new, path);
}

static int
keep_names(const char *of)
{
	static const char *const names[] = { "state.db", "state.db-wal" };
	char path[PATH_MAX + 32];
	int fd;

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", of, names[i]);
		if (access(path, F_OK))
			continue;
		snprintf(path, sizeof(path), "%s/%s.named",
			 getenv("LASTSYNC_TO"), names[i]);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return -1;
		close(fd);
	}
	return 0;
}

static int
keep(int fd)
{
	char path[PATH_MAX];
	const char *name = name_of(fd, path);
	int err;

	if (!name)
		return 0;
	pthread_mutex_lock(&lock);
	err = *name ? keep_file(fd, name) : keep_names(path);
	pthread_mutex_unlock(&lock);
	if (err)
		errno = EIO;
	return err ? -1 : 0;
}

static void
hold(const char *what)
{
	const char *name = getenv("LASTSYNC_HOLD");
	char path[PATH_MAX], held[PATH_MAX + 8];

	if (!name)
		return;
	snprintf(path, sizeof(path), "%s%s", name, what);
	snprintf(held, sizeof(held), "%s.held", path);
	while (!access(path, F_OK)) {
		close(openat(AT_FDCWD, held, O_WRONLY | O_CREAT | O_CLOEXEC,
			     0600));
		usleep(1000);
	}
}

int fsync(int fd);
int fdatasync(int fd);
int open64(const char *path, int flags, ...);

int
fsync(int fd)
{
	hold("");
	return keep(fd);
}

int
fdatasync(int fd)
{
	return fsync(fd);
}

/* SQLite's way. */
int
open64(const char *path, int flags, ...)
{
	const char *name = strrchr(path, '/');
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (name && !strcmp(name, "/state.db"))
		hold(".open");
	return openat(AT_FDCWD, path, flags, mode);
}
