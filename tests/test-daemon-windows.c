/* SPDX-License-Identifier: MIT */
/*
 * What a Windows guest does, against a running daemon that is to find out by
 * itself that it is one: both ways of its drivers to read, both usual ring
 * sizes.  Its sleeping, crashing and coming back is in
 * test-daemon-windows-life.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/tap.h"
#include "tests/winguest.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)
#define NAMES 1000

static struct daemon d;
static unsigned char *wrote, *got;
static const char *who;			/* for the names of test points */

#define IS(call, want) is_int(call, want, "%s: %s", who, #call)

static void
host_file(const char *name, mode_t mode)
{
	char path[512];
	int fd = open(daemon_file(&d, "win", name, path), O_CREAT | O_WRONLY,
		      0644);

	if (fd < 0 || write(fd, name, strlen(name)) < 0 || fchmod(fd, mode))
		ok(0, "%s: host makes %s", who, name);
	close(fd);
}

static mode_t
host_mode(const char *name)
{
	char path[512];
	struct stat st;

	if (stat(daemon_file(&d, "win", name, path), &st))
		return 0;
	return st.st_mode & 07777;
}

static bool
host_has(const char *name)
{
	char path[512];

	return access(daemon_file(&d, "win", name, path), F_OK) == 0;
}

/* Requests of a kind so far. */
static long
ops(const char *name)
{
	long n = daemon_number(&d, "shares/win/ops", name);

	return n < 0 ? 0 : n;
}

/* Files that the daemon keeps open though they have no name. */
static int
deleted_files(void)
{
	char cmd[128];
	FILE *f;
	int n = -1;

	snprintf(cmd, sizeof(cmd), "ls -l /proc/%d/fd | grep /win/ | "
		 "grep -c '(deleted)'", (int)d.server.pid);
	f = popen(cmd, "r");
	if (f && fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		pclose(f);
	return n;
}

/* ------------------------------------------------------------------ */

struct listing {
	int names, dots, odd, special;
};

static void
count_name(void *arg, const struct guest_dirent *e)
{
	struct listing *l = arg;

	l->names++;
	l->dots += !strcmp(e->name, ".") || !strcmp(e->name, "..");
	/* ':' and '*' where Windows can have them: U+F03A, U+F02A */
	l->odd += !strcmp(e->name, "a\xef\x80\xba""b\xef\x80\xaa");
	l->special += S_ISFIFO(e->entry->attr.mode) ||
		      S_ISSOCK(e->entry->attr.mode);
}

/* 1: the service starts, the root is listed. */
static void
test_mount_and_list(struct win *w)
{
	struct listing l = { 0 };
	struct fuse_entry_out e;
	struct fuse_statfs_out st;
	char path[512], name[32];

	mkdir(daemon_file(&d, "win", "many", path), 0755);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "many/name%d", i);
		host_file(name, 0644);
	}
	host_file("many/a:b*", 0644);
	mkfifo(daemon_file(&d, "win", "many/fifo", path), 0644);
	IS(win_mount(w), 0);
	IS(guest_max_pages(w->guest), 255);
	IS(guest_max_write(w->guest), MIB);
	IS(guest_statfs(w->guest, &st), 0);
	ok(st.st.bsize == st.st.frsize, "%s: one block size", who);
	IS(win_walk(w, "", &e), 0);
	IS(win_walk(w, "", &e), 0);
	IS(win_list(w, "many", count_name, &l), 0);
	is_int(l.names, NAMES + 3, "%s: every name is listed", who);
	is_int(l.dots, 2, "%s: . and .. too", who);
	is_int(l.odd, 1, "%s: a name that Windows cannot have is", who);
	is_int(l.special, 0, "%s: a pipe is not", who);
	IS(win_walk(w, "many/fifo", &e), -ENOENT);
	IS(win_walk(w, "many/a:b*", &e), 0);
	IS(daemon_log_count(&d, 0, "error:", ""), 0);
}

