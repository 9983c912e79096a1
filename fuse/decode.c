/* SPDX-License-Identifier: MIT */
/*
 * A request out of guest memory: copied once, then its names, its extensions
 * and the place of its data are checked.  The names that handlers use are the
 * copies made here.
 */
#include "config.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>

#include "fuse/fs.h"

/* One string with its NUL from *p on, before end. */
static int
take_string(char **p, char *end, const char **string, size_t *len)
{
	char *nul = memchr(*p, 0, (size_t)(end - *p));

	if (!nul)
		return -EINVAL;
	*string = *p;
	*len = (size_t)(nul - *p);
	*p = nul + 1;
	return *len ? 0 : -EINVAL;
}

static int
take_name(char **p, char *end, unsigned flags, const char **name)
{
	size_t len;
	int err = take_string(p, end, name, &len);
	const char *s = *name;

	if (err)
		return err;
	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	if (memchr(s, '/', len))
		return len == 1 && (flags & FS_NAMELESS) ? 0 : -EINVAL;
	if (s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.')))
		return flags & FS_DOTS ? 0 : -EINVAL;
	return 0;
}

/* Of an extended attribute: any string that the host could take. */
static int
take_xname(char **p, char *end, const char **name)
{
	size_t len;
	int err = take_string(p, end, name, &len);

	if (err)
		return err;
	return len <= XATTR_NAME_MAX ? 0 : -ERANGE;
}

static int
take_target(char **p, char *end, const char **target)
{
	size_t len;
	int err = take_string(p, end, target, &len);

	if (err)
		return err;
	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The names of the row's kind, from p on. */
static int
take_names(struct fs_ctx *c, char *p, char *end, char **after)
{
	unsigned flags = c->op->flags;
	int err;

	if (flags & FS_XNAME)
		err = take_xname(&p, end, &c->name);
	else
		err = take_name(&p, end, flags, &c->name);

	if (!err && (flags & FS_NAME2))
		err = take_name(&p, end, 0, &c->name2);
	if (!err && (flags & FS_PATH))
		err = take_target(&p, end, &c->name2);
	*after = p;
	return err;
}

/*
 * Where the extensions begin that stand behind the names.  Before 7.38 the
 * header does not tell their size: then a label is all that is left.  Without
 * an extension agreed on the header's field is padding, with garbage by
 * Windows.
 */
static int
find_extensions(struct fs_ctx *c, size_t left, size_t *size)
{
	*size = 0;
	if (atomic_load_explicit(&c->s->minor, memory_order_relaxed) < 38) {
		if (fs_session_has(c->s, FUSE_SECURITY_CTX) &&
		    (c->op->flags & FS_CALLER))
			*size = left;
	} else if (fs_session_has(c->s, FUSE_CREATE_SUPP_GROUP) ||
		   fs_session_has(c->s, FUSE_SECURITY_CTX)) {
		*size = c->h.total_extlen * sizeof(uint64_t);
	}
	return *size == left ? 0 : -EINVAL;
}

/* The caller's groups out of an extension. */
static int
take_groups(struct fs_ctx *c, const char *p, size_t size)
{
	struct fs_wire_groups g;

	if (size < sizeof(g))
		return -EINVAL;
	memcpy(&g, p, sizeof(g));
	if (g.nr_groups > FS_GROUPS_MAX ||
	    g.nr_groups * sizeof(uint32_t) > size - sizeof(g))
		return -EINVAL;
	memcpy(c->groups, p + sizeof(g), g.nr_groups * sizeof(uint32_t));
	c->ngroups = g.nr_groups;
	return 0;
}

/* The label of what is made; a guest has at most one security module that
 * sends any. */
static int
take_label(struct fs_ctx *c, const char *p, size_t size, uint32_t n)
{
	struct fuse_secctx ctx;
	const char *nul;

	if (!n)
		return 0;
	if (size < sizeof(ctx))
		return -EINVAL;
	memcpy(&ctx, p, sizeof(ctx));
	p += sizeof(ctx);
	size -= sizeof(ctx);
	nul = memchr(p, 0, size);
	if (!nul || nul == p || nul - p > XATTR_NAME_MAX ||
	    ctx.size > size - (size_t)(nul + 1 - p))
		return -EINVAL;
	c->label_name = p;
	c->label = nul + 1;
	c->label_size = ctx.size;
	return 0;
}

static int
take_extensions(struct fs_ctx *c, const char *p, size_t left)
{
	while (left) {
		struct fuse_ext_header ext;
		int err = 0;

		if (left < sizeof(ext))
			return -EINVAL;
		memcpy(&ext, p, sizeof(ext));
		if (ext.size < sizeof(ext) || ext.size > left ||
		    ext.size % sizeof(uint64_t))
			return -EINVAL;
		if (ext.type < FS_EXT_GROUPS)
			err = take_label(c, p + sizeof(ext),
					 ext.size - sizeof(ext), ext.type);
		else if (ext.type == FS_EXT_GROUPS)
			err = take_groups(c, p + sizeof(ext),
					  ext.size - sizeof(ext));
		if (err)
			return err;
		p += ext.size;
		left -= ext.size;
	}
	return 0;
}

/*
 * SETXATTR: its struct has grown (SETXATTR_EXT), and after the name stands a
 * value of up to 64 KiB, which is left where it is.
 */
static int
decode_value(struct fs_ctx *c)
{
	struct fs_req *r = c->req;
	struct fuse_setxattr_in *in = (void *)c->t->in;
	size_t fixed = FUSE_COMPAT_SETXATTR_IN_SIZE, n;
	char *p = c->t->in + sizeof(*in);
	int err;

	if (fs_session_has(c->s, FUSE_SETXATTR_EXT))
		fixed = sizeof(*in);
	if (c->in_len < fixed)
		return -EINVAL;
	memset(in, 0, sizeof(*in));
	fs_iov_read(r->in, r->nin, sizeof(c->h), in, fixed);
	n = c->in_len - fixed;
	if (n > XATTR_NAME_MAX + 2)
		n = XATTR_NAME_MAX + 2;
	n = fs_iov_read(r->in, r->nin, sizeof(c->h) + fixed, p, n);
	if (n == XATTR_NAME_MAX + 2 && !memchr(p, 0, n))
		return -ERANGE;
	err = take_xname(&p, p + n, &c->name);
	if (err)
		return err;
	c->value_at = fixed + (size_t)(p - c->t->in) - sizeof(*in);
	return in->size <= c->in_len - c->value_at ? 0 : -EINVAL;
}

/*
 * Copy what follows the header, but for file data, and check it.  The copy is
 * followed by zeros, so that structs an older guest sends shorter are whole.
 */
int
fs_decode(struct fs_ctx *c)
{
	struct fs_req *r = c->req;
	const struct fs_op *op = c->op;
	bool named = op->flags & (FS_NAME | FS_NAME2 | FS_XNAME);
	size_t n = op->flags & FS_DATA ? op->in : c->in_len, ext = 0;
	char *in = c->t->in, *p;
	int err;

	if (c->in_len < op->in)
		return -EINVAL;
	if (op->flags & FS_VALUE)
		return decode_value(c);
	if (n > FS_IN_MAX) {
		if (named)
			return -ENAMETOOLONG;
		n = FS_IN_MAX;
	}
	n = fs_iov_read(r->in, r->nin, sizeof(c->h), in, n);
	memset(in + n, 0, FS_IN_PAD);
	if (!named)
		return 0;
	err = take_names(c, in + op->in, in + n, &p);
	if (!err)
		err = find_extensions(c, (size_t)(in + n - p), &ext);
	return err ? err : take_extensions(c, p, ext);
}
