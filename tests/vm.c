/* SPDX-License-Identifier: MIT */
/*
 * The pretend virtual machine of tests/vm.h: memory, messages, rings.
 */
#include "config.h"

#include "tests/vm.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096u

static int
failed(struct vm *vm, int err, const char *what)
{
	snprintf(vm->why, sizeof(vm->why), "%s: %s", what, strerror(-err));
	return err;
}

/* ------------------------------------------------------------------ */
/* Connection and memory. */

static int
connect_to(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int
make_memory(struct vm *vm, size_t size, bool unsealed)
{
	void *p;

	vm->memfd = memfd_create("guest", MFD_CLOEXEC |
				 (unsealed ? 0 : MFD_ALLOW_SEALING));
	if (vm->memfd < 0 || ftruncate(vm->memfd, (off_t)size) < 0)
		return -errno;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->memfd, 0);
	if (p == MAP_FAILED)
		return -errno;
	vm->mem = p;
	vm->size = size;
	return 0;
}

static int
make_rings(struct vm *vm, unsigned n, unsigned size)
{
	vm->ring = calloc(n, sizeof(*vm->ring));
	if (!vm->ring)
		return -ENOMEM;
	vm->nrings = n;
	for (unsigned i = 0; i < n; i++)
		vm->ring[i].kick = vm->ring[i].call = -1;
	for (unsigned i = 0; i < n; i++) {
		int err = vm_ring_alloc(vm, i, size);

		if (err)
			return err;
	}
	return 0;
}

int
vm_connect(struct vm *vm, const char *path, const struct vm_settings *set)
{
	static const struct vm_settings none;
	int err;

	set = set ? set : &none;
	memset(vm, 0, sizeof(*vm));
	vm->memfd = -1;
	vm->timeout_ms = set->timeout_ms ? set->timeout_ms : 10000;
	vm->features = set->features ? set->features :
		       1ull << VIRTIO_F_VERSION_1 |
		       1ull << VIRTIO_RING_F_INDIRECT_DESC |
		       1ull << VIRTIO_RING_F_EVENT_IDX;
	vm->sock = connect_to(path);
	if (vm->sock < 0)
		return failed(vm, vm->sock, path);
	err = make_memory(vm, set->mem_size ? set->mem_size : 64u << 20,
			  set->unsealed);
	if (err)
		return failed(vm, err, "guest memory");
	err = make_rings(vm, set->nrings ? set->nrings : 2,
			 set->ring_size ? set->ring_size : 128);
	return err ? failed(vm, err, "rings") : 0;
}

void
vm_close(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nrings; i++) {
		if (vm->ring[i].kick >= 0)
			close(vm->ring[i].kick);
		if (vm->ring[i].call >= 0)
			close(vm->ring[i].call);
	}
	free(vm->ring);
	vm->ring = NULL;
	vm->nrings = 0;
	if (vm->mem)
		munmap(vm->mem, vm->size);
	vm->mem = NULL;
	if (vm->memfd >= 0)
		close(vm->memfd);
	if (vm->sock >= 0)
		close(vm->sock);
	vm->memfd = vm->sock = -1;
}

void *
vm_alloc(struct vm *vm, size_t size, size_t align)
{
	size_t at = (vm->top + align - 1) & ~(align - 1);

	if (at > vm->size || size > vm->size - at)
		return NULL;
	vm->top = at + size;
	return vm->mem + at;
}

uint64_t
vm_addr(const struct vm *vm, const void *p)
{
	return VM_BASE + (uint64_t)((const unsigned char *)p - vm->mem);
}

/* ------------------------------------------------------------------ */
/* Messages. */

int
vm_send(struct vm *vm, uint32_t request, uint32_t flags, const void *body,
	uint32_t size, const int *fds, int nfds)
{
	struct vh_msg msg = {
		.request = request, .flags = flags, .size = size,
	};
	int err;

	memcpy(msg.payload.bytes, body, size);
	msg.nfds = nfds;
	for (int i = 0; i < nfds; i++)
		msg.fds[i] = fds[i];
	err = vh_msg_send(vm->sock, &msg, vm->timeout_ms);
	return err < 0 ? failed(vm, err, vh_msg_name(request)) : 0;
}

int
vm_ask(struct vm *vm, uint32_t request, const void *body, uint32_t size,
       struct vh_msg *reply)
{
	int err = vm_send(vm, request, VM_VERSION, body, size, NULL, 0);

	if (err)
		return err;
	err = vh_msg_recv(vm->sock, reply, vm->timeout_ms);
	if (err < 0)
		return failed(vm, err, vh_msg_name(request));
	if (reply->request != request || !(reply->flags & VM_REPLY)) {
		vh_msg_close_fds(reply);
		return failed(vm, -EPROTO, vh_msg_name(request));
	}
	return 0;
}

