/* SPDX-License-Identifier: MIT */
/*
 * The worker pool: requests that may wait for a disk.  One pool for all
 * shares, bounded; no share holds more than a quarter of it, so that a hung
 * disk below one share leaves threads to the others.
 *
 * A request may also wait for another guest's lock (FS_PARKED).  Then its job
 * sleeps, without a thread, until fuse/ resumes it or its time comes; one idle
 * thread watches the time.
 *
 * READs and WRITEs that wait for a disk at the same time are given to one
 * thread, which has all of them under way at once, where the kernel can.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gatewayd/gw.h"
#include "gatewayd/job.h"

#define POOL_SIZE 64		/* when thread_pool_size is 0 */
#define SHARE_WAITING 128	/* jobs of one share that may wait, and */
#define SHARE_BYTES (32u << 20)	/* their requests and room for replies */
#define TOGETHER_BYTES (256u << 10)	/* of jobs that one thread takes at once */
#define IDLE_S 10		/* a thread without work ends */

struct pool {
	struct gw *gw;
	pthread_mutex_t lock;
	pthread_cond_t work;	/* a job waits, or quit */
	pthread_cond_t ended;	/* a thread has */
	TAILQ_HEAD(, share) ready;	/* shares with a job that may run */
	STAILQ_HEAD(, pool_task) tasks;
	unsigned ntasks;	/* running: no more than per_share */
	TAILQ_HEAD(, job) asleep;
	uint64_t wake_us;	/* when to look at them; 0 = none is there */
	unsigned size, nthreads, nidle, per_share, waiting;
	bool quit;
};

void
pool_share_init(struct share *share)
{
	STAILQ_INIT(&share->jobs);
	TAILQ_INIT(&share->running);
	TAILQ_INIT(&share->full);
}

/* Under the lock: queue threads that waited for room take requests again, once
 * there is room for several. */
static void
go_on(struct share *share)
{
	struct qthread *t;

	if (share->njobs > SHARE_WAITING / 4 * 3 ||
	    share->job_bytes > SHARE_BYTES / 4 * 3)
		return;
	while ((t = TAILQ_FIRST(&share->full))) {
		TAILQ_REMOVE(&share->full, t, full_link);
		atomic_store(&t->full, false);
		qthread_wake(t);
	}
}

/* Under the lock: put the share in line if a job of it may run. */
static void
make_ready(struct pool *p, struct share *share)
{
	if (share->is_ready || share->njobs == 0 ||
	    share->nrunning >= p->per_share)
		return;
	share->is_ready = true;
	TAILQ_INSERT_TAIL(&p->ready, share, ready);
	pthread_cond_signal(&p->work);
}

static size_t
bytes_of(const struct job *job)
{
	return job->in.iov_len + job->out.iov_len;
}

/* Under the lock: the share's next job. */
static struct job *
take_one(struct pool *p, struct share *share)
{
	struct job *job = STAILQ_FIRST(&share->jobs);

	STAILQ_REMOVE_HEAD(&share->jobs, link);
	share->njobs--;
	share->job_bytes -= bytes_of(job);
	TAILQ_INSERT_TAIL(&share->running, job, run);
	p->waiting--;
	return job;
}

static bool
is_together(const struct job *job)
{
	return job && (job->flags & FS_MORE);
}

/* Under the lock: the next job, the shares taking turns; with those behind it
 * that can be under way at the same time if this thread can.  How many. */
static unsigned
take_jobs(struct pool *p, struct job **jobs, bool together)
{
	struct share *share = TAILQ_FIRST(&p->ready);
	unsigned n = 0;
	size_t bytes;

	if (!share)
		return 0;
	TAILQ_REMOVE(&p->ready, share, ready);
	share->is_ready = false;
	jobs[n] = take_one(p, share);
	bytes = bytes_of(jobs[n++]);
	while (together && is_together(jobs[0]) && n < FS_TOGETHER_MAX &&
	       is_together(STAILQ_FIRST(&share->jobs)) &&
	       bytes < TOGETHER_BYTES) {
		jobs[n] = take_one(p, share);
		bytes += bytes_of(jobs[n++]);
	}
	go_on(share);
	share->nrunning++;
	make_ready(p, share);
	return n;
}

/* Under the lock. */
static bool
has_task(const struct pool *p)
{
	return !STAILQ_EMPTY(&p->tasks) && p->ntasks < p->per_share;
}

/* Under the lock, which is let go of meanwhile.  False: there was none. */
static bool
run_task(struct pool *p)
{
	struct pool_task *task = STAILQ_FIRST(&p->tasks);

	if (!has_task(p))
		return false;
	STAILQ_REMOVE_HEAD(&p->tasks, link);
	p->ntasks++;
	pthread_mutex_unlock(&p->lock);
	task->run(task);
	pthread_mutex_lock(&p->lock);
	p->ntasks--;
	if (has_task(p))
		pthread_cond_signal(&p->work);
	return true;
}

