/* SPDX-License-Identifier: MIT */
/*
 * What is known of a directory, and when it may be trusted.
 *
 * An index is complete, and may prove that a name is missing, in three cases:
 *  - it is watched, and every change reported so far was applied to it;
 *  - its stamp is aged (scan.c), and the directory still has that stamp;
 *  - it was read after the request came.
 * An index may hold names that are gone: whoever finds one asks the host.
 *
 * A change of our own in a directory without a watch makes its stamp another
 * one, and the directory is read again for the next question.  To take over the
 * new stamp one would have to prove that nobody else changed the directory
 * between the look at the old stamp and that at the new one.  There is no such
 * proof: two changes can bear the same time, and the kernel shows no count of
 * changes to programs.  So N creations there cost N² / 2 names; directories that
 * are in use get their watch from those that are not.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "casefold/index.h"

enum {
	CROWDED_MAX = 256,	/* questions until it is tried again */
	STALE_MIN = 64,
	SHRINK_MIN = 1 << 16,	/* bytes that are worth it */
	TRIES = 4,		/* while cache.db loses what it had */
};

/* ------------------------------------------------------------------ */
/* What one directory knows.  Under index->lock. */

static void
account(struct cf_share *share, struct cf_index *index)
{
	size_t memory = sizeof(*index) + cf_names_memory(&index->names) +
			index->pending.size + index->journal.size;

	share->memory += memory - index->memory;
	index->memory = memory;
}

void
cf_index_forget(struct cf_share *share, struct cf_index *index)
{
	index->state = CF_EMPTY;
	index->aged = false;
	index->changes++;
	index->cached.row = 0;
	index->writing = false;
	cf_names_fini(&index->names);
	cf_log_fini(&index->journal);
	account(share, index);
}

/* The watch of the whole time since it was read. */
static bool
is_watched(const struct cf_share *share, const struct cf_index *index)
{
	return index->wd >= 0 && index->epoch == share->watch.epoch &&
	       index->state != CF_NATIVE;
}

/* Big and unchanged since it went to cache.db: it can be read there. */
bool
cf_index_shrink(struct cf_share *share, struct cf_index *index)
{
	bool done = false;

	pthread_mutex_lock(&index->lock);
	if (index->state == CF_FULL && index->cached.row && !index->journal.n &&
	    !index->journal.lost && !index->writing && !index->building &&
	    is_watched(share, index) && index->memory >= SHRINK_MIN) {
		index->state = CF_DELTA;
		index->stale = 0;
		index->asked = 0;
		index->changes++;
		cf_names_fini(&index->names);
		account(share, index);
		done = true;
	}
	pthread_mutex_unlock(&index->lock);
	return done;
}

bool
cf_index_grow(struct cf_share *share, struct cf_index *index, int64_t row,
	      struct cf_names *names)
{
	const char *name;
	uint32_t i = 0, hash;
	size_t len;
	bool done;

	pthread_mutex_lock(&index->lock);
	done = index->state == CF_DELTA && index->cached.row == row;
	while (done && cf_names_next(&index->names, &i, &hash, &name, &len))
		done = cf_names_add(names, hash, name, len) >= 0;
	index->asked = 0;
	if (done) {
		cf_names_fini(&index->names);
		index->names = *names;
		index->state = CF_FULL;
		index->stale = 0;
		index->changes++;
		account(share, index);
	}
	pthread_mutex_unlock(&index->lock);
	return done;
}

void
cf_index_forget_all(struct cf_share *share)
{
	for (int i = 0; i < CF_SHARDS; i++) {
		struct cf_shard *shard = &share->shard[i];
		struct cf_index *index;

		pthread_mutex_lock(&shard->lock);
		for (index = shard->oldest; index; index = index->newer) {
			pthread_mutex_lock(&index->lock);
			cf_index_forget(share, index);
			pthread_mutex_unlock(&index->lock);
		}
		pthread_mutex_unlock(&shard->lock);
	}
}

/* Names that stay although they are gone cost memory, and a question to the
 * host when they are asked for; with too many the directory is read again. */
