/* SPDX-License-Identifier: MIT */
/*
 * Rows of state.db: finding, changing, deleting one.
 *
 * Most questions end at the set of inode numbers, most others at the rows in
 * memory; the database is read for those that do not fit there, and written
 * before a change is answered.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "casefold/state_db.h"

/* ------------------------------------------------------------------ */
/* Changes; all under state.lock. */

static int
run(struct cf_state *s, enum cf_state_sql sql)
{
	return cf_db_run(s->sql[sql]);
}

static int
put_fs(struct cf_state_fs *fs)
{
	struct cf_state *s = fs->state;
	sqlite3_stmt *stmt = s->sql[S_FS];
	int code;

	if (fs->row)
		return 0;
	sqlite3_bind_blob(stmt, 1, fs->id, (int)fs->id_len, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, fs->type);
	sqlite3_bind_int64(stmt, 3, (int64_t)time(NULL));
	code = cf_db_run(stmt);
	if (!code)
		fs->row = sqlite3_last_insert_rowid(s->writer);
	return code;
}

static int
put_row(struct cf_state_fs *fs, const struct cf_state_key *key,
	const struct cf_row *row)
{
	sqlite3_stmt *stmt = fs->state->sql[S_PUT];

	cf_state_bind_key(stmt, fs, key);
	sqlite3_bind_int64(stmt, 4, row->btime);
	cf_state_bind_columns(stmt, 5, &row->row);
	return cf_db_run(stmt);
}

static int
del_row(struct cf_state_fs *fs, const struct cf_state_key *key)
{
	cf_state_bind_key(fs->state->sql[S_DEL], fs, key);
	return run(fs->state, S_DEL);
}

enum { OF_INO = 16 };

/* The keys of rows of that number, at most OF_INO; how many, or -errno. */
static int
keys_of_ino(struct cf_state_fs *fs, uint64_t ino,
	    struct cf_state_key keys[OF_INO])
{
	struct cf_state *s = fs->state;
	sqlite3_stmt *stmt = s->sql[S_OF_INO];
	int n = 0, code;

	sqlite3_bind_int64(stmt, 1, fs->row);
	sqlite3_bind_int64(stmt, 2, (int64_t)ino);
	while ((code = sqlite3_step(stmt)) == SQLITE_ROW && n < OF_INO) {
		if (cf_state_read_key(stmt, 0, 1, 2, &keys[n])) {
			keys[n].tag = cf_state_tag(fs, &keys[n]);
			n++;
		}
	}
	sqlite3_reset(stmt);
	if (code == SQLITE_DONE || code == SQLITE_ROW)
		return n;
	return cf_state_errno(s, s->writer, code);
}

static void
forget_row(struct cf_state_fs *fs, const struct cf_state_key *key)
{
	cf_rows_del(&fs->state->rows, key->tag);
	atomic_fetch_sub(&fs->state->nrows, 1);
}

/* `key` is alive, if not NULL: which of its number's rows are not its own? */
static int
pick_dead(const struct cf_state_key *key, struct cf_state_key *keys, int n)
{
	int dead = 0;

	for (int i = 0; i < n; i++) {
		if (key && keys[i].tag == key->tag &&
		    cf_state_same_birth(keys[i].btime, key->btime))
			continue;
		keys[dead++] = keys[i];
	}
	return dead;
}

/* Of one change, or of none in a batch, which has its own. */
static int
begin(struct cf_state *s)
{
	return s->batch ? 0 : run(s, S_BEGIN);
}

/* Something was written; in a batch it is not committed yet. */
static void
wrote(struct cf_state *s)
{
	if (!s->batch)
		cf_state_wrote(s);
}

/* Commit, or take it all back; 0 or -errno. */
static int
end(struct cf_state *s, int code)
{
	int err;

	if (s->batch)
		return cf_state_errno(s, s->writer, code);
	if (!code)
		code = run(s, S_COMMIT);
	if (!code) {
		cf_state_wrote(s);
		return 0;
	}
	err = cf_state_errno(s, s->writer, code);
	if (!sqlite3_get_autocommit(s->writer))
		run(s, S_ROLLBACK);
	cf_state_count(&s->stats.errors, 1);
	return err;
}

static int
failed(struct cf_state *s, int code)
{
	cf_state_count(&s->stats.errors, 1);
	return cf_state_errno(s, s->writer, code);
}

/*
 * Delete rows of files that had the number before `key` (NULL: all), and put
 * `row` under it, if there is one.  One transaction.
 */
