/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's parts: client.c, a guest that keeps requests in flight;
 * floor.c, the bare system calls; bench.c, servers, rounds and tables.
 */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include "tests/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_FILES 1000		/* f0 .. f999 in the share's root */
#define BENCH_DATA_SIZE (16u << 20)	/* of the file "data" beside them */
#define BENCH_IO_MAX (128u << 10)
#define BENCH_DIR_SIZE 4096u	/* of one READDIRPLUS, as Linux 6.1 asks */
#define BENCH_DEPTH_MAX 16
#define BENCH_STEPS 3

/* What is measured: requests that follow each other, over and over. */
struct bench_op {
	const char *name;
	unsigned nsteps;
	uint32_t opcode[BENCH_STEPS];
	const char *file;	/* name of file number %u, or NULL */
	bool keep;		/* what is created stays, but is forgotten */
	uint32_t io;		/* bytes of READ or WRITE */
	bool missing;		/* ENOENT is right */
	bool fresh;		/* another name each time */
	bool entries;		/* count entries, not requests */
	/* One cycle as bare system calls in directory `dir`; how many requests
	 * (entries) that was. */
	unsigned (*floor)(const struct bench_op *op, int dir);
};

extern const struct bench_op bench_ops[];
extern const unsigned bench_nops;

/* Where they are -1: the first two CPUs we may use; with one only, both share
 * it. */
void bench_choose_cpus(int *server_cpu, int *client_cpu);

/* Processor time of one request done without any server, in nanoseconds. */
double bench_floor(const struct bench_op *op, const char *dir, double seconds);

/* Times in nanoseconds. */
struct bench_result {
	bool done;		/* false: the server died or refused */
	double per_s;		/* requests (entries) a second */
	double p50, p99;	/* of a request's round trip */
	double cpu;		/* of the server, for each request (entry) */
};

struct bench_client;

/* Connect, INIT, and know the files f0 to f`nfiles - 1` and "data", BENCH_FILES
 * at most.  0, or -errno with a sentence in why. */
int bench_client_new(const char *socket, unsigned nfiles,
		     struct bench_client **client, char *why, size_t size);
void bench_client_free(struct bench_client *c);

struct bench_run {
	const struct bench_op *op;
	unsigned depth;
	double seconds;
	uint64_t limit;		/* end after so many requests; 0 = never */
	bool sleep;		/* until called; else look all the time */
};

/* 0, or -errno with a sentence in why: then the client is of no more use. */
int bench_client_run(struct bench_client *c, const struct bench_run *run,
		     const struct server *server, struct bench_result *result,
		     char *why, size_t size);

#endif
