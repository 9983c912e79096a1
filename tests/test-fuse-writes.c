/* SPDX-License-Identifier: MIT */
/* WRITEs of O_DIRECT that wait for the disk together. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"
#include "tests/uring.h"

#define BLOCK 4096
#define FILE_SIZE (FS_TOGETHER_MAX * 2 * BLOCK)
#define WAITS (FS_MORE | FS_MAY_BLOCK)
#define REPLY (sizeof(struct fuse_out_header) + sizeof(struct fuse_write_out))

/* A WRITE of `size` times the letter `c`. */
struct one {
	struct {
		struct fuse_in_header h;
		struct fuse_write_in w;
		char data[2 * BLOCK];
	} in;
	struct iovec iin[2], iout;
	struct fs_req req;
	struct {
		struct fuse_out_header h;
		struct fuse_write_out w;
		uint64_t behind;
	} out;
};

static struct one one[FS_TOGETHER_MAX + 1];
static const char zeros[FILE_SIZE];

static void
make(struct fc *c, unsigned i, uint64_t node, uint64_t fh, uint64_t offset,
     uint32_t size, char letter)
{
	struct one *o = &one[i];
	size_t head = sizeof(o->in.h) + sizeof(o->in.w);

	memset(&o->out, 0x5a, sizeof(o->out));
	memset(o->in.data, letter, size);
	o->in.h = (struct fuse_in_header){
		.len = (uint32_t)(head + size), .opcode = FUSE_WRITE,
		.unique = 100 + i, .nodeid = node,
	};
	o->in.w = (struct fuse_write_in){ .fh = fh, .offset = offset,
					  .size = size };
	/* Cut where it hurts. */
	o->iin[0] = (struct iovec){ &o->in, head + size / 3 };
	o->iin[1] = (struct iovec){ o->in.data + size / 3, size - size / 3 };
	o->iout = (struct iovec){ &o->out, REPLY };
	o->req = (struct fs_req){
		.in = o->iin, .nin = 2, .in_len = head + size,
		.out = &o->iout, .nout = 1, .out_len = REPLY,
		.counters = &c->counters,
	};
}

static ssize_t
put(struct fc *c, unsigned i, unsigned flags)
{
	one[i].req.flags = flags;
	return fs_serve(c->session, c->thread, &one[i].req);
}

static bool
is_right(unsigned i, ssize_t n)
{
	const struct one *o = &one[i];

	return n == (ssize_t)REPLY && o->out.h.len == REPLY &&
	       !o->out.h.error && o->out.h.unique == 100 + i &&
	       o->out.w.size == o->in.w.size &&
	       o->out.behind == 0x5a5a5a5a5a5a5a5a;
}

static bool
is_error(unsigned i, ssize_t n, int err)
{
	return n == sizeof(struct fuse_out_header) &&
	       one[i].out.h.error == -err;
}

