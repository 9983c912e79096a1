/* SPDX-License-Identifier: MIT */
/*
 * The pretend guest's transport: how a request of either personality is laid
 * out in memory and on a ring, and what is demanded of an answer.  The calls
 * themselves are in guestcalls.c.
 */
#include "config.h"

#include "tests/guest.h"

#include "tests/guestpriv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u
#define IN_SIZE (GUEST_DATA_MAX + 2 * PAGE)
#define OUT_SIZE (GUEST_DATA_MAX + 4 * PAGE)
#define TABLE_LEN 1024			/* entries of an indirect table */
#define GUARD 64			/* bytes watched behind an answer */
#define UNTOUCHED 0xa5

struct slot {
	unsigned char *in, *out;	/* IN_SIZE, OUT_SIZE; on pages */
	unsigned char *head, *body;	/* where out header and payload are */
	struct vring_desc *table;
	size_t in_len, room;		/* room: all writable bytes */
	uint64_t unique;
	unsigned queue;
	bool busy, done;
	uint32_t used_len;
};

int
guest_broken(struct guest *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->why, sizeof(g->why), fmt, ap);
	va_end(ap);
	return GUEST_BROKEN;
}

bool
guest_is_windows(const struct guest *g)
{
	return g->kind != GUEST_LINUX;
}

uint32_t
guest_garbage(struct guest *g)
{
	return guest_is_windows(g) ? (uint32_t)rand_r(&g->seed) * 2654435761u | 1
				   : 0;
}

/* ------------------------------------------------------------------ */
/* Layout: a list of pieces, then descriptors. */

struct pieces {
	struct {
		unsigned char *p;
		uint32_t len;
		bool writable;
	} v[TABLE_LEN];
	unsigned n;
};

/* Add memory in pieces of at most a page, none crossing one. */
static void
add_pages(struct pieces *list, unsigned char *p, size_t len, bool writable)
{
	while (len > 0 && list->n < TABLE_LEN) {
		size_t n = PAGE - (uintptr_t)p % PAGE;

		n = n < len ? n : len;
		list->v[list->n].p = p;
		list->v[list->n].len = (uint32_t)n;
		list->v[list->n++].writable = writable;
		p += n;
		len -= n;
	}
}

/* Add memory as one piece. */
static void
add_whole(struct pieces *list, unsigned char *p, size_t len, bool writable)
{
	if (len == 0 || list->n == TABLE_LEN)
		return;
	list->v[list->n].p = p;
	list->v[list->n].len = (uint32_t)len;
	list->v[list->n++].writable = writable;
}

/* As a Linux guest: header, argument, data in pages; header, payload. */
static void
lay_linux(struct guest *g, struct slot *s, size_t arg_len, struct pieces *list)
{
	size_t head = sizeof(struct fuse_in_header);
	size_t rest = s->in_len - head;
	bool indirect = g->vm.features & 1ull << VIRTIO_RING_F_INDIRECT_DESC;

	s->head = s->out + PAGE - sizeof(struct fuse_out_header);
	s->body = s->out + PAGE;
	if (!indirect) {
		add_whole(list, s->in, s->in_len, false);
		add_whole(list, s->head, s->room, true);
		return;
	}
	arg_len = arg_len < rest ? arg_len : rest;
	add_whole(list, s->in, head, false);
	add_whole(list, s->in + head, arg_len, false);
	add_pages(list, s->in + head + arg_len, rest - arg_len, false);
	if (s->room == 0)
		return;
	add_whole(list, s->head, sizeof(struct fuse_out_header), true);
	add_pages(list, s->body, s->room - sizeof(struct fuse_out_header),
		  true);
}

/* As the Windows driver: bounce buffers cut into pages.  Profile B gives READ
 * its header apart and then the user's own pages, which begin anywhere. */
static void
lay_windows(struct guest *g, struct slot *s, uint32_t opcode,
	    struct pieces *list)
{
	size_t head = sizeof(struct fuse_out_header);

