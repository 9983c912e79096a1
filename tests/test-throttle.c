/* SPDX-License-Identifier: MIT */
/*
 * iops_limit and bandwidth_limit: their arithmetic on a clock of the test's
 * own, then a daemon whose guests want more than they may have.
 */
#include "config.h"

#include "gatewayd/throttle.h"
#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define WAIT_MS 60000

/* ------------------------------------------------------------------ */
/* Ten seconds of a guest whose requests take `cost` ns and move `bytes`. */

struct run {
	uint64_t served, bytes, waits;
};

static struct run
run_for(uint64_t iops, uint64_t bandwidth, uint64_t cost, size_t bytes,
	uint64_t ns)
{
	struct throttle t = { .on = false };
	struct run r = { 0, 0, 0 };
	uint64_t begin = 77 * SECOND, now = begin, wait;

	throttle_set(&t, iops, bandwidth);
	while (now < begin + ns) {
		wait = throttle_wait(&t, now);
		if (wait) {
			now += wait;
			r.waits++;
			continue;
		}
		now += cost;
		throttle_pay(&t, now, bytes);
		r.served++;
		r.bytes += bytes;
	}
	return r;
}

static void
within(uint64_t got, uint64_t limit, const char *what)
{
	if (!ok(got * 100 >= limit * 10 * 95 && got * 100 <= limit * 10 * 105,
		"%s: within 5 %% over 10 s", what))
		printf("# %llu of %llu\n", (unsigned long long)got,
		       (unsigned long long)limit * 10);
}

static void
test_arithmetic(void)
{
	static const uint64_t limits[] = { 1000, 30000, 100, 333333 };
	struct throttle t = { .on = false };
	struct run r;
	char what[60];

	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		snprintf(what, sizeof(what), "%llu requests a second",
			 (unsigned long long)limits[i]);
		r = run_for(limits[i], 0, 2000, 0, 10 * SECOND);
		within(r.served, limits[i], what);
		ok(r.waits <= 1100, "and it sleeps %llu times",
		   (unsigned long long)r.waits);
	}
	r = run_for(0, 10 << 20, 20000, 65536, 10 * SECOND);
	within(r.bytes, 10 << 20, "10 MiB/s by 64 KiB");
	r = run_for(0, 3 << 20, 100000, 1 << 20, 10 * SECOND);
	within(r.bytes, 3 << 20, "3 MiB/s by 1 MiB");
	r = run_for(500, 1 << 30, 2000, 4096, 10 * SECOND);
	within(r.served, 500, "the tighter of two limits");
	r = run_for(0, 0, 2000, 4096, SECOND);
	is_int(r.waits, 0, "no limit: no wait");
	/* What was not used is not saved up. */
	throttle_set(&t, 1000, 0);
	for (uint64_t n = 0; n < 1000 && !throttle_wait(&t, 100 * SECOND); n++)
		throttle_pay(&t, 100 * SECOND, 0);
	ok(throttle_wait(&t, 100 * SECOND) > 0 &&
	   !throttle_wait(&t, 100 * SECOND + 20 * MS),
	   "after a long pause a tenth of a second's worth is taken at once");
	ok(throttle_set(&t, 0, 0) && !throttle_wait(&t, 100 * SECOND) &&
	   !throttle_set(&t, 0, 0), "a new limit begins anew");
}

/* ------------------------------------------------------------------ */

static struct daemon d;

static void
limit(const char *keys)
{
	char text[200], reply[4096];

	snprintf(text, sizeof(text), "[one]\n%s\n", keys);
	daemon_keys(&d, text);
	ok(!daemon_ctl(&d, "write ctl reload", reply, sizeof(reply)),
	   "now %s", keys);
}

static struct guest *
come(void)
{
	struct guest_settings set = {
		.kind = GUEST_LINUX, .nslots = 60, .vm.timeout_ms = WAIT_MS,
	};
	char path[128], *why = NULL;
	struct guest *g = NULL;

	if (guest_open(daemon_socket(&d, "one", path), &set, &g, &why) ||
	    guest_init(g, NULL)) {
		ok(0, "a guest comes: %s", why ? why : "INIT");
		exit(tap_done());
	}
	return g;
}

