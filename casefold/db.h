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

/*
 * Open (and make, mode 0600) the database of a file for one thread at a time.
 * `setup` is run first.  Returns 0 or a code of SQLite.
 */
int cf_db_open(const char *path, const char *setup, sqlite3 **db);
void cf_db_close(sqlite3 *db);

/* A statement kept for long; NULL on error. */
sqlite3_stmt *cf_db_prepare(sqlite3 *db, const char *sql);

/* Run a bound statement that returns no row; 0 or a code of SQLite. */
int cf_db_run(sqlite3_stmt *stmt);

/* Is the file, or the disk below it, damaged or full?  (Not: busy, locked.) */
bool cf_db_is_damage(int code);

/* Remove a database with its -wal and -shm; nobody may have it open. */
void cf_db_unlink(const char *path);

#endif
