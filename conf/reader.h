/* SPDX-License-Identifier: MIT */
/* Private to conf/: the lines of one file, read with inih. */
#ifndef CONF_READER_H
#define CONF_READER_H

#include <stddef.h>

/* What the reader finds; `line` counts from 1. */
struct conf_reader_ops {
	/* A [name]; NULL for a header that cannot be made out. */
	void (*section)(void *ctx, int line, const char *name);
	void (*setting)(void *ctx, int line, const char *key,
			const char *value);
	/* `key` is NULL where the line as a whole is at fault. */
	void (*mistake)(void *ctx, int line, const char *key, const char *what);
};

/* Returns 0, or -ENOMEM. */
int conf_read_lines(const char *text, size_t size,
		    const struct conf_reader_ops *ops, void *ctx);

#endif
