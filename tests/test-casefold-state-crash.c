/* SPDX-License-Identifier: MIT */
/*
 * The store when a daemon is killed, a machine loses its power, or a disk
 * fails: what was answered, and what was synced.
 */
#include "config.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "tests/state-disk.h"

/* ------------------------------------------------------------------ */
/* T54: kill -9. */

static void
write_until_killed(int fd)
{
	open_store();
	for (uint32_t n = 0;; n++) {
		if (set_fake(n % FILES, n) ||
		    write(fd, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

/* How many were answered. */
static uint32_t
kill_after(uint32_t wanted)
{
	uint32_t n, last = 0;
	int p[2], status;
	pid_t pid;

	if (pipe(p))
		bail("pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(p[0]);
		write_until_killed(p[1]);
	}
	close(p[1]);
	while (read(p[0], &n, sizeof(n)) == sizeof(n)) {
		last = n + 1;
		if (last >= wanted)
			kill(pid, SIGKILL);
	}
	close(p[0]);
	waitpid(pid, &status, 0);
	return last;
}

static void
test_killed(void)
{
	long rounds = tap_scaled(20), wrong = 0;
	uint32_t n, want;

	for (long i = 0; i < rounds; i++) {
		remove_store();
		n = kill_after(1 + (uint32_t)random() % 2000);
		open_store();
		for (uint32_t f = 0; f < FILES; f++) {
			/* The last write to f below n; one more may be there. */
			if (f == n % FILES && get_fake(f) == (long)n)
				continue;
			want = n ? (n - 1 - (n - 1 + FILES - f) % FILES) : 0;
			if (n <= f)
				wrong += get_fake(f) != -1;
			else
				wrong += get_fake(f) != (long)want;
		}
		close_store();
	}
	is_int(wrong, 0, "T54 killed %ld times, nothing answered is lost",
	       rounds);
	remove_store();
}

/* ------------------------------------------------------------------ */
/* T54: loss of power. */

enum { STEPS = 4000 };
static struct step {
	unsigned file;
	long uid;
	int64_t at_ns;
} steps[STEPS];

/* What the disk may hold of a file. */
static void
write_lost(const char *dir, int i, bool all)
{
	struct image now = { 0 };
	char path[PATH_MAX];
	size_t n;
	int fd;

	read_image(i, &now);
	if (!safe[i].named && (random() & 1))
		goto out;
	snprintf(path, sizeof(path), "%s/%s", dir, db_names[i]);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (pwrite(fd, safe[i].data, safe[i].size, 0) < 0)
		bail("pwrite");
	for (size_t at = 0; !all && at < now.size; at += BLOCK) {
		if (random() & 1)
			continue;
		n = now.size - at < BLOCK ? now.size - at : BLOCK;
		if (pwrite(fd, now.data + at, n, (off_t)at) < 0)
			bail("pwrite");
	}
	close(fd);
out:
	free(now.data);
}

/* Is what came back the work of the first p steps, with min <= p <= n? */
static bool
is_prefix(int min, int n)
{
	long want[FILES], got[FILES];

	for (unsigned f = 0; f < FILES; f++) {
		want[f] = -1;
		got[f] = get_fake(f);
	}
	for (int p = 0; p <= n; p++) {
		if (p >= min && !memcmp(want, got, sizeof(want)))
			return true;
		if (p < n)
			want[steps[p].file] = steps[p].uid;
	}
	return false;
}

static bool
lose_power(int min, int n)
{
	struct cf_state *was = store;
	struct cf_state_fs *fs = store_fs;
	char dir[sizeof(store_dir)], lost[sizeof(store_dir)];
	bool good;
	int err;

	snprintf(lost, sizeof(lost), "%s/lost", top_dir);
	mkdir(lost, 0700);
	noting = false;
	for (int i = 0; i < NAMES; i++)
		write_lost(lost, i, random() % 3 == 0);
	strcpy(dir, store_dir);
	strcpy(store_dir, lost);
	err = open_store_with(0, false);
	good = !err && is_prefix(min, n);
	if (!good)
		printf("# seed: %s, %d to %d steps\n", err ? why : "lost", min,
		       n);
	if (!err)
		close_store();
	remove_store();
	strcpy(store_dir, dir);
	store = was;
	store_fs = fs;
	noting = true;
	return good;
}

static int
older_than(int n, int64_t ns)
{
	int i = n;

	while (i > 0 && steps[i - 1].at_ns > clock_ns - ns)
		i--;
	return i;
}

static void
test_power(void)
{
	int synced = 0, wrong = 0, failed = 0, losses = 0, min, next_ms = -1;
	int64_t next_ns = 0;

	noting = true;
	open_store();
	for (int i = 0; i < STEPS; i++) {
		steps[i] = (struct step){
			.file = (unsigned)random() % FILES,
			.uid = random() % 8 ? i : -1, .at_ns = clock_ns,
		};
		failed += set_fake(steps[i].file, steps[i].uid) != 0;
		if (random() % 500 == 0) {
			failed += cf_state_sync(store) != 0;
			synced = i + 1;
		}
		/* As a daemon calls it, and a tenth of a second late. */
		clock_ns += random() % 20000000;
		if (next_ms < 0 || clock_ns >= next_ns) {
			next_ms = cf_state_work(store);
			next_ns = clock_ns + (next_ms + 100) * 1000000ll;
		}
		if (random() % 50)
			continue;
		min = older_than(i + 1, 1000000000);
		wrong += !lose_power(min > synced ? min : synced, i + 1);
		losses++;
	}
	ok(store_stats().checkpoints > 0 && store_stats().syncs > 5,
	   "T54 synced %llu times, moved the log %llu times",
	   (unsigned long long)store_stats().syncs,
	   (unsigned long long)store_stats().checkpoints);
	is_int(failed, 0, "T54 all recorded");
	is_int(wrong, 0, "T54 power lost %d times: what was synced is there, "
	       "and what is older than a second", losses);
	close_store();
	noting = false;
	remove_store();
}

/* ------------------------------------------------------------------ */

/* What failed once may be lost, whatever the disk says next. */
static void
test_sync_error(void)
{
	troubles = 0;
	open_store();
	set_fake(1, 1);
	disk_fails = true;
	is_int(cf_state_sync(store), -EIO, "disk error: said");
	is_int(troubles, 1, "disk error: told");
	disk_fails = false;
	is_int(cf_state_sync(store), -EIO, "disk error: stays");
	clock_ns += 2000000000;
	is_int(cf_state_work(store), -1, "disk error: not again and again");
	is_int(set_fake(1, 2), 0, "disk error: it goes on");
	ok(store_info().unsynced > 0, "disk error: not safe");
	close_store();
	open_store();
	is_int(get_fake(1), 2, "disk error: the page cache has it");
	is_int(cf_state_sync(store), 0, "disk error: over after a start");
	close_store();
	remove_store();
}

/* A consistent copy, made while rows change, can take the file's place. */
static void
test_backup(void)
{
	char path[PATH_MAX], to[PATH_MAX];

	snprintf(path, sizeof(path), "%s/copy.db", store_dir);
	snprintf(to, sizeof(to), "%s/state.db", store_dir);
	open_store();
	set_fake(1, 1);
	is_int(cf_state_backup(store, path), 0, "backup");
	is_int(cf_state_backup(store, path), -EEXIST, "not over a file");
	set_fake(1, 2);
	close_store();
	rename(path, to);
	open_store();
	is_int(get_fake(1), 1, "what it had is back");
	close_store();
	remove_store();

	/* Once a week: the file was made long ago, it seems. */
	open_store();
	set_fake(1, 3);
	clock_ns += 8 * 86400 * 1000000000ll;
	is_int(cf_state_work(store), -1, "work");
	ok(in_store_dir("state.db.bak") && !in_store_dir("state.db.new"),
	   "a week later there is a backup");
	close_store();
	remove_store();
}

/* ------------------------------------------------------------------ */

enum { CHANGES = 60000, LOG_MIB = 128 };
static atomic_bool changed_all;

static void *
change_on(void *arg)
{
	long *failed = arg;

	for (unsigned i = 0; i < CHANGES; i++)
		*failed += set_fake(i % FILES, i) != 0;
	changed_all = true;
	return NULL;
}

/* Changes that never pause: the log begins anew all the same. */
static void
test_log(void)
{
	long failed = 0, got = 0;
	char path[PATH_MAX];
	pthread_t thread;
	struct stat st;

	open_store();
	disk_is_slow = true;
	pthread_create(&thread, NULL, change_on, &failed);
	while (!changed_all) {
		clock_ns += 1000000000;
		cf_state_work(store);
	}
	pthread_join(thread, NULL);
	disk_is_slow = false;
	is_int(failed, 0, "log: %d changes without a pause", CHANGES);
	snprintf(path, sizeof(path), "%s/state.db-wal", store_dir);
	if (stat(path, &st))
		bail(path);
	ok(st.st_size < LOG_MIB << 20,
	   "log: it has %ld MiB", (long)(st.st_size >> 20));
	for (unsigned i = CHANGES - FILES; i < CHANGES; i++)
		got += get_fake(i % FILES) == (long)i;
	is_int(got, FILES, "log: all are there");
	close_store();
	remove_store();
}

static void *
work_once(void *arg)
{
	*(int *)arg = cf_state_work(store);
	return NULL;
}

static bool
becomes(_Atomic bool *flag)
{
	for (int i = 0; i < 5000 && !*flag; i++)
		usleep(1000);
	return *flag;
}

/* The log is being moved, which takes its time: what changes meanwhile is
 * synced all the same. */
static void
test_long_move(void)
{
	pthread_t thread;
	int left = 0, i;

	open_store();
	for (unsigned n = 0; n < 3000; n++)
		set_fake(n % FILES, n);
	clock_ns += 1000000000;
	db_waits = false;
	db_hangs = true;
	pthread_create(&thread, NULL, work_once, &left);
	ok(becomes(&db_waits), "long move: it is under way");
	is_int(set_fake(1, 5), 0, "long move: a change");
	clock_ns += 1000000000;
	for (i = 0; i < 5000 && store_info().unsynced; i++)
		usleep(1000);
	is_int((long)store_info().unsynced, 0, "long move: it is synced");
	db_hangs = false;
	pthread_join(thread, NULL);
	ok(store_stats().checkpoints > 0, "long move: and ends");
	close_store();
	remove_store();
}

int
main(void)
{
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);

	printf("# SEED=%u\n", seed);
	srandom(seed);
	begin_store(NULL);
	test_killed();
	test_power();
	test_sync_error();
	test_backup();
	test_log();
	test_long_move();
	end_store();
	return tap_done();
}
