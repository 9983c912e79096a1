/* SPDX-License-Identifier: MIT */
/*
 * What ctl.c and ctlwatch.c share: the control socket and its clients, all of
 * the control thread.
 */
#ifndef GATEWAYD_CTLPRIV_H
#define GATEWAYD_CTLPRIV_H

#include <event2/bufferevent.h>

#include "gatewayd/gw.h"

#define OUTPUT_HIGH (256 << 10)	/* requests wait above this */

struct request {
	char *path, *text;	/* "" when not given */
};

struct client {
	TAILQ_ENTRY(client) link;
	struct ctl *ctl;
	struct bufferevent *bev;
	struct ucred peer;
	bool writer;
	bool eof;			/* it will send nothing more */
	bool skipping;			/* the rest of a line that is too long */
	struct tree_watch *watch;	/* it is a stream now */
	char *path, *text;		/* a write that waits; or NULL */
	unsigned long lost;		/* lines a slow stream did not get */
};

struct ctl {
	struct gw *gw;
	struct event *accept;
	struct event *resume;		/* after descriptors ran out */
	struct gw_socket sock;
	TAILQ_HEAD(, client) clients;
	unsigned nclients;
	struct event *tick;		/* while somebody watches */
	struct event *ring_tick;	/* ... log or trace */
	unsigned nwatches, nrings;
};

void ctl_client_free(struct client *c);

/* ctlwatch.c */
int ctl_watch_init(struct ctl *ctl);
int ctl_watch(struct client *c, struct request *r, char *why, size_t size);
void ctl_watch_tick(struct client *c);	/* send what there is */
void ctl_watch_end(struct client *c);	/* if it is one */

#endif
