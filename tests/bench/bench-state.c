/* SPDX-License-Identifier: MIT */
/*
 * What the store of owners costs a request.
 *
 *	bench-state [-d DIR] [-n LOOKUPS] [ROWS...]
 *
 * Stores of 0, 1000 and 1,000,000 rows (or of ROWS) below DIR ($TMPDIR or
 * /tmp).  Columns, nanoseconds unless said:
 *	stat	statx of a file, for comparison
 *	other	a file without a row: cf_state_maybe
 *	hot	a recorded file, the same again and again
 *	row	recorded files in no order
 *	cold	the same where no row is kept in memory: state.db is asked
 *	asked	as row, and its handle is asked for as well
 *	change	us, one change with its commit
 *	open	ms, from start to first answer
 *	MiB	of memory
 */
#include "config.h"

#include <time.h>

#include "tests/state-test.h"

static long lookups = 200000;

struct fake {
	struct file_handle h;
	uint64_t id;
};

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct cf_state_file
fake_file(struct fake *f, uint64_t i)
{
	f->h.handle_bytes = 8;
	f->h.handle_type = 1;
	memcpy(f->h.f_handle, &i, 8);
	return (struct cf_state_file){
		.ino = 1000 + i * 3, .btime_ns = 5, .fd = -1, .handle = &f->h,
	};
}

static void
fill(long rows)
{
	struct cf_state_row row = { .has = CF_STATE_UID | CF_STATE_GID,
				    .uid = 1, .gid = 2 };
	struct cf_state_file file;
	struct fake f;

	for (long i = 0; i < rows; i++) {
		file = fake_file(&f, (uint64_t)i);
		row.uid = (uint32_t)i;
		if (cf_state_change(store_fs, &file, CF_STATE_FACTS, &row,
				    NULL))
			bail("change");
		if (i % 1000 == 0)
			cf_state_work(store);
	}
}

static double
measure_stat(void)
{
	double begin = now_ns();
	struct statx stx;

	for (long i = 0; i < lookups; i++)
		statx(files_fd, "plain", 0, STATX_BASIC_STATS | STATX_BTIME,
		      &stx);
	return (now_ns() - begin) / (double)lookups;
}

static double
measure_other(void)
{
	double begin = now_ns();
	long n = 0;

	for (long i = 0; i < lookups * 10; i++)
		n += cf_state_maybe(store_fs, 1001 + (uint64_t)(i * 7919 %
							       3000000) * 3);
	if (n)
		bail("a row where there is none");
	return (now_ns() - begin) / (double)(lookups * 10);
}

/* As a request does it.  `rows` 1 = one file. */
static double
measure_find(long rows, bool ask)
{
	double begin = now_ns();
	struct cf_state_row row;
	struct fake f;
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int id;

	for (long i = 0; i < lookups; i++) {
		struct cf_state_file file =
			fake_file(&f, (uint64_t)(i * 7919 % rows));

		u.h.handle_bytes = MAX_HANDLE_SZ;
		if (ask)
			name_to_handle_at(files_fd, "", &u.h, &id,
					  AT_EMPTY_PATH);
		if (!cf_state_maybe(store_fs, file.ino) ||
		    cf_state_find(store_fs, &file, &row) != 1)
			bail("find");
	}
	return (now_ns() - begin) / (double)lookups;
}

static double
measure_change(long rows)
{
	long n = 5000;
	double begin;
	struct cf_state_row row = { .has = CF_STATE_MODE };
	struct fake f;

	begin = now_ns();
	for (long i = 0; i < n; i++) {
		struct cf_state_file file =
			fake_file(&f, (uint64_t)(i * 7919 % rows));

		row.mode = (uint32_t)i;
		if (cf_state_change(store_fs, &file, CF_STATE_MODE, &row, NULL))
			bail("change");
	}
	return (now_ns() - begin) / (double)n / 1000;
}

static double
open_ms(size_t memory)
{
	double begin = now_ns();

	if (open_store_with(memory, false))
		bail(why);
	return (now_ns() - begin) / 1e6;
}

static void
bench(long rows)
{
	double other, stat = measure_stat(), hot = 0, row = 0, cold = 0;
	double asked = 0, change = 0, open;
	double mib;

	open_store();
	fill(rows);
	close_store();
	open = open_ms(0);
	mib = (double)store_info().memory / 1048576;
	other = measure_other();
	if (rows) {
		hot = measure_find(1, false);
		row = measure_find(rows, false);
		asked = measure_find(rows, true);
		change = measure_change(rows);
	}
	close_store();
	if (rows) {
		open_ms(1);
		cold = measure_find(rows, false);
		close_store();
	}
	printf("%9ld %6.0f %6.1f %6.0f %6.0f %6.0f %6.0f %7.1f %7.1f %6.1f\n",
	       rows, stat, other, hot, row, cold, asked, change, open, mib);
	fflush(stdout);
	remove_store();
}

int
main(int argc, char **argv)
{
	const char *where = NULL;
	int c;

	while ((c = getopt(argc, argv, "d:n:")) > 0) {
		if (c == 'd')
			where = optarg;
		else if (c == 'n')
			lookups = atol(optarg);
		else
			return 2;
	}
	begin_store(where);
	make_file("plain");
	printf("%9s %6s %6s %6s %6s %6s %6s %7s %7s %6s\n", "rows", "stat",
	       "other", "hot", "row", "cold", "asked", "change", "open", "MiB");
	if (optind == argc) {
		bench(0);
		bench(1000);
		bench(1000000);
	}
	for (; optind < argc; optind++)
		bench(atol(argv[optind]));
	end_store();
	return 0;
}
