/* SPDX-License-Identifier: MIT */
/* SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, with the system calls of Linux
 * 6.13 and without them. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/limits.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static int
set(struct fc *c, uint64_t id, const char *name, const void *value,
    uint32_t size, uint32_t flags, uint32_t ext)
{
	bool is_ext = fc_info(c).flags & FUSE_SETXATTR_EXT;
	struct fuse_setxattr_in in = { .size = size, .flags = flags,
				       .setxattr_flags = ext };
	size_t fixed = is_ext ? sizeof(in) : 8, n = strlen(name) + 1;
	char *bytes = malloc(fixed + n + size);
	int err;

	memcpy(bytes, &in, fixed);
	memcpy(bytes + fixed, name, n);
	if (size)
		memcpy(bytes + fixed + n, value, size);
	n += fixed + size;
	err = (int)fc_raw(c, FUSE_SETXATTR, id, bytes, n,
			  (uint32_t)(sizeof(struct fuse_in_header) + n));
	free(bytes);
	return err;
}

static ssize_t
get(struct fc *c, uint64_t id, const char *name, uint32_t size)
{
	struct fuse_getxattr_in in = { .size = size };
	ssize_t n;

	c->room = size ? sizeof(struct fuse_out_header) + size : 0;
	n = fc_call(c, name ? FUSE_GETXATTR : FUSE_LISTXATTR, id, &in,
		    sizeof(in), name, NULL);
	c->room = 0;
	return n;
}

static ssize_t
list(struct fc *c, uint64_t id, uint32_t size)
{
	return get(c, id, NULL, size);
}

static int
drop(struct fc *c, uint64_t id, const char *name)
{
	return (int)fc_call(c, FUSE_REMOVEXATTR, id, NULL, 0, name, NULL);
}

/* Is `name` in the list of n bytes in c->out? */
static bool
lists(const struct fc *c, ssize_t n, const char *name)
{
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(c->out + at) + 1)
		if (!strcmp(c->out + at, name))
			return true;
	return false;
}

static void
test_off(void)
{
	struct fc *c = fc_new(NULL);

	fc_start(c);
	is_int(get(c, 1, "user.a", 100), -ENOSYS, "xattr = no: GETXATTR");
	is_int(list(c, 1, 100), -ENOSYS, "LISTXATTR");
	is_int(set(c, 1, "user.a", "x", 1, 0, 0), -ENOSYS, "SETXATTR");
	is_int(drop(c, 1, "user.a"), -ENOSYS, "REMOVEXATTR");
	fc_free(c);
}

static void
test_basic(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_getxattr_out size;
	char longest[300], *big = calloc(1, 70000);
	uint64_t id;
	ssize_t n;

	c->set.xattr = true;
	fc_file(c, "f", "");
	fc_start(c);
	id = (uint64_t)fc_lookup(c, 1, "f");
	is_int(set(c, id, "user.a", "hello", 5, 0, 0), 0, "SETXATTR");
	is_int(fgetxattr(openat(c->fd, "f", O_RDONLY), "user.a", longest, 100),
	       5, "the host has it");
	is_int(get(c, id, "user.a", 0), 8, "how long is it");
	memcpy(&size, c->out, sizeof(size));
	is_int(size.size, 5, "5 bytes");
	is_int(get(c, id, "user.a", 4), -ERANGE, "no room for it");
	is_int(get(c, id, "user.a", 5), 5, "GETXATTR");
	ok(!memcmp(c->out, "hello", 5), "value");
	is_int(get(c, id, "user.b", 5), -ENODATA, "one that is not there");
	is_int(set(c, id, "user.a", "x", 1, XATTR_CREATE, 0), -EEXIST,
	       "XATTR_CREATE");
	is_int(set(c, id, "user.b", "x", 1, XATTR_REPLACE, 0), -ENODATA,
	       "XATTR_REPLACE");
	is_int(set(c, id, "user.a", "x", 1, 4, 0), -EINVAL, "unknown flags");
	is_int(set(c, id, "user.with/slash", "", 0, 0, 0), 0,
	       "a name with '/', an empty value");
	is_int(get(c, id, "user.with/slash", 10), 0, "comes back");
	n = list(c, id, 0);
	memcpy(&size, c->out, sizeof(size));
	is_int(n, 8, "how long is the list");
	n = list(c, id, 1000);
	is_int(n, size.size, "LISTXATTR");
	ok(lists(c, n, "user.a") && lists(c, n, "user.with/slash"), "names");
	is_int(list(c, id, 5), -ERANGE, "no room for the list");
	is_int(drop(c, id, "user.a"), 0, "REMOVEXATTR");
	is_int(drop(c, id, "user.a"), -ENODATA, "once");
	is_int(set(c, 1, "user.dir", "d", 1, 0, 0), 0, "of a directory");
	is_int(get(c, 1, "user.dir", 9), 1, "too");
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "user.", 5);
	longest[255] = 0;
	is_int(set(c, id, longest, "1", 1, 0, 0), 0, "a name of 255 bytes");
	longest[255] = 'x';
	longest[256] = 0;
	is_int(set(c, id, longest, "1", 1, 0, 0), -ERANGE, "not of 256");
	is_int(get(c, id, longest, 1), -ERANGE, "nor in GETXATTR");
	is_int(set(c, id, "", "1", 1, 0, 0), -EINVAL, "nor of 0");
	n = set(c, id, "user.big", big, XATTR_SIZE_MAX, 0, 0);
	ok(n == 0 || n == -ENOSPC || n == -E2BIG, "a value of 64 KiB: %zd", n);
	is_int(set(c, id, "user.big", big, XATTR_SIZE_MAX + 1, 0, 0), -E2BIG,
	       "not of more");
	is_int(get(c, id, "none", 1), -EOPNOTSUPP, "no such kind");
	is_int(get(c, id, "system.posix_acl_access", 100), -EOPNOTSUPP,
	       "no access lists without posix_acl");
	is_int(fc_raw(c, FUSE_SETXATTR, id, "\5\0\0\0\0\0\0\0user.x\0abc", 18,
		      sizeof(struct fuse_in_header) + 18), -EINVAL,
	       "a value shorter than it says");
	is_int(fc_raw(c, FUSE_SETXATTR, id, "\0\0\0\0\0\0\0\0user.x", 14,
		      sizeof(struct fuse_in_header) + 14), -EINVAL,
	       "a name without end");
	ok(!c->broken, "replies are exact");
	free(big);
	fc_free(c);
}

