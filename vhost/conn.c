/* SPDX-License-Identifier: MIT */
/*
 * A connection: reads messages, checks them by the table in reqs.c, runs
 * their handlers, replies; starts and stops queues.
 *
 * A message that needs a queue to stop first (GET_VRING_BASE above all) stays
 * in conn->rx with `waiting` set; vh_queue_stopped() then takes it up again.
 * Nothing is read from the socket before, so messages keep their order.
 *
 * A ring runs when it has a size, addresses and a kick fd (or the word that
 * there is none), is enabled, features are agreed and memory is there.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Messages handled in one go, so that no front end keeps the thread busy. */
#define MSGS_AT_ONCE 64

uint64_t
vh_conn_offered_protocol(const struct vh_conn *conn)
{
	return VH_BIT(VH_PF_MQ) | VH_BIT(VH_PF_REPLY_ACK) |
	       VH_BIT(VH_PF_RESET_DEVICE) | VH_BIT(VH_PF_CONFIGURE_MEM_SLOTS) |
	       (conn->has_tag ? VH_BIT(VH_PF_CONFIG) : 0);
}

int
vh_conn_fail(struct vh_conn *conn, int err, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(conn->why, sizeof conn->why, "%s: ",
			 vh_msg_name(conn->rx.msg.request));

	va_start(ap, fmt);
	vsnprintf(conn->why + n, sizeof conn->why - (size_t)n, fmt, ap);
	va_end(ap);
	return err;
}

__attribute__((format(printf, 2, 3))) static void
trace(struct vh_conn *conn, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conn->ops->trace(conn->ctx, fmt, ap);
	va_end(ap);
}

static void
trace_msg(struct vh_conn *conn, const struct vh_msg *m)
{
	const struct vhost_vring_state *s = (const void *)m->payload.bytes;
	const char *ack = m->flags & VH_NEED_REPLY ? " need_reply" : "";
	const struct vh_req *req = vh_req_find(m->request);
	const char *name = vh_msg_name(m->request);

	if (!conn->ops->trace)
		return;
	if (req && req->where == Q_STATE && m->size >= sizeof *s)
		trace(conn, "%s q=%u n=%u fds=%d%s", name, s->index, s->num,
		      m->nfds, ack);
	else if (m->size == sizeof m->payload.u64)
		trace(conn, "%s 0x%" PRIx64 " fds=%d%s", name, m->payload.u64,
		      m->nfds, ack);
	else
		trace(conn, "%s size=%u fds=%d%s", name, m->size, m->nfds, ack);
}

/* ---- queues ---- */

static bool
queue_is_enabled(const struct vh_conn *conn, const struct vh_queue *q)
{
	if (q->enable >= 0)
		return q->enable;
	return !(conn->features & VH_BIT(VH_F_PROTOCOL_FEATURES));
}

/*
 * Start q if nothing is missing.  A ring outside guest memory is a mistake,
 * unless more memory may come (`patient`).
 */
static int
start_queue(struct vh_conn *conn, struct vh_queue *q, bool patient)
{
	char why[VH_WHY_MAX];
	int err;

	if (q->state != VH_STOPPED || !q->num || !q->have_addr ||
	    !q->have_kick || !conn->have_features || !conn->mem ||
	    !conn->mem->n || !queue_is_enabled(conn, q))
		return 0;
	err = vh_ring_start(q, conn->mem, conn->features, why);
	if (err == -EFAULT && patient)
		return 0;
	if (err)
		return vh_conn_fail(conn, err, "%s", why);
	q->state = VH_RUNNING;
	err = conn->ops->queue_start(conn->ctx, q);
	if (!err)
		return 0;
	q->state = VH_STOPPED;
	vh_ring_stop(q);
	return vh_conn_fail(conn, err, "queue %u cannot be served: %s",
			    q->index, strerror(-err));
}

