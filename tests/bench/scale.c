/* SPDX-License-Identifier: MIT */
/*
 * How gatewayd does with more of everything: queues, sessions, shares, nodes;
 * and with storage that hangs, slow fsyncs and limits beside what goes on.
 *
 *	scale [-t SECONDS] [-o PART-OF-A-NAME]
 *
 * Every figure is printed with what it should be.  The server has one
 * processor and the guests another, where there are two.
 */
#include "config.h"

#include "tests/bench/lane.h"
#include "tests/server.h"
#include "tests/stallfs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ROUNDS 3
#define SESSIONS 64
#define SHARES 1000
#define NODES 50000
#define BIT(opcode) (UINT64_C(1) << (opcode))
#define OP_FSYNC 20

static struct server server;
static char base[64], dir[100], text[1 << 18];
static double seconds = 0.4;
static int server_cpu = -1, client_cpu = -1;

/* ---- the server ---- */

static void
die(const char *what, int err)
{
	fprintf(stderr, "scale: %s: %s\n", what, strerror(-err));
	server_stop(&server);
	exit(1);
}

/* With more sections, and pinned or not. */
static void
start(const char *sections, bool pinned)
{
	int err;

	server.extra = sections;
	server.cpu = pinned ? server_cpu : -1;
	err = server_start(&server);
	if (err)
		die("the server does not start", err);
}

__attribute__((format(printf, 1, 2))) static void
add(const char *fmt, ...)
{
	size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
}

static const char *
socket_of(const char *tag, char path[128])
{
	snprintf(path, 128, "%s/%s.sock", server.work, tag);
	return path;
}

/* A line of /proc/PID/status, in KiB. */
static long
memory(const char *what)
{
	char path[64], line[200];
	long kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)server.pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)))
			kib = strtol(line + strlen(what) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

/* Ask the control socket; how long it took. */
static uint64_t
ask_ctl(const char *line)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t begin = lane_now_ns();
	char buf[4096];

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/ctl", server.work);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) ||
	    send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		die("the control socket", -errno);
	shutdown(fd, SHUT_WR);
	while (read(fd, buf, sizeof(buf)) > 0)
		continue;
	close(fd);
	return lane_now_ns() - begin;
}

/* ---- lanes ---- */

static atomic_bool stop;

static void
pass(double s)
{
	poll(NULL, 0, (int)(s * 1000));
}

/* Run them for some time; requests a second of all together. */
static double
run_lanes(struct lane *l, unsigned n, double s)
{
	double sum = 0;

	atomic_store(&stop, false);
	for (unsigned i = 0; i < n; i++) {
		l[i].stop = &stop;
		lane_start(&l[i]);
	}
	pass(s);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n; i++) {
		lane_join(&l[i]);
		sum += (double)l[i].count * 1e9 /
		       (double)(l[i].ended_ns - l[i].began_ns);
	}
	return sum;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* One after the other, several rounds: the median of each. */
static void
compare_sets(struct lane *sets[], const unsigned *n, unsigned nsets,
	     double *median)
{
	double v[4][ROUNDS];

	for (unsigned r = 0; r < ROUNDS; r++)
		for (unsigned i = 0; i < nsets; i++)
			v[i][r] = run_lanes(sets[i], n[i], seconds);
	for (unsigned i = 0; i < nsets; i++) {
		qsort(v[i], ROUNDS, sizeof(v[i][0]), compare);
		median[i] = v[i][ROUNDS / 2];
	}
}

