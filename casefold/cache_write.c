/* SPDX-License-Identifier: MIT */
/*
 * Writing cache.db: a directory as a whole, what changed in one, and making
 * room.  One thread at a time.  A directory is marked complete by the last
 * transaction that writes it, so a crash leaves nothing that is trusted.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "casefold/cache_db.h"

enum {
	BUCKET_NAMES = 16,	/* in a bucket, when a directory is written */
	SLICE = 4096,		/* buckets in a transaction */
};

static int64_t
minutes(void)
{
	return time(NULL) / 60;
}

/* ------------------------------------------------------------------ */
/* One statement each; 0 or a code of SQLite. */

static int
run(struct cf_cache *c, enum write_sql n)
{
	return cf_db_run(c->write[n]);
}

static int
run_row(struct cf_cache *c, enum write_sql n, int64_t row)
{
	sqlite3_bind_int64(c->write[n], 1, row);
	return run(c, n);
}

static int
put_bucket(struct cf_cache *c, int64_t id, char *buf, size_t len)
{
	sqlite3_stmt *s = c->write[W_PUT];
	uint64_t sum = cf_bucket_sum(c, id, buf + CF_BUCKET_SUM,
				     len - CF_BUCKET_SUM);

	memcpy(buf, &sum, CF_BUCKET_SUM);
	sqlite3_bind_int64(s, 1, id);
	sqlite3_bind_blob(s, 2, buf, (int)len, SQLITE_STATIC);
	return cf_db_run(s);
}

static int
finish_dir(struct cf_cache *c, const struct cf_cache_id *id,
	   const struct cf_cached *dir, const struct cf_stamp *stamp)
{
	sqlite3_stmt *s = c->write[W_FINISH];

	sqlite3_bind_int64(s, 1, dir->row);
	sqlite3_bind_int64(s, 2, stamp->ctime_ns);
	sqlite3_bind_int64(s, 3, stamp->mtime_ns);
	sqlite3_bind_int64(s, 4, (int64_t)dir->n);
	sqlite3_bind_int64(s, 5, cf_dir_sum(c, id, dir, stamp));
	sqlite3_bind_int64(s, 6, minutes());
	return cf_db_run(s);
}

static int
insert_dir(struct cf_cache *c, const struct cf_cache_id *id,
	   struct cf_cached *dir)
{
	sqlite3_stmt *s = c->write[W_INSERT];
	int code;

	sqlite3_bind_blob(s, 1, id->fs, (int)id->fs_len, SQLITE_STATIC);
	sqlite3_bind_blob(s, 2, id->dir, (int)id->dir_len, SQLITE_STATIC);
	sqlite3_bind_int64(s, 3, dir->bits);
	sqlite3_bind_int64(s, 4, minutes());
	code = cf_db_run(s);
	dir->row = sqlite3_last_insert_rowid(c->writer);
	return code;
}

static int
drop_names(struct cf_cache *c, int64_t from, int64_t to)
{
	sqlite3_stmt *s = c->write[W_DROP_NAMES];

	sqlite3_bind_int64(s, 1, from);
	sqlite3_bind_int64(s, 2, to);
	return cf_db_run(s);
}

/* ------------------------------------------------------------------ */
/* Dropping directories: hidden first, then slice by slice. */

static int
commit(struct cf_cache *c, int code)
{
	if (!code)
		code = run(c, W_COMMIT);
	if (code)
		run(c, W_ROLLBACK);
	else
		c->wrote = true;
	return code;
}

static int
drop_dir(struct cf_cache *c, int64_t row, unsigned bits)
{
	int64_t first, end;
	int code;

	if (row <= 0 || row > CF_CACHE_ROWS || bits > CF_BUCKET_BITS)
		return SQLITE_CORRUPT;
	first = row << CF_BUCKET_BITS;
	end = first + (1ll << bits);
	code = run(c, W_BEGIN);
	if (code)
		return code;
	code = commit(c, run_row(c, W_HIDE, row));
	for (int64_t at = first; !code && at < end; at += SLICE) {
		code = run(c, W_BEGIN);
		if (code)
			break;
		code = drop_names(c, at, at + SLICE < end ? at + SLICE : end);
		if (!code && at + SLICE >= end)
			code = run_row(c, W_DROP_DIR, row);
		code = commit(c, code);
	}
	return code;
}

