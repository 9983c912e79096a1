/* SPDX-License-Identifier: MIT */
/*
 * What of the directories in memory goes to cache.db, and when: a big one some
 * time after it was read, its changes some time after they happened.
 *
 * A directory is written with a stamp that was aged when the index knew every
 * change (scan.c), so whoever finds the same stamp later has all names.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "casefold/index.h"

enum {
	PAUSES = 20,		/* settle_us between two writes of a directory */
	RETRY_US = 10000,	/* the stamp is too young; then twice that... */
	AHEAD_US = 2000000,	/* how long an fd is held, waiting */
	TRIES = 8,
	LOAD_ASKED = 2000,	/* questions, until it is worth it to load */
	NAME_BYTES = 50,	/* in memory, about */
	CROWD = 64,		/* names in a bucket, then all is written anew */
};

void
cf_keep_open(struct cf_share *share)
{
	struct cf_cache_new set = {
		.dir = share->set.cache_dir,
		.tag = share->set.tag,
		.fold = cf_fold_id(share->set.mode),
		.max = &share->db_max,
		.mode = share->set.mode,
	};
	const char *why;

	if (!set.dir)
		return;
	if (cf_cache_open(&set, &share->key, &share->cache, &why) &&
	    share->calls.cache)
		share->calls.cache(share->calls.arg, why);
}

/* ------------------------------------------------------------------ */
/* The list of what waits. */

void
cf_keep_call(struct cf_share *share)
{
	bool call;

	pthread_mutex_lock(&share->keep_lock);
	call = !share->called;
	share->called = true;
	pthread_mutex_unlock(&share->keep_lock);
	if (call && share->calls.work)
		share->calls.work(share->calls.arg);
}

/* A directory that is asked for often comes back into memory, if it fits.
 * Under index->lock. */
static bool
wants_load(struct cf_share *share, const struct cf_index *index)
{
	return index->state == CF_DELTA && index->asked >= LOAD_ASKED &&
	       share->memory + index->cached.n * NAME_BYTES <
		       share->ram_max / 4 * 3;
}

bool
cf_keep_wants(struct cf_share *share, struct cf_index *index)
{
	if (!share->cache || index->queued || index->writing ||
	    index->fs != CF_FS_LOCAL)
		return false;
	if (index->cached.row)
		return index->journal.n || index->journal.lost ||
		       wants_load(share, index);
	return index->state == CF_FULL &&
	       index->names.n >= share->set.persist_min;
}

static bool
put_keep(struct cf_share *share, const struct cf_keep *keep)
{
	bool room;

	pthread_mutex_lock(&share->keep_lock);
	room = share->nkeep < CF_KEEPS;
	if (room)
		share->keep[share->nkeep++] = *keep;
	pthread_mutex_unlock(&share->keep_lock);
	return room;
}

static void
release(struct cf_keep *keep)
{
	pthread_mutex_lock(&keep->index->lock);
	keep->index->queued = false;
	pthread_mutex_unlock(&keep->index->lock);
	cf_index_put(keep->index);
	close(keep->fd);
}

void
cf_keep_later(struct cf_share *share, struct cf_index *index,
	      const struct cf_dir *dir)
{
	struct cf_keep keep = { .index = index };

	keep.due_us = cf_clock_us() + (int64_t)share->set.settle_us;
	pthread_mutex_lock(&index->lock);
	if (index->queued || index->keep_us > keep.due_us + AHEAD_US) {
		pthread_mutex_unlock(&index->lock);
		return;
	}
	index->queued = true;
	if (keep.due_us < index->keep_us)
		keep.due_us = index->keep_us;
	pthread_mutex_unlock(&index->lock);

	index->refs++;		/* the caller has one, so it stays */
	keep.fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 0);
	if (keep.fd < 0 || !put_keep(share, &keep))
		release(&keep);
	else
		cf_keep_call(share);
}

/* Take what is due, or all; false if there is nothing. */
static bool
take_keep(struct cf_share *share, bool all, struct cf_keep *keep)
{
	int64_t now = cf_clock_us();
	bool found = false;

	pthread_mutex_lock(&share->keep_lock);
	for (unsigned i = 0; i < share->nkeep && !found; i++) {
		if (!all && share->keep[i].due_us > now)
			continue;
		*keep = share->keep[i];
		share->keep[i] = share->keep[--share->nkeep];
		found = true;
	}
	pthread_mutex_unlock(&share->keep_lock);
	return found;
}

