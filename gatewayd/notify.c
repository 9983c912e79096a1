/* SPDX-License-Identifier: MIT */
/*
 * sd_notify(3) without libsystemd: the protocol (one datagram to
 * $NOTIFY_SOCKET) is the interface.  Does nothing when systemd did not start
 * us.  And its watchdog.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gatewayd/gw.h"

void
notify_systemd(const char *fmt, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char text[512];
	va_list ap;
	int fd, n;

	if (!path || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(sa.sun_path))
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;

	strcpy(sa.sun_path, path);
	if (path[0] == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nothing useful can be done when systemd does not listen. */
	sendto(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT,
	       (struct sockaddr *)&sa,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			   strlen(path)));
	close(fd);
}

/*
 * Runs in the control thread's loop, and nowhere else: a queue or pool thread
 * that hangs in a dead file system must not cost the other guests theirs, and
 * killing the daemon would not free it.
 */
static void
on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	notify_systemd("WATCHDOG=1");
}

/* A number in the environment; 0 when there is none. */
static unsigned long long
env_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long n;

	if (!text || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return *end || errno ? 0 : n;
}

int
notify_watchdog(struct gw *gw)
{
	unsigned long long us = env_number("WATCHDOG_USEC") / 2;
	struct timeval tv = {
		.tv_sec = (time_t)(us / 1000000),
		.tv_usec = (suseconds_t)(us % 1000000),
	};

	if (us == 0 || (getenv("WATCHDOG_PID") &&
			env_number("WATCHDOG_PID") !=
				(unsigned long long)getpid()))
		return 0;
	gw->watchdog = event_new(gw->base, -1, EV_PERSIST, on_watchdog, gw);
	if (!gw->watchdog || event_add(gw->watchdog, &tv))
		return -ENOMEM;
	return 0;
}
