/* SPDX-License-Identifier: MIT */
/*
 * Every operation with a name on a share that folds: found, made, renamed and
 * removed in any spelling, one inode whatever it is called.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/casefold-fuse.h"

static void
test_lookup(void)
{
	struct fuse_entry_out e;
	int64_t a, b;

	fc_file(c, "Foo.Txt", "text");
	a = fc_lookup(c, 1, "Foo.Txt");
	ok(a > 1, "the exact name");
	e = entry();
	ok(!e.entry_valid && !e.entry_valid_nsec, "is not to be kept");
	is_int(e.attr_valid, 5, "its attributes are");
	b = fc_lookup(c, 1, "fOO.tXT");
	is_int(b, a, "T11: another spelling is the same node");
	ok(!entry().entry_valid, "nor is it to be kept");
	is_int(fc_lookup(c, 1, "foo.tx"), -ENOENT, "no such name");
	fc_file(c, "FOO.TXT", "other");
	b = fc_lookup(c, 1, "FOO.TXT");
	ok(b > 1 && b != a, "T10: the exact name beats a variant");
	is_int(fc_lookup(c, 1, "foo.txt"), b, "T12: else the smallest wins");
	unlinkat(c->fd, "FOO.TXT", 0);
	is_int(fc_lookup(c, 1, "foo.txt"), a, "T13: then the other one");
	unlinkat(c->fd, "Foo.Txt", 0);
	is_int(fc_lookup(c, 1, "foo.txt"), -ENOENT,
	       "what the host removes is gone at once");
	fc_file(c, "fOo.txt", "");
	ok(fc_lookup(c, 1, "foo.txt") > 1,
	   "T30: what the host makes is there at once");
	unlinkat(c->fd, "fOo.txt", 0);
}

static void
test_kinds(void)
{
	static const char *const names[] = { "Dir", "Link", "Fifo", "Sock" };
	struct stat st;
	int64_t dir;

	mkdirat(c->fd, "Dir", 0755);
	symlinkat("x", c->fd, "Link");
	mkfifoat(c->fd, "Fifo", 0644);
	mknodat(c->fd, "Sock", S_IFSOCK | 0644, 0);
	for (int i = 0; i < 4; i++) {
		char lower[8];

		snprintf(lower, sizeof(lower), "%s", names[i]);
		lower[0] |= 0x20;
		fc_stat(c, names[i], &st);
		ok(fc_lookup(c, 1, lower) > 1 &&
		   entry().attr.ino == st.st_ino, "T18: %s", lower);
	}
	dir = fc_lookup(c, 1, "DIR");
	fc_file(c, "Dir/File", "");
	ok(fc_lookup(c, (uint64_t)dir, "fILE") > 1, "below a directory");
	is_int(fc_lookup(c, (uint64_t)fc_lookup(c, 1, "link"), "x"), -ENOTDIR,
	       "a link is no directory");
	fc_empty(c);
}

/* T14: only ENOENT opens the fallback. */
static void
test_errors(void)
{
	char name[257];
	int64_t dir;

	memset(name, 'A', 256);
	name[256] = 0;
	is_int(fc_lookup(c, 1, name), -ENAMETOOLONG, "T14: 256 bytes");
	name[255] = 0;
	is_int(fc_lookup(c, 1, name), -ENOENT, "255 bytes");
	ok(fc_create(c, 1, name, O_RDWR | O_EXCL, 0644, NULL) > 1, "made");
	memset(name, 'a', 255);
	ok(fc_lookup(c, 1, name) > 1, "and found in other case");
	is_int(fc_unlink(c, 1, "."), -EINVAL, "dots are no names");
	is_int(fc_lookup(c, 1, "\xff\xfeX"), -ENOENT, "T5: not UTF-8");
	fc_file(c, "\xff\xfeX", "");
	ok(fc_lookup(c, 1, "\xff\xfeX") > 1, "found by itself");
	is_int(fc_unlink(c, 1, "None"), -ENOENT, "nothing to remove");
	is_int(fc_rmdir(c, 1, "None"), -ENOENT, "nor a directory");
	is_int(fc_rename(c, 1, "None", 1, "x", 0), -ENOENT, "nor to rename");
	mkdirat(c->fd, "Dir", 0755);
	is_int(fc_unlink(c, 1, "dir"), -EISDIR, "a directory is not unlinked");
	fc_file(c, "File", "");
	is_int(fc_rmdir(c, 1, "fILE"), -ENOTDIR, "nor a file as directory");
	fc_file(c, "Dir/x", "");
	is_int(fc_rmdir(c, 1, "DIR"), -ENOTEMPTY, "nor if it is not empty");
	dir = fc_lookup(c, 1, "dir");
	fchmodat(c->fd, "Dir", 0300, 0);
	is_int(fc_lookup(c, (uint64_t)dir, "none"), -ENOENT,
	       "T17: a directory that may not be read");
	fchmodat(c->fd, "Dir", 0755, 0);
	fc_empty(c);
}

