/* SPDX-License-Identifier: MIT */
/*
 * What fsops does next, drawn at random: names, files, places, bytes.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/system/fsops.h"

#define NAMES 24		/* different names in a directory */

static unsigned
kind_of(const struct node *n)
{
	return S_ISREG(n->mode) ? FILES : S_ISDIR(n->mode) ? DIRS : LINKS;
}

static unsigned
count_kind(const struct node *dir, unsigned kinds)
{
	unsigned n = 0;

	for (size_t i = 0; i < dir->nentries; i++) {
		struct node *child = dir->entries[i]->node;

		n += (kind_of(child) & kinds) != 0;
		if (S_ISDIR(child->mode))
			n += count_kind(child, kinds);
	}
	return n;
}

/* The entry number *left of those kinds, counted through the tree. */
static struct entry *
nth_kind(const struct node *dir, unsigned kinds, unsigned *left)
{
	struct entry *found = NULL;

	for (size_t i = 0; i < dir->nentries && !found; i++) {
		struct entry *e = dir->entries[i];

		if ((kind_of(e->node) & kinds) && (*left)-- == 0)
			return e;
		if (S_ISDIR(e->node->mode))
			found = nth_kind(e->node, kinds, left);
	}
	return found;
}

struct entry *
pick(struct run *r, unsigned kinds)
{
	unsigned n = count_kind(r->root, kinds);
	unsigned left = n ? below(r, n) : 0;

	return n ? nth_kind(r->root, kinds, &left) : NULL;
}

struct node *
pick_dir(struct run *r)
{
	struct entry *e = below(r, 4) ? pick(r, DIRS) : NULL;

	return e ? e->node : r->root;
}

void
pick_name(struct run *r, char *name)
{
	static const char *const forms[] = {
		"", "n", "a longer name with spaces ", "\303\274n\303\257 ",
		".hidden", "UPPER",
	};
	unsigned n = below(r, NAMES);

	snprintf(name, NAME_ROOM, "%s%u", forms[n % 6], n);
}

struct entry *
pick_entry(struct run *r, struct node **dir, char *name)
{
	struct entry *e = below(r, 8) ? pick(r, ANY) : NULL;

	if (e) {
		*dir = e->dir;
		snprintf(name, NAME_ROOM, "%s", e->name);
		return e;
	}
	*dir = pick_dir(r);
	pick_name(r, name);
	return tree_find(*dir, name);
}

size_t
pick_offset(struct run *r, size_t size)
{
	size_t off;

	switch (below(r, 4)) {
	case 0:
		return size;
	case 1:
		off = (size_t)below(r, FILE_MAX) & ~(size_t)4095;
		break;
	case 2:
		off = below(r, FILE_MAX);
		break;
	default:
		off = size ? below(r, (unsigned)size) : 0;
	}
	return off;
}

unsigned char *
pick_bytes(struct run *r, size_t *len)
{
	static unsigned char buf[64 * 1024];
	static const unsigned most[] = { 16, 512, 5000, sizeof(buf) };
	uint32_t bits = draw(r);

	*len = 1 + below(r, most[below(r, 4)] - 1);
	for (size_t i = 0; i < *len; i++) {
		buf[i] = (unsigned char)(bits >> 24);
		bits = bits * 1664525 + 1013904223;
	}
	return buf;
}

mode_t
pick_mode(struct run *r, bool dir)
{
	return (mode_t)(below(r, 01000) | (dir ? 0700 : 0600));
}
