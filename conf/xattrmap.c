/* SPDX-License-Identifier: MIT */
/*
 * Rules that give extended attributes other names on the host, as virtiofsd
 * writes them.  A rule begins with its separator, any character:
 *
 *	:TYPE:SCOPE:KEY:PREPEND:	prefix, ok, bad, unsupported
 *	:map:KEY:PREPEND:		short for up to four of these
 *
 * and rules follow each other with or without blanks between them.  Here they
 * are read; fuse/xattr.c applies them.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/number.h"
#include "conf/text.h"
#include "conf/xattrmap.h"

struct word {
	const char *name;
	unsigned value;
};

enum { MAP = 100 };

static const struct word types[] = {
	{ "prefix", CONF_XATTR_PREFIX },
	{ "ok", CONF_XATTR_OK },
	{ "bad", CONF_XATTR_BAD },
	{ "unsupported", CONF_XATTR_UNSUPPORTED },
	{ "map", MAP },
	{ NULL, 0 },
};

static const struct word scopes[] = {
	{ "client", CONF_XATTR_CLIENT },
	{ "server", CONF_XATTR_SERVER },
	{ "all", CONF_XATTR_CLIENT | CONF_XATTR_SERVER },
	{ NULL, 0 },
};

/* A text that is read rule by rule. */
struct cursor {
	const char *p;
	char sep;		/* of this rule */
	unsigned rule;		/* its number, from 1 */
	char *why;
};

struct field {
	const char *s;
	size_t n;
};

static int
take_field(struct cursor *c, const char *what, struct field *f)
{
	const char *end = strchr(c->p, c->sep);

	if (!end)
		return conf_bad(c->why,
				"rule %u: no '%c' after its %s (want "
				"%cTYPE%cSCOPE%cKEY%cPREPEND%c or "
				"%cmap%cKEY%cPREPEND%c)",
				c->rule, c->sep, what, c->sep, c->sep, c->sep,
				c->sep, c->sep, c->sep, c->sep, c->sep, c->sep);
	f->s = c->p;
	f->n = (size_t)(end - c->p);
	c->p = end + 1;
	return 0;
}

static int
take_word(struct cursor *c, const char *what, const struct word *words,
	  const char *want, unsigned *value)
{
	char text[CONF_ECHO], echo[CONF_ECHO];
	struct field f;
	int err = take_field(c, what, &f);

	if (err)
		return err;
	for (; words->name; words++) {
		if (strlen(words->name) == f.n &&
		    !memcmp(words->name, f.s, f.n)) {
			*value = words->value;
			return 0;
		}
	}
	if (f.n >= sizeof(text))
		f.n = sizeof(text) - 1;
	memcpy(text, f.s, f.n);
	text[f.n] = 0;
	return conf_bad(c->why, "rule %u: unknown %s \"%s\" (want %s)",
			c->rule, what, conf_echo(echo, text), want);
}

static int
add_rule(struct conf_rules *rules, unsigned type, unsigned scope,
	 struct field key, struct field prepend)
{
	struct conf_xattr_rule *v, *r;

	if (!rules)
		return 0;
	v = realloc(rules->v, (rules->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	rules->v = v;
	r = &v[rules->n];
	r->type = type;
	r->scope = scope;
	r->key = strndup(key.s, key.n);
	r->prepend = strndup(prepend.s, prepend.n);
	if (!r->key || !r->prepend) {
		free(r->key);
		free(r->prepend);
		return -ENOMEM;
	}
	rules->n++;
	return 0;
}

/*
 * What is prefixed is not seen under its own name on the host, the guest does
 * not reach under the prefix, and the rest, if there is any, is left alone.
 */
static int
add_map(struct conf_rules *rules, struct field key, struct field prepend)
{
	static const unsigned all = CONF_XATTR_CLIENT | CONF_XATTR_SERVER;
	static const struct field none = { "", 0 };
	int err = add_rule(rules, CONF_XATTR_PREFIX, all, key, prepend);

	if (!key.n)
		return err ? err
			   : add_rule(rules, CONF_XATTR_BAD, all, none, none);
	if (!err)
		err = add_rule(rules, CONF_XATTR_BAD, CONF_XATTR_SERVER, none,
			       key);
	if (!err)
		err = add_rule(rules, CONF_XATTR_BAD, CONF_XATTR_CLIENT,
			       prepend, none);
	if (!err)
		err = add_rule(rules, CONF_XATTR_OK, all, none, none);
	return err;
}

static int
take_rule(struct cursor *c, struct conf_rules *rules, bool *map)
{
	unsigned type, scope = 0;
	struct field key, prepend;
	int err;

	c->sep = *c->p++;
	c->rule++;
	err = take_word(c, "type", types,
			"prefix, ok, bad, unsupported or map", &type);
	*map = !err && type == MAP;
	if (!err && !*map)
		err = take_word(c, "scope", scopes, "client, server or all",
				&scope);
	if (!err)
		err = take_field(c, "key", &key);
	if (!err)
		err = take_field(c, "prepend", &prepend);
	if (err)
		return err;
	return *map ? add_map(rules, key, prepend)
		    : add_rule(rules, type, scope, key, prepend);
}

int
conf_rules_add(const char *text, struct conf_rules *rules, bool *last,
	       char why[CONF_WHY])
{
	static const char blanks[] = " \t\r\n";
	struct cursor c = { .p = text, .why = why };
	bool map = false;
	int err = 0;

	for (c.p += strspn(c.p, blanks); *c.p && !err;
	     c.p += strspn(c.p, blanks)) {
		if (map)
			return conf_bad(why,
					"rule %u stands after a map rule (want "
					"map as the last one)", c.rule + 1);
		err = take_rule(&c, rules, &map);
	}
	*last = map;
	return err;
}

void
conf_rules_fini(struct conf_rules *rules)
{
	for (size_t i = 0; i < rules->n; i++) {
		free(rules->v[i].key);
		free(rules->v[i].prepend);
	}
	free(rules->v);
	*rules = (struct conf_rules){ 0 };
}
