/* SPDX-License-Identifier: MIT */
/*
 * The directories of a share: which there are, which of them stay in memory,
 * and when what is known of one may be trusted.
 *
 * An index is complete, and may prove that a name is missing, in three cases:
 *  - it is watched, and every change reported so far was applied to it;
 *  - its stamp is aged (scan.c), and the directory still has that stamp;
 *  - it was read after the request came.
 * An index may hold names that are gone: whoever finds one asks the host.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "casefold/index.h"

enum {
	BUCKETS_MIN = 16,
	LOOK_BACK = 64,		/* how many in use to pass over */
	CROWDED_MAX = 256,	/* questions until it is tried again */
	STALE_MIN = 64,
};

/* ------------------------------------------------------------------ */
/* Shards: buckets, and a list by last use.  Under shard->lock. */

int
cf_index_init(struct cf_share *share)
{
	for (int i = 0; i < CF_SHARDS; i++) {
		struct cf_shard *shard = &share->shard[i];

		shard->buckets = calloc(BUCKETS_MIN, sizeof(*shard->buckets));
		if (!shard->buckets)
			return -ENOMEM;
		shard->nbuckets = BUCKETS_MIN;
		pthread_mutex_init(&shard->lock, NULL);
	}
	return 0;
}

static struct cf_shard *
shard_of(struct cf_share *share, uint64_t hash)
{
	return &share->shard[hash % CF_SHARDS];
}

static struct cf_index **
bucket_of(struct cf_shard *shard, uint64_t hash)
{
	return &shard->buckets[hash / CF_SHARDS & (shard->nbuckets - 1)];
}

static void
list_remove(struct cf_shard *shard, struct cf_index *index)
{
	if (index->older)
		index->older->newer = index->newer;
	else
		shard->oldest = index->newer;
	if (index->newer)
		index->newer->older = index->older;
	else
		shard->newest = index->older;
}

static void
list_append(struct cf_shard *shard, struct cf_index *index)
{
	index->newer = NULL;
	index->older = shard->newest;
	if (shard->newest)
		shard->newest->newer = index;
	else
		shard->oldest = index;
	shard->newest = index;
}

static void
use(struct cf_share *share, struct cf_shard *shard, struct cf_index *index)
{
	index->refs++;
	index->used = ++share->clock;
	if (shard->newest == index)
		return;
	list_remove(shard, index);
	list_append(shard, index);
}

static struct cf_index *
find(struct cf_shard *shard, const struct cf_id *id, uint64_t hash)
{
	struct cf_index *index = *bucket_of(shard, hash);

	while (index && (index->hash != hash || index->id.len != id->len ||
			 memcmp(&index->id, id, cf_id_size(id))))
		index = index->chain;
	return index;
}

static void
grow(struct cf_shard *shard)
{
	unsigned old = shard->nbuckets;
	struct cf_index **from = shard->buckets, *index, **p;
	struct cf_index **to = calloc(2 * (size_t)old, sizeof(*to));

	if (!to)
		return;
	shard->buckets = to;
	shard->nbuckets = 2 * old;
	for (unsigned i = 0; i < old; i++) {
		while ((index = from[i])) {
			from[i] = index->chain;
			p = bucket_of(shard, index->hash);
			index->chain = *p;
			*p = index;
		}
	}
	free(from);
}

static struct cf_index *
insert(struct cf_share *share, struct cf_shard *shard, const struct cf_id *id,
       uint64_t hash)
{
	struct cf_index *index = calloc(1, sizeof(*index)), **p;

	if (!index)
		return NULL;
	memcpy(&index->id, id, cf_id_size(id));
	index->hash = hash;
	index->wd = -1;
	pthread_mutex_init(&index->lock, NULL);
	pthread_cond_init(&index->built, NULL);
	index->memory = sizeof(*index);
	share->memory += index->memory;
	share->directories++;

	if (shard->n >= shard->nbuckets)
		grow(shard);
	p = bucket_of(shard, hash);
	index->chain = *p;
	*p = index;
	shard->n++;
	list_append(shard, index);
	return index;
}

