/* SPDX-License-Identifier: MIT */
/*
 * Every message a front end can send, as a table, and the handlers of those
 * we offer.
 *
 * Security: nothing in a message may be believed.  Before a handler runs, the
 * table has checked size, number of fds and queue number, and the queue was
 * stopped where the table says so.  A handler copies what it needs, takes the
 * fds it keeps out of the message (the rest are closed behind it) and says
 * what is wrong by vh_conn_fail(), which ends the connection.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FEATURES (VH_BIT(VIRTIO_F_VERSION_1) | \
		  VH_BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
		  VH_BIT(VIRTIO_RING_F_EVENT_IDX) | \
		  VH_BIT(VH_F_PROTOCOL_FEATURES))

static void
answer_u64(struct vh_msg *msg, uint64_t v)
{
	msg->payload.u64 = v;
	msg->size = sizeof v;
}

static struct vhost_vring_state
msg_state(const struct vh_msg *msg)
{
	struct vhost_vring_state s;

	memcpy(&s, msg->payload.bytes, sizeof s);
	return s;
}

/* ---- features, owner ---- */

static int
get_features(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	(void)conn, (void)q;
	answer_u64(msg, FEATURES);
	return 0;
}

static int
set_features(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	uint64_t v = msg->payload.u64;

	(void)q;
	if (v & ~FEATURES)
		return vh_conn_fail(conn, -EINVAL, "0x%" PRIx64
				    " were not offered", v & ~FEATURES);
	conn->features = v;
	conn->have_features = true;
	return 0;
}

static int
get_protocol_features(struct vh_conn *conn, struct vh_queue *q,
		      struct vh_msg *msg)
{
	(void)q;
	answer_u64(msg, vh_conn_offered_protocol(conn));
	return 0;
}

static int
set_protocol_features(struct vh_conn *conn, struct vh_queue *q,
		      struct vh_msg *msg)
{
	uint64_t v = msg->payload.u64;
	uint64_t wrong = v & ~vh_conn_offered_protocol(conn);

	(void)q;
	if (wrong)
		return vh_conn_fail(conn, -EINVAL, "0x%" PRIx64
				    " were not offered", wrong);
	conn->protocol = v;
	return 0;
}

/* SET_OWNER, and RESET_OWNER, which is deprecated and to be ignored. */
static int
do_nothing(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	(void)conn, (void)q, (void)msg;
	return 0;
}

static int
get_queue_num(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	(void)q;
	answer_u64(msg, conn->nqueues);
	return 0;
}

static int
get_config(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vh_wire_config c;
	uint32_t room = sizeof c - VH_CONFIG_MAX;

	(void)q;
	memcpy(&c, msg->payload.bytes, room);
	/* No payload says that there is no such configuration. */
	if (c.offset > sizeof conn->config ||
	    c.size > sizeof conn->config - c.offset ||
	    msg->size != room + c.size) {
		msg->size = 0;
		return 0;
	}
	memcpy(msg->payload.bytes + room, (char *)&conn->config + c.offset,
	       c.size);
	return 0;
}

/* ---- memory ---- */

static int
set_mem_table(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vh_wire_mem_table t;
	char why[VH_WHY_MAX];
	struct vh_mem *mem;
	int err;

	(void)q;
	memcpy(&t, msg->payload.bytes, msg->size);
	if (t.nregions > VH_TABLE_REGIONS)
		return vh_conn_fail(conn, -EINVAL, "%u memory regions, at most "
				    "%d fit", t.nregions, VH_TABLE_REGIONS);
	if (msg->size != offsetof(struct vh_wire_mem_table, region) +
			 t.nregions * sizeof t.region[0])
		return vh_conn_fail(conn, -EINVAL, "%u bytes for %u memory "
				    "regions", msg->size, t.nregions);
	if (t.nregions && !msg->nfds)
		return vh_conn_fail(conn, -EINVAL, "%s", VH_NOT_SHARED);
	if ((unsigned)msg->nfds != t.nregions)
		return vh_conn_fail(conn, -EINVAL, "%u memory regions with %d "
				    "file descriptors", t.nregions, msg->nfds);
	err = vh_mem_new(t.region, msg->fds, t.nregions, &mem, why);
	if (err)
		return vh_conn_fail(conn, err, "%s", why);
	vh_conn_set_mem(conn, mem);
	return 0;
}

