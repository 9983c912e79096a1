/* SPDX-License-Identifier: MIT */
/*
 * Users and groups where the host does not have all of them: a daemon in a
 * user namespace, of one id as by "unshare -Ur" or of a range, and one without
 * privileges.  Each runs in a process of its own.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuseids.h"
#include "tests/fusens.h"

static struct stat st;

/* ------------------------------------------------------------------ */

static void
shows(struct fc *c, uint64_t id, const char *name, uint32_t uid, uint32_t gid)
{
	struct fuse_attr a;

	fc_getattr(c, id, &a);
	ok(a.uid == uid && a.gid == gid, "%s: GETATTR %u:%u", name, a.uid,
	   a.gid);
	ids_statx(c, id, &a);
	ok(a.uid == uid && a.gid == gid, "%s: STATX", name);
	ids_listed(c, name, &a);
	ok(a.uid == uid && a.gid == gid, "%s: READDIRPLUS", name);
}

static uint32_t
kernels(const char *kind)
{
	char file[64];
	unsigned n = 0;
	FILE *f;

	snprintf(file, sizeof(file), "/proc/sys/kernel/overflow%s", kind);
	f = fopen(file, "re");
	if (!f || fscanf(f, "%u", &n) != 1)
		n = 65534;
	if (f)
		fclose(f);
	return n;
}

static int
give(struct fc *c, uint64_t id, uint32_t uid, uint32_t gid)
{
	struct fuse_setattr_in in = { .valid = FATTR_UID | FATTR_GID,
				      .uid = uid, .gid = gid };

	return fc_setattr(c, id, &in, NULL);
}

/* One id, 0.  "own" is ours, "foreign" and the directory another's. */
static void
in_one_id(struct fc *c)
{
	uint64_t own, foreign, before;

	fc_start(c);
	own = (uint64_t)fc_lookup(c, 1, "own");
	foreign = (uint64_t)fc_lookup(c, 1, "foreign");
	shows(c, own, "own", 0, 0);
	is_int(c->counters.ids_overflow, 8, "a user and a group each: the other "
	       "file twice, \".\" and \"..\"");
	before = c->counters.ids_overflow;
	shows(c, foreign, "foreign", kernels("uid"), kernels("gid"));
	ok(c->counters.ids_overflow > before, "is counted");
	shows(c, 1, ".", 0, 0);
	is_int(fc_create(c, 1, "a", O_RDWR, 0600, NULL) > 0, 0,
	       "in another's directory nothing is made");
	is_int(give(c, own, 0, 0), 0, "SETATTR to ourselves");
	is_int(give(c, own, 1000, 0), -EOVERFLOW, "not to whom we do not have");
	is_int(give(c, own, 0, 1000), -EOVERFLOW, "nor a group");
	is_int(give(c, own, kernels("uid"), 0), -EOVERFLOW, "nor overflow");
	is_int(c->counters.ids_refused, 3, "counted");
}

/* The same where the directory is ours. */
static void
in_own_directory(struct fc *c)
{
	struct ids_acl acl;
	uint64_t id;

	c->set.posix_acl = CONF_WHEN_AUTO;
	fc_start(c);
	ok(fc_create(c, 1, "a", O_RDWR, 0600, NULL) > 0, "CREATE by root");
	c->uid = 1000;
	is_int(fc_create(c, 1, "b", O_RDWR, 0600, NULL), -EOVERFLOW,
	       "not by whom we do not have");
	is_int(fc_stat(c, "b", &st), -ENOENT, "and nothing is made");
	c->uid = 0;
	id = (uint64_t)fc_lookup(c, 1, "listed");
	if (ids_get_acl(c, id, &acl, sizeof(acl)) < 0) {
		tap_skip("access lists", "not on this file system");
		return;
	}
	ok(acl.e[1].id == 0 && acl.e[2].id == kernels("uid") &&
	   acl.e[4].id == kernels("gid"), "in access lists: %u %u %u",
	   acl.e[1].id, acl.e[2].id, acl.e[4].id);
	is_int(ids_set_acl(c, id, &acl, sizeof(acl)), -EOVERFLOW,
	       "which cannot be set again");
	acl.e[2].id = 5;
	is_int(ids_set_acl(c, id, &acl, sizeof(acl)), -EOVERFLOW,
	       "nor one with 5");
}

