/* SPDX-License-Identifier: MIT */
/*
 * Measures vhost-user-fs servers side by side: each operation, in each of
 * modes[], by every server in turn, several rounds; medians are printed.
 *
 *	bench [-t SECONDS] [-r ROUNDS] [-c CPU,CPU] [-d DIR] [-o OP]
 *	      [-m MODE] [-n NAMES] NAME=KIND:PROGRAM...
 *
 * KIND is gatewayd, folding (gatewayd with casefold = nt), virtiofsd or rust;
 * -n puts that many more names into the directory, -m leaves the other modes
 * out.
 */
#include "config.h"

#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define SERVERS_MAX 4
#define ROUNDS_MAX 31

/* How the guest asks. */
enum mode { ONE, MANY, SLEEPING, ONE_CPU, NMODES };

static const struct {
	const char *name;
	unsigned depth;
	bool sleep;		/* until called, else watch the ring */
	bool one_cpu;		/* the server's */
} modes[NMODES] = {
	[ONE] = { "1", 1, false, false },
	[MANY] = { "16", BENCH_DEPTH_MAX, false, false },
	[SLEEPING] = { "sleep", 1, true, false },
	[ONE_CPU] = { "1 CPU", 1, true, true },
};

struct contender {
	const char *name;
	struct server server;
	struct bench_client *client;	/* NULL: start it first */
	char why[160];			/* of its last failure */
};

struct bench {
	struct contender who[SERVERS_MAX];
	unsigned nwho;
	double seconds;			/* of one measurement */
	unsigned rounds;
	int server_cpu, client_cpu;
	const char *only;		/* part of a name, or NULL */
	const char *mode;		/* a name, or NULL */
	unsigned names;			/* more of them in the share */
	char base[64], share[80];
};

struct outcome {			/* medians, and the floor */
	struct bench_result r[NMODES][SERVERS_MAX];
	double floor;
};

static const struct {
	const char *name;
	enum server_kind kind;
	const char *extra;
} kinds[] = {
	{ "gatewayd", SERVER_GATEWAYD, NULL },
	{ "folding", SERVER_GATEWAYD, "casefold = nt\n" },
	{ "virtiofsd", SERVER_VIRTIOFSD_C, NULL },
	{ "rust", SERVER_VIRTIOFSD_RUST, NULL },
};

/* ------------------------------------------------------------------ */
/* The share. */

static int
make_file(const char *dir, const char *name, size_t size)
{
	static char page[4096];
	char path[160];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < size && !err; at += sizeof(page))
		if (write(fd, page, sizeof(page)) < 0)
			err = -errno;
	close(fd);
	return err;
}

static int
make_share(struct bench *b)
{
	int err;

	if (!mkdtemp(b->base))
		return -errno;
	chmod(b->base, 0755);
	snprintf(b->share, sizeof(b->share), "%s/share", b->base);
	if (mkdir(b->share, 0755) < 0)
		return -errno;
	err = make_file(b->share, "data", BENCH_DATA_SIZE);
	for (unsigned i = 0; i < BENCH_FILES && !err; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		err = make_file(b->share, name, 4096);
	}
	for (unsigned i = 0; i < b->names && !err; i++) {
		char name[32];

		snprintf(name, sizeof(name), "x Document %u.Txt", i);
		err = make_file(b->share, name, 0);
	}
	return err;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* ------------------------------------------------------------------ */
/* Servers. */

static void
give_up(struct contender *w)
{
	if (w->client)
		bench_client_free(w->client);
	w->client = NULL;
	server_stop(&w->server);
}

static bool
start(struct bench *b, struct contender *w)
{
	struct server *s = &w->server;
	int err;

	if (w->client && server_is_alive(s))
		return true;
	give_up(w);
	snprintf(s->work, sizeof(s->work), "%.48s/%.12s", b->base, w->name);
	snprintf(s->share, sizeof(s->share), "%s", b->share);
	s->cpu = b->server_cpu;
	if (mkdir(s->work, 0755) < 0 && errno != EEXIST)
		err = -errno;
	else
		err = server_start(s);
	if (err)
		snprintf(w->why, sizeof(w->why), "cannot start: %s",
			 strerror(-err));
	else
		err = bench_client_new(s->socket, BENCH_FILES, &w->client,
				       w->why, sizeof(w->why));
	return err == 0;
}

/* "NAME=KIND:PROGRAM" */
static int
add_contender(struct bench *b, char *arg)
{
	struct contender *w = &b->who[b->nwho];
	char *kind = strchr(arg, '='), *program;

	if (b->nwho == SERVERS_MAX || !kind)
		return -EINVAL;
	*kind++ = '\0';
	program = strchr(kind, ':');
	if (!program || !arg[0] || strlen(program) > sizeof(w->server.program))
		return -EINVAL;
	*program++ = '\0';
	w->name = arg;
	strcpy(w->server.program, program);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, kind))
			continue;
		w->server.kind = kinds[i].kind;
		w->server.extra = kinds[i].extra;
		b->nwho++;
		return 0;
	}
	return -EINVAL;
}

