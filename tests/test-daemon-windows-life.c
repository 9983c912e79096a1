/* SPDX-License-Identifier: MIT */
/*
 * A Windows guest that sleeps, crashes, comes back in another process, sends
 * a request again, takes one back; and one that forgets nothing while it looks
 * at more files than the daemon may have open.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/tap.h"
#include "tests/winguest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1u << 20)
#define END_MS 8000
#define NOFILE 1024

static struct daemon d;
static const char *who;			/* for the names of test points */

#define IS(call, want) is_int(call, want, "%s: %s", who, #call)

static struct guest *
come(const char *tag, enum guest_kind kind, unsigned ring_size)
{
	struct guest_settings set = {
		.kind = kind, .vm.ring_size = ring_size,
	};
	char path[128], *why = NULL;
	struct guest *g;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why)) {
		ok(0, "%s: connect: %s", who, why);
		daemon_stop(&d);
		exit(tap_done());
	}
	return g;
}

/* The service crashed: INIT again, no DESTROY, the rings run on. */
static void
test_crash(struct guest *g)
{
	struct fuse_attr_out attr;
	struct fuse_entry_out e, again;
	uint64_t fh, files;
	char buf[8];

	IS(guest_init(g, NULL), 0);
	IS(guest_create(g, GUEST_ROOT, "crash", O_RDWR, 0664, &e, &fh), 0);
	IS(guest_write(g, e.nodeid, fh, 0, "bytes", 5), 5);
	for (int i = 0; i < 3; i++)
		IS(guest_init(g, NULL), 0);
	ok(guest_read(g, e.nodeid, fh, 0, buf, 5) < 0, "%s: after INIT the "
	   "handle is gone", who);
	ok(guest_getattr(g, e.nodeid, 0, &attr) < 0, "%s: so is the node",
	   who);
	IS(daemon_number(&d, "shares/win/stats", "handles"), 0);
	IS(guest_lookup(g, GUEST_ROOT, "crash", &again), 0);
	ok(again.nodeid != e.nodeid, "%s: whose id does not come back", who);
	IS(guest_open_file(g, again.nodeid, O_RDONLY, &files), 0);
	IS(guest_read(g, again.nodeid, files, 0, buf, 8), 5);
	IS(guest_release(g, again.nodeid, files), 0);
}

static void
stop_and_start(struct guest *g)
{
	struct vm *vm = guest_vm(g);

	for (unsigned i = 0; i < vm->nrings; i++)
		if (vm_ring_stop(vm, i) < 0)
			ok(0, "%s: ring %u stops: %s", who, i, vm->why);
	for (unsigned i = 0; i < vm->nrings; i++) {
		/* Sleep loses the rings' memory. */
		vm_ring_reset(vm, i);
		if (vm_ring_start(vm, i))
			ok(0, "%s: ring %u starts: %s", who, i, vm->why);
	}
}

/* It sleeps and wakes: no INIT, node ids and handles as before. */
static void
test_sleep(struct guest *g)
{
	struct fuse_attr_out attr;
	struct fuse_entry_out e;
	uint64_t fh, dh;
	char buf[4096];

	IS(guest_init(g, NULL), 0);
	IS(guest_create(g, GUEST_ROOT, "sleep", O_RDWR, 0664, &e, &fh), 0);
	IS(guest_opendir(g, GUEST_ROOT, &dh), 0);
	for (int i = 0; i < 5; i++) {
		stop_and_start(g);
		IS(guest_write(g, e.nodeid, fh, (uint64_t)i * 5, "sleep", 5),
		   5);
	}
	IS(guest_getattr(g, e.nodeid, fh, &attr), 0);
	is_int(attr.attr.size, 25, "%s: all was written", who);
	ok(guest_readdir(g, GUEST_ROOT, dh, 0, true, buf, sizeof(buf)) > 0,
	   "%s: an open directory can be read on", who);
	IS(guest_releasedir(g, GUEST_ROOT, dh), 0);
	IS(guest_release(g, e.nodeid, fh), 0);
	IS(guest_unlink(g, GUEST_ROOT, "sleep"), 0);
}

