/* SPDX-License-Identifier: MIT */
/* What a Windows guest sends and needs: virtio-win's client under WinFsp. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

/* errno as the client numbers it. */
enum { WIN_EACCES = 13, WIN_ENAMETOOLONG = 38, WIN_ENOSYS = 40 };

static struct fc *
start(void)
{
	struct fc *c = fc_new(NULL);

	fc_open_share(c);
	fc_init_windows(c);
	return c;
}

static void
test_init(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_init_out out;
	uint64_t id;
	int64_t fh;

	fc_open_share(c);
	out = fc_init_windows(c);
	is_int(c->reply_len, 80, "INIT of 56 bytes is answered with 80");
	ok(fc_info(c).windows, "it is Windows");
	is_int(out.max_write, 1 << 20, "max_write");
	is_int(out.max_pages, 255, "max_pages that files do not end at");
	is_int(out.minor, 31, "minor");
	fc_file(c, "f", "hello");
	id = (uint64_t)fc_lookup(c, 1, "f");
	fh = fc_open(c, id, O_RDONLY);
	fs_session_reset(c->session);
	is_int(fc_read(c, id, (uint64_t)fh, 0, 10), 5,
	       "a reset device keeps its state");
	out = fc_init_windows(c);
	is_int(fc_read(c, id, (uint64_t)fh, 0, 10), -EBADF,
	       "INIT again starts anew");
	fc_free(c);

	c = fc_new(NULL);
	fc_open_share(c);
	is_int(fc_lookup(c, 1, "."), 1, "LOOKUP of . without any INIT");
	ok(fc_info(c).windows && fc_info(c).ready, "wakes the session up");
	fc_free(c);

	c = fc_new(NULL);
	c->set.guest = CONF_GUEST_LINUX;
	fc_open_share(c);
	fc_init_windows(c);
	ok(!fc_info(c).windows, "guest = linux");
	fc_free(c);
}

static void
test_errors(void)
{
	struct fc *c = start();
	char name[300];
	uint64_t d;

	memset(name, 'x', 299);
	name[299] = '\0';
	is_int(fc_lookup(c, 1, name), -WIN_ENAMETOOLONG, "ENAMETOOLONG");
	is_int(fc_call(c, FUSE_BMAP, 1, name, 32, NULL, NULL), -WIN_ENOSYS,
	       "ENOSYS");
	d = (uint64_t)fc_mkdir(c, 1, "d", 0775);
	fc_create(c, d, "f", O_RDWR, 0664, NULL);
	is_int(fc_rmdir(c, 1, "d"), -WIN_EACCES, "ENOTEMPTY");
	is_int(fc_lookup(c, 1, "none"), -ENOENT, "ENOENT");
	is_int(fc_getattr(c, 12345, NULL), -ENOENT, "ESTALE");
	is_int(c->counters.errors, 5, "counted all the same");
	fc_free(c);
}

/* Garbage where the client leaves its stack. */
static void
test_garbage(void)
{
	struct fc *c = start();
	struct fuse_create_in cr = { .flags = O_RDWR | O_EXCL, .mode = 0664,
				     .open_flags = 0xdeadbeef };
	struct fuse_rename2_in rn = { .newdir = 1, .flags = 1,
				      .padding = 0xdeadbeef };
	char junk[260];

	memset(junk, 0x99, sizeof(junk));
	symlinkat("target", c->fd, "link");
	c->room = 276;
	is_int(fc_raw(c, FUSE_READLINK, (uint64_t)fc_lookup(c, 1, "link"), junk,
		      260, 300), 6, "READLINK of 300 bytes");
	ok(!memcmp(c->out, "target", 6) && c->reply_len == 22, "exact");
	c->room = 0;
	is_int(fc_call(c, FUSE_CREATE, 1, &cr, sizeof(cr), "f", NULL), 144,
	       "CREATE without O_CREAT, with junk in its padding");
	is_int(fc_call(c, FUSE_RENAME2, 1, &rn, sizeof(rn), "f", "g"), 0,
	       "RENAME2 with junk in its padding");
	is_int(fc_call(c, FUSE_RENAME2, 1, &rn, sizeof(rn), "g", "link"),
	       -EEXIST, "NOREPLACE");
	fc_free(c);
}