/* Step a query for a directory; 1 and the row, 0 for none, -1 for an error. */
static int
query_dir(sqlite3_stmt *s, int64_t *row, unsigned *bits, int *code)
{
	*code = sqlite3_step(s) & 0xff;
	if (*code == SQLITE_ROW) {
		*row = sqlite3_column_int64(s, 0);
		*bits = (unsigned)sqlite3_column_int(s, 1);
	}
	sqlite3_reset(s);
	if (*code == SQLITE_ROW || *code == SQLITE_DONE) {
		int found = *code == SQLITE_ROW;

		*code = 0;
		return found;
	}
	return -1;
}

static int
drop_same(struct cf_cache *c, const struct cf_cache_id *id)
{
	sqlite3_stmt *s = c->write[W_SAME];
	int64_t row = 0;
	unsigned bits = 0;
	int code;

	sqlite3_bind_blob(s, 1, id->fs, (int)id->fs_len, SQLITE_STATIC);
	sqlite3_bind_blob(s, 2, id->dir, (int)id->dir_len, SQLITE_STATIC);
	if (query_dir(s, &row, &bits, &code) > 0)
		code = drop_dir(c, row, bits);
	return code;
}

static uint64_t
pages(struct cf_cache *c, const char *pragma)
{
	sqlite3_stmt *s = cf_db_prepare(c->writer, pragma);
	uint64_t n = 0;

	if (s && sqlite3_step(s) == SQLITE_ROW)
		n = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

static uint64_t
bytes_used(struct cf_cache *c)
{
	return (pages(c, "PRAGMA page_count") -
		pages(c, "PRAGMA freelist_count")) * 8192;
}

/* Until `need` more bytes fit. */
static int
make_space(struct cf_cache *c, uint64_t need)
{
	int64_t row = 0;
	unsigned bits = 0;
	int code = 0;

	while (!code && bytes_used(c) + need > *c->max) {
		if (query_dir(c->write[W_OLDEST], &row, &bits, &code) <= 0)
			break;
		code = drop_dir(c, row, bits);
	}
	return code;
}

/* ------------------------------------------------------------------ */
/* Writing a directory. */

static int
by_hash(const void *a, const void *b)
{
	const struct cf_slot *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static struct cf_slot *
sorted(const struct cf_names *names)
{
	struct cf_slot *v = malloc((names->n + 1) * sizeof(*v));
	uint32_t n = 0;

	for (uint32_t i = 0; v && i < names->nslots; i++) {
		if (names->slots[i].at)
			v[n++] = names->slots[i];
	}
	if (v)
		qsort(v, n, sizeof(*v), by_hash);
	return v;
}

struct buffer {
	char *p;
	size_t len, size;
};

static int
put_name(struct buffer *b, uint32_t hash, const char *name, size_t len)
{
	size_t need = b->len + CF_BUCKET_ENTRY + len;
	char *p;

	if (need > b->size) {
		p = realloc(b->p, 2 * need + 1024);
		if (!p)
			return SQLITE_NOMEM;
		b->p = p;
		b->size = 2 * need + 1024;
	}
	memcpy(b->p + b->len, &hash, sizeof(hash));
	b->p[b->len + 4] = (char)len;
	memcpy(b->p + b->len + CF_BUCKET_ENTRY, name, len);
	b->len = need;
	return 0;
}

/* Write the buckets `first` to `last`, with the names from v[*at] on. */
static int
write_slice(struct cf_cache *c, const struct cf_cached *dir,
	    const struct cf_names *names, const struct cf_slot *v, uint32_t *at,
	    int64_t first, int64_t last, struct buffer *b)
{
	int code = run(c, W_BEGIN);

	if (code)
		return code;
	for (int64_t id = first; id < last && !code; id++) {
		b->len = CF_BUCKET_SUM;
		for (; *at < names->n && !code &&
		       cf_bucket_id(dir, v[*at].hash) == id; ++*at) {
			const char *p = names->arena + v[*at].at;

			code = put_name(b, v[*at].hash, p + 1,
					(unsigned char)*p);
		}
		if (!code)
			code = put_bucket(c, id, b->p, b->len);
	}
	return commit(c, code);
}

static int
write_names(struct cf_cache *c, const struct cf_cached *dir,
	    const struct cf_names *names)
{
	int64_t first = dir->row << CF_BUCKET_BITS;
	int64_t end = first + (1ll << dir->bits);
	struct cf_slot *v = sorted(names);
	struct buffer b = { malloc(1024), 0, 1024 };
	int code = v && b.p ? 0 : SQLITE_NOMEM;
	uint32_t at = 0;

	for (int64_t id = first; id < end && !code; id += SLICE)
		code = write_slice(c, dir, names, v, &at, id,
				   id + SLICE < end ? id + SLICE : end, &b);
	free(v);
	free(b.p);
	return code;
}

static unsigned
bits_for(uint64_t n)
{
	unsigned bits = 0;

	while (bits < CF_BUCKET_BITS && n >> bits > BUCKET_NAMES)
		bits++;
	return bits;
}

/* Bytes that a directory takes in the file, roughly. */
static uint64_t
estimate(const struct cf_names *names)
{
	return names->used + (uint64_t)names->n * 7 + 16384;
}

static int
write_dir(struct cf_cache *c, const struct cf_cache_id *id,
	  const struct cf_names *names, const struct cf_stamp *stamp,
	  struct cf_cached *cached)
{
	struct cf_cached dir = { .bits = bits_for(names->n), .n = names->n };
	int code = drop_same(c, id);

	if (!code)
		code = make_space(c, estimate(names));
	if (!code)
		code = insert_dir(c, id, &dir);
	if (!code)
		code = write_names(c, &dir, names);
	if (!code)
		code = finish_dir(c, id, &dir, stamp);
	if (!code)
		*cached = dir;
	return code;
}

int
cf_cache_write(struct cf_cache *c, const struct cf_cache_id *id,
	       const struct cf_names *names, const struct cf_stamp *stamp,
	       struct cf_cached *cached)
{
	int64_t begin = cf_clock_us();
	int code;

	if (estimate(names) > *c->max / 4 * 3)
		return -E2BIG;
	if (c->broken)
		return -EIO;
	code = write_dir(c, id, names, stamp, cached);
	c->us += (uint64_t)(cf_clock_us() - begin);
	return cf_cache_failed(c, code);
}

/* ------------------------------------------------------------------ */
/* Writing what changed. */

/* The bucket without `change`'s name, in b; *was says that it was there. */
static int
copy_bucket(struct cf_cache *c, int64_t id,
	    const struct cf_cache_change *change, struct buffer *b, bool *was)
{
	sqlite3_stmt *s = c->write[W_GET];
	const char *p, *name;
	uint32_t hash;
	size_t len, n;
	int code, more = -1;

	sqlite3_bind_int64(s, 1, id);
	code = sqlite3_step(s) & 0xff;
	b->len = CF_BUCKET_SUM;
	if (code == SQLITE_ROW) {
		p = sqlite3_column_blob(s, 0);
		len = (size_t)sqlite3_column_bytes(s, 0);
		code = 0;
		if (cf_bucket_open(c, id, &p, &len))
			more = 1;
		while (more > 0 && !code &&
		       (more = cf_bucket_next(&p, &len, &hash, &name, &n)) > 0) {
			if (n == change->len && !memcmp(name, change->name, n))
				*was = true;
			else
				code = put_name(b, hash, name, n);
		}
	}
	sqlite3_reset(s);
	return code ? code : more < 0 ? SQLITE_CORRUPT : 0;
}

static int
update_name(struct cf_cache *c, const struct cf_cache_change *change,
	    struct cf_cached *dir, struct buffer *b)
{
	int64_t id = cf_bucket_id(dir, change->hash);
	bool was = false;
	int code = copy_bucket(c, id, change, b, &was);

	if (!code && was == change->added)
		return 0;
	if (!code && change->added)
		code = put_name(b, change->hash, change->name, change->len);
	if (!code)
		code = put_bucket(c, id, b->p, b->len);
	dir->n += change->added ? 1 : (uint64_t)-1;
	return code;
}

int
cf_cache_update(struct cf_cache *c, const struct cf_cache_id *id,
		const struct cf_cache_change *change, size_t n,
		const struct cf_stamp *stamp, struct cf_cached *cached)
{
	int64_t begin = cf_clock_us();
	struct cf_cached dir = *cached;
	struct buffer b = { malloc(4096), 0, 4096 };
	int code;

	if (c->broken || !b.p) {
		free(b.p);
		return -EIO;
	}
	code = run(c, W_BEGIN);
	if (!code) {
		for (size_t i = 0; i < n && !code; i++)
			code = update_name(c, &change[i], &dir, &b);
		if (!code)
			code = finish_dir(c, id, &dir, stamp);
		code = commit(c, code);
	}
	free(b.p);
	if (!code)
		*cached = dir;
	c->us += (uint64_t)(cf_clock_us() - begin);
	return cf_cache_failed(c, code);
}

/* ------------------------------------------------------------------ */

static unsigned
take_used(struct cf_cache *c, int64_t row[CF_CACHE_USED])
{
	unsigned n;

	pthread_mutex_lock(&c->lock);
	n = c->nused;
	memcpy(row, c->used, n * sizeof(*row));
	c->nused = 0;
	pthread_mutex_unlock(&c->lock);
	return n;
}

static int
write_used(struct cf_cache *c)
{
	int64_t row[CF_CACHE_USED];
	unsigned n = take_used(c, row);
	int code = n ? run(c, W_BEGIN) : 0;

	if (!n || code)
		return code;
	for (unsigned i = 0; i < n && !code; i++) {
		sqlite3_bind_int64(c->write[W_USED], 2, minutes());
		code = run_row(c, W_USED, row[i]);
	}
	return commit(c, code);
}

void
cf_cache_tidy(struct cf_cache *c)
{
	int64_t begin = cf_clock_us();
	int code;

	if (c->broken)
		return;
	code = write_used(c);
	if (!code)
		code = make_space(c, 0);
	if (!code && pages(c, "PRAGMA freelist_count") > 1024)
		code = sqlite3_exec(c->writer, "PRAGMA incremental_vacuum",
				    NULL, NULL, NULL) & 0xff;
	if (!code && c->wrote) {
		sqlite3_wal_checkpoint_v2(c->writer, NULL,
					  SQLITE_CHECKPOINT_TRUNCATE, NULL,
					  NULL);
		c->wrote = false;
	}
	cf_cache_failed(c, code);
	c->us += (uint64_t)(cf_clock_us() - begin);
}

uint64_t
cf_cache_bytes(struct cf_cache *c)
{
	sqlite3_stmt *s;
	uint64_t n = 0;

	pthread_mutex_lock(&c->lock);
	s = c->reader ? cf_db_prepare(c->reader, "PRAGMA page_count") : NULL;
	if (s && sqlite3_step(s) == SQLITE_ROW)
		n = (uint64_t)sqlite3_column_int64(s, 0) * 8192;
	sqlite3_finalize(s);
	pthread_mutex_unlock(&c->lock);
	return n;
}

uint64_t
cf_cache_us(struct cf_cache *c)
{
	return c->us;
}

/* ------------------------------------------------------------------ */

/* Count the names of a bucket; false if it is damaged. */
static bool
check_bucket(struct cf_cache *c, int64_t id, uint64_t *names)
{
	sqlite3_stmt *s = c->write[W_GET];
	const char *p, *name;
	uint32_t hash;
	size_t len, n;
	int more = -1;

	sqlite3_bind_int64(s, 1, id);
	if (sqlite3_step(s) == SQLITE_ROW) {
		p = sqlite3_column_blob(s, 0);
		len = (size_t)sqlite3_column_bytes(s, 0);
		more = cf_bucket_open(c, id, &p, &len) ? 1 : -1;
		while (more > 0) {
			more = cf_bucket_next(&p, &len, &hash, &name, &n);
			*names += more > 0;
		}
	}
	sqlite3_reset(s);
	return !more;
}

void
cf_cache_check(struct cf_cache *c, uint64_t *dirs, uint64_t *names,
	       uint64_t *damaged)
{
	sqlite3_stmt *s;
	int64_t row, buckets;

	if (c->broken)
		return;
	s = cf_db_prepare(c->writer,
			  "SELECT dir, bits FROM dirs WHERE complete=1");
	while (s && sqlite3_step(s) == SQLITE_ROW) {
		row = sqlite3_column_int64(s, 0);
		buckets = 1ll << (sqlite3_column_int(s, 1) & 31);
		if (row <= 0 || row > CF_CACHE_ROWS) {
			++*damaged;
			continue;
		}
		++*dirs;
		for (int64_t i = 0; i < buckets; i++) {
			if (check_bucket(c, row << CF_BUCKET_BITS | i, names))
				continue;
			++*damaged;
			break;
		}
	}
	sqlite3_finalize(s);
	s = cf_db_prepare(c->writer, "PRAGMA quick_check(1)");
	if (!s || sqlite3_step(s) != SQLITE_ROW ||
	    strcmp((const char *)sqlite3_column_text(s, 0), "ok"))
		++*damaged;
	sqlite3_finalize(s);
	if (*damaged)
		c->broken = true;
}
