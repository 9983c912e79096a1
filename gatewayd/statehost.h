/* SPDX-License-Identifier: MIT */
/*
 * The files of a share for those who go through its store: opened by handle,
 * and their paths.
 */
#ifndef GATEWAYD_STATEHOST_H
#define GATEWAYD_STATEHOST_H

#include <limits.h>

#include "casefold/casefold.h"

struct state_mount;

struct state_host {
	struct cf_state *state;
	int root_fd;		/* borrowed */
	char root[PATH_MAX];	/* its path now */
	struct state_mount *mounts;
	size_t nmounts;
	bool by_handle;		/* the daemon may open files so */
};

/*
 * Look at the directory `root_fd` and at what is mounted below it; may wait
 * for disks.  0 or -errno.
 */
int state_host_init(struct state_host *h, struct cf_state *state, int root_fd);
void state_host_fini(struct state_host *h);

/* As in struct cf_state_host, with a struct state_host. */
int state_host_open(void *arg, struct cf_state_fs *fs,
		    const struct file_handle *handle);
int state_host_path(void *arg, int fd, char *path);

#endif
