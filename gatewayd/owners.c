/* SPDX-License-Identifier: MIT */
/*
 * The store of what guests set and the host cannot hold, state.db: opened with
 * the first share of a mount tag that records, closed with the last, and its
 * work in the background.
 *
 * All of it may wait for a disk, so it is a chore.  Only opening is done at
 * once, for a share whose store is damaged must not be served as if there were
 * none: it is served, but nothing can be changed in it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/chore.h"

/* Of a struct tag; the control thread's, but for what says otherwise. */
struct owners {
	struct chore chore;	/* while it runs, its task uses `state` */
	struct cf_state *state;	/* NULL: `why` it cannot be used */
	char name[CONF_TAG_MAX + 1];
	unsigned users;		/* shares */
	unsigned jobs;		/* owners_use() */
	bool alone;		/* one of them is */
	atomic_bool hurry;	/* no share is left: they shall end */
	char why[CF_STATE_WHY];

	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool closed;		/* under lock: CHORE_CLOSE is done */
};

/* ---- on the pool thread ---- */

static int
run(void *arg, unsigned doing)
{
	struct owners *o = arg;
	int next_ms = -1;

	if (doing & CHORE_WORK)
		next_ms = cf_state_work(o->state);
	if (doing & CHORE_CLOSE) {
		cf_state_put(o->state);
		pthread_mutex_lock(&o->lock);
		o->closed = true;
		pthread_cond_signal(&o->cond);
		pthread_mutex_unlock(&o->lock);
	}
	return next_ms;
}

/* ---- on the control thread ---- */

static void
drop(struct owners *o, struct tag *tag)
{
	if (tag && tag->owners == o)
		tag->owners = NULL;
	chore_fini(&o->chore);
	pthread_cond_destroy(&o->cond);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static bool
on_ended(struct gw *gw, void *arg, unsigned done)
{
	struct owners *o = arg;
	struct share *share;

	/* A share came meanwhile; or it came, has gone, and is to be closed. */
	if (!(done & CHORE_CLOSE) || !o->chore.closing ||
	    (o->chore.wanted & CHORE_CLOSE))
		return true;
	share = share_of_tag(gw, NULL, o->name);
	drop(o, share ? share->tag : NULL);
	gw_check_stopped(gw);
	return false;
}

/* ---- what the store tells, from any thread ---- */

static void
on_trouble(void *arg, const char *what)
{
	struct owners *o = arg;

	log_error("%s: %s", o->name, what);
}

static void
on_needed(void *arg)
{
	struct owners *o = arg;

	gw_post(o->chore.gw, &o->chore.work);
}

/* ---- a tag's life ---- */

static void
open_state(struct owners *o, struct share *share)
{
	struct cf_state_calls calls = { on_trouble, on_needed, o };
	struct cf_state_settings set;
	char *dir = tag_dir(share->gw->state_dir, o->name);
	int err = -ENOMEM;

	cf_state_settings_init(&set);
	set.dir = dir;
	set.root_fd = fs_share_root(share->fs);
	snprintf(o->why, sizeof(o->why), "%s", strerror(ENOMEM));
	o->state = NULL;
	if (dir) {
		tag_make_dirs("state_dir", share->gw->state_dir);
		err = cf_state_open(&set, &calls, &o->state, o->why);
	}
	if (err)
		log_error("%s: nothing can be changed in this share: %s",
			  o->name, o->why);
	free(dir);
}

static struct owners *
make(struct share *share)
{
	struct owners *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->chore = (struct chore){ .gw = share->gw, .arg = o, .run = run,
				   .ended = on_ended };
	if (chore_init(&o->chore)) {
		free(o);
		return NULL;
	}
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->cond, NULL);
	snprintf(o->name, sizeof(o->name), "%s", share->tag->name);
	share->tag->owners = o;
	open_state(o, share);
	return o;
}

/* A share of the tag comes just when the store is to be closed, and it stays
 * open; or is being closed: what has it open must end first, which takes a
 * moment. */
static void
reopen(struct owners *o, struct share *share)
{
	if (o->state && (o->chore.wanted & CHORE_CLOSE)) {
		o->chore.wanted &= ~(unsigned)CHORE_CLOSE;
		o->chore.closing = false;
		return;
	}
	if (o->state) {
		pthread_mutex_lock(&o->lock);
		while (!o->closed)
			pthread_cond_wait(&o->cond, &o->lock);
		o->closed = false;
		pthread_mutex_unlock(&o->lock);
	}
	o->chore.closing = false;
	open_state(o, share);
}

