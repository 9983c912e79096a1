/* SPDX-License-Identifier: MIT */
/*
 * Opens state.db, loads what is kept in memory, and makes the file when the
 * first row comes.  A damaged file is never written to, nor repaired: who runs
 * the daemon is told how to go on.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "casefold/state_db.h"

#define APPLICATION 1735873396	/* gwSt */
#define SCHEMA 1	/* version of the tables */
#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE meta(k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE fs(fs INTEGER PRIMARY KEY, ident BLOB NOT NULL UNIQUE,"
	" ftype INTEGER NOT NULL, first_seen INTEGER NOT NULL);"
	"CREATE TABLE node("
	" fs INTEGER NOT NULL REFERENCES fs, ino INTEGER NOT NULL,"
	" hdl BLOB NOT NULL,"		/* type, handle; empty: has none */
	" btime INTEGER NOT NULL,"	/* ns; 0: unknown */
	" uid INTEGER, gid INTEGER, mode INTEGER, rdev INTEGER,"
	" dosattr INTEGER, crtime INTEGER,"
	" huid INTEGER, hgid INTEGER,"
	" PRIMARY KEY(fs, ino, hdl)) WITHOUT ROWID;"
	"PRAGMA application_id=" NUMBER(APPLICATION) ";"
	"PRAGMA user_version=" NUMBER(SCHEMA) ";"
	"COMMIT;";

static const char *const state_sql[S_SQLS] = {
	[S_BEGIN] = "BEGIN IMMEDIATE",
	[S_COMMIT] = "COMMIT",
	[S_ROLLBACK] = "ROLLBACK",
	[S_META] = "INSERT OR REPLACE INTO meta VALUES(?1,?2)",
	[S_FS] = "INSERT INTO fs(ident,ftype,first_seen) VALUES(?1,?2,?3)",
	[S_PUT] = "INSERT OR REPLACE INTO node(fs,ino,hdl,btime,"
		  CF_STATE_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,"
		  "?11,?12)",
	[S_DEL] = "DELETE FROM node WHERE fs=?1 AND ino=?2 AND hdl=?3",
	[S_GET] = "SELECT btime," CF_STATE_COLUMNS " FROM node "
		  "WHERE fs=?1 AND ino=?2 AND hdl=?3",
	[S_OF_INO] = "SELECT ino,hdl,btime FROM node WHERE fs=?1 AND ino=?2",
};

/* ------------------------------------------------------------------ */
/* Errors. */

static bool
is_damage(int code)
{
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ||
	       code == SQLITE_FORMAT;
}

void
cf_state_damage(struct cf_state *s, char why[CF_STATE_WHY])
{
	snprintf(why, CF_STATE_WHY,
		 "%s is damaged and was left as it is; to go on, stop the "
		 "daemon, copy the directory, and in the copy run "
		 "\"sqlite3 state.db .dump | sed 's/^ROLLBACK;.*/COMMIT;/' | "
		 "sqlite3 new.db\" and then \"sqlite3 new.db 'PRAGMA "
		 "application_id=" NUMBER(APPLICATION) "; PRAGMA "
		 "user_version=" NUMBER(SCHEMA) "; SELECT count(*) FROM node'\", "
		 "which says how many rows came back: new.db then takes the "
		 "place of state.db, without state.db-wal and state.db-shm; or "
		 "let the last backup, state.db.bak, do so; or move all of them "
		 "away, start again and give an export to "
		 "\"gatewayctl state import\"", s->path);
}

int
cf_state_errno(struct cf_state *s, sqlite3 *db, int code)
{
	int err = db ? sqlite3_system_errno(db) : errno;
	char why[CF_STATE_WHY];

	switch (code & 0xff) {
	case SQLITE_OK:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_IOERR:
		return err ? -err : -EIO;
	}
	if (is_damage(code & 0xff) && !atomic_exchange(&s->broken, true)) {
		cf_state_damage(s, why);
		cf_state_tell(s, "%s", why);
	}
	return -EIO;
}

