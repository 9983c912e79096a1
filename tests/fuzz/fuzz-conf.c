/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the text of a configuration file.  What loads must print as
 * lines that load again and print the same; what does not load must say why.
 */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The lines that are not comments, allocated. */
static char *
print(const struct conf *conf, size_t *size)
{
	char *text = NULL, *from, *to;
	FILE *out = open_memstream(&text, size);

	if (!out)
		abort();
	conf_print(conf, out);
	if (fclose(out))
		abort();
	for (from = to = text; *from;) {
		size_t n = strcspn(from, "\n") + 1;

		if (*from != '#') {
			memmove(to, from, n);
			to += n;
		}
		from += n;
	}
	*to = 0;
	*size = (size_t)(to - text);
	return text;
}

/* One "FILE:LINE: ..." after the other. */
static void
check_messages(const char *messages)
{
	for (; *messages; messages += strcspn(messages, "\n") + 1) {
		if (strncmp(messages, "fuzz:", 5) &&
		    strncmp(messages, "error: ", 7))
			abort();
		if (!strchr(messages, '\n'))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf = NULL, *again = NULL;
	char *messages, *text, *text_again;

	if (conf_load_text("fuzz", (const char *)data, size, &conf,
			   &messages)) {
		if (!messages)
			abort();
		check_messages(messages);
		free(messages);
		return 0;
	}
	free(messages);
	text = print(conf, &size);
	if (conf_load_text("again", text, size, &again, &messages)) {
		fprintf(stderr, "%s\n%s", text, messages);
		abort();
	}
	free(messages);
	text_again = print(again, &size);
	if (strcmp(text, text_again)) {
		fprintf(stderr, "%s\nreads back as\n%s", text, text_again);
		abort();
	}
	free(text_again);
	free(text);
	conf_free(again);
	conf_free(conf);
	return 0;
}
