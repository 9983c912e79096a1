/* SPDX-License-Identifier: MIT */
/*
 * A ring of io_uring(7), used for one thing: reads and writes, as many as there
 * are, begun by one system call.
 */
#ifndef FUSE_URING_H
#define FUSE_URING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_uring_cqe;
struct io_uring_sqe;

struct fs_uring {
	int fd;
	unsigned entries;
	size_t size;			/* of both rings, mapped as one */
	char *rings;
	struct io_uring_sqe *sqe;	/* [entries] */
	unsigned *sq_tail, *cq_head, *cq_tail;
	unsigned sq_mask, cq_mask;
	const struct io_uring_cqe *cqe;
	unsigned added;			/* and not begun */
	unsigned begun;			/* and not done */
};

/* For `entries` of them at once, a power of two.  0, or -errno: the kernel has
 * none, or an administrator does not allow it. */
int fs_uring_init(struct fs_uring *u, unsigned entries);
void fs_uring_fini(struct fs_uring *u);

/*
 * One more; added and under way may be `entries`.  The iovecs stay the caller's
 * and must stay as they are until it is begun.  `number` is the caller's, flags
 * are those of preadv2(2) and pwritev2(2).
 */
void fs_uring_read(struct fs_uring *u, int fd, const struct iovec *iov,
		   unsigned niov, uint64_t offset, int flags, unsigned number);
void fs_uring_write(struct fs_uring *u, int fd, const struct iovec *iov,
		    unsigned niov, uint64_t offset, int flags, unsigned number);

/* What preadv2(2) or pwritev2(2) would have returned, or -errno. */
typedef void fs_uring_done(void *ctx, unsigned number, int res);

/*
 * Begin all that were added and wait until `wait` more are done, or all.  0;
 * after -errno nothing is under way, some may not have been begun and done()
 * was not called for those; then the ring is of no use any more.
 */
int fs_uring_go(struct fs_uring *u, unsigned wait, fs_uring_done *done,
		void *ctx);

#endif
