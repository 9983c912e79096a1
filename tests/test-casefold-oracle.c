/* SPDX-License-Identifier: MIT */
/*
 * T34: host threads change a directory at random while others ask for names.
 * Each host change is written down with the times before and after it, each
 * answer with the times of request and reply.  An answer is wrong if no moment
 * between request and reply justifies it.
 *
 * Each name belongs to one host thread, which alone makes and removes it; so
 * its life is a list of changes that do not overlap.  SEED repeats a run's
 * choices, though not its timing.
 */
#include "config.h"

#include <pthread.h>
#include <stdatomic.h>

#include "casefold/index.h"
#include "tests/casefold-life.h"
#include "tests/casefold-test.h"

enum {
	CLASSES = 4,
	SPELLINGS = 4,		/* also the host threads: one spelling each */
	ASKERS = 3,
};

static const char *const spelling[CLASSES][SPELLINGS] = {
	{ "Alpha", "ALPHA", "alpha", "aLPHA" },
	{ "Beta.txt", "BETA.TXT", "beta.txt", "bETA.TXT" },
	{ "\xc3\x84pfel", "\xc3\x84PFEL", "\xc3\xa4pfel", "\xc3\xa4PFEL" },
	{ "z", "Z", "z0", "Z0" },
};

struct answer {
	int64_t request, reply;
	int class, asked;
	int got;		/* spelling, or -1 = none */
};

struct asker {
	struct answer *v;
	size_t n;
	unsigned seed;
	pthread_t thread;
};

struct host {
	int spelling;
	unsigned seed;
	long changes;
	pthread_t thread;
};

static struct life life[CLASSES][SPELLINGS];
static struct cf_share *share;
static int dir_fd, side_fd;
static atomic_bool stop, calm;
static long per_asker;

static int64_t
now(void)
{
	return life_now();
}

static void
write_down(int class, int s, int64_t before, bool is_there)
{
	life_put(&life[class][s], before, is_there);
}

static bool
is_there_now(int class, int s)
{
	return life_is_there(&life[class][s]);
}

static void
come(struct host *h, int class)
{
	const char *name = spelling[class][h->spelling];
	char side[16];
	int64_t t;

	snprintf(side, sizeof(side), "s%d", h->spelling);
	t = now();
	switch (rand_r(&h->seed) % 4) {
	case 0:
		touch(dir_fd, name);
		break;
	case 1:
		if (!linkat(side_fd, "seed", dir_fd, name, 0))
			break;
		/* A FUSE client may think for a moment that it has no name. */
		if (errno != ENOENT)
			bail("link");
		touch(dir_fd, name);
		break;
	case 2:
		if (mkdirat(dir_fd, name, 0700))
			bail("mkdir");
		break;
	default:
		touch(side_fd, side);
		t = now();
		if (renameat(side_fd, side, dir_fd, name))
			bail("rename in");
	}
	write_down(class, h->spelling, t, true);
}

static void
go(struct host *h, int class)
{
	const char *name = spelling[class][h->spelling];
	char side[16];
	int64_t t = now();

	snprintf(side, sizeof(side), "s%d", h->spelling);
	if (rand_r(&h->seed) % 3 == 0) {
		if (renameat(dir_fd, name, side_fd, side))
			bail("rename out");
		write_down(class, h->spelling, t, false);
		if (unlinkat(side_fd, side, 0) &&
		    unlinkat(side_fd, side, AT_REMOVEDIR))
			bail("unlink aside");
		return;
	}
	if (unlinkat(dir_fd, name, 0) && unlinkat(dir_fd, name, AT_REMOVEDIR))
		bail("unlink");
	write_down(class, h->spelling, t, false);
}