static void
in_one_id_configured(struct fc *c)
{
	c->set.overflow_uid = 777;
	c->set.overflow_gid = 778;
	c->set.root_uid = 1000;
	c->set.root_gid = 100;
	fc_start(c);
	shows(c, (uint64_t)fc_lookup(c, 1, "foreign"), "foreign", 777, 778);
	shows(c, 1, ".", 1000, 100);
	shows(c, (uint64_t)fc_lookup(c, 1, "own"), "own", 0, 0);
}

/* We are the guest's 1000. */
static void
in_one_id_mapped(struct fc *c)
{
	static struct conf_id_range there[] = { { 1000, 1000, 0,
						  CONF_ID_RANGE } };
	static struct conf_id_range back[] = { { 0, 0, 1000, CONF_ID_RANGE } };

	c->set.uid_map = c->set.gid_map =
		(struct conf_idmap){ { there, 1 }, { back, 1 } };
	fc_start(c);
	shows(c, 1, ".", 1000, 1000);
	shows(c, (uint64_t)fc_lookup(c, 1, "own"), "own", 1000, 1000);
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "own"), 1000, 1000), 0,
	       "SETATTR");
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "own"), 1001, 0), -EOVERFLOW,
	       "of another");
}

static void
in_one_id_forced(struct fc *c)
{
	c->set.forced_uid = c->set.forced_gid = 0;
	fc_start(c);
	c->uid = c->gid = 1000;
	ok(fc_create(c, 1, "forced", O_RDWR, 0600, NULL) > 0,
	   "whoever asks, it is ours");
	shows(c, (uint64_t)fc_lookup(c, 1, "forced"), "forced", 0, 0);
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "forced"), 1234, 5678), 0,
	       "SETATTR does no harm");
}

/* The Windows client makes files as the owner of the root, unless that is
 * 65534. */
static void
in_one_id_windows(struct fc *c)
{
	struct fuse_entry_out e;

	fc_open_share(c);
	fc_init_windows(c);
	fc_lookup(c, 1, ".");
	memcpy(&e, c->out, sizeof(e));
	ok(e.attr.uid != 65534 && e.attr.gid != 65534,
	   "the root is no overflow: %u:%u", e.attr.uid, e.attr.gid);
	c->uid = e.attr.uid;
	c->gid = e.attr.gid;
	ok(fc_create(c, (uint64_t)fc_lookup(c, 1, "sub"), "w", O_RDWR, 0664,
		     NULL) > 0, "and may make files");
}

/* Our 0 to 65535 are the host's from 100000. */
static void
in_range(struct fc *c)
{
	static struct conf_id_range back[] = { { 65534, 65534, 9,
						 CONF_ID_RANGE } };

	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		perror("setresuid");
	c->set.gid_map.to_guest = (struct conf_id_ranges){ back, 1 };
	fc_start(c);
	c->uid = 1000;
	c->gid = 1001;
	ok(fc_create(c, 1, "f", O_RDWR, 0600, NULL) > 0, "CREATE");
	shows(c, (uint64_t)fc_lookup(c, 1, "f"), "f", 1000, 1001);
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "f"), 65535, 5), 0, "SETATTR");
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "f"), 65536, 5), -EOVERFLOW,
	       "behind the range");
	c->uid = 65536;
	is_int(fc_create(c, 1, "g", O_RDWR, 0600, NULL), -EOVERFLOW, "CREATE");
	shows(c, (uint64_t)fc_lookup(c, 1, "foreign"), "foreign",
	      kernels("uid"), kernels("gid") == 65534 ? 9 : kernels("gid"));
}

