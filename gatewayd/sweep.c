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
#include <string.h>
#include <unistd.h>

#include "gatewayd/gw.h"

enum {
	EVERY_S = 20,		/* an fd is closed after one to three of these */
	LEAVE_S = 2,		/* a mount is left after one or two of these */
	MOUNTS_S = 10,		/* is there one below a share? */
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

static void
close_aside(struct gw *gw, const int *fds, size_t n)
{
	struct closing *c = n ? malloc(sizeof(*c)) : NULL;

	if (!c) {
		for (size_t i = 0; i < n; i++)
			close(fds[i]);
		return;
	}
	c->task.run = close_all;
	c->n = n;
	memcpy(c->fds, fds, n * sizeof(*fds));
	pool_run(gw->pool, &c->task);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval pause = { .tv_sec = EVERY_S };
	const struct timeval soon = { .tv_usec = 10000 };
	struct gw *gw = arg;
	struct share *share;
	int fds[AT_ONCE];
	bool more = false;
	size_t n;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(share, &gw->shares, link) {
		if (!share->fs)
			continue;
		more |= fs_share_sweep(share->fs, !gw->sweeping, fds, AT_ONCE,
				       &n);
		close_aside(gw, fds, n);
	}
	gw->sweeping = more;
	evtimer_add(gw->sweep, more ? &soon : &pause);
}

static void
on_leave(evutil_socket_t fd, short what, void *arg)
{
	struct timeval next = { .tv_sec = MOUNTS_S };
	struct gw *gw = arg;
	struct share *share;
	int fds[AT_ONCE];
	bool more = false;
	size_t n;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(share, &gw->shares, link) {
		if (!share->fs || !fs_share_has_mounts(share->fs))
			continue;
		next.tv_sec = LEAVE_S;
		more |= fs_share_leave(share->fs, fds, AT_ONCE, &n);
		close_aside(gw, fds, n);
	}
	if (more)
		next = (struct timeval){ .tv_usec = 10000 };
	evtimer_add(gw->leave, &next);
}

int
sweep_start(struct gw *gw)
{
	const struct timeval pause = { .tv_sec = EVERY_S };
	const struct timeval mounts = { .tv_sec = MOUNTS_S };

	gw->sweep = evtimer_new(gw->base, on_sweep, gw);
	gw->leave = evtimer_new(gw->base, on_leave, gw);
	if (!gw->sweep || !gw->leave)
		return -ENOMEM;
	evtimer_add(gw->sweep, &pause);
	evtimer_add(gw->leave, &mounts);
	return 0;
}
