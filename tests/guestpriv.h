/* SPDX-License-Identifier: MIT */
/* What the files of the pretend guest share; tests use guest.h. */
#ifndef TESTS_GUESTPRIV_H
#define TESTS_GUESTPRIV_H

#include "tests/guest.h"

struct slot;

struct guest {
	struct vm vm;
	enum guest_kind kind;
	struct slot *slots;
	unsigned nslots, ring_size;
	unsigned *slot_of;	/* [queue][head] */
	unsigned next_head;	/* Windows */
	unsigned seed;
	unsigned queue;
	int timeout_ms;		/* -1 = the machine's */
	uint64_t unique;
	uint32_t uid, gid;
	uint32_t max_write, max_pages;
	char why[160];
};

bool guest_is_windows(const struct guest *g);
/* What stands in fields that are not set: 0, or anything (Windows). */
uint32_t guest_garbage(struct guest *g);
__attribute__((format(printf, 2, 3)))
int guest_broken(struct guest *g, const char *fmt, ...);

#endif
