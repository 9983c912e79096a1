/* SPDX-License-Identifier: MIT */
/*
 * Rings of a running daemon: eight request queues used by eight threads at
 * once, rings that stop and start with requests in flight, a device reset,
 * memory that comes and goes while rings run.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define END_MS 8000
#define QUEUES 8

static struct daemon d;

static struct guest *
come(const char *tag, enum guest_kind kind, unsigned nrings)
{
	struct guest_settings set = { .kind = kind, .vm.nrings = nrings };
	char path[128], *why = NULL;
	struct guest *g;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why) ||
	    guest_init(g, NULL)) {
		ok(0, "%s: a guest comes: %s", tag, why);
		daemon_stop(&d);
		exit(tap_done());
	}
	return g;
}

/* ------------------------------------------------------------------ */
/* A thread on a queue of its own; it has one request out at a time. */

struct lane {
	struct vm *vm;
	struct vm_ring *ring;
	unsigned char *in, *out;	/* IO bytes and headers */
	uint64_t unique;
	unsigned number;
	long rounds;
	char why[120];
};

#define IO 8192u
#define LANE_SIZE (IO + 4096)
#define HEAD sizeof(struct fuse_in_header)
#define OUT sizeof(struct fuse_out_header)

/* `len` bytes of arguments are at in + HEAD.  Bytes of payload or -errno. */
static long
lane_call(struct lane *l, uint32_t opcode, uint64_t node, size_t len,
	  size_t room)
{
	struct fuse_in_header ih = {
		.len = (uint32_t)(HEAD + len), .opcode = opcode,
		.nodeid = node, .unique = ++l->unique << 8 | l->number,
	};
	struct fuse_out_header oh;
	struct vring_used_elem e;

	memcpy(l->in, &ih, sizeof(ih));
	vm_desc(l->vm, &l->ring->desc[0], l->in, ih.len, VRING_DESC_F_NEXT, 1);
	vm_desc(l->vm, &l->ring->desc[1], l->out, (uint32_t)(OUT + room),
		VRING_DESC_F_WRITE, 0);
	vm_ring_push(l->vm, l->ring, 0);
	if (vm_ring_wait(l->vm, l->ring, &e, END_MS) < 0)
		return -ETIMEDOUT;
	memcpy(&oh, l->out, sizeof(oh));
	if (e.len != oh.len || oh.unique != ih.unique)
		return -EPROTO;
	return oh.error ? oh.error : (long)(oh.len - OUT);
}

static int
lane_failed(struct lane *l, const char *what, long r)
{
	snprintf(l->why, sizeof(l->why), "queue %u: %s: %ld", l->ring->index,
		 what, r);
	return -1;
}

static int
lane_create(struct lane *l, uint64_t *node, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };
	struct fuse_entry_out *e = (void *)(l->out + OUT);
	struct fuse_open_out *o = (void *)(e + 1);
	char name[32];
	long r;

	snprintf(name, sizeof(name), "lane%u-%ld", l->number, l->rounds % 4);
	memcpy(l->in + HEAD, &in, sizeof(in));
	strcpy((char *)l->in + HEAD + sizeof(in), name);
	r = lane_call(l, FUSE_CREATE, GUEST_ROOT,
		      sizeof(in) + strlen(name) + 1, sizeof(*e) + sizeof(*o));
	if (r < 0)
		return lane_failed(l, "CREATE", r);
	*node = e->nodeid;
	*fh = o->fh;
	return 0;
}

static int
lane_round(struct lane *l)
{
	struct fuse_write_in wr = { .size = IO };
	struct fuse_read_in rd = { .size = IO };
	struct fuse_release_in rel;
	unsigned char fill = (unsigned char)(l->rounds + l->number * 31);
	uint64_t node = 0, fh = 0;
	long r;

	if (lane_create(l, &node, &fh))
		return -1;
	wr.fh = rd.fh = fh;
	memcpy(l->in + HEAD, &wr, sizeof(wr));
	memset(l->in + HEAD + sizeof(wr), fill, IO);
	r = lane_call(l, FUSE_WRITE, node, sizeof(wr) + IO, 8);
	if (r < 0)
		return lane_failed(l, "WRITE", r);
	memcpy(l->in + HEAD, &rd, sizeof(rd));
	r = lane_call(l, FUSE_READ, node, sizeof(rd), IO);
	if (r != IO)
		return lane_failed(l, "READ", r);
	for (unsigned i = 0; i < IO; i++)
		if (l->out[OUT + i] != fill)
			return lane_failed(l, "other data at", i);
	memset(&rel, 0, sizeof(rel));
	rel.fh = fh;
	memcpy(l->in + HEAD, &rel, sizeof(rel));
	r = lane_call(l, FUSE_RELEASE, node, sizeof(rel), 0);
	return r < 0 ? lane_failed(l, "RELEASE", r) : 0;
}

