/* SPDX-License-Identifier: MIT */
/* INIT: what is agreed on, with which guest, and what happens without it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static void
test_linux(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_init_out out;
	struct fs_info info;

	fc_open_share(c);
	is_int(fc_call(c, FUSE_STATFS, 1, NULL, 0, NULL, NULL), -EIO,
	       "nothing is served before INIT");
	out = fc_init(c, 99, FC_ALL_FLAGS);
	is_int(out.major, 7, "major");
	is_int(out.minor, FS_PROTO_MINOR, "the smaller minor is agreed on");
	is_int(out.max_write, 1 << 20, "max_write");
	is_int(out.max_pages, 256, "max_pages");
	is_int(out.time_gran, 1, "time_gran");
	ok(out.flags & FUSE_DO_READDIRPLUS, "READDIRPLUS");
	ok(out.flags & FUSE_INIT_EXT, "INIT_EXT");
	ok(out.flags2 & (FUSE_CREATE_SUPP_GROUP >> 32), "CREATE_SUPP_GROUP");
	ok(!(out.flags & (FUSE_EXPORT_SUPPORT | FUSE_WRITEBACK_CACHE |
			  FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS |
			  FUSE_DONT_MASK | FUSE_POSIX_ACL)),
	   "nothing that was not asked for");
	info = fc_info(c);
	ok(info.ready && !info.windows && info.minor == FS_PROTO_MINOR,
	   "the session says so");
	out = fc_init(c, 31, FUSE_ASYNC_READ);
	is_int(out.flags, FUSE_ASYNC_READ, "only what the guest offers");
	is_int(out.flags2, 0, "no flags2 without INIT_EXT");
	is_int(out.max_pages, 0, "no max_pages without MAX_PAGES");
	out = fc_init(c, 27, FUSE_BIG_WRITES);
	is_int(out.minor, 27, "7.27 is old enough");
	fc_init(c, 26, 0);
	ok(c->reply_len == 16, "7.26 is too old");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

static void
test_versions(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_init_in in = { .major = 8, .minor = 1 };
	struct fuse_init_out out;

	fc_open_share(c);
	is_int(fc_call(c, FUSE_INIT, 0, &in, sizeof(in), NULL, NULL),
	       sizeof(out), "a newer major is answered");
	memcpy(&out, c->out, sizeof(out));
	is_int(out.major, 7, "with ours");
	ok(!fc_info(c).ready, "and a second INIT is waited for");
	in.major = 6;
	is_int(fc_call(c, FUSE_INIT, 0, &in, sizeof(in), NULL, NULL), -EPROTO,
	       "an older major is refused");
	is_int(fc_call(c, FUSE_INIT, 0, &in, 15, NULL, NULL), -EINVAL,
	       "15 bytes are too few");
	fc_free(c);
}

static void
test_again(void)
{
	struct fc *c = fc_new(NULL);
	int64_t node, fh;

	fc_file(c, "a", "text");
	fc_start(c);
	node = fc_lookup(c, 1, "a");
	fh = fc_open(c, (uint64_t)node, O_RDONLY);
	ok(node > 1 && fh > 0, "a file is open");
	is_int(fc_info(c).handles, 1, "one handle");
	fc_init(c, 38, FC_ALL_FLAGS);
	is_int(fc_info(c).handles, 0, "a second INIT closes it");
	is_int(fc_info(c).nodes, 0, "and forgets nodes");
	is_int(fc_getattr(c, (uint64_t)node, NULL), -ESTALE,
	       "the old node id is dead");
	ok(fc_lookup(c, 1, "a") != node, "and not given out again");
	is_int(fc_read(c, (uint64_t)node, (uint64_t)fh, 0, 4), -EBADF,
	       "the old handle is dead");
	is_int(fc_call(c, FUSE_DESTROY, 0, NULL, 0, NULL, NULL), 0, "DESTROY");
	ok(fc_lookup(c, 1, "a") > 1,
	       "LOOKUP in the root is answered without INIT");
	ok(fc_info(c).windows, "as to a Windows guest that resumed");
	fc_free(c);
}

static void
test_settings(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_init_out out;
	struct fuse_entry_out e;

	c->set.cache = CONF_CACHE_NEVER;
	c->set.max_write = 65536;
	c->set.guest = CONF_GUEST_LINUX;
	fc_open_share(c);
	is_int(fc_lookup(c, 1, "x"), -EIO, "guest = linux never resumes");
	out = fc_init(c, 45, FC_ALL_FLAGS);
	ok(!(out.flags & FUSE_DO_READDIRPLUS), "cache = never: no READDIRPLUS");
	is_int(out.max_write, 65536, "max_write by the settings");
	is_int(out.max_pages, 16, "max_pages follows it");
	fc_lookup(c, 1, ".");
	memcpy(&e, c->out, sizeof(e));
	ok(!e.entry_valid && !e.attr_valid && !e.attr_valid_nsec,
	   "cache = never: timeouts are 0");
	fc_free(c);

	c = fc_new(NULL);
	c->set.cache = CONF_CACHE_ALWAYS;
	c->set.attr_timeout_us = 2500000;
	fc_start(c);
	fc_lookup(c, 1, ".");
	memcpy(&e, c->out, sizeof(e));
	is_int(e.entry_valid, 86400, "cache = always: a day");
	ok(e.attr_valid == 2 && e.attr_valid_nsec == 500000000,
	   "attr_timeout overrides");
	fc_free(c);
}

static void
test_counters(void)
{
	struct fc *c = fc_new(NULL);
	struct fs_counters sum = { 0 };

	fc_start(c);
	fc_lookup(c, 1, "missing");
	fs_counters_add(&sum, &c->counters);
	fs_counters_add(&sum, &c->counters);
	is_int(sum.requests, 4, "requests are counted and added");
	is_int(sum.errors, 2, "errors too");
	is_str(fs_op_name(FUSE_LOOKUP), "LOOKUP", "opcodes have names");
	is_str(fs_op_name(7), NULL, "but not all");
	is_str(fs_op_name(99999), NULL, "large ones neither");
	fc_free(c);
}

int
main(void)
{
	test_linux();
	test_versions();
	test_again();
	test_settings();
	test_counters();
	return tap_done();
}
