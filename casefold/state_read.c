/* SPDX-License-Identifier: MIT */
/*
 * From a file to its key, from a key to its row: names, columns, and the
 * connections that read state.db.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "casefold/state_db.h"

/* ------------------------------------------------------------------ */
/* Keys. */

uint64_t
cf_state_tag(const struct cf_state_fs *fs, const struct cf_state_key *key)
{
	unsigned char buf[12 + CF_HDL_MAX];
	uint64_t tag;

	memcpy(buf, &key->ino, 8);
	memcpy(buf + 8, &fs->number, 4);
	memcpy(buf + 12, key->hdl, key->len);
	tag = cf_hash(&fs->state->key, buf, 12 + key->len);
	return tag ? tag : 1;
}

/* The handle decides; the birth time, too, where both times are known. */
bool
cf_state_same_birth(int64_t a, int64_t b)
{
	return a == b || !a || !b;
}

static void
put_handle(struct cf_state_key *key, const struct file_handle *h)
{
	unsigned type = (unsigned)h->handle_type;

	if (type > 0xff || h->handle_bytes > CF_HDL_MAX - 1)
		return;		/* as if there were none */
	key->hdl[0] = (unsigned char)type;
	memcpy(key->hdl + 1, h->f_handle, h->handle_bytes);
	key->len = 1 + h->handle_bytes;
}

static int
ask_handle(struct cf_state_key *key, int fd)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int mount_id;

	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (!name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH))
		put_handle(key, &u.h);
	else if (errno != EOPNOTSUPP && errno != EOVERFLOW && errno != EPERM &&
		 errno != ENOSYS)
		return -errno;
	return 0;
}

int
cf_state_make_key(const struct cf_state_fs *fs,
		  const struct cf_state_file *file, struct cf_state_key *key)
{
	int err = 0;

	key->ino = file->ino;
	key->btime = file->btime_ns;
	key->len = 0;
	if (file->handle)
		put_handle(key, file->handle);
	else
		err = ask_handle(key, file->fd);
	if (!err && !key->len && !key->btime && !fs->state->weak)
		err = -EOPNOTSUPP;
	if (!err)
		key->tag = cf_state_tag(fs, key);
	return err;
}

bool
cf_state_read_key(sqlite3_stmt *stmt, int ino, int hdl, int btime,
		  struct cf_state_key *key)
{
	int len = sqlite3_column_bytes(stmt, hdl);

	if (len < 0 || len == 1 || len > CF_HDL_MAX)
		return false;
	key->ino = (uint64_t)sqlite3_column_int64(stmt, ino);
	key->btime = sqlite3_column_int64(stmt, btime);
	key->len = (unsigned)len;
	if (len)
		memcpy(key->hdl, sqlite3_column_blob(stmt, hdl), (size_t)len);
	return true;
}

void
cf_state_bind_key(sqlite3_stmt *stmt, const struct cf_state_fs *fs,
		  const struct cf_state_key *key)
{
	sqlite3_bind_int64(stmt, 1, fs->row);
	sqlite3_bind_int64(stmt, 2, (int64_t)key->ino);
	/* A NULL pointer would be NULL, not an empty blob. */
	sqlite3_bind_blob(stmt, 3, key->hdl, (int)key->len, SQLITE_STATIC);
}

/* ------------------------------------------------------------------ */
/* Columns. */

static const struct column {
	unsigned bits;
	size_t at;
} columns[] = {		/* as CF_STATE_COLUMNS, but for crtime */
	{ CF_STATE_UID, offsetof(struct cf_state_row, uid) },
	{ CF_STATE_GID, offsetof(struct cf_state_row, gid) },
	{ CF_STATE_MODE, offsetof(struct cf_state_row, mode) },
	{ CF_STATE_RDEV, offsetof(struct cf_state_row, rdev) },
	{ CF_STATE_DOS, offsetof(struct cf_state_row, dosattr) },
	{ CF_STATE_CRTIME, 0 },
	{ CF_STATE_HOST, offsetof(struct cf_state_row, huid) },
	{ CF_STATE_HOST, offsetof(struct cf_state_row, hgid) },
};
enum { NCOLUMNS = sizeof(columns) / sizeof(columns[0]) };

static uint32_t *
field_of(struct cf_state_row *row, const struct column *c)
{
	return (uint32_t *)(void *)((char *)row + c->at);
}

