/* SPDX-License-Identifier: MIT */
/*
 * A connection to the control socket of a daemon under test, for tests that
 * read a stream or misbehave.
 */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

#include "tests/daemon.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct stream {
	int fd;
	char buf[1 << 16];
	size_t off, have;
};

/* Connect and send `line` with a newline; NULL: nothing.  0 or -errno. */
__attribute__((unused)) static int
stream_open(struct stream *s, const struct daemon *d, const char *line)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	s->off = s->have = 0;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/ctl", d->work);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&sun, sizeof(sun)))
		return -errno;
	if (line && (send(s->fd, line, strlen(line), MSG_NOSIGNAL) < 0 ||
		     send(s->fd, "\n", 1, MSG_NOSIGNAL) < 0))
		return -errno;
	return 0;
}

/* The next line, without its newline; NULL at the end or after `ms`. */
__attribute__((unused)) static char *
stream_line(struct stream *s, int ms)
{
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
	int64_t end = test_now_ms() + ms;
	char *line, *nl;
	ssize_t n;

	while (!(nl = memchr(s->buf + s->off, '\n', s->have - s->off))) {
		int64_t left = end - test_now_ms();

		memmove(s->buf, s->buf + s->off, s->have - s->off);
		s->have -= s->off;
		s->off = 0;
		if (left <= 0 || poll(&pfd, 1, (int)left) != 1)
			return NULL;
		n = read(s->fd, s->buf + s->have, sizeof(s->buf) - s->have);
		if (n <= 0)
			return NULL;
		s->have += (size_t)n;
	}
	*nl = '\0';
	line = s->buf + s->off;
	s->off = (size_t)(nl + 1 - s->buf);
	return line;
}

#endif
