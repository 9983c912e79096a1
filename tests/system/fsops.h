/* SPDX-License-Identifier: MIT */
/*
 * What the parts of fsops share: one process's run and its reports.
 */
#ifndef TESTS_SYSTEM_FSOPS_H
#define TESTS_SYSTEM_FSOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/system/fsmodel.h"

#define HANDLES 8	/* files a process keeps open */
#define HISTORY 24	/* operations told of when one goes wrong */
#define LINE_ROOM 400

/* Faults that --plant-fault can make behind the model's back. */
enum fault {
	FAULT_NONE,
	FAULT_DATA,	/* a byte of a file */
	FAULT_MODE,	/* permission bits */
	FAULT_NAME,	/* a name that nobody made */
	FAULT_RESULT,	/* a lie about the result of a call */
};

struct handle {
	int fd;
	struct node *node;	/* NULL = not in use */
};

/* Memory that all processes see; not on the file system that is tested. */
struct common {
	unsigned inside;	/* holders of shared/lock; never above 1 */
	unsigned failed;	/* processes that found something */
};

struct run {
	unsigned id, nprocs;
	uint64_t seed;
	uint64_t rng;
	unsigned long op, nops;
	int dirfd;		/* of this process's subtree */
	int sharedfd;		/* of the directory used by all */
	struct node *root;
	unsigned nentries;	/* names in the model */
	bool check_links;	/* directories count their directories */
	bool check_ino;
	bool lie;		/* about the next result */
	enum fault fault;
	struct common *common;
	struct handle handles[HANDLES];
	uint64_t *seen;		/* latest version read of each process */
	uint64_t version;	/* latest that this one wrote */
	uint64_t nlogged;	/* records appended to shared/log */
	char history[HISTORY][LINE_ROOM];
	unsigned nhistory;
};

uint32_t draw(struct run *r);			/* 32 random bits */
unsigned below(struct run *r, unsigned n);	/* 0 .. n-1 */

/* Note what is about to be done. */
void note(struct run *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Report, with the operations before it, and end the process. */
void fail(struct run *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), noreturn));
/* A call returned `ret`: it must have failed with errno `want`, or have
 * succeeded if that is 0.  True when it succeeded. */
bool expect(struct run *r, long ret, int want, const char *call);

/* fsops-pick.c: kinds of entries to choose from, and random choices. */
enum { FILES = 1, DIRS = 2, LINKS = 4, ANY = 7 };

#define FILE_MAX (192 * 1024)	/* where the last write of a file may begin */
#define FILE_ROOM (FILE_MAX + 64 * 1024)	/* so no file is bigger */

struct entry *pick(struct run *r, unsigned kinds);	/* NULL = none there */
struct node *pick_dir(struct run *r);
void pick_name(struct run *r, char *name);
/* A name in a directory: mostly one that exists.  NULL if it does not. */
struct entry *pick_entry(struct run *r, struct node **dir, char *name);
size_t pick_offset(struct run *r, size_t size);
/* Random bytes and a length; the buffer is good until the next call. */
unsigned char *pick_bytes(struct run *r, size_t *len);
mode_t pick_mode(struct run *r, bool dir);

/* fsops-check.c */
struct stat;
void check_stat(struct run *r, const struct stat *st, struct node *n,
		const char *what);
void check_data(struct run *r, const struct node *n, const unsigned char *buf,
		size_t off, size_t len, const char *what);
void check_read(struct run *r, int fd, struct node *n, size_t off, size_t len,
		const char *what);
/* The node at `path` with all that is in it, but not what is below. */
void check_node(struct run *r, struct node *n, const char *path);
void tree_verify(struct run *r);	/* everything */

/* fsops-file.c: contents. */
/* Keep `fd` open if there is room, else close it. */
void keep_or_close(struct run *r, int fd, struct node *n);
void tree_close_handles(struct run *r);
void op_close(struct run *r);
void op_fstat(struct run *r);
void op_read(struct run *r);
void op_write(struct run *r);
void op_append(struct run *r);
void op_truncate(struct run *r);
void op_mmap(struct run *r);
void op_drop(struct run *r);

/* fsops-name.c: names and attributes; the table of all operations. */
void tree_step(struct run *r);
void tree_plant_fault(struct run *r);

/* fsops-shared.c: where the processes meet. */
void shared_step(struct run *r);
void shared_verify(int sharedfd, unsigned nprocs, const uint64_t *nlogged);

#endif
