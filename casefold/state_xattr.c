/* SPDX-License-Identifier: MIT */
/*
 * A row as the value of an extended attribute:
 *	1	version
 *	1	length of the whole
 *	2	which fields, CF_STATE_ bits
 *	4 each	uid, gid, mode, rdev, dosattr; 8 crtime; 4 each huid, hgid:
 *		those that are there
 *	4	checksum
 * little endian.  Nothing in it names the file: it goes where the file goes,
 * and with copies that take attributes along.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "casefold/state_db.h"

enum { FORMAT = 1, HEAD = 4, SUM = 4 };

static const struct field {
	unsigned bit;
	size_t at, size;
} fields[] = {
#define FIELD(bit, name) { bit, offsetof(struct cf_state_row, name), \
			   sizeof(((struct cf_state_row *)0)->name) }
	FIELD(CF_STATE_UID, uid),
	FIELD(CF_STATE_GID, gid),
	FIELD(CF_STATE_MODE, mode),
	FIELD(CF_STATE_RDEV, rdev),
	FIELD(CF_STATE_DOS, dosattr),
	FIELD(CF_STATE_CRTIME, crtime),
	FIELD(CF_STATE_HOST, huid),
	FIELD(CF_STATE_HOST, hgid),
#undef FIELD
};
enum { NFIELDS = sizeof(fields) / sizeof(fields[0]) };

static uint32_t
sum_of(const unsigned char *buf, size_t len)
{
	static const struct cf_key key = { 0x7374617465, 0x6777 };

	return (uint32_t)cf_hash(&key, buf, len);
}

static size_t
put_le(unsigned char *p, uint64_t v, size_t size)
{
	v = htole64(v);
	memcpy(p, &v, size);
	return size;
}

static uint64_t
get_le(const unsigned char *p, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return le64toh(v);
}

static uint64_t
get_field(const struct cf_state_row *row, const struct field *f)
{
	uint32_t v;

	if (f->size == sizeof(row->crtime))
		return (uint64_t)row->crtime;
	memcpy(&v, (const char *)row + f->at, sizeof(v));
	return v;
}

static void
set_field(struct cf_state_row *row, const struct field *f, uint64_t v)
{
	uint32_t small = (uint32_t)v;

	if (f->size == sizeof(row->crtime))
		row->crtime = (int64_t)v;
	else
		memcpy((char *)row + f->at, &small, sizeof(small));
}

size_t
cf_state_xattr_pack(const struct cf_state_row *row,
		    unsigned char buf[CF_STATE_XATTR_MAX])
{
	size_t n = HEAD;

	for (int i = 0; i < NFIELDS; i++) {
		if (row->has & fields[i].bit)
			n += put_le(buf + n, get_field(row, &fields[i]),
				    fields[i].size);
	}
	buf[0] = FORMAT;
	buf[1] = (unsigned char)(n + SUM);
	put_le(buf + 2, row->has, 2);
	return n + put_le(buf + n, sum_of(buf, n), SUM);
}

int
cf_state_xattr_unpack(const void *buf, size_t len, struct cf_state_row *row)
{
	const unsigned char *p = buf;
	struct cf_state_row r = { 0 };
	size_t n = HEAD;

	if (len < HEAD + SUM || p[1] != len ||
	    get_le(p + len - SUM, SUM) != sum_of(p, len - SUM))
		return -EIO;
	if (p[0] != FORMAT)
		return -EPROTO;
	r.has = (unsigned)get_le(p + 2, 2);
	if (r.has & ~(unsigned)(CF_STATE_FACTS | CF_STATE_HOST))
		return -EIO;
	for (int i = 0; i < NFIELDS; i++) {
		if (!(r.has & fields[i].bit))
			continue;
		if (fields[i].size > len - SUM - n)
			return -EIO;
		set_field(&r, &fields[i], get_le(p + n, fields[i].size));
		n += fields[i].size;
	}
	if (n != len - SUM)
		return -EIO;
	*row = r;
	return 0;
}