static void *
run_host(void *arg)
{
	struct host *h = arg;
	struct timespec t = { 0, 0 };
	int class;

	while (!stop) {
		while (calm && !stop)
			nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
		class = rand_r(&h->seed) % CLASSES;
		if (is_there_now(class, h->spelling))
			go(h, class);
		else
			come(h, class);
		h->changes++;
		t.tv_nsec = rand_r(&h->seed) % 40000;
		if (rand_r(&h->seed) % 3)
			nanosleep(&t, NULL);
	}
	return NULL;
}

static void *
run_asker(void *arg)
{
	struct asker *a = arg;
	struct timespec t = { 0, 1000 };
	const char *real;
	struct answer *w;

	while (a->n < (size_t)per_asker) {
		w = &a->v[a->n++];
		w->class = rand_r(&a->seed) % CLASSES;
		w->asked = rand_r(&a->seed) % SPELLINGS;
		w->request = now();
		real = find(share, dir_fd, spelling[w->class][w->asked]);
		w->reply = now();
		w->got = -1;
		for (int s = 0; *real && s < SPELLINGS; s++) {
			if (!strcmp(real, spelling[w->class][s]))
				w->got = s;
		}
		if (*real && w->got < 0)
			w->got = SPELLINGS;	/* an errno: always wrong */
		if (rand_r(&a->seed) % 8 == 0)
			nanosleep(&t, NULL);
	}
	return NULL;
}

/* ------------------------------------------------------------------ */

/* Spellings of a class: the last two of class 3 are a class of their own. */
static bool
is_variant(int class, int a, int b)
{
	return class != 3 || a / 2 == b / 2;
}

static bool
is_wrong(const struct answer *w)
{
	if (w->got >= SPELLINGS)
		return true;
	if (w->got >= 0 && (!is_variant(w->class, w->got, w->asked) ||
			    !life_could_be(&life[w->class][w->got], true, 0,
					   w->request, w->reply)))
		return true;
	for (int s = 0; s < SPELLINGS; s++) {
		if (!is_variant(w->class, s, w->asked) || s == w->got)
			continue;
		/* A name that was always there beats worse ones. */
		if (w->got >= 0 && s != w->asked &&
		    (w->got == w->asked ||
		     strcmp(spelling[w->class][w->got],
			    spelling[w->class][s]) < 0))
			continue;
		if (life_was_throughout(&life[w->class][s], w->request,
					w->reply))
			return true;
	}
	return false;
}

static void
explain(const struct answer *w)
{
	printf("# asked \"%s\", got \"%s\", %lld to %lld\n",
	       spelling[w->class][w->asked],
	       w->got < 0 ? "" : w->got < SPELLINGS
					 ? spelling[w->class][w->got]
					 : "an error",
	       (long long)w->request, (long long)w->reply);
	for (int s = 0; s < SPELLINGS; s++)
		life_print(&life[w->class][s], spelling[w->class][s],
			   w->reply);
}

/* Writes to cache.db as fast as it can, shrinks and forgets now and then. */
static void *
run_work(void *arg)
{
	struct timespec t = { 0, 2000000 };
	struct cf_index *index;
	struct cf_dir dir;

	if (cf_dir_init(&dir, dir_fd) || cf_index_get(share, &dir, &index))
		bail("cf_index_get");
	for (int i = 0; !stop; i++) {
		calm = i % 10 > 5;	/* stamps must age to be written */
		cf_share_work(share);
		if (i % 3 == 0)
			cf_index_shrink(share, index);
		if (i % 100 == 99)
			cf_share_rebuild(share);
		nanosleep(&t, NULL);
	}
	calm = false;
	cf_index_put(index);
	return arg;
}

static void
fill(void)
{
	char name[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "Filler %d", i);
		touch(dir_fd, name);
	}
}

