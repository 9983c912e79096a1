/* SPDX-License-Identifier: MIT */
/*
 * The set of inode numbers that have a row: open addressing, linear probing.
 * Who asks takes no lock, so that files without a row cost next to nothing.  A
 * number that is found was there; one that is not found is believed only if no
 * number was moved meanwhile.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "casefold/state_set.h"

struct cf_inos_table {
	struct cf_inos_table *old;
	size_t mask;		/* a power of two, less 1 */
	unsigned shift;
	_Atomic uint64_t ino[];	/* 0 = empty */
};

enum { FIRST_BITS = 6 };

static size_t
slot_of(const struct cf_inos_table *t, uint64_t ino)
{
	return (size_t)((ino * 0x9e3779b97f4a7c15u) >> t->shift);
}

static uint64_t
look(const struct cf_inos_table *t, size_t i)
{
	return atomic_load_explicit(&t->ino[i], memory_order_acquire);
}

static void
set_slot(struct cf_inos_table *t, size_t i, uint64_t ino)
{
	atomic_store_explicit(&t->ino[i], ino, memory_order_release);
}

static struct cf_inos_table *
table_of(const struct cf_inos *set)
{
	return atomic_load_explicit(&set->table, memory_order_acquire);
}

/* The number's slot, or the empty one where it would be. */
static size_t
find_slot(const struct cf_inos_table *t, uint64_t ino, uint64_t *found)
{
	size_t i = slot_of(t, ino);

	/* There is always an empty slot; while numbers are moved one may be
	 * missed, so no further than once around. */
	for (size_t n = 0; n <= t->mask; n++) {
		*found = look(t, i);
		if (!*found || *found == ino)
			return i;
		i = (i + 1) & t->mask;
	}
	*found = 0;
	return i;
}

bool
cf_inos_find(const struct cf_inos *set, uint64_t ino)
{
	const struct cf_inos_table *t;
	unsigned before, after;
	uint64_t found;

	do {
		before = atomic_load_explicit(&set->moves,
					      memory_order_acquire);
		t = table_of(set);
		if (!t || !ino)
			return false;
		find_slot(t, ino, &found);
		if (found)
			return true;
		after = atomic_load_explicit(&set->moves,
					     memory_order_acquire);
	} while (before != after || (before & 1));
	return false;
}

static struct cf_inos_table *
new_table(unsigned bits)
{
	size_t n = (size_t)1 << bits;
	struct cf_inos_table *t = calloc(1, sizeof(*t) + n * sizeof(t->ino[0]));

	if (t) {
		t->mask = n - 1;
		t->shift = 64 - bits;
	}
	return t;
}

static int
grow(struct cf_inos *set)
{
	struct cf_inos_table *old = table_of(set);
	struct cf_inos_table *t = new_table(old ? 65 - old->shift : FIRST_BITS);
	uint64_t ino, found;

	if (!t)
		return -ENOMEM;
	for (size_t i = 0; old && i <= old->mask; i++) {
		ino = look(old, i);
		if (ino)
			set_slot(t, find_slot(t, ino, &found), ino);
	}
	t->old = old;
	atomic_store_explicit(&set->table, t, memory_order_release);
	return 0;
}

int
cf_inos_add(struct cf_inos *set, uint64_t ino)
{
	struct cf_inos_table *t = table_of(set);
	size_t n = atomic_load(&set->n), i;
	uint64_t found;

	if (!ino)
		return -EINVAL;
	if (t) {
		find_slot(t, ino, &found);
		if (found)
			return 0;
	}
	if (!t || n + 1 > (t->mask + 1) / 3 * 2) {
		if (grow(set))
			return -ENOMEM;
		t = table_of(set);
	}
	i = find_slot(t, ino, &found);
	set_slot(t, i, ino);
	atomic_store_explicit(&set->n, n + 1, memory_order_release);
	return 1;
}

/* Move later numbers into the hole at `i`, so that each is found from its own
 * slot on without a gap. */
static void
close_hole(struct cf_inos_table *t, size_t i)
{
	size_t j = i, home;
	uint64_t ino;

	for (;;) {
		j = (j + 1) & t->mask;
		ino = look(t, j);
		if (!ino)
			break;
		home = slot_of(t, ino);
		if (((j - home) & t->mask) < ((j - i) & t->mask))
			continue;	/* it stands between home and hole */
		set_slot(t, i, ino);
		i = j;
	}
	set_slot(t, i, 0);
}

void
cf_inos_del(struct cf_inos *set, uint64_t ino)
{
	struct cf_inos_table *t = table_of(set);
	uint64_t found = 0;
	size_t i;

	if (!t || !ino)
		return;
	i = find_slot(t, ino, &found);
	if (!found)
		return;
	atomic_fetch_add(&set->moves, 1);
	close_hole(t, i);
	atomic_fetch_add(&set->moves, 1);
	atomic_fetch_sub(&set->n, 1);
}

size_t
cf_inos_memory(const struct cf_inos *set)
{
	size_t n = 0;

	for (struct cf_inos_table *t = table_of(set); t; t = t->old)
		n += sizeof(*t) + (t->mask + 1) * sizeof(t->ino[0]);
	return n;
}

void
cf_inos_fini(struct cf_inos *set)
{
	struct cf_inos_table *t = atomic_load(&set->table), *old;

	for (; t; t = old) {
		old = t->old;
		free(t);
	}
	atomic_store(&set->table, NULL);
	atomic_store(&set->n, 0);
}
