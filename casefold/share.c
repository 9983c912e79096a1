/* SPDX-License-Identifier: MIT */
/*
 * The life of a share, its counters, and what an admin may ask of it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "casefold/index.h"

void
cf_settings_init(struct cf_settings *set, enum cf_mode mode)
{
	*set = (struct cf_settings){
		.mode = mode,
		.ram_max = 64 << 20,
		.db_max = 256 << 20,
		.persist_min = 256,
		.settle_us = 50000,
		.max_watches = 8192,
	};
}

void
cf_share_limits(struct cf_share *share, uint64_t ram_max, uint64_t db_max)
{
	share->ram_max = ram_max;
	share->db_max = db_max;
}

static int
copy_settings(struct cf_share *share, const struct cf_settings *set)
{
	share->set = *set;
	cf_share_limits(share, set->ram_max, set->db_max);
	share->set.tag = strdup(set->tag ? set->tag : "");
	share->set.cache_dir = set->cache_dir ? strdup(set->cache_dir) : NULL;
	if (!share->set.tag || (set->cache_dir && !share->set.cache_dir))
		return -ENOMEM;
	return 0;
}

static int
set_guards(struct cf_share *share)
{
	share->guards = share->set.guards;
	share->own_guards = !share->guards;
	return share->own_guards ? cf_guards_new(&share->guards) : 0;
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
	pthread_mutex_init(&s->open_lock, NULL);
	pthread_mutex_init(&s->work_lock, NULL);
	pthread_mutex_init(&s->keep_lock, NULL);
	err = copy_settings(s, set);
	if (!err)
		err = set_guards(s);
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
	pthread_mutex_lock(&share->open_lock);
	if (!share->open) {
		cf_watch_open(&share->watch);
		cf_keep_open(share);
		share->open = true;
	}
	pthread_mutex_unlock(&share->open_lock);
}

bool
cf_share_is_open(struct cf_share *share)
{
	return atomic_load_explicit(&share->open, memory_order_acquire);
}

void
cf_share_free(struct cf_share *share)
{
	if (!share)
		return;
	cf_keep_close(share);
	pthread_mutex_destroy(&share->open_lock);
	pthread_mutex_destroy(&share->work_lock);
	pthread_mutex_destroy(&share->keep_lock);
	cf_index_fini(share);
	cf_watch_fini(&share->watch);
	if (share->own_guards)
		cf_guards_free(share->guards);
	free((char *)share->set.tag);
	free((char *)share->set.cache_dir);
	free(share);
}

void
cf_share_stats(struct cf_share *share, struct cf_stats *stats)
{
#define TAKE(name, help) \
	stats->name = __atomic_load_n(&share->stats.name, __ATOMIC_RELAXED);
	CF_STATS(TAKE)
#undef TAKE
	if (share->open && share->cache)
		stats->db_us = cf_cache_us(share->cache);
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
	pthread_mutex_lock(&share->keep_lock);
	info->waiting = share->nkeep;
	pthread_mutex_unlock(&share->keep_lock);
	if (share->open && share->cache) {
		info->db_bytes = cf_cache_bytes(share->cache);
		info->db = info->db_bytes > 0;
	}
}

int
cf_share_rebuild(struct cf_share *share)
{
	int err = 0;

	pthread_mutex_lock(&share->work_lock);
	cf_index_forget_all(share);
	if (share->cache)
		err = cf_cache_reset(share->cache, true);
	pthread_mutex_unlock(&share->work_lock);
	return err;
}

/* ------------------------------------------------------------------ */
/* Checking. */

/* Open a directory by the handle in its identity. */
static int
open_index(const struct cf_index *index, int mount_fd)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int32_t type;
	int fd;

	if (index->id.handle[0] != 'h' || mount_fd < 0)
		return -1;
	memcpy(&type, index->id.handle + 1, sizeof(type));
	u.h.handle_type = type;
	u.h.handle_bytes = index->id.len - 5;
	memcpy(u.h.f_handle, index->id.handle + 5, u.h.handle_bytes);
	fd = open_by_handle_at(mount_fd, &u.h,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

struct checking {
	struct cf_share *share;
	struct cf_index *index;
	struct cf_cached cached;
	enum cf_index_state state;
	uint64_t names, missing;
	bool lost;
};

/* Is the name in the index? */
static int
check_name(void *arg, const char *name, size_t len)
{
	struct checking *k = arg;
	struct cf_folded folded;
	char want[CF_NAME_MAX + 1];
	struct cf_pick pick = { .mode = k->share->set.mode, .folded = &folded,
				.want = want, .after = "" };
	uint32_t hash;

	cf_fold(k->share->set.mode, name, len, &folded);
	if (!folded.cased)
		return 0;
	memcpy(want, name, len);
	want[len] = 0;
	hash = cf_slot_hash(cf_fold_hash(&k->share->key, &folded));
	pthread_mutex_lock(&k->index->lock);
	cf_names_pick(&k->index->names, hash, &pick);
	pthread_mutex_unlock(&k->index->lock);
	if (strcmp(pick.name, want) && k->state == CF_DELTA &&
	    cf_cache_pick(k->share->cache, &k->cached, hash, &pick))
		k->lost = true;
	k->names++;
	k->missing += strcmp(pick.name, want) != 0;
	return 0;
}

/* Compare an index with its directory, if neither changes meanwhile. */
static bool
check_index(struct cf_share *share, struct cf_index *index, int fd,
	    struct cf_check *check)
{
	struct checking k = { .share = share, .index = index };
	struct cf_stamp before, after;
	uint64_t changes;
	bool good;

	if (cf_stamp_get(fd, &before))
		return false;
	cf_watch_drain(share);
	pthread_mutex_lock(&index->lock);
	k.state = index->state;
	k.cached = index->cached;
	changes = index->changes;
	good = index->fs == CF_FS_LOCAL &&
	       (k.state == CF_FULL || k.state == CF_DELTA) &&
	       cf_index_is_current(share, index, &before);
	pthread_mutex_unlock(&index->lock);
	if (!good || cf_scan(fd, check_name, &k) || cf_stamp_get(fd, &after) ||
	    !cf_stamp_same(&before, &after))
		return false;
	cf_watch_drain(share);
	pthread_mutex_lock(&index->lock);
	good = !k.lost && index->changes == changes;
	pthread_mutex_unlock(&index->lock);
	if (!good)
		return false;
	check->directories++;
	check->names += k.names;
	check->missing += k.missing;
	return true;
}

int
cf_share_check(struct cf_share *share, int mount_fd, struct cf_check *check)
{
	struct cf_index *index = NULL;
	int fd;

	*check = (struct cf_check){ 0 };
	while ((index = cf_index_next(share, index))) {
		fd = open_index(index, mount_fd);
		if (fd < 0 || !check_index(share, index, fd, check))
			check->skipped++;
		if (fd >= 0)
			close(fd);
	}
	pthread_mutex_lock(&share->work_lock);
	if (share->cache) {
		cf_cache_check(share->cache, &check->db_directories,
			       &check->db_names, &check->db_damaged);
		if (cf_cache_is_broken(share->cache))
			cf_keep_call(share);
	}
	pthread_mutex_unlock(&share->work_lock);
	return 0;
}
