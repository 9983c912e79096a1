/* SPDX-License-Identifier: MIT */
/* Which node is which inode, and how many fds that costs. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

/* A file system that gives freed inode numbers out again must not make a new
 * file look like an old one. */
static void
test_reuse(const char *where, unsigned handles)
{
	struct fc *c = fc_new(where);
	long n = tap_scaled(2000), same = 0, reused = 0, wrong = 0;
	uint64_t ino = 0;
	int64_t id = 0;

	c->set.inode_file_handles = handles;
	fc_start(c);
	for (long i = 0; i < n; i++) {
		struct stat st;
		int64_t now;

		fc_file(c, "f", i % 2 ? "x" : "");
		fc_stat(c, "f", &st);
		now = fc_lookup(c, 1, "f");
		wrong += now <= 1 || fc_lookup(c, 1, "f") != now;
		reused += st.st_ino == ino;
		same += now == id;
		ino = st.st_ino;
		/* Without handles the guest holds the inode, and its number,
		 * and only so many of them. */
		if (handles == CONF_HANDLES_NEVER && id > 1)
			fc_forget(c, (uint64_t)id, 2);
		id = now;
		if (i % 3)	/* behind our back, or not */
			unlinkat(c->fd, "f", 0);
		else
			fc_unlink(c, 1, "f");
	}
	ok(!same && !wrong,
	   "%ld files made and removed in %s (%ld numbers used again)", n,
	   where ? where : ".", reused);
	if (same || wrong)
		printf("# same %ld wrong %ld\n", same, wrong);
	fc_free(c);
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Of 100,000 files that had the same number, two have equal handles more often
 * than not. */
static void
test_equal_handles(const char *where)
{
	struct fc *c = fc_new(where);
	long n = tap_scaled(20000), twice = 0;
	int64_t *id = calloc((size_t)n, sizeof(*id));

	fc_start(c);
	for (long i = 0; id && i < n; i++) {
		fc_file(c, "f", "");
		id[i] = fc_lookup(c, 1, "f");
		fc_unlink(c, 1, "f");
	}
	if (id)
		qsort(id, (size_t)n, sizeof(*id), compare);
	for (long i = 1; id && i < n; i++)
		twice += id[i] == id[i - 1];
	is_int(id ? twice : -1, 0, "no two of %ld files are one to the guest",
	       n);
	free(id);
	fc_free(c);
}

static double
cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* One number after the other is used again, and the guest never forgets.
 * What the host takes to make and remove files is not counted. */
static long
cycles(struct fc *c, long n, bool behind, ino_t before[64], double *cpu)
{
	long reused = 0;

	*cpu = 0;
	for (long i = 0; i < n; i++) {
		double start;
		struct stat st;

		fc_file(c, "f", "");
		fc_stat(c, "f", &st);
		start = cpu_seconds();
		fc_lookup(c, 1, "f");
		fc_lookup(c, 1, "f");
		*cpu += cpu_seconds() - start;
		for (int k = 0; k < 64; k++) {
			reused += before[k] == st.st_ino;
			if (before[k] == st.st_ino || !before[k] || k == 63) {
				before[k] = st.st_ino;
				break;
			}
		}
		if (behind)
			unlinkat(c->fd, "f", 0);
		else
			fc_unlink(c, 1, "f");
	}
	return reused;
}

/* Nodes of deleted files do not make the lookup of others slower. */
static void
test_deleted_chain(const char *where, bool behind)
{
	long n = tap_scaled(20000), part = n / 10, reused;
	struct fc *c = fc_new(where);
	double first, rest, last;
	ino_t before[64] = { 0 };

	c->set.max_fds = 1;	/* what is open keeps its number */
	fc_start(c);
	reused = cycles(c, part, behind, before, &first);
	reused += cycles(c, n - 2 * part, behind, before, &rest);
	reused += cycles(c, part, behind, before, &last);
	ok(last < first * 4 + 0.01,
	   "%ld files made and removed %s: lookups stay as fast", n,
	   behind ? "behind a guest" : "by a guest");
	printf("# %.2f, at last %.2f us each, a number was used again %ld "
	       "times, %llu nodes\n", first * 1e6 / (double)part,
	       last * 1e6 / (double)part, reused,
	       (unsigned long long)fc_info(c).nodes);
	fc_free(c);
}

/* What has no name may get one: then it is the same file still. */
static void
test_named_again(const char *where)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };
	struct fc *c = fc_new(where);
	struct fuse_attr a;
	uint64_t id, fh;
	ssize_t n;

	fc_start(c);
	n = fc_call(c, FUSE_TMPFILE, 1, &in, sizeof(in), "/", NULL);
	if (n < 0) {
		tap_skip("a file without a name", "no O_TMPFILE here");
		fc_free(c);
		return;
	}
	memcpy(&id, c->out, sizeof(id));
	memcpy(&fh, c->out + sizeof(struct fuse_entry_out), sizeof(fh));
	is_int(fc_getattr(c, id, &a), 0, "a file without a name");
	is_int(a.nlink, 0, "has no links");
	n = fc_call(c, FUSE_LINK, 1, &id, sizeof(id), "named", NULL);
	is_int(n, sizeof(struct fuse_entry_out), "it gets a name");
	ok(!memcmp(c->out, &id, sizeof(id)), "and is the same node");
	is_int(fc_lookup(c, 1, "named"), id, "by that name, too");
	is_int(fc_release(c, id, fh), 0, "closed");
	is_int(fc_getattr(c, id, &a), 0, "it is still there");
	is_int(a.nlink, 1, "with a name");
	fc_free(c);
}

