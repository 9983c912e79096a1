/* SPDX-License-Identifier: MIT */
/*
 * What names without case cost, by the size of the directory: two gatewayd on
 * the same one, casefold = no and nt, taking turns.
 *
 *	bench-names [-t SECONDS] [-r ROUNDS] [-c CPU,CPU] [-d DIR]
 *		PROGRAM NAMES...
 *
 * The directory grows from each number of NAMES to the next by creations of a
 * guest.  CPU microseconds of the server for a request, 16 at a time:
 *	exact	a known file by its name; ratio: the median of those of the
 *		rounds, the smallest and the largest
 *	case	a known file in other case
 *	new	a new name that is in no case there
 *	create	a file made and closed, while the directory grew; besides, the
 *		names go to cache.db
 *	memory	bytes a name, with changes that are not yet in cache.db
 *	scan	one thread reading the directory for one name, as every `case`
 *		and `new` would without an index
 */
#include "config.h"

#include "tests/bench/bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 31
#define KNOWN 64			/* files that the guests know */
#define LOOK_MS 200
#define SETTLE_MS 120000

enum { NO, NT, SERVERS };

static const struct bench_op exact = {
	"exact", 1, { FUSE_LOOKUP }, .file = "f%u",
};
static const struct bench_op other = {
	"other case", 1, { FUSE_LOOKUP }, .file = "F%u",
};
static const struct bench_op fresh = {
	"new name", 1, { FUSE_LOOKUP }, .file = "Missing %u.Txt",
	.missing = true, .fresh = true,
};
static const struct bench_op create = {
	"create", 2, { FUSE_CREATE, FUSE_RELEASE }, .file = "Document %u.Txt",
	.keep = true,
};

static struct server server[SERVERS] = {
	{ .kind = SERVER_GATEWAYD },
	{ .kind = SERVER_GATEWAYD,
	  .extra = "casefold = nt\ncasefold_memory = 1G\n" },
};
static struct bench_client *client[SERVERS];
static char base[64] = "/dev/shm/gatewayd-names.XXXXXX", share[80];
static double seconds = 0.2;
static unsigned rounds = 9;
static int server_cpu = -1, client_cpu = -1;
static long names;		/* in the directory */

__attribute__((noreturn)) static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "bench-names: %s: %s\n", what, why);
	exit(1);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
clean_up(void)
{
	for (int i = 0; i < SERVERS; i++)
		server_stop(&server[i]);
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ------------------------------------------------------------------ */

static void
make_file(const char *name)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", share, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		fail(path, strerror(errno));
	close(fd);
	names++;
}

static void
make_known(void)
{
	char name[16];

	make_file("data");
	for (unsigned i = 0; i < KNOWN; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		make_file(name);
	}
}

static void
start(const char *program)
{
	if (!mkdtemp(base))
		fail(base, strerror(errno));
	atexit(clean_up);
	snprintf(share, sizeof(share), "%s/share", base);
	mkdir(share, 0755);
	make_known();
	for (int i = 0; i < SERVERS; i++) {
		struct server *s = &server[i];
		int err;

		snprintf(s->program, sizeof(s->program), "%s", program);
		snprintf(s->work, sizeof(s->work), "%.48s/%d", base, i);
		snprintf(s->share, sizeof(s->share), "%s", share);
		s->cpu = server_cpu;
		mkdir(s->work, 0755);
		err = server_start(s);
		if (err)
			fail(program, strerror(-err));
	}
	server_pin(client_cpu);
}

static void
connect_all(void)
{
	char why[160];

	for (int i = 0; i < SERVERS; i++)
		if (bench_client_new(server[i].socket, KNOWN, &client[i], why,
				     sizeof(why)))
			fail("guest", why);
}

/* CPU of one request, in microseconds. */
static double
measure(int which, const struct bench_op *op, uint64_t limit)
{
	struct bench_run run = {
		.op = op, .depth = BENCH_DEPTH_MAX, .limit = limit,
		.seconds = limit ? 3600 : seconds,
		.sleep = server_cpu == client_cpu,
	};
	struct bench_result r;
	char why[160];

	if (bench_client_run(client[which], &run, &server[which], &r, why,
			     sizeof(why)))
		fail(op->name, why);
	return r.cpu / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts. */
static double
median(double *v)
{
	qsort(v, rounds, sizeof(*v), compare);
	return v[rounds / 2];
}

/* The servers in turn, the other one first each time. */
static void
measure_both(const struct bench_op *op, double v[SERVERS][ROUNDS_MAX],
	     double *ratio)
{
	for (unsigned i = 0; i < rounds; i++) {
		for (unsigned j = 0; j < SERVERS; j++) {
			int which = (int)((i + j) % SERVERS);

			v[which][i] = measure(which, op, 0);
		}
		ratio[i] = v[NT][i] / v[NO][i];
	}
}

/* ------------------------------------------------------------------ */

/* CPU of reading the directory for one name, in microseconds. */
static double
scan(void)
{
	struct timespec a, b;
	struct dirent *e;
	int found = 0;
	DIR *d;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	d = opendir(share);
	while (d && (e = readdir(d)))
		found += !strcasecmp(e->d_name, "no such name");
	if (!d || found)
		fail(share, "cannot be read");
	closedir(d);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (double)(b.tv_sec - a.tv_sec) * 1e6 +
	       (double)(b.tv_nsec - a.tv_nsec) / 1e3;
}

/* A number of the control file that says what is known of names. */
static double
value(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	static const char ask[] = "read shares/share/casefold\n";
	char answer[1024] = "", line[32], *at;
	size_t n = 0;
	ssize_t got = 1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/ctl",
		 server[NT].work);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) ||
	    write(fd, ask, sizeof(ask) - 1) < 0 || shutdown(fd, SHUT_WR))
		fail(sun.sun_path, strerror(errno));
	for (; got > 0 && n < sizeof(answer) - 1; n += (size_t)got)
		got = read(fd, answer + n, sizeof(answer) - 1 - n);
	close(fd);
	snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(answer, line);
	return at ? atof(at + strlen(line)) : 0;
}

