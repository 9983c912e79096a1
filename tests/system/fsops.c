/* SPDX-License-Identifier: MIT */
/*
 * Random file operations compared with a model, to test a file system.
 * Several processes work in DIR, each in its own subtree, now and then in a
 * directory that all use.  At the end everything is compared once more, also
 * from the other side if there is one.
 *
 *	fsops [-p PROCESSES] [-n OPERATIONS] [-s SEED] [--other-side DIR]
 *	      [--plant-fault data|mode|name|result] DIR
 *
 * OPERATIONS are those of all processes together.  --plant-fault does
 * something behind the model's back: a run that does not find it is no test.
 * Exit status: 0 all as it should be, 1 a difference, 2 could not run.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/system/fsops.h"

#define PROCS_MAX 64

static const char *const fault_names[] = {
	[FAULT_NONE] = "none", [FAULT_DATA] = "data",	  [FAULT_MODE] = "mode",
	[FAULT_NAME] = "name", [FAULT_RESULT] = "result",
};

struct options {
	unsigned nprocs;
	unsigned long nops;
	uint64_t seed;
	enum fault fault;
	const char *dir, *other_side;
};

/* ------------------------------------------------------------------ */

uint32_t
draw(struct run *r)
{
	uint64_t x = r->rng += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)(x >> 32);
}

unsigned
below(struct run *r, unsigned n)
{
	return (unsigned)(((uint64_t)draw(r) * n) >> 32);
}

void
note(struct run *r, const char *fmt, ...)
{
	char *line = r->history[r->nhistory++ % HISTORY];
	int n = snprintf(line, LINE_ROOM, "%lu: ", r->op);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, (size_t)(LINE_ROOM - n), fmt, ap);
	va_end(ap);
}

void
fail(struct run *r, const char *fmt, ...)
{
	unsigned i = r->nhistory > HISTORY ? r->nhistory - HISTORY : 0;
	va_list ap;

	/* One report is enough; the others stop when they see the count. */
	if (__atomic_fetch_add(&r->common->failed, 1, __ATOMIC_SEQ_CST))
		_exit(1);
	fprintf(stderr, "fsops: process %u, operation %lu, seed %llu: ",
		r->id, r->op, (unsigned long long)r->seed);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	for (; i < r->nhistory; i++)
		fprintf(stderr, "  %s\n", r->history[i % HISTORY]);
	_exit(1);
}

bool
expect(struct run *r, long ret, int want, const char *call)
{
	int got = ret < 0 ? errno : 0;

	if (r->lie) {
		r->lie = false;
		got = got ? 0 : EIO;
	}
	if (got != want)
		fail(r, "%s: %s, where it should be: %s", call,
		     got ? strerror(got) : "success",
		     want ? strerror(want) : "success");
	return !got;
}

/* ------------------------------------------------------------------ */

