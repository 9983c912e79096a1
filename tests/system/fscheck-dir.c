/* SPDX-License-Identifier: MIT */
/* fscheck: directories and the names in them. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/fscheck.h"
#include "tests/tap.h"

static void
make(const char *dir, int i)
{
	char name[64];

	snprintf(name, sizeof(name), "%s/f%06d", dir, i);
	close(open(name, O_WRONLY | O_CREAT, 0644));
}

/* Which of f000000.. are seen, how often? */
static unsigned char seen[200000];

static long
note(const struct dirent *e)
{
	int n = e->d_name[0] == 'f' ? atoi(e->d_name + 1) : -1;

	if (n >= 0 && n < (int)sizeof(seen))
		seen[n]++;
	return n;
}

static bool
all_once(int from, int to, int step)
{
	for (int i = from; i < to; i += step)
		if (seen[i] != 1)
			return printf("# %d: %d\n", i, seen[i]), false;
	return true;
}

/* Entries come and go while the directory is read. */
static void
changing(void)
{
	DIR *d;
	struct dirent *e;
	int n = 0;

	mkdir("changing", 0755);
	for (int i = 0; i < 2000; i++)
		make("changing", i);
	memset(seen, 0, sizeof(seen));
	d = opendir("changing");
	while ((e = readdir(d))) {
		char name[64];

		note(e);
		if (n++ % 2)
			continue;
		/* Odd ones go, others come; the even ones are all seen. */
		snprintf(name, sizeof(name), "changing/f%06d", n | 1);
		unlink(name);
		make("changing", 100000 + n);
	}
	closedir(d);
	ok(all_once(0, 2000, 2), "directory: what stays is seen once while "
	   "others come and go");
	memset(seen, 0, sizeof(seen));
	d = opendir("changing");
	while ((e = readdir(d)))
		note(e);
	rewinddir(d);
	make("changing", 199999);
	n = 0;
	while ((e = readdir(d)))
		n += note(e) == 199999;
	closedir(d);
	is_int(n, 1, "directory: rewinddir shows what is new");
}

static void
seeking(void)
{
	DIR *d = opendir("changing");
	long at[64];
	char names[64][256];
	struct dirent *e;
	int n = 0, wrong = 0;

	for (int i = 0; (e = readdir(d)) && n < 64; i++) {
		if (i % 37)
			continue;
		at[n] = telldir(d);
		e = readdir(d);
		if (e)
			snprintf(names[n++], 256, "%s", e->d_name);
	}
	for (int i = n - 1; i >= 0; i--) {
		seekdir(d, at[i]);
		e = readdir(d);
		wrong += !e || strcmp(e->d_name, names[i]);
	}
	closedir(d);
	ok(n > 10 && !wrong, "directory: seekdir to %d places", n);
}

static void
dots(void)
{
	struct stat dot, up, st;
	struct dirent *e;
	ino_t ino[2] = { 0, 0 };
	DIR *d;

	mkdir("dots", 0755);
	d = opendir("dots");
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, "."))
			ino[0] = e->d_ino;
		if (!strcmp(e->d_name, ".."))
			ino[1] = e->d_ino;
	}
	closedir(d);
	stat("dots", &dot);
	stat(".", &up);
	ok(ino[0] == dot.st_ino && ino[1] == up.st_ino, "directory: . and ..");
	stat("dots/..", &st);
	is_int(st.st_ino, up.st_ino, "directory: .. leads up");
	is_int(dot.st_nlink, 2, "directory: links of an empty one");
	mkdir("dots/sub", 0755);
	stat("dots", &dot);
	ok(dot.st_nlink == 3 || dot.st_nlink == 1, "directory: and of another");
	is_int(rmdir("dots") ? -errno : 0, -ENOTEMPTY, "directory: not empty");
	is_int(rmdir("dots/sub/.") ? -errno : 0, -EINVAL, "directory: rmdir .");
	is_int(unlink("dots/sub") ? -errno : 0, -EISDIR, "directory: unlink");
	is_int(rmdir("dots/sub") ? -errno : 0, 0, "directory: rmdir");
}

/* A name may be any bytes but two. */
static void
names(void)
{
	char name[300];
	struct stat st;
	int bad = 0, fd;
	struct dirent *e;
	DIR *d;

	mkdir("names", 0755);
	fd = open("names", O_RDONLY | O_DIRECTORY);
	for (int ch = 1; ch < 256; ch++) {
		snprintf(name, sizeof(name), "a%cb", ch);
		if (ch != '/')
			close(openat(fd, name, O_WRONLY | O_CREAT, 0644));
		bad += ch != '/' && fstatat(fd, name, &st, 0);
	}
	is_int(bad, 0, "names: of any bytes");
	d = opendir("names");
	while ((e = readdir(d)))
		bad += e->d_name[0] == 'a' && strlen(e->d_name) == 3;
	closedir(d);
	is_int(bad, 254, "names: all are listed");
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	ok(openat(fd, name, O_WRONLY | O_CREAT, 0644) >= 0,
	   "names: of 255 bytes");
	name[255] = 'n';
	name[256] = 0;
	is_int(openat(fd, name, O_WRONLY | O_CREAT, 0644) < 0 ? -errno : 0,
	       -ENAMETOOLONG, "names: not of 256");
	close(fd);
}

static void
many(void)
{
	int n = (int)tap_scaled(2000), count = 0;
	struct dirent *e;
	DIR *d;

	if (n > (int)sizeof(seen))
		n = sizeof(seen);
	mkdir("many", 0755);
	for (int i = 0; i < n; i++)
		make("many", i);
	memset(seen, 0, sizeof(seen));
	d = opendir("many");
	while ((e = readdir(d)))
		count += note(e) >= 0;
	closedir(d);
	is_int(count, n, "directory: of many names");
	ok(all_once(0, n, 1), "directory: each once");
}

void
fscheck_dirs(void)
{
	changing();
	seeking();
	dots();
	names();
	many();
}
