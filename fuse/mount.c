/* SPDX-License-Identifier: MIT */
/*
 * What we know of each mount below a share's directory: whether it may keep us
 * waiting, and whether its inodes can be opened again by file handle.  A mount
 * is looked at once, when the first of its inodes is met.
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

static struct fs_mount *
mount_new(struct fs_share *share, const struct statx *stx, int fd)
{
	struct fs_mount *m = calloc(1, sizeof(*m));
	unsigned flags;

	if (!m)
		return NULL;
	flags = type_flags(fd);
	m->id = stx->stx_mnt_id;
	m->dev = fs_statx_dev(stx);
	m->fd = open_on(share, fd, stx->stx_mode);
	if (share->set->inode_file_handles != CONF_HANDLES_NEVER &&
	    !(flags & NO_HANDLES) && m->fd >= 0 && handles_work(m->fd, fd))
		flags |= FS_MOUNT_HANDLES;
	m->flags = flags & ~(unsigned)NO_HANDLES;
	fs_owners_mount(share, m);
	return m;
}

/*
 * Before Linux 6.8 a mount id can be given to another mount later; the device
 * number then tells most of them apart.
 */
struct fs_mount *
fs_mount_find(struct fs_share *share, const struct statx *stx)
{
	struct fs_mount *m = atomic_load_explicit(&share->mounts,
						  memory_order_acquire);
	uint64_t dev = fs_statx_dev(stx);

	for (; m; m = m->next) {
		if (m->id == stx->stx_mnt_id && m->dev == dev)
			return m;
	}
	return NULL;
}

int
fs_mount_get(struct fs_share *share, const struct statx *stx, int fd,
	     struct fs_mount **mount)
{
	struct fs_mount *m = fs_mount_find(share, stx);

	if (!m) {
		pthread_mutex_lock(&share->mounts_lock);
		m = fs_mount_find(share, stx);
		if (!m && (m = mount_new(share, stx, fd)) != NULL) {
			m->next = atomic_load(&share->mounts);
			atomic_store_explicit(&share->mounts, m,
					      memory_order_release);
		}
		pthread_mutex_unlock(&share->mounts_lock);
	}
	if (!m)
		return -ENOMEM;
	if (share->set->inode_file_handles == CONF_HANDLES_MANDATORY &&
	    !(m->flags & FS_MOUNT_HANDLES))
		return -EOPNOTSUPP;
	*mount = m;
	return 0;
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
