/* SPDX-License-Identifier: MIT */
/*
 * What we know of each mount below a share's directory: whether it may keep us
 * waiting, and whether its inodes can be opened again by file handle.  A mount
 * is looked at when the first of its inodes is met.
 *
 * What is mounted there we keep an fd of, and that keeps the host from
 * unmounting it.  So it is closed a few seconds after guests have forgotten the
 * last inode (fs_share_leave); the next one that is met is the first again.
 * The share's own mount stays.
 *
 * Why nobody ever uses a closed fd, or the number of one for something else:
 *
 * - `used` counts the nodes, and references on the way to becoming one.  Who
 *   uses m->fd has one of the two: a request that has a reference of a node
 *   keeps it in existence, whatever the guest forgets meanwhile.
 * - From 0 it is only raised under mounts_lock; without the lock a reference is
 *   had only where there are some (try_ref).
 * - The fd is closed under mounts_lock, when `used` is 0: then nobody uses it,
 *   and nobody can begin to before the lock is free.  Who waits for the lock
 *   opens it anew.
 *
 * A struct whose fd is closed and which nobody uses may become another mount's,
 * else there would be more of them with each automount.  fs_mount_find() holds
 * nothing, so what it returns is looked at again by whom that matters to: by
 * fs_mount_get() when it has its reference, by fs_node_find() when it has a
 * node, for which the mount cannot change.
 *
 * An id that the kernel gives to another mount (before Linux 6.8) finds a
 * struct that is closed, and is looked at anew; while ours is open, the mount
 * lives and its id is not free.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fuse/owners.h"

#define STACKED (FS_MOUNT_STACKED | NO_HANDLES)
#define REMOTE FS_MOUNT_REMOTE
#define MEMORY FS_MOUNT_MEMORY
enum { NO_HANDLES = 1 << 30 };	/* however well they seem to work */

/* clang-format off */
static const struct fs_type {
	uint32_t magic;
	unsigned flags;
} fs_types[] = {
	{ 0x65735546, REMOTE | NO_HANDLES },	/* FUSE */
	{ 0x794c7630, STACKED },		/* overlayfs */
	{ 0x61756673, STACKED },		/* aufs */
	{ 0xf15f,     STACKED },		/* ecryptfs */
	{ 0x6969,     REMOTE },			/* NFS */
	{ 0xff534d42, REMOTE },			/* CIFS */
	{ 0xfe534d42, REMOTE },			/* SMB2 */
	{ 0x517b,     REMOTE },			/* SMB */
	{ 0x01021997, REMOTE },			/* 9P */
	{ 0x00c36400, REMOTE },			/* Ceph */
	{ 0x5346414f, REMOTE },			/* OpenAFS */
	{ 0x6b414653, REMOTE },			/* AFS of the kernel */
	{ 0x73757245, REMOTE },			/* Coda */
	{ 0x01161970, REMOTE },			/* GFS2 */
	{ 0x7461636f, REMOTE },			/* OCFS2 */
	{ 0x0bd00bd0, REMOTE },			/* Lustre */
	{ 0x47504653, REMOTE },			/* GPFS */
	{ 0x20030528, REMOTE },			/* OrangeFS */
	{ 0x786f4256, REMOTE },			/* vboxsf */
	{ 0x01021994, MEMORY },			/* tmpfs */
	{ 0x858458f6, MEMORY },			/* ramfs */
	{ 0x958458f6, MEMORY },			/* hugetlbfs */
	{ 0x9fa0,     NO_HANDLES },		/* proc */
	{ 0x62656572, NO_HANDLES },		/* sysfs */
	{ 0xef53,     0 },			/* ext2, ext3, ext4 */
	{ 0x58465342, 0 },			/* XFS */
	{ 0x9123683e, 0 },			/* Btrfs */
	{ 0x2fc12fc1, 0 },			/* ZFS */
	{ 0xca451a4e, 0 },			/* bcachefs */
	{ 0xf2f52010, 0 },			/* F2FS */
	{ 0x3153464a, 0 },			/* JFS */
	{ 0x52654973, 0 },			/* ReiserFS */
	{ 0x3434,     0 },			/* NILFS2 */
	{ 0x4d44,     0 },			/* FAT */
	{ 0x2011bab0, 0 },			/* exFAT */
	{ 0x7366746e, 0 },			/* NTFS3 */
	{ 0x482b,     0 },			/* HFS+ */
	{ 0x9660,     0 },			/* ISO 9660 */
	{ 0x15013346, 0 },			/* UDF */
	{ 0x73717368, 0 },			/* SquashFS */
	{ 0xe0f5e1e2, 0 },			/* EROFS */
	{ 0x24051905, 0 },			/* UBIFS */
};
/* clang-format on */

