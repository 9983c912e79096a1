/* SPDX-License-Identifier: MIT */
/*
 * One share's storage hangs (tests/stallfs.h): another share and the control
 * socket are served on, hiprio of the hanging one drains, and its guest may
 * stop its rings, leave, be dropped, its share be changed; when the storage
 * answers again, nothing is lost and everything is given back.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/stallfs.h"
#include "tests/stream.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY 200		/* more than the pool takes of one share */
#define POOL_SHARE 16		/* its threads for one share */
#define WAIT_MS 30000
#define BIT(opcode) (UINT64_C(1) << (opcode))

static struct daemon d;
static struct stallfs *fs;
static struct daemon_use before;
static char text[1 << 16], mnt[64], keys[600];

static struct guest *
come(const char *tag)
{
	struct guest_settings set = {
		.kind = GUEST_LINUX, .nslots = MANY, .vm.ring_size = 512,
		.vm.timeout_ms = WAIT_MS,
	};
	char path[128], *why = NULL;
	struct guest *g = NULL;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why) ||
	    guest_init(g, NULL)) {
		ok(0, "%s: a guest comes: %s", tag, why ? why : "INIT");
		exit(tap_done());
	}
	return g;
}

/* The control socket answers; prints how long it took. */
static void
ctl_answers(const char *line, const char *when)
{
	int64_t t = test_now_ms();
	int err = daemon_ctl(&d, line, text, sizeof(text));

	ok(!err, "%s: \"%s\" is answered", when, line);
	printf("# %lld ms\n", (long long)(test_now_ms() - t));
}

/* Another share's guest is served, and the control socket too. */
static void
others_go_on(struct guest *other, const char *when)
{
	struct fuse_entry_out e;
	uint64_t fh = 0;
	char buf[64];
	int good = 0;

	for (int i = 0; i < 100; i++) {
		int r = guest_lookup(other, GUEST_ROOT, "file", &e);

		if (r >= 0 && !fh)
			r = guest_open_file(other, e.nodeid, O_RDONLY, &fh);
		if (r >= 0 &&
		    guest_read(other, e.nodeid, fh, 0, buf, sizeof(buf)) == 5)
			good++;
	}
	guest_release(other, e.nodeid, fh);
	is_int(good, 100, "%s: another share's guest is served", when);
	ctl_answers("read shares/slow/stats", when);
}

static int ids[MANY];
static int nids;

/* Requests that wait for the storage. */
static void
send_many(struct guest *g, int n)
{
	static const struct fuse_getattr_in in;
	struct guest_req req = {
		.opcode = FUSE_GETATTR, .nodeid = GUEST_ROOT,
		.in = { { (void *)(uintptr_t)&in, sizeof(in) } },
		.room = sizeof(struct fuse_attr_out),
	};

	for (nids = 0; nids < n; nids++)
		ids[nids] = guest_send(g, &req);
}

static void
all_come(struct guest *g, const char *when)
{
	struct fuse_attr_out a;
	int good = 0;

	for (int i = 0; i < nids; i++)
		good += guest_wait(g, ids[i], &a) == sizeof(a);
	is_int(good, nids, "%s: every request is answered", when);
}

/* ------------------------------------------------------------------ */

