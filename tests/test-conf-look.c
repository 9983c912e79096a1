/* SPDX-License-Identifier: MIT */
/*
 * Directories that do not answer, as of a server that is gone: a
 * configuration is read all the same, in time, and says which.
 */
#include "config.h"

#include "tests/conf-try.h"
#include "tests/stallfs.h"

#include <dirent.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 300
#define LOADS 20

static struct stallfs *fs;

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int
count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	int n = -2;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

static int
load(unsigned patience_ms)
{
	char *path = try_path("c.conf");
	struct conf_source src = { .file = path, .patience_ms = patience_ms };
	int err;

	try_forget();
	err = conf_load(&src, &try_conf, &try_messages);
	free(path);
	return err;
}

static bool
is_said(const char *words)
{
	return try_messages && strstr(try_messages, words);
}

static void
test_dead(void)
{
	int64_t ms = now_ms();
	int threads;

	is_int(load(PATIENCE_MS), 0, "a directory that does not answer is no "
	       "mistake");
	ms = now_ms() - ms;
	ok(ms >= PATIENCE_MS && ms < PATIENCE_MS + 5000,
	   "it is waited for, %lld ms", (long long)ms);
	ok(is_said(":4: warning: [dead] path: ") &&
	   is_said("/dead: does not answer, and is not checked\n"),
	   "but a warning");
	ok(is_said(":6: warning: [below] path: "), "one below it, too");
	ok(is_said(":8: warning: [in] path: ") && is_said(" lies inside share "
							  "[out] ("),
	   "the others are checked");
	is_int(try_count_messages(), 3, "and nothing else");
	is_str(try_share("dead")->tag, "dead", "its share is there");

	threads = count_threads();
	ms = now_ms();
	for (int i = 0; i < LOADS; i++)
		load(5000);
	ms = now_ms() - ms;
	ok(ms < 5000, "whoever does not answer is not waited for again: %d "
	   "loads in %lld ms", LOADS, (long long)ms);
	is_int(try_count_messages(), 3, "but told of");
	/* The last that answered may be on its way out. */
	for (int i = 0; i < 500 && count_threads() > threads; i++)
		poll(NULL, 0, 10);
	is_int(count_threads(), threads, "and no thread is left by them");
}

static void
test_alive(void)
{
	int64_t end = now_ms() + 10000;

	stallfs_stop(fs);
	while (count_threads() > 1 && now_ms() < end)
		usleep(1000);
	is_int(count_threads(), 1, "when it answers nobody waits any more");
	is_int(load(5000), -EINVAL, "what it says counts");
	ok(is_said(":6: error: [below] path: "), "there is nothing below it");
	ok(!is_said("[dead]"), "and it is a directory");
}

int
main(void)
{
	char *path;
	int err;

	try_begin();
	try_mkdir("dead");
	try_mkdir("out");
	try_mkdir("out/in");
	try_write("c.conf", "[out]\npath = $D/out\n"
		  "[dead]\npath = $D/dead\n[below]\npath = $D/dead/below\n"
		  "[in]\npath = $D/out/in\n");
	path = try_path("dead");
	err = stallfs_start(path, &fs);
	free(path);
	if (err)
		tap_skip_all("cannot mount FUSE here");
	stallfs_stall(fs, STALLFS_ALL);
	test_dead();
	test_alive();
	return tap_done();
}
