/* SPDX-License-Identifier: MIT */
/*
 * Names without case where a directory has more than one share: under two tags,
 * and before and after a reload.  Foo and foo that are made at once make one
 * file all the same (T26), and what is known of names outlives the reload.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define END_MS 20000

static struct daemon d;
static const char *const tags[] = { "one", "two", NULL };

static struct guest *
come(const char *tag)
{
	struct guest_settings set = { .kind = GUEST_LINUX };
	struct fuse_init_out init;
	struct guest *g = NULL;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why) ||
	    guest_init(g, &init) < 0) {
		ok(0, "%s: %s", tag, why ? why : "INIT");
		exit(tap_done());
	}
	return g;
}

/* Both tags show the directory of `one`, with these keys for each. */
static void
configure(const char *one, const char *two)
{
	char keys[800], dir[512], answer[2000];

	daemon_file(&d, "one", "", dir);
	snprintf(keys, sizeof(keys), "[one]\ncasefold = %s\n[two]\npath = %s\n"
		 "casefold = %s\n", one, dir, two);
	daemon_keys(&d, keys);
	is_int(daemon_ctl(&d, "write ctl reload", answer, sizeof(answer)), 0,
	       "casefold = %.5s and casefold = %s", one, two);
}

static void
ctl(const char *line)
{
	char answer[2000];

	is_int(daemon_ctl(&d, line, answer, sizeof(answer)), 0, "%s", line);
}

/* ------------------------------------------------------------------ */

struct maker {
	struct guest *g;
	const char *name;
	pthread_barrier_t *barrier;
	long rounds, made, refused, wrong;
};

static int
count_foo(void)
{
	char path[512];
	struct stat st;

	return !lstat(daemon_file(&d, "one", "Foo", path), &st) +
	       !lstat(daemon_file(&d, "one", "foo", path), &st);
}

static void
make_one(struct maker *m, long round)
{
	struct fuse_entry_out e = { 0 };
	int err = round % 2 ? guest_mkdir(m->g, GUEST_ROOT, m->name, 0755, &e) :
			      guest_symlink(m->g, GUEST_ROOT, m->name, "x", &e);

	m->made += err >= 0;
	m->refused += err == -EEXIST;
	pthread_barrier_wait(m->barrier);
	m->wrong += count_foo() != 1;
	pthread_barrier_wait(m->barrier);
	if (err < 0)
		return;
	guest_forget(m->g, e.nodeid, 1);
	m->wrong += 0 != (round % 2 ? guest_rmdir(m->g, GUEST_ROOT, "FOO") :
				      guest_unlink(m->g, GUEST_ROOT, "FOO"));
}

static void *
make_many(void *arg)
{
	struct maker *m = arg;

	for (long i = 0; i < m->rounds; i++) {
		pthread_barrier_wait(m->barrier);
		make_one(m, i);
	}
	return NULL;
}

static void
race(const char *what, struct guest *a, struct guest *b)
{
	long rounds = tap_scaled(500);
	pthread_barrier_t barrier;
	struct maker m[2] = { { a, "Foo", &barrier, rounds, 0, 0, 0 },
			      { b, "foo", &barrier, rounds, 0, 0, 0 } };
	pthread_t t[2];

	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, make_many, &m[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&barrier);
	is_int(m[0].made + m[1].made, rounds, "T26 %s: each was made once",
	       what);
	is_int(m[0].refused + m[1].refused, rounds, "T26 %s: and refused once",
	       what);
	is_int(m[0].wrong + m[1].wrong, 0, "T26 %s: always one name", what);
}

/* ------------------------------------------------------------------ */

static void
test_two_tags(void)
{
	struct guest *one, *two;

	configure("nt", "nt");
	one = come("one");
	two = come("two");
	race("two tags", one, two);
	guest_close(two);
	configure("nt", "ascii");
	two = come("two");
	race("two tags that fold otherwise", one, two);
	guest_close(one);
	guest_close(two);
}

static void
fill(int n)
{
	char path[512], name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "File %d", i);
		close(open(daemon_file(&d, "one", name, path),
			   O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	}
}

static bool
finds(struct guest *g, const char *name)
{
	struct fuse_entry_out e = { 0 };
	int err = guest_lookup(g, GUEST_ROOT, name, &e);

	if (err >= 0)
		guest_forget(g, e.nodeid, 1);
	return err >= 0;
}

static long
value(const char *name)
{
	return daemon_number(&d, "shares/one/stats", name);
}

static bool
grows_to(const char *name, long n)
{
	int64_t end = test_now_ms() + END_MS;

	while (value(name) < n && test_now_ms() < end)
		usleep(5000);
	return value(name) >= n;
}

/* A guest that stays, and one that comes after the reload. */
static void
test_reload(void)
{
	struct guest *old, *fresh;
	long scans, hits, mark = daemon_log_mark(&d);

	configure("nt", "no");
	fill(600);
	old = come("one");
	ok(finds(old, "fILE 7"), "before the reload: found");
	ok(grows_to("casefold_db_writes", 1), "its names go to cache.db");
	scans = value("casefold_scans");
	hits = value("casefold_hits");
	configure("nt\ncasefold_memory = 2M", "no");
	fresh = come("one");
	ok(finds(fresh, "fILE 8") && finds(old, "fILE 9"), "both find names");
	is_int(value("casefold_scans"), scans, "that are known already");
	is_int(value("casefold_hits"), hits + 2, "and are counted once");
	ok(value("casefold_db_bytes") > 0, "cache.db stays in use");
	race("before and after a reload", old, fresh);
	guest_close(old);
	ok(daemon_has_sessions(&d, "one", 1, END_MS), "the old guest left");
	ok(finds(fresh, "fILE 10"), "the other one stays");
	configure("ascii", "no");
	old = come("one");
	race("another fold after a reload", old, fresh);
	ok(finds(old, "fILE 11") && finds(fresh, "fILE 12"), "both find names");
	guest_close(old);
	guest_close(fresh);
	ok(daemon_has_sessions(&d, "one", 0, END_MS), "both left");
	configure("nt", "no");
	mark = daemon_log_mark(&d);
	fresh = come("one");
	ok(finds(fresh, "fILE 13"), "and back");
	ctl("write shares/one/ctl disable");
	guest_close(fresh);
	ok(daemon_has_sessions(&d, "one", 0, END_MS), "nobody is left");
	ctl("write shares/one/ctl enable");
	fresh = come("one");
	ok(finds(fresh, "fILE 14"), "found after off and on");
	ok(value("casefold_db_bytes") > 0, "with cache.db");
	is_int(daemon_log_count(&d, mark, "cache.db", ""), 0,
	       "which nobody else had");
	guest_close(fresh);
}

int
main(void)
{
	daemon_start(&d, tags, NULL);
	test_two_tags();
	test_reload();
	daemon_stop(&d);
	return tap_done();
}
