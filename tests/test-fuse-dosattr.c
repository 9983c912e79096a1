/* SPDX-License-Identifier: MIT */
/*
 * DOS attributes and creation times, where the host has none or does not let
 * us set them: recorded and shown, to Linux and to Windows clients.
 */
#include "config.h"

#include "fuse/dosattr.h"
#include "tests/fuserecords.h"

/* As Samba 4.2x writes it: version 5, ARCHIVE and REPARSE_POINT. */
static const unsigned char samba5[] = {
	0, 0, 5, 0, 5, 0, 0, 0, 0x11, 0, 0, 0, 0x20, 4, 0, 0,
	0x99, 0x9c, 0x19, 0xae, 0x54, 0xaa, 0xdc, 0x01,
};
/* As ksmbd writes version 3, with the attributes as text. */
static const unsigned char ksmbd3[] = {
	'0', 'x', '2', '2', 0, 0, 3, 0, 3, 0, 0, 0, 0x11, 0, 0, 0,
	0x22, 0, 0, 0, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7,
	7, 7, 0x00, 0x80, 0x3e, 0xd5, 0xde, 0xb1, 0x9d, 0x01, 6, 6, 6, 6, 6, 6,
	6, 6,
};

static void
test_dos_format(void)
{
	static const unsigned char v4[] = {
		0, 0, 4, 0, 4, 0, 0, 0, 0x11, 0, 0, 0, 0x20, 4, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0,
		0x99, 0x9c, 0x19, 0xae, 0x54, 0xaa, 0xdc, 0x01,
	};
	struct cf_state_row row = { 0 };
	unsigned char buf[FS_DOS_SIZE];
	long good = 0;

	is_int(fs_dos_parse(samba5, sizeof(samba5), &row), 0, "version 5");
	ok(row.dosattr == 0x420 && row.crtime == 0x01dcaa54ae199c99 &&
	   row.has == (CF_STATE_DOS | CF_STATE_CRTIME), "is read");
	is_int((long)fs_dos_print(&row, buf), sizeof(v4), "as version 4");
	ok(!memcmp(buf, v4, sizeof(v4)), "is written");
	is_int(fs_dos_parse(v4, sizeof(v4), &row), 0, "and read again");
	is_int(row.crtime, 0x01dcaa54ae199c99, "the same");
	is_int(fs_dos_parse(ksmbd3, sizeof(ksmbd3), &row), 0, "version 3");
	ok(row.dosattr == 0x22 && row.crtime == 0x019db1ded53e8000,
	   "is read: %x", row.dosattr);
	for (size_t n = 0; n < sizeof(v4); n++)
		good += !fs_dos_parse(v4, n, &row);
	for (size_t n = 0; n < sizeof(samba5); n++)
		good += !fs_dos_parse(samba5, n, &row);
	is_int(good, 0, "nothing shorter");
	is_int(fs_dos_parse("0x20\0\0\1\0\1\0\0\0\x11\0\0\0\x20\0\0\0"
			    "12345678", 24, &row), -EINVAL, "nor version 1");
	is_int(fs_dos_parse("0x20202020202020202020202020202020", 34, &row),
	       -EINVAL, "nor text without an end");
}

static int
set_dos(struct fc *c, uint64_t id, const void *value, uint32_t size,
	uint32_t flags)
{
	struct fuse_setxattr_in in = { .size = size, .flags = flags };
	char bytes[sizeof(in) + sizeof(FS_DOSATTRIB) + 128];
	size_t n = FUSE_COMPAT_SETXATTR_IN_SIZE;

	memcpy(bytes, &in, n);
	memcpy(bytes + n, FS_DOSATTRIB, sizeof(FS_DOSATTRIB));
	n += sizeof(FS_DOSATTRIB);
	memcpy(bytes + n, value, size);
	n += size;
	return (int)fc_raw(c, FUSE_SETXATTR, id, bytes, n,
			   (uint32_t)(sizeof(struct fuse_in_header) + n));
}

