/* SPDX-License-Identifier: MIT */
/*
 * What only all settings together, and a look at the host's directories, can
 * tell: paths that are missing, sockets that clash, shares inside each other.
 *
 * A directory is known by device and inode number, so that symbolic links and
 * bind mounts cannot hide that two names are one directory.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "conf/idmap.h"
#include "conf/load.h"
#include "conf/look.h"
#include "conf/text.h"
#include "conf/xattrmap.h"

enum {
	/* without the NUL; Linux would do without it, other programs not */
	PATIENCE_MS = 2000, /* with a directory that does not answer */
	SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
};

/* A share's directory. */
struct place {
	dev_t dev;
	ino_t ino;
	size_t i; /* the share's number */
};

/* A socket's path; two that are the same to the host are the same here. */
struct listener {
	char *path;
	const struct conf_share *share; /* NULL: the control socket */
	size_t i;
};

struct check {
	struct conf_loader *l;
	struct conf_whole *whole;
	struct place *places; /* sorted */
	size_t nplaces;
	struct conf_looks *looks;
};

static const struct conf_share *
share_of(const struct check *c, size_t i)
{
	return c->whole->conf.shares[i];
}

struct conf_at
conf_at_key(const struct conf_loader *l, const struct conf_whole *whole,
	    size_t i, const char *key)
{
	const struct conf_box *box = conf_box(whole->conf.shares[i]);
	const struct conf_mark *mark =
		conf_mark_find(&box->marks, conf_key_get(key), 0);

	return mark ? mark->at : l->shares[i]->first;
}

static struct conf_at
at_key(const struct check *c, size_t i, const char *key)
{
	return conf_at_key(c->l, c->whole, i, key);
}

/* Where [gateway] says `key`, else where share `i` says its path. */
static struct conf_at
at_gateway_key(const struct check *c, const char *key, size_t i)
{
	const struct conf_mark *mark =
		conf_mark_find(&c->whole->marks, conf_key_get(key), 0);

	return mark ? mark->at : at_key(c, i, "path");
}

/* What is known of a path; conf_check() has named it before. */
static const struct conf_look *
look_of(const struct check *c, const char *path)
{
	return conf_looks_find(c->looks, path);
}

/* The directory of a socket; allocated. */
static char *
dir_of(const char *path)
{
	size_t n = (size_t)(strrchr(path, '/') - path);

	return strndup(path, n ? n : 1);
}

static int
compare_dirs(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int
compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int n = compare_dirs(a, b);

	return n ? n : x->i < y->i ? -1 : x->i > y->i;
}

/* The first share whose directory is one of those that `look` saw, from number
 * `from` on, or NULL. */
static const struct place *
find_holder(const struct check *c, const struct conf_look *look, size_t from)
{
	const struct place *p = NULL;

	for (size_t i = from; i < look->nup && !p; i++) {
		struct place key = { .dev = look->up[i].dev,
				     .ino = look->up[i].ino };

		p = bsearch(&key, c->places, c->nplaces, sizeof(key),
			    compare_dirs);
	}
	while (p && p > c->places && !compare_dirs(p, p - 1))
		p--;
	return p;
}

/* The same from a path that need not exist. */
static const struct place *
find_holder_of(const struct check *c, const char *path)
{
	return find_holder(c, look_of(c, path), 0);
}

/* A socket lies in its directory, even where a link of its name is there. */
static const struct place *
find_holder_of_socket(const struct check *c, const char *path)
{
	const struct place *p = NULL;
	char *dir = dir_of(path);

	if (dir)
		p = find_holder_of(c, dir);
	else
		c->l->no_memory = true;
	free(dir);
	return p;
}

static void
path_missing(const struct check *c, size_t i)
{
	const struct conf_section *s = c->l->shares[i];
	struct conf_nearest near = { .word = s->name };
	char hint[80] = "";

	conf_nearest_try(&near, c->l->gateway.name);
	conf_nearest_try(&near, c->l->defaults.name);
	if (near.best)
		snprintf(hint, sizeof(hint), ", or did you mean [%s]?",
			 near.best);
	conf_say(c->l, CONF_ERROR, s->first, s->name, "path",
		 "missing (want path = /some/directory%s)", hint);
}

/* A share that is switched off may wait for its disk. */
static void
bad_path(const struct check *c, size_t i, const char *what)
{
	const struct conf_share *share = share_of(c, i);
	char echo[CONF_ECHO];

	conf_say(c->l, share->enabled ? CONF_ERROR : CONF_WARNING,
		 at_key(c, i, "path"), share->tag, "path",
		 "%s: %s (want a directory that exists)",
		 conf_echo(echo, share->path), what);
}

