/* SPDX-License-Identifier: MIT */
/*
 * One vhost-user message with its fds, in and out.  The only place that calls
 * sendmsg and recvmsg, and that closes what was received.
 *
 * The header is read first and then just the payload it announces, so what
 * follows stays in the socket: nothing is ever buffered here that a poll of
 * the socket would not show.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEADER sizeof(struct vh_wire_header)
/* Room for more than we take: the kernel itself would close the rest. */
#define FDS_MAX 253			/* the most that one sendmsg() brings */
#define FDS_SPACE CMSG_SPACE(FDS_MAX * sizeof(int))

_Static_assert(offsetof(struct vh_msg, request) == 0 &&
	       offsetof(struct vh_msg, size) == 8,
	       "a vh_msg begins with the header as it is on the wire");

union fd_space {
	struct cmsghdr align;
	char bytes[FDS_SPACE];
};

/* ---- closing what a front end sent ---- */

struct closing {
	int n;
	int fds[];
};

static void *
close_thread(void *arg)
{
	struct closing *c = arg;

	for (int i = 0; i < c->n; i++)
		close(c->fds[i]);
	free(c);
	return NULL;
}

bool
vh_run_aside(void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t t;
	int err;

	if (pthread_attr_init(&attr))
		return false;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	sigdelset(&all, SIGBUS);	/* of guest memory */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&t, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return !err;
}

/* Memory, eventfds and such, pipes, directories. */
static bool
closes_quickly(int fd)
{
	struct statx stx;

	if (fcntl(fd, F_GET_SEALS) >= 0)
		return true;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE,
		  &stx))
		return false;
	return !(stx.stx_mode & S_IFMT) || S_ISFIFO(stx.stx_mode) ||
	       S_ISDIR(stx.stx_mode);
}

/*
 * The last close of a socket with SO_LINGER, or of a file whose server is slow
 * to answer, waits as long as a front end likes: a thread does it that nobody
 * waits for.  A socket that only we have need not linger.
 */
void
vh_close_foreign(const int *fds, int n)
{
	static const struct linger none;
	struct closing *c = malloc(sizeof *c + (size_t)n * sizeof *fds);
	int slow = 0;

	for (int i = 0; i < n; i++) {
		if (fds[i] < 0)
			continue;
		if (!c || closes_quickly(fds[i])) {
			close(fds[i]);
			continue;
		}
		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &none, sizeof none);
		c->fds[slow++] = fds[i];
	}
	if (!c)
		return;
	c->n = slow;
	if (!slow)
		free(c);
	else if (!vh_run_aside(close_thread, c))
		close_thread(c);
}

void
vh_msg_close_fds(struct vh_msg *msg)
{
	if (msg->nfds)
		vh_close_foreign(msg->fds, msg->nfds);
	msg->nfds = 0;
}

/* What was never read may hold descriptors, too. */
void
vh_close_socket(int fd)
{
	int unread = 0;

	shutdown(fd, SHUT_RDWR);
	if (!ioctl(fd, SIOCINQ, &unread) && unread == 0)
		close(fd);
	else
		vh_close_foreign(&fd, 1);
}

/* ---- receiving ---- */

void
vh_rx_init(struct vh_rx *rx)
{
	rx->got = 0;
	rx->msg.nfds = 0;
	rx->msg.size = 0;
}

/* Put the fds that came with a piece into the message; those for which there
 * is no room are closed. */
static int
take_fds(struct vh_msg *msg, struct msghdr *mh, const char **why)
{
	int fds[FDS_MAX], err = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n, i;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		for (i = 0; i < n && msg->nfds < VH_MSG_FDS; i++)
			msg->fds[msg->nfds++] = fds[i];
		if (i == n)
			continue;
		vh_close_foreign(fds + i, (int)(n - i));
		err = -EPROTO;
	}
	if (mh->msg_flags & MSG_CTRUNC)
		err = -EPROTO;
	if (err)
		*why = "a message brought too many file descriptors, or this "
		       "process can have no more of them";
	return err;
}

