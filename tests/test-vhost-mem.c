/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: what may be mapped, tables that change under running rings,
 * memory that is truncated while in use.
 */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-raw.h"
#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEM (4u << 20)
#define K4 UINT64_C(4096)

static int
make_fd(const char *name, size_t size, unsigned flags)
{
	int fd = memfd_create(name, MFD_CLOEXEC | flags);

	if (fd < 0 || ftruncate(fd, (off_t)size))
		abort();
	return fd;
}

/* How often a memfd of this name is mapped here. */
static int
count_maps(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[1024];
	int n = 0;

	while (f && fgets(line, sizeof line, f))
		n += strstr(line, name) != NULL;
	if (f)
		fclose(f);
	return n;
}

/* Unmapping big regions is done by a thread. */
static bool
maps_become(const char *name, int want)
{
	for (int i = 0; i < 2000; i++) {
		if (count_maps(name) == want)
			return true;
		usleep(1000);
	}
	return false;
}

static void
test_regions(void)
{
	int fd = make_fd("regions", 1 << 20, 0);
	static const struct {
		const char *what;
		uint64_t gpa, size, uva, offset;
		int want;
	} t[] = {
		{ "a region", 0x10000, 4 * K4, 0x910000, 0, 0 },
		{ "the next one", 0x14000, K4, 0x914000, 0, 0 },
		{ "an odd offset", 0x20000, 100, 0x920000, 12345, 0 },
		{ "the last byte", 0x30000, 1, 0x930000, (1 << 20) - 1, 0 },
		{ "beyond the file", 0x40000, 2, 0x940000, (1 << 20) - 1, -1 },
		{ "offset beyond the file", 0x40000, 1, 0x940000, 1 << 21, -1 },
		{ "offset that wraps", 0x40000, K4, 0x940000, -K4, -1 },
		{ "no bytes", 0x40000, 0, 0x940000, 0, -1 },
		{ "all bytes", 0x40000, ~UINT64_C(0), 0x940000, 0, -1 },
		{ "guest address wraps", -K4, 2 * K4, 0x940000, 0, -1 },
		{ "guest address ends at 2^64", -K4, K4, 0x940000, 0, -1 },
		{ "user address wraps", 0x40000, 2 * K4, -K4, 0, -1 },
		{ "same again", 0x10000, 4 * K4, 0x910000, 0, -1 },
		{ "overlaps at its end", 0xf000, K4 + 1, 0x940000, 0, -1 },
		{ "overlaps at its start", 0x14fff, 1, 0x940000, 0, -1 },
		{ "lies within", 0x11000, K4, 0x940000, 0, -1 },
		{ "lies around", 0xf000, 32 * K4, 0x940000, 0, -1 },
		{ "user addresses overlap", 0x40000, K4, 0x913fff, 0, -1 },
	};
	struct vh_info info;
	struct raw r;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		raw_open(&r, 2, NULL);
		for (size_t k = 0; k < 4 && k < i; k++)
			raw_region(&r, VH_ADD_MEM_REG, t[k].gpa, t[k].size,
				   t[k].uva, t[k].offset, fd);
		is_int(raw_region(&r, VH_ADD_MEM_REG, t[i].gpa, t[i].size,
				  t[i].uva, t[i].offset, fd) < 0, t[i].want < 0,
		       "%s: %s", t[i].what, vh_conn_why(r.conn));
		vh_conn_info(r.conn, &info);
		is_int(info.nregions, i < 4 ? i + 1 : 4, "%s: regions",
		       t[i].what);
		raw_close(&r);
	}
	is_int(count_maps("regions"), 0, "nothing stays mapped");
	close(fd);
}

