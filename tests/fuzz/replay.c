/* SPDX-License-Identifier: MIT */
/*
 * Feeds seeds to a fuzz target without a fuzzer: each file of the directories
 * (or each file) named on the command line, one TAP line per file.
 *
 * Linked with fuzz-NAME.c it becomes the program replay-NAME, which with no
 * arguments replays the directory seeds/NAME beside this file.  So a target
 * needs no script of its own, only these lines in its folder's local.mk:
 *
 *	check_PROGRAMS += tests/fuzz/replay-NAME
 *	TESTS += tests/fuzz/replay-NAME
 *	tests_fuzz_replay_NAME_SOURCES = tests/fuzz/replay.c \
 *		tests/fuzz/fuzz-NAME.c
 *
 * A target that crashes takes the program down; the last "# FILE" line names
 * the culprit, and the missing plan makes the test fail.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

enum {
	SECONDS_MAX = 60, /* per file: a target that hangs is a bug */
	INPUT_MAX = 16 << 20,
};

static uint8_t *
read_file(const char *name, size_t *size)
{
	FILE *f = fopen(name, "re");
	uint8_t *data = f ? malloc(INPUT_MAX) : NULL;

	if (data)
		*size = fread(data, 1, INPUT_MAX, f);
	if (data && ferror(f)) {
		free(data);
		data = NULL;
	}
	if (f)
		fclose(f);
	return data;
}

/* The target gets a block of exactly the right size, so that ASan sees reads
 * beyond the end. */
static void
replay_file(const char *name)
{
	size_t size = 0;
	uint8_t *data = read_file(name, &size), *exact;

	if (!data) {
		ok(0, "%s: %s", name, strerror(errno));
		return;
	}
	exact = malloc(size ? size : 1);
	if (exact) {
		memcpy(exact, data, size);
		printf("# %s\n", name);
		fflush(stdout);
		alarm(SECONDS_MAX);
		LLVMFuzzerTestOneInput(exact, size);
		alarm(0);
	}
	ok(exact != NULL, "%s", name);
	free(exact);
	free(data);
}

static int
is_visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void
replay_dir(const char *dir)
{
	struct dirent **list;
	int n = scandir(dir, &list, is_visible, alphasort);
	char *name;

	if (n < 0) {
		ok(0, "%s: %s", dir, strerror(errno));
		return;
	}
	for (int i = 0; i < n; i++) {
		if (asprintf(&name, "%s/%s", dir, list[i]->d_name) < 0)
			abort();
		replay_file(name);
		free(name);
		free(list[i]);
	}
	free(list);
}

static void
replay(const char *name)
{
	struct stat st;

	if (!stat(name, &st) && S_ISDIR(st.st_mode))
		replay_dir(name);
	else
		replay_file(name);
}

/* seeds/NAME, where our own name is replay-NAME. */
static void
replay_own(const char *self)
{
	const char *base = strrchr(self, '/'), *top = getenv("top_srcdir");
	char *dir;

	base = base ? base + 1 : self;
	if (strncmp(base, "replay-", 7)) {
		ok(0, "the name \"%s\" does not say which seeds to use", base);
		return;
	}
	if (asprintf(&dir, "%s/tests/fuzz/seeds/%s", top ? top : ".",
		     base + 7) < 0)
		abort();
	replay_dir(dir);
	free(dir);
}

int
main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	if (argc < 2)
		replay_own(argv[0]);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (!tap_count)
		ok(0, "there is no seed to replay");
	return tap_done();
}
