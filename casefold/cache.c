/* SPDX-License-Identifier: MIT */
/*
 * The SQL of cache.db: opening and reading; cache_write.c writes.  The file may be deleted
 * at any time: what is not in it is read from the host again.
 */
#include "config.h"

#include "casefold/cache_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	RESETS = 3,		/* in RESET_S seconds, then the cache is off */
	RESET_S = 600,
	LOCK_WAITS = 50,
	LOCK_WAIT_NS = 10000000,
};

static const char setup[] =
	"PRAGMA application_id=0x67774366;"
	"PRAGMA user_version=1;"
	"CREATE TABLE IF NOT EXISTS meta("
	" k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS dirs("
	" dir INTEGER PRIMARY KEY AUTOINCREMENT,"	/* never used again */
	" fs BLOB NOT NULL, hdl BLOB NOT NULL,"
	" ctime_ns INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,"
	" n INTEGER NOT NULL, bits INTEGER NOT NULL,"
	" complete INTEGER NOT NULL,"	/* 0 while it is being written */
	" sum INTEGER NOT NULL,"
	" used INTEGER NOT NULL,"	/* minutes */
	" UNIQUE(fs, hdl));"
	/* id is dir << CF_BUCKET_BITS | bucket */
	"CREATE TABLE IF NOT EXISTS names("
	" id INTEGER PRIMARY KEY, names BLOB NOT NULL);";

static const char *const read_sql[R_SQLS] = {
	[R_FIND] = "SELECT dir, ctime_ns, mtime_ns, n, bits, sum FROM dirs "
		   "WHERE fs=?1 AND hdl=?2 AND complete=1",
	[R_PICK] = "SELECT d.complete, n.names FROM dirs d "
		   "LEFT JOIN names n ON n.id=?2 WHERE d.dir=?1",
	[R_META] = "SELECT v FROM meta WHERE k=?1",
};

static const char *const write_sql[W_SQLS] = {
	[W_BEGIN] = "BEGIN IMMEDIATE",
	[W_COMMIT] = "COMMIT",
	[W_ROLLBACK] = "ROLLBACK",
	[W_META] = "INSERT OR REPLACE INTO meta VALUES(?1,?2)",
	[W_INSERT] = "INSERT INTO dirs(fs,hdl,ctime_ns,mtime_ns,n,bits,"
		     "complete,sum,used) VALUES(?1,?2,0,0,0,?3,0,0,?4)",
	[W_FINISH] = "UPDATE dirs SET ctime_ns=?2, mtime_ns=?3, n=?4, sum=?5, "
		     "used=?6, complete=1 WHERE dir=?1",
	[W_HIDE] = "UPDATE dirs SET complete=0 WHERE dir=?1",
	[W_DROP_DIR] = "DELETE FROM dirs WHERE dir=?1",
	[W_PUT] = "INSERT OR REPLACE INTO names VALUES(?1,?2)",
	[W_GET] = "SELECT names FROM names WHERE id=?1",
	[W_DROP_NAMES] = "DELETE FROM names WHERE id>=?1 AND id<?2",
	[W_OLDEST] = "SELECT dir, bits FROM dirs ORDER BY used, dir LIMIT 1",
	[W_SAME] = "SELECT dir, bits FROM dirs WHERE fs=?1 AND hdl=?2",
	[W_ALL] = "SELECT id, names FROM names WHERE id>=?1 AND id<?2 "
		  "ORDER BY id",
	[W_USED] = "UPDATE dirs SET used=?2 WHERE dir=?1",
};

static void
note_time(struct cf_cache *c, int64_t begin)
{
	c->us += (uint64_t)(cf_clock_us() - begin);
}

/* Damage marks the cache broken; everything else is for another day. */
int
cf_cache_failed(struct cf_cache *c, int code)
{
	if (!code)
		return 0;
	if (cf_db_is_damage(code)) {
		c->broken = true;
		return -EIO;
	}
	return -EBUSY;
}

bool
cf_cache_is_broken(struct cf_cache *c)
{
	return c->broken && !c->off;
}

/* ------------------------------------------------------------------ */
/* Checksums. */

uint64_t
cf_bucket_sum(const struct cf_cache *c, int64_t id, const char *names, size_t len)
{
	struct cf_key key = { c->key.k0 ^ (uint64_t)id, ~c->key.k1 };

	return cf_hash(&key, names, len);
}