/* The storage counts an answer after it was given. */
static bool
was_asked(unsigned had)
{
	for (int ms = 0; ms < WAIT_MS; ms++) {
		if (stallfs_answered(fs, FUSE_GETATTR) > had)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

/* With "inline = yes" a queue thread may wait for the storage, and so has to
 * ask it. */
static void
test_asks(void)
{
	struct guest *g = come("waits");
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	unsigned asked;

	ok(guest_lookup(g, GUEST_ROOT, "f0", &e) >= 0, "inline: a file");
	asked = stallfs_answered(fs, FUSE_GETATTR);
	ok(guest_lookup(g, GUEST_ROOT, "f0", &e) >= 0, "looked up again");
	ok(was_asked(asked), "is as it is now");
	asked = stallfs_answered(fs, FUSE_GETATTR);
	ok(guest_getattr(g, e.nodeid, 0, &a) >= 0, "its attributes");
	ok(was_asked(asked), "are as they are now");
	guest_close(g);
	daemon_has_sessions(&d, "waits", 0, WAIT_MS);
}

static void
test_others(struct guest *g, struct guest *other)
{
	struct daemon_use use __attribute__((unused));
	uint64_t node;
	struct fuse_entry_out e;
	int64_t end;
	unsigned idx;

	ok(guest_lookup(g, GUEST_ROOT, "f0", &e) >= 0, "a file of the storage");
	node = e.nodeid;
	idx = guest_vm(g)->ring[0].last_used;
	stallfs_stall(fs, STALLFS_ALL);
	send_many(g, MANY - 1);
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "the storage hangs");
	/* As many as the pool and its list take; the rest is on the ring. */
	end = test_now_ms() + WAIT_MS;
	while (daemon_number(&d, "stats", "pool_waiting") < 100 &&
	       test_now_ms() < end)
		poll(NULL, 0, 10);
	others_go_on(other, "hanging");
	ok(stallfs_held(fs) <= POOL_SHARE,
	   "one share has %u threads of the pool", stallfs_held(fs));
	ok(guest_forget(g, node, 1) >= 0, "hanging: FORGET is taken");
	idx = (uint16_t)(guest_vm(g)->ring[0].last_used - idx);
	is_int(idx, 1, "and given back");
#ifndef WITH_SANITIZERS
	daemon_use(&d, &use);
	ok(use.rss_kib < before.rss_kib + 20480,
	   "and what waits takes little memory");
#endif
	stallfs_stall(fs, 0);
	all_come(g, "after it hung");
}

/* Data that waits for the storage takes memory of the guest, not of ours. */
static void
test_memory(struct guest *g)
{
	static char data[1 << 20];
	struct fuse_write_in in = { .size = sizeof(data) };
	struct guest_req req = {
		.opcode = FUSE_WRITE,
		.in = { { &in, sizeof(in) }, { data, sizeof(data) } },
		.room = sizeof(struct fuse_write_out),
	};
	struct fuse_entry_out e;
	struct daemon_use was, use;
	int good = 0, taken;

	guest_lookup(g, GUEST_ROOT, "f4", &e);
	guest_open_file(g, e.nodeid, O_RDWR, &in.fh);
	req.nodeid = e.nodeid;
	daemon_use(&d, &was);
	stallfs_stall(fs, STALLFS_ALL);
	for (nids = 0; nids < 120; nids++)
		ids[nids] = guest_send(g, &req);
	/* The kernel has one write of a file under way. */
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "120 MiB to write");
	for (int64_t end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
		taken = (int)daemon_number(&d, "shares/slow/stats", "inflight");
		if (taken >= 40)
			break;
		poll(NULL, 0, 10);
	}
	poll(NULL, 0, 100);
	taken = (int)daemon_number(&d, "shares/slow/stats", "inflight");
	ok(taken >= 40 && taken <= 56, "most stays on the ring");
	printf("# %d taken\n", taken);
	daemon_use(&d, &use);
#ifndef WITH_SANITIZERS
	ok(use.anon_kib < was.anon_kib + 64 * 1024, "and is not copied");
	printf("# %ld KiB, before %ld\n", use.anon_kib, was.anon_kib);
#endif
	ok(daemon_number(&d, "stats", "pool_threads") <=
	   daemon_number(&d, "stats", "pool_size"), "the pool is bounded");
	stallfs_stall(fs, 0);
	for (int i = 0; i < nids; i++)
		good += guest_wait(g, ids[i], NULL) > 0;
	is_int(good, nids, "all of it is written");
	guest_release(g, e.nodeid, in.fh);
}

