/* SPDX-License-Identifier: MIT */
/*
 * Kicks by epoll(7), edge-triggered.  An eventfd tells of every write that way,
 * also while its counter is not zero.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gatewayd/kicks.h"
#include "vhost/vhost.h"

#define BLIND_NS 1000000	/* look that often at a ring without a kick fd */

enum { MOST = 3 };		/* a ring, hiprio, being woken */

static int
watch(struct kicks *k, int fd, struct vh_queue *q)
{
	struct epoll_event e = {
		.events = EPOLLIN | EPOLLET,
		.data.ptr = q,
	};

	return epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

int
kicks_init(struct kicks *k)
{
	int err;

	*k = (struct kicks){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	if (k->epoll_fd < 0)
		return -errno;
	k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = k->wake_fd < 0 ? -errno : watch(k, k->wake_fd, NULL);
	if (err)
		kicks_fini(k);
	return err;
}

void
kicks_fini(struct kicks *k)
{
	close(k->epoll_fd);
	if (k->wake_fd >= 0)
		close(k->wake_fd);
}

void
kicks_add(struct kicks *k, struct vh_queue *q)
{
	int fd = vh_queue_kick_fd(q);

	/* Want of memory, or of the user's watches: as without a kick fd. */
	if (fd < 0 || watch(k, fd, q))
		k->blind++;
}

void
kicks_remove(struct kicks *k, struct vh_queue *q)
{
	int fd = vh_queue_kick_fd(q);

	if (fd < 0 || epoll_ctl(k->epoll_fd, EPOLL_CTL_DEL, fd, NULL) < 0)
		k->blind--;
}

/* False when there was nothing until then, or a signal. */
static bool
wait_until(const struct kicks *k, uint64_t ns)
{
	struct pollfd p = { .fd = k->epoll_fd, .events = POLLIN };
	struct timespec ts = {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000),
	};

	return ppoll(&p, 1, &ts, NULL) > 0;
}

void
kicks_sleep(struct kicks *k, uint64_t ns)
{
	struct epoll_event e[MOST];
	int n;

	if (k->blind && ns > BLIND_NS)
		ns = BLIND_NS;
	/* epoll_wait() counts milliseconds. */
	if (ns != KICKS_FOREVER && !wait_until(k, ns))
		return;
	n = epoll_wait(k->epoll_fd, e, MOST, ns == KICKS_FOREVER ? -1 : 0);
	for (int i = 0; i < n; i++)
		if (e[i].data.ptr)
			vh_queue_kicked(e[i].data.ptr);
}

int
kicks_wake(struct kicks *k)
{
	static const uint64_t one = 1;

	return write(k->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN ?
	       -errno : 0;
}