/* Under the lock: it does not run any more; the `last` of a thread's makes room
 * for others. */
static void
leave(struct pool *p, struct job *job, bool last)
{
	struct share *share = job->session->share;

	TAILQ_REMOVE(&share->running, job, run);
	if (!last)
		return;
	share->nrunning--;
	make_ready(p, share);
}

/* Under the lock: another thread if all are busy. */
static void grow(struct pool *p);

/* Under the lock. */
static void
enqueue(struct pool *p, struct job *job)
{
	struct share *share = job->session->share;

	STAILQ_INSERT_TAIL(&share->jobs, job, link);
	share->njobs++;
	share->job_bytes += bytes_of(job);
	p->waiting++;
	make_ready(p, share);
	grow(p);
}

/* A thread's jobs; in any order. */
struct taken {
	struct pool *p;
	unsigned left;
};

/* One that was not answered gets back in line. */
static void
finish_job(void *ctx, struct job *job, bool answered)
{
	struct taken *taken = ctx;
	struct pool *p = taken->p;
	struct session *s = job->session;
	unsigned index = vh_queue_index(job->queue);

	pthread_mutex_lock(&p->lock);
	leave(p, job, --taken->left == 0);
	if (!answered)
		enqueue(p, job);
	pthread_mutex_unlock(&p->lock);
	if (!answered)
		return;
	free(job);
	session_job_end(s, index);	/* s and share may be gone after this */
}

/* ---- requests that sleep ---- */

static void
fall_asleep(struct pool *p, struct job *job)
{
	pthread_mutex_lock(&p->lock);
	leave(p, job, true);
	job->slept = true;
	if (job->resumed) {
		job->resumed = false;
		enqueue(p, job);
	} else {
		job->asleep = true;
		TAILQ_INSERT_TAIL(&p->asleep, job, sleeper);
		if (!p->wake_us || job->wake_us < p->wake_us)
			p->wake_us = job->wake_us;
	}
	pthread_mutex_unlock(&p->lock);
}

/* Under the lock. */
static void
wake_up(struct pool *p, struct job *job)
{
	TAILQ_REMOVE(&p->asleep, job, sleeper);
	job->asleep = false;
	enqueue(p, job);
}

/* Any thread; what it waits for has happened. */
void
job_resume(void *cookie)
{
	struct job *job = cookie;
	struct pool *p = job->session->share->gw->pool;

	pthread_mutex_lock(&p->lock);
	if (job->asleep)
		wake_up(p, job);
	else
		job->resumed = true;
	pthread_mutex_unlock(&p->lock);
}

/* Under the lock: those whose time has come. */
static void
wake_sleepers(struct pool *p)
{
	struct job *job, *next;
	uint64_t now;

	if (!p->wake_us || (now = now_us()) < p->wake_us)
		return;
	p->wake_us = 0;
	for (job = TAILQ_FIRST(&p->asleep); job; job = next) {
		next = TAILQ_NEXT(job, sleeper);
		if (job->wake_us <= now)
			wake_up(p, job);
		else if (!p->wake_us || job->wake_us < p->wake_us)
			p->wake_us = job->wake_us;
	}
}

/* Under the lock.  False when this thread has nothing to do any more; one
 * stays to watch the time. */
static bool
wait_for_job(struct pool *p)
{
	uint64_t now = now_us(), until = now + IDLE_S * 1000000ull;
	struct timespec ts;
	bool timed_out;

	if (p->wake_us && p->wake_us < until)
		until = p->wake_us > now ? p->wake_us : now;
	ts.tv_sec = (time_t)(until / 1000000);
	ts.tv_nsec = (long)(until % 1000000 * 1000);
	p->nidle++;
	timed_out = pthread_cond_timedwait(&p->work, &p->lock, &ts) ==
		    ETIMEDOUT;
	p->nidle--;
	if (p->quit)
		return false;
	return !timed_out || !TAILQ_EMPTY(&p->ready) || has_task(p) ||
	       (!TAILQ_EMPTY(&p->asleep) && !p->nidle);
}

static void
run_jobs(struct pool *p, struct job **jobs, unsigned n, struct fs_thread *ft)
{
	struct taken taken = { p, n };

	if (n > 1)
		job_run_together(jobs, n, ft, finish_job, &taken);
	else if (job_run(jobs[0], ft))
		finish_job(&taken, jobs[0], true);
	else
		fall_asleep(p, jobs[0]);
}

static void *
pool_main(void *arg)
{
	struct pool *p = arg;
	struct fs_thread *ft = NULL;
	struct job *jobs[FS_TOGETHER_MAX];
	bool go_on = !fs_thread_new(&ft), asked = false, together = false;
	unsigned n;

	pthread_mutex_lock(&p->lock);
	while (go_on) {
		wake_sleepers(p);
		n = take_jobs(p, jobs, together);
		if (!n) {
			go_on = run_task(p) || wait_for_job(p);
			continue;
		}
		if (p->wake_us)
			grow(p);	/* somebody must watch the time */
		pthread_mutex_unlock(&p->lock);
		if (!asked && is_together(jobs[0])) {
			together = fs_can_be_later(ft);
			asked = true;
		}
		run_jobs(p, jobs, n, ft);
		pthread_mutex_lock(&p->lock);
	}
	p->nthreads--;
	pthread_cond_broadcast(&p->ended);
	pthread_mutex_unlock(&p->lock);
	if (ft)
		fs_thread_free(ft);
	return NULL;
}

