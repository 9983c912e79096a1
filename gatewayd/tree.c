/* SPDX-License-Identifier: MIT */
/*
 * The control files: one table of nodes; ls, read, write and watch walk it.
 * "*" in a path stands for a tag.
 */
#include "gatewayd/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a handler is about; share is NULL outside shares/. */
struct at {
	struct gw *gw;
	struct share *share;
	struct answer **later;	/* to be set when the answer takes a while */
};

struct node {
	const char *path;
	int (*read)(struct at *at, struct evbuffer *out);
	/* The same for what a pool thread makes. */
	int (*export)(struct share *share, struct answer **later, char *why,
		      size_t size);
	int (*write)(struct at *at, const char *text, struct evbuffer *out,
		     char *why, size_t size);
	bool ring;		/* watched line by line */
	const char *help;
};

/* ---- files ---- */

static int
read_version(struct at *at, struct evbuffer *out)
{
	(void)at;
	evbuffer_add_printf(out, "gatewayd %s\n", GW_VERSION);
	return 0;
}

static int
read_stats(struct at *at, struct evbuffer *out)
{
	stats_gateway(at->gw, out);
	return 0;
}

static int
read_json(struct at *at, struct evbuffer *out)
{
	return stats_json(at->gw, out);
}

static int
read_metrics(struct at *at, struct evbuffer *out)
{
	return metrics_gateway(at->gw, out);
}

static int
read_log(struct at *at, struct evbuffer *out)
{
	struct lines_at begin = { 0 };

	lines_read(at->gw->log, &begin, SIZE_MAX, out);
	return 0;
}

/* conf/ prints to a FILE. */
static int
print_conf(struct at *at, struct evbuffer *out)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return -ENOMEM;
	if (at->share)
		conf_print_share(at->share->conf, f);
	else
		conf_print(at->gw->conf, f);
	if (fclose(f)) {
		free(text);
		return -ENOMEM;
	}
	evbuffer_add(out, text, n);
	free(text);
	return 0;
}

/* A file of a share whose reader takes the share. */
#define SHARE_FILE(name, fn)                                                 \
	static int read_share_##name(struct at *at, struct evbuffer *out)    \
	{                                                                    \
		return fn(at->share, out);                                   \
	}
SHARE_FILE(status, status_share)
SHARE_FILE(stats, stats_share)
SHARE_FILE(json, stats_share_json)
SHARE_FILE(ops, stats_ops)
SHARE_FILE(clients, clients_share)
SHARE_FILE(inflight, inflight_share)
SHARE_FILE(handles, handles_share)

static const char *const trace_words[] = {
	[CONF_TRACE_NO] = "off", [CONF_TRACE_YES] = "on",
	[CONF_TRACE_LOG] = "log",
};

/* On or off, and the lines that are still there. */
static int
read_trace(struct at *at, struct evbuffer *out)
{
	struct tag *tag = at->share->tag;
	struct lines *lines = atomic_load(&tag->trace);
	struct lines_at begin = { 0 };

	evbuffer_add_printf(out, "trace %s\n", trace_words[
			    !atomic_load(&tag->tracing) ? CONF_TRACE_NO :
			    tag->trace_logged ? CONF_TRACE_LOG :
			    CONF_TRACE_YES]);
	if (lines)
		lines_read(lines, &begin, SIZE_MAX, out);
	return 0;
}

static int
write_trace(struct at *at, const char *text, struct evbuffer *out, char *why,
	    size_t size)
{
	(void)out;
	for (int i = CONF_TRACE_NO; i <= CONF_TRACE_LOG; i++)
		if (!strcmp(text, trace_words[i]))
			return tag_trace(at->share->tag, (enum conf_trace)i);
	snprintf(why, size, "trace is on, off or log");
	return -EINVAL;
}

static int
read_ctl(struct at *at, struct evbuffer *out)
{
	words_list(at->share, out);
	return 0;
}

static int
write_ctl(struct at *at, const char *text, struct evbuffer *out, char *why,
	  size_t size)
{
	return words_run(at->gw, at->share, text, out, at->later, why, size);
}