static void *
lane_run(void *arg)
{
	struct lane *l = arg;
	long n = tap_scaled(300);

	for (; l->rounds < n; l->rounds++)
		if (lane_round(l))
			break;
	return NULL;
}

static void
test_eight_queues(const char *tag)
{
	struct guest *g = come(tag, GUEST_LINUX, 1 + QUEUES);
	struct vm *vm = guest_vm(g);
	struct lane lane[QUEUES];
	pthread_t thread[QUEUES];
	int good = 0;

	memset(lane, 0, sizeof(lane));
	for (unsigned i = 0; i < QUEUES; i++) {
		lane[i].vm = vm;
		lane[i].ring = &vm->ring[1 + i];
		lane[i].in = vm_alloc(vm, LANE_SIZE, 4096);
		lane[i].out = vm_alloc(vm, LANE_SIZE, 4096);
		lane[i].number = i;
	}
	for (unsigned i = 0; i < QUEUES; i++)
		pthread_create(&thread[i], NULL, lane_run, &lane[i]);
	for (unsigned i = 0; i < QUEUES; i++) {
		pthread_join(thread[i], NULL);
		good += !lane[i].why[0];
		if (lane[i].why[0])
			printf("# %s\n", lane[i].why);
	}
	is_int(good, QUEUES, "%s: %d queues at once, each by a thread", tag,
	       QUEUES);
	guest_close(g);
}

/* ------------------------------------------------------------------ */

#define FLIGHT 16

static unsigned char wrote[GUEST_DATA_MAX], got[FLIGHT][65536];

static int
send_read(struct guest *g, uint64_t node, uint64_t fh, unsigned i)
{
	struct fuse_read_in in = {
		.fh = fh, .offset = i * 4096, .size = 65536,
	};
	struct guest_req req = {
		.opcode = FUSE_READ, .nodeid = node,
		.in = { { &in, sizeof(in) } }, .room = in.size,
	};

	return guest_send(g, &req);
}

/* The device goes on at `base`; the driver has yet to take answers. */
static int
start_at(struct vm *vm, unsigned index, int base)
{
	struct vm_ring *r = &vm->ring[index];
	uint16_t taken = r->last_used;
	int err;

	r->last_used = (uint16_t)base;
	err = vm_ring_start(vm, index);
	r->last_used = taken;
	/* What was made available while it stood still. */
	vm_ring_kick(r);
	return err;
}

/* Stop and start the ring while requests are in flight: each is answered, and
 * once. */
static void
test_stop_in_flight(const char *tag)
{
	struct guest *g = come(tag, GUEST_LINUX, 2);
	struct vm *vm = guest_vm(g);
	int n = (int)tap_scaled(100), bad = 0, later = 0;
	struct fuse_entry_out e;
	uint64_t fh;

	is_int(guest_create(g, GUEST_ROOT, "flight", O_RDWR, 0644, &e, &fh), 0,
	       "%s: a file", tag);
	for (unsigned i = 0; i < sizeof(wrote); i++)
		wrote[i] = (unsigned char)(i / 4096 + i);
	is_int(guest_write(g, e.nodeid, fh, 0, wrote, sizeof(wrote)),
	       sizeof(wrote), "%s: of 1 MiB", tag);
	for (int k = 0; k < n && !bad; k++) {
		int id[FLIGHT], base;

		for (unsigned i = 0; i < FLIGHT; i++)
			id[i] = send_read(g, e.nodeid, fh, i);
		base = vm_ring_stop(vm, 1);
		bad = base < 0 ||
		      vm->ring[1].used->idx != (uint16_t)base;
		later += (uint16_t)base != vm->ring[1].next_avail;
		bad |= start_at(vm, 1, base);
		for (unsigned i = 0; i < FLIGHT && !bad; i++)
			bad = guest_wait(g, id[i], got[i]) != 65536 ||
			      memcmp(got[i], wrote + i * 4096, 65536);
	}
	if (!ok(!bad, "%s: a ring stopped %d times with %d requests out, and "
		"each was answered once", tag, n, FLIGHT))
		printf("# %s; %s\n", guest_why(g), vm->why);
	printf("# %d times some were left for the next start\n", later);
	guest_close(g);
}

