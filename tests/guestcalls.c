/* SPDX-License-Identifier: MIT */
/*
 * The pretend guest's FUSE requests, one function each.  Sizes are those of
 * the kernel's structs; what differs with the Windows client stands in
 * is_windows branches: INIT of 16 bytes, READLINK of 300/276 bytes, FORGET
 * with room for an answer.
 */
#include "config.h"

#include "tests/guest.h"

#include "tests/guestpriv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIN_LINK 260			/* bytes of a path to this client */

static struct iovec
piece(const void *p, size_t len)
{
	return (struct iovec){ (void *)p, len };
}

static struct iovec
name_piece(const char *name)
{
	return piece(name, strlen(name) + 1);
}

/* A request whose answer is exactly `size` bytes. */
static int
call_exact(struct guest *g, struct guest_req *req, void *out, size_t size)
{
	unsigned char buf[512];
	int n;

	req->room = size;
	n = guest_call(g, req, buf);
	if (n < 0)
		return n;
	if ((size_t)n != size)
		return guest_broken(g, "opcode %u: %d bytes, not %zu",
				    req->opcode, n, size);
	if (out)
		memcpy(out, buf, size);
	return 0;
}

static int
call_arg(struct guest *g, uint32_t opcode, uint64_t nodeid, const void *arg,
	 size_t arg_len, void *out, size_t out_len)
{
	struct guest_req req = {
		.opcode = opcode, .nodeid = nodeid,
		.in = { piece(arg, arg_len) },
	};

	return call_exact(g, &req, out, out_len);
}

static int
call_name(struct guest *g, uint32_t opcode, uint64_t nodeid, const char *name,
	  void *out, size_t out_len)
{
	return call_arg(g, opcode, nodeid, name, strlen(name) + 1, out,
			out_len);
}

static int
call_arg_name(struct guest *g, uint32_t opcode, uint64_t nodeid,
	      const void *arg, size_t arg_len, const char *name, void *out,
	      size_t out_len)
{
	struct guest_req req = {
		.opcode = opcode, .nodeid = nodeid,
		.in = { piece(arg, arg_len), name_piece(name) },
	};

	return call_exact(g, &req, out, out_len);
}

/* ------------------------------------------------------------------ */

/* What Linux 6.1 asks for, without what a front end has no use for. */
#define LINUX_FLAGS (FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | \
	FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | FUSE_DONT_MASK | \
	FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA | \
	FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | \
	FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS | \
	FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_ABORT_ERROR | \
	FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | \
	FUSE_EXPLICIT_INVAL_DATA | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 | \
	FUSE_SETXATTR_EXT | FUSE_INIT_EXT)

int
guest_init_flags(struct guest *g, uint64_t flags, struct fuse_init_out *out)
{
	struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 38,
		.max_readahead = 128 << 10,
		.flags = (uint32_t)flags,
		.flags2 = (uint32_t)(flags >> 32),
	};
	struct guest_req req = {
		.opcode = FUSE_INIT, .nodeid = 0,
		.in = { piece(&in, sizeof(in)) },
		.room = sizeof(*out),
	};
	struct fuse_init_out answer;
	int n;

	if (guest_is_windows(g)) {
		in.minor = 31;
		in.max_readahead = 0;
		req.nodeid = 1;
		req.in[0].iov_len = 16;
	}
	memset(&answer, 0, sizeof(answer));
	n = guest_call(g, &req, &answer);
	if (n < 0)
		return n;
	if (n < 24 || answer.major != FUSE_KERNEL_VERSION)
		return guest_broken(g, "INIT: %d bytes, version %u.%u", n,
				    answer.major, answer.minor);
	g->max_write = answer.max_write;
	g->max_pages = answer.max_pages ? answer.max_pages : 32;
	if (out)
		*out = answer;
	return 0;
}

int
guest_init(struct guest *g, struct fuse_init_out *out)
{
	uint64_t flags = FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES;

	return guest_init_flags(g, guest_is_windows(g) ? flags : LINUX_FLAGS,
				out);
}

int
guest_destroy(struct guest *g)
{
	return call_arg(g, FUSE_DESTROY, 0, NULL, 0, NULL, 0);
}

