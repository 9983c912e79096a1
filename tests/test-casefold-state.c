/* SPDX-License-Identifier: MIT */
/*
 * The store of owners and attributes: rows of inodes, over restarts, reuse of
 * numbers, and all of them at once.
 */
#include "config.h"

#include "casefold/state_set.h"
#include "tests/state-test.h"

static const struct cf_state_row full = {
	.has = CF_STATE_FACTS | CF_STATE_HOST,
	.uid = 1000, .gid = 4294967294u, .mode = 0104755, .rdev = 0x801,
	.dosattr = 0x22, .crtime = 133000000000000001, .huid = 7, .hgid = 8,
};

/* Nothing on the disk, and nothing found, before something is recorded. */
static void
test_empty(void)
{
	struct cf_state_file file;
	struct cf_state_row row;
	int fd;

	open_store();
	make_file("plain");
	fd = file_at("plain", &file);
	ok(!cf_state_maybe(store_fs, file.ino), "empty: maybe");
	is_int(cf_state_find(store_fs, &file, &row), 0, "empty: find");
	is_int(cf_state_drop(store_fs, &file), 0, "empty: drop");
	is_int(cf_state_sync(store), 0, "empty: sync");
	is_int(cf_state_work(store), -1, "empty: no work");
	memset(&row, 0, sizeof(row));
	is_int(cf_state_change(store_fs, &file, CF_STATE_FACTS, &row, NULL), 0,
	       "empty: clearing what is not there");
	ok(!store_info().exists, "empty: no file");
	close(fd);
	close_store();
	ok(access(store_dir, F_OK) && errno == ENOENT,
	   "empty: no directory was made");
}

static void
test_fields(void)
{
	struct cf_state_row row, part = { .has = CF_STATE_UID, .uid = 5 };
	struct cf_state_file file;
	int fd = file_at("plain", &file);

	open_store();
	is_int(cf_state_change(store_fs, &file, CF_STATE_UID, &part, &row), 0,
	       "record a uid");
	ok(row.has == CF_STATE_UID && row.uid == 5, "it is answered");
	ok(in_store_dir("state.db"), "there is a file now");
	is_int(works, 1, "there is work, said once");
	ok(cf_state_maybe(store_fs, file.ino), "maybe");
	is_int(uid_of("plain"), 5, "found");
	part = (struct cf_state_row){ .has = CF_STATE_GID, .gid = 6, .uid = 9 };
	cf_state_change(store_fs, &file, CF_STATE_GID, &part, &row);
	ok(row.has == (CF_STATE_UID | CF_STATE_GID) && row.uid == 5 &&
	   row.gid == 6, "one field changes, the others stay");
	cf_state_change(store_fs, &file, CF_STATE_FACTS | CF_STATE_HOST, &full,
			NULL);
	close_store();

	open_store();
	is_int(store_info().rows, 1, "restart: a row");
	is_int(find_row("plain", &row), 1, "restart: found");
	ok(!memcmp(&row, &full, sizeof(row)), "restart: every field");
	part.has = 0;
	cf_state_change(store_fs, &file, CF_STATE_MODE | CF_STATE_RDEV, &part,
			&row);
	ok(row.has == (full.has & ~(unsigned)(CF_STATE_MODE | CF_STATE_RDEV)) &&
	   !row.mode, "fields are cleared");
	cf_state_change(store_fs, &file, CF_STATE_FACTS, &part, &row);
	is_int(row.has, 0, "all facts cleared: not even the host's owner stays");
	ok(!cf_state_maybe(store_fs, file.ino), "and the row is gone");
	is_int(store_info().rows, 0, "no row");
	close_store();

	open_store();
	is_int(find_row("plain", &row), 0, "restart: gone");
	close_store();
	close(fd);
}

