/* SPDX-License-Identifier: MIT */
/*
 * A set of names in memory, found by the hash of their folded form.  About 36
 * bytes a name.  No locks of its own.  Inside casefold/ only.
 */
#ifndef CASEFOLD_NAMES_H
#define CASEFOLD_NAMES_H

#include "casefold/fold.h"

enum {
	/*
	 * More names of one class than this are not kept: somebody who can make
	 * them without us could make each step through the table long.
	 */
	CF_CLASS_MAX = 64,
};

/*
 * The best of the names offered for a wanted one: the wanted name itself, then
 * the bytewise smallest of its class.
 */
struct cf_pick {
	enum cf_mode mode;
	const struct cf_folded *folded;	/* of the wanted name */
	const char *want;
	const char *after;	/* the one returned before; "" = none */
	unsigned variants;	/* different names of the class, at least */
	char name[CF_NAME_MAX + 1];	/* "" = nothing fits */
	char other[CF_NAME_MAX + 1];	/* some other name of the class, or "" */
};

/* A name as it may stand in a directory or a damaged file: any bytes. */
void cf_pick_offer(struct cf_pick *pick, const char *name, size_t len);

struct cf_slot {
	uint32_t hash;
	uint32_t at;		/* in the arena; 0 = empty slot */
};

struct cf_names {
	struct cf_slot *slots;
	uint32_t nslots;	/* a power of two, or 0 */
	uint32_t n;
	char *arena;		/* a byte of length, then the name, for each */
	uint32_t used, size;
	uint32_t waste;		/* bytes of removed names */
};

/* All zero is an empty set. */
void cf_names_fini(struct cf_names *names);

/* 1 if it is new, 0 if it was there, -ENOMEM, or -E2BIG for a full class. */
int cf_names_add(struct cf_names *names, uint32_t hash, const char *name,
		 size_t len);
bool cf_names_del(struct cf_names *names, uint32_t hash, const char *name,
		  size_t len);
bool cf_names_has(const struct cf_names *names, uint32_t hash,
		  const char *name, size_t len);
/* Offer every name of that hash. */
void cf_names_pick(const struct cf_names *names, uint32_t hash,
		   struct cf_pick *pick);
/* Each name, in no order; *i starts at 0; false at the end. */
bool cf_names_next(const struct cf_names *names, uint32_t *i, uint32_t *hash,
		   const char **name, size_t *len);
/* Bytes of memory. */
size_t cf_names_memory(const struct cf_names *names);

/* Changes in the order in which they happened. */
enum cf_change {
	CF_GONE,	/* removed */
	CF_ADDED,
	CF_DOUBTFUL,	/* perhaps gone */
};

struct cf_log {
	char *buf;		/* a byte of cf_change, then as in an arena */
	size_t used, size;
	unsigned n;
	bool lost;		/* too many, or no memory: not all are here */
};

void cf_log_put(struct cf_log *log, enum cf_change change, const char *name,
		size_t len);
bool cf_log_next(const struct cf_log *log, size_t *at, enum cf_change *change,
		 const char **name, size_t *len);
void cf_log_fini(struct cf_log *log);

#endif
