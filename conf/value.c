/* SPDX-License-Identifier: MIT */
/*
 * Text to values and values to text, by type.  The types that are numbers
 * underneath share their checks and their storing; each has a scan and a show
 * function.  The types that are strings have a check.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/keys.h"
#include "conf/share.h"
#include "conf/text.h"

enum { SHOW_MAX = 48 };		/* a number as text */

/* scan: text to number, or say why not; -ERANGE leaves that to the caller */
typedef int scan_fn(const struct conf_key *key, const char *text, int64_t *n,
		    char *why);
typedef void show_fn(const struct conf_key *key, int64_t n, char buf[SHOW_MAX]);
typedef int check_fn(const char *text, char *why);

struct unit {
	const char *name;
	int64_t scale;
};

/* Biggest first; the first that divides a value is used to print it. */
static const struct unit sizes[] = {
	{ "T", INT64_C(1) << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 },
	{ "K", 1 << 10 },	   { "", 1 },	     { NULL, 0 },
};

static const struct unit times[] = {
	{ "d", INT64_C(86400000000) }, { "h", INT64_C(3600000000) },
	{ "min", 60000000 },	       { "s", 1000000 },
	{ "ms", 1000 },		       { "us", 1 },
	{ "", 1000000 },	       { NULL, 0 },
};

__attribute__((format(printf, 2, 3))) static int
bad(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONF_WHY, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Digits only: no sign, no blanks, no hexadecimal. */
static int
scan_digits(const char *text, int base, int64_t *n, const char **end)
{
	char *stop;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	*n = strtoll(text, &stop, base);
	*end = stop;
	return errno ? -ERANGE : 0;
}

static int
scan_number(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	char echo[CONF_ECHO];
	const char *end;
	int err = scan_digits(text, 10, n, &end);

	(void)key;
	if (err == -EINVAL || *end)
		return bad(why, "\"%s\" is not a number",
			   conf_echo(echo, text));
	return err;
}

static void
show_number(const struct conf_key *key, int64_t n, char buf[SHOW_MAX])
{
	(void)key;
	snprintf(buf, SHOW_MAX, "%" PRId64, n);
}

static int
scan_units(const struct unit *unit, const char *text, int64_t *n)
{
	const char *end;
	int err = scan_digits(text, 10, n, &end);

	if (err == -EINVAL)
		return err;
	while (unit->name && strcasecmp(unit->name, end))
		unit++;
	if (!unit->name)
		return -EINVAL;
	if (err || *n > INT64_MAX / unit->scale)
		return -ERANGE;
	*n *= unit->scale;
	return 0;
}

static void
show_units(const struct unit *unit, int64_t n, char buf[SHOW_MAX])
{
	while (n % unit->scale)
		unit++;
	snprintf(buf, SHOW_MAX, "%" PRId64 "%s", n / unit->scale,
		 n ? unit->name : "");
}

static int
scan_size(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	char echo[CONF_ECHO];
	int err = scan_units(sizes, text, n);

	(void)key;
	if (err == -EINVAL)
		bad(why, "\"%s\" is not a size (want bytes, or a number with "
			 "K, M or G, for example 64K)",
		    conf_echo(echo, text));
	return err;
}

static void
show_size(const struct conf_key *key, int64_t n, char buf[SHOW_MAX])
{
	(void)key;
	show_units(sizes, n, buf);
}

static int
scan_time(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	char echo[CONF_ECHO];
	int err = scan_units(times, text, n);

	if (err == -EINVAL)
		bad(why, "\"%s\" is not a time (want %s%sseconds, or a number "
			 "with a unit, for example 100ms, 5s or 2min)",
		    conf_echo(echo, text), key->word ? key->word : "",
		    key->word ? ", " : "");
	return err;
}

static void
show_time(const struct conf_key *key, int64_t n, char buf[SHOW_MAX])
{
	(void)key;
	show_units(times, n, buf);
}

static int
scan_mode(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	char echo[CONF_ECHO];
	const char *end;
	int err = scan_digits(text, 8, n, &end);

	(void)key;
	if (err == -EINVAL || *end)
		return bad(why, "\"%s\" is not a mode (want octal digits, for "
				"example 0660)",
			   conf_echo(echo, text));
	return err;
}

static void
show_mode(const struct conf_key *key, int64_t n, char buf[SHOW_MAX])
{
	(void)key;
	snprintf(buf, SHOW_MAX, "%04" PRIo64, (uint64_t)n);
}

static const struct conf_choice booleans[] = {
	{ "yes", 1 }, { "no", 0 },   { "on", 1 }, { "off", 0 }, { "true", 1 },
	{ "false", 0 }, { "1", 1 }, { "0", 0 },	 { NULL, 0 },
};

static const struct conf_choice *
choices(const struct conf_key *key)
{
	return key->type == CONF_BOOL ? booleans : key->choices;
}

/* "a, b or c": the names that are printed, not their other spellings. */
static void
list_choices(const struct conf_choice *c, char *buf, size_t size)
{
	size_t n = 0, last = 0, len = 0;

	buf[0] = 0;
	for (size_t i = 0; c[i].name; i++)
		last = c[i].value > last ? c[i].value : last;
	for (size_t i = 0; c[i].name && len < size; i++) {
		bool again = false;

		for (size_t j = 0; j < i; j++)
			again |= c[j].value == c[i].value;
		if (again)
			continue;
		len += (size_t)snprintf(buf + len, size - len, "%s%s",
					!n ? "" : n == last ? " or " : ", ",
					c[i].name);
		n++;
	}
}

static int
scan_choice(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	struct conf_nearest near = { .word = text };
	char echo[CONF_ECHO], want[CONF_WHY / 2], hint[CONF_ECHO] = "";

	for (const struct conf_choice *c = choices(key); c->name; c++) {
		if (!strcasecmp(c->name, text)) {
			*n = c->value;
			return 0;
		}
		conf_nearest_try(&near, c->name);
	}
	list_choices(choices(key), want, sizeof(want));
	if (near.best)
		snprintf(hint, sizeof(hint), "did you mean \"%s\"? ",
			 near.best);
	return bad(why, "unknown value \"%s\" (%swant %s)",
		   conf_echo(echo, text), hint, want);
}

static void
show_choice(const struct conf_key *key, int64_t n, char buf[SHOW_MAX])
{
	const struct conf_choice *c = choices(key);

	while (c->name && c->value != n)
		c++;
	snprintf(buf, SHOW_MAX, "%s", c->name ? c->name : "");
}

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
		return bad(why, "\"%s\" is not an absolute path (want /...)",
			   conf_echo(echo, text));
	if (n >= PATH_MAX)
		return bad(why, "path of %zu bytes is too long (want at most %d)",
			   n, PATH_MAX - 1);
	if (strstr(text, "/../") || (n >= 3 && !strcmp(text + n - 3, "/..")))
		return bad(why, "\"%s\" has a \"..\" (want the plain path)",
			   conf_echo(echo, text));
	return 0;
}

