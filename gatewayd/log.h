/* SPDX-License-Identifier: MIT */
/*
 * One event a line on standard error: tag, words, key=value.  Under the
 * journal each line begins with its priority as <N>; elsewhere with the level
 * in words.  May be called by any thread.
 */
#ifndef GATEWAYD_LOG_H
#define GATEWAYD_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/share.h"

/* Log to `path` (appended) instead of standard error.  0 or -errno. */
int log_open(const char *path);
void log_set_level(enum conf_log level);
bool log_is_journal(void);
/* Keep the last lines in `lines`, too; NULL: no more. */
struct lines;
void log_keep(struct lines *lines);

#define LOG_FMT __attribute__((format(printf, 1, 2)))
void log_error(const char *fmt, ...) LOG_FMT;	/* someone must act */
void log_warn(const char *fmt, ...) LOG_FMT;
void log_info(const char *fmt, ...) LOG_FMT;	/* a share changes state */
void log_debug(const char *fmt, ...) LOG_FMT;

/* At level info, but not kept: it is kept elsewhere. */
void log_copy(const char *fmt, ...) LOG_FMT;
/* Would a line be taken at once? */
bool log_has_room(void);

/* The messages of conf_load(), line by line, each with `prefix`. */
void log_messages(const char *prefix, const char *text);

/*
 * For what a guest or a front end can cause: ten lines at once, or `burst` of
 * them, then one a second; the next line that gets through tells how many did
 * not.
 */
struct log_limit {
	unsigned burst;			/* 0 = ten */
	atomic_ullong next_us;		/* when the bucket has room again */
	atomic_uint skipped;
};
void log_limited(struct log_limit *limit, enum conf_log level, const char *fmt,
		 ...) __attribute__((format(printf, 3, 4)));

#endif
