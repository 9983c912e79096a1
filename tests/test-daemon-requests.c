/* SPDX-License-Identifier: MIT */
/*
 * FUSE requests that are wrong, on a ring that is right: each comes back, with
 * an error or with nothing, the session goes on, nothing outside the share is
 * touched, and a guest on another tag works on meanwhile.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/hostile.h"
#include "tests/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_MS 8000
#define HEAD sizeof(struct fuse_in_header)
#define OUT sizeof(struct fuse_out_header)

struct raw {
	struct guest *guest;
	struct vm *vm;
	unsigned char *in, *out;	/* 64 KiB each */
};

static void
raw_open(struct hostile *h, const char *tag, struct raw *r)
{
	struct guest_settings set = { .nslots = 2 };
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&h->daemon, tag, path), &set, &r->guest,
		       &why) || guest_init(r->guest, NULL)) {
		ok(0, "a guest begins: %s", why);
		exit(tap_done());
	}
	r->vm = guest_vm(r->guest);
	r->in = vm_alloc(r->vm, 65536, 4096);
	r->out = vm_alloc(r->vm, 65536, 4096);
}

/* A chain of its own: what used.len says, or -errno. */
static long
raw_call(struct raw *r, size_t in_len, size_t out_len)
{
	struct vm_ring *ring = &r->vm->ring[1];
	struct vring_used_elem e;
	unsigned at = 1;	/* a guest of two slots uses heads 0 and 64 */
	int err;

	if (in_len)
		vm_desc(r->vm, &ring->desc[at], r->in, (uint32_t)in_len,
			out_len ? VRING_DESC_F_NEXT : 0, 2);
	if (out_len)
		vm_desc(r->vm, &ring->desc[in_len ? 2 : at], r->out,
			(uint32_t)out_len, VRING_DESC_F_WRITE, 0);
	memset(r->out, 0xa5, 65536);
	vm_ring_push(r->vm, ring, (uint16_t)at);
	err = vm_ring_wait(r->vm, ring, &e, ANSWER_MS);
	return err < 0 ? err : e.id == at ? (long)e.len : -EPROTO;
}

/* Nothing behind the answer was touched, and it is one. */
static bool
is_answer(const struct raw *r, long len, size_t out_len)
{
	struct fuse_out_header oh;

	if (len < 0 || (size_t)len > out_len)
		return false;
	for (size_t i = (size_t)len; i < 65536; i++)
		if (r->out[i] != 0xa5)
			return false;
	if (len == 0)
		return true;
	memcpy(&oh, r->out, sizeof(oh));
	return (size_t)len >= OUT && oh.len == len && oh.error <= 0 &&
	       oh.error > -4096 && (!oh.error || len == OUT);
}

static struct fuse_in_header *
header(struct raw *r, uint32_t opcode, size_t len)
{
	struct fuse_in_header *ih = (void *)r->in;

	memset(r->in, 0, 65536);
	ih->len = (uint32_t)len;
	ih->opcode = opcode;
	ih->unique = 4242;
	ih->nodeid = GUEST_ROOT;
	return ih;
}

static void
check(struct raw *r, size_t in_len, size_t out_len, long want, const char *what)
{
	struct fuse_attr_out attr;
	long len = raw_call(r, in_len, out_len);
	struct fuse_out_header oh;
	long got = len;

	if (len == OUT) {
		memcpy(&oh, r->out, sizeof(oh));
		got = oh.error;
	}
	ok(is_answer(r, len, out_len), "%s: comes back whole", what);
	is_int(got, want, "%s: %s", what, want ? strerror((int)-want) :
	       "no answer");
	if (guest_getattr(r->guest, GUEST_ROOT, 0, &attr))
		ok(0, "%s: the session goes on: %s", what,
		   guest_why(r->guest));
}

/* Too short, too long, no room. */
static void
test_shapes(struct raw *r)
{
	header(r, FUSE_GETATTR, 1);
	check(r, 1, 144, 0, "1 byte");
	check(r, 39, 144, 0, "39 bytes");
	check(r, 0, 144, 0, "nothing to read");
	header(r, FUSE_GETATTR, 4096);
	check(r, HEAD + 16, 144, -EINVAL, "a length beyond the descriptors");
	header(r, FUSE_GETATTR, 0);
	check(r, HEAD + 16, 144, -EINVAL, "a length of 0");
	header(r, FUSE_GETATTR, 39);
	check(r, HEAD + 16, 144, -EINVAL, "a length of 39");
	header(r, FUSE_GETATTR, UINT32_MAX);
	check(r, HEAD + 16, 144, -EINVAL, "a length of 4 GiB");
	header(r, FUSE_GETATTR, HEAD);
	check(r, HEAD, 144, -EINVAL, "no arguments");
	header(r, FUSE_GETATTR, HEAD + 16);
	check(r, HEAD + 16, 0, 0, "no writable descriptor");
	check(r, HEAD + 16, 1, 0, "1 writable byte");
	check(r, HEAD + 16, 15, 0, "15 writable bytes");
	check(r, HEAD + 16, OUT, -EINVAL, "room for a header only");
	check(r, HEAD + 16, OUT + 103, -EINVAL, "a byte too few");
	header(r, 0, HEAD);
	check(r, HEAD, 144, -ENOSYS, "opcode 0");
	header(r, 99, HEAD);
	check(r, HEAD, 144, -ENOSYS, "opcode 99");
	header(r, UINT32_MAX, HEAD);
	check(r, HEAD, 144, -ENOSYS, "opcode 2^32 - 1");
}

