/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: folding.  The first byte chooses the mode; the rest is two names
 * with a '/' between them.
 */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "casefold/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool good)
{
	if (!good)
		abort();
}

/* Folding twice is folding once; nothing appears that a name cannot hold. */
static void
check_name(enum cf_mode mode, const char *name, size_t len,
	   struct cf_folded *folded)
{
	struct cf_folded again;

	cf_fold(mode, name, len, folded);
	check(folded->len <= len + len / 2);
	check(!memchr(folded->bytes, '/', folded->len));
	check(!memchr(folded->bytes, 0, folded->len) ==
	      !memchr(name, 0, len));
	check(cf_fold_is(mode, folded, name, len));
	if (folded->len > CF_NAME_MAX)
		return;
	cf_fold(mode, folded->bytes, folded->len, &again);
	check(again.len == folded->len && again.cased == folded->cased &&
	      !memcmp(again.bytes, folded->bytes, again.len));
}

/* A pick takes a name only if it is one, and of the class. */
static void
check_pick(enum cf_mode mode, const char *a, const struct cf_folded *folded,
	   const char *b, size_t len, bool same)
{
	struct cf_pick pick = { .mode = mode, .folded = folded, .want = a,
				.after = "" };

	cf_pick_offer(&pick, b, len);
	if (!pick.name[0])
		return;
	check(same && strlen(pick.name) == len && !memcmp(pick.name, b, len));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *a = (const char *)data + 1, *b;
	char want[CF_NAME_MAX + 1];
	struct cf_folded fa, fb;
	enum cf_mode mode;
	size_t alen, blen;
	bool same;

	if (!size)
		return 0;
	mode = data[0] & 1 ? CF_ASCII : CF_NT;
	b = memchr(a, '/', size - 1);
	alen = b ? (size_t)(b - a) : size - 1;
	b = b ? b + 1 : a + alen;
	blen = size - 1 - (size_t)(b - a);
	if (alen > CF_NAME_MAX || blen > CF_NAME_MAX || memchr(b, '/', blen))
		return 0;
	check_name(mode, a, alen, &fa);
	check_name(mode, b, blen, &fb);
	same = fa.len == fb.len && !memcmp(fa.bytes, fb.bytes, fa.len);
	check(same == cf_fold_is(mode, &fa, b, blen));
	check(!same || fa.cased == fb.cased);
	check(!same || fa.cased || (alen == blen && !memcmp(a, b, alen)));
	memcpy(want, a, alen);
	want[alen] = 0;
	check_pick(mode, want, &fa, b, blen, same);
	return 0;
}
