/* SPDX-License-Identifier: MIT */
/*
 * A watched file as a stream of lines.  The lines of log and trace come from
 * a ring, each once; any other file is read again each second, and lines that
 * differ from those of the last reading are shown.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/tree.h"

struct tree_watch {
	struct gw *gw;
	char *path;
	bool ring;			/* of a share's trace, or the log */
	char *tag;			/* whose trace; NULL: the log */
	struct lines_at at;
	struct evbuffer *last;		/* what was read, when not a ring */
};

int
tree_watch_new(struct gw *gw, const char *path, struct tree_watch **watch,
	       char *why, size_t size)
{
	struct tree_watch *w = calloc(1, sizeof(*w));
	const char *tag = NULL;
	int err;

	if (!w)
		return -ENOMEM;
	err = tree_find_stream(gw, path, &w->ring, &tag, why, size);
	if (err) {
		free(w);
		return err;
	}
	w->gw = gw;
	w->path = strdup(path);
	w->tag = tag ? strdup(tag) : NULL;
	w->last = evbuffer_new();
	if (!w->path || !w->last || (tag && !w->tag)) {
		tree_watch_free(w);
		return -ENOMEM;
	}
	*watch = w;
	return 0;
}

void
tree_watch_free(struct tree_watch *w)
{
	if (w->last)
		evbuffer_free(w->last);
	free(w->tag);
	free(w->path);
	free(w);
}

bool
tree_watch_is_ring(const struct tree_watch *w)
{
	return w->ring;
}

/* The share may be gone, and come back. */
static void
poll_ring(struct tree_watch *w, size_t room, struct evbuffer *out)
{
	struct lines *lines = w->gw->log;
	struct share *share;

	if (w->tag) {
		share = share_find(w->gw, w->tag);
		lines = share ? atomic_load(&share->tag->trace) : NULL;
	}
	if (lines)
		lines_read(lines, &w->at, room, out);
	else
		memset(&w->at, 0, sizeof(w->at));
}

/* Line by line beside the last reading: print what differs. */
static void
poll_file(struct tree_watch *w, struct evbuffer *out)
{
	struct evbuffer *now = evbuffer_new(), *scan = evbuffer_new();
	struct answer *later = NULL;	/* not of what can be watched */
	char why[256], *a, *b;

	if (!now || !scan ||
	    tree_read(w->gw, w->path, now, &later, why, sizeof(why)) ||
	    evbuffer_add(scan, evbuffer_pullup(now, -1),
			 evbuffer_get_length(now)))
		goto free_buffers;
	while ((a = evbuffer_readln(scan, NULL, EVBUFFER_EOL_LF))) {
		b = evbuffer_readln(w->last, NULL, EVBUFFER_EOL_LF);
		if (!b || strcmp(a, b))
			evbuffer_add_printf(out, "%s\n", a);
		free(a);
		free(b);
	}
	evbuffer_drain(w->last, evbuffer_get_length(w->last));
	evbuffer_add_buffer(w->last, now);
free_buffers:
	if (now)
		evbuffer_free(now);
	if (scan)
		evbuffer_free(scan);
}

void
tree_watch_poll(struct tree_watch *w, size_t room, struct evbuffer *out)
{
	if (w->ring)
		poll_ring(w, room, out);
	else
		poll_file(w, out);
}
