/* SPDX-License-Identifier: MIT */
/*
 * READs that wait together are done by one system call, where none of them has
 * to wait for a disk.  What it costs to enter the kernel is then shared.
 */
#ifndef FUSE_READS_H
#define FUSE_READS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs_ctx;
struct fs_reads;

/*
 * Put a READ of `size` bytes off until fs_reads_go(), which then answers it;
 * takes c->fh.  False: it has to be done at once.
 */
bool fs_reads_add(struct fs_ctx *c, uint64_t offset, size_t size);
void fs_reads_free(struct fs_reads *r);

#endif