static int
replace(struct cf_state_fs *fs, uint64_t ino, const struct cf_state_key *key,
	const struct cf_row *row, uint64_t *counter)
{
	struct cf_state *s = fs->state;
	struct cf_state_key keys[OF_INO];
	int n = keys_of_ino(fs, ino, keys), dead, code;

	if (n < 0)
		return n;
	dead = pick_dead(key, keys, n);
	if (!dead && !row) {
		if (!n)
			cf_inos_del(&fs->inos, ino);
		return 0;
	}
	code = begin(s);
	for (int i = 0; i < dead && !code; i++)
		code = del_row(fs, &keys[i]);
	if (!code && row)
		code = put_row(fs, key, row);
	code = end(s, code);
	if (code)
		return code;
	for (int i = 0; i < dead; i++)
		forget_row(fs, &keys[i]);
	if (dead == n && n < OF_INO && !row)
		cf_inos_del(&fs->inos, ino);
	cf_state_count(counter, (uint64_t)dead);
	return 0;
}

/* The row as it is now; 1, 0 or -errno. */
static int
current(struct cf_state_fs *fs, const struct cf_state_key *key,
	struct cf_row *row)
{
	struct cf_state *s = fs->state;
	unsigned changes;
	int found;

	if (!s->exists || !fs->row || !cf_inos_has(&fs->inos, key->ino))
		return 0;
	found = cf_rows_find(&s->rows, key->tag, row, &changes);
	if (!found && s->rows.lost)
		found = cf_state_read_row(fs, s->writer, s->sql[S_GET],
					  key, row);
	if (found > 0 && !cf_state_same_birth(row->btime, key->btime))
		found = 0;
	return found;
}

static int
write_row(struct cf_state_fs *fs, const struct cf_state_key *key,
	  const struct cf_row *row, bool isnew)
{
	struct cf_state *s = fs->state;
	int new = cf_inos_add(&fs->inos, key->ino), code;

	if (new < 0)
		return new;
	if (isnew)
		cf_rows_reserve(&s->rows, s->nrows + 1);
	if (isnew && !new && fs->single) {
		code = replace(fs, key->ino, key, row, &s->stats.dead);
		if (code)
			return code;
	} else {
		code = put_row(fs, key, row);
		if (code) {
			if (new)
				cf_inos_del(&fs->inos, key->ino);
			return failed(s, code);
		}
		wrote(s);
	}
	cf_rows_put(&s->rows, key->tag, row);
	if (isnew)
		atomic_fetch_add(&s->nrows, 1);
	return 0;
}

static int
erase_row(struct cf_state_fs *fs, const struct cf_state_key *key)
{
	struct cf_state *s = fs->state;
	struct cf_state_key keys[OF_INO];
	int code = del_row(fs, key);

	if (code)
		return failed(s, code);
	wrote(s);
	forget_row(fs, key);
	if (!keys_of_ino(fs, key->ino, keys))
		cf_inos_del(&fs->inos, key->ino);
	return 0;
}

static int
change(struct cf_state_fs *fs, const struct cf_state_key *key, unsigned mask,
       const struct cf_state_row *to, struct cf_state_row *now)
{
	struct cf_state *s = fs->state;
	struct cf_row row = { 0 }, old;
	int found = current(fs, key, &row), err = 0;

	if (found < 0)
		return found;
	if (!found)
		memset(&row, 0, sizeof(row));
	old = row;
	cf_state_merge(&row.row, mask, to);
	if (key->btime)
		row.btime = key->btime;
	if (memcmp(&row.row, &old.row, sizeof(row.row))) {
		err = cf_state_begin(s);
		if (!err)
			err = cf_state_errno(s, s->writer, put_fs(fs));
		if (!err)
			err = row.row.has ? write_row(fs, key, &row, !found) :
					    erase_row(fs, key);
		if (!err)
			cf_state_count(&s->stats.changes, 1);
	}
	if (!err && now)
		*now = row.row;
	return err;
}

int
cf_state_change(struct cf_state_fs *fs, const struct cf_state_file *file,
		unsigned mask, const struct cf_state_row *row,
		struct cf_state_row *now)
{
	struct cf_state *s = fs->state;
	int64_t begin = cf_clock_us();
	struct cf_state_key key;
	int err = cf_state_make_key(fs, file, &key);

	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	err = change(fs, &key, mask, row, now);
	pthread_mutex_unlock(&s->lock);
	cf_state_count(&s->stats.db_us, (uint64_t)(cf_clock_us() - begin));
	return err;
}

/* ------------------------------------------------------------------ */
/* Several changes in one transaction. */

/* What is in memory of a row may be of a transaction that was taken back. */
static void
read_again(struct cf_state_fs *fs, const struct cf_state_key *key)
{
	struct cf_state *s = fs->state;
	struct cf_row row;
	int n = cf_state_read_row(fs, s->writer, s->sql[S_GET], key, &row);

	if (n > 0 && cf_inos_add(&fs->inos, key->ino) >= 0) {
		cf_rows_put(&s->rows, key->tag, &row);
		return;
	}
	cf_rows_del(&s->rows, key->tag);
	if (n)
		s->rows.lost++;		/* ask the database from now on */
}

