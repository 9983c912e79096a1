/* SPDX-License-Identifier: MIT */
/*
 * Owners, modes and devices that the host cannot hold, recorded and shown: by a
 * daemon without privileges, by one of one id as in "unshare -Ur", by one of a
 * range, and by root, who needs none of it.
 */
#include "config.h"

#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "tests/fuserecords.h"

static struct stat st;

static void
shows(struct fc *c, uint64_t id, const char *name, uint32_t uid, uint32_t gid)
{
	struct fuse_entry_out e;
	struct fuse_attr a;

	fc_getattr(c, id, &a);
	ok(a.uid == uid && a.gid == gid, "%s: GETATTR %u:%u", name, a.uid,
	   a.gid);
	ids_statx(c, id, &a);
	ok(a.uid == uid && a.gid == gid, "%s: STATX", name);
	ids_listed(c, name, &a);
	ok(a.uid == uid && a.gid == gid, "%s: READDIRPLUS", name);
	fc_lookup(c, 1, name);
	memcpy(&e, c->out, sizeof(e));
	ok(e.attr.uid == uid && e.attr.gid == gid, "%s: LOOKUP", name);
}

static uint32_t
mode_of(struct fc *c, uint64_t id)
{
	struct fuse_attr a = { 0 };

	fc_getattr(c, id, &a);
	return a.mode;
}

static int
set_mode(struct fc *c, uint64_t id, uint32_t mode)
{
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = mode };

	return fc_setattr(c, id, &in, NULL);
}

static unsigned
host_mode(struct fc *c, const char *name)
{
	return fc_stat(c, name, &st) ? 0 : st.st_mode;
}

/* What 1000:1001 makes. */
static struct fuse_attr
made(struct fc *c, ssize_t n)
{
	struct fuse_entry_out e = { 0 };

	if (n > 0)
		memcpy(&e, c->out, sizeof(e));
	ok(n > 0 && e.attr.uid == 1000 && e.attr.gid == 1001,
	   "is its maker's: %u:%u", e.attr.uid, e.attr.gid);
	return e.attr;
}

static int
can_access(struct fc *c, uint64_t id, uint32_t uid, uint32_t mask)
{
	struct fuse_access_in in = { .mask = mask };
	uint32_t was = c->uid;
	int err;

	c->uid = uid;
	err = (int)fc_call(c, FUSE_ACCESS, id, &in, sizeof(in), NULL, NULL);
	c->uid = was;
	return err;
}

/* ------------------------------------------------------------------ */

static void
test_chown(struct fc *c)
{
	uint64_t id, before;

	c->uid = 1000;
	c->gid = 1001;
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0640, NULL);
	ok((int64_t)id > 0, "CREATE by anybody");
	shows(c, id, "f", 1000, 1001);
	fc_stat(c, "f", &st);
	ok(st.st_uid == geteuid() && st.st_gid == getegid(),
	   "on the host it is ours");
	is_int(give(c, id, 31337, 31338), 0, "SETATTR to anybody else");
	shows(c, id, "f", 31337, 31338);
	is_int(give(c, id, FS_ID_NONE, 7), 0, "of the group");
	is_int(give(c, id, 8, FS_ID_NONE), 0, "of the user");
	shows(c, id, "f", 8, 7);
	is_int((long)c->counters.ids_recorded, 4, "each is counted");
	is_int((long)c->counters.ids_refused, 0, "none refused");
	is_int(can_access(c, id, 8, R_OK), 0, "ACCESS by the owner");
	is_int(can_access(c, id, 9, R_OK), -EACCES, "and not by another");
	again(c);
	id = (uint64_t)fc_lookup(c, 1, "f");
	shows(c, id, "f", 8, 7);
	before = rows(c);
	is_int(give(c, id, geteuid(), getegid()), 0, "back to ourselves");
	shows(c, id, "f", geteuid(), getegid());
	is_int((long)(before - rows(c)), 1, "needs no record");
	is_int(give(c, id, FS_ID_NONE - 1, FS_ID_NONE - 1), 0, "any number");
	is_int(fc_unlink(c, 1, "f"), 0, "UNLINK");
	is_int((long)rows(c), (long)before - 1, "the record goes with it");
}