static const struct {
	const char *name;
	enum lane_kind kind;
} rows[] = {
	{ "LOOKUP", LANE_LOOKUP },
	{ "READ 4 KiB", LANE_READ },
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

static void
print_ratios(const char *what, const unsigned *n, const double *v,
	     unsigned count, const char *row, double want)
{
	printf("%-12s", row);
	for (unsigned i = 0; i < count; i++)
		printf("  %2u %s %9.0f/s", n[i], what, v[i]);
	printf("  ratio %.2f (want %.2f)\n", v[count - 1] / v[0], want);
	fflush(stdout);
}

/* ---- what is measured ---- */

static void
bench_queues(void)
{
	static const unsigned n[] = { 1, 2, 4 };
	struct lane_guest g[3] = { { .front = NULL } };
	static struct lane lanes[3][4];
	struct lane *sets[3] = { lanes[0], lanes[1], lanes[2] };
	double v[3];

	start("", true);
	for (int i = 0; i < 3; i++)
		if (lane_guest_open(&g[i], server.socket, n[i], "data", NULL))
			die("a guest", -EIO);
	for (size_t k = 0; k < NROWS; k++) {
		for (unsigned i = 0; i < 3; i++)
			for (unsigned q = 0; q < n[i]; q++)
				lanes[i][q] = (struct lane){
					.guest = &g[i], .queue = q + 1,
					.kind = rows[k].kind, .depth = 16 };
		compare_sets(sets, n, 3, v);
		print_ratios("queues", n, v, 3, rows[k].name, 0.95);
	}
	for (int i = 0; i < 3; i++)
		lane_guest_close(&g[i]);
	server_stop(&server);
}

static void
bench_sessions(void)
{
	static const unsigned n[] = { 1, 8, SESSIONS };
	static struct lane_guest g[SESSIONS];
	static struct lane lanes[SESSIONS];
	struct lane *sets[3] = { lanes, lanes, lanes };
	char tag[32], path[128];
	double v[3];
	long before;

	text[0] = '\0';
	for (unsigned i = 0; i < SESSIONS; i++)
		add("[s%u]\npath = %s\n", i, server.share);
	start(text, true);
	before = memory("RssAnon");
	for (unsigned i = 0; i < SESSIONS; i++) {
		snprintf(tag, sizeof(tag), "s%u", i);
		if (lane_guest_open(&g[i], socket_of(tag, path), 1, "data",
				    NULL))
			die("a guest", -EIO);
	}
	printf("%-12s  %ld KiB\n", "per session",
	       (memory("RssAnon") - before) / SESSIONS);
	for (size_t k = 0; k < NROWS; k++) {
		for (unsigned i = 0; i < SESSIONS; i++)
			lanes[i] = (struct lane){
				.guest = &g[i], .queue = 1,
				.kind = rows[k].kind, .depth = 16 };
		compare_sets(sets, n, 3, v);
		print_ratios("guests", n, v, 3, rows[k].name, 0.9);
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		lane_guest_close(&g[i]);
	server_stop(&server);
}

static void
make_files(const char *prefix, unsigned n, bool dirs)
{
	char path[200];

	for (unsigned i = 0; i < n; i++) {
		int err;

		snprintf(path, sizeof(path), "%s/%s%u", dir, prefix, i);
		err = dirs ? mkdir(path, 0755) : mknod(path, S_IFREG | 0644, 0);
		if (err && errno != EEXIST)
			die(path, -errno);
	}
}

static void
bench_shares(void)
{
	uint64_t begin;
	double took;
	long one, all;

	make_files("d", SHARES, true);
	text[0] = '\0';
	start(text, false);
	one = memory("RssAnon");
	server_stop(&server);
	for (unsigned i = 1; i < SHARES; i++)
		add("[s%u]\npath = %s/d%u\n", i, dir, i);
	begin = lane_now_ns();
	start(text, false);
	took = (double)(lane_now_ns() - begin) / 1e9;
	all = memory("RssAnon");
	printf("%-12s  %u shares: %.2f s (want < 1), %.1f MiB (want < 40)\n",
	       "start", SHARES, took, (double)memory("VmRSS") / 1024);
	printf("%-12s  %.1f KiB (want <= 32)\n", "idle share",
	       (double)(all - one) / (SHARES - 1));
	server_stop(&server);
}

static void
bench_nodes(void)
{
	struct lane_guest g = { .front = NULL };
	char name[32];
	long before;

	make_files("n", NODES, false);
	start("", false);
	if (lane_guest_open(&g, server.socket, 1, "data", NULL))
		die("a guest", -EIO);
	before = memory("RssAnon");
	for (unsigned i = 0; i < NODES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		if (lane_guest_lookup(&g, name))
			die(name, -EIO);
	}
	printf("%-12s  %.0f MiB\n", "million nodes",
	       (double)(memory("RssAnon") - before) / NODES * 1e6 / 1024);
	lane_guest_close(&g);
	server_stop(&server);
}

static double
us(uint64_t ns)
{
	return (double)ns / 1000;
}

/* p99 of a share's requests, alone and while another share hangs. */
static void
bench_isolation(void)
{
	struct lane_guest good = { .front = NULL }, bad = { .front = NULL };
	struct lane hanging = { .guest = &bad, .queue = 1, .kind = LANE_READ,
				.depth = 60 };
	static atomic_bool never;
	char mnt[128], path[128];
	struct stallfs *fs;

	snprintf(mnt, sizeof(mnt), "%s/slow", base);
	mkdir(mnt, 0755);
	if (stallfs_start(mnt, &fs)) {
		printf("isolation: needs root and /dev/fuse\n");
		return;
	}
	text[0] = '\0';
	add("[slow]\npath = %s\n", mnt);
	start(text, true);
	if (lane_guest_open(&good, server.socket, 1, "data", NULL) ||
	    lane_guest_open(&bad, socket_of("slow", path), 1, "f0", NULL))
		die("a guest", -EIO);
	for (size_t k = 0; k < NROWS; k++) {
		struct lane l = { .guest = &good, .queue = 1, .depth = 1,
				  .kind = rows[k].kind };
		uint64_t p99, ctl = 0, ns;

		run_lanes(&l, 1, seconds * ROUNDS);
		p99 = hist_at(&l.hist, 0.99);
		stallfs_stall(fs, STALLFS_ALL);
		hanging.stop = &never;
		atomic_store(&never, true);	/* each once */
		lane_start(&hanging);
		stallfs_wait_held(fs, 16, 10000);
		run_lanes(&l, 1, seconds * ROUNDS);
		for (int i = 0; i < 50; i++) {
			ns = ask_ctl("read shares/slow/stats\n");
			ctl = ns > ctl ? ns : ctl;
		}
		stallfs_stall(fs, 0);
		lane_join(&hanging);
		printf("%-12s  p99 %.0f us, %.0f us while another share hangs "
		       "(want + < 1000)\n%-12s  control socket at most %.1f "
		       "ms (want < 10)\n", rows[k].name, us(p99),
		       us(hist_at(&l.hist, 0.99)), "", us(ctl) / 1000);
	}
	lane_guest_close(&good);
	lane_guest_close(&bad);
	server_stop(&server);
	stallfs_stop(fs);
	rmdir(mnt);
}

/* Reads of a session with an fsync of 200 ms under way on the same queue. */
static void
bench_fsync(void)
{
	struct lane_guest g = { .front = NULL };
	struct lane l = { .guest = &g, .queue = 1, .depth = 2,
			  .kind = LANE_READ };
	char mnt[128];
	struct stallfs *fs;
	uint64_t p99;

	snprintf(mnt, sizeof(mnt), "%s/disk", dir);
	mkdir(mnt, 0755);
	if (stallfs_start(mnt, &fs)) {
		printf("fsync: needs root and /dev/fuse\n");
		return;
	}
	start("", true);
	if (lane_guest_open(&g, server.socket, 1, "data", "disk/f0"))
		die("a guest", -EIO);
	run_lanes(&l, 1, seconds * ROUNDS);
	p99 = hist_at(&l.hist, 0.99);
	stallfs_delay(fs, BIT(OP_FSYNC), 200);
	l.fsync_beside = true;
	run_lanes(&l, 1, seconds * ROUNDS);
	printf("%-12s  p99 %.0f us, %.0f us beside %llu fsyncs of 200 ms, "
	       "worst %.0f us\n", "READ 4 KiB", us(p99),
	       us(hist_at(&l.hist, 0.99)), (unsigned long long)l.fsyncs,
	       us(l.worst_ns));
	stallfs_delay(fs, 0, 0);
	lane_guest_close(&g);
	server_stop(&server);
	stallfs_stop(fs);
	rmdir(mnt);
}

static void
bench_limits(void)
{
	const double s = 10, iops = 5000, mib = 100;
	struct lane_guest g[2] = { { .front = NULL } };
	struct lane l[2] = {
		{ .guest = &g[0], .queue = 1, .kind = LANE_LOOKUP,
		  .depth = 16 },
		{ .guest = &g[1], .queue = 1, .kind = LANE_BIG_READ,
		  .depth = 16 },
	};
	char path[128];
	int64_t cpu;
	double n, b;

	text[0] = '\0';
	add("[iops]\npath = %s\niops_limit = %.0f\n[bw]\npath = %s\n"
	    "bandwidth_limit = %.0fM\n", server.share, iops, server.share,
	    mib);
	start(text, true);
	if (lane_guest_open(&g[0], socket_of("iops", path), 1, "data", NULL) ||
	    lane_guest_open(&g[1], socket_of("bw", path), 1, "data", NULL))
		die("a guest", -EIO);
	cpu = server_cpu_ns(&server);
	run_lanes(l, 2, s);
	cpu = server_cpu_ns(&server) - cpu;
	n = (double)l[0].count / s;
	b = (double)l[1].count * 65536 / s / (1 << 20);
	printf("%-12s  %.0f requests/s of %.0f: %+.1f %%, %.1f MiB/s "
	       "of %.0f: %+.1f %% (want within 5)\n%-12s  %.1f %% CPU with "
	       "both\n", "limits",
	       n, iops, (n / iops - 1) * 100, b, mib, (b / mib - 1) * 100, "",
	       (double)cpu / (s * 1e9) * 100);
	lane_guest_close(&g[0]);
	lane_guest_close(&g[1]);
	server_stop(&server);
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "request queues of one guest", bench_queues },
	{ "guests of different shares", bench_sessions },
	{ "shares", bench_shares },
	{ "nodes", bench_nodes },
	{ "isolation", bench_isolation },
	{ "fsync", bench_fsync },
	{ "limits", bench_limits },
};

/* ---- */

static void
choose_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET((size_t)i, &set))
			continue;
		if (server_cpu < 0)
			server_cpu = i;
		else if (client_cpu < 0)
			client_cpu = i;
	}
	if (client_cpu < 0)
		client_cpu = server_cpu;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