static void
grow(struct pool *p)
{
	sigset_t all, old;
	pthread_t thread;

	if (p->nidle > 0 || p->nthreads >= p->size)
		return;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&thread, NULL, pool_main, p)) {
		pthread_setname_np(thread, "pool");
		pthread_detach(thread);
		p->nthreads++;
	} else if (p->nthreads == 0) {
		log_error("no thread for requests that wait for a disk");
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int
pool_submit(struct pool *p, struct qthread *t, struct vh_queue *q,
	    struct vh_chain *c, const struct fs_req *req)
{
	struct session *s = t->session;
	struct share *share = s->share;
	struct job *job = job_new(s, q, c, req);
	bool full;

	if (!job)
		return -ENOMEM;
	job->since = t->since;
	vh_chain_hold(q, &job->chain);
	session_job_begin(s, vh_queue_index(q));
	pthread_mutex_lock(&p->lock);
	enqueue(p, job);
	full = share->njobs >= SHARE_WAITING ||
	       share->job_bytes >= SHARE_BYTES;
	if (full && !atomic_load(&t->full)) {
		atomic_store(&t->full, true);
		TAILQ_INSERT_TAIL(&share->full, t, full_link);
	}
	pthread_mutex_unlock(&p->lock);
	return full;
}

void
pool_forget(struct pool *p, struct qthread *t)
{
	pthread_mutex_lock(&p->lock);
	if (atomic_load(&t->full))
		TAILQ_REMOVE(&t->session->share->full, t, full_link);
	atomic_store(&t->full, false);
	pthread_mutex_unlock(&p->lock);
}

void
pool_run(struct pool *p, struct pool_task *task)
{
	pthread_mutex_lock(&p->lock);
	STAILQ_INSERT_TAIL(&p->tasks, task, link);
	pthread_cond_signal(&p->work);
	grow(p);
	pthread_mutex_unlock(&p->lock);
}

int
pool_new(struct gw *gw, unsigned size, struct pool **out)
{
	struct pool *p = calloc(1, sizeof(*p));
	pthread_condattr_t attr;

	if (!p)
		return -ENOMEM;
	p->gw = gw;
	p->size = size ? size : POOL_SIZE;
	p->per_share = p->size >= 8 ? p->size / 4 : (p->size + 1) / 2;
	TAILQ_INIT(&p->ready);
	STAILQ_INIT(&p->tasks);
	TAILQ_INIT(&p->asleep);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->work, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&p->ended, NULL);
	*out = p;
	return 0;
}

bool
pool_free(struct pool *p)
{
	struct timespec until;
	bool done;
	int err = 0;

	if (!p)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 1;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->work);
	while (p->nthreads && !err)
		err = pthread_cond_timedwait(&p->ended, &p->lock, &until);
	done = p->nthreads == 0;
	pthread_mutex_unlock(&p->lock);
	if (!done)
		return false;	/* they still use it */
	pthread_cond_destroy(&p->ended);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return true;
}

static void
add_job(const struct job *job, int where, uint64_t now, struct inflight *list,
	size_t max, size_t *n)
{
	if ((*n)++ >= max)
		return;
	list[*n - 1] = (struct inflight){
		.session = job->session->id,
		.queue = vh_queue_index(job->queue),
		.opcode = job->opcode,
		.unique = job->unique,
		.nodeid = job->nodeid,
		.since_ns = job->since,
		.age_ns = now > job->since ? now - job->since : 0,
		.where = job->slept ? IN_LOCK : where,
	};
}

void
pool_inflight(struct pool *p, struct share *share, uint64_t now,
	      struct inflight *list, size_t max, size_t *n)
{
	const struct job *job;

	pthread_mutex_lock(&p->lock);
	TAILQ_FOREACH(job, &share->running, run)
		add_job(job, IN_POOL, now, list, max, n);
	STAILQ_FOREACH(job, &share->jobs, link)
		add_job(job, IN_WAITING, now, list, max, n);
	TAILQ_FOREACH(job, &p->asleep, sleeper) {
		if (job->session->share == share)
			add_job(job, IN_LOCK, now, list, max, n);
	}
	pthread_mutex_unlock(&p->lock);
}

void
pool_info(struct pool *p, struct pool_info *info)
{
	pthread_mutex_lock(&p->lock);
	info->threads = p->nthreads;
	info->idle = p->nidle;
	info->size = p->size;
	info->waiting = p->waiting;
	pthread_mutex_unlock(&p->lock);
}
