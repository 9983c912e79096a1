/* SPDX-License-Identifier: MIT */
/*
 * Rows as lines of text and back: "PATH" name=value ...  What is read must be
 * what it claims to be; nothing is guessed.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "casefold/state_db.h"

#define TICKS 10000000ll	/* of FILETIME, in a second */
#define SINCE_1601 11644473600ll	/* seconds, until 1970 */

/* ------------------------------------------------------------------ */
/* Values. */

static int
print_id(uint32_t v, char *buf, size_t size)
{
	return snprintf(buf, size, "%" PRIu32, v);
}

static int
print_mode(uint32_t v, char *buf, size_t size)
{
	return snprintf(buf, size, "0%" PRIo32, v);
}

static int
print_hex(uint32_t v, char *buf, size_t size)
{
	return snprintf(buf, size, "0x%" PRIx32, v);
}

/* As the kernel packs device numbers into 32 bits. */
static int
print_dev(uint32_t v, char *buf, size_t size)
{
	return snprintf(buf, size, "%" PRIu32 ":%" PRIu32, (v >> 8) & 0xfff,
			(v & 0xff) | ((v >> 12) & 0xfff00));
}

static int
print_time(int64_t v, char *buf, size_t size)
{
	int64_t s = v / TICKS, part = v % TICKS;
	struct tm tm;
	time_t t;

	if (part < 0) {
		part += TICKS;
		s--;
	}
	t = (time_t)(s - SINCE_1601);
	gmtime_r(&t, &tm);
	return snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02d.%07dZ",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
			tm.tm_hour, tm.tm_min, tm.tm_sec, (int)part);
}

/* Digits and nothing else, up to `max`. */
static bool
scan_number(const char *text, int base, uint64_t max, uint64_t *v)
{
	char *end;

	if (!*text || strspn(text, base == 16 ? "0123456789abcdefABCDEF" :
			     base == 8 ? "01234567" : "0123456789") !=
			      strlen(text))
		return false;
	errno = 0;
	*v = strtoull(text, &end, base);
	return !errno && !*end && *v <= max;
}

static bool
scan_id(const char *text, uint64_t *v)
{
	return scan_number(text, 10, UINT32_MAX - 1, v);
}

static bool
scan_mode(const char *text, uint64_t *v)
{
	return scan_number(text, 8, 0177777, v);
}

static bool
scan_hex(const char *text, uint64_t *v)
{
	return !strncmp(text, "0x", 2) &&
	       scan_number(text + 2, 16, UINT32_MAX, v);
}

static bool
scan_dev(const char *text, uint64_t *v)
{
	const char *colon = strchr(text, ':');
	uint64_t major, minor;
	char buf[8];

	if (!colon || (size_t)(colon - text) >= sizeof(buf))
		return false;
	memcpy(buf, text, (size_t)(colon - text));
	buf[colon - text] = '\0';
	if (!scan_number(buf, 10, 0xfff, &major) ||
	    !scan_number(colon + 1, 10, 0xfffff, &minor))
		return false;
	*v = (minor & 0xff) | major << 8 | (minor & 0xfff00) << 12;
	return true;
}

/* A day that there is: it prints as it was written. */
static bool
scan_time(const char *text, uint64_t *v)
{
	struct tm tm = { 0 };
	char again[64];
	int part;

	if (sscanf(text, "%5d-%2d-%2dT%2d:%2d:%2d.%7dZ", &tm.tm_year,
		   &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
		   &part) != 7)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*v = (uint64_t)(((int64_t)timegm(&tm) + SINCE_1601) * TICKS + part);
	print_time((int64_t)*v, again, sizeof(again));
	return !strcmp(text, again);
}

/* ------------------------------------------------------------------ */
/* Fields. */

static const struct field {
	const char *name;
	unsigned bit;
	size_t at;
	int (*print)(uint32_t v, char *buf, size_t size);
	bool (*scan)(const char *text, uint64_t *v);
	const char *want;
} fields[] = {
#define AT(name) offsetof(struct cf_state_row, name)
	{ "uid", CF_STATE_UID, AT(uid), print_id, scan_id, "a number" },
	{ "gid", CF_STATE_GID, AT(gid), print_id, scan_id, "a number" },
	{ "mode", CF_STATE_MODE, AT(mode), print_mode, scan_mode,
	  "an octal number" },
	{ "rdev", CF_STATE_RDEV, AT(rdev), print_dev, scan_dev,
	  "MAJOR:MINOR" },
	{ "dosattr", CF_STATE_DOS, AT(dosattr), print_hex, scan_hex,
	  "a number that begins with 0x" },
	{ "crtime", CF_STATE_CRTIME, AT(crtime), NULL, scan_time,
	  "YYYY-MM-DDTHH:MM:SS.FFFFFFFZ" },
#undef AT
};
enum { NFIELDS = sizeof(fields) / sizeof(fields[0]) };