/* Would this share use the store? */
static bool
is_wanted(struct share *share)
{
	const struct conf_share *c = share->conf;

	if (c->owners != CONF_OWNERS_AUTO)
		return c->owners == CONF_OWNERS_STORE;
	if (!fs_share_lacks_owners(share->fs))
		return false;
	if (c->state_store != CONF_STORE_SQLITE || !c->state_inside)
		return true;
	log_warn("%s: owners that the host cannot hold are not recorded: "
		 "state_dir %s lies inside a share", c->tag,
		 share->gw->state_dir);
	return false;
}

int
owners_new(struct share *share)
{
	struct owners *o = share->tag->owners;

	if (!is_wanted(share))
		return 0;
	if (share->conf->state_store == CONF_STORE_XATTR)
		return fs_share_record(share->fs, NULL);
	if (o && (o->chore.closing || !o->state))
		reopen(o, share);
	if (!o)
		o = make(share);
	if (!o)
		return -ENOMEM;
	if (!o->users++ && o->state)	/* leave() has stopped its timer */
		chore_want(&o->chore, CHORE_WORK);
	atomic_store(&o->hurry, false);
	share->records = true;
	if (o->state)
		return fs_share_record(share->fs, o->state);
	fs_share_forbid(share->fs);
	return 0;
}

/* The last share has gone, and nobody exports or checks any more. */
static void
close_if_unused(struct owners *o)
{
	if (o->users || o->jobs || o->chore.closing)
		return;
	o->chore.closing = true;
	chore_want(&o->chore, CHORE_CLOSE);
}

/* True: nothing has to be waited for. */
static bool
leave(struct share *share)
{
	struct owners *o = share->tag->owners;

	share->records = false;
	if (--o->users)
		return true;
	evtimer_del(o->chore.timer);
	if (!o->state && o->chore.doing) {	/* reopen() has failed */
		o->chore.closing = true;
		return false;
	}
	if (!o->state) {
		drop(o, share->tag);
		return true;
	}
	atomic_store(&o->hurry, true);
	close_if_unused(o);
	return false;
}

bool
owners_close(struct share *share)
{
	struct owners *o = share->tag->owners;

	if (share->records)
		return leave(share);
	/* A tag that goes takes it along. */
	return !o || o->users || share->tag->refs > 1;
}

/* A share that was never served: if nobody else uses the store, it has
 * nothing to write. */
void
owners_discard(struct share *share)
{
	struct owners *o = share->tag->owners;

	if (!share->records)
		return;
	if (o->users > 1 || !o->state || o->chore.doing || o->jobs) {
		leave(share);
		return;
	}
	share->records = false;
	cf_state_put(o->state);
	drop(o, share->tag);
}

/* ---- for others ---- */

int
owners_use(struct share *share, bool alone, struct owners **owners,
	   struct cf_state **state, char *why, size_t size)
{
	struct owners *o = share->tag->owners;

	if (!share->records || !o || o->chore.closing) {
		snprintf(why, size, "nothing is recorded of this share in "
			 "state_dir (see owners and state_store)");
		return -EOPNOTSUPP;
	}
	if (!o->state) {
		snprintf(why, size, "%s", o->why);
		return -EIO;
	}
	if (alone && o->alone) {
		snprintf(why, size, "busy: an export, check, gc or backup of "
			 "this share is under way");
		return -EBUSY;
	}
	o->alone |= alone;
	o->jobs++;
	*owners = o;
	*state = o->state;
	return 0;
}

void
owners_release(struct owners *o, bool alone)
{
	o->jobs--;
	if (alone)
		o->alone = false;
	close_if_unused(o);
}

bool
owners_hurry(struct owners *o)
{
	return atomic_load(&o->hurry);
}

void
owners_stats(struct share *share, struct cf_state_stats *stats)
{
	struct owners *o = share->tag->owners;

	memset(stats, 0, sizeof(*stats));
	if (o && o->state && !o->chore.closing)
		cf_state_stats(o->state, stats);
}

void
owners_info(struct share *share, struct cf_state_info *info)
{
	struct owners *o = share->tag->owners;

	memset(info, 0, sizeof(*info));
	if (o && o->state && !o->chore.closing)
		cf_state_info(o->state, info);
}

/* Found while it was in use. */
static void
show_damage(struct owners *o, struct evbuffer *out)
{
	struct cf_state_info info;
	char why[CF_STATE_WHY];

	cf_state_info(o->state, &info);
	if (!info.damaged)
		return;
	cf_state_damage(o->state, why);
	evbuffer_add_printf(out, "damaged %s\n", why);
}

void
owners_show(struct share *share, struct evbuffer *out)
{
	struct owners *o = share->tag->owners;
	const char *where = "host";

	if (share->records)
		where = "store";
	else if (share->fs && fs_share_records(share->fs))
		where = "xattr";
	evbuffer_add_printf(out, "owners %s\n", where);
	if (share->records && !o->state)
		evbuffer_add_printf(out, "readonly because %s\n", o->why);
	else if (share->records)
		show_damage(o, out);
}