/* The Windows client fails if CREATE answers a node it has seen. */
static void
test_replace(const char *where)
{
	struct fc *c = fc_new(where);
	int64_t last = 0, bad = 0;

	fc_start(c);
	for (int i = 0; i < 300; i++) {
		int64_t id = fc_create(c, 1, "tmp", O_RDWR | O_EXCL, 0644,
				       NULL);

		bad += id <= last && id >> 32 == last >> 32;
		bad += fc_rename(c, 1, "tmp", 1, "file", 0) != 0;
		bad += fc_lookup(c, 1, "file") != id;
		last = id;
	}
	is_int(bad, 0, "create, rename over, create: always a new node");
	fc_free(c);
}

static void
test_fds(const char *where)
{
	struct fc *c = fc_new(where);
	long n = tap_scaled(20000), bad = 0;
	unsigned before = fc_count_fds(), after;
	int64_t first = 0, id;

	c->set.max_fds = 100;
	fc_start(c);
	for (long i = 0; i < n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%ld", i);
		fc_file(c, name, "");
		id = fc_lookup(c, 1, name);
		bad += id <= 1;
		if (!i)
			first = id;
	}
	after = fc_count_fds();
	if (fc_info(c).nodes == (uint64_t)n && !bad) {
		is_int(fc_info(c).nodes, n, "%ld nodes", n);
		ok(fc_info(c).node_fds <= 100 && after - before < 120,
		   "with %u fds", after - before);
		is_int(fc_getattr(c, (uint64_t)first, NULL), 0,
		       "all can be used");
		ok(c->counters.reopened > 0, "by opening them again");
	} else {
		is_int(fc_info(c).nodes, 75, "held fds: 3/4 of max_fds");
		ok(after - before < 120, "with %u fds", after - before);
		is_int(bad, n - 75, "ENFILE for all others");
		is_int(c->counters.nodes_limit, n - 75, "counted");
	}
	fc_free(c);
	is_int(fc_count_fds(), before - 1, "every fd is closed in the end");
}

/* Directories stay when files come and go. */
static void
test_dirs_last(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t dir, before;

	c->set.max_fds = 20;
	fc_start(c);
	dir = (uint64_t)fc_mkdir(c, 1, "dir", 0755);
	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		fc_file(c, name, "");
		fc_lookup(c, 1, name);
	}
	before = c->counters.reopened;
	is_int(fc_lookup(c, dir, "x"), -ENOENT, "a lookup in the directory");
	is_int(c->counters.reopened, before, "does not open it again");
	fc_free(c);
}

static void
test_cold_dir(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t dirs[100];

	c->set.max_fds = 20;
	fc_start(c);
	for (int i = 0; i < 100; i++) {
		char name[32];

		snprintf(name, sizeof(name), "d%d", i);
		dirs[i] = (uint64_t)fc_mkdir(c, 1, name, 0755);
	}
	if ((int64_t)dirs[99] < 0) {
		tap_skip("a cold directory", "no file handles here");
	} else {
		is_int(fc_lookup(c, dirs[0], "x"), -ENOENT, "a cold directory");
		ok(c->deferred, "is opened by the pool");
		fc_lookup(c, dirs[0], "x");
		ok(!c->deferred, "once");
	}
	fc_free(c);
}

