/* SPDX-License-Identifier: MIT */
/*
 * Lines to sections of settings.  Every line is checked here on its own: is
 * there such a key, may it stand here, does its value make sense.  Which of
 * several settings counts is decided here too: the later one, but lists grow.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/load.h"
#include "conf/reader.h"
#include "conf/text.h"

static int
by_name(const void *a, const void *b)
{
	const struct conf_section *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void
section_fini(struct conf_section *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i].text);
	free(s->v);
	free(s->name);
}

int
conf_loader_init(struct conf_loader *l)
{
	static const struct conf_at nowhere = { CONF_FILE_DEFAULT, 0 };

	*l = (struct conf_loader){
		.gateway = { .scope = CONF_IN_GATEWAY, .last = nowhere },
		.defaults = { .scope = CONF_IN_DEFAULTS, .last = nowhere },
		.lost = { .scope = CONF_IN_SHARE, .last = nowhere },
	};
	l->gateway.name = strdup("gateway");
	l->defaults.name = strdup("defaults");
	l->lost.name = strdup("?");
	l->files = conf_files_new();
	l->made = calloc(conf_nkeys, sizeof(*l->made));
	if (l->gateway.name && l->defaults.name && l->lost.name && l->files &&
	    l->made)
		return 0;
	conf_loader_fini(l);
	return -ENOMEM;
}

static void
keep(void *node)
{
	(void)node;
}

void
conf_loader_fini(struct conf_loader *l)
{
	tdestroy(l->by_name, keep);
	for (size_t i = 0; i < l->nshares; i++) {
		section_fini(l->shares[i]);
		free(l->shares[i]);
	}
	free(l->shares);
	section_fini(&l->gateway);
	section_fini(&l->defaults);
	section_fini(&l->lost);
	for (size_t i = 0; l->made && i < conf_nkeys; i++)
		free(l->made[i]);
	free(l->made);
	for (size_t i = 0; i < l->nmessages; i++)
		free(l->messages[i].text);
	free(l->messages);
	conf_files_put(l->files);
}

static struct conf_section *
find_section(struct conf_loader *l, const char *name)
{
	struct conf_section key = { .name = (char *)name };
	struct conf_section **node;

	if (!strcmp(name, l->gateway.name))
		return &l->gateway;
	if (!strcmp(name, l->defaults.name))
		return &l->defaults;
	node = tfind(&key, &l->by_name, by_name);
	return node ? *node : NULL;
}

static bool
grow_shares(struct conf_loader *l)
{
	size_t room = l->room ? 2 * l->room : 16;
	struct conf_section **v;

	if (l->nshares < l->room)
		return true;
	v = realloc(l->shares, room * sizeof(struct conf_section *));
	if (!v)
		return false;
	l->shares = v;
	l->room = room;
	return true;
}

/* A share that was not heard of before; NULL without memory. */
static struct conf_section *
new_share(struct conf_loader *l, const char *name, struct conf_at at)
{
	struct conf_section *s = calloc(1, sizeof(*s));

	if (s)
		s->name = strdup(name);
	if (!s || !s->name || !grow_shares(l) ||
	    !tsearch(s, &l->by_name, by_name)) {
		if (s)
			free(s->name);
		free(s);
		l->no_memory = true;
		return NULL;
	}
	s->scope = CONF_IN_SHARE;
	s->first = at;
	s->last.file = CONF_FILE_DEFAULT;
	l->shares[l->nshares++] = s;
	return s;
}

/* Turn to the section of that name; what follows belongs to it. */
static void
enter_section(struct conf_loader *l, const char *name, struct conf_at at)
{
	struct conf_section *s = find_section(l, name);
	const char *fault;

	if (!s) {
		s = new_share(l, name, at);
		fault = conf_tag_fault(name);
		if (s && fault) {
			s->bad_tag = true;
			conf_say(l, CONF_ERROR, at, name, "tag", "%s", fault);
		}
	}
	l->section = s;
	if (!s)
		return;
	if (s->last.file == at.file)
		conf_say(l, CONF_ERROR, at, name, NULL,
			 "section stands twice in this file (first in line %d)",
			 s->last.line);
	s->last = at;
}

