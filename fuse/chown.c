/* SPDX-License-Identifier: MIT */
/*
 * Owners and modes on a share that records: what the host can hold is set on
 * the host, the rest is recorded.
 *
 * Set-user-id, set-group-id and sticky bits of a file whose owner is recorded
 * are recorded with it and never set on the host, where they would be the
 * daemon's.  They are taken from the host before the row is written: a row that
 * is lost must not leave them behind.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fuse/owners.h"

#define OWNER (CF_STATE_UID | CF_STATE_GID)
#define MINE (OWNER | CF_STATE_MODE | CF_STATE_HOST)
#define BITS 07000U

/* An inode and what is recorded of it. */
struct known {
	struct statx stx;
	struct cf_state_row row;
	bool has_row;
};

static int
know(struct fs_ctx *c, int fd, struct known *k)
{
	int found = fs_statx(c, fd, "", &k->stx);

	k->row.has = 0;
	if (!found)
		found = fs_owners_find(c, c->node, fd, &k->stx, &k->row);
	k->has_row = found > 0;
	return found < 0 ? found : 0;
}

static bool
is_emulated(const struct cf_state_row *row)
{
	return (row->has & CF_STATE_MODE) && (row->mode & S_IFMT);
}

/* The mode as the guest sees it. */
static uint32_t
mode_of(const struct fs_ctx *c, const struct known *k)
{
	struct fs_look look;

	fs_look(c, &k->stx, k->has_row ? &k->row : NULL, &look);
	return look.mode;
}

/* chown(2) and writing end them, but on a directory. */
static uint32_t
without_bits(uint32_t mode)
{
	if (S_ISDIR(mode))
		return mode;
	mode &= ~(uint32_t)S_ISUID;
	return mode & S_IXGRP ? mode & ~(uint32_t)S_ISGID : mode;
}

/* ------------------------------------------------------------------ */
/* SETATTR of the owner. */

struct wish {
	bool set;
	uint32_t guest;
	uint32_t host;
	bool host_can;
};

static int
read_wish(struct fs_ctx *c, bool set, bool group, uint32_t id, struct wish *w)
{
	int err;

	w->set = set;
	w->guest = id;
	w->host_can = false;
	if (!set)
		return 0;
	if (id == FS_ID_NONE)
		return -EINVAL;
	err = fs_ids_to_host(c, group, id, &w->host);
	w->host_can = !err;
	return err == -EOVERFLOW ? 0 : err;
}

