/* SPDX-License-Identifier: MIT */
/*
 * Queue threads that sleep: what wakes them, and that nothing keeps them busy.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TIMES 20
#define IDLE_MS 400
#define HIPRIO 0

static struct daemon d;
static char text[1 << 16];

static struct guest *
come(const char *tag, unsigned nrings)
{
	struct guest_settings set = { .vm.nrings = nrings };
	char path[128], *why = NULL;
	struct guest *g;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why) ||
	    guest_init(g, NULL)) {
		ok(0, "%s: a guest comes: %s", tag, why ? why : "no INIT");
		daemon_stop(&d);
		exit(tap_done());
	}
	guest_set_timeout(g, 2000);
	return g;
}

/* How often kicks have ended a sleep on that queue of the only guest. */
static long
kicks(const char *tag, unsigned queue)
{
	char line[128], want[32];
	const char *p;

	snprintf(line, sizeof(line), "read shares/%s/clients", tag);
	snprintf(want, sizeof(want), ".queue.%u ", queue);
	if (daemon_ctl(&d, line, text, sizeof(text)) ||
	    !(p = strstr(text, want)) || !(p = strstr(p, "kicks=")))
		return -1;
	return strtol(p + 6, NULL, 10);
}

/* Requests by queue `q`, each when the daemon has gone to sleep; how many were
 * answered. */
static int
wake_often(struct guest *g, unsigned q)
{
	struct fuse_attr_out a;
	int good = 0;

	guest_use_queue(g, q);
	for (int i = 0; i < TIMES; i++) {
		poll(NULL, 0, 2);
		good += guest_getattr(g, GUEST_ROOT, 0, &a) == 0;
	}
	return good;
}

/* The same on the hiprio queue. */
static int
forget_often(struct guest *g)
{
	int good = 0;

	for (int i = 0; i < TIMES; i++) {
		poll(NULL, 0, 2);
		good += guest_forget(g, 12345, 1) >= 0;
	}
	return good;
}

/* Does the daemon sleep while no guest wants anything? */
static void
sleeps(const char *when)
{
	long cpu = daemon_cpu_ms(&d);

	poll(NULL, 0, IDLE_MS);
	cpu = daemon_cpu_ms(&d) - cpu;
	if (!ok(cpu < IDLE_MS / 2, "%s: the daemon sleeps", when))
		printf("# %ld ms of %d\n", cpu, IDLE_MS);
}

/* The machine goes on with another kick fd, or -1. */
static void
kick_by(struct guest *g, unsigned queue, int fd, const char *what)
{
	struct vm *vm = guest_vm(g);

	vm_ring_stop(vm, queue);
	if (vm->ring[queue].kick >= 0)
		close(vm->ring[queue].kick);
	vm->ring[queue].kick = fd;
	is_int(vm_ring_start(vm, queue), 0, "queue %u: %s", queue, what);
}

