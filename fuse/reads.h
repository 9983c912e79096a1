/* SPDX-License-Identifier: MIT */
/*
 * READs that wait together are begun by one system call: what it costs to enter
 * the kernel is shared, and those that wait for a disk wait at the same time.
 */
#ifndef FUSE_READS_H
#define FUSE_READS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs_ctx;
struct fs_mount;
struct fs_reads;

/* Is that done on this mount?  Not where the kernel would have to hand it to a
 * thread of its own. */
bool fs_reads_wanted(const struct fs_ctx *c, const struct fs_mount *m);
/*
 * Put a READ of `size` bytes off until fs_together(), which then answers it;
 * takes c->fh.  False: it has to be done at once.
 */
bool fs_reads_add(struct fs_ctx *c, uint64_t offset, size_t size);
void fs_reads_free(struct fs_reads *r);

#endif
