/* SPDX-License-Identifier: MIT */
/*
 * T51: the number of a file that is gone is used again by the host.  Whatever
 * guests had recorded of the old file, of the new one they see nothing of it.
 *
 * A daemon that can give no file away, two guests of one share, and the host
 * in their directory.  2000 files, and the daemon killed between some of them;
 * 10^5 with SCALE=10.
 */
#include "config.h"

#include "fuse/wire.h"
#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WAIT_MS = 60000,
	FIRST_ID = 100000,
	LOOK_ALL = 16,		/* one in so many is seen in every way */
	KILLS = 10,
};

static struct daemon d;
static struct guest *maker, *other;
static int dir_fd = -1;
static struct stat old_stat, new_stat;
static long lost, wrong, reused, at_kill;

static void
connect_guest(struct guest **g)
{
	struct guest_settings set = {
		.kind = GUEST_LINUX, .vm.timeout_ms = WAIT_MS,
	};
	struct fuse_init_out init;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, "one", path), &set, g, &why) ||
	    guest_init(*g, &init)) {
		ok(0, "a guest: %s", why ? why : guest_why(*g));
		exit(tap_done());
	}
}

/* ------------------------------------------------------------------ */
/* How a file is shown. */

static bool
same(const struct fuse_attr *a, uint32_t uid, uint32_t mode)
{
	return a->uid == uid && a->mode == mode;
}

static bool
statx_shows(struct guest *g, uint64_t id, uint32_t uid, uint32_t mode)
{
	struct fs_wire_statx_in in = { 0 };
	struct fs_wire_statx_out out = { 0 };
	struct guest_req req = {
		.opcode = FS_OP_STATX, .nodeid = id,
		.in = { { &in, sizeof(in) } }, .room = sizeof(out),
	};

	return guest_call(g, &req, &out) == sizeof(out) &&
	       out.stat.uid == uid && out.stat.mode == mode;
}

/* Take the entries of one answer; *off is where the next one begins. */
static bool
take_entries(struct guest *g, const char *buf, int n, const char *name,
	     uint32_t uid, uint32_t mode, uint64_t *off)
{
	struct guest_dirent e;
	size_t pos = 0;
	bool good = false;

	while (guest_dirent(buf, (size_t)n, true, &pos, &e) == 1) {
		*off = e.off;
		if (!strcmp(e.name, name))
			good = same(&e.entry->attr, uid, mode) &&
			       e.type == (mode & S_IFMT) >> 12;
		if (e.entry->nodeid && strcmp(e.name, ".") &&
		    strcmp(e.name, ".."))
			guest_forget(g, e.entry->nodeid, 1);
	}
	return good;
}

static bool
list_shows(struct guest *g, const char *name, uint32_t uid, uint32_t mode)
{
	static char buf[65536];
	uint64_t fh, off = 0;
	bool good = false;
	int n = guest_opendir(g, GUEST_ROOT, &fh);

	if (n < 0)
		return false;
	while ((n = guest_readdir(g, GUEST_ROOT, fh, off, true, buf,
				  sizeof(buf))) > 0)
		good |= take_entries(g, buf, n, name, uid, mode, &off);
	guest_releasedir(g, GUEST_ROOT, fh);
	return good && !n;
}

/* Is `name` so for this guest, who has not heard of it? */
static bool
shows(struct guest *g, const char *name, uint32_t uid, uint32_t mode, bool all)
{
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	bool good;

	if (all && !list_shows(g, name, uid, mode))
		return false;
	if (guest_lookup(g, GUEST_ROOT, name, &e) < 0)
		return false;
	good = same(&e.attr, uid, mode) &&
	       guest_getattr(g, e.nodeid, 0, &a) >= 0 &&
	       same(&a.attr, uid, mode) &&
	       (!all || statx_shows(g, e.nodeid, uid, mode));
	guest_forget(g, e.nodeid, 1);
	return good;
}

/* ------------------------------------------------------------------ */
/* The old file: what a guest makes, recorded. */

static int
give(struct guest *g, uint64_t id, uint32_t uid, uint32_t mode)
{
	struct fuse_setattr_in in = {
		.valid = FATTR_UID | FATTR_GID, .uid = uid, .gid = uid,
	};
	int err = guest_setattr(g, id, &in, NULL);

	in.valid = FATTR_MODE;
	in.mode = mode & 07777;
	return err < 0 ? err : guest_setattr(g, id, &in, NULL);
}

static int
make_file(const char *name, uint32_t uid, uint32_t mode)
{
	struct fuse_entry_out e;
	uint64_t fh;
	int err = guest_create(maker, GUEST_ROOT, name, O_RDWR, mode, &e, &fh);

	if (err < 0)
		return err;
	err = give(maker, e.nodeid, uid, mode);
	guest_release(maker, e.nodeid, fh);
	guest_forget(maker, e.nodeid, 1);
	return err;
}

