/* SPDX-License-Identifier: MIT */
/*
 * Users and groups between guest and host: every request that carries an id,
 * in both directions, with the rules of translate_uid and translate_gid, with
 * force_user and force_group.  tests/test-fuse-overflow.c has what happens in
 * user namespaces and without privileges.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuseids.h"

#define ALL 0, UINT32_MAX - 1

static struct stat st;

/* ------------------------------------------------------------------ */

/* Guest's 1000 to 1009 are the host's 5000 to 5009. */
static struct conf_id_range there[] = { { 1000, 1009, 5000, CONF_ID_RANGE } };
static struct conf_id_range back[] = { { 5000, 5009, 1000, CONF_ID_RANGE } };
static const struct conf_idmap mapped = { { there, 1 }, { back, 1 } };

static void
map_both(struct fc *c, struct conf_idmap map)
{
	c->set.uid_map = c->set.gid_map = map;
}

/* What the host has, and what the last reply showed, which begins with an
 * entry. */
static void
made(struct fc *c, const char *name, uint32_t host_uid, uint32_t host_gid,
     uint32_t uid, uint32_t gid, const char *what)
{
	struct fuse_entry_out e;

	memcpy(&e, c->out, sizeof(e));
	if (fc_stat(c, name, &st))
		st.st_uid = st.st_gid = FS_ID_NONE;
	ok(st.st_uid == host_uid && st.st_gid == host_gid,
	   "%s: the host has %u:%u", what, st.st_uid, st.st_gid);
	ok(e.attr.uid == uid && e.attr.gid == gid, "%s: the guest sees %u:%u",
	   what, e.attr.uid, e.attr.gid);
}

static void
call(struct fc *c, uint32_t opcode, uint64_t node, const void *in, size_t size,
     const char *name, const char *name2)
{
	ssize_t n = fc_call(c, opcode, node, in, size, name, name2);

	if (n < 0)
		printf("# %s: %s\n", fs_op_name(opcode), strerror((int)-n));
}

static void
test_makes(struct fc *c)
{
	struct fuse_mknod_in mk = { .mode = S_IFREG | 0600 };
	struct fuse_mkdir_in dir = { .mode = 0700 };
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = 0600 };
	struct fuse_link_in link = { 0 };

	c->uid = 1000;
	c->gid = 1001;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "f", NULL);
	made(c, "f", 5000, 5001, 1000, 1001, "CREATE");
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "f", NULL);
	made(c, "f", 5000, 5001, 1000, 1001, "CREATE of what is there");
	call(c, FUSE_MKDIR, 1, &dir, sizeof(dir), "d", NULL);
	made(c, "d", 5000, 5001, 1000, 1001, "MKDIR");
	call(c, FUSE_SYMLINK, 1, NULL, 0, "l", "f");
	made(c, "l", 5000, 5001, 1000, 1001, "SYMLINK");
	call(c, FUSE_MKNOD, 1, &mk, sizeof(mk), "n", NULL);
	made(c, "n", 5000, 5001, 1000, 1001, "MKNOD");
	link.oldnodeid = (uint64_t)fc_lookup(c, 1, "f");
	made(c, "f", 5000, 5001, 1000, 1001, "LOOKUP");
	call(c, FUSE_LINK, 1, &link, sizeof(link), "f2", NULL);
	made(c, "f2", 5000, 5001, 1000, 1001, "LINK");
	c->uid = 1010;
	c->gid = 999;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "g", NULL);
	made(c, "g", 1010, 999, 1010, 999, "whom no rule names");
	c->uid = c->gid = 0;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "r", NULL);
	made(c, "r", 0, 0, 0, 0, "root");
	c->uid = 1000;
	c->gid = 1001;
	if (fc_call(c, FUSE_TMPFILE, 1, &in, sizeof(in), "/", NULL) < 0) {
		tap_skip("TMPFILE", "not on this file system");
		return;
	}
	memcpy(&link.oldnodeid, c->out, sizeof(uint64_t));
	call(c, FUSE_LINK, 1, &link, sizeof(link), "t", NULL);
	made(c, "t", 5000, 5001, 1000, 1001, "TMPFILE");
}

