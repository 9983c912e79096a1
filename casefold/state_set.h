/* SPDX-License-Identifier: MIT */
/*
 * What of state.db is in memory: the set of inode numbers that have a row, and
 * the rows themselves as far as they fit.  Inside casefold/ only.
 */
#ifndef CASEFOLD_STATE_SET_H
#define CASEFOLD_STATE_SET_H

#include <pthread.h>
#include <stdatomic.h>

#include "casefold/fold.h"
#include "casefold/state.h"

/* ------------------------------------------------------------------ */
/*
 * A set of inode numbers other than 0.  One thread at a time changes it; asking
 * needs no lock.  Tables that were outgrown stay until the end, all of them
 * together as big as the last one.
 */
struct cf_inos_table;

struct cf_inos {
	_Atomic size_t n;
	_Atomic unsigned moves;	/* odd while numbers are moved */
	_Atomic(struct cf_inos_table *) table;
};

/* All zero is an empty set. */
void cf_inos_fini(struct cf_inos *set);
/* 1 if it is new, 0 if it was there, -ENOMEM, -EINVAL for 0. */
int cf_inos_add(struct cf_inos *set, uint64_t ino);
void cf_inos_del(struct cf_inos *set, uint64_t ino);
bool cf_inos_find(const struct cf_inos *set, uint64_t ino);
size_t cf_inos_memory(const struct cf_inos *set);

/* "No" is certain. */
static inline bool
cf_inos_has(const struct cf_inos *set, uint64_t ino)
{
	if (!atomic_load_explicit(&set->n, memory_order_acquire))
		return false;
	return cf_inos_find(set, ino);
}

/* ------------------------------------------------------------------ */
/*
 * Rows by their tag, a keyed hash of the key in the database: two keys have
 * the same one once in 2^64.  Sets of eight; what finds its set full goes to
 * one of the next, and where all memory is used up, puts another row out.
 */
enum {
	CF_ROWS_WAYS = 8,
	CF_ROWS_LOCKS = 32,
};

struct cf_row {
	struct cf_state_row row;
	int64_t btime;
};

struct cf_rows_set {
	bool spilled;			/* rows of it are in the next, too */
	uint64_t tag[CF_ROWS_WAYS];	/* 0 = empty */
	struct cf_row row[CF_ROWS_WAYS];
};

struct cf_rows {
	size_t max;		/* sets, at most */
	struct cf_rows_set *set;	/* under all of the locks */
	size_t nsets;		/* a multiple of CF_ROWS_LOCKS */
	_Atomic size_t lost;	/* rows put out, since the beginning */
	struct cf_rows_lock {
		pthread_mutex_t lock;
		uint64_t hits;
		unsigned changes;	/* by cf_rows_put and _del */
		unsigned next;	/* to be put out */
	} __attribute__((aligned(64))) lock[CF_ROWS_LOCKS];
};

void cf_rows_init(struct cf_rows *rows, size_t memory);
void cf_rows_fini(struct cf_rows *rows);

/* True and the row; else *changes is what cf_rows_offer() wants to know. */
bool cf_rows_find(struct cf_rows *rows, uint64_t tag, struct cf_row *row,
		  unsigned *changes);
/* Keep what was read from the database, unless it changed since. */
void cf_rows_offer(struct cf_rows *rows, uint64_t tag,
		   const struct cf_row *row, unsigned changes);
/* What is in the database now; one thread at a time. */
void cf_rows_put(struct cf_rows *rows, uint64_t tag, const struct cf_row *row);
void cf_rows_del(struct cf_rows *rows, uint64_t tag);
/* Make room for n rows, as far as memory goes; one thread at a time. */
void cf_rows_reserve(struct cf_rows *rows, size_t n);
uint64_t cf_rows_hits(struct cf_rows *rows);
size_t cf_rows_memory(struct cf_rows *rows);

#endif