static int
make_device(const char *name, uint32_t uid, uint32_t mode)
{
	struct fuse_entry_out e;
	int err = guest_mknod(maker, GUEST_ROOT, name, mode, 0x103, &e);

	(void)uid;
	if (err >= 0)
		guest_forget(maker, e.nodeid, 1);
	return err;
}

static int
make_dir(const char *name, uint32_t uid, uint32_t mode)
{
	struct fuse_entry_out e;
	int err = guest_mkdir(maker, GUEST_ROOT, name, mode, &e);

	if (err >= 0)
		err = give(maker, e.nodeid, uid, mode);
	if (err >= 0)
		guest_forget(maker, e.nodeid, 1);
	return err;
}

static const struct kind {
	int (*make)(const char *name, uint32_t uid, uint32_t mode);
	uint32_t mode;
	bool dir, by_guest;	/* which removes it */
} kinds[] = {
	{ make_file, S_IFREG | 04755, false, false },
	{ make_device, S_IFCHR | 0640, false, false },
	{ make_file, S_IFREG | 06711, false, true },
	{ make_dir, S_IFDIR | 02770, true, false },
	{ make_file, S_IFREG | 0600, false, false },
};
enum { NKINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int
remove_old(const struct kind *k)
{
	if (k->by_guest)
		return guest_unlink(maker, GUEST_ROOT, "old");
	return unlinkat(dir_fd, "old", k->dir ? AT_REMOVEDIR : 0) ? -errno : 0;
}

/* ------------------------------------------------------------------ */
/* The new one: of the host, or of another owner. */

static uint32_t
make_new(const struct kind *k, uint32_t uid, bool by_guest)
{
	struct fuse_entry_out e;
	uint64_t fh;
	int fd;

	if (k->dir)
		return mkdirat(dir_fd, "new", 0750) ? 0 : S_IFDIR | 0750;
	if (!by_guest) {
		fd = openat(dir_fd, "new", O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd >= 0)
			close(fd);
		return fd < 0 ? 0 : S_IFREG | 0644;
	}
	guest_as(other, uid, uid);
	if (guest_create(other, GUEST_ROOT, "new", O_RDWR, 0644, &e, &fh) < 0)
		return 0;
	guest_release(other, e.nodeid, fh);
	guest_forget(other, e.nodeid, 1);
	return S_IFREG | 0644;
}

static void
kill_daemon(void)
{
	guest_close(maker);
	guest_close(other);
	daemon_kill(&d);
	if (daemon_again(&d)) {
		ok(0, "it starts after a kill");
		exit(tap_done());
	}
	connect_guest(&maker);
	connect_guest(&other);
	at_kill++;
}

static void
cycle(long i, bool kills)
{
	const struct kind *k = &kinds[i % NKINDS];
	uint32_t uid = FIRST_ID + 2 * (uint32_t)i, want = geteuid(), mode;
	bool by_guest = i % 7 == 0 && !k->dir, all = i % LOOK_ALL == 0;

	guest_as(maker, uid, uid);
	if (k->make("old", uid, k->mode) < 0 ||
	    !shows(other, "old", uid, k->mode, all) ||
	    fstatat(dir_fd, "old", &old_stat, AT_SYMLINK_NOFOLLOW) ||
	    remove_old(k) < 0)
		lost++;
	if (kills)
		kill_daemon();
	mode = make_new(k, uid + 1, by_guest);
	if (by_guest)
		want = uid + 1;
	if (!shows(maker, "new", want, mode, all) ||
	    !shows(other, "new", want, mode, false))
		wrong++;
	if (!fstatat(dir_fd, "new", &new_stat, AT_SYMLINK_NOFOLLOW))
		reused += new_stat.st_ino == old_stat.st_ino;
	unlinkat(dir_fd, "new", k->dir ? AT_REMOVEDIR : 0);
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	long n = tap_scaled(2000);
	char path[128];

	if (n >= 20000)
		n *= 5;
	umask(0);
	daemon_as_nobody();
	daemon_start(&d, tags, "[one]\nowners = store\n");
	snprintf(path, sizeof(path), "%s/one", d.work);
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	connect_guest(&maker);
	connect_guest(&other);
	for (long i = 0; i < n && lost + wrong < 100; i++)
		cycle(i, i % (n / KILLS + 1) == 3);
	is_int(lost, 0, "T51 %ld files are as guests made them, "
	       "the daemon killed %ld times", n, at_kill);
	is_int(wrong, 0, "T51 none after them shows an old owner, mode or "
	       "type");
	if (reused)
		ok(reused > n / 2, "T51 %ld of the numbers were used again",
		   reused);
	else
		tap_skip("T51 numbers are used again",
			 "not by this file system");
	ok(daemon_number(&d, "shares/one/stats", "state_dead") > 0 || !reused,
	   "T51 %ld rows of the dead were found",
	   daemon_number(&d, "shares/one/stats", "state_dead"));
	guest_close(maker);
	guest_close(other);
	close(dir_fd);
	daemon_stop(&d);
	return tap_done();
}
