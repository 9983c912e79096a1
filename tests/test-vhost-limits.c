/* SPDX-License-Identifier: MIT */
/*
 * Guest memory that is refused for the sake of everybody else: more mappings
 * than the process can have, files of a file system whose server may not
 * answer.
 */
#include "config.h"

#include "tests/stallfs.h"
#include "tests/tap.h"
#include "tests/vhost-raw.h"
#include "vhost/vh.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define K4 UINT64_C(4096)

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
begin(struct raw *r)
{
	raw_open(r, 2, NULL);
	raw_setup(r, RAW_FEATURES, 1 << 20);
}

/* Region number i. */
static int
add(struct raw *r, unsigned i, int fd)
{
	return raw_region(r, VH_ADD_MEM_REG, (i + 1) * K4, K4,
			  (i + 1) * K4, 0, fd);
}

static void
test_mappings(void)
{
	unsigned before = vh_maps(), most = before + 20, n = 0;
	struct raw a, b;
	int fd = memfd_create("limits", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)K4))
		abort();
	vh_limit_maps(most);
	begin(&a);
	begin(&b);
	is_int(vh_maps(), before + 2, "two sessions with a mapping each");
	while (n < 100 && !add(&a, n, fd))
		n++;
	is_int(n, 18, "one has as many more as there may be");
	is_int(vh_maps(), most, "which are counted");
	ok(strstr(vh_conn_why(a.conn), "ADD_MEM_REG: ") &&
	   strstr(vh_conn_why(a.conn), "mappings of guest memory"),
	   "it is told: %s", vh_conn_why(a.conn));
	is_int(raw_none(&b, VH_GET_FEATURES), 0, "the other one goes on");
	ok(raw_close(&a), "the first ends");
	is_int(vh_maps(), before + 1, "what it had is free");
	is_int(add(&b, 0, fd), 0, "for the other one");
	ok(raw_close(&b), "it ends, too");
	is_int(vh_maps(), before, "nothing is left");
	vh_limit_maps(~0u);
	close(fd);
}

#define CLOSES (1ULL << FUSE_FLUSH | 1ULL << FUSE_RELEASE)

/* Memory on a file system that does not answer, by a file and by a table. */
static void
test_hanging_file(void)
{
	char dir[] = "/tmp/gatewayd-test-XXXXXX", path[40];
	struct stallfs *fs;
	struct raw r;
	int64_t ms;
	int fd;

	if (!mkdtemp(dir) || stallfs_start(dir, &fs)) {
		tap_skip("memory on a file system that hangs", "cannot mount "
			 "FUSE");
		rmdir(dir);
		return;
	}
	snprintf(path, sizeof(path), "%s/f0", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	stallfs_stall(fs, STALLFS_ALL & ~CLOSES);
	ok(fd >= 0, "a file that opens and then answers nothing");
	begin(&r);
	ms = now_ms();
	ok(add(&r, 0, fd) < 0, "is no guest memory");
	ms = now_ms() - ms;
	ok(ms < 5000, "which takes %lld ms to find out", (long long)ms);
	ok(strstr(vh_conn_why(r.conn), "must not be on"), "it is told: %s",
	   vh_conn_why(r.conn));
	is_int(stallfs_held(fs), 0, "without asking its server");
	ok(raw_close(&r), "the session ends");
	close(fd);
	stallfs_stop(fs);
	rmdir(dir);
}

/* What is no memory of the kernel's but a disk's is fine. */
static void
test_disk(void)
{
	char path[] = "/var/tmp/gatewayd-test-XXXXXX";
	int fd = mkstemp(path);
	struct raw r;

	unlink(path);
	if (fd < 0 || ftruncate(fd, (off_t)K4)) {
		tap_skip("a file of a disk", "/var/tmp cannot be written");
		return;
	}
	begin(&r);
	is_int(add(&r, 0, fd), 0, "a file of a disk is guest memory");
	ok(raw_close(&r), "the session ends");
	close(fd);
}

int
main(void)
{
	int fds = raw_count_fds();

	test_mappings();
	test_hanging_file();
	test_disk();
	is_int(raw_count_fds(), fds, "no fd is left after all that");
	return tap_done();
}
