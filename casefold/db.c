/* SPDX-License-Identifier: MIT */
/*
 * Opens and guards databases.  No memory mapping: an error of the disk shall be
 * an error here, not a SIGBUS.  Nothing but SQLite opens its files: closing a
 * second descriptor would drop SQLite's locks.
 */
#include "config.h"

#include "casefold/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "casefold/scan.h"

/* These write, even to a database that has them. */
static const char layout[] =
	"PRAGMA page_size=8192;"
	"PRAGMA auto_vacuum=INCREMENTAL;";

static const char pragmas[] =
	"PRAGMA journal_mode=WAL;"
	"PRAGMA synchronous=NORMAL;"
	"PRAGMA mmap_size=0;"
	"PRAGMA cache_size=-4096;"
	"PRAGMA temp_store=MEMORY;"
	"PRAGMA wal_autocheckpoint=0;"
	"PRAGMA trusted_schema=OFF;"
	"PRAGMA cell_size_check=ON;";

static int
opened(int code, sqlite3 **db)
{
	int err;

	if (code) {
		err = *db ? sqlite3_system_errno(*db) : 0;
		cf_db_close(*db);
		*db = NULL;
		errno = err;
	}
	return code & 0xff;
}

int
cf_db_open(const char *path, const char *setup, unsigned flags, sqlite3 **db)
{
	int code = sqlite3_open_v2(path, db,
				   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				   SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
				   NULL);

	if (!code && (flags & CF_DB_LEAVE))
		code = sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
					 1, (int *)NULL);
	if (!code && !(flags & CF_DB_LEAVE))
		code = sqlite3_exec(*db, layout, NULL, NULL, NULL);
	if (!code)
		code = sqlite3_exec(*db, pragmas, NULL, NULL, NULL);
	if (!code)
		code = sqlite3_exec(*db, setup, NULL, NULL, NULL);
	return opened(code, db);
}

/* Bytes that a URI gives a meaning to. */
static void
put_uri(char *uri, const char *path)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *path; path++) {
		unsigned char ch = (unsigned char)*path;

		if (ch == '%' || ch == '?' || ch == '#') {
			*uri++ = '%';
			*uri++ = hex[ch >> 4];
			*uri++ = hex[ch & 15];
		} else {
			*uri++ = (char)ch;
		}
	}
	*uri = '\0';
}

int
cf_db_open_still(const char *path, sqlite3 **db)
{
	char *name = malloc(3 * strlen(path) + 1), *uri = NULL;
	int code = SQLITE_NOMEM;

	*db = NULL;
	if (!name)
		return code;
	put_uri(name, path);
	if (asprintf(&uri, "file:%s?immutable=1", name) >= 0)
		code = sqlite3_open_v2(uri, db, SQLITE_OPEN_READONLY |
				       SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
				       NULL);
	free(name);
	free(uri);
	return opened(code, db);
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
cf_db_prepare_all(sqlite3 *db, const char *const *sql, sqlite3_stmt **stmt,
		  int n)
{
	for (int i = 0; i < n; i++) {
		stmt[i] = cf_db_prepare(db, sql[i]);
		if (!stmt[i])
			return SQLITE_ERROR;
	}
	return 0;
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

int
cf_db_lock_dir(const char *dir, const char *name, int *lock_fd,
	       enum cf_db_step *step)
{
	int fd;

	*step = CF_DB_MAKE;
	if (mkdir(dir, 0700) && errno != EEXIST)
		return -errno;
	*step = CF_DB_OPEN;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*step = CF_DB_LOCAL;
	if (cf_fs_of(fd) == CF_FS_REMOTE) {
		close(fd);
		return -EXDEV;
	}
	*step = CF_DB_WRITE;
	*lock_fd = openat(fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	close(fd);
	if (*lock_fd < 0)
		return -errno;
	*step = CF_DB_LOCK;
	return flock(*lock_fd, LOCK_EX | LOCK_NB) ? -errno : 0;
}
