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
};

struct node {
	const char *path;
	int (*read)(struct at *at, struct evbuffer *out);
	int (*write)(struct at *at, const char *text, struct evbuffer *out,
		     char *why, size_t size);
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

static int
read_share_stats(struct at *at, struct evbuffer *out)
{
	stats_share(at->share, out);
	return 0;
}

static int
read_share_status(struct at *at, struct evbuffer *out)
{
	status_share(at->share, out);
	return 0;
}

/* A word written to a ctl file, with the rest of the line. */
struct word {
	const char *word;
	int (*run)(struct at *at, const char *rest, struct evbuffer *out,
		   char *why, size_t size);
	const char *help;
};

static int
word_shutdown(struct at *at, const char *rest, struct evbuffer *out, char *why,
	      size_t size)
{
	(void)rest;
	(void)out;
	(void)why;
	(void)size;
	gw_stop(at->gw, 0);
	return 0;
}

static int
word_reload(struct at *at, const char *rest, struct evbuffer *out, char *why,
	    size_t size)
{
	bool dry = !strcmp(rest, "dry-run");

	if (*rest && !dry) {
		snprintf(why, size, "reload takes nothing or dry-run");
		return -EINVAL;
	}
	return reload(at->gw, dry, out, why, size);
}

/* clang-format off */
static const struct word ctl_words[] = {
	{ "reload",   word_reload,   "read the configuration again; with dry-run, only say what would change" },
	{ "shutdown", word_shutdown, "end all sessions and stop" },
	{ NULL, NULL, NULL },
};
/* clang-format on */

static int
list_words(const struct word *words, struct evbuffer *out)
{
	for (const struct word *w = words; w->word; w++)
		evbuffer_add_printf(out, "%s: %s\n", w->word, w->help);
	return 0;
}

static int
run_word(const struct word *words, struct at *at, const char *text,
	 struct evbuffer *out, char *why, size_t size)
{
	size_t n = strcspn(text, " \t");
	const char *rest = text + n + strspn(text + n, " \t");

	for (const struct word *w = words; w->word; w++)
		if (strlen(w->word) == n && !memcmp(w->word, text, n))
			return w->run(at, rest, out, why, size);
	snprintf(why, size, "no such word \"%.40s\"; reading the file lists "
		 "its words", text);
	return -EINVAL;
}

static int
read_ctl(struct at *at, struct evbuffer *out)
{
	(void)at;
	return list_words(ctl_words, out);
}

static int
write_ctl(struct at *at, const char *text, struct evbuffer *out, char *why,
	  size_t size)
{
	return run_word(ctl_words, at, text, out, why, size);
}

static int
word_casefold(struct at *at, const char *rest, struct evbuffer *out, char *why,
	      size_t size)
{
	(void)out;
	return fold_word(at->share, rest, why, size);
}

/* clang-format off */
static const struct word share_words[] = {
	{ "casefold", word_casefold, "check: compare what is known of names with the host; rebuild: forget all of it" },
	{ NULL, NULL, NULL },
};
/* clang-format on */

static int
read_share_ctl(struct at *at, struct evbuffer *out)
{
	(void)at;
	return list_words(share_words, out);
}

static int
write_share_ctl(struct at *at, const char *text, struct evbuffer *out,
		char *why, size_t size)
{
	return run_word(share_words, at, text, out, why, size);
}

static int
read_share_casefold(struct at *at, struct evbuffer *out)
{
	fold_show(at->share, out);
	return 0;
}

/* clang-format off */
static const struct node nodes[] = {
	{ "version",         read_version,      NULL,      "The version of the daemon." },
	{ "config",          print_conf,        NULL,      "The configuration in use, as --print-config." },
	{ "stats",           read_stats,        NULL,      "Counters of the daemon since its start." },
	{ "ctl",             read_ctl,          write_ctl, "Words that steer the daemon." },
	{ "shares/*/status", read_share_status, NULL,      "State and sessions of a share." },
	{ "shares/*/stats",  read_share_stats,  NULL,      "Counters of a share since its start." },
	{ "shares/*/config", print_conf,        NULL,      "The settings of a share." },
	{ "shares/*/casefold", read_share_casefold, NULL,  "Names without case: what is kept, and the last check." },
	{ "shares/*/ctl",    read_share_ctl,    write_share_ctl, "Words that steer a share." },
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
tree_read(struct gw *gw, const char *path, struct evbuffer *out, char *why,
	  size_t size)
{
	struct at at;
	const struct node *node = find_node(gw, path, &at);

	if (!node)
		return no_such(gw, path, why, size);
	if (!node->read) {
		snprintf(why, size, "%s can only be written", path);
		return -EACCES;
	}
	return node->read(&at, out);
}

int
tree_write(struct gw *gw, const char *path, const char *text,
	   struct evbuffer *out, char *why, size_t size)
{
	struct at at;
	const struct node *node = find_node(gw, path, &at);

	if (!node)
		return no_such(gw, path, why, size);
	if (!node->write) {
		snprintf(why, size, "%s can only be read", path);
		return -EACCES;
	}
	return node->write(&at, text, out, why, size);
}

/* ---- watching: a file is read again each second, new lines are shown ---- */

struct tree_watch {
	struct gw *gw;
	char *path;
	struct evbuffer *last;
};

int
tree_watch_new(struct gw *gw, const char *path, struct tree_watch **watch,
	       char *why, size_t size)
{
	struct at at;
	const struct node *node = find_node(gw, path, &at);
	struct tree_watch *w;

	if (!node || !node->read)
		return no_such(gw, path, why, size);
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->gw = gw;
	w->path = strdup(path);
	w->last = evbuffer_new();
	if (!w->path || !w->last) {
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
	free(w->path);
	free(w);
}

/* Line by line beside the last reading: print what differs. */
void
tree_watch_poll(struct tree_watch *w, struct evbuffer *out)
{
	struct evbuffer *now = evbuffer_new(), *scan = evbuffer_new();
	char why[256], *a, *b;

	if (!now || !scan ||
	    tree_read(w->gw, w->path, now, why, sizeof(why)) ||
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

/* ---- names of errors ---- */

const char *
tree_errno_name(int err)
{
	const char *name = strerrorname_np(-err);

	return name ? name : "EIO";
}
