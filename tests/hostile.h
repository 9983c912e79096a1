/* SPDX-License-Identifier: MIT */
/*
 * Front ends that misbehave, tried on a running daemon beside a neighbour that
 * behaves.  Each case is a session of its own on a tag that starts with "bad";
 * it must end with one clear line in the log, and nobody else may notice.
 *
 * What guests cause is logged at a limited rate for each tag, so cases are
 * spread over as many tags as it takes to see every line.
 */
#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include "tests/daemon.h"
#include "tests/vm.h"

#define HOSTILE_TAGS 16
#define HOSTILE_PER_TAG 8	/* lines shown at once: log.c, LOG_BURST */

struct hostile {
	struct daemon daemon;
	struct neighbour *neighbour;
	struct daemon_use before;
	unsigned cases;		/* tried so far */
};

/* A daemon with the tags "good" and "bad0" on, and a neighbour on "good". */
void hostile_begin(struct hostile *h, const char *keys);
/* All is as before; end the daemon. */
void hostile_end(struct hostile *h);

enum hostile_stage {
	CONNECTED, NEGOTIATED, WITH_MEMORY, RUNNING,
};

enum hostile_end {
	IS_CLOSED,		/* by the daemon, which says why */
	LEAVES,			/* by the case itself: the log says so */
	EITHER,
};

struct hostile_case {
	const char *name;
	enum hostile_stage stage;
	void (*run)(struct vm *vm, const void *arg);
	const void *arg;
	const char *says;	/* a part of the line in the log */
	enum hostile_end end;
};

void hostile_try(struct hostile *h, const struct hostile_case *c);
/* Connect to `tag` and go as far as `stage`: 0 or -errno. */
int hostile_connect(struct hostile *h, const char *tag,
		    enum hostile_stage stage, struct vm *vm);
/* The next tag with lines to spare. */
const char *hostile_tag(struct hostile *h, char tag[16]);
/* The log tells of `n` sessions of `tag` that ended, shown or counted: a test
 * point. */
void hostile_logged(struct hostile *h, const char *tag, long mark, long n);
/* The neighbour and the control socket are fine: a test point. */
void hostile_others_fine(struct hostile *h, const char *when);

/* Bytes and fds as they are; 0 or -errno. */
int hostile_send(struct vm *vm, const void *bytes, size_t len, const int *fds,
		 int nfds);

#endif