static int
send_name(struct guest *g, uint32_t opcode, const void *arg, size_t len,
	  const char *name, size_t room, uint64_t unique, void *out)
{
	struct guest_req req = {
		.opcode = opcode, .nodeid = GUEST_ROOT, .room = room,
		.unique = unique,
	};
	struct iovec words = { (void *)name, strlen(name) + 1 };

	req.in[0] = len ? (struct iovec){ (void *)arg, len } : words;
	if (len)
		req.in[1] = words;
	return guest_call(g, &req, out);
}

/* What was out when it fell asleep is sent again, under the same number. */
static void
test_replay(struct guest *g)
{
	struct fuse_create_in in = { .flags = O_RDWR | O_EXCL, .mode = 0664 };
	size_t room = sizeof(struct fuse_entry_out) +
		      sizeof(struct fuse_open_out);
	char out[512];

	IS(guest_init(g, NULL), 0);
	is_int(send_name(g, FUSE_CREATE, &in, sizeof(in), "replay", room, 5000,
			 out), (long)room, "%s: CREATE", who);
	stop_and_start(g);
	is_int(send_name(g, FUSE_CREATE, &in, sizeof(in), "replay", room, 5000,
			 out), -EEXIST, "%s: CREATE, sent again", who);
	is_int(send_name(g, FUSE_UNLINK, NULL, 0, "replay", 0, 5001, NULL), 0,
	       "%s: UNLINK", who);
	stop_and_start(g);
	is_int(send_name(g, FUSE_UNLINK, NULL, 0, "replay", 0, 5001, NULL),
	       -ENOENT, "%s: UNLINK, sent again", who);
}

/* It hibernated and wakes in another process: a new connection, no INIT. */
static void
test_resume_elsewhere(enum guest_kind kind, unsigned ring_size)
{
	struct guest *g = come("win", kind, ring_size);
	struct fuse_entry_out e;
	struct fuse_attr_out attr;
	uint64_t fh;
	char buf[8];

	ok(guest_getattr(g, 12345, 0, &attr) < 0, "%s: an old node, first "
	   "thing", who);
	IS(guest_lookup(g, GUEST_ROOT, ".", &e), 0);
	is_int(e.nodeid, GUEST_ROOT, "%s: the root without INIT", who);
	IS(guest_lookup(g, GUEST_ROOT, "crash", &e), 0);
	IS(guest_open_file(g, e.nodeid, O_RDONLY, &fh), 0);
	IS(guest_read(g, e.nodeid, fh, 0, buf, 8), 5);
	IS(guest_release(g, e.nodeid, fh), 0);
	guest_close(g);
}

/* Wait until a request of `tag` is being served, or (`!some`) none is; an
 * answer on the ring will do for the former. */
static bool
wait_inflight(struct guest *g, const char *tag, bool some)
{
	volatile struct vring_used *used = guest_vm(g)->ring[1].used;
	uint16_t seen = guest_vm(g)->ring[1].last_used;
	int64_t end = test_now_ms() + END_MS;
	char file[80];

	snprintf(file, sizeof(file), "shares/%s/stats", tag);
	while (test_now_ms() < end)
		if ((some && used->idx != seen) ||
		    (daemon_number(&d, file, "inflight") > 0) == some)
			return true;
	return false;
}

/* A request is taken back in the guest: the next one overwrites the only
 * indirect table while the first is still being served. */
static void
test_cancel(const char *tag, enum guest_kind kind, unsigned ring_size)
{
	static char data[2][MIB], got[MIB];
	struct guest *g = come(tag, kind, ring_size);
	struct fuse_entry_out e;
	int n = (int)tap_scaled(50), bad = 0;
	uint64_t fh;

	memset(data[0], 'a', MIB);
	memset(data[1], 'b', MIB);
	IS(guest_init(g, NULL), 0);
	IS(guest_create(g, GUEST_ROOT, "cancel", O_RDWR, 0664, &e, &fh), 0);
	for (int i = 0; i < n && !bad; i++) {
		struct fuse_write_in in[2] = {
			{ .fh = fh, .size = MIB },
			{ .fh = fh, .offset = MIB, .size = MIB },
		};
		int id[2];

		for (int k = 0; k < 2; k++) {
			struct guest_req req = {
				.opcode = FUSE_WRITE, .nodeid = e.nodeid,
				.in = { { &in[k], sizeof(in[k]) },
					{ data[(k + i) % 2], MIB } },
				.room = sizeof(struct fuse_write_out),
			};

			bad |= k == 0 && !wait_inflight(g, tag, false);
			id[k] = guest_send(g, &req);
			/* Once it was taken its table is the driver's. */
			bad |= id[k] < 0 ||
			       (k == 0 && !wait_inflight(g, tag, true));
		}
		bad |= guest_wait(g, id[0], NULL) < 0 ||
		       guest_wait(g, id[1], NULL) < 0;
		for (int k = 0; k < 2 && !bad; k++)
			bad = guest_read(g, e.nodeid, fh, (uint64_t)k * MIB,
					 got, MIB) <= 0 ||
			      got[0] != data[(k + i) % 2][0] ||
			      got[MIB - 4097] != got[0];
	}
	if (!ok(!bad, "%s: %d requests taken back on %s", who, n, tag))
		printf("# %s\n", guest_why(g));
	guest_unlink(g, GUEST_ROOT, "cancel");
	guest_close(g);
}

