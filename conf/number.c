/* SPDX-License-Identifier: MIT */
/*
 * The types that are numbers underneath: text to number and number to text,
 * each with a scan and a show function, and their ranges.  Numbers with units
 * print with the biggest unit that divides them.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/conf.h"
#include "conf/number.h"
#include "conf/text.h"

/* scan: text to number, or say why not; -ERANGE leaves that to the caller */
typedef int scan_fn(const struct conf_key *key, const char *text, int64_t *n,
		    char *why);
typedef void show_fn(const struct conf_key *key, int64_t n,
		     char buf[CONF_SHOWN]);

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
	{ "d", INT64_C(86400000000) },
	{ "h", INT64_C(3600000000) },
	{ "min", 60000000 },
	{ "s", 1000000 },
	{ "ms", 1000 },
	{ "us", 1 },
	{ "", 1000000 },
	{ NULL, 0 },
};

int
conf_bad(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONF_WHY, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int
conf_scan_digits(const char *text, int base, int64_t *n, const char **end)
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
	char echo[CONF_ECHO], range[CONF_RANGE];
	const char *end;
	int err = conf_scan_digits(text, 10, n, &end);

	if (err != -EINVAL && !*end)
		return err;
	conf_value_range(key, range);
	return conf_bad(why, "\"%s\" is not a number (want %s)",
			conf_echo(echo, text), range);
}

static void
show_number(const struct conf_key *key, int64_t n, char buf[CONF_SHOWN])
{
	(void)key;
	snprintf(buf, CONF_SHOWN, "%" PRId64, n);
}

static int
scan_units(const struct unit *unit, const char *text, int64_t *n)
{
	const char *end;
	int err = conf_scan_digits(text, 10, n, &end);

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
show_units(const struct unit *unit, int64_t n, char buf[CONF_SHOWN])
{
	while (n % unit->scale)
		unit++;
	snprintf(buf, CONF_SHOWN, "%" PRId64 "%s", n / unit->scale,
		 n ? unit->name : "");
}

int
conf_read_time(const char *text, uint64_t *us)
{
	int64_t n;

	if (scan_units(times, text, &n))
		return -EINVAL;
	*us = (uint64_t)n;
	return 0;
}

static int
scan_size(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	char echo[CONF_ECHO];
	int err = scan_units(sizes, text, n);

	(void)key;
	if (err == -EINVAL)
		conf_bad(why,
			 "\"%s\" is not a size (want bytes, or a number with "
			 "K, M or G, for example 64K)",
			 conf_echo(echo, text));
	return err;
}

static void
show_size(const struct conf_key *key, int64_t n, char buf[CONF_SHOWN])
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
		conf_bad(why,
			 "\"%s\" is not a time (want %s%sseconds, or a number "
			 "with a unit, for example 100ms, 5s or 2min)",
			 conf_echo(echo, text), key->word ? key->word : "",
			 key->word ? ", " : "");
	return err;
}

static void
show_time(const struct conf_key *key, int64_t n, char buf[CONF_SHOWN])
{
	(void)key;
	show_units(times, n, buf);
}

static int
scan_mode(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	char echo[CONF_ECHO];
	const char *end;
	int err = conf_scan_digits(text, 8, n, &end);

	(void)key;
	if (err == -EINVAL || *end)
		return conf_bad(why,
				"\"%s\" is not a mode (want octal digits, for "
				"example 0660)",
				conf_echo(echo, text));
	return err;
}

static void
show_mode(const struct conf_key *key, int64_t n, char buf[CONF_SHOWN])
{
	(void)key;
	snprintf(buf, CONF_SHOWN, "%04" PRIo64, (uint64_t)n);
}

static const struct conf_choice booleans[] = {
	{ "yes", 1 },	{ "no", 0 }, { "on", 1 }, { "off", 0 }, { "true", 1 },
	{ "false", 0 }, { "1", 1 },  { "0", 0 },  { NULL, 0 },
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
					!n	    ? ""
					: n == last ? " or "
						    : ", ",
					c[i].name);
		n++;
	}
}

static int
scan_choice(const struct conf_key *key, const char *text, int64_t *n, char *why)
{
	struct conf_nearest near = { .word = text };
	char echo[CONF_ECHO], want[CONF_RANGE], hint[CONF_ECHO] = "";

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
	return conf_bad(why, "unknown value \"%s\" (%swant %s)",
			conf_echo(echo, text), hint, want);
}

static void
show_choice(const struct conf_key *key, int64_t n, char buf[CONF_SHOWN])
{
	const struct conf_choice *c = choices(key);

	while (c->name && c->value != n)
		c++;
	snprintf(buf, CONF_SHOWN, "%s", c->name ? c->name : "");
}

static const struct number {
	scan_fn *scan;
	show_fn *show;
} numbers[CONF_NTYPES] = {
	[CONF_BOOL] = { scan_choice, show_choice },
	[CONF_UINT] = { scan_number, show_number },
	[CONF_MODE] = { scan_mode, show_mode },
	[CONF_CHOICE] = { scan_choice, show_choice },
	[CONF_NUMBER] = { scan_number, show_number },
	[CONF_SIZE] = { scan_size, show_size },
	[CONF_TIME] = { scan_time, show_time },
};

bool
conf_is_number(const struct conf_key *key)
{
	return numbers[key->type].scan;
}

static bool
has_range(const struct conf_key *key)
{
	return conf_is_number(key) && !choices(key);
}

int
conf_number_scan(const struct conf_key *key, const char *text, int64_t *n,
		 char why[CONF_WHY])
{
	char echo[CONF_ECHO], range[CONF_RANGE];
	int err = numbers[key->type].scan(key, text, n, why);

	if (err == -EINVAL)
		return err;
	if (!err && (!has_range(key) || (*n >= key->min && *n <= key->max)))
		return 0;
	conf_value_range(key, range);
	return conf_bad(why, "%s is out of range (want %s)",
			conf_echo(echo, text), range);
}

void
conf_number_show(const struct conf_key *key, int64_t n, char buf[CONF_SHOWN])
{
	numbers[key->type].show(key, n, buf);
}

void
conf_value_range(const struct conf_key *key, char buf[CONF_RANGE])
{
	char min[CONF_SHOWN], max[CONF_SHOWN];

	buf[0] = 0;
	if (conf_is_number(key) && choices(key))
		list_choices(choices(key), buf, CONF_RANGE);
	if (!has_range(key))
		return;
	conf_number_show(key, key->min, min);
	conf_number_show(key, key->max, max);
	snprintf(buf, CONF_RANGE, "%s to %s%s%s", min, max,
		 key->word ? ", or " : "", key->word ? key->word : "");
}