int
guest_lookup(struct guest *g, uint64_t parent, const char *name,
	     struct fuse_entry_out *out)
{
	return call_name(g, FUSE_LOOKUP, parent, name, out, sizeof(*out));
}

/* Nothing answers a FORGET, but its chain comes back. */
static int
forget(struct guest *g, struct guest_req *req)
{
	int n;

	req->no_reply = !guest_is_windows(g);
	n = guest_call(g, req, NULL);
	return n > 0 ? guest_broken(g, "FORGET answered %d bytes", n) : n;
}

int
guest_forget(struct guest *g, uint64_t nodeid, uint64_t nlookup)
{
	struct fuse_forget_in in = { .nlookup = nlookup };
	struct guest_req req = {
		.opcode = FUSE_FORGET, .nodeid = nodeid,
		.in = { piece(&in, sizeof(in)) },
	};

	return forget(g, &req);
}

int
guest_batch_forget(struct guest *g, const struct fuse_forget_one *v,
		   uint32_t n)
{
	struct fuse_batch_forget_in in = { .count = n };
	struct guest_req req = {
		.opcode = FUSE_BATCH_FORGET,
		.in = { piece(&in, sizeof(in)), piece(v, n * sizeof(*v)) },
	};

	return forget(g, &req);
}

int
guest_getattr(struct guest *g, uint64_t nodeid, uint64_t fh,
	      struct fuse_attr_out *out)
{
	struct fuse_getattr_in in = {
		.getattr_flags = fh ? FUSE_GETATTR_FH : 0, .fh = fh,
	};

	return call_arg(g, FUSE_GETATTR, nodeid, &in, sizeof(in), out,
			sizeof(*out));
}

int
guest_setattr(struct guest *g, uint64_t nodeid,
	      const struct fuse_setattr_in *in, struct fuse_attr_out *out)
{
	return call_arg(g, FUSE_SETATTR, nodeid, in, sizeof(*in), out,
			sizeof(*out));
}

int
guest_readlink(struct guest *g, uint64_t nodeid, char *buf, size_t size)
{
	unsigned char tail[WIN_LINK];
	char target[4096];
	struct guest_req req = {
		.opcode = FUSE_READLINK, .nodeid = nodeid,
		.room = sizeof(target) - 1,
	};
	int n;

	if (guest_is_windows(g)) {
		for (size_t i = 0; i < sizeof(tail); i++)
			tail[i] = (unsigned char)guest_garbage(g);
		req.in[0] = piece(tail, sizeof(tail));
		req.room = WIN_LINK;
	}
	n = guest_call(g, &req, target);
	if (n < 0)
		return n;
	target[n] = '\0';
	snprintf(buf, size, "%s", target);
	return n;
}

int
guest_symlink(struct guest *g, uint64_t parent, const char *name,
	      const char *target, struct fuse_entry_out *out)
{
	return call_arg_name(g, FUSE_SYMLINK, parent, name, strlen(name) + 1,
			     target, out, sizeof(*out));
}

int
guest_mknod(struct guest *g, uint64_t parent, const char *name, uint32_t mode,
	    uint32_t rdev, struct fuse_entry_out *out)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };

	return call_arg_name(g, FUSE_MKNOD, parent, &in, sizeof(in), name, out,
			     sizeof(*out));
}

int
guest_mkdir(struct guest *g, uint64_t parent, const char *name, uint32_t mode,
	    struct fuse_entry_out *out)
{
	struct fuse_mkdir_in in = { .mode = mode };

	return call_arg_name(g, FUSE_MKDIR, parent, &in, sizeof(in), name, out,
			     sizeof(*out));
}

int
guest_unlink(struct guest *g, uint64_t parent, const char *name)
{
	return call_name(g, FUSE_UNLINK, parent, name, NULL, 0);
}

int
guest_rmdir(struct guest *g, uint64_t parent, const char *name)
{
	return call_name(g, FUSE_RMDIR, parent, name, NULL, 0);
}

