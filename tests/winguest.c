/* SPDX-License-Identifier: MIT */
/*
 * The requests a Windows guest sends for what its applications do.
 */
#include "config.h"

#include "tests/winguest.h"

#include "tests/guestpriv.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define LIST_SIZE 131040u		/* of READDIRPLUS */
#define SCAN_SIZE 4080u			/* of READDIR */
#define OVERFLOW_ID 65534u

/* ------------------------------------------------------------------ */
/* The client's table: node id and how often it was looked up. */

struct known {
	uint64_t nodeid, nlookup;
};

struct win_map {
	void *tree;
};

static int
compare(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return (x->nodeid > y->nodeid) - (x->nodeid < y->nodeid);
}

/* The entry of `nodeid`, made if need be; NULL without memory. */
static struct known *
map_get(struct win *w, uint64_t nodeid)
{
	struct known *k = calloc(1, sizeof(*k)), **at;

	if (!k)
		return NULL;
	k->nodeid = nodeid;
	at = tsearch(k, &w->map->tree, compare);
	if (!at || *at != k)
		free(k);
	return at ? *at : NULL;
}

/* Count a lookup.  A new file with a node id that is known is an error, as it
 * is in that client. */
static int
map_add(struct win *w, uint64_t nodeid, bool is_new)
{
	struct known *k = map_get(w, nodeid);

	if (!k)
		return guest_broken(w->guest, "no memory");
	if (nodeid == 0)
		return guest_broken(w->guest, "an entry with node id 0");
	if (is_new && k->nlookup)
		return guest_broken(w->guest, "a new file has node id %llu, "
				    "which is known",
				    (unsigned long long)nodeid);
	k->nlookup++;
	return 0;
}

static uint64_t
map_remove(struct win *w, uint64_t nodeid)
{
	struct known key = { .nodeid = nodeid }, **at, *k;
	uint64_t n;

	at = tfind(&key, &w->map->tree, compare);
	if (!at)
		return 0;
	k = *at;
	n = k->nlookup;
	tdelete(k, &w->map->tree, compare);
	free(k);
	return n;
}

int
win_init(struct win *w, struct guest *g)
{
	memset(w, 0, sizeof(*w));
	w->guest = g;
	w->forgets = true;
	w->map = calloc(1, sizeof(*w->map));
	return w->map ? 0 : guest_broken(g, "no memory");
}

void
win_fini(struct win *w)
{
	if (w->map)
		tdestroy(w->map->tree, free);
	free(w->map);
	w->map = NULL;
}

/* ------------------------------------------------------------------ */
/* Walking. */

static int
look_up(struct win *w, uint64_t parent, const char *name,
	struct fuse_entry_out *out)
{
	int err = guest_lookup(w->guest, parent, name, out);

	w->requests++;
	return err ? err : map_add(w, out->nodeid, false);
}

/* The root's owner is what new files are given; the client's overflow id is
 * not an owner. */
static int
walk_root(struct win *w, struct fuse_entry_out *out)
{
	int err = look_up(w, GUEST_ROOT, ".", out);

	if (err)
		return err;
	if (out->attr.uid != OVERFLOW_ID)
		w->uid = out->attr.uid;
	if (out->attr.gid != OVERFLOW_ID)
		w->gid = out->attr.gid;
	return 0;
}

int
win_walk(struct win *w, const char *path, struct fuse_entry_out *out)
{
	uint64_t at = GUEST_ROOT;
	char *copy, *save = NULL;
	int err = 0;

	if (!*path)
		return walk_root(w, out);
	copy = strdup(path);
	if (!copy)
		return guest_broken(w->guest, "no memory");
	for (char *word = strtok_r(copy, "/", &save); word && !err;
	     word = strtok_r(NULL, "/", &save)) {
		err = look_up(w, at, word, out);
		at = out->nodeid;
	}
	free(copy);
	return err;
}

/* Walk to the directory of a path; *name is its last word. */
static int
walk_parent(struct win *w, const char *path, uint64_t *parent,
	    const char **name)
{
	const char *slash = strrchr(path, '/');
	struct fuse_entry_out e;
	char *dir;
	int err;

	*name = slash ? slash + 1 : path;
	*parent = GUEST_ROOT;
	if (!slash)
		return 0;
	dir = strndup(path, (size_t)(slash - path));
	if (!dir)
		return guest_broken(w->guest, "no memory");
	err = win_walk(w, dir, &e);
	free(dir);
	*parent = e.nodeid;
	return err;
}

