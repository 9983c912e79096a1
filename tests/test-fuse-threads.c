/* SPDX-License-Identifier: MIT */
/*
 * Eight threads serve one session at the same time: lookups, forgets, opens,
 * reads, unlinks of the same few names, with few fds.  Nothing may crash, leak
 * or answer nonsense; built with --enable-sanitizers=thread, nothing races.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

enum { THREADS = 8, NAMES = 40 };

static struct fc *first;
static long rounds;
static _Atomic long wrong;

/* A client of the first one's session, for the calling thread. */
static struct fc *
join(void)
{
	struct fc *c = calloc(1, sizeof(*c));

	c->share = first->share;
	c->session = first->session;
	c->fd = first->fd;
	if (fs_thread_new(&c->thread) < 0)
		exit(1);
	return c;
}

static void
expect(ssize_t got, int err1, int err2)
{
	if (got < 0 && got != err1 && got != err2 && got != -ESTALE) {
		printf("# unexpected %zd\n", got);
		wrong++;
	}
}

static void
use(struct fc *c, uint64_t id, unsigned what)
{
	int64_t fh = fc_open(c, id, what % 2 ? O_RDONLY : O_RDWR);

	expect(fh, -ENFILE, -ENOENT);
	expect(fc_getattr(c, id, NULL), -ENOENT, 0);
	if (fh <= 0)
		return;
	expect(fc_read(c, id, (uint64_t)fh, 0, 4096), -EBADF, 0);
	if (!(what % 2))
		expect(fc_write(c, id, (uint64_t)fh, 0, "text", 4, 0), -EBADF,
		       0);
	if (what % 5 == 0)	/* a guess at somebody else's handle */
		expect(fc_release(c, id, (what >> 8) % 16), -EBADF, 0);
	expect(fc_release(c, id, (uint64_t)fh), -EBADF, 0);
}

static void
list_all(struct fc *c)
{
	int64_t fh = fc_opendir(c, 1);

	expect(fh, -ENFILE, 0);
	if (fh <= 0)
		return;
	expect(fc_readdir(c, 1, (uint64_t)fh, 0, 8192, true), -EBADF, 0);
	expect(fc_releasedir(c, 1, (uint64_t)fh), -EBADF, 0);
}

static void *
hammer(void *arg)
{
	struct fc *c = join();
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (long i = 0; i < rounds; i++) {
		unsigned r = (unsigned)rand_r(&seed);
		char name[16], other[16];
		int64_t id;

		snprintf(name, sizeof(name), "f%u", r % NAMES);
		snprintf(other, sizeof(other), "f%u", (r >> 8) % NAMES);
		id = fc_lookup(c, 1, name);
		expect(id, -ENOENT, -ENFILE);
		if (id > 1)
			use(c, (uint64_t)id, r);
		if (r % 7 == 0)
			expect(fc_unlink(c, 1, name), -ENOENT, 0);
		if (r % 3 == 0)
			expect(fc_create(c, 1, other, O_RDWR, 0644, NULL),
			       -ENFILE, -ENOENT);
		if (r % 11 == 0)
			expect(fc_rename(c, 1, name, 1, other, 0), -ENOENT, 0);
		if (id > 1)
			fc_forget(c, (uint64_t)id, r % 3 ? 1 : UINT64_MAX);
		if (r % 13 == 0)
			list_all(c);
	}
	wrong += c->broken;
	fs_thread_free(c->thread);
	free(c);
	return NULL;
}

static void
test(const char *where, unsigned handles)
{
	pthread_t t[THREADS];
	unsigned before = fc_count_fds();
	struct fs_info info;

	first = fc_new(where);
	first->set.max_fds = 16;
	first->set.max_open_files = 64;
	first->set.inode_file_handles = handles;
	first->set.inline_io = CONF_INLINE_YES;
	fc_start(first);
	wrong = 0;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, hammer, (void *)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	is_int(wrong, 0, "%d threads, %ld rounds each", THREADS, rounds);
	fc_init(first, 38, FC_ALL_FLAGS);
	fs_share_info(first->share, &info);
	is_int(info.nodes, 0, "no node is left after INIT");
	is_int(info.handles, 0, "nor a handle");
	is_int(info.node_fds, 0, "nor an fd");
	fc_free(first);
	is_int(fc_count_fds(), before, "every fd is closed");
}

int
main(void)
{
	rounds = tap_scaled(1000);
	test(NULL, CONF_HANDLES_PREFER);
	test(NULL, CONF_HANDLES_NEVER);
	if (!access("/dev/shm", W_OK))
		test("/dev/shm", CONF_HANDLES_PREFER);
	return tap_done();
}
