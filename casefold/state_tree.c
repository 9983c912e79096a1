/* SPDX-License-Identifier: MIT */
/*
 * Rows by walking a tree: where files may not be opened by handle.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "casefold/state_db.h"

enum { DEPTH = 256 };	/* directories within each other; an fd for each */

struct walk {
	struct cf_state *state;
	cf_state_line_fn *put;
	void *arg;
	char path[PATH_MAX];
};

static bool
same_dev(const struct statx *a, const struct statx *b)
{
	return a->stx_dev_major == b->stx_dev_major &&
	       a->stx_dev_minor == b->stx_dev_minor;
}

/* Print the row of an open file, if it has one. */
static int
print_file(struct walk *w, struct cf_state_fs *fs, int fd)
{
	char line[CF_STATE_LINE];
	struct cf_state_row row;
	struct cf_state_file file;
	struct statx stx;
	int n = cf_state_stat(fd, "", &stx);

	if (n)
		return n;
	file = cf_state_file_of(fd, &stx);
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
	int fd, err = cf_state_stat(dir_fd, name, &stx);

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
	err = cf_state_stat(fd, "", &stx);
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
