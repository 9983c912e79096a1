/* SPDX-License-Identifier: MIT */
/*
 * casefold/index.c, watch.c: changes that others make on the host are seen at
 * once, whatever kind they are, with and without watches, on the file system
 * of the tests and on tmpfs.
 */
#include "config.h"

#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "casefold/index.h"
#include "tests/casefold-test.h"

static struct cf_share *share;
static const char *how;
static int fd, fd2;		/* the directory, and one beside it */

/* ------------------------------------------------------------------ */
/* T30: every way in which a name can come. */

static void
add_create(const char *name)
{
	touch(fd, name);
}

static void
add_mkdir(const char *name)
{
	if (mkdirat(fd, name, 0755))
		bail("mkdir");
}

static void
add_symlink(const char *name)
{
	if (symlinkat("x", fd, name))
		bail("symlink");
}

static void
add_mknod(const char *name)
{
	if (mkfifoat(fd, name, 0644))
		bail("mkfifo");
}

static void
add_link(const char *name)
{
	if (linkat(fd2, "0", fd, name, 0))
		bail("link");
}

static void
add_tmpfile(const char *name)
{
	char path[64];
	int n = openat(fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

	if (n < 0) {
		touch(fd, name);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", n);
	if (linkat(AT_FDCWD, path, fd, name, AT_SYMLINK_FOLLOW))
		bail("linkat of O_TMPFILE");
	close(n);
}

static void
add_rename_in(const char *name)
{
	touch(fd2, "1");
	if (renameat(fd2, "1", fd, name))
		bail("rename");
}

static void
add_rename_within(const char *name)
{
	touch(fd, "1");
	if (renameat(fd, "1", fd, name))
		bail("rename");
}

static void
add_exchange(const char *name)
{
	touch(fd, name);
	touch(fd2, "1");
	if (renameat2(fd, name, fd2, "1", RENAME_EXCHANGE))
		bail("exchange");
	unlinkat(fd2, "1", 0);
}

static void
add_rename_case(const char *name)
{
	char other[CF_NAME_MAX + 1];

	strcpy(other, name);
	other[0] ^= 0x20;
	touch(fd, other);
	find(share, fd, name);
	if (renameat(fd, other, fd, name))
		bail("rename");
}

static const struct {
	const char *what;
	void (*run)(const char *name);
} additions[] = {
	{ "create", add_create },
	{ "mkdir", add_mkdir },
	{ "symlink", add_symlink },
	{ "mknod", add_mknod },
	{ "link", add_link },
	{ "O_TMPFILE and linkat", add_tmpfile },
	{ "rename from elsewhere", add_rename_in },
	{ "rename within", add_rename_within },
	{ "exchange", add_exchange },
	{ "change of case", add_rename_case },
};

static void
take_away(const char *name)
{
	if (unlinkat(fd, name, 0) && unlinkat(fd, name, AT_REMOVEDIR))
		bail(name);
}

static void
test_additions(void)
{
	int count = (int)tap_scaled(100), missed, ghosts;
	char name[32], asked[32];

	for (size_t k = 0; k < sizeof(additions) / sizeof(*additions); k++) {
		missed = ghosts = 0;
		for (int i = 0; i < count; i++) {
			snprintf(name, sizeof(name), "%cile%d",
				 i % 2 ? 'f' : 'F', i);
			snprintf(asked, sizeof(asked), "FILE%d", i);
			ghosts += strcmp(find(share, fd, asked), "") != 0;
			additions[k].run(name);
			missed += strcmp(find(share, fd, asked), name) != 0;
			if (i % 3)
				take_away(name);
		}
		is_int(missed, 0, "%s: T30 %s: seen at once", how,
		       additions[k].what);
		is_int(ghosts, 0, "%s: T30 %s: nothing before", how,
		       additions[k].what);
		empty_dir(fd);
	}
}

/* ------------------------------------------------------------------ */

static void
test_overflow(void)
{
	uint64_t before = stats_of(share).overflows;
	char name[32];
	int n = 17000;
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	if (!f || fscanf(f, "%d", &n) != 1 || n > 20000) {
		tap_skip("T32 overflow", "the queue of inotify is too long");
		if (f)
			fclose(f);
		return;
	}
	fclose(f);
	find(share, fd, "nothing");
	for (int i = 0; i <= n / 2 + 1; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		touch(fd, name);
		unlinkat(fd, name, 0);
	}
	touch(fd, "Last");
	is_str(find(share, fd, "LAST"), "Last", "%s: T32 overflow", how);
	touch(fd, "More");
	is_str(find(share, fd, "MORE"), "More", "%s: T32 and after it", how);
	if (!strcmp(how, "watched"))
		is_int(stats_of(share).overflows, before + 1, "%s: T32 counted",
		       how);
	empty_dir(fd);
}

/* T37: the directory itself is moved, removed, made again. */
static void
test_replaced(void)
{
	char name[32];
	int bad = 0, sub, sub2;

	for (int i = 0; i < 50; i++) {
		if (mkdirat(fd, "sub", 0755))
			bail("mkdir");
		sub = openat(fd, "sub", O_PATH | O_CLOEXEC);
		snprintf(name, sizeof(name), "Name%d", i);
		touch(sub, name);
		bad += strcmp(find(share, sub, "name0"), i ? "" : "Name0") != 0;
		if (renameat(fd, "sub", fd, "moved"))
			bail("rename");
		touch(sub, "More");
		bad += strcmp(find(share, sub, "MORE"), "More") != 0;
		empty_dir(fd);
		bad += strcmp(find(share, sub, "MORE"), "") != 0;
		bad += strcmp(find(share, sub, "xyz"), "") != 0;
		if (i % 2) {
			close(sub);
			continue;
		}
		if (mkdirat(fd, "sub", 0755))
			bail("mkdir");
		sub2 = openat(fd, "sub", O_PATH | O_CLOEXEC);
		bad += strcmp(find(share, sub2, "MORE"), "") != 0;
		touch(sub2, "more");
		bad += strcmp(find(share, sub2, "MORE"), "more") != 0;
		bad += strcmp(find(share, sub, "MORE"), "") != 0;
		close(sub);
		close(sub2);
		empty_dir(fd);
	}
	is_int(bad, 0, "%s: T37 a directory moved, removed, made again", how);
}

/* T37: a directory that goes while others look into it. */

struct looker {
	pthread_t thread;
	int fd;
	atomic_bool gone, stop;
	long looks, wrong;
};

static void *
look(void *arg)
{
	struct looker *l = arg;

	while (!l->stop) {
		const char *real = find(share, l->fd, "KEEP");
		bool bad = strcmp(real, "Keep") && (*real || !l->gone);

		l->wrong += bad;
		if (bad && l->wrong < 3)
			printf("# got \"%s\"\n", real);
		l->wrong += strcmp(find(share, l->fd, "none"), "") != 0;
		l->looks++;
	}
	return NULL;
}

static void
remove_under(struct looker *l, const char *name)
{
	char file[32];

	l->gone = l->stop = false;
	l->fd = openat(fd, name, O_PATH | O_CLOEXEC);
	pthread_create(&l->thread, NULL, look, l);
	for (int i = 0; i < 100; i++) {
		snprintf(file, sizeof(file), "Name%d", i);
		unlinkat(l->fd, file, 0);
	}
	l->gone = true;
	unlinkat(l->fd, "Keep", 0);
	if (unlinkat(fd, name, AT_REMOVEDIR))
		bail("rmdir");
	if (strcmp(find(share, l->fd, "KEEP"), ""))
		l->wrong++;
	l->stop = true;
	pthread_join(l->thread, NULL);
	close(l->fd);
}

static void
test_removed(void)
{
	struct looker l = { .looks = 0 };
	char name[32];
	int sub;

	for (int i = 0; i < 50; i++) {
		if (mkdirat(fd, "sub", 0755))
			bail("mkdir");
		sub = openat(fd, "sub", O_PATH | O_CLOEXEC);
		touch(sub, "Keep");
		for (int j = 0; j < 100; j++) {
			snprintf(name, sizeof(name), "Name%d", j);
			touch(sub, name);
		}
		close(sub);
		remove_under(&l, "sub");
	}
	is_int(l.wrong, 0, "%s: T37 directories removed under %ld looks", how,
	       l.looks);
}

/* Until its stamp has aged, a directory without a watch is read each time. */
static void
wait_settled(void)
{
	struct timespec tick = { 0, 20000000 };
	uint64_t scans = 0;

	for (int i = 0; i < 500 && stats_of(share).scans != scans; i++) {
		nanosleep(&tick, NULL);
		find(share, fd, "nothing");
		scans = stats_of(share).scans;
		find(share, fd, "nothing");
	}
}

static void
test_scans(void)
{
	struct cf_stats before, after;
	char name[32];

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "File%d", i);
		touch(fd, name);
	}
	wait_settled();
	before = stats_of(share);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "FILE%d", i * 2);
		find(share, fd, name);
	}
	after = stats_of(share);
	is_int(after.scans - before.scans,
	       cf_fs_of(fd) == CF_FS_LOCAL ? 0 : 100, "%s: nothing changed, no scan, but of a remote directory", how);
	is_int(after.hits - before.hits, 50, "%s: hits", how);
	is_int(after.misses - before.misses, 50, "%s: misses", how);
	empty_dir(fd);
}