static void
test_looks(struct fc *c)
{
	uint64_t id = (uint64_t)fc_lookup(c, 1, "f");
	struct fuse_access_in in = { .mask = R_OK | W_OK };
	struct fuse_attr a;

	fc_getattr(c, id, &a);
	ok(a.uid == 1000 && a.gid == 1001, "GETATTR %u:%u", a.uid, a.gid);
	ids_statx(c, id, &a);
	ok(a.uid == 1000 && a.gid == 1001, "STATX %u:%u", a.uid, a.gid);
	ids_listed(c, "f", &a);
	ok(a.uid == 1000 && a.gid == 1001, "READDIRPLUS %u:%u", a.uid, a.gid);
	ids_listed(c, "g", &a);
	ok(a.uid == 1010 && a.gid == 999, "another %u:%u", a.uid, a.gid);
	c->uid = 1000;
	is_int(fc_call(c, FUSE_ACCESS, id, &in, sizeof(in), NULL, NULL), 0,
	       "ACCESS of the owner");
	c->uid = 5000;
	c->gid = 5001;
	is_int(fc_call(c, FUSE_ACCESS, id, &in, sizeof(in), NULL, NULL),
	       -EACCES, "not of who has the owner's number on the host");
	fchmodat(c->fd, "f", 0060, 0);
	is_int(fc_call(c, FUSE_ACCESS, id, &in, sizeof(in), NULL, NULL),
	       -EACCES, "nor the group's");
	c->gid = 1001;
	is_int(fc_call(c, FUSE_ACCESS, id, &in, sizeof(in), NULL, NULL), 0,
	       "but of the group");
}

static void
test_setattr(struct fc *c)
{
	struct fuse_setattr_in in = { .valid = FATTR_UID | FATTR_GID,
				      .uid = 1002, .gid = 1003 };
	uint64_t id = (uint64_t)fc_lookup(c, 1, "f");
	struct fuse_attr a;

	is_int(fc_setattr(c, id, &in, &a), 0, "SETATTR");
	fc_stat(c, "f", &st);
	ok(st.st_uid == 5002 && st.st_gid == 5003, "the host has %u:%u",
	   st.st_uid, st.st_gid);
	ok(a.uid == 1002 && a.gid == 1003, "the guest sees %u:%u", a.uid,
	   a.gid);
	in.valid = FATTR_GID;
	in.gid = 77;
	fc_setattr(c, id, &in, &a);
	fc_stat(c, "f", &st);
	ok(st.st_uid == 5002 && st.st_gid == 77 && a.gid == 77 &&
	   a.uid == 1002, "a group alone, that no rule names");
	in.valid = FATTR_UID;
	in.uid = FS_ID_NONE;
	is_int(fc_setattr(c, id, &in, NULL), -EINVAL, "-1 is nobody");
}

/* Membership decides whether the set-gid bit stays. */
static void
test_groups(struct fc *c)
{
	uint64_t d;

	fs_thread_relax(c->thread);
	mkdirat(c->fd, "sg", 0777);
	fchownat(c->fd, "sg", 0, 5007, 0);
	fchmodat(c->fd, "sg", 02777, 0);
	d = (uint64_t)fc_lookup(c, 1, "sg");
	c->uid = c->gid = 1000;
	c->ngroups = 2;
	c->groups[0] = 1007;
	c->groups[1] = 3;
	fc_create(c, d, "member", O_RDWR, 02755, NULL);
	fc_stat(c, "sg/member", &st);
	ok(st.st_gid == 5007 && (st.st_mode & S_ISGID),
	   "a supplementary group is translated");
	c->groups[0] = 5007;
	c->ngroups = 1;
	fc_create(c, d, "other", O_RDWR, 02755, NULL);
	fc_stat(c, "sg/other", &st);
	ok(st.st_gid == 5007, "a set-gid directory gives the host's group");
	c->ngroups = 0;
	fc_create(c, d, "none", O_RDWR, 02755, NULL);
	fc_stat(c, "sg/none", &st);
	ok(!(st.st_mode & S_ISGID), "who is no member loses the bit");
}

/* So it does when a file is changed that the group may not execute. */
static void
test_kill(struct fc *c)
{
	struct fuse_setattr_in in = { .valid = FATTR_SIZE |
					       FATTR_KILL_SUIDGID };
	uint64_t id = (uint64_t)fc_lookup(c, 1, "f");

	fs_thread_relax(c->thread);
	fchownat(c->fd, "f", 0, 5007, 0);
	fchmodat(c->fd, "f", 02744, 0);
	c->gid = 1007;
	fc_setattr(c, id, &in, NULL);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 02744, "a member truncates");
	c->gid = 1006;
	fc_setattr(c, id, &in, NULL);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 0744, "and who is none");
}

