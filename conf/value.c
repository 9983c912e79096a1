/* SPDX-License-Identifier: MIT */
/*
 * Text to fields and fields to text: strings and lists, and the storing of
 * numbers, which number.c reads and writes.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/caps.h"
#include "conf/idmap.h"
#include "conf/number.h"
#include "conf/share.h"
#include "conf/text.h"
#include "conf/xattrmap.h"

typedef int check_fn(const char *text, char *why);

static int
check_string(const char *text, char *why)
{
	(void)text, (void)why;
	return 0;
}

static int
check_path(const char *text, char *why)
{
	char echo[CONF_ECHO];
	size_t n = strlen(text);

	if (text[0] != '/')
		return conf_bad(why,
				"\"%s\" is not an absolute path (want /...)",
				conf_echo(echo, text));
	if (n >= PATH_MAX)
		return conf_bad(
			why, "path of %zu bytes is too long (want at most %d)",
			n, PATH_MAX - 1);
	if (strstr(text, "/../") || (n >= 3 && !strcmp(text + n - 3, "/..")))
		return conf_bad(why,
				"\"%s\" has a \"..\" (want the plain path)",
				conf_echo(echo, text));
	return 0;
}

/* Numbers of users and groups; all ones means "nobody" to the kernel. */
static bool
is_id(const char *text, uid_t *id)
{
	const char *end;
	int64_t n;

	if (conf_scan_digits(text, 10, &n, &end) || *end || n >= UINT32_MAX)
		return false;
	*id = (uid_t)n;
	return true;
}

static int
find_user(const char *text, uid_t *uid, char *why)
{
	char echo[CONF_ECHO];
	struct passwd *pw;

	if (is_id(text, uid))
		return 0;
	errno = 0;
	pw = getpwnam(text);
	if (!pw && errno == ENOMEM)
		return -ENOMEM;
	if (!pw)
		return conf_bad(why,
				"unknown user \"%s\" (want the name or number "
				"of a user)",
				conf_echo(echo, text));
	*uid = pw->pw_uid;
	return 0;
}

uid_t
conf_user_number(const char *user)
{
	char why[CONF_WHY];
	uid_t uid = (uid_t)-1;

	find_user(user, &uid, why);
	return uid;
}

static int
check_user(const char *text, char *why)
{
	uid_t uid;

	return text[0] ? find_user(text, &uid, why) : 0;
}

static int
find_group(const char *text, gid_t *gid, char *why)
{
	char echo[CONF_ECHO];
	struct group *gr;

	if (is_id(text, gid))
		return 0;
	errno = 0;
	gr = getgrnam(text);
	if (!gr && errno == ENOMEM)
		return -ENOMEM;
	if (!gr)
		return conf_bad(why,
				"unknown group \"%s\" (want the name or number "
				"of a group)",
				conf_echo(echo, text));
	*gid = gr->gr_gid;
	return 0;
}

gid_t
conf_group_number(const char *group)
{
	char why[CONF_WHY];
	gid_t gid = (gid_t)-1;

	find_group(group, &gid, why);
	return gid;
}

static int
check_group(const char *text, char *why)
{
	gid_t gid;

	return text[0] ? find_group(text, &gid, why) : 0;
}

static int
check_caps(const char *text, char *why)
{
	struct conf_caps caps;

	return conf_caps_scan(text, &caps, why);
}

static int
check_owner(const char *text, char *why)
{
	uint32_t uid, gid;

	return conf_owner_scan(text, &uid, &gid, why);
}

/* The types that are strings. */
static check_fn *const checks[CONF_NTYPES] = {
	[CONF_STRING] = check_string,
	[CONF_PATH] = check_path,
	[CONF_USER] = check_user,
	[CONF_GROUP] = check_group,
	[CONF_CAPS] = check_caps,
	[CONF_OWNER] = check_owner,
};

/* uint64_t or int64_t, not unsigned */
static bool
is_wide(const struct conf_key *key)
{
	return key->type == CONF_NUMBER || key->type == CONF_SIZE ||
	       key->type == CONF_TIME;
}

static void
store(const struct conf_key *key, int64_t n, void *base)
{
	void *field = (char *)base + key->off;

	if (key->type == CONF_BOOL)
		*(bool *)field = n;
	else if (is_wide(key))
		*(int64_t *)field = n;
	else
		*(unsigned *)field = (unsigned)n;
}

static int64_t
load(const struct conf_key *key, const void *base)
{
	const void *field = (const char *)base + key->off;

	if (key->type == CONF_BOOL)
		return *(const bool *)field;
	if (is_wide(key))
		return *(const int64_t *)field;
	return *(const unsigned *)field;
}

static bool *
given(const struct conf_key *key, const void *base)
{
	return key->given ? (bool *)((char *)base + key->given) : NULL;
}

static int
set_word(const struct conf_key *key, void *base)
{
	if (base)
		store(key, key->word_value, base);
	if (base && given(key, base))
		*given(key, base) = false;
	return 0;
}

