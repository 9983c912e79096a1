/* SPDX-License-Identifier: MIT */
/*
 * Files that nobody asks for are not kept open: the host, or another guest, may
 * have removed them, and a guest that does not ask never learns it.  The
 * control thread takes the fds from the shares, a pool thread closes them,
 * which takes long where it frees a file's blocks.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "gatewayd/gw.h"

enum {
	EVERY_S = 20,		/* an fd is closed after one to three of these */
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

/* True: there is more to do. */
static bool
sweep_share(struct gw *gw, struct share *share, bool begin)
{
	struct closing *c = malloc(sizeof(*c));
	bool more;

	if (!c)
		return false;
	more = fs_share_sweep(share->fs, begin, c->fds, AT_ONCE, &c->n);
	c->task.run = close_all;
	if (c->n)
		pool_run(gw->pool, &c->task);
	else
		free(c);
	return more;
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval pause = { .tv_sec = EVERY_S };
	const struct timeval soon = { .tv_usec = 10000 };
	struct gw *gw = arg;
	struct share *share;
	bool more = false;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(share, &gw->shares, link) {
		if (share->fs)
			more |= sweep_share(gw, share, !gw->sweeping);
	}
	gw->sweeping = more;
	evtimer_add(gw->sweep, more ? &soon : &pause);
}

int
sweep_start(struct gw *gw)
{
	const struct timeval pause = { .tv_sec = EVERY_S };

	gw->sweep = evtimer_new(gw->base, on_sweep, gw);
	if (!gw->sweep)
		return -ENOMEM;
	evtimer_add(gw->sweep, &pause);
	return 0;
}
