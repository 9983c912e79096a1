/* SPDX-License-Identifier: MIT */
/*
 * The tree of control files.  Paths have no leading slash and no "..";
 * a tag in a path is percent-encoded.  Everything on the control thread.
 */
#ifndef GATEWAYD_TREE_H
#define GATEWAYD_TREE_H

#include "gatewayd/gw.h"

struct answer;
struct json;
struct tree_watch;

/*
 * Each returns 0 or -errno, with a sentence in why[size] where it has one.
 * When *later is set, a pool thread makes the answer; the caller drops it.
 */
int tree_ls(struct gw *gw, const char *path, struct evbuffer *out);
int tree_read(struct gw *gw, const char *path, struct evbuffer *out,
	      struct answer **later, char *why, size_t size);
int tree_write(struct gw *gw, const char *path, const char *text,
	       struct evbuffer *out, struct answer **later, char *why,
	       size_t size);

const char *tree_errno_name(int err);	/* "ENOENT" */

/* Can it be watched; are its lines in a ring, and of which tag's trace. */
int tree_find_stream(struct gw *gw, const char *path, bool *ring,
		     const char **tag, char *why, size_t size);

/* ---- watch.c ---- */
int tree_watch_new(struct gw *gw, const char *path, struct tree_watch **watch,
		   char *why, size_t size);
/* Add the lines that are new since the last call.  A ring keeps those that
 * `room` bytes have no place for. */
void tree_watch_poll(struct tree_watch *watch, size_t room,
		     struct evbuffer *out);
/* Worth polling often, and again when the output has drained. */
bool tree_watch_is_ring(const struct tree_watch *watch);
void tree_watch_free(struct tree_watch *watch);

/* ---- words.c: what may be written to a ctl file; share NULL: the root's ---- */
void words_list(struct share *share, struct evbuffer *out);
int words_run(struct gw *gw, struct share *share, const char *text,
	      struct evbuffer *out, struct answer **later, char *why,
	      size_t size);

/* ---- stateops.c: the store of a share; answers come later ---- */
/* All rows as text; a copy of state.db. */
int state_export(struct share *share, struct answer **later, char *why,
		 size_t size);
int state_backup(struct share *share, struct answer **later, char *why,
		 size_t size);
/* Record what one line says. */
int state_import(struct share *share, const char *line, struct answer **later,
		 char *why, size_t size);
/* check or gc. */
int state_word(struct share *share, const char *word, struct answer **later,
	       char *why, size_t size);

/* ---- what the files hold: stats.c, clients.c, metrics.c ---- */
void stats_gateway(struct gw *gw, struct evbuffer *out);
int stats_json(struct gw *gw, struct evbuffer *out);
int metrics_gateway(struct gw *gw, struct evbuffer *out);
int stats_share(struct share *share, struct evbuffer *out);
int stats_share_json(struct share *share, struct evbuffer *out);
int stats_ops(struct share *share, struct evbuffer *out);
int status_share(struct share *share, struct evbuffer *out);
int clients_share(struct share *share, struct evbuffer *out);
void clients_json(struct share *share, struct json *j);
int inflight_share(struct share *share, struct evbuffer *out);
int handles_share(struct share *share, struct evbuffer *out);

#endif
