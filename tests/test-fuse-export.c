/* SPDX-License-Identifier: MIT */
/* Files found by the ids that a guest has kept, as for an NFS server there. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

/* More than any session remembers without export_support. */
enum { MANY = 4000 };

static struct fc *
new_export(const char *where)
{
	struct fc *c = fc_new(where);

	c->set.export_support = true;
	c->set.export_nodes = 1000000;
	c->set.max_clients = 64;
	return c;
}

/* LOOKUP of "." or "..": an id or -errno. */
static int64_t
by_id(struct fc *c, uint64_t id, const char *dots)
{
	ssize_t n = fc_call(c, FUSE_LOOKUP, id, NULL, 0, dots, NULL);
	uint64_t got;

	if (n < 0)
		return n;
	memcpy(&got, c->out, sizeof(got));
	return (int64_t)got;
}

/* Look it up and forget it. */
static uint64_t
seen(struct fc *c, uint64_t dir, const char *name)
{
	int64_t id = fc_lookup(c, dir, name);

	if (id <= 0)
		return 0;
	fc_forget(c, (uint64_t)id, 1);
	return (uint64_t)id;
}

static long
remembered(struct fc *c)
{
	struct fs_info info;

	fs_share_info(c->share, &info);
	return (long)info.remembered;
}

static void
make_many(struct fc *c, int n)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		fc_file(c, name, "");
	}
}

static void
see_many(struct fc *c, int n, uint64_t *ids)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		uint64_t id;

		snprintf(name, sizeof(name), "m%d", i);
		id = seen(c, 1, name);
		if (ids)
			ids[i] = id;
	}
}

static long
count_found(struct fc *c, int n, const uint64_t *ids)
{
	long found = 0;

	for (int i = 0; i < n; i++) {
		if (by_id(c, ids[i], ".") != (int64_t)ids[i])
			continue;
		fc_forget(c, ids[i], 1);
		found++;
	}
	return found;
}

static void
test_without(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t flags, file, dir;
	struct fuse_init_out out;

	fc_open_share(c);
	out = fc_init(c, FS_PROTO_MINOR, FC_ALL_FLAGS);
	flags = out.flags | (uint64_t)out.flags2 << 32;
	ok(!(flags & FUSE_EXPORT_SUPPORT) && (flags & FUSE_NO_EXPORT_SUPPORT),
	   "no: a guest is told that there are no handles");
	fc_file(c, "f", "");
	file = (uint64_t)fc_lookup(c, 1, "f");
	dir = (uint64_t)fc_mkdir(c, 1, "d", 0755);
	is_int(by_id(c, file, "."), -ENOTDIR, "no: \".\" of a file");
	is_int(by_id(c, dir, ".."), -EINVAL, "no: \"..\" of a directory");
	fc_free(c);
}

static void
test_found(const char *where)
{
	struct fc *c = new_export(where);
	struct fuse_init_out out;
	struct fuse_attr a;
	struct stat st;
	uint64_t flags, f, d, id;

	fc_open_share(c);
	out = fc_init(c, FS_PROTO_MINOR, FC_ALL_FLAGS);
	flags = out.flags | (uint64_t)out.flags2 << 32;
	ok((flags & FUSE_EXPORT_SUPPORT) && !(flags & FUSE_NO_EXPORT_SUPPORT),
	   "a guest is told that there are handles");
	fc_file(c, "f", "text");
	mkdirat(c->fd, "d", 0755);
	f = seen(c, 1, "f");
	d = seen(c, 1, "d");
	is_int(fc_info(c).nodes, 0, "all is forgotten");
	make_many(c, MANY);
	see_many(c, MANY, NULL);
	is_int(by_id(c, f, "."), f, "a file is found after %d others", MANY);
	fc_stat(c, "f", &st);
	is_int(fc_getattr(c, f, &a), 0, "and is there");
	ok(a.ino == st.st_ino && a.size == 4, "the same");
	is_int(fc_info(c).nodes, 1, "the guest holds it");
	fc_forget(c, f, 1);
	is_int(fc_info(c).nodes, 0, "and forgets it again");
	is_int(by_id(c, d, "."), d, "a directory");
	fc_forget(c, d, 1);
	is_int(by_id(c, 1, "."), 1, "the root");
	is_int(by_id(c, f, ".."), -ENOTDIR, "nothing is above a file");
	renameat(c->fd, "f", c->fd, "d/g");
	is_int(by_id(c, f, "."), f, "a file that the host has moved");
	id = (uint64_t)fc_lookup(c, d, "g");
	is_int(id, f, "is the one of that name");
	fc_free(c);
}

