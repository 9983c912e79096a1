/* SPDX-License-Identifier: MIT */
/*
 * A part of the door of casefold/: state.db, the durable store of what guests
 * set and the host cannot hold: owners, mode bits, device numbers, DOS attributes,
 * creation times.  Include casefold/casefold.h.
 *
 * One struct cf_state per tag, over reloads; shares of it hold a reference.
 * Nothing is made on disk before the first row is written.  A row belongs to an
 * inode: to a file system, a number, and a file handle with its generation and
 * the birth time, so that a number that is used again never shows an old owner.
 *
 * Any number of threads may call.  What may open or write a file (all but
 * cf_state_maybe, and cf_state_find with nowait) is called as the daemon's own
 * user.
 *
 * How a request uses it:
 *	mount	cf_state_fs() once for each, kept beside what is known of it
 *	stat	cf_state_maybe(); only if true cf_state_find()
 *	set	cf_state_change() before the reply: a killed daemon loses nothing
 *	make	cf_state_drop() for the new inode, before anything is recorded
 *	forget	cf_state_drop() when the inode has no name left
 *	fsync	cf_state_sync()
 */
#ifndef CASEFOLD_STATE_H
#define CASEFOLD_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cf_state;
struct cf_state_fs;	/* a file system in it; lives as long as the store */
struct file_handle;

enum {
	CF_STATE_WHY = 1024,	/* bytes of a sentence */
};

struct cf_state_settings {
	const char *dir;	/* of state.db, outside every share; copied.  It
				 * is made when needed, what is above it must
				 * be there */
	int root_fd;		/* of the share, for the call; O_PATH will do */
	bool readonly;		/* never write */
	/* Believe bare inode numbers where the file system has neither file
	 * handles nor birth times; else nothing is recorded there. */
	bool weak;
	size_t memory;		/* bytes of rows kept in memory, at most */
};

/* The defaults; dir NULL, root_fd -1. */
void cf_state_settings_init(struct cf_state_settings *set);

/* What the store tells its owner, from any thread; each may be NULL. */
struct cf_state_calls {
	/* Somebody must act; a whole sentence. */
	void (*trouble)(void *arg, const char *what);
	/*
	 * There is something for cf_state_work() to do.  Not called again
	 * before cf_state_work() has run.  Must not block or call us back.
	 */
	void (*work)(void *arg);
	void *arg;
};

/* A counter is one line here; struct, text and manual follow. */
#define CF_STATE_STATS(X)                                                    \
	X(hits, "recorded attributes found")                                 \
	X(db_reads, "of them, those read from state.db")                     \
	X(changes, "changes of recorded attributes")                         \
	X(dropped, "records deleted with their file")                        \
	X(dead, "records deleted because another file has the number")       \
	X(commits, "transactions of state.db")                               \
	X(syncs, "times the log of state.db was written to the disk")        \
	X(checkpoints, "times the log was moved into state.db")              \
	X(errors, "changes that state.db could not take")                    \
	X(db_us, "microseconds spent in changing and syncing state.db")

struct cf_state_stats {
#define CF_STATE_COUNTER(name, help) uint64_t name;
	CF_STATE_STATS(CF_STATE_COUNTER)
#undef CF_STATE_COUNTER
};

/* How much there is now. */
struct cf_state_info {
	uint64_t rows;
	uint64_t memory;	/* bytes for them */
	uint64_t unsynced;	/* changes that a power loss would lose */
	bool exists;		/* there is a state.db */
	bool writable;		/* as far as is known */
	bool damaged;		/* found while in use: cf_state_damage() */
};

/* ------------------------------------------------------------------ */
/* Stores. */

/*
 * Open the store of `set->dir`; may wait for a disk.  On error `why` is a
 * sentence for the admin: -EIO damaged (the file is kept as it is), -EBUSY used
 * by another process, -EXDEV not on a local disk, -EPROTO made by a later
 * version, or what the host says.
 */
int cf_state_open(const struct cf_state_settings *set,
		  const struct cf_state_calls *calls, struct cf_state **state,
		  char why[CF_STATE_WHY]);
