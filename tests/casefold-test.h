/* SPDX-License-Identifier: MIT */
/*
 * What the tests of casefold/ share: a directory of their own, a share on it,
 * and one-line ways to make files and to ask for names.
 */
#ifndef TESTS_CASEFOLD_TEST_H
#define TESTS_CASEFOLD_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "casefold/casefold.h"
#include "tests/tap.h"

static char *top_dir;	/* removed at the end by end_dir() */
static int top_fd = -1;

__attribute__((unused)) static void
bail(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(99);
}

/* Make an empty directory below `where` (NULL = $TMPDIR or /tmp). */
__attribute__((unused)) static int
begin_dir(const char *where)
{
	const char *tmp = getenv("TMPDIR");

	if (asprintf(&top_dir, "%s/casefold-XXXXXX",
		     where ? where : tmp ? tmp : "/tmp") < 0)
		bail("memory");
	if (!mkdtemp(top_dir))
		return -errno;
	top_fd = open(top_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top_fd < 0)
		bail(top_dir);
	return 0;
}

__attribute__((unused)) static void
empty_dir(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), sub;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!unlinkat(fd, e->d_name, 0))
			continue;
		fchmodat(fd, e->d_name, 0700, 0);
		sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0) {
			empty_dir(sub);
			close(sub);
		}
		unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

__attribute__((unused)) static void
end_dir(void)
{
	empty_dir(top_fd);
	close(top_fd);
	rmdir(top_dir);
	free(top_dir);
}

/* A new directory in the test's own, opened as a node's fd is: O_PATH. */
__attribute__((unused)) static int
new_dir(const char *name)
{
	int fd;

	if (mkdirat(top_fd, name, 0755))
		bail(name);
	fd = openat(top_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		bail(name);
	return fd;
}

__attribute__((unused)) static void
touch(int fd, const char *name)
{
	int n = openat(fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	if (n < 0)
		bail(name);
	close(n);
}

__attribute__((unused)) static bool
there(int fd, const char *name)
{
	return !faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW);
}

__attribute__((unused)) static ino_t
inode(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) ? 0 : st.st_ino;
}

__attribute__((unused)) static struct cf_share *
new_share(const struct cf_settings *set, const struct cf_calls *calls)
{
	struct cf_share *share;

	if (cf_share_new(set, calls, &share))
		bail("cf_share_new");
	cf_share_open(share);
	return share;
}

/* The real name, or "" for -ENOENT, or the errno's text; until the next call. */
__attribute__((unused)) static const char *
find(struct cf_share *share, int fd, const char *name)
{
	static __thread char real[CF_NAME_MAX + 1];
	struct cf_dir dir;
	int found;

	if (cf_dir_init(&dir, fd))
		bail("cf_dir_init");
	found = cf_find(share, &dir, name, 0, real);
	if (found == -ENOENT)
		return "";
	return found < 0 ? strerror(-found) : real;
}

/* cf_create_begin(), and give up at once what it allows. */
__attribute__((unused)) static int
may_create(struct cf_share *share, int fd, const char *name)
{
	char real[CF_NAME_MAX + 1];
	struct cf_create create;
	struct cf_dir dir;
	int found;

	if (cf_dir_init(&dir, fd))
		bail("cf_dir_init");
	found = cf_create_begin(share, &dir, name, &create, real);
	if (!found)
		cf_create_end(&create, false);
	return found;
}

/* rename() through the share. */
__attribute__((unused)) static int
change_name(struct cf_share *share, int from, const char *a, int to,
	    const char *b, unsigned flags)
{
	struct cf_dir dir, dir2;

	if (cf_dir_init(&dir, from) || cf_dir_init(&dir2, to))
		bail("cf_dir_init");
	return cf_rename(share, &dir, a, &dir2, b, flags, NULL, NULL);
}

__attribute__((unused)) static struct cf_stats
stats_of(struct cf_share *share)
{
	struct cf_stats stats;

	cf_share_stats(share, &stats);
	return stats;
}

#endif