/* T55: what the host keeps extended attributes from. */
static void
test_types(void)
{
	static const char *const names[] = { "link", "fifo", "dir", "." };
	struct cf_state_row row;

	open_store();
	if (symlinkat("nowhere", files_fd, "link") ||
	    mkfifoat(files_fd, "fifo", 0600) || mkdirat(files_fd, "dir", 0700))
		bail("types");
	for (int i = 0; i < 4; i++)
		set_row(names[i], ~0u, &full);
	close_store();
	open_store();
	for (int i = 0; i < 4; i++) {
		is_int(find_row(names[i], &row), 1, "T55 %s", names[i]);
		ok(!memcmp(&row, &full, sizeof(row)), "T55 its fields");
	}
	close_store();
	remove_store();
}

/* T51: numbers are used again at once; nobody says that a file went. */
static void
test_reuse(void)
{
	long n = tap_scaled(1000), wrong = 0, same = 0, failed = 0;
	struct cf_state_file file;
	uint64_t last = 0;
	int fd;

	open_store();
	for (long i = 0; i < n; i++) {
		make_file("again");
		fd = file_at("again", &file);
		same += file.ino == last;
		last = file.ino;
		wrong += uid_of("again") != -1;
		failed += set_uid("again", (uint32_t)i) != 0;
		wrong += uid_of("again") != i;
		close(fd);
		unlinkat(files_fd, "again", 0);
	}
	printf("# %ld of %ld numbers were used again\n", same, n);
	is_int(wrong, 0, "T51 never an old owner, %ld times", n);
	is_int(failed, 0, "T51 all recorded");
	if (same)
		ok(store_stats().dead >= (uint64_t)same,
		   "T51 old rows were deleted");
	/* The same, but the daemon makes and removes the files. */
	for (long i = 0; i < n; i++) {
		make_file("again");
		fd = file_at("again", &file);
		failed += cf_state_drop(store_fs, &file) != 0;
		wrong += uid_of("again") != -1;
		failed += set_uid("again", (uint32_t)i) != 0;
		wrong += uid_of("again") != i;
		unlinkat(files_fd, "again", 0);
		wrong += cf_state_find(store_fs, &file,
				       &(struct cf_state_row){ 0 }) != 1;
		failed += cf_state_drop(store_fs, &file) != 0;
		close(fd);
	}
	is_int(wrong, 0, "T51, T56 made and removed here");
	is_int(failed, 0, "T51, T56 all recorded and dropped");
	close_store();
	remove_store();
}

/* A dead row is found on a thread that may not write. */
static void
test_nowait(void)
{
	struct cf_state_file file, old;
	struct cf_state_row row;
	int fd;

	open_store();
	make_file("n");
	close(file_at("n", &old));
	set_uid("n", 3);
	fd = file_at("n", &file);
	file.nowait = true;
	is_int(cf_state_find(store_fs, &file, &row), 1, "nowait: in memory");
	close(fd);
	unlinkat(files_fd, "n", 0);
	make_file("n");
	fd = file_at("n", &file);
	if (file.ino != old.ino) {
		tap_skip("nowait: dead row", "the number was not used again");
	} else {
		file.nowait = true;
		is_int(cf_state_find(store_fs, &file, &row), -EAGAIN,
		       "nowait: dead row");
		file.nowait = false;
		is_int(cf_state_find(store_fs, &file, &row), 0, "waiting");
		file.nowait = true;
		is_int(cf_state_find(store_fs, &file, &row), 0,
		       "nowait: it is gone");
		ok(!cf_state_maybe(store_fs, file.ino), "nowait: not even maybe");
	}
	close(fd);
	close_store();

	/* No memory for rows: asked of the file. */
	if (open_store_with(1, false))
		bail(why);
	set_uid("n", 4);
	fd = file_at("n", &file);
	is_int(uid_of("n"), 4, "no memory: from the file");
	file.nowait = true;
	is_int(cf_state_find(store_fs, &file, &row), -EAGAIN,
	       "no memory: nowait");
	ok(store_stats().db_reads > 0, "no memory: counted");
	close(fd);
	unlinkat(files_fd, "n", 0);
	close_store();
	remove_store();
}