struct cf_state *cf_state_get(struct cf_state *state);
/* The last one syncs and closes, and may wait for a disk.  NULL is fine. */
void cf_state_put(struct cf_state *state);

/*
 * The file system, or subvolume, of an open file or directory (-EBADF for
 * O_PATH), for all files of that mount and device number while it stays
 * mounted.  0 or -errno.
 */
int cf_state_fs(struct cf_state *state, int fd, struct cf_state_fs **fs);

/*
 * Do what is due: sync, move the log into the file, back up once a week.  May
 * block for disks; one thread at a time.  Returns after how many milliseconds
 * to call again, or -1 when there is nothing to wait for (calls->work then
 * says when there is).
 */
int cf_state_work(struct cf_state *state);

/*
 * Until it returns 0, a power loss may take changes back.  Does nothing when
 * all are safe.  -errno stays: what failed to reach the disk once is not known
 * to be there until the daemon starts anew.
 */
int cf_state_sync(struct cf_state *state);

/* A consistent copy into a new file; 0 or -errno. */
int cf_state_backup(struct cf_state *state, const char *path);

void cf_state_stats(struct cf_state *state, struct cf_state_stats *stats);
void cf_state_info(struct cf_state *state, struct cf_state_info *info);

/* ------------------------------------------------------------------ */
/* Rows. */

enum {
	CF_STATE_UID = 1 << 0,
	CF_STATE_GID = 1 << 1,
	CF_STATE_MODE = 1 << 2,		/* S_ISUID, S_ISGID, S_ISVTX; of an
					 * emulated node type and permissions */
	CF_STATE_RDEV = 1 << 3,		/* as in FUSE: 12 bits of major */
	CF_STATE_DOS = 1 << 4,		/* FILE_ATTRIBUTE_ bits */
	CF_STATE_CRTIME = 1 << 5,	/* FILETIME: 100 ns since 1601 */
	CF_STATE_FACTS = (1 << 6) - 1,
	CF_STATE_HOST = 1 << 6,		/* the owner the host had when recorded */
};

struct cf_state_row {
	unsigned has;			/* CF_STATE_ bits of what is recorded */
	uint32_t uid, gid, mode, rdev, dosattr;
	uint32_t huid, hgid;
	int64_t crtime;
};

/* Which file; all borrowed, and the file open, for the call. */
struct cf_state_file {
	uint64_t ino;			/* of statx, */
	int64_t btime_ns;		/* the birth time, too; 0 = unknown */
	const struct file_handle *handle;	/* NULL = asked for, of fd */
	int fd;				/* O_PATH will do; -1 with a handle */
	/* Better -EAGAIN than read or write state.db. */
	bool nowait;
};

/*
 * Has some file of that number a row?  A few nanoseconds, without a lock;
 * "no" is certain.
 */
bool cf_state_maybe(const struct cf_state_fs *fs, uint64_t ino);

/* 1 and the row, 0 if there is none, or -errno.  Rows of files that had the
 * number before are deleted. */
int cf_state_find(struct cf_state_fs *fs, const struct cf_state_file *file,
		  struct cf_state_row *row);

/*
 * Change the fields of `mask` to what `row` has, all in one: those that
 * row->has are set, the others cleared.  A row without facts is deleted.
 * `now`, unless NULL, gets what is recorded then.  Committed when it returns 0;
 * else nothing was changed: -ENOSPC, -EDQUOT, -EROFS, -EBUSY (locked by
 * another process for seconds), -EIO, -EOPNOTSUPP (the file cannot be told
 * from one that has its number later).
 */
int cf_state_change(struct cf_state_fs *fs, const struct cf_state_file *file,
		    unsigned mask, const struct cf_state_row *row,
		    struct cf_state_row *now);

/* The file is new, or goes: delete what is recorded under its number. */
int cf_state_drop(struct cf_state_fs *fs, const struct cf_state_file *file);

/* ------------------------------------------------------------------ */
/* The whole store, while it is in use. */