/* ------------------------------------------------------------------ */

static ssize_t
call(uint32_t opcode, const void *in, size_t size, const char *name,
     const char *name2)
{
	return fc_call(c, opcode, 1, in, size, name, name2);
}

/* T20: nothing is made beside a name of other case. */
static void
test_make(void)
{
	struct fuse_mknod_in mk = { .mode = S_IFIFO | 0644 };
	struct fuse_link_in ln;
	struct stat st;
	uint64_t fh;
	int64_t id;

	id = fc_create(c, 1, "Foo", O_RDWR | O_EXCL, 0644, NULL);
	ok(id > 1 && there("Foo"), "a name keeps its case");
	ok(!entry().entry_valid, "and is not to be kept");
	is_int(fc_create(c, 1, "foo", O_RDWR | O_EXCL, 0644, NULL), -EEXIST,
	       "T20: CREATE");
	is_int(fc_create(c, 1, "foo", O_RDWR, 0644, &fh), id,
	       "CREATE without O_EXCL opens it");
	is_int(fc_write(c, (uint64_t)id, fh, 0, "text", 4, 0), 4, "writes");
	is_int(fc_release(c, (uint64_t)id, fh), 0, "closes");
	is_int(fc_create(c, 1, "FOO", O_RDWR | O_TRUNC, 0644, NULL), id,
	       "with O_TRUNC, too");
	fc_stat(c, "Foo", &st);
	is_int(st.st_size, 0, "it is empty now");
	is_int(fc_mkdir(c, 1, "fOo", 0755), -EEXIST, "MKDIR");
	is_int(call(FUSE_MKNOD, &mk, sizeof(mk), "fOo", NULL), -EEXIST,
	       "MKNOD");
	is_int(call(FUSE_SYMLINK, NULL, 0, "fOo", "Target"), -EEXIST,
	       "SYMLINK");
	ln.oldnodeid = (uint64_t)id;
	is_int(call(FUSE_LINK, &ln, sizeof(ln), "fOo", NULL), -EEXIST, "LINK");
	is_int(call(FUSE_LINK, &ln, sizeof(ln), "Bar", NULL),
	       sizeof(struct fuse_entry_out), "LINK to a new name");
	is_int(fc_mkdir(c, 1, "bar", 0755), -EEXIST, "which counts at once");
	is_int(call(FUSE_SYMLINK, NULL, 0, "Sym", "Target"),
	       sizeof(struct fuse_entry_out), "SYMLINK");
	is_int(call(FUSE_MKNOD, &mk, sizeof(mk), "SYM", NULL), -EEXIST,
	       "MKNOD over it");
	ok(fc_mkdir(c, 1, "Dir", 0755) > 1, "MKDIR");
	is_int(fc_create(c, 1, "DIR", O_RDWR, 0644, NULL), -EISDIR,
	       "CREATE over a directory");
	is_int(fc_create(c, 1, "Dir", O_RDWR | O_EXCL, 0644, NULL), -EEXIST,
	       "the very name");
	fc_empty(c);
}

static void
test_tmpfile(void)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };
	struct fuse_link_in ln;
	struct fuse_open_out o;
	ssize_t n = call(FUSE_TMPFILE, &in, sizeof(in), "x", NULL);

	if (n < 0) {
		tap_skip("TMPFILE", strerror((int)-n));
		return;
	}
	ln.oldnodeid = entry().nodeid;
	memcpy(&o, c->out + sizeof(struct fuse_entry_out), sizeof(o));
	fc_file(c, "Foo", "");
	is_int(call(FUSE_LINK, &ln, sizeof(ln), "fOo", NULL), -EEXIST,
	       "T20: a file without a name gets none that is taken");
	is_int(call(FUSE_LINK, &ln, sizeof(ln), "Bar", NULL),
	       sizeof(struct fuse_entry_out), "but another");
	is_int(fc_lookup(c, 1, "bAR"), (long long)ln.oldnodeid, "found by it");
	is_int(fc_release(c, ln.oldnodeid, o.fh), 0, "closed");
	fc_empty(c);
}

