/* SPDX-License-Identifier: MIT */
/* READs that wait together are done by one system call. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"
#include "tests/uring.h"

#define FILE_SIZE (1 << 20)
#define ROOM (160 << 10)
#define PIECES 64
#define HEAD sizeof(struct fuse_out_header)

/* A request, and what is to be known of it. */
struct one {
	struct {
		struct fuse_in_header h;
		struct fuse_read_in r;
	} in;
	struct iovec iin, iout[PIECES];
	struct fs_req req;
	unsigned char out[HEAD + ROOM];
};

static struct one one[FS_TOGETHER_MAX + 1];
static unsigned char data[FILE_SIZE];

static ssize_t
put(struct fc *c, struct one *o, unsigned flags)
{
	o->req.flags = flags;
	return fs_serve(c->session, c->thread, &o->req);
}

/* A READ whose answer has room for `size` bytes, in pieces of `piece`. */
static void
make(struct fc *c, unsigned i, uint64_t node, uint64_t fh, uint64_t offset,
     uint32_t size, size_t piece)
{
	struct one *o = &one[i];
	size_t room = HEAD + size;

	memset(o->out, 0x5a, sizeof(o->out));
	o->in.h = (struct fuse_in_header){
		.len = sizeof(o->in), .opcode = FUSE_READ, .unique = 100 + i,
		.nodeid = node,
	};
	o->in.r = (struct fuse_read_in){ .fh = fh, .offset = offset,
					 .size = size };
	o->iin = (struct iovec){ &o->in, sizeof(o->in) };
	o->req = (struct fs_req){
		.in = &o->iin, .nin = 1, .in_len = sizeof(o->in),
		.out = o->iout, .out_len = room, .counters = &c->counters,
	};
	for (size_t at = 0; at < room; at += piece)
		o->iout[o->req.nout++] = (struct iovec){
			o->out + at, room - at < piece ? room - at : piece
		};
}

static ssize_t
ask(struct fc *c, unsigned i, uint64_t node, uint64_t fh, uint64_t offset,
    uint32_t size, size_t piece)
{
	make(c, i, node, fh, offset, size, piece);
	return put(c, &one[i], FS_MORE);
}

/* The answer of `size` bytes from `offset`, and nothing behind it. */
static bool
is_right(unsigned i, ssize_t n, uint64_t offset, size_t size)
{
	const struct one *o = &one[i];
	struct fuse_out_header h;

	memcpy(&h, o->out, HEAD);
	return n == (ssize_t)(HEAD + size) && h.len == HEAD + size &&
	       !h.error && h.unique == 100 + i &&
	       !memcmp(o->out + HEAD, data + offset, size) &&
	       o->out[HEAD + size] == 0x5a;
}

static void
test_together(struct fc *c, uint64_t id, uint64_t fh)
{
	struct fs_counters was = c->counters;
	ssize_t n[FS_TOGETHER_MAX];

	ok(ask(c, 0, id, fh, 4096, 4096, ROOM) == FS_LATER &&
		   ask(c, 1, id, fh, 70000, 1, ROOM) == FS_LATER &&
		   ask(c, 2, id, fh, 3, 128 << 10, 4096) == FS_LATER,
	   "three are put off");
	ok(one[0].out[0] == 0x5a && one[2].out[HEAD] == 0x5a, "not done");
	fc_together(c, n);
	ok(is_right(0, n[0], 4096, 4096), "a page");
	ok(is_right(1, n[1], 70000, 1), "a byte");
	ok(is_right(2, n[2], 3, 128 << 10), "128 KiB in pieces");
	is_int(c->counters.requests - was.requests, 3, "are counted");
	is_int(c->counters.reads_together - was.reads_together, 3,
	       "as done together");
	is_int(c->counters.read_bytes - was.read_bytes, 4096 + 1 + (128 << 10),
	       "so are their bytes");
	for (unsigned i = 0; i < FS_TOGETHER_MAX; i++)
		is_int(ask(c, i, id, fh, i * 5000, 4000, ROOM), FS_LATER,
		       "number %u", i);
	ok(is_right(FS_TOGETHER_MAX,
		    ask(c, FS_TOGETHER_MAX, id, fh, 9, 4000, ROOM), 9, 4000),
	   "one more is done at once");
	fc_together(c, n);
	for (unsigned i = 0; i < FS_TOGETHER_MAX; i++)
		ok(is_right(i, n[i], i * 5000, 4000), "its answer");
}