static void
take_section(void *ctx, int line, const char *name)
{
	struct conf_loader *l = ctx;

	if (name)
		enter_section(l, name, (struct conf_at){ l->file, line });
	else
		l->section = &l->lost;
}

struct conf_setting *
conf_setting_find(const struct conf_section *section,
		  const struct conf_key *key)
{
	for (size_t i = section->n; i--;)
		if (section->v[i].key == key)
			return &section->v[i];
	return NULL;
}

/* A list begins anew: forget what it had. */
static void
drop_settings(struct conf_section *s, const struct conf_key *key)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].key == key)
			free(s->v[i].text);
		else
			s->v[n++] = s->v[i];
	}
	s->n = n;
}

static struct conf_setting *
append_setting(struct conf_loader *l, struct conf_section *s)
{
	size_t room = s->room ? 2 * s->room : 8;
	struct conf_setting *v;

	if (s->n == s->room) {
		v = realloc(s->v, room * sizeof(*v));
		if (!v) {
			l->no_memory = true;
			return NULL;
		}
		s->v = v;
		s->room = room;
	}
	s->v[s->n] = (struct conf_setting){ 0 };
	return &s->v[s->n++];
}

static void
put_setting(struct conf_loader *l, const struct conf_key *key,
	    const char *value, struct conf_at at, bool good)
{
	struct conf_section *s = l->section;
	struct conf_setting *old = conf_setting_find(s, key), *set = old;
	bool list = conf_key_is_list(key), reset = list && !value[0];
	char *text = strdup(value);

	if (old && !list && old->at.file == at.file)
		conf_say(l, CONF_ERROR, at, s->name, key->name,
			 "key stands twice in this section (first in line %d)",
			 old->at.line);
	if (reset)
		drop_settings(s, key);
	if (list || !set)
		set = text ? append_setting(l, s) : NULL;
	if (!text || !set) {
		free(text);
		l->no_memory = true;
		return;
	}
	free(set->text);
	*set = (struct conf_setting){
		.key = key, .text = text, .at = at, .bad = !good, .reset = reset
	};
}

/* A key with a value that nobody can read has been given all the same. */
static void
take_mistake(void *ctx, int line, const char *name, const char *what)
{
	struct conf_loader *l = ctx;
	struct conf_at at = { l->file, line };
	struct conf_section *s = l->section;
	const struct conf_key *key = name ? conf_key_find(name) : NULL;

	conf_say(l, CONF_ERROR, at, s && s != &l->lost ? s->name : NULL,
		 key ? key->name : name, "%s", what);
	if (s && key && (key->scope & s->scope))
		put_setting(l, key, "", at, false);
}

static void
unknown_key(struct conf_loader *l, const char *name, struct conf_at at)
{
	const char *near = conf_key_nearest(name, l->section->scope);

	if (near)
		conf_say(l, CONF_ERROR, at, l->section->name, name,
			 "unknown key (did you mean \"%s\"?)", near);
	else
		conf_say(l, CONF_ERROR, at, l->section->name, name,
			 "unknown key (gatewayd.conf(5) lists them)");
}

static const char *
right_section(unsigned scope)
{
	if (scope & CONF_IN_GATEWAY)
		return "want it in [gateway]";
	if (scope & CONF_IN_DEFAULTS)
		return "want it in [defaults] or in the section of a share";
	return "want it in the section of a share";
}