/* The disk has it, and nothing else: O_DIRECT waits for what has to go. */
static void
chill(int fd)
{
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* What the host has there: `size` times the letter. */
static bool
has(int fd, uint64_t offset, size_t size, char letter)
{
	char got[2 * BLOCK];
	bool good = pread(fd, got, size, (off_t)offset) == (ssize_t)size;

	for (size_t i = 0; i < size && good; i++)
		good = got[i] == letter;
	chill(fd);
	return good;
}

static void
test_together(struct fc *c, uint64_t id, uint64_t fh, int fd)
{
	struct fs_counters was = c->counters;
	ssize_t n[FS_TOGETHER_MAX];
	bool all = true;

	make(c, 0, id, fh, 0, BLOCK, 'a');
	is_int(put(c, 0, FS_MORE), FS_DEFER, "who may not wait: to the pool");
	is_int(one[0].req.flags, FS_MORE, "where it may be put off");
	is_int(put(c, 0, FS_MAY_BLOCK), REPLY, "alone it is done at once");
	was = c->counters;
	for (unsigned i = 0; i < FS_TOGETHER_MAX; i++) {
		make(c, i, id, fh, (uint64_t)i * BLOCK, BLOCK, (char)('b' + i));
		all &= put(c, i, WAITS) == FS_LATER;
		/* What it came in is the caller's again. */
		memset(one[i].in.data, '!', sizeof(one[i].in.data));
	}
	ok(all, "%u are put off", FS_TOGETHER_MAX);
	ok(has(fd, 0, BLOCK, 'a'), "not done");
	make(c, FS_TOGETHER_MAX, id, fh, FILE_SIZE - BLOCK, BLOCK, 'z');
	ok(is_right(FS_TOGETHER_MAX, put(c, FS_TOGETHER_MAX, WAITS)) &&
		   has(fd, FILE_SIZE - BLOCK, BLOCK, 'z'),
	   "one more is done at once");
	fc_together(c, n);
	for (unsigned i = 0; i < FS_TOGETHER_MAX; i++)
		ok(is_right(i, n[i]) && has(fd, (uint64_t)i * BLOCK, BLOCK,
					    (char)('b' + i)),
		   "number %u", i);
	is_int(c->counters.requests - was.requests, FS_TOGETHER_MAX + 1,
	       "all are counted");
	is_int(c->counters.writes_together - was.writes_together,
	       FS_TOGETHER_MAX, "as done together");
	is_int(c->counters.written_bytes - was.written_bytes,
	       (FS_TOGETHER_MAX + 1) * BLOCK, "and their bytes");
}

/* Is this WRITE done at once, and all of it? */
static void
alone(struct fc *c, const char *what)
{
	ok(is_right(0, put(c, 0, WAITS)), "%s: is done at once", what);
}

static void
test_alone(struct fc *c, uint64_t id, uint64_t fh)
{
	uint64_t plain = (uint64_t)fc_open(c, id, O_RDWR);
	uint64_t sync = (uint64_t)fc_open(c, id, O_RDWR | O_DIRECT | O_DSYNC);
	struct fs_counters was = c->counters;

	make(c, 0, id, plain, 0, BLOCK, 'a');
	alone(c, "not O_DIRECT");
	make(c, 0, id, sync, 0, BLOCK, 'a');
	alone(c, "O_DSYNC");
	make(c, 0, id, fh, 0, BLOCK, 'a');
	one[0].in.w.flags = O_SYNC;
	alone(c, "O_SYNC by fcntl");
	make(c, 0, id, fh, 0, BLOCK, 'a');
	one[0].in.w.write_flags = FUSE_WRITE_KILL_SUIDGID;
	alone(c, "one that clears bits");
	make(c, 0, id, fh, 0, 0, 'a');
	alone(c, "nothing");
	make(c, 0, id, fh, 0, BLOCK, 'a');
	c->set.io_uring = false;
	alone(c, "io_uring = no");
	is_int(put(c, 0, FS_MORE), FS_DEFER, "io_uring = no: to the pool");
	is_int(one[0].req.flags, 0, "where it is done alone");
	c->set.io_uring = true;
	make(c, 0, id, sync, 0, BLOCK, 'a');
	is_int(put(c, 0, FS_MORE), FS_DEFER, "O_DSYNC: to the pool");
	is_int(one[0].req.flags, 0, "where it is, too");
	is_int(c->counters.writes_together - was.writes_together, 0,
	       "none was put off");
	fc_release(c, id, plain);
	fc_release(c, id, sync);
}

/* It goes where the host's file ends. */
static void
test_append(struct fc *c, uint64_t id, uint64_t fh, int fd)
{
	struct stat st;

	make(c, 0, id, fh, 0, BLOCK, 'e');
	one[0].in.w.flags = O_APPEND;
	fc_init(c, 38, FC_ALL_FLAGS & ~(uint64_t)FUSE_WRITEBACK_CACHE);
	id = (uint64_t)fc_lookup(c, 1, "file");
	one[0].in.h.nodeid = id;
	one[0].in.w.fh = (uint64_t)fc_open(c, id, O_RDWR | O_DIRECT);
	alone(c, "O_APPEND");
	ok(!fstat(fd, &st) && st.st_size == FILE_SIZE + BLOCK &&
		   has(fd, FILE_SIZE, BLOCK, 'e'), "behind the end");
}

/* What io_uring does not do in one go. */
static void
test_refused(struct fc *c, uint64_t id, uint64_t fh, int fd)
{
	uint64_t readonly = (uint64_t)fc_open(c, id, O_RDONLY | O_DIRECT);
	struct stat st;
	ssize_t n[3], got;

	make(c, 0, id, fh, FILE_SIZE, BLOCK + 100, 'p');
	one[0].in.w.write_flags = FUSE_WRITE_CACHE;
	make(c, 1, id, fh, BLOCK, BLOCK, 'q');
	make(c, 2, id, readonly, 0, BLOCK, 'r');
	is_int(put(c, 0, WAITS), FS_LATER, "no whole block");
	is_int(put(c, 1, WAITS), FS_LATER, "beside another");
	got = put(c, 2, WAITS);
	fc_together(c, n);
	is_int(n[0], FS_ALONE, "is refused");
	ok(is_right(1, n[1]) && has(fd, BLOCK, BLOCK, 'q'), "the other is not");
	ok(is_right(0, put(c, 0, FS_MAY_BLOCK)) &&
		   has(fd, FILE_SIZE, BLOCK + 100, 'p') && !fstat(fd, &st) &&
		   st.st_size == FILE_SIZE + BLOCK + 100,
	   "alone it is written");
	if (got == FS_LATER) {
		is_int(n[2], FS_ALONE, "an fd to read: is refused");
		got = put(c, 2, FS_MAY_BLOCK);
	}
	ok(is_error(2, got, EBADF), "an fd to read: EBADF");
	fc_release(c, id, readonly);
	if (ftruncate(fd, FILE_SIZE))
		ok(0, "ftruncate");
}

/* What makes the file longer, most file systems do one after the other. */
static void
test_longer(struct fc *c, uint64_t id, int fd)
{
	uint64_t fh = (uint64_t)fc_open(c, id, O_RDWR | O_DIRECT);
	unsigned tried = 0;
	ssize_t n;

	make(c, 0, id, fh, FILE_SIZE, BLOCK, 'l');
	is_int(put(c, 0, WAITS), FS_LATER, "a longer file");
	fc_together(c, &n);
	if (n != FS_ALONE) {
		ok(is_right(0, n), "is written");
		tap_skip("one that could not be begun", "it could, here");
	} else {
		ok(is_right(0, put(c, 0, FS_MAY_BLOCK)), "is written alone");
		for (int i = 0; i < 64; i++)
			tried += put(c, 0, FS_MORE) == FS_DEFER &&
				 (one[0].req.flags & FS_MORE);
		is_int(tried, 0, "is not tried again");
		put(c, 0, FS_MORE);
		is_int(one[0].req.flags, FS_MORE, "for a while");
	}
	ok(has(fd, FILE_SIZE, BLOCK, 'l'), "all of it");
	fc_release(c, id, fh);
	if (ftruncate(fd, FILE_SIZE))
		ok(0, "ftruncate");
}

/* READs and WRITEs at the same time; a file that is closed meanwhile. */
static void
test_mixed(struct fc *c, uint64_t id, int fd)
{
	uint64_t fh = (uint64_t)fc_open(c, id, O_RDWR | O_DIRECT);
	struct fuse_read_in in = { .fh = fh, .offset = 4 * BLOCK,
				   .size = BLOCK };
	struct {
		struct fuse_in_header h;
		struct fuse_read_in r;
	} rd = { { .len = sizeof(rd), .opcode = FUSE_READ, .unique = 7,
		   .nodeid = id }, in };
	static char out[sizeof(struct fuse_out_header) + BLOCK];
	struct iovec iin = { &rd, sizeof(rd) }, iout = { out, sizeof(out) };
	struct fs_req req = {
		.in = &iin, .nin = 1, .in_len = sizeof(rd), .out = &iout,
		.nout = 1, .out_len = sizeof(out), .counters = &c->counters,
		.flags = WAITS,
	};
	unsigned fds = fc_count_fds();
	ssize_t n[3];

	if (pwrite(fd, "mixed", 5, 4 * BLOCK) != 5)
		ok(0, "pwrite");
	chill(fd);
	make(c, 0, id, fh, 2 * BLOCK, 2 * BLOCK, 'm');
	make(c, 1, id, fh, 6 * BLOCK, BLOCK, 'n');
	is_int(put(c, 0, WAITS), FS_LATER, "a WRITE");
	is_int(fs_serve(c->session, c->thread, &req), FS_LATER, "a READ");
	is_int(put(c, 1, WAITS), FS_LATER, "a WRITE again");
	fc_release(c, id, fh);
	is_int(fc_count_fds(), fds, "the file is closed by the guest only");
	fc_together(c, n);
	is_int(fc_count_fds(), fds - 1, "then by us");
	ok(is_right(0, n[0]) && has(fd, 2 * BLOCK, 2 * BLOCK, 'm'), "written");
	ok(n[1] == sizeof(out) && !memcmp(out + sizeof(struct fuse_out_header), "mixed",
		   5),
	   "read");
	ok(is_right(1, n[2]) && has(fd, 6 * BLOCK, BLOCK, 'n'), "written, too");
}

/* Bits stay, whoever this thread was in between. */
static void
test_bits(struct fc *c, uint64_t id, uint64_t fh, int fd)
{
	uint64_t other;
	uint64_t node = (uint64_t)fc_create(c, 1, "other", O_RDWR, 06755,
					    &other);
	struct stat st;
	ssize_t n;

	if (geteuid() != 0) {
		tap_skip("bits", "not root");
		return;
	}
	fchmod(fd, 06755);
	make(c, 0, id, fh, 0, BLOCK, 'k');
	is_int(put(c, 0, WAITS), FS_LATER, "of a file with suid");
	is_int(fc_write(c, node, other, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID), 1,
	       "one that clears bits, of another");
	fc_stat(c, "other", &st);
	is_int(st.st_mode & 07777, 0755, "clears them");
	fc_together(c, &n);
	if (n == FS_ALONE)	/* newer kernels think about the bits first */
		n = put(c, 0, FS_MAY_BLOCK);
	ok(is_right(0, n) && has(fd, 0, BLOCK, 'k'), "is written");
	ok(!fstat(fd, &st) && (st.st_mode & 07777) == 06755, "bits stay");
	fchmod(fd, 0644);
	fc_release(c, node, other);
}

/* Where RWF_NOWAIT does not work. */
static void
test_memory(void)
{
	struct fc *c = fc_new("/dev/shm");
	int64_t id, fh;
	uint64_t plain;
	ssize_t n;

	c->set.allow_direct_io = true;
	fc_start(c);
	id = fc_create(c, 1, "file", O_RDWR, 0644, &plain);
	fh = fc_open(c, (uint64_t)id, O_RDWR | O_DIRECT);
	make(c, 0, (uint64_t)id, (uint64_t)fh, 0, BLOCK, 's');
	if (fh < 0 || put(c, 0, WAITS) != FS_LATER) {
		tap_skip("/dev/shm", "no O_DIRECT there");
	} else {
		fc_together(c, &n);
		is_int(n, FS_ALONE, "/dev/shm: cannot be begun that way");
		ok(is_right(0, put(c, 0, FS_MAY_BLOCK)), "is written alone");
		alone(c, "from then on");
	}
	fc_free(c);
}

int
main(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t fh, id;
	int64_t direct;
	int fd;

	c->set.allow_direct_io = true;
	fc_start(c);
	id = (uint64_t)fc_create(c, 1, "file", O_RDWR, 0644, &fh);
	fd = openat(c->fd, "file", O_RDWR | O_CLOEXEC);
	if (write(fd, zeros, FILE_SIZE) != FILE_SIZE)
		ok(0, "a file");
	chill(fd);
	direct = fc_open(c, id, O_RDWR | O_DIRECT);
	if (!has_uring() || !has_nowait(fd) || direct < 0) {
		fc_free(c);
		tap_skip_all("no io_uring, RWF_NOWAIT or O_DIRECT here");
	}
	fc_release(c, id, fh);
	fh = (uint64_t)direct;
	test_together(c, id, fh, fd);
	test_alone(c, id, fh);
	test_refused(c, id, fh, fd);
	test_longer(c, id, fd);
	test_mixed(c, id, fd);
	test_bits(c, id, fh, fd);
	test_append(c, id, fh, fd);
	close(fd);
	ok(!c->broken, "replies are exact");
	fc_free(c);
	if (!access("/dev/shm", W_OK))
		test_memory();
	return tap_done();
}
