/* SPDX-License-Identifier: MIT */
/*
 * For tests of conf/: a directory of its own, files in it, and a
 * configuration that is loaded from text or files and asked about.
 */
#ifndef TESTS_CONF_TRY_H
#define TESTS_CONF_TRY_H

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "tests/tap.h"

static char try_dir[] = "/tmp/gatewayd-conf.XXXXXX";
static struct conf *try_conf;	/* of the last load, NULL if it failed */
static char *try_messages;	/* of the last load, may be NULL */

static int
try_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
try_end(void)
{
	nftw(try_dir, try_remove, 16, FTW_DEPTH | FTW_PHYS);
	conf_free(try_conf);
	free(try_messages);
}

/* Make the directory; call this first. */
__attribute__((unused)) static void
try_begin(void)
{
	if (!mkdtemp(try_dir)) {
		perror(try_dir);
		exit(99);
	}
	atexit(try_end);
}

/* A path below the directory, allocated. */
__attribute__((unused)) static char *
try_path(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", try_dir, name) < 0)
		abort();
	return path;
}

__attribute__((unused)) static void
try_mkdir(const char *name)
{
	char *path = try_path(name);

	if (mkdir(path, 0755) && errno != EEXIST)
		abort();
	free(path);
}

/* Write a file; "$D" in the text becomes the directory. */
__attribute__((unused)) static void
try_write(const char *name, const char *text)
{
	char *path = try_path(name);
	FILE *f = fopen(path, "we");

	if (!f)
		abort();
	while (*text) {
		if (!strncmp(text, "$D", 2)) {
			fputs(try_dir, f);
			text += 2;
		} else {
			putc(*text++, f);
		}
	}
	fclose(f);
	free(path);
}

static void
try_forget(void)
{
	conf_free(try_conf);
	free(try_messages);
	try_conf = NULL;
	try_messages = NULL;
}

__attribute__((unused)) static int
try_bytes(const char *text, size_t size)
{
	try_forget();
	return conf_load_text("t", text, size, &try_conf, &try_messages);
}

__attribute__((unused)) static int
try_text(const char *text)
{
	return try_bytes(text, strlen(text));
}

/* Load the file of that name below the directory. */
__attribute__((unused)) static int
try_file(const char *name)
{
	char *path = try_path(name);
	struct conf_source src = { .file = path };
	int err;

	try_forget();
	err = conf_load(&src, &try_conf, &try_messages);
	free(path);
	return err;
}

/* The command line alone. */
__attribute__((unused)) static int
try_shares(const char *a, const char *b)
{
	const char *const shares[] = { a, b, NULL };
	struct conf_source src = { .file = "/dev/null", .shares = shares };

	try_forget();
	return conf_load(&src, &try_conf, &try_messages);
}

/* The number of that line (without its newline) in the messages, 0 = none. */
__attribute__((unused)) static int
try_said(const char *line)
{
	const char *m = try_messages ? try_messages : "";
	size_t n = strlen(line);

	for (int i = 1; *m; m += strcspn(m, "\n") + 1, i++)
		if (strcspn(m, "\n") == n && !strncmp(m, line, n))
			return i;
	printf("# said: %s\n", try_messages ? try_messages : "nothing");
	return 0;
}

__attribute__((unused)) static int
try_count_messages(void)
{
	int n = 0;

	for (const char *m = try_messages; m && (m = strchr(m, '\n')); m++)
		n++;
	return n;
}

/* A share of the last load; the program ends if there is none. */
__attribute__((unused)) static const struct conf_share *
try_share(const char *tag)
{
	const struct conf_share *share =
		try_conf ? conf_find(try_conf, tag) : NULL;

	if (!share) {
		printf("Bail out! no share %s: %s\n", tag,
		       try_messages ? try_messages : "");
		exit(1);
	}
	return share;
}

/* "[a]\npath = /tmp\n" and one more line, alone in a configuration. */
__attribute__((unused)) static int
try_key(const char *line)
{
	char *text;
	int err;

	if (asprintf(&text, "[a]\npath = /usr\n%s\n", line) < 0)
		abort();
	err = try_text(text);
	free(text);
	return err;
}

/* The text fails and says exactly this, and perhaps more. */
#define fails(text, line)                                               \
	do {                                                            \
		is_int(try_text(text), -EINVAL, "refused: %s", line);   \
		ok(try_said(line), "and it says so");                   \
	} while (0)

#endif
