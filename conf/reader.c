/* SPDX-License-Identifier: MIT */
/*
 * Drives inih, line by line.  Left to itself inih (55, as Debian has it) cuts
 * lines at 200 bytes and reads the rest as more lines, takes an indented key
 * for more of the value above it, cuts section names at 49 bytes, does not
 * tell of empty sections, cuts values at " ;" and has no line numbers.  So it
 * only ever gets whole lines that it cannot misread: this file hands it one
 * physical line per call, without the blanks in front, and in place of
 * comments, section headers (which it reads itself) and mistakes an empty
 * one.  Every line ends in a newline, because newer versions take a line
 * without one for a part of a longer line.
 */
#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/reader.h"
#include "conf/text.h"

struct reader {
	const char *at, *end; /* what is still to be read */
	int line;
	bool pending; /* inih has a setting and did not call us yet */
	bool no_memory;
	const struct conf_reader_ops *ops;
	void *ctx;
};

/* A part of the text. */
struct span {
	const char *s;
	size_t n;
};

static const struct span no_key;

/*
 * Debian's inih has variables for what upstream fixes when it is compiled;
 * there, a line may have INI_MAX_LINE bytes (200), and longer ones are
 * mistakes to us. 
 */
static void
inih_setup(void)
{
#if HAVE_DECL_INI_MAX_LINE
	ini_max_line = 8192;
#endif
#if HAVE_DECL_INI_ALLOW_MULTILINE
	ini_allow_multiline = false;
#endif
#if HAVE_DECL_INI_ALLOW_INLINE_COMMENTS
	ini_allow_inline_comments = false;
#endif
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct span
trim(struct span line)
{
	while (line.n && is_blank(line.s[0]))
		line.s++, line.n--;
	while (line.n && is_blank(line.s[line.n - 1]))
		line.n--;
	return line;
}

static bool
next_line(struct reader *r, struct span *line)
{
	const char *newline;

	if (r->at == r->end)
		return false;
	newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
	line->s = r->at;
	line->n = (size_t)((newline ? newline : r->end) - r->at);
	r->at = newline ? newline + 1 : r->end;
	r->line++;
	*line = trim(*line);
	return true;
}

static char *
copy(struct reader *r, struct span part)
{
	char *s = strndup(part.s, part.n);

	if (!s)
		r->no_memory = true;
	return s;
}

/* A mistake in this line; `key` may be empty. */
static void
mistake(struct reader *r, struct span key, const char *what)
{
	char *s = key.n ? copy(r, key) : NULL;

	r->ops->mistake(r->ctx, r->line, s, what);
	free(s);
}

/* "[name]"; sections go past inih, which would cut the name and say nothing
 * of an empty one. */
static void
take_section(struct reader *r, struct span line)
{
	const char *close = memchr(line.s, ']', line.n);
	struct span name = { line.s + 1, line.n - 1 };
	char *s;

	if (close)
		name.n = (size_t)(close - name.s);
	s = copy(r, name);
	if (!s)
		return;
	r->ops->section(r->ctx, r->line, s);
	if (!close)
		mistake(r, no_key, "']' is missing (want [NAME])");
	else if (close != line.s + line.n - 1)
		mistake(r, no_key,
			"text after ']' (put comments on lines of their own)");
	free(s);
}

/* May inih have this "key = value"?  Says why not. */
static bool
check_setting(struct reader *r, struct span line, size_t room)
{
	const char *equals = memchr(line.s, '=', line.n), *fault;
	const char *end = equals ? equals : line.s + line.n;
	const char *colon = memchr(line.s, ':', (size_t)(end - line.s));
	const char *key_end = colon ? colon : end;
	struct span key, value = { end, (size_t)(line.s + line.n - end) };
	char text[120];

	key = trim((struct span){ line.s, (size_t)(key_end - line.s) });
	if (colon || !equals) {
		mistake(r, key,
			colon ? "':' where '=' belongs (want key = value)"
			      : "no '=' (want key = value)");
		return false;
	}
	if (!key.n) {
		mistake(r, key, "a value without a key (want key = value)");
		return false;
	}
	if (line.n > room) {
		snprintf(text, sizeof(text),
			 "line of %zu bytes is too long (want at most %zu)",
			 line.n, room);
		mistake(r, key, text);
		return false;
	}
	value.s++, value.n--;
	value = trim(value);
	fault = conf_value_fault(value.s, value.n);
	if (fault)
		mistake(r, key, fault);
	return !fault;
}

/* The line has bytes that no line may have; tell its key where that is good. */
static void
take_fault(struct reader *r, struct span line, const char *fault)
{
	const char *equals = memchr(line.s, '=', line.n);
	struct span key = { line.s,
			    (size_t)((equals ? equals : line.s) - line.s) };

	key = trim(key);
	if (line.s[0] == '[')
		r->ops->section(r->ctx, r->line, NULL);
	if (strchr("[#;", line.s[0]) || conf_line_fault(key.s, key.n))
		key.n = 0;
	mistake(r, key, fault);
}

/* True when the line is a setting that inih shall split. */
static bool
take_line(struct reader *r, struct span line, size_t room)
{
	const char *fault = conf_line_fault(line.s, line.n);

	if (fault) {
		take_fault(r, line, fault);
		return false;
	}
	if (!line.n || line.s[0] == '#' || line.s[0] == ';')
		return false;
	if (line.s[0] == '[') {
		take_section(r, line);
		return false;
	}
	return check_setting(r, line, room);
}

/* inih must have called our handler for the line before this one. */
static void
check_pending(struct reader *r)
{
	if (r->pending)
		mistake(r, no_key, "libinih did not understand this line");
	r->pending = false;
}

/* inih's "fgets". */
static char *
read_line(char *buf, int num, void *stream)
{
	static const size_t end = sizeof("\n");
	struct reader *r = stream;
	size_t most = num > 0 ? (size_t)num : 0;
	struct span line;

	check_pending(r);
	if (most <= end || r->no_memory || !next_line(r, &line))
		return NULL;
	/* One byte is left free: a full buffer means "more follows". */
	if (take_line(r, line, most - end - 1)) {
		memcpy(buf, line.s, line.n);
		r->pending = true;
	} else {
		line.n = 0;
	}
	memcpy(buf + line.n, "\n", end);
	return buf;
}

static int
take_setting(void *user, const char *section, const char *name,
	     const char *value)
{
	struct reader *r = user;

	(void)section;
	r->pending = false;
	r->ops->setting(r->ctx, r->line, name, value ? value : "");
	return 1;
}

int
conf_read_lines(const char *text, size_t size,
		const struct conf_reader_ops *ops, void *ctx)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct reader r = {
		.at = text, .end = text + size, .ops = ops, .ctx = ctx
	};
	int n;

	if (size >= strlen(bom) && !memcmp(text, bom, strlen(bom)))
		r.at += strlen(bom);
	inih_setup();
	n = ini_parse_stream(read_line, &r, take_setting, &r);
	check_pending(&r);
	return r.no_memory || n == -2 ? -ENOMEM : 0;
}
