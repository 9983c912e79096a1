/* SPDX-License-Identifier: MIT */
/* Shared by the files of fscheck. */
#ifndef TESTS_FSCHECK_H
#define TESTS_FSCHECK_H

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

extern int fscheck_host;	/* the same directory on the host, or -1 */
extern bool fscheck_writeback;	/* what is written is not there at once */

void fscheck_files(void);	/* fscheck-file.c */
void fscheck_dirs(void);	/* fscheck-dir.c */
void fscheck_locks(void);	/* fscheck-lock.c */
void fscheck_users(void);	/* fscheck-user.c */
void fscheck_mounts(const char *sub);	/* fscheck-mount.c */

/* -errno, or what the call returned. */
#define E(call) ((call) < 0 ? -errno : 0)

#define SKIP_CHECK(words)                                   \
	do {                                                \
		tap_skip(words, "not on this file system"); \
		return;                                     \
	} while (0)

/* A file of that text; what lstat(2) says. */
void put(const char *name, const char *text);
struct stat look(const char *name);

#endif
