/* SPDX-License-Identifier: MIT */
/*
 * Requests of the kernel's FUSE client, read from /dev/fuse straight into
 * memory shared with a vhost-user-fs device (slot.h), and its answers written
 * back.
 *
 * One thread (a pump) per request queue reads /dev/fuse, submits, reaps and
 * answers.  Whoever frees a slot tries to read more requests, so a pump that
 * found no slot need not be woken for one.  FORGETs go to the hiprio queue as
 * a Linux guest sends them; the lock of that queue also guards the state.
 *
 * When the device is gone, pump 0 goes on alone and answers everything with
 * ENOTCONN, so that nobody hangs until the mount is taken away.
 */
#include "config.h"

#include "gatewayd/bridge.h"

#include "gatewayd/slot.h"
#include "vhost/vhost.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_SIZE (2 * SLOT_COUNT)	/* a request takes two entries at most */
#define DRAIN_MS 3000			/* for answers still out after umount */

struct pump {			/* owned by its thread */
	struct gw_bridge *bridge;
	struct vh_front_queue *queue;
	int epoll;
	pthread_t thread;
	bool running;		/* the thread exists */
};

struct gw_bridge {
	struct vh_front *front;
	int fuse_fd;
	int stop_fd;		/* eventfd: every pump is to look at `stop` */
	int event_fd;
	bool noatime, nodiratime;	/* what is opened leaves no time */
	unsigned npumps;
	struct pump *pumps;
	struct slot_pool pool;
	atomic_bool stop;	/* end now */
	atomic_bool failing;	/* only pump 0 goes on, and only to refuse */

	pthread_mutex_t lock;	/* of all below, and of the hiprio queue */
	enum gw_bridge_state state;
	char why[160];	/* it broke */
};

/* ------------------------------------------------------------------ */
/* State. */

static void
bump(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;		/* full: it is readable already */
}

/* States only go forward, so the first reason is the one that is told. */
static void
set_state(struct gw_bridge *b, enum gw_bridge_state state, const char *why)
{
	pthread_mutex_lock(&b->lock);
	if (state > b->state) {
		b->state = state;
		if (why)
			snprintf(b->why, sizeof(b->why), "%s", why);
		bump(b->event_fd);
	}
	pthread_mutex_unlock(&b->lock);
}

static void
break_off(struct gw_bridge *b, const char *why)
{
	atomic_store(&b->failing, true);
	bump(b->stop_fd);
	set_state(b, GW_BRIDGE_BROKEN, why);
}

static void
end(struct gw_bridge *b)
{
	atomic_store(&b->stop, true);
	bump(b->stop_fd);
	set_state(b, GW_BRIDGE_ENDED, NULL);
}

/* ------------------------------------------------------------------ */
/* Answers to the kernel. */

/*
 * The kernel may refuse an answer: nobody waits for it any more (ENOENT), or
 * it makes no sense (EINVAL; the kernel has then failed the request itself).
 */
static void
answer(struct gw_bridge *b, const struct fuse_out_header *oh,
       const void *payload)
{
	struct iovec iov[2] = {
		{ (void *)oh, SLOT_OUT_HEAD },
		{ (void *)payload, oh->len - SLOT_OUT_HEAD },
	};

	if (writev(b->fuse_fd, iov, iov[1].iov_len ? 2 : 1) < 0 &&
	    errno == ENODEV)
		end(b);
}

static void
answer_error(struct gw_bridge *b, uint64_t unique, int err)
{
	struct fuse_out_header oh = {
		.len = SLOT_OUT_HEAD, .error = err, .unique = unique,
	};

	answer(b, &oh, NULL);
}

static void
answer_init(struct gw_bridge *b, const struct slot *s,
	    struct fuse_out_header *oh)
{
	struct fuse_init_out init;
	char why[80];

	if (!oh->error) {
		slot_init_answer(s, oh, &init);
		answer(b, oh, &init);
		set_state(b, GW_BRIDGE_SERVING, NULL);
		return;
	}
	answer(b, oh, NULL);
	snprintf(why, sizeof(why), "the device refused INIT: %s",
		 strerror(-oh->error));
	break_off(b, why);
}

