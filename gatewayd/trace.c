/* SPDX-License-Identifier: MIT */
/*
 * A trace: each request and each reply of a share as a line, for the file
 * shares/TAG/trace.  Lines go to a ring in memory and never hold up the thread
 * that serves; what nobody reads in time is lost and counted.
 */
#include <stdio.h>
#include <string.h>

#include "gatewayd/gw.h"

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
