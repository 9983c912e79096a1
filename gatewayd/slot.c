/* SPDX-License-Identifier: MIT */
/*
 * Layout of a FUSE request and its answer in shared memory, and what is
 * demanded of an answer (slot.h).
 */
#include "config.h"

#include "gatewayd/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* What cannot work when /dev/fuse is not the device's own: it hands fds to the
 * kernel, maps memory into it, or speaks to it without being asked. */
#define NOT_HERE                                                             \
	((uint64_t)FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ | \
	 FUSE_MAP_ALIGNMENT | FUSE_SUBMOUNTS | FUSE_HAS_INODE_DAX |          \
	 1ull << 37 /* PASSTHROUGH */ | 1ull << 39 /* HAS_RESEND */ |        \
	 1ull << 41 /* OVER_IO_URING */)

void
slot_pool_init(struct slot_pool *pool)
{
	memset(pool, 0, sizeof(*pool));
	pthread_mutex_init(&pool->lock, NULL);
}

void
slot_pool_fini(struct slot_pool *pool)
{
	pthread_mutex_destroy(&pool->lock);
}

void
slot_pool_add(struct slot_pool *pool, unsigned char *mem, size_t size)
{
	for (; pool->n < SLOT_COUNT && size >= SLOT_SIZE; size -= SLOT_SIZE) {
		pool->slot[pool->n].mem = mem;
		pool->free[pool->nfree++] = pool->n++;
		mem += SLOT_SIZE;
	}
}

struct slot *
slot_get(struct slot_pool *pool)
{
	struct slot *s = NULL;

	pthread_mutex_lock(&pool->lock);
	if (pool->nfree > 0)
		s = &pool->slot[pool->free[--pool->nfree]];
	pthread_mutex_unlock(&pool->lock);
	return s;
}

void
slot_put(struct slot_pool *pool, struct slot *s)
{
	pthread_mutex_lock(&pool->lock);
	s->busy = false;
	pool->free[pool->nfree++] = (unsigned)(s - pool->slot);
	pthread_mutex_unlock(&pool->lock);
}

unsigned
slots_busy(struct slot_pool *pool)
{
	unsigned n;

	pthread_mutex_lock(&pool->lock);
	n = pool->n - pool->nfree;
	pthread_mutex_unlock(&pool->lock);
	return n;
}

bool
slot_is_answered(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET &&
	       opcode != FUSE_INTERRUPT && opcode != FUSE_NOTIFY_REPLY;
}

/* Bytes that may follow the answer's header, as the request asks for them. */
static uint64_t
payload_room(uint32_t opcode, const void *arg)
{
	uint64_t n = 0;

	switch (opcode) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		return ((const struct fuse_read_in *)arg)->size;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		n = ((const struct fuse_getxattr_in *)arg)->size;
		break;
	case FUSE_IOCTL:
		n = ((const struct fuse_ioctl_in *)arg)->out_size +
		    sizeof(struct fuse_ioctl_out);
		break;
	}
	/* No fixed answer and no link's target is longer than a page. */
	return n > SLOT_PAGE ? n : SLOT_PAGE;
}

static void
limit_init(struct fuse_in_header *ih, size_t len)
{
	struct fuse_init_in *init = (struct fuse_init_in *)(ih + 1);

	if (len < sizeof(*ih) + sizeof(*init))
		return;
	init->flags &= ~(uint32_t)NOT_HERE;
	init->flags2 &= ~(uint32_t)(NOT_HERE >> 32);
}

bool
slot_prepare(struct slot *s, size_t len)
{
	struct fuse_in_header *ih = slot_in(s);
	size_t at = SLOT_PAGE - SLOT_IN_HEAD + len + SLOT_OUT_HEAD;
	uint64_t room = 0;

	s->opcode = ih->opcode;
	s->unique = ih->unique;
	s->room = 0;
	if (!slot_is_answered(ih->opcode))
		return true;
	room = payload_room(ih->opcode, ih + 1);
	at = (at + SLOT_PAGE - 1) / SLOT_PAGE * SLOT_PAGE;
	if (at > SLOT_SIZE || room > SLOT_SIZE - at)
		return false;
	s->out = (struct fuse_out_header *)(s->mem + at - SLOT_OUT_HEAD);
	memset(s->out, 0, SLOT_OUT_HEAD);
	s->room = SLOT_OUT_HEAD + (uint32_t)room;
	if (ih->opcode == FUSE_INIT)
		limit_init(ih, len);
	return true;
}

void
slot_noatime(struct slot *s, bool files, bool dirs)
{
	/* All of them begin with the flags. */
	struct fuse_open_in *in = (struct fuse_open_in *)(slot_in(s) + 1);

	switch (s->opcode) {
	case FUSE_OPEN:
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		in->flags |= files ? O_NOATIME : 0;
		break;
	case FUSE_OPENDIR:
		in->flags |= dirs ? O_NOATIME : 0;
		break;
	}
}

void
slot_answer(const struct slot *s, struct fuse_out_header *oh)
{
	*oh = *(volatile struct fuse_out_header *)s->out;
	if (oh->len >= SLOT_OUT_HEAD && oh->len <= s->room &&
	    oh->unique == s->unique && oh->error <= 0 && oh->error > -512 &&
	    (!oh->error || oh->len == SLOT_OUT_HEAD))
		return;
	oh->len = SLOT_OUT_HEAD;
	oh->error = -EIO;
	oh->unique = s->unique;
}

void
slot_init_answer(const struct slot *s, struct fuse_out_header *oh,
		 struct fuse_init_out *init)
{
	size_t n = oh->len - SLOT_OUT_HEAD;

	n = n < sizeof(*init) ? n : sizeof(*init);
	memset(init, 0, sizeof(*init));
	memcpy(init, s->out + 1, n);
	if (init->max_write > SLOT_DATA_MAX)
		init->max_write = SLOT_DATA_MAX;
	if (init->max_pages > SLOT_DATA_MAX / SLOT_PAGE)
		init->max_pages = SLOT_DATA_MAX / SLOT_PAGE;
	init->flags &= ~(uint32_t)NOT_HERE;
	init->flags2 &= ~(uint32_t)(NOT_HERE >> 32);
	oh->len = SLOT_OUT_HEAD + (uint32_t)n;
}
