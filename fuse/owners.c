/* SPDX-License-Identifier: MIT */
/*
 * What guests set and the host cannot hold, on a share that records it: found,
 * changed, shown, and dropped with its inode.
 *
 * A node's type is always the host's: a device that was recorded because the
 * host makes none is a regular file here, and only looks like a device.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuse/owners.h"

#define OWNER (CF_STATE_UID | CF_STATE_GID)

bool
fs_share_lacks_owners(const struct fs_share *share)
{
	return !share->privileged || fs_ids_limited(share->ids);
}

/* Without a descriptor of its own nothing of it can be recorded. */
void
fs_owners_mount(struct fs_share *share, struct fs_mount *m)
{
	struct cf_state_fs *state;

	if (share->state && m->fd >= 0 && !m->state &&
	    !cf_state_fs(share->state, m->fd, &state))
		m->state = state;
}

int
fs_share_record(struct fs_share *share, struct cf_state *state)
{
	share->records = true;
	share->state = state;
	for (struct fs_mount *m = share->mounts; m; m = m->next)
		fs_owners_mount(share, m);
	return 0;
}

bool
fs_share_records(const struct fs_share *share)
{
	return share->records;
}

int
fs_share_root(const struct fs_share *share)
{
	return share->root_fd;
}

void
fs_share_forbid(struct fs_share *share)
{
	share->forbidden = true;
}

/* ------------------------------------------------------------------ */
/* Rows. */

static int64_t
birth_of(const struct statx *stx)
{
	if (!(stx->stx_mask & STATX_BTIME))
		return 0;
	return stx->stx_btime.tv_sec * 1000000000 + stx->stx_btime.tv_nsec;
}

struct change {
	unsigned mask;
	const struct cf_state_row *row;
};

/* Run on the inode, which is pinned if that is needed to name it. */
typedef int row_fn(struct cf_state_fs *fs, const struct cf_state_file *file,
		   void *arg);

static int
with_file(struct fs_ctx *c, struct fs_node *n, int fd, const struct statx *stx,
	  bool nowait, row_fn *run, void *arg)
{
	struct cf_state_file file = {
		.ino = stx->stx_ino,
		.btime_ns = birth_of(stx),
		.handle = n->handle,
		.fd = fd,
		.nowait = nowait,
	};
	bool pinned = !file.handle && fd < 0;
	int err = pinned ? fs_node_pin(c, n, &file.fd) : 0;

	if (err)
		return err;
	err = run(n->mount->state, &file, arg);
	if (pinned)
		fs_node_unpin(n);
	return err;
}

static int
find_row(struct cf_state_fs *fs, const struct cf_state_file *file, void *row)
{
	return cf_state_find(fs, file, row);
}

/* state.db is the daemon's own. */
static int
become_self(struct fs_ctx *c)
{
	return fs_cred_self(&c->t->cred, c->t->cred.no_fsetid);
}

/* ------------------------------------------------------------------ */
/* The same in an attribute of the file, which the kernel keeps. */

/* Damaged values, and those of a later version, are as good as none. */
static int
read_attribute(struct fs_ctx *c, int fd, struct cf_state_row *row)
{
	unsigned char buf[CF_STATE_XATTR_MAX];
	ssize_t n = fs_xattr_get(c, fd, FS_STATE_XATTR, buf, sizeof(buf));

	row->has = 0;
	return n > 0 && !cf_state_xattr_unpack(buf, (size_t)n, row);
}

static int
write_attribute(struct fs_ctx *c, int fd, const struct cf_state_row *row)
{
	unsigned char buf[CF_STATE_XATTR_MAX];
	size_t n = cf_state_xattr_pack(row, buf);
	int err;

	if (row->has & CF_STATE_FACTS)
		return fs_xattr_set(c, fd, FS_STATE_XATTR, buf, n, 0);
	err = fs_xattr_remove(c, fd, FS_STATE_XATTR);
	return err == -ENODATA || err == -EOPNOTSUPP ? 0 : err;
}

