/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user-fs socket mounted on this host through /dev/fuse: what
 * "gatewayctl mount" does once it knows the socket.
 */
#ifndef GATEWAYD_MOUNT_H
#define GATEWAYD_MOUNT_H

#include <stdbool.h>

#define GW_MOUNT_QUEUES_MAX 16

struct gw_mount_settings {
	const char *socket;	/* of the vhost-user-fs device */
	const char *name;	/* shown as the source in /proc/mounts */
	const char *dir;	/* where to mount */
	const char *options;	/* words of -o, or NULL */
	unsigned nqueues;	/* request queues wanted, 1 .. the most */
	bool foreground;	/* stay, instead of leaving a child behind */
};

/*
 * Mount and serve until the directory is unmounted.  In the foreground this
 * returns then; otherwise it returns once the mount works and a child serves
 * it.  0, or -errno after a sentence on standard error.
 */
int gw_mount(const struct gw_mount_settings *set);

#endif
