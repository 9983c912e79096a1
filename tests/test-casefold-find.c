/* SPDX-License-Identifier: MIT */
/*
 * casefold/find.c through the door: which name wins, what may be created, what
 * a rename does.  Each test runs with watches and without.
 */
#include "config.h"

#include <limits.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/casefold-test.h"

static struct cf_share *share;
static const char *how;		/* for the names of test points */
static unsigned serial;
static int told;

static int
fresh(void)
{
	char name[16];

	snprintf(name, sizeof(name), "d%u", serial++);
	return new_dir(name);
}

static void
test_winner(void)
{
	int fd = fresh();

	is_str(find(share, fd, "foo"), "", "%s: nothing there", how);
	touch(fd, "Foo");
	is_str(find(share, fd, "foo"), "Foo", "%s: T11 inexact found", how);
	is_str(find(share, fd, "Foo"), "Foo", "%s: T10 exact found", how);
	touch(fd, "foo");
	is_str(find(share, fd, "foo"), "foo",
	       "%s: T10, I2 exact beats variant", how);
	is_str(find(share, fd, "FOO"), "Foo",
	       "%s: T12, I5 the smallest wins", how);
	touch(fd, "FOo");
	is_str(find(share, fd, "FOO"), "FOo", "%s: T12 a smaller one came", how);
	unlinkat(fd, "FOo", 0);
	is_str(find(share, fd, "FOO"), "Foo", "%s: T13 the winner went", how);
	unlinkat(fd, "Foo", 0);
	is_str(find(share, fd, "FOO"), "foo", "%s: T13 the next went", how);
	unlinkat(fd, "foo", 0);
	is_str(find(share, fd, "FOO"), "", "%s: T13 all went", how);
	touch(fd, "\xc3\x89tude.MP3");
	is_str(find(share, fd, "\xc3\xa9TUDE.mp3"), "\xc3\x89tude.MP3",
	       "%s: letters beyond ASCII", how);
	ok(told == 1 && stats_of(share).collisions >= 3,
	   "%s: collisions are counted, and told of once", how);
	close(fd);
}

/* Whoever asks the host himself gets what is known, and asks again if that is
 * gone; a name that is gone is no collision (moved away, it stays known). */
static void
test_unseen(void)
{
	uint64_t before = stats_of(share).collisions;
	char real[CF_NAME_MAX + 1] = "";
	struct cf_dir dir;
	int fd = fresh();

	cf_dir_init(&dir, fd);
	touch(fd, "Foo");
	is_int(cf_find(share, &dir, "foo", CF_MISSED | CF_UNSEEN, real),
	       CF_OTHER, "%s: not looked at", how);
	is_str(real, "Foo", "%s: what is known", how);
	if (renameat(fd, "Foo", fd, "bar") || renameat(fd, "bar", fd, "foO"))
		bail("rename");
	is_int(cf_find(share, &dir, "foo", CF_MISSED | CF_UNSEEN, real),
	       CF_OTHER, "%s: one of two that are known", how);
	is_str(real, "foO", "%s: the one that is there", how);
	is_int(stats_of(share).collisions, before, "%s: no collision", how);
	unlinkat(fd, "foO", 0);
	is_int(cf_find(share, &dir, "foo", CF_MISSED | CF_UNSEEN, real),
	       -ENOENT, "%s: none is left", how);
	close(fd);
}

static void
test_order(void)
{
	const char *names[] = { "ABC", "ABc", "AbC", "Abc", "aBC", "abC" };
	int fd;

	for (int turn = 0; turn < 6; turn++) {
		fd = fresh();
		for (int i = 0; i < 6; i++)
			touch(fd, names[(i + turn) % 6]);
		for (int i = 0; i < 6; i++) {
			if (strcmp(find(share, fd, "abc"), names[i]))
				break;
			unlinkat(fd, names[i], 0);
			if (i == 5)
				ok(1, "%s: T12 byte order, turn %d", how, turn);
		}
		ok(!there(fd, names[5]), "%s: T13 one after the other", how);
		close(fd);
	}
}