/* ------------------------------------------------------------------ */

/* The device is reset; once it has stopped the driver sets it up anew. */
static void
reset(struct vm *vm)
{
	vm_send(vm, VM_RESET_DEVICE, VM_VERSION, "", 0, NULL, 0);
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	for (unsigned i = 0; i < vm->nrings; i++) {
		vm_ring_reset(vm, i);
		if (vm_ring_start(vm, i))
			ok(0, "ring %u starts: %s", i, vm->why);
	}
}

static void
test_reset(enum guest_kind kind, const char *what)
{
	struct guest *g = come("one", kind, 2);
	struct vm *vm = guest_vm(g);
	struct fuse_entry_out e;
	struct fuse_attr_out attr;
	uint64_t fh;
	char buf[8];

	is_int(guest_create(g, GUEST_ROOT, what, O_RDWR, 0644, &e, &fh), 0,
	       "%s: a file", what);
	is_int(guest_write(g, e.nodeid, fh, 0, "bytes", 5), 5, "%s: written",
	       what);
	for (int i = 0; i < 10; i++)
		reset(vm);
	/* A Linux guest begins anew, a Windows guest comes back from sleep. */
	is_int(guest_getattr(g, e.nodeid, 0, &attr),
	       kind == GUEST_LINUX ? -EIO : 0, "%s: its node after resets",
	       what);
	is_int(guest_read(g, e.nodeid, fh, 0, buf, 8),
	       kind == GUEST_LINUX ? -EIO : 5, "%s: its handle", what);
	is_int(guest_init(g, NULL), 0, "%s: INIT", what);
	is_int(guest_getattr(g, e.nodeid, 0, &attr),
	       kind == GUEST_LINUX ? -ESTALE : -ENOENT, "%s: after "
	       "it nothing of the past is known", what);
	is_int(guest_walk(g, what, &e), 0, "%s: but the file is there", what);
	guest_close(g);
}

/* Reset with requests in flight, as a machine that crashes. */
static void
test_reset_in_flight(const char *tag)
{
	int n = (int)tap_scaled(40), bad = 0;

	for (int k = 0; k < n && !bad; k++) {
		struct guest *g = come(tag, GUEST_LINUX, 2);
		struct fuse_statfs_out st;
		struct fuse_entry_out e;
		uint64_t fh;

		bad = guest_create(g, GUEST_ROOT, "flight", O_RDWR, 0644, &e,
				   &fh);
		for (unsigned i = 0; i < FLIGHT - 1; i++)
			bad |= send_read(g, e.nodeid, fh, i) < 0;
		reset(guest_vm(g));
		/* One slot is left: the rest wait for ever. */
		bad |= guest_init(g, NULL) || guest_statfs(g, &st);
		if (bad)
			printf("# round %d: %s\n", k, guest_why(g));
		guest_close(g);
	}
	ok(!bad, "%s: %d resets with requests in flight", tag, n);
}

/* ------------------------------------------------------------------ */

struct plugger {
	struct vm *vm;
	atomic_bool stop;
	unsigned long changes;
	int err;
};

static int
change_region(struct vm *vm, uint32_t request, int fd, uint64_t at,
	      uint64_t size)
{
	uint64_t body[5] = { 0, at, size, at, 0 };

	return vm_send(vm, request, VM_VERSION, body, sizeof(body), &fd,
		       request == VM_ADD_MEM_REG);
}

/* Plug in memory and take it out, and now and then send the whole table. */
static void *
plug(void *arg)
{
	struct plugger *p = arg;
	int fd = memfd_create("guest-more", MFD_CLOEXEC);

	if (ftruncate(fd, 1 << 20))
		p->err = -errno;
	while (!p->stop && !p->err) {
		uint64_t at = 0x700000000000 + (p->changes % 8 << 20);

		p->err = change_region(p->vm, VM_ADD_MEM_REG, fd, at, 1 << 20);
		if (!p->err && p->changes % 5 == 0)
			p->err = vm_share_memory(p->vm);
		else if (!p->err)
			p->err = change_region(p->vm, VM_REM_MEM_REG, -1, at,
					       1 << 20);
		p->changes++;
		poll(NULL, 0, 1);
	}
	close(fd);
	return NULL;
}