static int
change_attribute(struct fs_ctx *c, int fd, const struct change *ch)
{
	struct cf_state_row row;

	if (read_attribute(c, fd, &row) < 1)
		memset(&row, 0, sizeof(row));
	cf_state_merge(&row, ch->mask, ch->row);
	return write_attribute(c, fd, &row);
}

static int
with_attribute(struct fs_ctx *c, struct fs_node *n, int fd,
	       const struct change *ch, struct cf_state_row *row)
{
	bool pinned = fd < 0;
	int err = pinned ? fs_node_pin(c, n, &fd) : 0;

	if (!err)
		err = become_self(c);
	if (!err)
		err = ch ? change_attribute(c, fd, ch) :
			   read_attribute(c, fd, row);
	if (pinned && fd >= 0)
		fs_node_unpin(n);
	return err;
}

/* ------------------------------------------------------------------ */

int
fs_owners_get(struct fs_ctx *c, struct fs_node *n, int fd,
	      const struct statx *stx, struct cf_state_row *row)
{
	int err;

	if (!n->mount->state)
		return with_attribute(c, n, fd, NULL, row);
	err = with_file(c, n, fd, stx, true, find_row, row);
	if (err != -EAGAIN)
		return err;
	if (!c->may_block && !c->late)
		return FS_DEFER;
	err = become_self(c);
	return err ? err : with_file(c, n, fd, stx, false, find_row, row);
}

static int
change_row(struct cf_state_fs *fs, const struct cf_state_file *file, void *arg)
{
	const struct change *ch = arg;

	return cf_state_change(fs, file, ch->mask, ch->row, NULL);
}

int
fs_owners_change(struct fs_ctx *c, struct fs_node *n, int fd,
		 const struct statx *stx, unsigned mask,
		 const struct cf_state_row *row)
{
	struct change ch = { mask, row };
	int err;

	if (!c->may_block && !c->late)
		return FS_DEFER;
	if (!n->mount->state)
		return with_attribute(c, n, fd, &ch, NULL);
	err = become_self(c);
	return err ? err : with_file(c, n, fd, stx, false, change_row, &ch);
}

static int
drop_row(struct cf_state_fs *fs, const struct cf_state_file *file, void *arg)
{
	(void)arg;
	return cf_state_drop(fs, file);
}

int
fs_owners_fresh(struct fs_ctx *c, struct fs_node *n, int fd,
		const struct statx *stx)
{
	int err;

	if (!n->mount->state || !cf_state_maybe(n->mount->state, stx->stx_ino))
		return 0;
	err = become_self(c);
	return err ? err : with_file(c, n, fd, stx, false, drop_row, NULL);
}

int
fs_owners_sync(struct fs_ctx *c)
{
	int err;

	if (!c->share->state)
		return 0;
	if (!c->may_block)
		return FS_DEFER;
	err = become_self(c);
	return err ? err : cf_state_sync(c->share->state);
}

/* ------------------------------------------------------------------ */
/* Inodes that go. */

/* This row and no other: the number may be another file's by now. */
static void
erase(struct fs_ctx *c, struct fs_mount *m, int fd, const struct statx *stx)
{
	static const struct cf_state_row none;
	struct cf_state_file file = {
		.ino = stx->stx_ino,
		.btime_ns = birth_of(stx),
		.fd = fd,
	};

	if (!become_self(c))
		cf_state_change(m->state, &file,
				CF_STATE_FACTS | CF_STATE_HOST, &none, NULL);
}

