/* SPDX-License-Identifier: MIT */
/* OPEN, CREATE, READ, WRITE, RELEASE and the others on open files. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static char data[1 << 20], file[2 << 20];

static void
fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(seed = seed * 1103515245 + 12345);
}

static void
test_read_write(struct fc *c, size_t piece)
{
	uint64_t fh;
	int64_t id = fc_create(c, 1, "rw", O_RDWR, 0644, &fh);
	bool same = true;
	int fd;

	c->piece = piece;
	fill(data, sizeof(data), 1);
	is_int(fc_write(c, (uint64_t)id, fh, 0, data, sizeof(data), 0),
	       sizeof(data), "write 1 MiB (pieces of %zu)", piece);
	is_int(fc_write(c, (uint64_t)id, fh, 1000000, data, 70000, 0), 70000,
	       "write beyond the end");
	fd = openat(c->fd, "rw", O_RDONLY | O_CLOEXEC);
	is_int(read(fd, file, sizeof(file)), 1070000, "the host sees it");
	close(fd);
	ok(!memcmp(file, data, 1000000) && !memcmp(file + 1000000, data, 70000),
	   "as it was written");
	for (uint64_t off = 0; off < 1070000; off += 77777) {
		size_t left = 1070000 - off, want = left < 77777 ? left : 77777;

		same = same && fc_read(c, (uint64_t)id, fh, off, 77777) ==
				       (ssize_t)want &&
		       !memcmp(c->out, file + off, want);
	}
	ok(same, "and so does the guest");
	is_int(fc_read(c, (uint64_t)id, fh, 0, 1 << 20), 1 << 20, "read 1 MiB");
	ok(!memcmp(c->out, file, 1 << 20), "data");
	is_int(fc_read(c, (uint64_t)id, fh, 1 << 20, 1 << 20),
	       1070000 - (1 << 20), "short at the end");
	is_int(fc_read(c, (uint64_t)id, fh, 2 << 20, 100), 0, "0 beyond it");
	is_int(fc_read(c, (uint64_t)id, fh, UINT64_MAX - 5, 100), -EINVAL,
	       "no offset beyond 2^63");
	is_int(fc_read(c, (uint64_t)id, fh, 0, UINT32_MAX), 1070000,
	       "the room limits a read");
	c->room = 16 + 10;
	is_int(fc_read(c, (uint64_t)id, fh, 0, 4096), 10, "however small");
	c->room = 0;
	is_int(fc_release(c, (uint64_t)id, fh), 0, "release");
	is_int(fc_read(c, (uint64_t)id, fh, 0, 10), -EBADF, "once");
	is_int(fc_release(c, (uint64_t)id, fh), -EBADF, "only");
	is_int(fc_release(c, (uint64_t)id, 0), 0, "0 is harmless");
	fc_unlink(c, 1, "rw");
	c->piece = 0;
}

/* What the guest's file is at the moment counts, not how it was opened. */
static void
test_append(struct fc *c, uint64_t id)
{
	static const uint32_t opened[] = { O_APPEND, 0 };
	bool disk = strncmp(c->dir, "/dev/shm", 8);
	struct stat st;

	for (size_t i = 0; i < 2; i++) {
		uint64_t fh = (uint64_t)fc_open(c, id, O_WRONLY | opened[i]);

		fc_file(c, "a", "hello");
		c->file_flags = O_WRONLY | O_APPEND;
		is_int(fc_write(c, id, fh, 0, "!!", 2, 0), 2,
		       "O_APPEND, opened with%s", i ? "out" : "");
		fc_stat(c, "a", &st);
		is_int(st.st_size, 7, "appends");
		is_int(fc_write(c, id, fh, 0, "H", 1, FUSE_WRITE_CACHE), 1,
		       "a page of the cache");
		fc_stat(c, "a", &st);
		is_int(st.st_size, 7, "does not");
		c->file_flags = O_WRONLY;
		is_int(fc_write(c, id, fh, 0, "J", 1, 0), 1, "O_APPEND ended");
		fc_stat(c, "a", &st);
		is_int(st.st_size, 7, "does not, either");
		ok(!c->deferred, "a plain write waits for no disk");
		c->file_flags = O_WRONLY | O_DSYNC;
		is_int(fc_write(c, id, fh, 0, "K", 1, 0), 1, "O_DSYNC");
		ok(c->deferred == disk, "does");
		c->file_flags = 0;
		fc_release(c, id, fh);
	}
}