static void
test_made(struct fc *c)
{
	struct fuse_mkdir_in dir = { .mode = 0755 };
	struct fuse_mknod_in fifo = { .mode = S_IFIFO | 0640 };

	c->uid = 1000;
	c->gid = 1001;
	made(c, fc_call(c, FUSE_MKDIR, 1, &dir, sizeof(dir), "d", NULL));
	made(c, fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l", "target"));
	made(c, fc_call(c, FUSE_MKNOD, 1, &fifo, sizeof(fifo), "p", NULL));
	again(c);
	shows(c, (uint64_t)fc_lookup(c, 1, "d"), "d", 1000, 1001);
	shows(c, (uint64_t)fc_lookup(c, 1, "l"), "l", 1000, 1001);
	shows(c, (uint64_t)fc_lookup(c, 1, "p"), "p", 1000, 1001);
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "l"), 3, 4), 0,
	       "SETATTR of a symbolic link");
	shows(c, (uint64_t)fc_lookup(c, 1, "l"), "l", 3, 4);
	is_int(fc_rmdir(c, 1, "d") | fc_unlink(c, 1, "l") |
	       fc_unlink(c, 1, "p"), 0, "removed");
	is_int((long)rows(c), 0, "and their records");
}

/* T53. */
static void
test_bits(struct fc *c)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE |
						 FATTR_KILL_SUIDGID };
	uint64_t id, fh;

	c->uid = 1000;
	c->gid = 1001;
	id = (uint64_t)fc_create(c, 1, "s", O_RDWR, 06755, &fh);
	is_int(mode_of(c, id), S_IFREG | 06755, "made with suid and sgid");
	is_int(host_mode(c, "s"), S_IFREG | 0755, "never on the host");
	is_int(set_mode(c, id, 04711), 0, "SETATTR of the mode");
	is_int(mode_of(c, id), S_IFREG | 04711, "is shown");
	is_int(host_mode(c, "s"), S_IFREG | 0711, "the rest on the host");
	is_int((long)fc_write(c, id, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID), 1,
	       "WRITE that ends it");
	is_int(mode_of(c, id), S_IFREG | 0711, "does");
	set_mode(c, id, 06755);
	fc_setattr(c, id, &size, NULL);
	is_int(mode_of(c, id), S_IFREG | 0755, "truncating, too");
	set_mode(c, id, 06755);
	give(c, id, 5, FS_ID_NONE);
	is_int(mode_of(c, id), S_IFREG | 0755, "chown, too");
	set_mode(c, id, 04755);
	give(c, id, geteuid(), getegid());
	is_int(mode_of(c, id), S_IFREG | 0755, "chown to ourselves");
	is_int(host_mode(c, "s"), S_IFREG | 0755, "leaves none behind");
	is_int(set_mode(c, id, 04755), 0, "on a file of ours");
	is_int(host_mode(c, "s"), S_IFREG | 04755, "it is the host's");
	give(c, id, 5, FS_ID_NONE);
	is_int(host_mode(c, "s"), S_IFREG | 0755, "until it is another's");
	fc_release(c, id, fh);
	fc_unlink(c, 1, "s");
	is_int((long)rows(c), 0, "no record is left");
}

