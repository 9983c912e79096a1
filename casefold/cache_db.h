/* SPDX-License-Identifier: MIT */
/*
 * What cache.c and cache_write.c share.  Nobody else includes it.
 */
#ifndef CASEFOLD_CACHE_DB_H
#define CASEFOLD_CACHE_DB_H

#include <pthread.h>
#include <stdatomic.h>

#include "casefold/cache.h"
#include "casefold/db.h"

enum {
	CF_BUCKET_BITS = 22,	/* of the number of buckets, at most */
	CF_BUCKET_SUM = 8,	/* a checksum before the names of a bucket */
	CF_BUCKET_ENTRY = 5,	/* hash and length before each name */
	CF_CACHE_USED = 64,
};
#define CF_CACHE_ROWS (1ll << 40)	/* more are damage */

/* Statements of the reading connection, and of the writing one. */
enum read_sql { R_FIND, R_PICK, R_META, R_SQLS };
enum write_sql {
	W_BEGIN, W_COMMIT, W_ROLLBACK, W_META, W_INSERT, W_FINISH, W_HIDE,
	W_DROP_DIR, W_PUT, W_GET, W_DROP_NAMES, W_OLDEST, W_SAME, W_USED,
	W_ALL, W_SQLS,
};

struct cf_cache {
	char *path, *tag, *fold;
	enum cf_mode mode;
	const _Atomic uint64_t *max;
	struct cf_key key;
	int lock_fd;		/* held as long as we use the file */
	atomic_bool broken;
	atomic_bool off;
	_Atomic uint64_t us;
	unsigned resets;
	time_t first_reset;

	pthread_mutex_t lock;	/* of the reading connection and `used` */
	sqlite3 *reader;
	sqlite3_stmt *read[R_SQLS];
	int64_t used[CF_CACHE_USED];
	unsigned nused;

	sqlite3 *writer;
	sqlite3_stmt *write[W_SQLS];
	bool wrote;		/* since the log was moved */
};

/* Damage marks the cache broken: -EIO; everything else is for another day:
 * -EBUSY. */
int cf_cache_failed(struct cf_cache *c, int code);

uint64_t cf_bucket_sum(const struct cf_cache *c, int64_t id, const char *names,
		       size_t len);
int64_t cf_dir_sum(const struct cf_cache *c, const struct cf_cache_id *id,
		   const struct cf_cached *dir, const struct cf_stamp *stamp);
bool cf_bucket_open(const struct cf_cache *c, int64_t id, const char **p,
		    size_t *len);
int cf_bucket_next(const char **p, size_t *len, uint32_t *hash,
		   const char **name, size_t *n);

static inline int64_t
cf_bucket_id(const struct cf_cached *dir, uint32_t hash)
{
	return dir->row << CF_BUCKET_BITS |
	       (dir->bits ? hash >> (32 - dir->bits) : 0);
}

#endif