static void
test_open(struct fc *c)
{
	uint64_t id, other;
	int64_t fh;
	struct stat st;

	fc_file(c, "a", "hello");
	fc_file(c, "b", "");
	id = (uint64_t)fc_lookup(c, 1, "a");
	other = (uint64_t)fc_lookup(c, 1, "b");
	fh = fc_open(c, id, O_RDONLY);
	is_int(fc_write(c, id, (uint64_t)fh, 0, "x", 1, 0), -EBADF,
	       "no write through a handle for reading");
	is_int(fc_read(c, other, (uint64_t)fh, 0, 1), -EBADF,
	       "a handle belongs to its node");
	is_int(fc_readdir(c, id, (uint64_t)fh, 0, 4096, false), -ENOTDIR,
	       "a file is no directory");
	fc_release(c, id, (uint64_t)fh);
	test_append(c, id);
	fh = fc_open(c, id, O_RDWR | O_TRUNC);
	ok(fh > 0, "O_TRUNC");
	fc_stat(c, "a", &st);
	is_int(st.st_size, 0, "truncates");
	fc_release(c, id, (uint64_t)fh);
	is_int(fc_open(c, 1, O_RDONLY), -EISDIR, "OPEN of a directory");
	is_int(fc_opendir(c, id), -ENOTDIR, "OPENDIR of a file");
	is_int(fc_open(c, 999, O_RDONLY), -ESTALE, "OPEN of nothing");
}

static void
test_create(struct fc *c)
{
	uint64_t fh, id;
	struct stat st;
	int64_t n;

	n = fc_create(c, 1, "new", O_RDWR | O_EXCL, 0640, &fh);
	ok(n > 1, "CREATE");
	fc_stat(c, "new", &st);
	is_int(st.st_mode, S_IFREG | 0640, "mode");
	is_int(fc_lookup(c, 1, "new"), n, "the node is known");
	is_int(fc_write(c, (uint64_t)n, fh, 0, "data", 4, 0), 4, "and open");
	fc_release(c, (uint64_t)n, fh);
	is_int(fc_create(c, 1, "new", O_RDWR | O_EXCL, 0640, NULL), -EEXIST,
	       "O_EXCL");
	is_int(fc_create(c, 1, "new", O_RDWR, 0640, &fh), n,
	       "without it the file is opened");
	is_int(fc_read(c, (uint64_t)n, fh, 0, 10), 4, "as it is");
	fc_release(c, (uint64_t)n, fh);
	is_int(fc_create(c, 1, "new", O_RDWR | O_TRUNC, 0640, NULL), n,
	       "O_TRUNC");
	fc_stat(c, "new", &st);
	is_int(st.st_size, 0, "truncates");
	symlinkat("new", c->fd, "to-new");
	is_int(fc_create(c, 1, "to-new", O_RDWR, 0640, NULL), -ENXIO,
	       "a link is not followed");
	id = (uint64_t)fc_mkdir(c, 1, "dir", 0755);
	is_int(fc_create(c, 1, "dir", O_RDWR, 0640, NULL), -EISDIR,
	       "a directory is not opened");
	n = fc_call(c, FUSE_TMPFILE, id,
		    &(struct fuse_create_in){ .flags = O_RDWR, .mode = 0600 },
		    sizeof(struct fuse_create_in), "#1", NULL);
	ok(n == sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out) ||
	   n == -EOPNOTSUPP, "TMPFILE");
}

