/* SPDX-License-Identifier: MIT */
/*
 * Guests that come, go and come back, share a tag, are killed, forget nothing;
 * and a configuration that changes under a guest that works.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/neighbour.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_MS 8000
#define SLOW_MS 8000
#define RSS_SLACK_KIB (16 << 10)	/* caches and the allocator's reserve */

static struct daemon d;
static unsigned char data[GUEST_DATA_MAX];

static struct guest *
come(const char *tag)
{
	char path[128], *why = NULL;
	struct guest *g;

	if (guest_open(daemon_socket(&d, tag, path), NULL, &g, &why) ||
	    guest_init(g, NULL)) {
		ok(0, "%s: a guest comes: %s", tag, why);
		daemon_stop(&d);
		exit(tap_done());
	}
	return g;
}

static void
test_come_back(void)
{
	struct daemon_use before;
	struct fuse_entry_out e;
	int good = 0, n = (int)tap_scaled(30);
	uint64_t fh;

	guest_close(come("one"));
	daemon_has_sessions(&d, "one", 0, END_MS);
	daemon_use(&d, &before);
	for (int i = 0; i < n; i++) {
		struct guest *g = come("one");

		good += !guest_create(g, GUEST_ROOT, "kept", O_RDWR, 0644, &e,
				      &fh) &&
			guest_write(g, e.nodeid, fh, 0, data, 100000) == 100000;
		/* One in three says goodbye. */
		if (i % 3 == 0)
			good -= guest_destroy(g) != 0;
		guest_close(g);
	}
	is_int(good, n, "%d guests came and went", n);
	ok(daemon_has_sessions(&d, "one", 0, END_MS), "none is left");
	daemon_settles(&d, &before, END_MS, "after them");
}

/* What one guest does the other sees at once. */
static void
test_two_guests(void)
{
	struct guest *a = come("one"), *b = come("one");
	struct fuse_entry_out ea, eb;
	struct fuse_attr_out attr;
	uint64_t fa, fb;
	char buf[16];

	is_int(guest_create(a, GUEST_ROOT, "shared", O_RDWR, 0644, &ea, &fa), 0,
	       "one guest makes a file");
	is_int(guest_lookup(b, GUEST_ROOT, "shared", &eb), 0,
	       "the other finds it");
	is_int(guest_open_file(b, eb.nodeid, O_RDWR, &fb), 0, "opens it");
	is_int(guest_write(a, ea.nodeid, fa, 0, "from a", 6), 6, "one writes");
	is_int(guest_read(b, eb.nodeid, fb, 0, buf, 16), 6, "the other reads");
	ok(!memcmp(buf, "from a", 6), "the same bytes");
	is_int(guest_write(b, eb.nodeid, fb, 6, " and b", 6), 6,
	       "the other writes");
	is_int(guest_getattr(a, ea.nodeid, fa, &attr), 0, "one looks");
	is_int(attr.attr.size, 12, "and sees it");
	is_int(guest_rename(b, GUEST_ROOT, "shared", GUEST_ROOT, "renamed"), 0,
	       "the other renames it");
	is_int(guest_lookup(a, GUEST_ROOT, "shared", &eb), -ENOENT,
	       "the old name is gone");
	is_int(guest_lookup(a, GUEST_ROOT, "renamed", &eb), 0,
	       "the new one is there");
	is_int(eb.nodeid, ea.nodeid, "and it is the same file");
	is_int(guest_unlink(b, GUEST_ROOT, "renamed"), 0, "removed by one");
	is_int(guest_read(a, ea.nodeid, fa, 0, buf, 16), 12,
	       "and still open in the other");
	is_int(guest_getattr(a, ea.nodeid, 0, &attr), 0, "with attributes");
	is_int(attr.attr.nlink, 0, "and no name");
	guest_close(b);
	is_int(guest_read(a, ea.nodeid, fa, 0, buf, 16), 12,
	       "one leaves, the other goes on");
	guest_close(a);
}

/* ------------------------------------------------------------------ */

__attribute__((noreturn)) static void
write_for_ever(void)
{
	struct guest *g = come("one");
	struct fuse_entry_out e;
	struct fuse_write_in in = { .size = GUEST_DATA_MAX };
	struct guest_req req = {
		.opcode = FUSE_WRITE,
		.in = { { &in, sizeof(in) }, { data, sizeof(data) } },
		.room = sizeof(struct fuse_write_out),
	};
	int id[8];

	if (guest_create(g, GUEST_ROOT, "victim", O_RDWR, 0644, &e, &in.fh))
		_exit(1);
	req.nodeid = e.nodeid;
	for (unsigned n = 0;; n++) {
		in.offset = (uint64_t)(n % 16) << 20;
		if (n >= 8 && guest_wait(g, id[n % 8], NULL) < 0)
			_exit(2);
		id[n % 8] = guest_send(g, &req);
	}
}

static void
test_kill(void)
{
	int n = (int)tap_scaled(10), killed = 0;
	struct daemon_use before, after;
	struct stat st;
	char path[512];

	daemon_use(&d, &before);
	fflush(stdout);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			write_for_ever();
		poll(NULL, 0, 40 + i * 10);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		killed += WIFSIGNALED(status);
		guest_close(come("one"));	/* the next one is served */
	}
	is_int(killed, n, "%d guests were killed while they wrote", n);
	ok(!stat(daemon_file(&d, "one", "victim", path), &st) && st.st_size,
	   "and had written");
	ok(daemon_has_sessions(&d, "one", 0, END_MS), "none is left");
	daemon_settles(&d, &before, END_MS, "after them");
	daemon_use(&d, &after);
	ok(after.rss_kib < before.rss_kib + RSS_SLACK_KIB,
	   "%ld KiB of memory, %ld before", after.rss_kib, before.rss_kib);
	unlink(path);
}

