/* SPDX-License-Identifier: MIT */
/*
 * A front end can truncate the file its guest memory lives in, at any time;
 * who touches the lost pages then gets SIGBUS.  The handler here finds the
 * mapping in a table that needs no lock, puts anonymous memory in its place,
 * marks it broken and returns: the instruction is tried again and goes on.
 * The broken mark ends the connection at its next vh_queue_sync().
 *
 * The table only grows, by blocks.  A place in it is empty, live or being
 * changed; `seq` is odd while it is not live and changes every time, so the
 * handler never takes half of an old entry and half of a new one for a range.
 * The range that faulted is in use by the thread that faulted, so its entry
 * stays as it is while the handler looks.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct vh_guard {
	atomic_uint seq;	/* odd: not live */
	atomic_bool taken;
	atomic_bool broken;
	_Atomic uintptr_t base;
	_Atomic size_t len;
};

#define BLOCK 512

struct block {
	_Atomic(struct block *) next;
	struct vh_guard guard[BLOCK];
};

/* Global because a signal handler has nothing else to start from. */
static _Atomic(struct block *) blocks;
static atomic_uint events;

unsigned
vh_guard_events(void)
{
	return atomic_load_explicit(&events, memory_order_acquire);
}

bool
vh_guard_is_broken(const struct vh_guard *g)
{
	return atomic_load_explicit(&g->broken, memory_order_acquire);
}

static struct vh_guard *
take_free(struct block *b)
{
	for (int i = 0; i < BLOCK; i++) {
		struct vh_guard *g = &b->guard[i];

		if (!atomic_load_explicit(&g->taken, memory_order_relaxed) &&
		    !atomic_exchange(&g->taken, true))
			return g;
	}
	return NULL;
}

static struct block *
add_block(void)
{
	struct block *b = calloc(1, sizeof *b), *head;

	if (!b)
		return NULL;
	for (int i = 0; i < BLOCK; i++)
		b->guard[i].seq = 1;
	head = atomic_load(&blocks);
	do
		atomic_store(&b->next, head);
	while (!atomic_compare_exchange_weak(&blocks, &head, b));
	return b;
}

int
vh_guard_new(void *base, size_t len, struct vh_guard **guard)
{
	struct vh_guard *g = NULL;
	struct block *b;

	for (b = atomic_load(&blocks); b && !g; b = atomic_load(&b->next))
		g = take_free(b);
	while (!g) {
		b = add_block();
		if (!b)
			return -ENOMEM;
		g = take_free(b);
	}
	atomic_store(&g->broken, false);
	atomic_store(&g->base, (uintptr_t)base);
	atomic_store(&g->len, len);
	atomic_fetch_add(&g->seq, 1);
	*guard = g;
	return 0;
}

void
vh_guard_free(struct vh_guard *g)
{
	atomic_fetch_add(&g->seq, 1);
	atomic_store(&g->taken, false);
}

/* Is `addr` in g?  Then its range is in *base and *len. */
static bool
guard_has(struct vh_guard *g, uintptr_t addr, uintptr_t *base, size_t *len)
{
	unsigned seq = atomic_load(&g->seq);

	if (seq & 1)
		return false;
	*base = atomic_load(&g->base);
	*len = atomic_load(&g->len);
	return addr >= *base && addr - *base < *len &&
	       atomic_load(&g->seq) == seq;
}

/* Replace the memory around addr; false if it is none of ours. */
static bool
contain(uintptr_t addr)
{
	uintptr_t base;
	size_t len;

	for (struct block *b = atomic_load(&blocks); b;
	     b = atomic_load(&b->next))
		for (int i = 0; i < BLOCK; i++) {
			struct vh_guard *g = &b->guard[i];

			if (!guard_has(g, addr, &base, &len))
				continue;
			/* First of all: who reads a zero is to know why. */
			atomic_store(&g->broken, true);
			atomic_fetch_add(&events, 1);
			return mmap((void *)base, len, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				    MAP_NORESERVE, -1, 0) != MAP_FAILED;
		}
	return false;
}

static void
on_sigbus(int sig, siginfo_t *info, void *uc)
{
	struct sigaction dfl;
	int saved = errno;

	(void)uc;
	if (info->si_code > 0 && contain((uintptr_t)info->si_addr)) {
		errno = saved;
		return;
	}
	/* Not ours: the instruction faults again, with nobody to catch it.
	 * One that was sent to us is sent on. */
	memset(&dfl, 0, sizeof dfl);
	dfl.sa_handler = SIG_DFL;
	sigaction(sig, &dfl, NULL);
	if (info->si_code <= 0)
		raise(sig);
	errno = saved;
}

int
vh_sigbus_init(void)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = on_sigbus;
	sa.sa_flags = SA_SIGINFO | SA_RESTART;
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}