int64_t
cf_dir_sum(const struct cf_cache *c, const struct cf_cache_id *id,
	const struct cf_cached *dir, const struct cf_stamp *stamp)
{
	struct cf_key key = { ~c->key.k0, c->key.k1 };
	uint64_t v[7] = {
		(uint64_t)dir->row, dir->bits, dir->n,
		(uint64_t)stamp->ctime_ns, (uint64_t)stamp->mtime_ns,
		cf_hash(&key, id->fs, id->fs_len),
		cf_hash(&key, id->dir, id->dir_len),
	};

	return (int64_t)cf_hash(&key, v, sizeof(v));
}

/* ------------------------------------------------------------------ */
/* Opening. */

static void
disconnect(struct cf_cache *c)
{
	cf_db_close(c->reader);
	cf_db_close(c->writer);
	c->reader = c->writer = NULL;
}

static int
connect_both(struct cf_cache *c)
{
	int code = cf_db_open(c->path, setup, 0, &c->writer);

	if (!code)
		code = cf_db_prepare_all(c->writer, write_sql, c->write, W_SQLS);
	if (!code)
		code = cf_db_open(c->path, "", 0, &c->reader);
	if (!code)
		code = cf_db_prepare_all(c->reader, read_sql, c->read, R_SQLS);
	if (code)
		disconnect(c);
	return code;
}

/* 1 if it is there and as long as `buf`, 0 if it is not there. */
static int
get_meta(struct cf_cache *c, const char *k, void *buf, size_t size)
{
	sqlite3_stmt *s = c->read[R_META];
	int found = 0;

	sqlite3_bind_text(s, 1, k, -1, SQLITE_STATIC);
	if (sqlite3_step(s) == SQLITE_ROW) {
		found = 1;
		if ((size_t)sqlite3_column_bytes(s, 0) == size)
			memcpy(buf, sqlite3_column_blob(s, 0), size);
		else
			found = -1;
	}
	sqlite3_reset(s);
	return found;
}

static bool
meta_is(struct cf_cache *c, const char *k, const char *v)
{
	char buf[256];
	size_t len = strlen(v);

	return len < sizeof(buf) && get_meta(c, k, buf, len) == 1 &&
	       !memcmp(buf, v, len);
}

static int
put_meta(struct cf_cache *c, const char *k, const void *v, size_t len)
{
	sqlite3_stmt *s = c->write[W_META];

	sqlite3_bind_text(s, 1, k, -1, SQLITE_STATIC);
	sqlite3_bind_blob(s, 2, v, (int)len, SQLITE_STATIC);
	return cf_db_run(s);
}

/* Is the file ours, and whole as far as one sees? */
static bool
is_ours(struct cf_cache *c, struct cf_key *key)
{
	uint64_t sum;

	return meta_is(c, "tag", c->tag) && meta_is(c, "fold", c->fold) &&
	       get_meta(c, "key", key, sizeof(*key)) == 1 &&
	       get_meta(c, "sum", &sum, sizeof(sum)) == 1 &&
	       sum == cf_hash(key, key, sizeof(*key));
}

static int
make_ours(struct cf_cache *c)
{
	uint64_t sum = cf_hash(&c->key, &c->key, sizeof(c->key));
	int code = put_meta(c, "tag", c->tag, strlen(c->tag));

	if (!code)
		code = put_meta(c, "fold", c->fold, strlen(c->fold));
	if (!code)
		code = put_meta(c, "key", &c->key, sizeof(c->key));
	if (!code)
		code = put_meta(c, "sum", &sum, sizeof(sum));
	return code;
}

/* A new, empty file with our key. */
static int
begin_again(struct cf_cache *c)
{
	int code;

	disconnect(c);
	cf_db_unlink(c->path);
	code = connect_both(c);
	if (!code)
		code = make_ours(c);
	if (code)
		disconnect(c);
	return code;
}

static int
open_file(struct cf_cache *c)
{
	struct cf_key key;
	int code = connect_both(c);

	if (!code && is_ours(c, &key)) {
		c->key = key;
		return 0;
	}
	if (code && !cf_db_is_damage(code))
		return code;
	return begin_again(c);
}

static const char *const dir_faults[CF_DB_STEPS] = {
	[CF_DB_MAKE] = "cache_dir cannot be made",
	[CF_DB_OPEN] = "cache_dir cannot be opened",
	[CF_DB_LOCAL] = "cache_dir is not on a local file system",
	[CF_DB_WRITE] = "cache_dir cannot be written",
	[CF_DB_LOCK] = "cache.db is in use by another process",
};

