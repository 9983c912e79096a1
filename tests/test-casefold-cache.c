/* SPDX-License-Identifier: MIT */
/*
 * casefold/cache.c, keep.c: what cache.db brings over a restart, and that
 * nothing that happens to the file ever changes an answer.
 */
#include "config.h"

#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/casefold-test.h"

enum { NAMES = 600 };

static struct cf_share *share;
static struct cf_settings set;
static char cache_dir[PATH_MAX - 16], cache_db[PATH_MAX];
static int dir_fd, told;
static struct cf_calls calls;

static void
tell(void *arg, const char *why)
{
	(void)arg;
	printf("# %s\n", why);
	told++;
}

/* Do what waits, until nothing does. */
static void
work(void)
{
	struct timespec t = { 0, 10000000 };

	for (int i = 0; i < 300 && cf_share_work(share) >= 0; i++)
		nanosleep(&t, NULL);
}

static void
start(void)
{
	share = new_share(&set, &calls);
}

static void
stop(void)
{
	cf_share_free(share);
	share = NULL;
}

static void
name_of(int i, char *name, char *asked)
{
	sprintf(name, "File-%d.Txt", i);
	sprintf(asked, "fILE-%d.tXT", i);
}

static void
fill(int fd, int from, int to)
{
	char name[32], asked[32];

	for (int i = from; i < to; i++) {
		name_of(i, name, asked);
		touch(fd, name);
	}
}

/* Ask for names that are there and for as many that are not. */
static int
wrong_answers(int fd, int from, int to, int step)
{
	char name[32], asked[32];
	int wrong = 0;

	for (int i = from; i < to; i += step) {
		name_of(i, name, asked);
		wrong += strcmp(find(share, fd, asked), name) != 0;
		asked[4] = 'x';
		wrong += strcmp(find(share, fd, asked), "") != 0;
	}
	return wrong;
}

/* Have the directory in cache.db. */
static void
fill_cache(void)
{
	struct timespec tick = { 0, 20000000 };

	nanosleep(&tick, NULL);
	start();
	find(share, dir_fd, "nothing");
	work();
	stop();
}

/* ------------------------------------------------------------------ */

static void
test_restart(void)
{
	struct cf_stats stats;
	struct cf_info info;

	fill_cache();
	start();
	is_int(wrong_answers(dir_fd, 0, NAMES, 1), 0,
	       "T40 right answers after a restart");
	stats = stats_of(share);
	is_int(stats.scans, 0, "T40 without reading the directory");
	is_int(stats.warm, 1, "T40 from cache.db");
	ok(stats.db_reads >= NAMES && stats.db_us > 0, "T40 it was asked");
	cf_share_info(share, &info);
	ok(info.db && info.db_bytes > 20000, "T40 the file is there");

	/* What changes now is known without reading, and kept. */
	fill(dir_fd, NAMES, NAMES + 50);
	unlinkat(dir_fd, "File-7.Txt", 0);
	renameat(dir_fd, "File-8.Txt", dir_fd, "Moved-8.Txt");
	is_int(wrong_answers(dir_fd, 10, NAMES + 50, 7), 0, "changes on top");
	is_str(find(share, dir_fd, "FILE-7.TXT"), "", "removed on top");
	is_str(find(share, dir_fd, "FILE-8.TXT"), "", "moved on top");
	is_str(find(share, dir_fd, "MOVED-8.TXT"), "Moved-8.Txt", "and found");
	is_int(stats_of(share).scans, 0, "still without reading");
	work();
	ok(stats_of(share).db_writes >= 1, "changes were written");
	stop();

	start();
	is_int(wrong_answers(dir_fd, 10, NAMES + 50, 1), 0,
	       "T40 changes are there after a restart");
	is_str(find(share, dir_fd, "FILE-7.TXT"), "", "T40 removed stays so");
	is_str(find(share, dir_fd, "MOVED-8.TXT"), "Moved-8.Txt", "T40 moved");
	is_int(stats_of(share).scans, 0, "T40 without reading it");
	stop();
	renameat(dir_fd, "Moved-8.Txt", dir_fd, "File-8.Txt");
	touch(dir_fd, "File-7.Txt");
	for (int i = NAMES; i < NAMES + 50; i++) {
		char name[32], asked[32];

		name_of(i, name, asked);
		unlinkat(dir_fd, name, 0);
	}
}

