/* SPDX-License-Identifier: MIT */
/*
 * Requests of the kernel's FUSE client, read from /dev/fuse straight into
 * memory shared with a vhost-user-fs device, and its answers written back.
 *
 * Each request lives in a slot.  It is read so that the data of a WRITE begins
 * on a page, and the answer is placed so that the data of a READ does:
 *
 *	| ....[header 80][data or names ....] ....[header 16][data ....] |
 *	      one piece for the device to read  one for it to write
 *
 * One thread (a pump) per request queue reads /dev/fuse, submits, reaps and
 * answers.  Whoever frees a slot tries to read more requests, so a pump that
 * found no slot need not be woken for one.  FORGETs go to the hiprio queue as
 * a Linux guest sends them; its lock also guards the free slots and the state.
 *
 * The device is not trusted: the header of an answer is copied and checked
 * before the kernel sees it.  When the device is gone, pump 0 goes on alone
 * and answers everything with ENOTCONN, so that nobody hangs until the mount
 * is taken away.
 */
#include "gatewayd/bridge.h"

#include "vhost/vhost.h"

#include <errno.h>
#include <linux/fuse.h>
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

#define PAGE 4096u
#define NSLOTS 128u
#define RING_SIZE (2 * NSLOTS)		/* a request takes at most two entries */
#define IN_HEAD 80u			/* fuse_in_header, fuse_write_in */
#define IN_MAX (IN_HEAD + GW_BRIDGE_DATA_MAX + PAGE)
#define OUT_HEAD ((unsigned)sizeof(struct fuse_out_header))
/* The biggest request has a small answer, and the other way round. */
#define SLOT_SIZE (PAGE + GW_BRIDGE_DATA_MAX + 4 * PAGE)
#define DRAIN_MS 3000			/* for answers still out after umount */

struct slot {
	unsigned char *mem;		/* SLOT_SIZE bytes, shared */
	struct fuse_out_header *out;	/* in it; never believed */
	uint32_t room;			/* bytes the answer may have */
	uint32_t opcode;
	uint64_t unique;
	bool busy;			/* the device has it */
};

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
	unsigned npumps;
	struct pump *pumps;
	struct slot slots[NSLOTS];
	atomic_bool stop;	/* end now */
	atomic_bool failing;	/* only pump 0 goes on, and only to refuse */

	pthread_mutex_t lock;	/* of all below, and of the hiprio queue */
	enum gw_bridge_state state;
	unsigned free[NSLOTS], nfree;
	char why[160];
};

/* What cannot work when /dev/fuse is not the device's own: it hands fds to the
 * kernel, maps memory into it, or speaks to it without being asked. */
/* clang-format off */
#define NOT_HERE ((uint64_t)FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE |	\
		  FUSE_SPLICE_READ | FUSE_MAP_ALIGNMENT |		\
		  FUSE_SUBMOUNTS | FUSE_HAS_INODE_DAX |			\
		  1ull << 37 /* PASSTHROUGH */ |			\
		  1ull << 39 /* HAS_RESEND */ |				\
		  1ull << 41 /* OVER_IO_URING */)
/* clang-format on */

/* ------------------------------------------------------------------ */
/* State and slots. */

static void
bump(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;		/* full: it is readable already */
}

/* States only go forward.  The first reason is the one that is told. */
static void
set_state(struct gw_bridge *b, enum gw_bridge_state state, const char *why)
{
	pthread_mutex_lock(&b->lock);
	if (state > b->state) {
		b->state = state;
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
	set_state(b, GW_BRIDGE_ENDED, "");
}

static struct slot *
slot_get(struct gw_bridge *b)
{
	struct slot *s = NULL;

	pthread_mutex_lock(&b->lock);
	if (b->nfree > 0)
		s = &b->slots[b->free[--b->nfree]];
	pthread_mutex_unlock(&b->lock);
	return s;
}

static void
slot_put_locked(struct gw_bridge *b, struct slot *s)
{
	s->busy = false;
	b->free[b->nfree++] = (unsigned)(s - b->slots);
}

static void
slot_put(struct gw_bridge *b, struct slot *s)
{
	pthread_mutex_lock(&b->lock);
	slot_put_locked(b, s);
	pthread_mutex_unlock(&b->lock);
}

static unsigned
slots_busy(struct gw_bridge *b)
{
	unsigned n;

	pthread_mutex_lock(&b->lock);
	n = NSLOTS - b->nfree;
	pthread_mutex_unlock(&b->lock);
	return n;
}

static unsigned char *
slot_in(struct slot *s)
{
	return s->mem + PAGE - IN_HEAD;
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
		{ (void *)oh, OUT_HEAD },
		{ (void *)payload, oh->len - OUT_HEAD },
	};

	if (writev(b->fuse_fd, iov, iov[1].iov_len ? 2 : 1) < 0 &&
	    errno == ENODEV)
		end(b);
}

