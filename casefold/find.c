/* SPDX-License-Identifier: MIT */
/*
 * Names as requests bring them: find one, make one, rename one.  An index only
 * proposes; the host is asked before a name is returned.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "casefold/index.h"

enum {
	ROUNDS = 8,		/* while names vanish as we look */
	TELL_US = 10 * 1000000,
};

/* ------------------------------------------------------------------ */

/* 0 if there is such a name now. */
static int
probe(const struct cf_dir *dir, const char *name)
{
	struct statx st;

	if (statx(dir->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT |
		  AT_STATX_DONT_SYNC, 0, &st))
		return -errno;
	return 0;
}

static bool
is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* A name that is asked for. */
struct wanted {
	const char *name;
	struct cf_folded folded;
	uint64_t hash;
	bool unseen;		/* CF_UNSEEN */
};

/* -EINVAL for what cannot be a name. */
static int
want(struct cf_share *share, const char *name, struct wanted *w)
{
	size_t len = strnlen(name, CF_NAME_MAX + 1);

	if (!len)
		return -ENOENT;
	if (len > CF_NAME_MAX)
		return -ENAMETOOLONG;
	w->name = name;
	w->unseen = false;
	cf_fold(share->set.mode, name, len, &w->folded);
	w->hash = cf_fold_hash(&share->key, &w->folded);
	if (is_dots(name))
		w->folded.cased = false;
	return 0;
}

/* Count names that differ only in case, and tell of them now and then. */
static void
collision(struct cf_share *share, const struct cf_dir *dir,
	  const struct cf_pick *pick)
{
	int64_t now, told = share->told_us;

	if (!pick->other[0] || probe(dir, pick->other))
		return;
	cf_count(share, collisions, 1);
	if (!share->calls.collision)
		return;
	now = cf_clock_us();
	if (now - told < TELL_US ||
	    !atomic_compare_exchange_strong(&share->told_us, &told, now))
		return;
	share->calls.collision(share->calls.arg, pick->name, pick->other);
}

/*
 * One walk through the names of a class, from the best on, until the host
 * knows one (or the only one, if the caller asks the host).  Returns 0 and
 * pick->name, or -ENOENT; *sure says that no name was added while we walked, so
 * that there was a moment without any.
 */
static int
walk(struct cf_share *share, struct cf_index *index, const struct cf_dir *dir,
     const struct wanted *w, struct cf_pick *pick, bool *sure)
{
	uint64_t first = 0, changes;
	char after[CF_NAME_MAX + 1] = "";
	int err;

	*pick = (struct cf_pick){
		.mode = share->set.mode,
		.folded = &w->folded,
		.want = w->name,
		.after = after,
	};
	*sure = true;
	for (;;) {
		err = cf_index_pick(share, index, dir, w->hash, pick, &changes);
		if (err)
			return err;
		if (after[0] && changes != first)
			*sure = false;
		first = changes;
		if (!pick->name[0])
			return -ENOENT;
		/* Of several, some may be gone: that is no collision. */
		err = w->unseen && pick->variants < 2 ?
		      0 : probe(dir, pick->name);
		if (err != -ENOENT)
			return err;
		cf_index_gone(share, index, changes, w->hash, pick->name);
		strcpy(after, pick->name);
	}
}

/* Find a name in any spelling through the index. */
static int
find_any(struct cf_share *share, const struct cf_dir *dir,
	 const struct wanted *w, char *real)
{
	struct cf_index *index;
	struct cf_pick pick;
	bool sure = false;
	int err = cf_index_get(share, dir, &index);

	if (err)
		return err;
	err = -ENOENT;
	for (int i = 0; i < ROUNDS && err == -ENOENT && !sure; i++)
		err = walk(share, index, dir, w, &pick, &sure);
	cf_index_put(index);
	if (err == -EACCES || err == -EPERM)
		return -ENOENT;		/* it may not be read: nothing to find */
	if (err)
		return err;
	if (pick.variants > 1)
		collision(share, dir, &pick);
	strcpy(real, pick.name);
	return strcmp(real, w->name) ? CF_OTHER : CF_EXACT;
}

