/* SPDX-License-Identifier: MIT */
/*
 * A ring of io_uring(7), used for one thing: reads that do not wait, as many as
 * there are, by one system call.  When fs_uring_go() returns nothing is under
 * way any more.
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
	unsigned n;			/* added and not begun */
};

/* For `entries` reads at once, a power of two.  0, or -errno: the kernel has
 * none, or an administrator does not allow it. */
int fs_uring_init(struct fs_uring *u, unsigned entries);
void fs_uring_fini(struct fs_uring *u);

/* One more, of fewer than `entries`; the iovecs stay the caller's and must stay
 * as they are until fs_uring_go(). */
void fs_uring_read(struct fs_uring *u, int fd, const struct iovec *iov,
		   unsigned niov, uint64_t offset);

/*
 * Do them: res[i] is what preadv2(RWF_NOWAIT) would have returned for the i-th,
 * or -errno.  0; after -errno none of them is under way, res[] means nothing
 * and the ring is of no use any more.
 */
int fs_uring_go(struct fs_uring *u, int *res);

#endif