static void
die(const char *what)
{
	fprintf(stderr, "fsops: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int
make_dir(int at, const char *name)
{
	int fd;

	if (mkdirat(at, name, 0755) < 0)
		die(name);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		die(name);
	return fd;
}

static void
start_run(struct run *r, int topfd)
{
	char name[16];
	struct stat st;

	snprintf(name, sizeof(name), "p%u", r->id);
	r->dirfd = make_dir(topfd, name);
	if (fstat(r->dirfd, &st) < 0)
		die(name);
	r->root = node_new(S_IFDIR | (st.st_mode & 07777));
	r->check_links = st.st_nlink == 2;
	r->check_ino = true;
	r->rng = r->seed * 1000003 + r->id;
	r->seen = calloc(r->nprocs, sizeof(*r->seen));
	if (!r->seen)
		die("memory");
}

/* The same tree, found at another place. */
static void
verify_other_side(struct run *r, const char *other_side)
{
	char path[PATH_ROOM + 32];

	snprintf(path, sizeof(path), "%.*s/p%u", PATH_ROOM, other_side, r->id);
	close(r->dirfd);
	r->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->dirfd < 0)
		die(path);
	r->check_ino = false;
	note(r, "from the other side:");
	tree_verify(r);
}

/* From the middle on, so that there is something to spoil; again and again,
 * because what comes next may be the file's end. */
static bool
fault_is_due(const struct run *r)
{
	return r->fault && r->id == 0 && r->op >= r->nops / 2 &&
	       r->op % 50 == 0;
}

static void
work(struct run *r, int topfd, const char *other_side, uint64_t *nlogged)
{
	start_run(r, topfd);
	for (r->op = 0; r->op < r->nops; r->op++) {
		if (__atomic_load_n(&r->common->failed, __ATOMIC_RELAXED))
			_exit(1);
		if (fault_is_due(r))
			tree_plant_fault(r);
		if (below(r, 12))
			tree_step(r);
		else
			shared_step(r);
	}
	tree_verify(r);
	tree_close_handles(r);
	if (other_side)
		verify_other_side(r, other_side);
	nlogged[r->id] = r->nlogged;
	tree_free(r->root);
	free(r->seen);
}

static void *
share_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static int
run_all(const struct options *o)
{
	struct common *common = share_memory(sizeof(*common));
	uint64_t *nlogged = share_memory(PROCS_MAX * sizeof(*nlogged));
	int topfd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int sharedfd, status, bad = 0;

	if (topfd < 0)
		die(o->dir);
	sharedfd = make_dir(topfd, "shared");
	for (unsigned i = 0; i < o->nprocs; i++) {
		static struct run r;

		r = (struct run){ .id = i, .nprocs = o->nprocs,
				  .seed = o->seed, .fault = o->fault,
				  .nops = o->nops / o->nprocs,
				  .sharedfd = sharedfd, .common = common };
		switch (fork()) {
		case -1:
			die("fork");
			break;
		case 0:
			work(&r, topfd, o->other_side, nlogged);
			exit(0);
		}
	}
	while (wait(&status) > 0) {
		if (WIFEXITED(status) && WEXITSTATUS(status) > bad)
			bad = WEXITSTATUS(status);
		else if (WIFSIGNALED(status))
			bad = 2;
	}
	if (!bad)
		shared_verify(sharedfd, o->nprocs, nlogged);
	return bad;
}

/* ------------------------------------------------------------------ */

static void
usage(void)
{
	fprintf(stderr, "usage: fsops [-p PROCESSES] [-n OPERATIONS] "
			"[-s SEED] [--other-side DIR]\n"
			"             [--plant-fault data|mode|name|result] "
			"DIR\n");
	exit(2);
}

static enum fault
fault_by_name(const char *name)
{
	for (unsigned i = 0; i < sizeof(fault_names) / sizeof(char *); i++)
		if (!strcmp(name, fault_names[i]))
			return (enum fault)i;
	usage();
	return FAULT_NONE;
}

static void
parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "other-side", required_argument, NULL, 'o' },
		{ "plant-fault", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "p:n:s:", longs, NULL)) != -1) {
		if (c == 'p')
			o->nprocs = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'n')
			o->nops = strtoul(optarg, NULL, 10);
		else if (c == 's')
			o->seed = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			o->other_side = optarg;
		else if (c == 'f')
			o->fault = fault_by_name(optarg);
		else
			usage();
	}
	if (optind + 1 != argc || !o->nprocs || o->nprocs > PROCS_MAX)
		usage();
	o->dir = argv[optind];
}

int
main(int argc, char **argv)
{
	struct options o = { .nprocs = 4, .nops = 20000 };
	struct timespec now;
	int status;

	clock_gettime(CLOCK_REALTIME, &now);
	o.seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	parse(&o, argc, argv);
	umask(0);
	printf("fsops: seed %llu, %lu operations, %u processes\n",
	       (unsigned long long)o.seed, o.nops, o.nprocs);
	fflush(stdout);
	status = run_all(&o);
	if (!status)
		printf("fsops: all as it should be\n");
	return status;
}