static void
without_privileges(struct fc *c)
{
	static struct conf_id_range u[] = { { 0, UINT32_MAX - 1, 0,
					      CONF_ID_SQUASH } };
	static struct conf_id_range g[] = { { 0, UINT32_MAX - 1, 0,
					      CONF_ID_SQUASH } };
	static struct conf_id_range bu[] = { { 0, 0, 1000, CONF_ID_RANGE } };
	static struct conf_id_range bg[] = { { 0, 0, 1000, CONF_ID_RANGE } };
	uid_t me;
	gid_t us;
	uint64_t id;

	become_nobody(1001, 100);
	u[0].to = bu[0].first = bu[0].last = me = geteuid();
	g[0].to = bg[0].first = bg[0].last = us = getegid();
	c->set.uid_map = (struct conf_idmap){ { u, 1 }, { bu, 1 } };
	c->set.gid_map = (struct conf_idmap){ { g, 1 }, { bg, 1 } };
	fc_start(c);
	ok(fc_create(c, 1, "f", O_RDWR, 0600, NULL) > 0, "CREATE by root");
	fc_stat(c, "f", &st);
	ok(st.st_uid == me && st.st_gid == us, "on the host it is ours");
	id = (uint64_t)fc_lookup(c, 1, "f");
	shows(c, id, "f", 1000, 1000);
	is_int(give(c, id, 31337, 31337), 0, "SETATTR to anybody");
	shows(c, id, "f", 1000, 1000);
	is_int(c->counters.ids_refused, 0, "nothing is refused");
}

static void
without_privileges_plain(struct fc *c)
{
	uint64_t id;

	become_nobody(1001, 100);
	fc_start(c);
	c->uid = c->gid = 31337;
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0600, NULL);
	ok((int64_t)id > 0, "CREATE by anybody");
	shows(c, id, "f", geteuid(), getegid());
	is_int(give(c, id, 31337, getegid()), -EPERM, "SETATTR to another");
	is_int(give(c, id, geteuid(), getegid()), 0, "to ourselves");
}

/* ------------------------------------------------------------------ */

/* A directory with a file of `uid` and, as root, one of another; `dir` owns
 * the directory itself. */
static struct fc *
share(uid_t uid, uid_t dir)
{
	struct ids_acl acl = IDS_ACL(0, 4321, 4321);
	struct fc *c = fc_new("/tmp");

	fc_file(c, "own", "");
	fc_file(c, "foreign", "");
	fc_file(c, "listed", "");
	mkdirat(c->fd, "sub", 0755);
	ids_host_set_acl(c, "listed", ACL_ACCESS, &acl);
	if (!ids_all_ours())
		return c;
	if (fchownat(c->fd, "own", uid, uid, 0) < 0 ||
	    fchownat(c->fd, "sub", uid, uid, 0) < 0 ||
	    fchownat(c->fd, "foreign", 4321, 4321, 0) < 0 ||
	    fchown(c->fd, dir, dir) < 0)
		perror("chown");
	return c;
}

static void
one_id(uid_t dir, void (*fn)(struct fc *), const char *what)
{
	struct fc *c = share(0, dir);
	char uids[64], gids[64];

	snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1", getegid());
	run(c, uids, gids, fn, what);
	fc_free(c);
}

static void
as_is(void (*fn)(struct fc *), const char *what)
{
	struct fc *c = share(0, 1001);

	fchmod(c->fd, 0777);
	run(c, "", "", fn, what);
	fc_free(c);
}

int
main(void)
{
	struct fc *c;

	umask(022);
	if (!ids_all()) {
		tap_skip("overflow", "runs in a user namespace already");
		return tap_done();
	}
	as_is(without_privileges, "no privileges, all squashed");
	as_is(without_privileges_plain, "no privileges");
	one_id(0, in_one_id_forced, "one id, forced");
	if (!ids_all_ours()) {
		tap_skip("files of others", "needs root");
		return tap_done();
	}
	one_id(4321, in_one_id, "one id, in another's directory");
	one_id(0, in_own_directory, "one id, in its own directory");
	one_id(4321, in_one_id_configured, "one id, with overflow_uid");
	one_id(4321, in_one_id_mapped, "one id, mapped");
	one_id(4321, in_one_id_windows, "one id, Windows");
	c = share(100000, 100000);
	run(c, "0 100000 65536", "0 100000 65536", in_range, "a range");
	fc_free(c);
	return tap_done();
}
