/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes: SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, and the
 * names that the rules of xattrmap give them on the host.
 *
 * An inode is reached through its O_PATH fd's name in /proc/self/fd, so that
 * nothing is ever opened, not even a fifo or a device.  Linux 6.13 has system
 * calls that take a directory for such a name; before it, the thread changes
 * into /proc/self/fd, once, and has a working directory of its own for that.
 *
 * Access control lists are served only to guests that enforce them
 * (POSIX_ACL) and keep their names whatever the rules say, because the host
 * must know a directory's default list.  The host drops security.capability
 * when a file changes; where a rule gives it another name, the guest must, and
 * INIT leaves it that work (fs_xattr_moves_caps).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/dosattr.h"
#include "fuse/ids.h"

#ifndef SYS_setxattrat		/* Linux 6.13; the same everywhere */
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define CAPABILITY "security.capability"

_Static_assert(FS_OUT_MAX >= XATTR_SIZE_MAX && FS_OUT_MAX >= XATTR_LIST_MAX,
	       "attributes fit into a thread's buffer");

struct value {			/* struct xattr_args */
	_Alignas(8) uint64_t value;
	uint32_t size;
	uint32_t flags;
};

/* ------------------------------------------------------------------ */
/* Names. */

static bool
begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

bool
fs_has_xattr(const struct conf_share *set)
{
	return set->xattr || set->xattr_rules.n ||
	       set->posix_acl != CONF_WHEN_NEVER ||
	       set->security_label != CONF_WHEN_NEVER;
}

static int
prefix(const char *with, const char *name, char buf[FS_XNAME_SIZE])
{
	int n = snprintf(buf, FS_XNAME_SIZE, "%s%s", with, name);

	return n < FS_XNAME_SIZE ? 0 : -ERANGE;
}

int
fs_xattr_name(const struct conf_share *set, const char *name,
	      char buf[FS_XNAME_SIZE], const char **host)
{
	const struct conf_rules *rules = &set->xattr_rules;

	*host = name;
	for (size_t i = 0; i < rules->n; i++) {
		const struct conf_xattr_rule *r = &rules->v[i];

		if (!(r->scope & CONF_XATTR_CLIENT) || !begins(name, r->key))
			continue;
		switch (r->type) {
		case CONF_XATTR_PREFIX:
			*host = buf;
			return prefix(r->prepend, name, buf);
		case CONF_XATTR_OK:
			return 0;
		case CONF_XATTR_UNSUPPORTED:
			return -EOPNOTSUPP;
		}
		return -EPERM;
	}
	return rules->n ? -EPERM : 0;
}

const char *
fs_xattr_shown(const struct conf_share *set, const char *name)
{
	const struct conf_rules *rules = &set->xattr_rules;

	for (size_t i = 0; i < rules->n; i++) {
		const struct conf_xattr_rule *r = &rules->v[i];

		if (!(r->scope & CONF_XATTR_SERVER) ||
		    !begins(name, r->prepend))
			continue;
		if (r->type == CONF_XATTR_OK)
			return name;
		if (r->type != CONF_XATTR_PREFIX)
			return NULL;
		name += strlen(r->prepend);
		return *name ? name : NULL;
	}
	return rules->n ? NULL : name;
}

bool
fs_xattr_moves_caps(const struct conf_share *set)
{
	char buf[FS_XNAME_SIZE];
	const char *host;

	return fs_has_xattr(set) &&
	       !fs_xattr_name(set, CAPABILITY, buf, &host) && host == buf;
}

static bool
is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

/* Where a share records in attributes, this one is no guest's. */
static bool
is_ours(const struct fs_ctx *c, const char *name)
{
	return c->share->records && !strcmp(name, FS_STATE_XATTR);
}

static bool
is_dos(const struct fs_ctx *c)
{
	return c->share->records && !strcmp(c->name, FS_DOSATTRIB);
}

/* The host's name of the one that the request brought. */
static int
host_name(struct fs_ctx *c, char buf[FS_XNAME_SIZE], const char **name)
{
	const struct conf_share *set = c->share->set;

	if (!fs_has_xattr(set))
		return -ENOSYS;
	*name = c->name;
	if (!is_acl(c->name)) {
		int err = fs_xattr_name(set, c->name, buf, name);

		return !err && is_ours(c, *name) ? -EPERM : err;
	}
	return fs_session_has(c->s, FUSE_POSIX_ACL) ? 0 : -EOPNOTSUPP;
}

