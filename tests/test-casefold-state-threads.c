/* SPDX-License-Identifier: MIT */
/*
 * Many threads on one store: each sees its own changes at once, nobody sees a
 * row of a file that never had one, and all is there after a restart.
 */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/state-test.h"

enum { WRITERS = 3, READERS = 2, EACH = 60 };

static atomic_bool stop;
static atomic_long wrong, reads;
static long rounds;

struct fake {
	struct file_handle h;
	uint64_t id;
};

static struct cf_state_file
fake_file(struct fake *f, uint64_t ino, uint64_t generation)
{
	f->h.handle_bytes = 8;
	f->h.handle_type = 1;
	memcpy(f->h.f_handle, &generation, 8);
	return (struct cf_state_file){ .ino = ino, .fd = -1, .handle = &f->h };
}

static uint64_t
ino_of(int writer, int i)
{
	return 1 + (uint64_t)i * WRITERS + (uint64_t)writer;
}

/* Owner and group change together: nobody may see one without the other. */
static void *
write_rows(void *arg)
{
	int me = (int)(intptr_t)arg;
	unsigned seed = (unsigned)me;

	for (long n = 1; n <= rounds; n++) {
		int i = rand_r(&seed) % EACH;
		bool clear = rand_r(&seed) % 4 == 0;
		struct fake f;
		struct cf_state_file file = fake_file(&f, ino_of(me, i), 1);
		struct cf_state_row row = {
			.has = clear ? 0 : CF_STATE_UID | CF_STATE_GID,
			.uid = (uint32_t)n, .gid = (uint32_t)n,
		}, got;

		if (cf_state_change(store_fs, &file,
				    CF_STATE_UID | CF_STATE_GID, &row, NULL))
			wrong++;
		if (cf_state_find(store_fs, &file, &got) != !clear ||
		    (!clear && got.uid != (uint32_t)n))
			wrong++;
		if (rand_r(&seed) % 200 == 0)
			wrong += cf_state_sync(store) != 0;
		/* The number is given to another file, and back. */
		if (rand_r(&seed) % 16 == 0) {
			file = fake_file(&f, ino_of(me, i), 2);
			wrong += cf_state_find(store_fs, &file, &got) != 0;
		}
	}
	return NULL;
}

static void *
read_rows(void *arg)
{
	unsigned seed = 77 + (unsigned)(intptr_t)arg;

	while (!stop) {
		uint64_t ino = 1 + (uint64_t)rand_r(&seed) % (WRITERS * EACH);
		struct cf_state_row row = { 0 };
		struct fake f;
		struct cf_state_file file = fake_file(&f, ino, 1);
		int n;

		file.nowait = rand_r(&seed) & 1;
		n = cf_state_maybe(store_fs, ino) ?
			    cf_state_find(store_fs, &file, &row) : 0;
		if (n < 0 && n != -EAGAIN)
			wrong++;
		if (n > 0 && row.uid != row.gid)
			wrong++;
		if (cf_state_maybe(store_fs, ino + 1000000))
			wrong++;
		reads++;
	}
	return NULL;
}

static int
count_line(void *arg, const char *line)
{
	(void)line;
	++*(int *)arg;
	return 0;
}

/* What the daemon does beside: work, export, check, statistics. */
static void *
work_rows(void *arg)
{
	struct cf_state_check k;
	int lines;

	(void)arg;
	while (!stop) {
		lines = 0;
		wrong += cf_state_export(store, &host, count_line, &lines) != 0;
		wrong += cf_state_check(store, NULL, &k) != 0 || k.damaged;
		wrong += cf_state_work(store) < -1;
		store_stats();
		store_info();
	}
	return NULL;
}

static void
run_threads(size_t memory, const char *what)
{
	pthread_t writer[WRITERS], reader[READERS], worker;
	uint64_t rows;

	stop = false;
	wrong = reads = 0;
	if (open_store_with(memory, false))
		bail(why);
	for (intptr_t i = 0; i < WRITERS; i++)
		pthread_create(&writer[i], NULL, write_rows, (void *)i);
	for (intptr_t i = 0; i < READERS; i++)
		pthread_create(&reader[i], NULL, read_rows, (void *)i);
	pthread_create(&worker, NULL, work_rows, NULL);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writer[i], NULL);
	stop = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	pthread_join(worker, NULL);
	is_int(wrong, 0, "%s: %ld changes, %ld reads, none wrong", what,
	       rounds * WRITERS, (long)reads);
	rows = store_info().rows;
	close_store();
	open_store();
	is_int(store_info().rows, rows, "%s: as many rows after a restart",
	       what);
	close_store();
	remove_store();
}

int
main(void)
{
	rounds = tap_scaled(1500);
	begin_store(NULL);
	run_threads(0, "in memory");
	run_threads(1, "none in memory");
	run_threads(64 * 500, "some in memory");
	end_store();
	return tap_done();
}
