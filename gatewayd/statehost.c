/* SPDX-License-Identifier: MIT */
/*
 * The files of a share, by handle; see statehost.h.  A handle is of a file
 * system, so a directory of each that is mounted below the root is open.
 */
#include "config.h"

#include "gatewayd/statehost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct state_mount {
	struct cf_state_fs *fs;
	int fd;
};

/* The path of an open file, as the kernel has it. */
static int
path_of(int fd, char path[PATH_MAX])
{
	char name[40];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, path, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return 0;
}

/* What follows the root in `path`, "" for the root itself, or NULL. */
static const char *
below(const struct state_host *h, const char *path)
{
	size_t n = strlen(h->root);

	if (n == 1)
		n = 0;		/* "/" */
	if (strncmp(path, h->root, n) || (path[n] && path[n] != '/'))
		return NULL;
	return path + n + (path[n] == '/');
}

/* Takes `fd`. */
static int
add_mount(struct state_host *h, int fd)
{
	struct state_mount *v;
	struct cf_state_fs *fs;
	int err = cf_state_fs(h->state, fd, &fs);

	for (size_t i = 0; !err && i < h->nmounts; i++)
		if (h->mounts[i].fs == fs)
			err = -EEXIST;
	v = err ? NULL : realloc(h->mounts, (h->nmounts + 1) * sizeof(*v));
	if (!v) {
		close(fd);
		return err ? err : -ENOMEM;
	}
	v[h->nmounts++] = (struct state_mount){ fs, fd };
	h->mounts = v;
	return 0;
}

/* \ooo becomes the byte. */
static void
unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				       (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* A line of mountinfo; what is not below the root, or no directory, is left
 * out.  Waiting autofs mounts are not woken. */
static void
look_at_mount(struct state_host *h, char *line)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	char point[PATH_MAX];
	const char *rest;
	long fd;

	if (strstr(line, " - autofs ") ||
	    sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1)
		return;
	unescape(point);
	rest = below(h, point);
	if (!rest || !*rest)
		return;
	fd = syscall(SYS_openat2, h->root_fd, rest, &how, sizeof(how));
	if (fd >= 0)
		(void)add_mount(h, (int)fd);
}

static void
look_at_mounts(struct state_host *h)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0)
		look_at_mount(h, line);
	free(line);
	if (f)
		fclose(f);
}

static bool
may_open(int fd)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount_id, again;

	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH))
		return false;
	again = open_by_handle_at(fd, &u.h, O_PATH | O_CLOEXEC);
	if (again >= 0)
		close(again);
	return again >= 0;
}

int
state_host_init(struct state_host *h, struct cf_state *state, int root_fd)
{
	int fd, err;

	memset(h, 0, sizeof(*h));
	h->state = state;
	h->root_fd = root_fd;
	err = path_of(root_fd, h->root);
	if (err)
		return err;
	fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	h->by_handle = may_open(fd);
	err = add_mount(h, fd);
	if (!err)
		look_at_mounts(h);
	return err;
}

void
state_host_fini(struct state_host *h)
{
	for (size_t i = 0; i < h->nmounts; i++)
		close(h->mounts[i].fd);
	free(h->mounts);
}

int
state_host_open(void *arg, struct cf_state_fs *fs,
		const struct file_handle *handle)
{
	struct state_host *h = arg;
	int fd;

	for (size_t i = 0; i < h->nmounts; i++) {
		if (h->mounts[i].fs != fs)
			continue;
		/* It is not written to: the header lacks a const. */
		fd = open_by_handle_at(h->mounts[i].fd,
				       (struct file_handle *)(uintptr_t)handle,
				       O_PATH | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	return -EXDEV;
}

/* A file that was opened by handle may have a path that is not true: the
 * kernel knows only names that somebody has looked up. */
int
state_host_path(void *arg, int fd, char *path)
{
	struct state_host *h = arg;
	struct stat is, there;
	const char *rest;
	int err = path_of(fd, path);

	if (err)
		return err;
	rest = below(h, path);
	if (!rest)
		return -ENOENT;
	memmove(path, *rest ? rest : ".", strlen(*rest ? rest : ".") + 1);
	if (fstat(fd, &is) ||
	    fstatat(h->root_fd, path, &there, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return is.st_dev == there.st_dev && is.st_ino == there.st_ino ?
		       0 : -ENOENT;
}