int
cf_find(struct cf_share *share, const struct cf_dir *dir, const char *name,
	unsigned flags, char real[CF_NAME_MAX + 1])
{
	struct wanted w;
	int err = want(share, name, &w);

	if (err)
		return err;
	if (!(flags & CF_MISSED)) {
		err = probe(dir, name);
		if (!err) {
			strcpy(real, name);
			return CF_EXACT;
		}
		if (err != -ENOENT)
			return err;
	}
	if (!w.folded.cased) {
		cf_count(share, singles, 1);
		return -ENOENT;
	}
	w.unseen = flags & CF_UNSEEN;
	err = find_any(share, dir, &w, real);
	if (err > 0)
		cf_count(share, hits, 1);
	else if (err == -ENOENT)
		cf_count(share, misses, 1);
	return err;
}

/* The same, but the exact name wins even if it comes while we look. */
static int
find_exact_first(struct cf_share *share, const struct cf_dir *dir,
		 const struct wanted *w, char *real)
{
	int found = find_any(share, dir, w, real);

	if (found == CF_OTHER && !probe(dir, w->name)) {
		strcpy(real, w->name);
		return CF_EXACT;
	}
	return found;
}

/* ------------------------------------------------------------------ */

/* The host has a new name; a directory on a remote file system is not
 * watched, and would not know it until it is read again. */
static void
added(struct cf_share *share, const struct cf_dir *dir, const char *name)
{
	struct cf_index *index;

	cf_watch_tick(share);
	if (!share->set.neg_ttl_us || cf_fs_of(dir->fd) != CF_FS_REMOTE)
		return;
	if (cf_index_get(share, dir, &index))
		return;
	cf_index_change(share, index, CF_ADDED, name, strlen(name));
	cf_index_put(index);
}

int
cf_create_begin(struct cf_share *share, const struct cf_dir *dir,
		const char *name, struct cf_create *create,
		char real[CF_NAME_MAX + 1])
{
	struct wanted w;
	int err = want(share, name, &w), found;

	*create = (struct cf_create){ share, dir, name, { 0 } };
	if (err)
		return err;
	if (!w.folded.cased)
		return 0;
	cf_held_init(share->guards, dir, &w.folded, &create->held);
	err = cf_hold(share->guards, &create->held, dir->nowait);
	if (err)
		return err;
	found = find_exact_first(share, dir, &w, real);
	if (found == -ENOENT)
		return 0;
	cf_let_go(share->guards, &create->held);
	if (found > 0)
		cf_count(share, exists, 1);
	return found;
}

void
cf_create_end(struct cf_create *create, bool done)
{
	if (done)
		added(create->share, create->dir, create->name);
	cf_let_go(create->share->guards, &create->held);
}

void
cf_removed(struct cf_share *share, const struct cf_dir *dir, const char *name)
{
	(void)dir;
	(void)name;	/* who finds it in an index asks the host */
	cf_watch_tick(share);
}

/* ------------------------------------------------------------------ */
/* Renaming. */

struct renaming {
	struct cf_share *share;
	const struct cf_dir *from, *to;
	struct wanted old, new;
	struct cf_held held[2];
	unsigned flags;
	cf_rename_fn *run;
	void *arg;
	char source[CF_NAME_MAX + 1];	/* real names */
	char target[CF_NAME_MAX + 1];
};

static int
run_rename(void *arg, int from_fd, const char *from, int to_fd,
	   const char *to, unsigned flags)
{
	(void)arg;
	return renameat2(from_fd, from, to_fd, to, flags) ? -errno : 0;
}

static int
rename_to(struct renaming *r, const char *name, unsigned flags)
{
	return r->run(r->arg, r->from->fd, r->source, r->to->fd, name, flags);
}

/* Both names, in an order that is the same for everybody. */
static int
hold_both(struct renaming *r)
{
	struct cf_held *a = &r->held[0], *b = &r->held[1], *swap;
	bool want_a = r->old.folded.cased, want_b = r->new.folded.cased;
	bool nowait = r->from->nowait || r->to->nowait;
	int err = 0;

	if (want_a && want_b && a->dir == b->dir && a->name == b->name)
		want_b = false;
	if (a->dir > b->dir || (a->dir == b->dir && a->name > b->name)) {
		bool was = want_a;

		want_a = want_b;
		want_b = was;
		swap = a;
		a = b;
		b = swap;
	}
	if (want_a)
		err = cf_hold(r->share->guards, a, nowait);
	if (want_b && !err)
		err = cf_hold(r->share->guards, b, nowait);
	return err;
}