int
fs_going_begin(struct fs_ctx *c, int dirfd, const char *name,
	       const struct statx *stx, struct fs_going *g)
{
	struct fs_mount *m = c->share->records ? fs_mount_get(c->share, stx)
					       : NULL;
	int err = 0;

	g->fd = -1;
	if (!m)
		return 0;
	if (m->state && cf_state_maybe(m->state, stx->stx_ino)) {
		if (!c->may_block)
			err = FS_DEFER;
		else
			g->fd = openat(dirfd, name,
				       O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	g->mount = m;
	g->stx = *stx;
	if (g->fd < 0)
		fs_mount_put(c->share, m);
	return err;
}

/* Does the guest still have it open? */
static bool
is_open(struct fs_ctx *c, const struct fs_going *g)
{
	struct fs_node *n = fs_node_find(c->s, g->mount, &g->stx);
	struct fs_handle *h;

	if (!n)
		return false;
	h = fs_handle_of_node(c->s, n, false);
	if (h)
		fs_handle_put(h);
	fs_node_forget(n, 1);
	fs_node_put(n);
	return h;
}

/* A directory has one name. */
void
fs_going_end(struct fs_ctx *c, struct fs_going *g, bool gone)
{
	struct statx stx;

	if (g->fd < 0)
		return;
	if (gone && !fs_statx(c, g->fd, "", &stx) &&
	    stx.stx_ino == g->stx.stx_ino &&
	    (!stx.stx_nlink || S_ISDIR(stx.stx_mode)) && !is_open(c, g))
		erase(c, g->mount, g->fd, &stx);
	close(g->fd);
	fs_mount_put(c->share, g->mount);
}

bool
fs_owners_end(const struct fs_ctx *c, const struct fs_handle *h)
{
	const struct fs_node *n = h->node;
	struct stat st;

	return !fs_owners_none(c, n->mount, n->ino) && n->mount->state &&
	       !fstat(h->fd, &st) && !st.st_nlink;
}

void
fs_owners_release(struct fs_ctx *c, struct fs_handle *h)
{
	struct fs_handle *other = fs_handle_of_node(c->s, h->node, false);
	struct statx stx;

	if (other)
		fs_handle_put(other);
	else if (!fs_statx(c, h->fd, "", &stx))
		erase(c, h->node->mount, h->fd, &stx);
}

/* ------------------------------------------------------------------ */
/* What the guest sees. */

unsigned
fs_owners_held(const struct fs_ctx *c, const struct statx *stx,
	       const struct cf_state_row *row)
{
	unsigned has = row->has & OWNER;

	if (!(row->has & CF_STATE_HOST) || c->share->set->sticky_owners)
		return has;
	if (row->huid != stx->stx_uid || row->hgid != stx->stx_gid)
		return 0;
	return has;
}

static void
show_birth(int64_t filetime, struct fs_look *look)
{
	int64_t unix_100ns = filetime - 116444736000000000;
	int64_t sec = unix_100ns / 10000000, rest = unix_100ns % 10000000;

	if (rest < 0) {
		sec--;
		rest += 10000000;
	}
	look->btime.tv_sec = sec;
	look->btime.tv_nsec = (uint32_t)rest * 100;
	look->has_btime = true;
}

void
fs_owners_show(const struct fs_ctx *c, const struct statx *stx,
	       const struct cf_state_row *row, struct fs_look *look)
{
	unsigned held = fs_owners_held(c, stx, row);

	if (held & CF_STATE_UID)
		look->uid = row->uid;
	if (held & CF_STATE_GID)
		look->gid = row->gid;
	if ((row->has & CF_STATE_MODE) && (row->mode & S_IFMT))
		look->mode = row->mode;
	else if ((row->has & CF_STATE_MODE) && held)
		look->mode = (look->mode & ~07000U) | (row->mode & 07000);
	if (row->has & CF_STATE_RDEV) {
		look->rdev_major = (row->rdev & 0xfff00) >> 8;
		look->rdev_minor = (row->rdev & 0xff) |
				   ((row->rdev >> 12) & 0xfff00);
	}
	if (row->has & CF_STATE_CRTIME)
		show_birth(row->crtime, look);
}
