/* SPDX-License-Identifier: MIT */
/*
 * The last lines of something, in a ring of bounded size, for whoever reads
 * them later.  Adding never waits for a reader and hardly for another writer:
 * what cannot be added at once is lost and counted.
 */
#ifndef GATEWAYD_LINES_H
#define GATEWAYD_LINES_H

#include <stddef.h>
#include <stdint.h>

#include <event2/buffer.h>

struct lines;

/* Where a reader is; all zero: at the oldest line. */
struct lines_at {
	uint64_t off, line;
};

int lines_new(size_t size, struct lines **lines);
void lines_free(struct lines *lines);

/* Any thread.  A line without its newline, cut if it is very long. */
void lines_add(struct lines *lines, const char *text, size_t len);

/*
 * Add the lines from `at` on to `out`, as far as `room` bytes go, and "lost N"
 * for those that are gone.  Moves `at`.
 */
void lines_read(struct lines *lines, struct lines_at *at, size_t room,
		struct evbuffer *out);

#endif