	add_pages(list, s->in, s->in_len, false);
	s->head = s->out;
	s->body = s->out + head;
	if (g->kind == GUEST_WINDOWS_B && opcode == FUSE_READ) {
		s->body = s->out + PAGE + guest_garbage(g) % PAGE;
		add_pages(list, s->head, head, true);
		add_pages(list, s->body, s->room - head, true);
	} else {
		add_pages(list, s->head, s->room, true);
	}
}

static void
write_descs(struct guest *g, struct vring_desc *table, unsigned size,
	    unsigned first, const struct pieces *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		unsigned at = (first + i) & (size - 1);
		uint16_t flags = list->v[i].writable ? VRING_DESC_F_WRITE : 0;

		if (i + 1 < list->n)
			flags |= VRING_DESC_F_NEXT;
		vm_desc(&g->vm, &table[at], list->v[i].p, list->v[i].len,
			flags, (uint16_t)((at + 1) & (size - 1)));
	}
}

/* Put the pieces on the ring.  Heads are a slot's own; Windows goes round. */
static int
push(struct guest *g, struct slot *s, const struct pieces *list)
{
	struct vm_ring *r = &g->vm.ring[s->queue];
	unsigned index = (unsigned)(s - g->slots);
	unsigned head = index * (r->size / g->nslots);
	bool indirect = g->vm.features & 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	unsigned direct = indirect ? (guest_is_windows(g) ? 2 : 1)
				   : r->size / g->nslots;

	if (guest_is_windows(g)) {
		head = g->next_head & (r->size - 1);
		g->next_head += list->n > direct ? 1 : list->n;
		/* This driver never uses a table on the hiprio queue. */
		direct = s->queue == 0 ? r->size : direct;
	}
	if (list->n <= direct) {
		write_descs(g, r->desc, r->size, head, list);
	} else if (indirect) {
		write_descs(g, s->table, TABLE_LEN, 0, list);
		vm_desc(&g->vm, &r->desc[head], s->table,
			list->n * (uint32_t)sizeof(*s->table),
			VRING_DESC_F_INDIRECT, 0);
	} else {
		return guest_broken(g, "the ring is too small for %u pieces",
				    list->n);
	}
	g->slot_of[s->queue * (size_t)g->ring_size + head] = index;
	vm_ring_push(&g->vm, r, (uint16_t)head);
	return 0;
}

/* ------------------------------------------------------------------ */
/* Sending. */

static struct slot *
slot_get(struct guest *g)
{
	for (unsigned i = 0; i < g->nslots; i++)
		if (!g->slots[i].busy)
			return &g->slots[i];
	return NULL;
}

static int
fill_in(struct guest *g, struct slot *s, const struct guest_req *req)
{
	struct fuse_in_header ih = {
		.opcode = req->opcode,
		.unique = s->unique,
		.nodeid = req->nodeid,
		.uid = g->uid,
		.gid = g->gid,
		.pid = 4711,
		.total_extlen = (uint16_t)guest_garbage(g),
		.padding = (uint16_t)guest_garbage(g),
	};
	size_t at = sizeof(ih);

	for (int i = 0; i < GUEST_PIECES && req->in[i].iov_len; i++) {
		if (req->in[i].iov_len > IN_SIZE - at)
			return guest_broken(g, "a request of that size");
		memcpy(s->in + at, req->in[i].iov_base, req->in[i].iov_len);
		at += req->in[i].iov_len;
	}
	ih.len = req->len ? req->len : (uint32_t)at;
	memcpy(s->in, &ih, sizeof(ih));
	s->in_len = at;
	return 0;
}

static unsigned
queue_of(const struct guest *g, uint32_t opcode)
{
	if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET)
		return 0;
	return g->queue;
}