static void
test_map(void)
{
	struct fc *c = fc_new(NULL);

	chmod(c->dir, 0777);
	map_both(c, mapped);
	fc_start(c);
	test_makes(c);
	test_looks(c);
	test_setattr(c);
	test_groups(c);
	test_kill(c);
	is_int(c->counters.ids_squashed + c->counters.ids_refused +
	       c->counters.ids_overflow, 0, "nothing to count");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

/* The share was opened with other settings, which are gone. */
static void
test_begin(void)
{
	struct fc *c = fc_new(NULL);
	struct conf_share *first = malloc(sizeof(*first));
	char why[256];
	struct fuse_attr a;
	struct fc *d;

	*first = c->set;
	first->uid_map = mapped;
	is_int(fs_share_new(first, &c->share, why, sizeof(why)), 0, "opened");
	memset(first, 0xff, sizeof(*first));
	free(first);
	is_int(fs_share_begin(c->share, &c->set), 0, "with other settings");
	fc_file(c, "f", "");
	fchownat(c->fd, "f", 5001, 5001, 0);
	d = fc_guest(c);
	fc_init(d, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(fc_getattr(d, (uint64_t)fc_lookup(d, 1, "f"), &a), 0,
	       "a file is seen");
	ok(a.uid == 5001 && a.gid == 5001, "with the rules of those: %u:%u",
	   a.uid, a.gid);
	fc_end(d);
	fs_share_free(c->share);
	c->share = NULL;
	fc_free(c);
}

/* ------------------------------------------------------------------ */
/* Access lists. */

static void
test_acl(void)
{
	struct ids_acl in = IDS_ACL(1000, 3000, 1001), out;
	struct fc *c = fc_new(NULL);
	uint64_t id;
	int err;

	c->set.posix_acl = CONF_WHEN_AUTO;
	map_both(c, mapped);
	fc_file(c, "f", "");
	fc_start(c);
	id = (uint64_t)fc_lookup(c, 1, "f");
	err = ids_set_acl(c, id, &in, sizeof(in));
	if (err == -EOPNOTSUPP) {
		tap_skip("access lists", "not on this file system");
		fc_free(c);
		return;
	}
	is_int(err, 0, "SETXATTR of an access list");
	is_int(ids_host_acl(c, "f", &out), sizeof(out), "the host has it");
	ok(out.e[1].id == 5000 && out.e[2].id == 3000 && out.e[4].id == 5001,
	   "with its ids: %u %u %u", out.e[1].id, out.e[2].id, out.e[4].id);
	is_int(ids_get_acl(c, id, &out, sizeof(out)), sizeof(out), "GETXATTR");
	ok(!memcmp(&out, &in, sizeof(in)), "as it was: %u %u %u", out.e[1].id,
	   out.e[2].id, out.e[4].id);
	is_int(ids_get_acl(c, id, &out, 0), 8, "how long is it");
	in.version = 7;
	ok(ids_set_acl(c, id, &in, sizeof(in)) < 0, "not a list: refused");
	in.version = 2;
	ok(ids_set_acl(c, id, &in, sizeof(in) - 3) < 0, "nor half of one");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

/* Several of the guest's are one on the host. */
static void
test_acl_squashed(void)
{
	struct conf_id_range r[] = { { 1000, 3000, 99, CONF_ID_SQUASH },
				     { 4000, 4000, 0, CONF_ID_FORBID } };
	struct ids_acl in = IDS_ACL(1000, 3000, 1001), out;
	struct fc *c = fc_new(NULL);
	uint64_t id;

	c->set.posix_acl = CONF_WHEN_AUTO;
	map_both(c, (struct conf_idmap){ { r, 2 }, { NULL, 0 } });
	fc_file(c, "f", "");
	fc_start(c);
	id = (uint64_t)fc_lookup(c, 1, "f");
	if (ids_set_acl(c, id, &in, sizeof(in)) == -EOPNOTSUPP) {
		fc_free(c);
		return;
	}
	is_int(ids_host_acl(c, "f", &out), sizeof(out) - sizeof(out.e[0]),
	       "two users became one");
	ok(out.e[1].tag == 2 && out.e[1].id == 99 && out.e[1].perm == 7,
	   "who may do what either may (%o)", out.e[1].perm);
	ok(out.e[3].tag == 8 && out.e[3].id == 99, "and a group its own");
	in.e[1].id = 4000;
	is_int(ids_set_acl(c, id, &in, sizeof(in)), -EPERM,
	       "a forbidden user in a list");
	is_int(c->counters.ids_refused, 1, "is counted");
	fc_free(c);
}

/* ------------------------------------------------------------------ */

/* As the example of virtiofsd's manual. */
static void
test_squash(void)
{
	struct conf_id_range u[] = { { ALL, 1001, CONF_ID_SQUASH } };
	struct conf_id_range g[] = { { ALL, 100, CONF_ID_SQUASH } };
	struct conf_id_range bu[] = { { 1001, 1001, 1000, CONF_ID_RANGE } };
	struct conf_id_range bg[] = { { 100, 100, 1000, CONF_ID_RANGE } };
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = 0600 };
	struct fuse_setattr_in set = { .valid = FATTR_UID | FATTR_GID,
				       .uid = 7, .gid = 8 };
	struct fc *c = fc_new(NULL);
	struct fuse_attr a;

	chmod(c->dir, 0777);
	c->set.uid_map = (struct conf_idmap){ { u, 1 }, { bu, 1 } };
	c->set.gid_map = (struct conf_idmap){ { g, 1 }, { bg, 1 } };
	fc_start(c);
	c->uid = c->gid = 0;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "root", NULL);
	made(c, "root", 1001, 100, 1000, 1000, "squashed root");
	c->uid = 4294967294;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "big", NULL);
	made(c, "big", 1001, 100, 1000, 1000, "squashed user");
	is_int(c->counters.ids_squashed, 4, "two users, two groups");
	is_int(fc_setattr(c, (uint64_t)fc_lookup(c, 1, "big"), &set, &a), 0,
	       "SETATTR");
	ok(a.uid == 1000 && a.gid == 1000, "changes nothing");
	fc_lookup(c, 1, ".");
	made(c, ".", 0, 0, 0, 0, "the host's others");
	c->uid = FS_ID_NONE;
	is_int(fc_create(c, 1, "none", O_RDWR, 0600, NULL), -EPERM,
	       "no caller is not squashed");
	fc_free(c);
}

