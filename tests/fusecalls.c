/* SPDX-License-Identifier: MIT */
/* The requests of fuseclient.h, each as a call with arguments. */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuseclient.h"

struct fuse_init_out
fc_init(struct fc *c, uint32_t minor, uint64_t flags)
{
	struct fuse_init_in in = { .major = 7, .minor = minor,
				   .max_readahead = 131072,
				   .flags = (uint32_t)flags,
				   .flags2 = (uint32_t)(flags >> 32) };
	struct fuse_init_out out = { 0 };
	ssize_t n = fc_call(c, FUSE_INIT, 0, &in, sizeof(in), NULL, NULL);

	if (n == sizeof(out))
		memcpy(&out, c->out, sizeof(out));
	return out;
}

struct fuse_init_out
fc_init_windows(struct fc *c)
{
	struct fuse_init_in in = { .major = 7, .minor = 31,
				   .flags = FUSE_DO_READDIRPLUS |
					    FUSE_MAX_PAGES };
	struct fuse_init_out out = { 0 };
	ssize_t n;

	c->room = 80;
	n = fc_call(c, FUSE_INIT, 1, &in, 16, NULL, NULL);
	c->room = 0;
	if (n == sizeof(out))
		memcpy(&out, c->out, sizeof(out));
	return out;
}

static int64_t
entry_id(const struct fc *c, ssize_t n)
{
	struct fuse_entry_out e;

	if (n < 0)
		return n;
	memcpy(&e, c->out, sizeof(e));
	return (int64_t)e.nodeid;
}

int64_t
fc_lookup(struct fc *c, uint64_t dir, const char *name)
{
	return entry_id(c, fc_call(c, FUSE_LOOKUP, dir, NULL, 0, name, NULL));
}

int64_t
fc_mkdir(struct fc *c, uint64_t dir, const char *name, uint32_t mode)
{
	struct fuse_mkdir_in in = { .mode = mode };

	return entry_id(c, fc_call(c, FUSE_MKDIR, dir, &in, sizeof(in), name,
				   NULL));
}

int64_t
fc_create(struct fc *c, uint64_t dir, const char *name, uint32_t flags,
	  uint32_t mode, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = mode };
	ssize_t n = fc_call(c, FUSE_CREATE, dir, &in, sizeof(in), name, NULL);
	struct fuse_open_out o;
	int64_t id = entry_id(c, n);

	if (n < 0)
		return n;
	memcpy(&o, c->out + sizeof(struct fuse_entry_out), sizeof(o));
	if (fh)
		*fh = o.fh;
	else
		fc_release(c, (uint64_t)id, o.fh);
	return id;
}

static int64_t
open_any(struct fc *c, uint32_t opcode, uint64_t node, uint32_t flags)
{
	struct fuse_open_in in = { .flags = flags };
	ssize_t n = fc_call(c, opcode, node, &in, sizeof(in), NULL, NULL);
	struct fuse_open_out o;

	if (n < 0)
		return n;
	memcpy(&o, c->out, sizeof(o));
	return (int64_t)o.fh;
}

int64_t
fc_open(struct fc *c, uint64_t node, uint32_t flags)
{
	return open_any(c, FUSE_OPEN, node, flags);
}

int64_t
fc_opendir(struct fc *c, uint64_t node)
{
	return open_any(c, FUSE_OPENDIR, node, O_DIRECTORY);
}

static int
release_any(struct fc *c, uint32_t opcode, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return (int)fc_call(c, opcode, node, &in, sizeof(in), NULL, NULL);
}

int
fc_release(struct fc *c, uint64_t node, uint64_t fh)
{
	return release_any(c, FUSE_RELEASE, node, fh);
}

int
fc_releasedir(struct fc *c, uint64_t node, uint64_t fh)
{
	return release_any(c, FUSE_RELEASEDIR, node, fh);
}

ssize_t
fc_read(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
	uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return fc_call(c, FUSE_READ, node, &in, sizeof(in), NULL, NULL);
}

ssize_t
fc_write(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
	 const void *data, uint32_t size, uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = size,
				    .write_flags = flags,
				    .flags = c->file_flags };
	char *bytes = malloc(sizeof(in) + size);
	struct fuse_write_out out;
	ssize_t n;

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), data, size);
	n = fc_raw(c, FUSE_WRITE, node, bytes, sizeof(in) + size,
		   (uint32_t)(sizeof(struct fuse_in_header) + sizeof(in)) +
		   size);
	free(bytes);
	if (n < 0)
		return n;
	memcpy(&out, c->out, sizeof(out));
	return out.size;
}

ssize_t
fc_readdir(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
	   uint32_t size, bool plus)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return fc_call(c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in,
		       sizeof(in), NULL, NULL);
}

static int
attr_reply(struct fc *c, ssize_t n, struct fuse_attr *attr)
{
	struct fuse_attr_out out;

	if (n < 0)
		return (int)n;
	memcpy(&out, c->out, sizeof(out));
	if (attr)
		*attr = out.attr;
	return 0;
}

int
fc_getattr(struct fc *c, uint64_t node, struct fuse_attr *attr)
{
	struct fuse_getattr_in in = { 0 };

	return attr_reply(c, fc_call(c, FUSE_GETATTR, node, &in, sizeof(in),
				     NULL, NULL), attr);
}

int
fc_setattr(struct fc *c, uint64_t node, const struct fuse_setattr_in *in,
	   struct fuse_attr *attr)
{
	return attr_reply(c, fc_call(c, FUSE_SETATTR, node, in, sizeof(*in),
				     NULL, NULL), attr);
}

int
fc_unlink(struct fc *c, uint64_t dir, const char *name)
{
	return (int)fc_call(c, FUSE_UNLINK, dir, NULL, 0, name, NULL);
}

int
fc_rmdir(struct fc *c, uint64_t dir, const char *name)
{
	return (int)fc_call(c, FUSE_RMDIR, dir, NULL, 0, name, NULL);
}

int
fc_rename(struct fc *c, uint64_t dir, const char *name, uint64_t dir2,
	  const char *name2, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = dir2, .flags = flags };

	return (int)fc_call(c, FUSE_RENAME2, dir, &in, sizeof(in), name,
			    name2);
}

void
fc_forget(struct fc *c, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	fc_call(c, FUSE_FORGET, node, &in, sizeof(in), NULL, NULL);
}

struct fs_info
fc_info(struct fc *c)
{
	struct fs_info info;

	fs_session_info(c->session, &info);
	return info;
}