static void
test_while_down(void)
{
	fill_cache();
	touch(dir_fd, "New.File");
	start();
	is_str(find(share, dir_fd, "new.file"), "New.File",
	       "T41 a file that came while we were down");
	is_int(stats_of(share).warm, 0, "T41 the cache was not believed");
	stop();
	unlinkat(dir_fd, "New.File", 0);
	fill_cache();
	start();
	is_str(find(share, dir_fd, "new.file"), "", "T41 and one that went");
	stop();
}

static void
test_check(void)
{
	struct cf_check check;

	fill_cache();
	start();
	find(share, dir_fd, "nothing");
	cf_share_check(share, top_fd, &check);
	is_int(check.db_directories, 1, "check: a directory in cache.db");
	is_int(check.db_names, NAMES, "check: its names");
	is_int(check.db_damaged, 0, "check: nothing damaged");
	is_int(check.missing, 0, "check: nothing missing");
	if (check.directories)
		is_int(check.names, NAMES, "check: compared with the host");
	else
		tap_skip("check: compared with the host", "no CAP_DAC_READ_SEARCH");
	is_int(cf_share_rebuild(share), 0, "rebuild");
	is_int(wrong_answers(dir_fd, 0, NAMES, 50), 0, "rebuild: answers");
	is_int(stats_of(share).scans, 1, "rebuild: it was read again");
	cf_share_check(share, top_fd, &check);
	is_int(check.db_directories, 0, "rebuild: cache.db is empty");
	stop();
}

/* ------------------------------------------------------------------ */
/* T42: damage. */

static long
file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (long)st.st_size;
}

static char *
read_all(const char *path, long *size)
{
	FILE *f = fopen(path, "re");
	char *p;

	*size = file_size(path);
	p = malloc((size_t)*size + 1);
	if (!f || !p || fread(p, 1, (size_t)*size, f) != (size_t)*size)
		bail(path);
	fclose(f);
	return p;
}

static void
write_all(const char *path, const char *p, long size)
{
	FILE *f = fopen(path, "we");

	if (!f || fwrite(p, 1, (size_t)size, f) != (size_t)size || fclose(f))
		bail(path);
}

/* Answers with the file as it is now; asks all names, works, asks again. */
static int
wrong_with_damage(int step)
{
	int wrong;

	start();
	wrong = wrong_answers(dir_fd, 0, NAMES, step);
	cf_share_work(share);
	wrong += wrong_answers(dir_fd, 0, NAMES, step * 5);
	stop();
	return wrong;
}

static void
test_damage(void)
{
	long size, flips = tap_scaled(60), resets = 0, wrong = 0;
	char *good, *bad;

	fill_cache();
	good = read_all(cache_db, &size);
	bad = malloc((size_t)size);
	told = 0;
	for (long i = 0; i < flips; i++) {
		memcpy(bad, good, (size_t)size);
		/* Some in the head of a page, where it hurts most. */
		for (int k = 0; k < 1 + i % 8; k++) {
			long at = random() % size;

			if (i % 2)
				at = at / 8192 * 8192 + random() % 64;
			bad[at] ^= (char)(1 << random() % 8);
		}
		write_all(cache_db, bad, size);
		wrong += wrong_with_damage(7);
	}
	resets = told;
	is_int(wrong, 0, "T42, I1, I6 bits flipped in %ld files (%ld "
	       "noticed)", flips, resets);
	for (long page = 0; page < size / 8192; page++) {
		memcpy(bad, good, (size_t)size);
		memset(bad + page * 8192, page % 2 ? 0 : 0xa5, 8192);
		write_all(cache_db, bad, size);
		wrong += wrong_with_damage(7);
	}
	is_int(wrong, 0, "T42 each page overwritten");
	for (long cut = 0; cut < size; cut += size / 12 + 1) {
		write_all(cache_db, good, cut);
		wrong += wrong_with_damage(31);
	}
	is_int(wrong, 0, "T42 the file cut short");
	memset(bad, 'x', (size_t)size);
	write_all(cache_db, bad, size);
	is_int(wrong_with_damage(31), 0, "T42 garbage");
	is_int(wrong_with_damage(31), 0, "T42 and with the next file");
	free(good);
	free(bad);
}

/* ------------------------------------------------------------------ */

