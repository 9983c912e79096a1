/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what a front end sends.  The input is a list of steps, each a
 * byte that says what, and what that needs:
 *
 *	'm' request flags fds size16 bytes...	a message; the low half of
 *						`fds` is how many, the high
 *						half which kind
 *	'b' count bytes...			bytes without a frame
 *	's'					queues that were to stop have
 *	'r'					serve the rings that run
 *	't' n					truncate the memory to n pages
 *	'd'					from here on stop later
 *
 * Whatever comes, every fd must be closed in the end, the connection idle.
 */
#include "config.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/vhost-raw.h"

#define MEM (4u << 20)
#define NKINDS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

static unsigned
byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static void
send_message(struct raw *r, struct input *in, const int *kinds)
{
	struct vh_msg m = { .request = byte(in) };
	unsigned fds;

	m.flags = byte(in);
	fds = byte(in);
	m.size = byte(in);
	m.size |= byte(in) << 8;
	if (m.size > VH_MSG_MAX)
		m.size = VH_MSG_MAX;
	if (m.size > in->left)
		m.size = (uint32_t)in->left;
	memcpy(m.payload.bytes, in->p, m.size);
	in->p += m.size;
	in->left -= m.size;
	m.nfds = (int)(fds & 15) > VH_MSG_FDS ? VH_MSG_FDS : (int)(fds & 15);
	for (int i = 0; i < m.nfds; i++)
		m.fds[i] = kinds[(fds >> 4) % NKINDS];
	vh_msg_send(r->fd, &m, 0);
}

static void
send_bytes(struct raw *r, struct input *in)
{
	size_t n = byte(in);

	if (n > in->left)
		n = in->left;
	if (send(r->fd, in->p, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		n = 0;
	in->p += n;
	in->left -= n;
}

/* Each piece must be memory that can be touched. */
static void
touch(const struct vh_chain *c)
{
	static volatile char sink;

	for (unsigned i = 0; i < c->nin + c->nout; i++) {
		char *p = c->iov[i].iov_base;

		sink = p[0];
		sink = p[c->iov[i].iov_len - 1];
	}
	(void)sink;
}

static void
serve(struct raw *r)
{
	static struct iovec iov[VH_IOV_MAX];
	struct vh_info info;
	struct vh_chain c;

	vh_conn_info(r->conn, &info);
	for (unsigned i = 0; i < VH_QUEUES_MAX; i++) {
		if (!info.queue[i].started || vh_queue_sync(r->q[i]))
			continue;
		for (int n = 0; n < 8; n++) {
			if (vh_queue_pop(r->q[i], &c, iov) <= 0)
				break;
			touch(&c);
			vh_queue_complete(r->q[i],
					  &(struct vh_used){ c.head, 1 }, 1);
		}
		vh_queue_suppress(r->q[i]);
		vh_queue_arm(r->q[i]);
	}
}

static void
read_replies(struct raw *r)
{
	char buf[4096];

	while (recv(r->fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
		;
}

static int
step(struct raw *r, struct input *in, const int *kinds)
{
	switch (byte(in)) {
	case 'm':
		send_message(r, in, kinds);
		break;
	case 'b':
		send_bytes(r, in);
		break;
	case 's':
		for (int i = 0; i < VH_QUEUES_MAX; i++)
			if (r->q[i])
				vh_queue_stopped(r->q[i]);
		break;
	case 'r':
		serve(r);
		break;
	case 't':
		if (ftruncate(kinds[0], (off_t)byte(in) * 4096))
			abort();
		break;
	case 'd':
		r->defer = true;
		break;
	default:
		break;
	}
	read_replies(r);
	return vh_conn_process(r->conn);
}

static void
make_kinds(int *kinds)
{
	int p[2];

	kinds[0] = memfd_create("fuzz", MFD_CLOEXEC);
	kinds[1] = eventfd(0, EFD_CLOEXEC);
	if (ftruncate(kinds[0], MEM) || pipe2(p, O_CLOEXEC))
		abort();
	kinds[2] = p[0];
	kinds[3] = p[1];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	int kinds[NKINDS], before = raw_count_fds();
	struct raw r;

	if (vh_sigbus_init())
		abort();
	make_kinds(kinds);
	raw_open(&r, 3, size & 1 ? "tag" : NULL);
	while (in.left && !step(&r, &in, kinds))
		;
	serve(&r);
	if (!raw_close(&r))
		abort();
	for (int i = 0; i < NKINDS; i++)
		close(kinds[i]);
	if (raw_count_fds() != before)
		abort();
	return 0;
}