static void
test_rules(void)
{
	struct conf_xattr_rule rules[] = {
		{ CONF_XATTR_BAD, CONF_XATTR_CLIENT, (char *)"user.bad", NULL },
		{ CONF_XATTR_UNSUPPORTED, CONF_XATTR_CLIENT, (char *)"user.un",
		  NULL },
		{ CONF_XATTR_PREFIX, CONF_XATTR_CLIENT | CONF_XATTR_SERVER,
		  (char *)"", (char *)"user.host." },
	};
	struct fc *c = fc_new(NULL);
	char value[10];
	ssize_t n;

	c->set.xattr_rules.v = rules;
	c->set.xattr_rules.n = 3;
	fc_start(c);
	is_int(set(c, 1, "user.bad", "x", 1, 0, 0), -EPERM, "bad: SETXATTR");
	is_int(drop(c, 1, "user.bad"), -EPERM, "REMOVEXATTR");
	is_int(get(c, 1, "user.bad", 10), -ENODATA, "GETXATTR finds nothing");
	is_int(set(c, 1, "user.un", "x", 1, 0, 0), -EOPNOTSUPP, "unsupported");
	is_int(get(c, 1, "user.un", 10), -EOPNOTSUPP, "GETXATTR, too");
	is_int(set(c, 1, "trusted.x", "1", 1, 0, 0), 0, "prefix: SETXATTR");
	is_int(getxattr(c->dir, "user.host.trusted.x", value, 10), 1,
	       "the host has it under its name");
	setxattr(c->dir, "user.other", "", 0, 0);
	n = list(c, 1, 1000);
	ok(n == 10 && lists(c, n, "trusted.x"),
	   "the guest sees its own, no others");
	is_int(get(c, 1, "trusted.x", 10), 1, "GETXATTR");
	is_int(drop(c, 1, "trusted.x"), 0, "REMOVEXATTR");
	ok(getxattr(c->dir, "user.host.trusted.x", value, 10) < 0,
	   "the host has it no more");
	fc_free(c);
}

/* Reached without being opened: a fifo that is opened waits for ever. */
static void
test_special(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t id;
	int err;

	alarm(20);
	c->set.xattr = true;
	mkfifoat(c->fd, "fifo", 0600);
	symlinkat("nowhere", c->fd, "link");
	fc_start(c);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "link" : "fifo";

		id = (uint64_t)fc_lookup(c, 1, name);
		is_int(get(c, id, "user.a", 10), -ENODATA, "a %s", name);
		is_int(list(c, id, 1000), 0, "has none");
		is_int(set(c, id, "user.a", "x", 1, 0, 0), -EPERM,
		       "may not have user's");
		err = set(c, id, "trusted.a", "xy", 2, 0, 0);
		if (err) {
			tap_skip("trusted", "needs CAP_SYS_ADMIN");
			continue;
		}
		is_int(get(c, id, "trusted.a", 10), 2, "but trusted ones");
	}
	alarm(0);
	fc_free(c);
}

/* Access lists: {tag, perm, id} after a version, as the kernel has them. */
static const struct {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[5];
} acl = { 2, { { 1, 7, ~0U }, { 2, 6, 12345 }, { 4, 5, ~0U },
	       { 16, 7, ~0U }, { 32, 0, ~0U } } };

