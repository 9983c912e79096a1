/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user-fs server started for a test or a benchmark: gatewayd as it was
 * built, or one of the virtiofsd programs beside it.
 */
#ifndef TESTS_SERVER_H
#define TESTS_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum server_kind {
	SERVER_GATEWAYD,
	SERVER_VIRTIOFSD_C,	/* QEMU's */
	SERVER_VIRTIOFSD_RUST,
};

struct server {
	enum server_kind kind;
	char program[256];
	char share[256];	/* the directory it serves */
	char work[64];		/* where its socket, config and log are */
	int cpu;		/* it is pinned to, or -1 */
	const char *extra;	/* more lines for gatewayd's share, or NULL */
	char socket[108];
	pid_t pid;		/* 0 when it does not run */
};

/* Start it and wait until a front end can connect.  0 or -errno; its words
 * are in WORK/log. */
int server_start(struct server *s);
/* Ask it to stop, wait, and insist after five seconds.  Its wait status. */
int server_stop(struct server *s);
/* End it at once.  Its wait status, SIGKILL when it does not end in time. */
int server_kill(struct server *s);
bool server_is_alive(struct server *s);
/* Processor time it has used so far, all threads, in nanoseconds. */
int64_t server_cpu_ns(const struct server *s);

/* $top_builddir/gatewayd/gatewayd, if it was built; else QEMU's virtiofsd, if
 * it is there and may run; else false. */
bool server_find(struct server *s);

/* Pin the calling thread; 0 or -errno. */
int server_pin(int cpu);

#endif