/* Is it the same entry but for its spelling?  By the entry, not by its
 * inode: two names of one file are two entries. */
static bool
is_respelling(const struct renaming *r)
{
	return r->from->dev == r->to->dev && r->from->ino == r->to->ino &&
	       cf_fold_is(r->share->set.mode, &r->new.folded, r->source,
			  strlen(r->source));
}

/* Where nobody is expected; not every file system can make sure of that. */
static int
rename_into_gap(struct renaming *r, const struct cf_dir *from,
		const char *source)
{
	int err = r->run(r->arg, from->fd, source, r->to->fd, r->new.name,
			 (r->flags & RENAME_WHITEOUT) | RENAME_NOREPLACE);

	if (err == -EINVAL && !r->flags)
		err = r->run(r->arg, from->fd, source, r->to->fd, r->new.name,
			     0);
	return err;
}

/* The target exists in another spelling: replace it, then take the new one.
 * A crash in between leaves the old spelling. */
static int
replace_other(struct renaming *r)
{
	int err = rename_to(r, r->target, r->flags);

	if (err)
		return err;
	r->flags = 0;
	rename_into_gap(r, r->to, r->target);
	return 0;
}

static int
rename_found(struct renaming *r, int found)
{
	if (r->flags & RENAME_EXCHANGE)
		return found > 0 ? rename_to(r, r->target, r->flags) : found;
	if (found == CF_EXACT && !strcmp(r->source, r->target) &&
	    is_respelling(r))
		return 0;
	if (found != CF_OTHER)
		return rename_to(r, r->new.name, r->flags);
	if (is_respelling(r))
		return rename_into_gap(r, r->from, r->source);
	if (r->flags & RENAME_NOREPLACE) {
		cf_count(r->share, exists, 1);
		return -EEXIST;
	}
	return replace_other(r);
}

/* What the target is now: CF_EXACT, CF_OTHER, -ENOENT or another error. */
static int
find_target(struct renaming *r)
{
	int err;

	if (r->new.folded.cased)
		return find_exact_first(r->share, r->to, &r->new, r->target);
	err = probe(r->to, r->new.name);
	if (err)
		return err;
	strcpy(r->target, r->new.name);
	return CF_EXACT;
}

/* Names may vanish between finding and renaming: then look again. */
static int
rename_held(struct renaming *r)
{
	int found, err = -ENOENT;

	for (int i = 0; i < ROUNDS && err == -ENOENT; i++) {
		found = cf_find(r->share, r->from, r->old.name, 0, r->source);
		if (found < 0)
			return found;
		found = find_target(r);
		if (found < 0 && found != -ENOENT)
			return found;
		err = rename_found(r, found);
		if (err == -ENOENT && found == -ENOENT &&
		    (r->flags & RENAME_EXCHANGE))
			return err;
	}
	return err;
}

int
cf_rename(struct cf_share *share, const struct cf_dir *from, const char *name,
	  const struct cf_dir *to, const char *newname, unsigned flags,
	  cf_rename_fn *run, void *arg)
{
	struct renaming r = {
		.share = share,
		.from = from,
		.to = to,
		.flags = flags,
		.run = run ? run : run_rename,
		.arg = arg,
	};
	int err = want(share, name, &r.old);

	if (!err)
		err = want(share, newname, &r.new);
	if (err)
		return err;
	cf_held_init(share->guards, from, &r.old.folded, &r.held[0]);
	cf_held_init(share->guards, to, &r.new.folded, &r.held[1]);
	err = hold_both(&r);
	if (!err)
		err = rename_held(&r);
	if (!err)
		added(share, to, newname);
	cf_let_go(share->guards, &r.held[0]);
	cf_let_go(share->guards, &r.held[1]);
	return err;
}