static void
test_inherit(struct fc *c)
{
	struct fuse_attr a;
	uint64_t dir, id;

	c->uid = 1000;
	c->gid = 1001;
	dir = (uint64_t)fc_mkdir(c, 1, "g", 0755);
	is_int(give(c, dir, FS_ID_NONE, 50), 0, "a directory of group 50");
	is_int(set_mode(c, dir, 02775), 0, "with the set-group-id bit");
	is_int(mode_of(c, dir), S_IFDIR | 02775, "is shown");
	is_int(host_mode(c, "g"), S_IFDIR | 0775, "not on the host");
	id = (uint64_t)fc_create(c, dir, "f", O_RDWR, 0644, NULL);
	fc_getattr(c, id, &a);
	ok(a.uid == 1000 && a.gid == 50, "a file there: %u:%u", a.uid, a.gid);
	id = (uint64_t)fc_mkdir(c, dir, "d", 0755);
	fc_getattr(c, id, &a);
	ok(a.gid == 50 && a.mode == (S_IFDIR | 02755),
	   "a directory there: group %u, mode %o", a.gid, a.mode);
	fc_rmdir(c, dir, "d");
	fc_unlink(c, dir, "f");
	fc_rmdir(c, 1, "g");
	is_int((long)rows(c), 0, "no record is left");
}

/* T56. */
static void
test_links(struct fc *c)
{
	struct fuse_link_in in;
	struct fuse_attr a = { 0 };
	uint64_t id, fh;

	c->uid = 1000;
	c->gid = 1001;
	id = (uint64_t)fc_create(c, 1, "a", O_RDWR, 0644, NULL);
	in.oldnodeid = id;
	fc_call(c, FUSE_LINK, 1, &in, sizeof(in), "b", NULL);
	made(c, fc_call(c, FUSE_LINK, 1, &in, sizeof(in), "c", NULL));
	is_int(fc_unlink(c, 1, "a"), 0, "one of three names goes");
	shows(c, id, "b", 1000, 1001);
	is_int((long)rows(c), 1, "the record stays");
	fc_create(c, 1, "o", O_RDWR, 0644, NULL);
	is_int(fc_rename(c, 1, "o", 1, "b", 0), 0, "another takes its place");
	shows(c, id, "c", 1000, 1001);
	is_int((long)rows(c), 2, "both are recorded");
	fh = (uint64_t)fc_open(c, id, O_RDWR);
	is_int(fc_unlink(c, 1, "c"), 0, "the last name goes, the file is open");
	fc_getattr(c, id, &a);
	is_int(a.uid, 1000, "and is its owner's");
	is_int((long)rows(c), 2, "recorded");
	fc_release(c, id, fh);
	is_int((long)rows(c), 1, "until it is closed");
	fc_create(c, 1, "x", O_RDWR, 0644, NULL);
	is_int(fc_rename(c, 1, "x", 1, "b", 0), 0, "renamed over");
	is_int((long)rows(c), 1, "what was there is forgotten");
	fc_unlink(c, 1, "b");
	is_int((long)rows(c), 0, "all gone");
}

static unsigned
listed_type(struct fc *c, const char *name, bool plus)
{
	uint64_t fh = (uint64_t)fc_opendir(c, 1);
	ssize_t n = fc_readdir(c, 1, fh, 0, 65536, plus), at = 0;
	size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	unsigned type = 99;

	while (at < n) {
		struct fuse_dirent d;

		memcpy(&d, c->out + at + head - FUSE_NAME_OFFSET,
		       FUSE_NAME_OFFSET);
		if (d.namelen == strlen(name) &&
		    !memcmp(c->out + at + head, name, d.namelen))
			type = d.type;
		at += (ssize_t)FUSE_DIRENT_ALIGN(head + d.namelen);
	}
	fc_releasedir(c, 1, fh);
	return type;
}