/* T16: a directory in which the kernel folds names itself (chattr +F). */
static void
test_native(void)
{
	int sub, flags = 0x40000000;	/* FS_CASEFOLD_FL */
	uint64_t scans = stats_of(share).scans;

	if (mkdirat(fd, "native", 0755))
		bail("mkdir");
	sub = openat(fd, "native", O_RDONLY | O_CLOEXEC);
	if (ioctl(sub, FS_IOC_SETFLAGS, &flags)) {
		tap_skip("T16", "the kernel does not fold names here");
	} else {
		is_str(find(share, sub, "foo"), "", "%s: T16 +F: none", how);
		touch(sub, "Foo");
		is_str(find(share, sub, "fOO"), "fOO",
		       "%s: T16 +F: the kernel finds it", how);
		is_str(find(share, sub, "bar"), "", "%s: T16 +F: no other",
		       how);
		is_int(stats_of(share).scans, scans, "%s: T16 +F: not read",
		       how);
		is_int(change_name(share, sub, "FOO", sub, "Bar", 0), 0,
		       "%s: T16 +F: renamed", how);
		is_str(find(share, sub, "bar"), "bar", "%s: T16 +F: found",
		       how);
		is_str(find(share, sub, "foo"), "", "%s: T16 +F: gone", how);
	}
	close(sub);
	empty_dir(fd);
}

