/* SPDX-License-Identifier: MIT */
/* Messages as bytes: pieces, fds, ends, limits. */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-raw.h"
#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static int sv[2];

static void
pair(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		abort();
}

static void
unpair(void)
{
	close(sv[0]);
	close(sv[1]);
}

static void
test_there_and_back(void)
{
	struct vh_msg a = { .request = VH_SET_VRING_CALL, .flags = 1,
		.size = 8, .payload.u64 = 0x0102030405060708, .nfds = 2 }, b;
	int fds = raw_count_fds();

	pair();
	a.fds[0] = eventfd(0, EFD_CLOEXEC);
	a.fds[1] = eventfd(0, EFD_CLOEXEC);
	is_int(vh_msg_send(sv[0], &a, 0), 0, "send");
	is_int(vh_msg_recv(sv[1], &b, 0), 0, "receive");
	is_int(b.request, a.request, "request");
	is_int(b.flags, 1, "flags");
	is_int(b.size, 8, "size");
	is_int(b.payload.u64, a.payload.u64, "payload");
	is_int(b.nfds, 2, "fds");
	is_int(fcntl(b.fds[0], F_GETFD), FD_CLOEXEC, "fds are close-on-exec");
	vh_msg_close_fds(&a);
	vh_msg_close_fds(&b);
	unpair();
	is_int(raw_count_fds(), fds, "no fd is left");
}

static void
test_pieces(void)
{
	struct vh_wire_header h = { VH_SET_FEATURES, 1, 8 };
	const char *why = "";
	char bytes[20];
	struct vh_rx rx;
	int r = 0;

	pair();
	memcpy(bytes, &h, sizeof h);
	memcpy(bytes + 12, "abcdefgh", 8);
	vh_rx_init(&rx);
	for (int i = 0; i < 20 && !r; i++) {
		if (write(sv[0], bytes + i, 1) != 1)
			abort();
		r = vh_rx_read(sv[1], &rx, &why);
		if (r != (i == 19))
			break;
	}
	is_int(r, 1, "a message byte by byte");
	ok(!memcmp(rx.msg.payload.bytes, "abcdefgh", 8), "its payload");
	vh_rx_init(&rx);
	is_int(vh_rx_read(sv[1], &rx, &why), 0, "nothing more");

	/* Two at once must not be mixed up. */
	if (write(sv[0], bytes, 20) != 20 || write(sv[0], bytes, 20) != 20)
		abort();
	is_int(vh_rx_read(sv[1], &rx, &why), 1, "the first of two");
	vh_rx_init(&rx);
	is_int(vh_rx_read(sv[1], &rx, &why), 1, "the second of two");
	vh_rx_init(&rx);
	unpair();
}

static void
test_ends(void)
{
	struct vh_msg m;

	pair();
	is_int(vh_msg_recv(sv[1], &m, 10), -ETIMEDOUT, "nothing comes");
	close(sv[0]);
	is_int(vh_msg_recv(sv[1], &m, 10), -ENOTCONN, "end of file");
	m = (struct vh_msg){ .request = 1, .flags = 1 };
	is_int(vh_msg_send(sv[1], &m, 0), -ENOTCONN, "nobody to send to");
	close(sv[1]);

	pair();
	if (write(sv[0], "12345", 5) != 5)
		abort();
	close(sv[0]);
	is_int(vh_msg_recv(sv[1], &m, 10), -EPROTO, "end within a header");
	close(sv[1]);
}

static void
test_limits(void)
{
	struct vh_wire_header h = { 1, 1, VH_MSG_MAX + 1 };
	struct vh_msg m = { .request = 1, .flags = 1, .size = VH_MSG_MAX }, n;

	pair();
	memset(m.payload.bytes, 7, VH_MSG_MAX);
	is_int(vh_msg_send(sv[0], &m, 0), 0, "the longest message");
	is_int(vh_msg_recv(sv[1], &n, 0), 0, "it arrives");
	ok(!memcmp(m.payload.bytes, n.payload.bytes, VH_MSG_MAX), "all of it");
	m.size++;
	is_int(vh_msg_send(sv[0], &m, 0), -EINVAL, "one byte more");
	if (write(sv[0], &h, sizeof h) != sizeof h)
		abort();
	is_int(vh_msg_recv(sv[1], &n, 0), -EPROTO, "one byte more announced");
	unpair();
}

