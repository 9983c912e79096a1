/* SPDX-License-Identifier: MIT */
/*
 * Rings, memory and eventfds that are hostile: their session ends with a line
 * that tells why, and a guest on another tag works on meanwhile.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/hostile.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_MS 8000

/* ------------------------------------------------------------------ */
/* Chains that are wrong. */

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT
#define OUTSIDE (VM_BASE - 4096)

struct chain {
	unsigned queue;
	unsigned head, count;	/* count: how often it is offered; 0 = 1 */
	unsigned ahead;		/* the index jumps this far */
	struct vring_desc d[3];	/* of the ring; addr below 64 Ki: in memory */
	struct vring_desc t[3];	/* of an indirect table at 0x8000 */
	bool no_indirect;	/* this was not negotiated */
};

#define TABLE_AT 0x8000u

static uint64_t
place(const unsigned char *page, const struct vm *vm, uint64_t addr)
{
	return addr < 0x10000 ? vm_addr(vm, page) + addr : addr;
}

static void
copy_descs(const struct vm *vm, const unsigned char *page,
	   struct vring_desc *to, const struct vring_desc *from)
{
	for (int i = 0; i < 3; i++) {
		to[i] = from[i];
		to[i].addr = place(page, vm, from[i].addr);
	}
}

static void
offer(struct vm *vm, const void *arg)
{
	const struct chain *c = arg;
	struct vm_ring *r = &vm->ring[c->queue];
	unsigned char *page = vm_alloc(vm, 0x10000, 4096);
	unsigned n = c->count ? c->count : 1;

	if (c->no_indirect) {
		vm->features = 1ull << VIRTIO_F_VERSION_1;
		if (vm_negotiate(vm) || vm_share_memory(vm) || vm_start(vm))
			return;
	}
	copy_descs(vm, page, r->desc, c->d);
	copy_descs(vm, page, (struct vring_desc *)(page + TABLE_AT), c->t);
	for (unsigned i = 0; i < n; i++)
		r->avail->ring[i] = (uint16_t)c->head;
	__atomic_store_n(&r->avail->idx, (uint16_t)(n + c->ahead),
			 __ATOMIC_SEQ_CST);
	vm_ring_kick(r);
}

#define RUN(...) RUNNING, offer, &(const struct chain){ __VA_ARGS__ }

/* clang-format off */
static const struct hostile_case chains[] = {
	{ "a chain that loops", RUN(.queue = 1, .d = { { 0, 40, NEXT, 1 }, { 0, 40, NEXT, 0 } }), "queue 1: a chain runs in a loop", 0 },
	{ "one on hiprio", RUN(.queue = 0, .d = { { 0, 40, NEXT, 0 } }), "queue 0: a chain runs in a loop", 0 },
	{ "a chain that leaves the ring", RUN(.queue = 1, .d = { { 0, 40, NEXT, 128 } }), "queue 1: a chain goes on at descriptor 128 of 128", 0 },
	{ "a head outside the ring", RUN(.queue = 1, .head = 500), "queue 1: chain 500 of a ring of 128", 0 },
	{ "an index that jumps", RUN(.queue = 1, .ahead = 1000), "queue 1: the driver's index jumps from 0 to 1001", 0 },
	{ "a chain offered twice", RUN(.queue = 1, .count = 100, .d = { { 0, 40, NEXT, 1 }, { 64, 16, WRITE, 0 } }), "queue 1: chain 0 is offered again", 0 },
	{ "a descriptor outside memory", RUN(.queue = 1, .d = { { OUTSIDE, 40, 0, 0 } }), "queue 1: a descriptor points outside guest memory", 0 },
	{ "a descriptor that ends outside", RUN(.queue = 1, .d = { { 0, 1 << 30, WRITE, 0 } }), "queue 1: a descriptor points outside guest memory", 0 },
	{ "a descriptor that wraps", RUN(.queue = 1, .d = { { UINT64_MAX - 15, 100, WRITE, 0 } }), "queue 1: a descriptor points outside guest memory", 0 },
	{ "reading after writing", RUN(.queue = 1, .d = { { 0, 40, NEXT | WRITE, 1 }, { 64, 40, 0, 0 } }), "queue 1: a descriptor to read follows", 0 },
	{ "an empty table", RUN(.queue = 1, .d = { { TABLE_AT, 0, INDIRECT, 0 } }), "queue 1: an indirect table of 0 bytes", 0 },
	{ "half a table", RUN(.queue = 1, .d = { { TABLE_AT, 24, INDIRECT, 0 } }), "queue 1: an indirect table of 24 bytes", 0 },
	{ "a table of 1025", RUN(.queue = 1, .d = { { TABLE_AT, 16400, INDIRECT, 0 } }), "queue 1: an indirect table of 16400 bytes", 0 },
	{ "a table outside memory", RUN(.queue = 1, .d = { { OUTSIDE, 32, INDIRECT, 0 } }), "queue 1: an indirect table lies outside", 0 },
	{ "a table in a table", RUN(.queue = 1, .d = { { TABLE_AT, 32, INDIRECT, 0 } }, .t = { { TABLE_AT, 32, INDIRECT, 0 } }), "queue 1: an indirect table within", 0 },
	{ "a table that loops", RUN(.queue = 1, .d = { { TABLE_AT, 32, INDIRECT, 0 } }, .t = { { 0, 40, NEXT, 0 } }), "queue 1: an indirect table runs in a loop", 0 },
	{ "a table that leaves itself", RUN(.queue = 1, .d = { { TABLE_AT, 32, INDIRECT, 0 } }, .t = { { 0, 40, NEXT, 9 } }), "queue 1: an indirect table of 2 entries goes on at 9", 0 },
	{ "a chain behind a table", RUN(.queue = 1, .d = { { TABLE_AT, 32, INDIRECT | NEXT, 1 } }), "queue 1: a chain goes on behind", 0 },
	{ "a table not negotiated", CONNECTED, offer, &(const struct chain){ .queue = 1, .no_indirect = true, .d = { { TABLE_AT, 32, INDIRECT, 0 } } }, "queue 1: an indirect table, which was not", 0 },
};
/* clang-format on */