/* A ring that stops does not wait for the storage, and loses nothing. */
static void
test_ring_stop(struct guest *g, struct guest *other)
{
	struct vm *vm = guest_vm(g);
	uint64_t fh;
	int id;

	stallfs_stall(fs, STALLFS_ALL);
	send_many(g, 30);
	stallfs_wait_held(fs, POOL_SHARE, WAIT_MS);
	ok(vm_ring_stop(vm, 1) >= 0, "hanging: a ring stops");
	others_go_on(other, "stopped");
	is_int(vm_ring_start(vm, 1), 0, "and starts");
	stallfs_stall(fs, 0);
	all_come(g, "answered after the start");

	stallfs_stall(fs, STALLFS_ALL);
	send_many(g, 30);
	stallfs_wait_held(fs, POOL_SHARE, WAIT_MS);
	ok(vm_ring_stop(vm, 1) >= 0, "hanging: it stops again");
	id = vm->ring[1].used->idx;
	stallfs_stall(fs, 0);
	for (int64_t end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
		if (!daemon_number(&d, "stats", "pool_waiting") &&
		    !stallfs_held(fs) &&
		    !daemon_ctl(&d, "read shares/slow/inflight", text,
				sizeof(text)) && !*text)
			break;
		poll(NULL, 0, 10);
	}
	is_int(vm->ring[1].used->idx, id, "stopped: the ring is left alone");
	is_int(vm_ring_start(vm, 1), 0, "it starts");
	all_come(g, "answered while it was stopped");

	/* A driver that begins anew wants nothing of before. */
	stallfs_stall(fs, STALLFS_ALL);
	send_many(g, 10);
	stallfs_wait_held(fs, 10, WAIT_MS);
	ok(vm_ring_stop(vm, 1) >= 0, "hanging: it stops for good");
	vm_ring_reset(vm, 1);
	is_int(vm_ring_start(vm, 1), 0, "and begins anew");
	stallfs_stall(fs, 0);
	ok(guest_open_file(g, GUEST_ROOT, O_RDONLY, &fh) == -EISDIR ||
	   guest_getattr(g, GUEST_ROOT, 0,
			 &(struct fuse_attr_out){ .attr_valid = 0 }) >= 0,
	   "requests of then are not answered now");
}

static uint64_t
open_file(struct guest *g, const char *name)
{
	struct fuse_entry_out e;
	uint64_t fh = 0;

	if (guest_lookup(g, GUEST_ROOT, name, &e) < 0 ||
	    guest_open_file(g, e.nodeid, O_RDWR, &fh) < 0)
		ok(0, "%s can be opened", name);
	return fh;
}

/* To close a file of it takes as long as it hangs. */
static void
test_leave(struct guest *other)
{
	struct guest *g = come("slow");
	long mark = daemon_log_mark(&d);

	open_file(g, "f1");
	stallfs_stall(fs, STALLFS_ALL);
	send_many(g, MANY);
	guest_close(g);
	ok(daemon_log_wait(&d, mark, "slow: session", "left", 1, WAIT_MS) > 0,
	   "hanging: its guest leaves");
	others_go_on(other, "left");
	stallfs_stall(fs, 0);
	ok(daemon_has_sessions(&d, "slow", 0, WAIT_MS), "its session ends");

	g = come("slow");
	open_file(g, "f1");
	stallfs_stall(fs, BIT(FUSE_FLUSH) | BIT(FUSE_RELEASE));
	guest_close(g);
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "closing a file hangs");
	others_go_on(other, "closing");
	stallfs_stall(fs, 0);
	ok(daemon_has_sessions(&d, "slow", 0, WAIT_MS), "its session ends");
}

static void
test_drop(struct guest *other)
{
	struct guest *g = come("slow");

	open_file(g, "f2");
	stallfs_stall(fs, STALLFS_ALL);
	send_many(g, 40);
	stallfs_wait_held(fs, POOL_SHARE, WAIT_MS);
	ctl_answers("write shares/slow/ctl drop", "hanging");
	ok(vm_is_hung_up(guest_vm(g), WAIT_MS), "its guest is dropped");
	others_go_on(other, "dropped");
	guest_close(g);
	stallfs_stall(fs, 0);
	ok(daemon_has_sessions(&d, "slow", 0, WAIT_MS), "its session ends");
}

/* The device is reset with a file open, and a new driver comes. */
static void
test_reset(struct guest *other)
{
	struct guest *g = come("slow");
	struct vm *vm = guest_vm(g);

	open_file(g, "f3");
	stallfs_stall(fs, BIT(FUSE_FLUSH));
	ok(!vm_send(vm, VM_RESET_DEVICE, VM_VERSION, "", 0, NULL, 0),
	   "the device is reset");
	/* Answered once it has stopped. */
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	for (unsigned i = 0; i < vm->nrings; i++) {
		vm->ring[i].started = false;
		vm_ring_reset(vm, i);
		vm_ring_start(vm, i);
	}
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "closing its file hangs");
	others_go_on(other, "reset");
	ok(vm_ring_stop(vm, 1) >= 0, "a ring stops");
	is_int(vm_ring_start(vm, 1), 0, "and starts");
	stallfs_stall(fs, 0);
	ok(guest_init(g, NULL) >= 0, "the new driver is served");

	/* The same by INIT, and by DESTROY. */
	open_file(g, "f3");
	stallfs_delay(fs, BIT(FUSE_FLUSH), 300);
	ok(guest_init(g, NULL) >= 0, "INIT closes what is open");
	open_file(g, "f3");
	ok(guest_destroy(g) >= 0, "DESTROY too");
	stallfs_delay(fs, 0, 0);
	guest_close(g);
	ok(daemon_has_sessions(&d, "slow", 0, WAIT_MS), "its session ends");
}