int
vm_get_u64(struct vm *vm, uint32_t request, uint64_t *value)
{
	struct vh_msg reply;
	int err = vm_ask(vm, request, "", 0, &reply);

	if (err)
		return err;
	vh_msg_close_fds(&reply);
	if (reply.size != sizeof(*value))
		return failed(vm, -EPROTO, vh_msg_name(request));
	*value = reply.payload.u64;
	return 0;
}

int
vm_set_u64(struct vm *vm, uint32_t request, uint64_t value)
{
	return vm_send(vm, request, VM_VERSION, &value, sizeof(value), NULL, 0);
}

int
vm_set_state(struct vm *vm, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_state { uint32_t index, num; } state = { index, num };

	return vm_send(vm, request, VM_VERSION, &state, sizeof(state), NULL, 0);
}

bool
vm_is_hung_up(struct vm *vm, int timeout_ms)
{
	struct pollfd pfd = { .fd = vm->sock, .events = POLLRDHUP };

	return poll(&pfd, 1, timeout_ms) == 1 &&
	       (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

int
vm_negotiate(struct vm *vm)
{
	uint64_t offered, protocol = 0, nqueues;
	int err = vm_get_u64(vm, VM_GET_FEATURES, &offered);

	if (err)
		return err;
	if (offered & VM_F_PROTOCOL) {
		err = vm_get_u64(vm, VM_GET_PROTOCOL_FEATURES, &protocol);
		if (err)
			return err;
		vm->protocol_features = protocol & (VM_P_MQ | VM_P_REPLY_ACK);
		err = vm_set_u64(vm, VM_SET_PROTOCOL_FEATURES,
				 vm->protocol_features);
		if (err)
			return err;
	}
	if (vm->protocol_features & VM_P_MQ) {
		err = vm_get_u64(vm, VM_GET_QUEUE_NUM, &nqueues);
		if (err)
			return err;
		if (vm->nrings > nqueues)
			return failed(vm, -ERANGE, "queues offered");
	}
	err = vm_send(vm, VM_SET_OWNER, VM_VERSION, "", 0, NULL, 0);
	if (err)
		return err;
	vm->features = (vm->features | VM_F_PROTOCOL) & offered;
	return vm_set_u64(vm, VM_SET_FEATURES, vm->features);
}

int
vm_share_memory(struct vm *vm)
{
	struct {
		uint32_t n, padding;
		struct vm_region region;
	} table = {
		.n = 1,
		.region = { VM_BASE, vm->size, (uintptr_t)vm->mem, 0 },
	};

	return vm_send(vm, VM_SET_MEM_TABLE, VM_VERSION, &table, sizeof(table),
		       &vm->memfd, 1);
}

int
vm_start(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nrings; i++) {
		int err = vm_ring_start(vm, i);

		if (err)
			return err;
	}
	return 0;
}

int
vm_open(struct vm *vm, const char *path, const struct vm_settings *set)
{
	int err = vm_connect(vm, path, set);

	if (!err)
		err = vm_negotiate(vm);
	if (!err)
		err = vm_share_memory(vm);
	if (!err)
		err = vm_start(vm);
	if (err)
		vm_close(vm);
	return err;
}

/* ------------------------------------------------------------------ */
/* Rings. */

int
vm_ring_alloc(struct vm *vm, unsigned index, unsigned size)
{
	struct vm_ring *r = &vm->ring[index];

	r->index = index;
	r->size = size;
	r->desc = vm_alloc(vm, size * sizeof(*r->desc), PAGE);
	r->avail = vm_alloc(vm, 6 + 2 * (size_t)size, PAGE);
	r->used = vm_alloc(vm, 6 + 8 * (size_t)size, PAGE);
	if (!r->desc || !r->avail || !r->used)
		return -ENOMEM;
	r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return r->kick < 0 || r->call < 0 ? -errno : 0;
}

static int
send_addresses(struct vm *vm, const struct vm_ring *r)
{
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} addr = {
		.index = r->index,
		.desc = (uintptr_t)r->desc,
		.used = (uintptr_t)r->used,
		.avail = (uintptr_t)r->avail,
	};

	return vm_send(vm, VM_SET_VRING_ADDR, VM_VERSION, &addr, sizeof(addr),
		       NULL, 0);
}

/* Or that there is none. */
static int
send_fd(struct vm *vm, uint32_t request, unsigned index, int fd)
{
	uint64_t value = index | (fd < 0 ? VM_NO_FD : 0);

	return vm_send(vm, request, VM_VERSION, &value, sizeof(value), &fd,
		       fd >= 0);
}

