/* SPDX-License-Identifier: MIT */
/*
 * What goes over the socket: the numbers and structs of the vhost-user
 * specification (QEMU's docs/interop/vhost-user.rst).  All integers have the
 * machine's own byte order.
 *
 * The rings are little endian (virtio 1); so is every machine we build for.
 */
#ifndef VHOST_WIRE_H
#define VHOST_WIRE_H

#include <stdint.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "rings are read and written without swapping bytes");

/* Messages that a front end sends. */
enum vh_request {
	VH_GET_FEATURES = 1,
	VH_SET_FEATURES = 2,
	VH_SET_OWNER = 3,
	VH_RESET_OWNER = 4,
	VH_SET_MEM_TABLE = 5,
	VH_SET_LOG_BASE = 6,
	VH_SET_LOG_FD = 7,
	VH_SET_VRING_NUM = 8,
	VH_SET_VRING_ADDR = 9,
	VH_SET_VRING_BASE = 10,
	VH_GET_VRING_BASE = 11,
	VH_SET_VRING_KICK = 12,
	VH_SET_VRING_CALL = 13,
	VH_SET_VRING_ERR = 14,
	VH_GET_PROTOCOL_FEATURES = 15,
	VH_SET_PROTOCOL_FEATURES = 16,
	VH_GET_QUEUE_NUM = 17,
	VH_SET_VRING_ENABLE = 18,
	VH_SEND_RARP = 19,
	VH_NET_SET_MTU = 20,
	VH_SET_BACKEND_REQ_FD = 21,
	VH_IOTLB_MSG = 22,
	VH_SET_VRING_ENDIAN = 23,
	VH_GET_CONFIG = 24,
	VH_SET_CONFIG = 25,
	VH_CREATE_CRYPTO_SESSION = 26,
	VH_CLOSE_CRYPTO_SESSION = 27,
	VH_POSTCOPY_ADVISE = 28,
	VH_POSTCOPY_LISTEN = 29,
	VH_POSTCOPY_END = 30,
	VH_GET_INFLIGHT_FD = 31,
	VH_SET_INFLIGHT_FD = 32,
	VH_GPU_SET_SOCKET = 33,
	VH_RESET_DEVICE = 34,
	VH_VRING_KICK = 35,
	VH_GET_MAX_MEM_SLOTS = 36,
	VH_ADD_MEM_REG = 37,
	VH_REM_MEM_REG = 38,
	VH_SET_STATUS = 39,
	VH_GET_STATUS = 40,
	VH_GET_SHARED_OBJECT = 41,
	VH_SET_DEVICE_STATE_FD = 42,
	VH_CHECK_DEVICE_STATE = 43,
	VH_GET_SHMEM_CONFIG = 44,
	VH_REQUESTS		/* one more than the last */
};

/* The header's flags. */
#define VH_VERSION 0x1u
#define VH_VERSION_MASK 0x3u
#define VH_REPLY 0x4u
#define VH_NEED_REPLY 0x8u

/* This bit of the virtio features says that the next ones exist. */
#define VH_F_PROTOCOL_FEATURES 30

/* Bits of the protocol features. */
enum vh_protocol_feature {
	VH_PF_MQ = 0,
	VH_PF_LOG_SHMFD = 1,
	VH_PF_RARP = 2,
	VH_PF_REPLY_ACK = 3,
	VH_PF_MTU = 4,
	VH_PF_BACKEND_REQ = 5,
	VH_PF_CROSS_ENDIAN = 6,
	VH_PF_CRYPTO_SESSION = 7,
	VH_PF_PAGEFAULT = 8,
	VH_PF_CONFIG = 9,
	VH_PF_BACKEND_SEND_FD = 10,
	VH_PF_HOST_NOTIFIER = 11,
	VH_PF_INFLIGHT_SHMFD = 12,
	VH_PF_RESET_DEVICE = 13,
	VH_PF_INBAND_NOTIFICATIONS = 14,
	VH_PF_CONFIGURE_MEM_SLOTS = 15,
	VH_PF_STATUS = 16,
	VH_PF_XEN_MMAP = 17,
	VH_PF_SHARED_OBJECT = 18,
	VH_PF_DEVICE_STATE = 19,
	VH_PF_GET_VRING_BASE_INFLIGHT = 20,
	VH_PF_SHMEM = 21,
};

#define VH_BIT(n) (UINT64_C(1) << (n))

/* SET_VRING_KICK, _CALL, _ERR: queue number, and "no fd comes with this". */
#define VH_VRING_INDEX 0xffu
#define VH_VRING_NOFD 0x100u

struct vh_wire_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;
};

struct vh_wire_region {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr;
	uint64_t mmap_offset;
};

#define VH_TABLE_REGIONS 8	/* most regions of one SET_MEM_TABLE */

struct vh_wire_mem_table {
	uint32_t nregions;
	uint32_t padding;
	struct vh_wire_region region[VH_TABLE_REGIONS];
};

struct vh_wire_mem_reg {
	uint64_t padding;
	struct vh_wire_region region;
};

#define VH_CONFIG_MAX 256	/* bytes of configuration space in a message */

struct vh_wire_config {
	uint32_t offset;
	uint32_t size;
	uint32_t flags;
	uint8_t bytes[VH_CONFIG_MAX];
};

_Static_assert(sizeof(struct vh_wire_header) == 12, "header");
_Static_assert(sizeof(struct vh_wire_region) == 32, "region");
_Static_assert(sizeof(struct vh_wire_mem_table) == 264, "memory table");
_Static_assert(sizeof(struct vh_wire_mem_reg) == 40, "memory region");
_Static_assert(sizeof(struct vh_wire_config) == 268, "configuration");
_Static_assert(sizeof(struct vhost_vring_state) == 8, "ring state");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "ring addresses");
_Static_assert(sizeof(struct vring_desc) == 16, "descriptor");
_Static_assert(sizeof(struct vring_used_elem) == 8, "used element");
_Static_assert(sizeof(struct virtio_fs_config) == 40, "fs configuration");

#endif