static unsigned
type_flags(int fd)
{
	struct statfs sf;

	if (fstatfs(fd, &sf) < 0)
		return REMOTE;	/* what answers no question may hang */
	for (size_t i = 0; i < sizeof(fs_types) / sizeof(fs_types[0]); i++) {
		if (fs_types[i].magic == (uint32_t)sf.f_type)
			return fs_types[i].flags;
	}
	return REMOTE;	/* we know nothing of it: it may hang, too */
}

struct file_handle *
fs_handle_of(int fd, struct fs_handle_buf *buf)
{
	struct file_handle *h = (struct file_handle *)buf->bytes;
	int mount_id;

	h->handle_bytes = FS_HANDLE_MAX;
	if (fs_name_to_handle_at(fd, "", h, &mount_id, AT_EMPTY_PATH) < 0)
		return NULL;
	return h;
}

bool
fs_handle_equal(const struct file_handle *a, const struct file_handle *b)
{
	return a->handle_type == b->handle_type &&
	       a->handle_bytes == b->handle_bytes &&
	       !memcmp(a->f_handle, b->f_handle, a->handle_bytes);
}

/* An fd of the mount that is not O_PATH, through any of its inodes. */
static int
open_on(struct fs_share *share, int fd, mode_t mode)
{
	if (S_ISDIR(mode))
		return openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (S_ISREG(mode))
		return fs_open_proc(share, fd, O_RDONLY | O_NONBLOCK);
	return -1;
}

/* Does a handle of `fd` lead back to the same inode? */
static bool
handles_work(int mount_fd, int fd)
{
	struct fs_handle_buf buf;
	struct file_handle *h = fs_handle_of(fd, &buf);
	struct stat a, b;
	bool same;
	int again;

	if (!h)
		return false;
	again = open_by_handle_at(mount_fd, h, O_PATH | O_CLOEXEC);
	if (again < 0)
		return false;
	same = !fstat(fd, &a) && !fstat(again, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
	close(again);
	return same;
}

/* Look at a mount that nobody uses.  Under mounts_lock. */
static void
look_at(struct fs_share *share, struct fs_mount *m, const struct statx *stx,
	int fd)
{
	unsigned flags = type_flags(fd);

	m->id = stx->stx_mnt_id;
	m->dev = fs_statx_dev(stx);
	m->state = NULL;
	m->no_nowait = false;
	m->fd = open_on(share, fd, stx->stx_mode);
	if (share->set->inode_file_handles != CONF_HANDLES_NEVER &&
	    !(flags & NO_HANDLES) && m->fd >= 0 && handles_work(m->fd, fd))
		flags |= FS_MOUNT_HANDLES;
	m->flags = flags & ~(unsigned)NO_HANDLES;
	fs_owners_mount(share, m);
}

/* Before Linux 6.8 a mount id can be given to another mount later; the device
 * number then tells most of them apart. */
static bool
is_of(const struct fs_mount *m, const struct statx *stx)
{
	return atomic_load_explicit(&m->id, memory_order_relaxed) ==
	       stx->stx_mnt_id &&
	       atomic_load_explicit(&m->dev, memory_order_relaxed) ==
	       fs_statx_dev(stx);
}

struct fs_mount *
fs_mount_find(struct fs_share *share, const struct statx *stx)
{
	struct fs_mount *m = atomic_load_explicit(&share->mounts,
						  memory_order_acquire);

	while (m && !is_of(m, stx))
		m = m->next;
	return m;
}

static void
touch(struct fs_mount *m)
{
	if (!atomic_load_explicit(&m->active, memory_order_relaxed))
		atomic_store_explicit(&m->active, true, memory_order_relaxed);
}

void
fs_mount_count(struct fs_share *share, struct fs_mount *m, uint64_t by)
{
	if (m == share->root_mount)
		return;
	if ((uint32_t)by)
		touch(m);
	atomic_fetch_add_explicit(&m->used, by, memory_order_release);
}

bool
fs_mount_is_used(const struct fs_share *share, const struct fs_mount *m)
{
	return m == share->root_mount ||
	       atomic_load_explicit(&m->used, memory_order_relaxed);
}

/* One more reference, unless nobody uses it. */
static bool
try_ref(struct fs_mount *m)
{
	uint64_t used = atomic_load_explicit(&m->used, memory_order_relaxed);

	do {
		if (!used)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&m->used, &used, used + FS_MOUNT_NODE + FS_MOUNT_KNOWN,
		memory_order_acquire, memory_order_relaxed));
	touch(m);
	return true;
}

