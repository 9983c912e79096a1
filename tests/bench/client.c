/* SPDX-License-Identifier: MIT */
/*
 * A guest that keeps 1 to 16 requests in flight on one request queue, laid out
 * as Linux lays them out: header, arguments, data in pages.  As a kernel does,
 * it sends FORGET on the hiprio queue for files that are gone, and for all
 * others when it leaves.
 */
#include "config.h"

#include "tests/bench/bench.h"

#include "vhost/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#define PAGE 4096u
#define RING_SIZE 128
#define SLOT_SIZE (2 * PAGE + BENCH_IO_MAX)
#define NFORGETS 64			/* FORGETs under way */
#define FORGET_SIZE 64u			/* memory of each */
#define SILENCE_NS 5000000000ull	/* a server that says nothing is dead */
#define SPINS 256			/* between two looks at the clock */

#define INIT_FLAGS (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | \
	FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | \
	FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | \
	FUSE_ABORT_ERROR | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | \
	FUSE_INIT_EXT)

/* One request in flight. */
struct slot {
	struct fuse_in_header *in;	/* a page: header and arguments */
	struct fuse_out_header *out;	/* a page: header and fixed answer */
	unsigned char *data;		/* BENCH_IO_MAX bytes on pages */
	unsigned step;
	uint64_t started_ns;
	uint32_t file;			/* number of the file it is about */
	uint64_t nodeid, fh;		/* what OPEN or CREATE brought */
	uint64_t dir_fh, dir_off;
	uint32_t random;
	bool last;			/* ends after this cycle */
};

struct histogram {			/* 32 steps for each power of two */
	uint64_t n, bucket[64 * 32];
};

struct bench_client {
	struct vh_front *front;
	struct vh_front_queue *hiprio, *queue;
	struct slot slot[BENCH_DEPTH_MAX];
	unsigned char *forgets;
	unsigned free_forget[NFORGETS], nfree_forgets;
	uint64_t unique;
	uint64_t nodeid[BENCH_FILES], nlookup[BENCH_FILES];
	uint64_t data_nodeid, data_nlookup, data_fh;
	uint64_t created;		/* files made so far: their names */

	/* this run */
	const struct bench_run *run;
	uint64_t count;			/* requests, or entries */
	struct histogram hist;
	char *why;
	size_t why_size;
};

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

__attribute__((format(printf, 3, 4))) static int
failed(struct bench_client *c, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, c->why_size, fmt, ap);
	va_end(ap);
	return err;
}

/* ------------------------------------------------------------------ */
/* Percentiles. */

static void
histogram_add(struct histogram *h, uint64_t ns)
{
	unsigned top = 63 - (unsigned)__builtin_clzll(ns | 32);
	unsigned shift = top - 5;

	h->bucket[shift * 32 + (unsigned)(ns >> shift)]++;
	h->n++;
}

static double
histogram_at(const struct histogram *h, double part)
{
	uint64_t want = (uint64_t)((double)h->n * part), seen = 0;

	for (unsigned i = 0; i < 64 * 32; i++) {
		unsigned shift = i < 64 ? 0 : i / 32 - 1;

		seen += h->bucket[i];
		if (seen > want)
			return (double)((uint64_t)(i - shift * 32) << shift);
	}
	return 0;
}

/* ------------------------------------------------------------------ */
/* Building requests. */

/* The header; the arguments follow it, and count themselves in. */
static void *
begin(struct bench_client *c, struct slot *s, uint32_t opcode, uint64_t nodeid)
{
	memset(s->in, 0, sizeof(*s->in));
	s->in->len = sizeof(*s->in);
	s->in->opcode = opcode;
	s->in->unique = ++c->unique * 2;
	s->in->nodeid = nodeid;
	return s->in + 1;
}

static void
add_arg(struct slot *s, const void *arg, size_t len)
{
	memcpy((char *)s->in + s->in->len, arg, len);
	s->in->len += (uint32_t)len;
}

static void
add_name(struct slot *s, const char *name)
{
	add_arg(s, name, strlen(name) + 1);
}

static unsigned
add_pages(struct iovec *iov, unsigned char *p, size_t len)
{
	unsigned n = 0;

	for (; len > 0; len -= iov[n++].iov_len) {
		iov[n].iov_base = p + n * PAGE;
		iov[n].iov_len = len < PAGE ? len : PAGE;
	}
	return n;
}

/* Send what was built: `in_data` bytes follow the arguments, the answer has
 * `out` fixed bytes, then up to `out_data`. */
