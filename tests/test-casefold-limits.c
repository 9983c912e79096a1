/* SPDX-License-Identifier: MIT */
/*
 * What the host refuses to casefold/: inotify watches and instances (T33), room
 * for cache.db, writing to it, and its lock (T45).  Answers stay right, and what
 * was refused is used when it is to be had again.  And what it mounts: T38.
 *
 * The limits are those of a user namespace of the test's own, so they are real
 * and nobody else meets them.
 */
#include "config.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "casefold/index.h"
#include "tests/casefold-test.h"

enum { DIRS = 12, NAMES = 400 };

static struct cf_share *share;
static char cache_dir[PATH_MAX - 16];
static int told, dir_fd;

static bool
put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

static void
enter_namespace(void)
{
	char uid[32], gid[32];

	snprintf(uid, sizeof(uid), "0 %u 1", geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) ||
	    !put_file("/proc/self/setgroups", "deny") ||
	    !put_file("/proc/self/uid_map", uid) ||
	    !put_file("/proc/self/gid_map", gid) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		tap_skip_all("no user namespaces here");
}

static void
limit(const char *what, const char *n)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/sys/user/max_inotify_%s", what);
	if (!put_file(path, n))
		bail(path);
}

static void
tell(void *arg, const char *why)
{
	(void)arg;
	printf("# %s\n", why);
	told++;
}

static void
start(const char *cache)
{
	struct cf_calls calls = { .cache = tell };
	struct cf_settings set;

	cf_settings_init(&set, CF_NT);
	set.tag = "tag";
	set.cache_dir = cache;
	told = 0;
	share = new_share(&set, &calls);
}

static void
work(void)
{
	struct timespec t = { 0, 10000000 };

	for (int i = 0; i < 300 && cf_share_work(share) >= 0; i++)
		nanosleep(&t, NULL);
}

static struct cf_info
info_of(void)
{
	struct cf_info info;

	cf_share_info(share, &info);
	return info;
}

/* Ask for names that are there, that are new, and that are not. */
static int
wrong_in(int fd, int round)
{
	char name[32], asked[32];
	int wrong = 0;

	snprintf(name, sizeof(name), "New %d", round);
	snprintf(asked, sizeof(asked), "nEW %d", round);
	wrong += strcmp(find(share, fd, asked), "") != 0;
	touch(fd, name);
	wrong += strcmp(find(share, fd, asked), name) != 0;
	unlinkat(fd, name, 0);
	wrong += strcmp(find(share, fd, asked), "") != 0;
	wrong += strcmp(find(share, fd, "fILE 7"), "File 7") != 0;
	return wrong;
}

static void
fill(int fd, int n)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "File %d", i);
		touch(fd, name);
	}
}

/* ------------------------------------------------------------------ */

static void
make_dirs(int *fd)
{
	char name[32];

	for (int i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		fd[i] = new_dir(name);
		fill(fd[i], 20);
	}
}

static int
wrong_in_all(const int *fd, int rounds)
{
	int wrong = 0;

	for (int i = 0; i < rounds * DIRS; i++)
		wrong += wrong_in(fd[i * 5 % DIRS], i);
	return wrong;
}

static void
test_watches(const int *fd)
{
	limit("watches", "3");
	start(NULL);
	is_int(wrong_in_all(fd, 5), 0, "T33 the kernel allows 3 watches");
	is_int(info_of().watches, 3, "T33 they are used");
	limit("watches", "1");
	is_int(wrong_in_all(fd, 5), 0, "T33 then no more");
	limit("watches", "1000");
	share->watch.full_us -= 3600 * 1000000ll;	/* an hour later */
	is_int(wrong_in_all(fd, 5), 0, "T33 then many");
	is_int(info_of().watches, DIRS, "T33 all are watched");
	cf_share_free(share);
}

static void
test_instances(const int *fd)
{
	limit("instances", "0");
	start(NULL);
	is_int(wrong_in_all(fd, 5), 0, "T33 no inotify at all");
	is_int(info_of().watches, 0, "T33 nothing is watched");
	limit("instances", "100");
	is_int(wrong_in_all(fd, 1), 0, "T33 it is not tried at once");
	is_int(info_of().watches, 0, "T33 but later");
	share->watch.full_us -= 3600 * 1000000ll;
	is_int(wrong_in_all(fd, 5), 0, "T33 then there is");
	is_int(info_of().watches, DIRS, "T33 all are watched");
	cf_share_free(share);
}

/* ------------------------------------------------------------------ */

static int
wrong_names(int step)
{
	char name[32], asked[32];
	int wrong = 0;

	for (int i = 0; i < NAMES; i += step) {
		snprintf(name, sizeof(name), "File %d", i);
		snprintf(asked, sizeof(asked), "fiLE %d", i);
		wrong += strcmp(find(share, dir_fd, asked), name) != 0;
		asked[0] = 'x';
		wrong += strcmp(find(share, dir_fd, asked), "") != 0;
	}
	return wrong;
}

/* Ask, write what can be written, and ask again after a restart. */
static int
wrong_with_cache(void)
{
	int wrong;

	start(cache_dir);
	wrong = wrong_names(3) + wrong_in(dir_fd, 1);
	work();
	wrong += wrong_names(7) + wrong_in(dir_fd, 2);
	work();
	cf_share_free(share);
	start(cache_dir);
	wrong += wrong_names(7) + wrong_in(dir_fd, 3);
	work();
	return wrong;
}