make_share(void)
{
	char path[128];
	int fd;

	strcpy(base, "/dev/shm/gatewayd-scale.XXXXXX");
	if (!server_find(&server) || server.kind != SERVER_GATEWAYD ||
	    !mkdtemp(base))
		die("gatewayd, or a directory", -ENOENT);
	chmod(base, 0755);
	snprintf(server.work, sizeof(server.work), "%.50s/work", base);
	snprintf(dir, sizeof(dir), "%s/share", base);
	strcpy(server.share, dir);
	mkdir(server.work, 0755);
	mkdir(dir, 0755);
	snprintf(path, sizeof(path), "%s/data", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || posix_fallocate(fd, 0, LANE_DATA))
		die(path, -EIO);
	close(fd);
}

int
main(int argc, char **argv)
{
	const char *only = "";
	int ch;

	while ((ch = getopt(argc, argv, "t:o:")) >= 0) {
		if (ch == 't')
			seconds = atof(optarg);
		else if (ch == 'o')
			only = optarg;
		else
			return 2;
	}
	choose_cpus();
	if (stallfs_hide())
		fprintf(stderr, "scale: others can see what hangs\n");
	make_share();
	server_pin(client_cpu);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (!strstr(parts[i].name, only))
			continue;
		printf("\n%s\n", parts[i].name);
		parts[i].run();
		fflush(stdout);
	}
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