static int
get_max_mem_slots(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	(void)conn, (void)q;
	answer_u64(msg, VH_MEM_SLOTS);
	return 0;
}

static int
add_mem_reg(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vh_wire_mem_reg w;
	char why[VH_WHY_MAX];
	struct vh_mem *mem;
	int err;

	(void)q;
	memcpy(&w, msg->payload.bytes, sizeof w);
	if (!msg->nfds)
		return vh_conn_fail(conn, -EINVAL, "%s", VH_NOT_SHARED);
	err = vh_mem_add(conn->mem, &w.region, msg->fds[0], &mem, why);
	if (err)
		return vh_conn_fail(conn, err, "%s", why);
	vh_conn_set_mem(conn, mem);
	return 0;
}

static int
rem_mem_reg(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vh_wire_mem_reg w;
	char why[VH_WHY_MAX];
	struct vh_mem *mem;
	int err;

	(void)q;
	memcpy(&w, msg->payload.bytes, sizeof w);
	err = vh_mem_del(conn->mem, &w.region, &mem, why);
	if (err)
		return vh_conn_fail(conn, err, "%s", why);
	vh_conn_set_mem(conn, mem);
	return 0;
}

/* ---- rings ---- */

static int
set_vring_num(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	unsigned n = msg_state(msg).num;

	if (q->state != VH_STOPPED)
		return vh_conn_fail(conn, -EBUSY, "queue %u runs", q->index);
	if (!n || n > VH_RING_MAX || n & (n - 1))
		return vh_conn_fail(conn, -EINVAL, "queue %u: %u entries, want "
				    "a power of two up to %d", q->index, n,
				    VH_RING_MAX);
	q->num = n;
	return 0;
}

static int
set_vring_addr(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vhost_vring_addr a;

	memcpy(&a, msg->payload.bytes, sizeof a);
	if (a.flags & VH_BIT(VHOST_VRING_F_LOG))
		return vh_conn_fail(conn, -EINVAL, "queue %u: logging was not "
				    "offered", q->index);
	if (a.desc_user_addr % VRING_DESC_ALIGN_SIZE ||
	    a.avail_user_addr % VRING_AVAIL_ALIGN_SIZE ||
	    a.used_user_addr % VRING_USED_ALIGN_SIZE)
		return vh_conn_fail(conn, -EINVAL, "queue %u: its ring is not "
				    "aligned", q->index);
	q->addr.desc = a.desc_user_addr;
	q->addr.avail = a.avail_user_addr;
	q->addr.used = a.used_user_addr;
	q->have_addr = true;
	return 0;
}

static int
set_vring_base(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	unsigned n = msg_state(msg).num;

	if (q->state != VH_STOPPED)
		return vh_conn_fail(conn, -EBUSY, "queue %u runs", q->index);
	if (n > UINT16_MAX)
		return vh_conn_fail(conn, -EINVAL, "queue %u: index %u",
				    q->index, n);
	q->base = (uint16_t)n;
	return 0;
}

static void
set_kick_fd(struct vh_queue *q, int fd, bool have)
{
	if (q->kick_fd >= 0)
		close(q->kick_fd);
	q->kick_fd = fd;
	q->have_kick = have;
}

static int
get_vring_base(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vhost_vring_state s = { .index = q->index, .num = q->base };

	(void)conn;
	/* Only a new kick fd starts it again. */
	set_kick_fd(q, -1, false);
	memcpy(msg->payload.bytes, &s, sizeof s);
	msg->size = sizeof s;
	return 0;
}

/*
 * An eventfd refuses to write nothing; pipes, sockets and files, which could
 * make whoever signals wait or die, do not.
 */
