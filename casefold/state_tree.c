/* SPDX-License-Identifier: MIT */
/*
 * Rows by walking a tree, and by the path in a line: where files may not be
 * opened by handle, and where a copy of a tree gets what its model had.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "casefold/state_db.h"

enum { DEPTH = 256 };	/* directories within each other; an fd for each */

struct walk {
	struct cf_state *state;
	cf_state_line_fn *put;
	void *arg;
	char path[PATH_MAX];
};

static int
stat_fd(int fd, const char *name, struct statx *stx)
{
	return statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
		     STATX_BASIC_STATS | STATX_BTIME, stx) ? -errno : 0;
}

static bool
same_dev(const struct statx *a, const struct statx *b)
{
	return a->stx_dev_major == b->stx_dev_major &&
	       a->stx_dev_minor == b->stx_dev_minor;
}

static struct cf_state_file
file_of(int fd, const struct statx *stx)
{
	return (struct cf_state_file){
		.ino = stx->stx_ino,
		.btime_ns = stx->stx_mask & STATX_BTIME ?
				    stx->stx_btime.tv_sec * 1000000000ll +
					    stx->stx_btime.tv_nsec : 0,
		.fd = fd,
	};
}

/* Print the row of an open file, if it has one. */
static int
print_file(struct walk *w, struct cf_state_fs *fs, int fd)
{
	char line[CF_STATE_LINE];
	struct cf_state_row row;
	struct cf_state_file file;
	struct statx stx;
	int n = stat_fd(fd, "", &stx);

	if (n)
		return n;
	file = file_of(fd, &stx);
	n = cf_state_find(fs, &file, &row);
	if (n <= 0)
		return n;
	cf_state_print(*w->path ? w->path : ".", &row, line, sizeof(line));
	return w->put(w->arg, line);
}

static int walk_dir(struct walk *w, struct cf_state_fs *fs, int fd,
		    const struct statx *dir, int depth);

/* What cannot be reached has a line that says so. */
static int
complain(struct walk *w, int err)
{
	char line[CF_STATE_LINE];

	snprintf(line, sizeof(line), "# %.*s: %s", PATH_MAX, w->path,
		 strerror(-err));
	for (char *p = line; (p = strchr(p, '\n'));)
		*p = '?';
	return w->put(w->arg, line);
}

static int
walk_entry(struct walk *w, struct cf_state_fs *fs, int dir_fd,
	   const struct statx *dir, const char *name, int depth)
{
	struct statx stx;
	bool isdir;
	int fd, err = stat_fd(dir_fd, name, &stx);

	if (err)
		return err == -ENOENT ? 0 : complain(w, err);
	isdir = S_ISDIR(stx.stx_mode);
	if (!isdir && (!same_dev(&stx, dir) || !cf_state_maybe(fs,
							      stx.stx_ino)))
		return 0;
	fd = openat(dir_fd, name, O_NOFOLLOW | O_CLOEXEC |
		    (isdir ? O_RDONLY | O_DIRECTORY : O_PATH));
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
		       complain(w, -errno);
	if (isdir && depth == DEPTH)
		err = complain(w, -EMLINK);
	else if (isdir)
		err = walk_dir(w, fs, fd, dir, depth + 1);
	else
		err = print_file(w, fs, fd);
	close(fd);
	return err;
}

/* With `fs` of the directory above, which is `up`. */
static int
walk_dir(struct walk *w, struct cf_state_fs *fs, int fd,
	 const struct statx *up, int depth)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), err;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	size_t len = strlen(w->path), n;
	struct statx stx;
	struct dirent *e;

	if (!d) {
		if (copy >= 0)
			close(copy);
		return -ENOMEM;
	}
	err = stat_fd(fd, "", &stx);
	if (!err && (!up || !same_dev(&stx, up)))
		err = cf_state_fs(w->state, fd, &fs);
	if (!err)
		err = w->put(w->arg, NULL);
	if (!err)
		err = print_file(w, fs, fd);
	while (!err && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		n = (size_t)snprintf(w->path + len, sizeof(w->path) - len,
				     "%s%s", len ? "/" : "", e->d_name);
		err = n < sizeof(w->path) - len ?
			      walk_entry(w, fs, fd, &stx, e->d_name, depth) :
			      complain(w, -ENAMETOOLONG);
		w->path[len] = '\0';
	}
	closedir(d);
	return err;
}

int
cf_state_export_tree(struct cf_state *s, int root_fd, cf_state_line_fn *put,
		     void *arg)
{
	struct walk *w = calloc(1, sizeof(*w));
	int fd, err;

	if (!w)
		return -ENOMEM;
	w->state = s;
	w->put = put;
	w->arg = arg;
	/* A descriptor of its own: it is read from the beginning. */
	fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 ? -errno : walk_dir(w, NULL, fd, NULL, 0);
	if (fd >= 0)
		close(fd);
	free(w);
	return err;
}

/* ------------------------------------------------------------------ */
/* Importing. */

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

static int
record(struct cf_state *s, int root_fd, const char *path, int fd,
       struct cf_state_row *row)
{
	struct cf_state_file file;
	struct cf_state_fs *fs;
	struct statx stx;
	int err = stat_fd(fd, "", &stx), dir;

	if (err)
		return err;
	dir = open_dir_of(root_fd, path, fd, &stx);
	if (dir < 0)
		return dir;
	err = cf_state_fs(s, dir, &fs);
	close(dir);
	if (err)
		return err;
	row->has |= CF_STATE_HOST;
	row->huid = stx.stx_uid;
	row->hgid = stx.stx_gid;
	file = file_of(fd, &stx);
	return cf_state_change(fs, &file, CF_STATE_FACTS | CF_STATE_HOST, row,
			       NULL);
}

int
cf_state_import(struct cf_state *s, int root_fd, const char *line,
		char why[CF_STATE_WHY])
{
	char path[PATH_MAX];
	struct cf_state_row row;
	int err = cf_state_scan(line, path, &row, why), fd;

	if (err <= 0)
		return err;
	fd = open_below(root_fd, path, O_PATH);
	err = fd < 0 ? fd : record(s, root_fd, path, fd, &row);
	if (fd >= 0)
		close(fd);
	if (err)
		snprintf(why, CF_STATE_WHY, "\"%.*s\": %s", CF_STATE_WHY / 2,
			 path, strerror(-err));
	return err;
}