/* ------------------------------------------------------------------ */
/* Memory that goes away, eventfds that block. */

static void
truncate_all(struct vm *vm, const void *arg)
{
	(void)arg;
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	if (ftruncate(vm->memfd, 0))
		snprintf(vm->why, sizeof(vm->why), "ftruncate");
	vm_ring_kick(&vm->ring[1]);
}

static void
truncate_tables(struct vm *vm, const void *arg)
{
	struct vm_ring *r = &vm->ring[1];
	unsigned char *p = vm_alloc(vm, 0x10000, 4096);

	(void)arg;
	/* The ring stays, the table it points to goes. */
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	vm_desc(vm, &r->desc[0], p, 64, INDIRECT, 0);
	r->avail->ring[0] = 0;
	if (ftruncate(vm->memfd, p - vm->mem))
		snprintf(vm->why, sizeof(vm->why), "ftruncate");
	__atomic_store_n(&r->avail->idx, 1, __ATOMIC_SEQ_CST);
	vm_ring_kick(r);
}

/* Fill an eventfd, and make whoever signals it wait. */
static void
fill_up(int fd)
{
	uint64_t most = UINT64_MAX - 1;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (write(fd, &most, sizeof(most)) < 0 && errno != EAGAIN)
		return;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

/* A broken ring whose err fd blocks: it ends when the front end leaves. */
static void
block_err(struct vm *vm, const void *arg)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t index = 1;

	vm_send(vm, VM_SET_VRING_ERR, VM_VERSION, &index, sizeof(index), &fd,
		1);
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	fill_up(fd);
	close(fd);
	offer(vm, arg);
	poll(NULL, 0, 50);
}

/* A kick that can be read for ever. */
static void
kick_for_ever(struct vm *vm, const void *arg)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	uint64_t index = 1;

	(void)arg;
	vm_send(vm, VM_SET_VRING_KICK, VM_VERSION, &index, sizeof(index), &fd,
		1);
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	fill_up(fd);
	poll(NULL, 0, 200);
	close(fd);
}

/* clang-format off */
static const struct hostile_case others[] = {
	{ "memory truncated to nothing", RUNNING, truncate_all, NULL, "guest memory was truncated while in use", 0 },
	{ "a table truncated", RUNNING, truncate_tables, NULL, "guest memory was truncated while in use", 0 },
	{ "an err eventfd that blocks", RUNNING, block_err, &(const struct chain){ .queue = 1, .head = 500 }, "", EITHER },
	{ "a kick eventfd that is never empty", RUNNING, kick_for_ever, NULL, "", LEAVES },
};
/* clang-format on */

