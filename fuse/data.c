/* SPDX-License-Identifier: MIT */
/*
 * File data: READ, WRITE, FALLOCATE, LSEEK, COPY_FILE_RANGE.  Data goes
 * between the file and the iovecs directly; EFAULT from a system call means
 * that guest memory went away.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/later.h"
#include "fuse/owners.h"

enum {
	COPY_MAX = 1 << 30,	/* COPY_FILE_RANGE answers in 32 bits */
	INLINE_MAX = 1 << 20,	/* more takes long in memory, too */
};

/* ------------------------------------------------------------------ */
/* O_DIRECT.  What a job of the worker pool holds is not aligned, and guest
 * memory need not be. */

enum { ALIGN = 4096 };

void *
fs_aligned(size_t size)
{
	return aligned_alloc(ALIGN, (size + ALIGN) / ALIGN * ALIGN);
}

/* Until full or the end of the file. */
static ssize_t
read_direct(struct fs_ctx *c, uint64_t offset, size_t size)
{
	size_t done = 0;
	char *buf = fs_aligned(size);
	ssize_t n = 0;

	if (!buf)
		return -ENOMEM;
	while (done < size) {
		n = pread(c->fh->fd, buf + done, size - done,
			  (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
		if (done % 512)		/* the end of the file */
			break;
	}
	if (n < 0 && !done)
		n = -errno;
	else
		n = (ssize_t)fs_iov_write(c->req->out, c->req->nout,
					  sizeof(struct fuse_out_header), buf,
					  done);
	free(buf);
	return n;
}

/* The end of a file that the guest wrote through its cache: not a whole
 * block. */
static ssize_t
write_rest(struct fs_ctx *c, const char *buf, size_t size, off_t offset)
{
	int fd = fs_open_proc(c->share, c->fh->fd,
			      (c->fh->flags & ~O_DIRECT) & ~O_TRUNC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = pwrite(fd, buf, size, offset);
	close(fd);
	return n;
}

static ssize_t
write_direct(struct fs_ctx *c, const struct fuse_write_in *in, int flags)
{
	struct iovec v = { .iov_base = fs_aligned(in->size) };
	off_t offset = (off_t)in->offset;
	ssize_t n;

	if (!v.iov_base)
		return -ENOMEM;
	v.iov_len = fs_iov_read(c->req->in, c->req->nin,
				sizeof(c->h) + sizeof(*in), v.iov_base,
				in->size);
	do {
		n = pwritev2(c->fh->fd, &v, 1, offset, flags);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EINVAL && (in->write_flags & FUSE_WRITE_CACHE))
		n = write_rest(c, v.iov_base, v.iov_len, offset);
	n = n < 0 ? -errno : n;
	free(v.iov_base);
	return n;
}

size_t
fs_req_data(const struct fs_req *r, size_t len)
{
	size_t head = sizeof(struct fuse_out_header);

	if (r->opcode == FUSE_WRITE) {
		head = sizeof(struct fuse_in_header) +
		       sizeof(struct fuse_write_in);
		len = r->in_len;
	} else if (r->opcode != FUSE_READ) {
		return 0;
	}
	return len > head ? len - head : 0;
}

/*
 * The first n of the thread's iovecs, by the system call that takes one piece
 * or by the one that takes many.  -errno on failure.
 */
static inline __attribute__((always_inline)) ssize_t
move(long one, long many, struct fs_ctx *c, unsigned n, uint64_t offset,
     int flags)
{
	const struct iovec *v = c->t->iov;

	/* Where a register has 32 bits, that of one piece is called in other
	 * ways. */
	if (n == 1 && !flags && sizeof(long) == sizeof(offset))
		return fs_sys(one, c->fh->fd, (long)v->iov_base,
			      (long)v->iov_len, (long)offset, 0, 0);
	return fs_sys(many, c->fh->fd, (long)v, n, (long)offset,
		      (long)(offset >> 32), flags);
}

/* To who may wait, together with others. */
static ssize_t
defer(struct fs_ctx *c, const struct fs_mount *m)
{
	c->together = fs_later_wanted(c, m);
	return FS_DEFER;
}

/* ------------------------------------------------------------------ */
/* READ */

/* One system call's worth at [done, size); 0 at the end of the file. */
static ssize_t
read_some(struct fs_ctx *c, uint64_t offset, size_t done, size_t size,
	  int flags)
{
	struct fs_req *r = c->req;
	size_t got;
	unsigned n = fs_iov_slice(r->out, r->nout,
				  sizeof(struct fuse_out_header) + done,
				  size - done, c->t->iov, FS_IOV_MAX, &got);

	return move(SYS_pread64, SYS_preadv2, c, n, offset + done, flags);
}

/* How to read without waiting: RWF_NOWAIT where it works; plain where there is
 * no disk to wait for.  FS_DEFER: not at all. */
static int
read_flags(const struct fs_ctx *c, const struct fs_mount *m)
{
	if (c->may_block)
		return 0;
	if (!atomic_load_explicit(&m->no_nowait, memory_order_relaxed))
		return RWF_NOWAIT;
	return m->flags & FS_MOUNT_MEMORY ? 0 : FS_DEFER;
}

/* Never short but at the end of the file: the guest would believe that the
 * file ends there. */
ssize_t
fs_op_read(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_read_in *in = arg;
	struct fs_mount *m = c->fh->node->mount;
	size_t room = c->req->out_len - sizeof(struct fuse_out_header);
	size_t size = in->size < room ? in->size : room, done = 0;
	int flags = read_flags(c, m);

	(void)out;
	c->body = NULL;
	if (flags < 0)
		return flags;
	if (in->offset > INT64_MAX - size)
		return -EINVAL;
	if ((c->fh->flags & O_DIRECT) && fs_disk_defers(c, m))
		return defer(c, m);
	if (fs_later_read(c, in->offset, size))
		return FS_LATER;
	if (c->fh->flags & O_DIRECT) {
		ssize_t n = read_direct(c, in->offset, size);

		if (n > 0)
			fs_count(&c->req->counters->read_bytes, (size_t)n);
		return n;
	}
	while (done < size) {
		ssize_t n = read_some(c, in->offset, done, size, flags);

		if (n == -EOPNOTSUPP && (flags & RWF_NOWAIT)) {
			atomic_store(&m->no_nowait, true);
			flags = read_flags(c, m);
			if (flags < 0)
				return flags;
			continue;
		}
		if (n == -EAGAIN && (flags & RWF_NOWAIT))
			return defer(c, m);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	fs_count(&c->req->counters->read_bytes, done);
	return (ssize_t)done;
}

/* ------------------------------------------------------------------ */
/* WRITE */

static ssize_t
write_some(struct fs_ctx *c, uint64_t offset, size_t done, size_t size,
	   int flags)
{
	struct fs_req *r = c->req;
	size_t head = sizeof(c->h) + sizeof(struct fuse_write_in), got;
	unsigned n = fs_iov_slice(r->in, r->nin, head + done, size - done,
				  c->t->iov, FS_IOV_MAX, &got);

	return move(SYS_pwrite64, SYS_pwritev2, c, n, offset + done, flags);
}

/* A guest without HANDLE_KILLPRIV_V2 clears suid and sgid bits itself, and one
 * with it says when; Windows does not know of them. */
static bool
kills(struct fs_ctx *c, uint32_t flags)
{
	return fs_is_windows(c->s) || (flags & FUSE_WRITE_KILL_SUIDGID);
}

/*
 * How the guest's file is open now, which fcntl(2) may have changed since OPEN,
 * and what this one write is to be.  Pages out of the guest's cache have their
 * place, whatever handle they come by; all else that is appended goes where the
 * host's file ends, not where the guest's did, unless the guest alone knows.
 */
static int
write_flags(struct fs_ctx *c, const struct fuse_write_in *in)
{
	int flags = 0;

	if ((in->flags & O_APPEND) && !(in->write_flags & FUSE_WRITE_CACHE) &&
	    !fs_session_has(c->s, FUSE_WRITEBACK_CACHE))
		flags |= RWF_APPEND;
	if (in->flags & ~(uint32_t)c->fh->flags & O_SYNC)
		flags |= (in->flags & O_SYNC) == O_SYNC ? RWF_SYNC : RWF_DSYNC;
	return flags;
}

/* Does it wait for the disk? */
static bool
is_sync(const struct fs_handle *h, const struct fuse_write_in *in)
{
	return (h->flags & O_DIRECT) ||
	       (((uint32_t)h->flags | in->flags) & O_SYNC);
}

/* May it be under way beside others?  Not what the kernel does one after the
 * other anyway, nor what clears bits in another's name. */
static bool
is_plain_direct(struct fs_ctx *c, const struct fuse_write_in *in, int flags)
{
	return (c->fh->flags & (O_DIRECT | O_SYNC)) == O_DIRECT && !flags &&
	       !kills(c, in->write_flags);
}

ssize_t
fs_op_write(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_write_in *in = arg;
	struct fs_mount *m = c->fh->node->mount;
	struct fuse_write_out *out = reply;
	size_t done = 0;
	int err, flags = write_flags(c, in);
	bool plain = is_plain_direct(c, in, flags);

	if (in->size > c->in_len - sizeof(*in) ||
	    in->offset > INT64_MAX - (uint64_t)in->size)
		return -EINVAL;
	if (is_sync(c->fh, in) && fs_disk_defers(c, m))
		return plain && fs_later_try_write(c->fh) ? defer(c, m) :
							    FS_DEFER;
	if (plain && fs_later_write(c, in->offset, in->size))
		return FS_LATER;
	err = fs_ctx_write(c, c->fh->node, c->fh, c->fh->fd,
			   kills(c, in->write_flags));
	if (err)
		return err;
	if (c->fh->flags & O_DIRECT) {
		ssize_t n = write_direct(c, in, flags);

		if (n < 0)
			return n;
		done = (size_t)n;
	}
	while (done < in->size && !(c->fh->flags & O_DIRECT)) {
		ssize_t n = write_some(c, in->offset, done, in->size, flags);

		if (n == -EINTR)
			continue;
		if (n == FS_GONE || (n < 0 && !done))
			return n;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	fs_count(&c->req->counters->written_bytes, done);
	out->size = (uint32_t)done;
	return sizeof(*out);
}

/* ------------------------------------------------------------------ */

/* The guest leaves suid and sgid bits to us when this was agreed on. */
static int
become_killing(struct fs_ctx *c, struct fs_handle *h)
{
	return fs_ctx_write(c, h->node, h, h->fd, fs_is_windows(c->s) ||
			    fs_session_has(c->s, FUSE_HANDLE_KILLPRIV_V2));
}

/* Not for a thread that must not wait; dispatch has looked at c->fh only. */
static bool
takes_long(const struct fs_ctx *c, const struct fs_handle *h, uint64_t len)
{
	return fs_disk_defers(c, h->node->mount) ||
	       (!c->may_block && len > INLINE_MAX);
}

ssize_t
fs_op_fallocate(struct fs_ctx *c, const void *arg, void *out)
{
	const struct fuse_fallocate_in *in = arg;
	int err;

	(void)out;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EINVAL;
	if (takes_long(c, c->fh, in->length))
		return FS_DEFER;
	err = become_killing(c, c->fh);
	if (err)
		return err;
	do {
		err = fallocate(c->fh->fd, (int)in->mode, (off_t)in->offset,
				(off_t)in->length) < 0 ? -errno : 0;
	} while (err == -EINTR);
	/* A Windows guest fails to create a file whose room it cannot
	 * reserve; the reservation is only a hint to it. */
	if (err == -EOPNOTSUPP && fs_is_windows(c->s) &&
	    in->mode == FALLOC_FL_KEEP_SIZE)
		err = 0;
	return err;
}

ssize_t
fs_op_lseek(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_lseek_in *in = arg;
	struct fuse_lseek_out *out = reply;
	off_t at;

	/* Linux does not write back what it holds before it asks: data would
	 * be taken for a hole, and lost in copies.  Without us it takes the
	 * whole file for data. */
	if (fs_session_has(c->s, FUSE_WRITEBACK_CACHE))
		return -ENOSYS;
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL;
	at = lseek(c->fh->fd, (off_t)in->offset, (int)in->whence);
	if (at < 0)
		return -errno;
	out->offset = (uint64_t)at;
	return sizeof(*out);
}

static ssize_t
copy(struct fs_ctx *c, const struct fuse_copy_file_range_in *in, uint64_t len)
{
	struct fs_handle *to = fs_handle_get(c->s, in->fh_out);
	loff_t from_off = (loff_t)in->off_in, to_off = (loff_t)in->off_out;
	ssize_t n = -EBADF;
	int err;

	if (!to)
		return -EBADF;
	if (takes_long(c, to, len)) {
		n = FS_DEFER;
	} else if (!to->dir && !(to->flags & O_PATH) &&
		   fs_node_id(to->node) == in->nodeid_out) {
		err = become_killing(c, to);
		n = err ? err : copy_file_range(c->fh->fd, &from_off, to->fd,
						&to_off, len,
						(unsigned)in->flags);
		if (!err && n < 0)
			n = -errno;
	}
	fs_handle_put(to);
	return n;
}

ssize_t
fs_op_copy(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_copy_file_range_in *in = arg;
	struct fuse_write_out *out = reply;
	ssize_t n = copy(c, in, in->len < COPY_MAX ? in->len : COPY_MAX);

	if (n < 0)
		return n;
	out->size = (uint32_t)n;
	return sizeof(*out);
}

ssize_t
fs_op_copy64(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_copy_file_range_in *in = arg;
	struct fs_wire_copy64_out *out = reply;
	uint64_t max = (uint64_t)INT64_MAX & ~4095ULL;
	ssize_t n = copy(c, in, in->len < max ? in->len : max);

	if (n < 0)
		return n;
	out->bytes_copied = (uint64_t)n;
	return sizeof(*out);
}
