/* SPDX-License-Identifier: MIT */
/*
 * The structs of casefold/: a share, its directories, its watches.  Inside
 * casefold/ only.
 *
 * Locks, in the order in which they are taken:
 *	watch.lock	the queue of changes and who watches what
 *	shard.lock	which directories there are, and when they were used
 *	index.lock	one directory
 * and, by themselves, those of guard.c and cache.c.
 */
#ifndef CASEFOLD_INDEX_H
#define CASEFOLD_INDEX_H

#include <pthread.h>
#include <stdatomic.h>

#include "casefold/cache.h"
#include "casefold/names.h"
#include "casefold/scan.h"

enum {
	CF_KEEPS = 64,
	CF_SHARDS = 16,
};

struct cf_index;

/* What is known of the names in a directory. */
enum cf_index_state {
	CF_EMPTY,	/* nothing */
	CF_FULL,	/* all names are in memory */
	CF_DELTA,	/* all names are in cache.db or added since, in memory */
	CF_NATIVE,	/* the kernel folds here, there is nothing for us to do */
	CF_CROWDED,	/* too many names in one class: read for each question */
};

/* One directory, found by its identity; freed by eviction only. */
struct cf_index {
	/* Under shard.lock. */
	struct cf_index *chain;		/* same bucket */
	struct cf_index *older, *newer;	/* by last use */
	uint64_t used;			/* when, in requests of the share */
	_Atomic unsigned refs;		/* taken under shard.lock */

	struct cf_id id;		/* these never change */
	uint64_t hash;			/* of id */

	pthread_mutex_t lock;
	pthread_cond_t built;		/* `building` went false */
	/* Under lock. */
	enum cf_index_state state;
	enum cf_fs fs;
	bool building;			/* one thread is reading it */
	uint64_t builds;		/* times reading began */
	uint64_t build;			/* which of them brought the names */
	uint64_t changes;		/* additions and builds */
	struct cf_names names;
	struct cf_log pending;		/* changes while building */
	struct cf_stamp stamp;		/* before the names were read */
	bool aged;			/* the stamp proves they are all */
	int64_t read_us;		/* when they were read */
	unsigned asked;			/* since CF_CROWDED or CF_DELTA */
	uint32_t stale;			/* names that may be gone */
	size_t memory;			/* as counted in the share */

	struct cf_cached cached;	/* row 0: not in cache.db */
	struct cf_log journal;		/* changes since it was written there */
	bool writing;			/* it is being written for the first time */
	bool queued;			/* in share->keep */
	int64_t keep_us;		/* not before then again */

	/* Written under watch.lock and lock. */
	_Atomic int wd;			/* -1 = not watched */
	uint64_t epoch;			/* of the watch queue; lost before = bad */
	struct cf_index *wd_chain;	/* under watch.lock */
};

struct cf_watch {
	pthread_mutex_t lock;
	_Atomic int fd;			/* inotify; -1 = there is none */
	unsigned max;
	unsigned n;			/* watches set */
	int64_t full_us;		/* the kernel refused one then */
	_Atomic uint64_t epoch;		/* grows when changes were lost */
	_Atomic bool draining;
	_Atomic unsigned quiet;		/* own changes since the queue was read */
	struct cf_index **by_wd;
	unsigned nbuckets;
};

struct cf_shard {
	pthread_mutex_t lock;
	struct cf_index **buckets;
	unsigned nbuckets, n;
	struct cf_index *oldest, *newest;
};

/* A directory that waits to be written to cache.db; holds a reference. */
struct cf_keep {
	struct cf_index *index;
	int fd;				/* the directory */
	int64_t due_us;
	unsigned tries;
};

struct cf_share {
	struct cf_settings set;		/* its strings are ours */
	struct cf_calls calls;
	_Atomic uint64_t ram_max, db_max;	/* those of `set` at first */
	struct cf_key key;
	struct cf_stats stats;		/* by __atomic */
	struct cf_shard shard[CF_SHARDS];
	_Atomic uint64_t memory;	/* bytes, of all directories */
	_Atomic uint64_t directories;
	_Atomic uint64_t clock;		/* requests */
	struct cf_watch watch;
	struct cf_guards *guards;
	bool own_guards;
	_Atomic int64_t told_us;	/* collision() was called */

	struct cf_cache *cache;		/* NULL = there is none */
	pthread_mutex_t open_lock;
	_Atomic bool open;		/* cache and watch stay as they are */
	pthread_mutex_t work_lock;	/* one thread works at a time */
	pthread_mutex_t keep_lock;
	struct cf_keep keep[CF_KEEPS];
	unsigned nkeep;
	bool called;			/* work() was, cf_share_work() not yet */
};

#define cf_count(share, name, n) \
	__atomic_fetch_add(&(share)->stats.name, (n), __ATOMIC_RELAXED)

/* ------------------------------------------------------------------ */
/* guard.c */