static void
sql(const char *statements)
{
	sqlite3 *db;

	if (sqlite3_open(cache_db, &db) ||
	    sqlite3_exec(db, statements, NULL, NULL, NULL))
		printf("# %s\n", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void
test_forged(void)
{
	static const char *const forged[] = {
		"UPDATE names SET names=zeroblob(100)",
		"UPDATE names SET names=x''",
		"UPDATE names SET names='text'",
		"UPDATE names SET names=(SELECT names FROM names LIMIT 1)",
		"UPDATE names SET id=id+1000000",
		"DELETE FROM names",
		"DELETE FROM names WHERE id%2",
		"UPDATE dirs SET n=1, bits=0",
		"UPDATE dirs SET bits=40",
		"UPDATE dirs SET bits=-1",
		"UPDATE dirs SET dir=9223372036854775807",
		"UPDATE dirs SET dir=-5",
		"UPDATE dirs SET complete=0",
		"UPDATE dirs SET ctime_ns=0",
		"UPDATE dirs SET fs=x'00'",
		"UPDATE meta SET v=x'00112233445566778899aabbccddeeff' "
		"WHERE k='key'",
		"DELETE FROM meta",
		"DROP TABLE names",
		"DROP TABLE dirs; CREATE TABLE dirs(dir)",
		"DROP TABLE names; CREATE VIEW names AS SELECT 1 AS id, 2 AS "
		"names",
		"CREATE TRIGGER t AFTER INSERT ON names BEGIN "
		"DELETE FROM names; END",
	};

	for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		start();
		cf_share_rebuild(share);
		stop();
		fill_cache();
		sql(forged[i]);
		is_int(wrong_with_damage(7), 0, "T47, I1, I7 %s", forged[i]);
	}
}

static void
test_foreign(void)
{
	fill_cache();
	set.tag = "other";
	start();
	is_int(wrong_answers(dir_fd, 0, NAMES, 31), 0, "T44 another tag");
	is_int(stats_of(share).warm, 0, "T44 begins again");
	stop();
	set.tag = "tag";
	fill_cache();
	set.mode = CF_ASCII;
	start();
	is_int(wrong_answers(dir_fd, 0, NAMES, 31), 0, "T44 another fold");
	is_int(stats_of(share).warm, 0, "T44 begins again");
	stop();
	set.mode = CF_NT;
}

/* T43: killed while it writes. */
static void
test_killed(void)
{
	struct timespec t = { 0, 0 };
	int wrong = 0, warm = 0;
	pid_t pid;

	for (int i = 0; i < 20; i++) {
		unlink(cache_db);
		pid = fork();
		if (!pid) {
			start();
			find(share, dir_fd, "nothing");
			for (;;)
				cf_share_work(share);
		}
		t.tv_nsec = 50000000 + random() % 15000000;
		nanosleep(&t, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		start();
		wrong += wrong_answers(dir_fd, 0, NAMES, 31);
		warm += stats_of(share).warm > 0;
		stop();
	}
	is_int(wrong, 0, "T43, I7 killed while writing (%d of 20 had written)",
	       warm);
}

static void
test_unusable(void)
{
	struct rlimit old, limit = { 65536, RLIM_INFINITY };
	struct cf_share *first;
	sqlite3 *db;

	/* Another process works in it. */
	fill_cache();
	sqlite3_open(cache_db, &db);
	sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
	start();
	is_int(wrong_answers(dir_fd, 0, NAMES, 31), 0, "T45 locked");
	cf_share_work(share);
	stop();
	sqlite3_close(db);

	/* Two daemons. */
	start();
	first = share;
	told = 0;
	start();
	is_int(told, 1, "T45 in use by another daemon");
	is_int(wrong_answers(dir_fd, 0, NAMES, 31), 0, "T45 both answer");
	stop();
	share = first;
	stop();

	/* No room: files may not grow beyond 64 KiB. */
	unlink(cache_db);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
	start();
	wrong_answers(dir_fd, 0, NAMES, 31);
	work();
	find(share, dir_fd, "File-xyz");
	work();
	is_int(wrong_answers(dir_fd, 0, NAMES, 31), 0, "T45 disk full");
	stop();
	setrlimit(RLIMIT_FSIZE, &old);

	set.cache_dir = "/proc/cache";
	told = 0;
	start();
	is_int(told, 1, "T45 cache_dir cannot be made");
	is_int(wrong_answers(dir_fd, 0, NAMES, 31), 0, "T45 answers all the same");
	stop();
	set.cache_dir = cache_dir;
}

/* T46: more directories than the file may hold. */
static void
test_cap(void)
{
	struct cf_info info;
	int fd[12], wrong = 0, scans;
	char name[32];

	unlink(cache_db);
	set.db_max = 150000;
	start();
	for (int i = 0; i < 12; i++) {
		sprintf(name, "cap%d", i);
		fd[i] = new_dir(name);
		fill(fd[i], 0, NAMES);
	}
	for (int i = 0; i < 12; i++) {
		wrong += wrong_answers(fd[i], 0, NAMES, 31);
		work();
	}
	cf_share_info(share, &info);
	ok(info.db_bytes <= 200000, "T46, I8 the file stays small (%llu)",
	   (unsigned long long)info.db_bytes);
	stop();
	start();
	for (int i = 0; i < 12; i++)
		wrong += wrong_answers(fd[i], 0, NAMES, 31);
	scans = (int)stats_of(share).scans;
	ok(scans > 0 && scans < 12, "T46 some were kept (%d read)", scans);
	is_int(wrong, 0, "T46 right answers");
	stop();
	set.db_max = 256 << 20;
	for (int i = 0; i < 12; i++) {
		empty_dir(openat(fd[i], ".", O_RDONLY | O_DIRECTORY));
		close(fd[i]);
	}
}

/* Memory is short: names go to cache.db and are asked for there. */
static void
test_shrink(void)
{
	struct cf_info info;
	int other = new_dir("other"), wrong = 0;

	unlink(cache_db);
	set.ram_max = 20000;
	start();
	find(share, dir_fd, "nothing");
	work();
	find(share, other, "nothing");
	cf_share_info(share, &info);
	ok(info.memory < 20000, "shrunk to %llu bytes",
	   (unsigned long long)info.memory);
	touch(dir_fd, "Added");
	wrong += strcmp(find(share, dir_fd, "ADDED"), "Added") != 0;
	wrong += wrong_answers(dir_fd, 0, NAMES, 3);
	unlinkat(dir_fd, "Added", 0);
	wrong += strcmp(find(share, dir_fd, "ADDED"), "") != 0;
	is_int(wrong, 0, "shrunk: right answers");
	is_int(stats_of(share).scans, 2, "shrunk: not read again");
	stop();

	/* Asked for often, and memory is there again. */
	set.ram_max = 64 << 20;
	fill_cache();
	start();
	for (int i = 0; i < 4; i++)
		wrong += wrong_answers(dir_fd, 0, NAMES, 1);
	work();
	cf_share_info(share, &info);
	ok(info.memory > 10000, "grown to %llu bytes",
	   (unsigned long long)info.memory);
	wrong += wrong_answers(dir_fd, 0, NAMES, 1);
	touch(dir_fd, "Added");
	wrong += strcmp(find(share, dir_fd, "ADDED"), "Added") != 0;
	unlinkat(dir_fd, "Added", 0);
	wrong += strcmp(find(share, dir_fd, "ADDED"), "") != 0;
	is_int(wrong, 0, "grown: right answers");
	is_int(stats_of(share).scans, 0, "grown: not read again");
	stop();
	close(other);
}

int
main(void)
{
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);

	printf("# SEED=%u\n", seed);
	srandom(seed);
	if (begin_dir(NULL))
		bail("begin_dir");
	/* In memory where possible: each test syncs it often. */
	strcpy(cache_dir, "/dev/shm/casefold-XXXXXX");
	if (!mkdtemp(cache_dir))
		snprintf(cache_dir, sizeof(cache_dir), "%s/cache", top_dir);
	snprintf(cache_db, sizeof(cache_db), "%s/cache.db", cache_dir);
	cf_settings_init(&set, CF_NT);
	set.tag = "tag";
	set.cache_dir = cache_dir;
	calls.cache = tell;
	dir_fd = new_dir("share");
	fill(dir_fd, 0, NAMES);
	test_restart();
	test_while_down();
	test_check();
	test_damage();
	test_forged();
	test_foreign();
	test_killed();
	test_unusable();
	test_cap();
	test_shrink();
	close(dir_fd);
	dir_fd = open(cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	empty_dir(dir_fd);
	close(dir_fd);
	rmdir(cache_dir);
	end_dir();
	return tap_done();
}
