/* SPDX-License-Identifier: MIT */
/*
 * The front end: a virtio-fs driver in this process.  Connects to a
 * vhost-user socket, negotiates, shares one memfd with rings and buffers, and
 * starts the queues.  Works with any vhost-user-fs back end, so it asks for
 * no more than the oldest of them has.
 */
#include "config.h"

#include "vhost/front.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define DEFAULT_FEATURES (VH_BIT(VIRTIO_F_VERSION_1) | \
			  VH_BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
			  VH_BIT(VIRTIO_RING_F_EVENT_IDX))

/* ---- messages ---- */

/* Send a request and wait for what answers it, if anything does. */
static int
exchange(struct vh_front *f, struct vh_msg *m, bool answers)
{
	uint32_t request = m->request;
	int err;

	err = vh_msg_send(f->fd, m, f->timeout_ms);
	if (err || (!answers && !(m->flags & VH_NEED_REPLY)))
		return err;
	err = vh_msg_recv(f->fd, m, f->timeout_ms);
	if (err)
		return err;
	vh_msg_close_fds(m);
	if (m->request != request || !(m->flags & VH_REPLY))
		return -EPROTO;
	if (!answers && (m->size != sizeof m->payload.u64 || m->payload.u64))
		return -EREMOTEIO;
	return 0;
}

/* One request at a time: several threads may stop their queues. */
static int
request(struct vh_front *f, struct vh_msg *m, bool answers)
{
	int err;

	m->flags = VH_VERSION;
	if (!answers && f->protocol & VH_BIT(VH_PF_REPLY_ACK))
		m->flags |= VH_NEED_REPLY;
	pthread_mutex_lock(&f->lock);
	err = exchange(f, m, answers);
	pthread_mutex_unlock(&f->lock);
	return err;
}

/* A request with a payload and perhaps an fd, without an answer of its own. */
static int
tell(struct vh_front *f, uint32_t req, const void *payload, size_t size, int fd)
{
	struct vh_msg m = { .request = req, .size = (uint32_t)size };

	memcpy(m.payload.bytes, payload, size);
	if (fd >= 0)
		m.fds[m.nfds++] = fd;
	return request(f, &m, false);
}

static int
tell_u64(struct vh_front *f, uint32_t req, uint64_t v, int fd)
{
	return tell(f, req, &v, sizeof v, fd);
}

static int
tell_state(struct vh_front_queue *q, uint32_t req, unsigned num)
{
	struct vhost_vring_state s = { .index = q->index, .num = num };

	return tell(q->front, req, &s, sizeof s, -1);
}

static int
ask_u64(struct vh_front *f, uint32_t req, uint64_t *v)
{
	struct vh_msg m = { .request = req };
	int err = request(f, &m, true);

	if (!err && m.size != sizeof m.payload.u64)
		err = -EPROTO;
	if (!err)
		*v = m.payload.u64;
	return err;
}

/* ---- queues ---- */

static int
send_addr(struct vh_front_queue *q)
{
	struct vhost_vring_addr a = {
		.index = q->index,
		.desc_user_addr = (uintptr_t)q->desc,
		.avail_user_addr = (uintptr_t)q->avail,
		.used_user_addr = (uintptr_t)q->used,
	};

	return tell(q->front, VH_SET_VRING_ADDR, &a, sizeof a, -1);
}

int
vh_front_start(struct vh_front_queue *q)
{
	struct vh_front *f = q->front;
	int err;

	if (q->started)
		return 0;
	(void)((err = tell_state(q, VH_SET_VRING_NUM, q->size)) ||
	       (err = tell_state(q, VH_SET_VRING_BASE, q->base)) ||
	       (err = send_addr(q)) ||
	       (err = tell_u64(f, VH_SET_VRING_CALL, q->index, q->call_fd)) ||
	       (err = tell_u64(f, VH_SET_VRING_KICK, q->index, q->kick_fd)));
	if (!err && f->features & VH_BIT(VH_F_PROTOCOL_FEATURES))
		err = tell_state(q, VH_SET_VRING_ENABLE, 1);
	q->started = !err;
	return err;
}