static void
test_bound(void)
{
	struct fc *c = new_export(NULL);
	uint64_t *ids = calloc(MANY, sizeof(*ids));
	long found;

	c->set.export_nodes = 2800;
	fc_start(c);
	make_many(c, MANY);
	see_many(c, MANY, ids);
	found = count_found(c, MANY, ids);
	ok(found > 2100 && found <= 2800, "%ld of 2800 are found", found);
	ok(remembered(c) > 2100 && remembered(c) <= 2800, "%ld are remembered",
	   remembered(c));
	is_int(fc_info(c).nodes, 0, "none is held");
	free(ids);
	fc_free(c);
}

/* What is used again and again outlives what was seen once. */
static void
test_again(void)
{
	struct fc *c = new_export(NULL);
	uint64_t f;
	char name[32];
	bool there = true;

	c->set.export_nodes = 2800;
	fc_start(c);
	fc_file(c, "f", "");
	f = seen(c, 1, "f");
	make_many(c, MANY);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		seen(c, 1, name);
		if (i % 500)
			continue;
		there = there && by_id(c, f, ".") == (int64_t)f;
		fc_forget(c, f, 1);
	}
	ok(there, "what is used now and then stays");
	fc_free(c);
}

static long
count_deleted_fds(void)
{
	char path[64], target[4096];
	long n = 0;

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 10)
			continue;
		target[len] = '\0';
		n += !strcmp(target + len - 10, " (deleted)");
	}
	return n;
}

static void
test_deleted(const char *where)
{
	struct fc *c = new_export(where);
	long n = tap_scaled(500), wrong = 0, reused = 0;
	ino_t ino = 0;
	uint64_t id = 0, d;

	fc_start(c);
	for (long i = 0; i < n; i++) {
		struct stat st;

		fc_file(c, "f", "");
		fc_stat(c, "f", &st);
		reused += st.st_ino == ino;
		ino = st.st_ino;
		wrong += id && by_id(c, id, ".") != -ESTALE;
		id = seen(c, 1, "f");
		wrong += by_id(c, id, ".") != (int64_t)id;
		fc_forget(c, id, 1);
		if (i % 2)
			fc_unlink(c, 1, "f");
		else
			unlinkat(c->fd, "f", 0);
		wrong += by_id(c, id, ".") != -ESTALE;
	}
	is_int(wrong, 0, "%ld files removed in %s are stale", n,
	       where ? where : ".");
	printf("# a number was used again %ld times\n", reused);
	d = (uint64_t)fc_mkdir(c, 1, "d", 0755);
	fc_forget(c, d, 1);
	fc_rmdir(c, 1, "d");
	is_int(by_id(c, d, "."), -ESTALE, "so is a directory");
	fc_free(c);
}

static void
test_space(void)
{
	struct fc *c = new_export(NULL);

	fc_start(c);
	make_many(c, 200);
	see_many(c, 200, NULL);
	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "m%d", i);
		fc_unlink(c, 1, name);
	}
	is_int(count_deleted_fds(), 0, "what is removed is not kept open");
	fc_free(c);
}