static int
submit(struct bench_client *c, struct slot *s, size_t in_data, size_t out,
       size_t out_data)
{
	struct iovec iov[4 + 2 * (BENCH_IO_MAX / PAGE)];
	size_t arg = s->in->len - sizeof(*s->in);
	unsigned n = 0, nin;
	int err;

	s->in->len += (uint32_t)in_data;
	iov[n++] = (struct iovec){ s->in, sizeof(*s->in) };
	if (arg)
		iov[n++] = (struct iovec){ s->in + 1, arg };
	nin = n += add_pages(iov + n, s->data, in_data);
	iov[n++] = (struct iovec){ s->out, sizeof(*s->out) };
	if (out)
		iov[n++] = (struct iovec){ s->out + 1, out };
	n += add_pages(iov + n, s->data, out_data);
	err = vh_front_submit(c->queue, iov, nin, n - nin,
			      (uint64_t)(s - c->slot));
	if (err)
		return failed(c, err, "submit: %s", strerror(-err));
	err = vh_front_kick(c->queue);
	return err < 0 ? failed(c, err, "kick: %s", strerror(-err)) : 0;
}

static uint32_t
next_random(struct slot *s)
{
	s->random = s->random * 1664525 + 1013904223;
	return s->random >> 8;
}

static int
send_getattr(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_getattr_in in = { 0 };

	(void)op;
	s->file = next_random(s) % BENCH_FILES;
	begin(c, s, FUSE_GETATTR, c->nodeid[s->file]);
	add_arg(s, &in, sizeof(in));
	return submit(c, s, 0, sizeof(struct fuse_attr_out), 0);
}

static int
send_lookup(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	char name[32];

	s->file = next_random(s) % BENCH_FILES;
	snprintf(name, sizeof(name), op->file, s->file);
	begin(c, s, FUSE_LOOKUP, FUSE_ROOT_ID);
	add_name(s, name);
	return submit(c, s, 0, sizeof(struct fuse_entry_out), 0);
}

static int
send_open(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_open_in in = { .flags = O_RDONLY };

	(void)op;
	s->nodeid = c->nodeid[next_random(s) % BENCH_FILES];
	begin(c, s, FUSE_OPEN, s->nodeid);
	add_arg(s, &in, sizeof(in));
	return submit(c, s, 0, sizeof(struct fuse_open_out), 0);
}

static int
send_release(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_release_in in = { .fh = s->fh };

	(void)op;
	begin(c, s, FUSE_RELEASE, s->nodeid);
	add_arg(s, &in, sizeof(in));
	return submit(c, s, 0, 0, 0);
}

static int
send_create(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_create_in in = {
		.flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 0644,
	};
	char name[32];

	(void)op;
	s->file = (uint32_t)c->created++;
	snprintf(name, sizeof(name), "new%u", s->file);
	begin(c, s, FUSE_CREATE, FUSE_ROOT_ID);
	add_arg(s, &in, sizeof(in));
	add_name(s, name);
	return submit(c, s, 0, sizeof(struct fuse_entry_out) +
		      sizeof(struct fuse_open_out), 0);
}

static int
send_unlink(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	char name[32];

	(void)op;
	snprintf(name, sizeof(name), "new%u", s->file);
	begin(c, s, FUSE_UNLINK, FUSE_ROOT_ID);
	add_name(s, name);
	return submit(c, s, 0, 0, 0);
}

static uint64_t
random_offset(struct slot *s, uint32_t io)
{
	return (uint64_t)(next_random(s) % (BENCH_DATA_SIZE / io)) * io;
}

static int
send_read(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_read_in in = {
		.fh = c->data_fh, .offset = random_offset(s, op->io),
		.size = op->io,
	};

	begin(c, s, FUSE_READ, c->data_nodeid);
	add_arg(s, &in, sizeof(in));
	return submit(c, s, 0, 0, op->io);
}

static int
send_write(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_write_in in = {
		.fh = c->data_fh, .offset = random_offset(s, op->io),
		.size = op->io,
	};

	begin(c, s, FUSE_WRITE, c->data_nodeid);
	add_arg(s, &in, sizeof(in));
	return submit(c, s, op->io, sizeof(struct fuse_write_out), 0);
}

static int
send_readdir(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_read_in in = {
		.fh = s->dir_fh, .offset = s->dir_off, .size = BENCH_DIR_SIZE,
	};

	(void)op;
	begin(c, s, FUSE_READDIRPLUS, FUSE_ROOT_ID);
	add_arg(s, &in, sizeof(in));
	return submit(c, s, 0, 0, BENCH_DIR_SIZE);
}

