/* SPDX-License-Identifier: MIT */
/*
 * Folding of names: two names are the same, ignoring case, if and only if they
 * fold to the same bytes.  Pure functions.  Inside casefold/ only.
 */
#ifndef CASEFOLD_FOLD_H
#define CASEFOLD_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "casefold/casefold.h"

enum {
	/* A character of two bytes can grow to three, none grows more. */
	CF_FOLD_MAX = 2 * CF_NAME_MAX,
};

/* Which fold wrote a cache file: changes when any name folds differently. */
const char *cf_fold_id(enum cf_mode mode);

struct cf_folded {
	size_t len;
	bool cased;		/* some other name is the same, ignoring case */
	char bytes[CF_FOLD_MAX];
};

/*
 * Fold a name of at most CF_NAME_MAX bytes.  A name that is not UTF-8 (nor
 * overlong, nor a surrogate) is the same as itself only, in mode CF_NT.
 */
void cf_fold(enum cf_mode mode, const char *name, size_t len,
	     struct cf_folded *folded);

/* Does `name`, of at most CF_NAME_MAX bytes, fold to `folded`? */
bool cf_fold_is(enum cf_mode mode, const struct cf_folded *folded,
		const char *name, size_t len);

/* A secret, so that nobody can choose names whose hashes collide. */
struct cf_key {
	uint64_t k0, k1;
};

/* SipHash-1-3. */
uint64_t cf_hash(const struct cf_key *key, const void *data, size_t len);

static inline uint64_t
cf_fold_hash(const struct cf_key *key, const struct cf_folded *folded)
{
	return cf_hash(key, folded->bytes, folded->len);
}

#endif
