/* SPDX-License-Identifier: MIT */
/*
 * A front end that says just what a test tells it to, and the back end it
 * talks to, both in the test's own thread: send a message, let the back end
 * handle it, look at what it did.
 */
#ifndef TESTS_VHOST_RAW_H
#define TESTS_VHOST_RAW_H

#include "vhost/vhost.h"
#include "vhost/wire.h"

/* Where guest memory seems to be, for the guest and for the front end. */
#define RAW_GPA UINT64_C(0x40000000)
#define RAW_UVA UINT64_C(0x7f0000000000)

/* Parts of ring i, as offsets into memory: each ring has 1 MiB. */
#define RAW_DESC(i) ((size_t)(i) << 20)
#define RAW_AVAIL(i) (RAW_DESC(i) + 0x80000)
#define RAW_USED(i) (RAW_DESC(i) + 0xa0000)

#define RAW_FEATURES (VH_BIT(VIRTIO_F_VERSION_1) | \
		      VH_BIT(VH_F_PROTOCOL_FEATURES))
#define RAW_INDIRECT VH_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define RAW_EVENT_IDX VH_BIT(VIRTIO_RING_F_EVENT_IDX)

struct raw {
	int fd;			/* the front end's */
	struct vh_conn *conn;
	struct vh_queue *q[VH_QUEUES_MAX];	/* as started */
	unsigned starts, stops, wakes, resets, traces;
	bool defer;		/* vh_queue_stopped() is left to the test */
	int start_err;		/* what queue_start answers */
	int mem_fd;
	char *mem;
	size_t mem_size;
	int kick[VH_QUEUES_MAX], call[VH_QUEUES_MAX];
	char last_trace[256];
};

void raw_open(struct raw *r, unsigned nqueues, const char *tag);
/* Close everything; true if the connection became idle as it should. */
bool raw_close(struct raw *r);

/* Send only; then vh_conn_process() is the test's. */
int raw_send(struct raw *r, uint32_t request, uint32_t flags,
	     const void *payload, size_t size, const int *fds, int nfds);
/* Send and let the back end handle it: what vh_conn_process() returned. */
int raw_msg(struct raw *r, uint32_t request, uint32_t flags,
	    const void *payload, size_t size, const int *fds, int nfds);
int raw_none(struct raw *r, uint32_t request);
int raw_u64(struct raw *r, uint32_t request, uint64_t v);
int raw_u64_fd(struct raw *r, uint32_t request, uint64_t v, int fd);
int raw_state(struct raw *r, uint32_t request, unsigned index, unsigned num);
int raw_region(struct raw *r, uint32_t request, uint64_t gpa, uint64_t size,
	       uint64_t uva, uint64_t offset, int fd);
/* A reply that must be there at once: its u64, or ~0. */
uint64_t raw_reply_u64(struct raw *r);
bool raw_has_reply(struct raw *r);

/* Features, protocol features, and `size` bytes of memory, all zero. */
int raw_setup(struct raw *r, uint64_t features, size_t size);
/* Set ring `i` up and start it: the queue, or NULL. */
struct vh_queue *raw_ring(struct raw *r, unsigned i, unsigned size,
			  unsigned base);
int raw_addr(struct raw *r, unsigned i);

/* Open fds of this process. */
int raw_count_fds(void);

#endif
