/* SPDX-License-Identifier: MIT */
/*
 * The messages, one by one: what they answer, what they refuse, what they
 * leave behind (nothing).
 */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-raw.h"
#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEM (4u << 20)
#define PROTOCOL (VH_BIT(VH_PF_MQ) | VH_BIT(VH_PF_REPLY_ACK) | \
		  VH_BIT(VH_PF_RESET_DEVICE) | \
		  VH_BIT(VH_PF_CONFIGURE_MEM_SLOTS))

static void
test_questions(void)
{
	struct raw r;

	raw_open(&r, 5, NULL);
	is_int(raw_none(&r, VH_GET_FEATURES), 0, "GET_FEATURES");
	is_int(raw_reply_u64(&r), RAW_FEATURES | RAW_INDIRECT | RAW_EVENT_IDX,
	       "features");
	is_int(raw_none(&r, VH_GET_PROTOCOL_FEATURES), 0, "protocol features");
	is_int(raw_reply_u64(&r), PROTOCOL, "no CONFIG without a tag");
	is_int(raw_u64(&r, VH_SET_PROTOCOL_FEATURES, PROTOCOL), 0, "set them");
	is_int(raw_none(&r, VH_GET_QUEUE_NUM), 0, "GET_QUEUE_NUM");
	is_int(raw_reply_u64(&r), 5, "queues");
	is_int(raw_none(&r, VH_GET_MAX_MEM_SLOTS), 0, "GET_MAX_MEM_SLOTS");
	is_int(raw_reply_u64(&r), 509, "slots");
	is_int(raw_none(&r, VH_SET_OWNER), 0, "SET_OWNER");
	is_int(raw_none(&r, VH_RESET_OWNER), 0, "RESET_OWNER is ignored");
	is_str(r.last_trace, "RESET_OWNER size=0 fds=0", "a trace line");
	is_int(raw_state(&r, VH_SET_VRING_NUM, 1, 128), 0, "SET_VRING_NUM");
	is_str(r.last_trace, "SET_VRING_NUM q=1 n=128 fds=0", "a trace line");
	ok(!raw_has_reply(&r), "no reply where none was asked for");
	is_str(vh_conn_why(r.conn), "", "nothing wrong");
	shutdown(r.fd, SHUT_WR);
	is_int(vh_conn_process(r.conn), -ENOTCONN, "the front end leaves");
	ok(raw_close(&r), "idle");
}

