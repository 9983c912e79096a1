/* SPDX-License-Identifier: MIT */
/* Work in the background, see chore.h. */
#include "gatewayd/chore.h"

#include <errno.h>

static void
run_task(struct pool_task *task)
{
	struct chore *c = (struct chore *)((char *)task -
					   offsetof(struct chore, task));

	c->next_ms = c->run(c->arg, c->doing);
	gw_post(c->gw, &c->done);
}

static void
run_next(struct chore *c)
{
	if (c->doing || !c->wanted)
		return;
	c->doing = c->wanted;
	c->wanted = 0;
	pool_run(c->gw->pool, &c->task);
}

void
chore_want(struct chore *c, unsigned what)
{
	c->wanted |= what;
	run_next(c);
}

static void
on_work(struct gw *gw, struct gw_msg *msg)
{
	struct chore *c = (struct chore *)((char *)msg -
					   offsetof(struct chore, work));

	(void)gw;
	if (!c->closing)
		chore_want(c, CHORE_WORK);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	chore_want(arg, CHORE_WORK);
}

static void
on_done(struct gw *gw, struct gw_msg *msg)
{
	struct chore *c = (struct chore *)((char *)msg -
					   offsetof(struct chore, done));
	struct timeval tv = { c->next_ms / 1000, c->next_ms % 1000 * 1000 };
	unsigned done = c->doing;

	c->doing = 0;
	if (!c->ended(gw, c->arg, done))
		return;
	if (c->next_ms >= 0 && !c->closing)
		evtimer_add(c->timer, &tv);
	run_next(c);
}

int
chore_init(struct chore *c)
{
	c->work.run = on_work;
	c->done.run = on_done;
	c->task.run = run_task;
	c->timer = evtimer_new(c->gw->base, on_timer, c);
	return c->timer ? 0 : -ENOMEM;
}

void
chore_fini(struct chore *c)
{
	gw_unpost(c->gw, &c->work);
	gw_unpost(c->gw, &c->done);
	if (c->timer)
		event_free(c->timer);
}
