/* SPDX-License-Identifier: MIT */
/* Request queues of pretend guests, each with a thread: see lane.h. */
#include "config.h"

#include "tests/bench/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RING_SIZE 128
#define PAGE 4096u
#define BIG 65536u
#define SLOT (2 * PAGE + BIG)		/* request, reply, data */
#define WAIT_MS 60000

uint64_t
lane_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Memory of request number `slot` on `queue`. */
static unsigned char *
slot_at(struct lane_guest *g, unsigned queue, unsigned slot)
{
	size_t size;
	unsigned char *mem = vh_front_mem(g->front, &size);

	return mem + ((size_t)(queue - 1) * LANE_DEPTH_MAX + slot) * SLOT;
}

static int
submit(struct lane_guest *g, unsigned queue, unsigned slot, uint32_t opcode,
       uint64_t nodeid, const void *arg, size_t len, size_t out, size_t data)
{
	struct vh_front_queue *q = vh_front_queue(g->front, queue);
	unsigned char *p = slot_at(g, queue, slot);
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + len), .opcode = opcode,
		.nodeid = nodeid, .unique = slot + 1,
	};
	struct iovec iov[3] = {
		{ p, h.len },
		{ p + PAGE, sizeof(struct fuse_out_header) + out },
		{ p + 2 * PAGE, data },
	};
	int err;

	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), arg, len);
	err = vh_front_submit(q, iov, 1, data ? 2 : 1, slot);
	if (!err)
		err = vh_front_kick(q);
	return err < 0 ? err : 0;
}

/* The slot that was answered, or -errno. */
static int
wait_one(struct lane_guest *g, unsigned queue, int *error)
{
	const struct fuse_out_header *o;
	uint64_t cookie;
	uint32_t len;
	int r = vh_front_wait(vh_front_queue(g->front, queue), &cookie, &len,
			      WAIT_MS);

	if (r < 0)
		return r;
	o = (void *)(slot_at(g, queue, (unsigned)cookie) + PAGE);
	*error = o->error;
	return (int)cookie;
}

static int
call(struct lane_guest *g, uint32_t opcode, uint64_t nodeid, const void *arg,
     size_t len, size_t out)
{
	int error = 0;
	int err = submit(g, 1, 0, opcode, nodeid, arg, len, out, 0);

	if (!err)
		err = wait_one(g, 1, &error);
	return err < 0 ? err : error;
}

/* ---- guests ---- */

static int
look_up(struct lane_guest *g, const char *name, uint64_t *nodeid)
{
	const struct fuse_entry_out *out = (void *)(slot_at(g, 1, 0) + PAGE +
					   sizeof(struct fuse_out_header));
	int err = call(g, FUSE_LOOKUP, *nodeid, name, strlen(name) + 1,
		       sizeof(*out));

	if (!err)
		*nodeid = out->nodeid;
	return err;
}

int
lane_guest_lookup(struct lane_guest *g, const char *name)
{
	uint64_t nodeid = FUSE_ROOT_ID;

	return look_up(g, name, &nodeid);
}

/* "NAME" or "DIR/NAME" */
static int
open_file(struct lane_guest *g, const char *file, uint64_t *nodeid,
	  uint64_t *fh)
{
	const struct fuse_open_out *out = (void *)(slot_at(g, 1, 0) + PAGE +
					  sizeof(struct fuse_out_header));
	struct fuse_open_in in = { .flags = O_RDWR };
	const char *name = strchr(file, '/');
	char dir[32] = "";
	int err = 0;

	*nodeid = FUSE_ROOT_ID;
	if (name) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(name - file), file);
		err = look_up(g, dir, nodeid);
	}
	if (!err)
		err = look_up(g, name ? name + 1 : file, nodeid);
	if (!err)
		err = call(g, FUSE_OPEN, *nodeid, &in, sizeof(in),
			   sizeof(*out));
	*fh = out->fh;
	return err;
}

static int
begin(struct lane_guest *g, const char *file, const char *other)
{
	struct fuse_init_in init = {
		.major = FUSE_KERNEL_VERSION, .minor = 38,
		.max_readahead = 1 << 17,
		.flags = FUSE_ASYNC_READ | FUSE_MAX_PAGES | FUSE_BIG_WRITES,
	};
	int err = call(g, FUSE_INIT, 0, &init, sizeof(init),
		       sizeof(struct fuse_init_out));

	if (!err)
		err = open_file(g, file, &g->nodeid, &g->fh);
	if (!err && other)
		err = open_file(g, other, &g->other_nodeid, &g->other_fh);
	return err;
}