static void
test_anew(void)
{
	struct fc *c = new_export(NULL);
	uint64_t f;

	fc_start(c);
	fc_file(c, "f", "");
	f = (uint64_t)fc_lookup(c, 1, "f");
	is_int(fc_call(c, FUSE_DESTROY, 1, NULL, 0, NULL, NULL), 0,
	       "the guest unmounts");
	is_int(fc_info(c).nodes, 0, "and holds nothing");
	fc_init(c, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(by_id(c, f, "."), f, "mounted again, it finds a file");
	fs_session_reset(c->session);
	is_int(by_id(c, f, "."), -EIO, "the guest boots");
	fc_init(c, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(by_id(c, f, "."), f, "and finds the file");
	fc_init(c, FS_PROTO_MINOR, FC_ALL_FLAGS & ~(uint64_t)FUSE_EXPORT_SUPPORT);
	is_int(by_id(c, f, "."), -ESTALE, "not one that asks for no handles");
	fc_free(c);
}

static void
test_others(void)
{
	struct fc *c = new_export(NULL), *d;
	uint64_t *ids = calloc(1000, sizeof(*ids));

	fc_start(c);
	d = fc_guest(c);
	fc_init(d, FS_PROTO_MINOR, FC_ALL_FLAGS);
	make_many(c, 1000);
	see_many(c, 1000, ids);
	see_many(d, 1000, NULL);
	is_int(count_found(c, 1000, ids), 1000, "a guest finds its files");
	is_int(count_found(d, 1000, ids), 0, "another has no such ids");
	fc_end(d);
	d = fc_guest(c);
	fc_init(d, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(count_found(d, 1000, ids), 0, "nor has one that comes later");
	fc_end(d);
	free(ids);
	fc_free(c);
}

/* The only guest of a share leaves and comes back. */
static void
test_only_one(void)
{
	struct fc *c = new_export(NULL), *d;
	unsigned fds;
	uint64_t f, g;

	c->set.max_clients = 1;
	fc_open_share(c);
	fc_file(c, "f", "");
	fc_file(c, "g", "");
	mkdirat(c->fd, "dir", 0755);
	fds = fc_count_fds();
	d = fc_guest(c);
	fc_init(d, FS_PROTO_MINOR, FC_ALL_FLAGS);
	f = seen(d, 1, "f");
	g = (uint64_t)fc_lookup(d, 1, "g");
	seen(d, 1, "dir");
	ok(fc_open(d, g, O_RDONLY) > 0, "a file is open");
	ok(fc_count_fds() > fds, "and its directory known");
	fs_session_clear(d->session);
	is_int(fc_count_fds(), fds, "the only guest leaves: nothing is open");
	is_int(fs_share_ends_slowly(c->share), 1, "but something remembered");
	fc_end(d);
	unlinkat(c->fd, "g", 0);
	d = fc_guest(c);
	is_int(by_id(d, f, "."), -EIO, "who comes has to begin");
	fc_init(d, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(by_id(d, f, "."), f, "and finds what it had");
	is_int(fc_info(d).nodes, 1, "and holds nothing else");
	is_int(fc_info(d).handles, 0, "nor has it a file open");
	fc_end(d);
	d = fc_guest(c);
	fc_init(d, FS_PROTO_MINOR,
		FC_ALL_FLAGS & ~(uint64_t)FUSE_EXPORT_SUPPORT);
	is_int(by_id(d, f, "."), -ESTALE, "not so if it asks for no handles");
	fc_end(d);
	d = fc_guest(c);
	fc_init(d, FS_PROTO_MINOR, FC_ALL_FLAGS);
	seen(d, 1, "f");
	fc_end(d);
	d = fc_guest(c);
	is_int(by_id(d, 1, "."), 1, "a Windows guest resumes");
	is_int(remembered(c), 0, "and has nothing of a Linux guest");
	fc_end(d);
	is_int(fs_share_ends_slowly(c->share), 0, "and then nothing is kept");
	fc_free(c);
}

/* There may be more than one when max_clients becomes 1, and that may change
 * again while one goes. */
static void
test_one_of_two(void)
{
	struct fc *c = new_export(NULL), *a, *b;
	uint64_t f;

	fc_open_share(c);
	fc_file(c, "f", "");
	a = fc_guest(c);
	b = fc_guest(c);
	fc_init(a, FS_PROTO_MINOR, FC_ALL_FLAGS);
	fc_init(b, FS_PROTO_MINOR, FC_ALL_FLAGS);
	seen(a, 1, "f");
	f = seen(b, 1, "f");
	c->set.max_clients = 1;
	fs_session_clear(b->session);
	fs_session_clear(a->session);
	is_int(remembered(c), 1, "of two that leave, one is remembered");
	c->set.max_clients = 64;
	fc_end(a);
	a = fc_guest(c);
	fc_init(a, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(by_id(a, f, "."), -ESTALE, "but by nobody before it has gone");
	fc_end(b);
	b = fc_guest(c);
	fc_init(b, FS_PROTO_MINOR, FC_ALL_FLAGS);
	is_int(by_id(b, f, "."), f, "then by the next");
	fc_end(b);
	fc_end(a);
	is_int(fs_share_ends_slowly(c->share), 0, "of many none is kept");
	fc_free(c);
}

static void
test_parents(void)
{
	struct fc *c = new_export(NULL);
	char outside[sizeof(c->dir) + 16];
	uint64_t a, b, e;

	fc_start(c);
	snprintf(outside, sizeof(outside), "%s.out", c->dir);
	mkdirat(c->fd, "a", 0755);
	mkdirat(c->fd, "a/b", 0755);
	mkdirat(c->fd, "a/b/e", 0755);
	a = seen(c, 1, "a");
	b = seen(c, a, "b");
	e = seen(c, b, "e");
	is_int(by_id(c, e, ".."), b, "above a directory is another");
	is_int(by_id(c, b, ".."), a, "above that one the next");
	is_int(by_id(c, a, ".."), 1, "and then the root");
	is_int(by_id(c, 1, ".."), 1, "above which is nothing");
	c->no_block = true;
	is_int(by_id(c, e, ".."), FS_DEFER, "looked at by a thread that may wait");
	c->no_block = false;
	ok(!rename(c->dir, outside), "the whole share is moved");
	is_int(by_id(c, e, ".."), b, "that changes nothing");
	ok(!rename(outside, c->dir), "and back");
	ok(!renameat(c->fd, "a/b", AT_FDCWD, outside),
	   "the host takes a directory out of the share");
	is_int(by_id(c, b, ".."), -ESTALE, "nothing is above it");
	is_int(by_id(c, e, ".."), -ESTALE, "nor above what is in it");
	ok(!renameat(AT_FDCWD, outside, c->fd, "a/b"), "it comes back");
	is_int(by_id(c, e, ".."), b, "as does what is above");
	fc_free(c);
}

/* Names of directories outside of the share. */
struct race {
	struct fc *c;
	char top[PATH_MAX + 8], low[PATH_MAX + 16], aside[PATH_MAX + 8];
	int steps;		/* up, before the host moves them */
	int moves;
};

static struct race *race;

/* At no time is what was in `low` in the share. */
static void
move_behind(struct race *r)
{
	if (r->steps-- != 0)
		return;
	r->moves += !rename(r->low, r->aside);
	r->moves += !renameat(AT_FDCWD, r->top, r->c->fd, "top");
}

/* In place of the C library's, to be there when "fuse/" goes up. */
int
openat(int dirfd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (race && !strcmp(name, ".."))
		move_behind(race);
	return (int)syscall(SYS_openat, dirfd, name, flags, mode);
}

static void
make_race(struct race *r, struct fc *c)
{
	char moved[PATH_MAX + 20];

	r->c = c;
	snprintf(r->top, sizeof(r->top), "%s.top", c->dir);
	snprintf(r->low, sizeof(r->low), "%s.top/a/low", c->dir);
	snprintf(r->aside, sizeof(r->aside), "%s.aside", c->dir);
	mkdirat(c->fd, "a", 0755);
	mkdirat(c->fd, "a/low", 0755);
	mkdirat(c->fd, "e", 0755);
	mkdir(r->top, 0755);
	snprintf(moved, sizeof(moved), "%s/a", r->top);
	ok(!renameat(c->fd, "a", AT_FDCWD, moved), "directories outside");
}

static void
test_race(void)
{
	struct fc *c = new_export(NULL);
	char moved[PATH_MAX + 20];
	struct race r;
	uint64_t e;

	fc_start(c);
	make_race(&r, c);
	e = seen(c, 1, "e");
	snprintf(moved, sizeof(moved), "%s/e", r.low);
	ok(!renameat(c->fd, "e", AT_FDCWD, moved), "one is put into them");
	r.moves = 0;
	r.steps = 2;
	race = &r;
	is_int(by_id(c, e, ".."), -ESTALE, "what is above is not in the share");
	race = NULL;
	is_int(r.moves, 2, "though the way up ended there");
	snprintf(moved, sizeof(moved), "%s/e", r.aside);
	rmdir(moved);
	rmdir(r.aside);
	fc_free(c);
}

int
main(void)
{
	test_without();
	test_found(NULL);
	if (!access("/dev/shm", W_OK))
		test_found("/dev/shm");
	test_bound();
	test_again();
	test_deleted(NULL);
	test_space();
	test_anew();
	test_others();
	test_only_one();
	test_one_of_two();
	test_parents();
	test_race();
	return tap_done();
}
