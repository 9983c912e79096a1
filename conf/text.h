/* SPDX-License-Identifier: MIT */
/* Private to conf/: what text may hold, and words that look alike. */
#ifndef CONF_TEXT_H
#define CONF_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Keys and words are compared in this form. */
static inline int
conf_fold(char c)
{
	return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
}

/* What is wrong with the bytes of a line, or NULL. */
const char *conf_line_fault(const char *s, size_t n);

/* What is wrong with the part behind '=', or NULL; blanks around it are
 * allowed. */
const char *conf_value_fault(const char *s, size_t n);

/* Could this value stand in a file and come back the same? */
bool conf_is_writable(const char *value);

/* What is wrong with a tag, or NULL. */
const char *conf_tag_fault(const char *tag);

/*
 * The candidate nearest to `word`, at most two edits away; ask for each
 * candidate, then look at `best`.
 */
struct conf_nearest {
	const char *word;
	const char *best;
	unsigned edits;		/* of best */
};

void conf_nearest_try(struct conf_nearest *near, const char *candidate);

/* `text` for a message: long ones are cut.  Returns buf. */
enum { CONF_ECHO = 80 };
const char *conf_echo(char buf[CONF_ECHO], const char *text);

#endif