static void
test_handle_0(void)
{
	struct fc *c = start();
	struct fuse_getattr_in get = { .getattr_flags = FUSE_GETATTR_FH };
	struct fuse_setattr_in set = { .valid = FATTR_FH | FATTR_MTIME,
				       .mtime = 5 };
	uint64_t id, fh;

	symlinkat("x", c->fd, "link");
	id = (uint64_t)fc_lookup(c, 1, "link");
	is_int(fc_call(c, FUSE_GETATTR, id, &get, sizeof(get), NULL, NULL),
	       sizeof(struct fuse_attr_out), "GETATTR with handle 0");
	is_int(fc_setattr(c, id, &set, NULL), 0, "SETATTR with handle 0");
	is_int(fc_release(c, id, 0), 0, "RELEASE of handle 0");
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0664, &fh);
	is_int(fh & 0xffffffff, 1, "the first handle is not 0");
	fc_forget(c, id, UINT64_MAX);
	is_int(fc_release(c, 999, fh), 0, "RELEASE after FORGET");
	fc_free(c);
}

static void
test_attributes(void)
{
	struct fc *c = start();
	struct fuse_setattr_in set = { .valid = FATTR_MODE };
	struct fuse_attr a, b;
	uint64_t id, dir;

	fc_file(c, "f", "hello");
	fchmodat(c->fd, "f", 0755, 0);
	id = (uint64_t)fc_lookup(c, 1, "f");
	set.mode = 0664;
	fc_setattr(c, id, &set, &a);
	is_int(a.mode & 07777, 0755, "0664 keeps the bits of an executable");
	set.mode = 0444;
	fc_setattr(c, id, &set, &a);
	is_int(a.mode & 07777, 0555, "0444: READONLY");
	set.mode = 0664;
	fc_setattr(c, id, &set, &a);
	is_int(a.mode & 07777, 0755, "0664: not READONLY");
	set.mode = 0700;
	fc_setattr(c, id, &set, &a);
	is_int(a.mode & 07777, 0700, "any other mode as it is");
	dir = (uint64_t)fc_mkdir(c, 1, "d", 0775);
	set.mode = 040555;
	fc_setattr(c, dir, &set, &a);
	is_int(a.mode & 07777, 0775, "a directory stays writable");
	fc_getattr(c, id, &a);
	set.valid = FATTR_MTIME | FATTR_CTIME;
	set.mtime = 1000;
	set.ctime = 2000;
	is_int(fc_setattr(c, id, &set, &b), 0, "times");
	ok(b.ctime == a.ctime && b.ctimensec == a.ctimensec && b.mtime == 1000,
	   "ctime is the birth time and stays");
	/* Set the size by node alone, as old clients do. */
	set.valid = FATTR_SIZE;
	set.size = 3;
	is_int(fc_setattr(c, id, &set, &a), 0, "size without a handle");
	is_int(a.size, 3, "size");
	fc_free(c);
}

