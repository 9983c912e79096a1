/* SPDX-License-Identifier: MIT */
/*
 * Rules that give the users and groups of a guest other numbers on the host,
 * as virtiofsd writes them:
 *
 *	map:GUEST:HOST:COUNT		both ways, one to one
 *	guest:GUEST:HOST:COUNT		from the guest to the host only
 *	host:HOST:GUEST:COUNT		from the host to the guest only
 *	squash-guest:GUEST:HOST:COUNT	many of the guest's to one of the host
 *	squash-host:HOST:GUEST:COUNT	many of the host's to one of the guest
 *	forbid-guest:GUEST:COUNT	the guest must not use these
 *
 * COUNT is how many numbers the range has.  Any character that is no letter,
 * digit, '-' or '_' may stand for ':'.  The two directions are independent; in
 * each a number is in one rule at most, and in none stays what it is.  Here
 * they are read; fuse/ids.c applies them.
 */
#include "config.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "conf/idmap.h"
#include "conf/load.h"
#include "conf/number.h"
#include "conf/text.h"

#define LAST_ID (UINT32_MAX - 1)	/* all ones is nobody at all */

enum {
	TO_HOST = 1 << 0,
	TO_GUEST = 1 << 1,
};

static const struct form {
	const char *name;
	unsigned ways;
	unsigned type;		/* enum conf_id_type */
	unsigned nnumbers;
	const char *usage;
} forms[] = {
	{ "map", TO_HOST | TO_GUEST, CONF_ID_RANGE, 3, "map:GUEST:HOST:COUNT" },
	{ "guest", TO_HOST, CONF_ID_RANGE, 3, "guest:GUEST:HOST:COUNT" },
	{ "host", TO_GUEST, CONF_ID_RANGE, 3, "host:HOST:GUEST:COUNT" },
	{ "squash-guest", TO_HOST, CONF_ID_SQUASH, 3,
	  "squash-guest:GUEST:HOST:COUNT" },
	{ "squash-host", TO_GUEST, CONF_ID_SQUASH, 3,
	  "squash-host:HOST:GUEST:COUNT" },
	{ "forbid-guest", TO_HOST, CONF_ID_FORBID, 2,
	  "forbid-guest:GUEST:COUNT" },
};

#define NFORMS (sizeof(forms) / sizeof(forms[0]))

/* ------------------------------------------------------------------ */
/* Reading. */

