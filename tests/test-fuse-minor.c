/* SPDX-License-Identifier: MIT */
/*
 * Guests of every minor version from 7.27 on, as Linux has been sending INIT
 * and what follows it; and requests that are longer than ours.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

enum { OLDEST = 27, NEWEST = 46, INIT_SHORT = 16, INIT_LONG = 64 };

#define BIT(n) (1ULL << (n))

/* Which bits of INIT came with which minor; those up to 20 are older. */
static const struct {
	int bit;
	uint32_t minor;
} since[] = {
	{ 21, 27 }, { 22, 28 }, { 23, 28 }, { 24, 29 }, { 25, 30 }, { 26, 31 },
	{ 27, 32 }, { 28, 33 }, { 29, 33 }, { 30, 36 }, { 32, 36 }, { 33, 36 },
	{ 34, 38 }, { 35, 38 }, { 36, 39 }, { 37, 40 }, { 38, 40 }, { 39, 40 },
	{ 40, 41 }, { 41, 42 }, { 42, 43 }, { 43, 46 },
};

static uint64_t
offered(uint32_t minor)
{
	uint64_t flags = BIT(21) - 1;

	for (size_t i = 0; i < sizeof(since) / sizeof(since[0]); i++) {
		if (since[i].minor <= minor)
			flags |= BIT(since[i].bit);
	}
	return flags;
}

/* What a share with posix_acl agrees to, and nothing else.  (Who may not act
 * as others is not asked to clear bits.) */
static uint64_t
wanted(void)
{
	return FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
	       FUSE_DONT_MASK | FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA |
	       FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
	       FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL | FUSE_MAX_PAGES |
	       FUSE_SUBMOUNTS | FUSE_SETXATTR_EXT | FUSE_INIT_EXT |
	       FUSE_CREATE_SUPP_GROUP | FUSE_NO_EXPORT_SUPPORT |
	       FUSE_ALLOW_IDMAP |
	       (geteuid() ? 0 : FUSE_HANDLE_KILLPRIV_V2);
}

/* INIT of `size` bytes; what was agreed on, both halves. */
static uint64_t
init(struct fc *c, uint32_t minor, uint64_t flags, size_t size,
     struct fuse_init_out *out)
{
	char bytes[256];
	struct fuse_init_in in = { .major = 7, .minor = minor,
				   .max_readahead = 131072,
				   .flags = (uint32_t)flags,
				   .flags2 = (uint32_t)(flags >> 32) };
	ssize_t n;

	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, &in, sizeof(in));
	n = fc_raw(c, FUSE_INIT, 0, bytes, size,
		   (uint32_t)(sizeof(struct fuse_in_header) + size));
	memset(out, 0, sizeof(*out));
	if (n != sizeof(*out))
		return printf("# INIT: %zd\n", n), 0;
	memcpy(out, c->out, sizeof(*out));
	return out->flags | (uint64_t)out->flags2 << 32;
}

static struct fc *
start(void)
{
	struct fc *c = fc_new(NULL);

	c->set.xattr = true;
	c->set.posix_acl = CONF_WHEN_AUTO;
	fc_file(c, "old", "text");
	symlinkat("to", c->fd, "link");
	fc_open_share(c);
	return c;
}

