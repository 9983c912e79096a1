/* SPDX-License-Identifier: MIT */
/*
 * What the files of vhost/ share among themselves.  The door is vhost.h.
 *
 * Who may touch what: a connection and its memory table belong to the control
 * thread.  A queue has a part for each of the three who use it, on cache lines
 * of their own: the control thread (set-up), the thread that serves the queue
 * (taking chains), and whoever answers (under `lock`).
 */
#ifndef VHOST_VH_H
#define VHOST_VH_H

#include <pthread.h>
#include <stdatomic.h>

#include "vhost/vhost.h"
#include "vhost/wire.h"

#define VH_WHY_MAX 256
#define VH_NOT_SHARED "guest memory is not shared: give the VM a shared " \
	"memory backend (memfd, share=on)"

/* Guest memory changes while we look: read and write each field once. */
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* ---- msg.c ---- */

/* A message as it arrives: kept while the rest is still under way. */
struct vh_rx {
	struct vh_msg msg;
	size_t got;		/* bytes of header and payload */
};

/* Close what came from a front end, or the socket to it: may wait, though not
 * here.  fds of -1 are passed over. */
void vh_close_foreign(const int *fds, int n);
void vh_close_socket(int fd);
/* Run on a thread of its own that nobody waits for; false if there can be
 * none. */
bool vh_run_aside(void *(*run)(void *arg), void *arg);

void vh_rx_init(struct vh_rx *rx);
/*
 * Read on without waiting.  1 when a message is whole, 0 when there is no more
 * to read now, -ENOTCONN at end of file between messages, else -errno with
 * *why set to a sentence.  After 1 the caller takes the message's fds or
 * closes them, and calls vh_rx_init().
 */
int vh_rx_read(int fd, struct vh_rx *rx, const char **why);

/* ---- sigbus.c ---- */

struct vh_guard;		/* a mapping's place in the handler's table */

/* Watch over a mapping.  -ENOMEM. */
int vh_guard_new(void *base, size_t len, struct vh_guard **guard);
/* Before the mapping is unmapped. */
void vh_guard_free(struct vh_guard *guard);
bool vh_guard_is_broken(const struct vh_guard *guard);
/* Changes whenever any mapping of the process broke. */
unsigned vh_guard_events(void);

/* ---- mem.c ---- */

/* A region of guest memory, as a table of it shows it. */
struct vh_region {
	uint64_t gpa;		/* guest address */
	uint64_t size;
	uint64_t uva;		/* the front end's, for ring addresses */
	char *host;		/* address here */
	struct vh_map *map;	/* what keeps it mapped; one reference */
};

/*
 * A memory table.  Never changed once it is made; a new one takes its place.
 * Freed by whoever drops the last reference, with the mappings that no other
 * table has.
 */
struct vh_mem {
	atomic_uint refs;
	unsigned n;
	struct vh_region region[];	/* sorted by gpa, none overlapping */
};

struct vh_mem *vh_mem_get(struct vh_mem *mem);
void vh_mem_put(struct vh_mem *mem);	/* NULL is fine */
uint64_t vh_mem_size(const struct vh_mem *mem);
/* True if a mapping of it was truncated while in use. */
bool vh_mem_is_broken(const struct vh_mem *mem);

/* A table of n regions mapped from fds (which stay the caller's).  On error
 * `why` has the sentence. */
int vh_mem_new(const struct vh_wire_region *r, const int *fds, unsigned n,
	       struct vh_mem **mem, char why[VH_WHY_MAX]);
/* A copy of `old` (may be NULL) with one region more, or one less. */
int vh_mem_add(const struct vh_mem *old, const struct vh_wire_region *r, int fd,
	       struct vh_mem **mem, char why[VH_WHY_MAX]);
int vh_mem_del(const struct vh_mem *old, const struct vh_wire_region *r,
	       struct vh_mem **mem, char why[VH_WHY_MAX]);

/* The region that holds guest address gpa, or NULL. */
const struct vh_region *vh_mem_find(const struct vh_mem *mem, uint64_t gpa);
/* The len bytes at the front end's address uva, or NULL. */
void *vh_mem_user(const struct vh_mem *mem, uint64_t uva, uint64_t len);

/* ---- queue.c ---- */

/* An eventfd that several threads may be signalling while it is replaced. */
struct vh_event {
	atomic_uint refs;
	int fd;
};

int vh_event_new(int fd, struct vh_event **ev);	/* takes fd, also on error */
void vh_event_put(struct vh_event *ev);		/* NULL is fine */
void vh_event_signal(struct vh_event *ev);
/* Signal what is there, if anything; takes q->lock. */
void vh_event_signal_at(struct vh_queue *q, struct vh_event *const *at);

enum vh_queue_state {
	VH_STOPPED,
	VH_RUNNING,		/* between queue_start and queue_stop */
	VH_STOPPING,		/* until vh_queue_stopped() */
};

struct vh_ring_addr {
	uint64_t desc, avail, used;	/* the front end's addresses */
};

struct vh_queue {
	/* The control thread's. */
	struct vh_conn *conn;
	void *owner;
	_Atomic(void *) data;
	unsigned index;
	enum vh_queue_state state;
	unsigned num;			/* size as set; 0 = not yet */
	bool have_addr, have_kick;
	int8_t enable;			/* by SET_VRING_ENABLE; -1 = not said */
	uint16_t base;			/* next chain, while stopped */
	int kick_fd;
	struct vh_ring_addr addr;
	atomic_uint holds;		/* chains held */
	struct vh_ring_addr ran_addr;	/* where it ran last */
	/* Read-locked while a late answer is copied, write-locked to halt the
	 * ring or to end an epoch: after that no late answer touches it. */
	pthread_rwlock_t epoch_lock;
	uint64_t epoch;
	bool halted;			/* stopped; it may go on */