static void
test_listing(void)
{
	struct fc *c = start();
	struct fuse_entry_out e;
	struct fuse_dirent *d;
	unsigned n = 0, dots = 0, bad = 0;
	ssize_t len, at;
	bool escaped = false;
	uint64_t fh;

	fc_file(c, "plain", "");
	fc_file(c, "a:b", "");
	mkfifoat(c->fd, "fifo", 0600);
	fh = (uint64_t)fc_opendir(c, 1);
	len = fc_readdir(c, 1, fh, 0, 131040, true);
	ok(len > 0 && len % 8 == 0, "READDIRPLUS is padded to 8 bytes");
	for (at = 0; at < len; n++) {
		memcpy(&e, c->out + at, sizeof(e));
		d = (void *)(c->out + at + sizeof(e));
		bad += !e.attr.mode || !e.attr.ctime;
		dots += d->name[0] == '.' && S_ISDIR(e.attr.mode);
		escaped |= d->namelen == 5 && !memcmp(d->name, "a\xef\x80\xba" "b",
						      5);
		at += (ssize_t)FUSE_DIRENTPLUS_SIZE(
			(struct fuse_direntplus *)(c->out + at));
	}
	is_int(n, 4, "., .. and two files; no fifo");
	is_int(dots, 2, "dots have attributes");
	is_int(bad, 0, "all have");
	ok(escaped, "a colon is moved to U+F03A");
	ok(fc_lookup(c, 1, "a:b") > 1, "and comes back as itself");
	is_int(fc_lookup(c, 1, "fifo"), -ENOENT, "the fifo is hidden");
	len = fc_readdir(c, 1, fh, 0, 4080, false);
	ok(len >= 4 * 32, "READDIR has dots, too, and rewinds");
	is_int(fc_releasedir(c, 1, fh), 0, "RELEASEDIR");
	fc_free(c);
}

/* \dir\file.txt: opened, read, written, listed, deleted. */
static void
test_sequence(void)
{
	struct fc *c = start();
	struct fuse_getattr_in get = { .getattr_flags = FUSE_GETATTR_FH };
	struct fuse_fallocate_in fa = { .length = 65536,
					.mode = FALLOC_FL_KEEP_SIZE };
	struct fuse_flush_in fl = { 0 };
	uint64_t dir, id, fh, dfh;
	int64_t again;

	is_int(fc_call(c, FUSE_STATFS, 1, NULL, 0, NULL, NULL), 80, "STATFS");
	dir = (uint64_t)fc_mkdir(c, 1, "dir", 0775);
	is_int(fc_lookup(c, 1, "dir"), dir, "walk");
	id = (uint64_t)fc_create(c, dir, "file.txt", O_RDWR | O_EXCL, 0664,
				 &fh);
	get.fh = fa.fh = fl.fh = fh;
	is_int(fc_call(c, FUSE_FALLOCATE, id, &fa, sizeof(fa), NULL, NULL), 0,
	       "FALLOCATE");
	is_int(fc_write(c, id, fh, 0, "hello", 5, 0), 5, "WRITE");
	is_int(fc_call(c, FUSE_GETATTR, id, &get, sizeof(get), NULL, NULL),
	       sizeof(struct fuse_attr_out), "GETATTR");
	is_int(fc_call(c, FUSE_FLUSH, id, &fl, sizeof(fl), NULL, NULL), 0,
	       "FLUSH");
	ok(c->deferred, "writes to the disk");
	is_int(fc_release(c, id, fh), 0, "RELEASE");
	is_int(fc_lookup(c, dir, "file.txt"), id, "walk");
	fh = (uint64_t)fc_open(c, id, O_RDONLY);
	is_int(fc_read(c, id, fh, 0, 255 * 4096), 5, "READ");
	dfh = (uint64_t)fc_opendir(c, dir);
	ok(fc_readdir(c, dir, dfh, 0, 4080, false) > 64, "READDIR");
	fc_releasedir(c, dir, dfh);
	is_int(fc_unlink(c, dir, "file.txt"), 0, "UNLINK");
	is_int(fc_release(c, id, fh), 0, "RELEASE");
	is_int(fc_rmdir(c, 1, "dir"), 0, "RMDIR");
	again = fc_mkdir(c, 1, "dir", 0775);
	ok(again > 1 && again != (int64_t)dir, "the next is another node");
	fc_free(c);
}

int
main(void)
{
	test_init();
	test_errors();
	test_garbage();
	test_handle_0();
	test_attributes();
	test_listing();
	test_sequence();
	return tap_done();
}
