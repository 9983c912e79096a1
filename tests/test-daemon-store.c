/* SPDX-License-Identifier: MIT */
/*
 * The store of a tag while its disk does not answer (tests/lastsync.c), and
 * shares leave and come: the control thread does not wait, and what was
 * recorded is there.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/daemon.h"
#include "tests/stream.h"
#include "tests/tap.h"

#define WAIT_MS 10000

#define FIRST "write shares/again/state \"file\" uid=6"

static struct daemon d;
static struct stream first;
static char section[300], hold[200], text[4096];

static void
control(const char *line, const char *want)
{
	int err = daemon_ctl(&d, line, text, sizeof(text));

	if (!ok(!err && strstr(text, want), "%s: %s", line, want))
		printf("# %d %s\n", err, text);
}

static void
make_file(const char *path)
{
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

static bool
exists_within(const char *path, int ms)
{
	while (access(path, F_OK) && ms-- > 0)
		usleep(1000);
	return !access(path, F_OK);
}

/* The file `hold` is made and waited for. */
static const char *
held(void)
{
	static char path[220];

	snprintf(path, sizeof(path), "%s.held", hold);
	return path;
}

static void
make_hold(void)
{
	unlink(held());
	make_file(hold);
}

static void
is_held(const char *what)
{
	ok(exists_within(held(), WAIT_MS), "the store waits for its disk%s",
	   what);
}

/* From now on the store's next sync does not end. */
static void
hold_disk(const char *change)
{
	/* The first change since it was opened waits for the disk, too. */
	if (change)
		control("write shares/again/state \"file\" uid=1", "");
	make_hold();
	if (change)
		control(change, "");
	else
		stream_open(&first, &d, FIRST);
	is_held("");
}

static void
leave(void)
{
	daemon_keys(&d, NULL);
	control("write ctl reload", "again: removed");
}

static void
come(const char *keys, const char *want)
{
	char more[400];

	snprintf(more, sizeof(more), "%s%s", section, keys);
	daemon_keys(&d, more);
	control("write ctl reload", want);
}

/* The same, but the answer comes later. */
static void
begin_to_come(struct stream *reload)
{
	daemon_keys(&d, section);
	stream_open(reload, &d, "write ctl reload");
}

static void
comes(struct stream *reload, const char *want)
{
	const char *line = stream_line(reload, WAIT_MS);

	if (line && !strncmp(line, "ok ", 3))
		line = stream_line(reload, WAIT_MS);
	if (!ok(line && strstr(line, want), "then: %s", want))
		printf("# %s\n", line ? line : "nothing");
	close(reload->fd);
}

static void
is_there(const char *row)
{
	control("read shares/again/state", row);
}

/* The first row of all: the file is made, and who changes must wait. */
static void
test_first(void)
{
	const char *line;

	hold_disk(NULL);
	control("read shares/again/status", "again");
	leave();
	come("", "again: added");
	control("read shares/again/stats", "state_");
	unlink(hold);
	line = stream_line(&first, WAIT_MS);
	ok(line && !strncmp(line, "ok", 2), "the row is written");
	close(first.fd);
	is_there("uid=6");
}

static void
test_back(void)
{
	hold_disk("write shares/again/state \"file\" uid=7");
	leave();
	come("", "again: added");
	is_there("uid=7");
	unlink(hold);
	is_there("uid=7");
}

/* In and out more than once before the disk answers. */
static void
test_often(void)
{
	hold_disk("write shares/again/state \"file\" uid=8");
	for (int i = 0; i < 3; i++) {
		leave();
		come("", "again: added");
	}
	leave();
	unlink(hold);
	come("", "again: added");
	is_there("uid=8");
}

/* What it still has to sync is synced. */
static void
test_sync(void)
{
	long syncs;

	hold_disk("write shares/again/state \"file\" uid=9");
	syncs = daemon_number(&d, "shares/again/stats", "state_syncs");
	leave();
	come("", "again: added");
	unlink(hold);
	for (int i = 0; i < WAIT_MS && syncs >= 0; i++) {
		if (daemon_number(&d, "shares/again/stats", "state_syncs") >
		    syncs)
			syncs = -2;
		usleep(1000);
	}
	is_int(syncs, -2, "it is synced");
}

/* It is being closed when the share comes back. */
static void
test_close(void)
{
	struct stream reload;

	control("write shares/again/state \"file\" uid=10", "");
	make_hold();
	leave();
	is_held(", to close");
	begin_to_come(&reload);
	control("read version", "");
	control("read shares/one/status", "one");
	unlink(hold);
	comes(&reload, "again: added");
	is_there("uid=10");
}

static void
test_open(void)
{
	struct stream reload;
	size_t len = strlen(hold);

	leave();
	strcpy(hold + len, ".open");
	make_hold();
	begin_to_come(&reload);
	is_held(", to open");
	control("read version", "");
	control("read shares/one/status", "one");
	unlink(hold);
	comes(&reload, "again: added");
	is_there("uid=10");

	leave();
	make_hold();
	begin_to_come(&reload);
	comes(&reload, "state does not answer");
	unlink(hold);
	come("", "again: added");
	is_there("uid=10");
	unlink(held());
	hold[len] = '\0';
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	char path[220];

	umask(0);
	daemon_preload("lastsync.so");
	snprintf(hold, sizeof(hold), "/tmp/gatewayd-hold-%d", (int)getpid());
	setenv("LASTSYNC_HOLD", hold, 1);
	daemon_start(&d, tags, NULL);
	unsetenv("LD_PRELOAD");
	snprintf(path, sizeof(path), "%s/again", d.work);
	mkdir(path, 0777);
	snprintf(section, sizeof(section),
		 "[again]\npath = %s\nowners = store\n", path);
	strcat(path, "/file");
	make_file(path);
	come("", "again: added");
	test_first();
	test_back();
	test_often();
	test_sync();
	test_close();
	test_open();
	unlink(hold);
	d.forgiven = "reload";
	daemon_stop(&d);
	unlink(held());
	return tap_done();
}