struct text {
	char *buf;
	size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void
add(struct text *t, const char *fmt, ...)
{
	size_t at = t->len < t->size ? t->len : t->size;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + at, t->size - at, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
}

static void
add_path(struct text *t, const char *path)
{
	add(t, "\"");
	for (; *path; path++) {
		unsigned char ch = (unsigned char)*path;

		if (ch < 0x20 || ch == 0x7f || ch == '"' || ch == '\\')
			add(t, "\\%03o", ch);
		else
			add(t, "%c", ch);
	}
	add(t, "\"");
}

int
cf_state_print(const char *path, const struct cf_state_row *row, char *buf,
	       size_t size)
{
	struct text t = { buf, size, 0 };
	char value[64];
	uint32_t v;

	add_path(&t, path);
	for (int i = 0; i < NFIELDS; i++) {
		if (!(row->has & fields[i].bit))
			continue;
		if (fields[i].bit == CF_STATE_CRTIME) {
			print_time(row->crtime, value, sizeof(value));
		} else {
			memcpy(&v, (const char *)row + fields[i].at, sizeof(v));
			fields[i].print(v, value, sizeof(value));
		}
		add(&t, " %s=%s", fields[i].name, value);
	}
	return t.len < size ? 0 : -E2BIG;
}

/* ------------------------------------------------------------------ */
/* Reading. */

__attribute__((format(printf, 2, 3))) static int
bad(char why[CF_STATE_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CF_STATE_WHY, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The byte of \ooo, or -1. */
static int
octal(const char *p)
{
	int v = 0;

	for (int i = 0; i < 3; i++) {
		if (p[i] < '0' || p[i] > '7')
			return -1;
		v = v * 8 + p[i] - '0';
	}
	return v && v < 256 ? v : -1;
}

/* Returns what follows the path, or NULL. */
static const char *
scan_path(const char *p, char path[PATH_MAX], char why[CF_STATE_WHY])
{
	size_t n = 0;
	int ch;

	if (*p++ != '"') {
		bad(why, "a line begins with \"PATH\"");
		return NULL;
	}
	while (*p && *p != '"' && n < PATH_MAX - 1) {
		ch = *p == '\\' ? octal(p + 1) : (unsigned char)*p;
		if (ch < 0) {
			bad(why, "a \\ in a path is followed by three octal "
			    "digits");
			return NULL;
		}
		p += *p == '\\' ? 4 : 1;
		path[n++] = (char)ch;
	}
	path[n] = '\0';
	if (*p == '"' && n && path[0] != '/')
		return p + 1;
	bad(why, n >= PATH_MAX - 1 ? "the path is too long" :
	    *p != '"' ? "the path has no \" at its end" :
	    "the path must be one below the root of the share");
	return NULL;
}

static int
scan_field(const char *word, struct cf_state_row *row, char why[CF_STATE_WHY])
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : 0;
	uint64_t v;
	uint32_t small;
	int i = 0;

	while (i < NFIELDS && (strlen(fields[i].name) != len ||
			       strncmp(fields[i].name, word, len)))
		i++;
	if (i == NFIELDS)
		return bad(why, "\"%.40s\" is no field (want uid=, gid=, mode=, "
			   "rdev=, dosattr= or crtime=)", word);
	if (row->has & fields[i].bit)
		return bad(why, "%s= is there twice", fields[i].name);
	if (!fields[i].scan(value + 1, &v))
		return bad(why, "%s=%.40s is wrong (want %s)", fields[i].name,
			   value + 1, fields[i].want);
	row->has |= fields[i].bit;
	small = (uint32_t)v;
	if (fields[i].bit == CF_STATE_CRTIME)
		row->crtime = (int64_t)v;
	else
		memcpy((char *)row + fields[i].at, &small, sizeof(small));
	return 0;
}

int
cf_state_scan(const char *line, char path[PATH_MAX], struct cf_state_row *row,
	      char why[CF_STATE_WHY])
{
	char word[64];
	size_t n;
	int err;

	memset(row, 0, sizeof(*row));
	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	line = scan_path(line, path, why);
	while (line && *line) {
		if (*line != ' ')
			return bad(why, "fields stand apart by blanks");
		line += strspn(line, " ");
		n = strcspn(line, " ");
		if (!n)
			break;
		snprintf(word, sizeof(word), "%.*s", (int)n, line);
		err = n < sizeof(word) ? scan_field(word, row, why) :
		      bad(why, "\"%.40s\" is no field", word);
		if (err)
			return err;
		line += n;
	}
	return line ? 1 : -EINVAL;
}