static void
test_devices(struct fc *c)
{
	struct fuse_mknod_in null = { .mode = S_IFCHR | 0644,
				      .rdev = 0x103 };
	struct fuse_attr a = { 0 };
	uint64_t id;
	ssize_t n;

	c->uid = 1000;
	c->gid = 1001;
	n = fc_call(c, FUSE_MKNOD, 1, &null, sizeof(null), "null", NULL);
	a = made(c, n);
	ok(a.mode == (S_IFCHR | 0644) && a.rdev == 0x103,
	   "a device: mode %o, number %x", a.mode, a.rdev);
	ok(S_ISREG(host_mode(c, "null")) && !st.st_size,
	   "an empty file on the host");
	is_int(listed_type(c, "null", false), S_IFCHR >> 12, "READDIR");
	is_int(listed_type(c, "null", true), S_IFCHR >> 12, "READDIRPLUS");
	again(c);
	id = (uint64_t)fc_lookup(c, 1, "null");
	is_int(give(c, id, 4, 5), 0, "SETATTR of the owner");
	is_int(set_mode(c, id, 02660), 0, "and of the mode");
	fc_getattr(c, id, &a);
	ok(a.mode == (S_IFCHR | 02660) && a.uid == 4 && a.gid == 5 &&
	   a.rdev == 0x103, "are shown: mode %o", a.mode);
	is_int(host_mode(c, "null"), S_IFREG | 0600, "nothing on the host");
	is_int(fc_rename(c, 1, "null", 1, "zero", 0), 0, "RENAME");
	is_int(listed_type(c, "zero", false), S_IFCHR >> 12, "it stays one");
	give(c, id, geteuid(), getegid());
	fc_getattr(c, id, &a);
	ok(a.mode == (S_IFCHR | 02660) && a.uid == geteuid(),
	   "also if it is ours: mode %o", a.mode);
	is_int(fc_unlink(c, 1, "zero"), 0, "UNLINK");
	is_int((long)rows(c), 0, "no record is left");
}

/* T51, with the host's part in it. */
static void
test_reuse(struct fc *c)
{
	long n = tap_scaled(500), wrong = 0, lost = 0;
	struct fuse_attr a;
	int64_t id;

	for (long i = 0; i < n; i++) {
		c->uid = c->gid = (uint32_t)(1000 + i);
		id = fc_create(c, 1, "r", O_RDWR, 0644, NULL);
		lost += id < 0 || fc_getattr(c, (uint64_t)id, &a) ||
			a.uid != c->uid;
		unlinkat(c->fd, "r", 0);
		fc_forget(c, (uint64_t)id, 1);
		fc_file(c, "h", "");
		id = fc_lookup(c, 1, "h");
		wrong += id < 0 || fc_getattr(c, (uint64_t)id, &a) ||
			 a.uid != geteuid();
		unlinkat(c->fd, "h", 0);
		fc_forget(c, (uint64_t)id, 1);
	}
	is_int(lost, 0, "%ld files are their makers'", n);
	is_int(wrong, 0, "and none that the host made is another's");
}

static void
in_any(struct fc *c)
{
	c->state_dir = state_dir;
	fc_start(c);
	is_int((long)rows(c), 0, "nothing is recorded");
	ok(access(state_dir, F_OK) < 0, "nor is there a file");
	test_chown(c);
	test_made(c);
	test_bits(c);
	test_inherit(c);
	test_links(c);
	test_devices(c);
	test_reuse(c);
	ok(!c->broken, "all replies were good");
	fc_stop(c);
}