int
lane_guest_open(struct lane_guest *g, const char *socket, unsigned nqueues,
		const char *file, const char *other)
{
	struct vh_front_settings set = {
		.nqueues = 1 + nqueues,
		.queue_size = RING_SIZE,
		.mem_size = (size_t)nqueues * LANE_DEPTH_MAX * SLOT,
		.timeout_ms = WAIT_MS,
	};
	char *why = NULL;
	int err = vh_front_connect(socket, &set, &g->front, &why);

	if (err) {
		fprintf(stderr, "%s\n", why ? why : strerror(-err));
		free(why);
		return err;
	}
	g->nqueues = nqueues;
	err = begin(g, file, other);
	if (err) {
		fprintf(stderr, "%s: %s: %s\n", socket, file, strerror(-err));
		vh_front_free(g->front);
		g->front = NULL;
	}
	return err;
}

void
lane_guest_close(struct lane_guest *g)
{
	if (g->front)
		vh_front_free(g->front);
	g->front = NULL;
}

/* ---- lanes ---- */

static int
send_one(struct lane *l, unsigned slot, uint32_t *seed)
{
	struct lane_guest *g = l->guest;
	struct fuse_read_in rd = { .fh = g->fh, .size = PAGE };
	struct fuse_fsync_in fs = { .fh = g->other_fh };

	*seed = *seed * 1664525 + 1013904223;
	if (l->fsync_beside && slot == 0)
		return submit(g, l->queue, slot, FUSE_FSYNC, g->other_nodeid,
			      &fs, sizeof(fs), 0, 0);
	switch (l->kind) {
	case LANE_LOOKUP:
		return submit(g, l->queue, slot, FUSE_LOOKUP, FUSE_ROOT_ID,
			      "data", 5, sizeof(struct fuse_entry_out), 0);
	case LANE_READ:
	case LANE_BIG_READ:
		if (l->kind == LANE_BIG_READ)
			rd.size = BIG;
		rd.offset = (*seed >> 8) % (LANE_DATA / BIG) * BIG;
		return submit(g, l->queue, slot, FUSE_READ, g->nodeid, &rd,
			      sizeof(rd), 0, rd.size);
	}
	return -EINVAL;
}

/* The fsync beside the others is not one of them. */
static void
note(struct lane *l, unsigned slot, uint64_t ns)
{
	if (l->fsync_beside && slot == 0) {
		l->fsyncs++;
		return;
	}
	l->hist.n[hist_bucket(ns)]++;
	if (ns > l->worst_ns)
		l->worst_ns = ns;
	l->count++;
}

static int
work(struct lane *l)
{
	uint64_t sent[LANE_DEPTH_MAX], ns;
	uint32_t seed = l->queue * 7919;
	unsigned under_way = 0;
	int err = 0, error = 0, slot;

	for (unsigned i = 0; i < l->depth && !err; i++, under_way++) {
		sent[i] = lane_now_ns();
		err = send_one(l, i, &seed);
	}
	while (under_way && !err) {
		slot = wait_one(l->guest, l->queue, &error);
		if (slot < 0 || error)
			return slot < 0 ? slot : error;
		l->ended_ns = lane_now_ns();
		ns = l->ended_ns - sent[slot];
		note(l, (unsigned)slot, ns);
		under_way--;
		if (atomic_load(l->stop))
			continue;
		sent[slot] = l->ended_ns;
		err = send_one(l, (unsigned)slot, &seed);
		under_way += !err;
	}
	return err;
}

static void *
lane_main(void *arg)
{
	struct lane *l = arg;

	l->began_ns = lane_now_ns();
	l->err = work(l);
	return NULL;
}

void
lane_start(struct lane *l)
{
	l->count = l->worst_ns = l->fsyncs = 0;
	memset(&l->hist, 0, sizeof(l->hist));
	if (pthread_create(&l->thread, NULL, lane_main, l)) {
		perror("a thread");
		exit(1);
	}
}

void
lane_join(struct lane *l)
{
	pthread_join(l->thread, NULL);
	if (l->err)
		fprintf(stderr, "queue %u: %s\n", l->queue, strerror(-l->err));
}