static void
take_out(struct cf_shard *shard, struct cf_index *index)
{
	struct cf_index **p = bucket_of(shard, index->hash);

	while (*p != index)
		p = &(*p)->chain;
	*p = index->chain;
	shard->n--;
	list_remove(shard, index);
}

/* It is in no list any more, and nobody uses it. */
static void
destroy(struct cf_share *share, struct cf_index *index)
{
	cf_watch_remove(share, index);
	share->memory -= index->memory;
	share->directories--;
	cf_names_fini(&index->names);
	cf_log_fini(&index->pending);
	pthread_mutex_destroy(&index->lock);
	pthread_cond_destroy(&index->built);
	free(index);
}

void
cf_index_fini(struct cf_share *share)
{
	for (int i = 0; i < CF_SHARDS; i++) {
		struct cf_shard *shard = &share->shard[i];

		while (shard->oldest) {
			struct cf_index *index = shard->oldest;

			take_out(shard, index);
			destroy(share, index);
		}
		free(shard->buckets);
		pthread_mutex_destroy(&shard->lock);
	}
}

/* ------------------------------------------------------------------ */

int
cf_index_get(struct cf_share *share, const struct cf_dir *dir,
	     struct cf_index **index)
{
	struct cf_shard *shard;
	bool made = false;
	struct cf_id id;
	uint64_t hash;
	int err = cf_id_of(dir, &id);

	if (err)
		return err;
	hash = cf_hash(&share->key, &id, cf_id_size(&id));
	shard = shard_of(share, hash);
	pthread_mutex_lock(&shard->lock);
	*index = find(shard, &id, hash);
	if (!*index) {
		*index = insert(share, shard, &id, hash);
		made = true;
	}
	if (*index)
		use(share, shard, *index);
	pthread_mutex_unlock(&shard->lock);
	if (made)
		cf_index_trim(share);
	return *index ? 0 : -ENOMEM;
}

void
cf_index_put(struct cf_index *index)
{
	index->refs--;
}

/* The oldest of a shard that has a watch, or (not watched) is not in use. */
static struct cf_index *
oldest_of(const struct cf_shard *shard, bool watched)
{
	struct cf_index *index = shard->oldest;

	for (int i = 0; index && i < LOOK_BACK; i++, index = index->newer) {
		if (watched ? index->wd >= 0 : !index->refs)
			return index;
	}
	return NULL;
}

/* The shard with the oldest such directory, or NULL. */
static struct cf_shard *
oldest_shard(struct cf_share *share, bool watched)
{
	struct cf_shard *best = NULL;
	uint64_t used = UINT64_MAX;

	for (int i = 0; i < CF_SHARDS; i++) {
		struct cf_shard *shard = &share->shard[i];
		struct cf_index *index;

		pthread_mutex_lock(&shard->lock);
		index = oldest_of(shard, watched);
		if (index && index->used < used) {
			used = index->used;
			best = shard;
		}
		pthread_mutex_unlock(&shard->lock);
	}
	return best;
}

struct cf_index *
cf_index_get_watched(struct cf_share *share)
{
	struct cf_shard *shard = oldest_shard(share, true);
	struct cf_index *index;

	if (!shard)
		return NULL;
	pthread_mutex_lock(&shard->lock);
	index = oldest_of(shard, true);
	if (index)
		index->refs++;
	pthread_mutex_unlock(&shard->lock);
	return index;
}

static bool
evict_one(struct cf_share *share)
{
	struct cf_shard *shard = oldest_shard(share, false);
	struct cf_index *index;

	if (!shard)
		return false;
	pthread_mutex_lock(&shard->lock);
	index = oldest_of(shard, false);
	if (index)
		take_out(shard, index);
	pthread_mutex_unlock(&shard->lock);
	if (!index)
		return false;
	destroy(share, index);
	cf_count(share, evicted, 1);
	return true;
}

