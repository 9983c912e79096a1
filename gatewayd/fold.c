/* SPDX-License-Identifier: MIT */
/*
 * What a share with casefold needs besides requests: the work that casefold/
 * has in the background, what it tells, and what an admin asks of it.
 *
 * The names that are known outlive a reload: a share that takes the place of
 * another has the same struct fold, unless it folds otherwise or shows another
 * directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gatewayd/chore.h"

enum {
	CHECK = CHORE_MORE,
	REBUILD = CHORE_MORE << 1,
};

/* Of the shares that hold it; the control thread's, but for what the task
 * has. */
struct fold {
	LIST_ENTRY(fold) link;	/* in tag->folds */
	unsigned refs;		/* shares */
	struct share *last;	/* the one that closes it, or NULL */
	struct cf_share *cf;
	char tag[CONF_TAG_MAX + 1];
	char *path;
	unsigned mode;		/* enum conf_casefold */
	bool disk;		/* with a cache.db */
	struct chore chore;	/* all that may wait for a disk */
	time_t checked;
	struct cf_check result;

	/* While the chore runs, its task's. */
	int err;
	struct cf_check check;
};

/* ---- on the pool thread ---- */

static void
do_check(struct fold *f)
{
	int fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	f->err = cf_share_check(f->cf, fd, &f->check);
	if (fd >= 0)
		close(fd);
}

static int
run(void *arg, unsigned doing)
{
	struct fold *f = arg;
	int next_ms = -1;

	f->err = 0;
	if (doing & (CHECK | REBUILD))
		cf_share_open(f->cf);
	if (doing & REBUILD)
		f->err = cf_share_rebuild(f->cf);
	if (doing & CHECK)
		do_check(f);
	if (doing & CHORE_WORK)
		next_ms = cf_share_work(f->cf);
	if (doing & CHORE_CLOSE)
		cf_share_free(f->cf);
	return next_ms;
}

/* ---- on the control thread ---- */

static void
print_check(const struct cf_check *k, char *buf, size_t size)
{
	snprintf(buf, size, "directories=%llu names=%llu missing=%llu "
		 "skipped=%llu db_directories=%llu db_names=%llu "
		 "db_damaged=%llu", (unsigned long long)k->directories,
		 (unsigned long long)k->names, (unsigned long long)k->missing,
		 (unsigned long long)k->skipped,
		 (unsigned long long)k->db_directories,
		 (unsigned long long)k->db_names,
		 (unsigned long long)k->db_damaged);
}

static void
say_checked(struct fold *f)
{
	char text[256];

	f->checked = time(NULL);
	f->result = f->check;
	print_check(&f->result, text, sizeof(text));
	if (f->result.missing || f->result.db_damaged)
		log_warn("%s: casefold check %s", f->tag, text);
	else
		log_info("%s: casefold check %s", f->tag, text);
}

static void
drop(struct fold *f)
{
	chore_fini(&f->chore);
	LIST_REMOVE(f, link);
	free(f->path);
	free(f);
}

static bool
on_ended(struct gw *gw, void *arg, unsigned done)
{
	struct fold *f = arg;

	if ((done & REBUILD) && f->err)
		log_warn("%s: casefold rebuild: %s", f->tag, strerror(-f->err));
	else if (done & REBUILD)
		log_info("%s: casefold rebuild: done", f->tag);
	if (done & CHECK)
		say_checked(f);
	if (!(done & CHORE_CLOSE))
		return true;
	f->last->fold = NULL;
	drop(f);
	gw_check_stopped(gw);
	return false;
}

/* ---- what casefold/ tells, from any thread ---- */

static void
on_collision(void *arg, const char *name, const char *other)
{
	struct fold *f = arg;

	log_warn("%s: two names differ only in case: \"%.200s\" and "
		 "\"%.200s\"", f->tag, name, other);
}

static void
on_cache(void *arg, const char *why)
{
	struct fold *f = arg;

	log_warn("%s: %s", f->tag, why);
}

static void
on_needed(void *arg)
{
	struct fold *f = arg;

	gw_post(f->chore.gw, &f->chore.work);
}

/* ---- a share's life ---- */

static int
new_cf(struct fold *f, struct share *share)
{
	const struct conf_share *c = share->conf;
	struct cf_calls calls = { on_collision, on_cache, on_needed, f };
	struct cf_settings set;
	char *dir = NULL;
	int err;

	cf_settings_init(&set, c->casefold == CONF_CASEFOLD_ASCII ? CF_ASCII :
								     CF_NT);
	set.guards = share->gw->guards;
	set.tag = c->tag;
	set.ram_max = c->casefold_memory;
	set.db_max = c->casefold_disk;
	if (c->casefold_disk) {
		dir = tag_dir(share->gw->cache_dir, c->tag);
		if (!dir)
			return -ENOMEM;
		tag_make_dirs("cache_dir", share->gw->cache_dir);
		set.cache_dir = dir;
	}
	err = cf_share_new(&set, &calls, &f->cf);
	free(dir);
	return err;
}