/* ------------------------------------------------------------------ */
/* Measuring. */

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of v, which is sorted by it. */
static double
middle(double *v, unsigned n)
{
	qsort(v, n, sizeof(v[0]), compare);
	return n ? v[n / 2] : 0;
}

/* The median of one field over the rounds. */
static double
median(const struct bench_result *r, unsigned n, size_t field)
{
	double v[ROUNDS_MAX];

	for (unsigned i = 0; i < n; i++)
		memcpy(&v[i], (const char *)&r[i] + field, sizeof(v[i]));
	return middle(v, n);
}

static void
summarise(const struct bench_result *r, unsigned rounds,
	  struct bench_result *to)
{
	to->done = true;
	for (unsigned i = 0; i < rounds; i++)
		to->done = to->done && r[i].done;
	to->per_s = median(r, rounds, offsetof(struct bench_result, per_s));
	to->p50 = median(r, rounds, offsetof(struct bench_result, p50));
	to->p99 = median(r, rounds, offsetof(struct bench_result, p99));
	to->cpu = median(r, rounds, offsetof(struct bench_result, cpu));
}

/* On the server's CPU; the machine's speed changes, so once in each round. */
static double
measure_floor(struct bench *b, const struct bench_op *op)
{
	double ns;

	server_pin(b->server_cpu);
	ns = bench_floor(op, b->share, b->seconds);
	server_pin(b->client_cpu);
	return ns;
}

static void
measure(struct bench *b, const struct bench_op *op, enum mode m,
	struct outcome *o)
{
	static struct bench_result r[SERVERS_MAX][ROUNDS_MAX];
	double floor[ROUNDS_MAX];
	struct bench_run run = {
		.op = op, .depth = modes[m].depth, .seconds = b->seconds,
		/* On one CPU who never sleeps would starve the server. */
		.sleep = modes[m].sleep || b->client_cpu == b->server_cpu,
	};

	server_pin(modes[m].one_cpu ? b->server_cpu : b->client_cpu);
	for (unsigned i = 0; i < b->rounds; i++) {
		if (m == MANY)
			floor[i] = measure_floor(b, op);
		for (unsigned j = 0; j < b->nwho; j++) {
			struct contender *w = &b->who[j];

			r[j][i].done = false;
			/* One failure in a row of rounds is enough. */
			if ((i > 0 && !r[j][i - 1].done) || !start(b, w))
				continue;
			if (bench_client_run(w->client, &run, &w->server,
					     &r[j][i], w->why,
					     sizeof(w->why)))
				give_up(w);
		}
	}
	for (unsigned j = 0; j < b->nwho; j++)
		summarise(r[j], b->rounds, &o->r[m][j]);
	if (m == MANY)
		o->floor = middle(floor, b->rounds);
	server_pin(b->client_cpu);
}

static bool
is_wanted(const struct bench *b, enum mode m)
{
	return !b->mode || !strcmp(b->mode, modes[m].name);
}

/* ------------------------------------------------------------------ */
/* Printing: 80 columns. */

static void
print_head(void)
{
	printf("%-24s %5s %-11s %10s %8s %8s %8s\n", "", "mode", "",
	       "requests/s", "p50 us", "p99 us", "CPU us");
}

static void
print_outcome(struct bench *b, const struct bench_op *op, enum mode m,
	      const struct outcome *o)
{
	for (unsigned j = 0; j < b->nwho; j++) {
		const struct bench_result *r = &o->r[m][j];

		printf("%-24s %5s %-11.11s ", j == 0 ? op->name : "",
		       modes[m].name, b->who[j].name);
		if (r->done)
			printf("%10.0f %8.1f %8.1f %8.2f\n", r->per_s,
			       r->p50 / 1e3, r->p99 / 1e3, r->cpu / 1e3);
		else
			printf("failed: %.30s\n", b->who[j].why);
	}
	fflush(stdout);
}