/* Start what waited for features or memory. */
static int
start_queues(struct vh_conn *conn)
{
	int err = 0;

	for (unsigned i = 0; i < conn->nqueues && !err; i++)
		err = start_queue(conn, &conn->queue[i], true);
	return err;
}

static void
stop_queue(struct vh_conn *conn, struct vh_queue *q)
{
	if (q->state != VH_RUNNING)
		return;
	q->state = VH_STOPPING;
	conn->ops->queue_stop(conn->ctx, q);
}

static bool
any_stopping(const struct vh_conn *conn)
{
	for (unsigned i = 0; i < conn->nqueues; i++)
		if (conn->queue[i].state == VH_STOPPING)
			return true;
	return false;
}

void
vh_conn_set_mem(struct vh_conn *conn, struct vh_mem *mem)
{
	struct vh_mem *old = conn->mem;

	conn->mem = mem;
	for (unsigned i = 0; i < conn->nqueues; i++) {
		struct vh_queue *q = &conn->queue[i];

		if (q->state == VH_STOPPED)
			continue;
		vh_ring_set_mem(q, mem);
		if (q->state == VH_RUNNING)
			conn->ops->queue_wake(conn->ctx, q);
	}
	vh_mem_put(old);
}

/* ---- messages ---- */

static bool
wants_ack(const struct vh_conn *conn, const struct vh_msg *msg)
{
	return msg->flags & VH_NEED_REPLY &&
	       conn->protocol & VH_BIT(VH_PF_REPLY_ACK);
}

/* Replies are small and the front end is to read them: never wait. */
static int
reply(struct vh_conn *conn, struct vh_msg *msg)
{
	int err;

	msg->flags = VH_VERSION | VH_REPLY;
	err = vh_msg_send(conn->fd, msg, 0);
	if (err == -ETIMEDOUT)
		return vh_conn_fail(conn, err, "the front end does not read "
				    "its replies");
	if (err)
		return vh_conn_fail(conn, err, "cannot reply: %s",
				    strerror(-err));
	return 0;
}

static int
reply_ack(struct vh_conn *conn, struct vh_msg *msg, uint64_t result)
{
	msg->payload.u64 = result;
	msg->size = sizeof msg->payload.u64;
	return reply(conn, msg);
}

/* The queue that a message means, or NULL when it means none. */
static struct vh_queue *
msg_queue(const struct vh_conn *conn, const struct vh_req *req,
	  const struct vh_msg *msg, unsigned *index)
{
	const struct vhost_vring_state *s = (const void *)msg->payload.bytes;

	*index = req->where == Q_STATE ? s->index :
		 req->where == Q_U64 ? msg->payload.u64 & VH_VRING_INDEX : 0;
	if (req->where == Q_NONE || *index >= conn->nqueues)
		return NULL;
	return &conn->queue[*index];
}

static bool
is_supported(const struct vh_conn *conn, const struct vh_req *req)
{
	return req && req->run &&
	       (req->needs < 0 ||
		vh_conn_offered_protocol(conn) & VH_BIT(req->needs));
}

/* All that can be said of a message from the table. */
static int
check_msg(struct vh_conn *conn, const struct vh_req *req,
	  const struct vh_msg *msg)
{
	unsigned index;

	if ((msg->flags & VH_VERSION_MASK) != VH_VERSION ||
	    msg->flags & VH_REPLY)
		return vh_conn_fail(conn, -EPROTO, "flags 0x%x are not those "
				    "of a request", msg->flags);
	if (!req)
		return 0;
	if (msg->size < req->min || msg->size > req->max)
		return vh_conn_fail(conn, -EPROTO, "%u bytes of payload, want "
				    "%u to %u", msg->size, req->min, req->max);
	if (msg->nfds < req->fd_min || msg->nfds > req->fd_max)
		return vh_conn_fail(conn, -EPROTO, "%d file descriptors, want "
				    "%u to %u", msg->nfds, req->fd_min,
				    req->fd_max);
	if (req->where != Q_NONE && !msg_queue(conn, req, msg, &index))
		return vh_conn_fail(conn, -EPROTO, "queue %u of %u", index,
				    conn->nqueues);
	return 0;
}