static void
test_forbid(void)
{
	struct conf_id_range r[] = { { 0, 999, 0, CONF_ID_FORBID },
				     { 1001, UINT32_MAX - 1, 0,
				       CONF_ID_FORBID } };
	struct conf_id_range bad_group[] = { { 50, 50, 0, CONF_ID_FORBID } };
	struct fuse_setattr_in in = { .valid = FATTR_UID, .uid = 0 };
	struct fc *c = fc_new(NULL);
	struct fuse_attr a;
	uint64_t id;

	chmod(c->dir, 0777);
	c->set.uid_map.to_host = (struct conf_id_ranges){ r, 2 };
	c->set.gid_map.to_host = (struct conf_id_ranges){ bad_group, 1 };
	fc_start(c);
	is_int(fc_create(c, 1, "f", O_RDWR, 0600, NULL), -EPERM,
	       "CREATE of one who is forbidden");
	is_int(fc_mkdir(c, 1, "f", 0700), -EPERM, "MKDIR");
	is_int(fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "f", "x"), -EPERM,
	       "SYMLINK");
	is_int(fc_stat(c, "f", &st), -ENOENT, "nothing was made");
	is_int(c->counters.ids_refused, 3, "counted");
	c->uid = 1000;
	c->gid = 50;
	is_int(fc_create(c, 1, "f", O_RDWR, 0600, NULL), -EPERM,
	       "nor a forbidden group");
	c->gid = 1000;
	c->ngroups = 1;
	c->groups[0] = 50;
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0600, NULL);
	ok((int64_t)id > 1, "among many it is only left out");
	c->ngroups = 0;
	is_int(fc_setattr(c, id, &in, NULL), -EPERM, "SETATTR");
	in.uid = 1000;
	is_int(fc_setattr(c, id, &in, NULL), 0, "of an allowed one");
	c->uid = 0;
	is_int(fc_getattr(c, id, &a), 0, "looking is not using");
	is_int(a.uid, 1000, "and shows who it is");
	is_int(fc_unlink(c, 1, "f"), 0, "nor is removing");
	fc_free(c);
}

