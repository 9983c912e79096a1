/* SPDX-License-Identifier: MIT */
/*
 * Operations on names and attributes, and the table of all operations.  Each
 * makes a call whose result the model foretells, compares, and lets the model
 * follow.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/fsops.h"

#define ENTRIES_MAX 160		/* names in the tree of one process */

static void
op_create(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM];
	struct node *dir = pick_dir(r), *n;
	mode_t mode = pick_mode(r, false);
	int fd;

	pick_name(r, name);
	tree_path(dir, name, path);
	note(r, "create %s mode %o", path, mode);
	fd = openat(r->dirfd, path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
		    mode);
	if (!expect(r, fd, tree_find(dir, name) ? EEXIST : 0, "create"))
		return;
	n = node_new(S_IFREG | mode);
	tree_add(dir, name, n);
	keep_or_close(r, fd, n);
}

/* As a shell's ">name": make it, or empty it. */
static void
op_overwrite(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM];
	struct node *dir;
	struct entry *e = pick_entry(r, &dir, name);
	mode_t mode = pick_mode(r, false);
	int fd, want = 0;

	if (e && S_ISDIR(e->node->mode))
		want = EISDIR;
	else if (e && S_ISLNK(e->node->mode))
		want = ELOOP;
	tree_path(dir, name, path);
	note(r, "overwrite %s", path);
	fd = openat(r->dirfd, path,
		    O_CREAT | O_TRUNC | O_RDWR | O_NOFOLLOW | O_CLOEXEC, mode);
	if (!expect(r, fd, want, "open with O_TRUNC"))
		return;
	if (!e)
		e = tree_add(dir, name, node_new(S_IFREG | mode));
	else if (node_resize(e->node, 0) < 0)
		fail(r, "out of memory");
	keep_or_close(r, fd, e->node);
}

static void
op_mkdir(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM];
	struct node *dir = pick_dir(r);
	mode_t mode = pick_mode(r, true);

	if (tree_depth(dir) >= DEPTH_MAX)
		return;
	pick_name(r, name);
	tree_path(dir, name, path);
	note(r, "mkdir %s mode %o", path, mode);
	if (expect(r, mkdirat(r->dirfd, path, mode),
		   tree_find(dir, name) ? EEXIST : 0, "mkdir"))
		tree_add(dir, name, node_new(S_IFDIR | mode));
}

static void
op_symlink(struct run *r)
{
	char name[NAME_ROOM], target[NAME_ROOM], path[PATH_ROOM];
	struct node *dir = pick_dir(r), *n;

	pick_name(r, name);
	pick_name(r, target);
	tree_path(dir, name, path);
	note(r, "symlink %s to %s", path, target);
	if (!expect(r, symlinkat(target, r->dirfd, path),
		    tree_find(dir, name) ? EEXIST : 0, "symlink"))
		return;
	n = node_new(S_IFLNK | 0777);
	snprintf(n->target, sizeof(n->target), "%s", target);
	tree_add(dir, name, n);
}

static void
op_readlink(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM], buf[NAME_ROOM];
	struct node *dir;
	struct entry *e = pick_entry(r, &dir, name);

	tree_path(dir, name, path);
	note(r, "readlink %s", path);
	if (e && S_ISLNK(e->node->mode))
		check_node(r, e->node, path);
	else
		expect(r, readlinkat(r->dirfd, path, buf, sizeof(buf)),
		       e ? EINVAL : ENOENT, "readlink");
}

static void
op_link(struct run *r)
{
	char name[NAME_ROOM], from[PATH_ROOM], to[PATH_ROOM];
	struct entry *e = pick(r, ANY);
	struct node *dir = pick_dir(r);
	int want = 0;

	if (!e)
		return;
	pick_name(r, name);
	tree_path(e->dir, e->name, from);
	tree_path(dir, name, to);
	note(r, "link %s to %s", from, to);
	if (tree_find(dir, name))
		want = EEXIST;
	else if (S_ISDIR(e->node->mode))
		want = EPERM;
	if (expect(r, linkat(r->dirfd, from, r->dirfd, to, 0), want, "link"))
		tree_add(dir, name, e->node);
}

static void
op_unlink(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM];
	struct node *dir;
	struct entry *e = pick_entry(r, &dir, name);
	int want = !e ? ENOENT : S_ISDIR(e->node->mode) ? EISDIR : 0;

	tree_path(dir, name, path);
	note(r, "unlink %s", path);
	if (expect(r, unlinkat(r->dirfd, path, 0), want, "unlink"))
		tree_remove(e);
}