/* ------------------------------------------------------------------ */
/* System calls on the node's O_PATH fd. */

/* From here on `fd` as a decimal number is the name of the inode. */
static int
enter_proc(struct fs_ctx *c)
{
	int err;

	if (c->t->in_proc)
		return 0;
	err = fs_cred_own_fs(&c->t->cred);
	if (err)
		return err;
	if (fchdir(c->share->proc_fd) < 0)
		return -errno;
	c->t->in_proc = true;
	return 0;
}

static void
name_fd(int fd, char path[16])
{
	snprintf(path, 16, "%d", fd);
}

int
fs_xattr_set(struct fs_ctx *c, int fd, const char *name, const void *value,
	     size_t size, int flags)
{
	struct value v = { (uintptr_t)value, (uint32_t)size, (uint32_t)flags };
	char path[16];
	int err;

	name_fd(fd, path);
	if (!syscall(SYS_setxattrat, c->share->proc_fd, path, 0, name, &v,
		     sizeof(v)))
		return 0;
	if (errno != ENOSYS)
		return -errno;
	err = enter_proc(c);
	if (!err && setxattr(path, name, value, size, flags) < 0)
		err = -errno;
	return err;
}

ssize_t
fs_xattr_get(struct fs_ctx *c, int fd, const char *name, void *value,
	     size_t size)
{
	struct value v = { (uintptr_t)value, (uint32_t)size, 0 };
	char path[16];
	ssize_t n;
	int err;

	name_fd(fd, path);
	n = syscall(SYS_getxattrat, c->share->proc_fd, path, 0, name, &v,
		    sizeof(v));
	if (n >= 0 || errno != ENOSYS)
		return n < 0 ? -errno : n;
	err = enter_proc(c);
	if (err)
		return err;
	n = getxattr(path, name, value, size);
	return n < 0 ? -errno : n;
}

static ssize_t
list_xattr(struct fs_ctx *c, char *list, size_t size)
{
	char path[16];
	ssize_t n;
	int err;

	name_fd(c->fd, path);
	n = syscall(SYS_listxattrat, c->share->proc_fd, path, 0, list, size);
	if (n >= 0 || errno != ENOSYS)
		return n < 0 ? -errno : n;
	err = enter_proc(c);
	if (err)
		return err;
	n = listxattr(path, list, size);
	return n < 0 ? -errno : n;
}

int
fs_xattr_remove(struct fs_ctx *c, int fd, const char *name)
{
	char path[16];
	int err;

	name_fd(fd, path);
	if (!syscall(SYS_removexattrat, c->share->proc_fd, path, 0, name))
		return 0;
	if (errno != ENOSYS)
		return -errno;
	err = enter_proc(c);
	if (!err && removexattr(path, name) < 0)
		err = -errno;
	return err;
}

/* ------------------------------------------------------------------ */
/* Requests. */

/* May the caller keep the file's sgid bit?  A guest before 7.33 does not say;
 * of its caller's groups one is known, and rather is the bit lost. */
static bool
keeps_sgid(struct fs_ctx *c, const struct fuse_setxattr_in *in,
	   const struct statx *stx)
{
	if (fs_session_has(c->s, FUSE_SETXATTR_EXT))
		return !(in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID);
	return c->h.uid == 0 || fs_ids_group(c) == stx->stx_gid;
}

/* Who is not of its group and sets a file's access list takes the bit away. */
static int
kill_sgid(struct fs_ctx *c, const struct fuse_setxattr_in *in)
{
	struct statx stx;
	int err = fs_statx(c, c->fd, "", &stx);

	if (err || !(stx.stx_mode & S_ISGID) || keeps_sgid(c, in, &stx))
		return err;
	return fs_chmod_path(c, c->fd, stx.stx_mode & 07777 & ~S_ISGID);
}