/* Each listing is a lookup of every name, and nothing is ever forgotten; file
 * systems give the inode numbers out again. */
static void
test_forget_nothing(void)
{
	static unsigned char buf[8192];
	struct guest *g = come("one");
	struct daemon_use before;
	struct fuse_entry_out e;
	int bad = 0, n = (int)tap_scaled(3000);
	uint64_t fh, dh;

	guest_mkdir(g, GUEST_ROOT, "dir", 0755, &e);
	guest_opendir(g, GUEST_ROOT, &dh);
	guest_create(g, GUEST_ROOT, "first", O_RDWR, 0644, &e, &fh);
	guest_release(g, e.nodeid, fh);
	guest_readdir(g, GUEST_ROOT, dh, 0, true, buf, sizeof(buf));
	guest_unlink(g, GUEST_ROOT, "first");
	daemon_use(&d, &before);
	for (int i = 0; i < n && !bad; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		bad = guest_create(g, GUEST_ROOT, name, O_RDWR, 0644, &e,
				   &fh) ||
		      guest_release(g, e.nodeid, fh) ||
		      guest_readdir(g, GUEST_ROOT, dh, 0, true, buf,
				    sizeof(buf)) < 0 ||
		      guest_getattr(g, e.nodeid, 0,
				    &(struct fuse_attr_out){ 0 }) ||
		      guest_unlink(g, GUEST_ROOT, name);
	}
	ok(!bad, "%d files were made, listed and removed, none forgotten", n);
	daemon_settles(&d, &before, 2000, "then no deleted file is kept open");
	guest_rmdir(g, GUEST_ROOT, "dir");
	guest_close(g);
}

/* ------------------------------------------------------------------ */

static int
reload(char *text, size_t size)
{
	return daemon_ctl(&d, "write ctl reload", text, size);
}

static void
test_reload(struct neighbour *n)
{
	static char text[4096];
	char dir[512], keys[1024], path[128];
	struct guest *late;
	long mark;

	daemon_file(&d, "one", "", dir);
	snprintf(keys, sizeof(keys), "[late]\npath = %s\n[two]\n"
		 "entry_timeout = 7\n", dir);
	daemon_keys(&d, keys);
	is_int(reload(text, sizeof(text)), 0, "reload: a share is added, a "
	       "live key changed");
	ok(strstr(text, "late: added") && strstr(text, "two: entry_timeout"),
	   "and told");
	ok(neighbour_goes_on(n, 5), "the guest of the changed share goes on");
	late = come("late");

	daemon_keys(&d, "[late]\npath = /nowhere/at/all\n[two]\nno_key = 1\n");
	is_int(reload(text, sizeof(text)), -EPROTO, "a bad configuration");
	ok(strstr(text, "no_key") != NULL, "is refused with the reason");
	mark = daemon_log_mark(&d);
	kill(d.server.pid, SIGHUP);
	is_int(daemon_log_wait(&d, mark, "reload failed", "", 1, END_MS), 1,
	       "by SIGHUP too");
	ok(neighbour_goes_on(n, 5), "guests go on");
	is_int(guest_statfs(late, &(struct fuse_statfs_out){ { 0 } }), 0,
	       "the one of the new share as well");

	/* A share that is removed keeps its guests. */
	daemon_keys(&d, "[two]\ncache = never\n");
	mark = daemon_log_mark(&d);
	kill(d.server.pid, SIGHUP);
	is_int(daemon_log_wait(&d, mark, "late: no longer listening", "", 1,
			       END_MS), 1, "SIGHUP: a share is removed");
	is_int(guest_statfs(late, &(struct fuse_statfs_out){ { 0 } }), 0,
	       "its guest stays");
	ok(access(daemon_socket(&d, "late", path), F_OK) != 0,
	   "its socket is gone");
	ok(neighbour_goes_on(n, 5), "a share that changed for the next guests "
	   "keeps its own");
	guest_close(late);

	for (int i = 0; i < 20; i++) {
		daemon_keys(&d, i % 2 ? "" : keys);
		if (reload(text, sizeof(text)))
			ok(0, "reload %d: %s", i, text);
	}
	ok(neighbour_goes_on(n, 5), "20 reloads later the guest goes on");
}

int
main(void)
{
	static const char *const tags[] = { "one", "two", NULL };
	struct daemon_use before;
	struct neighbour *n;
	char path[128];

	memset(data, 'x', sizeof(data));
	daemon_start(&d, tags, NULL);
	test_come_back();
	test_two_guests();
	test_forget_nothing();
	daemon_has_sessions(&d, "one", 0, END_MS);
	daemon_use(&d, &before);
	n = neighbour_start(daemon_socket(&d, "two", path), "neighbour");
	neighbour_goes_on(n, 10);
	test_kill();
	test_reload(n);
	neighbour_stop(n, SLOW_MS);
	daemon_settles(&d, &before, END_MS, "when all have left");
	d.forgiven = "error: reload";	/* of the bad configuration */
	daemon_stop(&d);
	return tap_done();
}