/* ------------------------------------------------------------------ */
/* The same with a guest that has files open. */

struct victim {
	struct guest *guest;
	struct vm *vm;
	uint64_t node, fh;
};

#define DATA GUEST_DATA_MAX

static unsigned char data[DATA];

static bool
victim_open(struct hostile *h, const char *tag, uint64_t features,
	    struct victim *v)
{
	struct guest_settings set = {
		.nslots = 1, .vm = { .unsealed = true, .features = features },
	};
	struct fuse_entry_out e;
	char path[128];
	char *why = NULL;
	bool good = !guest_open(daemon_socket(&h->daemon, tag, path), &set,
				&v->guest, &why);

	if (!ok(good, "%s: a guest connects", tag)) {
		printf("# %s\n", why);
		return false;
	}
	v->vm = guest_vm(v->guest);
	good = !guest_init(v->guest, NULL) &&
	       !guest_create(v->guest, GUEST_ROOT, "data", O_RDWR, 0644, &e,
			     &v->fh) &&
	       guest_write(v->guest, e.nodeid, v->fh, 0, data, DATA) == DATA;
	v->node = e.nodeid;
	return ok(good, "%s: and writes a file", tag);
}

static int
send_io(struct victim *v, uint32_t opcode)
{
	struct fuse_write_in in = { .fh = v->fh, .size = DATA };
	struct fuse_fsync_in sync = { .fh = v->fh };
	struct guest_req req = { .opcode = opcode, .nodeid = v->node };

	if (opcode == FUSE_FSYNC) {
		req.in[0] = (struct iovec){ &sync, sizeof(sync) };
	} else {
		req.in[0] = (struct iovec){ &in, sizeof(in) };
		req.room = opcode == FUSE_READ ? DATA :
			   sizeof(struct fuse_write_out);
		if (opcode == FUSE_WRITE)
			req.in[1] = (struct iovec){ data, DATA };
	}
	return guest_send(v->guest, &req);
}

/* The request waits while its ring is stopped; half of its data is cut off;
 * the ring starts. */
static void
test_truncated_data(struct hostile *h, const char *tag, uint32_t opcode,
		    size_t cut)
{
	long mark = daemon_log_mark(&h->daemon);
	char prefix[32];
	int lines;
	struct victim v;

	if (!victim_open(h, tag, 0, &v))
		return;
	snprintf(prefix, sizeof(prefix), "%s: session", tag);
	vm_ring_stop(v.vm, 1);
	send_io(&v, opcode);
	if (ftruncate(v.vm->memfd, (off_t)(v.vm->top - cut)))
		ok(0, "truncate");
	vm_ring_start(v.vm, 1);
	vm_ring_kick(&v.vm->ring[1]);
	ok(vm_is_hung_up(v.vm, END_MS), "%s: opcode %u on truncated memory "
	   "ends the session", tag, opcode);
	daemon_log_wait(&h->daemon, mark, prefix, " ended: ", 1, END_MS);
	lines = daemon_log_count(&h->daemon, mark, prefix,
				 " ended: guest memory");
	is_int(lines, 1, "%s: with one line that says so", tag);
	if (lines != 1)
		printf("# %s\n", daemon_log_line(&h->daemon, mark, prefix, ""));
	guest_close(v.guest);
	hostile_others_fine(h, tag);
}

/* Answers cannot be signalled: whoever tries waits, until we leave. */
static void
test_call_blocks(struct hostile *h, const char *tag, uint32_t opcode)
{
	long mark = daemon_log_mark(&h->daemon);
	char prefix[32];
	struct victim v;

	if (!victim_open(h, tag, 1ull << VIRTIO_F_VERSION_1 |
				 1ull << VIRTIO_RING_F_INDIRECT_DESC, &v))
		return;
	snprintf(prefix, sizeof(prefix), "%s: session", tag);
	fill_up(v.vm->ring[1].call);
	send_io(&v, opcode);
	poll(NULL, 0, 50);		/* now it waits in write(2) */
	hostile_others_fine(h, "a call eventfd that blocks");
	guest_close(v.guest);
	hostile_others_fine(h, "when its guest left");
	is_int(daemon_log_wait(&h->daemon, mark, prefix, " left pid=", 1,
			       END_MS), 1, "%s: the log tells of it", tag);
	ok(daemon_has_sessions(&h->daemon, tag, 0, END_MS),
	   "%s: the session has ended", tag);
	hostile_others_fine(h, "after that");
}

