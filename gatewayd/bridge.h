/* SPDX-License-Identifier: MIT */
/*
 * Carries FUSE requests from /dev/fuse to a vhost-user-fs device and the
 * answers back, on threads of its own.  Knows nothing of mount points.
 */
#ifndef GATEWAYD_BRIDGE_H
#define GATEWAYD_BRIDGE_H

#include <stdbool.h>

enum gw_bridge_state {
	GW_BRIDGE_STARTING,	/* INIT is not answered yet */
	GW_BRIDGE_SERVING,
	GW_BRIDGE_BROKEN,	/* the device is gone: requests get ENOTCONN */
	GW_BRIDGE_ENDED,	/* unmounted */
};

struct gw_bridge;

/*
 * Connect to the device at `socket`, with up to `nqueues` request queues.  On
 * error *why holds a sentence, allocated, or NULL.
 */
int gw_bridge_new(const char *socket, unsigned nqueues,
		  struct gw_bridge **bridge, char **why);

/* Begin to serve `fuse_fd` (borrowed until gw_bridge_free; non-blocking). */
int gw_bridge_start(struct gw_bridge *b, int fuse_fd);
/* Before the start: opening files, or directories, asks with O_NOATIME. */
void gw_bridge_noatime(struct gw_bridge *b, bool files, bool dirs);

/* Readable after the state changed; the caller reads the eventfd empty. */
int gw_bridge_event_fd(const struct gw_bridge *b);
enum gw_bridge_state gw_bridge_state(struct gw_bridge *b);
/* Why it is broken; borrowed. */
const char *gw_bridge_why(struct gw_bridge *b);

/* Stop the threads; tell the device DESTROY if it is still there. */
void gw_bridge_free(struct gw_bridge *b);

#endif
