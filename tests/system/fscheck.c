/* SPDX-License-Identifier: MIT */
/*
 * fscheck DIR [HOST]: what a program may expect of a file system, one named
 * check each, as TAP.  DIR is on the file system; HOST, if given, is the same
 * directory by another way, where what was done must be seen.  Run on a local
 * file system it shows that a check asks for the right thing.
 *
 * A check that the file system below cannot pass (it says EOPNOTSUPP) is
 * skipped.  Directories, locks and users have files of their own.
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

#define SKIP(words)                                         \
	do {                                                \
		tap_skip(words, "not on this file system"); \
		return;                                     \
	} while (0)

static void
put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (write(fd, text, strlen(text)) < 0)
		perror(name);
	close(fd);
}

/* -errno, or what the call returned. */
#define E(call) ((call) < 0 ? -errno : 0)

/* ------------------------------------------------------------------ */
/* Times. */

static struct stat
look(const char *name)
{
	struct stat st;

	memset(&st, 0, sizeof(st));
	lstat(name, &st);
	return st;
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
}

/* ------------------------------------------------------------------ */
/* Files. */

static void
sparse(void)
{
	int fd = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0644);
	off_t far = 3LL << 40;
	char ch = 'x';
	bool holes;

	pwrite(fd, "data", 4, 1 << 20);
	holes = lseek(fd, 0, SEEK_DATA) != 0;
	if (holes) {
		is_int(lseek(fd, 0, SEEK_DATA), 1 << 20, "sparse: SEEK_DATA");
		is_int(lseek(fd, 0, SEEK_HOLE), 0, "sparse: SEEK_HOLE at once");
		ok(lseek(fd, 1 << 20, SEEK_HOLE) > 1 << 20,
		   "sparse: SEEK_HOLE");
	} else {
		tap_skip("sparse: holes", "not on this file system");
	}
	is_int(E(lseek(fd, 2 << 20, SEEK_DATA)), -ENXIO, "sparse: no data");
	is_int(E(lseek(fd, 2 << 20, SEEK_HOLE)), -ENXIO, "sparse: no hole");
	is_int(pwrite(fd, "5G", 2, 5LL << 30), 2, "beyond 4 GiB: write");
	is_int(pread(fd, &ch, 1, (5LL << 30) + 1), 1, "beyond 4 GiB: read");
	ok(ch == 'G', "beyond 4 GiB: data");
	is_int(pwrite(fd, "3T", 2, far), 2, "beyond 2 TiB: write");
	is_int(look("sparse").st_size, far + 2, "beyond 2 TiB: size");
	ok(look("sparse").st_blocks < 4096, "sparse: takes no room");
	is_int(lseek(fd, 6LL << 30, SEEK_DATA), holes ? far : 6LL << 30,
	       "beyond 2 TiB: SEEK_DATA");
	is_int(E(ftruncate(fd, 1)), 0, "truncate");
	is_int(pread(fd, &ch, 1, 0), 1, "one byte is left");
	close(fd);
}

static void
falloc(void)
{
	int fd = open("fa", O_RDWR | O_CREAT | O_TRUNC, 0644), err;
	char buf[20000];

	memset(buf, 'a', sizeof(buf));
	pwrite(fd, buf, 16384, 0);
	err = E(fallocate(fd, 0, 0, 100000));
	if (err == -EOPNOTSUPP)
		SKIP("fallocate");
	is_int(err, 0, "fallocate");
	is_int(look("fa").st_size, 100000, "fallocate: grows the file");
	is_int(E(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000000)), 0,
	       "fallocate: KEEP_SIZE");
	is_int(look("fa").st_size, 100000, "fallocate: keeps it");
	ok(look("fa").st_blocks * 512 >= 1000000, "fallocate: takes the room");
	err = E(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096,
			  4096));
	is_int(err, 0, "fallocate: PUNCH_HOLE");
	pread(fd, buf, 12288, 0);
	ok(buf[4095] == 'a' && !buf[4096] && !buf[8191] && buf[8192] == 'a',
	   "fallocate: a hole where it was wanted");
	err = E(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 100));
	pread(fd, buf, 200, 0);
	if (err != -EOPNOTSUPP)
		ok(!err && !buf[99] && buf[100] == 'a',
		   "fallocate: ZERO_RANGE");
	is_int(E(fallocate(fd, 0, 0, 0)), -EINVAL, "fallocate: of nothing");
	is_int(E(fallocate(fd, 0x8000, 0, 10)), -EOPNOTSUPP,
	       "fallocate: an unknown mode");
	is_int(E(fallocate(fd, 0, 200000, 10)), 0,
	       "fallocate: works after one that did not");
	close(fd);
}

static void
copy(void)
{
	int from = open("c1", O_RDWR | O_CREAT | O_TRUNC, 0644);
	int to = open("c2", O_RDWR | O_CREAT | O_TRUNC, 0644);
	loff_t in = 10, out = 5;
	char buf[64] = "";
	ssize_t n;

	write(from, "0123456789abcdefghij", 20);
	n = copy_file_range(from, &in, to, &out, 5, 0);
	is_int(n, 5, "copy_file_range");
	pread(to, buf, 10, 0);
	ok(!memcmp(buf, "\0\0\0\0\0abcde", 10), "copy_file_range: data");
	ok(in == 15 && out == 10, "copy_file_range: offsets");
	in = 100;
	is_int(copy_file_range(from, &in, to, &out, 5, 0), 0,
	       "copy_file_range: beyond the end");
	in = 0;
	out = 5;
	is_int(E(copy_file_range(from, &in, from, &out, 10, 0)), -EINVAL,
	       "copy_file_range: onto itself");
	close(from);
	from = open("c1", O_WRONLY);
	in = 0;
	is_int(E(copy_file_range(from, &in, to, &out, 5, 0)), -EBADF,
	       "copy_file_range: from a file to write");
	close(from);
	close(to);
}

