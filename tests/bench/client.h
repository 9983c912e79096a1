/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's guest from inside: client.c has the session and the run,
 * requests.c what is sent and what is made of the answers.
 */
#ifndef TESTS_BENCH_CLIENT_H
#define TESTS_BENCH_CLIENT_H

#include "tests/bench/bench.h"
#include "vhost/vhost.h"

#include <linux/fuse.h>

#define PAGE 4096u
#define SLOT_SIZE (2 * PAGE + BENCH_IO_MAX)
#define NFORGETS 64			/* FORGETs under way */
#define COLOUR 192u			/* so that not all share a cache set */
#define FORGET_SIZE 64u			/* memory of each */

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
	unsigned nfiles;
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

/* Fill in why, and return err. */
__attribute__((format(printf, 3, 4)))
int bench_failed(struct bench_client *c, int err, const char *fmt, ...);

/* A request in a slot: the header, then arguments, then submit with in_data
 * bytes behind them; the answer has `out` fixed bytes, then up to out_data. */
void bench_begin(struct bench_client *c, struct slot *s, uint32_t opcode,
		 uint64_t nodeid);
void bench_add_arg(struct slot *s, const void *arg, size_t len);
void bench_add_name(struct slot *s, const char *name);
int bench_submit(struct bench_client *c, struct slot *s, size_t in_data,
		 size_t out, size_t out_data);

/* FORGET on the hiprio queue; wait until one of them has come back. */
int bench_forget(struct bench_client *c, uint64_t nodeid, uint64_t nlookup);
int bench_wait_forget(struct bench_client *c);

/* What is particular to an opcode.  `got` returns how much was done, or
 * -errno. */
struct kind {
	uint32_t opcode;
	int (*send)(struct bench_client *c, struct slot *s,
		    const struct bench_op *op);
	int (*got)(struct bench_client *c, struct slot *s, size_t len);
};

const struct kind *bench_kind(uint32_t opcode);

#endif
