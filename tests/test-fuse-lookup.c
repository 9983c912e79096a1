/* SPDX-License-Identifier: MIT */
/* LOOKUP, FORGET, GETATTR: nodes, attributes, dots, negative entries. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static void
test_entry(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_entry_out e;
	struct stat st;
	int64_t id;

	fc_start(c);
	fc_file(c, "file", "hello");
	id = fc_lookup(c, 1, "file");
	memcpy(&e, c->out, sizeof(e));
	fc_stat(c, "file", &st);
	ok(id > 1, "a node id");
	is_int(e.attr.ino, st.st_ino, "ino");
	is_int(e.attr.size, 5, "size");
	is_int(e.attr.mode, st.st_mode, "mode");
	is_int(e.attr.uid, st.st_uid, "uid");
	is_int(e.attr.nlink, 1, "nlink");
	is_int(e.attr.mtime, st.st_mtim.tv_sec, "mtime");
	is_int(e.attr.mtimensec, st.st_mtim.tv_nsec, "nanoseconds");
	is_int(e.entry_valid, 1, "one second");
	is_int(fc_lookup(c, 1, "file"), id, "the same node again");
	is_int(fc_info(c).nodes, 1, "one node");
	fc_forget(c, (uint64_t)id, 1);
	is_int(fc_getattr(c, (uint64_t)id, NULL), 0, "one lookup is left");
	fc_forget(c, (uint64_t)id, 1);
	is_int(fc_info(c).nodes, 0, "none is left");
	fc_unlink(c, 1, "file");
	is_int(fc_getattr(c, (uint64_t)id, NULL), -ESTALE, "nor the file");
	fc_file(c, "file", "again");
	ok(fc_lookup(c, 1, "file") != id, "another file is another node");
	fc_forget(c, 1, UINT64_MAX);
	is_int(fc_getattr(c, 1, NULL), 0, "the root is never forgotten");
	fc_forget(c, (uint64_t)id, UINT64_MAX);
	fc_forget(c, 0, 1);
	fc_forget(c, UINT64_MAX, 1);
	is_int(fc_getattr(c, 0, NULL), -ESTALE, "node 0 is nothing");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

static void
test_batch_forget(void)
{
	struct fc *c = fc_new(NULL);
	struct {
		struct fuse_batch_forget_in head;
		struct fuse_forget_one one[3];
	} in = { .head.count = 1000 };

	fc_start(c);
	fc_file(c, "a", "");
	fc_file(c, "b", "");
	in.one[0].nodeid = (uint64_t)fc_lookup(c, 1, "a");
	in.one[0].nlookup = 1;
	in.one[1].nodeid = 12345;
	in.one[1].nlookup = 1;
	in.one[2].nodeid = (uint64_t)fc_lookup(c, 1, "b");
	in.one[2].nlookup = 99;
	fc_call(c, FUSE_BATCH_FORGET, 0, &in, sizeof(in), NULL, NULL);
	is_int(c->reply_len, 0, "BATCH_FORGET has no reply");
	is_int(fc_info(c).nodes, 0, "and a count beyond its end does no harm");
	fc_free(c);
}

static void
test_kinds(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_entry_out e;
	int64_t dir, id;

	fc_start(c);
	fc_file(c, "file", "x");
	mkdirat(c->fd, "dir", 0755);
	symlinkat("/etc/passwd", c->fd, "link");
	mkfifoat(c->fd, "fifo", 0600);
	linkat(c->fd, "file", c->fd, "hard", 0);
	dir = fc_lookup(c, 1, "dir");
	ok(dir > 1, "a directory");
	is_int(fc_lookup(c, 1, "link") > 1, 1, "a link");
	memcpy(&e, c->out, sizeof(e));
	ok(S_ISLNK(e.attr.mode), "is not followed");
	ok(fc_lookup(c, 1, "fifo") > 1, "a fifo");
	id = fc_lookup(c, 1, "file");
	is_int(fc_lookup(c, 1, "hard"), id, "hard links are one node");
	is_int(fc_lookup(c, (uint64_t)id, "x"), -ENOTDIR, "a file has no names");
	is_int(fc_lookup(c, 1, "none"), -ENOENT, "no such name");
	is_int(fc_lookup(c, (uint64_t)dir, "file"), -ENOENT, "nor there");
	is_int(fc_lookup(c, 1, "."), 1, "the root's . is the root");
	is_int(fc_lookup(c, 1, ".."), 1, "and so is its ..");
	is_int(fc_lookup(c, (uint64_t)dir, "."), dir, ". of a directory");
	is_int(fc_lookup(c, (uint64_t)dir, ".."), -EINVAL, "but not ..");
	fc_free(c);
}

static void
test_negative(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_entry_out e;

	c->set.negative_timeout_us = 1500000;
	fc_start(c);
	is_int(fc_lookup(c, 1, "none"), 0, "negative entries by the settings");
	memcpy(&e, c->out, sizeof(e));
	ok(e.entry_valid == 1 && e.entry_valid_nsec == 500000000, "timeout");
	fc_init_windows(c);
	is_int(fc_lookup(c, 1, "none"), -ENOENT, "but never for Windows");
	fc_free(c);
}

static void
test_setattr(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = 0600 };
	struct fuse_attr a;
	uint64_t id, fh;

	fc_start(c);
	fc_file(c, "file", "hello");
	symlinkat("file", c->fd, "link");
	id = (uint64_t)fc_lookup(c, 1, "file");
	is_int(fc_setattr(c, id, &in, &a), 0, "chmod");
	is_int(a.mode, S_IFREG | 0600, "mode");
	in.valid = FATTR_SIZE;
	in.size = 2;
	is_int(fc_setattr(c, id, &in, &a), 0, "truncate");
	is_int(a.size, 2, "size");
	in.size = 1ULL << 42;
	is_int(fc_setattr(c, id, &in, &a), 0, "a sparse file of 4 TiB");
	is_int(a.size, 1LL << 42, "size");
	in.size = UINT64_MAX;
	is_int(fc_setattr(c, id, &in, &a), -EFBIG, "no negative size");
	is_int(fc_setattr(c, 1, &in, &a), -EISDIR, "no size for a directory");
	in.valid = FATTR_ATIME | FATTR_MTIME;
	in.atime = 1000;
	in.atimensec = 1;
	in.mtime = (uint64_t)-5;
	in.mtimensec = 999999999;
	is_int(fc_setattr(c, id, &in, &a), 0, "times");
	ok(a.atime == 1000 && a.atimensec == 1, "atime");
	ok(a.mtime == (uint64_t)-5 && a.mtimensec == 999999999,
	   "mtime before 1970");
	in.mtimensec = 1000000000;
	is_int(fc_setattr(c, id, &in, &a), -EINVAL, "too many nanoseconds");
	in.valid = FATTR_MTIME | FATTR_MTIME_NOW;
	is_int(fc_setattr(c, id, &in, &a), 0, "now");
	ok(a.mtime > 1000000000 && a.atime == 1000, "mtime alone");
	in.valid = FATTR_MODE | FATTR_FH;
	in.mode = 0640;
	fh = (uint64_t)fc_open(c, id, O_RDWR);
	in.fh = fh;
	is_int(fc_setattr(c, id, &in, &a), 0, "by handle");
	is_int(a.mode, S_IFREG | 0640, "mode");
	in.fh = 12345;
	is_int(fc_setattr(c, id, &in, &a), 0, "a wrong handle does no harm");
	id = (uint64_t)fc_lookup(c, 1, "link");
	in.valid = FATTR_MTIME;
	in.mtimensec = 0;
	in.mtime = 77;
	is_int(fc_setattr(c, id, &in, &a), 0, "times of a link");
	ok(S_ISLNK(a.mode) && a.mtime == 77, "are its own");
	in.valid = FATTR_UID;
	in.uid = FS_ID_NONE;
	is_int(fc_setattr(c, id, &in, &a), -EINVAL, "no owner -1");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

static void
test_statx(void)
{
	struct fc *c = fc_new(NULL);
	struct fs_wire_statx_in in = { .sx_mask = 0xfff };
	struct fs_wire_statx_out out;
	struct fuse_attr a;
	uint64_t id;

	fc_start(c);
	fc_file(c, "file", "hello");
	id = (uint64_t)fc_lookup(c, 1, "file");
	is_int(fc_call(c, FS_OP_STATX, id, &in, sizeof(in), NULL, NULL),
	       sizeof(out), "STATX");
	memcpy(&out, c->out, sizeof(out));
	is_int(out.stat.size, 5, "size");
	ok(out.stat.mask & STATX_BTIME, "birth time");
	fc_getattr(c, id, &a);
	is_int(out.stat.btime.tv_sec <= (int64_t)a.mtime, 1, "is reasonable");
	is_int(fc_call(c, FUSE_STATFS, 1, NULL, 0, NULL, NULL),
	       sizeof(struct fuse_statfs_out), "STATFS");
	fc_free(c);
}

int
main(void)
{
	test_entry();
	test_batch_forget();
	test_kinds();
	test_negative();
	test_setattr();
	test_statx();
	return tap_done();
}