/* Numbers of users and groups; all ones means "nobody" to the kernel. */
static bool
is_id(const char *text, uid_t *id)
{
	const char *end;
	int64_t n;

	if (scan_digits(text, 10, &n, &end) || *end || n >= UINT32_MAX)
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
	pw = getpwnam(text);
	if (!pw)
		return bad(why, "unknown user \"%s\" (want the name or number "
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
check_group(const char *text, char *why)
{
	char echo[CONF_ECHO];
	gid_t gid;

	if (!text[0] || is_id(text, &gid) || getgrnam(text))
		return 0;
	return bad(why, "unknown group \"%s\" (want the name or number of a "
			"group)",
		   conf_echo(echo, text));
}

static const struct type {
	scan_fn *scan;
	show_fn *show;
	check_fn *check;
	bool wide;		/* uint64_t, else unsigned */
} types[CONF_NTYPES] = {
	[CONF_STRING] = { .check = check_string },
	[CONF_PATH] = { .check = check_path },
	[CONF_USER] = { .check = check_user },
	[CONF_GROUP] = { .check = check_group },
	[CONF_BOOL] = { .scan = scan_choice, .show = show_choice },
	[CONF_UINT] = { .scan = scan_number, .show = show_number },
	[CONF_MODE] = { .scan = scan_mode, .show = show_mode },
	[CONF_CHOICE] = { .scan = scan_choice, .show = show_choice },
	[CONF_NUMBER] = { .scan = scan_number, .show = show_number,
			  .wide = true },
	[CONF_SIZE] = { .scan = scan_size, .show = show_size, .wide = true },
	[CONF_TIME] = { .scan = scan_time, .show = show_time, .wide = true },
};

static void
store(const struct conf_key *key, int64_t n, void *base)
{
	void *field = (char *)base + key->off;

	if (key->type == CONF_BOOL)
		*(bool *)field = n;
	else if (types[key->type].wide)
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
	if (types[key->type].wide)
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

static bool
has_range(const struct conf_key *key)
{
	return types[key->type].scan && !choices(key);
}

static int
set_number(const struct conf_key *key, const char *text, void *base, char *why)
{
	char echo[CONF_ECHO], range[2 * SHOW_MAX + 40];
	int64_t n = 0;
	int err;

	if (key->word && !strcasecmp(text, key->word))
		return set_word(key, base);
	err = types[key->type].scan(key, text, &n, why);
	if (err == -EINVAL)
		return err;
	if (err || (has_range(key) && (n < key->min || n > key->max))) {
		conf_value_range(key, range, sizeof(range));
		return bad(why, "%s is out of range (want %s)",
			   conf_echo(echo, text), range);
	}
	if (base)
		store(key, n, base);
	if (base && given(key, base))
		*given(key, base) = true;
	return 0;
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
	int err = types[key->type].check(text, why);
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
set_users(const struct conf_key *key, const char *text, void *base, char *why)
{
	static const char blanks[] = " \t,";
	struct conf_list *list =
		base ? (struct conf_list *)((char *)base + key->off) : NULL;
	int err = 0;

	for (text += strspn(text, blanks); *text && !err;
	     text += strspn(text, blanks)) {
		size_t n = strcspn(text, blanks);
		char *user = strndup(text, n);
		uid_t uid;

		err = user ? find_user(user, &uid, why) : -ENOMEM;
		if (!err && list)
			err = list_add(list, text, n);
		free(user);
		text += n;
	}
	return err;
}

int
conf_value_set(const struct conf_key *key, const char *text, void *base,
	       char why[CONF_WHY])
{
	if (key->type == CONF_FILES)
		return 0;
	if (key->type == CONF_USERS)
		return set_users(key, text, base, why);
	if (types[key->type].check)
		return set_string(key, text, base, why);
	return set_number(key, text, base, why);
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
	return key->type == CONF_USERS ? as_list(key, base)->n : 1;
}

void
conf_value_print(const struct conf_key *key, const void *base, size_t i,
		 FILE *out)
{
	char buf[SHOW_MAX];
	int64_t n;

	if (key->type == CONF_USERS) {
		fprintf(out, " %s", as_list(key, base)->v[i]);
		return;
	}
	if (types[key->type].check) {
		const char *s = *(char *const *)((const char *)base + key->off);

		fprintf(out, "%s%s", s && s[0] ? " " : "", s ? s : "");
		return;
	}
	n = load(key, base);
	if (key->word && n == key->word_value &&
	    (!given(key, base) || !*given(key, base)))
		snprintf(buf, sizeof(buf), "%s", key->word);
	else
		types[key->type].show(key, n, buf);
	fprintf(out, " %s", buf);
}

void
conf_value_range(const struct conf_key *key, char *buf, size_t size)
{
	char min[SHOW_MAX], max[SHOW_MAX];

	buf[0] = 0;
	if (types[key->type].scan && choices(key))
		list_choices(choices(key), buf, size);
	if (!has_range(key))
		return;
	types[key->type].show(key, key->min, min);
	types[key->type].show(key, key->max, max);
	snprintf(buf, size, "%s to %s%s%s", min, max, key->word ? ", or " : "",
		 key->word ? key->word : "");
}

void
conf_value_fini(const struct conf_key *key, void *base)
{
	void *field = (char *)base + key->off;

	if (key->type == CONF_USERS) {
		struct conf_list *list = field;

		for (size_t i = 0; i < list->n; i++)
			free(list->v[i]);
		free(list->v);
		*list = (struct conf_list){ 0 };
	} else if (types[key->type].check) {
		free(*(char **)field);
		*(char **)field = NULL;
	}
}
