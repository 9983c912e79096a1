/* SPDX-License-Identifier: MIT */
/*
 * A client of the control socket that asks for a lot and reads nothing: it
 * waits, and costs nobody any time; later it has all its answers.
 */
#include "config.h"

#include "tests/stream.h"
#include "tests/tap.h"

#include <time.h>

#define WAIT_MS 10000

static struct daemon d;
static struct stream s;
static const char line[] = "read version\n";

/* Send as much of whole lines as there is room for; returns the bytes. */
static size_t
fill(void)
{
	struct pollfd pfd = { .fd = s.fd, .events = POLLOUT };
	size_t sent = 0, len = strlen(line);
	ssize_t n;

	while (poll(&pfd, 1, 200) == 1) {
		n = send(s.fd, line + sent % len, len - sent % len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (size_t)n : 0;
	}
	return sent;
}

static int64_t
cpu_ms(void)
{
	struct timespec ts = { 0 };
	clockid_t clock;

	if (clock_getcpuclockid(d.server.pid, &clock) ||
	    clock_gettime(clock, &ts))
		return -1;
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Send what is left of a line, then no more; returns the bytes that come. */
static size_t
take_all(size_t left)
{
	struct pollfd pfd = { .fd = s.fd, .events = POLLIN };
	size_t got = 0;
	ssize_t n = 1;

	if (!left)
		shutdown(s.fd, SHUT_WR);
	while (n && poll(&pfd, 1, WAIT_MS) == 1) {
		n = recv(s.fd, s.buf, sizeof(s.buf), 0);
		got += n > 0 ? (size_t)n : 0;
		if (!left)
			continue;
		n = send(s.fd, line + strlen(line) - left, left,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		left -= n > 0 ? (size_t)n : 0;
		if (!left)
			shutdown(s.fd, SHUT_WR);
		n = 1;
	}
	is_int(n, 0, "the daemon ends the connection");
	return got;
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	size_t len = strlen(line), sent, n;
	char text[256];
	int64_t used;

	daemon_start(&d, tags, NULL);
	is_int(daemon_ctl(&d, "read version", text, sizeof(text)), 0,
	       "a version");
	ok(!stream_open(&s, &d, NULL), "a client");
	sent = fill();
	ok(sent > 128 << 10, "sends %zu bytes of requests", sent);
	used = cpu_ms();
	poll(NULL, 0, 300);
	used = cpu_ms() - used;
	ok(used >= 0 && used < 30, "while it reads nothing, the daemon rests");
	printf("# %ld ms of 300\n", (long)used);
	is_int(daemon_ctl(&d, "read version", text, sizeof(text)), 0,
	       "others are answered");
	n = (sent + len - 1) / len;
	snprintf(text + 128, 128, "ok %zu\n", strlen(text));
	is_int((long)take_all(n * len - sent),
	       (long)(n * (strlen(text) + strlen(text + 128))),
	       "%zu requests have their answers", n);
	close(s.fd);
	daemon_stop(&d);
	return tap_done();
}