/* A share of ours that ends just now may have it for a moment longer. */
static int
lock_dir(struct cf_cache *c, const char *dir, enum cf_db_step *step)
{
	struct timespec t = { 0, LOCK_WAIT_NS };
	int err;

	for (int i = 0;; i++) {
		err = cf_db_lock_dir(dir, "cache.lock", &c->lock_fd, step);
		if (!err || *step != CF_DB_LOCK || i == LOCK_WAITS)
			return err;
		close(c->lock_fd);
		c->lock_fd = -1;
		nanosleep(&t, NULL);
	}
}

int
cf_cache_open(const struct cf_cache_new *set, struct cf_key *key,
	      struct cf_cache **cache, const char **why)
{
	struct cf_cache *c = calloc(1, sizeof(*c));
	enum cf_db_step step;
	int err;

	*why = "out of memory";
	if (!c)
		return -ENOMEM;
	c->lock_fd = -1;
	c->mode = set->mode;
	c->max = set->max;
	c->key = *key;
	pthread_mutex_init(&c->lock, NULL);
	c->tag = strdup(set->tag);
	c->fold = strdup(set->fold);
	err = !c->tag || !c->fold ||
	      asprintf(&c->path, "%s/cache.db", set->dir) < 0 ? -ENOMEM : 0;
	if (!err) {
		err = lock_dir(c, set->dir, &step);
		*why = dir_faults[step];
	}
	if (!err) {
		*why = "cache.db cannot be opened";
		err = open_file(c) ? -EIO : 0;
	}
	if (err) {
		cf_cache_close(c);
		return err;
	}
	*key = c->key;
	*cache = c;
	return 0;
}

void
cf_cache_close(struct cf_cache *c)
{
	if (!c)
		return;
	disconnect(c);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c->tag);
	free(c->fold);
	free(c);
}

int
cf_cache_reset(struct cf_cache *c, bool asked)
{
	time_t now = time(NULL);
	int code = SQLITE_ERROR;

	if (now - c->first_reset > RESET_S) {
		c->first_reset = now;
		c->resets = 0;
	}
	pthread_mutex_lock(&c->lock);
	c->broken = true;
	if (asked || ++c->resets < RESETS)
		code = begin_again(c);
	else
		disconnect(c);
	c->nused = 0;
	c->off = code;
	c->broken = code;
	pthread_mutex_unlock(&c->lock);
	return code ? -EIO : 0;
}

/* ------------------------------------------------------------------ */
/* Reading. */

static void
note_used(struct cf_cache *c, int64_t row)
{
	if (c->nused < CF_CACHE_USED)
		c->used[c->nused++] = row;
}

static int
read_dir_row(struct cf_cache *c, const struct cf_cache_id *id,
	     struct cf_cached *cached, struct cf_stamp *stamp)
{
	sqlite3_stmt *s = c->read[R_FIND];
	int code;
	int64_t sum;

	sqlite3_bind_blob(s, 1, id->fs, (int)id->fs_len, SQLITE_STATIC);
	sqlite3_bind_blob(s, 2, id->dir, (int)id->dir_len, SQLITE_STATIC);
	code = sqlite3_step(s);
	if (code == SQLITE_ROW) {
		cached->row = sqlite3_column_int64(s, 0);
		stamp->ctime_ns = sqlite3_column_int64(s, 1);
		stamp->mtime_ns = sqlite3_column_int64(s, 2);
		cached->n = (uint64_t)sqlite3_column_int64(s, 3);
		cached->bits = (unsigned)sqlite3_column_int(s, 4);
		sum = sqlite3_column_int64(s, 5);
		if (sum != cf_dir_sum(c, id, cached, stamp) ||
		    cached->bits > CF_BUCKET_BITS || cached->row <= 0 ||
		    cached->row > CF_CACHE_ROWS)
			code = SQLITE_CORRUPT;
	}
	sqlite3_reset(s);
	if (code == SQLITE_ROW)
		return 1;
	return code == SQLITE_DONE ? 0 : cf_cache_failed(c, code & 0xff);
}

int
cf_cache_find(struct cf_cache *c, const struct cf_cache_id *id,
	      const struct cf_stamp *stamp, struct cf_cached *cached)
{
	int64_t begin = cf_clock_us();
	struct cf_cached dir = { 0 };
	struct cf_stamp was;
	int found = 0;

	if (c->broken)
		return 0;
	pthread_mutex_lock(&c->lock);
	if (!c->broken)
		found = read_dir_row(c, id, &dir, &was);
	if (found > 0 && !cf_stamp_same(&was, stamp))
		found = 0;
	if (found > 0)
		note_used(c, dir.row);
	pthread_mutex_unlock(&c->lock);
	note_time(c, begin);
	*cached = found > 0 ? dir : (struct cf_cached){ 0 };
	return found > 0;
}