static void
test_errors(void)
{
	char real[CF_NAME_MAX + 1], longname[300];
	uint64_t scans;
	struct cf_dir dir;
	int fd = fresh();

	if (cf_dir_init(&dir, fd))
		bail("cf_dir_init");
	memset(longname, 'a', sizeof(longname));
	longname[256] = 0;
	is_int(cf_find(share, &dir, longname, 0, real), -ENAMETOOLONG,
	       "%s: T14 ENAMETOOLONG", how);
	longname[255] = 0;
	touch(fd, longname);
	longname[0] = 'A';
	longname[254] = 'A';
	is_int(cf_find(share, &dir, longname, 0, real), CF_OTHER,
	       "%s: a name of 255 bytes", how);
	is_int(cf_find(share, &dir, "", 0, real), -ENOENT, "%s: no name", how);
	is_int(cf_find(share, &dir, ".", 0, real), CF_EXACT, "%s: dot", how);
	scans = stats_of(share).scans;
	is_int(cf_find(share, &dir, "123-45.6", 0, real), -ENOENT,
	       "%s: T15 no letters", how);
	is_int(cf_find(share, &dir, "caf\xe9", 0, real), -ENOENT,
	       "%s: T15 not UTF-8", how);
	ok(stats_of(share).scans == scans && stats_of(share).singles >= 2,
	   "%s: T15 needs no index", how);
	is_int(may_create(share, fd, "123-45.6"), 0,
	       "%s: T15 such a name may be made", how);
	close(fd);
}

/* Each is a name of its own, whatever it looks like to a careless decoder. */
static void
test_invalid(void)
{
	static const char *const names[] = {
		"\xc1\x81",		/* overlong A */
		"\xc1\xa1",		/* overlong a */
		"\xe0\x81\x81",		/* the same in three bytes */
		"\xed\xa0\x80",		/* a surrogate */
		"\xed\xa0\x80\xed\xb0\x80",	/* a pair of them */
		"\xf0\x90\x90\xa8",	/* beyond U+FFFF */
		"\xf0\x90\x90\x80",	/* its capital */
		"\xff", "\xc3", "\x80", "Caf\xe9", "caf\xc9",
	};
	int n = sizeof(names) / sizeof(names[0]), fd = fresh(), bad = 0;

	touch(fd, "A");
	for (int i = 0; i < n; i++) {
		bad += strcmp(find(share, fd, names[i]), "") != 0;
		bad += may_create(share, fd, names[i]) != 0;
		touch(fd, names[i]);
	}
	is_int(bad, 0, "%s: T5 invalid UTF-8 is nobody's variant", how);
	for (int i = 0; i < n; i++)
		bad += strcmp(find(share, fd, names[i]), names[i]) != 0;
	is_int(bad, 0, "%s: T5 and found by itself", how);
	is_str(find(share, fd, "CAF\xe9"), "",
	       "%s: T5 the letters beside it count as they are, too", how);
	is_str(find(share, fd, "a"), "A", "%s: T5 A is still there", how);
	close(fd);
}

/* T6: U+0250 is two bytes long, its capital U+2C6F three. */
static void
test_growth(void)
{
	char low[CF_NAME_MAX + 1] = "", high[CF_NAME_MAX + 1] = "";
	int fd = fresh();

	for (int i = 0; i < 127; i++)
		strcat(low, "\xc9\x90");
	strcat(low, "x");
	is_str(find(share, fd, low), "", "%s: T6 255 bytes, 382 folded", how);
	touch(fd, low);
	low[254] = 'X';
	is_int(may_create(share, fd, low), CF_OTHER, "%s: T6 its variant", how);
	low[254] = 'x';
	is_str(find(share, fd, low), low, "%s: T6 itself", how);
	low[170] = 0;
	for (int i = 0; i < 85; i++)
		strcat(high, "\xe2\xb1\xaf");
	touch(fd, high);
	is_str(find(share, fd, low), high, "%s: T6 255 bytes for 170", how);
	close(fd);
}