static int
send_getattr(struct guest *g)
{
	static const struct fuse_getattr_in in;
	struct guest_req req = {
		.opcode = FUSE_GETATTR, .nodeid = GUEST_ROOT,
		.in = { { (void *)(uintptr_t)&in, sizeof(in) } },
		.room = sizeof(struct fuse_attr_out),
	};

	return guest_send(g, &req);
}

static void
test_iops(void)
{
	struct guest *g = come(), *h = come();
	struct fuse_attr_out a;
	int64_t begin, took;
	long cpu, waits;
	int good = 0;

	limit("iops_limit = 200");
	waits = daemon_number(&d, "shares/one/stats", "throttle_waits");
	begin = test_now_ms();
	cpu = daemon_cpu_ms(&d);
	/* 400 requests of two guests, 20 at once. */
	for (int i = 0; i < 20; i++) {
		int id[20];

		for (int k = 0; k < 20; k++)
			id[k] = send_getattr(k % 2 ? g : h);
		for (int k = 0; k < 20; k++)
			good += guest_wait(k % 2 ? g : h, id[k], &a) > 0;
	}
	took = test_now_ms() - begin;
	cpu = daemon_cpu_ms(&d) - cpu;
	is_int(good, 400, "400 requests of two guests");
	ok(took >= 1700, "take as long as they should");
	ok(took < 20000, "and not for ever");
	ok(cpu * 2 < took, "the daemon sleeps meanwhile");
	printf("# %lld ms, %ld ms of CPU\n", (long long)took, cpu);
	ok(daemon_number(&d, "shares/one/stats", "throttle_waits") > waits,
	   "waits are counted");
	guest_close(h);
	guest_close(g);
}

static void
test_waiting(void)
{
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	struct guest *g = come();
	int id[50], good = 0;
	int64_t begin;
	uint64_t fh;

	is_int(guest_create(g, GUEST_ROOT, "new", O_RDWR, 0644, &e, &fh), 0,
	       "a file");
	limit("iops_limit = 1");
	for (int i = 0; i < 50; i++)
		id[i] = send_getattr(g);
	begin = test_now_ms();
	ok(guest_forget(g, e.nodeid, 1) >= 0, "FORGET is not limited");
	ok(test_now_ms() - begin < 20000, "and does not wait for what is");
	ok(vm_ring_stop(guest_vm(g), 1) >= 0, "a ring stops at once");
	ok(test_now_ms() - begin < 30000, "whatever waits on it");
	ok(!vm_ring_start(guest_vm(g), 1), "and starts");
	limit("iops_limit = 0");
	for (int i = 0; i < 50; i++)
		good += guest_wait(g, id[i], &a) > 0;
	is_int(good, 50, "without the limit all is answered");
	ok(test_now_ms() - begin < 40000, "soon");
	guest_close(g);
}

static void
test_bandwidth(void)
{
	static char buf[65536];
	struct fuse_entry_out e;
	struct guest *g = come();
	int64_t begin, took;
	uint64_t fh = 0;
	int good = 0;

	guest_create(g, GUEST_ROOT, "data", O_RDWR, 0644, &e, &fh);
	limit("bandwidth_limit = 1M");
	begin = test_now_ms();
	for (int i = 0; i < 16; i++)
		good += guest_write(g, e.nodeid, fh, (uint64_t)i * sizeof(buf),
				    buf, sizeof(buf)) == sizeof(buf);
	for (int i = 0; i < 16; i++)
		good += guest_read(g, e.nodeid, fh, (uint64_t)i * sizeof(buf),
				   buf, sizeof(buf)) == sizeof(buf);
	took = test_now_ms() - begin;
	is_int(good, 32, "1 MiB written and read");
	ok(took >= 1700 && took < 30000, "takes as long as it should");
	printf("# %lld ms\n", (long long)took);
	for (int i = 0; i < 50; i++)
		good += guest_read(g, e.nodeid, fh, 1 << 20, buf, 65536) == 0;
	is_int(good, 82, "reads behind the end move nothing");
	limit("bandwidth_limit = 0");
	guest_close(g);
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };

	test_arithmetic();
	daemon_start(&d, tags, NULL);
	test_iops();
	test_waiting();
	test_bandwidth();
	daemon_stop(&d);
	return tap_done();
}
