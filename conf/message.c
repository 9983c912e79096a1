/* SPDX-License-Identifier: MIT */
/*
 * Mistakes: collected while reading, sorted by file and line, one line each:
 *
 *	FILE:LINE: error: [SECTION] key: what is wrong (what would be right)
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/load.h"
#include "conf/text.h"

enum { MESSAGES_MAX = 1000 }; /* a file that is none of ours has enough */

struct conf_files *
conf_files_new(void)
{
	struct conf_files *files = calloc(1, sizeof(*files));

	if (files)
		files->refs = 1;
	return files;
}

struct conf_files *
conf_files_get(struct conf_files *files)
{
	files->refs++;
	return files;
}

void
conf_files_put(struct conf_files *files)
{
	if (!files || --files->refs)
		return;
	for (size_t i = 0; i < files->n; i++)
		free(files->v[i].name);
	free(files->v);
	free(files);
}

/* Names go into lines of text. */
static void
make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

int
conf_files_add(struct conf_files *files, const char *name, bool command_line)
{
	struct conf_file *v = realloc(files->v, (files->n + 1) * sizeof(*v));
	char *copy = v ? strdup(name) : NULL;

	if (v)
		files->v = v;
	if (!copy)
		return -ENOMEM;
	make_printable(copy);
	v[files->n] = (struct conf_file){ copy, command_line };
	return (int)files->n++;
}

static struct conf_message *
new_message(struct conf_loader *l)
{
	size_t room = l->messages_room ? 2 * l->messages_room : 16;
	struct conf_message *v = l->messages;

	if (l->nmessages == MESSAGES_MAX) {
		l->unsaid++;
		return NULL;
	}
	if (l->nmessages == l->messages_room) {
		v = realloc(v, room * sizeof(*v));
		if (!v) {
			l->no_memory = true;
			return NULL;
		}
		l->messages = v;
		l->messages_room = room;
	}
	return &v[l->nmessages++];
}

void
conf_say(struct conf_loader *l, enum conf_weight weight, struct conf_at at,
	 const char *section, const char *key, const char *fmt, ...)
{
	char section_echo[CONF_ECHO], key_echo[CONF_ECHO];
	struct conf_message *m;
	char *words;
	va_list ap;
	int n;

	if (weight == CONF_ERROR)
		l->nerrors++;
	m = new_message(l);
	if (!m)
		return;
	*m = (struct conf_message){ at, weight == CONF_WARNING, NULL };
	va_start(ap, fmt);
	n = vasprintf(&words, fmt, ap);
	va_end(ap);
	if (n < 0) {
		l->no_memory = true;
		return;
	}
	if (asprintf(&m->text, "%s%s%s%s%s%s", section ? "[" : "",
		     section ? conf_echo(section_echo, section) : "",
		     section ? "] " : "", key ? conf_echo(key_echo, key) : "",
		     key ? ": " : "", words) < 0) {
		m->text = NULL;
		l->no_memory = true;
	} else {
		make_printable(m->text);
	}
	free(words);
}

/* By file and line, else as they were found: the pointers point into one
 * array. */
static int
by_place(const void *a, const void *b)
{
	const struct conf_message *const *x = a, *const *y = b;

	if ((*x)->at.file != (*y)->at.file)
		return (*x)->at.file < (*y)->at.file ? -1 : 1;
	if ((*x)->at.line != (*y)->at.line)
		return (*x)->at.line < (*y)->at.line ? -1 : 1;
	return *x < *y ? -1 : 1;
}

static void
print_message(const struct conf_loader *l, const struct conf_message *m,
	      FILE *out)
{
	if (!m->text)
		return;
	if (m->at.file >= 0)
		fprintf(out, "%s:", l->files->v[m->at.file].name);
	if (m->at.file >= 0 && m->at.line)
		fprintf(out, "%d:", m->at.line);
	fprintf(out, "%s%s: %s\n", m->at.file >= 0 ? " " : "",
		m->warning ? "warning" : "error", m->text);
}

char *
conf_messages(struct conf_loader *l)
{
	const struct conf_message **v;
	char *text = NULL;
	size_t size;
	FILE *out;

	if (!l->nmessages)
		return NULL;
	v = calloc(l->nmessages, sizeof(*v));
	out = v ? open_memstream(&text, &size) : NULL;
	if (!out) {
		free(v);
		return NULL;
	}
	for (size_t i = 0; i < l->nmessages; i++)
		v[i] = &l->messages[i];
	qsort(v, l->nmessages, sizeof(*v), by_place);
	for (size_t i = 0; i < l->nmessages; i++)
		print_message(l, v[i], out);
	if (l->unsaid)
		fprintf(out, "error: %zu more\n", l->unsaid);
	free(v);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
