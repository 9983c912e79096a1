/* SPDX-License-Identifier: MIT */
/*
 * Every operation with a name, with every name that must not be used: nothing
 * outside the share is touched, whatever a guest sends (CVE-2026-47243).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static char long256[257], long4096[4097];

/* Bytes as they stand in the request; a name normally ends with its NUL. */
static const struct {
	const char *what;
	const char *bytes;
	size_t len;
	int want;
} bad_names[] = {
#define BAD(s) s, sizeof(s)
	{ "an absolute path", BAD("/tmp"), -EINVAL },
	{ "a way out", BAD("../x"), -EINVAL },
	{ "a way down", BAD("a/b"), -EINVAL },
	{ "a slash at the end", BAD("a/"), -EINVAL },
	{ "a slash", BAD("/"), -EINVAL },
	{ "nothing", BAD(""), -EINVAL },
	{ "one dot", BAD("."), -EINVAL },
	{ "two dots", BAD(".."), -EINVAL },
	{ "no NUL", "name", 4, -EINVAL },
	{ "no bytes at all", "", 0, -EINVAL },
	{ "two NULs", BAD("name\0"), -EINVAL },
	{ "a NUL inside", BAD("na\0me"), -EINVAL },
	{ "256 bytes", long256, 257, -ENAMETOOLONG },
	{ "4096 bytes", long4096, 4097, -ENAMETOOLONG },
#undef BAD
};

static const char *const good_names[] = {
	"plain", "with space", "...", "..a", "\xff\xfe", "new\nline", "-x", "*",
};

static const struct {
	uint32_t opcode;
	size_t fixed;
	int names;
} ops[] = {
	{ FUSE_LOOKUP, 0, 1 },
	{ FUSE_SYMLINK, 0, 1 },
	{ FUSE_MKNOD, sizeof(struct fuse_mknod_in), 1 },
	{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in), 1 },
	{ FUSE_UNLINK, 0, 1 },
	{ FUSE_RMDIR, 0, 1 },
	{ FUSE_RENAME, sizeof(struct fuse_rename_in), 2 },
	{ FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2 },
	{ FUSE_LINK, sizeof(struct fuse_link_in), 1 },
	{ FUSE_CREATE, sizeof(struct fuse_create_in), 1 },
	{ FUSE_TMPFILE, sizeof(struct fuse_create_in), 1 },
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t file_node;

/* A fixed part with which the operation would work. */
static size_t
put_fixed(uint32_t opcode, char *p, size_t size)
{
	memset(p, 0, size);
	if (opcode == FUSE_RENAME || opcode == FUSE_RENAME2)
		memcpy(p, &(uint64_t){ 1 }, 8);
	if (opcode == FUSE_LINK)
		memcpy(p, &file_node, 8);
	if (opcode == FUSE_MKNOD)
		memcpy(p, &(uint32_t){ S_IFREG | 0644 }, 4);
	if (opcode == FUSE_CREATE || opcode == FUSE_TMPFILE)
		memcpy(p, (uint32_t[]){ O_RDWR | O_CREAT, 0644 }, 8);
	return size;
}

static ssize_t
send_names(struct fc *c, size_t op, const char *a, size_t na, const char *b,
	   size_t nb)
{
	static char bytes[16384];
	size_t n = put_fixed(ops[op].opcode, bytes, ops[op].fixed);

	memcpy(bytes + n, a, na);
	n += na;
	if (b)
		memcpy(bytes + n, b, nb);
	n += nb;
	return fc_raw(c, ops[op].opcode, 1, bytes, n,
		      (uint32_t)(sizeof(struct fuse_in_header) + n));
}

static bool
is_refused(uint32_t opcode, size_t bad, ssize_t got)
{
	/* LOOKUP alone knows dots. */
	if (opcode == FUSE_LOOKUP && (!strcmp(bad_names[bad].what, "one dot") ||
				      !strcmp(bad_names[bad].what, "two dots")))
		return got == sizeof(struct fuse_entry_out);
	/* What Linux sends for a file without a name. */
	if (opcode == FUSE_TMPFILE && !strcmp(bad_names[bad].what, "a slash"))
		return got >= 0 || got == -EOPNOTSUPP;
	/* Without a NUL the next string is taken for the rest of the name. */
	return got == bad_names[bad].want ||
	       (got == -EINVAL && bad_names[bad].want == -ENAMETOOLONG);
}

