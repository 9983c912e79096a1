/* SPDX-License-Identifier: MIT */
/* Shared by the files of fscheck. */
#ifndef TESTS_FSCHECK_H
#define TESTS_FSCHECK_H

extern int fscheck_host;	/* the same directory on the host, or -1 */

void fscheck_dirs(void);	/* fscheck-dir.c */
void fscheck_locks(void);	/* fscheck-lock.c */
void fscheck_users(void);	/* fscheck-user.c */

#endif
