/* SPDX-License-Identifier: MIT */
/*
 * A guest with many requests out at once: READs of all kinds between others.
 * Each gets its own answer, whether it was done alone or with others.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"
#include "tests/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_SIZE (1u << 20)
#define DEPTH 32
#define LONGEST (200u << 10)

static struct daemon d;
static struct guest *g;
static uint64_t node, fh;
static unsigned char data[FILE_SIZE];
static char text[1 << 20];
static unsigned seed = 1;
static unsigned align = 1;	/* of offsets and sizes */

static unsigned
any(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

/* Of what `align` allows. */
static unsigned
up_to(unsigned most)
{
	return most <= align ? align : (1 + any(most / align)) * align;
}

/* A request that is out. */
struct out {
	int id;
	uint32_t opcode;
	uint64_t offset;
	size_t size;		/* of the answer */
	struct fuse_read_in rd;
	struct fuse_write_in wr;
	struct fuse_getattr_in ga;
};

static void
send_read(struct out *o)
{
	uint64_t left;

	o->offset = up_to(FILE_SIZE + 4096) - align;
	o->rd = (struct fuse_read_in){
		.fh = fh, .offset = o->offset,
		.size = up_to(any(8) ? 8192 : LONGEST),
	};
	left = o->offset < FILE_SIZE ? FILE_SIZE - o->offset : 0;
	o->size = o->rd.size < left ? o->rd.size : left;
	o->id = guest_send(g, &(struct guest_req){
		.opcode = FUSE_READ, .nodeid = node,
		.in = { { &o->rd, sizeof(o->rd) } }, .room = o->rd.size });
}

/* What is there already: nobody can tell when it is done. */
static void
send_write(struct out *o)
{
	o->offset = up_to(FILE_SIZE - 4096) - align;
	o->wr = (struct fuse_write_in){ .fh = fh, .offset = o->offset,
					.size = up_to(4096) };
	o->size = sizeof(struct fuse_write_out);
	o->id = guest_send(g, &(struct guest_req){
		.opcode = FUSE_WRITE, .nodeid = node,
		.in = { { &o->wr, sizeof(o->wr) },
			{ data + o->offset, o->wr.size } },
		.room = sizeof(struct fuse_write_out) });
}

static void
send_any(struct out *o)
{
	unsigned what = any(10);

	*o = (struct out){ .opcode = what < 7 ? FUSE_READ :
				     what < 8 ? FUSE_WRITE : FUSE_GETATTR };
	if (o->opcode == FUSE_READ) {
		send_read(o);
	} else if (o->opcode == FUSE_WRITE) {
		send_write(o);
	} else {
		o->size = sizeof(struct fuse_attr_out);
		o->id = guest_send(g, &(struct guest_req){
			.opcode = FUSE_GETATTR, .nodeid = node,
			.in = { { &o->ga, sizeof(o->ga) } },
			.room = sizeof(struct fuse_attr_out) });
	}
}

static bool
is_right(const struct out *o)
{
	static unsigned char got[LONGEST];
	int n = guest_wait(g, o->id, got);

	if (n != (int)o->size)
		printf("# opcode %u offset %llu: %d, not %zu: %s\n", o->opcode,
		       (unsigned long long)o->offset, n, o->size,
		       guest_why(g));
	return n == (int)o->size &&
	       (o->opcode != FUSE_READ || !n ||
		!memcmp(got, data + o->offset, o->size));
}

/* Rounds of DEPTH requests; how many answers were wrong. */
static long
rounds(long n)
{
	static struct out out[DEPTH];
	long wrong = 0;

	for (; n > 0 && !wrong; n--) {
		for (unsigned i = 0; i < DEPTH; i++)
			send_any(&out[i]);
		for (unsigned i = 0; i < DEPTH; i++)
			wrong += !is_right(&out[i]);
	}
	return wrong;
}

static long
number(const char *what)
{
	return daemon_number(&d, "shares/one/stats", what);
}

/* All goes to the pool, where READs and WRITEs wait for the disk together, if
 * they can. */
static void
test_direct(long n, bool can)
{
	uint64_t plain = fh;
	long reads, writes;

	if (guest_open_file(g, node, O_RDWR | O_DIRECT, &fh)) {
		tap_skip("O_DIRECT", "not on this file system");
		fh = plain;
		return;
	}
	align = 4096;
	reads = number("reads_together");
	writes = number("writes_together");
	is_int(rounds(n), 0, "O_DIRECT: all answers are right");
	reads = number("reads_together") - reads;
	writes = number("writes_together") - writes;
	ok((reads > 0) == can, "O_DIRECT: %ld READs together", reads);
	ok((writes > 0) == can, "O_DIRECT: %ld WRITEs together", writes);
	align = 1;
	guest_release(g, node, fh);
	fh = plain;
}

static bool
can_be(void)
{
	int fd = open(daemon_file(&d, "one", "data", text), O_RDONLY);
	bool can = has_uring() && has_nowait(fd);

	close(fd);
	return can;
}

static unsigned
lines_with(const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* Each has one line when it comes and one when it goes. */
static void
test_traced(void)
{
	unsigned came;

	daemon_ctl(&d, "write shares/one/trace on", text, sizeof(text));
	is_int(rounds(20), 0, "answers while a trace is on");
	daemon_ctl(&d, "write shares/one/trace off", text, sizeof(text));
	daemon_ctl(&d, "read shares/one/trace", text, sizeof(text));
	came = lines_with(" > ");
	is_int(came, 20 * DEPTH, "their lines");
	is_int(lines_with(" < ok "), came, "and those of their answers");
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	struct guest_settings set = { .kind = GUEST_LINUX, .nslots = DEPTH };
	struct fuse_entry_out e;
	char path[128], *why = NULL;
	long n = tap_scaled(300), before, together;
	bool can;

	daemon_start(&d, tags, "[one]\nallow_direct_io = yes\n");
	if (guest_open(daemon_socket(&d, "one", path), &set, &g, &why) ||
	    guest_init(g, NULL)) {
		ok(0, "a guest comes: %s", why);
		daemon_stop(&d);
		return tap_done();
	}
	for (unsigned i = 0; i < FILE_SIZE; i++)
		data[i] = (unsigned char)any(256);
	guest_create(g, GUEST_ROOT, "data", O_RDWR, 0644, &e, &fh);
	node = e.nodeid;
	is_int(guest_write(g, node, fh, 0, data, FILE_SIZE), FILE_SIZE,
	       "a file");

	can = can_be();
	before = number("requests");
	is_int(rounds(n), 0, "all answers are right");
	is_int(number("requests") - before, n * DEPTH, "all are counted");
	together = number("reads_together");
	if (can)
		ok(together > 0, "%ld READs were done together", together);
	else
		is_int(together, 0, "none was done together");
	test_traced();
	test_direct(n / 4, can);

	daemon_keys(&d, "[one]\nallow_direct_io = yes\nio_uring = no\n");
	is_int(daemon_ctl(&d, "write ctl reload", text, sizeof(text)), 0,
	       "io_uring = no");
	together = number("reads_together");
	is_int(rounds(n / 4), 0, "all answers are right");
	is_int(number("reads_together"), together,
	       "and none was done together");
	test_direct(n / 8, false);

	daemon_keys(&d, "[one]\nallow_direct_io = yes\n"
			"iops_limit = 20000\nbandwidth_limit = 50M\n");
	daemon_ctl(&d, "write ctl reload", text, sizeof(text));
	is_int(rounds(n / 4), 0, "answers where there is a limit");
	guest_close(g);
	daemon_stop(&d);
	return tap_done();
}
