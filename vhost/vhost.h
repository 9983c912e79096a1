/* SPDX-License-Identifier: MIT */
/*
 * The door of vhost/: the vhost-user protocol, guest memory and split rings,
 * as the back end (a device: gatewayd) and as the front end (a driver: the
 * mount client, the tests, the benchmark).
 *
 * Follows the vhost-user protocol document of QEMU and "Virtio 1.2", sections
 * 2.6, 2.7 (split rings) and 5.11 (file system device).  Knows nothing of
 * FUSE, of an event loop, or of logs: it is told when an fd is readable, calls
 * back, and returns -errno with a sentence in vh_conn_why().
 *
 * Security: the socket, the memory and the rings belong to somebody who may be
 * hostile.  No field is believed before it was copied out and checked; nothing
 * that arrives can reach assert, exit or abort; what breaks a rule ends this
 * connection and no other.
 */
#ifndef VHOST_VHOST_H
#define VHOST_VHOST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VH_QUEUES_MAX 65	/* hiprio and 64 request queues */
#define VH_RING_MAX 32768	/* entries of a ring */
#define VH_INDIRECT_MAX 1024	/* entries of an indirect table */
#define VH_MEM_SLOTS 509	/* memory regions (CONFIGURE_MEM_SLOTS) */
#define VH_IOV_MAX 2048		/* pieces of one chain */

/* ------------------------------------------------------------------ */
/* Back end: connections.  Every function of this part is called by the
 * control thread, and every callback runs inside one of them. */

struct vh_conn;			/* one front end; owned by the control thread */
struct vh_queue;		/* one ring of it */

struct vh_settings {
	unsigned nqueues;	/* hiprio and request, 2 .. VH_QUEUES_MAX */
	const char *tag;	/* copied; for PROTOCOL_F_CONFIG, or NULL */
};

struct vh_ops {
	/*
	 * `q` is set up, kicked and enabled: begin to serve it, until
	 * queue_stop.  0 or -errno, which ends the connection.
	 */
	int (*queue_start)(void *ctx, struct vh_queue *q);
	/*
	 * Stop serving `q`.  Once no thread uses it any more the owner calls
	 * vh_queue_stopped(), at once or later; the reply that waits for it is
	 * sent then, and messages are not read before.  Chains that others
	 * still hold are cut loose by it: wait for them first where that
	 * can be done; they are answered when the ring goes on.
	 *
	 * A hostile front end can make its eventfds block, and so whoever
	 * signals them.  A thread that does not stop is in such a write(2),
	 * and comes out of it when a signal without SA_RESTART interrupts it.
	 */
	void (*queue_stop)(void *ctx, struct vh_queue *q);
	/*
	 * Something about `q` changed (memory, call fd): its thread is to call
	 * vh_queue_sync() soon, even when the ring is idle.
	 */
	void (*queue_wake)(void *ctx, struct vh_queue *q);
	/* RESET_DEVICE: every ring is stopped and its state dropped. */
	void (*reset)(void *ctx);
	/* One line for each message that arrived; NULL when nobody looks. */
	void (*trace)(void *ctx, const char *fmt, va_list ap);
};

/*
 * Serve the connected socket `fd` (taken, also on error; made non-blocking).
 * `ops` and `ctx` are borrowed until vh_conn_free().
 */
int vh_conn_new(int fd, const struct vh_settings *set, const struct vh_ops *ops,
		void *ctx, struct vh_conn **conn);

/* Stop every queue (queue_stop is called for each that runs) and close the
 * socket.  Free it when vh_conn_is_idle(): all queues have stopped and no
 * chain is held any more. */
void vh_conn_close(struct vh_conn *conn);
bool vh_conn_is_idle(const struct vh_conn *conn);
void vh_conn_free(struct vh_conn *conn);

int vh_conn_fd(const struct vh_conn *conn);	/* -1 once closed */

/*
 * Read and handle what has arrived.  0: go on.  -ENOTCONN: the front end left
 * between two messages, as it should.  Any other -errno: it broke the
 * protocol or the system failed; vh_conn_why() says how.  After an error call
 * vh_conn_close().
 */
int vh_conn_process(struct vh_conn *conn);

/* False while a reply waits for a queue to stop: do not watch the fd then. */
bool vh_conn_wants_read(const struct vh_conn *conn);

/* True while a message has begun to arrive and is not whole. */
bool vh_conn_is_midway(const struct vh_conn *conn);

/* A sentence on what went wrong last, "" if nothing did; borrowed. */
const char *vh_conn_why(const struct vh_conn *conn);

/* What a person may want to know of a connection. */
struct vh_info {
	uint64_t features;		/* acknowledged virtio features */
	uint64_t protocol_features;
	unsigned nregions;
	uint64_t mem_size;		/* bytes of guest memory mapped */
	unsigned nstarted;		/* rings that run */
	struct {
		unsigned size;		/* 0 = never set up */
		bool started, enabled;
	} queue[VH_QUEUES_MAX];
};
void vh_conn_info(const struct vh_conn *conn, struct vh_info *info);