/* ------------------------------------------------------------------ */
/* FORGET. */

static int
reap_forgets(struct bench_client *c)
{
	uint64_t cookie;
	uint32_t len;
	int n;

	while ((n = vh_front_reap(c->hiprio, &cookie, &len)) > 0)
		c->free_forget[c->nfree_forgets++] = (unsigned)cookie;
	return n < 0 ? failed(c, n, "hiprio ring: %s", strerror(-n)) : 0;
}

static int
wait_for_forget(struct bench_client *c)
{
	uint64_t cookie;
	uint32_t len;
	int n = vh_front_wait(c->hiprio, &cookie, &len, 5000);

	if (n <= 0)
		return failed(c, n ? n : -ETIMEDOUT, "FORGET: no answer");
	c->free_forget[c->nfree_forgets++] = (unsigned)cookie;
	return 0;
}

static int
send_forget(struct bench_client *c, uint64_t nodeid, uint64_t nlookup)
{
	struct {
		struct fuse_in_header ih;
		struct fuse_forget_in in;
	} req = {
		.ih = { .len = sizeof(req), .opcode = FUSE_FORGET,
			.unique = ++c->unique * 2, .nodeid = nodeid },
		.in = { nlookup },
	};
	struct iovec iov;
	unsigned i;
	int err = reap_forgets(c);

	while (!err && c->nfree_forgets == 0)
		err = wait_for_forget(c);
	if (err)
		return err;
	i = c->free_forget[--c->nfree_forgets];
	iov.iov_base = c->forgets + i * FORGET_SIZE;
	iov.iov_len = sizeof(req);
	memcpy(iov.iov_base, &req, sizeof(req));
	err = vh_front_submit(c->hiprio, &iov, 1, 0, i);
	if (!err)
		err = vh_front_kick(c->hiprio);
	return err < 0 ? failed(c, err, "FORGET: %s", strerror(-err)) : 0;
}

/* ------------------------------------------------------------------ */
/* Answers.  Each returns how much was done, or -errno. */

static int
got_nothing(struct bench_client *c, struct slot *s, size_t len)
{
	(void)c, (void)s, (void)len;
	return 1;
}

static int
got_lookup(struct bench_client *c, struct slot *s, size_t len)
{
	(void)len;
	if (!s->out->error)
		c->nlookup[s->file]++;
	return 1;
}

static int
got_open(struct bench_client *c, struct slot *s, size_t len)
{
	const struct fuse_open_out *out = (void *)(s->out + 1);

	(void)c, (void)len;
	s->fh = out->fh;
	return 1;
}

static int
got_create(struct bench_client *c, struct slot *s, size_t len)
{
	const struct fuse_entry_out *entry = (void *)(s->out + 1);
	const struct fuse_open_out *open = (const void *)(entry + 1);

	(void)c, (void)len;
	s->nodeid = entry->nodeid;
	s->fh = open->fh;
	return 1;
}

/* The kernel drops the inode of a file that is gone. */
static int
got_unlink(struct bench_client *c, struct slot *s, size_t len)
{
	int err = send_forget(c, s->nodeid, 1);

	(void)len;
	return err ? err : 1;
}

/* Entries were looked up.  The number of a file is in its name. */
static int
got_readdir(struct bench_client *c, struct slot *s, size_t len)
{
	size_t at = 0, need = sizeof(struct fuse_entry_out) + FUSE_NAME_OFFSET;
	int count = 0;

	if (len == 0)
		s->dir_off = 0;
	while (len - at >= need) {
		struct fuse_direntplus *d = (void *)(s->data + at);
		unsigned n;

		if (d->dirent.name[0] == 'f' &&
		    sscanf(d->dirent.name + 1, "%3u", &n) == 1)
			c->nlookup[n]++;
		else if (d->dirent.name[0] == 'd')
			c->data_nlookup++;
		s->dir_off = d->dirent.off;
		at += FUSE_DIRENTPLUS_SIZE(d);
		count++;
	}
	return count;
}

static const struct kind {
	uint32_t opcode;
	int (*send)(struct bench_client *c, struct slot *s,
		    const struct bench_op *op);
	int (*got)(struct bench_client *c, struct slot *s, size_t len);
} kinds[] = {
	{ FUSE_GETATTR, send_getattr, got_nothing },
	{ FUSE_LOOKUP, send_lookup, got_lookup },
	{ FUSE_OPEN, send_open, got_open },
	{ FUSE_RELEASE, send_release, got_nothing },
	{ FUSE_CREATE, send_create, got_create },
	{ FUSE_UNLINK, send_unlink, got_unlink },
	{ FUSE_READ, send_read, got_nothing },
	{ FUSE_WRITE, send_write, got_nothing },
	{ FUSE_READDIRPLUS, send_readdir, got_readdir },
};

