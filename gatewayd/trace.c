/* SPDX-License-Identifier: MIT */
/*
 * A trace: each request and each reply of a share as a line, for the file
 * shares/TAG/trace.  Lines go to a ring in memory and never hold up the thread
 * that serves; what nobody reads in time is lost and counted.
 *
 * Into the log they come from there, by the control thread, as fast as the log
 * takes them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/gw.h"

#define LOG_TICK_US 50000
#define LOG_PIECE 4096		/* copied to the log in one go */
#define LOG_PIECES 8		/* ... in one tick */

static void
add_line(struct session *s, char *line, size_t size, int n)
{
	size_t len = (size_t)n < size ? (size_t)n : size - 1;
	char end[32];
	int m = snprintf(end, sizeof(end), " s=%llu",
			 (unsigned long long)s->id);

	if (len + (size_t)m >= size)
		len = size - 1 - (size_t)m;
	memcpy(line + len, end, (size_t)m);
	lines_add(atomic_load(&s->share->tag->trace), line, len + (size_t)m);
}

void
trace_request(struct session *s, const struct fs_req *req)
{
	char line[1536];
	int n = snprintf(line, sizeof(line), "%s ", s->share->tag->name);

	n += fs_describe(req, line + n, sizeof(line) - (size_t)n);
	add_line(s, line, sizeof(line), n);
}

/* len 0: there was none, as FORGET has none. */
void
trace_reply(struct session *s, const struct fs_req *req, size_t len,
	    uint64_t ns)
{
	char line[160], what[40];
	const char *name = strerrorname_np(-req->error);
	int n;

	if (!req->error)
		snprintf(what, sizeof(what), len ? "ok" : "none");
	else if (name)
		snprintf(what, sizeof(what), "%s", name);
	else
		snprintf(what, sizeof(what), "error=%d", -req->error);
	n = snprintf(line, sizeof(line), "%s u=%llu < %s %lluus",
		     s->share->tag->name, (unsigned long long)req->unique,
		     what, (unsigned long long)(ns / 1000));
	if (len && !req->error)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " len=%zu",
			      len);
	add_line(s, line, sizeof(line), n);
}

/* ---- into the log ---- */

static void
arm(struct gw *gw)
{
	struct timeval tv = { .tv_usec = LOG_TICK_US };

	evtimer_add(gw->trace_timer, &tv);
}

/* Lines from before are not meant. */
void
trace_log_begin(struct tag *t)
{
	struct evbuffer *old = evbuffer_new();

	arm(t->gw);
	if (!old)
		return;
	lines_read(t->trace, &t->logged, SIZE_MAX, old);
	evbuffer_free(old);
}

void
trace_log(struct tag *t)
{
	struct evbuffer *lines = evbuffer_new();
	size_t had = 1;
	char *line;

	if (!lines)
		return;
	for (int i = 0; i < LOG_PIECES && had && log_has_room(); i++) {
		lines_read(t->trace, &t->logged, LOG_PIECE, lines);
		had = evbuffer_get_length(lines);
		while ((line = evbuffer_readln(lines, NULL,
					       EVBUFFER_EOL_LF))) {
			if (!strncmp(line, "lost ", 5))
				log_copy("%s: trace: %s", t->name, line);
			else
				log_copy("%s", line);
			free(line);
		}
	}
	evbuffer_free(lines);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct gw *gw = arg;
	struct share *share;
	bool any = false;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(share, &gw->shares, link) {
		if (!share->tag->trace_logged)
			continue;
		any = true;
		trace_log(share->tag);
	}
	if (any)
		arm(gw);
}

int
trace_log_init(struct gw *gw)
{
	gw->trace_timer = evtimer_new(gw->base, on_tick, gw);
	return gw->trace_timer ? 0 : -ENOMEM;
}