/* It is no mistake of the configuration, and its share will be told. */
static void
silent_path(const struct check *c, size_t i)
{
	const struct conf_share *share = share_of(c, i);
	char echo[CONF_ECHO];

	conf_say(c->l, CONF_WARNING, at_key(c, i, "path"), share->tag, "path",
		 "%s: does not answer, and is not checked",
		 conf_echo(echo, share->path));
}

static void
check_path(struct check *c, size_t i)
{
	const struct conf_share *share = share_of(c, i);
	const struct conf_look *look;

	if (!conf_setting_find(c->l->shares[i], conf_key_get("path")))
		path_missing(c, i);
	if (!share->path)
		return;
	look = look_of(c, share->path);
	if (!look->answered)
		silent_path(c, i);
	else if (look->err)
		bad_path(c, i, strerror(-look->err));
	else if (!look->is_dir)
		bad_path(c, i, "not a directory");
	else if (look->whole && look->nup)
		c->places[c->nplaces++] = (struct place){
			.dev = look->up[0].dev,
			.ino = look->up[0].ino,
			.i = i,
		};
}

static void
check_nesting(const struct check *c, const struct place *inner)
{
	const struct conf_share *share = share_of(c, inner->i), *outer;
	const struct place *p = find_holder(c, look_of(c, share->path), 1);

	if (!p)
		return;
	outer = share_of(c, p->i);
	conf_say(c->l, CONF_WARNING, at_key(c, inner->i, "path"), share->tag,
		 "path", "%s lies inside share [%s] (%s)", share->path,
		 outer->tag, outer->path);
}

/* `first` is the first share of this directory. */
static void
check_twins(const struct check *c, const struct place *first,
	    const struct place *p)
{
	const struct conf_share *a = share_of(c, first->i);
	const struct conf_share *b = share_of(c, p->i);

	if (a->readonly != b->readonly)
		conf_say(c->l, CONF_WARNING, at_key(c, p->i, "readonly"),
			 b->tag, "readonly",
			 "%s, but share [%s] of the same directory is %s",
			 b->readonly ? "yes" : "no", a->tag,
			 a->readonly ? "read-only" : "writable");
}

static void
check_places(struct check *c)
{
	const struct place *first = c->places;

	qsort(c->places, c->nplaces, sizeof(*c->places), compare_places);
	for (size_t i = 0; i < c->nplaces; i++) {
		const struct place *p = &c->places[i];

		if (compare_dirs(first, p))
			first = p;
		check_nesting(c, p);
		if (p != first)
			check_twins(c, first, p);
	}
}

static void
say_inside(const struct check *c, const struct place *p, struct conf_at at,
	   const char *section, const char *key, const char *path)
{
	const struct conf_share *share = share_of(c, p->i);
	char echo[CONF_ECHO];

	conf_say(c->l, CONF_ERROR, at, section, key,
		 "%s lies inside share [%s] (want %s outside every share)",
		 conf_echo(echo, path), share->tag,
		 strstr(key, "socket") ? "sockets" : "a directory");
}

static void
say_gateway_inside(const struct check *c, const struct place *p,
		   const char *key, const char *path)
{
	if (p)
		say_inside(c, p, at_gateway_key(c, key, p->i),
			   c->l->gateway.name, key, path);
}

static void
say_long(const struct check *c, struct conf_at at, const char *section,
	 const char *key, const char *path)
{
	char echo[CONF_ECHO];

	if (strlen(path) > SOCKET_PATH_MAX)
		conf_say(c->l, CONF_ERROR, at, section, key,
			 "%s has %zu bytes (want at most %d)",
			 conf_echo(echo, path), strlen(path), SOCKET_PATH_MAX);
}

/* The directory of a socket that was given must be there; only socket_dir and
 * the control socket's are made by the daemon. */
static void
check_socket_dir(const struct check *c, size_t i)
{
	const struct conf_share *share = share_of(c, i);
	const struct conf_gateway *gw = &c->whole->conf.gateway;
	char *dir = dir_of(share->socket), echo[CONF_ECHO];
	const struct conf_look *look = dir ? look_of(c, dir) : NULL;

	if (!look)
		c->l->no_memory = true;
	else if (strcmp(dir, gw->socket_dir) && !look->is_dir)
		conf_say(c->l, share->enabled && look->answered ?
			 CONF_ERROR : CONF_WARNING,
			 at_key(c, i, "socket"), share->tag, "socket",
			 "%s: not a directory (want one that exists)",
			 conf_echo(echo, dir));
	free(dir);
}

