/* SPDX-License-Identifier: MIT */
/* Requests that are not whole, and replies that have no room. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static char in_bytes[4096], out_bytes[4096];

/* Serve in_bytes[0, nin) with nout bytes of room. */
static ssize_t
serve(struct fc *c, size_t nin, size_t nout)
{
	struct iovec in = { in_bytes, nin }, out = { out_bytes, nout };
	struct fs_req r = { .in = &in, .nin = nin > 0, .in_len = nin,
			    .out = &out, .nout = nout > 0, .out_len = nout,
			    .flags = FS_MAY_BLOCK, .counters = &c->counters };

	memset(out_bytes, 0x5a, sizeof(out_bytes));
	return fs_serve(c->session, c->thread, &r);
}

static void
header(uint32_t opcode, uint64_t node, uint32_t len)
{
	struct fuse_in_header h = { .len = len, .opcode = opcode,
				    .nodeid = node, .unique = 77 };

	memset(in_bytes, 0, sizeof(in_bytes));
	memcpy(in_bytes, &h, sizeof(h));
}

static int
error_of(ssize_t n)
{
	struct fuse_out_header h;

	if (n < (ssize_t)sizeof(h))
		return 1;
	memcpy(&h, out_bytes, sizeof(h));
	return h.unique == 77 && h.len == (size_t)n ? h.error : 2;
}

static void
test_short(struct fc *c)
{
	ssize_t bad = 0;

	header(FUSE_GETATTR, 1, 56);
	is_int(serve(c, 0, 4096), 0, "no bytes");
	is_int(serve(c, 1, 4096), 0, "one byte");
	for (size_t n = 0; n < sizeof(struct fuse_in_header); n++)
		bad += serve(c, n, 4096) != 0;
	is_int(bad, 0, "not a whole header: no answer");
	is_int(error_of(serve(c, 40, 4096)), -EINVAL,
	       "a length beyond what is there");
	header(FUSE_GETATTR, 1, 0xffffffff);
	is_int(error_of(serve(c, 56, 4096)), -EINVAL, "far beyond");
	header(FUSE_GETATTR, 1, 39);
	is_int(error_of(serve(c, 56, 4096)), -EINVAL, "less than a header");
	header(FUSE_GETATTR, 1, 40);
	is_int(error_of(serve(c, 56, 4096)), -EINVAL, "no arguments");
	header(FUSE_GETATTR, 1, 56);
	is_int(error_of(serve(c, 56, 4096)), 0, "a good one");
	ok(c->counters.malformed > 40, "they are counted");
}

static void
test_room(struct fc *c)
{
	ssize_t bad = 0;

	header(FUSE_GETATTR, 1, 56);
	for (size_t n = 0; n < sizeof(struct fuse_out_header); n++)
		bad += serve(c, 56, n) != 0 || out_bytes[0] != 0x5a;
	is_int(bad, 0, "no room for a header: nothing is written");
	for (size_t n = 16; n < 120; n++)
		bad += error_of(serve(c, 56, n)) != -EINVAL;
	is_int(bad, 0, "no room for the reply: an error");
	is_int(serve(c, 56, 120), 120, "just enough");
	header(FUSE_MKDIR, 1, 40 + 8 + 2);
	in_bytes[48] = 'd';
	is_int(error_of(serve(c, 50, 16)), -EINVAL, "MKDIR without room");
	is_int(faccessat(c->fd, "d", F_OK, 0), -1, "does nothing");
	is_int(serve(c, 50, 0), 0, "nor without any");
	is_int(faccessat(c->fd, "d", F_OK, 0), -1, "nothing at all");
	header(FUSE_FORGET, 5, 48);
	is_int(serve(c, 48, 0), 0, "FORGET needs none");
	is_int(serve(c, 48, 16), 0, "and uses none");
	ok(out_bytes[0] == 0x5a, "it is untouched");
}