/* Until all names were written to cache.db, which the server does some time
 * after they came, and no thread of it works. */
static void
settle(void)
{
	struct timespec t = { 0, LOOK_MS * 1000000 };
	int64_t was = 0, now = server_cpu_ns(&server[NT]);

	for (int ms = 0; ms < SETTLE_MS; ms += LOOK_MS) {
		was = now;
		nanosleep(&t, NULL);
		now = server_cpu_ns(&server[NT]);
		if (now - was < 5000000 && value("waiting") == 0)
			return;
	}
}

/* What it costs to make the directory as big as that. */
static double
grow_to(long n)
{
	double us = 0;

	if (n > names) {
		us = 2 * measure(NT, &create, 2 * (uint64_t)(n - names));
		names = n;
	}
	measure(NT, &other, 0);		/* who asks has them written */
	settle();
	return us;
}

static void
bench(long n)
{
	double hit[SERVERS][ROUNDS_MAX], miss[SERVERS][ROUNDS_MAX];
	double hits[ROUNDS_MAX], misses[ROUNDS_MAX], cases[ROUNDS_MAX];
	double made = grow_to(n);

	measure(NO, &exact, 0);
	measure(NT, &other, 0);
	measure_both(&exact, hit, hits);
	measure_both(&fresh, miss, misses);
	for (unsigned i = 0; i < rounds; i++)
		cases[i] = measure(NT, &other, 0);
	printf("%8ld %5.2f %5.2f  %4.2f", names, median(hit[NO]),
	       median(hit[NT]), median(hits));
	printf(" (%.2f-%.2f) %5.2f %5.2f %5.2f %6.2f %6.1f %9.1f\n", hits[0],
	       hits[rounds - 1], median(cases), median(miss[NO]),
	       median(miss[NT]), made, value("memory") / (double)names, scan());
	fflush(stdout);
}

static int
usage(void)
{
	fprintf(stderr, "usage: bench-names [-t SECONDS] [-r ROUNDS] "
			"[-c CPU,CPU] [-d DIR] PROGRAM NAMES...\n");
	return 2;
}

static int
parse(int argc, char **argv)
{
	int ch;

	while ((ch = getopt(argc, argv, "t:r:c:d:")) >= 0) {
		if (ch == 't')
			seconds = atof(optarg);
		else if (ch == 'r')
			rounds = (unsigned)atoi(optarg);
		else if (ch == 'd')
			snprintf(base, sizeof(base),
				 "%.32s/gatewayd-names.XXXXXX", optarg);
		else if (ch != 'c' || sscanf(optarg, "%d,%d", &server_cpu,
					     &client_cpu) != 2)
			return usage();
	}
	if (argc - optind < 2 || seconds <= 0 || rounds < 1 ||
	    rounds > ROUNDS_MAX)
		return usage();
	return 0;
}

int
main(int argc, char **argv)
{
	int err = parse(argc, argv);

	if (err)
		return err;
	bench_choose_cpus(&server_cpu, &client_cpu);
	start(argv[optind]);
	connect_all();
	measure(NT, &other, 0);		/* the first one opens cache.db */
	printf("\nNames without case: CPU us of a request, 16 at a time; median "
	       "of %u rounds of %.2f s\n%8s %22s %7s %11s %6s %6s %9s\n"
	       "%8s %5s %5s  %-16s %5s %5s %5s %6s %6s %9s\n", rounds, seconds,
	       "", "exact name", "", "no such", "", "memory", "naive", "names",
	       "no", "nt", "nt/no", "case", "no", "nt", "create", "B/name",
	       "scan");
	for (int i = optind + 1; i < argc; i++)
		bench(atol(argv[i]));
	for (int i = 0; i < SERVERS; i++)
		bench_client_free(client[i]);
	return 0;
}
