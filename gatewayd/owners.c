/* SPDX-License-Identifier: MIT */
/*
 * The store of what guests set and the host cannot hold, state.db: open while
 * there are shares of its mount tag that record, or somebody works with it, and
 * its work in the background.
 *
 * All of it may wait for a disk.  Opening is done aside (aside.c) and waited
 * for like the directory of the share (opening.c), for a share whose store is
 * damaged must not be served as if there were none: it is served, but nothing
 * can be changed in it.  The rest is a chore.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gatewayd/chore.h"

enum phase {
	SHUT,			/* for the reason `why`, if it was tried */
	OPENING,		/* aside */
	OPEN,
	CLOSING,		/* is, or is to be; the chore */
};

/* In gw->stores, by name; the control thread's, but for what says otherwise. */
struct owners {
	LIST_ENTRY(owners) link;
	struct gw *gw;
	char name[CONF_TAG_MAX + 1];
	enum phase phase;
	bool tried;		/* for somebody who has not seen yet how it went */
	unsigned users;		/* shares: of their tag */
	unsigned jobs;		/* owners_begin(), owners_use() */
	bool alone;		/* one of them is */
	atomic_bool hurry;	/* no share is left: they shall end */
	struct chore chore;	/* while it runs, its task uses `state` */
	struct cf_state *state;	/* not NULL: it is OPEN or CLOSING */
	char why[CF_STATE_WHY];

	/* While it is OPENING, the thread's. */
	struct aside aside;
	int root_fd;
	struct cf_state *opened;
	char opened_why[CF_STATE_WHY];
};

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

	gw_post(o->gw, &o->chore.work);
}

/* ---- a store's life ---- */

static void
set_phase(struct owners *o, enum phase phase)
{
	o->phase = phase;
	o->chore.closing = phase != OPEN;
}

