/* SPDX-License-Identifier: MIT */
/* owners.c: what guests set and the host cannot hold. */
#ifndef FUSE_OWNERS_H
#define FUSE_OWNERS_H

#include "fuse/fs.h"

/* A mount that is new to the share. */
void fs_owners_mount(struct fs_share *share, struct fs_mount *m);

#endif