int
vh_front_stop(struct vh_front_queue *q)
{
	struct vhost_vring_state s = { .index = q->index };
	struct vh_msg m = { .request = VH_GET_VRING_BASE, .size = sizeof s };
	int err;

	if (!q->started)
		return 0;
	memcpy(m.payload.bytes, &s, sizeof s);
	err = request(q->front, &m, true);
	if (err)
		return err;
	memcpy(&s, m.payload.bytes, sizeof s);
	if (m.size != sizeof s || s.index != q->index || s.num > UINT16_MAX)
		return -EPROTO;
	q->base = (uint16_t)s.num;
	q->started = false;
	return 0;
}

static int
queue_init(struct vh_front *f, unsigned index, void *mem, unsigned size)
{
	struct vh_front_queue *q = &f->queue[index];

	q->front = f;
	q->index = index;
	q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick_fd < 0 || q->call_fd < 0)
		return -errno;
	return vh_front_ring_init(q, mem, size, f->features);
}

/* ---- connecting: each step is 0 or -errno ---- */

static int
negotiate(struct vh_front *f, const struct vh_front_settings *set)
{
	uint64_t want = set->features ? set->features : DEFAULT_FEATURES;
	uint64_t n;
	int err;

	err = ask_u64(f, VH_GET_FEATURES, &n);
	if (err)
		return err;
	f->features = n & (want | VH_BIT(VH_F_PROTOCOL_FEATURES));
	f->nqueues = set->nqueues < 2 ? 2 : set->nqueues;
	if (f->features & VH_BIT(VH_F_PROTOCOL_FEATURES)) {
		uint64_t protocol;

		err = ask_u64(f, VH_GET_PROTOCOL_FEATURES, &protocol);
		if (err)
			return err;
		protocol &= VH_BIT(VH_PF_MQ) | VH_BIT(VH_PF_REPLY_ACK);
		err = tell_u64(f, VH_SET_PROTOCOL_FEATURES, protocol, -1);
		if (err)
			return err;
		f->protocol = protocol;
	}
	n = 2;
	if (f->protocol & VH_BIT(VH_PF_MQ))
		err = ask_u64(f, VH_GET_QUEUE_NUM, &n);
	if (err)
		return err;
	if (n < 2)
		return -EPROTO;
	if (f->nqueues > n)
		f->nqueues = (unsigned)n;
	err = tell(f, VH_SET_OWNER, "", 0, -1);
	return err ? err : tell_u64(f, VH_SET_FEATURES, f->features, -1);
}

/* Rings first, buffers behind them, all in one memfd. */
static int
make_memory(struct vh_front *f, const struct vh_front_settings *set)
{
	size_t rings = f->nqueues * vh_front_ring_bytes(set->queue_size);

	f->mem_size = (set->mem_size + 4095) & ~(size_t)4095;
	f->size = rings + f->mem_size;
	f->mem_fd = memfd_create("gatewayd-front", MFD_CLOEXEC);
	if (f->mem_fd < 0 || ftruncate(f->mem_fd, (off_t)f->size))
		return -errno;
	f->base = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       f->mem_fd, 0);
	if (f->base == MAP_FAILED) {
		f->base = NULL;
		return -errno;
	}
	f->mem = f->base + rings;
	return 0;
}

static int
make_queues(struct vh_front *f, const struct vh_front_settings *set)
{
	size_t bytes = vh_front_ring_bytes(set->queue_size);
	int err = 0;

	f->queue = calloc(f->nqueues, sizeof *f->queue);
	if (!f->queue)
		return -ENOMEM;
	for (unsigned i = 0; i < f->nqueues; i++)
		f->queue[i].kick_fd = f->queue[i].call_fd = -1;
	for (unsigned i = 0; i < f->nqueues && !err; i++)
		err = queue_init(f, i, f->base + i * bytes, set->queue_size);
	return err;
}

static int
share_memory(struct vh_front *f, const struct vh_front_settings *set)
{
	struct vh_wire_mem_table t = { .nregions = 1 };

	(void)set;
	t.region[0] = (struct vh_wire_region){
		.guest_addr = VH_FRONT_GPA,
		.size = f->size,
		.user_addr = (uintptr_t)f->base,
	};
	return tell(f, VH_SET_MEM_TABLE, &t,
		    offsetof(struct vh_wire_mem_table, region) +
		    sizeof t.region[0], f->mem_fd);
}