/* Run the message at hand and reply. */
static int
run_msg(struct vh_conn *conn)
{
	struct vh_msg *msg = &conn->rx.msg;
	const struct vh_req *req = vh_req_find(msg->request);
	bool ack = wants_ack(conn, msg) && !(req->flags & VH_ANSWERS);
	unsigned index;
	struct vh_queue *q = msg_queue(conn, req, msg, &index);
	int err = req->run(conn, q, msg);

	vh_msg_close_fds(msg);
	if (!err)
		err = q ? start_queue(conn, q, false) : start_queues(conn);
	if (ack) {
		int r = reply_ack(conn, msg, err ? 1 : 0);

		err = err ? err : r;
	} else if (!err && req->flags & VH_ANSWERS) {
		err = reply(conn, msg);
	}
	vh_rx_init(&conn->rx);
	return err;
}

/* We do not do that: say so if asked, else the session cannot go on. */
static int
refuse(struct vh_conn *conn)
{
	struct vh_msg *msg = &conn->rx.msg;
	int err;

	vh_msg_close_fds(msg);
	if (wants_ack(conn, msg))
		err = reply_ack(conn, msg, 1);
	else
		err = vh_conn_fail(conn, -EOPNOTSUPP,
				   "this message was not offered");
	vh_rx_init(&conn->rx);
	return err;
}

/* Stop what has to stop before the message is handled. */
static void
stop_for(struct vh_conn *conn, const struct vh_req *req,
	 const struct vh_msg *msg)
{
	const struct vhost_vring_state *s = (const void *)msg->payload.bytes;
	unsigned index;

	if (req->flags & VH_STOPS ||
	    (req->flags & VH_STOPS_ON_0 && !s->num))
		stop_queue(conn, msg_queue(conn, req, msg, &index));
	if (req->flags & VH_STOPS_ALL)
		for (unsigned i = 0; i < conn->nqueues; i++)
			stop_queue(conn, &conn->queue[i]);
}

static int
handle_msg(struct vh_conn *conn)
{
	struct vh_msg *msg = &conn->rx.msg;
	const struct vh_req *req = vh_req_find(msg->request);
	int err;

	trace_msg(conn, msg);
	err = check_msg(conn, req, msg);
	if (err) {
		vh_msg_close_fds(msg);
		if (wants_ack(conn, msg))
			reply_ack(conn, msg, 1);
		return err;
	}
	if (!is_supported(conn, req))
		return refuse(conn);
	stop_for(conn, req, msg);
	if (any_stopping(conn)) {
		conn->waiting = true;
		return 0;
	}
	return run_msg(conn);
}

int
vh_conn_process(struct vh_conn *conn)
{
	const char *why = "";
	int r;

	if (conn->closed)
		return conn->err ? conn->err : -ENOTCONN;
	for (int i = 0; i < MSGS_AT_ONCE && !conn->waiting && !conn->err; i++) {
		r = vh_rx_read(conn->fd, &conn->rx, &why);
		if (!r)
			break;
		if (r > 0)
			conn->err = handle_msg(conn);
		else
			conn->err = r;
		if (r < 0)
			snprintf(conn->why, sizeof conn->why, "%s",
				 r == -ENOTCONN ? "the front end left" : why);
	}
	return conn->err;
}

void
vh_queue_stopped(struct vh_queue *q)
{
	struct vh_conn *conn = q->conn;

	if (q->state != VH_STOPPING)
		return;
	vh_ring_stop(q);
	q->state = VH_STOPPED;
	if (!conn->waiting || any_stopping(conn))
		return;
	conn->waiting = false;
	conn->err = run_msg(conn);
	/* Makes the fd readable, so that vh_conn_process() gets to tell. */
	if (conn->err)
		shutdown(conn->fd, SHUT_RDWR);
}