static void
test_memory_comes_and_goes(const char *tag)
{
	struct guest *g = come(tag, GUEST_LINUX, 2);
	struct plugger p = { .vm = guest_vm(g) };
	int n = (int)tap_scaled(1000), bad = 0;
	struct fuse_entry_out e;
	pthread_t t;
	uint64_t fh;

	guest_create(g, GUEST_ROOT, "plug", O_RDWR, 0644, &e, &fh);
	pthread_create(&t, NULL, plug, &p);
	for (int i = 0; i < n && !bad; i++)
		bad = guest_write(g, e.nodeid, fh, 0, wrote + i, 65536) !=
		      65536 ||
		      guest_read(g, e.nodeid, fh, 0, got[0], 65536) != 65536 ||
		      memcmp(got[0], wrote + i, 65536);
	p.stop = true;
	pthread_join(t, NULL);
	if (!ok(!bad && !p.err, "%s: %lu changes of memory while a ring runs",
		tag, p.changes))
		printf("# %s; %s\n", guest_why(g), p.vm->why);
	guest_close(g);
}

/* Memory that was plugged in is used; once it is out it is not. */
static void
test_plugged_memory(void)
{
	struct guest *g = come("one", GUEST_LINUX, 2);
	struct vm *vm = guest_vm(g);
	struct fuse_in_header ih = {
		.len = HEAD + 16, .opcode = FUSE_GETATTR, .nodeid = GUEST_ROOT,
		.unique = 77,
	};
	struct vm_ring *r = &vm->ring[1];
	int fd = memfd_create("guest-more", MFD_CLOEXEC);
	uint64_t at = 0x700000000000;
	struct fuse_out_header oh = { 0 };
	struct vring_used_elem e = { 0 };
	unsigned char *in = vm_alloc(vm, 4096, 4096);
	long mark = daemon_log_mark(&d);

	is_int(ftruncate(fd, 1 << 20), 0, "a memfd");
	is_int(change_region(vm, VM_ADD_MEM_REG, fd, at, 1 << 20), 0,
	       "is plugged in");
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	memcpy(in, &ih, sizeof(ih));
	vm_desc(vm, &r->desc[1], in, HEAD + 16, VRING_DESC_F_NEXT, 2);
	r->desc[2] = (struct vring_desc){ at + 4096, OUT + 104,
					  VRING_DESC_F_WRITE, 0 };
	vm_ring_push(vm, r, 1);
	is_int(vm_ring_wait(vm, r, &e, END_MS), 1, "an answer");
	is_int(pread(fd, &oh, sizeof(oh), 4096), sizeof(oh), "is in it");
	is_int(oh.unique, 77, "this one");
	is_int(change_region(vm, VM_REM_MEM_REG, -1, at, 1 << 20), 0,
	       "it is taken out");
	vm_get_u64(vm, VM_GET_FEATURES, &(uint64_t){ 0 });
	vm_ring_push(vm, r, 1);
	ok(vm_is_hung_up(vm, END_MS), "using it then ends the session");
	is_int(daemon_log_wait(&d, mark, " ended: ", "outside guest memory", 1,
			       END_MS), 1, "and the log says why");
	close(fd);
	guest_close(g);
}

int
main(void)
{
	/* all of "pool" goes to the worker threads */
	static const char *const tags[] = { "one", "pool", NULL };
	struct daemon_use before;

	daemon_start(&d, tags, "[pool]\ninline = no\n");
	guest_close(come("one", GUEST_LINUX, 9));
	guest_close(come("pool", GUEST_LINUX, 9));
	daemon_has_sessions(&d, "pool", 0, END_MS);
	daemon_use(&d, &before);
	test_eight_queues("one");
	test_eight_queues("pool");
	test_stop_in_flight("one");
	test_stop_in_flight("pool");
	test_reset(GUEST_LINUX, "linux");
	test_reset(GUEST_WINDOWS_A, "windows");
	test_reset_in_flight("one");
	test_reset_in_flight("pool");
	test_memory_comes_and_goes("one");
	test_memory_comes_and_goes("pool");
	test_plugged_memory();
	ok(daemon_has_sessions(&d, "one", 0, END_MS) &&
	   daemon_has_sessions(&d, "pool", 0, END_MS), "none is left");
	daemon_settles(&d, &before, END_MS, "after them");
	daemon_stop(&d);
	return tap_done();
}
