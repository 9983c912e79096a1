/* SPDX-License-Identifier: MIT */
/*
 * From the page cache to the disk.  A commit is in the log, state.db-wal, when
 * it is answered; the log is synced when a guest asks for it, and within a
 * second, through a descriptor of our own, so that nobody who reads or changes
 * a row waits for it.  The log is moved into the file in the background.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "casefold/state_db.h"

#define LOOK_US 3600000000ll	/* for an old backup */
enum {
	AGE_US = 700000,	/* of a change, then it is synced */
	LOG_PAGES = 1024,	/* of 4 KiB, then the log is moved */
	WAIT_US = 10000,	/* between looks for one, while the log moves */
	LOG_MOST = 8192,	/* then the rest of it while changes wait */
	LOG_FULL = 16384,	/* then each change waits for as long as */
	FULL_US = 1000,
	BACKUP_S = 7 * 24 * 3600,
};

static int
note_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct cf_state *s = arg;

	(void)db;
	(void)name;
	atomic_store_explicit(&s->wal_pages, pages, memory_order_relaxed);
	return SQLITE_OK;
}

int
cf_state_watch_log(struct cf_state *s)
{
	sqlite3_wal_hook(s->writer, note_pages, s);
	cf_state_wrote(s);	/* what is in the log already */
	return 0;
}

static void
call_work(struct cf_state *s)
{
	if (!atomic_exchange(&s->called, true) && s->calls.work)
		s->calls.work(s->calls.arg);
}

/*
 * Called under the lock by who changed something: a log that is not moved as
 * fast as it grows, or that somebody reads, makes changes slow, not the disk
 * full.
 */
void
cf_state_wrote(struct cf_state *s)
{
	int64_t never = 0;

	if (atomic_load_explicit(&s->wal_pages, memory_order_relaxed) >
	    LOG_FULL)
		usleep(FULL_US);
	cf_state_count(&s->stats.commits, 1);
	atomic_fetch_add(&s->written, 1);
	atomic_compare_exchange_strong(&s->dirty_us, &never, cf_clock_us());
	call_work(s);
}

/* ------------------------------------------------------------------ */

/* Under sync_lock. */
static int
sync_log(struct cf_state *s)
{
	int64_t begin = cf_clock_us();
	uint64_t written;

	atomic_store(&s->dirty_us, 0);
	written = atomic_load(&s->written);
	if (fdatasync(s->wal_fd)) {
		s->sync_err = -errno;
		cf_state_tell(s, "%s-wal cannot be written to the disk: %s; "
			      "what guests set may be lost", s->path,
			      strerror(errno));
		return s->sync_err;
	}
	atomic_store(&s->synced, written);
	cf_state_count(&s->stats.syncs, 1);
	cf_state_count(&s->stats.db_us, (uint64_t)(cf_clock_us() - begin));
	return 0;
}

int
cf_state_sync(struct cf_state *s)
{
	uint64_t written = atomic_load(&s->written);
	int err = 0;

	if (atomic_load(&s->synced) >= written)
		return 0;
	pthread_mutex_lock(&s->sync_lock);
	if (s->sync_err)
		err = s->sync_err;
	else if (atomic_load(&s->synced) < written)
		err = sync_log(s);
	pthread_mutex_unlock(&s->sync_lock);
	return err;
}

/* PASSIVE: nobody waits for it, and it waits for nobody.  0 or a code; *left is
 * what it did not move of *pages. */
static int
move_pages(struct cf_state *s, int *pages, int *left)
{
	int moved = 0;
	int code = sqlite3_wal_checkpoint_v2(s->mover, NULL,
					     SQLITE_CHECKPOINT_PASSIVE, pages,
					     &moved);

	*left = *pages - moved;
	if (!code)
		cf_state_count(&s->stats.checkpoints, 1);
	return code;
}

/*
 * Whoever writes next after all was moved begins the log anew.  Where changes
 * never pause there is always more when it has been moved: then they wait while
 * the rest of a large log is.
 */
