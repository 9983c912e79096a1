/* SPDX-License-Identifier: MIT */
/*
 * What lines, values and tags may hold, and "did you mean".  Everything that
 * is accepted here can be printed and read again (print.c).
 */
#include "config.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/text.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * Length of the UTF-8 sequence at s, 0 if it is none (RFC 3629: no overlong
 * forms, no surrogates, nothing above U+10FFFF).
 */
static size_t
utf8_len(const unsigned char *s, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	if (s[0] == 0xed)
		high = 0x9f;
	if (s[0] == 0xf0)
		low = 0x90;
	if (s[0] == 0xf4)
		high = 0x8f;
	if (n < len || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* C0 but for the tab, DEL, and C1 (U+0080 to U+009F). */
static bool
is_control(const unsigned char *s, size_t len)
{
	if (len == 1)
		return (s[0] < 0x20 && s[0] != '\t') || s[0] == 0x7f;
	return s[0] == 0xc2 && s[1] < 0xa0;
}

const char *
conf_line_fault(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	bool control = false;

	if (memchr(s, 0, n))
		return "NUL byte (want UTF-8 text)";
	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_len(p + i, n - i);
		if (!len)
			return "invalid UTF-8 (want UTF-8 text)";
		control |= is_control(p + i, len);
	}
	return control ? "control character (want plain text)" : NULL;
}

/*
 * inih as it comes cuts a value at " ;", as Debian builds it keeps it; people
 * mean a comment.  A value that means it cannot be written down, so nothing
 * is guessed.
 */
const char *
conf_value_fault(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (i && !is_blank(s[i - 1]))
			continue;
		if (s[i] == ';')
			return "';' after a value (put comments on lines of "
			       "their own)";
		if (s[i] == '#')
			return "'#' after a value (put comments on lines of "
			       "their own)";
	}
	return NULL;
}

bool
conf_is_writable(const char *value)
{
	size_t n = strlen(value);

	return !conf_line_fault(value, n) && !conf_value_fault(value, n) &&
	       !(n && (is_blank(value[0]) || is_blank(value[n - 1])));
}

const char *
conf_tag_fault(const char *tag)
{
	size_t n = strlen(tag);

	if (!n)
		return "empty (want 1 to 36 bytes)";
	if (n > CONF_TAG_MAX)
		return "too long (want at most 36 bytes)";
	if (tag[0] == '.')
		return "begins with '.' (want another first character)";
	if (strpbrk(tag, "/:]"))
		return "'/', ':' or ']' in it (want none of these)";
	if (strchr(tag, '\t') || conf_line_fault(tag, n))
		return "control character or invalid UTF-8 (want UTF-8 text)";
	if (is_blank(tag[0]) || is_blank(tag[n - 1]))
		return "blank at the start or end (want [TAG])";
	return NULL;
}

static bool
is_plain(unsigned char c)
{
	return c > 0x20 && c != '%' && c != '/';
}

char *
conf_tag_encode(const char *tag)
{
	static const char hex[] = "0123456789ABCDEF";
	char *path = malloc(3 * strlen(tag) + 1), *p = path;

	if (!path)
		return NULL;
	for (; *tag; tag++) {
		unsigned char c = (unsigned char)*tag;

		if (!is_plain(c)) {
			*p++ = '%';
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
		} else {
			*p++ = (char)c;
		}
	}
	*p = 0;
	return path;
}

enum { EDITS_MAX = 2, WORD_MAX = 40 };

/* Levenshtein's distance of two words of at most WORD_MAX bytes. */
static unsigned
edits(const char *a, const char *b)
{
	unsigned row[WORD_MAX + 1];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 0; a[i]; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i + 1;
		for (size_t j = 0; j < n; j++) {
			unsigned best =
				corner + (conf_fold(a[i]) != conf_fold(b[j]));

			corner = row[j + 1];
			if (best > row[j] + 1)
				best = row[j] + 1;
			if (best > corner + 1)
				best = corner + 1;
			row[j + 1] = best;
		}
	}
	return row[n];
}

void
conf_nearest_try(struct conf_nearest *near, const char *candidate)
{
	unsigned n;

	if (!candidate || strlen(near->word) > WORD_MAX ||
	    strlen(candidate) > WORD_MAX)
		return;
	n = edits(near->word, candidate);
	if (n > EDITS_MAX || n >= strlen(near->word))
		return;
	if (!near->best || n < near->edits) {
		near->best = candidate;
		near->edits = n;
	}
}

const char *
conf_echo(char buf[CONF_ECHO], const char *text)
{
	static const char dots[] = "...";
	size_t n = strlen(text), most = CONF_ECHO - sizeof(dots);

	if (n < CONF_ECHO) {
		memcpy(buf, text, n + 1);
		return buf;
	}
	while (most && ((unsigned char)text[most] & 0xc0) == 0x80)
		most--;
	memcpy(buf, text, most);
	memcpy(buf + most, dots, sizeof(dots));
	return buf;
}