int
guest_send(struct guest *g, const struct guest_req *req)
{
	struct pieces list = { .n = 0 };
	struct slot *s = slot_get(g);
	int err;

	if (!s)
		return guest_broken(g, "too many requests in flight");
	if (req->room > OUT_SIZE - 3 * PAGE)
		return guest_broken(g, "an answer of that size");
	s->unique = req->unique ? req->unique : ++g->unique;
	s->queue = queue_of(g, req->opcode);
	s->room = req->no_reply ? 0 :
		  sizeof(struct fuse_out_header) + req->room;
	s->done = false;
	err = fill_in(g, s, req);
	if (err)
		return err;
	memset(s->out, UNTOUCHED, s->room + 3 * PAGE < OUT_SIZE ?
				  s->room + 3 * PAGE : OUT_SIZE);
	if (guest_is_windows(g))
		lay_windows(g, s, req->opcode, &list);
	else
		lay_linux(g, s, req->in[0].iov_len, &list);
	err = push(g, s, &list);
	if (err)
		return err;
	s->busy = true;
	return (int)(s - g->slots);
}

/* ------------------------------------------------------------------ */
/* Receiving. */

static bool
is_untouched(const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != UNTOUCHED)
			return false;
	return true;
}

/* Nothing may be written behind the bytes that used.len tells. */
static bool
tail_is_clean(const struct slot *s, uint32_t len)
{
	size_t head = sizeof(struct fuse_out_header);
	size_t room = s->room - head;
	size_t used = len > head ? len - head : 0;

	if (len < head && !is_untouched(s->head + len, head - len))
		return false;
	if (s->body != s->head + head &&
	    !is_untouched(s->head + head, GUARD))
		return false;
	return is_untouched(s->body + used, room - used + GUARD);
}

static int
check_answer(struct guest *g, struct slot *s, void *out)
{
	struct fuse_out_header oh;
	uint32_t len = s->used_len;

	if (len > s->room)
		return guest_broken(g, "used.len %u of %zu writable bytes",
				    len, s->room);
	if (s->room && !tail_is_clean(s, len))
		return guest_broken(g, "bytes written behind used.len %u", len);
	if (len == 0)
		return 0;
	memcpy(&oh, s->head, sizeof(oh));
	if (len < sizeof(oh) || oh.len != len)
		return guest_broken(g, "used.len %u, header says %u", len,
				    oh.len);
	if (oh.unique != s->unique)
		return guest_broken(g, "unique %llu answered as %llu",
				    (unsigned long long)s->unique,
				    (unsigned long long)oh.unique);
	if (oh.error > 0 || oh.error <= -4096 || (oh.error && len != sizeof(oh)))
		return guest_broken(g, "error %d in %u bytes", oh.error, len);
	if (oh.error)
		return oh.error;
	if (out)
		memcpy(out, s->body, len - sizeof(oh));
	return (int)(len - sizeof(oh));
}

/* Wait for any answer on a queue and note it in its slot. */
static int
take_answer(struct guest *g, unsigned queue)
{
	struct vm_ring *r = &g->vm.ring[queue];
	struct vring_used_elem e;
	int ms = g->timeout_ms >= 0 ? g->timeout_ms : g->vm.timeout_ms;
	int err = vm_ring_wait(&g->vm, r, &e, ms);
	struct slot *s;

	if (err < 0)
		return guest_broken(g, "%s", g->vm.why);
	if (e.id >= r->size)
		return guest_broken(g, "used id %u", e.id);
	s = &g->slots[g->slot_of[queue * (size_t)g->ring_size + e.id]];
	if (!s->busy || s->done || s->queue != queue)
		return guest_broken(g, "used id %u is not in flight", e.id);
	s->done = true;
	s->used_len = e.len;
	return 0;
}

int
guest_wait(struct guest *g, int id, void *out)
{
	struct slot *s = &g->slots[id];

	while (!s->done) {
		int err = take_answer(g, s->queue);

		if (err)
			return err;
	}
	s->busy = false;
	return check_answer(g, s, out);
}

