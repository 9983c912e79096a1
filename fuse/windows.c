/* SPDX-License-Identifier: MIT */
/*
 * The dialect of the Windows guest: virtio-win's driver and service under
 * WinFsp.  Where the rest of fuse/ asks fs_is_windows(), it calls in here or
 * says why on the spot.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "fuse/owners.h"

/* errno as Microsoft's C library numbers it, and as the client tells it on.
 * What has no row goes out as it is. */
/* clang-format off */
static const struct {
	int ours, sent;
} errors[] = {
	{ ENAMETOOLONG, 38 },
	{ ENOSYS,	40 },
	{ EOPNOTSUPP,	130 },
	{ EROFS,	EACCES },
	{ ETXTBSY,	EACCES },
	{ EBUSY,	EACCES },
	{ ENOTEMPTY,	EACCES },
	{ ESTALE,	ENOENT },
	{ ELOOP,	ENOENT },
	{ ENFILE,	ENOMEM },	/* "insufficient resources" */
	{ EMFILE,	ENOMEM },
	{ EOVERFLOW,	EACCES },
};
/* clang-format on */

int
fs_win_error(int err)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].ours == -err)
			return -errors[i].sent;
	}
	return err;
}

/*
 * The client knows one attribute, READONLY, and sends it as one of four whole
 * modes.  Take those to mean the write bits only, so that a file keeps its
 * other bits; a directory stays writable, because Windows marks directories
 * READONLY that it only wants to draw differently.
 */
uint32_t
fs_win_mode(uint32_t mode, uint32_t wanted)
{
	uint32_t now = mode & 07777;

	wanted &= 07777;
	if (S_ISDIR(mode))
		return wanted == 0775 || wanted == 0555 ? now : wanted;
	if (wanted == 0444)
		return now & ~0222U;
	if (wanted == 0664)
		return now & 0222 ? now : now | 0200;
	return wanted;
}

/* Sockets and block devices would look like directories to it. */
bool
fs_win_shows(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode);
}

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ULL;
	return x ^ (x >> 29);
}

/*
 * It shows attr.ctime as the creation time, and attr.ino as a number that is
 * unique on the volume, which has one device only.
 */
void
fs_win_attr(struct fs_share *share, const struct statx *stx,
	    const struct fs_look *look, struct fuse_attr *a)
{
	const struct statx_timestamp *t = &look->btime;
	uint64_t dev = fs_statx_dev(stx);

	if (!look->has_btime) {
		const struct statx_timestamp *m = &stx->stx_mtime;

		t = &stx->stx_ctime;
		if (m->tv_sec < t->tv_sec)
			t = m;
	}
	a->ctime = (uint64_t)t->tv_sec;
	a->ctimensec = t->tv_nsec;
	if (dev != fs_statx_dev(&share->root_stx))
		a->ino = mix(stx->stx_ino ^ mix(dev)) | 1ULL << 63;
}

/*
 * A name as it goes out: characters that no Windows name can have are moved to
 * U+F001..U+F07F, from where WinFsp moves them back.  Returns the length, or 0
 * if it does not fit.
 */
size_t
fs_win_name(const char *name, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)name[i];
		bool bad = ch < 0x20 || (ch < 0x80 && strchr("\"*:<>?\\|", ch));

		if (n + (bad ? 3 : 1) > size)
			return 0;
		if (bad) {
			out[n++] = (char)0xef;
			out[n++] = (char)(0x80 | ch >> 6);
			out[n++] = (char)(0x80 | (ch & 0x3f));
		} else {
			out[n++] = (char)ch;
		}
	}
	return n;
}

/*
 * RENAME_NOREPLACE on a file system that lacks it.  Were we to answer EINVAL,
 * the client would try again without the flag and overwrite the target.
 */
int
fs_win_rename(struct fs_ctx *c, int from_fd, const char *from, int to_fd,
	      const char *to)
{
	struct statx stx;
	int err = fs_statx(c, to_fd, to, &stx);

	if (err != -ENOENT)
		return err ? err : -EEXIST;
	return renameat(from_fd, from, to_fd, to) < 0 ? -errno : 0;
}