static void
test_remove(void)
{
	fc_file(c, "Foo", "");
	is_int(fc_unlink(c, 1, "FOO"), 0, "T21: UNLINK in another spelling");
	ok(!there("Foo"), "removed");
	fc_file(c, "Foo", "");
	fc_file(c, "foo", "");
	is_int(fc_unlink(c, 1, "foo"), 0, "the very name");
	ok(there("Foo") && !there("foo"), "and not the other");
	is_int(fc_unlink(c, 1, "foo"), 0, "then the other");
	is_int(fc_unlink(c, 1, "foo"), -ENOENT, "then none");
	mkdirat(c->fd, "Dir", 0755);
	is_int(fc_rmdir(c, 1, "dIR"), 0, "T21: RMDIR");
	ok(!there("Dir"), "removed");
	ok(fc_create(c, 1, "foo", O_RDWR | O_EXCL, 0644, NULL) > 1,
	   "the name is free");
	fc_empty(c);
}

/* ------------------------------------------------------------------ */

static int
old_rename(const char *from, const char *to)
{
	struct fuse_rename_in in = { .newdir = 1 };

	return (int)call(FUSE_RENAME, &in, sizeof(in), from, to);
}

static void
test_case_only(void)
{
	uint64_t was;

	fc_file(c, "Foo", "");
	was = ino("Foo");
	is_int(fc_rename(c, 1, "Foo", 1, "foo", 0), 0, "T22: case only");
	ok(!there("Foo") && ino("foo") == was, "took place");
	is_int(fc_rename(c, 1, "FOO", 1, "fOO", RENAME_NOREPLACE), 0,
	       "in any spelling, with NOREPLACE");
	ok(!there("foo") && ino("fOO") == was, "took place");
	is_int(old_rename("foo", "FOO"), 0, "as RENAME");
	ok(!there("fOO") && ino("FOO") == was, "took place");
	is_int(old_rename("FOO", "FOO"), 0, "to itself");
	ok(ino("FOO") == was, "nothing happened");
	mkdirat(c->fd, "Dir", 0755);
	was = ino("Dir");
	is_int(fc_rename(c, 1, "dir", 1, "DIR", 0), 0, "a directory");
	ok(!there("Dir") && ino("DIR") == was, "took place");
	ok(fc_lookup(c, 1, "dir") > 1, "is found");
	fc_empty(c);
}

static void
test_rename(void)
{
	uint64_t a, b;

	fc_file(c, "A", "a");
	fc_file(c, "Foo", "b");
	a = ino("A");
	is_int(fc_rename(c, 1, "a", 1, "FOO", RENAME_NOREPLACE), -EEXIST,
	       "T23: NOREPLACE onto a variant");
	is_int(fc_rename(c, 1, "a", 1, "FOO", 0), 0, "onto a variant");
	ok(!there("A") && !there("Foo") && ino("FOO") == a,
	   "it was replaced, and the new spelling taken");
	fc_file(c, "B", "b");
	b = ino("B");
	is_int(fc_rename(c, 1, "foo", 1, "b", RENAME_EXCHANGE), 0,
	       "T24: EXCHANGE");
	ok(ino("FOO") == b && ino("B") == a, "exchanged");
	is_int(fc_rename(c, 1, "foo", 1, "none", RENAME_EXCHANGE), -ENOENT,
	       "with nobody");
	linkat(c->fd, "B", c->fd, "C", 0);
	is_int(fc_rename(c, 1, "b", 1, "c", 0), 0,
	       "T25: over a link of itself");
	ok(there("B") || there("C") || there("c"), "the file is still there");
	fc_empty(c);
	fc_file(c, "Foo", "");
	fc_file(c, "foo", "");
	is_int(fc_rename(c, 1, "foo", 1, "Bar", 0), 0, "the exact one moves");
	ok(there("Foo") && !there("foo") && there("Bar"), "and no other");
	fc_empty(c);
}