static struct owners *
find(struct gw *gw, const char *name)
{
	struct owners *o;

	LIST_FOREACH(o, &gw->stores, link)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

static void
drop(struct owners *o)
{
	LIST_REMOVE(o, link);
	chore_fini(&o->chore);
	free(o);
}

/* Nobody wants it any more?  It may be gone after this. */
static void
end_if_unused(struct owners *o)
{
	if (o->users || o->jobs)
		return;
	if (o->phase == OPEN) {
		set_phase(o, CLOSING);
		evtimer_del(o->chore.timer);
		chore_want(&o->chore, CHORE_CLOSE);
	} else if (o->phase == SHUT) {
		drop(o);
	}
}

/* Its phase has changed: to those who wait.  It may be gone after this. */
static void
tell(struct owners *o)
{
	o->jobs++;
	openings_go_on(o->gw, o->name);
	o->jobs--;
	end_if_unused(o);
}

/* On a thread of its own. */
static void
run_open(struct aside *a)
{
	struct owners *o = (struct owners *)((char *)a -
			   offsetof(struct owners, aside));
	struct cf_state_calls calls = { on_trouble, on_needed, o };
	struct cf_state_settings set;
	char *dir = tag_dir(o->gw->state_dir, o->name);

	cf_state_settings_init(&set);
	set.dir = dir;
	set.root_fd = o->root_fd;
	o->opened = NULL;
	snprintf(o->opened_why, CF_STATE_WHY, "%s", strerror(ENOMEM));
	if (dir) {
		tag_make_dirs("state_dir", o->gw->state_dir);
		cf_state_open(&set, &calls, &o->opened, o->opened_why);
	}
	free(dir);
	close(o->root_fd);
}

static void
on_opened(struct gw *gw, struct aside *a)
{
	struct owners *o = (struct owners *)((char *)a -
			   offsetof(struct owners, aside));

	(void)gw;
	o->state = o->opened;
	memcpy(o->why, o->opened_why, CF_STATE_WHY);
	o->tried = true;
	set_phase(o, o->state ? OPEN : SHUT);
	if (!o->state)
		log_error("%s: nothing can be changed in this share: %s",
			  o->name, o->why);
	tell(o);
}

static int
open_aside(struct owners *o, struct fs_share *fs)
{
	o->root_fd = fcntl(fs_share_root(fs), F_DUPFD_CLOEXEC, 0);
	if (o->root_fd < 0)
		return -errno;
	set_phase(o, OPENING);
	o->aside.run = run_open;
	o->aside.done = on_opened;
	aside_run(o->gw, &o->aside);
	return -EINPROGRESS;
}

/* On a pool thread. */
static int
run_chore(void *arg, unsigned doing)
{
	struct owners *o = arg;
	int next_ms = -1;

	if (doing & CHORE_WORK)
		next_ms = cf_state_work(o->state);
	if (doing & CHORE_CLOSE)
		cf_state_put(o->state);
	return next_ms;
}

static bool
on_ended(struct gw *gw, void *arg, unsigned done)
{
	struct owners *o = arg;

	if (!(done & CHORE_CLOSE))
		return true;
	o->state = NULL;
	o->tried = false;
	o->chore.wanted = 0;
	set_phase(o, SHUT);
	tell(o);
	gw_check_stopped(gw);
	return false;
}

static struct owners *
make(struct gw *gw, const char *name)
{
	struct owners *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->gw = gw;
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->chore = (struct chore){ .gw = gw, .arg = o, .run = run_chore,
				   .ended = on_ended };
	LIST_INSERT_HEAD(&gw->stores, o, link);
	set_phase(o, SHUT);
	if (chore_init(&o->chore)) {
		drop(o);
		return NULL;
	}
	return o;
}

/* ---- a share's life ---- */

/* Would a share like this record? */
static bool
is_wanted(struct gw *gw, const struct conf_share *c, struct fs_share *fs)
{
	if (c->owners != CONF_OWNERS_AUTO)
		return c->owners == CONF_OWNERS_STORE;
	if (!fs_share_lacks_owners(fs))
		return false;
	if (c->state_store != CONF_STORE_SQLITE || !c->state_inside)
		return true;
	log_warn("%s: owners that the host cannot hold are not recorded: "
		 "state_dir %s lies inside a share", c->tag, gw->state_dir);
	return false;
}

int
owners_begin(struct gw *gw, const struct conf_share *conf, struct fs_share *fs,
	     struct owners **used)
{
	struct owners *o;
	int err;

	*used = NULL;
	if (conf->state_store == CONF_STORE_XATTR || !is_wanted(gw, conf, fs))
		return 0;
	o = find(gw, conf->tag);
	if (!o)
		o = make(gw, conf->tag);
	if (!o)
		return -ENOMEM;
	/* It has not begun to close: it stays open. */
	if (o->phase == CLOSING && (o->chore.wanted & CHORE_CLOSE)) {
		o->chore.wanted &= ~(unsigned)CHORE_CLOSE;
		set_phase(o, OPEN);
	}
	if (o->phase == SHUT && !o->tried) {
		err = open_aside(o, fs);
		end_if_unused(o);
		return err;
	}
	if (o->phase == OPENING || o->phase == CLOSING)
		return -EINPROGRESS;
	o->tried = false;
	o->jobs++;
	*used = o;
	return 0;
}

int
owners_new(struct share *share, struct owners *o)
{
	if (!o)
		return share->conf->state_store == CONF_STORE_XATTR &&
		       is_wanted(share->gw, share->conf, share->fs) ?
		       fs_share_record(share->fs, NULL) : 0;
	o->users++;
	owners_release(o, false);
	share->tag->owners = o;
	share->records = true;
	atomic_store(&o->hurry, false);
	if (!o->state) {
		fs_share_forbid(share->fs);
		return 0;
	}
	/* It is open since just now, or has had no timer since the last share
	 * left. */
	chore_want(&o->chore, CHORE_WORK);
	return fs_share_record(share->fs, o->state);
}

void
owners_close(struct share *share)
{
	struct owners *o = share->tag->owners;

	if (!share->records)
		return;
	share->records = false;
	if (--o->users)
		return;
	share->tag->owners = NULL;
	atomic_store(&o->hurry, true);
	evtimer_del(o->chore.timer);
	end_if_unused(o);
}

/* ---- for others ---- */

int
owners_use(struct share *share, bool alone, struct owners **owners,
	   struct cf_state **state, char *why, size_t size)
{
	struct owners *o = share->tag->owners;

	if (!share->records) {
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
	end_if_unused(o);
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
	if (o && o->state)
		cf_state_stats(o->state, stats);
}

void
owners_info(struct share *share, struct cf_state_info *info)
{
	struct owners *o = share->tag->owners;

	memset(info, 0, sizeof(*info));
	if (o && o->state)
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