/* More files than descriptors, none forgotten.  Who may not open by handle
 * keeps each open, and runs out of them: that fails alone. */
static void
test_many_files(enum guest_kind kind)
{
	int n = (int)tap_scaled(5 * NOFILE), good = 0, refused = 0, bad = 0;
	struct guest *g = come("many", kind, 128);
	char path[512], name[32];
	struct fuse_entry_out e;

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%d", i);
		close(open(daemon_file(&d, "many", name, path),
			   O_CREAT | O_WRONLY, 0644));
	}
	IS(guest_init(g, NULL), 0);
	for (int i = 0; i < n; i++) {
		int err;

		snprintf(name, sizeof(name), "%d", i);
		err = guest_lookup(g, GUEST_ROOT, name, &e);
		good += !err;
		refused += err == -ENOMEM;
		bad += err && err != -ENOMEM;
	}
	printf("# %d found, %d refused\n", good, refused);
	ok(!bad && good > NOFILE / 8, "%s: %d files looked up, %d descriptors",
	   who, n, NOFILE);
	if (geteuid() == 0)
		is_int(good, n, "%s: all of them", who);
	else
		ok(good + refused == n, "%s: or refused for lack of them", who);
	IS(guest_getattr(g, GUEST_ROOT, 0, &(struct fuse_attr_out){ 0 }), 0);
	guest_close(g);
	/* Another guest is not the poorer for it. */
	g = come("win", kind, 128);
	IS(guest_init(g, NULL), 0);
	IS(guest_lookup(g, GUEST_ROOT, ".", &e), 0);
	IS(guest_mkdir(g, GUEST_ROOT, "dir", 0775, &e), 0);
	IS(guest_rmdir(g, GUEST_ROOT, "dir"), 0);
	guest_close(g);
}

static void
run(enum guest_kind kind, unsigned ring_size)
{
	struct guest *g = come("win", kind, ring_size);
	char path[512];

	test_crash(g);
	test_sleep(g);
	test_replay(g);
	guest_close(g);
	test_resume_elsewhere(kind, ring_size);
	test_cancel("pool", kind, ring_size);
	IS(daemon_has_sessions(&d, "win", 0, END_MS), 1);
	unlink(daemon_file(&d, "win", "crash", path));
}

int
main(void)
{
	static const char *const tags[] = { "win", "pool", "many", NULL };
	struct rlimit rl = { NOFILE, NOFILE };
	struct daemon_use before;

	if (setrlimit(RLIMIT_NOFILE, &rl))
		tap_skip_all("cannot set RLIMIT_NOFILE");
	daemon_start(&d, tags, "[pool]\ninline = no\n");
	who = "before";
	for (int i = 0; tags[i]; i++) {
		struct guest *g = come(tags[i], GUEST_LINUX, 128);

		IS(guest_init(g, NULL), 0);
		guest_close(g);
		IS(daemon_has_sessions(&d, tags[i], 0, END_MS), 1);
	}
	daemon_use(&d, &before);
	who = "A 128";
	run(GUEST_WINDOWS_A, 128);
	who = "A 1024";
	run(GUEST_WINDOWS_A, 1024);
	who = "B 128";
	run(GUEST_WINDOWS_B, 128);
	who = "B 1024";
	run(GUEST_WINDOWS_B, 1024);
	who = "B";
	test_many_files(GUEST_WINDOWS_B);
	daemon_settles(&d, &before, END_MS, "when all have left");
	daemon_stop(&d);
	return tap_done();
}