static void
op_rmdir(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM];
	struct node *dir;
	struct entry *e = below(r, 2) ? pick(r, DIRS) : NULL;
	int want = 0;

	if (e) {
		dir = e->dir;
		snprintf(name, sizeof(name), "%s", e->name);
	} else {
		e = pick_entry(r, &dir, name);
	}
	if (!e)
		want = ENOENT;
	else if (!S_ISDIR(e->node->mode))
		want = ENOTDIR;
	else if (e->node->nentries)
		want = ENOTEMPTY;
	tree_path(dir, name, path);
	note(r, "rmdir %s", path);
	if (expect(r, unlinkat(r->dirfd, path, AT_REMOVEDIR), want, "rmdir"))
		tree_remove(e);
}

static unsigned
height(const struct node *n)
{
	unsigned most = 0;

	for (size_t i = 0; i < n->nentries; i++) {
		unsigned h = height(n->entries[i]->node) + 1;

		most = h > most ? h : most;
	}
	return most;
}

/* The order in which Linux finds fault with a rename. */
static int
rename_result(const struct entry *from, const struct node *dir,
	      const struct entry *to, unsigned flags)
{
	bool isdir = S_ISDIR(from->node->mode);
	bool exchange = flags & RENAME_EXCHANGE;

	if (to && (flags & RENAME_NOREPLACE))
		return EEXIST;
	if (!to && exchange)
		return ENOENT;
	if (isdir && tree_is_below(dir, from->node))
		return EINVAL;
	if (to && to != from && S_ISDIR(to->node->mode) &&
	    tree_is_below(from->dir, to->node))
		return exchange ? EINVAL : ENOTEMPTY;
	if (!to || to->node == from->node || exchange)
		return 0;
	if (isdir && !S_ISDIR(to->node->mode))
		return ENOTDIR;
	if (!isdir && S_ISDIR(to->node->mode))
		return EISDIR;
	return isdir && to->node->nentries ? ENOTEMPTY : 0;
}

static void
model_rename(struct entry *from, struct node *dir, const char *name,
	     struct entry *to, unsigned flags)
{
	if (to && to->node == from->node)
		return;
	if (flags & RENAME_EXCHANGE) {
		tree_swap(from, to);
		return;
	}
	if (to)
		tree_remove(to);
	tree_move(from, dir, name);
}

static bool
rename_grows_too_deep(const struct entry *from, const struct node *dir,
		      const struct entry *to)
{
	if (tree_depth(dir) + 1 + height(from->node) > DEPTH_MAX)
		return true;
	return to && tree_depth(from->dir) + 1 + height(to->node) > DEPTH_MAX;
}

static void
op_rename(struct run *r)
{
	static const unsigned kinds[] = { 0, 0, RENAME_NOREPLACE,
					  RENAME_EXCHANGE };
	char name[NAME_ROOM], a[PATH_ROOM], b[PATH_ROOM];
	unsigned flags = kinds[below(r, 4)];
	struct entry *from = pick(r, ANY), *to;
	struct node *dir;

	if (!from)
		return;
	to = below(r, 2) ? pick_entry(r, &dir, name) : NULL;
	if (!to) {
		dir = pick_dir(r);
		pick_name(r, name);
		to = tree_find(dir, name);
	}
	if (rename_grows_too_deep(from, dir, to))
		return;
	tree_path(from->dir, from->name, a);
	tree_path(dir, name, b);
	note(r, "rename %s to %s flags %u", a, b, flags);
	if (expect(r, renameat2(r->dirfd, a, r->dirfd, b, flags),
		   rename_result(from, dir, to, flags), "rename"))
		model_rename(from, dir, name, to, flags);
}

static void
op_stat(struct run *r)
{
	char name[NAME_ROOM], path[PATH_ROOM];
	struct node *dir;
	struct entry *e = pick_entry(r, &dir, name);
	struct stat st;

	tree_path(dir, name, path);
	note(r, "stat %s", path);
	if (expect(r, fstatat(r->dirfd, path, &st, AT_SYMLINK_NOFOLLOW),
		   e ? 0 : ENOENT, "stat"))
		check_stat(r, &st, e->node, path);
}

static void
op_check(struct run *r)
{
	struct entry *e = pick(r, ANY);
	char path[PATH_ROOM];

	if (!e)
		return;
	tree_path(e->dir, e->name, path);
	note(r, "look at %s", path);
	check_node(r, e->node, path);
}

