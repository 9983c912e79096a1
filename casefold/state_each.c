/* SPDX-License-Identifier: MIT */
/*
 * Over all rows, while they are in use: one SELECT on a connection of its own
 * sees the store as it was at one moment and holds nobody up, though the log
 * cannot begin anew before it ends.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "casefold/state_db.h"

struct each {
	struct cf_state *state;
	const struct cf_state_host *host;
	struct cf_state_check *check;
	cf_state_line_fn *put;
	void *arg;
	bool gc;
};

struct row {
	struct cf_state_fs *fs;	/* NULL: none that we know */
	struct cf_state_key key;
	struct cf_state_row row;
};

typedef int row_fn(const struct each *e, const struct row *row);

static struct cf_state_fs *
fs_of_row(struct cf_state *s, int64_t row)
{
	struct cf_state_fs *fs;

	pthread_mutex_lock(&s->lock);
	for (fs = s->fs; fs && fs->row != row;)
		fs = fs->next;
	pthread_mutex_unlock(&s->lock);
	return fs;
}

static int
each_row(const struct each *e, sqlite3_stmt *stmt, row_fn *fn)
{
	struct row row;
	int code, err = 0;

	while (!err && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		row.fs = fs_of_row(e->state, sqlite3_column_int64(stmt, 0));
		if (!cf_state_read_key(stmt, 1, 2, 3, &row.key)) {
			code = SQLITE_CORRUPT;
			break;
		}
		if (row.fs)
			row.key.tag = cf_state_tag(row.fs, &row.key);
		cf_state_read_columns(stmt, 4, &row.row);
		err = fn(e, &row);
	}
	if (err || code == SQLITE_DONE)
		return err;
	return cf_state_errno(e->state, sqlite3_db_handle(stmt), code);
}

static int
each(const struct each *e, row_fn *fn)
{
	struct cf_state *s = e->state;
	struct cf_reader *r;
	sqlite3_stmt *stmt;
	int err;

	if (!s->exists)
		return 0;
	err = cf_reader_get(s, &r);
	if (err)
		return err;
	stmt = cf_db_prepare(r->db, "SELECT fs,ino,hdl,btime," CF_STATE_COLUMNS
			     " FROM node");
	err = stmt ? each_row(e, stmt, fn) :
		     cf_state_errno(s, r->db, sqlite3_errcode(r->db));
	sqlite3_finalize(stmt);
	cf_reader_put(s, r);
	return err;
}

/* ------------------------------------------------------------------ */

enum found { PRESENT, GONE, UNKNOWN };

static int64_t
birth_of(const struct statx *stx)
{
	if (!(stx->stx_mask & STATX_BTIME))
		return 0;
	return stx->stx_btime.tv_sec * 1000000000ll + stx->stx_btime.tv_nsec;
}

/* Open the file of a row; *fd is -1 unless it is there. */
static enum found
open_file(const struct each *e, const struct row *row, int *fd)
{
	const struct cf_state_key *key = &row->key;
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	struct statx stx = { 0 };

	*fd = -1;
	if (!row->fs || !key->len || !e->host)
		return UNKNOWN;
	u.h.handle_type = key->hdl[0];
	u.h.handle_bytes = key->len - 1;
	memcpy(u.h.f_handle, key->hdl + 1, key->len - 1);
	*fd = e->host->open(e->host->arg, row->fs, &u.h);
	if (*fd < 0)
		return *fd == -ESTALE ? GONE : UNKNOWN;
	if (!statx(*fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &stx) &&
	    stx.stx_ino == key->ino &&
	    cf_state_same_birth(birth_of(&stx), key->btime))
		return PRESENT;
	close(*fd);
	*fd = -1;
	return stx.stx_ino == key->ino ? GONE : UNKNOWN;
}

static const char *const what_is[] = {
	[PRESENT] = "not below the root",
	[GONE] = "gone",
	[UNKNOWN] = "cannot be opened",
};

static int
tell_row(const struct each *e, const struct row *row, enum found found)
{
	char line[64];

	if (!e->host || !e->host->tell)
		return 0;
	snprintf(line, sizeof(line), "inode %llu: %s",
		 (unsigned long long)row->key.ino, what_is[found]);
	return e->host->tell(e->host->arg, line);
}

static int
check_row(const struct each *e, const struct row *row)
{
	struct cf_state_check *k = e->check;
	enum found found;
	int fd, n;

	k->rows++;
	found = open_file(e, row, &fd);
	if (found == PRESENT) {
		close(fd);
		k->present++;
		return 0;
	}
	k->unknown += found == UNKNOWN;
	k->gone += found == GONE;
	n = e->gc && found == GONE ? cf_state_delete(row->fs, &row->key) : 0;
	if (n > 0)
		k->deleted++;
	return n < 0 ? n : tell_row(e, row, found);
}

static int
check_file(struct cf_state *s)
{
	struct cf_reader *r;
	sqlite3_stmt *stmt = NULL;
	const char *text;
	int err = cf_reader_get(s, &r), code;

	if (err)
		return err;
	code = sqlite3_prepare_v2(r->db, "PRAGMA integrity_check(1)", -1, &stmt,
				  NULL);
	if (!code)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(stmt, 0);
		code = text && !strcmp(text, "ok") ? 0 : SQLITE_CORRUPT;
	}
	err = cf_state_errno(s, r->db, code);
	sqlite3_finalize(stmt);
	cf_reader_put(s, r);
	return err;
}

static int
check(struct cf_state *s, const struct cf_state_host *host, bool gc,
      struct cf_state_check *check)
{
	struct each e = { .state = s, .host = host, .check = check, .gc = gc };
	int err = 0;

	memset(check, 0, sizeof(*check));
	if (s->exists)
		err = check_file(s);
	if (!err)
		err = each(&e, check_row);
	check->damaged = s->broken;
	return check->damaged ? 0 : err;
}

int
cf_state_check(struct cf_state *s, const struct cf_state_host *host,
	       struct cf_state_check *k)
{
	return check(s, host, false, k);
}

int
cf_state_gc(struct cf_state *s, const struct cf_state_host *host,
	    struct cf_state_check *k)
{
	return check(s, host, true, k);
}

/* ------------------------------------------------------------------ */

static int
export_row(const struct each *e, const struct row *row)
{
	char line[CF_STATE_LINE], path[PATH_MAX];
	enum found found;
	int fd, err = -ENOENT;

	found = open_file(e, row, &fd);
	if (found == PRESENT) {
		err = e->host->path(e->host->arg, fd, path);
		close(fd);
	}
	if (!err)
		cf_state_print(path, &row->row, line, sizeof(line));
	else
		snprintf(line, sizeof(line), "# inode %llu: %s",
			 (unsigned long long)row->key.ino, what_is[found]);
	return e->put(e->arg, line);
}

int
cf_state_export(struct cf_state *s, const struct cf_state_host *host,
		cf_state_line_fn *put, void *arg)
{
	struct each e = { .state = s, .host = host, .put = put, .arg = arg };

	return each(&e, export_row);
}
