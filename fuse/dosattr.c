/* SPDX-License-Identifier: MIT */
/*
 * DOS attributes and creation times, in the attribute user.DOSATTRIB that
 * Samba and ksmbd keep them in.  Where the host holds it, it is the host's; on
 * a share that records it is otherwise taken apart and recorded, and put
 * together again when it is read.  The creation time is recorded in both cases,
 * because it is then what STATX shows.
 *
 * The value is little endian, each number where it is aligned, times as in
 * NTFS:
 *	text	attributes as "0x20", with a NUL; often empty; then to 2 bytes
 *	2	version
 *	2	version again; then to 4 bytes
 *	4	which of the following is valid: 1 attributes, 0x10 creation
 *	4	attributes
 *	3:	4 + 8 + 8 sizes, 8 creation, 8 change
 *	4:	8 time of the inode's number, 8 creation
 *	5:	8 creation
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fuse/dosattr.h"
#include "fuse/owners.h"

#define DOS (CF_STATE_DOS | CF_STATE_CRTIME)
#define TICKS 10000000ll	/* of FILETIME, in a second */
#define SINCE_1601 11644473600ll	/* seconds, until 1970 */

enum {
	HAS_ATTRIB = 0x01,
	HAS_CREATED = 0x10,
	TEXT_MAX = 12,
	FORMAT = 4,		/* what is written; ksmbd reads 3 and 4 */
};

static uint32_t
get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t
get64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/* Where the creation time stands behind the attributes; 0: not known. */
static size_t
created_at(unsigned version)
{
	switch (version) {
	case 3:
		return 4 + 8 + 8;
	case 4:
		return 8;
	}
	return 0;
}

int
fs_dos_parse(const void *value, size_t size, struct cf_state_row *row)
{
	const unsigned char *p = value;
	size_t text = strnlen(value, size < TEXT_MAX ? size : TEXT_MAX), at;
	unsigned version, flags;

	at = (text + 2) & ~(size_t)1;
	if (text == TEXT_MAX || at + 4 > size)
		return -EINVAL;
	version = p[at] | p[at + 1] << 8;
	if (version < 3 || version > 5 || p[at + 2] != p[at] ||
	    p[at + 3] != p[at + 1])
		return -EINVAL;
	at = (at + 4 + 3) & ~(size_t)3;
	if (at + 8 + created_at(version) + 8 > size)
		return -EINVAL;
	flags = get32(p + at);
	row->has = 0;
	if (flags & HAS_ATTRIB) {
		row->has |= CF_STATE_DOS;
		row->dosattr = get32(p + at + 4);
	}
	if (flags & HAS_CREATED) {
		row->has |= CF_STATE_CRTIME;
		row->crtime = (int64_t)get64(p + at + 8 + created_at(version));
	}
	return 0;
}

static size_t
put(unsigned char *p, uint64_t v, size_t size)
{
	v = htole64(v);
	memcpy(p, &v, size);
	return size;
}

size_t
fs_dos_print(const struct cf_state_row *row, unsigned char buf[FS_DOS_SIZE])
{
	uint32_t flags = 0;
	size_t n = put(buf, 0, 2);

	if (row->has & CF_STATE_DOS)
		flags |= HAS_ATTRIB;
	if (row->has & CF_STATE_CRTIME)
		flags |= HAS_CREATED;
	n += put(buf + n, FORMAT, 2);
	n += put(buf + n, FORMAT, 4);
	n += put(buf + n, flags, 4);
	n += put(buf + n, row->has & CF_STATE_DOS ? row->dosattr : 0, 4);
	n += put(buf + n, 0, 8);
	n += put(buf + n, row->has & CF_STATE_CRTIME ? (uint64_t)row->crtime
						     : 0, 8);
	return n;
}

/* ------------------------------------------------------------------ */

/* The host has no attributes there, or does not let us. */
static bool
is_refused(ssize_t err)
{
	return err == -EOPNOTSUPP || err == -EPERM || err == -EACCES;
}

/* 1 and the row if it holds attributes, as they were set by a guest. */
static int
find(struct fs_ctx *c, struct statx *stx, struct cf_state_row *row)
{
	int found = fs_statx(c, c->fd, "", stx);

	if (!found)
		found = fs_owners_find(c, c->node, c->fd, stx, row);
	if (found > 0 && !(row->has & CF_STATE_DOS))
		return 0;
	return found;
}