static uint64_t
blocks_free(struct fc *c)
{
	struct statvfs sv;

	sync();
	return fstatvfs(c->fd, &sv) < 0 ? 0 : sv.f_bfree * sv.f_frsize;
}

/* Others may have files there for a moment. */
static uint64_t
space_used(struct fc *c, uint64_t before)
{
	uint64_t used = 0;

	for (int i = 0; i < 50; i++) {
		uint64_t left = blocks_free(c);

		used = left < before ? before - left : 0;
		if (used < 4 << 20)
			break;
		usleep(100000);
	}
	return used;
}

/* A guest that never forgets does not keep the space of deleted files. */
static void
test_space(unsigned handles)
{
	struct fc *c = fc_new("/dev/shm");
	static char data[1 << 20];
	uint64_t before, used, left, fh, id;

	c->set.inode_file_handles = handles;
	fc_start(c);
	before = blocks_free(c);
	for (int i = 0; i < 32; i++) {
		id = (uint64_t)fc_create(c, 1, "big", O_RDWR, 0644, &fh);
		fc_write(c, id, fh, 0, data, sizeof(data), 0);
		fc_release(c, id, fh);
		fc_getattr(c, id, NULL);
		if (i % 2)
			fc_unlink(c, 1, "big");
		else
			fc_rename(c, 1, "big", 1, "other", 0);
	}
	used = space_used(c, before);
	ok(used < 4 << 20, "deleted and replaced files free their space (%s)",
	   handles == CONF_HANDLES_NEVER ? "held" : "handles");
	left = fc_info(c).nodes;
	ok(left == 32, "though the guest still knows %d nodes", (int)left);
	is_int(fc_getattr(c, id, NULL), -ESTALE, "which are stale");
	fc_free(c);
}

static size_t
sweep(struct fc *c)
{
	bool more = true, begin = true;
	size_t n, all = 0;
	int fds[3];

	for (; more; begin = false) {
		more = fs_share_sweep(c->share, begin, fds, 3, &n);
		all += n;
		while (n)
			close(fds[--n]);
	}
	return all;
}

/* Nor does one that does not hear of it: files are removed on the host. */
static void
test_sweep(void)
{
	struct fc *c = fc_new("/dev/shm");
	static char data[1 << 20];
	uint64_t before, ids[16], fh;
	struct fuse_attr a;
	char name[32];

	fc_start(c);
	before = blocks_free(c);
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		ids[i] = (uint64_t)fc_create(c, 1, name, O_RDWR, 0644, &fh);
		fc_write(c, ids[i], fh, 0, data, sizeof(data), 0);
		fc_release(c, ids[i], fh);
		fc_getattr(c, ids[i], NULL);
		if (i)
			unlinkat(c->fd, name, 0);
	}
	ok(before - blocks_free(c) > 12 << 20, "files removed on the host");
	is_int(sweep(c), 0, "were just used");
	fc_getattr(c, ids[0], NULL);
	fc_getattr(c, ids[1], NULL);
	is_int(sweep(c), 14, "all but these two were not used again");
	ok(before - blocks_free(c) < 4 << 20, "and do not keep their space");
	is_int(sweep(c), 0, "which are spared");
	is_int(sweep(c), 1, "once");
	is_int(fc_getattr(c, ids[0], &a), 0, "what is there can be looked at");
	is_int(a.size, sizeof(data), "as it is");
	is_int(fc_getattr(c, ids[2], NULL), -ESTALE, "the others are stale");
	fc_free(c);
}

/* An open file outlives its name. */
static void
test_open_unlinked(unsigned handles)
{
	struct fc *c = fc_new(NULL);
	struct fuse_attr a;
	uint64_t id, fh;

	c->set.inode_file_handles = handles;
	fc_start(c);
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0644, &fh);
	fc_write(c, id, fh, 0, "hello", 5, 0);
	fc_unlink(c, 1, "f");
	is_int(fc_read(c, id, fh, 0, 10), 5, "an unlinked file is read");
	is_int(fc_getattr(c, id, &a), 0, "and looked at without its handle");
	is_int(a.nlink, 0, "no links");
	is_int(a.size, 5, "but its size");
	is_int(fc_release(c, id, fh), 0, "and closed");
	ok(c->deferred, "by the pool");
	is_int(fc_getattr(c, id, NULL), -ESTALE, "then it is gone");
	fc_free(c);
}