/* ------------------------------------------------------------------ */

struct name_op {
	const char *what;
	uint32_t opcode;
	size_t arg;		/* bytes before the name */
	bool two;		/* a second name follows */
	bool dots;		/* "." and ".." of the root are names */
};

static const struct name_op name_ops[] = {
	{ "LOOKUP", FUSE_LOOKUP, 0, false, true },
	{ "MKDIR", FUSE_MKDIR, 8, false, false },
	{ "MKNOD", FUSE_MKNOD, 16, false, false },
	{ "CREATE", FUSE_CREATE, 16, false, false },
	{ "UNLINK", FUSE_UNLINK, 0, false, false },
	{ "RMDIR", FUSE_RMDIR, 0, false, false },
	{ "SYMLINK", FUSE_SYMLINK, 0, true, false },
	{ "LINK", FUSE_LINK, 8, false, false },
	{ "RENAME", FUSE_RENAME, 8, true, false },
	{ "RENAME2", FUSE_RENAME2, 16, true, false },
};

struct bad_name {
	const char *what, *name;
	size_t len;		/* with its NUL, if it has one */
	int err;
	bool dot;
};

static char name_256[257];

static const struct bad_name bad_names[] = {
	{ "without NUL", "abc", 3, -EINVAL, false },
	{ "of no bytes", "", 1, -EINVAL, false },
	{ "with /", "../evil", 8, -EINVAL, false },
	{ "with a leading /", "/tmp", 5, -EINVAL, false },
	{ "with a NUL inside", "a\0b", 4, -EINVAL, false },
	{ "of 256 bytes", name_256, 257, -ENAMETOOLONG, false },
	{ ".", ".", 2, -EINVAL, true },
	{ "..", "..", 3, -EINVAL, true },
};

/* `name` is the n-th of the operation. */
static void
try_name(struct raw *r, const struct name_op *op, const struct bad_name *bad,
	 int n)
{
	size_t at = HEAD + op->arg;
	char what[80];

	header(r, op->opcode, 0);
	if (op->opcode == FUSE_RENAME || op->opcode == FUSE_RENAME2 ||
	    op->opcode == FUSE_LINK)
		r->in[HEAD] = GUEST_ROOT;
	if (n == 1) {
		memcpy(r->in + at, "good", 5);
		at += 5;
	}
	memcpy(r->in + at, bad->name, bad->len);
	at += bad->len;
	if (n == 0 && op->two) {
		memcpy(r->in + at, "good", 5);
		at += 5;
	}
	((struct fuse_in_header *)r->in)->len = (uint32_t)at;
	snprintf(what, sizeof(what), "%s, %s name %s", op->what,
		 n ? "second" : "first", bad->what);
	/* The NUL that is missing is that of the next name. */
	check(r, at, 4096, bad->err, what);
}

static void
test_names(struct raw *r)
{
	memset(name_256, 'n', 256);
	for (size_t i = 0; i < sizeof(name_ops) / sizeof(*name_ops); i++)
		for (size_t k = 0; k < sizeof(bad_names) / sizeof(*bad_names);
		     k++) {
			const struct name_op *op = &name_ops[i];
			const struct bad_name *bad = &bad_names[k];

			if (bad->dot && op->dots)
				continue;
			/* "abc" without NUL before "good": a name "abcgood" */
			if (!op->two || k != 0)
				try_name(r, op, bad, 0);
			if (op->opcode == FUSE_RENAME ||
			    op->opcode == FUSE_RENAME2)
				try_name(r, op, bad, 1);
		}
}

/* ------------------------------------------------------------------ */
/* Ids that nobody was given, sizes that are not there. */