static void
count_stale(struct cf_share *share, struct cf_index *index)
{
	uint64_t n = index->names.n;

	if (index->state == CF_DELTA)
		n += index->cached.n;
	if (++index->stale > n / 2 + STALE_MIN)
		cf_index_forget(share, index);
}

static void
add_name(struct cf_share *share, struct cf_index *index, uint32_t hash,
	 const char *name, size_t len)
{
	int err = cf_names_add(&index->names, hash, name, len);

	index->changes++;
	if (err >= 0)
		return;
	cf_index_forget(share, index);
	if (err == -E2BIG)
		index->state = CF_CROWDED;
}

static void
apply(struct cf_share *share, struct cf_index *index, enum cf_change change,
      const char *name, size_t len)
{
	struct cf_folded folded;
	uint32_t hash;

	if (index->state != CF_FULL && index->state != CF_DELTA)
		return;
	cf_fold(share->set.mode, name, len, &folded);
	if (!folded.cased)
		return;
	if (index->cached.row || index->writing)
		cf_log_put(&index->journal, change, name, len);
	hash = cf_slot_hash(cf_fold_hash(&share->key, &folded));
	if (change == CF_ADDED)
		add_name(share, index, hash, name, len);
	else if (change == CF_GONE)
		cf_names_del(&index->names, hash, name, len);
	else
		count_stale(share, index);
}

void
cf_index_change(struct cf_share *share, struct cf_index *index,
		enum cf_change change, const char *name, size_t len)
{
	if (len > CF_NAME_MAX)
		return;
	pthread_mutex_lock(&index->lock);
	if (index->building)
		cf_log_put(&index->pending, change, name, len);
	else
		apply(share, index, change, name, len);
	account(share, index);
	pthread_mutex_unlock(&index->lock);
}

void
cf_index_gone(struct cf_share *share, struct cf_index *index, uint64_t changes,
	      uint64_t hash, const char *name)
{
	pthread_mutex_lock(&index->lock);
	if (index->changes == changes && index->state == CF_FULL) {
		cf_names_del(&index->names, cf_slot_hash(hash), name,
			     strlen(name));
	}
	if (index->cached.row)
		cf_log_put(&index->journal, CF_DOUBTFUL, name, strlen(name));
	account(share, index);
	pthread_mutex_unlock(&index->lock);
}

/* ------------------------------------------------------------------ */

static bool
is_valid(struct cf_share *share, struct cf_index *index,
	 const struct cf_dir *dir)
{
	struct cf_stamp now;

	if (index->state == CF_EMPTY)
		return false;
	if (index->fs == CF_FS_REMOTE) {
		return (uint64_t)(cf_clock_us() - index->read_us) <
		       share->set.neg_ttl_us;
	}
	if (is_watched(share, index))
		return true;
	return index->aged && !cf_stamp_get(dir->fd, &now) &&
	       cf_stamp_same(&now, &index->stamp);
}

bool
cf_index_is_current(const struct cf_share *share, const struct cf_index *index,
		    const struct cf_stamp *stamp)
{
	return index->state != CF_EMPTY && !index->building &&
	       (is_watched(share, index) ||
		(index->aged && cf_stamp_same(stamp, &index->stamp)));
}

/* The directory was read: put to use what was found, and what happened in the
 * meantime.  Takes the names of `read`. */
static void
install(struct cf_share *share, struct cf_index *index, struct cf_read *read)
{
	const char *name;
	size_t at = 0, len;
	enum cf_change change;

	index->state = read->state;
	index->fs = read->fs;
	index->names = read->names;
	index->stamp = read->stamp;
	index->aged = read->aged;
	index->read_us = read->read_us;
	index->build = index->builds;
	index->asked = 0;
	index->stale = 0;
	index->changes++;
	index->cached = read->cached;
	while (cf_log_next(&index->pending, &at, &change, &name, &len))
		apply(share, index, change, name, len);
	if (index->pending.lost)
		index->epoch = 0;
}