static ssize_t
get_dos(struct fc *c, uint64_t id, uint32_t size)
{
	struct fuse_getxattr_in in = { .size = size };

	return fc_call(c, FUSE_GETXATTR, id, &in, sizeof(in), FS_DOSATTRIB,
		       NULL);
}

static bool
lists_dos(struct fc *c, uint64_t id)
{
	struct fuse_getxattr_in in = { .size = 4096 };
	ssize_t n = fc_call(c, FUSE_LISTXATTR, id, &in, sizeof(in), NULL, NULL);

	return n > 0 && memmem(c->out, (size_t)n, FS_DOSATTRIB,
			       sizeof(FS_DOSATTRIB));
}

static int64_t
born(struct fc *c, uint64_t id)
{
	struct fs_wire_statx_in in = { 0 };
	struct fs_wire_statx_out out = { 0 };

	if (fc_call(c, FS_OP_STATX, id, &in, sizeof(in), NULL, NULL) ==
	    sizeof(out))
		memcpy(&out, c->out, sizeof(out));
	return out.stat.btime.tv_sec;
}

/* A file whose attributes we may not set on the host, and one of ours. */
static void
dos_attributes(struct fc *c)
{
	int64_t unix_time = (0x01dcaa54ae199c99 - 116444736000000000) / 10000000;
	uint64_t id, own;
	int64_t before;

	become_nobody(65534, 65534);
	c->state_dir = state_dir;
	c->set.xattr = true;
	fc_start(c);
	id = (uint64_t)fc_lookup(c, 1, "foreign");
	is_int((long)get_dos(c, id, 100), -ENODATA, "nothing was set");
	ok(!lists_dos(c, id), "or is listed");
	before = born(c, id);
	is_int(set_dos(c, id, samba5, sizeof(samba5), XATTR_REPLACE), -ENODATA,
	       "there is none to be replaced");
	is_int(set_dos(c, id, samba5, sizeof(samba5), XATTR_CREATE), 0,
	       "set where the host does not let us");
	is_int(set_dos(c, id, samba5, sizeof(samba5), XATTR_CREATE), -EEXIST,
	       "only once");
	again(c);
	id = (uint64_t)fc_lookup(c, 1, "foreign");
	is_int((long)get_dos(c, id, 0), sizeof(struct fuse_getxattr_out),
	       "asked for its size");
	is_int(((struct fuse_getxattr_out *)(void *)c->out)->size, 32, "told");
	is_int((long)get_dos(c, id, 31), -ERANGE, "no room");
	is_int((long)get_dos(c, id, 100), 32, "read");
	ok(lists_dos(c, id), "listed");
	is_int((long)born(c, id), (long)unix_time, "the creation time is shown");
	is_int(set_dos(c, id, "?", 1, 0) < 0, 1, "nonsense is not recorded");
	is_int((int)fc_call(c, FUSE_REMOVEXATTR, id, NULL, 0, FS_DOSATTRIB,
			    NULL), 0, "removed");
	is_int((long)get_dos(c, id, 100), -ENODATA, "is gone");
	is_int((long)born(c, id), (long)before, "the host's time again");
	is_int((long)rows(c), 0, "no record is left");
	own = (uint64_t)fc_create(c, 1, "own", O_RDWR, 0644, NULL);
	give(c, own, geteuid(), getegid());
	if (set_dos(c, own, samba5, sizeof(samba5), 0)) {
		tap_skip("on the host", "it has no attributes");
		fc_stop(c);
		return;
	}
	is_int((long)get_dos(c, own, 100), sizeof(samba5),
	       "where the host has attributes they are as they were set");
	is_int((long)born(c, own), (long)unix_time, "with the time");
	fc_call(c, FUSE_REMOVEXATTR, own, NULL, 0, FS_DOSATTRIB, NULL);
	is_int((long)rows(c), 0, "until they are removed");
	fc_stop(c);
}