/* Unlink behind our back, and something else under the same name. */
static void
test_planted(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_attr a = { 0 };
	uint64_t id;
	int err;

	fc_start(c);
	fc_file(c, "f", "hello");
	id = (uint64_t)fc_lookup(c, 1, "f");
	unlinkat(c->fd, "f", 0);
	symlinkat("/etc/passwd", c->fd, "f");
	err = fc_getattr(c, id, &a);
	ok(err == -ESTALE || (!err && S_ISREG(a.mode) && a.size == 5),
	   "GETATTR sees the old inode or none");
	err = (int)fc_open(c, id, O_RDONLY);
	ok(err == -ESTALE || (err > 0 && fc_read(c, id, 1, 0, 10) == 5),
	   "OPEN too");
	ok(fc_lookup(c, 1, "f") != (int64_t)id, "the link is another node");
	fc_free(c);
}

static long
look_up_all(struct fc *c, int n)
{
	long good = 0;
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		good += fc_lookup(c, 1, name) > 1;
	}
	return good;
}

/* Where fds must be held, a guest that uses up what it may leaves some for
 * others. */
static void
test_greedy(void)
{
	struct fc *c = fc_new(NULL), *d;
	char name[32];

	c->set.inode_file_handles = CONF_HANDLES_NEVER;
	c->set.max_fds = 100;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fc_file(c, name, "");
	}
	fc_start(c);
	d = fc_guest(c);
	fc_init(d, 38, FC_ALL_FLAGS);
	is_int(look_up_all(c, 100), 75, "a greedy guest");
	is_int(fc_lookup(c, 1, "f99"), -ENFILE, "may hold no more");
	is_int(look_up_all(d, 100), 18, "another guest may");
	is_int(fc_create(d, 1, "new", O_RDWR, 0644, NULL), -ENFILE,
	       "it makes nothing that it could not hold");
	is_int(fc_stat(d, "new", &(struct stat){ 0 }), -ENOENT, "at all");
	fs_session_reset(c->session);
	fc_init(c, 38, FC_ALL_FLAGS);
	is_int(look_up_all(d, 100), 75, "what the first forgets, it may have");
	fc_end(d);
	fc_free(c);
}

/* A node is found by its name without a file being opened. */
static void
test_two_guests(void)
{
	struct fc *c = fc_new(NULL), *d;

	fc_start(c);
	fc_file(c, "f", "");
	d = fc_guest(c);
	fc_init(d, 38, FC_ALL_FLAGS);
	ok(fc_lookup(c, 1, "f") > 1 && fc_lookup(d, 1, "f") > 1,
	   "two guests of a share");
	fc_forget(c, (uint64_t)fc_lookup(c, 1, "f"), UINT64_MAX);
	is_int(fc_info(c).nodes, 0, "one forgets");
	is_int(fc_info(d).nodes, 1, "the other does not");
	fs_session_reset(c->session);
	is_int(fc_getattr(c, 1, NULL), -EIO, "a reset device wants INIT");
	ok(fc_lookup(d, 1, "f") > 1, "the other goes on");
	fc_end(d);
	fc_free(c);
}

int
main(void)
{
	bool shm = !access("/dev/shm", W_OK);

	test_reuse(NULL, CONF_HANDLES_PREFER);
	test_reuse(NULL, CONF_HANDLES_NEVER);
	if (shm)
		test_reuse("/dev/shm", CONF_HANDLES_PREFER);
	test_equal_handles(NULL);
	test_deleted_chain(NULL, false);
	test_deleted_chain(NULL, true);
	test_named_again(NULL);
	if (shm)
		test_named_again("/dev/shm");
	test_replace(NULL);
	if (shm)
		test_replace("/dev/shm");
	test_fds(shm ? "/dev/shm" : NULL);
	test_dirs_last();
	test_cold_dir();
	if (shm) {
		test_space(CONF_HANDLES_PREFER);
		test_space(CONF_HANDLES_NEVER);
		test_sweep();
	}
	test_open_unlinked(CONF_HANDLES_PREFER);
	test_open_unlinked(CONF_HANDLES_NEVER);
	test_planted();
	test_two_guests();
	test_greedy();
	return tap_done();
}
