/* SPDX-License-Identifier: MIT */
/*
 * Requests as one line of text, for traces.  Each row of the op table may name
 * a function here that prints its fixed part; names are printed for it.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fuse/fs.h"
#include "fuse/show.h"

enum { SHOW_MAX = 1024 };	/* bytes of a request that are looked at */

__attribute__((format(printf, 2, 3))) static void
add(struct fs_text *t, const char *fmt, ...)
{
	size_t at = t->len < t->size ? t->len : t->size;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->size ? t->buf + at : NULL, t->size - at, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
}

/* In quotes, with what would spoil a line as \ooo. */
static void
add_string(struct fs_text *t, const char *s, size_t len)
{
	add(t, " \"");
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)s[i];

		if (ch < 0x20 || ch == 0x7f || ch == '"' || ch == '\\')
			add(t, "\\%03o", ch);
		else
			add(t, "%c", ch);
	}
	add(t, "\"");
}

/* The body that follows gets the fixed part as its own struct. */
#define SHOW(name, type) \
	static void show_##name(struct fs_text *, \
				const struct fuse_##type##_in *); \
	void fs_show_##name(struct fs_text *t, const void *in) \
	{ \
		show_##name(t, in); \
	} \
	static void \
	show_##name(struct fs_text *t, const struct fuse_##type##_in *in)

SHOW(access, access)
{
	add(t, " mask=%" PRIu32, in->mask);
}

SHOW(copy, copy_file_range)
{
	add(t, " fh=%" PRIu64 " off=%" PRIu64 " to=%" PRIu64 " fh=%" PRIu64
	    " off=%" PRIu64 " len=%" PRIu64, in->fh_in, in->off_in,
	    in->nodeid_out, in->fh_out, in->off_out, in->len);
}

SHOW(create, create)
{
	add(t, " flags=0%" PRIo32 " mode=0%" PRIo32, in->flags, in->mode);
}

SHOW(fallocate, fallocate)
{
	add(t, " fh=%" PRIu64 " off=%" PRIu64 " len=%" PRIu64 " mode=%" PRIu32,
	    in->fh, in->offset, in->length, in->mode);
}

SHOW(fh, release)
{
	add(t, " fh=%" PRIu64, in->fh);
}

SHOW(forget, forget)
{
	add(t, " nlookup=%" PRIu64, in->nlookup);
}

SHOW(fsync, fsync)
{
	add(t, " fh=%" PRIu64 " flags=%" PRIu32, in->fh, in->fsync_flags);
}

SHOW(getattr, getattr)
{
	if (in->getattr_flags & FUSE_GETATTR_FH)
		add(t, " fh=%" PRIu64, in->fh);
}

SHOW(getxattr, getxattr)
{
	add(t, " size=%" PRIu32, in->size);
}

SHOW(setxattr, setxattr)
{
	add(t, " size=%" PRIu32 " flags=%" PRIu32, in->size, in->flags);
}

SHOW(init, init)
{
	add(t, " %" PRIu32 ".%" PRIu32 " flags=0x%" PRIx64, in->major,
	    in->minor, in->flags |
	    (in->flags & FUSE_INIT_EXT ? (uint64_t)in->flags2 << 32 : 0));
}

SHOW(ioctl, ioctl)
{
	add(t, " fh=%" PRIu64 " cmd=0x%" PRIx32 " in=%" PRIu32 " out=%" PRIu32,
	    in->fh, in->cmd, in->in_size, in->out_size);
}

SHOW(link, link)
{
	add(t, " of=%" PRIu64, in->oldnodeid);
}

SHOW(lk, lk)
{
	static const char *const types[] = { "read", "write", "unlock" };

	add(t, " fh=%" PRIu64 " %s %s", in->fh,
	    in->lk_flags & FUSE_LK_FLOCK ? "flock" : "posix",
	    in->lk.type < 3 ? types[in->lk.type] : "?");
	if (!(in->lk_flags & FUSE_LK_FLOCK))
		add(t, " from=%" PRIu64 " to=%" PRIu64 " owner=0x%" PRIx64,
		    in->lk.start, in->lk.end, in->owner);
}

