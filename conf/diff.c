/* SPDX-License-Identifier: MIT */
/* What has changed from one configuration to the next, key by key. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/keys.h"

/* The values of a key as text; equal texts are equal values. */
static char *
values(const struct conf_key *key, const void *base)
{
	size_t n = conf_value_count(key, base), size;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		conf_value_print(key, base, i, f);
		fputc('\n', f);
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static int
diff(unsigned scope, const void *a, const void *b, conf_diff_fn *fn, void *ctx)
{
	int n = 0;

	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *key = &conf_keys[i];
		char *was, *is;

		if (!(key->scope & scope) || key->type == CONF_FILES)
			continue;
		was = values(key, a);
		is = values(key, b);
		if (!was || !is) {
			free(was);
			free(is);
			return -ENOMEM;
		}
		if (strcmp(was, is)) {
			fn(ctx, key->name, key->reload);
			n++;
		}
		free(was);
		free(is);
	}
	return n;
}

int
conf_share_diff(const struct conf_share *a, const struct conf_share *b,
		conf_diff_fn *fn, void *ctx)
{
	return diff(CONF_IN_SHARE, a, b, fn, ctx);
}

int
conf_gateway_diff(const struct conf_gateway *a, const struct conf_gateway *b,
		  conf_diff_fn *fn, void *ctx)
{
	return diff(CONF_IN_GATEWAY, a, b, fn, ctx);
}
