/* SPDX-License-Identifier: MIT */
/*
 * Looking at directories with a time limit: see look.h.
 *
 * One thread looks at one path after the other.  As soon as it seems to be
 * stuck there are more.  Jobs and their results are under the lock; a set of
 * them is freed by the last who uses it, which may be a thread that comes
 * back hours later.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "conf/look.h"

#define STUCK_MS 20		/* no answer for so long: more threads */
#define THREADS_MORE 16		/* at one time */
#define THREADS_MOST 256	/* of the process, the stuck ones included */
#define STACK (128 << 10)

struct job {
	struct conf_look look;
	struct job *next;	/* in the order they were added */
	struct job *next_stuck;
	bool hopeless;		/* somebody waits for that path already */
	char path[];
};

struct conf_looks {
	unsigned refs;		/* under the lock: who runs it, and threads */
	bool closed;		/* under the lock: nobody waits any more */
	void *by_path;		/* tsearch(3) */
	struct job *first, **last;
	struct job *todo;	/* under the lock */
	size_t left;		/* under the lock: without an answer */
};

/* What hangs outlives the configuration that asked for it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answers = PTHREAD_COND_INITIALIZER;
static struct job *stuck;	/* being looked at, for whatever set */
static unsigned nthreads;

static int
compare_jobs(const void *a, const void *b)
{
	const struct job *x = a, *y = b;

	return strcmp(x->look.path, y->look.path);
}

struct conf_looks *
conf_looks_new(void)
{
	struct conf_looks *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->refs = 1;
	l->last = &l->first;
	return l;
}

int
conf_looks_add(struct conf_looks *l, const char *path)
{
	size_t n = strlen(path) + 1;
	struct job *job = calloc(1, sizeof(*job) + n), **found;

	if (!job)
		return -ENOMEM;
	memcpy(job->path, path, n);
	job->look.path = job->path;
	found = tsearch(job, &l->by_path, compare_jobs);
	if (!found || *found != job) {
		free(job);
		return found ? 0 : -ENOMEM;
	}
	*l->last = job;
	l->last = &job->next;
	return 0;
}

const struct conf_look *
conf_looks_find(const struct conf_looks *l, const char *path)
{
	struct job key = { .look.path = path };
	struct job **found = tfind(&key, &l->by_path, compare_jobs);

	return &(*found)->look;
}

static void
forget(void *job)
{
	(void)job;
}

/* Under the lock. */
static void
put(struct conf_looks *l)
{
	struct job *job;

	if (--l->refs)
		return;
	tdestroy(l->by_path, forget);
	while ((job = l->first)) {
		l->first = job->next;
		free(job->look.real);
		free(job->look.up);
		free(job);
	}
	free(l);
}

void
conf_looks_free(struct conf_looks *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&lock);
	put(l);
	pthread_mutex_unlock(&lock);
}

/* ---- looking: on a thread that may wait ---- */

static bool
cut_last(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || !path[1])
		return false;
	slash[slash == path] = '\0';
	return true;
}

/* What `real` is and all above it. */
static void
look_up(struct conf_look *look)
{
	char *dir = strdup(look->real);
	struct conf_dir_id *v = dir ? calloc(strlen(dir) + 1, sizeof(*v)) :
				      NULL;
	struct stat st;

	look->up = v;
	do {
		if (v && !stat(dir, &st))
			v[look->nup++] = (struct conf_dir_id){
				st.st_dev, st.st_ino, st.st_mode, st.st_gid
			};
	} while (v && cut_last(dir));
	free(dir);
}

static void
look_at(const char *path, struct conf_look *look)
{
	char *left = strdup(path);
	struct stat st;

	memset(look, 0, sizeof(*look));
	look->err = stat(path, &st) ? -errno : 0;
	look->is_dir = !look->err && S_ISDIR(st.st_mode);
	look->whole = true;
	while (left && !(look->real = realpath(left, NULL)) &&
	       errno != ENOMEM && cut_last(left))
		look->whole = false;
	free(left);
	if (look->real)
		look_up(look);
	look->answered = true;
}

/* ---- threads ---- */

static void
remove_stuck(const struct job *job)
{
	struct job **p = &stuck;

	while (*p && *p != job)
		p = &(*p)->next_stuck;
	if (*p)
		*p = job->next_stuck;
}

static bool
is_stuck(const char *path)
{
	const struct job *job = stuck;

	while (job && strcmp(job->path, path))
		job = job->next_stuck;
	return job;
}

/* Under the lock. */
static struct job *
take(struct conf_looks *l)
{
	struct job *job;

	while (!l->closed && (job = l->todo)) {
		l->todo = job->next;
		if (!job->hopeless)
			return job;
	}
	return NULL;
}

static void *
look_thread(void *arg)
{
	struct conf_looks *l = arg;
	struct conf_look look;
	struct job *job;

	pthread_mutex_lock(&lock);
	while ((job = take(l))) {
		job->next_stuck = stuck;
		stuck = job;
		pthread_mutex_unlock(&lock);
		look_at(job->path, &look);
		look.path = job->path;
		pthread_mutex_lock(&lock);
		remove_stuck(job);
		if (l->closed) {
			free(look.real);
			free(look.up);
		} else {
			job->look = look;
			l->left--;
			pthread_cond_broadcast(&answers);
		}
	}
	nthreads--;
	put(l);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Under the lock. */
static void
start_thread(struct conf_looks *l)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;

	if (nthreads >= THREADS_MOST || pthread_attr_init(&attr))
		return;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&thread, &attr, look_thread, l)) {
		nthreads++;
		l->refs++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

static long
ms_since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - begin->tv_sec) * 1000 +
	       (now.tv_nsec - begin->tv_nsec) / 1000000;
}

/* Under the lock. */
static void
wait_ms(long ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_clockwait(&answers, &lock, CLOCK_MONOTONIC, &until);
}

void
conf_looks_run(struct conf_looks *l, unsigned ms)
{
	struct timespec begin;
	size_t had;
	long left;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	pthread_mutex_lock(&lock);
	l->todo = l->first;
	for (struct job *job = l->first; job; job = job->next) {
		job->hopeless = is_stuck(job->path);
		l->left += !job->hopeless;
	}
	if (l->left)
		start_thread(l);
	while (l->left && (left = (long)ms - ms_since(&begin)) > 0) {
		had = l->left;
		wait_ms(left < STUCK_MS ? left : STUCK_MS);
		for (int i = 0; l->todo && had == l->left && i < THREADS_MORE;
		     i++)
			start_thread(l);
	}
	l->closed = true;
	pthread_mutex_unlock(&lock);
}