/* 0, or 1: the host cannot. */
static int
chown_host(int fd, uint32_t uid, uint32_t gid)
{
	if (!fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return 0;
	if (errno == EPERM || errno == EINVAL || errno == EOVERFLOW)
		return 1;
	return -errno;
}

/* Both at once or, when that cannot be, each alone.  With neither, chown(2)
 * still ends set-user-id bits and moves the time of the last change. */
static int
try_host(int fd, struct wish *u, struct wish *g)
{
	uint32_t uid = u->set && u->host_can ? u->host : FS_ID_NONE;
	uint32_t gid = g->set && g->host_can ? g->host : FS_ID_NONE;
	int n = chown_host(fd, uid, gid);

	if (n <= 0)
		return n;
	n = uid == FS_ID_NONE ? 1 : chown_host(fd, uid, FS_ID_NONE);
	u->host_can = n == 0;
	if (n >= 0)
		n = gid == FS_ID_NONE ? 1 : chown_host(fd, FS_ID_NONE, gid);
	g->host_can = n == 0;
	if (n >= 0 && !u->host_can && !g->host_can)
		n = chown_host(fd, FS_ID_NONE, FS_ID_NONE);
	return n < 0 ? n : 0;
}

/* What the host shows needs no record. */
static void
fill_owner(const struct fs_ctx *c, const struct statx *stx,
	   const struct wish *u, const struct wish *g, struct cf_state_row *row)
{
	uint32_t uid, gid;

	fs_ids_to_guest(c, stx, &uid, &gid);
	if (u->set) {
		row->has &= ~(unsigned)CF_STATE_UID;
		if (!u->host_can && u->guest != uid)
			row->has |= CF_STATE_UID;
		row->uid = u->guest;
	}
	if (g->set) {
		row->has &= ~(unsigned)CF_STATE_GID;
		if (!g->host_can && g->guest != gid)
			row->has |= CF_STATE_GID;
		row->gid = g->guest;
	}
}

/* The bits where they belong now; `mode` is what the guest is to see. */
static int
place_bits(struct fs_ctx *c, int fd, const struct statx *stx, uint32_t mode,
	   struct cf_state_row *row, uint32_t *host)
{
	*host = stx->stx_mode & 07777;
	row->huid = stx->stx_uid;
	row->hgid = stx->stx_gid;
	row->has &= ~(unsigned)CF_STATE_HOST;
	if (row->has & OWNER)
		row->has |= CF_STATE_HOST;
	if (is_emulated(row)) {
		row->mode = mode;
		return 0;
	}
	row->has &= ~(unsigned)CF_STATE_MODE;
	if (!(row->has & OWNER)) {
		*host = (*host & ~BITS) | (mode & BITS);
		return 0;
	}
	row->has |= CF_STATE_MODE;
	row->mode = mode & BITS;
	if (S_ISDIR(stx->stx_mode) || !(*host & BITS))
		return 0;
	*host &= ~BITS;
	return fs_chmod_path(c, fd, *host);
}

int
fs_chown(struct fs_ctx *c, int fd, const struct fuse_setattr_in *in)
{
	struct wish u, g;
	struct known k;
	struct statx stx;
	uint32_t mode, host;
	int err = read_wish(c, in->valid & FATTR_UID, false, in->uid, &u);

	if (!err)
		err = read_wish(c, in->valid & FATTR_GID, true, in->gid, &g);
	if (err)
		return fs_ids_refused(c, err);
	err = know(c, fd, &k);
	if (!err)
		err = try_host(fd, &u, &g);
	if (!err)
		err = fs_statx(c, fd, "", &stx);
	if (err)
		return err;
	if (!k.has_row && (!u.set || u.host_can) && (!g.set || g.host_can))
		return 0;
	mode = without_bits(mode_of(c, &k));
	if (!fs_owners_held(c, &k.stx, &k.row))
		k.row.has &= ~(unsigned)OWNER;
	fill_owner(c, &stx, &u, &g, &k.row);
	if (!k.has_row && !(k.row.has & OWNER))
		return 0;
	if (!fs_owners_can(c, c->node->mount))
		return fs_ids_refused(c, -EPERM);
	if (!c->may_block)
		return FS_DEFER;
	err = place_bits(c, fd, &stx, mode, &k.row, &host);
	if (!err)
		err = fs_owners_change(c, c->node, fd, &stx, MINE, &k.row);
	if (err == -EOPNOTSUPP)		/* no attributes, no such owner */
		return fs_ids_refused(c, -EPERM);
	if (!err && host != (stx.stx_mode & 07777))
		err = fs_chmod_path(c, fd, host);
	if (!err && (k.row.has & OWNER))
		fs_count(&c->req->counters->ids_recorded, 1);
	return err;
}

/* ------------------------------------------------------------------ */
/* Modes. */

int
fs_chmod(struct fs_ctx *c, int fd, const struct statx *stx, mode_t *mode)
{
	struct cf_state_row row;
	int found = fs_owners_find(c, c->node, fd, stx, &row), err;
	bool held = found > 0 && fs_owners_held(c, stx, &row);

	if (found < 0)
		return found;
	if (!found || (!held && !is_emulated(&row)))
		return 0;
	if (is_emulated(&row)) {
		row.mode = (row.mode & S_IFMT) | *mode;
	} else {
		row.has |= CF_STATE_MODE;
		row.mode = *mode & BITS;
		*mode &= ~BITS;
	}
	err = fs_owners_change(c, c->node, fd, stx, CF_STATE_MODE, &row);
	if (err || !is_emulated(&row))
		return err;
	err = chown_host(fd, FS_ID_NONE, FS_ID_NONE);
	return err < 0 ? err : FS_SAME;
}

int
fs_kill_bits(struct fs_ctx *c, struct fs_node *n, int fd)
{
	struct cf_state_row row;
	struct statx stx;
	uint32_t mode;
	int found;

	if (fs_owners_none(c, n->mount, n->ino))
		return 0;
	found = fs_statx(c, fd, "", &stx);
	if (!found)
		found = fs_owners_find(c, n, fd, &stx, &row);
	if (found <= 0 || !(row.has & CF_STATE_MODE) || is_emulated(&row))
		return found < 0 ? found : 0;
	mode = without_bits((stx.stx_mode & ~BITS) | row.mode) & BITS;
	if (mode == row.mode)
		return 0;
	row.mode = mode;
	return fs_owners_change(c, n, fd, &stx, CF_STATE_MODE, &row);
}

/* ------------------------------------------------------------------ */
/* New inodes. */

/* Who gets it on the host if it is made by ourselves. */
static bool
differs(struct fs_ctx *c, bool group, uint32_t guest, uint32_t self)
{
	uint32_t host;
	int err = fs_ids_to_host(c, group, guest, &host);

	return err || host != self;
}

/* A directory with the set-group-id bit gives its group away. */
static int
inherit(struct fs_ctx *c)
{
	struct fs_make *m = &c->make;
	struct fs_look look;
	struct known k;
	int err = know(c, c->fd, &k);

	if (err)
		return err;
	fs_look(c, &k.stx, k.has_row ? &k.row : NULL, &look);
	m->inherits = look.mode & S_ISGID;
	if (!m->inherits)
		return 0;
	m->gid = look.gid;
	/* The host does it by itself if the bit and the group are its own. */
	if (k.has_row && (fs_owners_held(c, &k.stx, &k.row) & CF_STATE_GID))
		m->has |= CF_STATE_GID;
	else if (k.stx.stx_mode & S_ISGID)
		m->has &= ~(unsigned)CF_STATE_GID;
	else if (!differs(c, true, look.gid, c->t->cred.self_gid))
		m->has &= ~(unsigned)CF_STATE_GID;
	else
		m->has |= CF_STATE_GID;
	return 0;
}

/*
 * Windows guests only guess an owner.  A thread that acts as the caller makes
 * the host do what is right; only a directory whose group is recorded is
 * beyond it.
 */
int
fs_make_owner(struct fs_ctx *c, mode_t *mode)
{
	const struct fs_cred *cred = &c->t->cred;
	struct fs_make *m = &c->make;
	bool self = !cred->privileged || c->make_as_self;
	int err;

	m->has = 0;
	if (!fs_owners_can(c, c->node->mount) || fs_is_windows(c->s))
		return 0;
	m->uid = c->h.uid;
	m->gid = c->h.gid;
	if (self && differs(c, false, m->uid, cred->self_uid))
		m->has |= CF_STATE_UID;
	if (self && differs(c, true, m->gid, cred->self_gid))
		m->has |= CF_STATE_GID;
	if (self || !fs_owners_none(c, c->node->mount, c->node->ino)) {
		err = inherit(c);
		if (!err)
			err = fs_ctx_become(c);
		if (err)
			return err;
	}
	if (!m->has)
		return 0;
	if (!c->may_block)
		return FS_DEFER;
	m->has |= CF_STATE_MODE | CF_STATE_HOST;
	m->mode = *mode & BITS;
	*mode &= ~BITS;
	return 0;
}

int
fs_made(struct fs_ctx *c, struct fs_node *n, int fd, const struct statx *stx)
{
	const struct fs_make *m = &c->make;
	struct cf_state_row row = {
		.has = m->has,
		.uid = m->uid,
		.gid = m->gid,
		.mode = m->mode,
		.rdev = m->rdev,
		.huid = stx->stx_uid,
		.hgid = stx->stx_gid,
	};
	int err;

	c->late = true;
	if (!c->share->records)
		return 0;
	err = fs_owners_fresh(c, n, fd, stx);
	if (err || !m->has)
		return err;
	if (m->inherits && S_ISDIR(stx->stx_mode))
		row.mode |= S_ISGID;
	err = fs_owners_change(c, n, fd, stx, m->has, &row);
	/* Only files and directories have attributes for that, and not on every
	 * file system: what is made is the daemon's then. */
	if (!c->share->state && (err == -EOPNOTSUPP ||
	    (!S_ISREG(stx->stx_mode) && !S_ISDIR(stx->stx_mode))))
		return 0;
	if (!err && (m->has & OWNER))
		fs_count(&c->req->counters->ids_recorded, 1);
	return err;
}
