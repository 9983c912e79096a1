/* SPDX-License-Identifier: MIT */
/*
 * A configuration that names a directory whose server is gone: the daemon
 * starts, and reloads, and says so.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/stallfs.h"
#include "tests/tap.h"

#include <sys/stat.h>
#include <unistd.h>

static struct daemon d;
static char text[1 << 16];

static void
test_reload(const char *keys, const char *want)
{
	int64_t ms;

	daemon_keys(&d, keys);
	ms = test_now_ms();
	ok(!daemon_ctl(&d, "write ctl reload", text, sizeof(text)), "a reload");
	ms = test_now_ms() - ms;
	ok(strstr(text, "/dead: does not answer") != NULL,
	   "names the directory");
	ok(strstr(text, want) != NULL, "and goes on: %s", want);
	ok(ms < 4000, "after %lld ms", (long long)ms);
}

int
main(void)
{
	static const char *const tags[] = { "local", NULL };
	char dir[] = "/tmp/gatewayd-dead-XXXXXX", path[64];
	char keys[128], more[256];
	struct stallfs *fs;
	struct daemon_use use;

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/dead", dir);
	mkdir(path, 0755);
	if (stallfs_start(path, &fs)) {
		rmdir(path);
		rmdir(dir);
		tap_skip_all("cannot mount FUSE here");
	}
	stallfs_stall(fs, STALLFS_ALL);
	snprintf(keys, sizeof(keys), "[off]\nenabled = no\npath = %s\n", path);
	daemon_start(&d, tags, keys);
	ok(daemon_number(&d, "stats", "shares") > 0, "the daemon starts");
	ok(daemon_log_wait(&d, 0, "[off] path: ", "does not answer", 1,
			   1000) == 1, "and its log says what is wrong");
	snprintf(more, sizeof(more), "%s[more]\npath = /usr/lib\n", keys);
	test_reload(more, "more: added");
	test_reload(keys, "more: removed");
	/* The kernel lets no process end that waits for a FUSE server. */
	daemon_use(&d, &use);
	use.threads = 1;
	stallfs_stop(fs);
	daemon_settles(&d, &use, 10000, "who looked at it comes back");
	daemon_stop(&d);
	rmdir(path);
	rmdir(dir);
	return tap_done();
}