/* The same as a sentence, of opening. */
static int
say(struct cf_state *s, int code, char why[CF_STATE_WHY])
{
	int err;

	if (is_damage(code)) {
		cf_state_damage(s, why);
		return -EIO;
	}
	if (code == SQLITE_AUTH) {
		snprintf(why, CF_STATE_WHY, "%s was written by a later version "
			 "of gatewayd and was left as it is", s->path);
		return -EPROTO;
	}
	err = cf_state_errno(s, s->writer, code);
	if (err == -EBUSY)
		snprintf(why, CF_STATE_WHY, "%s is in use by another process",
			 s->path);
	else
		snprintf(why, CF_STATE_WHY, "%s: %s", s->path, strerror(-err));
	return err;
}

/* ------------------------------------------------------------------ */
/* Connections. */

int
cf_state_connect(struct cf_state *s, sqlite3 **db)
{
	int code = s->still ? cf_db_open_still(s->path, db) :
			      cf_db_open(s->path, "", CF_DB_LEAVE, db);

	if (!code)
		sqlite3_busy_timeout(*db, CF_STATE_BUSY_MS);
	return code;
}

void
cf_state_disconnect(struct cf_state *s)
{
	atomic_store(&s->exists, false);
	cf_readers_close(s);
	cf_db_close(s->mover);
	cf_db_close(s->writer);
	s->mover = s->writer = NULL;
	if (s->wal_fd >= 0)
		close(s->wal_fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->wal_fd = s->lock_fd = -1;
}

/* One number that a statement answers, -1 if it has none; 0 or a code. */
static int
ask(sqlite3 *db, const char *sql, int64_t *n)
{
	sqlite3_stmt *stmt;
	int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	*n = -1;
	if (!code)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return code == SQLITE_ROW || code == SQLITE_DONE ? 0 : code & 0xff;
}

int
cf_state_set_meta(struct cf_state *s, const char *k, const void *v, size_t len)
{
	sqlite3_stmt *stmt = s->sql[S_META];

	sqlite3_bind_text(stmt, 1, k, -1, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 2, v, (int)len, SQLITE_STATIC);
	return cf_db_run(stmt);
}

/* ------------------------------------------------------------------ */
/* Loading. */

static int
load_fs(struct cf_state *s)
{
	struct cf_state_fs *fs;
	sqlite3_stmt *stmt;
	int code = sqlite3_prepare_v2(s->writer, "SELECT fs,ident,ftype FROM fs",
				      -1, &stmt, NULL), len;

	while (stmt && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		len = sqlite3_column_bytes(stmt, 1);
		if (len < 1 || len > CF_FSID_MAX)
			break;
		fs = cf_state_add_fs(s, sqlite3_column_blob(stmt, 1),
				     (unsigned)len,
				     sqlite3_column_int64(stmt, 2));
		if (!fs) {
			code = SQLITE_NOMEM;
			break;
		}
		fs->row = sqlite3_column_int64(stmt, 0);
	}
	sqlite3_finalize(stmt);
	return code == SQLITE_ROW ? SQLITE_CORRUPT :
	       code == SQLITE_DONE ? 0 : code & 0xff;
}

static struct cf_state_fs *
fs_of_row(struct cf_state *s, int64_t row)
{
	struct cf_state_fs *fs = s->fs;

	while (fs && fs->row != row)
		fs = fs->next;
	return fs;
}

static int
load_row(struct cf_state *s, sqlite3_stmt *stmt)
{
	struct cf_state_fs *fs = fs_of_row(s, sqlite3_column_int64(stmt, 0));
	struct cf_state_key key;
	struct cf_row row;
	int new;

	if (!fs || !cf_state_read_key(stmt, 1, 2, 3, &key))
		return SQLITE_CORRUPT;
	new = cf_inos_add(&fs->inos, key.ino);
	if (new < 0)
		return new == -ENOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
	key.tag = cf_state_tag(fs, &key);
	row.btime = key.btime;
	cf_state_read_columns(stmt, 4, &row.row);
	cf_rows_put(&s->rows, key.tag, &row);
	s->nrows++;
	return 0;
}

static int
load_rows(struct cf_state *s)
{
	sqlite3_stmt *stmt = NULL;
	int64_t n;
	int code = ask(s->writer, "SELECT count(*) FROM node", &n);

	if (!code)
		code = sqlite3_prepare_v2(s->writer, "SELECT fs,ino,hdl,btime,"
					  CF_STATE_COLUMNS " FROM node", -1,
					  &stmt, NULL);
	if (n > 0)
		cf_rows_reserve(&s->rows, (size_t)n);
	while (stmt && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
		code = load_row(s, stmt);
		if (code)
			break;
	}
	sqlite3_finalize(stmt);
	return code == SQLITE_DONE ? 0 : code & 0xff;
}

/* The whole file, if the daemon that had it did not say good-bye. */
static int
check_whole(struct cf_state *s)
{
	sqlite3_stmt *stmt;
	const char *text;
	int64_t clean;
	int code = ask(s->writer, "SELECT v=x'31' FROM meta WHERE k='clean'",
		       &clean);

	if (code || clean == 1)
		return code;
	code = sqlite3_prepare_v2(s->writer, "PRAGMA quick_check(1)", -1, &stmt,
				  NULL);
	if (!code)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(stmt, 0);
		code = text && !strcmp(text, "ok") ? 0 : SQLITE_CORRUPT;
	}
	sqlite3_finalize(stmt);
	return code & 0xff;
}

