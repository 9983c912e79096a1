/* SPDX-License-Identifier: MIT */
/*
 * io_uring, as linux/io_uring.h describes it.  Buffered reads with RWF_NOWAIT
 * are done while they are submitted, by this thread: the kernel neither hands
 * them to a thread of its own nor keeps them until there is data.  Others it
 * keeps; with RWF_NOWAIT what it could not even begin comes back.
 */
#include "config.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/sys.h"
#include "fuse/uring.h"

/* Linux 5.6: also the first that has IORING_OP_READ and _WRITE. */
#define NEEDED (IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | \
		IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RW_CUR_POS)

static void *
map(int fd, size_t size, off_t what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, fd, what);

	return p == MAP_FAILED ? NULL : p;
}

static void
find_rings(struct fs_uring *u, const struct io_uring_params *p)
{
	unsigned *index = (void *)(u->rings + p->sq_off.array);

	u->sq_tail = (void *)(u->rings + p->sq_off.tail);
	u->sq_mask = p->sq_entries - 1;
	u->cq_head = (void *)(u->rings + p->cq_off.head);
	u->cq_tail = (void *)(u->rings + p->cq_off.tail);
	u->cq_mask = p->cq_entries - 1;
	u->cqe = (void *)(u->rings + p->cq_off.cqes);
	for (unsigned i = 0; i < p->sq_entries; i++)
		index[i] = i;
}

/* At most one thread of the kernel's own for each that has a ring, where it can
 * be told so (Linux 5.15). */
static void
limit_threads(const struct fs_uring *u)
{
	unsigned most[2] = { 1, 1 };	/* for files, for others */

	fs_sys(SYS_io_uring_register, u->fd, IORING_REGISTER_IOWQ_MAX_WORKERS,
	       (long)most, 2, 0, 0);
}

int
fs_uring_init(struct fs_uring *u, unsigned entries)
{
	struct io_uring_params p = { 0 };
	size_t sq, cq;

	*u = (struct fs_uring){ .entries = entries };
	u->fd = (int)fs_sys(SYS_io_uring_setup, entries, (long)&p, 0, 0, 0, 0);
	if (u->fd < 0)
		return u->fd;
	if ((p.features & NEEDED) != NEEDED || p.sq_entries != entries) {
		fs_uring_fini(u);
		return -EOPNOTSUPP;
	}
	sq = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	u->size = sq > cq ? sq : cq;
	u->rings = map(u->fd, u->size, IORING_OFF_SQ_RING);
	u->sqe = map(u->fd, entries * sizeof(*u->sqe), IORING_OFF_SQES);
	if (!u->rings || !u->sqe) {
		fs_uring_fini(u);
		return -ENOMEM;
	}
	find_rings(u, &p);
	limit_threads(u);
	return 0;
}

void
fs_uring_fini(struct fs_uring *u)
{
	if (u->rings)
		munmap(u->rings, u->size);
	if (u->sqe)
		munmap(u->sqe, u->entries * sizeof(*u->sqe));
	close(u->fd);
	u->fd = -1;
}

/* `one` and `many` are the opcodes for a single piece and for several. */
static void
add(struct fs_uring *u, int one, int many, int fd, const struct iovec *iov,
    unsigned niov, uint64_t offset, int flags, unsigned number)
{
	struct io_uring_sqe *s = &u->sqe[(*u->sq_tail + u->added++) &
					 u->sq_mask];

	*s = (struct io_uring_sqe){
		.opcode = (uint8_t)(niov == 1 ? one : many),
		.fd = fd,
		.off = offset,
		.addr = (uintptr_t)(niov == 1 ? iov->iov_base : iov),
		.len = niov == 1 ? (unsigned)iov->iov_len : niov,
		.rw_flags = flags,
		.user_data = number,
	};
}

void
fs_uring_read(struct fs_uring *u, int fd, const struct iovec *iov,
	      unsigned niov, uint64_t offset, int flags, unsigned number)
{
	add(u, IORING_OP_READ, IORING_OP_READV, fd, iov, niov, offset, flags,
	    number);
}

void
fs_uring_write(struct fs_uring *u, int fd, const struct iovec *iov,
	       unsigned niov, uint64_t offset, int flags, unsigned number)
{
	add(u, IORING_OP_WRITE, IORING_OP_WRITEV, fd, iov, niov, offset, flags,
	    number);
}

/* Take what is done; how many. */
static unsigned
reap(struct fs_uring *u, fs_uring_done *done, void *ctx)
{
	unsigned head = *u->cq_head, n = 0;
	unsigned tail = __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE);

	for (; head != tail; head++, n++) {
		const struct io_uring_cqe *e = &u->cqe[head & u->cq_mask];

		done(ctx, (unsigned)e->user_data, e->res);
	}
	__atomic_store_n(u->cq_head, head, __ATOMIC_RELEASE);
	u->begun -= n;
	return n;
}

int
fs_uring_go(struct fs_uring *u, unsigned wait, fs_uring_done *done, void *ctx)
{
	unsigned left = u->added, got = 0;
	int err = 0;

	u->added = 0;
	__atomic_store_n(u->sq_tail, *u->sq_tail + left, __ATOMIC_RELEASE);
	/* Once is enough to begin all, but for signals and want of memory. */
	do {
		unsigned most = u->begun + left;
		unsigned want = err || wait - got > most ? most : wait - got;
		long r = fs_sys(SYS_io_uring_enter, u->fd, left, want,
				IORING_ENTER_GETEVENTS, 0, 0);

		if (r > 0) {
			u->begun += (unsigned)r;
			left -= (unsigned)r;
		} else if (r < 0 && r != -EINTR && !err) {
			err = (int)r;
			left = 0;
		}
		got += reap(u, done, ctx);
	} while (left || (u->begun && (err || got < wait)));
	return err;
}