/* Where the next byte goes and how many are still wanted. */
static void
rx_rest(struct vh_rx *rx, struct iovec *iov)
{
	if (rx->got < HEADER) {
		iov->iov_base = (char *)&rx->msg + rx->got;
		iov->iov_len = HEADER - rx->got;
	} else {
		iov->iov_base = rx->msg.payload.bytes + (rx->got - HEADER);
		iov->iov_len = rx->msg.size - (rx->got - HEADER);
	}
}

static int
rx_piece(int fd, struct vh_rx *rx, struct iovec *iov, const char **why)
{
	union fd_space space;
	struct msghdr mh = {
		.msg_iov = iov,
		.msg_iovlen = 1,
		.msg_control = &space,
		.msg_controllen = sizeof space,
	};
	ssize_t n;
	int err;

	do
		n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n < 0) {
		err = -errno;
		*why = "the connection failed";
		return err == -ECONNRESET && !rx->got ? -ENOTCONN : err;
	}
	err = take_fds(&rx->msg, &mh, why);
	if (err)
		return err;
	if (n == 0) {
		if (!rx->got)
			return -ENOTCONN;
		*why = "the front end left in the middle of a message";
		return -EPROTO;
	}
	rx->got += (size_t)n;
	return 1;
}

int
vh_rx_read(int fd, struct vh_rx *rx, const char **why)
{
	struct iovec iov;
	int r;

	for (;;) {
		if (rx->got >= HEADER && rx->msg.size > VH_MSG_MAX) {
			*why = "a message is longer than any message may be";
			r = -EPROTO;
			break;
		}
		rx_rest(rx, &iov);
		if (!iov.iov_len)
			return 1;
		r = rx_piece(fd, rx, &iov, why);
		if (r <= 0)
			break;
	}
	if (r < 0) {
		vh_msg_close_fds(&rx->msg);
		vh_rx_init(rx);
	}
	return r;
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait until `fd` is ready, at most until `end` (of now_ms(); -1: for ever). */
static int
wait_for(int fd, short events, int64_t end)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = -1;
	int r;

	do {
		if (end >= 0) {
			left = end - now_ms();
			if (left < 0)
				left = 0;
		}
		r = poll(&p, 1, (int)left);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

static int64_t
end_of(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
}

int
vh_msg_recv(int fd, struct vh_msg *msg, int timeout_ms)
{
	int64_t end = end_of(timeout_ms);
	struct vh_rx rx;
	const char *why;
	int r;

	vh_rx_init(&rx);
	while (!(r = vh_rx_read(fd, &rx, &why))) {
		r = wait_for(fd, POLLIN, end);
		if (r)
			break;
	}
	if (r < 0) {
		vh_msg_close_fds(&rx.msg);
		msg->nfds = 0;
		return r;
	}
	memcpy(msg, &rx.msg, offsetof(struct vh_msg, payload) + rx.msg.size);
	return 0;
}

static void
attach_fds(struct msghdr *mh, union fd_space *space, const struct vh_msg *msg)
{
	size_t len = (size_t)msg->nfds * sizeof(int);
	struct cmsghdr *c;

	memset(space, 0, sizeof *space);
	mh->msg_control = space;
	mh->msg_controllen = CMSG_SPACE(len);
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), msg->fds, len);
}

int
vh_msg_send(int fd, const struct vh_msg *msg, int timeout_ms)
{
	int64_t end = end_of(timeout_ms);
	size_t done = 0, all = HEADER + msg->size;
	union fd_space space;

	if (msg->size > VH_MSG_MAX || msg->nfds < 0 || msg->nfds > VH_MSG_FDS)
		return -EINVAL;
	while (done < all) {
		size_t head = done < HEADER ? HEADER - done : 0;
		size_t body = done > HEADER ? done - HEADER : 0;
		struct iovec iov[2] = {
			{ (char *)msg + (HEADER - head), head },
			{ (char *)msg->payload.bytes + body, msg->size - body },
		};
		struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
		ssize_t n;
		int r;

		if (!done && msg->nfds)
			attach_fds(&mh, &space, msg);
		n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return errno == EPIPE ? -ENOTCONN : -errno;
		r = timeout_ms ? wait_for(fd, POLLOUT, end) : -ETIMEDOUT;
		if (r)
			return r;
	}
	return 0;
}
