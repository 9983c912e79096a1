/* SPDX-License-Identifier: MIT */
/*
 * The pretend guests of tests/guest.h and winguest.h do what they should, on a
 * server that is known to be good: the gatewayd of this build, or QEMU's
 * virtiofsd.  Each session is one pass over the common operations.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/server.h"
#include "tests/tap.h"
#include "tests/winguest.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG (2 * GUEST_DATA_MAX + 12345)

static char work[] = "/tmp/test-guest.XXXXXX";
static unsigned char *wrote, *got;

/* A call must do what is wanted; a broken answer ends the session. */
#define DO(g, call, want)                                                     \
	do {                                                                  \
		long r_ = (call);                                             \
		is_int(r_, want, "%s: %s", kind_names[guest_kind(g)], #call); \
		if (r_ == GUEST_BROKEN) {                                     \
			printf("# %s\n", guest_why(g));                       \
			return;                                               \
		}                                                             \
	} while (0)

static const char *const kind_names[] = {
	[GUEST_LINUX] = "linux",
	[GUEST_WINDOWS_A] = "windows A",
	[GUEST_WINDOWS_B] = "windows B",
};

static long
read_all(struct guest *g, uint64_t node, uint64_t fh)
{
	long have = 0;

	while (have < BIG) {
		uint32_t n = BIG - have < GUEST_DATA_MAX ?
			     (uint32_t)(BIG - have) : GUEST_DATA_MAX;
		int r = guest_read(g, node, fh, (uint64_t)have, got + have, n);

		if (r <= 0)
			return r < 0 ? r : have;
		have += r;
	}
	return have;
}

static long
write_all(struct guest *g, uint64_t node, uint64_t fh)
{
	long have = 0;

	while (have < BIG) {
		uint32_t n = BIG - have < GUEST_DATA_MAX ?
			     (uint32_t)(BIG - have) : GUEST_DATA_MAX;
		int r = guest_write(g, node, fh, (uint64_t)have, wrote + have,
				    n);

		if (r <= 0)
			return r < 0 ? r : have;
		have += r;
	}
	return have;
}

/* Count the entries of a directory by READDIRPLUS; -1 if one is broken. */
static int
count_entries(struct guest *g, uint64_t node)
{
	static unsigned char buf[8192];
	struct guest_dirent d;
	uint64_t fh, off = 0;
	int n, more = 0, count = 0;

	if (guest_opendir(g, node, &fh))
		return -1;
	while ((n = guest_readdir(g, node, fh, off, true, buf,
				  sizeof(buf))) > 0) {
		size_t pos = 0;

		while ((more = guest_dirent(buf, (size_t)n, true, &pos,
					    &d)) > 0) {
			count++;
			off = d.off;
		}
		if (more < 0)
			break;
	}
	if (n < 0 || more < 0 || guest_releasedir(g, node, fh))
		return -1;
	return count;
}

/* Many requests at once, answered in any order. */
static void
test_in_flight(struct guest *g, uint64_t node, uint64_t fh)
{
	unsigned char buf[16][512];
	int id[16], good = 0;

	for (int i = 0; i < 16; i++) {
		struct fuse_read_in in = {
			.fh = fh, .offset = (uint64_t)i * 1000, .size = 512,
		};
		struct guest_req req = {
			.opcode = FUSE_READ, .nodeid = node,
			.in = { { &in, sizeof(in) } }, .room = 512,
		};

		id[i] = guest_send(g, &req);
	}
	for (int i = 15; i >= 0; i--)
		good += id[i] >= 0 && guest_wait(g, id[i], buf[i]) == 512 &&
			!memcmp(buf[i], wrote + i * 1000, 512);
	is_int(good, 16, "linux: 16 requests in flight");
}

/* Rings stop and start again; the session stays. */
static void
test_stop_start(struct guest *g, uint64_t node)
{
	struct vm *vm = guest_vm(g);
	struct fuse_attr_out attr;

	for (unsigned i = 0; i < vm->nrings; i++) {
		DO(g, vm_ring_stop(vm, i), (vm->ring[i].last_used));
		DO(g, vm_ring_start(vm, i), 0);
	}
	DO(g, guest_getattr(g, node, 0, &attr), 0);
}

static void
test_linux(struct guest *g)
{
	struct fuse_setattr_in chmod_in = { .valid = FATTR_MODE, .mode = 0600 };
	struct fuse_entry_out dir, file, e;
	struct fuse_attr_out attr;
	struct fuse_statfs_out st;
	char target[100];
	uint64_t fh;

	DO(g, guest_init(g, NULL), 0);
	DO(g, guest_statfs(g, &st), 0);
	DO(g, guest_mkdir(g, GUEST_ROOT, "dir", 0755, &dir), 0);
	DO(g, guest_create(g, dir.nodeid, "file", O_RDWR | O_EXCL, 0644, &file,
			   &fh), 0);
	DO(g, write_all(g, file.nodeid, fh), BIG);
	DO(g, read_all(g, file.nodeid, fh), BIG);
	ok(!memcmp(wrote, got, BIG), "linux: what was written is read");
	test_in_flight(g, file.nodeid, fh);
	test_stop_start(g, file.nodeid);
	DO(g, guest_getattr(g, file.nodeid, fh, &attr), 0);
	is_int(attr.attr.size, BIG, "linux: size of the file");
	DO(g, guest_setattr(g, file.nodeid, &chmod_in, &attr), 0);
	is_int(attr.attr.mode, S_IFREG | 0600, "linux: mode was set");
	DO(g, guest_flush(g, file.nodeid, fh), 0);
	DO(g, guest_fsync(g, file.nodeid, fh, true), 0);
	DO(g, guest_release(g, file.nodeid, fh), 0);
	DO(g, guest_lookup(g, dir.nodeid, "nothing", &e), -ENOENT);
	DO(g, guest_walk(g, "dir/file", &e), 0);
	is_int(e.nodeid, file.nodeid, "linux: the same node id");
	DO(g, guest_symlink(g, dir.nodeid, "link", "file", &e), 0);
	DO(g, guest_readlink(g, e.nodeid, target, sizeof(target)), 4);
	is_str(target, "file", "linux: target of the link");
	DO(g, guest_link(g, file.nodeid, dir.nodeid, "hard", &e), 0);
	DO(g, guest_mknod(g, dir.nodeid, "fifo", S_IFIFO | 0600, 0, &e), 0);
	DO(g, guest_rename(g, dir.nodeid, "fifo", GUEST_ROOT, "pipe"), 0);
	DO(g, guest_rename2(g, GUEST_ROOT, "pipe", dir.nodeid, "link", 1),
	   -EEXIST);
	DO(g, count_entries(g, dir.nodeid), 5);
	DO(g, guest_unlink(g, GUEST_ROOT, "pipe"), 0);
	DO(g, guest_unlink(g, dir.nodeid, "hard"), 0);
	DO(g, guest_unlink(g, dir.nodeid, "link"), 0);
	DO(g, guest_rmdir(g, GUEST_ROOT, "dir"), -ENOTEMPTY);
	DO(g, guest_unlink(g, dir.nodeid, "file"), 0);
	DO(g, guest_rmdir(g, GUEST_ROOT, "dir"), 0);
	DO(g, guest_forget(g, dir.nodeid, 1), 0);
	DO(g, guest_destroy(g), 0);
}

static void
count_entry(void *arg, const struct guest_dirent *d)
{
	(void)d;
	++*(int *)arg;
}

static void
test_windows(struct guest *g)
{
	struct win_file f, d;
	struct win w;
	int count = 0;

	win_init(&w, g);
	w.forgets = guest_kind(g) == GUEST_WINDOWS_A;
	DO(g, win_mount(&w), 0);
	DO(g, win_mkdir(&w, "a", &d), 0);
	DO(g, win_close(&w, &d), 0);
	DO(g, win_mkdir(&w, "a/b", &d), 0);
	DO(g, win_close(&w, &d), 0);
	DO(g, win_create(&w, "a/b/c.txt", &f), 0);
	DO(g, win_write(&w, &f, 0, wrote, BIG), BIG);
	DO(g, win_close(&w, &f), 0);
	w.requests = 0;
	DO(g, win_open(&w, "a/b/c.txt", O_RDONLY, &f), 0);
	is_int(w.requests, 6, "windows: an open walks the path twice");
	DO(g, win_read(&w, &f, 0, got, BIG), BIG);
	ok(!memcmp(wrote, got, BIG), "windows: what was written is read");
	DO(g, win_read(&w, &f, BIG - 10, got, 100), 10);
	DO(g, win_flush(&w, &f), 0);
	DO(g, win_close(&w, &f), 0);
	DO(g, win_open(&w, "a/b/none", O_RDONLY, &f), -ENOENT);
	DO(g, win_list(&w, "a/b", count_entry, &count), 0);
	is_int(count, 3, "windows: entries with . and ..");
	DO(g, win_rename(&w, "a/b/c.txt", "a/d.txt", false), 0);
	for (int i = 0; i < 20; i++) {
		/* a node id must never come back */
		DO(g, win_create(&w, "a/tmp", &f), 0);
		DO(g, win_close(&w, &f), 0);
		DO(g, win_rename(&w, "a/tmp", "a/d.txt", true), 0);
	}
	DO(g, win_delete(&w, "a/b", true), 0);
	DO(g, win_delete(&w, "a/d.txt", false), 0);
	DO(g, win_delete(&w, "a", true), 0);
	win_fini(&w);
}

/* What the server said. */
static void
show_log(const struct server *s)
{
	char path[128], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", s->work);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		printf("# %s", line);
	if (f)
		fclose(f);
}

static void
run(struct server *s, enum guest_kind kind, unsigned ring_size)
{
	struct guest_settings set = {
		.kind = kind, .vm.ring_size = ring_size,
	};
	struct guest *g;
	char *why = NULL;
	int err = server_start(s);

	is_int(err, 0, "%s: the server starts", kind_names[kind]);
	if (err)
		return;
	err = guest_open(s->socket, &set, &g, &why);
	is_int(err, 0, "%s, rings of %u: connect", kind_names[kind],
	       ring_size);
	if (err) {
		printf("# %s\n", why ? why : "");
	} else {
		if (kind == GUEST_LINUX)
			test_linux(g);
		else
			test_windows(g);
		guest_close(g);
	}
	free(why);
	server_stop(s);
	if (tap_failed)
		show_log(s);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

int
main(void)
{
	struct server s = { .cpu = -1 };

	if (!server_find(&s))
		tap_skip_all("no server: neither gatewayd nor virtiofsd");
	if (!mkdtemp(work))
		return 99;
	snprintf(s.work, sizeof(s.work), "%s", work);
	snprintf(s.share, sizeof(s.share), "%s/share", work);
	mkdir(s.share, 0755);
	wrote = malloc(BIG);
	got = malloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		wrote[i] = (unsigned char)(i * 7 + i / 4096);
	run(&s, GUEST_LINUX, 128);
	run(&s, GUEST_LINUX, 1024);
	run(&s, GUEST_WINDOWS_A, 128);
	run(&s, GUEST_WINDOWS_B, 128);
	run(&s, GUEST_WINDOWS_B, 1024);
	free(wrote);
	free(got);
	nftw(work, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