/* As each kind of reply has it: the time of change for a Windows client. */
static void
born_at(struct fc *c, uint64_t id, const char *name, uint64_t sec,
	const char *when)
{
	struct fuse_entry_out e = { 0 };
	struct fuse_attr a = { 0 };

	fc_getattr(c, id, &a);
	ok(a.ctime == sec && a.ctimensec == 123456700, "%s: GETATTR", when);
	fc_lookup(c, 1, name);
	memcpy(&e, c->out, sizeof(e));
	ok(e.attr.ctime == sec && e.attr.ctimensec == 123456700, "%s: LOOKUP",
	   when);
	ids_listed(c, name, &a);
	ok(a.ctime == sec && a.ctimensec == 123456700, "%s: READDIRPLUS", when);
	is_int((long)born(c, id), (long)sec, "%s: STATX", when);
}

/* The creation time that a Windows client sets, and what others see of it. */
static void
birth_for_windows(struct fc *c)
{
	struct fuse_setattr_in in = {
		.valid = FATTR_CTIME, .ctime = 1000000000,
		.ctimensec = 123456789,
	};
	uint64_t id = (uint64_t)fc_lookup(c, 1, "foreign");
	struct fuse_attr was, a = { 0 };

	fc_getattr(c, id, &was);
	is_int(fc_setattr(c, id, &in, &a), 0, "SETATTR of the creation time");
	is_int((long)a.ctime, 1000000000, "is answered with it");
	ok(a.mtime == was.mtime && a.mtimensec == was.mtimensec,
	   "and changes no other time");
	is_int((long)rows(c), 1, "it is recorded");
	born_at(c, id, "foreign", 1000000000, "the creation time");
	in.ctime = (uint64_t)-11644473600;
	is_int(fc_setattr(c, id, &in, NULL), 0, "1601");
	in.ctime = (uint64_t)-11644473601;
	is_int(fc_setattr(c, id, &in, NULL), -EINVAL, "not before");
	in.ctime = INT64_MAX;
	is_int(fc_setattr(c, id, &in, NULL), -EINVAL, "nor for ever");
	in.ctime = 1;
	in.ctimensec = 1000000000;
	is_int(fc_setattr(c, id, &in, NULL), -EINVAL, "nor no time");
	in.ctimensec = 123456789;
	is_int(fc_setattr(c, id, &in, NULL), 0, "set again");
	fc_stop(c);
	fc_open_share(c);
	fc_init_windows(c);
	id = (uint64_t)fc_lookup(c, 1, "foreign");
	born_at(c, id, "foreign", 1, "after a restart");
	again(c);
	id = (uint64_t)fc_lookup(c, 1, "foreign");
	is_int((long)born(c, id), 1, "a Linux client sees it in STATX");
	fc_getattr(c, id, &a);
	ok(a.ctime != 1, "and the time of change in GETATTR");
	in.ctime = 2;
	is_int(fc_setattr(c, id, &in, NULL), 0, "which it cannot set");
	is_int((long)born(c, id), 1, "so that the other stays");
}

/* T59. */
static void
for_windows(struct fc *c)
{
	struct fuse_entry_out e;

	c->state_dir = state_dir;
	fc_open_share(c);
	fc_init_windows(c);
	fc_lookup(c, 1, ".");
	memcpy(&e, c->out, sizeof(e));
	ok(e.attr.uid != 65534 && e.attr.gid != 65534,
	   "the root is no overflow: %u:%u", e.attr.uid, e.attr.gid);
	c->uid = e.attr.uid;
	c->gid = e.attr.gid;
	ok(fc_create(c, (uint64_t)fc_lookup(c, 1, "sub"), "w", O_RDWR, 0664,
		     NULL) > 0, "what it takes for its owner may make files");
	is_int((long)rows(c), 0, "and nothing is recorded");
	birth_for_windows(c);
	fc_stop(c);
}

/* ------------------------------------------------------------------ */

int
main(void)
{
	char uids[64], gids[64];

	umask(0);
	test_dos_format();
	if (geteuid() != 0) {
		tap_skip("files of others", "needs root");
		return tap_done();
	}
	snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1", getegid());
	try("", "", 65534, dos_attributes, "no privileges, DOS attributes");
	try(uids, gids, 4321, for_windows, "one id, Windows");
	return tap_done();
}
