/* SPDX-License-Identifier: MIT */
/*
 * Opens and guards databases.  No memory mapping: an error of the disk shall be
 * an error here, not a SIGBUS.  Nothing but SQLite opens its files: closing a
 * second descriptor would drop SQLite's locks.
 */
#include "config.h"

#include "casefold/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char pragmas[] =
	"PRAGMA page_size=8192;"
	"PRAGMA auto_vacuum=INCREMENTAL;"
	"PRAGMA journal_mode=WAL;"
	"PRAGMA synchronous=NORMAL;"
	"PRAGMA mmap_size=0;"
	"PRAGMA cache_size=-4096;"
	"PRAGMA temp_store=MEMORY;"
	"PRAGMA wal_autocheckpoint=0;"
	"PRAGMA trusted_schema=OFF;"
	"PRAGMA cell_size_check=ON;";

int
cf_db_open(const char *path, const char *setup, sqlite3 **db)
{
	int code = sqlite3_open_v2(path, db,
				   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				   SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
				   NULL);

	if (!code)
		code = sqlite3_exec(*db, pragmas, NULL, NULL, NULL);
	if (!code)
		code = sqlite3_exec(*db, setup, NULL, NULL, NULL);
	if (code) {
		cf_db_close(*db);
		*db = NULL;
	}
	return code & 0xff;
}

void
cf_db_close(sqlite3 *db)
{
	sqlite3_stmt *stmt;

	while (db && (stmt = sqlite3_next_stmt(db, NULL)))
		sqlite3_finalize(stmt);
	sqlite3_close(db);
}

sqlite3_stmt *
cf_db_prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;

	sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
	return stmt;
}

int
cf_db_run(sqlite3_stmt *stmt)
{
	int code = sqlite3_step(stmt);

	sqlite3_reset(stmt);
	return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : code & 0xff;
}

bool
cf_db_is_damage(int code)
{
	return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ||
	       code == SQLITE_IOERR || code == SQLITE_FULL ||
	       code == SQLITE_FORMAT || code == SQLITE_SCHEMA ||
	       code == SQLITE_ERROR || code == SQLITE_MISMATCH;
}

void
cf_db_unlink(const char *path)
{
	static const char *const end[] = { "", "-wal", "-shm", "-journal" };
	char *name;

	for (size_t i = 0; i < sizeof(end) / sizeof(end[0]); i++) {
		if (asprintf(&name, "%s%s", path, end[i]) < 0)
			return;
		unlink(name);
		free(name);
	}
}