/* The same, and the machine stops the ring properly. */
static void
test_stop_with_blocked_call(struct hostile *h, const char *tag,
			    uint32_t opcode)
{
	struct victim v;
	int n;

	if (!victim_open(h, tag, 1ull << VIRTIO_F_VERSION_1 |
				 1ull << VIRTIO_RING_F_INDIRECT_DESC, &v))
		return;
	fill_up(v.vm->ring[1].call);
	send_io(&v, opcode);
	n = vm_ring_stop(v.vm, 1);
	ok(n > 0, "%s: a ring stops though its call eventfd blocks", tag);
	hostile_others_fine(h, "meanwhile");
	guest_close(v.guest);
	ok(daemon_has_sessions(&h->daemon, tag, 0, END_MS),
	   "%s: the session has ended", tag);
}

/* ---- truncated at any moment, by a process that dies of it ---- */

static void *
truncate_soon(void *arg)
{
	struct vm *vm = arg;

	poll(NULL, 0, 30 + (int)getpid() % 30);
	if (ftruncate(vm->memfd, 0))
		_exit(1);
	return NULL;
}

__attribute__((noreturn)) static void
work_until_truncated(const char *path)
{
	struct guest_settings set = { .vm.unsealed = true };
	struct fuse_entry_out e;
	struct guest *g;
	pthread_t t;
	uint64_t fh;

	signal(SIGBUS, SIG_DFL);
	if (guest_open(path, &set, &g, NULL) || guest_init(g, NULL) ||
	    guest_create(g, GUEST_ROOT, "any", O_RDWR, 0644, &e, &fh) ||
	    pthread_create(&t, NULL, truncate_soon, guest_vm(g)))
		_exit(1);
	while (guest_write(g, e.nodeid, fh, 0, data, DATA) == DATA &&
	       guest_read(g, e.nodeid, fh, 0, data, DATA) == DATA)
		continue;
	_exit(2);
}

static void
test_truncate_any_time(struct hostile *h, const char *tag)
{
	long mark = daemon_log_mark(&h->daemon);
	char path[128];
	int n = (int)tap_scaled(8), status;

	daemon_socket(&h->daemon, tag, path);
	fflush(stdout);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			work_until_truncated(path);
		waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
			ok(0, "%s: a guest works", tag);
	}
	ok(daemon_has_sessions(&h->daemon, tag, 0, END_MS),
	   "%s: %d guests truncated their memory in the middle of work", tag,
	   n);
	hostile_logged(h, tag, mark, n);
	hostile_others_fine(h, tag);
}

int
main(void)
{
	/* bad8 and bad9: nothing is done at once, all goes to the pool */
	static const char keys[] = "[bad8]\ninline = no\n[bad9]\ninline = no\n";
	struct hostile h;

	memset(data, 'x', sizeof(data));
	hostile_begin(&h, keys);
	for (size_t i = 0; i < sizeof(chains) / sizeof(*chains); i++)
		hostile_try(&h, &chains[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		hostile_try(&h, &others[i]);
	test_truncated_data(&h, "bad5", FUSE_READ, DATA / 2);
	test_truncated_data(&h, "bad5", FUSE_WRITE, DATA + DATA / 2);
	test_truncated_data(&h, "bad8", FUSE_READ, DATA / 2);
	test_truncated_data(&h, "bad8", FUSE_WRITE, DATA + DATA / 2);
	test_call_blocks(&h, "bad6", FUSE_WRITE);
	test_call_blocks(&h, "bad6", FUSE_FSYNC);
	test_call_blocks(&h, "bad9", FUSE_WRITE);
	test_stop_with_blocked_call(&h, "bad7", FUSE_WRITE);
	test_stop_with_blocked_call(&h, "bad9", FUSE_WRITE);
	test_truncate_any_time(&h, "bad10");
	test_truncate_any_time(&h, "bad9");
	hostile_end(&h);
	return tap_done();
}