/* 2 and 12: data. */
static void
test_data(struct win *w)
{
	struct win_file f, dir;
	long before;

	IS(win_mkdir(w, "a", &dir), 0);
	IS(win_close(w, &dir), 0);
	IS(win_mkdir(w, "a/b", &dir), 0);
	IS(win_close(w, &dir), 0);
	IS(win_create(w, "a/b/c.txt", &f), 0);
	IS(win_close(w, &f), 0);
	w->requests = 0;
	before = ops("OPEN");
	IS(win_open(w, "a/b/c.txt", O_RDWR, &f), 0);
	is_int(w->requests, 6, "%s: an open is 2d lookups", who);
	is_int(ops("OPEN"), before + 1, "%s: and one OPEN", who);
	for (unsigned mib = 1; mib <= 4; mib++) {
		/* Of 1 MiB each, in 258 descriptors. */
		IS(win_write(w, &f, (uint64_t)(mib - 1) * MIB,
			     wrote + (mib - 1) * MIB, MIB), MIB);
		memset(got, 0, 4 * MIB);
		is_int(win_read(w, &f, 0, got, 4 * MIB), mib * MIB,
		       "%s: %u MiB read with a buffer of 4 MiB", who, mib);
		ok(!memcmp(wrote, got, mib * MIB), "%s: the same bytes", who);
	}
	IS(win_write(w, &f, 4 * MIB, "tail", 4), 4);
	IS(win_read(w, &f, 4 * MIB - 4, got, 100), 8);
	IS(win_read(w, &f, 4 * MIB + 4, got, 100), 0);
	IS(win_close(w, &f), 0);
	IS(win_delete(w, "a/b/c.txt", false), 0);
	IS(win_delete(w, "a/b", true), 0);
	IS(win_delete(w, "a", true), 0);
}

/* 3: a new file is never known already; space is asked for beforehand. */
static void
test_create(struct win *w)
{
	struct fuse_attr_out attr;
	struct win_file f;
	int bad = 0;

	IS(win_create(w, "new.txt", &f), 0);
	is_int(host_mode("new.txt"), 0664, "%s: mode of a new file", who);
	IS(guest_getattr(w->guest, f.nodeid, f.fh, &attr), 0);
	IS(guest_fallocate(w->guest, f.nodeid, f.fh, 0, 65536, 1), 0);
	IS(guest_getattr(w->guest, f.nodeid, f.fh, &attr), 0);
	is_int(attr.attr.size, 0, "%s: its size is not the space's", who);
	IS(win_close(w, &f), 0);
	IS(win_create(w, "new.txt", &f), -EEXIST);
	for (int i = 0; i < 200 && !bad; i++)
		bad = win_create(w, "tmp", &f) || win_close(w, &f) ||
		      win_rename(w, "tmp", "new.txt", true);
	if (!ok(!bad, "%s: 200 new files, each a new node", who))
		printf("# %s\n", guest_why(w->guest));
	is_int(deleted_files(), 0, "%s: the replaced ones are not kept", who);
	IS(win_delete(w, "new.txt", false), 0);
}

static int
set_attr(struct win *w, const struct win_file *f, uint32_t valid,
	 uint32_t mode, uint64_t seconds, struct fuse_attr_out *attr)
{
	struct fuse_setattr_in in = {
		.valid = valid | (f->dir ? 0 : FATTR_FH), .fh = f->fh,
		.mode = mode, .atime = seconds, .mtime = seconds,
		.ctime = seconds,
	};

	return guest_setattr(w->guest, f->nodeid, &in, attr);
}