static int
put_all(struct cf_state *s, const struct cf_state_put *put, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = cf_state_errno(s, s->writer, put_fs(put[i].fs));
	if (!err)
		err = cf_state_errno(s, s->writer, begin(s));
	if (err)
		return err;
	s->batch = true;
	for (size_t i = 0; i < n && !err; i++)
		err = change(put[i].fs, &put[i].key,
			     CF_STATE_FACTS | CF_STATE_HOST, &put[i].row, NULL);
	s->batch = false;
	if (!err)
		return end(s, 0);
	if (!sqlite3_get_autocommit(s->writer))
		run(s, S_ROLLBACK);
	return err;
}

int
cf_state_put_rows(struct cf_state *s, const struct cf_state_put *put, size_t n)
{
	int64_t start = cf_clock_us();
	size_t had;
	int err;

	pthread_mutex_lock(&s->lock);
	had = s->nrows;
	err = n > 1 ? cf_state_begin(s) : 0;
	if (n == 1) {
		err = change(put->fs, &put->key, CF_STATE_FACTS | CF_STATE_HOST,
			     &put->row, NULL);
	} else if (!err) {
		err = put_all(s, put, n);
		for (size_t i = 0; i < n && err; i++)
			read_again(put[i].fs, &put[i].key);
		if (err)
			s->nrows = had;
	}
	pthread_mutex_unlock(&s->lock);
	cf_state_count(&s->stats.db_us, (uint64_t)(cf_clock_us() - start));
	return err;
}

/* ------------------------------------------------------------------ */

bool
cf_state_maybe(const struct cf_state_fs *fs, uint64_t ino)
{
	return cf_inos_has(&fs->inos, ino);
}

/* No row is the file's: those of its number are of files that are gone. */
static int
bury(struct cf_state_fs *fs, const struct cf_state_key *key,
     struct cf_row *row)
{
	struct cf_state *s = fs->state;
	int found;

	pthread_mutex_lock(&s->lock);
	found = current(fs, key, row);	/* recorded meanwhile? */
	if (!found && cf_inos_has(&fs->inos, key->ino) && !cf_state_begin(s))
		replace(fs, key->ino, key, NULL, &s->stats.dead);
	pthread_mutex_unlock(&s->lock);
	return found;
}

int
cf_state_find(struct cf_state_fs *fs, const struct cf_state_file *file,
	      struct cf_state_row *row)
{
	struct cf_state *s = fs->state;
	struct cf_state_key key;
	struct cf_row found;
	unsigned changes;
	int n;

	if (!cf_inos_has(&fs->inos, file->ino))
		return 0;
	n = cf_state_make_key(fs, file, &key);
	if (n)
		return n == -EOPNOTSUPP ? 0 : n;
	n = cf_rows_find(&s->rows, key.tag, &found, &changes);
	if (!n && s->rows.lost) {
		if (file->nowait)
			return -EAGAIN;
		n = cf_state_read(fs, &key, changes, &found);
	}
	if (n > 0 && !cf_state_same_birth(found.btime, key.btime))
		n = 0;
	if (!n && fs->single && !s->readonly && !s->still && !s->broken) {
		if (file->nowait)
			return -EAGAIN;
		n = bury(fs, &key, &found);
	}
	if (n > 0)
		*row = found.row;
	return n;
}

int
cf_state_drop(struct cf_state_fs *fs, const struct cf_state_file *file)
{
	struct cf_state *s = fs->state;
	struct cf_state_key key;
	struct cf_row row;
	int err;

	if (!cf_inos_has(&fs->inos, file->ino))
		return 0;
	if (file->nowait)
		return -EAGAIN;
	err = fs->single ? 0 : cf_state_make_key(fs, file, &key);
	if (err)
		return err == -EOPNOTSUPP ? 0 : err;
	pthread_mutex_lock(&s->lock);
	err = cf_state_begin(s);
	if (!err && fs->single) {
		err = replace(fs, file->ino, NULL, NULL, &s->stats.dropped);
	} else if (!err && (err = current(fs, &key, &row)) > 0) {
		err = erase_row(fs, &key);
		if (!err)
			cf_state_count(&s->stats.dropped, 1);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

int
cf_state_delete(struct cf_state_fs *fs, const struct cf_state_key *key)
{
	struct cf_state *s = fs->state;
	struct cf_row row;
	int err;

	pthread_mutex_lock(&s->lock);
	err = cf_state_begin(s);
	if (!err) {
		err = current(fs, key, &row);
		if (err > 0)
			err = erase_row(fs, key) ? : 1;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}
