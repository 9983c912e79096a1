/* SPDX-License-Identifier: MIT */
/*
 * A slot holds one FUSE request and its answer in memory that is shared with
 * the device.  A request is read so that the data of a WRITE begins on a page,
 * and the answer is placed so that the data of a READ does:
 *
 *	| ....[header 80][data or names ....] ....[header 16][data ....] |
 *	      one piece for the device to read  one for it to write
 *
 * The device may change all of it at any time: the header of an answer is
 * copied and checked before it is used.
 */
#ifndef GATEWAYD_SLOT_H
#define GATEWAYD_SLOT_H

#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOT_COUNT 128u			/* requests in flight */
#define SLOT_PAGE 4096u
#define SLOT_DATA_MAX (1u << 20)	/* bytes of one READ or WRITE */
#define SLOT_IN_HEAD 80u		/* fuse_in_header, fuse_write_in */
#define SLOT_IN_MAX (SLOT_IN_HEAD + SLOT_DATA_MAX + SLOT_PAGE)
#define SLOT_OUT_HEAD ((uint32_t)sizeof(struct fuse_out_header))
/* The biggest request has a small answer, and the other way round. */
#define SLOT_SIZE (SLOT_DATA_MAX + 5 * SLOT_PAGE)

struct slot {
	unsigned char *mem;		/* SLOT_SIZE bytes, shared */
	struct fuse_out_header *out;	/* in it; never believed */
	uint32_t room;			/* bytes of answer; 0 = none */
	uint32_t opcode;
	uint64_t unique;
	bool busy;			/* the device has it */
};

/* Free slots; any thread may take one and put it back. */
struct slot_pool {
	struct slot slot[SLOT_COUNT];
	pthread_mutex_t lock;
	unsigned n, nfree;
	unsigned free[SLOT_COUNT];	/* the last one is taken first */
};

void slot_pool_init(struct slot_pool *pool);
void slot_pool_fini(struct slot_pool *pool);
/* Once: SLOT_COUNT slots, or as many as there is memory for. */
void slot_pool_add(struct slot_pool *pool, unsigned char *mem, size_t size);
struct slot *slot_get(struct slot_pool *pool);	/* NULL: none is free */
void slot_put(struct slot_pool *pool, struct slot *s);
unsigned slots_busy(struct slot_pool *pool);	/* of those added */

/* Where a request of up to SLOT_IN_MAX bytes is read to. */
static inline struct fuse_in_header *
slot_in(struct slot *s)
{
	return (struct fuse_in_header *)(s->mem + SLOT_PAGE - SLOT_IN_HEAD);
}

/* Is there an answer to such a request? */
bool slot_is_answered(uint32_t opcode);

/*
 * A request of `len` bytes was read: make room for its answer, and take back
 * what INIT offers but cannot work here.  False when the answer would not fit.
 */
bool slot_prepare(struct slot *s, size_t len);

/* A prepared request that opens a file, or a directory, is not to leave a time
 * of access behind. */
void slot_noatime(struct slot *s, bool files, bool dirs);

/* The answer's header, checked; EIO in it when the device made none. */
void slot_answer(const struct slot *s, struct fuse_out_header *oh);

/* The payload of a good answer to INIT, with nothing in it that cannot work
 * here; oh->len is changed to fit. */
void slot_init_answer(const struct slot *s, struct fuse_out_header *oh,
		      struct fuse_init_out *init);

#endif
