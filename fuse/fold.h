/* SPDX-License-Identifier: MIT */
/*
 * Names on shares that fold: fold.c, for the handlers of names.  What may
 * answer FS_DEFER does so before anything was done.
 */
#ifndef FUSE_FOLD_H
#define FUSE_FOLD_H

#include "fuse/fs.h"

typedef int fs_fold_fn(struct fs_ctx *c, const char *name, void *arg);
/* c->name is not there: do it with a name that differs in case, if there is
 * one; -ENOENT from `run` means that this one, too, has gone. */
int fs_fold_find(struct fs_ctx *c, fs_fold_fn *run, void *arg);
/* Its node, as fs_walk(). */
int fs_fold_walk(struct fs_ctx *c, struct statx *stx, struct fs_node **node);
void fs_fold_removed(struct fs_ctx *c, const char *name);
/* c->name in c->node to c->name2 in c->node2; `run` gets c. */
int fs_fold_rename(struct fs_ctx *c, unsigned flags, cf_rename_fn *run);

/* While a name is being made, nobody makes it in another spelling. */
struct fs_making {
	const char *name;	/* c->name, or as it exists already */
	struct cf_dir dir;
	struct cf_create create;
	char real[CF_NAME_MAX + 1];
};
int fs_fold_begin(struct fs_ctx *c, struct fs_making *m);

/* Before the host call that makes c->name.  On 0 fs_make_end() must follow;
 * -EEXIST: it exists as m->name. */
static inline int
fs_make_begin(struct fs_ctx *c, struct fs_making *m)
{
	m->name = c->name;
	return c->share->fold ? fs_fold_begin(c, m) : 0;
}

/* After it; returns `err`, what it said. */
static inline int
fs_make_end(struct fs_ctx *c, struct fs_making *m, int err)
{
	if (c->share->fold)
		cf_create_end(&m->create, !err);
	return err;
}

#endif