static bool
mount_cache(int flags, const char *options)
{
	return !mount("cache", cache_dir, "tmpfs", (unsigned long)flags,
		      options);
}

static void
test_disk(void)
{
	static const char *const sizes[] = { "size=4k", "size=64k", "size=112k",
					     "size=128k", "size=144k",
					     "size=160k", "size=192k" };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		if (!mount_cache(0, sizes[i]))
			bail("mount");
		is_int(wrong_with_cache(), 0, "T45 a full disk of %s",
		       sizes[i]);
		mount_cache(MS_REMOUNT, "size=16m");
		is_int(wrong_names(7), 0, "T45 then there is room");
		cf_share_free(share);
		is_int(wrong_with_cache(), 0, "T45 and a restart");
		ok(info_of().db && !told, "T45 cache.db is in use again");
		cf_share_free(share);
		umount2(cache_dir, MNT_DETACH);
	}
}

static void
test_read_only(void)
{
	if (!mount_cache(0, "size=16m"))
		bail("mount");
	is_int(wrong_with_cache(), 0, "a disk");
	cf_share_free(share);
	if (!mount_cache(MS_REMOUNT | MS_RDONLY, NULL))
		bail("remount");
	is_int(wrong_with_cache(), 0, "T45 a disk that is read-only");
	ok(told && !info_of().db, "T45 cache.db is not used, and that is told");
	cf_share_free(share);
	mount_cache(MS_REMOUNT, NULL);
	is_int(wrong_with_cache(), 0, "T45 then it is not");
	ok(!told && info_of().db && stats_of(share).warm,
	   "T45 and what it had is used");
	cf_share_free(share);
}

/* Another process has it, and goes away by and by. */
static void
test_locked(void)
{
	int ready[2], leave[2];
	pid_t pid;
	char byte;

	if (pipe(ready) || pipe(leave))
		bail("pipe");
	pid = fork();
	if (!pid) {
		start(cache_dir);
		find(share, dir_fd, "nothing");
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		close(leave[1]);
		_exit(read(leave[0], &byte, 1) != 0);
	}
	if (read(ready[0], &byte, 1) != 1)
		bail("the other process");
	is_int(wrong_with_cache(), 0, "T45 another process has cache.db");
	ok(told && !info_of().db, "T45 it is left alone, and that is told");
	cf_share_free(share);
	close(leave[1]);
	waitpid(pid, NULL, 0);
	is_int(wrong_with_cache(), 0, "T45 the process is gone");
	ok(!told && info_of().db, "T45 cache.db is ours");
	cf_share_free(share);
}

/* ------------------------------------------------------------------ */

static bool
mount_at(const char *from, const char *to, int flags)
{
	char path[2][PATH_MAX];

	snprintf(path[0], PATH_MAX, "%s/%s", top_dir, from);
	snprintf(path[1], PATH_MAX, "%s/%s", top_dir, to);
	return !mount(flags ? path[0] : from, path[1], "tmpfs",
		      (unsigned long)flags, NULL);
}

static int
open_sub(int fd, const char *name)
{
	int sub = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (sub < 0)
		bail(name);
	return sub;
}

/* One directory at two places, and another file system over a third. */
static void
test_mounts(void)
{
	int here = new_dir("here"), below, there_fd, over;
	char path[PATH_MAX];

	close(new_dir("there"));
	close(new_dir("over"));
	start(NULL);
	below = open_sub(top_fd, "over");
	touch(below, "Below");
	is_str(find(share, below, "BELOW"), "Below", "T38 below");
	if (!mount_at("here", "there", MS_BIND) || !mount_at("none", "over", 0))
		bail("mount");
	there_fd = open_sub(top_fd, "there");
	over = open_sub(top_fd, "over");
	is_str(find(share, there_fd, "FOO"), "", "T38 nothing yet");
	touch(here, "Foo");
	is_str(find(share, there_fd, "FOO"), "Foo",
	       "T38 one directory at two places");
	is_int(may_create(share, there_fd, "fOO"), CF_OTHER,
	       "T38 and one file there");
	is_str(find(share, over, "BELOW"), "", "T38 another one over it");
	touch(over, "Over");
	is_str(find(share, over, "OVER"), "Over", "T38 with names of its own");
	is_str(find(share, below, "OVER"), "", "T38 which the lower has not");
	snprintf(path, sizeof(path), "%s/over", top_dir);
	umount2(path, MNT_DETACH);
	close(over);
	over = open_sub(top_fd, "over");
	is_str(find(share, over, "BELOW"), "Below", "T38 it is gone again");
	is_str(find(share, over, "OVER"), "", "T38 with its names");
	snprintf(path, sizeof(path), "%s/there", top_dir);
	close(there_fd);
	umount2(path, MNT_DETACH);
	cf_share_free(share);
	close(here);
	close(below);
	close(over);
}

int
main(void)
{
	int fd[DIRS];

	enter_namespace();
	if (begin_dir(NULL))
		bail("begin_dir");
	make_dirs(fd);
	test_watches(fd);
	test_instances(fd);
	for (int i = 0; i < DIRS; i++)
		close(fd[i]);
	test_mounts();

	snprintf(cache_dir, sizeof(cache_dir), "%s/cache", top_dir);
	mkdir(cache_dir, 0700);
	dir_fd = new_dir("share");
	fill(dir_fd, NAMES);
	test_disk();
	test_read_only();
	test_locked();
	umount2(cache_dir, MNT_DETACH);
	close(dir_fd);
	end_dir();
	return tap_done();
}