/* Nothing is in it: the daemon was killed before it had made the tables. */
static int
is_empty(struct cf_state *s, bool *empty)
{
	int64_t n;
	int code = ask(s->writer, "SELECT count(*) FROM sqlite_schema", &n);

	*empty = !n;
	return code;
}

/* SQLITE_AUTH: of a later version. */
static int
check_identity(struct cf_state *s)
{
	int64_t version, application;
	int code = ask(s->writer, "PRAGMA user_version", &version);

	if (!code)
		code = ask(s->writer, "PRAGMA application_id", &application);
	if (code)
		return code;
	if (application != APPLICATION || version < 1)
		return SQLITE_NOTADB;
	return version > SCHEMA ? SQLITE_AUTH : 0;
}

static int
load_tables(struct cf_state *s)
{
	int code = check_identity(s);

	if (!code)
		code = check_whole(s);
	if (!code)
		code = load_fs(s);
	if (!code)
		code = load_rows(s);
	if (!code)
		code = cf_db_prepare_all(s->writer, state_sql, s->sql, S_SQLS);
	return code == SQLITE_ERROR ? SQLITE_CORRUPT : code;
}

static int
load(struct cf_state *s, char why[CF_STATE_WHY])
{
	int code = cf_state_connect(s, &s->writer);
	bool empty = false;

	if (!code)
		code = is_empty(s, &empty);
	if (!code && !empty)
		code = load_tables(s);
	if (code)
		return say(s, code, why);
	if (!empty) {
		atomic_store(&s->exists, true);
		return 0;
	}
	cf_db_close(s->writer);
	s->writer = NULL;
	return 0;
}

/* ------------------------------------------------------------------ */
/* The directory. */

static int
lock_dir(struct cf_state *s, char why[CF_STATE_WHY])
{
	static const char *const faults[CF_DB_STEPS] = {
		[CF_DB_MAKE] = "cannot be made",
		[CF_DB_OPEN] = "cannot be opened",
		[CF_DB_LOCAL] = "is not on a local file system",
		[CF_DB_WRITE] = "cannot be written",
		[CF_DB_LOCK] = "is in use by another process",
	};
	enum cf_db_step step;
	int err;

	if (s->lock_fd >= 0)
		return 0;
	err = cf_db_lock_dir(s->dir, "state.lock", &s->lock_fd, &step);
	if (!err)
		return 0;
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
	snprintf(why, CF_STATE_WHY, "state directory %s %s%s%s", s->dir,
		 faults[step], step == CF_DB_LOCAL || step == CF_DB_LOCK ? "" :
		 ": ", step == CF_DB_LOCAL || step == CF_DB_LOCK ? "" :
		 strerror(-err));
	return step == CF_DB_LOCK ? -EBUSY : err;
}