static void
run(const char *how, const char *where, unsigned watches, bool cache,
    unsigned seed)
{
	char cache_dir[64] = "/dev/shm/casefold-XXXXXX";
	pthread_t worker;
	struct asker asker[ASKERS];
	struct host host[SPELLINGS];
	struct cf_settings set;
	long changes = 0, wrong = 0, none = 0;

	if (begin_dir(where)) {
		tap_skip(how, strerror(errno));
		return;
	}
	memset(life, 0, sizeof(life));
	stop = false;
	cf_settings_init(&set, CF_NT);
	set.max_watches = watches;
	if (cache && !mkdtemp(cache_dir)) {
		tap_skip(how, "/dev/shm");
		return;
	}
	if (cache) {
		set.cache_dir = cache_dir;
		set.settle_us = 0;
	}
	share = new_share(&set, NULL);
	dir_fd = new_dir("a");
	side_fd = new_dir("b");
	touch(side_fd, "seed");
	if (cache) {
		fill();
		pthread_create(&worker, NULL, run_work, NULL);
	}
	for (int i = 0; i < SPELLINGS; i++) {
		host[i] = (struct host){ .spelling = i, .seed = seed + 100 + i };
		pthread_create(&host[i].thread, NULL, run_host, &host[i]);
	}
	for (int i = 0; i < ASKERS; i++) {
		asker[i] = (struct asker){ .seed = seed + 200 + i };
		asker[i].v = calloc(per_asker, sizeof(struct answer));
		if (!asker[i].v)
			bail("memory");
		pthread_create(&asker[i].thread, NULL, run_asker, &asker[i]);
	}
	for (int i = 0; i < ASKERS; i++)
		pthread_join(asker[i].thread, NULL);
	stop = true;
	if (cache)
		pthread_join(worker, NULL);
	for (int i = 0; i < SPELLINGS; i++) {
		pthread_join(host[i].thread, NULL);
		changes += host[i].changes;
	}
	for (int i = 0; i < ASKERS; i++) {
		for (size_t k = 0; k < asker[i].n; k++) {
			none += asker[i].v[k].got < 0;
			if (is_wrong(&asker[i].v[k]) && wrong++ < 3)
				explain(&asker[i].v[k]);
		}
		free(asker[i].v);
	}
	is_int(wrong, 0, "T34, I1 to I5 %s: %ld answers (%ld of them none), "
	       "%ld host changes, wrong answers", how, ASKERS * per_asker, none,
	       changes);
	for (int c = 0; c < CLASSES; c++) {
		for (int s = 0; s < SPELLINGS; s++)
			free(life[c][s].v);
	}
	if (cache) {
		struct cf_stats st = stats_of(share);

		printf("# %llu looks into cache.db, %llu writes, %llu warm, "
		       "%llu scans\n", (unsigned long long)st.db_reads,
		       (unsigned long long)st.db_writes,
		       (unsigned long long)st.warm,
		       (unsigned long long)st.scans);
	}
	cf_share_free(share);
	if (cache) {
		int fd = open(cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		empty_dir(fd);
		close(fd);
		rmdir(cache_dir);
	}
	close(dir_fd);
	close(side_fd);
	end_dir();
}

static void
run_on(const char *where, unsigned seed)
{
	const char *name = where ? where : "a disk";
	char how[3][64];

	snprintf(how[0], sizeof(how[0]), "%.40s, watched", name);
	snprintf(how[1], sizeof(how[1]), "%.40s, not watched", name);
	snprintf(how[2], sizeof(how[2]), "%.40s, cache.db", name);
	per_asker = (tap_scaled(20000) + ASKERS - 1) / ASKERS;
	run(how[0], where, 8192, false, seed);
	run(how[1], where, 0, false, seed);
	run(how[2], where, 8192, true, seed);
}

/* Where to, or on a disk and in memory. */
int
main(int argc, char **argv)
{
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);

	printf("# SEED=%u\n", seed);
	for (int i = 1; i < argc; i++)
		run_on(argv[i], seed);
	if (argc > 1)
		return tap_done();
	run_on(NULL, seed);
	run_on("/dev/shm", seed);
	return tap_done();
}
