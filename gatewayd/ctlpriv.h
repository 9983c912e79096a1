/* SPDX-License-Identifier: MIT */
/*
 * What ctl.c, ctlwatch.c and ctlsocket.c share: the control socket and its
 * clients, all of the control thread.
 */
#ifndef GATEWAYD_CTLPRIV_H
#define GATEWAYD_CTLPRIV_H

#include <event2/bufferevent.h>

#include "gatewayd/gw.h"

#define CTL_LINE_MAX (64 << 10)
#define OUTPUT_HIGH (256 << 10)	/* requests wait above this */

struct answer;
struct tree_watch;

struct request {
	char *path, *text;	/* "" when not given */
};

/* Writes of one client to one file, one after the other: one log line. */
struct ctl_run {
	char *path;		/* NULL: there is none */
	unsigned long done, refused;
};

struct client {
	TAILQ_ENTRY(client) link;
	struct ctl *ctl;
	struct bufferevent *bev;
	struct ucred peer;
	bool writer;
	bool eof;			/* it will send nothing more */
	bool skipping;			/* the rest of a line that is too long */
	bool ticking;			/* counted in ctl->nticking */
	struct tree_watch *watch;	/* it is a stream now */
	unsigned long lost;		/* lines a slow stream did not get */
	char *path;			/* of a write that waits; or NULL */
	struct answer *answer;		/* is being made or given away */
	bool answering;			/* its "ok N" is out */
	char *asked;			/* path of a write it answers; or NULL */
	char *text;			/* of either write, a beginning of `asked` */
	struct ctl_run run;
};

struct ctl {
	struct gw *gw;
	struct event *accept;
	struct event *resume;		/* after descriptors ran out */
	struct gw_socket sock;
	TAILQ_HEAD(, client) clients;
	unsigned nclients;
	struct event *tick;		/* while somebody watches or waits */
	struct event *ring_tick;	/* ... log or trace */
	unsigned nticking, nrings;
};

/* ctl.c */
void ctl_client_free(struct client *c);
/* Of a client's bufferevent. */
void ctl_on_read(struct bufferevent *bev, void *arg);
void ctl_on_write(struct bufferevent *bev, void *arg);
void ctl_on_event(struct bufferevent *bev, short what, void *arg);

/* ctlwatch.c */
int ctl_watch_init(struct ctl *ctl);
int ctl_watch(struct client *c, struct request *r, char *why, size_t size);
void ctl_watch_tick(struct client *c);	/* send what there is */
void ctl_watch_end(struct client *c);	/* if it is one; and its ticks */
void ctl_set_ticking(struct client *c, bool on);	/* look every second */
/* One that had half-closed may have left altogether: nothing else tells. */
bool ctl_has_left(const struct client *c);

#endif
