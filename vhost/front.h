/* SPDX-License-Identifier: MIT */
/*
 * The front end's own structs: front.c speaks with the back end, front_ring.c
 * works the rings.
 */
#ifndef VHOST_FRONT_H
#define VHOST_FRONT_H

#include <pthread.h>

#include "vhost/vhost.h"
#include "vhost/wire.h"

/* Where the shared memory lies for the back end: any address will do, and
 * one that is no pointer of ours shows who mixes up the two. */
#define VH_FRONT_GPA UINT64_C(0x100000000)

/* A chain under way, by its head. */
struct vh_front_chain {
	uint64_t cookie;
	uint32_t out_len;	/* bytes the device may write */
	uint16_t ndesc;		/* descriptors of the ring; 0 = not under way */
	int32_t table;		/* indirect table, or -1 */
};

/* Used by one thread at a time. */
struct vh_front_queue {
	struct vh_front *front;
	unsigned index, size;
	uint16_t mask;
	bool event_idx, indirect, started;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	struct vring_desc *tables;	/* [ntables][VH_INDIRECT_MAX] */
	uint16_t avail_idx;	/* as published */
	uint16_t kicked;	/* avail_idx when a kick was last thought of */
	uint16_t used_idx;	/* answers taken */
	uint16_t free;		/* first free descriptor */
	unsigned nfree;
	unsigned ntables;	/* free ones, in free_table[] */
	uint16_t *next;		/* [size] lists: free descriptors, chains */
	uint16_t *free_table;
	struct vh_front_chain *chain;	/* [size] */
	uint16_t base;		/* next chain of the device, while stopped */
	int kick_fd, call_fd;
};

struct vh_front {
	int fd;
	int mem_fd;
	pthread_mutex_t lock;	/* one request and its reply at a time */
	int timeout_ms;
	uint64_t features, protocol;
	unsigned nqueues;
	struct vh_front_queue *queue;
	char *base;		/* all shared memory: rings, tables, buffers */
	size_t size;
	char *mem;		/* the buffers */
	size_t mem_size;
};

/* vh_front_connect() on a connected socket, which is taken. */
int vh_front_new(int fd, const struct vh_front_settings *set,
		 struct vh_front **front, char **why);

/* Bytes of shared memory that a queue of `size` entries needs. */
size_t vh_front_ring_bytes(unsigned size);
/* Lay the queue out in zeroed memory.  0 or -ENOMEM. */
int vh_front_ring_init(struct vh_front_queue *q, void *mem, unsigned size,
		       uint64_t features);
void vh_front_ring_fini(struct vh_front_queue *q);

#endif
