/* SPDX-License-Identifier: MIT */
/*
 * What the files of the store share.  Nobody else includes it.
 *
 * Locks: cf_state.lock, then those of cf_rows; sync_lock and read_lock are
 * leaves.
 */
#ifndef CASEFOLD_STATE_DB_H
#define CASEFOLD_STATE_DB_H

#include <limits.h>
#include <sys/stat.h>

#include "casefold/db.h"
#include "casefold/scan.h"
#include "casefold/state_set.h"

enum {
	CF_HDL_MAX = 1 + 128,	/* the type, then the handle */
	CF_STATE_BUSY_MS = 2000,	/* another process has it locked */
};

/* Statements of the writing connection. */
enum cf_state_sql {
	S_BEGIN, S_COMMIT, S_ROLLBACK, S_META, S_FS, S_PUT, S_DEL, S_GET,
	S_OF_INO, S_SQLS,
};

struct cf_state_fs {
	struct cf_state *state;
	struct cf_state_fs *next;
	struct cf_inos inos;
	int64_t row;		/* in the table fs; 0 = not yet; state.lock */
	uint32_t number;	/* in memory */
	bool single;		/* an inode number is one file's at a time */
	unsigned id_len;
	unsigned char id[CF_FSID_MAX];
	int64_t type;		/* statfs.f_type */
};

/* A reading connection. */
struct cf_reader {
	struct cf_reader *next;
	sqlite3 *db;
	sqlite3_stmt *get;
};

struct cf_state {
	char *dir, *path;
	struct cf_state_calls calls;
	bool readonly, weak;
	bool still;		/* on a disk that cannot be written */
	_Atomic unsigned refs;
	struct cf_key key;	/* of tags */
	struct cf_rows rows;
	_Atomic size_t nrows;
	_Atomic bool exists;	/* the connections can be used */
	_Atomic bool broken;	/* damage was found while serving */
	pthread_mutex_t fs_lock;	/* to add a file system */
	_Atomic(struct cf_state_fs *) fs;	/* they stay */
	uint32_t nfs;
	struct cf_state_stats stats;	/* atomic adds */

	pthread_mutex_t lock;	/* changes; of all down to the empty line */
	int lock_fd;
	sqlite3 *writer;
	sqlite3_stmt *sql[S_SQLS];
	bool writing;		/* the file says that it is in use */
	bool batch;		/* in a transaction of several changes */

	pthread_mutex_t read_lock;	/* of the list */
	struct cf_reader *readers;	/* idle ones */

	pthread_mutex_t sync_lock;
	int wal_fd;		/* closed after the connections */
	int sync_err;		/* sticks */
	_Atomic uint64_t written, synced;	/* transactions */
	_Atomic int64_t dirty_us;	/* since when; 0 = not */
	_Atomic bool called;
	_Atomic int wal_pages;
	sqlite3 *mover;		/* moves the log; cf_state_work()'s */
	int64_t backup_us;	/* looked at */
};

/* A row's key. */
struct cf_state_key {
	uint64_t ino;
	int64_t btime;
	uint64_t tag;
	unsigned len;
	unsigned char hdl[CF_HDL_MAX];
};

/* ---- state_open.c ---- */

/* Open and load the file that is there. */
int cf_state_load(struct cf_state *s, char why[CF_STATE_WHY]);
/* Before a change, under s->lock: make the file if there is none. */
int cf_state_begin(struct cf_state *s);
/* 0 or -errno for a code of SQLite; of opening a connection when `db` is NULL.
 * Damage is told once. */
int cf_state_errno(struct cf_state *s, sqlite3 *db, int code);
void cf_state_disconnect(struct cf_state *s);
int cf_state_set_meta(struct cf_state *s, const char *k, const void *v,
		      size_t len);
/* A new connection; as cf_db_open(). */
int cf_state_connect(struct cf_state *s, sqlite3 **db);

/* ---- state.c ---- */

__attribute__((format(printf, 2, 3)))
void cf_state_tell(struct cf_state *s, const char *fmt, ...);
void cf_state_count(uint64_t *counter, uint64_t n);
/* Under s->fs_lock, or before others have s; NULL without memory. */
struct cf_state_fs *cf_state_add_fs(struct cf_state *s,
				    const unsigned char *id, unsigned len,
				    int64_t type);

/* ---- state_read.c ---- */

/* 0, or -EOPNOTSUPP if the file could be taken for another one later. */
int cf_state_make_key(const struct cf_state_fs *fs,
		      const struct cf_state_file *file,
		      struct cf_state_key *key);
/* Of columns; false if that is no key. */
bool cf_state_read_key(sqlite3_stmt *stmt, int ino, int hdl, int btime,
		       struct cf_state_key *key);
uint64_t cf_state_tag(const struct cf_state_fs *fs,
		      const struct cf_state_key *key);
bool cf_state_same_birth(int64_t a, int64_t b);

/* The order of columns wherever rows are read or written. */
#define CF_STATE_COLUMNS "uid,gid,mode,rdev,dosattr,crtime,huid,hgid"
void cf_state_read_columns(sqlite3_stmt *stmt, int first,
			   struct cf_state_row *row);
void cf_state_bind_columns(sqlite3_stmt *stmt, int first,
			   const struct cf_state_row *row);
/* fs, ino, hdl are the first parameters. */
void cf_state_bind_key(sqlite3_stmt *stmt, const struct cf_state_fs *fs,
		       const struct cf_state_key *key);

/* A connection for reading, for the caller alone. */
int cf_reader_get(struct cf_state *s, struct cf_reader **reader);
void cf_reader_put(struct cf_state *s, struct cf_reader *reader);
void cf_readers_close(struct cf_state *s);

/* 1 and the row, 0, or -errno; through a statement like cf_reader.get. */
int cf_state_read_row(struct cf_state_fs *fs, sqlite3 *db, sqlite3_stmt *stmt,
		      const struct cf_state_key *key, struct cf_row *row);
/* The same through a reader, and keep it in memory: cf_rows_offer(). */
int cf_state_read(struct cf_state_fs *fs, const struct cf_state_key *key,
		  unsigned changes, struct cf_row *row);

/* ---- state_row.c ---- */

/* A row to be recorded in place of what was, or to be deleted if it has no
 * facts. */
struct cf_state_put {
	struct cf_state_fs *fs;
	struct cf_state_key key;
	struct cf_state_row row;
};

/* All of them in one transaction, or none: 0 or -errno. */
int cf_state_put_rows(struct cf_state *s, const struct cf_state_put *put,
		      size_t n);
/* Delete just that row: 1, 0 if it is not there, or -errno. */
int cf_state_delete(struct cf_state_fs *fs, const struct cf_state_key *key);

/* ---- state_import.c ---- */

int cf_state_stat(int fd, const char *name, struct statx *stx);
/* Borrows fd. */
struct cf_state_file cf_state_file_of(int fd, const struct statx *stx);

/* ---- state_sync.c ---- */

/* A transaction was committed. */
void cf_state_wrote(struct cf_state *s);
int cf_state_watch_log(struct cf_state *s);

/* ---- state_text.c ---- */

enum { CF_STATE_LINE = 4 * PATH_MAX + 256 };	/* bytes of a line */

/* 0, or -E2BIG for what is no path. */
int cf_state_print(const char *path, const struct cf_state_row *row, char *buf,
		   size_t size);
/* 1 and a path that is not absolute, 0 for a line that says nothing, or
 * -EINVAL and why. */
int cf_state_scan(const char *line, char path[PATH_MAX],
		  struct cf_state_row *row, char why[CF_STATE_WHY]);

#endif
