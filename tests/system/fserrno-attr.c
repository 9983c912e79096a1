/* SPDX-License-Identifier: MIT */
/* Extended attributes and access lists. */
#include "config.h"

#include "tests/system/fserrno.h"

#include <linux/limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

static char big[XATTR_SIZE_MAX + 2], longest[300];

static const struct {
	const char *file, *name;
	size_t size;
	int flags;
} xattrs[] = {
	{ "f", "user.a", 10, 0 },
	{ "f", "user.a", 10, XATTR_REPLACE },
	{ "f", "user.a", 0, 0 },
	{ "f", "user.a", 10, 4 },
	{ "f", "trusted.a", 10, 0 },
	{ "f", "security.a", 10, 0 },
	{ "f", "security.capability", 10, 0 },
	{ "f", "system.a", 10, 0 },
	{ "f", "system.posix_acl_access", 10, 0 },
	{ "f", "system.posix_acl_access", 0, 0 },
	{ "f", "system.posix_acl_default", 0, 0 },
	{ "f", "none.a", 10, 0 },
	{ "f", "user.", 10, 0 },
	{ "f", "user", 10, 0 },
	{ "f", "user.big", 5000, 0 },
	{ "f", "user.big", XATTR_SIZE_MAX, 0 },
	{ "f", "user.big", XATTR_SIZE_MAX + 1, 0 },
	{ "f", longest, 10, 0 },
	{ "d", "user.a", 10, 0 },
	{ "d", "system.posix_acl_default", 10, 0 },
	{ "l", "user.a", 10, 0 },
	{ "l", "trusted.a", 10, 0 },
	{ "l", "system.posix_acl_access", 10, 0 },
	{ "p", "user.a", 10, 0 },
	{ "p", "trusted.a", 10, 0 },
};

static int
xattr_set(long i)
{
	return E(lsetxattr(xattrs[i].file, xattrs[i].name, big, xattrs[i].size,
			   xattrs[i].flags));
}

static int
xattr_create(long i)
{
	int err = xattr_set(i);

	return err ? err : E(lsetxattr(xattrs[i].file, xattrs[i].name, big,
				       xattrs[i].size, XATTR_CREATE));
}

/* What is not there. */
static int
xattr_get(long i)
{
	return E(lgetxattr(xattrs[i].file, xattrs[i].name, big, 100));
}

static int
xattr_get_short(long i)
{
	int err = xattr_set(i);

	return err ? err : E(lgetxattr(xattrs[i].file, xattrs[i].name, big, 1));
}

static int
xattr_remove(long i)
{
	return E(lremovexattr(xattrs[i].file, xattrs[i].name));
}

static int
xattr_list(long i)
{
	return E(llistxattr(xattrs[i].file, big, XATTR_LIST_MAX));
}

/* A list that is none, and good ones. */
static const struct {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[5];
} acls[] = {
	{ 2, { { 1, 7, ~0U }, { 2, 6, 12345 }, { 4, 5, ~0U }, { 16, 7, ~0U },
	       { 32, 0, ~0U } } },
	{ 2, { { 1, 7, ~0U }, { 2, 6, 12345 }, { 4, 5, ~0U }, { 32, 0, ~0U },
	       { 16, 7, ~0U } } },
	{ 7, { { 1, 7, ~0U } } },
};

static int
acl_of(long i)
{
	return E(setxattr("f", "system.posix_acl_access", &acls[i],
			  sizeof(acls[i]), 0));
}

static int
acl_of_dir(long i)
{
	return E(setxattr("d", "system.posix_acl_default", &acls[i],
			  sizeof(acls[i]), 0));
}

static int
acl_default_of_file(long i)
{
	return E(setxattr("f", "system.posix_acl_default", &acls[i],
			  sizeof(acls[i]), 0));
}

/* clang-format off */
const struct probe fserrno_attrs[] = {
	{ "access list", acl_of, 0, 0 },
	{ "access list: in disorder", acl_of, 1, 0 },
	{ "access list: of another version", acl_of, 2, 0 },
	{ "default list", acl_of_dir, 0, 0 },
	{ "default list: in disorder", acl_of_dir, 1, 0 },
	{ "default list: of a file", acl_default_of_file, 0, 0 },
	{ NULL, NULL, 0, 0 },
};
/* clang-format on */

static const struct {
	const char *words;
	probe_fn *run;
} xattr_calls[] = {
	{ "getxattr", xattr_get },
	{ "removexattr", xattr_remove },
	{ "setxattr", xattr_set },
	{ "setxattr: XATTR_CREATE again", xattr_create },
	{ "getxattr: no room", xattr_get_short },
	{ "listxattr", xattr_list },
};

bool
fserrno_xattr(unsigned i, struct probe *p, char *buf, size_t size)
{
	const unsigned ncalls = sizeof(xattr_calls) / sizeof(xattr_calls[0]);
	unsigned k = i % ncalls;

	i /= ncalls;
	if (i == sizeof(xattrs) / sizeof(xattrs[0]))
		return false;
	if (!longest[0]) {
		memset(longest, 'x', 256);
		memcpy(longest, "user.", 5);
	}
	snprintf(buf, size, "%s: %s of %s, %zu bytes", xattr_calls[k].words,
		 xattrs[i].name, xattrs[i].file, xattrs[i].size);
	*p = (struct probe){ buf, xattr_calls[k].run, (long)i, 0 };
	return true;
}