/* One that cannot say ACL_KILL_SGID. */
static void
test_old_guest(struct fc *c)
{
	static const struct {
		uint32_t uid, gid;
		mode_t sgid;
		const char *words;
	} callers[] = {
		{ 1000, 1000, 0, "another user's list takes the sgid bit" },
		{ 1000, 777, S_ISGID, "but not that of a member" },
		{ 0, 0, S_ISGID, "nor root's" },
	};
	struct stat st;
	uint64_t id;

	if (geteuid()) {
		tap_skip("lists of an older guest", "needs root");
		return;
	}
	fc_init(c, 32, FC_ALL_FLAGS & ~(uint64_t)FUSE_SETXATTR_EXT);
	fc_file(c, "old", "");
	id = (uint64_t)fc_lookup(c, 1, "old");
	for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
		fchownat(c->fd, "old", 1000, 777, 0);
		fchmodat(c->fd, "old", 02755, 0);
		c->uid = callers[i].uid;
		c->gid = callers[i].gid;
		is_int(set(c, id, "system.posix_acl_access", &acl, sizeof(acl),
			   0, 0), 0, "7.32: an access list");
		fc_stat(c, "old", &st);
		is_int(st.st_mode & S_ISGID, callers[i].sgid, "7.32: %s",
		       callers[i].words);
	}
	c->uid = c->gid = 0;
}

static void
test_acl(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_mkdir_in in = { .mode = 0777, .umask = 022 };
	struct fuse_init_out out;
	struct stat st;
	uint64_t id;
	int err;

	c->set.posix_acl = CONF_WHEN_AUTO;
	fc_open_share(c);
	out = fc_init(c, 45, FC_ALL_FLAGS & ~(uint64_t)FUSE_DONT_MASK);
	ok(!(out.flags & FUSE_POSIX_ACL), "no lists without DONT_MASK");
	out = fc_init(c, 45, FC_ALL_FLAGS);
	ok((out.flags & FUSE_POSIX_ACL) && (out.flags & FUSE_DONT_MASK) &&
	   (out.flags & FUSE_SETXATTR_EXT), "posix_acl = auto");
	fc_call(c, FUSE_MKDIR, 1, &in, sizeof(in), "d", NULL);
	fc_stat(c, "d", &st);
	is_int(st.st_mode & 0777, 0755, "the umask is ours to apply");
	id = (uint64_t)fc_lookup(c, 1, "d");
	err = set(c, id, "system.posix_acl_default", &acl, sizeof(acl), 0, 0);
	if (err == -EOPNOTSUPP) {
		tap_skip("access lists", "not on this file system");
		fc_free(c);
		return;
	}
	is_int(err, 0, "a default list");
	ok(lists(c, list(c, id, 1000), "system.posix_acl_default"), "is listed");
	fc_call(c, FUSE_MKDIR, id, &in, sizeof(in), "e", NULL);
	fc_stat(c, "d/e", &st);
	is_int(st.st_mode & 0777, 0770, "and takes the umask's place");
	id = (uint64_t)fc_lookup(c, id, "e");
	is_int(get(c, id, "system.posix_acl_access", 100), sizeof(acl),
	       "it is inherited");
	fchmodat(c->fd, "d/e", 02770, 0);
	is_int(set(c, id, "system.posix_acl_access", &acl, sizeof(acl), 0, 0),
	       0, "an access list");
	fc_stat(c, "d/e", &st);
	ok(st.st_mode & S_ISGID, "leaves the sgid bit");
	is_int(set(c, id, "system.posix_acl_access", &acl, sizeof(acl), 0,
		   FUSE_SETXATTR_ACL_KILL_SGID), 0, "ACL_KILL_SGID");
	fc_stat(c, "d/e", &st);
	ok(!(st.st_mode & S_ISGID), "takes it");
	test_old_guest(c);
	fc_free(c);

	c = fc_new(NULL);
	c->set.posix_acl = CONF_WHEN_ALWAYS;
	fc_open_share(c);
	fc_init(c, 45, FC_ALL_FLAGS & ~(uint64_t)FUSE_POSIX_ACL);
	ok(!fc_info(c).ready, "posix_acl = always refuses other guests");
	fc_free(c);
}

/* Again as on Linux before 6.13. */
static void
hide_system_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 463, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 467, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		printf("# seccomp: %s\n", strerror(errno));
}

int
main(void)
{
	int dir = open(".", O_PATH);

	test_off();
	test_basic();
	test_rules();
	test_special();
	test_acl();
	hide_system_calls();
	test_basic();
	/* A thread that changed its directory: only tests notice. */
	if (fchdir(dir) < 0)
		return 1;
	test_special();
	return tap_done();
}
