/* SPDX-License-Identifier: MIT */
/* A front end made of single messages, see vhost-raw.h. */
#include "config.h"

#include "tests/vhost-raw.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int
on_start(void *ctx, struct vh_queue *q)
{
	struct raw *r = ctx;

	if (r->start_err)
		return r->start_err;
	r->q[vh_queue_index(q)] = q;
	r->starts++;
	return 0;
}

static void
on_stop(void *ctx, struct vh_queue *q)
{
	struct raw *r = ctx;

	r->stops++;
	if (!r->defer)
		vh_queue_stopped(q);
}

static void
on_wake(void *ctx, struct vh_queue *q)
{
	struct raw *r = ctx;

	(void)q;
	r->wakes++;
}

static void
on_reset(void *ctx)
{
	struct raw *r = ctx;

	r->resets++;
}

static void
on_trace(void *ctx, const char *fmt, va_list ap)
{
	struct raw *r = ctx;

	r->traces++;
	vsnprintf(r->last_trace, sizeof r->last_trace, fmt, ap);
}

static const struct vh_ops ops = {
	.queue_start = on_start,
	.queue_stop = on_stop,
	.queue_wake = on_wake,
	.reset = on_reset,
	.trace = on_trace,
};

void
raw_open(struct raw *r, unsigned nqueues, const char *tag)
{
	struct vh_settings set = { .nqueues = nqueues, .tag = tag };
	int sv[2];

	memset(r, 0, sizeof *r);
	r->mem_fd = -1;
	for (int i = 0; i < VH_QUEUES_MAX; i++)
		r->kick[i] = r->call[i] = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
	    vh_conn_new(sv[0], &set, &ops, r, &r->conn))
		abort();
	r->fd = sv[1];
}

bool
raw_close(struct raw *r)
{
	bool idle;

	vh_conn_close(r->conn);
	if (r->defer)
		for (int i = 0; i < VH_QUEUES_MAX; i++)
			if (r->q[i])
				vh_queue_stopped(r->q[i]);
	idle = vh_conn_is_idle(r->conn);
	if (idle)
		vh_conn_free(r->conn);
	for (int i = 0; i < VH_QUEUES_MAX; i++) {
		if (r->kick[i] >= 0)
			close(r->kick[i]);
		if (r->call[i] >= 0)
			close(r->call[i]);
	}
	if (r->mem)
		munmap(r->mem, r->mem_size);
	if (r->mem_fd >= 0)
		close(r->mem_fd);
	if (r->fd >= 0)
		close(r->fd);
	return idle;
}

int
raw_send(struct raw *r, uint32_t request, uint32_t flags, const void *payload,
	 size_t size, const int *fds, int nfds)
{
	struct vh_msg m = {
		.request = request,
		.flags = VH_VERSION | flags,
		.size = (uint32_t)size,
		.nfds = nfds,
	};

	if (size)
		memcpy(m.payload.bytes, payload, size);
	if (nfds)
		memcpy(m.fds, fds, (size_t)nfds * sizeof *fds);
	return vh_msg_send(r->fd, &m, 1000);
}

int
raw_msg(struct raw *r, uint32_t request, uint32_t flags, const void *payload,
	size_t size, const int *fds, int nfds)
{
	int err = raw_send(r, request, flags, payload, size, fds, nfds);

	return err ? err : vh_conn_process(r->conn);
}

int
raw_none(struct raw *r, uint32_t request)
{
	return raw_msg(r, request, 0, NULL, 0, NULL, 0);
}

int
raw_u64(struct raw *r, uint32_t request, uint64_t v)
{
	return raw_msg(r, request, 0, &v, sizeof v, NULL, 0);
}

int
raw_u64_fd(struct raw *r, uint32_t request, uint64_t v, int fd)
{
	return raw_msg(r, request, 0, &v, sizeof v, &fd, 1);
}

int
raw_state(struct raw *r, uint32_t request, unsigned index, unsigned num)
{
	struct vhost_vring_state s = { .index = index, .num = num };

	return raw_msg(r, request, 0, &s, sizeof s, NULL, 0);
}

int
raw_region(struct raw *r, uint32_t request, uint64_t gpa, uint64_t size,
	   uint64_t uva, uint64_t offset, int fd)
{
	struct vh_wire_mem_reg w = { .region = { gpa, size, uva, offset } };

	return raw_msg(r, request, 0, &w, sizeof w, &fd, fd >= 0);
}

bool
raw_has_reply(struct raw *r)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

uint64_t
raw_reply_u64(struct raw *r)
{
	struct vh_msg m;

	if (vh_msg_recv(r->fd, &m, 0))
		return ~UINT64_C(0);
	vh_msg_close_fds(&m);
	if (m.size != sizeof(uint64_t) || m.flags != (VH_VERSION | VH_REPLY))
		return ~UINT64_C(0);
	return m.payload.u64;
}

int
raw_setup(struct raw *r, uint64_t features, size_t size)
{
	struct vh_wire_mem_table t = { .nregions = 1 };
	int err;

	r->mem_fd = memfd_create("raw", MFD_CLOEXEC);
	r->mem_size = size;
	if (r->mem_fd < 0 || ftruncate(r->mem_fd, (off_t)size))
		return -errno;
	r->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->mem_fd,
		      0);
	err = raw_u64(r, VH_SET_FEATURES, features);
	if (err)
		return err;
	t.region[0] = (struct vh_wire_region){
		.guest_addr = RAW_GPA, .size = size, .user_addr = RAW_UVA,
	};
	return raw_msg(r, VH_SET_MEM_TABLE, 0, &t, 40, &r->mem_fd, 1);
}

int
raw_addr(struct raw *r, unsigned i)
{
	struct vhost_vring_addr a = {
		.index = i,
		.desc_user_addr = RAW_UVA + RAW_DESC(i),
		.avail_user_addr = RAW_UVA + RAW_AVAIL(i),
		.used_user_addr = RAW_UVA + RAW_USED(i),
	};

	return raw_msg(r, VH_SET_VRING_ADDR, 0, &a, sizeof a, NULL, 0);
}

struct vh_queue *
raw_ring(struct raw *r, unsigned i, unsigned size, unsigned base)
{
	if (r->kick[i] < 0) {
		r->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	r->q[i] = NULL;
	if (raw_state(r, VH_SET_VRING_NUM, i, size) ||
	    raw_state(r, VH_SET_VRING_BASE, i, base) || raw_addr(r, i) ||
	    raw_u64_fd(r, VH_SET_VRING_CALL, i, r->call[i]) ||
	    raw_u64_fd(r, VH_SET_VRING_KICK, i, r->kick[i]) ||
	    raw_state(r, VH_SET_VRING_ENABLE, i, 1))
		return NULL;
	return r->q[i];
}

static int
count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int
raw_count_fds(void)
{
	static int threads = 3;	/* with "." and ".." */
	int n, tries = 0;

	/* Some fds are closed by threads of their own: let those end. */
	while ((n = count_entries("/proc/self/task")) > threads &&
	       tries++ < 2000)
		usleep(500);
	if (n > threads)
		threads = n;	/* of a sanitizer or a fuzzer: they stay */
	return count_entries("/proc/self/fd");
}