/* Milliseconds until something is due, or -1. */
static int
next_due(struct cf_share *share)
{
	int64_t first = INT64_MAX, now = cf_clock_us();

	pthread_mutex_lock(&share->keep_lock);
	for (unsigned i = 0; i < share->nkeep; i++) {
		if (share->keep[i].due_us < first)
			first = share->keep[i].due_us;
	}
	pthread_mutex_unlock(&share->keep_lock);
	if (first == INT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now) / 1000 + 1);
}

/* ------------------------------------------------------------------ */
/* Writing one directory. */

int
cf_keep_id(const struct cf_index *index, int fd, struct cf_cache_id *id)
{
	int n = cf_fs_id(fd, id->fs);

	if (n < 0)
		return n;
	id->fs_len = (unsigned)n;
	memcpy(id->dir, &index->id.ino, 8);
	memcpy(id->dir + 8, index->id.handle, index->id.len);
	id->dir_len = 8 + index->id.len;
	return 0;
}

static int
copy_names(const struct cf_names *from, struct cf_names *to)
{
	*to = *from;
	to->slots = malloc(from->nslots * sizeof(*to->slots));
	to->arena = malloc(from->size);
	if (!to->slots || !to->arena) {
		cf_names_fini(to);
		return -ENOMEM;
	}
	memcpy(to->slots, from->slots, from->nslots * sizeof(*to->slots));
	memcpy(to->arena, from->arena, from->used);
	return 0;
}

/* A directory as it is to be written. */
struct job {
	struct cf_share *share;
	struct cf_index *index;
	int fd;				/* open for reading */
	struct cf_cache_id id;
	struct cf_stamp stamp;
	bool whole;
	struct cf_names names;		/* whole */
	struct cf_log log;		/* else what changed */
	struct cf_cached cached;
};

/* Under index->lock: take what is to be written. */
static int
take_job(struct job *job)
{
	struct cf_index *index = job->index;

	if (!cf_index_is_current(job->share, index, &job->stamp))
		return -ESTALE;
	job->cached = index->cached;
	job->whole = !index->cached.row || index->journal.lost ||
		     index->cached.n > (uint64_t)CROWD << index->cached.bits;
	if (job->whole && index->state != CF_FULL) {
		cf_index_forget(job->share, index);
		return -ESTALE;
	}
	if (job->whole && copy_names(&index->names, &job->names))
		return -ENOMEM;
	job->log = index->journal;
	index->journal = (struct cf_log){ 0 };
	index->writing = true;
	return 0;
}

static bool
is_there(const struct job *job, const char *name, size_t len)
{
	char s[CF_NAME_MAX + 1];
	struct stat st;

	memcpy(s, name, len);
	s[len] = 0;
	return !fstatat(job->fd, s, &st, AT_SYMLINK_NOFOLLOW) ||
	       errno != ENOENT;
}

static int
write_changes(struct job *job)
{
	struct cf_share *share = job->share;
	struct cf_cache_change *v = calloc(job->log.n + 1, sizeof(*v));
	struct cf_folded folded;
	enum cf_change change;
	const char *name;
	size_t at = 0, n = 0, len;
	int err;

	if (!v)
		return -ENOMEM;
	while (cf_log_next(&job->log, &at, &change, &name, &len)) {
		if (change == CF_DOUBTFUL && is_there(job, name, len))
			continue;
		cf_fold(share->set.mode, name, len, &folded);
		v[n++] = (struct cf_cache_change){
			.hash = cf_slot_hash(cf_fold_hash(&share->key,
							  &folded)),
			.added = change == CF_ADDED,
			.len = (unsigned char)len,
			.name = name,
		};
	}
	err = cf_cache_update(share->cache, &job->id, v, n, &job->stamp,
			      &job->cached);
	free(v);
	return err;
}

/* Under index->lock: what was written is known under the stamp. */
static void
end_job(struct job *job, int err, int64_t took_us)
{
	struct cf_index *index = job->index;

	index->keep_us = cf_clock_us();
	if (job->share->set.settle_us)
		index->keep_us += 20 * took_us +
			PAUSES * (int64_t)job->share->set.settle_us;
	if (err == -E2BIG)
		index->keep_us = INT64_MAX / 2;
	if (!index->writing)
		return;			/* forgotten meanwhile */
	index->writing = false;
	if (!err) {
		index->cached = job->cached;
		index->stamp = job->stamp;
		index->aged = true;
	} else if (index->state == CF_DELTA) {
		cf_index_forget(job->share, index);
	} else {
		index->cached.row = 0;
		cf_log_fini(&index->journal);
	}
}