static void
test_others(struct fc *c)
{
	struct fuse_fallocate_in fa = { .length = 100000 };
	struct fuse_lseek_in seek = { .whence = SEEK_HOLE };
	struct fuse_copy_file_range_in cp = { 0 };
	struct fuse_fsync_in sync = { 0 };
	struct fuse_flush_in flush = { 0 };
	uint64_t fh, fh2, id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0644,
						   &fh);
	uint64_t id2 = (uint64_t)fc_create(c, 1, "g", O_RDWR, 0644, &fh2);
	struct fuse_write_out wrote;
	struct fuse_attr a;

	fa.fh = seek.fh = sync.fh = flush.fh = cp.fh_in = fh;
	fc_write(c, id, fh, 0, "hello", 5, 0);
	is_int(fc_call(c, FUSE_FSYNC, id, &sync, sizeof(sync), NULL, NULL), 0,
	       "FSYNC");
	ok(c->deferred || !strncmp(c->dir, "/dev/shm", 8),
	   "goes to the pool on a disk");
	is_int(fc_call(c, FUSE_FLUSH, id, &flush, sizeof(flush), NULL, NULL),
	       0, "FLUSH");
	ok(!c->deferred, "has nothing to do");
	is_int(fc_call(c, FUSE_LSEEK, id, &seek, sizeof(seek), NULL, NULL), 8,
	       "LSEEK");
	is_int(fc_call(c, FUSE_FALLOCATE, id, &fa, sizeof(fa), NULL, NULL), 0,
	       "FALLOCATE");
	fc_getattr(c, id, &a);
	is_int(a.size, 100000, "size");
	cp.nodeid_out = id2;
	cp.fh_out = fh2;
	cp.len = UINT64_MAX;
	is_int(fc_call(c, FUSE_COPY_FILE_RANGE, id, &cp, sizeof(cp), NULL,
		       NULL), 8, "COPY_FILE_RANGE");
	memcpy(&wrote, c->out, sizeof(wrote));
	is_int(wrote.size, 100000, "copies");
	is_int(fc_call(c, FS_OP_COPY_FILE_RANGE_64, id, &cp, sizeof(cp), NULL,
		       NULL), 8, "COPY_FILE_RANGE_64");
	cp.nodeid_out = id;
	is_int(fc_call(c, FUSE_COPY_FILE_RANGE, id, &cp, sizeof(cp), NULL,
		       NULL), -EBADF, "only to the handle's own node");
	is_int(fc_call(c, FUSE_SYNCFS, 1, &(uint64_t){ 0 }, 8, NULL, NULL), 0,
	       "SYNCFS");
	is_int(fc_call(c, FUSE_ACCESS, id, &(uint64_t){ R_OK }, 8, NULL, NULL),
	       0, "ACCESS");
	is_int(fc_call(c, FUSE_SETUPMAPPING, id, &fa, sizeof(fa), NULL, NULL),
	       -ENOSYS, "what is not there yet");
	is_int(fc_call(c, 7, id, &fa, sizeof(fa), NULL, NULL), -ENOSYS,
	       "what never was");
	is_int(fc_call(c, 1000000, id, &fa, sizeof(fa), NULL, NULL), -ENOSYS,
	       "what cannot be");
	fc_release(c, id, fh);
	fc_release(c, id2, fh2);
}

static void
test_links(struct fc *c)
{
	struct fuse_link_in in = { 0 };
	uint64_t id, dir;

	fc_file(c, "one", "1");
	id = (uint64_t)fc_lookup(c, 1, "one");
	dir = (uint64_t)fc_mkdir(c, 1, "links", 0755);
	in.oldnodeid = id;
	is_int(fc_call(c, FUSE_LINK, dir, &in, sizeof(in), "two", NULL),
	       sizeof(struct fuse_entry_out), "LINK");
	is_int(fc_lookup(c, dir, "two"), id, "is the same node");
	in.oldnodeid = dir;
	is_int(fc_call(c, FUSE_LINK, 1, &in, sizeof(in), "x", NULL), -EPERM,
	       "not of directories");
	is_int(fc_call(c, FUSE_SYMLINK, dir, NULL, 0, "s", "a/target"),
	       sizeof(struct fuse_entry_out), "SYMLINK");
	id = (uint64_t)fc_lookup(c, dir, "s");
	is_int(fc_call(c, FUSE_READLINK, id, NULL, 0, NULL, NULL), 8,
	       "READLINK");
	ok(!memcmp(c->out, "a/target", 8), "target");
	c->room = 16 + 7;
	is_int(fc_call(c, FUSE_READLINK, id, NULL, 0, NULL, NULL),
	       -ENAMETOOLONG, "never cut");
	c->room = 0;
	is_int(fc_call(c, FUSE_READLINK, dir, NULL, 0, NULL, NULL), -EINVAL,
	       "not of directories");
	is_int(fc_rename(c, dir, "two", 1, "three", 1), 0, "RENAME2");
	is_int(fc_rename(c, 1, "three", 1, "one", 1), -EEXIST, "NOREPLACE");
	is_int(fc_rename(c, 1, "one", dir, "s", 2), 0, "EXCHANGE");
	is_int(fc_rename(c, 1, "one", dir, "s", 64), -EINVAL, "no other flag");
	is_int(fc_call(c, FUSE_RENAME, 1, &(uint64_t){ dir }, 8, "three", "s"),
	       0, "RENAME");
	is_int(fc_rmdir(c, 1, "links"), -ENOTEMPTY, "RMDIR of a full one");
	is_int(fc_unlink(c, 1, "links"), -EISDIR, "UNLINK of a directory");
	is_int(fc_unlink(c, dir, "s"), 0, "UNLINK");
	is_int(fc_rmdir(c, 1, "links"), 0, "RMDIR");
	is_int(fc_mkdir(c, dir, "x", 0755), -ESTALE, "no name in what is gone");
}

