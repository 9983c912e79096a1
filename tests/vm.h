/* SPDX-License-Identifier: MIT */
/*
 * A pretend virtual machine: memory in a memfd, split rings, and the front
 * end's side of vhost-user, with nothing hidden.  It is written apart from
 * vhost/front.c on purpose: every field may be set wrong by a test, and the
 * two check each other.  tests/guest.h builds a FUSE client on it.
 *
 * Follows the vhost-user protocol document of QEMU and virtio 1.2, 2.7.
 * A machine belongs to one thread.
 */
#ifndef TESTS_VM_H
#define TESTS_VM_H

#include "vhost/vhost.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Requests of the specification, once more: the tests' own copy. */
enum vm_request {
	VM_GET_FEATURES = 1, VM_SET_FEATURES, VM_SET_OWNER, VM_RESET_OWNER,
	VM_SET_MEM_TABLE, VM_SET_LOG_BASE, VM_SET_LOG_FD, VM_SET_VRING_NUM,
	VM_SET_VRING_ADDR, VM_SET_VRING_BASE, VM_GET_VRING_BASE,
	VM_SET_VRING_KICK, VM_SET_VRING_CALL, VM_SET_VRING_ERR,
	VM_GET_PROTOCOL_FEATURES, VM_SET_PROTOCOL_FEATURES, VM_GET_QUEUE_NUM,
	VM_SET_VRING_ENABLE, VM_SEND_RARP, VM_NET_SET_MTU,
	VM_SET_BACKEND_REQ_FD, VM_IOTLB_MSG, VM_SET_VRING_ENDIAN,
	VM_GET_CONFIG, VM_SET_CONFIG, VM_CREATE_CRYPTO_SESSION,
	VM_CLOSE_CRYPTO_SESSION, VM_POSTCOPY_ADVISE, VM_POSTCOPY_LISTEN,
	VM_POSTCOPY_END, VM_GET_INFLIGHT_FD, VM_SET_INFLIGHT_FD,
	VM_GPU_SET_SOCKET, VM_RESET_DEVICE, VM_VRING_KICK,
	VM_GET_MAX_MEM_SLOTS, VM_ADD_MEM_REG, VM_REM_MEM_REG,
	VM_SET_STATUS, VM_GET_STATUS, VM_GET_SHARED_OBJECT,
	VM_SET_DEVICE_STATE_FD, VM_CHECK_DEVICE_STATE,
};

#define VM_VERSION 1u			/* flags: version 1 */
#define VM_REPLY (1u << 2)
#define VM_NEED_REPLY (1u << 3)

#define VM_F_PROTOCOL (1ull << 30)	/* VHOST_USER_F_PROTOCOL_FEATURES */
#define VM_P_MQ (1ull << 0)
#define VM_P_REPLY_ACK (1ull << 3)
#define VM_P_CONFIG (1ull << 9)
#define VM_P_RESET_DEVICE (1ull << 13)
#define VM_P_MEM_SLOTS (1ull << 15)

#define VM_NO_FD (1ull << 8)		/* in the u64 of KICK, CALL, ERR */

#define VM_BASE 0x100000000ull		/* guest address of memory */

struct vm_region {			/* one entry of SET_MEM_TABLE */
	uint64_t guest_addr, size, user_addr, offset;
};

struct vm_ring {
	unsigned index, size;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	int kick, call;			/* eventfds */
	uint16_t next_avail;		/* our shadow of avail->idx */
	uint16_t last_used;
	uint16_t base;			/* where the device goes on */
	bool started;
};

struct vm {
	int sock;
	int memfd;
	unsigned char *mem;
	size_t size;
	size_t top;			/* memory below is given out */
	uint64_t features, protocol_features;
	unsigned nrings;
	struct vm_ring *ring;
	int timeout_ms;
	char why[128];			/* what failed last */
};

struct vm_settings {
	unsigned nrings;		/* 0 = 2 */
	unsigned ring_size;		/* 0 = 128 */
	size_t mem_size;		/* 0 = 64 MiB */
	uint64_t features;		/* 0 = VERSION_1, INDIRECT, EVENT_IDX */
	int timeout_ms;			/* 0 = 10 s */
	bool unsealed;			/* memory that can be truncated */
};

/*
 * Three ways in: vm_open does all; vm_connect only connects and makes memory,
 * for tests that do the rest their own way with the steps below it.  0 or
 * -errno, with a sentence in vm->why.
 */
int vm_open(struct vm *vm, const char *path, const struct vm_settings *set);
int vm_connect(struct vm *vm, const char *path, const struct vm_settings *set);
void vm_close(struct vm *vm);

int vm_negotiate(struct vm *vm);
int vm_share_memory(struct vm *vm);
int vm_start(struct vm *vm);		/* every ring */

/* One message; fds stay the caller's.  vm_ask waits for the reply. */
int vm_send(struct vm *vm, uint32_t request, uint32_t flags,
	    const void *body, uint32_t size, const int *fds, int nfds);
int vm_ask(struct vm *vm, uint32_t request, const void *body, uint32_t size,
	   struct vh_msg *reply);
int vm_get_u64(struct vm *vm, uint32_t request, uint64_t *value);
int vm_set_u64(struct vm *vm, uint32_t request, uint64_t value);
int vm_set_state(struct vm *vm, uint32_t request, uint32_t index,
		 uint32_t num);
/* True when the other side has hung up, or does so within timeout_ms. */
bool vm_is_hung_up(struct vm *vm, int timeout_ms);

/* Memory that is not used yet, or NULL; `align` is a power of two. */
void *vm_alloc(struct vm *vm, size_t size, size_t align);
uint64_t vm_addr(const struct vm *vm, const void *p);

/* Rings.  start sends NUM, BASE, ADDR, CALL, KICK and ENABLE; stop sends
 * GET_VRING_BASE, keeps and returns the base, where the device will go on. */
int vm_ring_alloc(struct vm *vm, unsigned index, unsigned size);
int vm_ring_start(struct vm *vm, unsigned index);
int vm_ring_stop(struct vm *vm, unsigned index);
void vm_ring_reset(struct vm *vm, unsigned index);	/* as a new driver */

/* Write one descriptor into a ring or an indirect table. */
void vm_desc(struct vm *vm, struct vring_desc *d, const void *p, uint32_t len,
	     uint16_t flags, uint16_t next);
/* Make `head` available, and kick unless the device asked for none. */
void vm_ring_push(struct vm *vm, struct vm_ring *r, uint16_t head);
void vm_ring_kick(struct vm_ring *r);		/* whether wanted or not */
bool vm_ring_wants_kick(const struct vm *vm, const struct vm_ring *r,
			uint16_t old);
/* Take one used element: 1, 0 none. */
int vm_ring_pop(struct vm_ring *r, struct vring_used_elem *e);
/* Wait for one: 1, -ETIMEDOUT, or -ENOTCONN when the device hung up. */
int vm_ring_wait(struct vm *vm, struct vm_ring *r, struct vring_used_elem *e,
		 int timeout_ms);

#endif