struct fs_mount *
fs_mount_get(struct fs_share *share, const struct statx *stx)
{
	struct fs_mount *m = fs_mount_find(share, stx);

	if (!m || m == share->root_mount)
		return m;
	if (!try_ref(m))
		return NULL;
	if (is_of(m, stx))
		return m;
	fs_mount_put(share, m);		/* it has become another */
	return NULL;
}

/* That of `stx`, one that can become it, or a new one.  Under mounts_lock. */
static struct fs_mount *
place_for(struct fs_share *share, const struct statx *stx)
{
	struct fs_mount *m = fs_mount_find(share, stx);

	if (m)
		return m;
	m = atomic_load(&share->mounts);
	while (m && (m->fd >= 0 || fs_mount_is_used(share, m)))
		m = m->next;
	if (m)
		return m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->fd = -1;
	m->next = atomic_load(&share->mounts);
	atomic_store_explicit(&share->mounts, m, memory_order_release);
	return m;
}

/* With a reference.  Under mounts_lock. */
static struct fs_mount *
open_mount(struct fs_share *share, const struct statx *stx, int fd)
{
	struct fs_mount *m = place_for(share, stx);

	if (!m || m == share->root_mount || try_ref(m))
		return m;
	if (m->fd < 0)
		look_at(share, m, stx, fd);
	fs_mount_count(share, m, FS_MOUNT_NODE + FS_MOUNT_KNOWN);
	return m;
}

int
fs_mount_open(struct fs_share *share, const struct statx *stx, int fd,
	      struct fs_mount **mount)
{
	struct fs_mount *m = fs_mount_get(share, stx);

	if (!m) {
		pthread_mutex_lock(&share->mounts_lock);
		m = open_mount(share, stx, fd);
		pthread_mutex_unlock(&share->mounts_lock);
	}
	if (!m)
		return -ENOMEM;
	*mount = m;
	return 0;
}

/* ------------------------------------------------------------------ */

struct leaving {
	int *fds;
	size_t max, *count;
};

/* Nodes that guests have forgotten must not be all that holds a mount.  Those
 * of an exported session are still asked for, by ids that its guest has kept.
 */
static bool
forget_idle(struct fs_share *share, const struct fs_mount *m,
	    const struct leaving *l)
{
	bool more = false;

	pthread_mutex_lock(&share->sessions_lock);
	for (struct fs_session *s = share->sessions; s; s = s->next) {
		if (fs_is_exported(s))
			continue;
		for (int i = 0; i < FS_SHARDS; i++)
			more |= fs_idle_leave(s, &s->shard[i], m, l->fds,
					      l->max, l->count);
	}
	pthread_mutex_unlock(&share->sessions_lock);
	return more;
}

/* Under mounts_lock. */
static bool
leave(struct fs_share *share, struct fs_mount *m, const struct leaving *l)
{
	bool active = atomic_exchange_explicit(&m->active, false,
					       memory_order_relaxed);
	uint64_t used = atomic_load(&m->used);

	if (m->fd < 0 || active || (uint32_t)used)
		return false;
	if (used && forget_idle(share, m, l))
		return true;
	if (atomic_load(&m->used))
		return false;
	if (*l->count == l->max)
		return true;
	l->fds[(*l->count)++] = m->fd;
	m->fd = -1;
	return false;
}

/* What is looked at now may hang, and is left for the next time. */
bool
fs_share_leave(struct fs_share *share, int *fds, size_t max, size_t *count)
{
	struct leaving l = { fds, max, count };
	bool more = false;

	*count = 0;
	if (pthread_mutex_trylock(&share->mounts_lock))
		return false;
	for (struct fs_mount *m = atomic_load(&share->mounts); m; m = m->next) {
		if (m != share->root_mount)
			more |= leave(share, m, &l);
	}
	pthread_mutex_unlock(&share->mounts_lock);
	return more;
}

bool
fs_share_has_mounts(struct fs_share *share)
{
	struct fs_mount *m = atomic_load(&share->mounts);

	return m && (m != share->root_mount || m->next);
}

bool
fs_share_ends_slowly(struct fs_share *share)
{
	struct fs_mount *m = atomic_load(&share->mounts);

	if (atomic_load(&share->left))
		return true;
	while (m && !(m->flags & FS_MOUNT_REMOTE))
		m = m->next;
	return m;
}

void
fs_mounts_free(struct fs_share *share)
{
	struct fs_mount *m = atomic_load(&share->mounts), *next;

	for (; m; m = next) {
		next = m->next;
		if (m->fd >= 0)
			close(m->fd);
		free(m);
	}
	atomic_store(&share->mounts, NULL);
}