static void
test_remove(void)
{
	int fd = make_fd("remove", 1 << 20, 0), fds = raw_count_fds();
	struct vh_info info;
	struct raw r;

	raw_open(&r, 2, NULL);
	raw_region(&r, VH_ADD_MEM_REG, 0x10000, K4, 0x910000, 0, fd);
	raw_region(&r, VH_ADD_MEM_REG, 0x20000, K4, 0x920000, 0, fd);
	raw_region(&r, VH_ADD_MEM_REG, 0x30000, K4, 0x930000, 0, fd);
	is_int(count_maps("remove"), 3, "three mappings");
	is_int(raw_region(&r, VH_REM_MEM_REG, 0x20000, K4, 0x920000, 99, fd),
	       0, "one is removed, with an fd and another offset");
	is_int(count_maps("remove"), 2, "two mappings");
	is_int(raw_region(&r, VH_REM_MEM_REG, 0x30000, K4, 0x930000, 0, -1),
	       0, "another, without");
	vh_conn_info(r.conn, &info);
	is_int(info.mem_size, K4, "the first is left");
	is_int(raw_region(&r, VH_REM_MEM_REG, 0x30000, K4, 0x930000, 0, -1),
	       -EINVAL, "%s", vh_conn_why(r.conn));
	raw_close(&r);
	is_int(count_maps("remove"), 0, "nothing stays mapped");
	is_int(raw_count_fds(), fds, "no fd is left");
	close(fd);
}

static void
test_slots(void)
{
	int fd = make_fd("slots", K4, 0), err = 0;
	struct vh_info info;
	struct raw r;

	raw_open(&r, 2, NULL);
	for (uint64_t i = 0; i < VH_MEM_SLOTS && !err; i++)
		err = raw_region(&r, VH_ADD_MEM_REG, (i * 7 % 509) * K4, K4,
				 0x900000 + i * K4, 0, fd);
	is_int(err, 0, "509 regions");
	vh_conn_info(r.conn, &info);
	is_int(info.nregions, 509, "all there");
	is_int(raw_region(&r, VH_ADD_MEM_REG, 1 << 30, K4, 0x400000, 0, fd),
	       -ENOSPC, "%s", vh_conn_why(r.conn));
	raw_close(&r);
	is_int(count_maps("slots"), 0, "nothing stays mapped");
	close(fd);
}

static void
test_kinds(void)
{
	char path[64];
	int mem = make_fd("kinds", MEM, 0), before = raw_count_fds();
	struct {
		const char *what;
		int fd;
	} t[4];
	struct raw r;

	snprintf(path, sizeof path, "/proc/self/fd/%d", mem);
	t[0].what = "read-only memory";
	t[0].fd = open(path, O_RDONLY | O_CLOEXEC);
	t[1].what = "a directory";
	t[1].fd = open("/", O_RDONLY | O_CLOEXEC);
	t[2].what = "a device";
	t[2].fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	t[3].what = "an eventfd";
	t[3].fd = eventfd(0, EFD_CLOEXEC);
	for (int i = 0; i < 4; i++) {
		raw_open(&r, 2, NULL);
		ok(raw_region(&r, VH_ADD_MEM_REG, 0, K4, 0, 0, t[i].fd) < 0,
		   "%s: %s", t[i].what, vh_conn_why(r.conn));
		raw_close(&r);
		close(t[i].fd);
	}
	is_int(raw_count_fds(), before, "no fd is left");
	close(mem);
}

static void
test_seal(void)
{
	int fd = make_fd("seal", MEM, MFD_ALLOW_SEALING);
	struct raw r;

	raw_open(&r, 2, NULL);
	is_int(raw_region(&r, VH_ADD_MEM_REG, 0, MEM, 0, 0, fd), 0, "a memfd");
	is_int(ftruncate(fd, 0) ? errno : 0, EPERM,
	       "cannot be truncated any more");
	is_int(raw_region(&r, VH_ADD_MEM_REG, MEM, K4, MEM, 0, fd), 0,
	       "and can be mapped again");
	raw_close(&r);
	close(fd);
}

static void
test_hugetlb(void)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	size_t size = 4 << 20;
	struct raw r;
	void *p;

	if (fd < 0 || ftruncate(fd, (off_t)size)) {
		tap_skip("hugetlbfs", "the kernel has none");
		if (fd >= 0)
			close(fd);
		return;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		tap_skip("hugetlbfs", "no huge pages are reserved");
		close(fd);
		return;
	}
	raw_open(&r, 2, NULL);
	/* Neither its start nor its end are those of a huge page. */
	is_int(raw_region(&r, VH_ADD_MEM_REG, 0, size - 3 * K4, 0, K4, fd), 0,
	       "part of two huge pages: %s", vh_conn_why(r.conn));
	is_int(count_maps("huge"), 2, "mapped whole");
	raw_close(&r);
	is_int(count_maps("huge"), 1, "unmapped whole");
	munmap(p, size);
	close(fd);
}