/* Read the directory.  Drops index->lock meanwhile. */
static int
build(struct cf_share *share, struct cf_index *index,
      const struct cf_dir *dir)
{
	struct cf_read read = { 0 };
	int err;

	cf_index_forget(share, index);
	index->building = true;
	index->builds++;
	pthread_mutex_unlock(&index->lock);
	err = cf_read_dir(share, index, dir, &read);
	pthread_mutex_lock(&index->lock);
	if (err)
		cf_names_fini(&read.names);
	else
		install(share, index, &read);
	index->building = false;
	cf_log_fini(&index->pending);
	account(share, index);
	pthread_cond_broadcast(&index->built);
	return err;
}

/*
 * Returns 0 when the index is complete for a request that came before now.
 * Reading is left to one thread at a time; others wait for it, and use what it
 * found if it began after they came.
 */
static int
make_usable(struct cf_share *share, struct cf_index *index,
	    const struct cf_dir *dir)
{
	uint64_t want = index->builds + 1;
	int err = 0;

	while (!err) {
		if (index->building && dir->nowait)
			return -EAGAIN;
		if (index->building) {
			pthread_cond_wait(&index->built, &index->lock);
			continue;
		}
		if (index->state != CF_EMPTY && index->build >= want)
			return 0;
		if (is_valid(share, index, dir))
			return 0;
		if (dir->nowait && !cf_dir_is_small(dir->fd))
			return -EAGAIN;
		err = build(share, index, dir);
	}
	return err;
}

static int
offer(void *arg, const char *name, size_t len)
{
	cf_pick_offer(arg, name, len);
	return 0;
}

/* What the index knows under its lock; CF_CROWDED and CF_DELTA need more. */
static int
pick_locked(struct cf_share *share, struct cf_index *index,
	    const struct cf_dir *dir, uint32_t hash, struct cf_pick *pick,
	    enum cf_index_state *state, struct cf_cached *cached)
{
	int err = make_usable(share, index, dir);

	*state = index->state;
	*cached = index->cached;
	if (err)
		return err;
	if (*state == CF_FULL || *state == CF_DELTA)
		cf_names_pick(&index->names, hash, pick);
	if (*state == CF_DELTA)
		index->asked++;
	if (*state == CF_CROWDED && ++index->asked >= CROWDED_MAX)
		cf_index_forget(share, index);
	return 0;
}

/* What was written to cache.db is lost: the directory must be read. */
static void
lose(struct cf_share *share, struct cf_index *index,
     const struct cf_cached *cached)
{
	pthread_mutex_lock(&index->lock);
	if (index->state == CF_DELTA && index->cached.row == cached->row)
		cf_index_forget(share, index);
	pthread_mutex_unlock(&index->lock);
	if (cf_cache_is_broken(share->cache))
		cf_keep_call(share);
}

static int
pick_once(struct cf_share *share, struct cf_index *index,
	  const struct cf_dir *dir, uint32_t hash, struct cf_pick *pick,
	  uint64_t *changes)
{
	struct cf_cached cached;
	enum cf_index_state state;
	bool keep;
	int err;

	pick->name[0] = pick->other[0] = 0;
	pick->variants = 0;
	cf_watch_drain(share);
	pthread_mutex_lock(&index->lock);
	err = pick_locked(share, index, dir, hash, pick, &state, &cached);
	*changes = index->changes;
	keep = !err && cf_keep_wants(share, index);
	pthread_mutex_unlock(&index->lock);
	if (keep)
		cf_keep_later(share, index, dir);
	if (!err && dir->nowait && (state == CF_CROWDED || state == CF_DELTA))
		return -EAGAIN;
	if (!err && state == CF_CROWDED)
		return cf_read_each(share, dir, offer, pick);
	if (err || state != CF_DELTA)
		return err;
	cf_count(share, db_reads, 1);
	err = cf_cache_pick(share->cache, &cached, hash, pick);
	if (err)
		lose(share, index, &cached);
	return err;
}

int
cf_index_pick(struct cf_share *share, struct cf_index *index,
	      const struct cf_dir *dir, uint64_t hash, struct cf_pick *pick,
	      uint64_t *changes)
{
	int err = -ESTALE;

	for (int i = 0; i < TRIES && err == -ESTALE; i++)
		err = pick_once(share, index, dir, cf_slot_hash(hash), pick,
				changes);
	cf_index_trim(share);
	return err;
}
