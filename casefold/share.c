/* SPDX-License-Identifier: MIT */
/*
 * The life of a share, its counters, and what an admin may ask of it.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "casefold/index.h"

void
cf_settings_init(struct cf_settings *set, enum cf_mode mode)
{
	*set = (struct cf_settings){
		.mode = mode,
		.ram_max = 64 << 20,
		.db_max = 256 << 20,
		.persist_min = 256,
		.max_watches = 8192,
	};
}

static int
copy_settings(struct cf_share *share, const struct cf_settings *set)
{
	share->set = *set;
	share->set.tag = strdup(set->tag ? set->tag : "");
	share->set.cache_dir = set->cache_dir ? strdup(set->cache_dir) : NULL;
	if (!share->set.tag || (set->cache_dir && !share->set.cache_dir))
		return -ENOMEM;
	return 0;
}

static int
make_key(struct cf_key *key)
{
	ssize_t n = getrandom(key, sizeof(*key), 0);

	return n == sizeof(*key) ? 0 : -EIO;
}

int
cf_share_new(const struct cf_settings *set, const struct cf_calls *calls,
	     struct cf_share **share)
{
	struct cf_share *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	if (calls)
		s->calls = *calls;
	s->told_us = -1000000000;
	s->watch.fd = -1;
	for (int i = 0; i < CF_GUARDS; i++) {
		pthread_mutex_init(&s->guard[i].lock, NULL);
		pthread_cond_init(&s->guard[i].freed, NULL);
	}
	err = copy_settings(s, set);
	if (!err)
		err = make_key(&s->key);
	if (!err)
		err = cf_watch_init(&s->watch, set->max_watches);
	if (!err)
		err = cf_index_init(s);
	if (err) {
		cf_share_free(s);
		return err;
	}
	*share = s;
	return 0;
}

void
cf_share_open(struct cf_share *share)
{
	cf_watch_open(&share->watch);
}

void
cf_share_free(struct cf_share *share)
{
	if (!share)
		return;
	cf_index_fini(share);
	cf_watch_fini(&share->watch);
	for (int i = 0; i < CF_GUARDS; i++) {
		pthread_mutex_destroy(&share->guard[i].lock);
		pthread_cond_destroy(&share->guard[i].freed);
	}
	free((char *)share->set.tag);
	free((char *)share->set.cache_dir);
	free(share);
}

int
cf_share_work(struct cf_share *share)
{
	(void)share;
	return -1;
}

void
cf_share_stats(struct cf_share *share, struct cf_stats *stats)
{
#define TAKE(name, help) \
	stats->name = __atomic_load_n(&share->stats.name, __ATOMIC_RELAXED);
	CF_STATS(TAKE)
#undef TAKE
}

void
cf_share_info(struct cf_share *share, struct cf_info *info)
{
	*info = (struct cf_info){
		.directories = share->directories,
		.memory = share->memory,
	};
	pthread_mutex_lock(&share->watch.lock);
	info->watches = share->watch.n;
	pthread_mutex_unlock(&share->watch.lock);
}

int
cf_share_rebuild(struct cf_share *share)
{
	cf_index_forget_all(share);
	return 0;
}
