/* SPDX-License-Identifier: MIT */
/*
 * The door of casefold/: finds the real name of a file when a guest spells it
 * with other case, and keeps two files from having names that differ only in
 * case.  Knows SQLite (cache.db, state.db); nothing else in the program does.
 * What guests set and the host cannot hold is casefold/state.h, a part of this.
 *
 * One struct cf_share per folding share; a share that does not fold has none.
 * Directories come as open descriptors, names are single components that the
 * caller has checked (no '/', no NUL, 1 to 255 bytes), and no path into the
 * share is ever used.  Any number of threads may call with one share at once,
 * under whatever credentials they have, unless a function says otherwise.
 *
 * What is promised (and where the host's changes are concerned, by anybody):
 *  - the exact name wins; then the bytewise smallest name of the same class;
 *  - a name that is returned was seen in the directory during the call;
 *  - "no such name" means that there was a moment in the call without one.
 * On remote file systems the last holds only as old as `neg_ttl_us` says.
 *
 * How a request uses it:
 *	lookup	host call with the guest's name; on ENOENT cf_find(CF_MISSED),
 *		then the host call with the real name, at most a few rounds
 *	unlink	the same, then cf_removed() with the name that was removed
 *	create	cf_create_begin(); 0: host call with the guest's name, then
 *		cf_create_end(); CF_EXACT, CF_OTHER: it exists, EEXIST or open it
 *	rename	cf_rename() does all of it
 */
#ifndef CASEFOLD_CASEFOLD_H
#define CASEFOLD_CASEFOLD_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "casefold/state.h"

struct cf_share;

enum {
	CF_NAME_MAX = 255,	/* bytes of a name */
};

enum cf_mode {
	CF_NT,		/* as Windows compares file names */
	CF_ASCII,	/* A to Z only */
};

struct cf_settings {
	enum cf_mode mode;
	const char *tag;	/* whose cache this is; copied */
	const char *cache_dir;	/* of cache.db, outside every share; made if
				 * missing; NULL = names in memory only; copied */
	uint64_t ram_max;	/* bytes of names in memory */
	uint64_t db_max;	/* bytes of cache.db */
	unsigned persist_min;	/* smaller directories never reach cache.db */
	uint64_t settle_us;	/* from a change until it goes to cache.db */
	unsigned max_watches;	/* inotify watches; 0 = none */
	uint64_t neg_ttl_us;	/* how long a scan of a remote directory counts */
};

/* The defaults; tag and cache_dir NULL. */
void cf_settings_init(struct cf_settings *set, enum cf_mode mode);

/* What the share tells its owner, from any thread; each may be NULL. */
struct cf_calls {
	/* Two names that differ only in case; at most one call in 10 s. */
	void (*collision)(void *arg, const char *name, const char *other);
	/* cache.db was reset or is not used any more, and why. */
	void (*cache)(void *arg, const char *why);
	/*
	 * There is something for cf_share_work() to do.  Not called again
	 * before cf_share_work() has run.  Must not block or call us back.
	 */
	void (*work)(void *arg);
	void *arg;
};

/* A counter is one line here; struct, text and manual follow. */
#define CF_STATS(X)                                                          \
	X(hits, "names found in another spelling")                           \
	X(misses, "names found in no spelling")                              \
	X(singles, "missing names that have no other spelling")              \
	X(exists, "creations refused or redirected for a name of other case") \
	X(collisions, "answers where several names differ only in case")     \
	X(scans, "directories read")                                         \
	X(scanned_names, "names read from directories")                      \
	X(once, "scans whose result could not be kept")                      \
	X(watches, "directory watches set")                                  \
	X(events, "changes reported by watches")                             \
	X(overflows, "times when reported changes were lost")                \
	X(evicted, "directories dropped from memory")                        \
	X(warm, "directories taken from the cache file without a scan")      \
	X(db_reads, "lookups answered by the cache file")                    \
	X(db_writes, "directories written to the cache file")                \
	X(db_resets, "times the cache file was deleted and begun again")     \
	X(db_us, "time spent in the cache file")

struct cf_stats {
#define CF_COUNTER(name, help) uint64_t name;
	CF_STATS(CF_COUNTER)
#undef CF_COUNTER
};

/* How much there is now. */
struct cf_info {
	uint64_t directories;	/* indexed in memory */
	uint64_t memory;	/* bytes of it */
	uint64_t watches;	/* set now */
	uint64_t db_bytes;	/* of cache.db */
	bool db;		/* cache.db is in use */
};

/* ------------------------------------------------------------------ */
/* Shares. */

/* Copies what it needs of `set` and `calls`; opens nothing. */
int cf_share_new(const struct cf_settings *set, const struct cf_calls *calls,
		 struct cf_share **share);