static int
set_number(const struct conf_key *key, const char *text, void *base, char *why)
{
	int64_t n = 0;
	int err;

	if (key->word && !strcasecmp(text, key->word))
		return set_word(key, base);
	err = conf_number_scan(key, text, &n, why);
	if (!err && base)
		store(key, n, base);
	if (!err && base && given(key, base))
		*given(key, base) = true;
	return err;
}

/* Drop "//", "/./" and a '/' at the end. */
static void
clean_path(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		size_t n = strcspn(from + 1, "/");

		if (n && !(n == 1 && from[1] == '.')) {
			memmove(to, from, n + 1);
			to += n + 1;
		}
		from += n + 1;
	}
	if (to == path)
		*to++ = '/';
	*to = 0;
}

static int
set_string(const struct conf_key *key, const char *text, void *base, char *why)
{
	int err = checks[key->type](text, why);
	char *copy, **field;

	if (err || !base)
		return err;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	if (key->type == CONF_PATH)
		clean_path(copy);
	field = (char **)((char *)base + key->off);
	free(*field);
	*field = copy;
	return 0;
}

/* Append the n bytes at s. */
static int
list_add(struct conf_list *list, const char *s, size_t n)
{
	char **v = realloc(list->v, (list->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	list->v = v;
	v[list->n] = strndup(s, n);
	if (!v[list->n])
		return -ENOMEM;
	list->n++;
	return 0;
}

static int
check_word(const struct conf_key *key, const char *word, char *why)
{
	uid_t uid;

	if (key->type == CONF_IDS)
		return conf_idmap_add(word, NULL, why);
	return find_user(word, &uid, why);
}

/* Lists of words.  A ',' may stand within a rule about ids. */
static int
set_words(const struct conf_key *key, const char *text, void *base, char *why)
{
	const char *blanks = key->type == CONF_IDS ? " \t" : " \t,";
	struct conf_list *list =
		base ? (struct conf_list *)((char *)base + key->off) : NULL;
	int err = 0;

	for (text += strspn(text, blanks); *text && !err;
	     text += strspn(text, blanks)) {
		size_t n = strcspn(text, blanks);
		char *word = strndup(text, n);

		err = word ? check_word(key, word, why) : -ENOMEM;
		if (!err && list)
			err = list_add(list, text, n);
		free(word);
		text += n;
	}
	return err;
}

static int
set_rules(const struct conf_key *key, const char *text, void *base, char *why)
{
	bool last;
	int err = conf_rules_add(text, NULL, &last, why);

	if (err || !base || !text[0])
		return err;
	return list_add((struct conf_list *)((char *)base + key->off), text,
			strlen(text));
}

int
conf_value_set(const struct conf_key *key, const char *text, void *base,
	       char why[CONF_WHY])
{
	if (key->type == CONF_RULES)
		return set_rules(key, text, base, why);
	if (key->type == CONF_FILES)
		return 0;
	if (key->type == CONF_USERS || key->type == CONF_IDS)
		return set_words(key, text, base, why);
	if (checks[key->type])
		return set_string(key, text, base, why);
	return set_number(key, text, base, why);
}

/* Is the field a struct conf_list? */
static bool
has_list(const struct conf_key *key)
{
	return key->type == CONF_USERS || key->type == CONF_RULES ||
	       key->type == CONF_IDS;
}

static const struct conf_list *
as_list(const struct conf_key *key, const void *base)
{
	return (const struct conf_list *)((const char *)base + key->off);
}

size_t
conf_value_count(const struct conf_key *key, const void *base)
{
	if (key->type == CONF_FILES)
		return 0;
	return has_list(key) ? as_list(key, base)->n : 1;
}

void
conf_value_print(const struct conf_key *key, const void *base, size_t i,
		 FILE *out)
{
	char buf[CONF_SHOWN];
	int64_t n;

	if (has_list(key)) {
		fprintf(out, " %s", as_list(key, base)->v[i]);
		return;
	}
	if (checks[key->type]) {
		const char *s = *(char *const *)((const char *)base + key->off);

		fprintf(out, "%s%s", s && s[0] ? " " : "", s ? s : "");
		return;
	}
	n = load(key, base);
	if (key->word && n == key->word_value &&
	    (!given(key, base) || !*given(key, base)))
		snprintf(buf, sizeof(buf), "%s", key->word);
	else
		conf_number_show(key, n, buf);
	fprintf(out, " %s", buf);
}

void
conf_value_fini(const struct conf_key *key, void *base)
{
	void *field = (char *)base + key->off;

	if (has_list(key)) {
		struct conf_list *list = field;

		for (size_t i = 0; i < list->n; i++)
			free(list->v[i]);
		free(list->v);
		*list = (struct conf_list){ 0 };
	} else if (checks[key->type]) {
		free(*(char **)field);
		*(char **)field = NULL;
	}
}