/* The names behind the checksum of a bucket; false if it is damaged. */
bool
cf_bucket_open(const struct cf_cache *c, int64_t id, const char **p,
	       size_t *len)
{
	uint64_t sum;

	if (!*p || *len < CF_BUCKET_SUM)
		return false;
	memcpy(&sum, *p, CF_BUCKET_SUM);
	*p += CF_BUCKET_SUM;
	*len -= CF_BUCKET_SUM;
	return sum == cf_bucket_sum(c, id, *p, *len);
}

/* Take the next name; 1, 0 at the end, -1 for damage. */
int
cf_bucket_next(const char **p, size_t *len, uint32_t *hash, const char **name,
	       size_t *n)
{
	if (!*len)
		return 0;
	if (*len < CF_BUCKET_ENTRY)
		return -1;
	memcpy(hash, *p, sizeof(*hash));
	*n = (unsigned char)(*p)[4];
	*name = *p + CF_BUCKET_ENTRY;
	if (*n > *len - CF_BUCKET_ENTRY)
		return -1;
	*p += CF_BUCKET_ENTRY + *n;
	*len -= CF_BUCKET_ENTRY + *n;
	return 1;
}

static bool
offer_bucket(const struct cf_cache *c, int64_t id, const char *p, size_t len,
	     uint32_t hash, struct cf_pick *pick)
{
	const char *name;
	uint32_t h;
	size_t n;
	int more;

	if (!cf_bucket_open(c, id, &p, &len))
		return false;
	while ((more = cf_bucket_next(&p, &len, &h, &name, &n)) > 0) {
		if (h == hash)
			cf_pick_offer(pick, name, n);
	}
	return !more;
}

static int
pick_bucket(struct cf_cache *c, const struct cf_cached *cached, uint32_t hash,
	    struct cf_pick *pick)
{
	int64_t id = cf_bucket_id(cached, hash);
	sqlite3_stmt *s = c->read[R_PICK];
	int code;

	sqlite3_bind_int64(s, 1, cached->row);
	sqlite3_bind_int64(s, 2, id);
	code = sqlite3_step(s);
	if (code == SQLITE_ROW && sqlite3_column_int(s, 0) == 1) {
		const char *p = sqlite3_column_blob(s, 1);

		code = offer_bucket(c, id, p,
				    (size_t)sqlite3_column_bytes(s, 1), hash,
				    pick) ? 0 : SQLITE_CORRUPT;
	}
	sqlite3_reset(s);
	if (code == SQLITE_ROW || code == SQLITE_DONE)
		return -ESTALE;		/* written anew, or dropped */
	return cf_cache_failed(c, code & 0xff) ? -ESTALE : 0;
}

int
cf_cache_pick(struct cf_cache *c, const struct cf_cached *cached,
	      uint32_t hash, struct cf_pick *pick)
{
	int64_t begin = cf_clock_us();
	int err = -ESTALE;

	pthread_mutex_lock(&c->lock);
	if (!c->broken)
		err = pick_bucket(c, cached, hash, pick);
	pthread_mutex_unlock(&c->lock);
	note_time(c, begin);
	return err;
}

/* ------------------------------------------------------------------ */

static int
load_bucket(struct cf_cache *c, int64_t id, const char *p, size_t len,
	    struct cf_names *names)
{
	const char *name;
	uint32_t hash;
	size_t n;
	int more, err = 0;

	if (!cf_bucket_open(c, id, &p, &len))
		return -ESTALE;
	while ((more = cf_bucket_next(&p, &len, &hash, &name, &n)) > 0) {
		err = cf_names_add(names, hash, name, n);
		if (err < 0)
			return err;
	}
	return more ? -ESTALE : 0;
}

int
cf_cache_load(struct cf_cache *c, const struct cf_cached *cached,
	      struct cf_names *names)
{
	int64_t id = cached->row << CF_BUCKET_BITS;
	int64_t end = id + (1ll << cached->bits);
	int64_t begin = cf_clock_us();
	sqlite3_stmt *s;
	int err = 0;

	if (c->broken)
		return -ESTALE;
	s = c->write[W_ALL];
	sqlite3_bind_int64(s, 1, id);
	sqlite3_bind_int64(s, 2, end);
	for (; !err && id < end; id++) {
		if (sqlite3_step(s) != SQLITE_ROW ||
		    sqlite3_column_int64(s, 0) != id)
			err = -ESTALE;
		else
			err = load_bucket(c, id, sqlite3_column_blob(s, 1),
					  (size_t)sqlite3_column_bytes(s, 1),
					  names);
	}
	sqlite3_reset(s);
	note_time(c, begin);
	return err;
}
