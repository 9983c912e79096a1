/* SPDX-License-Identifier: MIT */
/*
 * One batch of requests of one queue, by the thread that serves it.
 */
#ifndef GATEWAYD_SERVE_H
#define GATEWAYD_SERVE_H

#include <sys/uio.h>

#include "fuse/fuse.h"
#include "vhost/vhost.h"

struct qthread;

/*
 * Why a thread takes nothing off its rings for a while.  Hiprio is served on,
 * unless it is what fills the pool.
 */
enum {
	HOLD_REQUESTS = 1 << 0,
	HOLD_HIPRIO = 1 << 1,
};

/* Pieces of the chain that is served, behind those of chains that are put
 * off. */
#define SERVE_IOV (VH_IOV_MAX + FS_TOGETHER_MAX * FS_LATER_PIECES)

/*
 * Serve what waits on `q`; `iov` has SERVE_IOV places.  Number of requests
 * taken, or -errno after session_broken().
 */
int serve_batch(struct qthread *t, struct vh_queue *q, struct fs_thread *ft,
		struct iovec *iov);

#endif