int
guest_call(struct guest *g, const struct guest_req *req, void *out)
{
	int id = guest_send(g, req);
	int n;

	if (id < 0)
		return id;
	n = guest_wait(g, id, out);
	if (n == 0 && g->slots[id].used_len == 0 && !req->no_reply &&
	    req->opcode != FUSE_FORGET)
		return guest_broken(g, "an answer of no bytes");
	return n;
}

/* ------------------------------------------------------------------ */

static int
make_slots(struct guest *g)
{
	struct vring_desc *table = NULL;

	g->slots = calloc(g->nslots, sizeof(*g->slots));
	g->slot_of = calloc((size_t)g->vm.nrings * g->ring_size,
			    sizeof(*g->slot_of));
	if (!g->slots || !g->slot_of)
		return -ENOMEM;
	for (unsigned i = 0; i < g->nslots; i++) {
		struct slot *s = &g->slots[i];

		if (!table || !guest_is_windows(g))
			table = vm_alloc(&g->vm, TABLE_LEN * sizeof(*table), PAGE);
		s->table = table;
		s->in = vm_alloc(&g->vm, IN_SIZE, PAGE);
		s->out = vm_alloc(&g->vm, OUT_SIZE, PAGE);
		if (!s->table || !s->in || !s->out)
			return -ENOMEM;
	}
	return 0;
}

static void
choose_settings(struct guest *g, const struct guest_settings *set,
		struct vm_settings *vm)
{
	*vm = set->vm;
	g->kind = set->kind;
	g->ring_size = vm->ring_size ? vm->ring_size : 128;
	g->nslots = set->nslots ? set->nslots : 16;
	if (guest_is_windows(g)) {
		/* Two, so that a request can be cancelled; one is used. */
		g->nslots = 2;
		if (!vm->features)
			vm->features = 1ull << VIRTIO_F_VERSION_1 |
				       1ull << VIRTIO_RING_F_INDIRECT_DESC;
	}
	if (g->nslots > g->ring_size / 2)
		g->nslots = g->ring_size / 2;
	if (!vm->mem_size)
		vm->mem_size = (size_t)g->nslots * (3u << 20) + (32u << 20);
}

int
guest_open(const char *path, const struct guest_settings *set,
	   struct guest **guest, char **why)
{
	static const struct guest_settings none;
	struct vm_settings vm;
	struct guest *g = calloc(1, sizeof(*g));
	int err;

	if (why)
		*why = NULL;
	if (!g)
		return -ENOMEM;
	choose_settings(g, set ? set : &none, &vm);
	g->queue = 1;
	g->seed = 1;
	g->timeout_ms = -1;
	err = vm_open(&g->vm, path, &vm);
	if (!err)
		err = make_slots(g);
	if (err) {
		if (why)
			*why = strdup(g->vm.why);
		guest_close(g);
		return err;
	}
	/* Interrupts are enabled with a kick of rings that are empty. */
	for (unsigned i = 0; guest_is_windows(g) && i < g->vm.nrings; i++)
		vm_ring_kick(&g->vm.ring[i]);
	*guest = g;
	return 0;
}

void
guest_close(struct guest *g)
{
	vm_close(&g->vm);
	free(g->slots);
	free(g->slot_of);
	free(g);
}

struct vm *
guest_vm(struct guest *g)
{
	return &g->vm;
}

const char *
guest_why(const struct guest *g)
{
	return g->why;
}

enum guest_kind
guest_kind(const struct guest *g)
{
	return g->kind;
}

void
guest_as(struct guest *g, uint32_t uid, uint32_t gid)
{
	g->uid = uid;
	g->gid = gid;
}

void
guest_use_queue(struct guest *g, unsigned q)
{
	g->queue = q;
}

void
guest_set_timeout(struct guest *g, int ms)
{
	g->timeout_ms = ms;
}

uint32_t
guest_max_write(const struct guest *g)
{
	return g->max_write;
}

uint32_t
guest_max_pages(const struct guest *g)
{
	return g->max_pages;
}
