/* SPDX-License-Identifier: MIT */
/*
 * cache.db: names of directories that outlive the daemon.  Inside casefold/
 * only.
 *
 * A directory is a row that says when its names are complete, and buckets of
 * names by hash.  Each row and bucket carries a keyed checksum, and each bucket
 * of a directory exists: so damage cannot make a name seem missing.
 *
 * cf_cache_find() and cf_cache_pick() may be called by many threads; all others
 * by one thread at a time (that of cf_share_work()).
 */
#ifndef CASEFOLD_CACHE_H
#define CASEFOLD_CACHE_H

#include "casefold/names.h"
#include "casefold/scan.h"

struct cf_cache;

/* A directory in the cache. */
struct cf_cached {
	int64_t row;		/* 0 = none */
	unsigned bits;		/* 2^bits buckets */
	uint64_t n;		/* names, some perhaps gone */
};

struct cf_cache_id {
	unsigned char fs[CF_FSID_MAX];
	unsigned fs_len;
	unsigned char dir[8 + 133];	/* inode, then the handle */
	unsigned dir_len;
};

/* What a cache is opened with; its strings are borrowed for the call. */
struct cf_cache_new {
	const char *dir;	/* made if it is missing */
	const char *tag, *fold;	/* a file of another tag or fold is no good */
	const _Atomic uint64_t *max;	/* bytes; may change, stays */
	enum cf_mode mode;
};

/*
 * Open the cache; takes over the key of the file that is there, else the file
 * gets *key.  On error *why says what is wrong, in a constant string.
 */
int cf_cache_open(const struct cf_cache_new *set, struct cf_key *key,
		  struct cf_cache **cache, const char **why);
void cf_cache_close(struct cf_cache *cache);

/* Damage was found: nothing is answered until cf_cache_reset(). */
bool cf_cache_is_broken(struct cf_cache *cache);
/* Delete it and begin again; -EIO when that fails, or happens too often
 * without being `asked` for. */
int cf_cache_reset(struct cf_cache *cache, bool asked);

/* 1 and the directory if its names are complete under `stamp`; else 0. */
int cf_cache_find(struct cf_cache *cache, const struct cf_cache_id *id,
		  const struct cf_stamp *stamp, struct cf_cached *cached);
/* Offer the names of that hash; -ESTALE if the directory is not there. */
int cf_cache_pick(struct cf_cache *cache, const struct cf_cached *cached,
		  uint32_t hash, struct cf_pick *pick);

/* Add all names; 0, -ESTALE if they are not all there, or what adding said. */
int cf_cache_load(struct cf_cache *cache, const struct cf_cached *cached,
		  struct cf_names *names);

/* Write all names; 0, -E2BIG if there is never room, -EBUSY, -EIO. */
int cf_cache_write(struct cf_cache *cache, const struct cf_cache_id *id,
		   const struct cf_names *names, const struct cf_stamp *stamp,
		   struct cf_cached *cached);
/* Write what changed. */
struct cf_cache_change {
	uint32_t hash;
	bool added;
	unsigned char len;
	const char *name;
};
int cf_cache_update(struct cf_cache *cache, const struct cf_cache_id *id,
		    const struct cf_cache_change *change, size_t n,
		    const struct cf_stamp *stamp, struct cf_cached *cached);

/* Note which directories were used, drop the oldest ones if the file is too
 * big, move the log into the file. */
void cf_cache_tidy(struct cf_cache *cache);

uint64_t cf_cache_bytes(struct cf_cache *cache);
/* Microseconds spent in SQLite since it was opened. */
uint64_t cf_cache_us(struct cf_cache *cache);

/* Read everything; how many directories and names are good, what is not. */
void cf_cache_check(struct cf_cache *cache, uint64_t *dirs, uint64_t *names,
		    uint64_t *damaged);

#endif