static void
test_config(void)
{
	struct vh_wire_config c = { .offset = 0, .size = 40 };
	struct virtio_fs_config fc;
	struct raw r;
	struct vh_msg m;

	raw_open(&r, 9, "home");
	raw_none(&r, VH_GET_PROTOCOL_FEATURES);
	is_int(raw_reply_u64(&r), PROTOCOL | VH_BIT(VH_PF_CONFIG),
	       "CONFIG with a tag");
	is_int(raw_msg(&r, VH_GET_CONFIG, 0, &c, 12 + 40, NULL, 0), 0, "get");
	is_int(vh_msg_recv(r.fd, &m, 0), 0, "reply");
	is_int(m.size, 12 + 40, "as long as the question");
	memcpy(&fc, m.payload.bytes + 12, sizeof fc);
	is_int(fc.num_request_queues, 8, "request queues");
	ok(!memcmp(fc.tag, "home\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		   "\0\0\0\0\0\0\0\0", 36), "tag");
	c.offset = 36;
	c.size = 4;
	raw_msg(&r, VH_GET_CONFIG, 0, &c, 12 + 4, NULL, 0);
	vh_msg_recv(r.fd, &m, 0);
	is_int(m.payload.bytes[12], 8, "a part of it");
	c.size = 5;
	is_int(raw_msg(&r, VH_GET_CONFIG, 0, &c, 12 + 5, NULL, 0), 0,
	       "beyond its end");
	vh_msg_recv(r.fd, &m, 0);
	is_int(m.size, 0, "is answered with nothing");
	c.offset = UINT32_MAX;
	raw_msg(&r, VH_GET_CONFIG, 0, &c, 12 + 5, NULL, 0);
	vh_msg_recv(r.fd, &m, 0);
	is_int(m.size, 0, "so is an offset that wraps");
	is_int(raw_msg(&r, VH_SET_CONFIG, 0, &c, 12 + 5, NULL, 0), -EOPNOTSUPP,
	       "SET_CONFIG is not offered");
	ok(raw_close(&r), "idle");
}

/* A message of every kind with each wrong size and number of fds. */
static void
test_sizes(void)
{
	static const char bytes[VH_MSG_MAX];
	int fd = eventfd(0, EFD_CLOEXEC), before = raw_count_fds();
	int fds[8], bad = 0, tried = 0;
	struct raw r;

	for (int i = 0; i < 8; i++)
		fds[i] = fd;
	for (uint32_t req = 0; req < VH_REQUESTS + 3; req++) {
		const struct vh_req *row = vh_req_find(req);
		struct {
			size_t size;
			int nfds;
		} t[] = {
			{ row ? row->max + 1 : 0, 0 },
			{ row && row->min ? row->min - 1u : 0, 8 },
			{ row ? row->min : 100, 8 },
			{ row ? row->max : 8, row ? row->fd_max + 1 : 1 },
		};

		for (size_t i = 0; i < 4; i++) {
			if (t[i].size > VH_MSG_MAX || t[i].nfds > 8 ||
			    (req == VH_SET_MEM_TABLE && i == 2))
				continue;
			raw_open(&r, 2, "t");
			tried++;
			if (raw_msg(&r, req, 0, bytes, t[i].size, fds,
				    t[i].nfds) >= 0 ||
			    !*vh_conn_why(r.conn)) {
				bad++;
				printf("# %s size %zu fds %d\n",
				       vh_msg_name(req), t[i].size, t[i].nfds);
			}
			raw_close(&r);
		}
	}
	is_int(bad, 0, "all %d wrong messages end their session", tried);
	is_int(raw_count_fds(), before, "no fd is left");
	close(fd);
}

/* With REPLY_ACK: what is refused is refused politely. */
static void
test_not_offered(void)
{
	static const char bytes[64];
	int before = raw_count_fds(), bad = 0, good = 0;
	int fd = eventfd(0, EFD_CLOEXEC);
	struct raw r;

	raw_open(&r, 2, NULL);
	raw_u64(&r, VH_SET_PROTOCOL_FEATURES, PROTOCOL);
	for (uint32_t req = 1; req < VH_REQUESTS + 2; req++) {
		const struct vh_req *row = vh_req_find(req);

		if (row && row->run && req != VH_GET_CONFIG)
			continue;
		good++;
		if (raw_msg(&r, req, VH_NEED_REPLY, bytes, row ? row->min : 9,
			    &fd, row ? row->fd_max : 1) ||
		    raw_reply_u64(&r) != 1)
			bad++;
	}
	is_int(bad, 0, "%d messages are answered with an error", good);
	is_int(raw_none(&r, VH_GET_FEATURES), 0, "and it goes on");
	is_int(raw_u64(&r, VH_SEND_RARP, 0), -EOPNOTSUPP,
	       "without a reply the session ends");
	is_str(vh_conn_why(r.conn), "SEND_RARP: this message was not offered",
	       "the sentence");
	raw_close(&r);
	close(fd);
	is_int(raw_count_fds(), before, "no fd is left");
}

static void
test_flags(void)
{
	uint64_t f = VH_BIT(VIRTIO_F_VERSION_1);
	struct raw r;
	struct vh_msg m = { .request = VH_GET_FEATURES, .flags = 2 };

	raw_open(&r, 2, NULL);
	vh_msg_send(r.fd, &m, 0);
	is_int(vh_conn_process(r.conn), -EPROTO, "version 2");
	is_int(vh_conn_process(r.conn), -EPROTO, "an error stays");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	m.flags = 5;
	vh_msg_send(r.fd, &m, 0);
	is_int(vh_conn_process(r.conn), -EPROTO, "a reply");
	is_str(vh_conn_why(r.conn),
	       "GET_FEATURES: flags 0x5 are not those of a request", "why");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	is_int(raw_msg(&r, VH_SET_FEATURES, VH_NEED_REPLY, &f, 8, NULL, 0), 0,
	       "need_reply before it was agreed");
	ok(!raw_has_reply(&r), "is not answered");
	raw_u64(&r, VH_SET_PROTOCOL_FEATURES, PROTOCOL);
	raw_msg(&r, VH_SET_FEATURES, VH_NEED_REPLY, &f, 8, NULL, 0);
	is_int(raw_reply_u64(&r), 0, "and is, after it was");
	f = 1;
	is_int(raw_msg(&r, VH_SET_FEATURES, VH_NEED_REPLY, &f, 8, NULL, 0),
	       -EINVAL, "features not offered");
	is_int(raw_reply_u64(&r), 1, "are answered with an error too");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	is_int(raw_u64(&r, VH_SET_PROTOCOL_FEATURES, VH_BIT(VH_PF_CONFIG)),
	       -EINVAL, "protocol features not offered");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	if (write(r.fd, "abc", 3) != 3)
		abort();
	shutdown(r.fd, SHUT_WR);
	is_int(vh_conn_process(r.conn), -EPROTO, "half a message");
	is_str(vh_conn_why(r.conn),
	       "the front end left in the middle of a message", "why");
	raw_close(&r);
}

/* Ring messages with wrong numbers. */
static void
test_ring_values(void)
{
	static const struct {
		uint32_t req;
		unsigned index, num;
	} t[] = {
		{ VH_SET_VRING_NUM, 2, 128 },
		{ VH_SET_VRING_NUM, 1, 0 },
		{ VH_SET_VRING_NUM, 1, 3 },
		{ VH_SET_VRING_NUM, 1, 65536 },
		{ VH_SET_VRING_NUM, ~0u, 128 },
		{ VH_SET_VRING_BASE, 1, 65536 },
		{ VH_SET_VRING_BASE, 256, 0 },
		{ VH_GET_VRING_BASE, 2, 0 },
		{ VH_SET_VRING_ENABLE, 1, 2 },
		{ VH_SET_VRING_ENABLE, 7, 1 },
	};
	struct vhost_vring_addr a = { .index = 1 };
	int before = raw_count_fds(), p[2], ev;
	struct raw r;

	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		raw_open(&r, 2, NULL);
		ok(raw_state(&r, t[i].req, t[i].index, t[i].num) < 0,
		   "%s", vh_conn_why(r.conn));
		raw_close(&r);
	}
	for (int i = 0; i < 4; i++) {
		a.desc_user_addr = i == 0 ? 8 : 0;
		a.avail_user_addr = i == 1;
		a.used_user_addr = i == 2 ? 2 : 0;
		a.flags = i == 3;
		raw_open(&r, 2, NULL);
		is_int(raw_msg(&r, VH_SET_VRING_ADDR, 0, &a, sizeof a, NULL, 0),
		       -EINVAL, "%s", vh_conn_why(r.conn));
		raw_close(&r);
	}
	ev = eventfd(0, EFD_CLOEXEC);
	for (uint32_t q = VH_SET_VRING_KICK; q <= VH_SET_VRING_ERR; q++) {
		raw_open(&r, 2, NULL);
		is_int(raw_u64(&r, q, 1), -EINVAL, "%s", vh_conn_why(r.conn));
		raw_close(&r);
		raw_open(&r, 2, NULL);
		is_int(raw_u64_fd(&r, q, 1 | VH_VRING_NOFD, ev), -EINVAL, "%s",
		       vh_conn_why(r.conn));
		raw_close(&r);
		raw_open(&r, 2, NULL);
		is_int(raw_u64_fd(&r, q, 1 | 0x200, ev), -EINVAL, "%s",
		       vh_conn_why(r.conn));
		raw_close(&r);
		raw_open(&r, 2, NULL);
		if (pipe2(p, O_CLOEXEC))
			abort();
		is_int(raw_u64_fd(&r, q, 1, p[1]), -EINVAL, "%s",
		       vh_conn_why(r.conn));
		raw_close(&r);
		close(p[0]);
		close(p[1]);
		raw_open(&r, 2, NULL);
		is_int(raw_u64(&r, q, 1 | VH_VRING_NOFD), 0, "no fd");
		is_int(raw_u64_fd(&r, q, 1, ev), 0, "an fd");
		is_int(raw_u64_fd(&r, q, 1, ev), 0, "another");
		raw_close(&r);
	}
	close(ev);
	is_int(raw_count_fds(), before, "no fd is left");
}

/* ---- starting and stopping ---- */

static void
test_start_order(void)
{
	struct raw r;

	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	ok(raw_ring(&r, 1, 128, 0) != NULL, "a ring starts");
	is_int(r.starts, 1, "once");
	is_int(raw_state(&r, VH_SET_VRING_ENABLE, 1, 1), 0, "enable again");
	is_int(r.starts, 1, "changes nothing");
	is_int(raw_state(&r, VH_SET_VRING_ENABLE, 1, 0), 0, "disable");
	is_int(r.stops, 1, "stops it");
	is_int(raw_state(&r, VH_SET_VRING_ENABLE, 1, 1), 0, "enable");
	is_int(r.starts, 2, "starts it");
	is_int(raw_u64_fd(&r, VH_SET_VRING_KICK, 1, r.kick[1]), 0, "new kick");
	is_int(r.stops * 10 + r.starts, 23, "stops and starts it");
	is_int(raw_u64(&r, VH_SET_VRING_KICK, 1 | VH_VRING_NOFD), 0, "no kick");
	is_int(r.starts, 4, "starts it too");
	is_int(vh_queue_kick_fd(r.q[1]), -1, "without an fd");
	is_int(raw_u64_fd(&r, VH_SET_VRING_CALL, 1, r.call[1]), 0, "new call");
	is_int(r.starts, 4, "does not");
	is_int(raw_state(&r, VH_SET_VRING_NUM, 1, 64), -EBUSY, "new size");
	is_str(vh_conn_why(r.conn), "SET_VRING_NUM: queue 1 runs", "why");
	ok(raw_close(&r), "idle");
	is_int(r.stops, 4, "stopped at the end");

	raw_open(&r, 2, NULL);
	raw_setup(&r, VH_BIT(VIRTIO_F_VERSION_1), MEM);
	is_int(raw_state(&r, VH_SET_VRING_NUM, 1, 64), 0, "size");
	is_int(raw_addr(&r, 1), 0, "addresses");
	is_int(r.starts, 0, "not yet");
	is_int(raw_u64(&r, VH_SET_VRING_KICK, 1 | VH_VRING_NOFD), 0, "kick");
	is_int(r.starts, 1, "without PROTOCOL_FEATURES a ring is enabled");
	raw_close(&r);
}

static void
test_memory_last(void)
{
	struct raw r;
	int fd = memfd_create("m", MFD_CLOEXEC);

	if (ftruncate(fd, MEM))
		abort();
	raw_open(&r, 2, NULL);
	ok(!raw_ring(&r, 1, 128, 0), "no features, no memory");
	is_int(raw_u64(&r, VH_SET_FEATURES, RAW_FEATURES), 0, "features");
	is_int(r.starts, 0, "not yet");
	is_int(raw_region(&r, VH_ADD_MEM_REG, 0, 4096, 0, 0, fd), 0,
	       "memory without the ring");
	is_int(r.starts, 0, "not yet");
	is_str(vh_conn_why(r.conn), "", "but no mistake");
	is_int(raw_region(&r, VH_ADD_MEM_REG, RAW_GPA, MEM, RAW_UVA, 0, fd), 0,
	       "memory with it");
	is_int(r.starts, 1, "starts");
	raw_close(&r);

	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, 1 << 20);
	ok(!raw_ring(&r, 1, 128, 0), "a ring outside guest memory");
	is_str(vh_conn_why(r.conn), "SET_VRING_ENABLE: queue 1: its ring is "
	       "not in guest memory, or not aligned", "why");
	raw_close(&r);

	raw_open(&r, 2, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	r.start_err = -EAGAIN;
	ok(!raw_ring(&r, 1, 128, 0), "the owner refuses");
	is_str(vh_conn_why(r.conn), "SET_VRING_ENABLE: queue 1 cannot be "
	       "served: Resource temporarily unavailable", "why");
	ok(raw_close(&r), "idle");
	close(fd);
}

static unsigned
reply_base(struct raw *r)
{
	struct vhost_vring_state s;
	struct vh_msg m;

	if (vh_msg_recv(r->fd, &m, 0) || m.size != sizeof s)
		return ~0u;
	memcpy(&s, m.payload.bytes, sizeof s);
	return s.num;
}

static void
test_get_base(void)
{
	struct vhost_vring_state s = { .index = 1 };
	struct raw r;

	raw_open(&r, 3, NULL);
	is_int(raw_state(&r, VH_GET_VRING_BASE, 1, 0), 0, "before all");
	is_int(reply_base(&r), 0, "is 0");
	raw_setup(&r, RAW_FEATURES, MEM);
	r.defer = true;
	raw_ring(&r, 1, 128, 77);
	raw_ring(&r, 2, 128, 5);
	is_int(raw_send(&r, VH_GET_VRING_BASE, 0, &s, sizeof s, NULL, 0), 0,
	       "ask");
	s.index = 2;
	raw_send(&r, VH_GET_VRING_BASE, 0, &s, sizeof s, NULL, 0);
	raw_send(&r, VH_GET_FEATURES, 0, NULL, 0, NULL, 0);
	is_int(vh_conn_process(r.conn), 0, "process");
	is_int(r.stops, 1, "one queue is told to stop");
	ok(!raw_has_reply(&r), "no reply yet");
	ok(!vh_conn_wants_read(r.conn), "it does not want to read");
	is_int(vh_conn_process(r.conn), 0, "nothing happens");
	is_int(r.stops, 1, "nothing at all");
	vh_queue_stopped(r.q[1]);
	is_int(reply_base(&r), 77, "the reply when it stopped");
	ok(vh_conn_wants_read(r.conn), "it wants to read again");
	is_int(vh_conn_process(r.conn), 0, "what came meanwhile");
	is_int(r.stops, 2, "the other queue");
	vh_queue_stopped(r.q[2]);
	is_int(reply_base(&r), 5, "its reply");
	is_int(vh_conn_process(r.conn), 0, "the rest");
	ok(raw_reply_u64(&r) != ~UINT64_C(0), "is answered");
	ok(raw_ring(&r, 1, 64, 0) != NULL, "it starts again");
	raw_state(&r, VH_GET_VRING_BASE, 1, 0);
	vh_queue_stopped(r.q[1]);
	vh_queue_stopped(r.q[1]);
	is_int(reply_base(&r), 0, "and stops again");
	raw_ring(&r, 1, 64, 9);
	s.index = 1;
	raw_send(&r, VH_GET_VRING_BASE, 0, &s, sizeof s, NULL, 0);
	vh_conn_process(r.conn);
	ok(raw_close(&r), "closed while it waits");

	/* What goes wrong after a stop must not go unnoticed. */
	raw_open(&r, 3, NULL);
	raw_setup(&r, RAW_FEATURES, MEM);
	r.defer = true;
	raw_ring(&r, 1, 128, 0);
	raw_u64(&r, VH_SET_VRING_KICK, 1 | VH_VRING_NOFD);
	r.start_err = -EAGAIN;
	vh_queue_stopped(r.q[1]);
	is_int(poll(&(struct pollfd){ .fd = vh_conn_fd(r.conn),
				      .events = POLLIN }, 1, 0), 1,
	       "the fd is readable when starting again failed");
	is_int(vh_conn_process(r.conn), -EAGAIN, "%s", vh_conn_why(r.conn));
	ok(raw_close(&r), "idle");
}

static void
test_reset(void)
{
	struct vh_info info;
	struct raw r;
	int ev = eventfd(0, EFD_CLOEXEC);

	raw_open(&r, 3, NULL);
	raw_u64(&r, VH_SET_PROTOCOL_FEATURES, PROTOCOL);
	raw_setup(&r, RAW_FEATURES, MEM);
	r.defer = true;
	raw_ring(&r, 0, 128, 3);
	raw_ring(&r, 1, 256, 4);
	raw_u64_fd(&r, VH_SET_VRING_ERR, 1, ev);
	vh_conn_info(r.conn, &info);
	is_int(info.nstarted, 2, "two rings run");
	is_int(info.queue[1].size, 256, "its size");
	is_int(info.mem_size, MEM, "memory");
	is_int(raw_msg(&r, VH_RESET_DEVICE, VH_NEED_REPLY, NULL, 0, NULL, 0), 0,
	       "reset");
	is_int(r.stops, 2, "all are told to stop");
	vh_queue_stopped(r.q[1]);
	is_int(r.resets, 0, "not yet");
	vh_queue_stopped(r.q[0]);
	is_int(r.resets, 1, "reset when all have stopped");
	is_int(raw_reply_u64(&r), 0, "and acknowledged");
	vh_conn_info(r.conn, &info);
	is_int(info.nstarted, 0, "no ring runs");
	is_int(info.queue[1].size, 0, "nor has a size");
	ok(!info.queue[1].enabled, "nor is enabled");
	is_int(info.nregions, 1, "memory is kept");
	is_int(info.features, RAW_FEATURES, "features are kept");
	raw_state(&r, VH_GET_VRING_BASE, 1, 0);
	is_int(reply_base(&r), 0, "the index is 0");
	ok(raw_ring(&r, 1, 128, 0) != NULL, "it starts again");
	ok(raw_close(&r), "idle");
	close(ev);
}

static void
test_not_shared(void)
{
	struct vh_wire_mem_table t = { .nregions = 2 };
	struct raw r;

	raw_open(&r, 2, NULL);
	is_int(raw_msg(&r, VH_SET_MEM_TABLE, 0, &t, 8 + 64, NULL, 0), -EINVAL,
	       "regions without fds");
	is_str(vh_conn_why(r.conn), "SET_MEM_TABLE: guest memory is not "
	       "shared: give the VM a shared memory backend (memfd, share=on)",
	       "why");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	is_int(raw_region(&r, VH_ADD_MEM_REG, 0, 4096, 0, 0, -1), -EINVAL,
	       "a region without fd");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	t.nregions = 9;
	is_int(raw_msg(&r, VH_SET_MEM_TABLE, 0, &t, 8 + 256, NULL, 0), -EINVAL,
	       "nine regions");
	raw_close(&r);
	raw_open(&r, 2, NULL);
	t.nregions = 1;
	is_int(raw_msg(&r, VH_SET_MEM_TABLE, 0, &t, 8 + 64, NULL, 0), -EINVAL,
	       "a size that does not fit");
	raw_close(&r);
}

static void
test_settings(void)
{
	struct vh_settings set = { .nqueues = 1 };
	struct vh_ops none = { 0 };
	struct vh_conn *c;
	int before = raw_count_fds();

	is_int(vh_conn_new(eventfd(0, EFD_CLOEXEC), &set, &none, NULL, &c),
	       -EINVAL, "one queue");
	set.nqueues = VH_QUEUES_MAX + 1;
	is_int(vh_conn_new(eventfd(0, EFD_CLOEXEC), &set, &none, NULL, &c),
	       -EINVAL, "too many queues");
	is_int(raw_count_fds(), before, "the fd was closed");
}

static void
test_flood(void)
{
	struct raw r;
	int err = 0, n = 0;

	raw_open(&r, 2, NULL);
	for (; !err && n < 100000; n++)
		err = raw_none(&r, VH_GET_FEATURES);
	is_int(err, -ETIMEDOUT, "a front end that never reads, after %d", n);
	raw_close(&r);
}

int
main(void)
{
	int before = raw_count_fds();

	test_questions();
	test_config();
	test_sizes();
	test_not_offered();
	test_flags();
	test_ring_values();
	test_start_order();
	test_memory_last();
	test_get_base();
	test_reset();
	test_not_shared();
	test_settings();
	test_flood();
	is_int(raw_count_fds(), before, "no fd is left after all that");
	return tap_done();
}