static bool
is_eventfd(int fd)
{
	struct statx stx;

	/* Nothing is written to a file: its lock or its server could make us
	 * wait.  These have no type. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE,
		  &stx) || stx.stx_mode & S_IFMT)
		return false;
	return write(fd, "", 0) < 0 && errno == EINVAL;
}

/* Take the eventfd of a message, -1 if it says that there is none. */
static int
take_eventfd(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg,
	     int *fd)
{
	bool none = msg->payload.u64 & VH_VRING_NOFD;
	int flags;

	if (msg->payload.u64 & ~(uint64_t)(VH_VRING_NOFD | VH_VRING_INDEX))
		return vh_conn_fail(conn, -EINVAL, "0x%" PRIx64 " is no queue",
				    msg->payload.u64);
	if (none != !msg->nfds)
		return vh_conn_fail(conn, -EINVAL, "queue %u: %s", q->index,
				    none ? "an fd that should not be there"
					 : "no fd");
	*fd = -1;
	if (none)
		return 0;
	flags = fcntl(msg->fds[0], F_GETFL);
	if (flags < 0 || fcntl(msg->fds[0], F_SETFL, flags | O_NONBLOCK) ||
	    !is_eventfd(msg->fds[0]))
		return vh_conn_fail(conn, -EINVAL, "queue %u: the fd is no "
				    "eventfd", q->index);
	*fd = msg->fds[0];
	msg->fds[0] = -1;
	return 0;
}

static int
set_vring_kick(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	int fd, err = take_eventfd(conn, q, msg, &fd);

	if (!err)
		set_kick_fd(q, fd, true);
	return err;
}

static int
take_event(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg,
	   struct vh_event **ev)
{
	int fd, err = take_eventfd(conn, q, msg, &fd);

	*ev = NULL;
	if (err || fd < 0)
		return err;
	err = vh_event_new(fd, ev);
	return err ? vh_conn_fail(conn, err, "out of memory") : 0;
}

static int
set_vring_call(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vh_event *ev;
	int err = take_event(conn, q, msg, &ev);

	if (!err)
		vh_ring_set_event(q, &q->call, ev);
	return err;
}

static int
set_vring_err(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	struct vh_event *ev;
	int err = take_event(conn, q, msg, &ev);

	if (!err)
		vh_ring_set_event(q, &q->err, ev);
	return err;
}

static int
set_vring_enable(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	unsigned n = msg_state(msg).num;

	if (n > 1)
		return vh_conn_fail(conn, -EINVAL, "queue %u: %u is neither 0 "
				    "nor 1", q->index, n);
	q->enable = (int8_t)n;
	return 0;
}

static void
reset_queue(struct vh_queue *q)
{
	q->num = 0;
	q->have_addr = false;
	q->base = 0;
	q->enable = -1;
	vh_ring_forget(q);
	memset(&q->addr, 0, sizeof q->addr);
	set_kick_fd(q, -1, false);
	vh_ring_set_event(q, &q->call, NULL);
}

static int
reset_device(struct vh_conn *conn, struct vh_queue *q, struct vh_msg *msg)
{
	(void)q, (void)msg;
	for (unsigned i = 0; i < conn->nqueues; i++)
		reset_queue(&conn->queue[i]);
	if (conn->ops->reset)
		conn->ops->reset(conn->ctx);
	return 0;
}

/* ---- the table ---- */

#define U64 sizeof(uint64_t)
#define STATE sizeof(struct vhost_vring_state)
#define ADDR sizeof(struct vhost_vring_addr)
#define REGION sizeof(struct vh_wire_mem_reg)
#define TABLE offsetof(struct vh_wire_mem_table, region)
#define TABLE_MAX sizeof(struct vh_wire_mem_table)
#define CONFIG offsetof(struct vh_wire_config, bytes)
#define CONFIG_MAX sizeof(struct vh_wire_config)
#define ANY VH_MSG_MAX
#define A VH_ANSWERS

/* A row without a handler is a message that we do not offer. */
/* clang-format off */
static const struct vh_req reqs[VH_REQUESTS] = {
	/*                             name                     bytes of payload    fds   queue    needs                      flags                handler */
	[VH_GET_FEATURES]          = { "GET_FEATURES",          0,      0,          0, 0, Q_NONE,  -1,                        A,                   get_features },
	[VH_SET_FEATURES]          = { "SET_FEATURES",          U64,    U64,        0, 0, Q_NONE,  -1,                        0,                   set_features },
	[VH_SET_OWNER]             = { "SET_OWNER",             0,      0,          0, 0, Q_NONE,  -1,                        0,                   do_nothing },
	[VH_RESET_OWNER]           = { "RESET_OWNER",           0,      0,          0, 0, Q_NONE,  -1,                        0,                   do_nothing },
	[VH_SET_MEM_TABLE]         = { "SET_MEM_TABLE",         TABLE,  TABLE_MAX,  0, 8, Q_NONE,  -1,                        0,                   set_mem_table },
	[VH_SET_LOG_BASE]          = { "SET_LOG_BASE",          U64,    2 * U64,    0, 1, Q_NONE,  VH_PF_LOG_SHMFD,           A,                   NULL },
	[VH_SET_LOG_FD]            = { "SET_LOG_FD",            0,      U64,        0, 1, Q_NONE,  -1,                        0,                   NULL },
	[VH_SET_VRING_NUM]         = { "SET_VRING_NUM",         STATE,  STATE,      0, 0, Q_STATE, -1,                        0,                   set_vring_num },
	[VH_SET_VRING_ADDR]        = { "SET_VRING_ADDR",        ADDR,   ADDR,       0, 0, Q_STATE, -1,                        VH_STOPS,            set_vring_addr },
	[VH_SET_VRING_BASE]        = { "SET_VRING_BASE",        STATE,  STATE,      0, 0, Q_STATE, -1,                        0,                   set_vring_base },
	[VH_GET_VRING_BASE]        = { "GET_VRING_BASE",        STATE,  STATE,      0, 0, Q_STATE, -1,                        A | VH_STOPS,        get_vring_base },
	[VH_SET_VRING_KICK]        = { "SET_VRING_KICK",        U64,    U64,        0, 1, Q_U64,   -1,                        VH_STOPS,            set_vring_kick },
	[VH_SET_VRING_CALL]        = { "SET_VRING_CALL",        U64,    U64,        0, 1, Q_U64,   -1,                        0,                   set_vring_call },
	[VH_SET_VRING_ERR]         = { "SET_VRING_ERR",         U64,    U64,        0, 1, Q_U64,   -1,                        0,                   set_vring_err },
	[VH_GET_PROTOCOL_FEATURES] = { "GET_PROTOCOL_FEATURES", 0,      0,          0, 0, Q_NONE,  -1,                        A,                   get_protocol_features },
	[VH_SET_PROTOCOL_FEATURES] = { "SET_PROTOCOL_FEATURES", U64,    U64,        0, 0, Q_NONE,  -1,                        0,                   set_protocol_features },
	[VH_GET_QUEUE_NUM]         = { "GET_QUEUE_NUM",         0,      0,          0, 0, Q_NONE,  VH_PF_MQ,                  A,                   get_queue_num },
	[VH_SET_VRING_ENABLE]      = { "SET_VRING_ENABLE",      STATE,  STATE,      0, 0, Q_STATE, -1,                        VH_STOPS_ON_0,       set_vring_enable },
	[VH_SEND_RARP]             = { "SEND_RARP",             U64,    U64,        0, 0, Q_NONE,  VH_PF_RARP,                0,                   NULL },
	[VH_NET_SET_MTU]           = { "NET_SET_MTU",           U64,    U64,        0, 0, Q_NONE,  VH_PF_MTU,                 0,                   NULL },
	[VH_SET_BACKEND_REQ_FD]    = { "SET_BACKEND_REQ_FD",    0,      U64,        0, 1, Q_NONE,  VH_PF_BACKEND_REQ,         0,                   NULL },
	[VH_IOTLB_MSG]             = { "IOTLB_MSG",             26,     32,         0, 0, Q_NONE,  -1,                        A,                   NULL },
	[VH_SET_VRING_ENDIAN]      = { "SET_VRING_ENDIAN",      STATE,  STATE,      0, 0, Q_STATE, VH_PF_CROSS_ENDIAN,        0,                   NULL },
	[VH_GET_CONFIG]            = { "GET_CONFIG",            CONFIG, CONFIG_MAX, 0, 0, Q_NONE,  VH_PF_CONFIG,              A,                   get_config },
	[VH_SET_CONFIG]            = { "SET_CONFIG",            CONFIG, CONFIG_MAX, 0, 0, Q_NONE,  VH_PF_CONFIG,              0,                   NULL },
	[VH_CREATE_CRYPTO_SESSION] = { "CREATE_CRYPTO_SESSION", 0,      ANY,        0, 0, Q_NONE,  VH_PF_CRYPTO_SESSION,      A,                   NULL },
	[VH_CLOSE_CRYPTO_SESSION]  = { "CLOSE_CRYPTO_SESSION",  U64,    U64,        0, 0, Q_NONE,  VH_PF_CRYPTO_SESSION,      0,                   NULL },
	[VH_POSTCOPY_ADVISE]       = { "POSTCOPY_ADVISE",       0,      0,          0, 0, Q_NONE,  VH_PF_PAGEFAULT,           A,                   NULL },
	[VH_POSTCOPY_LISTEN]       = { "POSTCOPY_LISTEN",       0,      0,          0, 0, Q_NONE,  VH_PF_PAGEFAULT,           0,                   NULL },
	[VH_POSTCOPY_END]          = { "POSTCOPY_END",          0,      0,          0, 0, Q_NONE,  VH_PF_PAGEFAULT,           A,                   NULL },
	[VH_GET_INFLIGHT_FD]       = { "GET_INFLIGHT_FD",       20,     24,         0, 0, Q_NONE,  VH_PF_INFLIGHT_SHMFD,      A,                   NULL },
	[VH_SET_INFLIGHT_FD]       = { "SET_INFLIGHT_FD",       20,     24,         0, 1, Q_NONE,  VH_PF_INFLIGHT_SHMFD,      0,                   NULL },
	[VH_GPU_SET_SOCKET]        = { "GPU_SET_SOCKET",        0,      0,          0, 1, Q_NONE,  -1,                        0,                   NULL },
	[VH_RESET_DEVICE]          = { "RESET_DEVICE",          0,      0,          0, 0, Q_NONE,  VH_PF_RESET_DEVICE,        VH_STOPS_ALL,        reset_device },
	[VH_VRING_KICK]            = { "VRING_KICK",            STATE,  STATE,      0, 0, Q_STATE, VH_PF_INBAND_NOTIFICATIONS, 0,                  NULL },
	[VH_GET_MAX_MEM_SLOTS]     = { "GET_MAX_MEM_SLOTS",     0,      0,          0, 0, Q_NONE,  VH_PF_CONFIGURE_MEM_SLOTS, A,                   get_max_mem_slots },
	[VH_ADD_MEM_REG]           = { "ADD_MEM_REG",           REGION, REGION,     0, 1, Q_NONE,  VH_PF_CONFIGURE_MEM_SLOTS, 0,                   add_mem_reg },
	[VH_REM_MEM_REG]           = { "REM_MEM_REG",           REGION, REGION,     0, 1, Q_NONE,  VH_PF_CONFIGURE_MEM_SLOTS, 0,                   rem_mem_reg },
	[VH_SET_STATUS]            = { "SET_STATUS",            U64,    U64,        0, 0, Q_NONE,  VH_PF_STATUS,              0,                   NULL },
	[VH_GET_STATUS]            = { "GET_STATUS",            0,      0,          0, 0, Q_NONE,  VH_PF_STATUS,              A,                   NULL },
	[VH_GET_SHARED_OBJECT]     = { "GET_SHARED_OBJECT",     0,      ANY,        0, 0, Q_NONE,  VH_PF_SHARED_OBJECT,       A,                   NULL },
	[VH_SET_DEVICE_STATE_FD]   = { "SET_DEVICE_STATE_FD",   0,      ANY,        0, 1, Q_NONE,  VH_PF_DEVICE_STATE,        A,                   NULL },
	[VH_CHECK_DEVICE_STATE]    = { "CHECK_DEVICE_STATE",    0,      0,          0, 0, Q_NONE,  VH_PF_DEVICE_STATE,        A,                   NULL },
	[VH_GET_SHMEM_CONFIG]      = { "GET_SHMEM_CONFIG",      0,      ANY,        0, 0, Q_NONE,  VH_PF_SHMEM,               A,                   NULL },
};
/* clang-format on */

const struct vh_req *
vh_req_find(uint32_t request)
{
	if (request >= VH_REQUESTS || !reqs[request].name)
		return NULL;
	return &reqs[request];
}

const char *
vh_msg_name(uint32_t request)
{
	static _Thread_local char unknown[32];
	const struct vh_req *req = vh_req_find(request);

	if (req)
		return req->name;
	snprintf(unknown, sizeof unknown, "request %u", request);
	return unknown;
}
