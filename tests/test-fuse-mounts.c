/* SPDX-License-Identifier: MIT */
/*
 * File systems that the host mounts below a share: let go of when guests have
 * forgotten them, so that the host can unmount them, and not before; found
 * again; never taken for each other.  Last, threads use two that come and go.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static void
path_of(struct fc *c, const char *name, char path[8192])
{
	snprintf(path, 8192, "%s/%s", c->dir, name);
}

/* A tmpfs with a file that says which it is. */
static int
mount_on(struct fc *c, const char *name, const char *text)
{
	char path[8192], file[64];

	path_of(c, name, path);
	mkdir(path, 0755);
	if (mount("tmpfs", path, "tmpfs", 0, "size=1m"))
		return -errno;
	snprintf(file, sizeof(file), "%s/file", name);
	fc_file(c, file, text);
	return 0;
}

static int
unmount(struct fc *c, const char *name, int flags)
{
	char path[8192];

	path_of(c, name, path);
	return umount2(path, flags) ? -errno : 0;
}

/* What gatewayd does every few seconds; how many fds were closed. */
static size_t
leave(struct fc *c)
{
	int fds[4];
	size_t n, all = 0;
	bool more;

	do {
		more = fs_share_leave(c->share, fds, 4, &n);
		for (size_t i = 0; i < n; i++)
			close(fds[i]);
		all += n;
	} while (more);
	return all;
}

static uint64_t
look(struct fc *c, uint64_t dir, const char *name)
{
	int64_t id = fc_lookup(c, dir, name);

	return id > 0 ? (uint64_t)id : 0;
}

