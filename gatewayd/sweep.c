/* SPDX-License-Identifier: MIT */
/*
 * Files that nobody asks for are not kept open: the host, or another guest, may
 * have removed them, and a guest that does not ask never learns it.  Nor is
 * what the host has mounted below a share, once its guests have forgotten it:
 * the host may want to unmount it.  The control thread takes the fds from the
 * shares, a pool thread closes them, which takes long where it frees a file's
 * blocks.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "gatewayd/gw.h"

enum {
	EVERY_S = 20,		/* an fd is closed after one to three of these */
	LEAVE_S = 2,		/* a mount is left after one or two of these */
	MOUNTS_S = 10,		/* is there one below a share? */
	SOON_US = 10000,	/* where there is more to do */
	AT_ONCE = 1024,		/* fds of a share; then others have a turn */
};

struct closing {
	struct pool_task task;
	size_t n;
	int fds[AT_ONCE];
};

static void
close_all(struct pool_task *task)
{
	struct closing *c = (struct closing *)((char *)task -
					       offsetof(struct closing, task));

	for (size_t i = 0; i < c->n; i++)
		close(c->fds[i]);
	free(c);
}

enum what { SWEEP, SWEEP_BEGIN, LEAVE };

/* True: there is more to do. */
static bool
take(struct gw *gw, struct fs_share *fs, enum what what)
{
	struct closing *c = malloc(sizeof(*c));
	bool more;

	if (!c)
		return false;
	if (what == LEAVE)
		more = fs_share_leave(fs, c->fds, AT_ONCE, &c->n);
	else
		more = fs_share_sweep(fs, what == SWEEP_BEGIN, c->fds, AT_ONCE,
				      &c->n);
	c->task.run = close_all;
	if (c->n)
		pool_run(gw->pool, &c->task);
	else
		free(c);
	return more;
}

static void
again(struct event *timer, bool soon, int seconds)
{
	struct timeval tv = { .tv_sec = soon ? 0 : seconds,
			      .tv_usec = soon ? SOON_US : 0 };

	evtimer_add(timer, &tv);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct gw *gw = arg;
	struct share *share;
	bool more = false;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(share, &gw->shares, link)
		if (share->fs)
			more |= take(gw, share->fs,
				     gw->sweeping ? SWEEP : SWEEP_BEGIN);
	gw->sweeping = more;
	again(gw->sweep, more, EVERY_S);
}

static void
on_leave(evutil_socket_t fd, short what, void *arg)
{
	struct gw *gw = arg;
	struct share *share;
	bool any = false, more = false;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(share, &gw->shares, link) {
		if (!share->fs || !fs_share_has_mounts(share->fs))
			continue;
		any = true;
		more |= take(gw, share->fs, LEAVE);
	}
	again(gw->leave, more, any ? LEAVE_S : MOUNTS_S);
}

int
sweep_start(struct gw *gw)
{
	gw->sweep = evtimer_new(gw->base, on_sweep, gw);
	gw->leave = evtimer_new(gw->base, on_leave, gw);
	if (!gw->sweep || !gw->leave)
		return -ENOMEM;
	again(gw->sweep, false, EVERY_S);
	again(gw->leave, false, MOUNTS_S);
	return 0;
}
