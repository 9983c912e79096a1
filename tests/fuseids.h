/* SPDX-License-Identifier: MIT */
/* For the tests of users and groups: the requests that show or take them. */
#ifndef TESTS_FUSEIDS_H
#define TESTS_FUSEIDS_H

#include <errno.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

/* Not in a user namespace of fewer ids? */
__attribute__((unused)) static bool
ids_all(void)
{
	FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned first = 0, outside = 0, count = 0;

	if (f && fscanf(f, "%u %u %u", &first, &outside, &count) != 3)
		count = 0;
	if (f)
		fclose(f);
	return count == UINT32_MAX;
}

/* Root who has every id? */
__attribute__((unused)) static bool
ids_all_ours(void)
{
	return geteuid() == 0 && ids_all();
}

/* An access list as the kernel has it. */
struct ids_acl {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[7];
};

/* user::rwx user:U:rw user:V:x group::r-x group:G:r-x mask::rwx other::--- */
#define IDS_ACL(u, v, g)                                                   \
	{ 2, { { 1, 7, ~0U }, { 2, 6, u }, { 2, 1, v }, { 4, 5, ~0U },     \
	       { 8, 5, g }, { 16, 7, ~0U }, { 32, 0, ~0U } } }

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

__attribute__((unused)) static int
ids_set_acl(struct fc *c, uint64_t id, const struct ids_acl *acl, size_t size)
{
	struct fuse_setxattr_in in = { .size = (uint32_t)size };
	char bytes[sizeof(in) + sizeof(ACL_ACCESS) + sizeof(*acl)];

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), ACL_ACCESS, sizeof(ACL_ACCESS));
	memcpy(bytes + sizeof(in) + sizeof(ACL_ACCESS), acl, size);
	size += sizeof(in) + sizeof(ACL_ACCESS);
	return (int)fc_raw(c, FUSE_SETXATTR, id, bytes, size,
			   (uint32_t)(sizeof(struct fuse_in_header) + size));
}

/* Its length; 0 in `size` asks only for that. */
__attribute__((unused)) static ssize_t
ids_get_acl(struct fc *c, uint64_t id, struct ids_acl *acl, uint32_t size)
{
	struct fuse_getxattr_in in = { .size = size };
	ssize_t n = fc_call(c, FUSE_GETXATTR, id, &in, sizeof(in), ACL_ACCESS,
			    NULL);

	if (n > 0 && size)
		memcpy(acl, c->out, (size_t)n);
	return n;
}

__attribute__((unused)) static ssize_t
ids_host_acl(struct fc *c, const char *name, struct ids_acl *acl)
{
	char path[5000];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	n = getxattr(path, ACL_ACCESS, acl, sizeof(*acl));
	return n < 0 ? -errno : n;
}

__attribute__((unused)) static int
ids_host_set_acl(struct fc *c, const char *name, const char *xattr,
		 const struct ids_acl *acl)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	return setxattr(path, xattr, acl, sizeof(*acl), 0) < 0 ? -errno : 0;
}

__attribute__((unused)) static int
ids_host_default_acl(struct fc *c, const char *name, const struct ids_acl *acl)
{
	return ids_host_set_acl(c, name, ACL_DEFAULT, acl);
}

/* Owners as STATX shows them. */
__attribute__((unused)) static void
ids_statx(struct fc *c, uint64_t id, struct fuse_attr *a)
{
	struct fs_wire_statx_in in = { 0 };
	struct fs_wire_statx_out out;

	a->uid = a->gid = FS_ID_NONE;
	if (fc_call(c, FS_OP_STATX, id, &in, sizeof(in), NULL, NULL) !=
	    sizeof(out))
		return;
	memcpy(&out, c->out, sizeof(out));
	a->uid = out.stat.uid;
	a->gid = out.stat.gid;
}

/* And READDIRPLUS of the root. */
__attribute__((unused)) static void
ids_listed(struct fc *c, const char *name, struct fuse_attr *a)
{
	uint64_t fh = (uint64_t)fc_opendir(c, 1);
	ssize_t n = fc_readdir(c, 1, fh, 0, 65536, true), at = 0;

	a->uid = a->gid = FS_ID_NONE;
	while (at < n) {
		struct fuse_direntplus d;
		size_t head = FUSE_NAME_OFFSET_DIRENTPLUS;

		memcpy(&d, c->out + at, head);
		if (d.dirent.namelen == strlen(name) &&
		    !memcmp(c->out + at + head, name, d.dirent.namelen))
			*a = d.entry_out.attr;
		at += (ssize_t)FUSE_DIRENT_ALIGN(head + d.dirent.namelen);
	}
	fc_releasedir(c, 1, fh);
}

#endif