/* The text of a file, or "". */
static const char *
text_in(struct fc *c, uint64_t file)
{
	static _Thread_local char text[64];
	int64_t fh = fc_open(c, file, O_RDONLY);
	ssize_t n = 0;

	if (fh > 0) {
		n = fc_read(c, file, (uint64_t)fh, 0, sizeof(text) - 1);
		memcpy(text, c->out, n > 0 ? (size_t)n : 0);
		fc_release(c, file, (uint64_t)fh);
	}
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* Look the mount's file up, read it, forget all. */
static void
use(struct fc *c, const char *name, const char *want)
{
	uint64_t dir = look(c, 1, name);
	uint64_t file = dir ? look(c, dir, "file") : 0;

	is_str(file ? text_in(c, file) : "none", want, "%s: its file", name);
	if (file)
		fc_forget(c, file, 1);
	if (dir)
		fc_forget(c, dir, 1);
}

static void
test_leaving(unsigned handles)
{
	struct fc *c = fc_new(NULL);
	unsigned before;
	uint64_t dir, file, old;
	struct fs_info info;
	int64_t fh;

	printf("# inode_file_handles %u\n", handles);
	c->set.inode_file_handles = handles;
	is_int(mount_on(c, "sub", "first"), 0, "a mount");
	fc_start(c);
	before = fc_count_fds();
	use(c, "sub", "first");
	is_int(unmount(c, "sub", 0), -EBUSY, "held at first");
	leave(c);
	ok(fc_count_fds() > before, "not left while it was used");
	leave(c);
	is_int(fc_count_fds(), before, "then it is left");
	fs_share_info(c->share, &info);
	is_int(info.remembered, 0, "and none of it is remembered");
	is_int(unmount(c, "sub", 0), 0, "and can be unmounted");

	is_int(mount_on(c, "sub", "second"), 0, "another is mounted");
	use(c, "sub", "second");
	leave(c);
	leave(c);
	use(c, "sub", "second");
	is_int(unmount(c, "sub", 0), -EBUSY, "one that was left is used again");
	leave(c);
	leave(c);

	dir = look(c, 1, "sub");
	leave(c);
	leave(c);
	is_int(unmount(c, "sub", 0), -EBUSY, "a known directory holds it");
	file = look(c, dir, "file");
	fh = fc_open(c, file, O_RDONLY);
	old = file;
	fc_forget(c, file, 1);
	fc_forget(c, dir, 1);
	leave(c);
	leave(c);
	is_int(unmount(c, "sub", 0), -EBUSY, "an open file holds it");
	dir = look(c, 1, "sub");
	file = look(c, dir, "file");
	ok(file == old, "and is the same node");
	is_str(text_in(c, file), "second", "which can be opened");
	fc_forget(c, file, 1);
	fc_forget(c, dir, 1);
	fc_release(c, file, (uint64_t)fh);
	leave(c);
	leave(c);
	is_int(unmount(c, "sub", 0), 0, "until it is released");
	is_int(fc_count_fds(), before, "nothing is open");
	fc_free(c);
}

/* Thousands come and go: neither fds nor time. */
static void
test_many(void)
{
	struct fc *c = fc_new(NULL);
	unsigned before;
	long wrong = 0;

	fc_start(c);
	before = fc_count_fds();
	for (long i = 0; i < tap_scaled(300); i++) {
		char text[32];
		uint64_t dir, file;

		snprintf(text, sizeof(text), "%ld", i);
		wrong += mount_on(c, "sub", text) != 0;
		dir = look(c, 1, "sub");
		file = dir ? look(c, dir, "file") : 0;
		wrong += !file || strcmp(text_in(c, file), text) != 0;
		if (file)
			fc_forget(c, file, 1);
		if (dir)
			fc_forget(c, dir, 1);
		leave(c);
		leave(c);
		wrong += unmount(c, "sub", 0) != 0;
	}
	is_int(wrong, 0, "many mounts, one after the other");
	is_int(fc_count_fds(), before, "nothing is left of them");
	fc_free(c);
}

/* Two guests, and a lookup that must not wait. */
static void
test_guests(void)
{
	struct fc *c = fc_new(NULL), *d;
	uint64_t dir;

	is_int(mount_on(c, "sub", "text"), 0, "a mount");
	fc_start(c);
	d = fc_guest(c);
	fc_init(d, 38, FC_ALL_FLAGS);
	use(c, "sub", "text");
	dir = look(d, 1, "sub");
	leave(c);
	leave(c);
	is_int(unmount(c, "sub", 0), -EBUSY, "another guest has it");
	fc_forget(d, dir, 1);
	leave(c);
	leave(c);
	c->no_block = true;
	is_int(fc_lookup(c, 1, "sub"), FS_DEFER,
	       "left: who must not wait does not open it");
	c->no_block = false;
	dir = look(c, 1, "sub");
	c->no_block = true;
	ok(look(c, 1, "sub") == dir, "but finds what is known");
	ok(look(c, dir, "file") > 1, "and what is not, once it is open");
	c->no_block = false;
	fc_end(d);
	fc_stop(c);
	is_int(unmount(c, "sub", 0), 0, "no guest, no mount");
	fc_free(c);
}

/* Handles that a guest has kept hold the mount as long as its session. */
static void
test_export(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t dir;

	c->set.export_support = true;
	c->set.export_nodes = 1000;
	is_int(mount_on(c, "sub", "text"), 0, "a mount");
	fc_start(c);
	dir = look(c, 1, "sub");
	fc_forget(c, dir, 1);
	leave(c);
	leave(c);
	is_int(unmount(c, "sub", 0), -EBUSY, "export_support: is held");
	ok(look(c, dir, ".") == dir, "because it can be asked for");
	fc_stop(c);
	is_int(unmount(c, "sub", 0), 0, "until the guest leaves");
	fc_free(c);
}

/* ------------------------------------------------------------------ */

enum { THREADS = 6 };

static struct fc *first;
static long rounds;
static _Atomic long wrong, served;
static _Atomic bool ended;

static const char *const subs[] = { "one", "two", "three" };

static void
hammer_one(struct fc *c, unsigned r)
{
	const char *name = subs[r % 3];
	uint64_t dir = look(c, 1, name);
	uint64_t file = dir ? look(c, dir, "file") : 0;
	const char *text = file ? text_in(c, file) : "";

	/* Between two mounts there is an empty directory. */
	if (*text && strcmp(text, name) != 0) {
		printf("# %s is %s\n", name, text);
		wrong++;
	}
	served += *text != '\0';
	if (file)
		fc_forget(c, file, r & 64 ? 1 : UINT64_MAX);
	if (file && r & 128)
		(void)text_in(c, file);		/* which it must not */
	if (dir)
		fc_forget(c, dir, r & 256 ? 1 : UINT64_MAX);
}

static void *
hammer(void *arg)
{
	struct fc *c = calloc(1, sizeof(*c));
	unsigned seed = (unsigned)(uintptr_t)arg;

	c->share = first->share;
	c->session = first->session;
	c->fd = first->fd;
	if (fs_thread_new(&c->thread) < 0)
		exit(1);
	for (long i = 0; i < rounds; i++)
		hammer_one(c, (unsigned)rand_r(&seed));
	wrong += c->broken;
	fs_thread_free(c->thread);
	free(c);
	return NULL;
}

static void *
leave_all(void *arg)
{
	(void)arg;
	while (!ended) {
		leave(first);
		sched_yield();
	}
	return NULL;
}

/* The host's admin. */
static void *
mount_all(void *arg)
{
	long *times = arg;
	unsigned seed = 1;

	while (!ended) {
		unsigned r = (unsigned)rand_r(&seed);
		const char *name = subs[r % 3];

		if (!unmount(first, name, r & 64 ? MNT_DETACH : 0)) {
			mount_on(first, name, name);
			++*times;
		}
		usleep(1000);
	}
	return NULL;
}

static void
test_threads(unsigned handles)
{
	pthread_t t[THREADS], leaver, admin;
	unsigned before = fc_count_fds();
	long times = 0;

	first = fc_new(NULL);
	first->set.max_fds = 16;
	first->set.inode_file_handles = handles;
	first->set.inline_io = CONF_INLINE_YES;
	for (int i = 0; i < 3; i++)
		is_int(mount_on(first, subs[i], subs[i]), 0, "a mount");
	fc_start(first);
	wrong = served = 0;
	ended = false;
	rounds = tap_scaled(1500);
	pthread_create(&leaver, NULL, leave_all, NULL);
	pthread_create(&admin, NULL, mount_all, &times);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, hammer, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ended = true;
	pthread_join(leaver, NULL);
	pthread_join(admin, NULL);
	printf("# %ld files read, %ld mounts\n", served, times);
	is_int(wrong, 0, "threads: no file is taken for another");
	ok(served > 0 && times > 0, "there was something to do");
	fc_init(first, 38, FC_ALL_FLAGS);
	leave(first);
	leave(first);
	for (int i = 0; i < 3; i++)
		is_int(unmount(first, subs[i], 0), 0, "and all are left");
	fc_free(first);
	is_int(fc_count_fds(), before, "every fd is closed");
}

int
main(void)
{
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		tap_skip_all("cannot mount here");
	test_leaving(CONF_HANDLES_PREFER);
	test_leaving(CONF_HANDLES_NEVER);
	test_many();
	test_guests();
	test_export();
	test_threads(CONF_HANDLES_PREFER);
	test_threads(CONF_HANDLES_NEVER);
	return tap_done();
}