/*
 * The kernel limits the mappings of a process, and with them every thread's
 * stack and every allocation: sessions that want more than `most` of guest
 * memory, all together, are refused.  No limit unless it is called.
 */
void vh_limit_maps(unsigned most);
unsigned vh_maps(void);		/* how many there are */

/*
 * Install the SIGBUS handler that contains guest memory which was truncated
 * while in use: the region is replaced by anonymous memory and its connection
 * marked broken (vh_queue_sync() then fails).  Any other address takes the
 * default action.  Once per process; 0 or -errno.
 */
int vh_sigbus_init(void);

/* ------------------------------------------------------------------ */
/* Back end: queues.  Between queue_start and vh_queue_stopped() one thread
 * serves a queue; functions marked [any] may be called by others too. */

unsigned vh_queue_index(const struct vh_queue *q); /* [any] 0 = hiprio */
void *vh_queue_owner(const struct vh_queue *q);	/* [any] vh_conn_new's ctx */

/* The owner's pointer, for whatever it keeps per queue.  [any] */
void vh_queue_set_data(struct vh_queue *q, void *data);
void *vh_queue_data(const struct vh_queue *q);

/*
 * Tell that no thread uses `q` any more.  On the control thread.  May handle
 * the message that waited for it, and so call queue_start.  After it watch
 * the fd again (vh_conn_wants_read()); an error is told by vh_conn_process(),
 * for which the fd then becomes readable.
 */
void vh_queue_stopped(struct vh_queue *q);

/* The kick eventfd to sleep on; -1 if the front end gave none (then the ring
 * is looked at every millisecond).  Valid until the queue is stopped; a new
 * kick fd stops and starts the queue. */
int vh_queue_kick_fd(const struct vh_queue *q);

/*
 * Call before each batch, with no chain of an earlier batch in use: takes
 * over memory and call fd as the control thread last set them.
 * 0, or -errno when the ring or the memory is broken: then stop serving the
 * queue and let the control thread close the connection (vh_queue_why()).
 */
int vh_queue_sync(struct vh_queue *q);
const char *vh_queue_why(const struct vh_queue *q);	/* [any] */

/* A chain taken off the ring: copied out once, every address checked. */
struct vh_chain {
	uint16_t head;
	unsigned nin, nout;	/* pieces to read, pieces to write */
	size_t in_len, out_len;	/* bytes in them */
	struct iovec *iov;	/* nin, then nout; neighbours are joined */
	uint64_t epoch;		/* of the ring, when it was taken */
	void *mem;		/* vhost's own: the memory it points into */
};

/*
 * Take the next chain; its pieces are put into iov[VH_IOV_MAX], which must
 * live as long as the chain.  1, 0 when the ring is empty or vh_queue_sync() is
 * to come first (vh_queue_has_work() tells), or -errno when it is broken.  The
 * pieces stay valid until the next vh_queue_sync() of this queue, or longer
 * with vh_chain_hold().
 */
int vh_queue_pop(struct vh_queue *q, struct vh_chain *c, struct iovec *iov);

/* Is there something to pop?  Cheap enough to poll with. */
bool vh_queue_has_work(struct vh_queue *q);

/* Ask the front end not to kick / to kick again.  vh_queue_arm() returns
 * false when work arrived meanwhile: then do not sleep. */
void vh_queue_suppress(struct vh_queue *q);
bool vh_queue_arm(struct vh_queue *q);
/* Count that a kick ended a sleep.  Whether the fd is read is the caller's. */
void vh_queue_kicked(struct vh_queue *q);

struct vh_used {
	uint16_t head;
	uint32_t len;		/* bytes written, exactly */
};

/*
 * Answer n chains of the present epoch: store the used elements, publish the
 * index once, signal once if the driver wants it.  [any]
 */
void vh_queue_complete(struct vh_queue *q, const struct vh_used *used,
		       unsigned n);
/* The same without a signal, for a driver that is looking anyway; complete (n
 * may be 0) is to follow soon, and signals for these too.  [any] */
void vh_queue_publish(struct vh_queue *q, const struct vh_used *used,
		      unsigned n);

/*
 * For a chain that is answered by another thread later.  hold: keep the
 * memory it points into (the caller has copied `iov` to where it lives as
 * long).  finish: copy `len` bytes of `buf` into the writable pieces and
 * answer.  If the ring is stopped, a copy is kept until it goes on where it
 * was (GET_VRING_BASE, then the same base, as for a machine that is stopped
 * and continued); if it was reset or set up anew, nothing is done.  Ends the
 * caller's hold in any case.  `buf` may be NULL when the bytes are in place
 * already.
 * It does not signal, because that can block: when the driver wants to hear
 * of it, the queue's own thread is to call vh_queue_signal(), and is to be
 * woken for it before the queue is gone.
 * Returns a vh_finish, or -EFAULT when guest memory went away.  [any]
 */