static void
test_op(struct fc *c, size_t op)
{
	const char *name = fs_op_name(ops[op].opcode);

	for (size_t i = 0; i < LEN(bad_names); i++) {
		const char *second = NULL;
		size_t n2 = 0;
		ssize_t got;

		if (ops[op].names == 2 || ops[op].opcode == FUSE_SYMLINK) {
			second = "second";
			n2 = 7;
		}
		got = send_names(c, op, bad_names[i].bytes, bad_names[i].len,
				 second, n2);
		if (bad_names[i].len == 4 && second)
			continue;	/* "namesecond" is a name */
		ok(is_refused(ops[op].opcode, i, got), "%s: %s (%zd)", name,
		   bad_names[i].what, got);
		if (ops[op].names < 2)
			continue;
		got = send_names(c, op, "plain", 6, bad_names[i].bytes,
				 bad_names[i].len);
		ok(is_refused(FUSE_RENAME, i, got), "%s: second %s (%zd)",
		   name, bad_names[i].what, got);
	}
}

static void
test_good(struct fc *c)
{
	for (size_t i = 0; i < LEN(good_names); i++) {
		ok(fc_create(c, 1, good_names[i], O_RDWR, 0644, NULL) > 1,
		   "good name %zu is made", i);
		ok(fc_lookup(c, 1, good_names[i]) > 1, "found");
		is_int(fc_unlink(c, 1, good_names[i]), 0, "removed");
	}
}

static void
test_target(struct fc *c)
{
	char target[5000];

	is_int(fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l", "../../any/where") > 0,
	       1, "a link target may hold slashes");
	is_int(fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l2", ""), -EINVAL,
	       "but not be empty");
	memset(target, 'x', 4095);
	target[4095] = '\0';
	is_int(fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l3", target) > 0, 1,
	       "a target of 4095 bytes");
	target[4095] = 'x';
	target[4096] = '\0';
	is_int(fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l4", target),
	       -ENAMETOOLONG, "not of 4096");
	is_int(fc_raw(c, FUSE_SYMLINK, 1, "l5\0t", 4, 44), -EINVAL,
	       "a target without NUL");
	unlinkat(c->fd, "l", 0);
	unlinkat(c->fd, "l3", 0);
}

/* The guest's kernel looks before it asks; somebody else may be quicker. */
static void
test_noreplace(struct fc *c)
{
	struct stat st;

	fc_file(c, "from", "from");
	fc_file(c, "to", "");
	is_int(fc_rename(c, 1, "from", 1, "to", RENAME_NOREPLACE), -EEXIST,
	       "RENAME2: NOREPLACE");
	ok(!fc_stat(c, "to", &st) && st.st_size == 0,
	   "RENAME2: which replaces nothing");
	is_int(fc_rename(c, 1, "from", 1, "to", 1 << 7), -EINVAL,
	       "RENAME2: an unknown flag");
	is_int(fc_rename(c, 1, "from", 1, "to", 0), 0, "RENAME2: none");
	unlinkat(c->fd, "to", 0);
}

int
main(void)
{
	struct fc *c = fc_new(NULL);
	struct stat st;

	memset(long256, 'x', 256);
	memset(long4096, 'x', 4096);
	fc_start(c);
	fc_file(c, "plain", "");
	file_node = (uint64_t)fc_lookup(c, 1, "plain");
	for (size_t i = 0; i < LEN(ops); i++)
		test_op(c, i);
	is_int(fc_stat(c, "plain", &st), 0, "the file is still there");
	unlinkat(c->fd, "plain", 0);
	test_good(c);
	test_noreplace(c);
	test_target(c);
	ok(rmdir(c->dir) == 0, "nothing else was made");
	ok(!c->broken, "replies are exact");
	fc_free(c);
	return tap_done();
}
