/* SPDX-License-Identifier: MIT */
/*
 * Reads a directory into an index.  The watch comes first, then the stamp, then
 * the names: what changes after that is reported, or shows in the stamp.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "casefold/index.h"

enum {
	TRIES = 3,	/* while somebody changes a directory without a watch */
};

struct reading {
	struct cf_share *share;
	struct cf_names *names;
	uint64_t n;
};

static int
put_name(void *arg, const char *name, size_t len)
{
	struct reading *r = arg;
	struct cf_folded folded;
	int err;

	r->n++;
	cf_fold(r->share->set.mode, name, len, &folded);
	if (!folded.cased)
		return 0;	/* nobody asks for it but by this name */
	err = cf_names_add(r->names,
			   cf_slot_hash(cf_fold_hash(&r->share->key, &folded)),
			   name, len);
	return err < 0 ? err : 0;
}

static int
read_names(struct cf_share *share, int fd, struct cf_read *read)
{
	struct reading r = { share, &read->names, 0 };
	int err;

	cf_names_fini(&read->names);
	err = cf_scan(fd, put_name, &r);
	cf_count(share, scans, 1);
	cf_count(share, scanned_names, r.n);
	read->state = CF_FULL;
	if (err != -E2BIG)
		return err;
	cf_names_fini(&read->names);
	read->state = CF_CROWDED;
	return 0;
}

static int
take_stamp(int fd, struct cf_read *read)
{
	int64_t before = cf_clock_stamps();
	int err = cf_stamp_get(fd, &read->stamp);

	read->aged = !err && cf_stamp_is_aged(&read->stamp, before);
	return err;
}

/* What cache.db has, if the directory did not change since. */
static bool
take_cached(struct cf_share *share, struct cf_index *index, int fd,
	    struct cf_read *read)
{
	struct cf_cache_id id;

	if (!share->cache || cf_keep_id(index, fd, &id) ||
	    !cf_cache_find(share->cache, &id, &read->stamp, &read->cached))
		return false;
	read->state = CF_DELTA;
	read->aged = true;	/* or it would not have been written */
	cf_count(share, warm, 1);
	return true;
}

/* Without a watch the names hold only if the stamp stayed. */
static int
read_unwatched(struct cf_share *share, int fd, struct cf_read *read)
{
	struct cf_stamp after;
	bool same = false;
	int err = 0;

	for (int i = 0; i < TRIES && !same && !err; i++) {
		err = take_stamp(fd, read);
		if (!err)
			err = read_names(share, fd, read);
		if (!err)
			err = cf_stamp_get(fd, &after);
		same = !err && cf_stamp_same(&read->stamp, &after);
	}
	read->aged = read->aged && same;
	return err;
}

static int
read_open(struct cf_share *share, struct cf_index *index, int fd, bool nowait,
	  struct cf_read *read)
{
	bool watched;
	int err;

	read->read_us = cf_clock_us();
	read->fs = cf_fs_of(fd);
	if (cf_fs_folds(fd)) {
		read->state = CF_NATIVE;
		return take_stamp(fd, read);
	}
	if (read->fs == CF_FS_REMOTE)
		return read_names(share, fd, read);
	watched = cf_watch_add(share, index, fd);
	err = take_stamp(fd, read);
	if (err || (!nowait && take_cached(share, index, fd, read)))
		return err;
	if (watched)
		return read_names(share, fd, read);
	err = read_unwatched(share, fd, read);
	if (!err && !read->aged)
		cf_count(share, once, 1);
	return err;
}

static int
open_dir(const struct cf_dir *dir)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int
cf_read_dir(struct cf_share *share, struct cf_index *index,
	    const struct cf_dir *dir, struct cf_read *read)
{
	int fd = open_dir(dir), err;

	if (fd < 0)
		return fd;
	err = read_open(share, index, fd, dir->nowait, read);
	close(fd);
	return err;
}

int
cf_read_each(struct cf_share *share, const struct cf_dir *dir,
	     cf_scan_fn *put, void *arg)
{
	int fd = open_dir(dir), err;

	if (fd < 0)
		return fd;
	cf_count(share, scans, 1);
	err = cf_scan(fd, put, arg);
	close(fd);
	return err;
}