void cf_held_init(const struct cf_guards *guards, const struct cf_dir *dir,
		  const struct cf_folded *folded, struct cf_held *held);
/* 0, or -EAGAIN instead of waiting for whoever has it. */
int cf_hold(struct cf_guards *guards, struct cf_held *held, bool nowait);
/* Does nothing if it is not held. */
void cf_let_go(struct cf_guards *guards, struct cf_held *held);

/* ------------------------------------------------------------------ */
/* dirs.c */

int cf_index_init(struct cf_share *share);
void cf_index_fini(struct cf_share *share);

/* The index of a directory, made if need be. */
int cf_index_get(struct cf_share *share, const struct cf_dir *dir,
		 struct cf_index **index);
void cf_index_put(struct cf_index *index);

/* Each directory: NULL begins, NULL ends; puts `index` and gets the next.  Those
 * that come or go meanwhile may be left out. */
struct cf_index *cf_index_next(struct cf_share *share,
			       struct cf_index *index);

/* The least recently used one that is watched, or NULL. */
struct cf_index *cf_index_get_watched(struct cf_share *share);

/* Evict until memory is within its bounds. */
void cf_index_trim(struct cf_share *share);

/* ------------------------------------------------------------------ */
/* index.c */

/* Free the names of one that cache.db holds; under shard.lock. */
bool cf_index_shrink(struct cf_share *share, struct cf_index *index);
/* Have all names in memory again: those that cache.db held under `row`.  Takes
 * them if it returns true. */
bool cf_index_grow(struct cf_share *share, struct cf_index *index,
		   int64_t row, struct cf_names *names);
/* A change that the watch reported. */
void cf_index_change(struct cf_share *share, struct cf_index *index,
		     enum cf_change change, const char *name, size_t len);
/* Trust it no more.  Under lock. */
void cf_index_forget(struct cf_share *share, struct cf_index *index);
/* All of them. */
void cf_index_forget_all(struct cf_share *share);

/*
 * Pick the best name for pick->want that the index knows; 0 with pick->name
 * "" if there is none at this moment.  *changes tells which state that was.
 */
int cf_index_pick(struct cf_share *share, struct cf_index *index,
		  const struct cf_dir *dir, uint64_t hash,
		  struct cf_pick *pick, uint64_t *changes);
/* The host does not know `name` any more; ours if nothing changed since. */
void cf_index_gone(struct cf_share *share, struct cf_index *index,
		   uint64_t changes, uint64_t hash, const char *name);

static inline uint32_t
cf_slot_hash(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

/* ------------------------------------------------------------------ */
/* read.c: the names of a directory, from the host. */

struct cf_read {
	enum cf_index_state state;		/* never CF_EMPTY */
	enum cf_fs fs;
	struct cf_names names;
	struct cf_cached cached;	/* of CF_DELTA */
	struct cf_stamp stamp;		/* before the names were read */
	bool aged;
	int64_t read_us;
};

/* Read it anew, with a watch where possible.  On error too the caller frees
 * read->names. */
int cf_read_dir(struct cf_share *share, struct cf_index *index,
		const struct cf_dir *dir, struct cf_read *read);
/* Each name once, without an index. */
int cf_read_each(struct cf_share *share, const struct cf_dir *dir,
		 cf_scan_fn *put, void *arg);

/* ------------------------------------------------------------------ */
/* keep.c: what of the directories goes to cache.db. */

void cf_keep_open(struct cf_share *share);
void cf_keep_close(struct cf_share *share);
/* Have it written some time, if it is worth it. */
void cf_keep_later(struct cf_share *share, struct cf_index *index,
		   const struct cf_dir *dir);
/* Is it?  Under index->lock. */
bool cf_keep_wants(struct cf_share *share, struct cf_index *index);
/* Ask for cf_share_work(). */
void cf_keep_call(struct cf_share *share);
int cf_keep_id(const struct cf_index *index, int fd, struct cf_cache_id *id);
/* The index knows every change so far, and may be trusted under `stamp`.
 * Under index->lock. */
bool cf_index_is_current(const struct cf_share *share,
			 const struct cf_index *index,
			 const struct cf_stamp *stamp);

/* ------------------------------------------------------------------ */
/* watch.c */

int cf_watch_init(struct cf_watch *watch, unsigned max);
void cf_watch_open(struct cf_watch *watch);
void cf_watch_fini(struct cf_watch *watch);
/* Watch the directory open as `fd`; false if it cannot be watched. */
bool cf_watch_add(struct cf_share *share, struct cf_index *index, int fd);
void cf_watch_remove(struct cf_share *share, struct cf_index *index);
/* Every change that was complete before the call is known after it. */
void cf_watch_drain(struct cf_share *share);
/* After a change of our own: keep the queue from filling. */
void cf_watch_tick(struct cf_share *share);

#endif