static int
write_state(struct at *at, const char *text, struct evbuffer *out, char *why,
	    size_t size)
{
	(void)out;
	return state_import(at->share, text, at->later, why, size);
}

static int
read_share_casefold(struct at *at, struct evbuffer *out)
{
	fold_show(at->share, out);
	return 0;
}

/* clang-format off */
static const struct node nodes[] = {
	{ "version",             read_version,        NULL,         NULL,        false, "The version of the daemon." },
	{ "config",              print_conf,          NULL,         NULL,        false, "The configuration in use, as --print-config." },
	{ "stats",               read_stats,          NULL,         NULL,        false, "Counters of the daemon since its start." },
	{ "stats.json",          read_json,           NULL,         NULL,        false, "All counters and guests, as JSON." },
	{ "metrics",             read_metrics,        NULL,         NULL,        false, "All counters, as OpenMetrics." },
	{ "log",                 read_log,            NULL,         NULL,        true,  "The last lines of the log." },
	{ "ctl",                 read_ctl,            NULL,         write_ctl,   false, "Words that steer the daemon." },
	{ "shares/*/status",     read_share_status,   NULL,         NULL,        false, "State and sessions of a share." },
	{ "shares/*/config",     print_conf,          NULL,         NULL,        false, "The settings of a share." },
	{ "shares/*/stats",      read_share_stats,    NULL,         NULL,        false, "Counters of a share since its start." },
	{ "shares/*/stats.json", read_share_json,     NULL,         NULL,        false, "The same and more, as JSON." },
	{ "shares/*/ops",        read_share_ops,      NULL,         NULL,        false, "Requests by opcode: counts, errors, bytes, times." },
	{ "shares/*/clients",    read_share_clients,  NULL,         NULL,        false, "Guests: who they are, what was agreed." },
	{ "shares/*/inflight",   read_share_inflight, NULL,         NULL,        false, "Requests under way, the oldest first." },
	{ "shares/*/handles",    read_share_handles,  NULL,         NULL,        false, "Files and directories that guests have open." },
	{ "shares/*/trace",      read_trace,          NULL,         write_trace, true,  "A line for each request and reply: on, off or log." },
	{ "shares/*/casefold",   read_share_casefold, NULL,         NULL,        false, "Names without case: what is kept, and the last check." },
	{ "shares/*/state",      NULL,                state_export, write_state, false, "What is recorded of files: a line for each." },
	{ "shares/*/state.db",   NULL,                state_backup, NULL,        false, "A copy of the database of that." },
	{ "shares/*/ctl",        read_ctl,            NULL,         write_ctl,   false, "Words that steer a share." },
};
/* clang-format on */
#define NNODES (sizeof(nodes) / sizeof(nodes[0]))

/* ---- walking ---- */

static struct share *
find_encoded(struct gw *gw, const char *name, size_t n)
{
	struct share *share;

	TAILQ_FOREACH(share, &gw->shares, link) {
		char *enc = conf_tag_encode(share->conf->tag);
		bool same = enc && strlen(enc) == n && !memcmp(enc, name, n);

		free(enc);
		if (same)
			return share_find(gw, share->conf->tag);
	}
	return NULL;
}

/*
 * Does `path` name `pattern`, or a directory of it?  Returns the rest of the
 * pattern ("" for a file, "/..." for a directory), or NULL.
 */
static const char *
match(struct gw *gw, const char *pattern, const char *path,
      struct share **share)
{
	*share = NULL;
	while (*path) {
		size_t n = strcspn(path, "/"), m = strcspn(pattern, "/");

		if (m == 1 && *pattern == '*')
			*share = find_encoded(gw, path, n);
		if (m == 1 && *pattern == '*' ? !*share :
		    m != n || memcmp(path, pattern, n))
			return NULL;
		path += n;
		pattern += m;
		if (!*path)
			return pattern;
		if (!*pattern)
			return NULL;
		path++;
		pattern++;
	}
	return pattern;
}

static const char *
trim(const char *path)
{
	return path + strspn(path, "/");
}

static const struct node *
find_node(struct gw *gw, const char *path, struct at *at)
{
	const char *rest;

	at->gw = gw;
	for (size_t i = 0; *trim(path) && i < NNODES; i++) {
		rest = match(gw, nodes[i].path, trim(path), &at->share);
		if (rest && !*rest)
			return &nodes[i];
	}
	return NULL;
}

