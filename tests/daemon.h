/* SPDX-License-Identifier: MIT */
/*
 * One gatewayd of this build with several tags, for tests of the whole daemon:
 * started in a directory of its own, asked over its control socket, its log
 * read, its descriptors, threads and mappings counted.
 */
#ifndef TESTS_DAEMON_H
#define TESTS_DAEMON_H

#include "tests/server.h"

#include <stdbool.h>
#include <stddef.h>

struct daemon {
	struct server server;
	char work[40];		/* sockets TAG.sock, directories TAG, log, ctl */
	char *sections;		/* one per tag */
	const char *forgiven;	/* lines of level error that are meant to be */
};

/*
 * Start it with these tags, each on a directory of its name in `work`.
 * `keys` is more configuration, whole sections, or NULL.  Ends the test when
 * it does not start.
 */
void daemon_start(struct daemon *d, const char *const *tags, const char *keys);
/* Be a user who can give no file away, unless this is one; before the start. */
void daemon_as_nobody(void);
/* Daemons that start from now on have this library of tests/ before others,
 * until LD_PRELOAD is unset.  Ends the test when it was not built. */
void daemon_preload(const char *name);
/* kill -9, and the same once more in the same place: 0 or -errno. */
void daemon_kill(struct daemon *d);
int daemon_again(struct daemon *d);
/* Replace `keys`; counts at the next reload. */
void daemon_keys(const struct daemon *d, const char *keys);
/* Test points: it stops when asked, in time and well, and complained of
 * nothing in its log.  The log is shown if a test failed. */
void daemon_stop(struct daemon *d);

const char *daemon_socket(const struct daemon *d, const char *tag,
			  char path[128]);
/* WORK/TAG/NAME */
const char *daemon_file(const struct daemon *d, const char *tag,
			const char *name, char path[512]);

/* One line to the control socket; what it answers, without "ok N", is put
 * into buf.  0, or -errno; -EPROTO for "error ...". */
int daemon_ctl(const struct daemon *d, const char *line, char *buf,
	       size_t size);
/* The number behind `name` in a control file, as "name 1" or "name count=1";
 * -1 if there is none. */
long daemon_number(const struct daemon *d, const char *file, const char *name);

/* Bytes in the log so far; lines behind `mark` that contain both strings. */
long daemon_log_mark(const struct daemon *d);
int daemon_log_count(const struct daemon *d, long mark, const char *one,
		     const char *two);
/* Wait up to `ms` until there are at least n; how many there are. */
int daemon_log_wait(const struct daemon *d, long mark, const char *one,
		    const char *two, int n, int ms);
/* The first such line, "" if none; valid until the next call. */
const char *daemon_log_line(const struct daemon *d, long mark, const char *one,
			    const char *two);

struct daemon_use {
	int fds;
	int threads;		/* without those of the worker pool */
	int memory;		/* mappings of guest memory */
	long rss_kib;
	long anon_kib;		/* of it, what is not the guests' memory */
};

void daemon_use(const struct daemon *d, struct daemon_use *use);
/* CPU time of all its threads so far, in steps of 10 ms; -1: not known. */
long daemon_cpu_ms(const struct daemon *d);
/* Wait up to `ms` until it uses no more than that (RSS apart): a test point. */
bool daemon_settles(const struct daemon *d, const struct daemon_use *want,
		    int ms, const char *when);
/* Wait until `tag` has n sessions; false after `ms`. */
bool daemon_has_sessions(const struct daemon *d, const char *tag, long n,
			 int ms);

int64_t test_now_ms(void);

#endif
