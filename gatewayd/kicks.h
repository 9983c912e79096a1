/* SPDX-License-Identifier: MIT */
/*
 * What a queue thread sleeps on: kicks of its rings, and being woken.
 *
 * The eventfds are never read.  Each write to one ends one sleep, the present
 * or the next one, which costs a system call less and takes nothing from an fd
 * that the front end can change.
 */
#ifndef GATEWAYD_KICKS_H
#define GATEWAYD_KICKS_H

#include <stdint.h>

struct vh_queue;

struct kicks {
	int epoll_fd, wake_fd;
	unsigned blind;		/* queues without a kick that can be slept on */
};

/* 0 or -errno. */
int kicks_init(struct kicks *k);
void kicks_fini(struct kicks *k);

/* Kicks of `q` end a sleep until it is removed, which has to be before it is
 * given back.  Where there is no kick fd, a sleep is short. */
void kicks_add(struct kicks *k, struct vh_queue *q);
void kicks_remove(struct kicks *k, struct vh_queue *q);

/* Sleep for at most `ns`; KICKS_FOREVER: as long as nothing happens. */
#define KICKS_FOREVER UINT64_MAX
void kicks_sleep(struct kicks *k, uint64_t ns);

/* End a sleep of the thread, or its next one [any].  0 or -errno. */
int kicks_wake(struct kicks *k);

#endif