int
vm_ring_start(struct vm *vm, unsigned index)
{
	struct vm_ring *r = &vm->ring[index];
	int err = vm_set_state(vm, VM_SET_VRING_NUM, index, r->size);

	if (!err)
		err = vm_set_state(vm, VM_SET_VRING_BASE, index, r->base);
	if (!err)
		err = send_addresses(vm, r);
	/* The ring runs from KICK on: what is called must be known before. */
	if (!err)
		err = send_fd(vm, VM_SET_VRING_CALL, index, r->call);
	if (!err)
		err = send_fd(vm, VM_SET_VRING_KICK, index, r->kick);
	if (!err && (vm->features & VM_F_PROTOCOL))
		err = vm_set_state(vm, VM_SET_VRING_ENABLE, index, 1);
	r->started = !err;
	return err;
}

int
vm_ring_stop(struct vm *vm, unsigned index)
{
	struct vm_ring *r = &vm->ring[index];
	struct { uint32_t index, num; } state = { index, 0 };
	struct vh_msg reply;
	int err = vm_ask(vm, VM_GET_VRING_BASE, &state, sizeof(state), &reply);

	if (err)
		return err;
	vh_msg_close_fds(&reply);
	if (reply.size != sizeof(state))
		return failed(vm, -EPROTO, "GET_VRING_BASE");
	memcpy(&state, reply.payload.bytes, sizeof(state));
	if (state.index != index)
		return failed(vm, -EPROTO, "GET_VRING_BASE");
	r->started = false;
	r->base = (uint16_t)state.num;
	return (int)state.num;
}

void
vm_ring_reset(struct vm *vm, unsigned index)
{
	struct vm_ring *r = &vm->ring[index];

	(void)vm;
	memset(r->desc, 0, r->size * sizeof(*r->desc));
	memset(r->avail, 0, 6 + 2 * (size_t)r->size);
	memset(r->used, 0, 6 + 8 * (size_t)r->size);
	r->next_avail = r->last_used = r->base = 0;
}

void
vm_desc(struct vm *vm, struct vring_desc *d, const void *p, uint32_t len,
	uint16_t flags, uint16_t next)
{
	d->addr = vm_addr(vm, p);
	d->len = len;
	d->flags = flags;
	d->next = next;
}

static bool
has_event_idx(const struct vm *vm)
{
	return vm->features & 1ull << VIRTIO_RING_F_EVENT_IDX;
}

bool
vm_ring_wants_kick(const struct vm *vm, const struct vm_ring *r, uint16_t old)
{
	const volatile uint16_t *flags = &r->used->flags;
	const volatile uint16_t *event =
		(const volatile uint16_t *)&r->used->ring[r->size];

	if (has_event_idx(vm))
		return vring_need_event(*event, r->next_avail, old);
	return !(*flags & VRING_USED_F_NO_NOTIFY);
}

void
vm_ring_kick(struct vm_ring *r)
{
	uint64_t one = 1;

	if (write(r->kick, &one, sizeof(one)) < 0)
		return;		/* full: the device is awake anyway */
}

void
vm_ring_push(struct vm *vm, struct vm_ring *r, uint16_t head)
{
	uint16_t old = r->next_avail;

	r->avail->ring[old & (r->size - 1)] = head;
	r->next_avail++;
	atomic_thread_fence(memory_order_release);
	*(volatile uint16_t *)&r->avail->idx = r->next_avail;
	atomic_thread_fence(memory_order_seq_cst);
	if (vm_ring_wants_kick(vm, r, old))
		vm_ring_kick(r);
}

int
vm_ring_pop(struct vm_ring *r, struct vring_used_elem *e)
{
	if (*(volatile uint16_t *)&r->used->idx == r->last_used)
		return 0;
	atomic_thread_fence(memory_order_acquire);
	*e = r->used->ring[r->last_used & (r->size - 1)];
	r->last_used++;
	return 1;
}

/* Ask for a signal at the next used element. */
static void
arm(struct vm *vm, struct vm_ring *r)
{
	if (has_event_idx(vm))
		*(volatile uint16_t *)&r->avail->ring[r->size] = r->last_used;
	atomic_thread_fence(memory_order_seq_cst);
}

int
vm_ring_wait(struct vm *vm, struct vm_ring *r, struct vring_used_elem *e,
	     int timeout_ms)
{
	struct pollfd pfd[2] = {
		{ .fd = r->call, .events = POLLIN },
		{ .fd = vm->sock, .events = POLLRDHUP },
	};

	for (;;) {
		uint64_t count;
		int n;

		if (vm_ring_pop(r, e))
			return 1;
		arm(vm, r);
		if (vm_ring_pop(r, e))
			return 1;
		n = poll(pfd, 2, timeout_ms);
		if (n == 0)
			return failed(vm, -ETIMEDOUT, "waiting for an answer");
		if (pfd[0].revents && read(r->call, &count, sizeof(count)) < 0)
			return failed(vm, -errno, "call eventfd");
		/* The last answer may have come before the hang-up. */
		if (pfd[1].revents && !pfd[0].revents)
			return vm_ring_pop(r, e) ? 1 :
			       failed(vm, -ENOTCONN, "the device hung up");
	}
}