	/* Set at the start, hardly written after. */
	_Alignas(64) unsigned size;
	uint16_t mask;
	bool event_idx, indirect;
	struct vring_desc *desc;
	struct vring_avail *avail;
	uint8_t *busy;			/* [size] chain is in flight, by head */
	struct vring_desc *table;	/* [VH_INDIRECT_MAX] a table copied */
	struct vh_mem *mem;
	atomic_bool news;		/* next_mem or late is set */
	atomic_bool broken;		/* `why` is written */
	atomic_bool signal_due;		/* of late answers; outlasts a stop */

	/* The serving thread's. */
	_Alignas(64) uint16_t next_avail;	/* next entry to take */
	uint16_t seen_avail;		/* avail->idx when last read */
	unsigned guard_events;		/* as last looked at */
	const struct vh_region *last;	/* where the last address was found */
	_Atomic uint64_t nkicks, nchains;
	char why[VH_WHY_MAX];

	/* Under lock. */
	_Alignas(64) pthread_mutex_t lock;
	struct vring_used *used;	/* NULL while stopped */
	uint16_t *used_event;		/* the driver says when to signal */
	uint16_t *avail_flags;
	uint16_t next_used;
	uint16_t decided;		/* so far: signal or not */
	bool signalled;			/* at least once since the start */
	struct vh_event *call, *err;
	struct vh_mem *next_mem;	/* to be taken over */
	struct vh_late *late;		/* answers, kept while it is stopped */
	_Atomic uint64_t ncalls, nsuppressed, nbatches;
};

int vh_queue_init(struct vh_queue *q, struct vh_conn *conn, unsigned index,
		  void *owner);
void vh_queue_fini(struct vh_queue *q);

/* Set up the ring of a stopped queue in `mem`; 0 or -errno with `why`. */
int vh_ring_start(struct vh_queue *q, struct vh_mem *mem, uint64_t features,
		  char why[VH_WHY_MAX]);
/* Nobody serves it any more: let go of the memory. */
void vh_ring_stop(struct vh_queue *q);
/* A stopped ring will not go on: end the epoch. */
void vh_ring_forget(struct vh_queue *q);
/* Hand a new table to the serving thread. */
void vh_ring_set_mem(struct vh_queue *q, struct vh_mem *mem);
/* Put ev (taken; or NULL) into q->call or q->err. */
void vh_ring_set_event(struct vh_queue *q, struct vh_event **slot,
		       struct vh_event *ev);
/* Called by the serving thread: nothing more is taken off this ring, and the
 * front end is told by its ERR fd.  Returns -EPROTO. */
__attribute__((format(printf, 2, 3), cold)) int
vh_ring_fail(struct vh_queue *q, const char *fmt, ...);

/* ---- late.c ---- */

/* Keep the answer to a chain of a halted ring; takes over c->mem and the
 * hold.  Under epoch_lock.  -1 without memory. */
int vh_late_keep(struct vh_queue *q, const struct vh_chain *c, const void *buf,
		 size_t len);
void vh_late_give(struct vh_queue *q);	/* by the serving thread */
void vh_late_drop(struct vh_queue *q);

/* ---- conn.c ---- */

struct vh_conn {
	int fd;
	unsigned nqueues;
	bool has_tag;
	bool have_features;
	bool waiting;		/* rx.msg waits for queues to stop */
	bool closed;
	int err;		/* how the connection ended; 0 = it has not */
	uint64_t features, protocol;	/* acknowledged */
	struct virtio_fs_config config;
	struct vh_mem *mem;	/* NULL: never set */
	struct vh_queue *queue;	/* [nqueues] */
	const struct vh_ops *ops;
	void *ctx;
	struct vh_rx rx;
	char why[VH_WHY_MAX];
};

uint64_t vh_conn_offered_protocol(const struct vh_conn *conn);
/* Say what is wrong with the message at hand; returns err. */
__attribute__((format(printf, 3, 4))) int
vh_conn_fail(struct vh_conn *conn, int err, const char *fmt, ...);
/* Replace the memory table (takes mem) and tell every running queue. */
void vh_conn_set_mem(struct vh_conn *conn, struct vh_mem *mem);

/* ---- reqs.c ---- */

/* Where a message says which queue it means. */
enum vh_where { Q_NONE, Q_STATE, Q_U64 };

enum {
	VH_ANSWERS = 1 << 0,	/* the handler makes a reply of its own */
	VH_STOPS = 1 << 1,	/* the queue is stopped before it is handled */
	VH_STOPS_ON_0 = 1 << 2,	/* it is if the message's number is 0 */
	VH_STOPS_ALL = 1 << 3,	/* every queue is */
};

struct vh_req {
	const char *name;
	uint16_t min, max;	/* bytes of payload */
	uint8_t fd_min, fd_max;
	uint8_t where;		/* enum vh_where */
	int8_t needs;		/* bit of the protocol features; -1 = none */
	uint8_t flags;
	/* 0, or -errno by vh_conn_fail().  msg->payload and msg->size become
	 * the reply of a message that VH_ANSWERS. */
	int (*run)(struct vh_conn *conn, struct vh_queue *q,
		   struct vh_msg *msg);
};

/* NULL when there is no such message. */
const struct vh_req *vh_req_find(uint32_t request);

#endif
