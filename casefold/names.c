/* SPDX-License-Identifier: MIT */
/*
 * A set of names in memory: slots with linear probing, names in one arena.
 * The hash is keyed (fold.c), so probes stay short whatever names there are.
 */
#include "config.h"

#include "casefold/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOTS_MIN = 16,
	ARENA_MIN = 256,
	LOG_MAX = 4 << 20,
};

/* ------------------------------------------------------------------ */
/* Picking. */

/* Does `name` come before what is picked? */
static bool
is_better(const struct cf_pick *pick, const char *name)
{
	if (!pick->name[0])
		return true;
	if (!strcmp(pick->name, pick->want))
		return false;
	return !strcmp(name, pick->want) || strcmp(name, pick->name) < 0;
}

/* Was it offered, and refused by the host, in an earlier round? */
static bool
is_behind(const struct cf_pick *pick, const char *name)
{
	if (!pick->after[0])
		return true;
	if (!strcmp(name, pick->want))
		return false;
	return !strcmp(pick->after, pick->want) ||
	       strcmp(name, pick->after) > 0;
}

void
cf_pick_offer(struct cf_pick *pick, const char *name, size_t len)
{
	char s[CF_NAME_MAX + 1];

	if (!len || len > CF_NAME_MAX || memchr(name, 0, len) ||
	    memchr(name, '/', len) ||
	    !cf_fold_is(pick->mode, pick->folded, name, len))
		return;
	memcpy(s, name, len);
	s[len] = 0;
	if (!strcmp(s, pick->name))
		return;
	pick->variants++;
	if (!is_behind(pick, s) || !is_better(pick, s)) {
		strcpy(pick->other, s);
		return;
	}
	strcpy(pick->other, pick->name);
	strcpy(pick->name, s);
}

/* ------------------------------------------------------------------ */
/* The set. */

static inline size_t
name_at(const struct cf_names *names, uint32_t at, const char **name)
{
	*name = names->arena + at + 1;
	return (unsigned char)names->arena[at];
}

static bool
slot_is(const struct cf_names *names, const struct cf_slot *slot,
	const char *name, size_t len)
{
	const char *other;

	return name_at(names, slot->at, &other) == len &&
	       !memcmp(other, name, len);
}

void
cf_names_fini(struct cf_names *names)
{
	free(names->slots);
	free(names->arena);
	*names = (struct cf_names){ 0 };
}

size_t
cf_names_memory(const struct cf_names *names)
{
	return names->nslots * sizeof(*names->slots) + names->size;
}

static void
put_slot(struct cf_slot *slots, uint32_t nslots, struct cf_slot slot)
{
	uint32_t i = slot.hash & (nslots - 1);

	while (slots[i].at)
		i = (i + 1) & (nslots - 1);
	slots[i] = slot;
}

static int
grow_slots(struct cf_names *names)
{
	uint32_t nslots = names->nslots ? 2 * names->nslots : SLOTS_MIN;
	struct cf_slot *slots;

	if (!nslots)
		return -ENOMEM;
	slots = calloc(nslots, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < names->nslots; i++) {
		if (names->slots[i].at)
			put_slot(slots, nslots, names->slots[i]);
	}
	free(names->slots);
	names->slots = slots;
	names->nslots = nslots;
	return 0;
}

/* A new arena of `size` bytes with the names that are still there. */
static int
move_arena(struct cf_names *names, size_t size)
{
	char *arena = malloc(size);
	uint32_t used = 1;

	if (!arena)
		return -ENOMEM;
	for (uint32_t i = 0; i < names->nslots; i++) {
		struct cf_slot *slot = &names->slots[i];
		size_t len;

		if (!slot->at)
			continue;
		len = (unsigned char)names->arena[slot->at] + 1u;
		memcpy(arena + used, names->arena + slot->at, len);
		slot->at = used;
		used += (uint32_t)len;
	}
	free(names->arena);
	names->arena = arena;
	names->used = used;
	names->size = (uint32_t)size;
	names->waste = 0;
	return 0;
}

static int
grow_arena(struct cf_names *names)
{
	size_t size = names->size < ARENA_MIN ? ARENA_MIN
					      : names->size + names->size / 2;
	char *arena;

	if (names->waste > names->used / 2)
		return move_arena(names, names->size);
	if (size > UINT32_MAX)
		return -ENOMEM;
	arena = realloc(names->arena, size);
	if (!arena)
		return -ENOMEM;
	names->arena = arena;
	names->size = (uint32_t)size;
	if (!names->used)
		names->used = 1;	/* 0 means an empty slot */
	return 0;
}

