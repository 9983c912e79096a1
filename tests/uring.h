/* SPDX-License-Identifier: MIT */
/* What this machine has of what READs and WRITEs together need. */
#ifndef TESTS_URING_H
#define TESTS_URING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static inline bool
has_uring(void)
{
	struct io_uring_params p = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 1, &p);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Does RWF_NOWAIT work on this file, whether it is in memory or not? */
static inline bool
has_nowait(int fd)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return preadv2(fd, &v, 1, 0, RWF_NOWAIT) == 1 || errno == EAGAIN;
}

#endif