static void
in_range(struct fc *c)
{
	struct fuse_attr a;
	uint64_t id;

	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		perror("setresuid");
	c->state_dir = state_dir;
	fc_start(c);
	c->uid = 1000;
	c->gid = 1001;
	id = (uint64_t)fc_create(c, 1, "in", O_RDWR, 0644, NULL);
	shows(c, id, "in", 1000, 1001);
	is_int((long)rows(c), 0, "what the range has is the host's");
	is_int(give(c, id, 70000, 5), 0, "half of it");
	shows(c, id, "in", 70000, 5);
	fc_stat(c, "in", &st);
	ok(st.st_uid == 1000 && st.st_gid == 5, "the host has the other: %u:%u",
	   st.st_uid, st.st_gid);
	is_int(give(c, id, 6, FS_ID_NONE), 0, "and now all");
	shows(c, id, "in", 6, 5);
	is_int((long)rows(c), 0, "nothing is recorded");
	c->uid = 70000;
	c->gid = 70001;
	id = (uint64_t)fc_create(c, 1, "out", O_RDWR, 04755, NULL);
	shows(c, id, "out", 70000, 70001);
	is_int(host_mode(c, "out"), S_IFREG | 0755, "suid is not the host's");
	is_int(mode_of(c, id), S_IFREG | 04755, "but the guest's");
	fc_stat(c, "out", &st);
	is_int(st.st_uid, 0, "it is ours");
	fc_getattr(c, (uint64_t)fc_lookup(c, 1, "foreign"), &a);
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "foreign"), 1, 1), 0,
	       "a file of whom we do not have");
	shows(c, (uint64_t)fc_lookup(c, 1, "foreign"), "foreign", 1, 1);
	fc_stop(c);
}

static void
as_nobody(struct fc *c)
{
	become_nobody(65534, 65534);
	in_any(c);
}

static void
in_attributes(struct fc *c)
{
	struct fuse_getxattr_in in = { .size = 4096 };
	struct fuse_attr a;
	char path[5000];
	uint64_t id;
	ssize_t n;

	become_nobody(65534, 65534);
	c->state_xattr = true;
	c->set.xattr = true;
	fc_file(c, "probe", "");
	snprintf(path, sizeof(path), "%s/probe", c->dir);
	if (setxattr(path, "user.probe", "", 0, 0) < 0) {
		tap_skip("in attributes", strerror(errno));
		return;
	}
	fc_start(c);
	c->uid = 1000;
	c->gid = 1001;
	id = (uint64_t)fc_create(c, 1, "x", O_RDWR, 04755, NULL);
	shows(c, id, "x", 1000, 1001);
	is_int(give(c, id, 3, 4), 0, "SETATTR");
	is_int(set_mode(c, id, 04755), 0, "of the mode");
	again(c);
	id = (uint64_t)fc_lookup(c, 1, "x");
	shows(c, id, "x", 3, 4);
	is_int(mode_of(c, id), S_IFREG | 04755, "suid is shown");
	is_int(host_mode(c, "x"), S_IFREG | 0755, "and not on the host");
	n = fc_call(c, FUSE_LISTXATTR, id, &in, sizeof(in), NULL, NULL);
	ok(n <= 0 || !memmem(c->out, (size_t)n, "gatewayd", 8),
	   "the attribute is not listed");
	is_int((long)fc_call(c, FUSE_GETXATTR, id, &in, sizeof(in),
			     "user.gatewayd.state", NULL), -ENODATA,
	       "nor read");
	is_int((long)fc_call(c, FUSE_REMOVEXATTR, id, NULL, 0,
			     "user.gatewayd.state", NULL), -EPERM,
	       "nor removed");
	ok(fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l", "target") > 0,
	   "a link can be made");
	fc_getattr(c, (uint64_t)fc_lookup(c, 1, "l"), &a);
	is_int(a.uid, geteuid(), "but is ours");
	is_int(give(c, (uint64_t)fc_lookup(c, 1, "l"), 3, 4), -EPERM,
	       "and stays it");
	is_int(give(c, id, geteuid(), getegid()), 0, "SETATTR to ourselves");
	shows(c, id, "x", geteuid(), getegid());
	snprintf(path, sizeof(path), "%s/x", c->dir);
	is_int(getxattr(path, "user.gatewayd.state", NULL, 0), -1,
	       "leaves no attribute");
	fc_stop(c);
}