static void
test_types(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = fresh(), s;

	if (symlinkat("nowhere", fd, "Link") || mkfifoat(fd, "Fifo", 0600) ||
	    mkdirat(fd, "Dir", 0700))
		bail("types");
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/Sock",
		 fd);
	if (bind(s, (struct sockaddr *)&addr, sizeof(addr)))
		bail("bind");
	is_str(find(share, fd, "LINK"), "Link", "%s: T18 dangling link", how);
	is_str(find(share, fd, "FIFO"), "Fifo", "%s: T18 fifo", how);
	is_str(find(share, fd, "DIR"), "Dir", "%s: T18 directory", how);
	is_str(find(share, fd, "SOCK"), "Sock", "%s: T18 socket", how);
	close(s);
	close(fd);
}

static void
test_unreadable(void)
{
	int fd = fresh();

	touch(fd, "Foo");
	if (fchmodat(fd, ".", 0311, 0))
		bail("chmod");
	if (geteuid() == 0 && seteuid(65534))
		bail("seteuid");
	is_str(find(share, fd, "Foo"), "Foo", "%s: T17 x only: exact", how);
	is_str(find(share, fd, "foo"), "", "%s: T17 x only: no fallback", how);
	if (getuid() == 0 && seteuid(0))
		bail("seteuid");
	close(fd);
}

static void
test_create(void)
{
	int fd = fresh();

	is_int(may_create(share, fd, "Foo"), 0, "%s: T20 a new name", how);
	is_int(may_create(share, fd, "Foo"), 0, "%s: T20 given up before", how);
	touch(fd, "Foo");
	is_int(may_create(share, fd, "foo"), CF_OTHER, "%s: T20 variant", how);
	is_int(may_create(share, fd, "Foo"), CF_EXACT, "%s: T20 exact", how);
	touch(fd, "fOO");
	is_int(may_create(share, fd, "fOO"), CF_EXACT,
	       "%s: T20 exact before the smallest", how);
	unlinkat(fd, "Foo", 0);
	unlinkat(fd, "fOO", 0);
	is_int(may_create(share, fd, "foo"), 0, "%s: T20 free again", how);
	close(fd);
}

static void
test_rename(void)
{
	int fd = fresh(), fd2 = fresh();
	ino_t a, b;

	touch(fd, "Foo");
	a = inode(fd, "Foo");
	is_int(change_name(share, fd, "foo", fd, "foo", 0), 0,
	       "%s: T22 case-only, by another spelling", how);
	ok(inode(fd, "foo") == a && !there(fd, "Foo"), "%s: T22 it is foo", how);
	is_int(change_name(share, fd, "foo", fd, "FOO", RENAME_NOREPLACE), 0,
	       "%s: T22 case-only with NOREPLACE", how);
	is_int(change_name(share, fd, "FOO", fd, "FOO", 0), 0,
	       "%s: T22 the same name", how);
	is_int(change_name(share, fd, "foo", fd, "FOO", 0), 0,
	       "%s: T22 to the spelling it has", how);
	ok(inode(fd, "FOO") == a, "%s: T22 it is FOO", how);
	if (mkdirat(fd, "Dir", 0700))
		bail("Dir");
	is_int(change_name(share, fd, "DIR", fd, "dir", 0), 0,
	       "%s: T22 a directory", how);
	ok(there(fd, "dir") && !there(fd, "Dir"), "%s: T22 it is dir", how);

	touch(fd2, "Bar");
	b = inode(fd2, "Bar");
	is_int(change_name(share, fd, "foo", fd2, "BAR", RENAME_NOREPLACE),
	       -EEXIST, "%s: T23 NOREPLACE onto a variant", how);
	is_int(change_name(share, fd, "foo", fd2, "bar", RENAME_EXCHANGE), 0,
	       "%s: T24 EXCHANGE", how);
	ok(inode(fd, "FOO") == b && inode(fd2, "Bar") == a,
	   "%s: T24 both kept their spelling", how);
	is_int(change_name(share, fd, "foo", fd2, "bAR", 0), 0,
	       "%s: T23 onto a variant", how);
	ok(inode(fd2, "bAR") == b && !there(fd2, "Bar") && !there(fd, "FOO"),
	   "%s: T23 replaced, with the new spelling", how);
	is_int(change_name(share, fd, "foo", fd2, "x", 0), -ENOENT,
	       "%s: T23 no such name", how);
	is_int(change_name(share, fd2, "bar", fd2, "x", RENAME_EXCHANGE),
	       -ENOENT, "%s: T24 EXCHANGE with nothing", how);
	close(fd);
	close(fd2);
}