/* What finds files for the store. */
struct cf_state_host {
	/*
	 * Open by handle (O_PATH) a file of a file system, one that
	 * cf_state_fs() returned.  An fd, or -errno: -ESTALE is gone for good,
	 * everything else is not known.
	 */
	int (*open)(void *arg, struct cf_state_fs *fs,
		    const struct file_handle *handle);
	/* Its path below the root, "." for that, into a buffer of PATH_MAX
	 * bytes; 0, or -errno if it is not below it. */
	int (*path)(void *arg, int fd, char *path);
	/* NULL, or: a line for each row that cf_state_check() and cf_state_gc()
	 * do not find the file of; stop with a value other than 0. */
	int (*tell)(void *arg, const char *line);
	void *arg;
};

struct cf_state_check {
	uint64_t rows;
	uint64_t present;	/* their file is there */
	uint64_t gone;		/* it is not, or is another one */
	uint64_t unknown;	/* cannot be opened: not mounted, not allowed */
	uint64_t deleted;	/* of those gone, by cf_state_gc() */
	bool damaged;		/* state.db: say cf_state_damage() */
};

/* Read all of state.db, and try every row's file. */
int cf_state_check(struct cf_state *state, const struct cf_state_host *host,
		   struct cf_state_check *check);
/* The same, and delete the rows whose file is gone. */
int cf_state_gc(struct cf_state *state, const struct cf_state_host *host,
		struct cf_state_check *check);
/* What is wrong with a damaged store and how to go on, as a sentence. */
void cf_state_damage(struct cf_state *state, char why[CF_STATE_WHY]);

/*
 * A line without its end; stop with a value other than 0.  Lines are
 *	"PATH" uid=N gid=N mode=0OCTAL rdev=MAJOR:MINOR dosattr=0xHEX \
 *	crtime=YYYY-MM-DDTHH:MM:SS.FFFFFFFZ
 * with what is recorded, "PATH" as in traces: \ooo for what would spoil a
 * line.  Lines that begin with # tell of rows that have no path.
 */
typedef int cf_state_line_fn(void *arg, const char *line);

/* All rows as they are at one moment; 0, what `put` said, or -errno. */
int cf_state_export(struct cf_state *state, const struct cf_state_host *host,
		    cf_state_line_fn *put, void *arg);
/*
 * The same by walking the tree below a directory that is open for reading: for
 * daemons that may not open files by handle.  As of one moment for each file.
 * `put` is also called without a line, NULL, for each directory: to stop a walk
 * that finds nothing.
 */
int cf_state_export_tree(struct cf_state *state, int root_fd,
			 cf_state_line_fn *put, void *arg);

/*
 * Record what a line says, in place of what was recorded for that file; a line
 * with a path alone deletes it.  Empty lines and # lines do nothing.  `root_fd`
 * is a directory.  On error `why` says what is wrong with the line, or with the
 * file.
 */
int cf_state_import(struct cf_state *state, int root_fd, const char *line,
		    char why[CF_STATE_WHY]);

/* What became of each line that says something, by its place among them, in any
 * order: 0, or -errno and why. */
struct cf_state_told {
	void (*line)(void *arg, size_t i, int err, const char *why);
	void *arg;
};

/*
 * The same for many lines, at a fraction of the cost.  0 when all have been
 * tried, or -errno: nothing can be recorded any more.
 */
int cf_state_import_many(struct cf_state *state, int root_fd,
			 char *const *lines, size_t n,
			 const struct cf_state_told *told);

/* ------------------------------------------------------------------ */
/* The same facts in an extended attribute of the file. */

enum { CF_STATE_XATTR_MAX = 64 };

/* Change the fields of `mask` as cf_state_change() does. */
void cf_state_merge(struct cf_state_row *row, unsigned mask,
		    const struct cf_state_row *from);
/* Returns the length. */
size_t cf_state_xattr_pack(const struct cf_state_row *row,
			   unsigned char buf[CF_STATE_XATTR_MAX]);
/* -EIO for what is damaged, -EPROTO for that of a later version. */
int cf_state_xattr_unpack(const void *buf, size_t len,
			  struct cf_state_row *row);

#endif
