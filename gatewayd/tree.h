/* SPDX-License-Identifier: MIT */
/*
 * The tree of control files.  Paths have no leading slash and no "..";
 * a tag in a path is percent-encoded.  Everything on the control thread.
 */
#ifndef GATEWAYD_TREE_H
#define GATEWAYD_TREE_H

#include "gatewayd/gw.h"

struct tree_watch;

/* Each returns 0 or -errno, with a sentence in why[size] where it has one. */
int tree_ls(struct gw *gw, const char *path, struct evbuffer *out);
int tree_read(struct gw *gw, const char *path, struct evbuffer *out, char *why,
	      size_t size);
int tree_write(struct gw *gw, const char *path, const char *text,
	       struct evbuffer *out, char *why, size_t size);

/* A watched file: poll adds the lines that are new since the last call. */
int tree_watch_new(struct gw *gw, const char *path, struct tree_watch **watch,
		   char *why, size_t size);
void tree_watch_poll(struct tree_watch *watch, struct evbuffer *out);
void tree_watch_free(struct tree_watch *watch);

const char *tree_errno_name(int err);	/* "ENOENT" */

/* ---- what the files hold: stats.c ---- */
void stats_gateway(struct gw *gw, struct evbuffer *out);
void stats_share(struct share *share, struct evbuffer *out);
void status_share(struct share *share, struct evbuffer *out);

#endif
