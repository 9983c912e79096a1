/* SPDX-License-Identifier: MIT */
/*
 * export_support with max_clients = 1: the next guest goes on with what the one
 * before it knew, under the rights of now, and over what a share's files and
 * connections go through.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"
#include "tests/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS "[one]\nexport_support = yes\nmax_clients = 1\n"

enum {
	END_MS = 10000,
	BAD_REQUEST = 9999,
};

static struct daemon d;
static uint64_t file;

static struct guest *
come(uint64_t flags)
{
	struct guest_settings set = { .kind = GUEST_LINUX };
	struct fuse_init_out init;
	struct guest *g = NULL;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, "one", path), &set, &g, &why) ||
	    guest_init_flags(g, flags, &init)) {
		ok(0, "a guest: %s", why ? why : guest_why(g));
		exit(tap_done());
	}
	return g;
}

static void
go(struct guest *g)
{
	guest_close(g);
	if (!daemon_has_sessions(&d, "one", 0, END_MS))
		ok(0, "a guest does not end");
}

static int
by_id(struct guest *g, uint64_t id)
{
	struct fuse_entry_out e;
	int err = guest_lookup(g, id, ".", &e);

	return err ? err : e.nodeid == id ? 0 : -ENOENT;
}

/* Look the file up and forget it. */
static void
see(struct guest *g)
{
	struct fuse_entry_out e;

	is_int(guest_lookup(g, GUEST_ROOT, "f", &e), 0, "a file is seen");
	file = e.nodeid;
	guest_forget(g, file, 1);
}

/* What the next guest has of it. */
static void
next_finds(int want, const char *when)
{
	struct guest *g = come(FUSE_EXPORT_SUPPORT);

	is_int(by_id(g, file), want, "%s", when);
	go(g);
}

static void
ctl(const char *line)
{
	char answer[4096];

	is_int(daemon_ctl(&d, line, answer, sizeof(answer)), 0, "%s", line);
}

static void
test_leaves(void)
{
	struct guest *g = come(FUSE_EXPORT_SUPPORT);
	uint64_t body = 0;

	see(g);
	is_int(by_id(g, file), 0, "it is found by its id");
	go(g);
	next_finds(0, "by the next guest, too");
	g = come(FUSE_EXPORT_SUPPORT);
	vm_send(guest_vm(g), BAD_REQUEST, 1, &body, sizeof(body), NULL,
		0);
	ok(vm_is_hung_up(guest_vm(g), END_MS), "one breaks the protocol");
	go(g);
	next_finds(0, "by the one after it");
}

static void
test_rights(void)
{
	struct guest *g;
	uint64_t fh;

	daemon_keys(&d, KEYS "readonly = yes\n");
	ctl("write ctl reload");
	g = come(FUSE_EXPORT_SUPPORT);
	is_int(by_id(g, file), 0, "found in a share that is read-only now");
	is_int(guest_open_file(g, file, O_RDWR, &fh), -EROFS, "and so is it");
	go(g);
	daemon_keys(&d, KEYS "translate_uid = map:0:1000:1000\n");
	ctl("write ctl reload");
	next_finds(-ESTALE, "not with other owners");
}

static void
test_ends(void)
{
	struct guest *g = come(FUSE_EXPORT_SUPPORT);

	see(g);
	go(g);
	ctl("write shares/one/ctl disable");
	ctl("write shares/one/ctl enable");
	next_finds(-ESTALE, "not in a share that was disabled");
	g = come(FUSE_EXPORT_SUPPORT);
	see(g);
	ctl("write shares/one/ctl disable");
	go(g);
	ctl("write shares/one/ctl enable");
	next_finds(-ESTALE, "nor one that was when the guest left");
	g = come(FUSE_EXPORT_SUPPORT);
	see(g);
	go(g);
	g = come(0);
	go(g);
	next_finds(-ESTALE, "nor when a guest between asked for no handles");
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	char path[512];
	int fd;

	daemon_start(&d, tags, KEYS);
	fd = open(daemon_file(&d, "one", "f", path), O_CREAT | O_WRONLY, 0644);
	close(fd);
	test_leaves();
	test_rights();
	test_ends();
	daemon_stop(&d);
	return tap_done();
}
