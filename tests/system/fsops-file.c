/* SPDX-License-Identifier: MIT */
/*
 * Operations on the contents of files.  Each makes a call whose result the
 * model foretells, compares, and lets the model follow.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/fsops.h"

void
keep_or_close(struct run *r, int fd, struct node *n)
{
	struct handle *h = &r->handles[below(r, HANDLES)];

	if (h->node || below(r, 3)) {
		if (close(fd) < 0)
			fail(r, "close: %s", strerror(errno));
		return;
	}
	h->fd = fd;
	h->node = n;
	n->opens++;
}

static void
close_handle(struct run *r, struct handle *h)
{
	if (close(h->fd) < 0)
		fail(r, "close: %s", strerror(errno));
	h->node->opens--;
	node_drop(h->node);
	h->node = NULL;
}

void
tree_close_handles(struct run *r)
{
	for (int i = 0; i < HANDLES; i++)
		if (r->handles[i].node)
			close_handle(r, &r->handles[i]);
}

/* A file to work on: one that is open, perhaps unlinked, or one by name.
 * Give it back with keep_or_close() unless *kept.  -1: there is none. */
static int
pick_file(struct run *r, struct node **n, bool *kept)
{
	struct handle *h = &r->handles[below(r, HANDLES)];
	char path[PATH_ROOM];
	struct entry *e;
	int fd;

	*kept = h->node && below(r, 2);
	if (*kept) {
		*n = h->node;
		note(r, "use open file, %u links, size %zu", h->node->links,
		     h->node->size);
		return h->fd;
	}
	e = pick(r, FILES);
	if (!e)
		return -1;
	tree_path(e->dir, e->name, path);
	note(r, "open %s", path);
	fd = openat(r->dirfd, path, O_RDWR | O_CLOEXEC);
	expect(r, fd, 0, "open");
	*n = e->node;
	return fd;
}

static void
done_with(struct run *r, int fd, struct node *n, bool kept)
{
	if (!kept)
		keep_or_close(r, fd, n);
}

void
op_close(struct run *r)
{
	struct handle *h = &r->handles[below(r, HANDLES)];

	note(r, "close");
	if (h->node)
		close_handle(r, h);
}

void
op_fstat(struct run *r)
{
	struct node *n;
	struct stat st;
	bool kept;
	int fd = pick_file(r, &n, &kept);

	if (fd < 0)
		return;
	note(r, "fstat");
	expect(r, fstat(fd, &st), 0, "fstat");
	check_stat(r, &st, n, "fstat");
	done_with(r, fd, n, kept);
}

void
op_read(struct run *r)
{
	struct node *n;
	size_t off, len;
	bool kept;
	int fd = pick_file(r, &n, &kept);

	if (fd < 0)
		return;
	off = below(r, 3) ? pick_offset(r, n->size) : 0;
	len = 1 + below(r, 128 * 1024);
	note(r, "read %zu at %zu of %zu", len, off, n->size);
	check_read(r, fd, n, off, len, "read");
	done_with(r, fd, n, kept);
}

void
op_write(struct run *r)
{
	size_t off, len;
	unsigned char *buf = pick_bytes(r, &len);
	struct node *n;
	bool kept;
	ssize_t put;
	int fd = pick_file(r, &n, &kept);

	if (fd < 0)
		return;
	off = pick_offset(r, n->size);
	note(r, "write %zu at %zu of %zu", len, off, n->size);
	put = pwrite(fd, buf, len, (off_t)off);
	expect(r, put, 0, "write");
	if ((size_t)put != len)
		fail(r, "wrote %zd of %zu bytes", put, len);
	if (node_write(n, off, buf, len) < 0)
		fail(r, "out of memory");
	done_with(r, fd, n, kept);
}

void
op_append(struct run *r)
{
	struct entry *e = pick(r, FILES);
	char path[PATH_ROOM];
	size_t len;
	unsigned char *buf;
	int fd;

	if (!e || e->node->size > FILE_MAX)
		return;
	buf = pick_bytes(r, &len);
	tree_path(e->dir, e->name, path);
	note(r, "append %zu to %s of %zu", len, path, e->node->size);
	fd = openat(r->dirfd, path, O_WRONLY | O_APPEND | O_CLOEXEC);
	expect(r, fd, 0, "open");
	expect(r, write(fd, buf, len) == (ssize_t)len ? 0 : -1, 0, "append");
	expect(r, close(fd), 0, "close");
	if (node_write(e->node, e->node->size, buf, len) < 0)
		fail(r, "out of memory");
}

void
op_truncate(struct run *r)
{
	struct node *n;
	size_t size;
	bool kept;
	int fd = pick_file(r, &n, &kept);

	if (fd < 0)
		return;
	size = below(r, 3) ? pick_offset(r, n->size) : 0;
	note(r, "truncate %zu to %zu", n->size, size);
	expect(r, ftruncate(fd, (off_t)size), 0, "truncate");
	if (node_resize(n, size) < 0)
		fail(r, "out of memory");
	done_with(r, fd, n, kept);
}

/* Read and write through a shared mapping; sometimes the file must take it
 * at once, sometimes when it likes. */
void
op_mmap(struct run *r)
{
	size_t off, len;
	unsigned char *map, *buf = pick_bytes(r, &len);
	struct node *n;
	bool kept;
	int fd = pick_file(r, &n, &kept);

	if (fd < 0)
		return;
	if (!n->size)
		goto out;
	off = below(r, (unsigned)n->size);
	if (len > n->size - off)
		len = n->size - off;
	note(r, "mmap, write %zu at %zu of %zu", len, off, n->size);
	map = mmap(NULL, n->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail(r, "mmap: %s", strerror(errno));
	check_data(r, n, map, 0, n->size, "mmap");
	memcpy(map + off, buf, len);
	memcpy(n->data + off, buf, len);
	if (below(r, 2))
		expect(r, msync(map, n->size, MS_SYNC), 0, "msync");
	expect(r, munmap(map, n->size), 0, "munmap");
out:
	done_with(r, fd, n, kept);
}

/* Let the kernel forget what it cached, so that it has to ask again. */
void
op_drop(struct run *r)
{
	struct node *n;
	bool kept;
	int fd = pick_file(r, &n, &kept);

	if (fd < 0)
		return;
	note(r, "fsync and drop");
	expect(r, below(r, 2) ? fsync(fd) : fdatasync(fd), 0, "fsync");
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	check_read(r, fd, n, 0, n->size, "read after fsync");
	done_with(r, fd, n, kept);
}
