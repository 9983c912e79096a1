/* SPDX-License-Identifier: MIT */
/*
 * A ring of lines: see lines.h.  Offsets only grow; a byte stands at its
 * offset modulo the size.  Every line ends with a newline.
 */
#include "gatewayd/lines.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 2048
#define TRIES 200		/* the lock is held for less than this */
#define READ_AT_ONCE 4096	/* a reader lets go of it after so much */

struct lines {
	pthread_mutex_t lock;
	uint64_t tail, tail_line;	/* the oldest that is there */
	uint64_t head;			/* one past the newest */
	atomic_ullong dropped;		/* the lock was not free */
	size_t size;
	char buf[];
};

int
lines_new(size_t size, struct lines **lines)
{
	struct lines *l = calloc(1, sizeof(*l) + size);

	if (!l)
		return -ENOMEM;
	l->size = size;
	pthread_mutex_init(&l->lock, NULL);
	*lines = l;
	return 0;
}

void
lines_free(struct lines *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Bytes from `off` that stand together in memory. */
static size_t
straight(const struct lines *l, uint64_t off, size_t len)
{
	size_t left = l->size - off % l->size;

	return len < left ? len : left;
}

/* The length of the line at `off`, with its newline. */
static size_t
line_length(const struct lines *l, uint64_t off)
{
	size_t n = 0, part;
	const char *p, *end;

	do {
		part = straight(l, off + n, (size_t)(l->head - off) - n);
		p = l->buf + (off + n) % l->size;
		end = memchr(p, '\n', part);
		n += end ? (size_t)(end - p) + 1 : part;
	} while (!end && off + n < l->head);
	return n;
}

static void
put(struct lines *l, const char *text, size_t len)
{
	size_t part;

	for (; len; len -= part, text += part, l->head += part) {
		part = straight(l, l->head, len);
		memcpy(l->buf + l->head % l->size, text, part);
	}
}

/* How many lines the one at `off` stands for: "lost N" for N. */
static uint64_t
line_count(const struct lines *l, uint64_t off)
{
	static const char lost[] = "lost ";
	uint64_t n = 0;
	char ch;

	for (unsigned i = 0; i < sizeof(lost) - 1; i++, off++)
		if (off >= l->head || l->buf[off % l->size] != lost[i])
			return 1;
	for (; (ch = l->buf[off % l->size]) >= '0' && ch <= '9'; off++)
		n = n * 10 + (uint64_t)(ch - '0');
	return ch == '\n' ? n : 1;
}

/* Under the lock. */
static void
append(struct lines *l, const char *text, size_t len)
{
	while (l->head + len + 1 - l->tail > l->size) {
		l->tail_line += line_count(l, l->tail);
		l->tail += line_length(l, l->tail);
	}
	put(l, text, len);
	put(l, "\n", 1);
}

void
lines_add(struct lines *l, const char *text, size_t len)
{
	unsigned long long dropped;
	char lost[40];
	int tries = TRIES;

	while (pthread_mutex_trylock(&l->lock)) {
		if (--tries == 0) {
			atomic_fetch_add(&l->dropped, 1);
			return;
		}
		__builtin_ia32_pause();
	}
	dropped = atomic_exchange(&l->dropped, 0);
	if (dropped) {
		snprintf(lost, sizeof(lost), "lost %llu", dropped);
		append(l, lost, strlen(lost));
	}
	append(l, text, len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);
	pthread_mutex_unlock(&l->lock);
}

/* Under the lock: what the reader has missed. */
static void
catch_up(struct lines *l, struct lines_at *at, struct evbuffer *out)
{
	if (at->off >= l->tail)
		return;
	if (at->off)
		evbuffer_add_printf(out, "lost %llu\n", (unsigned long long)
				    (l->tail_line - at->line));
	at->off = l->tail;
	at->line = l->tail_line;
}

/* One line.  Under the lock. */
static void
copy_line(struct lines *l, struct lines_at *at, struct evbuffer *out)
{
	size_t n, part;

	at->line += line_count(l, at->off);
	for (n = line_length(l, at->off); n; n -= part) {
		part = straight(l, at->off, n);
		evbuffer_add(out, l->buf + at->off % l->size, part);
		at->off += part;
	}
}

void
lines_read(struct lines *l, struct lines_at *at, size_t room,
	   struct evbuffer *out)
{
	size_t begin = evbuffer_get_length(out), had;
	bool more = true;

	while (more && evbuffer_get_length(out) - begin < room) {
		had = evbuffer_get_length(out);
		pthread_mutex_lock(&l->lock);
		catch_up(l, at, out);
		while (at->off < l->head &&
		       evbuffer_get_length(out) - had < READ_AT_ONCE)
			copy_line(l, at, out);
		more = at->off < l->head;
		pthread_mutex_unlock(&l->lock);
	}
}