/* ---- tables that change under running rings ---- */

/* Chain 0 of ring 1: one descriptor to write, at `off` in memory. */
static void
offer(struct raw *r, uint64_t gpa, uint32_t len)
{
	struct vring_desc *d = (void *)(r->mem + RAW_DESC(1));
	struct vring_avail *a = (void *)(r->mem + RAW_AVAIL(1));
	uint16_t head = a->idx & 7;

	d[head] = (struct vring_desc){ gpa, len, VRING_DESC_F_WRITE, 0 };
	a->ring[a->idx & 7] = head;
	__atomic_store_n(&a->idx, (uint16_t)(a->idx + 1), __ATOMIC_RELEASE);
}

static int
set_table(struct raw *r, uint64_t gpa, uint64_t uva, size_t size, int fd)
{
	struct vh_wire_mem_table t = {
		.nregions = 1,
		.region[0] = { gpa, size, uva, 0 },
	};

	return raw_msg(r, VH_SET_MEM_TABLE, 0, &t, 40, &fd, 1);
}

static void
test_new_table(void)
{
	struct iovec iov[VH_IOV_MAX], iov2[VH_IOV_MAX];
	struct vh_chain c, held;
	struct vh_queue *q;
	struct vring_used *used;
	struct raw r;
	char *old;

	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	q = raw_ring(&r, 1, 8, 0);
	used = (void *)(r.mem + RAW_USED(1));
	offer(&r, RAW_GPA + 3 * 1048576, 100);
	offer(&r, RAW_GPA + 3 * 1048576 + 4096, 100);
	is_int(vh_queue_pop(q, &c, iov), 1, "a chain");
	is_int(vh_queue_pop(q, &held, iov2), 1, "another");
	old = iov[0].iov_base;
	vh_chain_hold(q, &held);
	is_int(count_maps("memfd:raw"), 2, "mapped here and there");
	is_int(set_table(&r, RAW_GPA, RAW_UVA, MEM, r.mem_fd), 0, "new table");
	is_int(r.wakes, 1, "the queue is told");
	is_int(count_maps("memfd:raw"), 3, "the old memory is still there");
	strcpy(old, "in time");
	vh_queue_complete(q, &(struct vh_used){ c.head, 8 }, 1);
	is_int(used->idx, 1, "answered");
	is_str(r.mem + 3 * 1048576, "in time", "in the same file");
	is_int(vh_queue_sync(q), 0, "sync");
	is_int(count_maps("memfd:raw"), 3, "one chain is held yet");
	ok(vh_chain_finish(q, &held, "late", 5), "finish it");
	is_int(used->idx, 2, "answered");
	is_int(used->ring[1].len, 5, "its length");
	is_str(r.mem + 3 * 1048576 + 4096, "late", "its bytes");
	is_int(count_maps("memfd:raw"), 2, "the old memory is gone");

	offer(&r, RAW_GPA + 3 * 1048576, 100);
	is_int(vh_queue_pop(q, &c, iov), 1, "a chain in the new memory");
	ok(iov[0].iov_base != old, "is elsewhere");
	vh_queue_complete(q, &(struct vh_used){ c.head, 0 }, 1);

	/* Two changes, one sync. */
	set_table(&r, RAW_GPA, RAW_UVA, MEM, r.mem_fd);
	set_table(&r, RAW_GPA, RAW_UVA, MEM, r.mem_fd);
	is_int(vh_queue_sync(q), 0, "two tables at once");
	is_int(count_maps("memfd:raw"), 2, "the first was never used");
	raw_close(&r);
	is_int(count_maps("memfd:raw"), 0, "nothing stays mapped");
}