static void
test_links(void)
{
	int fd = fresh();
	ino_t a;

	touch(fd, "Foo");
	a = inode(fd, "Foo");
	if (linkat(fd, "Foo", fd, "bar", 0))
		bail("link");
	is_int(change_name(share, fd, "FOO", fd, "BAR", 0), 0,
	       "%s: T25 onto a hard link of itself", how);
	ok(inode(fd, "Foo") == a, "%s: T25 rename(2) does nothing then", how);
	if (linkat(fd, "Foo", fd, "foo", 0))
		bail("link");
	is_str(find(share, fd, "FOO"), "Foo", "%s: T27 links that are variants",
	       how);
	unlinkat(fd, "Foo", 0);
	is_str(find(share, fd, "FOO"), "foo", "%s: T27 the other one", how);
	touch(fd, "Baz");
	touch(fd, "BAZ");
	is_int(change_name(share, fd, "Baz", fd, "baz", 0), 0,
	       "%s: T22 case-only beside a variant", how);
	ok(there(fd, "BAZ") && there(fd, "baz") && !there(fd, "Baz"),
	   "%s: T22 the variant was left alone", how);
	close(fd);
}

/* More names in one class than an index keeps. */
static void
test_crowded(void)
{
	char name[16];
	int fd = fresh(), bad = 0;

	for (int i = 0; i < 200; i++) {
		for (int j = 0; j < 8; j++)
			name[j] = i >> j & 1 ? 'x' : 'X';
		name[8] = 0;
		touch(fd, name);
	}
	touch(fd, "Other");
	is_str(find(share, fd, "xxxxxxxx"), "XXXXXXXX",
	       "%s: the smallest of 200 variants", how);
	unlinkat(fd, "XXXXXXXX", 0);
	is_str(find(share, fd, "xxxxxxxx"), "XXXXXXXx",
	       "%s: the next of 200 variants", how);
	for (int i = 0; i < 300; i++)
		bad += strcmp(find(share, fd, "other"), "Other") != 0;
	bad += strcmp(find(share, fd, "another"), "") != 0;
	is_int(bad, 0, "%s: other names there", how);
	close(fd);
}

/* ------------------------------------------------------------------ */
/* T26: threads that make Foo and foo. */

struct maker {
	int fd;
	unsigned seed;
	long made, found, wrong;
	pthread_barrier_t *barrier;
};

enum { MAKERS = 4 };

