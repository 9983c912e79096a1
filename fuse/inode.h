/* SPDX-License-Identifier: MIT */
/*
 * Is an inode that of a node?  Questions about numbers that the host gives out
 * again; who asks is node.c, under a shard's lock.
 *
 * Two inodes are the same when device, mount, number, file handle and birth
 * time are.  (Where birth times change, handles are not used.)  The handle
 * holds the file system's own generation, but reading it costs an open; so for
 * a node that is *aged* the birth time stands in for it: when the node was
 * made, the coarse clock, which file systems take birth times from, was already
 * past its birth time, so no later inode can have the same number and the same
 * birth time.
 */
#ifndef FUSE_INODE_H
#define FUSE_INODE_H

#include "fuse/fs.h"

/* `m` may have become another mount since it was found; that of a node stays
 * what it is. */
static inline bool
same_number(const struct fs_node *n, const struct fs_mount *m,
	    const struct statx *stx)
{
	return n->ino == stx->stx_ino && n->dev == fs_statx_dev(stx) &&
	       n->mount == m &&
	       atomic_load_explicit(&m->id, memory_order_relaxed) ==
	       stx->stx_mnt_id;
}

static inline bool
same_key(const struct fs_node *n, const struct fs_mount *m,
	 const struct statx *stx)
{
	return same_number(n, m, stx) && n->type == (stx->stx_mode & S_IFMT);
}

static inline bool
same_birth(const struct fs_node *n, const struct statx *stx)
{
	return n->has_btime && (stx->stx_mask & STATX_BTIME) &&
	       n->btime_sec == stx->stx_btime.tv_sec &&
	       n->btime_nsec == stx->stx_btime.tv_nsec;
}

/* Where the host has no birth time, none is another. */
static inline bool
other_birth(const struct fs_node *n, const struct statx *stx)
{
	return n->has_btime && (stx->stx_mask & STATX_BTIME) &&
	       !same_birth(n, stx);
}

/* May birth time stand in for the handle? */
static inline bool
is_aged(const struct fs_mount *m, const struct statx *stx,
	const struct timespec *now)
{
	if (!(stx->stx_mask & STATX_BTIME) || (m->flags & FS_MOUNT_STACKED))
		return false;
	return now->tv_sec > stx->stx_btime.tv_sec ||
	       (now->tv_sec == stx->stx_btime.tv_sec &&
		now->tv_nsec > (long)stx->stx_btime.tv_nsec);
}

/* Handles have 32 random bits for each use of a number: when a guest remembers
 * tens of thousands of files that had the same one, two have equal handles. */
static inline bool
same_handle(const struct fs_node *n, const struct statx *stx,
	    const struct file_handle *h)
{
	return h && n->handle && fs_handle_equal(h, n->handle) &&
	       !other_birth(n, stx);
}

#endif