/* Memory comes and goes between a queue's sync and its pop. */
static void
test_change_before_pop(void)
{
	const uint64_t gpa = RAW_GPA + 2 * MEM, uva = RAW_UVA + 2 * MEM;
	struct iovec iov[VH_IOV_MAX];
	int fd = memfd_create("more", MFD_CLOEXEC);
	struct vh_queue *q;
	struct vh_chain c;
	struct raw r;

	is_int(ftruncate(fd, 65536), 0, "a memfd");
	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	q = raw_ring(&r, 1, 8, 0);
	is_int(vh_queue_sync(q), 0, "sync");
	offer(&r, RAW_GPA + 3 * 1048576, 100);
	offer(&r, RAW_GPA + 3 * 1048576, 100);
	is_int(vh_queue_pop(q, &c, iov), 1, "one of two chains");
	is_int(raw_region(&r, VH_ADD_MEM_REG, gpa, 65536, uva, 0, fd), 0,
	       "memory is plugged in");
	offer(&r, gpa, 100);
	is_int(vh_queue_pop(q, &c, iov), 1, "the other was seen before");
	is_int(vh_queue_pop(q, &c, iov), 0, "one in it waits for the sync");
	ok(vh_queue_has_work(q) && !vh_queue_arm(q), "which is not forgotten");
	is_int(vh_queue_sync(q), 0, "sync");
	is_int(vh_queue_pop(q, &c, iov), 1, "now it is there");
	is_int(raw_region(&r, VH_REM_MEM_REG, gpa, 65536, uva, 0, -1), 0,
	       "it is taken out");
	offer(&r, gpa, 100);
	is_int(vh_queue_pop(q, &c, iov), 0, "one in it waits for the sync");
	is_int(vh_queue_sync(q), 0, "sync");
	is_int(vh_queue_pop(q, &c, iov), -EPROTO, "%s", vh_queue_why(q));
	raw_close(&r);
	close(fd);
}

static void
test_ring_removed(void)
{
	struct iovec iov[VH_IOV_MAX];
	struct vh_queue *q;
	struct vh_chain c;
	struct raw r;

	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	q = raw_ring(&r, 1, 8, 0);
	is_int(raw_region(&r, VH_REM_MEM_REG, RAW_GPA, MEM, RAW_UVA, 0, -1), 0,
	       "the region with the ring is removed");
	is_int(vh_queue_sync(q), 0, "sync");
	offer(&r, RAW_GPA + 3 * 1048576, 100);
	is_int(vh_queue_pop(q, &c, iov), 1, "it runs on");
	vh_queue_complete(q, &(struct vh_used){ c.head, 0 }, 1);
	is_int(raw_region(&r, VH_ADD_MEM_REG, RAW_GPA, MEM / 2, RAW_UVA, 0,
			  r.mem_fd), 0, "one half comes back");
	is_int(raw_region(&r, VH_ADD_MEM_REG, RAW_GPA + MEM / 2, MEM / 2,
			  RAW_UVA + MEM / 2, MEM / 2, r.mem_fd), 0,
	       "the other half");
	is_int(vh_queue_sync(q), 0, "sync");
	is_int(count_maps("memfd:raw"), 3, "now it uses those");
	offer(&r, RAW_GPA + MEM / 2 - 50, 100);
	is_int(vh_queue_pop(q, &c, iov), 1, "a chain over the border");
	is_int(c.nout, iov[0].iov_len == 50 ? 2 : 1, "is split if need be");
	is_int(c.out_len, 100, "and has all its bytes");
	offer(&r, RAW_GPA + MEM - 50, 100);
	is_int(vh_queue_pop(q, &c, iov), -EPROTO, "%s", vh_queue_why(q));
	raw_close(&r);
	is_int(count_maps("memfd:raw"), 0, "nothing stays mapped");
}

static void
test_big(void)
{
	size_t size = 256 << 20;
	struct raw r;

	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, size);
	is_int(count_maps("memfd:raw"), 2, "256 MiB");
	is_int(set_table(&r, RAW_GPA, RAW_UVA, size, r.mem_fd), 0, "again");
	ok(maps_become("memfd:raw", 2), "the old mapping goes");
	raw_close(&r);
	ok(maps_become("memfd:raw", 0), "all goes");
}

/* ---- truncation ---- */

struct toucher {
	char *p;
	atomic_bool *go, *stop;
	atomic_ulong n;
};

static void *
touch(void *arg)
{
	struct toucher *t = arg;

	while (!atomic_load(t->go))
		;
	while (!atomic_load(t->stop)) {
		for (int i = 0; i < 256; i++)
			__atomic_store_n(&t->p[i * 4096], (char)i,
					 __ATOMIC_RELAXED);
		atomic_fetch_add(&t->n, 1);
	}
	return NULL;
}