bool
vh_conn_wants_read(const struct vh_conn *conn)
{
	return !conn->closed && !conn->waiting;
}

bool
vh_conn_is_midway(const struct vh_conn *conn)
{
	return vh_conn_wants_read(conn) && conn->rx.got > 0;
}

/* ---- life ---- */

int
vh_conn_new(int fd, const struct vh_settings *set, const struct vh_ops *ops,
	    void *ctx, struct vh_conn **out)
{
	unsigned n = set->nqueues;
	struct vh_conn *conn;
	int flags, err = -ENOMEM;

	if (n < 2 || n > VH_QUEUES_MAX) {
		close(fd);
		return -EINVAL;
	}
	conn = calloc(1, sizeof *conn);
	if (!conn)
		goto close_fd;
	conn->queue = aligned_alloc(64, n * sizeof *conn->queue);
	if (!conn->queue)
		goto free_conn;
	for (; conn->nqueues < n; conn->nqueues++) {
		err = vh_queue_init(&conn->queue[conn->nqueues], conn,
				    conn->nqueues, ctx);
		if (err)
			goto free_queues;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		err = -errno;
		goto free_queues;
	}
	conn->fd = fd;
	conn->ops = ops;
	conn->ctx = ctx;
	conn->has_tag = set->tag;
	if (set->tag)
		memcpy(conn->config.tag, set->tag,
		       strnlen(set->tag, sizeof conn->config.tag));
	conn->config.num_request_queues = n - 1;
	vh_rx_init(&conn->rx);
	*out = conn;
	return 0;
free_queues:
	while (conn->nqueues)
		vh_queue_fini(&conn->queue[--conn->nqueues]);
	free(conn->queue);
free_conn:
	free(conn);
close_fd:
	close(fd);
	return err;
}

void
vh_conn_close(struct vh_conn *conn)
{
	if (conn->closed)
		return;
	conn->closed = true;
	conn->waiting = false;
	vh_msg_close_fds(&conn->rx.msg);
	for (unsigned i = 0; i < conn->nqueues; i++)
		stop_queue(conn, &conn->queue[i]);
	vh_mem_put(conn->mem);
	conn->mem = NULL;
	vh_close_socket(conn->fd);
	conn->fd = -1;
}

bool
vh_conn_is_idle(const struct vh_conn *conn)
{
	/* Not within vh_conn_close() yet, when a queue stops at once. */
	if (!conn->closed || conn->fd >= 0)
		return false;
	for (unsigned i = 0; i < conn->nqueues; i++) {
		const struct vh_queue *q = &conn->queue[i];

		if (q->state != VH_STOPPED ||
		    atomic_load_explicit(&q->holds, memory_order_acquire))
			return false;
	}
	return true;
}

void
vh_conn_free(struct vh_conn *conn)
{
	for (unsigned i = 0; i < conn->nqueues; i++)
		vh_queue_fini(&conn->queue[i]);
	free(conn->queue);
	free(conn);
}

int
vh_conn_fd(const struct vh_conn *conn)
{
	return conn->fd;
}

const char *
vh_conn_why(const struct vh_conn *conn)
{
	return conn->why;
}

void
vh_conn_info(const struct vh_conn *conn, struct vh_info *info)
{
	memset(info, 0, sizeof *info);
	info->features = conn->features;
	info->protocol_features = conn->protocol;
	info->nregions = conn->mem ? conn->mem->n : 0;
	info->mem_size = conn->mem ? vh_mem_size(conn->mem) : 0;
	for (unsigned i = 0; i < conn->nqueues; i++) {
		const struct vh_queue *q = &conn->queue[i];

		info->queue[i].size = q->num;
		info->queue[i].started = q->state == VH_RUNNING;
		info->queue[i].enabled = queue_is_enabled(conn, q);
		info->nstarted += q->state == VH_RUNNING;
	}
}