/* What is not put off, or has to be asked again. */
static void
test_alone(struct fc *c, uint64_t id, uint64_t fh)
{
	struct fs_counters was = c->counters;
	ssize_t n[3];

	ok(is_right(0, put(c, &one[0], 0), 0, 4000), "not one that is alone");
	ok(is_right(0, ask(c, 0, id, fh, 0, 130 << 10, ROOM), 0, 130 << 10),
	   "nor a long one");
	ok(is_right(0, ask(c, 0, id, fh, 0, 4096, 90), 0, 4096),
	   "nor one in many pieces");
	ask(c, 0, id, fh, 0, 0, ROOM);
	is_int(put(c, &one[0], FS_MORE), HEAD, "nor one of nothing");
	is_int(ask(c, 0, id, fh + 77, 0, 10, ROOM), HEAD, "nor of no file");
	is_int(ask(c, 0, id, fh, UINT64_MAX - 5, 10, ROOM), HEAD,
	       "nor beyond 2^63");
	is_int(c->counters.reads_together - was.reads_together, 0,
	       "none of these was");
	is_int(ask(c, 0, id, fh, FILE_SIZE - 10, 4096, ROOM), FS_LATER,
	       "at the end of the file");
	is_int(ask(c, 1, id, fh, FILE_SIZE, 4096, ROOM), FS_LATER, "behind it");
	is_int(ask(c, 2, id, fh, 7, 4096, ROOM), FS_LATER, "and before it");
	fc_together(c, n);
	is_int(n[0], FS_ALONE, "is short");
	is_int(n[1], FS_ALONE, "is nothing");
	ok(is_right(2, n[2], 7, 4096), "is answered");
	ok(is_right(0, put(c, &one[0], 0), FILE_SIZE - 10, 10),
	   "then 10 bytes");
	ok(is_right(1, put(c, &one[1], 0), 0, 0), "then none");
}

/* The file stays open until what was put off is done. */
static void
test_release(struct fc *c, uint64_t id)
{
	uint64_t fh = (uint64_t)fc_open(c, id, O_RDONLY);
	unsigned fds;
	ssize_t n;

	is_int(ask(c, 0, id, fh, 500, 4096, ROOM), FS_LATER, "another handle");
	fds = fc_count_fds();
	is_int(fc_release(c, id, fh), 0, "is released");
	is_int(fc_count_fds(), fds, "and not closed");
	fc_together(c, &n);
	ok(is_right(0, n, 500, 4096), "its READ is answered");
	is_int(fc_count_fds(), fds - 1, "then it is closed");
	is_int(ask(c, 0, id, fh, 500, 4096, ROOM), HEAD, "and is no handle");
}