static int
new_kick(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* One that can be read for ever. */
static int
endless_kick(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	uint64_t many = UINT64_C(1) << 40;

	if (write(fd, &many, sizeof(many)) < 0)
		ok(0, "an eventfd");
	return fd;
}

static void
test_kicks(const char *tag)
{
	struct guest *g = come(tag, 2);
	long was = kicks(tag, 1);

	is_int(wake_often(g, 1), TIMES, "%s: each kick wakes it", tag);
	ok(kicks(tag, 1) - was >= TIMES / 2, "%s: kicks are counted", tag);
	was = kicks(tag, HIPRIO);
	is_int(forget_often(g), TIMES, "%s: each kick of hiprio does", tag);
	ok(kicks(tag, HIPRIO) - was >= TIMES / 2, "%s: they are counted", tag);
	sleeps(tag);
	kick_by(g, HIPRIO, new_kick(), "another kick");
	is_int(forget_often(g), TIMES, "hiprio: wakes it as well");
	kick_by(g, 1, new_kick(), "another kick");
	is_int(wake_often(g, 1), TIMES, "queue 1: wakes it as well");
	is_int(forget_often(g), TIMES, "hiprio: still does");
	guest_close(g);
}

/* Hiprio goes to the thread of another queue when its own ends. */
static void
test_moves(const char *tag)
{
	struct guest *g = come(tag, 3);

	is_int(wake_often(g, 2), TIMES, "%s: a second queue", tag);
	for (unsigned q = 1; q <= 2; q++) {
		vm_ring_stop(guest_vm(g), q);
		is_int(forget_often(g), TIMES, "hiprio without queue %u", q);
		vm_ring_start(guest_vm(g), q);
		is_int(wake_often(g, q), TIMES, "queue %u is back", q);
		is_int(forget_often(g), TIMES, "hiprio is there");
	}
	sleeps("afterwards");
	guest_close(g);
}

static void
test_no_kick(const char *tag)
{
	struct guest *g = come(tag, 2);

	kick_by(g, 1, -1, "no kick");
	is_int(wake_often(g, 1), TIMES, "is looked at");
	is_int(forget_often(g), TIMES, "hiprio: is woken");
	kick_by(g, HIPRIO, -1, "no kick");
	is_int(wake_often(g, 1), TIMES, "both are looked at");
	is_int(forget_often(g), TIMES, "hiprio, too");
	sleeps("no kick");
	kick_by(g, 1, new_kick(), "a kick again");
	is_int(wake_often(g, 1), TIMES, "it is woken");
	is_int(forget_often(g), TIMES, "hiprio is looked at");
	kick_by(g, HIPRIO, new_kick(), "a kick again");
	is_int(forget_often(g), TIMES, "and woken");
	guest_close(g);
}

static void
test_endless(const char *tag)
{
	struct guest *g = come(tag, 2);

	kick_by(g, 1, endless_kick(), "a kick that is never empty");
	kick_by(g, HIPRIO, endless_kick(), "one, too");
	sleeps("never empty");
	is_int(wake_often(g, 1), TIMES, "each kick wakes it");
	is_int(forget_often(g), TIMES, "hiprio: as well");
	guest_close(g);
}

/* Requests wait for the limit, hiprio does not. */
static void
test_held(const char *tag)
{
	struct guest *g = come(tag, 2);
	struct fuse_getattr_in in = { 0 };
	struct guest_req req = {
		.opcode = FUSE_GETATTR, .nodeid = GUEST_ROOT,
		.in = { { &in, sizeof(in) } },
		.room = sizeof(struct fuse_attr_out),
	};
	struct fuse_attr_out a;
	int id[10], good = 0;
	int64_t begin;

	guest_set_timeout(g, 10000);
	begin = test_now_ms();
	for (int i = 0; i < 10; i++)
		id[i] = guest_send(g, &req);
	is_int(forget_often(g), TIMES, "%s: hiprio is served", tag);
	for (int i = 0; i < 10; i++)
		good += guest_wait(g, id[i], &a) > 0;
	is_int(good, 10, "%s: and requests in their time", tag);
	ok(test_now_ms() - begin >= 500, "%s: which is as long as it should",
	   tag);
	guest_close(g);
}

int
main(void)
{
	static const char *const tags[] = { "asleep", "polls", "held", NULL };
	static const char keys[] =
		"[asleep]\npoll_us = 0\n"
		"[held]\npoll_us = 0\niops_limit = 10\n";
	struct daemon_use before;

	daemon_start(&d, tags, keys);
	daemon_use(&d, &before);
	for (int i = 0; i < 2; i++) {
		test_kicks(tags[i]);
		test_moves(tags[i]);
		test_no_kick(tags[i]);
		test_endless(tags[i]);
	}
	test_held("held");
	daemon_settles(&d, &before, 5000, "at the end");
	daemon_stop(&d);
	return tap_done();
}