/* A file that is not there: name the share that is unknown, if it is that. */
static int
no_such(struct gw *gw, const char *path, char *why, size_t size)
{
	const char *name = trim(path);
	size_t n;

	if (!strncmp(name, "shares/", 7)) {
		name += 7;
		n = strcspn(name, "/");
		if (n && !find_encoded(gw, name, n)) {
			snprintf(why, size, "no share \"%.*s\"",
				 (int)(n < 120 ? n : 120), name);
			return -ENOENT;
		}
	}
	snprintf(why, size, "%.120s: no such file", path);
	return -ENOENT;
}

/* Names already listed need not be listed again. */
static void
add_name(struct evbuffer *out, const char *name, size_t n, bool dir)
{
	struct evbuffer_ptr p;
	char line[CONF_TAG_MAX * 3 + 4];
	int len;

	len = snprintf(line, sizeof(line), "%.*s%s\n", (int)n, name,
		       dir ? "/" : "");
	p = evbuffer_search(out, line, (size_t)len, NULL);
	if (p.pos < 0)
		evbuffer_add(out, line, (size_t)len);
}

static void
add_tags(struct gw *gw, struct evbuffer *out)
{
	struct share *share;

	TAILQ_FOREACH(share, &gw->shares, link) {
		char *enc = conf_tag_encode(share->conf->tag);

		if (enc && share == share_find(gw, share->conf->tag))
			evbuffer_add_printf(out, "%s/\n", enc);
		free(enc);
	}
}

int
tree_ls(struct gw *gw, const char *path, struct evbuffer *out)
{
	size_t n = strlen(trim(path));
	bool found = false, tags = false;
	struct share *share;
	char dir[256];

	if (n >= sizeof(dir))
		return -ENOENT;
	memcpy(dir, trim(path), n + 1);
	while (n && dir[n - 1] == '/')
		dir[--n] = '\0';
	for (size_t i = 0; i < NNODES; i++) {
		const char *rest = match(gw, nodes[i].path, dir, &share);
		size_t len;

		if (!rest || (n && *rest != '/'))
			continue;
		found = true;
		rest += *rest == '/';
		len = strcspn(rest, "/");
		if (*rest != '*')
			add_name(out, rest, len, rest[len] == '/');
		else if (!tags)
			add_tags(gw, out);
		tags |= *rest == '*';
	}
	if (!found && !strcmp(dir, "shares"))
		found = true;
	return found ? 0 : -ENOENT;
}

int
tree_read(struct gw *gw, const char *path, struct evbuffer *out,
	  struct answer **later, char *why, size_t size)
{
	struct at at;
	const struct node *node = find_node(gw, path, &at);

	if (!node)
		return no_such(gw, path, why, size);
	if (node->export)
		return node->export(at.share, later, why, size);
	if (!node->read) {
		snprintf(why, size, "%s can only be written", path);
		return -EACCES;
	}
	return node->read(&at, out);
}

int
tree_write(struct gw *gw, const char *path, const char *text,
	   struct evbuffer *out, struct answer **later, char *why, size_t size)
{
	struct at at;
	const struct node *node = find_node(gw, path, &at);

	if (!node)
		return no_such(gw, path, why, size);
	if (!node->write) {
		snprintf(why, size, "%s can only be read", path);
		return -EACCES;
	}
	at.later = later;
	return node->write(&at, text, out, why, size);
}

int
tree_find_stream(struct gw *gw, const char *path, bool *ring, const char **tag,
		 char *why, size_t size)
{
	struct at at;
	const struct node *node = find_node(gw, path, &at);

	if (node && node->export) {
		snprintf(why, size, "%s cannot be watched", path);
		return -EOPNOTSUPP;
	}
	if (!node || !node->read)
		return no_such(gw, path, why, size);
	*ring = node->ring;
	*tag = at.share ? at.share->conf->tag : NULL;
	return 0;
}

/* ---- names of errors ---- */

const char *
tree_errno_name(int err)
{
	const char *name = strerrorname_np(-err);

	return name ? name : "EIO";
}
