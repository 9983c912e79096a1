/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: a ring as a guest may have left it.  Four bytes say how the
 * ring is set up (features and size, what is done, first index), then come
 * the descriptor table, the available ring and an indirect table.
 *
 * Every piece of a chain must lie within one region, and the sums must be
 * those of the pieces.
 */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vhost-raw.h"
#include "vhost/vh.h"

#define MEM (4u << 20)
#define TABLE (3u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

static void
fill(struct raw *r, size_t off, size_t len, struct input *in)
{
	if (len > in->left)
		len = in->left;
	memcpy(r->mem + off, in->p, len);
	in->p += len;
	in->left -= len;
}

static void
check_piece(const struct raw *r, const struct iovec *v)
{
	const struct vh_mem *mem = r->conn->mem;
	const char *p = v->iov_base;

	for (unsigned i = 0; i < mem->n; i++) {
		const struct vh_region *g = &mem->region[i];

		if (p >= g->host && p < g->host + g->size &&
		    v->iov_len <= g->size - (size_t)(p - g->host))
			return;
	}
	abort();
}

static void
check_chain(const struct raw *r, const struct vh_chain *c)
{
	size_t in = 0, out = 0;

	if (c->nin + c->nout > VH_IOV_MAX)
		abort();
	for (unsigned i = 0; i < c->nin + c->nout; i++) {
		/* Neighbours in two regions may have become one piece. */
		if (r->conn->mem->n == 1)
			check_piece(r, &c->iov[i]);
		if (i < c->nin)
			in += c->iov[i].iov_len;
		else
			out += c->iov[i].iov_len;
	}
	if (in != c->in_len || out != c->out_len || in + out > UINT32_MAX)
		abort();
}

static void
work(struct raw *r, struct vh_queue *q, unsigned what)
{
	static struct iovec iov[VH_IOV_MAX];
	struct vh_used used[64];
	struct vh_chain c;
	unsigned n = 0;

	for (unsigned k = 0; k < 200 && !vh_queue_sync(q); k++) {
		if (vh_queue_pop(q, &c, iov) <= 0)
			break;
		check_chain(r, &c);
		used[n++] = (struct vh_used){ c.head, (uint32_t)c.out_len };
		if (n == 64 || what & 1) {
			vh_queue_complete(q, used, n);
			n = 0;
		}
	}
	vh_queue_complete(q, used, n);
	vh_queue_suppress(q);
	vh_queue_arm(q);
	/* A broken ring says why, one that is not does not. */
	if ((vh_queue_pop(q, &c, iov) < 0) != (*vh_queue_why(q) != '\0'))
		abort();
}

/* The second half of memory as a region of its own. */
static void
split_memory(struct raw *r)
{
	if (raw_region(r, VH_REM_MEM_REG, RAW_GPA, MEM, RAW_UVA, 0, -1) ||
	    raw_region(r, VH_ADD_MEM_REG, RAW_GPA, TABLE + 64, RAW_UVA, 0,
		       r->mem_fd) ||
	    raw_region(r, VH_ADD_MEM_REG, RAW_GPA + TABLE + 64,
		       MEM - TABLE - 64, RAW_UVA + TABLE + 64, TABLE + 64,
		       r->mem_fd))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned features, what, ring;
	struct input in = { data, size };
	struct vh_queue *q;
	struct raw r;
	uint16_t base;

	if (size < 4)
		return 0;
	features = data[0] >> 4;
	ring = 1u << (data[0] & 7);
	what = data[1];
	memcpy(&base, data + 2, 2);
	in.p += 4;
	in.left -= 4;
	raw_open(&r, 2, NULL);
	if (raw_setup(&r, RAW_FEATURES | (features & 1 ? RAW_INDIRECT : 0) |
		      (features & 2 ? RAW_EVENT_IDX : 0), MEM))
		abort();
	fill(&r, RAW_DESC(1), ring * sizeof(struct vring_desc), &in);
	fill(&r, RAW_AVAIL(1), 6 + ring * 2, &in);
	fill(&r, TABLE, (VH_INDIRECT_MAX + 4) * sizeof(struct vring_desc), &in);
	q = raw_ring(&r, 1, ring, base);
	if (!q)
		abort();
	if (what & 2)
		split_memory(&r);
	work(&r, q, what);
	if (!raw_close(&r))
		abort();
	return 0;
}