static const struct kind *
find_kind(uint32_t opcode)
{
	const struct kind *k = kinds;

	while (k->opcode != opcode)
		k++;
	return k;
}

/* ------------------------------------------------------------------ */
/* The run. */

static int
send_step(struct bench_client *c, struct slot *s)
{
	const struct bench_op *op = c->run->op;

	s->started_ns = now_ns();
	return find_kind(op->opcode[s->step])->send(c, s, op);
}

/* Wait for an answer; the slot that got it in *s. */
static int
wait_answer(struct bench_client *c, struct slot **s)
{
	uint64_t cookie, begun = 0;
	uint32_t len;
	int n = 0;

	for (unsigned spins = 0; n == 0; spins++) {
		n = c->run && !c->run->sleep ?
		    vh_front_reap(c->queue, &cookie, &len) :
		    vh_front_wait(c->queue, &cookie, &len, 5000);
		if (n != 0 || spins % SPINS)
			continue;
		if (begun == 0)
			begun = now_ns();
		else if (now_ns() - begun > SILENCE_NS)
			n = -ETIMEDOUT;
	}
	if (n < 0)
		return failed(c, n, "no answer: %s", strerror(-n));
	*s = &c->slot[cookie];
	return 0;
}

/* Take an answer, and go on with the next step or cycle. */
static int
advance(struct bench_client *c, struct slot *s, bool *ended)
{
	const struct bench_op *op = c->run->op;
	uint32_t opcode = op->opcode[s->step];
	int done, error = s->out->error;

	histogram_add(&c->hist, now_ns() - s->started_ns);
	if (error && !(op->missing && error == -ENOENT))
		return failed(c, error, "opcode %u: %s", opcode,
			      strerror(-error));
	done = find_kind(opcode)->got(c, s, s->out->len - sizeof(*s->out));
	if (done < 0)
		return done;
	c->count += (uint64_t)done;
	s->step = (s->step + 1) % op->nsteps;
	*ended = s->step == 0 && s->last;
	return *ended ? 0 : send_step(c, s);
}

static void
finish_cycles(struct bench_client *c)
{
	for (unsigned i = 0; i < c->run->depth; i++)
		c->slot[i].last = true;
}

static int
run_requests(struct bench_client *c, uint64_t until_ns)
{
	unsigned running = c->run->depth;
	int err = 0;

	for (unsigned i = 0; i < running && !err; i++) {
		c->slot[i].step = 0;
		c->slot[i].last = false;
		err = send_step(c, &c->slot[i]);
	}
	while (running > 0 && !err) {
		struct slot *s;
		bool ended = false;

		err = wait_answer(c, &s);
		if (err)
			break;
		if (now_ns() >= until_ns)
			finish_cycles(c);
		err = advance(c, s, &ended);
		running -= ended;
	}
	while (!err && c->nfree_forgets < NFORGETS)
		err = wait_for_forget(c);
	return err;
}

int
bench_client_run(struct bench_client *c, const struct bench_run *run,
		 const struct server *server, struct bench_result *result,
		 char *why, size_t size)
{
	uint64_t start = now_ns(), end;
	int64_t cpu = server_cpu_ns(server);
	int err;

	c->run = run;
	c->why = why;
	c->why_size = size;
	c->count = 0;
	memset(&c->hist, 0, sizeof(c->hist));
	memset(result, 0, sizeof(*result));
	err = run_requests(c, start + (uint64_t)(run->seconds * 1e9));
	if (err)
		return err;
	end = now_ns();
	cpu = server_cpu_ns(server) - cpu;
	result->done = true;
	result->per_s = (double)c->count * 1e9 / (double)(end - start);
	result->cpu = (double)cpu / (double)c->count;
	result->p50 = histogram_at(&c->hist, 0.50);
	result->p99 = histogram_at(&c->hist, 0.99);
	return 0;
}

/* ------------------------------------------------------------------ */
/* The session. */

/* Send what was built in slot 0, and wait. */
static int
call(struct bench_client *c, size_t out)
{
	struct slot *s;
	int err = submit(c, &c->slot[0], 0, out, 0);

	if (!err)
		err = wait_answer(c, &s);
	if (!err && s->out->error)
		err = failed(c, s->out->error, "opcode %u: %s", s->in->opcode,
			     strerror(-s->out->error));
	return err;
}

