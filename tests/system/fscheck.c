/* SPDX-License-Identifier: MIT */
/*
 * fscheck [-w] [-m SUB] [-o GROUP] DIR [HOST]: what a program may expect of a
 * file system, one named check each, as TAP.  DIR is on the file system; HOST, if given, is the same
 * directory by another way, where what was done must be seen.  Run on a local
 * file system it shows that a check asks for the right thing.
 *
 * With -w, the guest keeps what is written for a while (writeback), and so the
 * server does not tell holes from data.  With -m, what may be expected where
 * another file system is mounted on the directory SUB of DIR, which is the top
 * of one itself.
 *
 * A check that the file system below cannot pass (it says EOPNOTSUPP) is
 * skipped.  Files, directories, locks and users have files of
 * their own.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/system/fscheck.h"
#include "tests/tap.h"

int fscheck_host = -1;
bool fscheck_writeback;

void
put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (write(fd, text, strlen(text)) < 0)
		perror(name);
	close(fd);
}

struct stat
look(const char *name)
{
	struct stat st;

	memset(&st, 0, sizeof(st));
	lstat(name, &st);
	return st;
}

/* ------------------------------------------------------------------ */
/* Times. */

static bool
later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec ||
	       (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

/* What else changes the times of a file, and of its directory. */
static void
touched(void)
{
	struct stat file, dir, st;

	mkdir("td", 0755);
	put("td/f", "x");
	file = look("td/f");
	dir = look("td");
	usleep(20000);
	is_int(E(link("td/f", "td/g")), 0, "times: link");
	st = look("td/f");
	ok(later(st.st_ctim, file.st_ctim) &&
	   !later(st.st_mtim, file.st_mtim), "times: changes the file's ctime");
	ok(later(look("td").st_mtim, dir.st_mtim),
	   "times: and the directory's mtime");
	dir = look("td");
	usleep(20000);
	is_int(E(rename("td/g", "td/h")), 0, "times: rename");
	ok(later(look("td").st_mtim, dir.st_mtim), "times: changes it, too");
	file = look("td/f");
	dir = look("td");
	usleep(20000);
	is_int(E(unlink("td/h")), 0, "times: unlink");
	ok(later(look("td/f").st_ctim, file.st_ctim) &&
	   later(look("td").st_mtim, dir.st_mtim), "times: changes both");
}

static void
times(void)
{
	struct timespec ts[2] = { { 1000000000, 123456789 },
				  { 2000000000, 987654321 } };
	struct stat st, before;

	put("t", "x");
	utimensat(AT_FDCWD, "t", ts, 0);
	st = look("t");
	ok(st.st_atim.tv_nsec == 123456789 && st.st_mtim.tv_nsec == 987654321,
	   "times: nanoseconds");
	ok(st.st_atim.tv_sec == 1000000000 && st.st_mtim.tv_sec == 2000000000,
	   "times: seconds");
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_nsec = UTIME_NOW;
	utimensat(AT_FDCWD, "t", ts, 0);
	st = look("t");
	is_int(st.st_atim.tv_sec, 1000000000, "times: UTIME_OMIT");
	ok(st.st_mtim.tv_sec > 1500000000 && st.st_mtim.tv_sec != 2000000000,
	   "times: UTIME_NOW");
	ts[0] = ts[1] = (struct timespec){ -5, 0 };
	utimensat(AT_FDCWD, "t", ts, 0);
	is_int(look("t").st_mtim.tv_sec, -5, "times: before 1970");
	before = look("t");
	usleep(20000);
	chmod("t", 0600);
	st = look("t");
	ok(st.st_ctim.tv_sec > before.st_ctim.tv_sec ||
	   st.st_ctim.tv_nsec > before.st_ctim.tv_nsec,
	   "times: chmod changes ctime");
	is_int(st.st_mtim.tv_sec, -5, "times: but not mtime");
	before = look("t");
	usleep(20000);
	put("t", "changed");
	ok(look("t").st_mtim.tv_sec > 0, "times: a write changes mtime");
	symlink("nowhere", "tl");
	ts[0] = ts[1] = (struct timespec){ 77, 0 };
	is_int(E(utimensat(AT_FDCWD, "tl", ts, AT_SYMLINK_NOFOLLOW)), 0,
	       "times: of a link itself");
	is_int(look("tl").st_mtim.tv_sec, 77, "times: are its own");
	touched();
}

/* ------------------------------------------------------------------ */
/* Names. */

/* A whiteout is left where the file was, unless the host cannot do that. */
static void
whiteout(void)
{
	int err = E(renameat2(AT_FDCWD, "r2", AT_FDCWD, "r4",
			      RENAME_WHITEOUT)), want;

	if (fscheck_host >= 0) {
		put("r5", "");
		want = E(renameat2(fscheck_host, "r5", fscheck_host, "r6",
				   RENAME_WHITEOUT));
		is_int(err, want, "rename: WHITEOUT as on the host");
	}
	if (!err)
		ok(S_ISCHR(look("r2").st_mode) && !look("r2").st_rdev &&
		   look("r4").st_size == 3, "rename: WHITEOUT");
}

static void
renames(void)
{
	put("r1", "one");
	put("r2", "two!");
	is_int(E(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r2", RENAME_NOREPLACE)),
	       -EEXIST, "rename: NOREPLACE");
	is_int(E(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r3", RENAME_NOREPLACE)),
	       0, "rename: NOREPLACE of what is not there");
	is_int(E(renameat2(AT_FDCWD, "r3", AT_FDCWD, "r2", RENAME_EXCHANGE)),
	       0, "rename: EXCHANGE");
	ok(look("r3").st_size == 4 && look("r2").st_size == 3,
	   "rename: both have changed");
	is_int(E(renameat2(AT_FDCWD, "r3", AT_FDCWD, "none",
			   RENAME_EXCHANGE)), -ENOENT,
	       "rename: EXCHANGE wants both");
	is_int(E(renameat2(AT_FDCWD, "r3", AT_FDCWD, "r2",
			   RENAME_EXCHANGE | RENAME_NOREPLACE)), -EINVAL,
	       "rename: not both flags");
	whiteout();
	mkdir("rd", 0755);
	mkdir("rd/in", 0755);
	is_int(E(rename("rd", "rd/in/x")), -EINVAL, "rename: into itself");
	is_int(E(rename("r3", "rd")), -EISDIR, "rename: a file to a directory");
	is_int(E(rename("rd", "r3")), -ENOTDIR,
	       "rename: a directory to a file");
	mkdir("re", 0755);
	is_int(E(rename("re", "rd")), -ENOTEMPTY, "rename: onto a full one");
}

static void
links(void)
{
	put("l1", "text");
	is_int(E(link("l1", "l2")), 0, "link");
	ok(look("l1").st_ino == look("l2").st_ino && look("l1").st_nlink == 2,
	   "link: one file of two names");
	put("l2", "longer text");
	is_int(look("l1").st_size, 11, "link: changed under both");
	unlink("l1");
	is_int(look("l2").st_nlink, 1, "link: one name is left");
	is_int(E(link("l2", "l2")), -EEXIST, "link: a name that is taken");
	mkdir("ld", 0755);
	is_int(E(link("ld", "lx")), -EPERM, "link: not of a directory");
	symlink("l2", "ls");
	is_int(E(linkat(AT_FDCWD, "ls", AT_FDCWD, "ls2", 0)), 0,
	       "link: of a symbolic link");
	ok(S_ISLNK(look("ls2").st_mode), "link: which it is, too");
}

static void
deleted(void)
{
	int fd = open("gone", O_RDWR | O_CREAT | O_TRUNC, 0644);
	struct stat st;
	char buf[8] = "";

	write(fd, "still", 5);
	unlink("gone");
	is_int(pread(fd, buf, 5, 0), 5, "deleted: an open file can be read");
	is_int(pwrite(fd, "here", 4, 5), 4, "deleted: and written");
	is_int(E(ftruncate(fd, 7)), 0, "deleted: and truncated");
	is_int(E(fchmod(fd, 0600)), 0, "deleted: and changed");
	fstat(fd, &st);
	ok(st.st_size == 7 && st.st_nlink == 0 && (st.st_mode & 0777) == 0600,
	   "deleted: and looked at");
	close(fd);
}

static void
special(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), client;
	char buf[4] = "";
	pid_t pid;

	is_int(E(bind(fd, (struct sockaddr *)&sa, sizeof(sa))), 0,
	       "special: a socket");
	listen(fd, 1);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	is_int(E(connect(client, (struct sockaddr *)&sa, sizeof(sa))), 0,
	       "special: to which one connects");
	close(client);
	close(fd);
	is_int(E(mkfifo("fifo", 0644)), 0, "special: a fifo");
	pid = fork();
	if (!pid) {
		fd = open("fifo", O_WRONLY);
		_exit(write(fd, "abc", 3) != 3);
	}
	fd = open("fifo", O_RDONLY);
	is_int(read(fd, buf, 3), 3, "special: through which one speaks");
	close(fd);
	waitpid(pid, NULL, 0);
	if (E(mknod("null", S_IFCHR | 0666, makedev(1, 3))) == 0) {
		ok(S_ISCHR(look("null").st_mode), "special: a device");
		is_int(look("null").st_rdev, makedev(1, 3),
		       "special: with its number");
		mknod("big", S_IFBLK | 0600, makedev(259, 70000));
		is_int(look("big").st_rdev, makedev(259, 70000),
		       "special: a large one");
	} else {
		ok(errno == EPERM, "special: a device may not be made");
	}
}

static void
xattrs(void)
{
	char buf[100];
	int err;

	put("x", "");
	err = E(setxattr("x", "user.name", "value", 5, 0));
	if (err == -EOPNOTSUPP)
		SKIP_CHECK("attributes");
	is_int(err, 0, "attributes: set");
	is_int(getxattr("x", "user.name", buf, 100), 5, "attributes: get");
	ok(!memcmp(buf, "value", 5), "attributes: value");
	is_int(E(getxattr("x", "user.name", buf, 2)), -ERANGE,
	       "attributes: no room");
	is_int(getxattr("x", "user.name", NULL, 0), 5, "attributes: size");
	is_int(listxattr("x", buf, 100), 10, "attributes: list");
	is_int(E(setxattr("x", "user.name", "v", 1, XATTR_CREATE)), -EEXIST,
	       "attributes: XATTR_CREATE");
	is_int(E(removexattr("x", "user.name")), 0, "attributes: remove");
	is_int(E(getxattr("x", "user.name", buf, 100)), -ENODATA,
	       "attributes: gone");
	/* No file system has this one; the next one must work again. */
	is_int(E(setxattr("x", "nobodys.name", "v", 1, 0)), -EOPNOTSUPP,
	       "attributes: of a kind that there is not");
	is_int(E(setxattr("x", "user.again", "v", 1, 0)), 0,
	       "attributes: others work after it");
	mkfifo("xf", 0644);
	is_int(E(setxattr("xf", "user.name", "v", 1, 0)), -EPERM,
	       "attributes: not user's of a fifo");
}

static void
inode_flags(void)
{
	int fd = open("if", O_RDWR | O_CREAT, 0644), flags = 0, err;

	err = E(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	if (err == -ENOTTY || err == -EOPNOTSUPP) {
		close(fd);
		SKIP_CHECK("flags of inodes");
	}
	is_int(err, 0, "inode flags: get");
	flags |= FS_NODUMP_FL;
	is_int(E(ioctl(fd, FS_IOC_SETFLAGS, &flags)), 0, "inode flags: set");
	flags = 0;
	ioctl(fd, FS_IOC_GETFLAGS, &flags);
	ok(flags & FS_NODUMP_FL, "inode flags: are set");
	is_int(E(ioctl(fd, 0x12345678, &flags)), -ENOTTY,
	       "ioctl: an unknown one");
	ok(!ioctl(fd, FS_IOC_GETFLAGS, &flags), "ioctl: and then a known one");
	close(fd);
}

static void
statfs_(void)
{
	struct statvfs a, b;

	if (fscheck_host < 0)
		return;
	statvfs(".", &a);
	fstatvfs(fscheck_host, &b);
	ok(a.f_blocks * a.f_frsize == b.f_blocks * b.f_frsize,
	   "statfs: the host's size");
	is_int(a.f_namemax, b.f_namemax, "statfs: length of names");
	is_int(E(syncfs(open(".", O_RDONLY))), 0, "syncfs");
}

static void
names_of_files(void)
{
	renames();
	links();
	deleted();
	special();
}

static void
others(void)
{
	xattrs();
	inode_flags();
	statfs_();
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "times", times },
	{ "files", fscheck_files },
	{ "names", names_of_files },
	{ "others", others },
	{ "dirs", fscheck_dirs },
	{ "locks", fscheck_locks },
	{ "users", fscheck_users },
};

int
main(int argc, char **argv)
{
	const char *sub = NULL, *only = NULL;
	int opt;

	while ((opt = getopt(argc, argv, "m:o:w")) != -1) {
		if (opt == 'm')
			sub = optarg;
		else if (opt == 'o')
			only = optarg;
		else if (opt == 'w')
			fscheck_writeback = true;
		else
			return 2;
	}
	argv += optind;
	argc -= optind;
	if (argc > 1)
		fscheck_host = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (argc < 1 || chdir(argv[0])) {
		fprintf(stderr, "usage: fscheck [-w] [-m SUB] [-o GROUP] "
				"DIR [HOST]\n");
		return 2;
	}
	umask(022);
	alarm(300);
	if (sub) {
		fscheck_mounts(sub);
		return tap_done();
	}
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (!only || !strcmp(only, groups[i].name))
			groups[i].run();
	}
	return tap_done();
}
