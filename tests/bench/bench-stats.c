/* SPDX-License-Identifier: MIT */
/*
 * What statistics cost each request: one look at the clock and one count, as
 * gatewayd/worker.c does them, in nanoseconds.
 */
#include "config.h"

#include "gatewayd/clock.h"
#include "gatewayd/opstats.h"

#include <linux/fuse.h>
#include <stdio.h>

#define ROUNDS 40
#define EACH 500000

static struct gw_clock gw_clock;
static struct op_table table;
static uint64_t sink;

static void
look(uint64_t i)
{
	(void)i;
	sink += gw_clock_ns(&gw_clock);
}

static void
look_kernel(uint64_t i)
{
	(void)i;
	sink += gw_clock_kernel();
}

/* A mix of operations and times, as a busy guest has. */
static void
count(uint64_t i)
{
	static const uint8_t ops[8] = { FUSE_GETATTR, FUSE_LOOKUP, FUSE_READ,
		FUSE_WRITE, FUSE_OPEN, FUSE_RELEASE, FUSE_GETATTR,
		FUSE_LOOKUP };
	struct op_done done = {
		.opcode = ops[i % 8], .bytes_in = 56, .bytes_out = 120,
		.ns = 400 + (i * 2654435761u) % 4096,
	};

	op_count(&table, &done);
}

/* The quickest of some rounds: what disturbs it only makes it longer. */
#define MEASURE(fn)                                                          \
	({                                                                   \
		double least = 1e9;                                          \
									     \
		for (int r = 0; r < ROUNDS; r++) {                           \
			uint64_t begin = gw_clock_kernel();                  \
			double ns;                                           \
									     \
			for (uint64_t i = 0; i < EACH; i++) {                \
				fn(i);                                       \
				__asm__ volatile("" ::: "memory");           \
			}                                                    \
			ns = (double)(gw_clock_kernel() - begin) /    \
				    EACH;                                    \
									     \
			least = ns < least ? ns : least;                     \
		}                                                            \
		least;                                                       \
	})

static void
nothing(uint64_t i)
{
	(void)i;
}

int
main(void)
{
	double loop, clock_ns, kernel, counting;

	gw_clock_init(&gw_clock);
	loop = MEASURE(nothing);
	clock_ns = MEASURE(look) - loop;
	kernel = MEASURE(look_kernel) - loop;
	counting = MEASURE(count) - loop;
	printf("\nstatistics of a request: %.1f ns\n"
	       "  a look at the clock %.1f (%s; the kernel's: %.1f)\n"
	       "  counting            %.1f\n", clock_ns + counting, clock_ns,
	       gw_clock.mult ? "the processor's" : "the kernel's", kernel,
	       counting);
	op_table_fini(&table);
	return sink == 1;
}