/* One number for each server, then the others divided by the first. */
static void
print_table(struct bench *b, const char *title, const struct outcome *o,
	    enum mode m, size_t field, bool with_floor)
{
	if (!is_wanted(b, m))
		return;
	printf("\n%-24s %6s", title, with_floor ? "floor" : "");
	for (unsigned j = 0; j < b->nwho; j++)
		printf(" %9.9s", b->who[j].name);
	for (unsigned j = 1; j < b->nwho; j++)
		printf("  ratio");
	printf("\n");
	for (unsigned i = 0; i < bench_nops; i++) {
		double v[SERVERS_MAX];

		if (b->only && !strstr(bench_ops[i].name, b->only))
			continue;
		printf("%-24s ", bench_ops[i].name);
		if (with_floor)
			printf("%6.2f", o[i].floor / 1e3);
		else
			printf("%6s", "");
		for (unsigned j = 0; j < b->nwho; j++) {
			const struct bench_result *r = &o[i].r[m][j];

			memcpy(&v[j], (const char *)r + field, sizeof(v[j]));
			if (!r->done)
				v[j] = 0;
			if (r->done)
				printf(" %9.2f", v[j] / 1e3);
			else
				printf(" %9s", "failed");
		}
		for (unsigned j = 1; j < b->nwho; j++)
			if (v[j] > 0 && v[0] > 0)
				printf(" %6.2f", v[j] / v[0]);
			else
				printf(" %6s", "-");
		printf("\n");
	}
}

static void
print_conditions(const struct bench *b)
{
	struct statfs fs;

	printf("server on CPU %d, guest on CPU %d with 1 or 16 requests under "
	       "way;\nit watches its ring, or sleeps until called (sleep; "
	       "1 CPU: the server's)\n"
	       "share on %s; median of %u rounds of %.2f s\n\n",
	       b->server_cpu, b->client_cpu,
	       statfs(b->share, &fs) == 0 && fs.f_type == 0x01021994 ?
	       "tmpfs" : "a disk", b->rounds, b->seconds);
}

static void
run_all(struct bench *b)
{
	struct outcome *o = calloc(bench_nops, sizeof(*o));

	if (!o)
		return;
	print_conditions(b);
	print_head();
	for (unsigned i = 0; i < bench_nops; i++) {
		const struct bench_op *op = &bench_ops[i];

		if (b->only && !strstr(op->name, b->only))
			continue;
		for (enum mode m = 0; m < NMODES; m++) {
			if (!is_wanted(b, m))
				continue;
			measure(b, op, m, &o[i]);
			print_outcome(b, op, m, &o[i]);
		}
	}
	print_table(b, "CPU us, depth 16", o, MANY,
		    offsetof(struct bench_result, cpu), true);
	print_table(b, "CPU us, depth 1", o, ONE,
		    offsetof(struct bench_result, cpu), true);
	print_table(b, "p50 us, depth 1", o, ONE,
		    offsetof(struct bench_result, p50), false);
	print_table(b, "p50 us, guest sleeps", o, SLEEPING,
		    offsetof(struct bench_result, p50), false);
	print_table(b, "p50 us, on one CPU", o, ONE_CPU,
		    offsetof(struct bench_result, p50), false);
	free(o);
}

/* ------------------------------------------------------------------ */

static int
usage(void)
{
	fprintf(stderr, "usage: bench [-t SECONDS] [-r ROUNDS] [-c CPU,CPU] "
			"[-d DIR]\n             [-o OPERATION] [-m MODE] [-n NAMES] "
			"NAME=KIND:PROGRAM...\n");
	return 2;
}

static int
parse(struct bench *b, int argc, char **argv)
{
	int ch;

	while ((ch = getopt(argc, argv, "t:r:c:d:o:m:n:")) >= 0) {
		switch (ch) {
		case 't':
			b->seconds = atof(optarg);
			break;
		case 'r':
			b->rounds = (unsigned)atoi(optarg);
			break;
		case 'c':
			if (sscanf(optarg, "%d,%d", &b->server_cpu,
				   &b->client_cpu) != 2)
				return usage();
			break;
		case 'd':
			snprintf(b->base, sizeof(b->base),
				 "%.32s/gatewayd-bench.XXXXXX", optarg);
			break;
		case 'o':
			b->only = optarg;
			break;
		case 'm':
			b->mode = optarg;
			break;
		case 'n':
			b->names = (unsigned)atoi(optarg);
			break;
		default:
			return usage();
		}
	}
	if (optind == argc || b->seconds <= 0 || b->rounds < 1 ||
	    b->rounds > ROUNDS_MAX)
		return usage();
	for (; optind < argc; optind++)
		if (add_contender(b, argv[optind]))
			return usage();
	return 0;
}

int
main(int argc, char **argv)
{
	static struct bench b = {
		.seconds = 0.2, .rounds = 3, .server_cpu = -1,
		.client_cpu = -1, .base = "/dev/shm/gatewayd-bench.XXXXXX",
	};
	int err = parse(&b, argc, argv);

	if (err)
		return err;
	bench_choose_cpus(&b.server_cpu, &b.client_cpu);
	err = make_share(&b);
	if (err)
		fprintf(stderr, "bench: %s: %s\n", b.base, strerror(-err));
	else
		run_all(&b);
	for (unsigned i = 0; i < b.nwho; i++)
		give_up(&b.who[i]);
	nftw(b.base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return err ? 1 : 0;
}
