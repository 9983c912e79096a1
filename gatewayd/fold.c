/* SPDX-License-Identifier: MIT */
/*
 * What a share with casefold needs besides requests: the work that casefold/
 * has in the background, what it tells, and what an admin asks of it.
 *
 * One task at a time, on a pool thread, because all of it may wait for a disk;
 * the control thread says what is next.
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

#include "gatewayd/gw.h"

enum {
	WORK = 1 << 0,
	CHECK = 1 << 1,
	REBUILD = 1 << 2,
	CLOSE = 1 << 3,
};

/* Of the shares that hold it; the control thread's, but for what the task
 * has. */
struct fold {
	LIST_ENTRY(fold) link;	/* in tag->folds */
	struct gw *gw;
	unsigned refs;		/* shares */
	struct share *last;	/* the one that closes it, or NULL */
	struct cf_share *cf;
	char tag[CONF_TAG_MAX + 1];
	char *path;
	unsigned mode;		/* enum conf_casefold */
	bool disk;		/* with a cache.db */
	struct gw_msg work;	/* any thread: there is something to do */
	struct gw_msg done;	/* pool thread: the task has ended */
	struct event *timer;	/* more work by then */
	unsigned wanted;
	bool running;
	time_t checked;
	struct cf_check result;

	/* While it runs, the task's. */
	struct pool_task task;
	unsigned doing;
	int next_ms, err;
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

static void
run_task(struct pool_task *task)
{
	struct fold *f = (struct fold *)((char *)task -
					 offsetof(struct fold, task));

	f->err = 0;
	f->next_ms = -1;
	if (f->doing & (CHECK | REBUILD))
		cf_share_open(f->cf);
	if (f->doing & REBUILD)
		f->err = cf_share_rebuild(f->cf);
	if (f->doing & CHECK)
		do_check(f);
	if (f->doing & WORK)
		f->next_ms = cf_share_work(f->cf);
	if (f->doing & CLOSE)
		cf_share_free(f->cf);
	gw_post(f->gw, &f->done);
}

/* ---- on the control thread ---- */

static void
run_next(struct fold *f)
{
	if (f->running || !f->wanted)
		return;
	f->running = true;
	f->doing = f->wanted;
	f->wanted = 0;
	pool_run(f->gw->pool, &f->task);
}

static void
want(struct fold *f, unsigned what)
{
	f->wanted |= what;
	run_next(f);
}

static void
on_work(struct gw *gw, struct gw_msg *msg)
{
	struct fold *f = (struct fold *)((char *)msg -
					 offsetof(struct fold, work));

	(void)gw;
	if (!f->last)
		want(f, WORK);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	want(arg, WORK);
}

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
	gw_unpost(f->gw, &f->work);
	gw_unpost(f->gw, &f->done);
	if (f->timer)
		event_free(f->timer);
	LIST_REMOVE(f, link);
	free(f->path);
	free(f);
}

static void
say_done(struct fold *f)
{
	if ((f->doing & REBUILD) && f->err)
		log_warn("%s: casefold rebuild: %s", f->tag, strerror(-f->err));
	else if (f->doing & REBUILD)
		log_info("%s: casefold rebuild: done", f->tag);
	if (f->doing & CHECK)
		say_checked(f);
}

static void
on_done(struct gw *gw, struct gw_msg *msg)
{
	struct fold *f = (struct fold *)((char *)msg -
					 offsetof(struct fold, done));
	struct timeval tv = {
		.tv_sec = f->next_ms / 1000,
		.tv_usec = f->next_ms % 1000 * 1000,
	};

	f->running = false;
	say_done(f);
	if (f->doing & CLOSE) {
		f->last->fold = NULL;
		drop(f);
		gw_check_stopped(gw);
		return;
	}
	if (f->next_ms >= 0 && !f->last)
		evtimer_add(f->timer, &tv);
	run_next(f);
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

	gw_post(f->gw, &f->work);
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
	set.guards = f->gw->guards;
	set.tag = c->tag;
	set.ram_max = c->casefold_memory;
	set.db_max = c->casefold_disk;
	if (c->casefold_disk) {
		dir = tag_dir(f->gw->cache_dir, c->tag);
		if (!dir)
			return -ENOMEM;
		tag_make_dirs("cache_dir", f->gw->cache_dir);
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
	f->gw = share->gw;
	f->work.run = on_work;
	f->done.run = on_done;
	f->task.run = run_task;
	f->mode = share->conf->casefold;
	f->disk = share->conf->casefold_disk > 0;
	f->path = strdup(share->conf->path);
	snprintf(f->tag, sizeof(f->tag), "%s", share->conf->tag);
	f->timer = evtimer_new(f->gw->base, on_timer, f);
	err = f->timer && f->path ? new_cf(f, share) : -ENOMEM;
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
		evtimer_del(f->timer);
		want(f, CLOSE);
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

	if ((f->wanted | (f->running ? f->doing : 0)) & CHECK)
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
			want(f, words[i].what);
			return 0;
		}
	}
	snprintf(why, size, "casefold takes check or rebuild");
	return -EINVAL;
}
