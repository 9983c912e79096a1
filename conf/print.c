/* SPDX-License-Identifier: MIT */
/*
 * Structs to text.  A configuration prints as lines that read back to the same
 * one, each with a comment above that says where the value comes from and when
 * a change of it is put to use; and the table prints as manual page.
 */
#include "config.h"

#include <string.h>

#include "conf/load.h"

/* A struct with what is known about its values. */
struct source {
	const void *base;
	const struct conf_marks *marks;
	const struct conf_files *files;
};

static void
print_origin(const struct source *src, const struct conf_mark *mark, FILE *out)
{
	const struct conf_file *file;

	if (!mark) {
		fputs("default", out);
		return;
	}
	file = &src->files->v[mark->at.file];
	if (file->command_line)
		fputs("command line", out);
	else
		fprintf(out, "%s:%d", file->name, mark->at.line);
}

static void
print_line(const struct source *src, const struct conf_key *key, size_t i,
	   FILE *out)
{
	fputs("# ", out);
	print_origin(src, conf_mark_find(src->marks, key, i), out);
	fprintf(out, "; %s\n%s =", conf_reload_name(key->reload), key->name);
	conf_value_print(key, src->base, i, out);
	putc('\n', out);
}

/* A list begins with a line that empties it, else reading it would append to
 * what was there.  Files that were included are part of what is printed. */
static void
print_list(const struct source *src, const struct conf_key *key, FILE *out)
{
	size_t n = conf_value_count(key, src->base);

	fprintf(out, "# %s; %s\n%s =\n", n ? "list" : "default",
		conf_reload_name(key->reload), key->name);
	for (size_t i = 0; i < n; i++)
		print_line(src, key, i, out);
}

static void
print_keys(const struct source *src, const char *section, unsigned scope,
	   FILE *out)
{
	fprintf(out, "[%s]\n", section);
	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (!(key->scope & scope))
			continue;
		if (conf_key_is_list(key))
			print_list(src, key, out);
		else
			print_line(src, key, 0, out);
	}
}

static void
print_box(const struct conf_box *box, unsigned scope, FILE *out)
{
	struct source src = { &box->share, &box->marks, box->files };

	print_keys(&src, box->share.tag, scope, out);
}

void
conf_print(const struct conf *conf, FILE *out)
{
	const struct conf_whole *whole = conf_whole(conf);
	struct source gateway = { &conf->gateway, &whole->marks, whole->files };

	print_keys(&gateway, "gateway", CONF_IN_GATEWAY, out);
	putc('\n', out);
	print_box(whole->defaults, CONF_IN_DEFAULTS, out);
	for (size_t i = 0; i < conf->nshares; i++) {
		putc('\n', out);
		conf_print_share(conf->shares[i], out);
	}
}

void
conf_print_share(const struct conf_share *share, FILE *out)
{
	print_box(conf_box(share), CONF_IN_SHARE, out);
}

/* Text for roff: no line may begin with a control character, and sentences
 * begin lines. */
static void
print_roff(const char *s, FILE *out)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", out);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '.' && s[1] == ' ' && s[2] == ' ') {
			fputs(".\n", out);
			s += 2;
		} else {
			putc(*s, out);
		}
	}
	putc('\n', out);
}

/* What to write behind "key =". */
static const char *const kinds[CONF_NTYPES] = {
	[CONF_STRING] = "words",  [CONF_PATH] = "path",
	[CONF_USER] = "user",	  [CONF_GROUP] = "group",
	[CONF_CAPS] = "caps",	  [CONF_OWNER] = "uid:gid",
	[CONF_BOOL] = "yes | no", [CONF_UINT] = "number",
	[CONF_MODE] = "mode",	  [CONF_CHOICE] = "word",
	[CONF_NUMBER] = "number", [CONF_SIZE] = "size",
	[CONF_TIME] = "time",	  [CONF_USERS] = "user ...",
	[CONF_RULES] = "rule ...", [CONF_IDS] = "rule ...",
	[CONF_FILES] = "file",
};

static const char *
default_words(const struct conf_key *key)
{
	if (key->def_help)
		return key->def_help;
	return key->def[0] ? key->def : "empty";
}

static void
print_item(const struct conf_key *key, FILE *out)
{
	char range[CONF_RANGE];

	fprintf(out, ".It Ic %s Li = Ar %s\n", key->name, kinds[key->type]);
	print_roff(key->help, out);
	conf_value_range(key, range);
	if (range[0] && key->type != CONF_BOOL)
		fprintf(out, "Allowed: %s.\n", range);
	fprintf(out, "Default: %s.\n", default_words(key));
	if (key->alias[0])
		fprintf(out, "Also written\n.Ic %s%s%s .\n", key->alias[0],
			key->alias[1] ? " No or Ic " : "",
			key->alias[1] ? key->alias[1] : "");
	if (!(key->scope & (CONF_IN_DEFAULTS | CONF_IN_GATEWAY)))
		fputs("Not in\n.Ic [defaults] .\n", out);
	fprintf(out, "Changes: %s.\n", conf_reload_name(key->reload));
}

static void
print_items(const char *title, unsigned scope, FILE *out)
{
	fprintf(out, ".Ss %s\n.Bl -tag -width Ds\n", title);
	for (size_t i = 0; i < conf_nkeys; i++)
		if (conf_keys[i].scope & scope)
			print_item(&conf_keys[i], out);
	fputs(".El\n", out);
}

void
conf_print_manual(FILE *out)
{
	print_items("Section [gateway]", CONF_IN_GATEWAY, out);
	print_items("Section [defaults] and shares", CONF_IN_SHARE, out);
}