/* A hostile front end takes the memory away. */
static void
test_gone(struct fc *c, uint64_t id, uint64_t fh)
{
	ssize_t n[2];
	void *hole = mmap(NULL, 8192, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	make(c, 0, id, fh, 0, 4096, ROOM);
	one[0].req.nout = 2;
	one[0].iout[0].iov_len = HEAD;
	one[0].iout[1] = (struct iovec){ hole, 4096 };
	is_int(put(c, &one[0], FS_MORE), FS_LATER, "into memory that goes");
	is_int(ask(c, 1, id, fh, 9, 4096, ROOM), FS_LATER, "beside another");
	fc_together(c, n);
	is_int(n[0], FS_ALONE, "is not answered");
	ok(is_right(1, n[1], 9, 4096), "the other is");
	is_int(put(c, &one[0], 0), FS_GONE, "memory went away");
	munmap(hole, 8192);
}

static void
chill(int fd)
{
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* What is not in the host's memory goes to the pool. */
static void
test_cold(struct fc *c, uint64_t id, uint64_t fh, int fd)
{
	uint64_t was = c->counters.deferred, reads;
	char byte;
	struct iovec v = { &byte, 1 };
	ssize_t n = 0;

	chill(fd);
	if (preadv2(fd, &v, 1, FILE_SIZE / 4 * 3, RWF_NOWAIT) != -1 ||
	    errno != EAGAIN) {
		tap_skip("a cold READ", "this file system keeps it in memory");
		return;
	}
	/* The kernel may still hold on to what is to go. */
	for (int i = 0; i < 100 && n != FS_DEFER; i++) {
		chill(fd);
		ask(c, 0, id, fh, 0, 4096, ROOM);
		fc_together(c, &n);
	}
	is_int(n, FS_DEFER, "what is on the disk only");
	is_int(one[0].req.flags, FS_MORE, "may be put off by who may wait");
	is_int(c->counters.deferred - was, 1, "is counted");
	reads = c->counters.requests;
	ok(is_right(0, put(c, &one[0], FS_MAY_BLOCK), 0, 4096),
	   "and read by who may wait");
	is_int(c->counters.requests - reads, 1, "as one request");
}

/* A thread that may wait has several under way at the same time. */
static void
test_waiting(struct fc *c, uint64_t id, int fd)
{
	uint64_t plain = (uint64_t)fc_open(c, id, O_RDONLY);
	uint64_t direct = (uint64_t)fc_open(c, id, O_RDONLY | O_DIRECT);
	const unsigned flags = FS_MORE | FS_MAY_BLOCK;
	struct fs_counters was = c->counters;
	ssize_t n[FS_TOGETHER_MAX];

	ok(fs_can_be_later(c->thread), "waiting: a ring can be had");
	make(c, 0, id, direct, 0, 4096, ROOM);
	is_int(put(c, &one[0], FS_MORE), FS_DEFER, "O_DIRECT: to the pool");
	is_int(one[0].req.flags, FS_MORE, "where it may be put off");
	chill(fd);
	for (unsigned i = 0; i < FS_TOGETHER_MAX; i++) {
		make(c, i, id, i % 2 ? plain : direct, i * 8192, 8192, ROOM);
		is_int(put(c, &one[i], flags), FS_LATER, "waiting: number %u",
		       i);
	}
	memset(n, 0, sizeof(n));
	fc_together(c, n);
	for (unsigned i = 0; i < FS_TOGETHER_MAX; i++)
		ok(is_right(i, n[i], i * 8192, 8192), "its answer");
	is_int(c->counters.requests - was.requests, FS_TOGETHER_MAX,
	       "waiting: are counted");
	make(c, 0, id, plain, 0, 150 << 10, ROOM);
	is_int(put(c, &one[0], flags), FS_LATER, "waiting: a long one");
	make(c, 1, id, direct, FILE_SIZE - 4096, 8192, ROOM);
	is_int(put(c, &one[1], flags), FS_LATER, "waiting: the end");
	make(c, 2, id, direct, 4096, 100, ROOM);
	is_int(put(c, &one[2], flags), FS_LATER, "waiting: not aligned");
	fc_together(c, n);
	ok(is_right(0, n[0], 0, 150 << 10), "is answered");
	is_int(n[1], FS_ALONE, "is short");
	ok(is_right(1, put(c, &one[1], FS_MAY_BLOCK), FILE_SIZE - 4096, 4096),
	   "alone: as long as it is");
	if (n[2] == FS_ALONE)
		is_int(put(c, &one[2], FS_MAY_BLOCK), HEAD,
		       "alone: an error");
	else
		ok(is_right(2, n[2], 4096, 100), "as this kernel likes it");
	fc_release(c, id, plain);
	fc_release(c, id, direct);
}

/* What goes to the pool for another reason is not put off there. */
static void
test_deferred(struct fc *c, uint64_t id, uint64_t fh, int fd)
{
	unsigned was = c->set.inline_io;

	c->set.inline_io = CONF_INLINE_NO;
	make(c, 0, id, fh, 0, 4096, ROOM);
	is_int(put(c, &one[0], FS_MORE), FS_DEFER, "inline = no: to the pool");
	is_int(one[0].req.flags, 0, "where it is done alone");
	c->set.inline_io = was;
	c->set.io_uring = false;
	for (int i = 0; i < 100; i++) {
		ssize_t n;

		chill(fd);
		n = ask(c, 0, id, fh, 0, 4096, ROOM);
		if (n == FS_LATER) {
			fc_together(c, &n);
			ok(false, "io_uring = no: nothing is put off");
		}
		if (n != FS_DEFER)
			continue;
		is_int(one[0].req.flags, 0, "io_uring = no: alone there, too");
		break;
	}
	c->set.io_uring = true;
	for (unsigned at = 0; at < FILE_SIZE; at += 128 << 10) {
		make(c, 0, id, fh, at, 128 << 10, ROOM);
		put(c, &one[0], FS_MAY_BLOCK);
	}
}

static void
test_off(struct fc *c, uint64_t id, uint64_t fh)
{
	c->set.io_uring = false;
	ok(is_right(0, ask(c, 0, id, fh, 0, 4096, ROOM), 0, 4096),
	   "io_uring = no: at once");
	c->set.io_uring = true;
	is_int(ask(c, 0, id, fh, 0, 4096, ROOM), FS_LATER, "yes: put off");
	fc_together(c, &(ssize_t){ 0 });
}

/* The guest begins anew meanwhile. */
static void
test_restart(struct fc *c, uint64_t id)
{
	uint64_t fh = (uint64_t)fc_open(c, id, O_RDONLY);
	unsigned fds = fc_count_fds();
	ssize_t n;

	is_int(ask(c, 0, id, fh, 77, 4096, ROOM), FS_LATER, "before INIT");
	is_int(fc_init(c, 38, FC_ALL_FLAGS).major, 7, "INIT");
	fc_together(c, &n);
	ok(is_right(0, n, 77, 4096), "is answered after it");
	ok(fc_count_fds() < fds, "and its file closed");
	is_int(ask(c, 0, id, fh, 77, 4096, ROOM), HEAD, "there is no handle");
}

/* A thread that cannot have a ring, for whatever reason. */
static void
test_no_ring(struct fc *c, uint64_t id, uint64_t fh)
{
	struct rlimit was, none;
	int before = open("/dev/null", O_RDONLY), after;

	close(before);
	fs_thread_free(c->thread);
	after = open("/dev/null", O_RDONLY);
	close(after);
	ok(after < before, "a thread that ends closes its ring");
	is_int(fs_thread_new(&c->thread), 0, "a thread");
	getrlimit(RLIMIT_NOFILE, &was);
	none = was;
	none.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &none);
	ok(is_right(0, ask(c, 0, id, fh, 0, 4096, ROOM), 0, 4096),
	   "no descriptor for a ring: at once");
	setrlimit(RLIMIT_NOFILE, &was);
	ok(is_right(0, ask(c, 0, id, fh, 8, 4096, ROOM), 8, 4096),
	   "from then on");
}

/* Where RWF_NOWAIT does not work, as with tmpfs. */
static void
test_memory(void)
{
	struct fc *c = fc_new("/dev/shm");
	uint64_t fh;
	int64_t id;
	int fd;

	fc_start(c);
	id = fc_create(c, 1, "file", O_RDWR, 0644, &fh);
	fc_write(c, (uint64_t)id, fh, 0, data, 4096, 0);
	fd = openat(c->fd, "file", O_RDONLY | O_CLOEXEC);
	if (ask(c, 0, (uint64_t)id, fh, 0, 4096, ROOM) == FS_LATER) {
		ssize_t n;

		fc_together(c, &n);
		is_int(n, has_nowait(fd) ? (ssize_t)HEAD + 4096 : FS_ALONE,
		       "/dev/shm, the first time");
		if (n == FS_ALONE)
			ok(is_right(0, put(c, &one[0], 0), 0, 4096),
			   "is answered alone");
	}
	if (!has_nowait(fd))
		ok(is_right(0, ask(c, 0, (uint64_t)id, fh, 0, 4096, ROOM), 0,
			    4096),
		   "then nothing is put off");
	close(fd);
	fc_free(c);
}

int
main(void)
{
	struct fc *c;
	uint64_t fh;
	int64_t id;
	int fd;

	if (!has_uring())
		tap_skip_all("io_uring is not allowed here");
	c = fc_new(NULL);
	c->set.allow_direct_io = true;
	fc_start(c);
	id = fc_create(c, 1, "file", O_RDWR, 0644, &fh);
	for (unsigned i = 0; i < FILE_SIZE; i++)
		data[i] = (unsigned char)(i ^ i >> 8 ^ i >> 16);
	is_int(fc_write(c, (uint64_t)id, fh, 0, data, FILE_SIZE, 0), FILE_SIZE,
	       "a file");
	fd = openat(c->fd, "file", O_RDONLY | O_CLOEXEC);
	if (has_nowait(fd)) {
		test_together(c, (uint64_t)id, fh);
		test_alone(c, (uint64_t)id, fh);
		test_release(c, (uint64_t)id);
		test_gone(c, (uint64_t)id, fh);
		test_cold(c, (uint64_t)id, fh, fd);
		test_waiting(c, (uint64_t)id, fd);
		test_deferred(c, (uint64_t)id, fh, fd);
		test_off(c, (uint64_t)id, fh);
		test_no_ring(c, (uint64_t)id, fh);
		fs_thread_free(c->thread);
		fs_thread_new(&c->thread);
		test_restart(c, (uint64_t)id);
	} else {
		tap_skip("READs together",
			 "RWF_NOWAIT does not work in the build directory");
	}
	close(fd);
	ok(!c->broken, "replies are exact");
	fc_free(c);
	if (!access("/dev/shm", W_OK))
		test_memory();
	return tap_done();
}