/* No thread may be using it.  Writes what waits to be written. */
void cf_share_free(struct cf_share *share);

/*
 * Open cache.db and the watch queue, as the daemon's own user, before the
 * first name is asked for.  May wait for a disk; does nothing the second time.
 * Never fails: what cannot be had is done without, and calls->cache is told.
 */
void cf_share_open(struct cf_share *share);
bool cf_share_is_open(struct cf_share *share);

/*
 * Do what is due: write directories to cache.db, drop old ones, repair.  May
 * block for disks; one thread at a time, as the daemon's own user.  Returns
 * after how many milliseconds to call again, or -1 when there is nothing to
 * wait for (calls->work then says when there is).
 */
int cf_share_work(struct cf_share *share);

void cf_share_stats(struct cf_share *share, struct cf_stats *stats);
void cf_share_info(struct cf_share *share, struct cf_info *info);

/* Forget all names, in memory and in cache.db (not while cf_share_work runs). */
int cf_share_rebuild(struct cf_share *share);

/*
 * Check cache.db as a whole, and each directory in memory against a scan of
 * it where `mount_fd` (a directory of the same mount, not O_PATH; -1 = none)
 * lets it be opened.  A directory that changes meanwhile is skipped.
 */
struct cf_check {
	uint64_t directories;	/* compared with the host */
	uint64_t skipped;	/* not reachable, not trusted, or changing */
	uint64_t names;		/* compared */
	uint64_t missing;	/* on the host, not in an index: a bug */
	uint64_t db_directories, db_names;	/* read from cache.db */
	uint64_t db_damaged;	/* found damaged; cache.db starts again */
};
int cf_share_check(struct cf_share *share, int mount_fd,
		   struct cf_check *check);

/* ------------------------------------------------------------------ */
/* Names. */

/* A directory and which one it is; all borrowed for the call. */
struct cf_dir {
	int fd;			/* O_PATH will do */
	uint64_t dev, ino;	/* of statx */
	const struct file_handle *handle;	/* NULL = ask for it */
	/*
	 * Better -EAGAIN than wait: for another thread, for cache.db, or to
	 * read a directory that is not small.  Nothing was done then.
	 */
	bool nowait;
};

/* Fill in `dir` for an open directory; 0 or -errno. */
int cf_dir_init(struct cf_dir *dir, int fd);

enum {
	CF_EXACT = 1,	/* there is a file of that very name */
	CF_OTHER = 2,	/* there is one whose name differs in case */
};

enum {
	CF_MISSED = 1 << 0,	/* the very name was just not there */
};

/*
 * Find `name` in `dir`.  Returns CF_EXACT or CF_OTHER and the real name, or
 * -ENOENT, or what the host says (only ENOENT lets other spellings be tried).
 */
int cf_find(struct cf_share *share, const struct cf_dir *dir,
	    const char *name, unsigned flags, char real[CF_NAME_MAX + 1]);

/* Names that are being made: the caller's, on its stack; fields are ours. */
struct cf_held {
	struct cf_held *next;
	uint64_t dir, name;
	bool held;
};

struct cf_create {
	struct cf_share *share;
	const struct cf_dir *dir;
	const char *name;
	struct cf_held held;
};

/*
 * Before a host call that makes `name` (open with O_CREAT, mkdir, mknod,
 * symlink, link).  Returns 0: there is no such name in any case, and nobody
 * else makes one until cf_create_end(); the host call must still be one that
 * fails if the very name exists.  Or CF_EXACT or CF_OTHER and the real name,
 * or -errno; there is then nothing to end.  `dir` and `name` stay until the end.
 */
int cf_create_begin(struct cf_share *share, const struct cf_dir *dir,
		    const char *name, struct cf_create *create,
		    char real[CF_NAME_MAX + 1]);
void cf_create_end(struct cf_create *create, bool done);

/* After a host call that removed `name` (its real spelling). */
void cf_removed(struct cf_share *share, const struct cf_dir *dir,
		const char *name);

/* A renameat2 of the caller's; 0 or -errno. */
typedef int cf_rename_fn(void *arg, int from_fd, const char *from, int to_fd,
			 const char *to, unsigned flags);

/*
 * rename(2) without regard to case.  RENAME_ flags as the kernel's.  A change
 * of case only takes place; a target of other spelling is replaced and the
 * file then has the new spelling.  `run` NULL = renameat2.  0 or -errno.
 */
int cf_rename(struct cf_share *share, const struct cf_dir *from,
	      const char *name, const struct cf_dir *to, const char *newname,
	      unsigned flags, cf_rename_fn *run, void *arg);

/* Are two names the same, ignoring case?  (For veto lists and the like.) */
bool cf_same_name(enum cf_mode mode, const char *a, const char *b);

#endif
