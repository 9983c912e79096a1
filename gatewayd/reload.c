/* SPDX-License-Identifier: MIT */
/*
 * A new configuration onto running shares, tag by tag, all or nothing.
 *
 * Everything that can fail is done first and beside what runs: directories
 * opened, sockets bound under temporary names.  What has not changed is not
 * touched.  A guest keeps the settings that it connected with, but for the
 * live keys.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gatewayd/gw.h"

/* One share that is added, replaced, changed or removed. */
struct step {
	STAILQ_ENTRY(step) link;
	struct share *old;		/* NULL: it is new */
	struct conf_share *conf;	/* NULL: it goes */
	bool anew;			/* `prepared` takes old's place */
	struct share *prepared;
};

struct plan {
	struct gw *gw;
	struct evbuffer *said;
	bool dry;
	STAILQ_HEAD(, step) steps;
	const char *tag;		/* what is compared just now */
	enum conf_reload when;		/* the latest of its changed keys */
};

/* A line for whoever asked, and for the log. */
__attribute__((format(printf, 2, 3))) static void
say(struct plan *p, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	evbuffer_add_printf(p->said, "%s\n", line);
}

static void
say_all(struct plan *p, struct evbuffer *out)
{
	char *line;

	while ((line = evbuffer_readln(p->said, NULL, EVBUFFER_EOL_LF))) {
		if (!p->dry)
			log_info("reload: %s", line);
		evbuffer_add_printf(out, "%s\n", line);
		free(line);
	}
}

static void
on_key(void *ctx, const char *key, enum conf_reload when)
{
	static const char *const words[] = {
		[CONF_LIVE] = "at once",
		[CONF_NEXT] = "for guests that connect from now on",
		[CONF_RESTART] = "at the next start",
	};
	struct plan *p = ctx;

	if (when > p->when)
		p->when = when;
	say(p, "%s: %s: changed, %s", p->tag, key, words[when]);
}

static int
add_step(struct plan *p, struct share *old, struct conf_share *conf,
	 struct step **out)
{
	struct step *step = calloc(1, sizeof(*step));

	if (!step)
		return -ENOMEM;
	step->old = old;
	step->conf = conf;
	STAILQ_INSERT_TAIL(&p->steps, step, link);
	*out = step;
	return 0;
}

/* A share that had failed is tried again. */
static int
plan_share(struct plan *p, struct share *old, struct conf_share *conf)
{
	struct step *step;
	int n = 1, err;

	p->tag = old ? old->conf->tag : conf->tag;
	p->when = CONF_LIVE;
	if (!old)
		say(p, "%s: added", p->tag);
	else if (!conf)
		say(p, "%s: removed", p->tag);
	else
		n = conf_share_diff(old->conf, conf, on_key, p);
	if (n <= 0 && !(old && old->failed))
		return n;
	err = add_step(p, old, conf, &step);
	if (!err)
		step->anew = conf && !p->dry &&
			(!old || old->failed || p->when != CONF_LIVE ||
			 (!old->fs && share_is_wanted(conf, old)));
	return err;
}

/* All directories are opened before the first is put to use. */
static int
open_ahead(struct plan *p, char *why, size_t size)
{
	struct step *step;
	char reason[384] = "";
	int err = 0;

	STAILQ_FOREACH(step, &p->steps, link) {
		int r = step->anew ? share_open_ahead(p->gw, step->conf,
						      step->old, reason,
						      sizeof(reason)) : 0;

		if (!r || err)
			continue;
		err = r;
		snprintf(why, size, "%s: %s", step->conf->tag, reason);
	}
	return err;
}

static int
prepare(struct plan *p, char *why, size_t size)
{
	struct step *step;
	char reason[384] = "";
	int err = open_ahead(p, why, size);

	STAILQ_FOREACH(step, &p->steps, link) {
		if (err || !step->anew)
			continue;
		err = share_prepare(p->gw, step->conf, step->old,
				    &step->prepared, reason, sizeof(reason));
		if (err)
			snprintf(why, size, "%s: %s", step->conf->tag, reason);
	}
	return err;
}