enum vh_finish {
	VH_LATE,		/* the ring has ended meanwhile: dropped */
	VH_KEPT,		/* it is stopped: answered if it goes on */
	VH_ANSWERED,
	VH_SIGNAL_DUE,		/* answered, vh_queue_signal() is to follow */
};
void vh_chain_hold(struct vh_queue *q, struct vh_chain *c);
int vh_chain_finish(struct vh_queue *q, struct vh_chain *c, const void *buf,
		    size_t len);

/* Signal if vh_chain_finish() has left that to do; by the queue's thread.
 * vh_queue_sync() does it too, and vh_queue_has_work() tells when it is due. */
void vh_queue_signal(struct vh_queue *q);

struct vh_queue_stats {
	uint64_t kicks;		/* wake-ups by the front end */
	uint64_t calls;		/* interrupts sent */
	uint64_t calls_suppressed;
	uint64_t chains;
	uint64_t batches;	/* times that answers were published */
};
/* [any] */
void vh_queue_get_stats(const struct vh_queue *q, struct vh_queue_stats *st);

/* ------------------------------------------------------------------ */
/* Messages as bytes, for both ends and for tests that misbehave. */

#define VH_MSG_FDS 8
#define VH_MSG_MAX 4096		/* bytes of payload we ever accept */

struct vh_msg {
	uint32_t request;	/* enum vh_request, vhost/wire.h's numbers */
	uint32_t flags;
	uint32_t size;		/* of payload */
	int nfds;
	int fds[VH_MSG_FDS];	/* -1 once taken */
	union {
		uint64_t u64;
		unsigned char bytes[VH_MSG_MAX];
	} payload;
};

/* Send all of it, waiting up to timeout_ms; fds stay the caller's. */
int vh_msg_send(int fd, const struct vh_msg *msg, int timeout_ms);
/* Receive one whole message, waiting up to timeout_ms (-1 = for ever).
 * 0, -ENOTCONN at end of file, -ETIMEDOUT, -EPROTO.  The caller closes fds. */
int vh_msg_recv(int fd, struct vh_msg *msg, int timeout_ms);
void vh_msg_close_fds(struct vh_msg *msg);
/* "SET_MEM_TABLE" or "request 99". */
const char *vh_msg_name(uint32_t request);

/* ------------------------------------------------------------------ */
/* Front end: a driver in this process.  One thread per queue at a time. */

struct vh_front;
struct vh_front_queue;

struct vh_front_settings {
	unsigned nqueues;	/* hiprio and request queues wanted */
	unsigned queue_size;	/* power of two */
	size_t mem_size;	/* bytes of shared memory for buffers */
	uint64_t features;	/* virtio features wanted; 0 = VERSION_1,
				 * INDIRECT_DESC, EVENT_IDX */
	int timeout_ms;		/* for each reply; 0 = 10 s */
};

/*
 * Connect to the vhost-user socket `path`, negotiate, share memory (a memfd)
 * and start the queues.  On error *why (if not NULL) holds a sentence,
 * allocated.  Works with any vhost-user-fs back end.
 */
int vh_front_connect(const char *path, const struct vh_front_settings *set,
		     struct vh_front **front, char **why);
void vh_front_free(struct vh_front *front);	/* stops the rings, closes */

int vh_front_fd(const struct vh_front *front);	/* to see it hang up */
void *vh_front_mem(struct vh_front *front, size_t *size);
uint64_t vh_front_features(const struct vh_front *front);
unsigned vh_front_nqueues(const struct vh_front *front);
struct vh_front_queue *vh_front_queue(struct vh_front *front, unsigned index);

/*
 * Put a chain on the ring: nin pieces for the device to read, then nout for
 * it to write, all inside vh_front_mem().  An indirect table is used when
 * that was negotiated and there are more than two pieces.  `cookie` comes back
 * from reap.  0, -ENOSPC when the ring is full.  The device sees it at once;
 * kick tells it (when it wants to be told).
 */
int vh_front_submit(struct vh_front_queue *q, const struct iovec *iov,
		    unsigned nin, unsigned nout, uint64_t cookie);
/* 1 if a kick was sent, 0 if it was not wanted. */
int vh_front_kick(struct vh_front_queue *q);

/* Take one answer.  1, 0 if there is none, -EPROTO if the device's answer is
 * impossible. */
int vh_front_reap(struct vh_front_queue *q, uint64_t *cookie, uint32_t *len);
int vh_front_call_fd(const struct vh_front_queue *q);
/* Before sleeping on the call fd; false when answers are there already. */
bool vh_front_arm(struct vh_front_queue *q);
/* Reap with waiting: as vh_front_reap, -ETIMEDOUT, -ENOTCONN. */
int vh_front_wait(struct vh_front_queue *q, uint64_t *cookie, uint32_t *len,
		  int timeout_ms);

/* Stop a ring as a driver reset does (GET_VRING_BASE), start it again. */
int vh_front_stop(struct vh_front_queue *q);
int vh_front_start(struct vh_front_queue *q);

#endif