SHOW(lseek, lseek)
{
	add(t, " fh=%" PRIu64 " off=%" PRIu64 " whence=%" PRIu32, in->fh,
	    in->offset, in->whence);
}

SHOW(mkdir, mkdir)
{
	add(t, " mode=0%" PRIo32, in->mode);
}

SHOW(mknod, mknod)
{
	add(t, " mode=0%" PRIo32 " rdev=0x%" PRIx32, in->mode, in->rdev);
}

SHOW(open, open)
{
	add(t, " flags=0%" PRIo32, in->flags);
}

SHOW(read, read)
{
	add(t, " fh=%" PRIu64 " off=%" PRIu64 " size=%" PRIu32, in->fh,
	    in->offset, in->size);
}

SHOW(rename, rename)
{
	add(t, " to=%" PRIu64, in->newdir);
}

SHOW(rename2, rename2)
{
	add(t, " to=%" PRIu64 " flags=%" PRIu32, in->newdir, in->flags);
}

SHOW(write, write)
{
	add(t, " fh=%" PRIu64 " off=%" PRIu64 " size=%" PRIu32, in->fh,
	    in->offset, in->size);
}

SHOW(setattr, setattr)
{
	if (in->valid & FATTR_FH)
		add(t, " fh=%" PRIu64, in->fh);
	if (in->valid & FATTR_MODE)
		add(t, " mode=0%" PRIo32, in->mode);
	if (in->valid & FATTR_UID)
		add(t, " uid=%" PRIu32, in->uid);
	if (in->valid & FATTR_GID)
		add(t, " gid=%" PRIu32, in->gid);
	if (in->valid & FATTR_SIZE)
		add(t, " size=%" PRIu64, in->size);
	if (in->valid & (FATTR_ATIME | FATTR_ATIME_NOW))
		add(t, " atime");
	if (in->valid & (FATTR_MTIME | FATTR_MTIME_NOW))
		add(t, " mtime");
}

/* The names after the fixed part, as far as they are strings. */
static void
add_names(struct fs_text *t, unsigned flags, const char *p, size_t left)
{
	int n = flags & (FS_NAME2 | FS_PATH) ? 2
		: flags & (FS_NAME | FS_XNAME) ? 1 : 0;

	/* SETXATTR's struct may be longer (SETXATTR_EXT): then a small number
	 * stands where else the name would begin. */
	if ((flags & FS_VALUE) && left > 8 && (unsigned char)*p < 0x20) {
		p += 8;
		left -= 8;
	}

	for (; n > 0 && left; n--) {
		size_t len = strnlen(p, left);

		add_string(t, p, len);
		if (len == left)
			return;
		p += len + 1;
		left -= len + 1;
	}
}

int
fs_describe(const struct fs_req *req, char *buf, size_t size)
{
	_Alignas(8) char in[SHOW_MAX + 256];
	struct fs_text t = { .buf = buf, .size = size };
	struct fuse_in_header h;
	const struct fs_op *op;
	size_t n;

	if (size)
		buf[0] = '\0';
	if (fs_iov_read(req->in, req->nin, 0, &h, sizeof(h)) < sizeof(h)) {
		add(&t, "> a request of %zu bytes", req->in_len);
		return (int)t.len;
	}
	op = fs_op_get(h.opcode);
	add(&t, "u=%" PRIu64 " > ", h.unique);
	if (op)
		add(&t, "%s", op->name);
	else
		add(&t, "OPCODE_%" PRIu32, h.opcode);
	add(&t, " n=%" PRIu64, h.nodeid);
	n = h.len > sizeof(h) ? h.len - sizeof(h) : 0;
	n = fs_iov_read(req->in, req->nin, sizeof(h), in,
			n < SHOW_MAX ? n : SHOW_MAX);
	memset(in + n, 0, 256);
	if (op && n >= op->in) {
		add_names(&t, op->flags, in + op->in, n - op->in);
		if (op->show)
			op->show(&t, in);
	}
	return (int)t.len;
}
