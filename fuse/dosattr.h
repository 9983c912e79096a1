/* SPDX-License-Identifier: MIT */
/* dosattr.c: DOS attributes and creation times, as Samba keeps them. */
#ifndef FUSE_DOSATTR_H
#define FUSE_DOSATTR_H

#include "fuse/fs.h"

#define FS_DOSATTRIB "user.DOSATTRIB"

enum { FS_DOS_SIZE = 32 };

/* What the value says, as CF_STATE_DOS and CF_STATE_CRTIME; -EINVAL if it is
 * none, or of a version that is not known. */
int fs_dos_parse(const void *value, size_t size, struct cf_state_row *row);
/* Returns the length. */
size_t fs_dos_print(const struct cf_state_row *row,
		    unsigned char buf[FS_DOS_SIZE]);

/*
 * After the host said `err` to the same request: what it did not take is
 * recorded.  0 or -errno, or FS_DEFER.
 */
int fs_dos_set(struct fs_ctx *c, const void *value, size_t size, int flags,
	       int err);
ssize_t fs_dos_get(struct fs_ctx *c, void *value, size_t size, ssize_t err);
int fs_dos_remove(struct fs_ctx *c, int err);
/* Adds its name to a list of `len` bytes where there is room for `size`. */
ssize_t fs_dos_list(struct fs_ctx *c, char *list, size_t len, size_t size);

/* Does what a client sets as the time of change become the creation time? */
bool fs_sets_birth(const struct fs_ctx *c);
/* Record it, of an open file; 0 or -errno, or FS_DEFER. */
int fs_set_birth(struct fs_ctx *c, int fd, int64_t sec, uint32_t nsec);

#endif