static int
do_job(struct job *job)
{
	struct cf_share *share = job->share;
	int64_t before = cf_clock_stamps(), begin;
	int err = cf_stamp_get(job->fd, &job->stamp);

	if (err)
		return err;
	if (!cf_stamp_is_aged(&job->stamp, before))
		return -EAGAIN;
	err = cf_keep_id(job->index, job->fd, &job->id);
	if (err)
		return err;
	cf_watch_drain(share);
	pthread_mutex_lock(&job->index->lock);
	err = take_job(job);
	pthread_mutex_unlock(&job->index->lock);
	if (err)
		return err;
	begin = cf_clock_us();
	if (job->whole)
		err = cf_cache_write(share->cache, &job->id, &job->names,
				     &job->stamp, &job->cached);
	else
		err = write_changes(job);
	if (!err)
		cf_count(share, db_writes, 1);
	pthread_mutex_lock(&job->index->lock);
	end_job(job, err, cf_clock_us() - begin);
	pthread_mutex_unlock(&job->index->lock);
	cf_names_fini(&job->names);
	cf_log_fini(&job->log);
	return err;
}

static int
write_one(struct cf_share *share, const struct cf_keep *keep)
{
	struct job job = { .share = share, .index = keep->index };
	int err;

	job.fd = openat(keep->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (job.fd < 0)
		return -errno;
	err = do_job(&job);
	close(job.fd);
	return err;
}

static void
load_one(struct cf_share *share, struct cf_index *index)
{
	struct cf_names names = { 0 };
	struct cf_cached cached;
	bool load;

	pthread_mutex_lock(&index->lock);
	load = wants_load(share, index);
	cached = index->cached;
	pthread_mutex_unlock(&index->lock);
	if (!load)
		return;
	if (cf_cache_load(share->cache, &cached, &names) ||
	    !cf_index_grow(share, index, cached.row, &names)) {
		pthread_mutex_lock(&index->lock);
		index->asked = 0;
		pthread_mutex_unlock(&index->lock);
		cf_names_fini(&names);
	}
}

/* ------------------------------------------------------------------ */

static void
write_due(struct cf_share *share)
{
	struct cf_keep keep;

	while (take_keep(share, false, &keep)) {
		load_one(share, keep.index);
		if (write_one(share, &keep) != -EAGAIN ||
		    ++keep.tries > TRIES) {
			release(&keep);
			continue;
		}
		keep.due_us = cf_clock_us() + (RETRY_US << keep.tries);
		if (!put_keep(share, &keep))
			release(&keep);
	}
}

static void
mend(struct cf_share *share)
{
	const char *why = "cache.db was damaged and begins again";

	if (cf_cache_reset(share->cache, false))
		why = "cache.db cannot be used any more";
	else
		cf_count(share, db_resets, 1);
	if (share->calls.cache)
		share->calls.cache(share->calls.arg, why);
}

int
cf_share_work(struct cf_share *share)
{
	int next;

	pthread_mutex_lock(&share->work_lock);
	pthread_mutex_lock(&share->keep_lock);
	share->called = false;
	pthread_mutex_unlock(&share->keep_lock);
	if (share->cache) {
		if (cf_cache_is_broken(share->cache))
			mend(share);
		write_due(share);
		cf_cache_tidy(share->cache);
		if (cf_cache_is_broken(share->cache))
			mend(share);
	}
	next = next_due(share);
	if (next >= 0) {
		pthread_mutex_lock(&share->keep_lock);
		share->called = true;	/* the caller comes by itself */
		pthread_mutex_unlock(&share->keep_lock);
	}
	pthread_mutex_unlock(&share->work_lock);
	return next;
}

void
cf_keep_close(struct cf_share *share)
{
	struct timespec tick = { 0, 10000000 };
	struct cf_keep keep;

	while (take_keep(share, true, &keep)) {
		for (int i = 0; write_one(share, &keep) == -EAGAIN && i < 3;
		     i++)
			nanosleep(&tick, NULL);
		release(&keep);
	}
	if (share->cache)
		cf_cache_tidy(share->cache);
	cf_cache_close(share->cache);
	share->cache = NULL;
}