static void
send_fds(int fd, int nfds, const void *bytes, size_t len)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(32 * sizeof(int))];
	} u;
	struct iovec iov = { (void *)bytes, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &u,
		.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int)) };
	struct cmsghdr *c;

	memset(&u, 0, sizeof u);
	c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
	for (int i = 0; i < nfds; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &fd, sizeof fd);
	if (sendmsg(sv[0], &mh, 0) != (ssize_t)len)
		abort();
}

static void
test_too_many_fds(void)
{
	struct vh_wire_header h = { 1, 1, 0 };
	int fd = eventfd(0, EFD_CLOEXEC), fds = raw_count_fds();
	struct vh_msg m;

	for (int n = 9; n <= 32; n += 23) {
		pair();
		send_fds(fd, n, &h, sizeof h);
		is_int(vh_msg_recv(sv[1], &m, 0), -EPROTO, "%d fds", n);
		unpair();
		is_int(raw_count_fds(), fds, "none of %d is left", n);
	}
	pair();
	send_fds(fd, 5, &h, 4);
	send_fds(fd, 5, (char *)&h + 4, 8);
	is_int(vh_msg_recv(sv[1], &m, 0), -EPROTO, "5 and 5 fds");
	unpair();
	is_int(raw_count_fds(), fds, "none of 5 and 5 is left");

	pair();
	send_fds(fd, 3, &h, 4);
	is_int(vh_msg_recv(sv[1], &m, 1), -ETIMEDOUT, "half a header, 3 fds");
	unpair();
	is_int(raw_count_fds(), fds, "none of 3 is left");

	pair();
	send_fds(fd, 4, &h, 4);
	send_fds(fd, 4, (char *)&h + 4, 8);
	is_int(vh_msg_recv(sv[1], &m, 0), 0, "4 and 4 fds");
	is_int(m.nfds, 8, "are 8");
	vh_msg_close_fds(&m);
	unpair();
	close(fd);
}

static void *
slow_reader(void *arg)
{
	struct vh_msg m;
	long n = 0;

	(void)arg;
	usleep(20000);
	while (!vh_msg_recv(sv[1], &m, 1000)) {
		if (m.size != 4000 || m.payload.bytes[3999] != (n & 0xff))
			break;
		n++;
	}
	return (void *)n;
}

static void
test_full_socket(void)
{
	struct vh_msg m = { .request = 1, .flags = 1, .size = 4000 };
	int sndbuf = 4096, err = 0;
	pthread_t t;
	void *n;

	pair();
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
	pthread_create(&t, NULL, slow_reader, NULL);
	for (int i = 0; i < 200 && !err; i++) {
		m.payload.bytes[3999] = (unsigned char)i;
		err = vh_msg_send(sv[0], &m, 5000);
	}
	is_int(err, 0, "sending waits for a slow reader");
	close(sv[0]);
	pthread_join(t, &n);
	is_int((long)n, 200, "it gets all messages, whole");
	close(sv[1]);

	pair();
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
	for (int i = 0; i < 200 && !err; i++)
		err = vh_msg_send(sv[0], &m, 0);
	is_int(err, -ETIMEDOUT, "without a reader, sending ends");
	unpair();
}

static void
test_names(void)
{
	is_str(vh_msg_name(VH_SET_MEM_TABLE), "SET_MEM_TABLE", "a name");
	is_str(vh_msg_name(44), "GET_SHMEM_CONFIG", "the last name");
	is_str(vh_msg_name(99), "request 99", "no name");
	is_str(vh_msg_name(0), "request 0", "no name for 0");
}

int
main(void)
{
	test_there_and_back();
	test_pieces();
	test_ends();
	test_limits();
	test_too_many_fds();
	test_full_socket();
	test_names();
	return tap_done();
}
