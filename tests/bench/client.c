/* SPDX-License-Identifier: MIT */
/*
 * A guest that keeps 1 to 16 requests in flight on one request queue, laid out
 * as Linux lays them out: header, arguments, data in pages.  As a kernel does,
 * it sends FORGET on the hiprio queue for files that are gone, and for all
 * others when it leaves.
 */
#include "config.h"

#include "tests/bench/client.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RING_SIZE 128
#define SILENCE_NS 5000000000ull	/* a server that says nothing is dead */
#define SPINS 256			/* between two looks at the clock */

#define INIT_FLAGS (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | \
	FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | \
	FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | \
	FUSE_ABORT_ERROR | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | \
	FUSE_INIT_EXT)

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void
bench_choose_cpus(int *server_cpu, int *client_cpu)
{
	cpu_set_t set;

	if (*server_cpu < 0 && sched_getaffinity(0, sizeof(set), &set) == 0) {
		for (int i = 0; i < CPU_SETSIZE; i++) {
			if (!CPU_ISSET((size_t)i, &set))
				continue;
			if (*server_cpu < 0)
				*server_cpu = i;
			else if (*client_cpu < 0)
				*client_cpu = i;
		}
	}
	if (*client_cpu < 0)
		*client_cpu = *server_cpu;
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
/* The run. */

static int
send_step(struct bench_client *c, struct slot *s)
{
	const struct bench_op *op = c->run->op;

	s->started_ns = now_ns();
	return bench_kind(op->opcode[s->step])->send(c, s, op);
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
		return bench_failed(c, n, "no answer: %s", strerror(-n));
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
		return bench_failed(c, error, "opcode %u: %s", opcode,
			      strerror(-error));
	done = bench_kind(opcode)->got(c, s, s->out->len - sizeof(*s->out));
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
		if (now_ns() >= until_ns ||
		    (c->run->limit && c->count >= c->run->limit))
			finish_cycles(c);
		err = advance(c, s, &ended);
		running -= ended;
	}
	while (!err && c->nfree_forgets < NFORGETS)
		err = bench_wait_forget(c);
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
	int err = bench_submit(c, &c->slot[0], 0, out, 0);

	if (!err)
		err = wait_answer(c, &s);
	if (!err && s->out->error)
		err = bench_failed(c, s->out->error, "opcode %u: %s",
				   s->in->opcode, strerror(-s->out->error));
	return err;
}

static int
call_lookup(struct bench_client *c, const char *name, uint64_t *nodeid)
{
	const struct fuse_entry_out *entry = (void *)(c->slot[0].out + 1);
	int err;

	bench_begin(c, &c->slot[0], FUSE_LOOKUP, FUSE_ROOT_ID);
	bench_add_name(&c->slot[0], name);
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

	bench_begin(c, &c->slot[0], opcode, nodeid);
	bench_add_arg(&c->slot[0], &in, sizeof(in));
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

	bench_begin(c, &c->slot[0], FUSE_INIT, 0);
	bench_add_arg(&c->slot[0], &in, sizeof(in));
	return call(c, sizeof(struct fuse_init_out));
}

/* Every file becomes known, "data" is open, and each slot has its own handle
 * of the directory. */
static int
open_session(struct bench_client *c)
{
	int err = call_init(c);

	for (unsigned i = 0; i < c->nfiles && !err; i++) {
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
		c->slot[i].in = (void *)(p + i * COLOUR);
		c->slot[i].out = (void *)(p + PAGE + i * COLOUR);
		c->slot[i].data = p + 2 * PAGE;
		c->slot[i].random = i * 7919;
	}
	c->forgets = p;
	for (unsigned i = 0; i < NFORGETS; i++)
		c->free_forget[c->nfree_forgets++] = i;
}

int
bench_client_new(const char *socket, unsigned nfiles,
		 struct bench_client **client, char *why, size_t size)
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
	c->nfiles = nfiles;
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
	for (unsigned i = 0; i < c->nfiles && !err; i++)
		err = bench_forget(c, c->nodeid[i], c->nlookup[i]);
	if (!err)
		bench_forget(c, c->data_nodeid, c->data_nlookup);
	vh_front_free(c->front);
	free(c);
}