static void
test_limit(void)
{
	struct fc *c = fc_new(NULL), *d;
	int64_t fh[40], n = 0;
	uint64_t id;

	c->set.max_open_files = 16;
	fc_file(c, "f", "");
	fc_start(c);
	id = (uint64_t)fc_lookup(c, 1, "f");
	while (n < 40 && (fh[n] = fc_open(c, id, O_RDONLY)) > 0)
		n++;
	is_int(n, 16, "max_open_files");
	is_int(fh[n], -ENFILE, "then ENFILE");
	is_int(fc_create(c, 1, "g", O_RDWR, 0644, NULL), -ENFILE, "CREATE too");
	is_int(fc_lookup(c, 1, "g"), -ENOENT, "makes nothing then");
	fc_release(c, id, (uint64_t)fh[0]);
	ok(fc_open(c, id, O_RDONLY) > 0, "until one is closed");
	d = fc_guest(c);
	fc_init(d, 38, FC_ALL_FLAGS);
	is_int(fc_lookup(d, 1, "f") > 1, 1, "another guest is served");
	fc_end(d);
	fc_free(c);
}

static void
test_describe(void)
{
	struct fuse_in_header h = { .opcode = FUSE_MKDIR, .unique = 4412,
				    .nodeid = 982 };
	struct fuse_mkdir_in in = { .mode = 0755 };
	char req[100], line[200];
	struct iovec v = { .iov_base = req };
	struct fs_req r = { .in = &v, .nin = 1 };

	h.len = sizeof(h) + sizeof(in) + 5;
	memcpy(req, &h, sizeof(h));
	memcpy(req + sizeof(h), &in, sizeof(in));
	memcpy(req + sizeof(h) + sizeof(in), "n\"\nw", 5);
	v.iov_len = r.in_len = h.len;
	fs_describe(&r, line, sizeof(line));
	is_str(line, "u=4412 > MKDIR n=982 \"n\\042\\012w\" mode=0755",
	       "a trace line");
	is_int(fs_describe(&r, line, 10), 43, "cut, with its whole length");
	is_int(strlen(line), 9, "where it must be");
}

/* In memory nothing waits for a disk, but much of it takes its time. */
static void
test_memory(void)
{
	struct fuse_fallocate_in fa = { .length = 4096 };
	struct fuse_copy_file_range_in cp = { .len = 4096 };
	struct fc *c = fc_new("/dev/shm");
	uint64_t fh, id;

	fc_start(c);
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0644, &fh);
	fa.fh = cp.fh_in = cp.fh_out = fh;
	cp.nodeid_out = id;
	cp.off_out = 1 << 30;
	ok(!fc_call(c, FUSE_FALLOCATE, id, &fa, sizeof(fa), NULL, NULL) &&
	   !c->deferred, "FALLOCATE of a page in memory is done at once");
	fa.length = 2 << 20;
	ok(!fc_call(c, FUSE_FALLOCATE, id, &fa, sizeof(fa), NULL, NULL) &&
	   c->deferred, "of 2 MiB goes to the pool");
	ok(fc_call(c, FUSE_COPY_FILE_RANGE, id, &cp, sizeof(cp), NULL,
		   NULL) == 8 && !c->deferred, "so is a copy of a page");
	cp.len = 2 << 20;
	ok(fc_call(c, FUSE_COPY_FILE_RANGE, id, &cp, sizeof(cp), NULL,
		   NULL) == 8 && c->deferred, "and of 2 MiB");
	fc_free(c);
}

int
main(void)
{
	struct statfs sf;
	struct fc *c = fc_new(NULL);

	fc_start(c);
	test_read_write(c, 0);
	test_read_write(c, 4096);
	test_read_write(c, 1013);
	test_open(c);
	test_create(c);
	test_others(c);
	test_links(c);
	ok(!c->broken, "replies are exact");
	fc_free(c);
	test_limit();
	if (!statfs("/dev/shm", &sf) && sf.f_type == 0x01021994)
		test_memory();
	test_describe();
	return tap_done();
}
