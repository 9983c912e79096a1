/* SPDX-License-Identifier: MIT */
/*
 * export_support: a Linux guest opens files by handles of its own, as an NFS
 * server there does for its clients.  Such a handle is the node's id.  When
 * the guest has forgotten the node meanwhile, it looks up "." of that id, and
 * ".." to find the way from a directory to the root.
 *
 * So forgotten nodes are remembered, up to export_nodes of a session; they own
 * no fd, and a file that is gone is ESTALE.  They live as long as the session,
 * that is through a guest's umount and reboot.  After a front end has left
 * they are of no use to another: an id means something to one guest only.  But
 * where max_clients is 1, there is only one guest, and its next connection goes
 * on with the session of the last.  Ids of every other session begin with a
 * generation of their own, so that an old handle does not find something else.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "fuse/fs.h"

unsigned
fs_export_idle(struct fs_session *s)
{
	unsigned n = s->share->set->export_nodes / FS_SHARDS;

	if (!fs_is_exported(s))
		return FS_IDLE;
	return n ? n : 1;
}

/* Half of the generations are left for a slot that is used again. */
int
fs_export_base(const struct fs_share *share, uint32_t *base)
{
	if (!share->set->export_support)
		return 0;
	if (getrandom(base, sizeof(*base), 0) != sizeof(*base))
		return -EIO;
	*base &= INT32_MAX;
	return 0;
}

/* ------------------------------------------------------------------ */

struct fs_session *
fs_export_take(struct fs_share *share)
{
	struct fs_session *s = atomic_load(&share->left);

	if (!s || !s->freed)
		return NULL;
	atomic_store(&share->left, NULL);
	s->freed = s->cleared = false;
	atomic_store(&s->ready, false);
	atomic_store(&s->windows, false);
	fs_session_wait(s, true);
	return s;
}

bool
fs_export_keep(struct fs_session *s)
{
	struct fs_session *other = NULL;

	return fs_is_exported(s) && s->share->set->max_clients == 1 &&
	       atomic_compare_exchange_strong(&s->share->left, &other, s);
}

bool
fs_export_leave(struct fs_session *s)
{
	s->freed = atomic_load(&s->share->left) == s;
	return s->freed;
}

/* ------------------------------------------------------------------ */

static bool
is_same(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && a->stx_mnt_id == b->stx_mnt_id &&
	       fs_statx_dev(a) == fs_statx_dev(b);
}

static int
open_above(struct fs_ctx *c, int fd)
{
	int up, err;

	do {
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		err = up < 0 ? -errno : 0;
	} while ((err == -EMFILE || err == -ENFILE) &&
		 fs_nodefd_shrink(c->share));
	return err ? err : up;
}

enum { DEEPEST = 4096 };	/* steps up to the root */

/* Does the way up from the directory `dir` come to the share's root?  It may
 * not if the host has moved the directory. */
static int
walk_up(struct fs_ctx *c, int dir)
{
	struct statx stx, below;
	int at = dir, up, err = fs_statx(c, at, "", &stx);

	for (int i = 0; !err && !is_same(&stx, &c->share->root_stx); i++) {
		below = stx;
		up = open_above(c, at);
		if (at != dir)
			close(at);
		at = up;
		err = up < 0 ? up : fs_statx(c, up, "", &stx);
		if (!err && (is_same(&stx, &below) || i == DEEPEST))
			err = -ESTALE;
	}
	if (at >= 0 && at != dir)
		close(at);
	return err;
}

enum { PATHS = 5 };		/* looks at a root that is being moved */

/* Length of the path in `buf`; < 0: it is too long, or there is no /proc. */
static ssize_t
path_of(struct fs_share *share, int fd, char buf[PATH_MAX])
{
	char name[16];
	ssize_t n;

	snprintf(name, sizeof(name), "%d", fd);
	n = readlinkat(share->proc_fd, name, buf, PATH_MAX);
	return n < PATH_MAX ? n : -1;
}

/*
 * A path is of one moment, while on the way up a directory may be moved behind
 * our back and then what it was in before us: into the share, without it.  The
 * other way round, a path may begin like the root's and be another's.
 */
static int
compare_paths(struct fs_ctx *c, int dir)
{
	char *root = c->t->out, *path = root + PATH_MAX;
	char *again = path + PATH_MAX;

	for (int i = 0; i < PATHS; i++) {
		ssize_t len = path_of(c->share, c->share->root_fd, root);
		ssize_t n = path_of(c->share, dir, path);

		if (len < 0 || n < 0)
			return 0;
		if (path_of(c->share, c->share->root_fd, again) != len ||
		    memcmp(root, again, (size_t)len))
			continue;
		if (len == 1)		/* "/" */
			len = 0;
		return n >= len && !memcmp(path, root, (size_t)len) &&
		       (n == len || path[len] == '/') ? 0 : -ESTALE;
	}
	return -ESTALE;
}

int
fs_export_parent(struct fs_ctx *c, int fd)
{
	int up, err;

	if (!c->may_block)
		return FS_DEFER;
	up = open_above(c, fd);
	if (up < 0)
		return up;
	err = walk_up(c, up);
	if (!err)
		err = compare_paths(c, up);
	if (err) {
		close(up);
		return err;
	}
	return up;
}