/* An fsync of a session that takes its time holds up nothing beside it, on the
 * same queue. */
static void
test_fsync(struct guest *g)
{
	struct fuse_fsync_in in = { .fsync_flags = 0 };
	struct guest_req req = {
		.opcode = FUSE_FSYNC, .in = { { &in, sizeof(in) } },
	};
	struct fuse_entry_out e;
	char path[512], buf[64];
	struct stallfs *disk;
	uint64_t fh = 0;
	int id, good = 0;

	mkdir(daemon_file(&d, "local", "disk", path), 0755);
	if (!ok(!stallfs_start(path, &disk), "a disk below a share"))
		return;
	ok(guest_lookup(g, GUEST_ROOT, "disk", &e) >= 0 &&
	   guest_lookup(g, e.nodeid, "f0", &e) >= 0 &&
	   guest_open_file(g, e.nodeid, O_RDWR, &in.fh) >= 0, "and its file");
	req.nodeid = e.nodeid;
	stallfs_stall(disk, BIT(FUSE_FSYNC));
	id = guest_send(g, &req);
	ok(stallfs_wait_held(disk, 1, WAIT_MS), "an fsync of it hangs");
	guest_lookup(g, GUEST_ROOT, "file", &e);
	guest_open_file(g, e.nodeid, O_RDONLY, &fh);
	for (int i = 0; i < 100; i++)
		good += guest_read(g, e.nodeid, fh, 0, buf, sizeof(buf)) == 5;
	is_int(good, 100, "reads of the same session are answered");
	ok(stallfs_held(disk) == 1, "while it hangs");
	stallfs_stall(disk, 0);
	is_int(guest_wait(g, id, NULL), 0, "and so is the fsync, later");
	guest_release(g, e.nodeid, fh);
	guest_release(g, req.nodeid, in.fh);
	stallfs_stop(disk);
	rmdir(path);
	before.fds++;		/* the share keeps one for each mount */
}

/* ------------------------------------------------------------------ */
/* Changes of the configuration. */

struct asker {
	const char *line;
	int err;
	char text[4096];
};

static void *
ask(void *arg)
{
	struct asker *a = arg;

	a->err = daemon_ctl(&d, a->line, a->text, sizeof(a->text));
	return NULL;
}

/* `line` needs a directory that hangs.  Others are answered meanwhile; it
 * is, when the storage goes on or when its time is over. */
static void
ask_and_stall(struct guest *other, const char *line, bool goes_on,
	      const char *want)
{
	struct asker a = { .line = line };
	pthread_t t;

	stallfs_stall(fs, STALLFS_ALL);
	pthread_create(&t, NULL, ask, &a);
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "\"%s\" waits for storage",
	   line);
	others_go_on(other, line);
	if (goes_on)
		stallfs_stall(fs, 0);
	pthread_join(t, NULL);
	if (!ok(goes_on ? !a.err : a.err == -EPROTO, "\"%s\": %s", line,
		goes_on ? "done when it answers" : "refused after a while"))
		printf("# %d %s\n", a.err, a.text);
	ok(strstr(a.text, want) != NULL, "\"%s\": %s", line, want);
	stallfs_stall(fs, 0);
}

static void
test_changes(struct guest *other)
{
	char more[700];
	long mark;
	struct guest *g = come("slow");

	/* A share that hangs and does not change is not looked at. */
	stallfs_stall(fs, STALLFS_ALL);
	ctl_answers("write ctl reload", "hanging");
	stallfs_stall(fs, 0);

	snprintf(more, sizeof(more), "%s[more]\npath = %s\n", keys, mnt);
	daemon_keys(&d, more);
	ask_and_stall(other, "write ctl reload", false, "does not answer");
	ask_and_stall(other, "write ctl reload", true, "more: added");
	guest_close(come("more"));

	snprintf(more, sizeof(more), "%smax_request_queues = 2\n", keys);
	daemon_keys(&d, more);
	ask_and_stall(other, "write ctl reload", true, "more: removed");
	guest_close(g);
	ok(daemon_has_sessions(&d, "slow", 0, WAIT_MS), "its guest leaves");

	ctl_answers("write shares/slow/ctl disable", "idle");
	ask_and_stall(other, "write shares/slow/ctl enable", true, "");
	guest_close(come("slow"));

	/* By signal. */
	daemon_keys(&d, keys);
	mark = daemon_log_mark(&d);
	stallfs_stall(fs, STALLFS_ALL);
	kill(d.server.pid, SIGHUP);
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "SIGHUP waits for storage");
	others_go_on(other, "SIGHUP");
	stallfs_stall(fs, 0);
	ok(daemon_log_wait(&d, mark, "slow: listening", "", 1, WAIT_MS) == 1,
	   "and is done when it answers");
}