static void
test_all(const char *name, const char *where, unsigned watches)
{
	struct cf_settings set;

	if (begin_dir(where)) {
		tap_skip(name, strerror(errno));
		return;
	}
	cf_settings_init(&set, CF_NT);
	set.max_watches = watches;
	share = new_share(&set, NULL);
	how = name;
	fd = new_dir("a");
	fd2 = new_dir("b");
	touch(fd2, "0");
	test_additions();
	if (cf_fs_of(fd) == CF_FS_LOCAL) {
		test_overflow();
		test_replaced();
		test_removed();
		test_native();
	}
	test_scans();
	cf_share_free(share);
	close(fd);
	close(fd2);
	end_dir();
}

/* ------------------------------------------------------------------ */
/* Bounds: T33 fewer watches than directories, and less memory. */

static void
test_bounds(unsigned watches, uint64_t ram)
{
	struct cf_settings set;
	struct cf_info info;
	int dirs[40], bad = 0;
	char name[32];

	begin_dir(NULL);
	cf_settings_init(&set, CF_NT);
	set.max_watches = watches;
	set.ram_max = ram;
	share = new_share(&set, NULL);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		dirs[i] = new_dir(name);
		for (int j = 0; j < 50; j++) {
			snprintf(name, sizeof(name), "File%d", j);
			touch(dirs[i], name);
		}
	}
	for (int turn = 0; turn < 200; turn++) {
		int d = dirs[turn * 7 % 40];

		snprintf(name, sizeof(name), "New%d", turn);
		touch(d, name);
		name[0] = 'N';
		name[1] = 'E';
		bad += strncmp(find(share, d, name), "New", 3) != 0;
		bad += strcmp(find(share, d, "file7"), "File7") != 0;
		bad += strcmp(find(share, d, "file99"), "") != 0;
	}
	cf_share_info(share, &info);
	is_int(bad, 0, "T33 %u watches, %llu KiB: right answers", watches,
	       (unsigned long long)ram >> 10);
	ok(info.watches <= watches, "T33 %u watches at most", watches);
	ok(info.memory <= ram || info.directories <= 1,
	   "%llu bytes of memory at most (%llu)", (unsigned long long)ram,
	   (unsigned long long)info.memory);
	for (int i = 0; i < 40; i++)
		close(dirs[i]);
	cf_share_free(share);
	end_dir();
}

/* ------------------------------------------------------------------ */
/* T36: a file system that others change, seen through its time to live. */

static void
test_remote(uint64_t ttl_us)
{
	struct timespec past = { 0, 60000000 };
	struct cf_settings set;
	struct cf_index *index;
	struct cf_dir dir;

	begin_dir(NULL);
	cf_settings_init(&set, CF_NT);
	set.max_watches = 0;
	set.neg_ttl_us = ttl_us;
	share = new_share(&set, NULL);
	fd = new_dir("a");
	find(share, fd, "foo");
	cf_dir_init(&dir, fd);
	if (cf_index_get(share, &dir, &index))
		bail("cf_index_get");
	index->fs = CF_FS_REMOTE;	/* as if; until it is read again */
	touch(fd, "Foo");
	is_str(find(share, fd, "FOO"), ttl_us ? "" : "Foo",
	       "T36, I4 a scan counts for %llu us", (unsigned long long)ttl_us);
	nanosleep(&past, NULL);
	is_str(find(share, fd, "FOO"), "Foo", "T36 and no longer");
	cf_index_put(index);
	close(fd);
	cf_share_free(share);
	end_dir();
}

/* Where to, or everywhere. */
int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		test_all("watched", argv[i], 8192);
		test_all("not watched", argv[i], 0);
	}
	if (argc > 1)
		return tap_done();
	test_all("watched", NULL, 8192);
	test_all("not watched", NULL, 0);
	test_all("tmpfs, watched", "/dev/shm", 8192);
	test_all("tmpfs, not watched", "/dev/shm", 0);
	test_bounds(8192, 64 << 20);
	test_bounds(3, 64 << 20);
	test_bounds(0, 64 << 20);
	test_bounds(8192, 20000);
	test_remote(0);
	test_remote(50000);
	return tap_done();
}