static void
take_setting(void *ctx, int line, const char *name, const char *value)
{
	struct conf_loader *l = ctx;
	struct conf_at at = { l->file, line };
	const struct conf_key *key;
	char why[CONF_WHY];
	int err;

	if (l->no_memory)
		return;
	if (!l->section) {
		conf_say(l, CONF_ERROR, at, NULL, name,
			 "key before the first section (want [gateway], "
			 "[defaults] or [TAG] above it)");
		return;
	}
	key = conf_key_find(name);
	if (!key) {
		unknown_key(l, name, at);
		return;
	}
	if (!(key->scope & l->section->scope)) {
		conf_say(l, CONF_ERROR, at, l->section->name, key->name,
			 "key in the wrong section (%s)",
			 right_section(key->scope));
		return;
	}
	err = conf_value_set(key, value, NULL, why);
	if (err == -ENOMEM)
		l->no_memory = true;
	else if (err)
		conf_say(l, CONF_ERROR, at, l->section->name, key->name, "%s",
			 why);
	put_setting(l, key, value, at, !err);
}

void
conf_parse_text(struct conf_loader *l, const char *text, size_t size)
{
	static const struct conf_reader_ops ops = {
		.section = take_section,
		.setting = take_setting,
		.mistake = take_mistake,
	};

	l->section = NULL;
	if (conf_read_lines(text, size, &ops, l))
		l->no_memory = true;
}

/* `path` as an absolute one, allocated; NULL and errno if that cannot be. */
static char *
absolute(const char *path)
{
	bool plain = path[0] == '/' && !strstr(path, "..");

	return plain ? strdup(path) : realpath(path, NULL);
}

/* The path of a --share.  A mistake counts as a path, or it would also be
 * called missing. */
static void
take_share_path(struct conf_loader *l, const char *path)
{
	struct conf_at at = { l->file, 0 };
	const struct conf_key *key = conf_key_get("path");
	char echo[CONF_ECHO], *whole = path[0] ? absolute(path) : NULL;
	int err = whole || !path[0] ? 0 : errno;

	if (err == ENOMEM) {
		l->no_memory = true;
	} else if (whole && !conf_is_writable(whole)) {
		conf_say(l, CONF_ERROR, at, l->section->name, key->name,
			 "could not stand in a file (want UTF-8 without "
			 "control characters, blanks at the end, and ';' or "
			 "'#' behind a blank)");
		put_setting(l, key, "", at, false);
	} else if (whole) {
		take_setting(l, 0, key->name, whole);
	} else {
		conf_say(l, CONF_ERROR, at, l->section->name, key->name,
			 "%s%s%s (want TAG:DIRECTORY)", conf_echo(echo, path),
			 path[0] ? ": " : "empty path",
			 path[0] ? strerror(err) : "");
		put_setting(l, key, "", at, false);
	}
	free(whole);
}

/* Words that forbid this tag on the command line, or NULL. */
static const char *
share_fault(struct conf_loader *l, const char *tag)
{
	struct conf_section *s = find_section(l, tag);

	if (s == &l->gateway || s == &l->defaults)
		return "name is not free for a share (want another tag)";
	if (s && s->last.file >= 0 && l->files->v[s->last.file].command_line)
		return "tag stands twice on the command line";
	return NULL;
}

/* The command line is read like one more file for each --share, which sets
 * the path of that share. */
void
conf_parse_share(struct conf_loader *l, const char *arg)
{
	const char *colon = strchr(arg, ':'), *fault;
	struct conf_at at = { l->file, 0 };
	char *tag;

	if (!colon) {
		conf_say(l, CONF_ERROR, at, NULL, NULL,
			 "no path (want TAG:DIRECTORY)");
		return;
	}
	tag = strndup(arg, (size_t)(colon - arg));
	if (!tag) {
		l->no_memory = true;
		return;
	}
	fault = share_fault(l, tag);
	if (fault)
		conf_say(l, CONF_ERROR, at, tag, NULL, "%s", fault);
	else
		enter_section(l, tag, at);
	if (!fault && l->section)
		take_share_path(l, colon + 1);
	free(tag);
}
