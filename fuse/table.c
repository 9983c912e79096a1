/* SPDX-License-Identifier: MIT */
/*
 * Tables of things that a guest names by id.  An id holds the index of a slot
 * and the slot's generation, which goes up each time the slot is freed, so no
 * id ever names a second thing.  A slot's memory is not given back before the
 * table ends: an id of any value can be checked with one compare-and-swap and
 * no lock.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/fs.h"

enum {
	FIRST = 256,		/* slots of chunk 0 */
	FIRST_SHIFT = 8,
};

#define REFS(word) ((uint32_t)(word))
#define GENERATION(word) ((uint32_t)((word) >> 32))
#define WORD(gen, refs) ((uint64_t)(gen) << 32 | (refs))

int
fs_table_init(struct fs_table *t, size_t size)
{
	memset(t, 0, sizeof(*t));
	t->size = size;
	t->end = 1;		/* index 0 is never given out */
	return -pthread_mutex_init(&t->lock, NULL);
}

void
fs_table_fini(struct fs_table *t)
{
	for (int k = 0; k < FS_TABLE_CHUNKS; k++)
		free(atomic_load(&t->chunk[k]));
	pthread_mutex_destroy(&t->lock);
}

/* Chunk and place in it. */
static int
locate(uint32_t index, size_t *place)
{
	uint64_t i = (uint64_t)index + FIRST;
	int msb = 63 - __builtin_clzll(i);

	*place = i - (1ULL << msb);
	return msb - FIRST_SHIFT;
}

struct fs_slot *
fs_table_at(struct fs_table *t, uint32_t index)
{
	size_t place;
	int k = locate(index, &place);
	char *chunk;

	if (k >= FS_TABLE_CHUNKS)
		return NULL;
	chunk = atomic_load_explicit(&t->chunk[k], memory_order_acquire);
	return chunk ? (struct fs_slot *)(chunk + place * t->size) : NULL;
}

uint32_t
fs_table_end(struct fs_table *t)
{
	uint32_t end;

	pthread_mutex_lock(&t->lock);
	end = t->end;
	pthread_mutex_unlock(&t->lock);
	return end;
}

/* The next slot that was never used.  Under the lock. */
static struct fs_slot *
grow(struct fs_table *t)
{
	size_t place;
	int k = locate(t->end, &place);
	struct fs_slot *slot;

	if (k >= FS_TABLE_CHUNKS)
		return NULL;
	if (!atomic_load_explicit(&t->chunk[k], memory_order_relaxed)) {
		char *chunk = calloc((size_t)FIRST << k, t->size);

		if (!chunk)
			return NULL;
		atomic_store_explicit(&t->chunk[k], chunk,
				      memory_order_release);
	}
	slot = fs_table_at(t, t->end);
	slot->index = t->end++;
	atomic_store_explicit(&slot->word, WORD(t->base, 0),
			      memory_order_relaxed);
	return slot;
}

void *
fs_table_new(struct fs_table *t)
{
	struct fs_slot *slot;

	pthread_mutex_lock(&t->lock);
	slot = t->free ? fs_table_at(t, t->free) : grow(t);
	if (slot && slot->index == t->free)
		t->free = slot->next;
	pthread_mutex_unlock(&t->lock);
	if (slot)
		memset(slot + 1, 0, t->size - sizeof(*slot));
	return slot;
}

void
fs_slot_publish(struct fs_slot *slot, uint32_t refs)
{
	atomic_fetch_add_explicit(&slot->word, refs, memory_order_release);
}

bool
fs_slot_ref(struct fs_slot *slot)
{
	uint64_t w = atomic_load_explicit(&slot->word, memory_order_relaxed);

	do {
		if (!REFS(w))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&slot->word, &w, w + 1, memory_order_acquire,
		memory_order_relaxed));
	return true;
}

void *
fs_table_get(struct fs_table *t, uint64_t id)
{
	struct fs_slot *slot = fs_table_at(t, (uint32_t)id);
	uint64_t w;

	if (!slot)
		return NULL;
	w = atomic_load_explicit(&slot->word, memory_order_relaxed);
	do {
		if (!REFS(w) || GENERATION(w) != GENERATION(id))
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(
		&slot->word, &w, w + 1, memory_order_acquire,
		memory_order_relaxed));
	return slot;
}

bool
fs_slot_put(struct fs_slot *slot)
{
	uint64_t w = atomic_fetch_sub_explicit(&slot->word, 1,
					       memory_order_acq_rel);

	return REFS(w) == 1;
}

uint64_t
fs_slot_id(const struct fs_slot *slot)
{
	uint64_t w = atomic_load_explicit(
		(_Atomic uint64_t *)(uintptr_t)&slot->word,
		memory_order_relaxed);

	return WORD(GENERATION(w), slot->index);
}

void
fs_table_free(struct fs_table *t, struct fs_slot *slot)
{
	uint64_t w = atomic_load_explicit(&slot->word, memory_order_relaxed);
	uint32_t gen = GENERATION(w) + 1;

	atomic_store_explicit(&slot->word, WORD(gen, 0), memory_order_release);
	if (gen == UINT32_MAX)
		return;		/* worn out: never used again */
	pthread_mutex_lock(&t->lock);
	slot->next = t->free;
	t->free = slot->index;
	pthread_mutex_unlock(&t->lock);
}