static int
call_rename(struct guest *g, uint32_t opcode, uint64_t from, const void *arg,
	    size_t arg_len, const char *name, const char *new_name)
{
	struct guest_req req = {
		.opcode = opcode, .nodeid = from,
		.in = { piece(arg, arg_len), name_piece(name),
			name_piece(new_name) },
	};

	return call_exact(g, &req, NULL, 0);
}

int
guest_rename(struct guest *g, uint64_t from, const char *name, uint64_t to,
	     const char *new_name)
{
	struct fuse_rename_in in = { .newdir = to };

	return call_rename(g, FUSE_RENAME, from, &in, sizeof(in), name,
			   new_name);
}

int
guest_rename2(struct guest *g, uint64_t from, const char *name, uint64_t to,
	      const char *new_name, uint32_t flags)
{
	struct fuse_rename2_in in = {
		.newdir = to, .flags = flags, .padding = guest_garbage(g),
	};

	return call_rename(g, FUSE_RENAME2, from, &in, sizeof(in), name,
			   new_name);
}

int
guest_link(struct guest *g, uint64_t nodeid, uint64_t parent, const char *name,
	   struct fuse_entry_out *out)
{
	struct fuse_link_in in = { .oldnodeid = nodeid };

	return call_arg_name(g, FUSE_LINK, parent, &in, sizeof(in), name, out,
			     sizeof(*out));
}

int
guest_create(struct guest *g, uint64_t parent, const char *name,
	     uint32_t flags, uint32_t mode, struct fuse_entry_out *out,
	     uint64_t *fh)
{
	struct fuse_create_in in = {
		.flags = flags, .mode = mode, .open_flags = guest_garbage(g),
	};
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} answer;
	int err = call_arg_name(g, FUSE_CREATE, parent, &in, sizeof(in), name,
				&answer, sizeof(answer));

	if (err)
		return err;
	if (out)
		*out = answer.entry;
	*fh = answer.open.fh;
	return 0;
}

static int
call_open(struct guest *g, uint32_t opcode, uint64_t nodeid, uint32_t flags,
	  uint64_t *fh)
{
	struct fuse_open_in in = {
		.flags = flags, .open_flags = guest_garbage(g),
	};
	struct fuse_open_out out;
	int err = call_arg(g, opcode, nodeid, &in, sizeof(in), &out,
			   sizeof(out));

	if (!err)
		*fh = out.fh;
	return err;
}

int
guest_open_file(struct guest *g, uint64_t nodeid, uint32_t flags, uint64_t *fh)
{
	return call_open(g, FUSE_OPEN, nodeid, flags, fh);
}

static int
call_read(struct guest *g, uint32_t opcode, uint64_t nodeid, uint64_t fh,
	  uint64_t offset, void *buf, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };
	struct guest_req req = {
		.opcode = opcode, .nodeid = nodeid,
		.in = { piece(&in, sizeof(in)) }, .room = size,
	};

	return guest_call(g, &req, buf);
}

int
guest_read(struct guest *g, uint64_t nodeid, uint64_t fh, uint64_t offset,
	   void *buf, uint32_t size)
{
	return call_read(g, FUSE_READ, nodeid, fh, offset, buf, size);
}

int
guest_write(struct guest *g, uint64_t nodeid, uint64_t fh, uint64_t offset,
	    const void *buf, uint32_t size)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = size };
	struct guest_req req = {
		.opcode = FUSE_WRITE, .nodeid = nodeid,
		.in = { piece(&in, sizeof(in)), piece(buf, size) },
	};
	struct fuse_write_out out;
	int err = call_exact(g, &req, &out, sizeof(out));

	if (err)
		return err;
	if (out.size > size)
		return guest_broken(g, "WRITE of %u wrote %u", size, out.size);
	return (int)out.size;
}

static int
call_release(struct guest *g, uint32_t opcode, uint64_t nodeid, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return call_arg(g, opcode, nodeid, &in, sizeof(in), NULL, 0);
}

int
guest_release(struct guest *g, uint64_t nodeid, uint64_t fh)
{
	return call_release(g, FUSE_RELEASE, nodeid, fh);
}

