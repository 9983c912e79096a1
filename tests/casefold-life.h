/* SPDX-License-Identifier: MIT */
/*
 * The lives of names, for tests that ask and change at the same time: each
 * change is written down with the times before and after it, so that one can
 * say afterwards what may have been true at some moment.  One thread alone
 * makes and removes a name; its changes do not overlap.
 */
#ifndef TESTS_CASEFOLD_LIFE_H
#define TESTS_CASEFOLD_LIFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct change {
	int64_t before, after;
	uint64_t ino;		/* of the file from then on; 0 = none */
};

/* The life of one name, written by its own thread. */
struct life {
	struct change *v;
	size_t n, size;
};

static inline int64_t
life_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* It happened since `before`. */
static inline void
life_put(struct life *l, int64_t before, uint64_t ino)
{
	if (l->n == l->size) {
		l->size = l->size ? 2 * l->size : 1024;
		l->v = realloc(l->v, l->size * sizeof(*l->v));
		if (!l->v)
			abort();
	}
	l->v[l->n++] = (struct change){ before, life_now(), ino };
}

static inline bool
life_is_there(const struct life *l)
{
	return l->n && l->v[l->n - 1].ino;
}

/* The last change that began before `t`; -1 if there is none. */
static inline long
life_last_begun(const struct life *l, int64_t t)
{
	size_t low = 0, high = l->n, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (l->v[mid].before < t)
			low = mid + 1;
		else
			high = mid;
	}
	return (long)low - 1;
}

/* Could the name have been there (or not) at some moment from a to b; and,
 * unless it is 0, as that inode? */
static inline bool
life_could_be(const struct life *l, bool there, uint64_t ino, int64_t a,
	      int64_t b)
{
	long i = life_last_begun(l, b);

	for (; i >= 0; i--) {
		if (!l->v[i].ino == !there && (!ino || l->v[i].ino == ino))
			return true;	/* happened in, or lasted into, it */
		if (l->v[i].after < a)
			return false;	/* something else held all the time */
	}
	return !there;			/* nothing was there at first */
}

/* Was it there for certain through all of a to b? */
static inline bool
life_was_throughout(const struct life *l, int64_t a, int64_t b)
{
	return !life_could_be(l, false, 0, a, b);
}

/* The last changes before `t`, for who must explain a wrong answer. */
static inline void
life_print(const struct life *l, const char *name, int64_t t)
{
	long i = life_last_begun(l, t);

	for (int k = 0; i >= 0 && k < 3; i--, k++)
		printf("#   \"%s\" %s %lld to %lld inode %llu\n", name,
		       l->v[i].ino ? "came" : "went",
		       (long long)l->v[i].before, (long long)l->v[i].after,
		       (unsigned long long)l->v[i].ino);
}

#endif