static int
make_plan(struct plan *p, struct conf *conf, char *why, size_t size)
{
	struct share *share;
	int err = 0;

	TAILQ_FOREACH(share, &p->gw->shares, link)
		if (!share->retired && !err)
			err = plan_share(p, share,
					 conf_find(conf, share->conf->tag));
	for (size_t i = 0; i < conf->nshares && !err; i++) {
		share = share_find(p->gw, conf->shares[i]->tag);
		if (!share || share->retired)
			err = plan_share(p, NULL, conf->shares[i]);
	}
	p->tag = "[gateway]";
	if (!err && conf_gateway_diff(&p->gw->conf->gateway, &conf->gateway,
				      on_key, p) < 0)
		err = -ENOMEM;
	return err ? err : prepare(p, why, size);
}

/* What was prepared and is not put to use goes again. */
static void
drop_plan(struct plan *p)
{
	struct step *step;

	while ((step = STAILQ_FIRST(&p->steps))) {
		STAILQ_REMOVE_HEAD(&p->steps, link);
		if (step->prepared)
			share_discard(step->prepared);
		free(step);
	}
}

static void
apply_gateway(struct gw *gw)
{
	const struct conf_gateway *c = &gw->conf->gateway;
	int err = ctl_apply(gw->ctl);

	if (err)
		log_error("%s: owner and mode: %s", c->control_socket,
			  strerror(-err));
	log_set_level((enum conf_log)c->log_level);
	gw_apply(gw);
}

static void
carry_out(struct plan *p)
{
	char why[256] = "";
	struct step *step;

	STAILQ_FOREACH(step, &p->steps, link) {
		if (!step->conf)
			share_retire(step->old);
		else if (step->prepared)
			share_commit(step->prepared, step->old);
		else if (share_apply(step->old, step->conf, why, sizeof(why)))
			log_error("%s: %s", step->conf->tag, why);
		step->prepared = NULL;
	}
}

static int
try_reload(struct gw *gw, bool dry, struct evbuffer *out, char *why,
	   size_t size)
{
	struct plan p = { .gw = gw, .dry = dry };
	char *messages = NULL;
	struct conf *conf, *old;
	int err = conf_load(&gw->source, &conf, &messages);

	STAILQ_INIT(&p.steps);
	if (messages)
		evbuffer_add_printf(out, "%s", messages);
	if (err) {
		snprintf(why, size, "%s", messages ? messages : strerror(-err));
		if (why[0] && why[strlen(why) - 1] == '\n')
			why[strlen(why) - 1] = '\0';
		free(messages);
		return err;
	}
	free(messages);
	p.said = evbuffer_new();
	err = p.said ? make_plan(&p, conf, why, size) : -ENOMEM;
	if (p.said && err != -EINPROGRESS)
		say_all(&p, out);
	if (p.said)
		evbuffer_free(p.said);
	if (err || dry) {
		if (err && !why[0])
			snprintf(why, size, "%s", strerror(-err));
		drop_plan(&p);
		conf_free(conf);
		return err;
	}
	old = gw->conf;
	gw->conf = conf;
	apply_gateway(gw);
	carry_out(&p);
	drop_plan(&p);
	conf_free(old);
	gw_status(gw);
	gw->reloads.good++;
	gw->reloads.failed = false;
	gw->reloads.when = time(NULL);
	return 0;
}

int
reload(struct gw *gw, bool dry, struct evbuffer *out, char *why, size_t size)
{
	int err = try_reload(gw, dry, out, why, size);

	if (err == -EINPROGRESS)
		return err;
	if (err && !dry) {
		gw->reloads.bad++;
		gw->reloads.failed = true;
		log_messages("reload: ", why[0] ? why : strerror(-err));
		log_error("reload failed; the old configuration is kept");
		notify_systemd("STATUS=Reload failed, running the old "
			       "configuration");
	}
	return err;
}

void
reload_on_signal(struct gw *gw)
{
	struct evbuffer *out = evbuffer_new();
	char why[8192] = "";

	if (!out)
		return;
	if (!gw->reload_waits)
		notify_systemd("RELOADING=1\nMONOTONIC_USEC=%llu",
			       (unsigned long long)now_us());
	gw->reload_waits = reload(gw, false, out, why, sizeof(why)) ==
			   -EINPROGRESS;
	if (!gw->reload_waits)
		notify_systemd("READY=1");
	evbuffer_free(out);
}

void
reload_go_on(struct gw *gw)
{
	if (gw->reload_waits && !gw->stopping)
		reload_on_signal(gw);
}
