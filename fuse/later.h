/* SPDX-License-Identifier: MIT */
/*
 * READs that wait together, and WRITEs of O_DIRECT, are begun by one system
 * call: what it costs to enter the kernel is shared, and those that wait for a
 * disk wait at the same time.
 */
#ifndef FUSE_LATER_H
#define FUSE_LATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs_ctx;
struct fs_handle;
struct fs_later;
struct fs_mount;

/* Is that done on this mount?  Not where the kernel would have to hand every
 * READ to a thread of its own. */
bool fs_later_wanted(const struct fs_ctx *c, const struct fs_mount *m);
/*
 * Put a READ of `size` bytes off until fs_together(), which then answers it;
 * takes c->fh.  False: it has to be done at once.
 */
bool fs_later_read(struct fs_ctx *c, uint64_t offset, size_t size);
/*
 * The same for a WRITE of O_DIRECT by ourselves (fs_ctx_write()), and only by
 * who may wait; the data is copied.  A part of it may be written when
 * fs_together() says FS_ALONE.
 */
bool fs_later_write(struct fs_ctx *c, uint64_t offset, size_t size);
/* Is the next WRITE of h worth that?  Not behind one that the kernel could not
 * begin, as when the file grows. */
bool fs_later_try_write(struct fs_handle *h);
void fs_later_free(struct fs_later *l);

#endif