/* Everybody is 3000:3001, but for whom a rule names. */
static void
test_force(void)
{
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = 0600 };
	struct fuse_setattr_in set = { .valid = FATTR_UID | FATTR_GID,
				       .uid = 7, .gid = 8 };
	struct fc *c = fc_new(NULL);

	chmod(c->dir, 0777);
	map_both(c, mapped);
	c->set.forced_uid = 3000;
	c->set.forced_gid = 3001;
	fc_start(c);
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "root", NULL);
	made(c, "root", 3000, 3001, 3000, 3001, "forced root");
	c->uid = c->gid = 1234;
	c->ngroups = 3;
	c->groups[0] = 0;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "user", NULL);
	made(c, "user", 3000, 3001, 3000, 3001, "forced user");
	c->ngroups = 0;
	call(c, FUSE_SYMLINK, 1, NULL, 0, "l", "x");
	made(c, "l", 3000, 3001, 3000, 3001, "a link");
	c->uid = c->gid = 1002;
	call(c, FUSE_CREATE, 1, &in, sizeof(in), "ruled", NULL);
	made(c, "ruled", 5002, 5002, 1002, 1002, "a rule comes first");
	is_int(fc_setattr(c, (uint64_t)fc_lookup(c, 1, "ruled"), &set, NULL),
	       0, "SETATTR");
	made(c, "ruled", 3000, 3001, 1002, 1002, "gives it to the same");
	ok(c->counters.ids_squashed >= 8, "counted: %lu",
	   (unsigned long)c->counters.ids_squashed);
	fc_free(c);

	/* A group alone; and a Windows guest. */
	c = fc_new(NULL);
	chmod(c->dir, 0777);
	c->set.forced_gid = 3001;
	fc_open_share(c);
	fc_init_windows(c);
	c->uid = c->gid = 0;
	fc_create(c, 1, "w", O_RDWR, 0664, NULL);
	made(c, "w", 0, 3001, 0, 3001, "a group alone");
	fc_free(c);
}

/* ------------------------------------------------------------------ */

static mode_t
mode_of(struct fc *c, const char *name)
{
	return fc_stat(c, name, &st) ? 0 : st.st_mode & 07777;
}

static void
test_masks(void)
{
	struct fuse_mknod_in mk = { .mode = S_IFIFO | 0777 };
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = 0666 };
	struct fuse_setattr_in set = { .valid = FATTR_MODE, .mode = 0777 };
	struct ids_acl acl = IDS_ACL(1, 2, 3);
	struct fuse_link_in link;
	struct fc *c = fc_new(NULL);
	uint64_t id, d;

	c->set.create_mask = 0640;
	c->set.directory_mask = 0750;
	c->set.posix_acl = CONF_WHEN_AUTO;
	fc_start(c);
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 06777, NULL);
	is_int(mode_of(c, "f"), 0640, "CREATE");
	fc_call(c, FUSE_MKNOD, 1, &mk, sizeof(mk), "n", NULL);
	is_int(mode_of(c, "n"), 0640, "MKNOD");
	ok(S_ISFIFO(st.st_mode), "of its type");
	fc_mkdir(c, 1, "d", 01777);
	is_int(mode_of(c, "d"), 0750, "MKDIR");
	if (fc_call(c, FUSE_TMPFILE, 1, &in, sizeof(in), "/", NULL) > 0) {
		memcpy(&link.oldnodeid, c->out, sizeof(uint64_t));
		fc_call(c, FUSE_LINK, 1, &link, sizeof(link), "t", NULL);
		is_int(mode_of(c, "t"), 0640, "TMPFILE");
	}
	fc_setattr(c, id, &set, NULL);
	is_int(mode_of(c, "f"), 0777, "chmod is not masked");
	fc_create(c, 1, "f", O_RDWR, 0600, NULL);
	is_int(mode_of(c, "f"), 0777, "nor what is there already");
	/* What the host adds stays. */
	mkdirat(c->fd, "sg", 0777);
	fchmodat(c->fd, "sg", 02777, 0);
	d = (uint64_t)fc_lookup(c, 1, "sg");
	fc_mkdir(c, d, "sub", 0777);
	is_int(mode_of(c, "sg/sub"), 02750, "set-gid is inherited");
	/* A default list takes the umask's place, not the mask's. */
	if (ids_host_default_acl(c, "sg", &acl)) {
		tap_skip("default list", "not on this file system");
	} else {
		in.umask = 077;
		fc_call(c, FUSE_CREATE, d, &in, sizeof(in), "acl", NULL);
		is_int(mode_of(c, "sg/acl"), 0640, "with a default list");
		in.mode = 0666;
		fc_call(c, FUSE_CREATE, 1, &in, sizeof(in), "um", NULL);
		is_int(mode_of(c, "um"), 0600, "and with a umask");
	}
	fc_free(c);
}

int
main(void)
{
	umask(022);
	test_masks();
	if (!ids_all_ours()) {
		tap_skip("acting as other users", "needs root");
		return tap_done();
	}
	test_map();
	test_begin();
	test_acl();
	test_acl_squashed();
	test_squash();
	test_forbid();
	test_force();
	return tap_done();
}