static int
record(struct fs_ctx *c, const struct statx *stx,
       const struct cf_state_row *row)
{
	return fs_owners_change(c, c->node, c->fd, stx, DOS, row);
}

/* The host has the attributes: only the time is left, if it has ever been
 * set. */
static int
keep_time(struct fs_ctx *c, struct cf_state_row *row)
{
	struct cf_state_row old = { 0 };
	struct statx stx;
	int found = fs_statx(c, c->fd, "", &stx);

	if (!found)
		found = fs_owners_find(c, c->node, c->fd, &stx, &old);
	row->has &= ~(unsigned)CF_STATE_DOS;
	if (found < 0 || (!(row->has & DOS) && !(found && (old.has & DOS))))
		return found < 0 ? found : 0;
	return record(c, &stx, row);
}

int
fs_dos_set(struct fs_ctx *c, const void *value, size_t size, int flags,
	   int err)
{
	struct cf_state_row row = { 0 }, old;
	struct statx stx;
	int found;

	if (!fs_owners_can(c, c->node->mount) || !c->share->state ||
	    (err && !is_refused(err)) || fs_dos_parse(value, size, &row))
		return err;
	if (!err)
		return keep_time(c, &row);
	found = find(c, &stx, &old);
	if (found < 0)
		return found;
	if (found && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!found && (flags & XATTR_REPLACE))
		return -ENODATA;
	row.has |= CF_STATE_DOS;
	return record(c, &stx, &row);
}

ssize_t
fs_dos_get(struct fs_ctx *c, void *value, size_t size, ssize_t err)
{
	unsigned char buf[FS_DOS_SIZE];
	struct cf_state_row row;
	struct statx stx;
	size_t n;
	int found;

	if ((err != -ENODATA && !is_refused(err)) || !c->share->state)
		return err;
	found = find(c, &stx, &row);
	if (found <= 0)
		return found < 0 ? found : err;
	n = fs_dos_print(&row, buf);
	if (size && n > size)
		return -ERANGE;
	if (size)
		memcpy(value, buf, n);
	return (ssize_t)n;
}

int
fs_dos_remove(struct fs_ctx *c, int err)
{
	struct cf_state_row row = { 0 };
	struct statx stx;
	int found;

	if (!c->share->state)
		return err;
	if (!err)
		return keep_time(c, &row);
	if (err != -ENODATA && !is_refused(err))
		return err;
	found = find(c, &stx, &row);
	if (found <= 0)
		return found < 0 ? found : err;
	row.has = 0;
	return record(c, &stx, &row);
}

static bool
has_name(const char *list, size_t len)
{
	for (size_t at = 0; at < len; at += strlen(list + at) + 1) {
		if (!strcmp(list + at, FS_DOSATTRIB))
			return true;
	}
	return false;
}

ssize_t
fs_dos_list(struct fs_ctx *c, char *list, size_t len, size_t size)
{
	struct cf_state_row row;
	struct statx stx;
	int found;

	if (!c->share->state || has_name(list, len) ||
	    len + sizeof(FS_DOSATTRIB) > size)
		return (ssize_t)len;
	found = find(c, &stx, &row);
	if (found < 0)
		return found;
	if (found) {
		memcpy(list + len, FS_DOSATTRIB, sizeof(FS_DOSATTRIB));
		len += sizeof(FS_DOSATTRIB);
	}
	return (ssize_t)len;
}

/* ------------------------------------------------------------------ */

bool
fs_sets_birth(const struct fs_ctx *c)
{
	return fs_is_windows(c->s) && fs_owners_can(c, c->node->mount);
}

int
fs_set_birth(struct fs_ctx *c, int fd, int64_t sec, uint32_t nsec)
{
	struct cf_state_row row = { .has = CF_STATE_CRTIME };
	struct statx stx;
	int err;

	if (sec < -SINCE_1601 || sec > INT64_MAX / TICKS - SINCE_1601 - 1 ||
	    nsec >= 1000000000)
		return -EINVAL;
	row.crtime = (sec + SINCE_1601) * TICKS + nsec / 100;
	err = fs_statx(c, fd, "", &stx);
	return err ? err : fs_owners_change(c, c->node, fd, &stx,
					    CF_STATE_CRTIME, &row);
}