static void
test_truncate(void)
{
	struct iovec iov[VH_IOV_MAX];
	atomic_bool go = false, stop = false;
	struct toucher t[4];
	pthread_t thread[4];
	struct raw r, other;
	struct vh_queue *q, *oq;
	struct vh_chain c;
	unsigned long sum = 0;

	is_int(vh_sigbus_init(), 0, "handler");
	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	q = raw_ring(&r, 1, 8, 0);
	raw_open(&other, 2, NULL);
	raw_setup(&other, RAW_FEATURES, MEM);
	oq = raw_ring(&other, 1, 8, 0);
	offer(&r, RAW_GPA + 3 * 1048576, 1048576);
	is_int(vh_queue_pop(q, &c, iov), 1, "a chain of 1 MiB");
	for (int i = 0; i < 4; i++) {
		t[i] = (struct toucher){ iov[0].iov_base, &go, &stop, 0 };
		pthread_create(&thread[i], NULL, touch, &t[i]);
	}
	atomic_store(&go, true);
	usleep(1000);
	is_int(ftruncate(r.mem_fd, 0), 0, "its file is truncated");
	usleep(20000);
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], NULL);
		sum += t[i].n;
	}
	ok(sum, "four threads went on: %lu times", sum);
	is_int(vh_queue_sync(q), -EPROTO, "the queue is broken");
	is_str(vh_queue_why(q), "guest memory was truncated while in use",
	       "why");
	is_int(vh_queue_pop(q, &c, iov), -EPROTO, "and stays so");
	vh_queue_complete(q, &(struct vh_used){ 0, 0 }, 1);
	is_int(vh_queue_sync(oq), 0, "another connection's is not");
	offer(&other, RAW_GPA + 3 * 1048576, 100);
	is_int(vh_queue_pop(oq, &c, iov), 1, "and works");
	raw_close(&r);
	raw_close(&other);
	is_int(count_maps("memfd:raw"), 0, "nothing stays mapped");
}

/* The ring itself is gone: pop must find out by itself. */
static void
test_truncate_ring(void)
{
	struct iovec iov[VH_IOV_MAX];
	struct vh_queue *q;
	struct vh_chain c;
	struct raw r;
	int n;

	for (unsigned base = 0; base < 65536; base += 40000) {
		raw_open(&r, 2, NULL);
		raw_setup(&r, RAW_FEATURES, MEM);
		((struct vring_avail *)(r.mem + RAW_AVAIL(1)))->idx =
			(uint16_t)base;
		q = raw_ring(&r, 1, 8, base);
		is_int(ftruncate(r.mem_fd, 0), 0, "truncate");
		n = vh_queue_pop(q, &c, iov);
		ok(n <= 0, "nothing to pop");
		is_int(vh_queue_sync(q), -EPROTO, "%s", vh_queue_why(q));
		raw_close(&r);
	}
}

/* How a child that calls `f` dies. */
static int
death(void (*f)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		f();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
touch_other(void)
{
	int fd = make_fd("other", K4, 0);
	volatile char *p = mmap(NULL, K4, PROT_READ | PROT_WRITE, MAP_SHARED,
				fd, 0);

	vh_sigbus_init();
	if (ftruncate(fd, 0))
		_exit(1);
	p[0] = 1;
}

static void
raise_it(void)
{
	vh_sigbus_init();
	raise(SIGBUS);
}

static void
send_it(void)
{
	vh_sigbus_init();
	kill(getpid(), SIGBUS);
	pause();
}

static void
test_other_addresses(void)
{
	is_int(death(touch_other), SIGBUS, "other memory: as ever");
	is_int(death(raise_it), SIGBUS, "a signal raised: as ever");
	is_int(death(send_it), SIGBUS, "a signal sent: as ever");
}

int
main(void)
{
	int fds = raw_count_fds();

	test_regions();
	test_remove();
	test_slots();
	test_kinds();
	test_seal();
	test_hugetlb();
	test_new_table();
	test_change_before_pop();
	test_ring_removed();
	test_big();
	test_truncate();
	test_truncate_ring();
	test_other_addresses();
	is_int(raw_count_fds(), fds, "no fd is left after all that");
	return tap_done();
}