/* One that does for these settings, too, and is not about to end. */
static struct fold *
find_fold(const struct share *share)
{
	const struct conf_share *c = share->conf;
	struct fold *f;

	LIST_FOREACH(f, &share->tag->folds, link)
		if (!f->last && f->mode == c->casefold &&
		    f->disk == (c->casefold_disk > 0) &&
		    !strcmp(f->path, c->path))
			return f;
	return NULL;
}

static int
make_fold(struct share *share, struct fold **out)
{
	struct fold *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	LIST_INSERT_HEAD(&share->tag->folds, f, link);
	f->chore = (struct chore){ .gw = share->gw, .arg = f, .run = run,
				   .ended = on_ended };
	f->mode = share->conf->casefold;
	f->disk = share->conf->casefold_disk > 0;
	f->path = strdup(share->conf->path);
	snprintf(f->tag, sizeof(f->tag), "%s", share->conf->tag);
	err = f->path ? chore_init(&f->chore) : -ENOMEM;
	if (!err)
		err = new_cf(f, share);
	if (err)
		drop(f);
	else
		*out = f;
	return err;
}

int
fold_new(struct share *share)
{
	struct fold *f;
	int err = 0;

	if (share->conf->casefold == CONF_CASEFOLD_NO)
		return 0;
	f = find_fold(share);
	if (!f)
		err = make_fold(share, &f);
	if (err)
		return err;
	f->refs++;
	share->fold = f;
	fs_share_fold(share->fs, f->cf);
	return 0;
}

void
fold_commit(struct share *share)
{
	if (share->fold)
		cf_share_limits(share->fold->cf, share->conf->casefold_memory,
				share->conf->casefold_disk);
}

/* Let another share have it; false if there is none. */
static bool
leave(struct share *share)
{
	if (share->fold->refs == 1)
		return false;
	share->fold->refs--;
	share->fold = NULL;
	return true;
}

/* A share that was never served. */
void
fold_discard(struct share *share)
{
	if (!share->fold || leave(share))
		return;
	cf_share_free(share->fold->cf);
	drop(share->fold);
	share->fold = NULL;
}

static void
add_counters(const struct fold *f, struct cf_stats *sum)
{
	struct cf_stats now;

	if (f->last)
		return;
	cf_share_stats(f->cf, &now);
#define ADD(name, help) sum->name += now.name;
	CF_STATS(ADD)
#undef ADD
}

bool
fold_close(struct share *share)
{
	struct fold *f = share->fold;

	if (!f || leave(share))
		return true;
	if (!f->last) {
		add_counters(f, &share->tag->fold_past);
		f->last = share;
		f->chore.closing = true;
		evtimer_del(f->chore.timer);
		chore_want(&f->chore, CHORE_CLOSE);
	}
	return false;
}

void
fold_counters(const struct tag *tag, struct cf_stats *sum)
{
	struct fold *f;

	*sum = tag->fold_past;
	LIST_FOREACH(f, &tag->folds, link)
		add_counters(f, sum);
}

void
fold_info(struct share *share, struct cf_info *info)
{
	memset(info, 0, sizeof(*info));
	if (share->fold && !share->fold->last)
		cf_share_info(share->fold->cf, info);
}

/* ---- as text, and as asked for ---- */

static void
show_check(struct fold *f, struct evbuffer *out)
{
	char when[32], text[256];
	struct tm tm;

	if ((f->chore.wanted | f->chore.doing) & CHECK)
		evbuffer_add_printf(out, "check running\n");
	if (!f->checked)
		return;
	gmtime_r(&f->checked, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	print_check(&f->result, text, sizeof(text));
	evbuffer_add_printf(out, "checked %s %s\n", when, text);
}

void
fold_show(struct share *share, struct evbuffer *out)
{
	static const char *const modes[] = {
		[CONF_CASEFOLD_NO] = "no",
		[CONF_CASEFOLD_NT] = "nt",
		[CONF_CASEFOLD_ASCII] = "ascii",
	};
	struct cf_info i;

	evbuffer_add_printf(out, "casefold %s\n",
			    modes[share->conf->casefold]);
	if (!share->fold || share->fold->last)
		return;
	fold_info(share, &i);
	evbuffer_add_printf(out, "directories %llu\nmemory %llu\n"
			    "watches %llu\ndatabase %s\n"
			    "database_bytes %llu\nwaiting %u\n",
			    (unsigned long long)i.directories,
			    (unsigned long long)i.memory,
			    (unsigned long long)i.watches,
			    i.db ? "yes" : "no",
			    (unsigned long long)i.db_bytes, i.waiting);
	show_check(share->fold, out);
}

int
fold_word(struct share *share, const char *word, char *why, size_t size)
{
	static const struct {
		const char *name;
		unsigned what;
	} words[] = { { "check", CHECK }, { "rebuild", REBUILD } };
	struct fold *f = share->fold;

	if (!f || f->last) {
		snprintf(why, size, "casefold is off in this share");
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(word, words[i].name)) {
			chore_want(&f->chore, words[i].what);
			return 0;
		}
	}
	snprintf(why, size, "casefold takes check or rebuild");
	return -EINVAL;
}
