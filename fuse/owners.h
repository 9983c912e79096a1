/* SPDX-License-Identifier: MIT */
/*
 * What guests set and the host cannot hold: owners.c keeps it, chown.c says
 * when there is something to keep.
 */
#ifndef FUSE_OWNERS_H
#define FUSE_OWNERS_H

#include "fuse/ids.h"

/* ------------------------------------------------------------------ */
/* owners.c: what is recorded about an inode. */

/* A mount that is new to the share. */
void fs_owners_mount(struct fs_share *share, struct fs_mount *m);

/* Can something be recorded about inodes of this mount? */
static inline bool
fs_owners_can(const struct fs_ctx *c, const struct fs_mount *m)
{
	return c->share->records && (m->state || !c->share->state);
}

/* Is there nothing for certain?  Costs next to nothing. */
static inline bool
fs_owners_none(const struct fs_ctx *c, const struct fs_mount *m, uint64_t ino)
{
	if (__builtin_expect(!c->share->records, 1))
		return true;
	if (m->state)
		return !cf_state_maybe(m->state, ino);
	return c->share->state;
}

/*
 * What is recorded about the inode of node `n`, which `stx` describes.  `fd` is
 * open on it, or -1: then the node's own is used if it takes one.  1 and the
 * row, 0, -errno, or FS_DEFER.
 */
int fs_owners_get(struct fs_ctx *c, struct fs_node *n, int fd,
		  const struct statx *stx, struct cf_state_row *row);
static inline int
fs_owners_find(struct fs_ctx *c, struct fs_node *n, int fd,
	       const struct statx *stx, struct cf_state_row *row)
{
	if (__builtin_expect(fs_owners_none(c, n->mount, stx->stx_ino), 1))
		return 0;
	return fs_owners_get(c, n, fd, stx, row);
}
/* Change the fields of `mask` (CF_STATE_ bits) to those of `row`.  FS_DEFER,
 * with nothing done, where the thread must not wait. */
int fs_owners_change(struct fs_ctx *c, struct fs_node *n, int fd,
		     const struct statx *stx, unsigned mask,
		     const struct cf_state_row *row);
/* The inode was made by this request: what was recorded is another's. */
int fs_owners_fresh(struct fs_ctx *c, struct fs_node *n, int fd,
		    const struct statx *stx);
/* All that is recorded reaches the disk. */
int fs_owners_sync(struct fs_ctx *c);

/* A name that goes: before and after. */
struct fs_going {
	int fd;			/* O_PATH, -1: nothing is recorded */
	struct fs_mount *mount;		/* with a reference if fd is open */
	struct statx stx;
};
int fs_going_begin(struct fs_ctx *c, int dirfd, const char *name,
		   const struct statx *stx, struct fs_going *g);
void fs_going_end(struct fs_ctx *c, struct fs_going *g, bool gone);
/* Does a record end with this handle, if it is the last, because the file has
 * no name?  An O_TMPFILE has none, either. */
bool fs_owners_end(const struct fs_ctx *c, const struct fs_handle *h);
/* Then, after the handle was released. */
void fs_owners_release(struct fs_ctx *c, struct fs_handle *h);

/* ------------------------------------------------------------------ */
/* What the guest sees. */

struct fs_look {
	uint32_t uid, gid, mode;
	uint32_t rdev_major, rdev_minor;
	struct statx_timestamp btime;
	bool has_btime;
};
/* Put over `look` what `row` says. */
void fs_owners_show(const struct fs_ctx *c, const struct statx *stx,
		    const struct cf_state_row *row, struct fs_look *look);
/* `row`: NULL, or what is recorded. */
static inline void
fs_look(const struct fs_ctx *c, const struct statx *stx,
	const struct cf_state_row *row, struct fs_look *look)
{
	fs_ids_to_guest(c, stx, &look->uid, &look->gid);
	look->mode = stx->stx_mode;
	look->rdev_major = stx->stx_rdev_major;
	look->rdev_minor = stx->stx_rdev_minor;
	look->btime = stx->stx_btime;
	look->has_btime = stx->stx_mask & STATX_BTIME;
	if (row)
		fs_owners_show(c, stx, row, look);
}
/* The bits CF_STATE_UID and CF_STATE_GID that `row` puts over the host's. */
unsigned fs_owners_held(const struct fs_ctx *c, const struct statx *stx,
			const struct cf_state_row *row);

/* ------------------------------------------------------------------ */
/* chown.c: on a share that records. */

/* SETATTR of the owner. */
int fs_chown(struct fs_ctx *c, int fd, const struct fuse_setattr_in *in);
/* SETATTR of the mode: what is left for the host in *mode, or FS_SAME. */
enum { FS_SAME = 1 };
int fs_chmod(struct fs_ctx *c, int fd, const struct statx *stx, mode_t *mode);
/* The file changes: set-user-id and set-group-id bits end. */
int fs_kill_bits(struct fs_ctx *c, struct fs_node *n, int fd);

/* A default access list takes the umask's place, which only the host knows. */
static inline void
fs_use_umask(struct fs_ctx *c, uint32_t mask)
{
	if (fs_session_has(c->s, FUSE_DONT_MASK))
		fs_cred_umask(&c->t->cred, mask);
}
/* The mode that a new file gets. */
static inline mode_t
fs_file_mode(const struct fs_ctx *c, uint32_t mode)
{
	return mode & 07777 & c->share->set->create_mask;
}
/* Before something is made: what the caller is to own of it, in c->make. */
int fs_make_owner(struct fs_ctx *c, mode_t *mode);
/* After it.  On error the caller removes it again. */
int fs_made(struct fs_ctx *c, struct fs_node *n, int fd,
	    const struct statx *stx);

#endif