ssize_t
fs_op_setxattr(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_setxattr_in *in = arg;
	struct fs_req *r = c->req;
	char buf[FS_XNAME_SIZE];
	const char *name;
	size_t size = in->size;
	int err = host_name(c, buf, &name);

	(void)out;
	if (err)
		return err;
	if (is_dos(c) && !c->may_block)
		return FS_DEFER;
	if (in->size > XATTR_SIZE_MAX)
		return -E2BIG;
	if (in->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	fs_iov_read(r->in, r->nin, sizeof(c->h) + c->value_at, c->t->out,
		    in->size);
	if (is_acl(name))
		err = fs_ids_acl_to_host(c, c->t->out, &size);
	if (!err)
		err = fs_xattr_set(c, c->fd, name, c->t->out, size,
				   (int)in->flags);
	if (is_dos(c))
		err = fs_dos_set(c, c->t->out, size, (int)in->flags, err);
	if (!err && !strcmp(name, ACL_ACCESS))
		err = kill_sgid(c, in);
	return err;
}

int
fs_set_label(struct fs_ctx *c, int fd)
{
	char buf[FS_XNAME_SIZE];
	const char *name;
	int err;

	if (!c->label)
		return 0;
	err = fs_xattr_name(c->share->set, c->label_name, buf, &name);
	if (!err)
		err = fs_cred_self(&c->t->cred, false);
	return err ? err : fs_xattr_set(c, fd, name, c->label, c->label_size, 0);
}

/* n bytes are in t->out; or, when the guest asked for no more, n itself. */
static ssize_t
reply_bytes(struct fs_ctx *c, ssize_t n, uint32_t size, void *out)
{
	struct fuse_getxattr_out *o = out;

	if (n < 0)
		return n;
	if (!size) {
		if (c->req->out_len < sizeof(struct fuse_out_header) +
				      sizeof(*o))
			return -EINVAL;
		*o = (struct fuse_getxattr_out){ .size = (uint32_t)n };
		return sizeof(*o);
	}
	if ((size_t)n > size)
		return -ERANGE;
	c->body = c->t->out;
	return n;
}

ssize_t
fs_op_getxattr(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_getxattr_in *in = arg;
	size_t size = in->size < XATTR_SIZE_MAX ? in->size : XATTR_SIZE_MAX;
	char buf[FS_XNAME_SIZE];
	const char *name;
	ssize_t n;
	int err = host_name(c, buf, &name);

	/* What may not be set is not there, which is what programs expect. */
	if (err)
		return err == -EPERM ? -ENODATA : err;
	n = fs_xattr_get(c, c->fd, name, c->t->out, size);
	if (n < 0 && is_dos(c))
		n = fs_dos_get(c, c->t->out, size, n);
	if (n > 0 && size && is_acl(name)) {
		size = (size_t)n;
		fs_ids_acl_to_guest(c, c->t->out, &size);
		n = (ssize_t)size;
	}
	return reply_bytes(c, n, in->size, out);
}

/* Keep what the guest may see, under its own names.  They only get shorter. */
static size_t
filter(struct fs_ctx *c, char *list, size_t size)
{
	size_t to = 0, len;

	for (size_t from = 0; from < size; from += len) {
		const char *name = list + from, *shown;

		len = strnlen(name, size - from) + 1;
		if (is_ours(c, name))
			shown = NULL;
		else if (is_acl(name))
			shown = fs_session_has(c->s, FUSE_POSIX_ACL) ? name
								     : NULL;
		else
			shown = fs_xattr_shown(c->share->set, name);
		if (!shown)
			continue;
		memmove(list + to, shown, strlen(shown) + 1);
		to += strlen(list + to) + 1;
	}
	return to;
}

ssize_t
fs_op_listxattr(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_getxattr_in *in = arg;
	ssize_t n;

	if (!fs_has_xattr(c->share->set))
		return -ENOSYS;
	n = list_xattr(c, c->t->out, XATTR_LIST_MAX);
	if (n > 0)
		n = (ssize_t)filter(c, c->t->out, (size_t)n);
	if (c->share->records && (n >= 0 || n == -EOPNOTSUPP))
		n = fs_dos_list(c, c->t->out, n > 0 ? (size_t)n : 0,
				XATTR_LIST_MAX);
	return reply_bytes(c, n, in->size, out);
}

ssize_t
fs_op_removexattr(struct fs_ctx *c, const void *in, void *out)
{
	char buf[FS_XNAME_SIZE];
	const char *name;
	int err = host_name(c, buf, &name);

	(void)in;
	(void)out;
	if (err)
		return err;
	if (is_dos(c) && !c->may_block)
		return FS_DEFER;
	err = fs_xattr_remove(c, c->fd, name);
	return is_dos(c) ? fs_dos_remove(c, err) : err;
}
