/* SPDX-License-Identifier: MIT */
/*
 * Sections to structs: what a section does not say comes from [defaults],
 * what that does not say from the table.  Also the functions of the door that
 * load and free.
 */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/caps.h"
#include "conf/idmap.h"
#include "conf/load.h"
#include "conf/xattrmap.h"

const struct conf_mark *
conf_mark_find(const struct conf_marks *marks, const struct conf_key *key,
	       size_t i)
{
	for (size_t n = 0; n < marks->n; n++)
		if (marks->v[n].key == key && !i--)
			return &marks->v[n];
	return NULL;
}

static int
add_mark(struct conf_marks *marks, const struct conf_key *key,
	 struct conf_at at)
{
	struct conf_mark *v;

	v = realloc(marks->v, (marks->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	marks->v = v;
	v[marks->n++] = (struct conf_mark){ key, at };
	return 0;
}

/* What `at` said, into the struct; every value it makes gets a mark. */
static int
apply(const struct conf_setting *set, void *base, struct conf_marks *marks)
{
	char why[CONF_WHY];
	size_t n = 0, old;
	int err;

	if (set->bad || set->reset)
		return 0;
	old = conf_key_is_list(set->key) ? conf_value_count(set->key, base) : 0;
	err = conf_value_set(set->key, set->text, base, why);
	if (!err)
		n = conf_value_count(set->key, base) - old;
	while (n-- && !err)
		err = add_mark(marks, set->key, set->at);
	return err;
}

static int
apply_list(const struct conf_key *key, const struct conf_section *section,
	   void *base, struct conf_marks *marks)
{
	int err = 0;

	for (size_t i = 0; i < section->n && !err; i++)
		if (section->v[i].key == key)
			err = apply(&section->v[i], base, marks);
	return err;
}

static bool
is_reset(const struct conf_key *key, const struct conf_section *section)
{
	for (size_t i = 0; i < section->n; i++)
		if (section->v[i].key == key && section->v[i].reset)
			return true;
	return false;
}

/* Defaults that are made are made once: some ask for groups. */
static const char *
default_text(struct conf_loader *l, const struct conf_key *key)
{
	char **made = &l->made[key - conf_keys];

	if (!key->make_def)
		return key->def;
	if (!*made)
		*made = key->make_def();
	return *made;
}

static int
apply_default(struct conf_loader *l, const struct conf_key *key, void *base)
{
	const char *def = default_text(l, key);
	char why[CONF_WHY];

	if (!def)
		return key->make_def ? -ENOMEM : 0;
	return conf_value_set(key, def, base, why);
}

/* One key from `own`, else from `above` (may be NULL), else its default. */
static int
fill(struct conf_loader *l, const struct conf_key *key,
     const struct conf_section *own, const struct conf_section *above,
     void *base, struct conf_marks *marks)
{
	const struct conf_setting *set = conf_setting_find(own, key);
	int err;

	if (conf_key_is_list(key)) {
		err = 0;
		if (above && !is_reset(key, own))
			err = apply_list(key, above, base, marks);
		return err ? err : apply_list(key, own, base, marks);
	}
	err = apply_default(l, key, base);
	if (!set && above)
		set = conf_setting_find(above, key);
	return err || !set ? err : apply(set, base, marks);
}

static int
fill_all(struct conf_loader *l, const struct conf_section *own,
	 const struct conf_section *above, void *base, struct conf_marks *marks)
{
	int err = 0;

	for (size_t i = 0; i < conf_nkeys && !err; i++)
		if (conf_keys[i].scope & own->scope)
			err = fill(l, &conf_keys[i], own, above, base, marks);
	return err;
}

static int
number_users(struct conf_share *share)
{
	const struct conf_list *users = &share->allow_uids;

	if (!users->n)
		return 0;
	share->allowed_uid = calloc(users->n, sizeof(*share->allowed_uid));
	if (!share->allowed_uid)
		return -ENOMEM;
	for (size_t i = 0; i < users->n; i++)
		share->allowed_uid[i] = conf_user_number(users->v[i]);
	return 0;
}

/* The rules were checked when they were set. */
static int
read_rules(struct conf_share *share)
{
	char why[CONF_WHY];
	bool last;
	int err = 0;

	for (size_t i = 0; i < share->xattrmap.n && !err; i++)
		err = conf_rules_add(share->xattrmap.v[i], &share->xattr_rules,
				     &last, why);
	return err;
}

static int
name_socket(struct conf_share *share, const char *dir)
{
	char *tag;
	int n;

	if (share->socket)
		return 0;
	tag = conf_tag_encode(share->tag);
	if (!tag)
		return -ENOMEM;
	n = asprintf(&share->socket, "%s/%s.sock", dir[1] ? dir : "", tag);
	free(tag);
	if (n < 0)
		share->socket = NULL;
	return n < 0 ? -ENOMEM : 0;
}

static void
box_free(struct conf_box *box)
{
	struct conf_share *share = &box->share;

	for (size_t i = 0; i < conf_nkeys; i++)
		if (conf_keys[i].scope & (CONF_IN_SHARE | CONF_IN_DEFAULTS))
			conf_value_fini(&conf_keys[i], share);
	conf_rules_fini(&share->xattr_rules);
	conf_idmap_fini(&share->uid_map);
	conf_idmap_fini(&share->gid_map);
	free(share->allowed_uid);
	free(share->tag);
	free(box->marks.v);
	conf_files_put(box->files);
	free(box);
}

/* A share, or with the section [defaults] what a share without keys is. */
static struct conf_box *
new_box(struct conf_loader *l, const struct conf_section *own,
	const struct conf_section *above, const char *socket_dir)
{
	struct conf_box *box = calloc(1, sizeof(*box));
	struct conf_share *share = &box->share;
	int err;

	if (!box)
		return NULL;
	box->files = conf_files_get(l->files);
	share->refs = 1;
	share->tag = strdup(own->name);
	share->line = own->first.line;
	if (own->first.file >= 0)
		share->file = l->files->v[own->first.file].name;
	err = share->tag ? 0 : -ENOMEM;
	if (!err)
		err = fill_all(l, own, above, share, &box->marks);
	if (!err)
		err = number_users(share);
	if (!err)
		err = read_rules(share);
	if (!err)
		err = conf_ids_read(share);
	if (!err && above)
		err = name_socket(share, socket_dir);
	if (!err)
		return box;
	box_free(box);
	return NULL;
}

static int
compare_tags(const void *a, const void *b)
{
	const struct conf_share *const *x = a, *const *y = b;

	return strcmp((*x)->tag, (*y)->tag);
}

static bool
build_shares(struct conf_loader *l, struct conf_whole *whole)
{
	struct conf *conf = &whole->conf;
	size_t n = l->nshares ? l->nshares : 1;

	conf->shares = calloc(n, sizeof(struct conf_share *));
	whole->by_tag = calloc(n, sizeof(struct conf_share *));
	if (!conf->shares || !whole->by_tag)
		return false;
	for (size_t i = 0; i < l->nshares; i++) {
		struct conf_box *box = new_box(l, l->shares[i], &l->defaults,
					       conf->gateway.socket_dir);

		if (!box)
			return false;
		whole->by_tag[i] = conf->shares[i] = &box->share;
		conf->nshares++;
	}
	qsort(whole->by_tag, conf->nshares, sizeof(struct conf_share *),
	      compare_tags);
	return true;
}

struct conf_whole *
conf_build(struct conf_loader *l)
{
	struct conf_whole *whole = calloc(1, sizeof(*whole));
	char why[CONF_WHY];

	if (!whole)
		goto no_memory;
	whole->files = conf_files_get(l->files);
	if (fill_all(l, &l->gateway, NULL, &whole->conf.gateway, &whole->marks))
		goto free_whole;
	whole->conf.gateway.admin_gid =
		conf_group_number(whole->conf.gateway.admin_group);
	conf_caps_scan(whole->conf.gateway.modcaps, &whole->conf.gateway.caps,
		       why);
	whole->defaults = new_box(l, &l->defaults, NULL, NULL);
	if (!whole->defaults || !build_shares(l, whole))
		goto free_whole;
	return whole;

free_whole:
	conf_free(&whole->conf);
no_memory:
	l->no_memory = true;
	return NULL;
}

void
conf_free(struct conf *conf)
{
	struct conf_whole *whole = conf ? conf_whole(conf) : NULL;

	if (!whole)
		return;
	for (size_t i = 0; i < conf->nshares; i++)
		conf_share_put(conf->shares[i]);
	free(conf->shares);
	free(whole->by_tag);
	if (whole->defaults)
		box_free(whole->defaults);
	for (size_t i = 0; i < conf_nkeys; i++)
		if (conf_keys[i].scope & CONF_IN_GATEWAY)
			conf_value_fini(&conf_keys[i], &conf->gateway);
	free(whole->marks.v);
	conf_files_put(whole->files);
	free(whole);
}

struct conf_share *
conf_share_get(struct conf_share *share)
{
	share->refs++;
	return share;
}

void
conf_share_put(struct conf_share *share)
{
	if (share && !--share->refs)
		box_free(conf_box(share));
}

struct conf_share *
conf_find(const struct conf *conf, const char *tag)
{
	struct conf_share key = { .tag = (char *)tag }, *pointer = &key;
	struct conf_share **found;

	found = bsearch(&pointer, conf_whole(conf)->by_tag, conf->nshares,
			sizeof(pointer), compare_tags);
	return found ? *found : NULL;
}

/* Everything is read: make the structs, check them, decide. */
static int
finish(struct conf_loader *l, struct conf **conf, char **messages)
{
	struct conf_whole *whole = l->no_memory ? NULL : conf_build(l);
	int err = 0;

	if (whole)
		conf_check(l, whole);
	*messages = conf_messages(l);
	if (l->nmessages && !*messages)
		l->no_memory = true;
	if (l->no_memory)
		err = -ENOMEM;
	else if (l->nerrors)
		err = l->err ? l->err : -EINVAL;
	if (err && whole)
		conf_free(&whole->conf);
	else if (whole)
		*conf = &whole->conf;
	conf_loader_fini(l);
	return err;
}

int
conf_load(const struct conf_source *src, struct conf **conf, char **messages)
{
	struct conf_loader l;

	*messages = NULL;
	if (conf_loader_init(&l))
		return -ENOMEM;
	l.patience_ms = src->patience_ms;
	l.advise = src->advise;
	conf_read_source(&l, src);
	return finish(&l, conf, messages);
}

int
conf_load_text(const char *name, const char *text, size_t size,
	       struct conf **conf, char **messages)
{
	struct conf_loader l;

	*messages = NULL;
	if (conf_loader_init(&l))
		return -ENOMEM;
	l.file = conf_files_add(l.files, name, false);
	if (l.file < 0)
		l.no_memory = true;
	else
		conf_parse_text(&l, text, size);
	return finish(&l, conf, messages);
}