static void
test_two_dirs(void)
{
	int64_t d1 = fc_mkdir(c, 1, "One", 0755);
	int64_t d2 = fc_mkdir(c, 1, "Two", 0755);
	uint64_t was;

	fc_file(c, "One/Foo", "1");
	was = ino("One/Foo");
	is_int(fc_rename(c, (uint64_t)d1, "foo", (uint64_t)d2, "Bar", 0), 0,
	       "to another directory");
	ok(ino("Two/Bar") == was, "is there");
	fc_file(c, "One/BAR", "2");
	was = ino("One/BAR");
	is_int(fc_rename(c, (uint64_t)d1, "bar", (uint64_t)d2, "bar",
			 RENAME_NOREPLACE), -EEXIST, "where it is taken");
	is_int(fc_rename(c, (uint64_t)d1, "bar", (uint64_t)d2, "bar", 0), 0,
	       "or replaces");
	ok(ino("Two/bar") == was && !there("Two/Bar"), "in the new spelling");
	is_int(fc_rename(c, (uint64_t)d1, "x", (uint64_t)d2, "bar", 0),
	       -ENOENT, "nothing to move");
	fc_empty(c);
}

/* T27: two names of one file are two entries. */
static void
test_links(void)
{
	fc_file(c, "Foo", "");
	linkat(c->fd, "Foo", c->fd, "foo", 0);
	is_int(fc_unlink(c, 1, "FOO"), 0, "T27: a variant of two links");
	ok(!there("Foo") && there("foo"), "the smaller one went");
	ok(fc_lookup(c, 1, "Foo") > 1, "the other is found");
	fc_empty(c);
}

/* ------------------------------------------------------------------ */

/* T15 and the rest of what a share without folding does. */
static void
test_no_case(void)
{
	struct cf_stats before, after;

	cf_share_stats(c->fold, &before);
	is_int(fc_lookup(c, 1, "123-456"), -ENOENT, "T15: a name without case");
	cf_share_stats(c->fold, &after);
	is_int(after.singles - before.singles, 1, "needs no index");
	ok(fc_create(c, 1, "123", O_RDWR | O_EXCL, 0644, NULL) > 1, "made");
	is_int(fc_create(c, 1, "123", O_RDWR | O_EXCL, 0644, NULL), -EEXIST,
	       "once");
	is_int(fc_rename(c, 1, "123", 1, "456", 0), 0, "renamed");
	is_int(fc_unlink(c, 1, "456"), 0, "removed");
}

/* A queue thread never reads a big directory. */
static void
test_defer(void)
{
	char name[32];
	struct cf_stats st;
	uint64_t scans;

	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "Name %d", i);
		fc_file(c, name, "");
	}
	c->no_block = true;
	fc_lookup(c, 1, "none");
	ok(c->deferred, "what must read a big directory is put off");
	fc_unlink(c, 1, "none");
	ok(c->deferred, "UNLINK");
	fc_mkdir(c, 1, "none", 0755);
	ok(c->deferred && !there("none"), "MKDIR");
	fc_create(c, 1, "none", O_RDWR, 0644, NULL);
	ok(c->deferred && !there("none"), "CREATE");
	fc_rename(c, 1, "Name 1", 1, "none", 0);
	ok(c->deferred && !there("none"), "RENAME");
	ok(fc_lookup(c, 1, "Name 7") > 1 && !c->deferred,
	   "but not who asks for the exact name");
	c->no_block = false;
	is_int(fc_lookup(c, 1, "none"), -ENOENT, "then it was read");
	cf_share_stats(c->fold, &st);
	scans = st.scans;
	c->no_block = true;
	is_int(fc_lookup(c, 1, "no-one"), -ENOENT, "and is known:");
	ok(!c->deferred, "a miss is answered at once");
	ok(fc_lookup(c, 1, "nAME 1999") > 1, "a hit, too");
	ok(fc_create(c, 1, "New", O_RDWR, 0644, NULL) > 1, "a new name");
	is_int(fc_unlink(c, 1, "nEW"), 0, "removed");
	is_int(fc_rename(c, 1, "name 1", 1, "NAME 1", 0), 0, "renamed");
	cf_share_stats(c->fold, &st);
	is_int(st.scans, (long long)scans, "without reading it again");
	c->no_block = false;
	fc_empty(c);
}

/* ------------------------------------------------------------------ */

struct maker {
	const char *name;
	pthread_barrier_t *barrier;
	long made, refused, wrong;
	long rounds;
};