static void
open_flags(void)
{
	char buf[16] = "";
	int fd, fd2;

	put("o", "hello");
	fd = open("o", O_WRONLY | O_APPEND);
	fd2 = open("o", O_WRONLY | O_APPEND);
	write(fd, " a", 2);
	write(fd2, " b", 2);
	write(fd, " c", 2);
	close(fd);
	close(fd2);
	fd = open("o", O_RDONLY);
	read(fd, buf, 15);
	close(fd);
	is_str(buf, "hello a b c", "O_APPEND: two who append");
	fd = open("o", O_RDWR | O_TRUNC);
	is_int(look("o").st_size, 0, "O_TRUNC");
	close(fd);
	is_int(E(open("o", O_RDWR | O_CREAT | O_EXCL, 0644)), -EEXIST,
	       "O_EXCL");
	is_int(E(open("o", O_RDONLY | O_DIRECTORY)), -ENOTDIR, "O_DIRECTORY");
	symlink("o", "ol");
	is_int(E(open("ol", O_RDONLY | O_NOFOLLOW)), -ELOOP, "O_NOFOLLOW");
	fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0);
	ok(fd >= 0 && write(fd, "x", 1) == 1,
	   "a file of mode 0 is open to who made it");
	close(fd);
}

/* Parts of a block: EINVAL or as if there were none, but no wrong bytes. */
static void
direct(void)
{
	int fd = open("d", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);
	char *buf = aligned_alloc(4096, 16384);

	if (fd < 0)
		SKIP("O_DIRECT");
	memset(buf, 'd', 16384);
	is_int(pwrite(fd, buf, 16384, 0), 16384, "O_DIRECT: write");
	memset(buf, 0, 16384);
	is_int(pread(fd, buf, 8192, 4096), 8192, "O_DIRECT: read");
	ok(buf[0] == 'd' && buf[8191] == 'd' && !buf[8192], "O_DIRECT: data");
	close(fd);
	fd = open("d", O_RDONLY);
	memset(buf, 0, 16384);
	is_int(read(fd, buf, 16384), 16384, "O_DIRECT: seen by others");
	ok(buf[16383] == 'd', "O_DIRECT: as it was written");
	close(fd);
	free(buf);
}

static void
tmpfile_(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	struct stat st;
	char path[64];

	if (fd < 0 && errno == EOPNOTSUPP)
		SKIP("O_TMPFILE");
	ok(fd >= 0, "O_TMPFILE (%s)", fd < 0 ? strerror(errno) : "made");
	is_int(write(fd, "tmp", 3), 3, "O_TMPFILE: write");
	fstat(fd, &st);
	is_int(st.st_nlink, 0, "O_TMPFILE: has no name");
	is_int(st.st_mode & 0777, 0640 , "O_TMPFILE: mode");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	is_int(E(linkat(AT_FDCWD, path, AT_FDCWD, "named",
			AT_SYMLINK_FOLLOW)), 0, "O_TMPFILE: gets a name");
	is_int(look("named").st_size, 3, "O_TMPFILE: with what was written");
	close(fd);
}

static void
mapped(void)
{
	int fd = open("m", O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *p, buf[10] = "";

	ftruncate(fd, 10000);
	p = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED && errno == ENODEV)
		SKIP("shared maps");
	memcpy(p + 5000, "mapped", 6);
	msync(p, 10000, MS_SYNC);
	pread(fd, buf, 6, 5000);
	is_str(buf, "mapped", "mmap: written through a map");
	pwrite(fd, "direct", 6, 0);
	ok(!memcmp(p, "direct", 6), "mmap: sees what is written");
	munmap(p, 10000);
	close(fd);
}

/* ------------------------------------------------------------------ */
/* Names. */

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
	if (!renameat2(AT_FDCWD, "r2", AT_FDCWD, "r4", RENAME_WHITEOUT))
		ok(S_ISCHR(look("r2").st_mode) && look("r4").st_size == 3,
		   "rename: WHITEOUT");
	else
		ok(errno == EINVAL || errno == EPERM,
		   "rename: WHITEOUT is refused: %s", strerror(errno));
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
		SKIP("attributes");
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
		SKIP("flags of inodes");
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

int
main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1])) {
		fprintf(stderr, "usage: fscheck DIR [HOST]\n");
		return 2;
	}
	if (argc > 2)
		fscheck_host = open(argv[2], O_RDONLY | O_DIRECTORY);
	umask(022);
	alarm(300);
	times();
	sparse();
	falloc();
	copy();
	open_flags();
	direct();
	tmpfile_();
	mapped();
	renames();
	links();
	deleted();
	special();
	xattrs();
	inode_flags();
	statfs_();
	fscheck_dirs();
	fscheck_locks();
	fscheck_users();
	return tap_done();
}