static void
make_one(struct maker *m, int n)
{
	static const char *const spelling[] = { "file%d", "File%d", "FILE%d",
						"fILE%d" };
	char name[32], real[CF_NAME_MAX + 1];
	struct cf_create create;
	struct cf_dir dir;
	int found, fd;

	if (cf_dir_init(&dir, m->fd))
		bail("cf_dir_init");
	snprintf(name, sizeof(name), spelling[rand_r(&m->seed) % 4], n);
	found = cf_create_begin(share, &dir, name, &create, real);
	if (found > 0)
		m->found++;
	else if (found)
		m->wrong++;
	if (found)
		return;
	fd = openat(m->fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	cf_create_end(&create, fd >= 0);
	if (fd >= 0) {
		m->made++;
		close(fd);
	}
}

static void *
make_many(void *arg)
{
	struct maker *m = arg;
	int count = (int)tap_scaled(100);

	for (int i = 0; i < count; i++) {
		pthread_barrier_wait(m->barrier);
		make_one(m, i);
	}
	return NULL;
}

static void
test_threads(void)
{
	struct maker m[MAKERS];
	pthread_barrier_t barrier;
	pthread_t thread[MAKERS];
	long made = 0, found = 0, wrong = 0, count = tap_scaled(100);
	int fd = fresh();

	pthread_barrier_init(&barrier, NULL, MAKERS);
	for (unsigned i = 0; i < MAKERS; i++) {
		m[i] = (struct maker){ .fd = fd, .seed = i + 1,
				       .barrier = &barrier };
		pthread_create(&thread[i], NULL, make_many, &m[i]);
	}
	for (int i = 0; i < MAKERS; i++) {
		pthread_join(thread[i], NULL);
		made += m[i].made;
		found += m[i].found;
		wrong += m[i].wrong;
	}
	pthread_barrier_destroy(&barrier);
	is_int(made, count, "%s: T26 each name was made once", how);
	is_int(found, (MAKERS - 1) * count, "%s: T26 and found by the others",
	       how);
	is_int(wrong, 0, "%s: T26 no errors", how);
	close(fd);
}

static void
tell(void *arg, const char *name, const char *other)
{
	(void)arg;
	if (!strcasecmp(name, other))
		told++;
}

/* Who must not wait is told so, and nothing was done. */
static void
test_nowait(void)
{
	char real[CF_NAME_MAX + 1], name[32];
	struct cf_create create, second;
	struct cf_dir dir, again;
	int small = new_dir("small"), big = new_dir("big");

	touch(small, "Foo");
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "A name of some length %d", i);
		touch(big, name);
	}
	cf_dir_init(&dir, small);
	dir.nowait = true;
	is_int(cf_find(share, &dir, "foo", 0, real), CF_OTHER,
	       "%s: a small directory is read at once", how);
	is_int(cf_create_begin(share, &dir, "bar", &create, real), 0,
	       "%s: a name is made", how);
	again = dir;
	is_int(cf_create_begin(share, &again, "Bar", &second, real), -EAGAIN,
	       "%s: by one at a time", how);
	is_int(cf_rename(share, &again, "foo", &again, "BAR", 0, NULL, NULL),
	       -EAGAIN, "%s: nor renamed to it", how);
	cf_create_end(&create, false);
	is_int(cf_rename(share, &again, "foo", &again, "BAR", 0, NULL, NULL),
	       0, "%s: then it is", how);
	cf_dir_init(&dir, big);
	dir.nowait = true;
	is_int(cf_find(share, &dir, "none", 0, real), -EAGAIN,
	       "%s: a big one is not", how);
	is_int(cf_create_begin(share, &dir, "none", &create, real), -EAGAIN,
	       "%s: nor to make a name", how);
	is_int(cf_rename(share, &dir, "A name of some length 1", &dir, "none",
			 0, NULL, NULL), -EAGAIN, "%s: or to rename", how);
	ok(!there(big, "none"), "%s: nothing was done", how);
	dir.nowait = false;
	is_int(cf_find(share, &dir, "none", 0, real), -ENOENT,
	       "%s: but by who may wait", how);
	close(small);
	close(big);
	empty_dir(top_fd);
}

static void
test_all(const char *name, unsigned watches)
{
	struct cf_calls calls = { .collision = tell };
	struct cf_settings set;

	cf_settings_init(&set, CF_NT);
	set.max_watches = watches;
	share = new_share(&set, &calls);
	how = name;
	told = 0;
	test_winner();
	test_unseen();
	test_order();
	test_errors();
	test_invalid();
	test_growth();
	test_types();
	test_unreadable();
	test_create();
	test_rename();
	test_links();
	test_crowded();
	test_nowait();
	test_threads();
	cf_share_free(share);
}

int
main(void)
{
	if (begin_dir(NULL))
		bail("begin_dir");
	test_all("watched", 8192);
	test_all("not watched", 0);
	end_dir();
	return tap_done();
}
