/* SPDX-License-Identifier: MIT */
/* The guest that behaves: see neighbour.h. */
#include "config.h"

#include "tests/neighbour.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define DATA (24u << 10)
#define FILES 5

struct neighbour {
	struct guest *guest;
	pthread_t thread;
	char name[32];
	atomic_bool stop;
	atomic_ulong rounds;
	uint64_t dir, node, fh;
	unsigned char wrote[DATA], got[DATA];
	int64_t slowest_ms;
	char why[256];		/* the first thing that went wrong */
};

/* One request: its time is taken, its answer must be `want`. */
#define DO(n, call, want)                                                     \
	do {                                                                  \
		int64_t begin_ = test_now_ms();                               \
		long r_ = (call);                                             \
		int64_t took_ = test_now_ms() - begin_;                       \
		if (took_ > (n)->slowest_ms)                                  \
			(n)->slowest_ms = took_;                              \
		if (r_ != (long)(want)) {                                     \
			snprintf((n)->why, sizeof((n)->why),                  \
				 "round %lu: %s: %ld, %s", (n)->rounds, #call,\
				 r_, r_ == GUEST_BROKEN ?                     \
				 guest_why((n)->guest) : "");                 \
			return -1;                                            \
		}                                                             \
	} while (0)

static int
data_round(struct neighbour *n, unsigned long i)
{
	uint64_t at = i % 7 * 10000;
	struct fuse_attr_out attr;

	for (unsigned k = 0; k < DATA; k++)
		n->wrote[k] = (unsigned char)(k * 13 + i * 7 + k / 256);
	DO(n, guest_write(n->guest, n->node, n->fh, at, n->wrote, DATA), DATA);
	DO(n, guest_read(n->guest, n->node, n->fh, at, n->got, DATA), DATA);
	if (memcmp(n->wrote, n->got, DATA)) {
		snprintf(n->why, sizeof(n->why), "round %lu: other data", i);
		return -1;
	}
	DO(n, guest_getattr(n->guest, n->node, n->fh, &attr), 0);
	return 0;
}

/* Entries of our directory, without the dots; -1 when one is broken. */
static long
list(struct neighbour *n)
{
	unsigned char buf[4096];
	struct guest_dirent d;
	uint64_t fh, off = 0;
	long count = 0;
	int len, more = 0;

	if (guest_opendir(n->guest, n->dir, &fh))
		return -1;
	while (more >= 0 && (len = guest_readdir(n->guest, n->dir, fh, off,
						 true, buf, sizeof(buf))) > 0) {
		size_t pos = 0;

		while ((more = guest_dirent(buf, (size_t)len, true, &pos,
					    &d)) > 0) {
			off = d.off;
			count += d.name[0] != '.';
		}
	}
	if (guest_releasedir(n->guest, n->dir, fh) || more < 0 || len < 0)
		return -1;
	return count;
}

static int
name_round(struct neighbour *n)
{
	struct fuse_entry_out e;
	uint64_t fh;
	char name[16];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		DO(n, guest_create(n->guest, n->dir, name, O_RDWR | O_EXCL,
				   0644, &e, &fh), 0);
		DO(n, guest_release(n->guest, e.nodeid, fh), 0);
		DO(n, guest_forget(n->guest, e.nodeid, 1), 0);
	}
	DO(n, guest_rename(n->guest, n->dir, "f0", n->dir, "g0"), 0);
	DO(n, guest_lookup(n->guest, n->dir, "f0", &e), -ENOENT);
	DO(n, list(n), FILES + 1);
	DO(n, guest_fsync(n->guest, n->node, n->fh, true), 0);
	DO(n, guest_unlink(n->guest, n->dir, "g0"), 0);
	for (int i = 1; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		DO(n, guest_unlink(n->guest, n->dir, name), 0);
	}
	return 0;
}

static int
begin(struct neighbour *n)
{
	struct fuse_entry_out e;

	DO(n, guest_init(n->guest, NULL), 0);
	DO(n, guest_mkdir(n->guest, GUEST_ROOT, n->name, 0755, &e), 0);
	n->dir = e.nodeid;
	DO(n, guest_create(n->guest, n->dir, "data", O_RDWR, 0644, &e, &n->fh),
	   0);
	n->node = e.nodeid;
	return 0;
}

static void *
live(void *arg)
{
	struct neighbour *n = arg;

	while (!n->stop) {
		if (data_round(n, n->rounds) ||
		    (n->rounds % 8 == 0 && name_round(n)))
			break;
		n->rounds++;
		poll(NULL, 0, 1);
	}
	return NULL;
}

struct neighbour *
neighbour_start(const char *socket, const char *name)
{
	struct guest_settings set = { .nslots = 2 };
	struct neighbour *n = calloc(1, sizeof(*n));
	char *why = NULL;

	if (!n)
		abort();
	snprintf(n->name, sizeof(n->name), "%s", name);
	if (guest_open(socket, &set, &n->guest, &why)) {
		ok(0, "%s connects: %s", name, why);
		exit(tap_done());
	}
	if (begin(n) || pthread_create(&n->thread, NULL, live, n)) {
		ok(0, "%s begins: %s", name, n->why);
		exit(tap_done());
	}
	return n;
}

unsigned long
neighbour_rounds(struct neighbour *n)
{
	return n->rounds;
}

int
neighbour_goes_on(struct neighbour *n, unsigned long more)
{
	unsigned long until = n->rounds + more;
	int64_t end = test_now_ms() + 10000;

	while (n->rounds < until) {
		if (test_now_ms() > end)
			return 0;
		poll(NULL, 0, 2);
	}
	return 1;
}

void
neighbour_stop(struct neighbour *n, int most_ms)
{
	n->stop = true;
	pthread_join(n->thread, NULL);
	if (!ok(!n->why[0], "%s saw no error in %lu rounds", n->name,
		n->rounds))
		printf("# %s\n", n->why);
	ok(n->slowest_ms < most_ms, "its slowest request took %lld ms",
	   (long long)n->slowest_ms);
	guest_close(n->guest);
	free(n);
}