static void
op_readdir(struct run *r)
{
	struct node *dir = pick_dir(r);
	char path[PATH_ROOM];

	tree_path(dir, "", path);
	note(r, "readdir %s", path);
	check_node(r, dir, path);
}

static void
op_chmod(struct run *r)
{
	struct entry *e = pick(r, FILES | DIRS);
	char path[PATH_ROOM];
	mode_t mode;

	if (!e)
		return;
	mode = pick_mode(r, S_ISDIR(e->node->mode));
	tree_path(e->dir, e->name, path);
	note(r, "chmod %s to %o", path, mode);
	expect(r, fchmodat(r->dirfd, path, mode, 0), 0, "chmod");
	e->node->mode = (e->node->mode & S_IFMT) | mode;
}

static void
op_utimens(struct run *r)
{
	struct entry *e = pick(r, DIRS);
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT } };
	char path[PATH_ROOM];
	struct stat st;

	if (!e)
		return;
	ts[1].tv_sec = (time_t)draw(r);
	ts[1].tv_nsec = (long)below(r, 1000000000);
	tree_path(e->dir, e->name, path);
	note(r, "utimens %s", path);
	expect(r, utimensat(r->dirfd, path, ts, 0), 0, "utimens");
	expect(r, fstatat(r->dirfd, path, &st, 0), 0, "stat");
	if (st.st_mtim.tv_sec != ts[1].tv_sec ||
	    st.st_mtim.tv_nsec != ts[1].tv_nsec)
		fail(r, "%s: time is %lld.%09ld, not %lld.%09ld", path,
		     (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
		     (long long)ts[1].tv_sec, ts[1].tv_nsec);
}

/* ------------------------------------------------------------------ */

static const struct {
	void (*run)(struct run *r);
	unsigned weight;
	bool adds;		/* a name */
} ops[] = {
	{ op_create, 10, true },    { op_overwrite, 5, true },
	{ op_mkdir, 6, true },	    { op_symlink, 4, true },
	{ op_link, 5, true },	    { op_unlink, 9, false },
	{ op_rmdir, 6, false },	    { op_rename, 12, false },
	{ op_stat, 10, false },	    { op_check, 8, false },
	{ op_readlink, 3, false },  { op_readdir, 5, false },
	{ op_chmod, 4, false },	    { op_utimens, 2, false },
	{ op_read, 14, false },	    { op_write, 14, false },
	{ op_append, 6, false },    { op_truncate, 6, false },
	{ op_mmap, 8, false },	    { op_drop, 5, false },
	{ op_fstat, 5, false },	    { op_close, 5, false },
};

#define NOPS (sizeof(ops) / sizeof(ops[0]))

static unsigned
count_names(const struct node *dir)
{
	size_t n = dir->nentries;

	for (size_t i = 0; i < dir->nentries; i++)
		n += count_names(dir->entries[i]->node);
	return (unsigned)n;
}

/* One operation, drawn by weight; no new names when there are enough. */
void
tree_step(struct run *r)
{
	unsigned sum = 0, at, i = 0;

	for (i = 0; i < NOPS; i++)
		sum += ops[i].weight;
	at = below(r, sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	if (ops[i].adds && count_names(r->root) >= ENTRIES_MAX)
		op_unlink(r);
	else
		ops[i].run(r);
}

static void
plant_data(struct run *r)
{
	struct entry *e = pick(r, FILES);
	char path[PATH_ROOM];
	unsigned char byte;
	int fd;

	if (!e || !e->node->size)
		return;
	byte = e->node->data[e->node->size / 2] ^ 0x10;
	tree_path(e->dir, e->name, path);
	fd = openat(r->dirfd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, &byte, 1, (off_t)e->node->size / 2) != 1)
		fail(r, "cannot plant a fault: %s", strerror(errno));
	close(fd);
}

/* Do something behind the model's back; what follows must find it. */
void
tree_plant_fault(struct run *r)
{
	struct entry *e = pick(r, FILES | DIRS);
	char path[PATH_ROOM];

	switch (r->fault) {
	case FAULT_NONE:
		break;
	case FAULT_DATA:
		plant_data(r);
		break;
	case FAULT_MODE:
		if (!e)
			break;
		tree_path(e->dir, e->name, path);
		fchmodat(r->dirfd, path, (e->node->mode & 07777) ^ 1, 0);
		break;
	case FAULT_NAME:
		tree_path(pick_dir(r), "planted", path);
		mkdirat(r->dirfd, path, 0700);
		break;
	case FAULT_RESULT:
		r->lie = true;
		break;
	}
}
