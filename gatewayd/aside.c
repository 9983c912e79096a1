/* SPDX-License-Identifier: MIT */
/*
 * What the control thread must not wait for, and what must not wait for the
 * pool's threads, because storage that hangs may have them all: opening a
 * share's directory, closing the files of a guest that has left.  Each has a
 * thread of its own for as long as it takes.
 */
#include <pthread.h>
#include <signal.h>

#include "gatewayd/gw.h"

#define STACK (1 << 20)	/* SQLite, too */

static void *
aside_main(void *arg)
{
	struct aside *a = arg;

	a->run(a);
	gw_post(a->gw, &a->msg);
	return NULL;
}

static void
on_done(struct gw *gw, struct gw_msg *msg)
{
	struct aside *a = (struct aside *)((char *)msg -
			  offsetof(struct aside, msg));

	gw->nasides--;
	a->done(gw, a);
	gw_check_stopped(gw);
}

static int
start(struct aside *a)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int err;

	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread, &attr, aside_main, a);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return err;
}

void
aside_run(struct gw *gw, struct aside *a)
{
	a->gw = gw;
	a->msg = (struct gw_msg){ .run = on_done };
	gw->nasides++;
	/* Without a thread it is done here, however long it takes. */
	if (start(a))
		aside_main(a);
}
