/* SPDX-License-Identifier: MIT */
/*
 * Comparing the disk with the model.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/fsops.h"

void
check_stat(struct run *r, const struct stat *st, struct node *n,
	   const char *what)
{
	size_t size = S_ISLNK(n->mode) ? strlen(n->target) : n->size;

	if (st->st_mode != n->mode)
		fail(r, "%s: mode is %o, not %o", what, st->st_mode, n->mode);
	if (!S_ISDIR(n->mode) && (size_t)st->st_size != size)
		fail(r, "%s: size is %lld, not %zu", what,
		     (long long)st->st_size, size);
	if ((!S_ISDIR(n->mode) || r->check_links) && st->st_nlink != n->links)
		fail(r, "%s: %lu links, not %u", what,
		     (unsigned long)st->st_nlink, n->links);
	if (!r->check_ino)
		return;
	if (n->ino && st->st_ino != n->ino)
		fail(r, "%s: inode number was %lu, is %lu", what,
		     (unsigned long)n->ino, (unsigned long)st->st_ino);
	n->ino = st->st_ino;
}

void
check_data(struct run *r, const struct node *n, const unsigned char *buf,
	   size_t off, size_t len, const char *what)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != n->data[off + i])
			fail(r, "%s: byte %zu is 0x%02x, not 0x%02x", what,
			     off + i, buf[i], n->data[off + i]);
}

void
check_read(struct run *r, int fd, struct node *n, size_t off, size_t len,
	   const char *what)
{
	static unsigned char buf[FILE_ROOM + 4096];
	size_t want = off >= n->size ? 0 : n->size - off;
	ssize_t got;

	if (len > sizeof(buf))
		len = sizeof(buf);
	if (want > len)
		want = len;
	got = pread(fd, buf, len, (off_t)off);
	if (got < 0)
		fail(r, "%s: read: %s", what, strerror(errno));
	if ((size_t)got != want)
		fail(r, "%s: read %zd bytes at %zu, not %zu", what, got, off,
		     want);
	check_data(r, n, buf, off, want, what);
}

/* A directory holds the model's names and no others. */
static void
check_dir(struct run *r, const struct node *dir, const char *path)
{
	size_t found = 0, dots = 0;
	struct dirent *de;
	int fd = openat(r->dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		fail(r, "opendir %s: %s", path, strerror(errno));
	for (errno = 0; (de = readdir(d)) != NULL; errno = 0) {
		struct entry *e;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..")) {
			dots++;
			continue;
		}
		e = tree_find(dir, de->d_name);
		if (!e)
			fail(r, "%s: stray name \"%s\"", path, de->d_name);
		if (de->d_type != DT_UNKNOWN &&
		    (mode_t)DTTOIF(de->d_type) != (e->node->mode & S_IFMT))
			fail(r, "%s: \"%s\" listed as another type", path,
			     de->d_name);
		found++;
	}
	if (errno)
		fail(r, "readdir %s: %s", path, strerror(errno));
	if (found != dir->nentries)
		fail(r, "%s: %zu names listed, not %zu", path, found,
		     dir->nentries);
	if (dots != 2)
		fail(r, "%s: . and .. listed %zu times", path, dots);
	closedir(d);
}

static void
check_link(struct run *r, const struct node *n, const char *path)
{
	char buf[NAME_ROOM + 1];
	ssize_t len = readlinkat(r->dirfd, path, buf, sizeof(buf));

	if (len < 0)
		fail(r, "readlink %s: %s", path, strerror(errno));
	if ((size_t)len != strlen(n->target) ||
	    memcmp(buf, n->target, (size_t)len))
		fail(r, "%s: leads to \"%.*s\", not \"%s\"", path, (int)len,
		     buf, n->target);
}

void
check_node(struct run *r, struct node *n, const char *path)
{
	struct stat st;

	if (fstatat(r->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail(r, "stat %s: %s", path, strerror(errno));
	check_stat(r, &st, n, path);
	if (S_ISREG(n->mode)) {
		int fd = openat(r->dirfd, path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			fail(r, "open %s: %s", path, strerror(errno));
		check_read(r, fd, n, 0, FILE_ROOM + 1, path);
		close(fd);
	} else if (S_ISDIR(n->mode)) {
		check_dir(r, n, path);
	} else {
		check_link(r, n, path);
	}
}

static void
verify_below(struct run *r, struct node *dir)
{
	char path[PATH_ROOM];

	tree_path(dir, "", path);
	check_node(r, dir, path);
	for (size_t i = 0; i < dir->nentries; i++) {
		struct node *n = dir->entries[i]->node;

		if (S_ISDIR(n->mode)) {
			verify_below(r, n);
			continue;
		}
		tree_path(dir, dir->entries[i]->name, path);
		check_node(r, n, path);
	}
}

/* The whole tree is as the model has it. */
void
tree_verify(struct run *r)
{
	note(r, "verify everything");
	verify_below(r, r->root);
}
