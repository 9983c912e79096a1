/* SPDX-License-Identifier: MIT */
/*
 * Rows by the path in a line: where a copy of a tree gets what its model had.
 *
 * Many lines are one transaction for each BATCH of them.  Their files are
 * looked for before, so that who changes a row waits for the writing alone,
 * less than a millisecond.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "casefold/state_db.h"

enum { BATCH = 128 };

/* The file system of the last file, which the next one is most often on. */
struct place {
	struct cf_state_fs *fs;
	uint64_t mount;
	uint32_t major, minor;
};

int
cf_state_stat(int fd, const char *name, struct statx *stx)
{
	return statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
		     STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, stx) ?
		       -errno : 0;
}

struct cf_state_file
cf_state_file_of(int fd, const struct statx *stx)
{
	return (struct cf_state_file){
		.ino = stx->stx_ino,
		.btime_ns = stx->stx_mask & STATX_BTIME ?
				    stx->stx_btime.tv_sec * 1000000000ll +
					    stx->stx_btime.tv_nsec : 0,
		.fd = fd,
	};
}

static int
open_below(int root_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The directory that a file is in, or that it is. */
static int
open_dir_of(int root_fd, const char *path, int fd, const struct statx *stx)
{
	char dir[PATH_MAX];
	char *slash;
	int n;

	if (S_ISDIR(stx->stx_mode)) {
		n = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return n < 0 ? -errno : n;
	}
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	return open_below(root_fd, slash ? dir : ".", O_RDONLY | O_DIRECTORY);
}

static bool
is_there(const struct place *p, const struct statx *stx)
{
	return p->fs && (stx->stx_mask & STATX_MNT_ID) &&
	       p->mount == stx->stx_mnt_id && p->major == stx->stx_dev_major &&
	       p->minor == stx->stx_dev_minor;
}

static int
find_place(struct cf_state *s, struct place *p, int root_fd, const char *path,
	   int fd, const struct statx *stx)
{
	int dir, err;

	if (is_there(p, stx))
		return 0;
	dir = open_dir_of(root_fd, path, fd, stx);
	if (dir < 0)
		return dir;
	p->fs = NULL;
	p->mount = stx->stx_mnt_id;
	p->major = stx->stx_dev_major;
	p->minor = stx->stx_dev_minor;
	err = cf_state_fs(s, dir, &p->fs);
	close(dir);
	return err;
}

static int
find_file(struct cf_state *s, struct place *p, int root_fd, const char *path,
	  struct cf_state_put *put)
{
	struct cf_state_file file;
	struct statx stx;
	int fd = open_below(root_fd, path, O_PATH), err;

	if (fd < 0)
		return fd;
	err = cf_state_stat(fd, "", &stx);
	if (!err)
		err = find_place(s, p, root_fd, path, fd, &stx);
	if (!err) {
		put->fs = p->fs;
		put->row.has |= CF_STATE_HOST;
		put->row.huid = stx.stx_uid;
		put->row.hgid = stx.stx_gid;
		file = cf_state_file_of(fd, &stx);
		err = cf_state_make_key(put->fs, &file, &put->key);
	}
	close(fd);
	return err;
}

static int
blame(const char *path, int err, char why[CF_STATE_WHY])
{
	snprintf(why, CF_STATE_WHY, "\"%.*s\": %s", CF_STATE_WHY / 2, path,
		 strerror(-err));
	return err;
}

/* 1 and what to record, 0 for a line that says nothing, or -errno and why. */
static int
read_line(struct cf_state *s, struct place *p, int root_fd, const char *line,
	  struct cf_state_put *put, char why[CF_STATE_WHY])
{
	char path[PATH_MAX];
	int n = cf_state_scan(line, path, &put->row, why), err;

	if (n <= 0)
		return n;
	err = find_file(s, p, root_fd, path, put);
	return err ? blame(path, err, why) : 1;
}

/* It could not be written. */
static int
blame_line(const char *line, int err, char why[CF_STATE_WHY])
{
	char path[PATH_MAX];
	struct cf_state_row row;

	cf_state_scan(line, path, &row, why);
	return blame(path, err, why);
}

int
cf_state_import(struct cf_state *s, int root_fd, const char *line,
		char why[CF_STATE_WHY])
{
	struct cf_state_put put;
	struct place place = { 0 };
	int n = read_line(s, &place, root_fd, line, &put, why), err;

	if (n <= 0)
		return n;
	err = cf_state_put_rows(s, &put, 1);
	return err ? blame_line(line, err, why) : 0;
}

/* ------------------------------------------------------------------ */
/* Many. */

/* Nothing else will be recorded either. */
static bool
is_final(int err)
{
	return err == -EROFS || err == -ENOSPC || err == -EDQUOT || err == -EIO;
}

struct batch {
	struct cf_state *state;
	int root_fd;
	struct place place;
	const struct cf_state_told *told;
	size_t n;
	size_t of[BATCH];	/* numbers of the lines */
	struct cf_state_put put[BATCH];
};

/* One by one, so that each error is that line's own. */
static int
put_each(struct batch *b, char *const *lines)
{
	char why[CF_STATE_WHY];
	int err = 0;

	for (size_t i = 0; i < b->n && !is_final(err); i++) {
		err = cf_state_put_rows(b->state, &b->put[i], 1);
		if (err)
			blame_line(lines[b->of[i]], err, why);
		b->told->line(b->told->arg, b->of[i], err, why);
	}
	return is_final(err) ? err : 0;
}

static int
put_batch(struct batch *b, char *const *lines)
{
	int err = b->n ? cf_state_put_rows(b->state, b->put, b->n) : 0;

	if (err) {
		err = put_each(b, lines);
	} else {
		for (size_t i = 0; i < b->n; i++)
			b->told->line(b->told->arg, b->of[i], 0, NULL);
	}
	b->n = 0;
	return err;
}

int
cf_state_import_many(struct cf_state *s, int root_fd, char *const *lines,
		     size_t n, const struct cf_state_told *told)
{
	struct batch *b = calloc(1, sizeof(*b));
	char why[CF_STATE_WHY];
	int err = 0, k;

	if (!b)
		return -ENOMEM;
	b->state = s;
	b->root_fd = root_fd;
	b->told = told;
	for (size_t i = 0; i < n && !err; i++) {
		k = read_line(s, &b->place, root_fd, lines[i], &b->put[b->n],
			      why);
		if (k < 0)
			told->line(told->arg, i, k, why);
		if (k > 0)
			b->of[b->n++] = i;
		if (b->n == BATCH)
			err = put_batch(b, lines);
	}
	if (!err)
		err = put_batch(b, lines);
	free(b);
	return err;
}