static void *
make_and_remove(void *arg)
{
	struct maker *m = arg;
	struct fc *g = fc_guest(c);

	fc_init(g, FS_PROTO_MINOR, FC_ALL_FLAGS);
	for (long i = 0; i < m->rounds; i++) {
		int64_t id;

		pthread_barrier_wait(m->barrier);
		if (i % 2)
			id = fc_mkdir(g, 1, m->name, 0755);
		else
			id = fc_create(g, 1, m->name, O_RDWR | O_EXCL, 0644,
				       NULL);
		m->made += id > 1;
		m->refused += id == -EEXIST;
		pthread_barrier_wait(m->barrier);
		if (there("Foo") + there("foo") != 1)
			m->wrong++;
		pthread_barrier_wait(m->barrier);
		if (id > 1 && (i % 2 ? fc_rmdir(g, 1, "FOO") :
				       fc_unlink(g, 1, "FOO")))
			m->wrong++;
	}
	m->wrong += g->broken;
	fc_end(g);
	return NULL;
}

/* T26: two guests, two spellings, one file. */
static void
test_threads(void)
{
	pthread_barrier_t barrier;
	struct maker m[2] = { { .name = "Foo" }, { .name = "foo" } };
	pthread_t t[2];

	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 2; i++) {
		m[i].barrier = &barrier;
		m[i].rounds = tap_scaled(1000);
		pthread_create(&t[i], NULL, make_and_remove, &m[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&barrier);
	is_int(m[0].made + m[1].made, m[0].rounds,
	       "T26: of two that make Foo and foo, one does");
	is_int(m[0].refused + m[1].refused, m[0].rounds, "and one does not");
	is_int(m[0].wrong + m[1].wrong, 0, "there was always one name");
	printf("# Foo %ld times, foo %ld times\n", m[0].made, m[1].made);
}

/* ------------------------------------------------------------------ */

/* The Windows client with -i reads the directory when a name is not there: it
 * gets the dots and one name, which says that the directory is not empty. */
static int
entries(int64_t dir, uint64_t offset, bool plus, uint64_t *last)
{
	int64_t fh = fc_opendir(c, (uint64_t)dir);
	ssize_t len = fc_readdir(c, (uint64_t)dir, (uint64_t)fh, offset, 4080,
				 plus);
	ssize_t size = plus ? (ssize_t)sizeof(struct fuse_entry_out) : 0;
	const struct fuse_dirent *d;
	int n = 0;

	for (ssize_t at = 0; at < len; n++) {
		d = (const void *)(c->out + at + size);
		at += size + (ssize_t)FUSE_DIRENT_SIZE(d);
		*last = d->off;
	}
	fc_releasedir(c, (uint64_t)dir, (uint64_t)fh);
	return len < 0 ? (int)len : n;
}

static void
test_brief(bool windows)
{
	int64_t dir = fc_mkdir(c, 1, "Dir", 0755);
	uint64_t last = 0;
	char name[32];
	int n, all = 0;

	is_int(entries(dir, 0, false, &last), 2, "READDIR, empty");
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "Dir/File %d", i);
		fc_file(c, name, "");
	}
	is_int(fc_lookup(c, (uint64_t)dir, "none"), -ENOENT, "no such name");
	is_int(entries(dir, 0, false, &last), windows ? 3 : 32, "READDIR");
	is_int(entries(dir, last, false, &last), 0, "and no more");
	/* It may stop early where it has to wait for its turn. */
	last = 0;
	do {
		n = entries(dir, last, true, &last);
		all += n;
	} while (n > 0);
	is_int(all, 32, "READDIRPLUS, page by page, shows all");
	fc_empty(c);
}

static void
test_all(const char *guest, bool windows)
{
	printf("# %s\n", guest);
	start(CONF_CASEFOLD_NT, windows);
	if (!windows) {
		test_lookup();
		test_kinds();
		test_errors();
		test_tmpfile();
	}
	test_make();
	test_remove();
	test_case_only();
	test_rename();
	test_two_dirs();
	test_links();
	test_no_case();
	test_brief(windows);
	test_threads();
	stop();
	start(CONF_CASEFOLD_NT, windows);
	test_defer();
	stop();
}

int
main(void)
{
	test_all("Linux", false);
	test_all("Windows", true);
	return tap_done();
}