static void
test_ids_and_sizes(struct raw *r)
{
	static unsigned char buf[4096];
	struct fuse_write_in wr = { .size = 1 << 20 };
	struct fuse_read_in rd = { .size = UINT32_MAX };
	struct fuse_batch_forget_in forget = { .count = UINT32_MAX };
	struct fuse_entry_out e;
	struct fuse_attr_out attr;
	uint64_t fh;

	is_int(guest_create(r->guest, GUEST_ROOT, "file", O_RDWR, 0644, &e,
			    &fh), 0, "a file");
	is_int(guest_write(r->guest, e.nodeid, fh, 0, buf, 4096), 4096,
	       "of 4096 bytes");
	is_int(guest_getattr(r->guest, 0, 0, &attr), -ESTALE, "node 0");
	is_int(guest_getattr(r->guest, e.nodeid + (1ull << 40), 0, &attr),
	       -ESTALE, "a node that is none");
	is_int(guest_read(r->guest, e.nodeid, fh + 1000, 0, buf, 10), -EBADF,
	       "a handle that is none");
	is_int(guest_read(r->guest, e.nodeid, UINT64_MAX, 0, buf, 10), -EBADF,
	       "handle 2^64 - 1");
	is_int(guest_read(r->guest, e.nodeid, fh, UINT64_MAX, buf, 10),
	       -EINVAL, "offset 2^64 - 1");
	is_int(guest_write(r->guest, e.nodeid, fh, 1ull << 63, buf, 10),
	       -EINVAL, "offset 2^63");
	wr.fh = rd.fh = fh;
	header(r, FUSE_WRITE, HEAD + sizeof(wr) + 10)->nodeid = e.nodeid;
	memcpy(r->in + HEAD, &wr, sizeof(wr));
	check(r, HEAD + sizeof(wr) + 10, OUT + 8, -EINVAL,
	      "WRITE of more than there is");
	header(r, FUSE_READ, HEAD + sizeof(rd))->nodeid = e.nodeid;
	memcpy(r->in + HEAD, &rd, sizeof(rd));
	is_int(raw_call(r, HEAD + sizeof(rd), OUT + 100), OUT + 100,
	       "READ of 4 GiB gives what there is room for");
	header(r, FUSE_BATCH_FORGET, HEAD + sizeof(forget));
	memcpy(r->in + HEAD, &forget, sizeof(forget));
	is_int(raw_call(r, HEAD + sizeof(forget), 0), 0,
	       "BATCH_FORGET of 2^32 - 1 nodes that are not there");
	is_int(guest_forget(r->guest, e.nodeid, UINT64_MAX), 0,
	       "FORGET of more than was looked up");
	is_int(guest_forget(r->guest, GUEST_ROOT, UINT64_MAX), 0,
	       "FORGET of the root");
	is_int(guest_getattr(r->guest, GUEST_ROOT, 0, &attr), 0,
	       "which stays");
	is_int(guest_release(r->guest, e.nodeid, fh), 0, "close");
	is_int(guest_release(r->guest, e.nodeid, fh), -EBADF, "close again");
	is_int(guest_unlink(r->guest, GUEST_ROOT, "file"), 0, "remove");
}

/* ------------------------------------------------------------------ */
/* Anything at all. */

static void
test_random(struct raw *r, const char *what)
{
	long n = tap_scaled(8000), bad = 0;
	unsigned seed = 7;

	for (long i = 0; i < n && bad < 5; i++) {
		uint32_t opcode = (uint32_t)rand_r(&seed) % 56;
		size_t in = HEAD + (size_t)rand_r(&seed) % 200;
		size_t out = rand_r(&seed) % 4 ? OUT + (size_t)rand_r(&seed) %
			     300 : (size_t)rand_r(&seed) % 20;
		long len;

		/* Not DESTROY: then all that follows gets one answer. */
		if (opcode == FUSE_DESTROY)
			continue;
		header(r, opcode, in);
		for (size_t k = HEAD; k < in; k++)
			r->in[k] = (unsigned char)(rand_r(&seed) % 3 ?
				   rand_r(&seed) % 4 : rand_r(&seed));
		r->in[in - 1] = 0;
		if (rand_r(&seed) % 8 == 0)
			((struct fuse_in_header *)r->in)->nodeid =
				(uint64_t)rand_r(&seed) % 8;
		len = raw_call(r, in, out);
		if (is_answer(r, len, out))
			continue;
		bad++;
		printf("# opcode %u, %zu bytes in, %zu out: %ld\n", opcode, in,
		       out, len);
		if (len < 0)
			break;
	}
	is_int(bad, 0, "%s: %ld requests of random bytes come back", what, n);
}

/* Nothing may have appeared beside the shares. */
static int
count_files(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

int
main(void)
{
	static const char keys[] = "[bad1]\ninline = no\n"
				   "[bad2]\nguest = windows\n";
	struct hostile h;
	struct raw r;
	int beside;

	hostile_begin(&h, keys);
	beside = count_files(h.daemon.work);
	raw_open(&h, "bad0", &r);
	test_shapes(&r);
	test_names(&r);
	test_ids_and_sizes(&r);
	test_random(&r, "bad0");
	guest_close(r.guest);
	hostile_others_fine(&h, "after wrong requests");
	raw_open(&h, "bad1", &r);
	test_shapes(&r);
	test_ids_and_sizes(&r);
	test_random(&r, "bad1");
	guest_close(r.guest);
	raw_open(&h, "bad2", &r);
	test_random(&r, "bad2");
	guest_close(r.guest);
	is_int(count_files(h.daemon.work), beside,
	       "nothing was made outside the shares");
	is_int(daemon_log_count(&h.daemon, 0, "bad", " ended: "), 0,
	       "no session was ended for it");
	hostile_end(&h);
	return tap_done();
}