/* 4: attributes and times. */
static void
test_attributes(struct win *w)
{
	uint32_t times = FATTR_ATIME | FATTR_MTIME;
	struct fuse_attr_out attr;
	struct win_file f, dir;
	uint64_t born;

	host_file("prog.exe", 0755);
	IS(win_open(w, "prog.exe", O_RDWR, &f), 0);
	IS(guest_getattr(w->guest, f.nodeid, f.fh, &attr), 0);
	born = attr.attr.ctime;
	IS(set_attr(w, &f, FATTR_MODE, 0444, 0, &attr), 0);
	is_int(host_mode("prog.exe"), 0555, "%s: READONLY leaves exec", who);
	IS(set_attr(w, &f, FATTR_MODE, 0664, 0, &attr), 0);
	is_int(host_mode("prog.exe") & 0111, 0111, "%s: so does NORMAL", who);
	ok(host_mode("prog.exe") & 0200, "%s: which can be written", who);
	IS(set_attr(w, &f, times, 0, 1000000000, &attr), 0);
	is_int(attr.attr.mtime, 1000000000, "%s: times are set", who);
	is_int(attr.attr.ctime, born, "%s: the creation time stays", who);
	/* Older clients: the creation time; newer: the time of change. */
	IS(set_attr(w, &f, times | FATTR_CTIME, 0, 1100000000, &attr), 0);
	IS(win_write(w, &f, 0, "x", 1), 1);
	/* Overwritten: the size of the space asked for. */
	IS(set_attr(w, &f, FATTR_SIZE, 0, 0, &attr), 0);
	is_int(attr.attr.size, 0, "%s: truncated", who);
	is_int(host_mode("prog.exe") & 0111, 0111, "%s: still exec", who);
	IS(win_close(w, &f), 0);

	IS(win_mkdir(w, "folder", &dir), 0);
	IS(set_attr(w, &dir, FATTR_MODE, 040555, 0, &attr), 0);
	is_int(host_mode("folder") & 0700, 0700, "%s: a READONLY directory "
	       "can be written", who);
	IS(win_close(w, &dir), 0);
	IS(win_create(w, "folder/file", &f), 0);
	IS(win_close(w, &f), 0);
	IS(win_delete(w, "folder/file", false), 0);
	IS(win_delete(w, "folder", true), 0);
	IS(win_delete(w, "prog.exe", false), 0);
}

/* 5: space comes back though nothing is forgotten (B) or all too early (A:
 * FORGET before RELEASE). */
static void
test_delete(struct win *w)
{
	struct win_file f, dir;

	IS(win_mkdir(w, "full", &dir), 0);
	IS(win_close(w, &dir), 0);
	for (int i = 0; i < 5; i++) {
		char name[32];

		snprintf(name, sizeof(name), "full/%d", i);
		IS(win_create(w, name, &f), 0);
		IS(win_write(w, &f, 0, wrote, MIB), MIB);
		IS(win_close(w, &f), 0);
	}
	IS(win_delete(w, "full", true), -ENOTEMPTY);
	for (int i = 0; i < 5; i++) {
		char name[32];

		snprintf(name, sizeof(name), "full/%d", i);
		IS(win_delete(w, name, false), 0);
	}
	is_int(deleted_files(), 0, "%s: deleted files take no space", who);
	IS(win_delete(w, "full", true), 0);
	ok(!host_has("full"), "%s: the directory is gone", who);
}

/* 6: names. */
static void
test_rename(struct win *w)
{
	long plain = ops("RENAME");
	struct fuse_entry_out e;
	struct win_file dir;

	host_file("Foo", 0644);
	host_file("other", 0644);
	IS(win_rename(w, "Foo", "other", false), -EEXIST);
	ok(host_has("Foo") && host_has("other"), "%s: nothing changed", who);
	IS(win_rename(w, "Foo", "foo", false), 0);
	ok(host_has("foo") && !host_has("Foo"), "%s: case changed", who);
	IS(win_rename(w, "foo", "other", true), 0);
	IS(win_walk(w, "foo", &e), -ENOENT);
	IS(win_mkdir(w, "dir", &dir), 0);
	IS(win_close(w, &dir), 0);
	IS(win_rename(w, "other", "dir/inside", false), 0);
	IS(win_rename(w, "dir", "dir2", true), 0);
	IS(win_walk(w, "dir2/inside", &e), 0);
	is_int(ops("RENAME"), plain, "%s: never without flags, as after "
	       "EINVAL", who);
	IS(win_delete(w, "dir2/inside", false), 0);
	IS(win_delete(w, "dir2", true), 0);
}