/* Every opcode with every length of nothing but zeros or ones. */
static void
test_lengths(struct fc *c)
{
	unsigned wrong = 0;

	for (uint32_t op = 0; op < FS_OPCODES; op++) {
		for (uint32_t len = 40; len < 200; len++) {
			for (int fill = 0; fill < 2; fill++) {
				ssize_t n;

				header(op, 1, len);
				memset(in_bytes + 40, fill ? 0xff : 0,
				       sizeof(in_bytes) - 40);
				n = serve(c, len, 4096);
				wrong += n && error_of(n) > 0;
				wrong += n < 0;
			}
		}
		if (op == FUSE_DESTROY || op == FUSE_INIT)
			fc_init(c, 38, FC_ALL_FLAGS);
	}
	is_int(wrong, 0, "every opcode with every length");
}

static void
test_write(struct fc *c)
{
	struct fuse_write_in in = { .size = 100 };
	uint64_t fh;
	int64_t id = fc_create(c, 1, "f", O_RDWR, 0644, &fh);

	in.fh = fh;
	header(FUSE_WRITE, (uint64_t)id, 80 + 99);
	memcpy(in_bytes + 40, &in, sizeof(in));
	is_int(error_of(serve(c, 80 + 99, 4096)), -EINVAL,
	       "WRITE of more than there is");
	in.size = 0xffffffff;
	memcpy(in_bytes + 40, &in, sizeof(in));
	is_int(error_of(serve(c, 80 + 99, 4096)), -EINVAL, "far more");
	in.size = 0;
	memcpy(in_bytes + 40, &in, sizeof(in));
	is_int(error_of(serve(c, 80 + 99, 4096)), 0, "of nothing");
}

static void
test_extension(struct fc *c)
{
	struct fuse_in_header h;
	struct fuse_ext_header ext = { .size = 16, .type = FS_EXT_GROUPS };
	uint32_t n = 1000;
	size_t len = 40 + 8 + 2 + 16;
	unsigned bad = 0;

	header(FUSE_MKDIR, 1, (uint32_t)len);
	memcpy(&h, in_bytes, sizeof(h));
	in_bytes[48] = 'e';
	memcpy(in_bytes + 50, &ext, sizeof(ext));
	memcpy(in_bytes + 58, &n, sizeof(n));
	for (unsigned words = 0; words < 65536; words += words < 20 ? 1 : 997) {
		h.total_extlen = (uint16_t)words;
		memcpy(in_bytes, &h, sizeof(h));
		bad += error_of(serve(c, len, 4096)) != -EINVAL;
	}
	is_int(bad, 0, "extensions that say more than is there");
	is_int(faccessat(c->fd, "e", F_OK, 0), -1, "make nothing");
}

/* EFAULT from a system call is guest memory that went away. */
static void
test_gone(struct fc *c)
{
	struct fuse_read_in in = { .size = 4096 };
	struct iovec iin, iout[2];
	struct fs_req r = { .in = &iin, .nin = 1, .out = iout, .nout = 2,
			    .out_len = 16 + 4096, .flags = FS_MAY_BLOCK,
			    .counters = &c->counters };
	static char text[8192];
	uint64_t fh;
	int64_t id = fc_create(c, 1, "gone", O_RDWR, 0644, &fh);

	fc_write(c, (uint64_t)id, fh, 0, text, sizeof(text), 0);
	in.fh = fh;
	header(FUSE_READ, (uint64_t)id, 80);
	memcpy(in_bytes + 40, &in, sizeof(in));
	iin = (struct iovec){ in_bytes, 80 };
	r.in_len = 80;
	iout[0] = (struct iovec){ out_bytes, 16 };
	iout[1] = (struct iovec){ (void *)4096, 4096 };
	is_int(fs_serve(c->session, c->thread, &r), FS_GONE,
	       "READ into memory that is gone");
}

int
main(void)
{
	struct fc *c = fc_new(NULL);

	fc_start(c);
	test_short(c);
	test_room(c);
	test_lengths(c);
	test_write(c);
	test_extension(c);
	test_gone(c);
	ok(fc_lookup(c, 1, ".") == 1, "the session goes on");
	ok(!c->broken, "replies are exact");
	fc_free(c);
	return tap_done();
}
