/* SPDX-License-Identifier: MIT */
/*
 * What fserrno tries: fserrno-data.c, -name.c, -attr.c (attributes and access
 * lists), -ioctl.c.  A new probe is a row in one of their tables.
 */
#ifndef TESTS_FSERRNO_H
#define TESTS_FSERRNO_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

/* -errno, or 0. */
#define E(call) ((call) < 0 ? -errno : 0)

/* Linux's client says so without asking. */
#define UNSUP (-EOPNOTSUPP)

/* A probe is done in a directory of its own, which is the working directory
 * and has a file "f" of 8 KiB, a directory "d", a link "l" to f and a fifo
 * "p".  What `n` means is the probe's own matter. */
typedef int probe_fn(long n);

struct probe {
	const char *words;
	probe_fn *run;
	long n;
	int client;	/* what Linux's client says by itself, or 0 */
};

/* Each ends with one without words. */
extern const struct probe fserrno_data[], fserrno_names[], fserrno_attrs[],
	fserrno_ioctls[];

/* Number i of what is tried with extended attributes, its words in buf; false
 * when there are no more. */
bool fserrno_xattr(unsigned i, struct probe *p, char *buf, size_t size);

static inline int
open_file(int flags)
{
	return open("f", flags | O_CLOEXEC, 0644);
}

static inline int
closing(int fd, int err)
{
	if (fd >= 0)
		close(fd);
	return err;
}

/* A probe for more than one file. */
static inline int
open_as(long flags)
{
	int fd = open_file((int)flags);

	return closing(fd, E(fd));
}

#endif