/* The one request whose struct is longer for who agreed on it. */
static ssize_t
set_attribute(struct fc *c, uint64_t id)
{
	struct fuse_setxattr_in in = { .size = 1 };
	size_t fixed = fc_info(c).flags & FUSE_SETXATTR_EXT ?
		       sizeof(in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
	char bytes[64];

	memcpy(bytes, &in, fixed);
	memcpy(bytes + fixed, "user.m\0v", 8);
	return fc_raw(c, FUSE_SETXATTR, id, bytes, fixed + 8,
		      (uint32_t)(sizeof(struct fuse_in_header) + fixed + 8));
}

/* A conversation; the number of answers that are wrong. */
static int
talk(struct fc *c)
{
	struct fuse_entry_out e;
	uint64_t fh, id, dir;
	int bad = 0;

	bad += fc_lookup(c, 1, "old") <= 1;
	dir = (uint64_t)fc_mkdir(c, 1, "d", 0755);
	bad += dir <= 1 || dir >> 63;
	id = (uint64_t)fc_create(c, dir, "f", O_RDWR | O_EXCL, 0644, &fh);
	bad += fc_write(c, id, fh, 0, "hello", 5, 0) != 5;
	bad += fc_read(c, id, fh, 1, 100) != 4;
	bad += set_attribute(c, id) != 0;
	bad += fc_getattr(c, id, NULL) != 0;
	bad += fc_release(c, id, fh) != 0;
	fh = (uint64_t)fc_opendir(c, dir);
	bad += fc_readdir(c, dir, fh, 0, 4096, true) <
	       (ssize_t)(3 * sizeof(e));
	bad += fc_releasedir(c, dir, fh) != 0;
	bad += fc_rename(c, dir, "f", 1, "g", 1) != 0;
	bad += fc_unlink(c, 1, "g") != 0;
	bad += fc_rmdir(c, 1, "d") != 0;
	fc_forget(c, id, 1);
	return bad + c->broken;
}

static void
test_minor(struct fc *c, uint32_t minor)
{
	uint32_t agreed = minor < NEWEST ? minor : NEWEST;
	size_t size = minor < 36 ? INIT_SHORT : INIT_LONG;
	struct fuse_init_out out;
	uint64_t flags = init(c, minor, offered(minor), size, &out);
	uint64_t want = offered(minor) & wanted();

	ok(flags == want && out.minor == agreed &&
	   fc_info(c).minor == agreed && !fc_info(c).windows,
	   "7.%u: INIT of %zu bytes", minor, size);
	if (flags != want)
		printf("# %llx, not %llx\n", (unsigned long long)flags,
		       (unsigned long long)want);
	is_int(talk(c), 0, "7.%u: is served", minor);
}

static void
test_flags(struct fc *c)
{
	struct fuse_init_out out;
	uint64_t flags;

	ok(init(c, 99, ~0ULL, 200, &out) == wanted(),
	   "of all flags, in a longer INIT, those that are known");
	is_int(talk(c), 0, "which is served");
	flags = init(c, NEWEST, ~FUSE_INIT_EXT, INIT_LONG, &out);
	is_int(out.flags2, 0, "flags2 mean nothing without INIT_EXT");
	is_int(flags, (long)(wanted() & ~FUSE_INIT_EXT & 0xffffffff),
	       "but flags do");
	flags = init(c, 31, offered(31) & ~(uint64_t)FUSE_DONT_MASK,
		     INIT_SHORT, &out);
	ok(!(flags & FUSE_POSIX_ACL), "no access lists without DONT_MASK");
}

/* Bytes after what we know of a request. */
static void
test_longer(struct fc *c)
{
	static const struct {
		uint32_t opcode;
		size_t size;
		bool link;
	} ops[] = {
		{ FUSE_GETATTR, sizeof(struct fuse_getattr_in), false },
		{ FUSE_SETATTR, sizeof(struct fuse_setattr_in), false },
		{ FUSE_OPEN, sizeof(struct fuse_open_in), false },
		{ FUSE_STATFS, 0, false },
		{ FUSE_ACCESS, sizeof(struct fuse_access_in), false },
		{ FUSE_SYNCFS, sizeof(struct fuse_syncfs_in), false },
		{ FS_OP_STATX, sizeof(struct fs_wire_statx_in), false },
		{ FUSE_READLINK, 0, true },
	};
	uint64_t file = (uint64_t)fc_lookup(c, 1, "old");
	uint64_t link = (uint64_t)fc_lookup(c, 1, "link");

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		uint64_t id = ops[i].opcode == FUSE_SYNCFS ? 1 :
			      ops[i].link ? link : file;
		char bytes[512] = "";
		ssize_t want = fc_call(c, ops[i].opcode, id, bytes,
				       ops[i].size, NULL, NULL);

		memset(bytes + ops[i].size, 0xff, 256);
		ok(want >= 0 &&
		   fc_call(c, ops[i].opcode, id, bytes, ops[i].size + 256,
			   NULL, NULL) == want,
		   "%s with more behind it", fs_op_name(ops[i].opcode));
	}
}

/* Where the size of extensions stands is padding to guests that have none. */
static void
test_padding(struct fc *c)
{
	struct fuse_init_out out;

	init(c, 37, offered(37), INIT_LONG, &out);
	c->extlen = 0xffff;
	is_int(talk(c), 0, "7.37: what is padding there is not looked at");
	init(c, NEWEST, offered(NEWEST) & ~FUSE_CREATE_SUPP_GROUP, INIT_LONG,
	     &out);
	is_int(talk(c), 0, "nor by who agreed on no extension");
	init(c, NEWEST, offered(NEWEST), INIT_LONG, &out);
	is_int(fc_mkdir(c, 1, "e", 0755), -EINVAL, "else it is");
	c->extlen = 0;
}

int
main(void)
{
	struct fc *c = start();

	for (uint32_t minor = OLDEST; minor <= NEWEST + 1; minor++)
		test_minor(c, minor);
	test_flags(c);
	test_longer(c);
	test_padding(c);
	ok(!c->broken, "replies are exact");
	fc_free(c);
	return tap_done();
}