static int
make_room(struct cf_names *names, size_t len)
{
	int err = 0;

	if (names->n >= names->nslots - names->nslots / 4)
		err = grow_slots(names);
	while (!err && names->size - names->used < len + 1)
		err = grow_arena(names);
	return err;
}

int
cf_names_add(struct cf_names *names, uint32_t hash, const char *name,
	     size_t len)
{
	int err = make_room(names, len);
	unsigned class = 0;
	uint32_t i;

	if (err)
		return err;
	i = hash & (names->nslots - 1);
	for (; names->slots[i].at; i = (i + 1) & (names->nslots - 1)) {
		if (names->slots[i].hash != hash)
			continue;
		if (slot_is(names, &names->slots[i], name, len))
			return 0;
		if (++class >= CF_CLASS_MAX)
			return -E2BIG;
	}
	names->slots[i] = (struct cf_slot){ hash, names->used };
	names->arena[names->used] = (char)len;
	memcpy(names->arena + names->used + 1, name, len);
	names->used += (uint32_t)len + 1;
	names->n++;
	return 1;
}

/* The slot of a name, or nslots. */
static uint32_t
find_slot(const struct cf_names *names, uint32_t hash, const char *name,
	  size_t len)
{
	uint32_t mask = names->nslots - 1, i;

	if (!names->nslots)
		return 0;
	for (i = hash & mask; names->slots[i].at; i = (i + 1) & mask) {
		if (names->slots[i].hash == hash &&
		    slot_is(names, &names->slots[i], name, len))
			return i;
	}
	return names->nslots;
}

bool
cf_names_has(const struct cf_names *names, uint32_t hash, const char *name,
	     size_t len)
{
	return find_slot(names, hash, name, len) < names->nslots;
}

bool
cf_names_del(struct cf_names *names, uint32_t hash, const char *name,
	     size_t len)
{
	uint32_t mask = names->nslots - 1;
	uint32_t hole = find_slot(names, hash, name, len), i;

	if (hole >= names->nslots)
		return false;
	/* Move back what would not be found any more beyond the hole. */
	for (i = (hole + 1) & mask; names->slots[i].at; i = (i + 1) & mask) {
		uint32_t home = names->slots[i].hash & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		names->slots[hole] = names->slots[i];
		hole = i;
	}
	names->slots[hole] = (struct cf_slot){ 0, 0 };
	names->waste += (uint32_t)len + 1;
	names->n--;
	return true;
}

void
cf_names_pick(const struct cf_names *names, uint32_t hash,
	      struct cf_pick *pick)
{
	uint32_t mask = names->nslots - 1, i;
	const char *name;
	size_t len;

	if (!names->nslots)
		return;
	for (i = hash & mask; names->slots[i].at; i = (i + 1) & mask) {
		if (names->slots[i].hash != hash)
			continue;
		len = name_at(names, names->slots[i].at, &name);
		cf_pick_offer(pick, name, len);
	}
}

bool
cf_names_next(const struct cf_names *names, uint32_t *i, uint32_t *hash,
	      const char **name, size_t *len)
{
	while (*i < names->nslots) {
		const struct cf_slot *slot = &names->slots[(*i)++];

		if (!slot->at)
			continue;
		*hash = slot->hash;
		*len = name_at(names, slot->at, name);
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ */
/* The log. */

void
cf_log_put(struct cf_log *log, enum cf_change change, const char *name,
	   size_t len)
{
	size_t size = log->size ? 2 * log->size : ARENA_MIN + 2;
	char *buf;

	if (log->lost)
		return;
	if (log->size - log->used < len + 2) {
		while (size - log->used < len + 2)
			size *= 2;
		buf = size <= LOG_MAX ? realloc(log->buf, size) : NULL;
		if (!buf) {
			log->lost = true;
			return;
		}
		log->buf = buf;
		log->size = size;
	}
	log->buf[log->used] = (char)change;
	log->buf[log->used + 1] = (char)len;
	memcpy(log->buf + log->used + 2, name, len);
	log->used += len + 2;
	log->n++;
}

bool
cf_log_next(const struct cf_log *log, size_t *at, enum cf_change *change,
	    const char **name, size_t *len)
{
	if (*at >= log->used)
		return false;
	*change = (enum cf_change)log->buf[*at];
	*len = (unsigned char)log->buf[*at + 1];
	*name = log->buf + *at + 2;
	*at += *len + 2;
	return true;
}

void
cf_log_fini(struct cf_log *log)
{
	free(log->buf);
	*log = (struct cf_log){ 0 };
}
