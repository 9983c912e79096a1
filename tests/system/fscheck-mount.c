/* SPDX-License-Identifier: MIT */
/* fscheck: a file system mounted inside of another. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/system/fscheck.h"
#include "tests/tap.h"

struct list {
	ino_t dot, up;
	int names, subs;
};

static struct list
read_all(const char *path, const char *sub)
{
	struct list l = { 0 };
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, "."))
			l.dot = e->d_ino;
		else if (!strcmp(e->d_name, ".."))
			l.up = e->d_ino;
		else
			l.names++;
		l.subs += !strcmp(e->d_name, sub);
	}
	if (d)
		closedir(d);
	return l;
}

/* Nothing is above the top of a file system, as far as it can tell. */
static void
dots(const char *sub)
{
	struct list top = read_all(".", sub), in = read_all(sub, sub);
	char up[300];

	snprintf(up, sizeof(up), "%s/..", sub);
	ok(top.dot == look(".").st_ino && top.up == top.dot,
	   "mounts: . and .. of the top");
	is_int(top.subs, 1, "mounts: the directory is listed, once");
	ok(in.dot == look(sub).st_ino && in.up == in.dot,
	   "mounts: . and .. of what is mounted");
	is_int(look(up).st_ino, look(".").st_ino, "mounts: .. leads out");
}

static void
copy_to(const char *from, const char *to, const char *words)
{
	static char data[300000], got[sizeof(data)];
	loff_t in = 1000, out = 77;
	int a, b;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i / 251 + i);
	unlink(to);
	a = open(from, O_RDWR | O_CREAT | O_TRUNC, 0644);
	b = open(to, O_RDWR | O_CREAT | O_TRUNC, 0644);
	write(a, data, sizeof(data));
	/* Linux lets few file systems copy from one to another. */
	if (fscheck_host < 0 &&
	    E(copy_file_range(a, &in, b, &out, 1, 0)) == -EXDEV) {
		close(a);
		close(b);
		SKIP_CHECK("copy_file_range");
	}
	while (copy_file_range(a, &in, b, &out, 65536 + 11, 0) > 0)
		;
	is_int(out, (loff_t)sizeof(data) - 1000 + 77,
	       "copy_file_range: %s", words);
	is_int(in, sizeof(data), "copy_file_range: all of it");
	pread(b, got, sizeof(got), 77);
	ok(!memcmp(got, data + 1000, sizeof(data) - 1000),
	   "copy_file_range: its data");
	in = 0;
	is_int(copy_file_range(a, &in, b, &out, 10, 0), 10,
	       "copy_file_range: and some more");
	close(a);
	close(b);
}

void
fscheck_mounts(const char *sub)
{
	struct statvfs here, there;
	char name[300], other[300], third[300];

	snprintf(name, sizeof(name), "%s/name", sub);
	snprintf(other, sizeof(other), "%s/other", sub);
	snprintf(third, sizeof(third), "%s/third", sub);
	dots(sub);
	copy_to("copied", name, "into what is mounted");
	copy_to(name, "copied", "and out of it");
	copy_to(name, other, "and within it");
	is_int(E(rename("copied", other)), -EXDEV, "mounts: rename");
	is_int(E(link("copied", third)), -EXDEV, "mounts: link");
	is_int(E(renameat2(AT_FDCWD, "copied", AT_FDCWD, other,
			   RENAME_EXCHANGE)), -EXDEV, "mounts: exchange");
	is_int(E(rename(name, other)), 0, "mounts: rename within");
	is_int(E(rmdir(sub)), -EBUSY, "mounts: rmdir");
	statvfs(".", &here);
	statvfs(sub, &there);
	ok(here.f_blocks * here.f_frsize != there.f_blocks * there.f_frsize,
	   "mounts: statfs tells each one's size");
	is_int(E(unlink("copied")), 0, "mounts: clean up");
	is_int(E(unlink(other)), 0, "mounts: clean up there");
}