/* Letters, digits, '-' and '_'; the rest separates. */
static bool
is_word(char c)
{
	return c == '-' || c == '_' || (c >= '0' && c <= '9') ||
	       (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static const struct form *
find_form(const char *s, size_t n)
{
	for (size_t i = 0; i < NFORMS; i++) {
		const char *name = forms[i].name;
		size_t k = 0;

		while (k < n && name[k] &&
		       conf_fold(s[k]) == conf_fold(name[k]))
			k++;
		if (k == n && !name[k])
			return &forms[i];
	}
	return NULL;
}

/* The numbers behind the word, each after `sep`. */
static int
take_numbers(const char *text, const char *p, const struct form *f,
	     uint32_t v[3], char *why)
{
	char echo[CONF_ECHO], sep = *p;
	unsigned n = 0;

	while (*p == sep && sep && n < f->nnumbers) {
		int64_t number;

		if (conf_scan_digits(p + 1, 10, &number, &p) ||
		    number > UINT32_MAX)
			return conf_bad(why, "\"%s\": number %u is not one "
					"from 0 to %u (want %s)",
					conf_echo(echo, text), n + 1,
					UINT32_MAX, f->usage);
		v[n++] = (uint32_t)number;
	}
	if (n == f->nnumbers && !*p)
		return 0;
	return conf_bad(why, "\"%s\" does not end after %u numbers (want %s)",
			conf_echo(echo, text), f->nnumbers, f->usage);
}

/* Is [first, first + count) a range of ids? */
static int
check_range(const char *text, uint32_t first, uint32_t count, char *why)
{
	char echo[CONF_ECHO];

	if (count && first <= LAST_ID && count - 1 <= LAST_ID - first)
		return 0;
	if (!count)
		return conf_bad(why, "\"%s\" is about no id at all (want a "
				"count of 1 or more)", conf_echo(echo, text));
	return conf_bad(why, "\"%s\" goes beyond the last id, %u (want a "
			"count of at most %u from %u on; the last number is a "
			"count)", conf_echo(echo, text), LAST_ID,
			first <= LAST_ID ? UINT32_MAX - first : 0, first);
}

static int
take_rule(const char *text, const struct form **form, uint32_t v[3], char *why)
{
	char echo[CONF_ECHO];
	const char *p = text;
	const struct form *f;
	uint32_t count;
	int err;

	while (is_word(*p))
		p++;
	*form = f = find_form(text, (size_t)(p - text));
	if (!f)
		return conf_bad(why, "unknown rule \"%s\" (want map, guest, "
				"host, squash-guest, squash-host or "
				"forbid-guest)", conf_echo(echo, text));
	err = take_numbers(text, p, f, v, why);
	if (err)
		return err;
	count = v[f->nnumbers - 1];
	err = check_range(text, v[0], count, why);
	if (!err && f->type != CONF_ID_FORBID)
		err = check_range(text, v[1],
				  f->type == CONF_ID_RANGE ? count : 1, why);
	return err;
}

/* ------------------------------------------------------------------ */
/* Ranges, in the order of their ids. */

/* The first that does not end before `id`. */
static size_t
place_of(const struct conf_id_ranges *r, uint32_t id)
{
	size_t i = 0;

	while (i < r->n && r->v[i].last < id)
		i++;
	return i;
}

static int
check_apart(const struct conf_id_ranges *r, const struct conf_id_range *new,
	    const char *whose, char *why)
{
	size_t i = place_of(r, new->first);

	if (i == r->n || r->v[i].first > new->last)
		return 0;
	return conf_bad(why,
			"%s ids %u to %u overlap %u to %u of a rule before "
			"(want each in one rule; the last number is a count)",
			whose, new->first, new->last, r->v[i].first,
			r->v[i].last);
}

static int
insert(struct conf_id_ranges *r, const struct conf_id_range *new)
{
	size_t i = place_of(r, new->first);
	struct conf_id_range *v = realloc(r->v, (r->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	r->v = v;
	memmove(v + i + 1, v + i, (r->n - i) * sizeof(*v));
	v[i] = *new;
	r->n++;
	return 0;
}

int
conf_idmap_add(const char *text, struct conf_idmap *map, char why[CONF_WHY])
{
	const struct form *f;
	uint32_t v[3] = { 0 };
	struct conf_id_range there, back;
	int err = take_rule(text, &f, v, why);

	if (err || !map)
		return err;
	there = (struct conf_id_range){ .first = v[0], .type = f->type,
		.last = v[0] + v[f->nnumbers - 1] - 1,
		.to = f->type == CONF_ID_FORBID ? 0 : v[1] };
	back = there;
	if (f->ways == (TO_HOST | TO_GUEST))
		back = (struct conf_id_range){ .first = v[1], .to = v[0],
			.last = v[1] + v[2] - 1, .type = f->type };
	if (f->ways & TO_HOST)
		err = check_apart(&map->to_host, &there, "guest", why);
	if (!err && (f->ways & TO_GUEST))
		err = check_apart(&map->to_guest, &back, "host", why);
	if (!err && (f->ways & TO_HOST))
		err = insert(&map->to_host, &there);
	if (!err && (f->ways & TO_GUEST))
		err = insert(&map->to_guest, &back);
	return err;
}

void
conf_idmap_fini(struct conf_idmap *map)
{
	free(map->to_host.v);
	free(map->to_guest.v);
	*map = (struct conf_idmap){ 0 };
}

/* ------------------------------------------------------------------ */
/* The other keys. */

int
conf_owner_scan(const char *text, uint32_t *uid, uint32_t *gid,
		char why[CONF_WHY])
{
	char echo[CONF_ECHO];
	int64_t u = UINT32_MAX, g = UINT32_MAX;
	const char *p = text;

	if (text[0] &&
	    (conf_scan_digits(p, 10, &u, &p) || u > LAST_ID || *p++ != ':' ||
	     conf_scan_digits(p, 10, &g, &p) || g > LAST_ID || *p))
		return conf_bad(why, "\"%s\" is not an owner (want UID:GID, "
				"two numbers)", conf_echo(echo, text));
	*uid = (uint32_t)u;
	*gid = (uint32_t)g;
	return 0;
}

static int
read_list(const struct conf_list *list, struct conf_idmap *map)
{
	char why[CONF_WHY];

	for (size_t i = 0; i < list->n; i++)
		if (conf_idmap_add(list->v[i], map, why) == -ENOMEM)
			return -ENOMEM;
	return 0;
}

/* A user who is forced brings his own group, as with Samba. */
static gid_t
group_of(uid_t uid)
{
	struct passwd *pw = getpwuid(uid);

	return pw ? pw->pw_gid : (gid_t)-1;
}

int
conf_ids_read(struct conf_share *share)
{
	char why[CONF_WHY];
	int err;

	share->forced_uid = share->forced_gid = UINT32_MAX;
	if (share->force_user && share->force_user[0]) {
		share->forced_uid = conf_user_number(share->force_user);
		share->forced_gid = group_of(share->forced_uid);
	}
	if (share->force_group && share->force_group[0])
		share->forced_gid = conf_group_number(share->force_group);
	err = conf_owner_scan(share->root_owner ? share->root_owner : "",
			      &share->root_uid, &share->root_gid, why);
	if (!err)
		err = read_list(&share->translate_uid, &share->uid_map);
	if (!err)
		err = read_list(&share->translate_gid, &share->gid_map);
	return err;
}
