/* SPDX-License-Identifier: MIT */
/* fscheck: what is in files, and how they are opened. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/fscheck.h"
#include "tests/tap.h"

static void
sparse(void)
{
	int fd = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0644);
	int host = openat(fscheck_host, "sparse", O_RDONLY);
	off_t far = 3LL << 40;
	char ch = 'x';
	bool holes;

	pwrite(fd, "data", 4, 1 << 20);
	holes = !fscheck_writeback && lseek(fscheck_host < 0 ? fd : host, 0,
					    SEEK_DATA) != 0;
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
	is_int(pread(fd, &ch, 1, far + 1), 1, "beyond 2 TiB: read");
	ok(ch == 'T', "beyond 2 TiB: data");
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
		SKIP_CHECK("fallocate");
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

/* Somebody else has made the file longer than we know. */
static void
append_after_host(int flags, const char *words)
{
	int fd, fd2;
	char buf[64] = "";

	if (fscheck_host < 0 || fscheck_writeback)
		return;
	fd = open("oh", O_RDWR | O_CREAT | O_TRUNC | flags, 0644);
	fcntl(fd, F_SETFL, O_APPEND);
	fd2 = openat(fscheck_host, "oh", O_WRONLY | O_APPEND);
	write(fd, "ours", 4);
	write(fd2, " theirs", 7);
	write(fd, " ours", 5);
	close(fd2);
	fd2 = openat(fscheck_host, "oh", O_RDONLY);
	read(fd2, buf, sizeof(buf) - 1);
	is_str(buf, "ours theirs ours", "O_APPEND: %s", words);
	close(fd);
	close(fd2);
}

static void
append_switched(void)
{
	int fd = open("os", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644);
	char buf[64] = "";

	write(fd, "text", 4);
	fcntl(fd, F_SETFL, 0);
	pwrite(fd, "n", 1, 0);
	fsync(fd);
	close(fd);
	fd = openat(fscheck_host < 0 ? AT_FDCWD : fscheck_host, "os", O_RDONLY);
	read(fd, buf, sizeof(buf) - 1);
	is_str(buf, "next", "O_APPEND: until fcntl ends it");
	close(fd);
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
	fd = open("o", O_RDWR | O_APPEND);
	pwrite(fd, "!", 1, 0);
	pread(fd, buf, 15, 0);
	close(fd);
	is_str(buf, "hello a b c!", "O_APPEND: wherever pwrite wants to");
	append_after_host(O_APPEND, "where the host's file ends");
	append_after_host(0, "if only fcntl says so, too");
	append_switched();
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
		SKIP_CHECK("O_DIRECT");
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

/* What O_DIRECT makes of a place, an address or a length that is no multiple of
 * a block is the file system's choice. */
static const struct unaligned {
	const char *what;
	int address, offset, size;
} unaligned[] = {
	{ "an odd address", 1, 0, 4096 },
	{ "an odd offset", 0, 100, 4096 },
	{ "an odd length", 0, 4096, 100 },
	{ "all odd", 3, 4097, 5001 },
};

static void
direct_unaligned(void)
{
	int fd = open("du", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);
	int plain = open("du", O_RDWR);
	char *buf = aligned_alloc(4096, 32768), *want = malloc(32768);

	if (fd < 0)
		SKIP_CHECK("O_DIRECT: not aligned");
	for (size_t i = 0; i < sizeof(unaligned) / sizeof(*unaligned); i++) {
		const struct unaligned *u = &unaligned[i];
		ssize_t n;

		for (int k = 0; k < 16384; k++)
			want[k] = (char)(k / 7 + k);
		ftruncate(fd, 0);
		pwrite(plain, want, 16384, 0);
		n = pread(fd, buf + u->address, (size_t)u->size, u->offset);
		ok((n < 0 && errno == EINVAL) ||
		   (n == u->size && !memcmp(buf + u->address, want + u->offset,
					    (size_t)n)),
		   "O_DIRECT: read, %s", u->what);
		memset(buf + u->address, 'w', (size_t)u->size);
		n = pwrite(fd, buf + u->address, (size_t)u->size, u->offset);
		ok((n < 0 && errno == EINVAL) || n == u->size,
		   "O_DIRECT: write, %s", u->what);
		if (n > 0)
			memset(want + u->offset, 'w', (size_t)n);
		n = pread(plain, buf, 32768, 0);
		ok(n == 16384 && !memcmp(buf, want, 16384),
		   "O_DIRECT: all bytes are right after it");
	}
	/* The end of a file is in the middle of a block. */
	ftruncate(plain, 5000);
	is_int(pread(fd, buf, 8192, 0), 5000, "O_DIRECT: to the end");
	close(fd);
	close(plain);
	free(buf);
	free(want);
}

static void
tmpfile_(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	struct stat st;
	char path[64];

	if (fd < 0 && errno == EOPNOTSUPP)
		SKIP_CHECK("O_TMPFILE");
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
		SKIP_CHECK("shared maps");
	memcpy(p + 5000, "mapped", 6);
	msync(p, 10000, MS_SYNC);
	pread(fd, buf, 6, 5000);
	is_str(buf, "mapped", "mmap: written through a map");
	pwrite(fd, "direct", 6, 0);
	ok(!memcmp(p, "direct", 6), "mmap: sees what is written");
	munmap(p, 10000);
	close(fd);
}

void
fscheck_files(void)
{
	sparse();
	falloc();
	copy();
	open_flags();
	direct();
	direct_unaligned();
	tmpfile_();
	mapped();
}