/* A file system that has none: ramfs. */
static void
without_attributes(struct fc *c)
{
	char path[5000];
	int64_t id;

	become_nobody(65534, 65534);
	c->state_xattr = true;
	snprintf(path, sizeof(path), "%s/probe", c->dir);
	fc_file(c, "probe", "");
	if (!setxattr(path, "user.probe", "", 0, 0) || errno != EOPNOTSUPP) {
		tap_skip("without attributes", "there are some");
		return;
	}
	fc_start(c);
	c->uid = 1000;
	c->gid = 1001;
	id = fc_create(c, 1, "x", O_RDWR, 04755, NULL);
	ok(id > 0, "a file can be made");
	shows(c, (uint64_t)id, "x", geteuid(), getegid());
	is_int(mode_of(c, (uint64_t)id), S_IFREG | 0755, "without suid");
	ok(fc_mkdir(c, 1, "xd", 0755) > 0, "and a directory");
	is_int(give(c, (uint64_t)id, 3, 4), -EPERM, "it cannot be given away");
	is_int((long)c->counters.ids_refused, 1, "which is counted");
	fc_stop(c);
}

static void
on_ramfs(struct fc *c)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE,
					  NULL) ||
	    mount("ramfs", c->dir, "ramfs", 0, "mode=777")) {
		tap_skip("without attributes", "no ramfs can be mounted");
		return;
	}
	close(c->fd);
	c->fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	without_attributes(c);
}

/* T52: a process that stays root gives the file away. */
static void
host_wins(struct fc *c)
{
	uint64_t id;
	int go[2], done[2];
	char ch;

	if (pipe(go) < 0 || pipe(done) < 0)
		exit(99);
	if (fork() == 0) {
		close(go[1]);
		while (read(go[0], &ch, 1) == 1) {
			if (fchownat(c->fd, "w", 4321, 4321, 0) < 0 ||
			    write(done[1], "", 1) < 0)
				_exit(1);
		}
		_exit(0);
	}
	become_nobody(65534, 65534);
	c->state_dir = state_dir;
	fc_start(c);
	c->uid = c->gid = 1000;
	id = (uint64_t)fc_create(c, 1, "w", O_RDWR, 04755, NULL);
	shows(c, id, "w", 1000, 1000);
	is_int(write(go[1], "", 1) == 1 && read(done[0], &ch, 1) == 1, 1,
	       "the host gives it to another");
	shows(c, id, "w", 4321, 4321);
	is_int(mode_of(c, id), S_IFREG | 0755, "without the owner no suid");
	fc_stop(c);
	c->set.sticky_owners = true;
	fc_start(c);
	shows(c, (uint64_t)fc_lookup(c, 1, "w"), "w", 1000, 1000);
	fc_stop(c);
	close(go[1]);
}

/* Root needs no records. */
static void
as_root(struct fc *c)
{
	uint64_t id;

	c->state_dir = state_dir;
	fc_start(c);
	c->uid = c->gid = 1000;
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 04755, NULL);
	shows(c, id, "f", 1000, 1000);
	is_int(host_mode(c, "f"), S_IFREG | 04755, "all on the host");
	is_int(give(c, id, 2000, 3000), 0, "SETATTR");
	fc_stat(c, "f", &st);
	ok(st.st_uid == 2000 && st.st_gid == 3000, "on the host");
	is_int((long)rows(c), 0, "nothing is recorded");
	fc_stop(c);
}

/* ------------------------------------------------------------------ */

int
main(void)
{
	char uids[64], gids[64];

	umask(0);
	snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1", getegid());
	try("", "", 65534, as_nobody, "no privileges");
	try(uids, gids, geteuid(), in_any, "one id");
	if (geteuid() != 0) {
		tap_skip("files of others", "needs root");
		return tap_done();
	}
	try("", "", 65534, host_wins, "no privileges, and the host");
	try("", "", 65534, in_attributes, "no privileges, attributes");
	try("", "", 65534, on_ramfs, "no privileges, and no attributes");
	try("0 100000 65536", "0 100000 65536", 100000, in_range, "a range");
	try("", "", 0, as_root, "root");
	return tap_done();
}
