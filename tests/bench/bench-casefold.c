/* SPDX-License-Identifier: MIT */
/*
 * What finding a name costs, by the size of its directory.
 *
 *	bench-casefold [-d DIR] [-n LOOKUPS] [ENTRIES...]
 *
 * Makes directories of 100, 10,000, 100,000 and 1,000,000 names (or of ENTRIES)
 * below DIR ($TMPDIR or /tmp) and removes them.  Columns, microseconds unless
 * said:
 *	host	the host's own answer for a name that does not exist
 *	miss	no such name in any case, a new name each time
 *	hit	a name in other case, different ones
 *	hot	the same name in other case, again and again
 *	db miss, db hit		the same after a restart, from cache.db
 *	first	the first miss after a restart
 *	scan	reading the directory once, as every miss did without an index
 *	build	reading it into the index
 *	B/name	memory
 */
#include "config.h"

#include <time.h>

#include "tests/casefold-test.h"

static long lookups = 20000;
static char cache_dir[4096];

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
fill(int fd, long n)
{
	char name[64];

	for (long i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "Document %07ld.Txt", i);
		if (mknodat(fd, name, S_IFREG | 0644, 0))
			bail(name);
	}
}

static int
count_name(void *arg, const char *name)
{
	return strcasecmp(arg, name) == 0;
}

/* A scan for one name, as without an index. */
static double
scan_once(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(copy);
	double begin = now_us();
	struct dirent *e;
	int found = 0;

	while ((e = readdir(d)))
		found += count_name("no such name", e->d_name);
	begin = now_us() - begin;
	closedir(d);
	return found ? 0 : begin;
}

static double
host_miss(int fd)
{
	double begin = now_us();
	struct stat st;
	char name[64];

	for (long i = 0; i < lookups; i++) {
		snprintf(name, sizeof(name), "missing %ld.txt", i);
		if (!fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
			bail("it is there");
	}
	return (now_us() - begin) / (double)lookups;
}

static double
misses(struct cf_share *share, const struct cf_dir *dir, int round)
{
	char name[64], real[CF_NAME_MAX + 1];
	double begin = now_us();

	for (long i = 0; i < lookups; i++) {
		snprintf(name, sizeof(name), "missing-%d-%ld.txt", round, i);
		if (cf_find(share, dir, name, 0, real) != -ENOENT)
			bail("found what is not there");
	}
	return (now_us() - begin) / (double)lookups;
}

static double
hits(struct cf_share *share, const struct cf_dir *dir, long n, bool same)
{
	char name[64], real[CF_NAME_MAX + 1];
	double begin = now_us();

	for (long i = 0; i < lookups; i++) {
		snprintf(name, sizeof(name), "dOCUMENT %07ld.tXT",
			 same ? n / 2 : i * 7919 % n);
		if (cf_find(share, dir, name, 0, real) != CF_OTHER)
			bail("not found");
	}
	return (now_us() - begin) / (double)lookups;
}

static double
first_miss(struct cf_share *share, const struct cf_dir *dir)
{
	char real[CF_NAME_MAX + 1];
	double begin = now_us();

	if (cf_find(share, dir, "the first", 0, real) != -ENOENT)
		bail("found what is not there");
	return now_us() - begin;
}

static struct cf_share *
open_share(void)
{
	struct cf_settings set;

	cf_settings_init(&set, CF_NT);
	set.tag = "bench";
	set.cache_dir = cache_dir;
	return new_share(&set, NULL);
}

static void
work(struct cf_share *share)
{
	struct timespec t = { 0, 10000000 };

	while (cf_share_work(share) >= 0)
		nanosleep(&t, NULL);
}

static void
bench(long n)
{
	double host, build, miss, hit, hot, dbmiss, dbhit, first, scan;
	struct cf_share *share;
	struct cf_info info;
	struct cf_stats stats;
	struct cf_dir dir;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "n%ld", n);
	fd = new_dir(name);
	fill(fd, n);
	scan_once(fd);
	scan = scan_once(fd);
	host = host_miss(fd);
	if (cf_dir_init(&dir, fd))
		bail("cf_dir_init");
	share = open_share();
	build = first_miss(share, &dir);
	miss = misses(share, &dir, 1);
	hits(share, &dir, n, false);
	hit = hits(share, &dir, n, false);
	hot = hits(share, &dir, n, true);
	cf_share_info(share, &info);
	work(share);
	cf_share_free(share);

	share = open_share();
	first = first_miss(share, &dir);
	dbmiss = misses(share, &dir, 2);
	dbhit = hits(share, &dir, n, false);
	stats = stats_of(share);
	cf_share_free(share);
	printf("%8ld %6.2f %6.2f %6.2f %6.2f", n, host, miss, hit, hot);
	if (stats.warm)
		printf(" %7.2f %7.2f %8.0f", dbmiss, dbhit, first);
	else
		printf(" %7s %7s %8s", "-", "-", "-");
	printf(" %9.0f %9.0f %6.1f\n", scan, build,
	       (double)info.memory / (double)n);
	fflush(stdout);
	empty_dir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	close(fd);
}

int
main(int argc, char **argv)
{
	static const long sizes[] = { 100, 10000, 100000, 1000000 };
	const char *where = NULL;
	int c;

	while ((c = getopt(argc, argv, "d:n:")) != -1) {
		if (c == 'd')
			where = optarg;
		else if (c == 'n')
			lookups = atol(optarg);
		else
			return 2;
	}
	if (lookups < 1 || begin_dir(where))
		bail("begin_dir");
	snprintf(cache_dir, sizeof(cache_dir), "%s/cache", top_dir);
	printf("%8s %6s %6s %6s %6s %7s %7s %8s %9s %9s %6s\n", "entries",
	       "host", "miss", "hit", "hot", "db miss", "db hit", "first",
	       "scan", "build", "B/name");
	for (int i = optind; i < argc; i++)
		bench(atol(argv[i]));
	for (size_t i = 0; i < 4 && optind >= argc; i++)
		bench(sizes[i]);
	end_dir();
	return 0;
}