void
cf_state_read_columns(sqlite3_stmt *stmt, int first, struct cf_state_row *row)
{
	int64_t v;

	memset(row, 0, sizeof(*row));
	for (int i = 0; i < NCOLUMNS; i++) {
		if (sqlite3_column_type(stmt, first + i) == SQLITE_NULL)
			continue;
		v = sqlite3_column_int64(stmt, first + i);
		row->has |= columns[i].bits;
		if (columns[i].bits == CF_STATE_CRTIME)
			row->crtime = v;
		else
			*field_of(row, &columns[i]) = (uint32_t)v;
	}
}

void
cf_state_bind_columns(sqlite3_stmt *stmt, int first,
		      const struct cf_state_row *row)
{
	struct cf_state_row r = *row;

	for (int i = 0; i < NCOLUMNS; i++) {
		if (!(r.has & columns[i].bits))
			sqlite3_bind_null(stmt, first + i);
		else if (columns[i].bits == CF_STATE_CRTIME)
			sqlite3_bind_int64(stmt, first + i, r.crtime);
		else
			sqlite3_bind_int64(stmt, first + i,
					   *field_of(&r, &columns[i]));
	}
}

/* Fields that are not there are 0, so that rows can be compared as bytes. */
void
cf_state_merge(struct cf_state_row *row, unsigned mask,
	       const struct cf_state_row *from)
{
	struct cf_state_row r = *from;

	row->has = (row->has & ~mask) | (from->has & mask);
	for (int i = 0; i < NCOLUMNS; i++) {
		unsigned bit = columns[i].bits;
		bool has = r.has & bit;

		if (!(mask & bit))
			continue;
		if (bit == CF_STATE_CRTIME)
			row->crtime = has ? r.crtime : 0;
		else
			*field_of(row, &columns[i]) =
				has ? *field_of(&r, &columns[i]) : 0;
	}
	if (!(row->has & CF_STATE_FACTS))
		memset(row, 0, sizeof(*row));
}

/* ------------------------------------------------------------------ */
/* Reading the database. */

int
cf_reader_get(struct cf_state *s, struct cf_reader **reader)
{
	struct cf_reader *r;
	int code;

	pthread_mutex_lock(&s->read_lock);
	r = s->readers;
	if (r)
		s->readers = r->next;
	pthread_mutex_unlock(&s->read_lock);
	*reader = r;
	if (r)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	code = cf_state_connect(s, &r->db);
	if (!code) {
		r->get = cf_db_prepare(r->db, "SELECT btime," CF_STATE_COLUMNS
				       " FROM node WHERE fs=?1 AND ino=?2 "
				       "AND hdl=?3");
		code = r->get ? 0 : sqlite3_errcode(r->db);
	}
	if (code) {
		code = cf_state_errno(s, r->db, code);
		cf_db_close(r->db);
		free(r);
		return code;
	}
	*reader = r;
	return 0;
}

void
cf_reader_put(struct cf_state *s, struct cf_reader *reader)
{
	pthread_mutex_lock(&s->read_lock);
	reader->next = s->readers;
	s->readers = reader;
	pthread_mutex_unlock(&s->read_lock);
}

void
cf_readers_close(struct cf_state *s)
{
	struct cf_reader *r = s->readers, *next;

	for (; r; r = next) {
		next = r->next;
		cf_db_close(r->db);
		free(r);
	}
	s->readers = NULL;
}

int
cf_state_read_row(struct cf_state_fs *fs, sqlite3 *db, sqlite3_stmt *stmt,
		  const struct cf_state_key *key, struct cf_row *row)
{
	int code;

	cf_state_bind_key(stmt, fs, key);
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		row->btime = sqlite3_column_int64(stmt, 0);
		cf_state_read_columns(stmt, 1, &row->row);
	}
	sqlite3_reset(stmt);
	if (code == SQLITE_ROW)
		return 1;
	return code == SQLITE_DONE ? 0 :
				     cf_state_errno(fs->state, db, code);
}

int
cf_state_read(struct cf_state_fs *fs, const struct cf_state_key *key,
	      unsigned changes, struct cf_row *row)
{
	struct cf_state *s = fs->state;
	struct cf_reader *r;
	int found = cf_reader_get(s, &r);

	if (found)
		return found;
	cf_state_count(&s->stats.db_reads, 1);
	found = cf_state_read_row(fs, r->db, r->get, key, row);
	cf_reader_put(s, r);
	if (found > 0) {
		cf_rows_offer(&s->rows, key->tag, row, changes);
		cf_state_count(&s->stats.hits, 1);
	}
	return found;
}