/* A log that a disk that cannot be written has is one that we cannot read. */
static bool
has_log(struct cf_state *s)
{
	struct stat st;
	char *wal;
	bool has;

	if (asprintf(&wal, "%s-wal", s->path) < 0)
		return true;
	has = !stat(wal, &st) && st.st_size;
	free(wal);
	return has;
}

int
cf_state_load(struct cf_state *s, char why[CF_STATE_WHY])
{
	struct stat st;
	int err;

	if (lstat(s->path, &st)) {
		err = -errno;
		if (err == -ENOENT || err == -ENOTDIR)
			return 0;
		snprintf(why, CF_STATE_WHY, "%s: %s", s->path, strerror(-err));
		return err;
	}
	err = lock_dir(s, why);
	if (err == -EROFS || err == -EACCES) {
		if (has_log(s))
			return err;
		s->still = true;
	} else if (err) {
		return err;
	}
	return load(s, why);
}

/* ------------------------------------------------------------------ */
/* Making the file, and beginning to write. */

static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

/* The names of the files, and of the directory, must outlive a power loss. */
static int
sync_names(struct cf_state *s)
{
	char *copy = strdup(s->dir);
	int err = copy ? sync_dir(s->dir) : -ENOMEM;

	if (!err)
		err = sync_dir(dirname(copy));
	free(copy);
	/* What may not be read cannot be synced; it was there before. */
	return err == -EACCES ? 0 : err;
}

static int
open_log(struct cf_state *s)
{
	char *wal;
	int err = 0;

	if (asprintf(&wal, "%s-wal", s->path) < 0)
		return -ENOMEM;
	s->wal_fd = open(wal, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (s->wal_fd < 0)
		err = -errno;
	free(wal);
	return err;
}

static int
make_tables(struct cf_state *s)
{
	int64_t now = (int64_t)time(NULL);
	unsigned char id[16];
	bool empty;
	int code = is_empty(s, &empty);

	if (!code && empty)
		code = sqlite3_exec(s->writer, schema, NULL, NULL, NULL);
	if (code)
		sqlite3_exec(s->writer, "ROLLBACK", NULL, NULL, NULL);
	if (!code)
		code = cf_db_prepare_all(s->writer, state_sql, s->sql, S_SQLS);
	if (!code && getrandom(id, sizeof(id), 0) == sizeof(id))
		code = cf_state_set_meta(s, "share_id", id, sizeof(id));
	if (!code)
		code = cf_state_set_meta(s, "made", &now, sizeof(now));
	return code;
}

static int
make_file(struct cf_state *s)
{
	char why[CF_STATE_WHY];
	int err = lock_dir(s, why), code;

	if (err) {
		cf_state_tell(s, "%s", why);
		return err;
	}
	code = cf_state_connect(s, &s->writer);
	if (!code)
		code = make_tables(s);
	if (!code) {
		atomic_store(&s->exists, true);
		return 0;
	}
	err = cf_state_errno(s, s->writer, code);
	cf_db_close(s->writer);
	s->writer = NULL;
	return err;
}

int
cf_state_begin(struct cf_state *s)
{
	int err = 0;

	if (s->readonly || s->still)
		return -EROFS;
	if (s->broken)
		return -EIO;
	if (s->writing)
		return 0;
	if (!s->exists)
		err = make_file(s);
	if (!err)
		err = cf_state_errno(s, s->writer,
				     cf_state_set_meta(s, "clean", "0", 1));
	if (!err && s->wal_fd < 0)
		err = open_log(s);
	if (!err)
		err = sync_names(s);
	if (!err)
		err = cf_state_watch_log(s);
	if (!err)
		s->writing = true;
	return err;
}