/* The device is done with `s`. */
static void
answer_slot(struct gw_bridge *b, struct slot *s)
{
	struct fuse_out_header oh;

	slot_answer(s, &oh);
	if (s->opcode == FUSE_INIT)
		answer_init(b, s, &oh);
	else
		answer(b, &oh, s->out + 1);
}

/* ------------------------------------------------------------------ */
/* Requests to the device. */

static int
submit(struct pump *p, struct slot *s, size_t len)
{
	struct gw_bridge *b = p->bridge;
	struct iovec iov[2] = {
		{ slot_in(s), len },
		{ s->out, s->room },
	};
	uint64_t cookie = (uint64_t)(s - b->pool.slot);
	struct vh_front_queue *q;
	int err;

	s->busy = true;
	if (s->room) {
		err = vh_front_submit(p->queue, iov, 1, 1, cookie);
		return err ? err : vh_front_kick(p->queue);
	}
	pthread_mutex_lock(&b->lock);
	q = vh_front_queue(b->front, 0);
	err = vh_front_submit(q, iov, 1, 0, cookie);
	if (!err)
		err = vh_front_kick(q);
	pthread_mutex_unlock(&b->lock);
	return err;
}

/* Bring the request of `len` bytes in `s` to the device. */
static void
forward(struct pump *p, struct slot *s, size_t len)
{
	struct gw_bridge *b = p->bridge;

	if (!slot_prepare(s, len)) {
		answer_error(b, s->unique, -EINVAL);
		slot_put(&b->pool, s);
		return;
	}
	if (s->opcode == FUSE_INTERRUPT || s->opcode == FUSE_NOTIFY_REPLY) {
		slot_put(&b->pool, s);		/* virtio-fs has neither */
		return;
	}
	slot_noatime(s, b->noatime, b->nodiratime);
	if (submit(p, s, len) < 0)
		break_off(b, "cannot reach the device's queue");
}

/* Read requests while there are some and slots for them. */
static void
take_requests(struct pump *p)
{
	struct gw_bridge *b = p->bridge;
	struct slot *s;

	while (!atomic_load(&b->stop) && !atomic_load(&b->failing) &&
	       (s = slot_get(&b->pool))) {
		ssize_t n = read(b->fuse_fd, slot_in(s), SLOT_IN_MAX);
		int err = n < 0 ? errno : 0;

		if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
			forward(p, s, (size_t)n);
			continue;
		}
		slot_put(&b->pool, s);
		if (err == ENODEV)
			end(b);
		if (err == ECONNABORTED)
			break_off(b, "the kernel was told to abort it");
		/* ENOENT: taken back before it was read */
		if (err != EINTR && err != ENOENT)
			break;
	}
}

static void
reap_requests(struct pump *p)
{
	struct gw_bridge *b = p->bridge;
	uint64_t cookie;
	uint32_t len;
	int n;

	while ((n = vh_front_reap(p->queue, &cookie, &len)) > 0) {
		struct slot *s = &b->pool.slot[cookie];

		answer_slot(b, s);
		slot_put(&b->pool, s);
	}
	if (n < 0)
		break_off(b, "the device breaks the rules of its ring");
}

/* FORGETs have no answer: only their slots come back. */
static void
reap_forgets(struct gw_bridge *b)
{
	struct vh_front_queue *q = vh_front_queue(b->front, 0);
	uint64_t cookie;
	uint32_t len;
	int n;

	pthread_mutex_lock(&b->lock);
	while ((n = vh_front_reap(q, &cookie, &len)) > 0)
		slot_put(&b->pool, &b->pool.slot[cookie]);
	pthread_mutex_unlock(&b->lock);
	if (n < 0)
		break_off(b, "the device breaks the rules of its ring");
}

/* ------------------------------------------------------------------ */
/* Pumps. */

static bool
is_first(const struct pump *p)
{
	return p == p->bridge->pumps;
}

/* Ask for a signal at the next answer; false when there is one already. */
static bool
arm(struct pump *p)
{
	struct gw_bridge *b = p->bridge;
	bool quiet;

	if (!vh_front_arm(p->queue))
		return false;
	if (!is_first(p))
		return true;
	pthread_mutex_lock(&b->lock);
	quiet = vh_front_arm(vh_front_queue(b->front, 0));
	pthread_mutex_unlock(&b->lock);
	return quiet;
}

