/* SPDX-License-Identifier: MIT */
/*
 * Which files make up a configuration, and in which order: the main file,
 * conf.d/NAME.conf beside it, what "include" names, the command line.  Each
 * file is read once.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/dirs.h"
#include "conf/load.h"

enum { FILE_SIZE_MAX = 16 << 20 };

/* Which files have been read, by what they are. */
struct seen {
	struct file_id {
		dev_t dev;
		ino_t ino;
	} * v;
	size_t n;
};

/* Why a file is being read. */
enum why {
	BY_NAME, /* -c FILE */
	BY_DEFAULT, /* may be missing */
	BY_CONF_D,
	BY_INCLUDE,
};

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The directory of `file` with its '/', then `name`; allocated. */
static char *
beside(const char *file, const char *name)
{
	const char *slash = strrchr(file, '/');
	int n = slash ? (int)(slash - file + 1) : 0;
	char *s;

	return asprintf(&s, "%.*s%s", n, file, name) < 0 ? NULL : s;
}

/* All of the fd's text; -EFBIG when it does not end. */
static int
read_all(int fd, char **text, size_t *size)
{
	size_t n = 0, room = 0;
	char *buf = NULL;
	ssize_t got = 1;

	while (got > 0) {
		if (n == room) {
			size_t most = room ? 2 * room : 65536;
			char *more = realloc(buf, most);

			if (!more) {
				free(buf);
				return -ENOMEM;
			}
			buf = more;
			room = most;
		}
		do
			got = read(fd, buf + n, room - n);
		while (got < 0 && errno == EINTR);
		if (got < 0) {
			int err = -errno;

			free(buf);
			return err;
		}
		n += (size_t)got;
		if (n > FILE_SIZE_MAX) {
			free(buf);
			return -EFBIG;
		}
	}
	*text = buf;
	*size = n;
	return 0;
}