int
win_mount(struct win *w)
{
	struct fuse_init_out init;
	struct fuse_statfs_out st;
	struct fuse_entry_out e;
	int err = guest_init(w->guest, &init);

	if (!err)
		err = guest_statfs(w->guest, &st);
	if (!err)
		err = win_walk(w, "", &e);
	return err;
}

/* ------------------------------------------------------------------ */
/* Open and close. */

int
win_open(struct win *w, const char *path, uint32_t accmode, struct win_file *f)
{
	struct fuse_entry_out e;
	int err = win_walk(w, path, &e);	/* may it be opened? */

	if (!err)
		err = win_walk(w, path, &e);
	if (err)
		return err;
	f->nodeid = e.nodeid;
	f->dir = e.attr.mode & 040000;
	return f->dir ? guest_opendir(w->guest, f->nodeid, &f->fh)
		      : guest_open_file(w->guest, f->nodeid, accmode, &f->fh);
}

/* Only these carry an owner. */
static int
create(struct win *w, const char *path, bool dir, struct win_file *f)
{
	struct fuse_entry_out e;
	const char *name;
	uint64_t parent;
	int err = walk_parent(w, path, &parent, &name);

	if (!err)
		err = walk_parent(w, path, &parent, &name);
	if (err)
		return err;
	guest_as(w->guest, w->uid, w->gid);
	err = dir ? guest_mkdir(w->guest, parent, name, 0775, &e)
		  : guest_create(w->guest, parent, name, O_RDWR | O_EXCL, 0664,
				 &e, &f->fh);
	guest_as(w->guest, 0, 0);
	if (!err)
		err = map_add(w, e.nodeid, true);
	if (err)
		return err;
	f->nodeid = e.nodeid;
	f->dir = dir;
	return dir ? guest_opendir(w->guest, f->nodeid, &f->fh) : 0;
}

int
win_create(struct win *w, const char *path, struct win_file *f)
{
	return create(w, path, false, f);
}

int
win_mkdir(struct win *w, const char *path, struct win_file *f)
{
	return create(w, path, true, f);
}

int
win_close(struct win *w, struct win_file *f)
{
	return f->dir ? guest_releasedir(w->guest, f->nodeid, f->fh)
		      : guest_release(w->guest, f->nodeid, f->fh);
}

/* ------------------------------------------------------------------ */
/* Data. */

/* With the client's own fault: when a later piece is empty, all is lost. */
long
win_read(struct win *w, struct win_file *f, uint64_t offset, void *buf,
	 size_t size)
{
	size_t chunk = guest_max_pages(w->guest) * (size_t)4096, have = 0;

	chunk = chunk < GUEST_DATA_MAX ? chunk : GUEST_DATA_MAX;
	while (have < size) {
		size_t n = size - have < chunk ? size - have : chunk;
		int got = guest_read(w->guest, f->nodeid, f->fh,
				     offset + have, (char *)buf + have,
				     (uint32_t)n);

		if (got < 0)
			return got;
		if (got == 0)
			return 0;
		have += (size_t)got;
		if ((size_t)got < n)
			break;
	}
	return (long)have;
}

long
win_write(struct win *w, struct win_file *f, uint64_t offset, const void *buf,
	  size_t size)
{
	size_t chunk = guest_max_write(w->guest), have = 0;
	struct fuse_attr_out attr;
	int err;

	chunk = chunk < GUEST_DATA_MAX ? chunk : GUEST_DATA_MAX;
	while (have < size) {
		size_t n = size - have < chunk ? size - have : chunk;
		int got = guest_write(w->guest, f->nodeid, f->fh,
				      offset + have, (const char *)buf + have,
				      (uint32_t)n);

		if (got < 0)
			return got;
		if (got == 0)
			return guest_broken(w->guest, "WRITE of size 0");
		have += (size_t)got;
	}
	err = guest_getattr(w->guest, f->nodeid, f->fh, &attr);
	return err ? err : (long)have;
}

int
win_flush(struct win *w, struct win_file *f)
{
	struct fuse_attr_out attr;
	int err = guest_flush(w->guest, f->nodeid, f->fh);

	return err ? err : guest_getattr(w->guest, f->nodeid, f->fh, &attr);
}

/* ------------------------------------------------------------------ */
/* Names. */