/* 8: links: never opened, asked about with handle 0. */
static void
test_links(struct win *w)
{
	char target[300], path[512], longer[400];
	struct fuse_attr_out attr;
	struct fuse_entry_out e;
	struct guest_req req = {
		.opcode = FUSE_GETATTR, .room = sizeof(attr),
	};
	struct fuse_getattr_in in = { .getattr_flags = FUSE_GETATTR_FH };

	IS(guest_symlink(w->guest, GUEST_ROOT, "link", "to/somewhere", &e), 0);
	IS(win_walk(w, "link", &e), 0);
	ok(S_ISLNK(e.attr.mode), "%s: a link", who);
	IS(guest_readlink(w->guest, e.nodeid, target, sizeof(target)), 12);
	is_str(target, "to/somewhere", "%s: its target", who);
	req.nodeid = e.nodeid;
	req.in[0] = (struct iovec){ &in, sizeof(in) };
	IS(guest_call(w->guest, &req, &attr), sizeof(attr));
	ok(S_ISLNK(attr.attr.mode), "%s: GETATTR with handle 0", who);
	IS(guest_release(w->guest, e.nodeid, 0), 0);
	IS(guest_unlink(w->guest, GUEST_ROOT, "link"), 0);
	memset(longer, 'x', 300);
	longer[300] = '\0';
	if (symlink(longer, daemon_file(&d, "win", "long", path)) ||
	    symlink("loop", daemon_file(&d, "win", "loop", path)))
		ok(0, "%s: links", who);
	IS(win_walk(w, "long", &e), 0);
	ok(guest_readlink(w->guest, e.nodeid, target, sizeof(target)) < 0,
	   "%s: a target that does not fit is an error", who);
	IS(win_walk(w, "loop", &e), 0);
	IS(guest_readlink(w->guest, e.nodeid, target, sizeof(target)), 4);
	unlink(daemon_file(&d, "win", "loop", path));
	unlink(daemon_file(&d, "win", "long", path));
}

/* 9: to the disk; errors as Windows numbers them. */
static void
test_flush_and_errors(struct win *w)
{
	long flushes = ops("FLUSH"), calls = ops("FSYNC");
	struct guest_req req = { .opcode = FUSE_GETXATTR, .nodeid = 1 };
	struct win_file f;
	struct fuse_entry_out e;
	char name[300];

	IS(win_create(w, "flush", &f), 0);
	IS(win_write(w, &f, 0, wrote, MIB), MIB);
	IS(win_flush(w, &f), 0);
	is_int(ops("FLUSH") * 1000 + ops("FSYNC"), (flushes + 1) * 1000 + calls,
	       "%s: one FLUSH", who);
	IS(win_close(w, &f), 0);
	IS(win_delete(w, "flush", false), 0);
	memset(name, 'n', 256);
	name[256] = '\0';
	is_int(win_walk(w, name, &e), -38, "%s: a name too long", who);
	req.opcode = 99;
	is_int(guest_call(w->guest, &req, NULL), -40, "%s: no such opcode",
	       who);
}

