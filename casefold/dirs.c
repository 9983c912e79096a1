/* SPDX-License-Identifier: MIT */
/*
 * The directories of a share: which there are, and which of them stay in
 * memory.  index.c has what is known of each.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "casefold/index.h"

enum {
	BUCKETS_MIN = 16,
	LOOK_BACK = 64,		/* how many in use to pass over */
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
	cf_log_fini(&index->journal);
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

/* The first directory from bucket `b` of a shard on, or NULL. */
static struct cf_index *
first_from(struct cf_shard *shard, unsigned b)
{
	for (; b < shard->nbuckets; b++) {
		if (shard->buckets[b])
			return shard->buckets[b];
	}
	return NULL;
}

struct cf_index *
cf_index_next(struct cf_share *share, struct cf_index *index)
{
	struct cf_index *next = NULL;
	uint64_t s = index ? index->hash % CF_SHARDS : 0;

	for (; s < CF_SHARDS && !next; s++) {
		struct cf_shard *shard = &share->shard[s];
		unsigned b = 0;

		pthread_mutex_lock(&shard->lock);
		if (index && index->hash % CF_SHARDS == s) {
			next = index->chain;
			b = (unsigned)(bucket_of(shard, index->hash) -
				       shard->buckets) + 1;
		}
		if (!next)
			next = first_from(shard, b);
		if (next)
			next->refs++;
		pthread_mutex_unlock(&shard->lock);
	}
	if (index)
		cf_index_put(index);
	return next;
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
	if (index && cf_index_shrink(share, index)) {
		list_remove(shard, index);
		list_append(shard, index);
		pthread_mutex_unlock(&shard->lock);
		return true;
	}
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
	uint64_t max = share->ram_max;

	if (share->memory <= max)
		return;
	while (share->memory > max - max / 8 && evict_one(share))
		;
}