int
guest_flush(struct guest *g, uint64_t nodeid, uint64_t fh)
{
	struct fuse_flush_in in = { .fh = fh };

	return call_arg(g, FUSE_FLUSH, nodeid, &in, sizeof(in), NULL, 0);
}

static int
call_fsync(struct guest *g, uint32_t opcode, uint64_t nodeid, uint64_t fh,
	   bool datasync)
{
	struct fuse_fsync_in in = {
		.fh = fh, .fsync_flags = datasync ? FUSE_FSYNC_FDATASYNC : 0,
	};

	return call_arg(g, opcode, nodeid, &in, sizeof(in), NULL, 0);
}

int
guest_fsync(struct guest *g, uint64_t nodeid, uint64_t fh, bool datasync)
{
	return call_fsync(g, FUSE_FSYNC, nodeid, fh, datasync);
}

int
guest_fallocate(struct guest *g, uint64_t nodeid, uint64_t fh, uint64_t offset,
		uint64_t length, uint32_t mode)
{
	struct fuse_fallocate_in in = {
		.fh = fh, .offset = offset, .length = length, .mode = mode,
	};

	return call_arg(g, FUSE_FALLOCATE, nodeid, &in, sizeof(in), NULL, 0);
}

int
guest_statfs(struct guest *g, struct fuse_statfs_out *out)
{
	return call_arg(g, FUSE_STATFS, GUEST_ROOT, NULL, 0, out,
			sizeof(*out));
}

int
guest_access(struct guest *g, uint64_t nodeid, uint32_t mask)
{
	struct fuse_access_in in = { .mask = mask };

	return call_arg(g, FUSE_ACCESS, nodeid, &in, sizeof(in), NULL, 0);
}

int
guest_opendir(struct guest *g, uint64_t nodeid, uint64_t *fh)
{
	return call_open(g, FUSE_OPENDIR, nodeid,
			 guest_is_windows(g) ? 0200000 : 0, fh);
}

int
guest_releasedir(struct guest *g, uint64_t nodeid, uint64_t fh)
{
	return call_release(g, FUSE_RELEASEDIR, nodeid, fh);
}

int
guest_fsyncdir(struct guest *g, uint64_t nodeid, uint64_t fh)
{
	return call_fsync(g, FUSE_FSYNCDIR, nodeid, fh, false);
}

int
guest_readdir(struct guest *g, uint64_t nodeid, uint64_t fh, uint64_t offset,
	      bool plus, void *buf, uint32_t size)
{
	return call_read(g, plus ? FUSE_READDIRPLUS : FUSE_READDIR, nodeid, fh,
			 offset, buf, size);
}

int
guest_dirent(const void *buf, size_t len, bool plus, size_t *pos,
	     struct guest_dirent *d)
{
	size_t before = plus ? sizeof(struct fuse_entry_out) : 0;
	const unsigned char *p = (const unsigned char *)buf + *pos;
	struct fuse_dirent de;
	size_t size;

	if (*pos == len)
		return 0;
	if (*pos > len || len - *pos < before + FUSE_NAME_OFFSET)
		return GUEST_BROKEN;
	memcpy(&de, p + before, FUSE_NAME_OFFSET);
	size = before + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET +
					  (size_t)de.namelen);
	if (de.namelen == 0 || de.namelen > 255 || size > len - *pos)
		return GUEST_BROKEN;
	d->entry = plus ? (const void *)p : NULL;
	d->ino = de.ino;
	d->off = de.off;
	d->type = de.type;
	memcpy(d->name, p + before + FUSE_NAME_OFFSET, de.namelen);
	d->name[de.namelen] = '\0';
	*pos += size;
	return 1;
}

int
guest_walk(struct guest *g, const char *path, struct fuse_entry_out *out)
{
	char *copy = strdup(path), *save = NULL;
	int err = 0;

	if (!copy)
		return guest_broken(g, "no memory");
	memset(out, 0, sizeof(*out));
	out->nodeid = GUEST_ROOT;
	for (char *w = strtok_r(copy, "/", &save); w && !err;
	     w = strtok_r(NULL, "/", &save))
		err = guest_lookup(g, out->nodeid, w, out);
	free(copy);
	return err;
}