static void
answer_error(struct gw_bridge *b, uint64_t unique, int err)
{
	struct fuse_out_header oh = {
		.len = OUT_HEAD, .error = err, .unique = unique,
	};

	answer(b, &oh, NULL);
}

/* The answer to INIT: nothing is agreed that cannot work here. */
static void
answer_init(struct gw_bridge *b, const struct slot *s,
	    struct fuse_out_header *oh)
{
	struct fuse_init_out init = { 0 };
	uint32_t n = oh->len - OUT_HEAD;

	if (oh->error) {
		char why[80];

		answer(b, oh, NULL);
		snprintf(why, sizeof(why), "the device refused INIT: %s",
			 strerror(-oh->error));
		break_off(b, why);
		return;
	}
	n = n < sizeof(init) ? n : (uint32_t)sizeof(init);
	memcpy(&init, s->out + 1, n);
	if (init.max_write > GW_BRIDGE_DATA_MAX)
		init.max_write = GW_BRIDGE_DATA_MAX;
	if (init.max_pages > GW_BRIDGE_DATA_MAX / PAGE)
		init.max_pages = GW_BRIDGE_DATA_MAX / PAGE;
	init.flags &= ~(uint32_t)NOT_HERE;
	init.flags2 &= ~(uint32_t)(NOT_HERE >> 32);
	oh->len = OUT_HEAD + n;
	answer(b, oh, &init);
	set_state(b, GW_BRIDGE_SERVING, "");
}

/* The device is done with `s`. */
static void
answer_slot(struct gw_bridge *b, struct slot *s)
{
	struct fuse_out_header oh = *s->out;
	bool good = oh.len >= OUT_HEAD && oh.len <= s->room &&
		    oh.unique == s->unique && oh.error <= 0 &&
		    oh.error > -512 && (!oh.error || oh.len == OUT_HEAD);

	if (!good) {
		oh.len = OUT_HEAD;
		oh.error = -EIO;
		oh.unique = s->unique;
	}
	if (s->opcode == FUSE_INIT)
		answer_init(b, s, &oh);
	else
		answer(b, &oh, s->out + 1);
}

/* ------------------------------------------------------------------ */
/* Requests to the device. */

/* Room for the answer, as the request itself asks for it. */
static uint64_t
answer_room(uint32_t opcode, const void *arg)
{
	uint64_t n = 0;

	switch (opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		return 0;
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		n = ((const struct fuse_read_in *)arg)->size;
		return OUT_HEAD + n;
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		n = ((const struct fuse_getxattr_in *)arg)->size;
		break;
	case FUSE_IOCTL:
		n = ((const struct fuse_ioctl_in *)arg)->out_size +
		    sizeof(struct fuse_ioctl_out);
		break;
	}
	return OUT_HEAD + (n > PAGE ? n : PAGE);
}

/* Lay out the answer behind a request of `len` bytes, its payload on a page.
 * False when it does not fit. */
static bool
slot_place_answer(struct slot *s, size_t len)
{
	const struct fuse_in_header *ih = (void *)slot_in(s);
	size_t at = PAGE - IN_HEAD + len;
	uint64_t room = answer_room(ih->opcode, ih + 1);

	at = (at + OUT_HEAD + PAGE - 1) / PAGE * PAGE;
	if (room > OUT_HEAD && room - OUT_HEAD > SLOT_SIZE - at)
		return false;
	s->out = (struct fuse_out_header *)(s->mem + at - OUT_HEAD);
	memset(s->out, 0, OUT_HEAD);
	s->room = (uint32_t)room;
	s->opcode = ih->opcode;
	s->unique = ih->unique;
	return true;
}