static int
list_from(struct win *w, struct win_file *f, void *buf,
	  void (*each)(void *arg, const struct guest_dirent *d), void *arg)
{
	uint64_t offset = 0;

	for (;;) {
		struct guest_dirent d;
		size_t pos = 0;
		int more, n = guest_readdir(w->guest, f->nodeid, f->fh, offset,
					    true, buf, LIST_SIZE);

		if (n <= 0)
			return n;
		while ((more = guest_dirent(buf, (size_t)n, true, &pos,
					    &d)) > 0) {
			offset = d.off;
			if (!d.entry->attr.mode)
				return guest_broken(w->guest, "%s has mode 0",
						    d.name);
			if (strcmp(d.name, ".") && strcmp(d.name, "..") &&
			    map_add(w, d.entry->nodeid, false))
				return GUEST_BROKEN;
			each(arg, &d);
		}
		if (more < 0)
			return guest_broken(w->guest, "READDIRPLUS: bad entry");
	}
}

int
win_list(struct win *w, const char *path,
	 void (*each)(void *arg, const struct guest_dirent *d), void *arg)
{
	struct win_file f;
	void *buf = malloc(LIST_SIZE);
	int err = buf ? win_open(w, path, O_RDONLY, &f)
		      : guest_broken(w->guest, "no memory");

	if (!err) {
		int end = 0;

		err = list_from(w, &f, buf, each, arg);
		end = win_close(w, &f);
		err = err ? err : end;
	}
	free(buf);
	return err;
}

/* The client takes a directory of two entries, "." and "..", as empty. */
static int
check_empty(struct win *w, struct win_file *f)
{
	char buf[SCAN_SIZE];
	struct guest_dirent d;
	size_t pos = 0;
	int count = 0, more;
	int n = guest_readdir(w->guest, f->nodeid, f->fh, 0, false, buf,
			      sizeof(buf));

	if (n < 0)
		return n;
	while ((more = guest_dirent(buf, (size_t)n, false, &pos, &d)) > 0)
		count++;
	if (more < 0)
		return guest_broken(w->guest, "READDIR: bad entry");
	return count > 2 ? -ENOTEMPTY : 0;
}

static int
remove_open(struct win *w, const char *path, struct win_file *f)
{
	struct fuse_attr_out attr;
	const char *name;
	uint64_t parent;
	int err = guest_getattr(w->guest, f->nodeid, f->dir ? 0 : f->fh,
				&attr);

	if (!err && f->dir)
		err = check_empty(w, f);
	if (!err)
		err = walk_parent(w, path, &parent, &name);
	if (!err)
		err = f->dir ? guest_rmdir(w->guest, parent, name)
			     : guest_unlink(w->guest, parent, name);
	if (!err && w->forgets)
		err = guest_forget(w->guest, f->nodeid,
				   map_remove(w, f->nodeid));
	return err;
}

/* RELEASE comes after FORGET. */
int
win_delete(struct win *w, const char *path, bool dir)
{
	struct win_file f;
	int end, err = win_open(w, path, O_RDONLY, &f);

	if (err)
		return err;
	err = f.dir == dir ? remove_open(w, path, &f) : -ENOTDIR;
	end = win_close(w, &f);
	return err ? err : end;
}

/* EINVAL alone makes it try again without flags. */
static int
rename_open(struct win *w, const char *from, const char *to, uint32_t flags)
{
	const char *old_name, *new_name;
	uint64_t old_parent, new_parent;
	int err = walk_parent(w, from, &old_parent, &old_name);

	if (!err)
		err = walk_parent(w, to, &new_parent, &new_name);
	if (err)
		return err;
	err = guest_rename2(w->guest, old_parent, old_name, new_parent,
			    new_name, flags);
	if (err == -EINVAL)
		err = guest_rename(w->guest, old_parent, old_name, new_parent,
				   new_name);
	return err;
}

/* The target's directory is opened meanwhile, its name looked up. */
int
win_rename(struct win *w, const char *from, const char *to, bool replace)
{
	const char *slash = strrchr(to, '/');
	char *dir = strndup(to, slash ? (size_t)(slash - to) : 0);
	struct fuse_entry_out e;
	struct win_file f, target;
	int end, err;

	if (!dir)
		return guest_broken(w->guest, "no memory");
	err = win_open(w, from, O_RDONLY, &f);
	if (err)
		goto free_dir;
	err = win_open(w, dir, O_RDONLY, &target);
	if (err)
		goto close_file;
	err = win_walk(w, to, &e);
	if (err == 0 || err == -ENOENT)
		err = rename_open(w, from, to, replace && !f.dir ? 0 :
				  1 /* RENAME_NOREPLACE */);
	end = win_close(w, &target);
	err = err ? err : end;
close_file:
	end = win_close(w, &f);
	err = err ? err : end;
free_dir:
	free(dir);
	return err;
}