static void
move_log(struct cf_state *s)
{
	int code = 0, pages = 0, left = 0;

	if (!s->mover)
		code = cf_state_connect(s, &s->mover);
	if (!code)
		code = move_pages(s, &pages, &left);
	if (!code && left && pages > LOG_MOST) {
		pthread_mutex_lock(&s->lock);
		code = move_pages(s, &pages, &left);
		pthread_mutex_unlock(&s->lock);
	}
	if (code && (code & 0xff) != SQLITE_BUSY) {
		cf_state_errno(s, s->mover, code);
		return;
	}
	/* Again when it has grown, or next time if a reader was in the way. */
	atomic_store(&s->wal_pages, left ? LOG_PAGES : 0);
}

/* ------------------------------------------------------------------ */
/* Backups. */

static int
sync_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

int
cf_state_backup(struct cf_state *s, const char *path)
{
	struct cf_reader *r;
	sqlite3_stmt *stmt;
	int err, code;

	if (!s->exists)
		return -ENOENT;
	err = cf_reader_get(s, &r);
	if (err)
		return err;
	stmt = cf_db_prepare(r->db, "VACUUM INTO ?1");
	code = SQLITE_NOMEM;
	if (stmt) {
		sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC);
		code = sqlite3_step(stmt);
		code = code == SQLITE_DONE ? 0 : code & 0xff;
	}
	err = code == SQLITE_ERROR ? -EEXIST : cf_state_errno(s, r->db, code);
	sqlite3_finalize(stmt);
	cf_reader_put(s, r);
	return err ? err : sync_file(path);
}

/* Older than a week?  The first one is due a week after the file was made. */
static bool
is_due(struct cf_state *s, const char *backup)
{
	struct stat st;
	struct statx stx;
	time_t last = 0;

	if (!stat(backup, &st))
		last = st.st_mtime;
	else if (!statx(AT_FDCWD, s->path, 0, STATX_BTIME, &stx) &&
		 (stx.stx_mask & STATX_BTIME))
		last = (time_t)stx.stx_btime.tv_sec;
	return last && time(NULL) - last > BACKUP_S;
}

static void
back_up(struct cf_state *s)
{
	char *new = NULL, *old = NULL;
	int err = 0;

	s->backup_us = cf_clock_us();
	if (asprintf(&new, "%s.new", s->path) < 0)
		new = NULL;
	if (asprintf(&old, "%s.bak", s->path) < 0)
		old = NULL;
	if (new && old && is_due(s, old)) {
		unlink(new);
		err = cf_state_backup(s, new);
		if (!err && rename(new, old))
			err = -errno;
		if (err)
			cf_state_tell(s, "%s cannot be backed up to %s: %s",
				      s->path, old, strerror(-err));
	}
	free(new);
	free(old);
}

/* ------------------------------------------------------------------ */

/* How long until the oldest change that is not synced is due, in ms; -1: there
 * is none. */
static int
due_ms(struct cf_state *s)
{
	int64_t since = atomic_load(&s->dirty_us), us;

	if (!since)
		return -1;
	us = since + AGE_US - cf_clock_us();
	return us <= 0 ? 0 : (int)(us / 1000) + 1;
}

static void
sync_due(struct cf_state *s)
{
	if (cf_state_sync(s))
		atomic_store(&s->dirty_us, 0);
}

static bool
is_log_large(struct cf_state *s)
{
	return atomic_load(&s->wal_pages) >= LOG_PAGES && !s->broken;
}

static bool
is_look_due(struct cf_state *s)
{
	return !s->backup_us || cf_clock_us() - s->backup_us > LOOK_US;
}

static void *
run_long(void *arg)
{
	struct cf_state *s = arg;

	if (is_log_large(s))
		move_log(s);
	if (is_look_due(s))
		back_up(s);
	return NULL;
}

/* What may take longer than a change may wait to be synced, in a thread of its
 * own. */
static void
do_long(struct cf_state *s)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_long, s)) {
		run_long(s);
		return;
	}
	while (pthread_tryjoin_np(thread, NULL)) {
		if (!due_ms(s))
			sync_due(s);
		usleep(WAIT_US);
	}
}

int
cf_state_work(struct cf_state *s)
{
	int ms = due_ms(s);

	if (!ms) {
		sync_due(s);
		if (is_log_large(s) || is_look_due(s))
			do_long(s);
		ms = due_ms(s);
	}
	if (ms >= 0)
		return ms;
	atomic_store(&s->called, false);
	/* A change since then saw that we were called. */
	if (atomic_load(&s->dirty_us) && !atomic_exchange(&s->called, true))
		return due_ms(s) < 0 ? 0 : due_ms(s);
	return -1;
}
