/* SPDX-License-Identifier: MIT */
/*
 * Names without regard to case, on a share that folds: the exact name is tried
 * first by the handlers themselves; what is here begins when the host said
 * ENOENT, and before a name is made.  casefold/ knows the spellings.
 *
 * A thread that must not wait asks casefold/ not to: then nothing was done, and
 * the request goes to the pool.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fuse/fold.h"

enum {
	ROUNDS = 8,		/* while names vanish as we look */
};

/* Wine takes a FUSE mount for one without case if it finds this name. */
static const char marker[] = ".ciopfs";

/* An empty file that nobody can change. */
static int
make_marker(void)
{
	int fd = memfd_create("marker", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (fchmod(fd, 0444) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
				   F_SEAL_WRITE) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void
fs_share_fold(struct fs_share *share, struct cf_share *fold)
{
	share->fold = fold;
	share->root_handle = fs_handle_of(share->root_fd, &share->root_buf);
	if (share->set->wine_marker)
		share->marker_fd = make_marker();
}

/* ------------------------------------------------------------------ */

static int
may_defer(const struct fs_ctx *c, int err)
{
	return err == -EAGAIN && !c->may_block ? FS_DEFER : err;
}

/* The first name that is asked for opens the cache. */
static int
open_fold(struct fs_ctx *c)
{
	int err;

	if (!c->may_block)
		return FS_DEFER;
	err = fs_cred_self(&c->t->cred, false);
	if (err)
		return err;
	cf_share_open(c->share->fold);
	return fs_ctx_become(c);
}

static int
dir_init(struct fs_ctx *c, const struct fs_node *n, int fd,
	 struct cf_dir *dir)
{
	bool root = fs_node_id(n) == FUSE_ROOT_ID;

	*dir = (struct cf_dir){
		.fd = fd,
		.dev = n->dev,
		.ino = n->ino,
		.handle = root ? c->share->root_handle : n->handle,
		.nowait = !c->may_block,
	};
	return cf_share_is_open(c->share->fold) ? 0 : open_fold(c);
}

int
fs_fold_find(struct fs_ctx *c, fs_fold_fn *run, void *arg)
{
	char real[CF_NAME_MAX + 1];
	struct cf_dir dir;
	int err = dir_init(c, c->node, c->fd, &dir);

	if (err)
		return err;
	for (int i = 0; i < ROUNDS; i++) {
		err = cf_find(c->share->fold, &dir, c->name,
			      i ? 0 : CF_MISSED | CF_UNSEEN, real);
		if (err < 0)
			return may_defer(c, err);
		err = run(c, real, arg);
		if (err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

/* ------------------------------------------------------------------ */

struct found {
	struct statx *stx;
	struct fs_node **node;
};

static int
walk_real(struct fs_ctx *c, const char *real, void *arg)
{
	struct found *f = arg;

	return fs_walk(c, c->node, c->fd, real, false, f->stx, f->node);
}

static bool
is_marker(const struct fs_ctx *c)
{
	return c->share->marker_fd >= 0 && !fs_is_windows(c->s) &&
	       !strcmp(c->name, marker);
}

/* It has no name on the host, and must not be let go for that. */
static int
walk_marker(struct fs_ctx *c, struct statx *stx, struct fs_node **node)
{
	struct timespec now;
	int fd = fs_open_proc(c->share, c->share->marker_fd, O_PATH), err;

	if (fd < 0)
		return -errno;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	err = fs_statx(c, fd, "", stx);
	if (err) {
		close(fd);
		return err;
	}
	/* It is of no mount below the share: take it for the share's own. */
	stx->stx_mnt_id = c->share->root_mount->id;
	err = fs_node_add(c, c->share->root_mount, stx, &now, NULL, fd, node);
	if (!err)
		atomic_store(&(*node)->deleted, true);
	return err;
}

int
fs_fold_walk(struct fs_ctx *c, struct statx *stx, struct fs_node **node)
{
	struct found f = { stx, node };
	int err = fs_fold_find(c, walk_real, &f);

	if (err == -ENOENT && is_marker(c))
		err = walk_marker(c, stx, node);
	return err;
}

/* ------------------------------------------------------------------ */

int
fs_fold_begin(struct fs_ctx *c, struct fs_making *m)
{
	int err = dir_init(c, c->node, c->fd, &m->dir);

	if (err)
		return err;
	err = cf_create_begin(c->share->fold, &m->dir, c->name, &m->create,
			      m->real);
	if (err <= 0)
		return may_defer(c, err);
	m->name = m->real;
	return -EEXIST;
}

void
fs_fold_removed(struct fs_ctx *c, const char *name)
{
	struct cf_dir dir;

	if (cf_share_is_open(c->share->fold) &&
	    !dir_init(c, c->node, c->fd, &dir))
		cf_removed(c->share->fold, &dir, name);
}

int
fs_fold_rename(struct fs_ctx *c, unsigned flags, cf_rename_fn *run)
{
	struct cf_dir from, to;
	int err = dir_init(c, c->node, c->fd, &from);

	if (!err)
		err = dir_init(c, c->node2, c->fd2, &to);
	if (err)
		return err;
	err = cf_rename(c->share->fold, &from, c->name, &to, c->name2, flags,
			run, c);
	return may_defer(c, err);
}
