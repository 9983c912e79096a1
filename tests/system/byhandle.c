/* SPDX-License-Identifier: MIT */
/*
 * Handles of files, as an NFS server uses them, for mount-export.sh:
 *
 *	byhandle save LIST FILE...	writes the handles of the files
 *	byhandle open LIST MOUNT	opens each again on that mount: a line of
 *					what it holds or of what went wrong
 *	byhandle list LIST MOUNT	the same for directories: their names, and
 *					the path by which the kernel knows them
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

union handle {
	struct file_handle h;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int
fail(const char *what)
{
	fprintf(stderr, "byhandle: %s: %s\n", what, strerror(errno));
	return 1;
}

static int
save(const char *list, char **names)
{
	FILE *f = fopen(list, "w");

	if (!f)
		return fail(list);
	for (; *names; names++) {
		union handle u = { .h.handle_bytes = MAX_HANDLE_SZ };
		int mount;

		if (name_to_handle_at(AT_FDCWD, *names, &u.h, &mount, 0) < 0)
			return fail(*names);
		if (fwrite(&u, sizeof(u), 1, f) != 1)
			return fail(list);
	}
	return fclose(f) ? fail(list) : 0;
}

static void
show_file(int fd)
{
	char text[256];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	printf("%s\n", n < 0 ? strerror(errno) : text);
	close(fd);
}

static void
show_dir(int fd)
{
	char self[64], path[4096];
	DIR *d = fdopendir(fd);
	struct dirent *e;
	ssize_t n;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	printf("%s:", path);
	while (d && (e = readdir(d)) != NULL) {
		if (e->d_name[0] != '.')
			printf(" %s", e->d_name);
	}
	printf("\n");
	if (d)
		closedir(d);
}

static int
open_all(const char *list, const char *mount, int flags)
{
	int at = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FILE *f = fopen(list, "r");
	union handle u;

	if (at < 0 || !f)
		return fail(at < 0 ? mount : list);
	while (fread(&u, sizeof(u), 1, f) == 1) {
		int fd = open_by_handle_at(at, &u.h, O_RDONLY | flags);

		if (fd < 0)
			printf("%s\n", strerror(errno));
		else if (flags & O_DIRECTORY)
			show_dir(fd);
		else
			show_file(fd);
	}
	fclose(f);
	close(at);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "save"))
		return save(argv[2], argv + 3);
	if (argc == 4 && !strcmp(argv[1], "open"))
		return open_all(argv[2], argv[3], 0);
	if (argc == 4 && !strcmp(argv[1], "list"))
		return open_all(argv[2], argv[3], O_DIRECTORY);
	fprintf(stderr, "usage: byhandle save|open|list LIST FILE...|MOUNT\n");
	return 2;
}