/* A socket that was not given lies in socket_dir, which is checked once. */
static void
check_socket(const struct check *c, size_t i)
{
	const struct conf_share *share = share_of(c, i);
	struct conf_at at = at_key(c, i, "socket");
	const struct place *p;

	if (!c->l->shares[i]->bad_tag)
		say_long(c, at, share->tag, "socket", share->socket);
	if (!conf_mark_find(&conf_box(share)->marks, conf_key_get("socket"), 0))
		return;
	check_socket_dir(c, i);
	p = find_holder_of_socket(c, share->socket);
	if (p)
		say_inside(c, p, at, share->tag, "socket", share->socket);
}

/* The path with its directory's links resolved; allocated. */
static char *
listener_path(const struct check *c, const char *path)
{
	const struct conf_look *look;
	char *dir = dir_of(path), *s = NULL;

	if (!dir)
		return NULL;
	look = look_of(c, dir);
	if (asprintf(&s, "%s%s", look->whole ? look->real : dir,
		     strrchr(path, '/')) < 0)
		s = NULL;
	free(dir);
	return s;
}

static int
compare_listeners(const void *a, const void *b)
{
	const struct listener *x = a, *y = b;
	int n = strcmp(x->path, y->path);

	if (n)
		return n;
	if (!x->share || !y->share)
		return !y->share - !x->share;
	return x->i < y->i ? -1 : 1;
}

static void
say_same_socket(const struct check *c, const struct listener *a,
		const struct listener *b)
{
	char echo[CONF_ECHO];

	conf_say(c->l, CONF_ERROR, at_key(c, b->i, "socket"), b->share->tag,
		 "socket",
		 "%s is also the socket of %s%s%s (want one of its own)",
		 conf_echo(echo, b->share->socket),
		 a->share ? "share [" : "gatewayctl",
		 a->share ? a->share->tag : "", a->share ? "]" : "");
}

/* No two that listen at one time may have one socket. */
static void
check_listeners(struct check *c)
{
	const struct conf *conf = &c->whole->conf;
	struct listener *v = calloc(conf->nshares + 1, sizeof(*v));
	size_t n = 0, first = 0;
	bool good = v;

	if (v)
		v[n++].path = listener_path(c, conf->gateway.control_socket);
	for (size_t i = 0; v && i < conf->nshares; i++)
		if (conf->shares[i]->enabled)
			v[n++] = (struct listener){
				listener_path(c, conf->shares[i]->socket),
				conf->shares[i], i
			};
	for (size_t i = 0; i < n; i++)
		good &= v[i].path != NULL;
	if (!good)
		c->l->no_memory = true;
	else
		qsort(v, n, sizeof(*v), compare_listeners);
	for (size_t i = 1; good && i < n; i++) {
		if (strcmp(v[first].path, v[i].path))
			first = i;
		else
			say_same_socket(c, &v[first], &v[i]);
	}
	for (size_t i = 0; i < n; i++)
		free(v[i].path);
	free(v);
}

/* What guests can write to must not hold what we believe.  No share that folds,
 * no cache. */
static void
check_cache_dir(const struct check *c)
{
	const struct conf *conf = &c->whole->conf;
	const char *dir = conf->gateway.cache_dir;
	bool folds = false;

	for (size_t i = 0; i < conf->nshares; i++)
		folds |= conf->shares[i]->casefold != CONF_CASEFOLD_NO;
	if (folds)
		say_gateway_inside(c, find_holder_of(c, dir), "cache_dir",
				   dir);
}

/* Where no share must have it, it is just not used (gatewayd/owners.c): a user
 * may share the home directory that it lies in. */
static void
check_state_dir(const struct check *c)
{
	struct conf *conf = &c->whole->conf;
	const char *dir = conf->gateway.state_dir;
	const struct place *p = find_holder_of(c, dir);

	bool needed = false;

	for (size_t i = 0; p && i < conf->nshares; i++) {
		struct conf_share *s = conf->shares[i];

		s->state_inside = true;
		needed |= s->owners == CONF_OWNERS_STORE &&
			  s->state_store == CONF_STORE_SQLITE;
	}
	if (needed)
		say_gateway_inside(c, p, "state_dir", dir);
}

