/* SPDX-License-Identifier: MIT */
/*
 * Clients of the control socket, hundreds at once: those that ask, that never
 * read, that half-close, that leave in the middle, that send rubbish, that
 * watch and go.  Nobody holds up another, and nothing is left of them.
 */
#include "config.h"

#include "tests/stream.h"
#include "tests/tap.h"

#include <stdlib.h>

#define CLIENTS 300
#define WAIT_MS 20000

static struct daemon d;
static char text[1 << 20];

enum habit {
	ASKS,			/* and reads the answer */
	NEVER_READS,
	HALF_CLOSES,		/* and reads to the end */
	LEAVES,			/* without reading */
	SENDS_RUBBISH,
	SENDS_LONG_LINE,
	WATCHES,
	WATCHES_HALF_CLOSED,
	HABITS,
};

struct client {
	enum habit habit;
	struct stream s;
};

static struct client client[CLIENTS];

static void
send_some(struct client *c, const char *bytes, size_t len)
{
	ssize_t n = send(c->s.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)n;		/* what does not fit is not sent */
}

static void
misbehave(struct client *c)
{
	static const char *const watched[] = {
		"watch stats\n", "watch log\n", "watch shares/one/trace\n",
	};
	static char junk[1 << 16];
	const char *line;

	switch (c->habit) {
	case NEVER_READS:
		for (int i = 0; i < 200; i++)
			send_some(c, "read config\nread metrics\n", 25);
		break;
	case HALF_CLOSES:
		send_some(c, "read stats\nls /\nread version", 28);
		shutdown(c->s.fd, SHUT_WR);
		break;
	case LEAVES:
		send_some(c, "read stats.json\nread shares/on", 30);
		close(c->s.fd);
		break;
	case SENDS_RUBBISH:
		for (size_t i = 0; i < sizeof(junk); i++)
			junk[i] = (char)(random() % 200);
		send_some(c, junk, sizeof(junk));
		break;
	case SENDS_LONG_LINE:
		memset(junk, 'x', sizeof(junk));
		for (int i = 0; i < 16; i++)
			send_some(c, junk, sizeof(junk));
		break;
	case WATCHES:
	case WATCHES_HALF_CLOSED:
		line = watched[random() % 3];
		send_some(c, line, strlen(line));
		if (c->habit == WATCHES_HALF_CLOSED)
			shutdown(c->s.fd, SHUT_WR);
		break;
	default:
		send_some(c, "read version\n", 13);
	}
}

/* All at once; how many connected. */
static int
connect_all(void)
{
	int n = 0;

	for (int i = 0; i < CLIENTS; i++) {
		client[i].habit = (enum habit)(i % HABITS);
		n += stream_open(&client[i].s, &d, NULL) == 0;
	}
	return n;
}

static void
test_answers(void)
{
	int asked = 0, right = 0, half = 0, whole = 0, watched = 0, seen = 0;

	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &client[i];
		char *line;
		int lines = 0;

		if (c->habit == ASKS) {
			asked++;
			line = stream_line(&c->s, WAIT_MS);
			right += line && !strncmp(line, "ok ", 3);
		} else if (c->habit == HALF_CLOSES) {
			half++;
			while ((line = stream_line(&c->s, WAIT_MS)))
				lines += !strncmp(line, "ok ", 3);
			whole += lines == 3;
		} else if (c->habit == WATCHES ||
			   c->habit == WATCHES_HALF_CLOSED) {
			watched++;
			line = stream_line(&c->s, WAIT_MS);
			seen += line && !strcmp(line, "ok stream");
		}
	}
	is_int(right, asked, "all who asked were answered");
	is_int(whole, half, "who half-closed got everything");
	is_int(seen, watched, "who watches has a stream");
}

/* Whatever there is, a new client is served at once. */
static void
test_served(const char *when)
{
	int64_t begin = test_now_ms();

	ok(!daemon_ctl(&d, "read shares/one/status", text, sizeof(text)),
	   "%s, another client is served", when);
	ok(test_now_ms() - begin < 5000, "soon: %lld ms",
	   (long long)(test_now_ms() - begin));
}

static void
test_round(const struct daemon_use *before, int round)
{
	is_int(connect_all(), CLIENTS, "round %d: %d clients connect", round,
	       CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		misbehave(&client[i]);
	test_served("with all of them there");
	test_answers();
	test_served("when some have been answered");
	for (int i = 0; i < CLIENTS; i++)
		if (client[i].habit != LEAVES)
			close(client[i].s.fd);
	daemon_settles(&d, before, WAIT_MS, "when all have left");
}

/* Beyond the most, others wait until there is room; nobody is lost. */
static void
test_too_many(const struct daemon_use *before)
{
	static struct stream many[600];
	int n = 0, answered = 0;

	while (n < 600 && stream_open(&many[n], &d, "read version") == 0)
		n++;
	for (int i = 0; i < n; i++) {
		char *line = stream_line(&many[i], WAIT_MS);

		answered += line && !strncmp(line, "ok ", 3);
		close(many[i].fd);
	}
	is_int(answered, n, "%d more than there is room for: all are answered",
	       n);
	daemon_settles(&d, before, WAIT_MS, "after that");
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	struct daemon_use before, after;

	srandom(1);
	daemon_start(&d, tags, NULL);
	daemon_use(&d, &before);
	for (int i = 0; i < 3; i++) {
		test_round(&before, i);
		if (i == 0)
			daemon_use(&d, &after);
	}
	test_too_many(&before);
	before = after;
	daemon_use(&d, &after);
	if (TAP_SANITIZED)		/* it keeps what is freed for a while */
		tap_skip("memory does not grow", "built with sanitizers");
	else
		ok(after.rss_kib < before.rss_kib + 20000,
		   "memory does not grow: %ld KiB, then %ld KiB",
		   before.rss_kib, after.rss_kib);
	daemon_stop(&d);
	return tap_done();
}