void
cf_index_trim(struct cf_share *share)
{
	uint64_t max = share->set.ram_max;

	if (share->memory <= max)
		return;
	while (share->memory > max - max / 8 && evict_one(share))
		;
}

/* ------------------------------------------------------------------ */
/* What one directory knows.  Under index->lock. */

static void
account(struct cf_share *share, struct cf_index *index)
{
	size_t memory = sizeof(*index) + cf_names_memory(&index->names) +
			index->pending.size;

	share->memory += memory - index->memory;
	index->memory = memory;
}

void
cf_index_forget(struct cf_share *share, struct cf_index *index)
{
	index->state = CF_EMPTY;
	index->aged = false;
	index->changes++;
	cf_names_fini(&index->names);
	account(share, index);
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

static void
apply(struct cf_share *share, struct cf_index *index, bool added,
      const char *name, size_t len)
{
	struct cf_folded folded;
	uint32_t hash;
	int err = 0;

	if (index->state != CF_FULL && index->state != CF_DELTA)
		return;
	cf_fold(share->set.mode, name, len, &folded);
	if (!folded.cased)
		return;
	hash = cf_slot_hash(cf_fold_hash(&share->key, &folded));
	if (!added) {
		cf_names_del(&index->names, hash, name, len);
		return;
	}
	index->changes++;
	err = cf_names_add(&index->names, hash, name, len);
	if (err >= 0)
		return;
	cf_index_forget(share, index);
	if (err == -E2BIG)
		index->state = CF_CROWDED;
}

void
cf_index_change(struct cf_share *share, struct cf_index *index, bool added,
		const char *name, size_t len)
{
	if (len > CF_NAME_MAX)
		return;
	pthread_mutex_lock(&index->lock);
	if (index->building)
		cf_log_put(&index->pending, added, name, len);
	else
		apply(share, index, added, name, len);
	account(share, index);
	pthread_mutex_unlock(&index->lock);
}

/* Names that stay although they are gone cost memory, and a question to the
 * host when they are asked for; with too many the directory is read again. */
void
cf_index_stale(struct cf_share *share, struct cf_index *index)
{
	pthread_mutex_lock(&index->lock);
	if (index->state == CF_FULL && !index->building &&
	    ++index->stale > index->names.n / 2 + STALE_MIN)
		cf_index_forget(share, index);
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
	if (index->wd >= 0 && index->epoch == share->watch.epoch &&
	    index->state != CF_NATIVE)
		return true;
	return index->aged && !cf_stamp_get(dir->fd, &now) &&
	       cf_stamp_same(&now, &index->stamp);
}

/* The directory was read: put to use what was found, and what happened in the
 * meantime.  Takes the names of `read`. */
static void
install(struct cf_share *share, struct cf_index *index, struct cf_read *read)
{
	const char *name;
	size_t at = 0, len;
	bool added;

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
	while (cf_log_next(&index->pending, &at, &added, &name, &len))
		apply(share, index, added, name, len);
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
		if (index->building) {
			pthread_cond_wait(&index->built, &index->lock);
			continue;
		}
		if (index->state != CF_EMPTY && index->build >= want)
			return 0;
		if (is_valid(share, index, dir))
			return 0;
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

int
cf_index_pick(struct cf_share *share, struct cf_index *index,
	      const struct cf_dir *dir, uint64_t hash, struct cf_pick *pick,
	      uint64_t *changes)
{
	enum cf_state state;
	int err;

	pick->name[0] = pick->other[0] = 0;
	pick->variants = 0;
	cf_watch_drain(share);
	pthread_mutex_lock(&index->lock);
	err = make_usable(share, index, dir);
	state = index->state;
	*changes = index->changes;
	if (!err && state == CF_FULL)
		cf_names_pick(&index->names, cf_slot_hash(hash), pick);
	if (!err && state == CF_CROWDED && ++index->asked >= CROWDED_MAX)
		cf_index_forget(share, index);
	pthread_mutex_unlock(&index->lock);
	if (!err && state == CF_CROWDED)
		err = cf_read_each(share, dir, offer, pick);
	cf_index_trim(share);
	return err;
}