/* An answer that a pool thread makes, a write that waits for the storage, and
 * another such answer, from a client that half-closes: all come, in order. */
static void
test_order(void)
{
	static const char *const want[] = {
		"ok ", "\"file\"", "ok 0", "ok ", "\"file\"", NULL
	};
	static struct stream s;
	const char *line = "";
	char path[512];

	close(open(daemon_file(&d, "local", "file", path),
		   O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	ctl_answers("write shares/local/state \"file\" uid=7", "a row");
	ctl_answers("write shares/slow/ctl disable", "before a waiting line");
	stallfs_stall(fs, STALLFS_ALL);
	if (!ok(!stream_open(&s, &d, "read shares/local/state\n"
			     "write shares/slow/ctl enable\n"
			     "read shares/local/state"), "three lines"))
		return;
	shutdown(s.fd, SHUT_WR);
	ok(stallfs_wait_held(fs, 1, WAIT_MS), "the second waits for storage");
	stallfs_stall(fs, 0);
	for (int i = 0; want[i] && line; i++) {
		line = stream_line(&s, WAIT_MS);
		ok(line && !strncmp(line, want[i], strlen(want[i])),
		   "line %d of the answers: %s", i, line ? line : "none");
	}
	ok(!stream_line(&s, WAIT_MS), "then the connection ends");
	close(s.fd);
}

/* The daemon starts while a share's storage hangs. */
static void
test_start(void)
{
	static const char *const tags[] = { "local", NULL };
	struct guest *g;

	stallfs_stall(fs, STALLFS_ALL);
	strcat(keys, "[local]\nowners = store\n");
	daemon_start(&d, tags, keys);
	guest_close(come("local"));
	ctl_answers("read shares/slow/status", "hanging at the start");
	ok(strstr(text, "state opening\n") != NULL, "the share is opening");
	stallfs_stall(fs, 0);
	ok(daemon_log_wait(&d, 0, "slow: listening", "", 1, WAIT_MS) == 1,
	   "and is served later");
	g = come("slow");
	guest_close(g);
	test_order();
	daemon_stop(&d);
}

int
main(void)
{
	static const char *const tags[] = { "local", NULL };
	struct guest *g, *other;
	char path[512];
	FILE *f;

	strcpy(mnt, "/tmp/gatewayd-stall-XXXXXX");
	if (geteuid() != 0 || stallfs_hide() || !mkdtemp(mnt) ||
	    stallfs_start(mnt, &fs)) {
		rmdir(mnt);
		tap_skip_all("needs root and /dev/fuse");
	}
	snprintf(keys, sizeof(keys), "[waits]\npath = %s\ninline = yes\n"
		 "[slow]\npath = %s\n", mnt, mnt);
	daemon_start(&d, tags, keys);
	f = fopen(daemon_file(&d, "local", "file", path), "w");
	if (!f || fputs("hello", f) < 0 || fclose(f))
		ok(0, "a file");
	daemon_use(&d, &before);
	test_asks();
	other = come("local");
	g = come("slow");
	test_others(g, other);
	test_memory(g);
	test_ring_stop(g, other);
	guest_close(g);
	ok(daemon_has_sessions(&d, "slow", 0, WAIT_MS), "its session ends");
	test_fsync(other);
	test_leave(other);
	test_drop(other);
	test_reset(other);
	test_changes(other);
	guest_close(other);
	daemon_has_sessions(&d, "local", 0, WAIT_MS);
	daemon_settles(&d, &before, WAIT_MS, "at the end");
	d.forgiven = "reload";
	daemon_stop(&d);
	test_start();
	stallfs_stop(fs);
	rmdir(mnt);
	return tap_done();
}