static int
start_all(struct vh_front *f, const struct vh_front_settings *set)
{
	int err = 0;

	(void)set;
	for (unsigned i = 0; i < f->nqueues && !err; i++)
		err = vh_front_start(&f->queue[i]);
	return err;
}

static const struct step {
	const char *what;
	int (*run)(struct vh_front *f, const struct vh_front_settings *set);
} steps[] = {
	{ "negotiating features", negotiate },
	{ "making shared memory", make_memory },
	{ "making queues", make_queues },
	{ "sharing memory", share_memory },
	{ "starting queues", start_all },
};

__attribute__((format(printf, 3, 4))) static int
fail(char **why, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (why && vasprintf(why, fmt, ap) < 0)
		*why = NULL;
	va_end(ap);
	return err;
}

static const char *
reason(int err)
{
	return err == -ENOTCONN ? "the back end hung up" :
	       err == -EREMOTEIO ? "the back end refused" : strerror(-err);
}

static bool
settings_are_good(const struct vh_front_settings *set)
{
	unsigned n = set->queue_size;

	return n && n <= VH_RING_MAX && !(n & (n - 1)) &&
	       set->nqueues <= VH_QUEUES_MAX;
}

int
vh_front_new(int fd, const struct vh_front_settings *set,
	     struct vh_front **front, char **why)
{
	struct vh_front *f;

	if (!settings_are_good(set)) {
		close(fd);
		return fail(why, -EINVAL, "queue size %u is not a power of two "
			    "up to %d, or %u queues are more than %d",
			    set->queue_size, VH_RING_MAX, set->nqueues,
			    VH_QUEUES_MAX);
	}
	f = calloc(1, sizeof *f);
	if (!f) {
		close(fd);
		return fail(why, -ENOMEM, "out of memory");
	}
	f->fd = fd;
	f->mem_fd = -1;
	f->timeout_ms = set->timeout_ms ? set->timeout_ms : TIMEOUT_MS;
	pthread_mutex_init(&f->lock, NULL);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		int err = steps[i].run(f, set);

		if (err) {
			vh_front_free(f);
			return fail(why, err, "%s: %s", steps[i].what,
				    reason(err));
		}
	}
	*front = f;
	return 0;
}

int
vh_front_connect(const char *path, const struct vh_front_settings *set,
		 struct vh_front **front, char **why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char *inner = NULL;
	int fd, err;

	if (why)
		*why = NULL;
	if (strlen(path) >= sizeof sa.sun_path)
		return fail(why, -ENAMETOOLONG, "%s: longer than %zu bytes",
			    path, sizeof sa.sun_path - 1);
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(why, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa)) {
		err = -errno;
		close(fd);
		return fail(why, err, "%s: %s", path, strerror(-err));
	}
	err = vh_front_new(fd, set, front, &inner);
	if (err)
		fail(why, err, "%s: %s", path, inner ? inner : reason(err));
	free(inner);
	return err;
}

void
vh_front_free(struct vh_front *f)
{
	for (unsigned i = 0; f->queue && i < f->nqueues; i++) {
		struct vh_front_queue *q = &f->queue[i];

		vh_front_stop(q);
		vh_front_ring_fini(q);
		if (q->kick_fd >= 0)
			close(q->kick_fd);
		if (q->call_fd >= 0)
			close(q->call_fd);
	}
	free(f->queue);
	if (f->base)
		munmap(f->base, f->size);
	if (f->mem_fd >= 0)
		close(f->mem_fd);
	close(f->fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* ---- small things ---- */

int
vh_front_fd(const struct vh_front *f)
{
	return f->fd;
}

void *
vh_front_mem(struct vh_front *f, size_t *size)
{
	*size = f->mem_size;
	return f->mem;
}

uint64_t
vh_front_features(const struct vh_front *f)
{
	return f->features;
}

unsigned
vh_front_nqueues(const struct vh_front *f)
{
	return f->nqueues;
}

struct vh_front_queue *
vh_front_queue(struct vh_front *f, unsigned index)
{
	return index < f->nqueues ? &f->queue[index] : NULL;
}