static void
run(enum guest_kind kind, unsigned ring_size)
{
	struct guest_settings set = {
		.kind = kind, .vm.ring_size = ring_size,
	};
	char path[512], cmd[600], *why = NULL;
	struct guest *g;
	struct win w;

	if (guest_open(daemon_socket(&d, "win", path), &set, &g, &why)) {
		ok(0, "%s: connect: %s", who, why);
		return;
	}
	win_init(&w, g);
	w.forgets = kind == GUEST_WINDOWS_A;
	test_mount_and_list(&w);
	test_data(&w);
	test_create(&w);
	test_attributes(&w);
	test_delete(&w);
	test_rename(&w);
	test_links(&w);
	test_flush_and_errors(&w);
	win_fini(&w);
	guest_close(g);
	/* Until then the daemon has files of "many" open. */
	ok(daemon_has_sessions(&d, "win", 0, 60000), "%s: the guest has left",
	   who);
	snprintf(cmd, sizeof(cmd), "rm -r %s", daemon_file(&d, "win", "many",
							    path));
	if (system(cmd))
		ok(0, "%s: clean up", who);
}

struct seen {
	const char *name;
	uint64_t ctime;
};

static void
see_ctime(void *arg, const struct guest_dirent *e)
{
	struct seen *s = arg;

	if (!strcmp(e->name, s->name) && e->entry)
		s->ctime = e->entry->attr.ctime;
}

static struct guest *
connect_kept(struct win *w, enum guest_kind kind)
{
	struct guest_settings set = { .kind = kind };
	struct guest *g = NULL;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, "kept", path), &set, &g, &why) ||
	    win_init(w, g) || win_mount(w)) {
		ok(0, "%s: a guest: %s", who, why ? why : "no mount");
		exit(tap_done());
	}
	return g;
}

/* On a share that records: the creation time that the client sets, in every
 * reply that shows one. */
static void
test_birth(enum guest_kind kind)
{
	struct seen list = { "later", 0 };
	struct fuse_attr_out attr;
	struct fuse_entry_out e;
	struct win_file f;
	struct win w;
	struct guest *g = connect_kept(&w, kind);

	IS(win_create(&w, "born", &f), 0);
	IS(set_attr(&w, &f, FATTR_CTIME | FATTR_MTIME, 0, 1000000000, &attr),
	   0);
	is_int(attr.attr.ctime, 1000000000, "%s: the creation time is set", who);
	IS(win_write(&w, &f, 0, "x", 1), 1);
	IS(win_close(&w, &f), 0);
	IS(win_rename(&w, "born", "later", false), 0);
	IS(win_walk(&w, "later", &e), 0);
	is_int(e.attr.ctime, 1000000000, "%s: written to and renamed, it stays",
	       who);
	IS(win_list(&w, "", see_ctime, &list), 0);
	is_int(list.ctime, 1000000000, "%s: in a listing, too", who);
	win_fini(&w);
	guest_close(g);
	daemon_kill(&d);
	IS(daemon_again(&d), 0);
	g = connect_kept(&w, kind);
	IS(win_walk(&w, "later", &e), 0);
	is_int(e.attr.ctime, 1000000000, "%s: also when the daemon was killed",
	       who);
	IS(win_delete(&w, "later", false), 0);
	is_int(daemon_number(&d, "shares/kept/stats", "state_rows"), 0,
	       "%s: deleted, nothing is recorded", who);
	win_fini(&w);
	guest_close(g);
}

int
main(void)
{
	static const char *const tags[] = { "win", "kept", NULL };

	wrote = malloc(4 * MIB);
	got = malloc(4 * MIB);
	for (size_t i = 0; i < 4 * MIB; i++)
		wrote[i] = (unsigned char)(i * 11 + i / 4096);
	daemon_start(&d, tags, "[kept]\nowners = store\n");
	who = "A 128";
	run(GUEST_WINDOWS_A, 128);
	who = "A 1024";
	run(GUEST_WINDOWS_A, 1024);
	who = "B 128";
	run(GUEST_WINDOWS_B, 128);
	who = "B 1024";
	run(GUEST_WINDOWS_B, 1024);
	who = "A, recorded";
	test_birth(GUEST_WINDOWS_A);
	who = "B, recorded";
	test_birth(GUEST_WINDOWS_B);
	daemon_stop(&d);
	free(wrote);
	free(got);
	return tap_done();
}