static void
limit_init(struct slot *s)
{
	struct fuse_init_in *init = (void *)(slot_in(s) + sizeof(struct fuse_in_header));

	init->flags &= ~(uint32_t)NOT_HERE;
	init->flags2 &= ~(uint32_t)(NOT_HERE >> 32);
}

static int
submit(struct pump *p, struct slot *s, size_t len)
{
	struct gw_bridge *b = p->bridge;
	struct iovec iov[2] = {
		{ slot_in(s), len },
		{ s->out, s->room },
	};
	uint64_t cookie = (uint64_t)(s - b->slots);
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
	struct fuse_in_header *ih = (void *)slot_in(s);

	if (ih->opcode == FUSE_INTERRUPT || ih->opcode == FUSE_NOTIFY_REPLY) {
		/* virtio-fs has neither */
		slot_put(b, s);
		return;
	}
	if (ih->opcode == FUSE_INIT && len >= sizeof(*ih) +
	    sizeof(struct fuse_init_in))
		limit_init(s);
	if (!slot_place_answer(s, len)) {
		answer_error(b, ih->unique, -EINVAL);
		slot_put(b, s);
		return;
	}
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
	       (s = slot_get(b))) {
		ssize_t n = read(b->fuse_fd, slot_in(s), IN_MAX);
		int err = n < 0 ? errno : 0;

		if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
			forward(p, s, (size_t)n);
			continue;
		}
		slot_put(b, s);
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
		struct slot *s = &b->slots[cookie];

		answer_slot(b, s);
		slot_put(b, s);
	}
	if (n < 0)
		break_off(b, "the device's answers break the rules of its ring");
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
		slot_put_locked(b, &b->slots[cookie]);
	pthread_mutex_unlock(&b->lock);
	if (n < 0)
		break_off(b, "the device's answers break the rules of its ring");
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
	static const size_t size = IN_MAX;
	struct pollfd pfd = { .fd = b->fuse_fd, .events = POLLIN };
	unsigned char *buf = malloc(size);

	for (unsigned i = 0; i < NSLOTS; i++)
		if (b->slots[i].busy && b->slots[i].room)
			answer_error(b, b->slots[i].unique, -ENOTCONN);
	while (buf && !atomic_load(&b->stop)) {
		struct fuse_in_header ih;
		ssize_t n = read(b->fuse_fd, buf, size);

		if (n >= (ssize_t)sizeof(ih)) {
			memcpy(&ih, buf, sizeof(ih));
			if (answer_room(ih.opcode, buf + sizeof(ih)) &&
			    ih.opcode != FUSE_INTERRUPT)
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

static void
add_slots(struct gw_bridge *b)
{
	size_t size;
	unsigned char *mem = vh_front_mem(b->front, &size);

	for (unsigned i = 0; i < NSLOTS && (i + 1) * (size_t)SLOT_SIZE <= size;
	     i++) {
		b->slots[i].mem = mem + i * (size_t)SLOT_SIZE;
		slot_put_locked(b, &b->slots[i]);
	}
}

int
gw_bridge_new(const char *socket, unsigned nqueues, struct gw_bridge **bridge,
	      char **why)
{
	struct vh_front_settings set = {
		.nqueues = 1 + nqueues,
		.queue_size = RING_SIZE,
		.mem_size = NSLOTS * (size_t)SLOT_SIZE,
	};
	struct gw_bridge *b = calloc(1, sizeof(*b));
	int err = -ENOMEM;

	*why = NULL;
	if (!b)
		return err;
	pthread_mutex_init(&b->lock, NULL);
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
	add_slots(b);
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

	for (int ms = 0; slots_busy(b) > 0 && ms < DRAIN_MS; ms += 10) {
		for (unsigned i = 0; i < b->npumps; i++)
			reap_requests(&b->pumps[i]);
		reap_forgets(b);
		if (slots_busy(b) > 0)
			poll(NULL, 0, 10);
	}
	s = slot_get(b);
	if (!s || slots_busy(b) > 1)
		return;
	memcpy(slot_in(s), &ih, sizeof(ih));
	if (slot_place_answer(s, sizeof(ih)) && submit(p, s, sizeof(ih)) >= 0)
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
	free(b);
}