/* Lines of rules are one list; a map rule ends it. */
static void
check_rules(const struct check *c, size_t i)
{
	const struct conf_share *share = share_of(c, i);
	const struct conf_marks *marks = &conf_box(share)->marks;
	const struct conf_key *key = conf_key_get("xattrmap");

	for (size_t k = 0; k + 1 < share->xattrmap.n; k++) {
		const struct conf_mark *mark = conf_mark_find(marks, key, k + 1);
		char why[CONF_WHY];
		bool last;

		if (!conf_rules_add(share->xattrmap.v[k], NULL, &last, why) &&
		    last && mark)
			conf_say(c->l, CONF_ERROR, mark->at, share->tag,
				 "xattrmap", "stands after a map rule (want "
				 "map as the last one)");
	}
}

/* Rules that are good one by one may overlap. */
static void
check_ids(const struct check *c, size_t i, const char *name,
	  const struct conf_list *rules)
{
	const struct conf_share *share = share_of(c, i);
	const struct conf_key *key = conf_key_get(name);
	struct conf_idmap map = { 0 };

	for (size_t k = 0; k < rules->n; k++) {
		const struct conf_mark *mark =
			conf_mark_find(&conf_box(share)->marks, key, k);
		char why[CONF_WHY];
		int err = conf_idmap_add(rules->v[k], &map, why);

		if (err == -ENOMEM)
			c->l->no_memory = true;
		else if (err && mark)
			conf_say(c->l, CONF_ERROR, mark->at, share->tag, name,
				 "%s", why);
	}
	conf_idmap_fini(&map);
}

static void
add_look(struct check *c, const char *path)
{
	if (conf_looks_add(c->looks, path))
		c->l->no_memory = true;
}

static void
add_socket(struct check *c, const char *path)
{
	char *dir = dir_of(path);

	if (dir)
		add_look(c, dir);
	else
		c->l->no_memory = true;
	free(dir);
}

/* Everything that the checks want to know of the host, in one go. */
static bool
look_around(struct check *c)
{
	const struct conf *conf = &c->whole->conf;

	c->looks = conf_looks_new();
	if (!c->looks) {
		c->l->no_memory = true;
		return false;
	}
	for (size_t i = 0; i < conf->nshares; i++) {
		if (conf->shares[i]->path)
			add_look(c, conf->shares[i]->path);
		add_socket(c, conf->shares[i]->socket);
	}
	add_look(c, conf->gateway.cache_dir);
	add_look(c, conf->gateway.state_dir);
	add_look(c, conf->gateway.socket_dir);
	add_socket(c, conf->gateway.control_socket);
	if (!c->l->no_memory)
		conf_looks_run(c->looks, c->l->patience_ms ?
			       c->l->patience_ms : PATIENCE_MS);
	return !c->l->no_memory;
}

void
conf_check(struct conf_loader *l, struct conf_whole *whole)
{
	const struct conf *conf = &whole->conf;
	const struct conf_gateway *gw = &conf->gateway;
	const struct conf_mark *mark;
	struct check c = { .l = l, .whole = whole };

	c.places = calloc(conf->nshares + 1, sizeof(*c.places));
	if (!c.places || !look_around(&c)) {
		l->no_memory = true;
		free(c.places);
		conf_looks_free(c.looks);
		return;
	}
	for (size_t i = 0; i < conf->nshares; i++)
		check_path(&c, i);
	check_places(&c);
	mark = conf_mark_find(&whole->marks, conf_key_get("control_socket"), 0);
	say_long(&c, mark ? mark->at : (struct conf_at){ CONF_FILE_DEFAULT, 0 },
		 l->gateway.name, "control_socket", gw->control_socket);
	say_gateway_inside(&c, find_holder_of_socket(&c, gw->control_socket),
			   "control_socket", gw->control_socket);
	say_gateway_inside(&c, find_holder_of(&c, gw->socket_dir), "socket_dir",
			   gw->socket_dir);
	check_cache_dir(&c);
	check_state_dir(&c);
	for (size_t i = 0; i < conf->nshares; i++)
		check_socket(&c, i);
	for (size_t i = 0; i < conf->nshares; i++)
		check_rules(&c, i);
	for (size_t i = 0; i < conf->nshares; i++) {
		check_ids(&c, i, "translate_uid", &share_of(&c, i)->translate_uid);
		check_ids(&c, i, "translate_gid", &share_of(&c, i)->translate_gid);
	}
	check_listeners(&c);
	if (l->advise)
		conf_advise(l, whole, c.looks);
	conf_looks_free(c.looks);
	free(c.places);
}