/* Two stores on one directory. */
static void
test_locked(void)
{
	struct cf_state *first;

	open_store();
	set_uid("plain", 1);
	first = store;
	is_int(open_store_with(0, false), -EBUSY, "in use");
	ok(strstr(why, "in use by another process"), "said so: %s", why);
	cf_state_put(cf_state_get(first));
	store = first;
	is_int(uid_of("plain"), 1, "a reference more and less");
	close_store();
	open_store();
	is_int(uid_of("plain"), 1, "not in use any more");
	close_store();
	remove_store();
}

/* The set of numbers against an array. */
static void
test_numbers(void)
{
	enum { N = 5000, OPS = 200000 };
	static bool has[N];
	struct cf_inos set = { 0 };
	size_t n = 0;
	int wrong = 0;

	for (int i = 0; i < OPS; i++) {
		/* Half of them in a row, half far apart. */
		uint64_t k = (uint64_t)random() % N;
		uint64_t ino = k % 2 ? k : k << 40;

		if (random() % 3) {
			wrong += cf_inos_add(&set, ino) !=
				 (k ? !has[k] : -EINVAL);
			n += k && !has[k];
			has[k] = k;
		} else {
			cf_inos_del(&set, ino);
			n -= has[k];
			has[k] = false;
		}
		k = (uint64_t)random() % N;
		wrong += cf_inos_has(&set, k % 2 ? k : k << 40) != has[k];
		if (i == OPS / 2) {
			for (k = 0; k < N; k++) {
				cf_inos_del(&set, k % 2 ? k : k << 40);
				has[k] = false;
			}
			n = 0;
		}
	}
	is_int(wrong, 0, "numbers: as an array has them");
	is_int(set.n, n, "numbers: as many");
	cf_inos_fini(&set);
}

/* What was read before a change does not come in after it. */
static void
test_rows_in_memory(void)
{
	struct cf_rows rows;
	struct cf_row row = { .row = { .uid = 1 } }, got;
	unsigned changes;
	uint64_t tag = 0x123456789abcdef0u;
	int lost = 0;

	cf_rows_init(&rows, 1 << 20);
	ok(!cf_rows_find(&rows, tag, &got, &changes), "rows: none");
	cf_rows_reserve(&rows, 1);
	cf_rows_offer(&rows, tag, &row, changes);
	ok(cf_rows_find(&rows, tag, &got, &changes) && got.row.uid == 1,
	   "rows: what was read");
	cf_rows_del(&rows, tag);
	ok(!cf_rows_find(&rows, tag, &got, &changes), "rows: deleted");
	row.row.uid = 2;
	cf_rows_put(&rows, tag, &row);
	cf_rows_del(&rows, tag);
	row.row.uid = 1;
	cf_rows_offer(&rows, tag, &row, changes);
	ok(!cf_rows_find(&rows, tag, &got, &changes),
	   "rows: an old one does not come back");
	is_int(rows.lost, 0, "rows: none put out");

	/* As many as there is memory for, and more. */
	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 1; i <= (round ? 40000 : 1000); i++) {
			row.row.uid = (uint32_t)i;
			cf_rows_reserve(&rows, i);
			cf_rows_put(&rows, i * 0x9e3779b97f4a7c15u, &row);
		}
		for (uint64_t i = 1; i <= (round ? 40000 : 1000); i++) {
			if (!cf_rows_find(&rows, i * 0x9e3779b97f4a7c15u, &got,
					  &changes))
				lost++;
			else if (got.row.uid != i)
				lost += 1000000;
		}
		if (!round)
			is_int(lost + (int)rows.lost, 0, "rows: a thousand");
	}
	ok(lost > 0 && lost < 40000 && (int)rows.lost >= lost,
	   "rows: %d of 40000 put out", lost);
	ok(cf_rows_memory(&rows) <= 1 << 20, "rows: no more memory than that");
	cf_rows_fini(&rows);
}

int
main(void)
{
	test_numbers();
	test_rows_in_memory();
	begin_store(NULL);
	test_empty();
	test_fields();
	test_types();
	test_reuse();
	test_nowait();
	test_locked();
	end_store();
	return tap_done();
}
