/* SPDX-License-Identifier: MIT */
/*
 * A device for tests of vhost/: echoes what it reads into what it may write.
 * One control thread with the connection, one thread per queue, and if asked
 * a helper thread that answers some of the chains later.
 */
#ifndef TESTS_VHOST_ECHO_H
#define TESTS_VHOST_ECHO_H

#include "vhost/vhost.h"

struct echo_settings {
	unsigned nqueues;
	const char *tag;
	bool late;		/* another thread answers every third chain */
	bool loose;		/* ... and a ring that stops does not wait */
	bool batch;		/* answer all that is there at once */
	unsigned poll;		/* looks at the ring before it sleeps */
};

struct echo;

/* Serve `fd` until the other side leaves or echo_end(). */
struct echo *echo_start(int fd, const struct echo_settings *set);
/* End it and wait: how the connection ended (-errno). `why`: 256 bytes. */
int echo_end(struct echo *e, char *why);
/* What queue `i` counted; valid before echo_end(). */
void echo_stats(struct echo *e, unsigned i, struct vh_queue_stats *st);
unsigned echo_resets(const struct echo *e);

#endif