static void
wait_for_work(struct pump *p)
{
	struct gw_bridge *b = p->bridge;
	struct epoll_event ev[4];
	int n = epoll_wait(p->epoll, ev, 4, -1);

	for (int i = 0; i < n; i++)
		if (ev[i].data.fd == vh_front_fd(b->front))
			break_off(b, "the device closed the connection");
}

static void
serve(struct pump *p)
{
	struct gw_bridge *b = p->bridge;

	while (!atomic_load(&b->stop) && !atomic_load(&b->failing)) {
		reap_requests(p);
		if (is_first(p))
			reap_forgets(b);
		take_requests(p);
		if (arm(p))
			wait_for_work(p);
	}
}

static void
join_others(struct gw_bridge *b)
{
	for (unsigned i = 1; i < b->npumps; i++) {
		if (b->pumps[i].running)
			pthread_join(b->pumps[i].thread, NULL);
		b->pumps[i].running = false;
	}
}

/* Nobody else runs: refuse what the device never answered, then all that
 * comes until the mount is gone. */
static void
refuse(struct gw_bridge *b)
{
	static const size_t size = SLOT_IN_MAX;
	struct pollfd pfd = { .fd = b->fuse_fd, .events = POLLIN };
	unsigned char *buf = malloc(size);

	for (unsigned i = 0; i < SLOT_COUNT; i++)
		if (b->pool.slot[i].busy && b->pool.slot[i].room)
			answer_error(b, b->pool.slot[i].unique, -ENOTCONN);
	while (buf && !atomic_load(&b->stop)) {
		struct fuse_in_header ih;
		ssize_t n = read(b->fuse_fd, buf, size);

		if (n >= (ssize_t)sizeof(ih)) {
			memcpy(&ih, buf, sizeof(ih));
			if (slot_is_answered(ih.opcode))
				answer_error(b, ih.unique, -ENOTCONN);
		} else if (n < 0 && errno == ENODEV) {
			end(b);
		} else if (n < 0 && errno == EAGAIN) {
			poll(&pfd, 1, 100);
		} else if (n >= 0 || (errno != EINTR && errno != ENOENT)) {
			break;
		}
	}
	free(buf);
}

static void *
pump_run(void *arg)
{
	struct pump *p = arg;
	struct gw_bridge *b = p->bridge;

	serve(p);
	if (is_first(p) && atomic_load(&b->failing)) {
		join_others(b);
		refuse(b);
	}
	return NULL;
}

static int
watch_fd(int epoll, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Edges only: after each, everything is read until there is no more, and the
 * call eventfds need never be read. */
static int
pump_watch(struct pump *p)
{
	struct gw_bridge *b = p->bridge;
	struct vh_front_queue *hiprio = vh_front_queue(b->front, 0);
	int err;

	err = watch_fd(p->epoll, b->fuse_fd,
		       EPOLLIN | EPOLLET | EPOLLEXCLUSIVE);
	if (!err)
		err = watch_fd(p->epoll, b->stop_fd, EPOLLIN);
	if (!err)
		err = watch_fd(p->epoll, vh_front_call_fd(p->queue),
			       EPOLLIN | EPOLLET);
	if (err || !is_first(p))
		return err;
	err = watch_fd(p->epoll, vh_front_call_fd(hiprio), EPOLLIN | EPOLLET);
	if (!err)
		err = watch_fd(p->epoll, vh_front_fd(b->front),
			       EPOLLIN | EPOLLRDHUP);
	return err;
}

void
gw_bridge_noatime(struct gw_bridge *b, bool files, bool dirs)
{
	b->noatime = files;
	b->nodiratime = dirs;
}

int
gw_bridge_start(struct gw_bridge *b, int fuse_fd)
{
	int err = 0;

	b->fuse_fd = fuse_fd;
	for (unsigned i = 0; i < b->npumps && !err; i++)
		err = pump_watch(&b->pumps[i]);
	/* The first one last: it is the one that joins the others. */
	for (unsigned i = b->npumps; i-- > 0 && !err;) {
		struct pump *p = &b->pumps[i];

		err = -pthread_create(&p->thread, NULL, pump_run, p);
		p->running = !err;
	}
	return err;
}

/* ------------------------------------------------------------------ */
/* Begin and end. */

static int
add_pumps(struct gw_bridge *b, unsigned npumps)
{
	b->pumps = calloc(npumps, sizeof(*b->pumps));
	if (!b->pumps)
		return -ENOMEM;
	for (; b->npumps < npumps; b->npumps++) {
		struct pump *p = &b->pumps[b->npumps];

		p->bridge = b;
		p->queue = vh_front_queue(b->front, b->npumps + 1);
		p->epoll = epoll_create1(EPOLL_CLOEXEC);
		if (p->epoll < 0)
			return -errno;
	}
	return 0;
}

int
gw_bridge_new(const char *socket, unsigned nqueues, struct gw_bridge **bridge,
	      char **why)
{
	struct vh_front_settings set = {
		.nqueues = 1 + nqueues,
		.queue_size = RING_SIZE,
		.mem_size = SLOT_COUNT * (size_t)SLOT_SIZE,
	};
	struct gw_bridge *b = calloc(1, sizeof(*b));
	unsigned char *mem;
	size_t size;
	int err = -ENOMEM;

	*why = NULL;
	if (!b)
		return err;
	pthread_mutex_init(&b->lock, NULL);
	slot_pool_init(&b->pool);
	b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->stop_fd < 0 || b->event_fd < 0) {
		err = -errno;
		goto free_bridge;
	}
	err = vh_front_connect(socket, &set, &b->front, why);
	if (err)
		goto free_bridge;
	if (vh_front_nqueues(b->front) < 2) {
		err = -EPROTO;
		goto free_bridge;
	}
	mem = vh_front_mem(b->front, &size);
	slot_pool_add(&b->pool, mem, size);
	err = add_pumps(b, vh_front_nqueues(b->front) - 1);
	if (err)
		goto free_bridge;
	*bridge = b;
	return 0;

free_bridge:
	gw_bridge_free(b);
	return err;
}