/* 1 when it was there already, 0 when it is new, -ENOMEM. */
static int
seen_add(struct seen *seen, const struct stat *st)
{
	struct file_id *v;

	for (size_t i = 0; i < seen->n; i++)
		if (seen->v[i].dev == st->st_dev &&
		    seen->v[i].ino == st->st_ino)
			return 1;
	v = realloc(seen->v, (seen->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	seen->v = v;
	v[seen->n++] = (struct file_id){ st->st_dev, st->st_ino };
	return 0;
}

/* Say why a file cannot be read.  `from` is the include's place. */
static void
cannot_read(struct conf_loader *l, const char *name, int err,
	    const struct conf_setting *from)
{
	if (err == -ENOMEM) {
		l->no_memory = true;
		return;
	}
	if (!l->err)
		l->err = err;
	if (from)
		conf_say(l, CONF_ERROR, from->at, l->gateway.name,
			 from->key->name, "%s: %s", name, strerror(-err));
	else
		conf_say(l, CONF_ERROR, (struct conf_at){ l->file, 0 }, NULL,
			 NULL, "cannot be read: %s", strerror(-err));
}

/*
 * Open a file.  Only the file that was named may be a pipe (gatewayd -c
 * /dev/stdin); any other pipe would make us wait for its writer.
 */
static int
open_file(const char *name, enum why why, int *fd, struct stat *st)
{
	int flags = why == BY_NAME ? 0 : O_NONBLOCK;
	int n = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | flags);
	int err = 0;

	if (n < 0)
		return -errno;
	if (fstat(n, st) < 0)
		err = -errno;
	else if (S_ISDIR(st->st_mode))
		err = -EISDIR;
	else if (why != BY_NAME && !S_ISREG(st->st_mode) &&
		 !S_ISCHR(st->st_mode))
		err = -EINVAL;
	if (err) {
		close(n);
		return err;
	}
	*fd = n;
	return 0;
}

/* Read one file, if it was not read before. */
static void
read_file(struct conf_loader *l, struct seen *seen, const char *name,
	  enum why why, const struct conf_setting *from)
{
	char *text = NULL;
	struct stat st;
	size_t size = 0;
	int fd = -1, err, again = 0;

	l->file = conf_files_add(l->files, name, false);
	if (l->file < 0) {
		l->no_memory = true;
		return;
	}
	err = open_file(name, why, &fd, &st);
	if ((err == -ENOENT || err == -ENOTDIR) && why == BY_DEFAULT)
		return;
	if (!err)
		again = seen_add(seen, &st);
	if (again < 0)
		err = again;
	if (!err && !again)
		err = read_all(fd, &text, &size);
	if (fd >= 0)
		close(fd);
	if (again > 0)
		conf_say(l, CONF_WARNING,
			 from ? from->at : (struct conf_at){ l->file, 0 },
			 from ? l->gateway.name : NULL,
			 from ? from->key->name : NULL,
			 "%s has been read before and is not read again", name);
	else if (err)
		cannot_read(l, name, err, from);
	else
		conf_parse_text(l, text, size);
	free(text);
}

static int
is_conf(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return d->d_name[0] != '.' && dot && !strcmp(dot, ".conf");
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
read_conf_d(struct conf_loader *l, struct seen *seen, const char *main_file)
{
	char *dir = beside(main_file, "conf.d"), *name;
	struct dirent **list = NULL;
	int n = dir ? scandir(dir, &list, is_conf, by_bytes) : -1;
	int err = dir ? errno : ENOMEM;

	if (n < 0 && err != ENOENT && err != ENOTDIR) {
		l->file = conf_files_add(l->files, dir ? dir : "conf.d", false);
		cannot_read(l, dir, -err, NULL);
	}
	for (int i = 0; i < n; i++) {
		if (asprintf(&name, "%s/%s", dir, list[i]->d_name) < 0) {
			l->no_memory = true;
		} else {
			read_file(l, seen, name, BY_CONF_D, NULL);
			free(name);
		}
		free(list[i]);
	}
	free(list);
	free(dir);
}

/* One include: a name must exist, a pattern need not match. */
static void
read_include(struct conf_loader *l, struct seen *seen,
	     const struct conf_setting *from)
{
	const char *base = l->files->v[from->at.file].name;
	char *pattern = from->text[0] == '/' ? strdup(from->text)
					     : beside(base, from->text);
	bool is_pattern = strpbrk(from->text, "*?[");
	glob_t g = { 0 };
	int err;

	if (!pattern) {
		l->no_memory = true;
		return;
	}
	if (!is_pattern) {
		read_file(l, seen, pattern, BY_INCLUDE, from);
		free(pattern);
		return;
	}
	err = glob(pattern, GLOB_NOSORT, NULL, &g);
	if (err == GLOB_NOSPACE)
		l->no_memory = true;
	if (!err) {
		qsort(g.gl_pathv, g.gl_pathc, sizeof(*g.gl_pathv),
		      compare_names);
		for (size_t i = 0; i < g.gl_pathc; i++)
			read_file(l, seen, g.gl_pathv[i], BY_INCLUDE, from);
		globfree(&g);
	}
	free(pattern);
}

static struct conf_setting *
next_include(struct conf_loader *l)
{
	const struct conf_key *key = conf_key_get("include");
	struct conf_section *s = &l->gateway;

	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].key == key && !s->v[i].done && !s->v[i].reset)
			return &s->v[i];
	return NULL;
}

/* Included files may include more, or reset the list: so one at a time, from
 * a copy. */
static void
read_includes(struct conf_loader *l, struct seen *seen)
{
	struct conf_setting *set, from;

	while (!l->no_memory && (set = next_include(l)) != NULL) {
		set->done = true;
		from = *set;
		from.text = strdup(set->text);
		if (from.text)
			read_include(l, seen, &from);
		else
			l->no_memory = true;
		free(from.text);
	}
}

static void
read_command_line(struct conf_loader *l, const char *const *shares)
{
	char *name;

	for (; shares && *shares && !l->no_memory; shares++) {
		if (asprintf(&name, "--share %s", *shares) < 0) {
			l->no_memory = true;
			return;
		}
		l->file = conf_files_add(l->files, name, true);
		if (l->file < 0)
			l->no_memory = true;
		else
			conf_parse_share(l, *shares);
		free(name);
	}
}

void
conf_read_source(struct conf_loader *l, const struct conf_source *src)
{
	char *name = src->file ? strdup(src->file) : conf_default_file();
	struct seen seen = { 0 };

	if (!name) {
		l->no_memory = true;
		return;
	}
	read_file(l, &seen, name, src->file ? BY_NAME : BY_DEFAULT, NULL);
	read_conf_d(l, &seen, name);
	read_includes(l, &seen);
	read_command_line(l, src->shares);
	free(seen.v);
	free(name);
}