static int
call_lookup(struct bench_client *c, const char *name, uint64_t *nodeid)
{
	const struct fuse_entry_out *entry = (void *)(c->slot[0].out + 1);
	int err;

	begin(c, &c->slot[0], FUSE_LOOKUP, FUSE_ROOT_ID);
	add_name(&c->slot[0], name);
	err = call(c, sizeof(*entry));
	*nodeid = entry->nodeid;
	return err;
}

static int
call_open(struct bench_client *c, uint32_t opcode, uint64_t nodeid,
	  uint32_t flags, uint64_t *fh)
{
	const struct fuse_open_out *out = (void *)(c->slot[0].out + 1);
	struct fuse_open_in in = { .flags = flags };
	int err;

	begin(c, &c->slot[0], opcode, nodeid);
	add_arg(&c->slot[0], &in, sizeof(in));
	err = call(c, sizeof(*out));
	*fh = out->fh;
	return err;
}

static int
call_init(struct bench_client *c)
{
	struct fuse_init_in in = {
		.major = FUSE_KERNEL_VERSION, .minor = 38,
		.max_readahead = BENCH_IO_MAX, .flags = INIT_FLAGS,
	};

	begin(c, &c->slot[0], FUSE_INIT, 0);
	add_arg(&c->slot[0], &in, sizeof(in));
	return call(c, sizeof(struct fuse_init_out));
}

/* Every file becomes known, "data" is open, and each slot has its own handle
 * of the directory. */
static int
open_session(struct bench_client *c)
{
	int err = call_init(c);

	for (unsigned i = 0; i < BENCH_FILES && !err; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%u", i);
		err = call_lookup(c, name, &c->nodeid[i]);
		c->nlookup[i]++;
	}
	if (!err)
		err = call_lookup(c, "data", &c->data_nodeid);
	c->data_nlookup++;
	if (!err)
		err = call_open(c, FUSE_OPEN, c->data_nodeid, O_RDWR,
				&c->data_fh);
	for (unsigned i = 0; i < BENCH_DEPTH_MAX && !err; i++)
		err = call_open(c, FUSE_OPENDIR, FUSE_ROOT_ID, 0,
				&c->slot[i].dir_fh);
	return err;
}

static void
lay_out(struct bench_client *c)
{
	size_t size;
	unsigned char *p = vh_front_mem(c->front, &size);

	for (unsigned i = 0; i < BENCH_DEPTH_MAX; i++, p += SLOT_SIZE) {
		c->slot[i].in = (void *)p;
		c->slot[i].out = (void *)(p + PAGE);
		c->slot[i].data = p + 2 * PAGE;
		c->slot[i].random = i * 7919;
	}
	c->forgets = p;
	for (unsigned i = 0; i < NFORGETS; i++)
		c->free_forget[c->nfree_forgets++] = i;
}

int
bench_client_new(const char *socket, struct bench_client **client, char *why,
		 size_t size)
{
	struct vh_front_settings set = {
		.nqueues = 2,
		.queue_size = RING_SIZE,
		.mem_size = BENCH_DEPTH_MAX * (size_t)SLOT_SIZE +
			    NFORGETS * (size_t)FORGET_SIZE,
	};
	struct bench_client *c = calloc(1, sizeof(*c));
	char *text = NULL;
	int err;

	if (!c)
		return -ENOMEM;
	c->why = why;
	c->why_size = size;
	err = vh_front_connect(socket, &set, &c->front, &text);
	if (err) {
		snprintf(why, size, "%s", text ? text : strerror(-err));
		free(text);
		free(c);
		return err;
	}
	c->hiprio = vh_front_queue(c->front, 0);
	c->queue = vh_front_queue(c->front, 1);
	lay_out(c);
	err = open_session(c);
	if (err) {
		vh_front_free(c->front);
		free(c);
		return err;
	}
	*client = c;
	return 0;
}

void
bench_client_free(struct bench_client *c)
{
	char why[100];
	int err = 0;

	c->why = why;
	c->why_size = sizeof(why);
	for (unsigned i = 0; i < BENCH_FILES && !err; i++)
		err = send_forget(c, c->nodeid[i], c->nlookup[i]);
	if (!err)
		send_forget(c, c->data_nodeid, c->data_nlookup);
	vh_front_free(c->front);
	free(c);
}
