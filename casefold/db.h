/* SPDX-License-Identifier: MIT */
/*
 * Opens and guards databases: the same pragmas, the same reading of errors.
 * Inside casefold/ only, and for cache.c and the like only.
 */
#ifndef CASEFOLD_DB_H
#define CASEFOLD_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	CF_DB_LEAVE = 1 << 0,	/* opening and closing it writes nothing to it */
};

/*
 * Open (and make, mode 0600) the database of a file for one thread at a time.
 * `setup` is run first.  Returns 0 or a code of SQLite; errno is then what the
 * host said, or 0.
 */
int cf_db_open(const char *path, const char *setup, unsigned flags,
	       sqlite3 **db);
void cf_db_close(sqlite3 *db);

/* Open one that is there and that nobody changes meanwhile; for reading. */
int cf_db_open_still(const char *path, sqlite3 **db);

/* A statement kept for long; NULL on error. */
sqlite3_stmt *cf_db_prepare(sqlite3 *db, const char *sql);
/* The same for a table of them; 0 or a code of SQLite. */
int cf_db_prepare_all(sqlite3 *db, const char *const *sql, sqlite3_stmt **stmt,
		      int n);

/* Run a bound statement that returns no row; 0 or a code of SQLite. */
int cf_db_run(sqlite3_stmt *stmt);

/* Is the file, or the disk below it, damaged or full?  (Not: busy, locked.) */
bool cf_db_is_damage(int code);

/* Remove a database with its -wal and -shm; nobody may have it open. */
void cf_db_unlink(const char *path);

/*
 * The directory of a database, made if it is missing; it must be on a disk of
 * our own.  The lock in *lock_fd keeps other daemons away.  On error *step is
 * what could not be done.
 */
enum cf_db_step {
	CF_DB_MAKE,		/* the directory */
	CF_DB_OPEN,		/* it */
	CF_DB_LOCAL,		/* -EXDEV */
	CF_DB_WRITE,
	CF_DB_LOCK,		/* another process has it */
	CF_DB_STEPS,
};
int cf_db_lock_dir(const char *dir, const char *name, int *lock_fd,
		   enum cf_db_step *step);

#endif