int
gw_bridge_event_fd(const struct gw_bridge *b)
{
	return b->event_fd;
}

enum gw_bridge_state
gw_bridge_state(struct gw_bridge *b)
{
	enum gw_bridge_state state;

	pthread_mutex_lock(&b->lock);
	state = b->state;
	pthread_mutex_unlock(&b->lock);
	return state;
}

const char *
gw_bridge_why(struct gw_bridge *b)
{
	return b->why;
}

/* The mount is gone, the device is not: let it finish, then say goodbye, as
 * the kernel of a guest does. */
static void
say_goodbye(struct gw_bridge *b)
{
	struct pump *p = &b->pumps[0];
	struct fuse_in_header ih = {
		.len = sizeof(ih), .opcode = FUSE_DESTROY, .unique = 2,
	};
	struct slot *s;
	uint64_t cookie;
	uint32_t len;

	for (int ms = 0; slots_busy(&b->pool) > 0 && ms < DRAIN_MS; ms += 10) {
		for (unsigned i = 0; i < b->npumps; i++)
			reap_requests(&b->pumps[i]);
		reap_forgets(b);
		if (slots_busy(&b->pool) > 0)
			poll(NULL, 0, 10);
	}
	s = slot_get(&b->pool);
	if (!s || slots_busy(&b->pool) > 1)
		return;
	memcpy(slot_in(s), &ih, sizeof(ih));
	if (slot_prepare(s, sizeof(ih)) && submit(p, s, sizeof(ih)) >= 0)
		vh_front_wait(p->queue, &cookie, &len, DRAIN_MS);
}

void
gw_bridge_free(struct gw_bridge *b)
{
	enum gw_bridge_state state = gw_bridge_state(b);

	atomic_store(&b->stop, true);
	if (b->stop_fd >= 0)
		bump(b->stop_fd);
	if (b->npumps && b->pumps[0].running)
		pthread_join(b->pumps[0].thread, NULL);
	if (b->pumps)
		join_others(b);
	if (!atomic_load(&b->failing) && state == GW_BRIDGE_ENDED)
		say_goodbye(b);
	for (unsigned i = 0; i < b->npumps; i++)
		if (b->pumps[i].epoll >= 0)
			close(b->pumps[i].epoll);
	free(b->pumps);
	if (b->front)
		vh_front_free(b->front);
	if (b->stop_fd >= 0)
		close(b->stop_fd);
	if (b->event_fd >= 0)
		close(b->event_fd);
	pthread_mutex_destroy(&b->lock);
	slot_pool_fini(&b->pool);
	free(b);
}
