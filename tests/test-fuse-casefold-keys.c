/* SPDX-License-Identifier: MIT */
/*
 * The keys of names without case: off, nt, ascii, read-only shares, and how a
 * program in the guest learns that a share folds.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <unistd.h>

#include "tests/casefold-fuse.h"

#define CASEFOLD_FL 0x40000000	/* linux/fs.h has it since 5.4 */

static int
get_flags(uint64_t id, uint64_t fh)
{
	struct fuse_ioctl_in in = { .fh = fh, .out_size = sizeof(int),
				    .cmd = (uint32_t)FS_IOC_GETFLAGS };
	ssize_t n = fc_call(c, FUSE_IOCTL, id, &in, sizeof(in), NULL, NULL);
	int flags = 0;

	if (n == sizeof(struct fuse_ioctl_out) + sizeof(flags))
		memcpy(&flags, c->out + sizeof(struct fuse_ioctl_out),
		       sizeof(flags));
	return flags;
}

/* What lsattr -d shows as F. */
static void
test_flags(void)
{
	int64_t dir = fc_mkdir(c, 1, "Dir", 0755), fh;
	struct {
		struct fuse_ioctl_in in;
		int flags;
	} set = { .in = { .cmd = (uint32_t)FS_IOC_SETFLAGS,
			  .in_size = sizeof(int) } };
	ssize_t n;

	fh = fc_opendir(c, (uint64_t)dir);
	set.flags = get_flags((uint64_t)dir, (uint64_t)fh);
	ok(set.flags & CASEFOLD_FL, "IOCTL: a directory says that it folds");
	set.in.fh = (uint64_t)fh;
	n = fc_call(c, FUSE_IOCTL, (uint64_t)dir, &set,
		    sizeof(set.in) + sizeof(set.flags), NULL, NULL);
	ok(n >= 0 || n == -ENOTTY || n == -EOPNOTSUPP,
	   "which may be set again (%zd)", n);
	fc_releasedir(c, (uint64_t)dir, (uint64_t)fh);
	dir = fc_create(c, 1, "File", O_RDWR, 0644, (uint64_t *)&fh);
	ok(!(get_flags((uint64_t)dir, (uint64_t)fh) & CASEFOLD_FL),
	   "a file does not");
	fc_release(c, (uint64_t)dir, (uint64_t)fh);
	fc_empty(c);
}

static void
test_marker(void)
{
	int64_t id;

	c = fc_new(NULL);
	c->set.casefold = CONF_CASEFOLD_NT;
	c->set.wine_marker = true;
	fc_start(c);
	id = fc_lookup(c, 1, ".ciopfs");
	ok(id > 1, "T62: the marker");
	ok(S_ISREG(entry().attr.mode), "is a file");
	is_int(fc_getattr(c, (uint64_t)id, NULL), 0, "with attributes");
	is_int(fc_getattr(c, (uint64_t)id, NULL), 0, "again");
	is_int(fc_lookup(c, 1, ".ciopfs"), id, "always the same");
	ok(!there(".ciopfs"), "that is not on the host");
	is_int(fc_lookup(c, 1, ".Ciopfs"), -ENOENT, "one spelling will do");
	is_int(fc_unlink(c, 1, ".ciopfs"), -ENOENT, "and cannot be removed");
	fc_forget(c, (uint64_t)id, 2);
	stop();
	c = fc_new(NULL);
	c->set.casefold = CONF_CASEFOLD_NT;
	fc_start(c);
	is_int(fc_lookup(c, 1, ".ciopfs"), -ENOENT, "only if it is asked for");
	stop();
}

static void
test_off(void)
{
	start(CONF_CASEFOLD_NO, false);
	fc_file(c, "Foo", "");
	is_int(fc_lookup(c, 1, "foo"), 0, "without casefold: no such name");
	is_int(entry().entry_valid, 5, "for a while");
	ok(fc_lookup(c, 1, "Foo") > 1, "the exact name");
	is_int(entry().entry_valid, 5, "may be kept");
	ok(fc_mkdir(c, 1, "foo", 0755) > 1, "the other can be made");
	stop();
}

static void
test_ascii(void)
{
	start(CONF_CASEFOLD_ASCII, false);
	fc_file(c, "\xc3\x84pfel", "");
	ok(fc_lookup(c, 1, "\xc3\x84PFEL") > 1, "ascii: A to Z");
	is_int(fc_lookup(c, 1, "\xc3\xa4pfel"), -ENOENT, "and no more");
	stop();
	start(CONF_CASEFOLD_NT, false);
	fc_file(c, "\xc3\x84pfel", "");
	ok(fc_lookup(c, 1, "\xc3\xa4PFEL") > 1, "nt: all letters");
	is_int(fc_mkdir(c, 1, "\xc3\xa4pfel", 0755), -EEXIST, "that clash");
	stop();
}

static void
test_readonly(void)
{
	c = fc_new(NULL);
	c->set.casefold = CONF_CASEFOLD_NT;
	c->set.readonly = true;
	fc_file(c, "Foo", "");
	fc_start(c);
	ok(fc_lookup(c, 1, "foo") > 1, "read-only: found");
	is_int(fc_unlink(c, 1, "foo"), -EROFS, "not removed");
	is_int(fc_create(c, 1, "bar", O_RDWR, 0644, NULL), -EROFS, "nor made");
	stop();
}

int
main(void)
{
	test_off();
	test_ascii();
	test_readonly();
	test_marker();
	start(CONF_CASEFOLD_NT, false);
	test_flags();
	stop();
	return tap_done();
}
