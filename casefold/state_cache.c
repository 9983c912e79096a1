/* SPDX-License-Identifier: MIT */
/*
 * Rows of state.db in memory.  Who reads the database on a miss offers what it
 * found; a change that was made meanwhile is noticed by a count, so that an old
 * row never comes in after a new one.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "casefold/state_set.h"

enum {
	FIRST_SETS = CF_ROWS_LOCKS,
	FILL = CF_ROWS_WAYS * 3 / 4,	/* rows in a set, on average */
	SPILL = 16,			/* sets that are tried */
};

void
cf_rows_init(struct cf_rows *rows, size_t memory)
{
	memset(rows, 0, sizeof(*rows));
	rows->max = memory / sizeof(struct cf_rows_set) / CF_ROWS_LOCKS *
		    CF_ROWS_LOCKS;
	for (int i = 0; i < CF_ROWS_LOCKS; i++)
		pthread_mutex_init(&rows->lock[i].lock, NULL);
}

void
cf_rows_fini(struct cf_rows *rows)
{
	for (int i = 0; i < CF_ROWS_LOCKS; i++)
		pthread_mutex_destroy(&rows->lock[i].lock);
	free(rows->set);
}

/* A lock for each 64th of the sets, by the upper bits of the tag. */
static struct cf_rows_lock *
lock_of(struct cf_rows *rows, uint64_t tag)
{
	return &rows->lock[tag / (UINT64_MAX / CF_ROWS_LOCKS + 1)];
}

static size_t
home_of(const struct cf_rows *rows, uint64_t tag)
{
	return (size_t)(((unsigned __int128)tag * rows->nsets) >> 64);
}

/* Sets that are tried for a row: not the same one twice. */
static int
tries(const struct cf_rows *rows)
{
	size_t part = rows->nsets / CF_ROWS_LOCKS;

	return part < SPILL ? (int)part : SPILL;
}

/* The set after `i` under the same lock. */
static size_t
next_set(const struct cf_rows *rows, size_t i)
{
	size_t part = rows->nsets / CF_ROWS_LOCKS;

	return i / part * part + (i + 1) % part;
}

static int
way_of(const struct cf_rows_set *set, uint64_t tag)
{
	for (int i = 0; i < CF_ROWS_WAYS; i++) {
		if (set->tag[i] == tag)
			return i;
	}
	return -1;
}

/* The row's place, or NULL; under its lock. */
static struct cf_rows_set *
find_row(const struct cf_rows *rows, uint64_t tag, int *way)
{
	size_t i = home_of(rows, tag);

	for (int n = tries(rows); n; n--) {
		*way = way_of(&rows->set[i], tag);
		if (*way >= 0)
			return &rows->set[i];
		if (!rows->set[i].spilled)
			break;
		i = next_set(rows, i);
	}
	return NULL;
}

static struct cf_rows_set *
find_room(struct cf_rows *rows, struct cf_rows_lock *l, uint64_t tag, int *way)
{
	size_t home = home_of(rows, tag), i = home;

	for (int n = tries(rows); n; n--) {
		*way = way_of(&rows->set[i], 0);
		if (*way >= 0)
			return &rows->set[i];
		rows->set[i].spilled = true;
		i = next_set(rows, i);
	}
	*way = (int)(l->next++ % CF_ROWS_WAYS);
	rows->lost++;
	return &rows->set[home];
}

static void
put_row(struct cf_rows *rows, struct cf_rows_lock *l, uint64_t tag,
	const struct cf_row *row)
{
	struct cf_rows_set *set;
	int way;

	if (!rows->nsets) {
		rows->lost++;
		return;
	}
	set = find_row(rows, tag, &way);
	if (!set)
		set = find_room(rows, l, tag, &way);
	set->tag[way] = tag;
	set->row[way] = *row;
}

bool
cf_rows_find(struct cf_rows *rows, uint64_t tag, struct cf_row *row,
	     unsigned *changes)
{
	struct cf_rows_lock *l = lock_of(rows, tag);
	struct cf_rows_set *set;
	int way;

	pthread_mutex_lock(&l->lock);
	set = find_row(rows, tag, &way);
	if (set) {
		*row = set->row[way];
		l->hits++;
	}
	*changes = l->changes;
	pthread_mutex_unlock(&l->lock);
	return set;
}

void
cf_rows_offer(struct cf_rows *rows, uint64_t tag, const struct cf_row *row,
	      unsigned changes)
{
	struct cf_rows_lock *l = lock_of(rows, tag);

	pthread_mutex_lock(&l->lock);
	if (l->changes == changes)
		put_row(rows, l, tag, row);
	pthread_mutex_unlock(&l->lock);
}

void
cf_rows_put(struct cf_rows *rows, uint64_t tag, const struct cf_row *row)
{
	struct cf_rows_lock *l = lock_of(rows, tag);

	pthread_mutex_lock(&l->lock);
	l->changes++;
	put_row(rows, l, tag, row);
	pthread_mutex_unlock(&l->lock);
}

void
cf_rows_del(struct cf_rows *rows, uint64_t tag)
{
	struct cf_rows_lock *l = lock_of(rows, tag);
	struct cf_rows_set *set;
	int way;

	pthread_mutex_lock(&l->lock);
	l->changes++;
	set = find_row(rows, tag, &way);
	if (set)
		set->tag[way] = 0;
	pthread_mutex_unlock(&l->lock);
}

/* All locks are held: nobody else looks. */
static void
move_rows(struct cf_rows *rows, struct cf_rows_set *set, size_t nsets)
{
	struct cf_rows_set *from = rows->set, *old = rows->set;
	size_t n = rows->nsets;

	rows->set = set;
	rows->nsets = nsets;
	for (; n--; from++) {
		for (int i = 0; i < CF_ROWS_WAYS; i++) {
			if (from->tag[i])
				put_row(rows, lock_of(rows, from->tag[i]),
					from->tag[i], &from->row[i]);
		}
	}
	free(old);
}

void
cf_rows_reserve(struct cf_rows *rows, size_t n)
{
	size_t want = n / FILL + FIRST_SETS, nsets;
	struct cf_rows_set *set;

	if (want > rows->max)
		want = rows->max;
	if (want <= rows->nsets)
		return;
	nsets = want < 2 * rows->nsets ? 2 * rows->nsets : want;
	nsets = (nsets + CF_ROWS_LOCKS - 1) / CF_ROWS_LOCKS * CF_ROWS_LOCKS;
	if (nsets > rows->max)
		nsets = rows->max;
	set = calloc(nsets, sizeof(*set));
	if (!set)
		return;
	for (int i = 0; i < CF_ROWS_LOCKS; i++)
		pthread_mutex_lock(&rows->lock[i].lock);
	move_rows(rows, set, nsets);
	for (int i = 0; i < CF_ROWS_LOCKS; i++)
		pthread_mutex_unlock(&rows->lock[i].lock);
}

uint64_t
cf_rows_hits(struct cf_rows *rows)
{
	uint64_t n = 0;

	for (int i = 0; i < CF_ROWS_LOCKS; i++) {
		pthread_mutex_lock(&rows->lock[i].lock);
		n += rows->lock[i].hits;
		pthread_mutex_unlock(&rows->lock[i].lock);
	}
	return n;
}

size_t
cf_rows_memory(struct cf_rows *rows)
{
	size_t n;

	pthread_mutex_lock(&rows->lock[0].lock);
	n = rows->nsets * sizeof(struct cf_rows_set);
	pthread_mutex_unlock(&rows->lock[0].lock);
	return n;
}
