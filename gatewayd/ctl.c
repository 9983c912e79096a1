/* SPDX-License-Identifier: MIT */
/*
 * The control socket: one request a line, "VERB PATH [TEXT]"; replies
 * "ok N" and N bytes, "error NAME why", or "ok stream" and lines until the
 * client leaves.  What the files hold is tree.c's business.
 *
 * A client that sends and closes its writing side gets everything it asked
 * for.  A client that does not read holds up nobody: its requests wait, a
 * watch loses lines and is told how many.
 */
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gatewayd/gw.h"
#include "gatewayd/tree.h"

#define LINE_MAX_BYTES (64 << 10)
#define OUTPUT_HIGH (256 << 10)	/* requests wait above this */
#define CLIENTS_MAX 512
#define IDLE_S 300
#define RING_TICK_US 50000	/* how often a watched ring is looked at */
#define WHY_MAX (60 << 10)	/* every message about a configuration */

struct client {
	TAILQ_ENTRY(client) link;
	struct ctl *ctl;
	struct bufferevent *bev;
	struct ucred peer;
	bool writer;
	bool eof;			/* it will send nothing more */
	bool skipping;			/* the rest of a line that is too long */
	struct tree_watch *watch;	/* it is a stream now */
	unsigned long lost;		/* lines a slow stream did not get */
};

struct ctl {
	struct gw *gw;
	struct event *accept;
	struct event *resume;		/* after descriptors ran out */
	struct gw_socket sock;
	TAILQ_HEAD(, client) clients;
	unsigned nclients;
	struct event *tick;		/* while somebody watches */
	struct event *ring_tick;	/* ... log or trace */
	unsigned nwatches, nrings;
};

static void
client_free(struct client *c)
{
	if (c->watch) {
		if (tree_watch_is_ring(c->watch) && --c->ctl->nrings == 0)
			evtimer_del(c->ctl->ring_tick);
		if (--c->ctl->nwatches == 0)
			evtimer_del(c->ctl->tick);
		tree_watch_free(c->watch);
	}
	TAILQ_REMOVE(&c->ctl->clients, c, link);
	c->ctl->nclients--;
	bufferevent_free(c->bev);
	free(c);
}

/* One line; a reason of several lines has "\n" written out between them. */
static void
reply_error(struct client *c, int err, const char *why)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_add_printf(out, "error %s ", tree_errno_name(err));
	while (*why) {
		size_t n = strcspn(why, "\n");

		evbuffer_add(out, why, n);
		why += n;
		while (*why == '\n')
			why++;
		if (*why)
			evbuffer_add(out, "\\n", 2);
	}
	evbuffer_add(out, "\n", 1);
}

static void
reply_ok(struct client *c, struct evbuffer *body)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_add_printf(out, "ok %zu\n", evbuffer_get_length(body));
	evbuffer_add_buffer(out, body);
}

/* ---- the four verbs ---- */

struct request {
	char *path, *text;	/* "" when not given */
};

static int
do_ls(struct client *c, struct request *r, char *why, size_t size)
{
	struct evbuffer *body = evbuffer_new();
	int err = body ? tree_ls(c->ctl->gw, r->path, body) : -ENOMEM;

	if (err)
		snprintf(why, size, "%s: no such directory", r->path);
	else
		reply_ok(c, body);
	if (body)
		evbuffer_free(body);
	return err;
}

static int
do_read(struct client *c, struct request *r, char *why, size_t size)
{
	struct evbuffer *body = evbuffer_new();
	int err = body ? tree_read(c->ctl->gw, r->path, body, why, size) :
			 -ENOMEM;

	if (!err)
		reply_ok(c, body);
	if (body)
		evbuffer_free(body);
	return err;
}

static int
do_write(struct client *c, struct request *r, char *why, size_t size)
{
	struct evbuffer *body;
	int err;

	if (!c->writer) {
		snprintf(why, size, "uid %u may read only (admin_group)",
			 c->peer.uid);
		return -EPERM;
	}
	body = evbuffer_new();
	if (!body)
		return -ENOMEM;
	err = tree_write(c->ctl->gw, r->path, r->text, body, why, size);
	log_info("control: write %s %.200s: %.*s uid=%u pid=%d", r->path,
		 r->text, err ? (int)strcspn(why, "\n") : 4,
		 err ? why : "done", c->peer.uid, (int)c->peer.pid);
	if (!err)
		reply_ok(c, body);
	evbuffer_free(body);
	return err;
}

static void stream_tick(struct client *c);

static int
do_watch(struct client *c, struct request *r, char *why, size_t size)
{
	struct timeval second = { .tv_sec = 1 };
	struct timeval soon = { .tv_usec = RING_TICK_US };
	int err = tree_watch_new(c->ctl->gw, r->path, &c->watch, why, size);

	if (err)
		return err;
	if (c->ctl->nwatches++ == 0)
		evtimer_add(c->ctl->tick, &second);
	if (tree_watch_is_ring(c->watch) && c->ctl->nrings++ == 0)
		evtimer_add(c->ctl->ring_tick, &soon);
	evbuffer_add_printf(bufferevent_get_output(c->bev), "ok stream\n");
	stream_tick(c);
	return 0;
}

static const struct verb {
	const char *name;
	int (*run)(struct client *c, struct request *r, char *why, size_t size);
} verbs[] = {
	{ "ls", do_ls },
	{ "read", do_read },
	{ "write", do_write },
	{ "watch", do_watch },
};

/* ---- lines in ---- */

/* Cut the next word off *line; "" at its end. */
static char *
next_word(char **line)
{
	char *word = *line + strspn(*line, " \t");
	size_t n = strcspn(word, " \t");

	*line = word + n;
	if (**line)
		*(*line)++ = '\0';
	return word;
}

static void
serve_line(struct client *c, char *line)
{
	char why[WHY_MAX] = "";
	struct request r;
	char *verb = next_word(&line);
	int err = -EINVAL;

	r.path = next_word(&line);
	r.text = line + strspn(line, " \t");
	if (!*verb)
		return;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verb, verbs[i].name))
			continue;
		err = verbs[i].run(c, &r, why, sizeof(why));
		if (err)
			reply_error(c, err, why[0] ? why : strerror(-err));
		return;
	}
	reply_error(c, err, "the verbs are ls, read, write and watch");
}

static bool
is_text(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 && line[i] != '\t')
			return false;
	return true;
}

/* The next line, allocated; what stands before the end counts as one. */
static char *
next_line(struct client *c, size_t *n)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	char *line = evbuffer_readln(in, n, EVBUFFER_EOL_CRLF);

	if (line || !c->eof || !evbuffer_get_length(in))
		return line;
	*n = evbuffer_get_length(in);
	line = malloc(*n + 1);
	if (line) {
		evbuffer_copyout(in, line, *n);
		line[*n] = '\0';
	}
	evbuffer_drain(in, *n);
	return line;
}

/* Answer what is complete, as long as the client reads. */
static void
serve_lines(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer *out = bufferevent_get_output(c->bev);
	size_t n;

	while (!c->watch && evbuffer_get_length(out) < OUTPUT_HIGH) {
		char *line = next_line(c, &n);

		if (!line)
			break;
		if (c->skipping)
			reply_error(c, -EMSGSIZE,
				    "the line is longer than 64 KiB");
		else if (is_text(line, n))
			serve_line(c, line);
		else
			reply_error(c, -EINVAL, "the line is not text");
		c->skipping = false;
		free(line);
	}
	if (evbuffer_get_length(out) >= OUTPUT_HIGH && !c->watch)
		return;
	if (evbuffer_get_length(in) >= LINE_MAX_BYTES)
		c->skipping = true;
	if (c->skipping || c->watch)
		evbuffer_drain(in, evbuffer_get_length(in));
	if (c->skipping && c->eof) {
		reply_error(c, -EMSGSIZE, "the line is longer than 64 KiB");
		c->skipping = false;
	}
}

static void
finish_if_done(struct client *c)
{
	if (c->eof && !c->watch &&
	    evbuffer_get_length(bufferevent_get_output(c->bev)) == 0 &&
	    evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
		client_free(c);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	serve_lines(arg);
}

/* The output has drained. */
static void
on_write(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	(void)bev;
	if (c->watch && tree_watch_is_ring(c->watch))
		stream_tick(c);
	serve_lines(c);
	finish_if_done(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	(void)bev;
	if (!(what & BEV_EVENT_EOF) || c->eof) {
		client_free(c);		/* an error, or silent for too long */
		return;
	}
	/* Half-closed, perhaps: what was asked for is still answered. */
	c->eof = true;
	bufferevent_disable(c->bev, EV_READ);
	serve_lines(c);
	finish_if_done(c);
}

/* ---- streams ---- */

/* The lines of a ring wait there. */
static void
stream_ring(struct client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	size_t had = evbuffer_get_length(out);

	if (had < OUTPUT_HIGH)
		tree_watch_poll(c->watch, OUTPUT_HIGH - had, out);
}

static void
stream_tick(struct client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	struct evbuffer *lines;
	char *line;

	if (tree_watch_is_ring(c->watch)) {
		stream_ring(c);
		return;
	}
	lines = evbuffer_new();
	if (!lines)
		return;
	tree_watch_poll(c->watch, SIZE_MAX, lines);
	if (c->lost && evbuffer_get_length(out) < OUTPUT_HIGH) {
		evbuffer_add_printf(out, "lost %lu\n", c->lost);
		c->lost = 0;
	}
	while ((line = evbuffer_readln(lines, NULL, EVBUFFER_EOL_LF))) {
		if (evbuffer_get_length(out) < OUTPUT_HIGH)
			evbuffer_add_printf(out, "%s\n", line);
		else
			c->lost++;
		free(line);
	}
	evbuffer_free(lines);
}

/* One that had half-closed may have left altogether: nothing else tells. */
static bool
has_left(const struct client *c)
{
	struct pollfd fd = { .fd = bufferevent_getfd(c->bev) };

	return c->eof && poll(&fd, 1, 0) > 0 &&
	       (fd.revents & (POLLHUP | POLLERR));
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval second = { .tv_sec = 1 };
	struct ctl *ctl = arg;
	struct client *c, *next;

	(void)fd;
	(void)what;
	for (c = TAILQ_FIRST(&ctl->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->watch && has_left(c))
			client_free(c);
		else if (c->watch)
			stream_tick(c);
	}
	if (ctl->nwatches)
		evtimer_add(ctl->tick, &second);
}

static void
on_ring_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval soon = { .tv_usec = RING_TICK_US };
	struct ctl *ctl = arg;
	struct client *c;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(c, &ctl->clients, link)
		if (c->watch && tree_watch_is_ring(c->watch))
			stream_ring(c);
	evtimer_add(ctl->ring_tick, &soon);
}

/* ---- clients ---- */

static bool
in_group(int fd, const struct ucred *peer, gid_t gid)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);

	if (peer->gid == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static bool
may_write(struct gw *gw, int fd, const struct ucred *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return gw->conf->gateway.admin_gid != (gid_t)-1 &&
	       in_group(fd, peer, gw->conf->gateway.admin_gid);
}

static int
client_new(struct ctl *ctl, int fd)
{
	struct timeval idle = { .tv_sec = IDLE_S };
	struct client *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(c->peer);

	if (!c)
		return -ENOMEM;
	c->ctl = ctl;
	c->bev = bufferevent_socket_new(ctl->gw->base, fd,
					BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		free(c);
		return -ENOMEM;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len) == 0)
		c->writer = may_write(ctl->gw, fd, &c->peer);
	TAILQ_INSERT_TAIL(&ctl->clients, c, link);
	ctl->nclients++;
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LINE_MAX_BYTES);
	bufferevent_set_timeouts(c->bev, NULL, &idle);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	return 0;
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *ctl = arg;

	(void)fd;
	(void)what;
	event_add(ctl->accept, NULL);
}

static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct timeval second = { .tv_sec = 1 };
	struct ctl *ctl = arg;
	int fd;

	(void)what;
	if (ctl->nclients >= CLIENTS_MAX)
		fd = -1, errno = EMFILE;
	else
		fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 && client_new(ctl, fd)) {
		close(fd);
	} else if (fd < 0 && errno != EAGAIN && errno != EINTR &&
		   errno != ECONNABORTED) {
		event_del(ctl->accept);
		evtimer_add(ctl->resume, &second);
	}
}

static int
bind_socket(struct gw *gw, struct gw_socket *sock, char *why, size_t size)
{
	const struct conf_gateway *conf = &gw->conf->gateway;
	int err;

	if (activate_socket(gw, NULL, sock, &err))
		return err;
	return listen_unix(conf->control_socket, NULL, conf->control_group,
			   conf->control_mode, false, sock, why, size);
}

int
ctl_new(struct gw *gw, struct ctl **out, char *why, size_t size)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));
	int err;

	if (!ctl)
		return -ENOMEM;
	ctl->gw = gw;
	TAILQ_INIT(&ctl->clients);
	err = bind_socket(gw, &ctl->sock, why, size);
	if (err) {
		free(ctl);
		return err;
	}
	ctl->accept = event_new(gw->base, ctl->sock.fd, EV_READ | EV_PERSIST,
				on_accept, ctl);
	ctl->resume = evtimer_new(gw->base, on_resume, ctl);
	ctl->tick = evtimer_new(gw->base, on_tick, ctl);
	ctl->ring_tick = evtimer_new(gw->base, on_ring_tick, ctl);
	if (!ctl->accept || !ctl->resume || !ctl->tick || !ctl->ring_tick) {
		ctl_free(ctl);
		return -ENOMEM;
	}
	event_add(ctl->accept, NULL);
	*out = ctl;
	return 0;
}

int
ctl_apply(struct ctl *ctl)
{
	const struct conf_gateway *conf = &ctl->gw->conf->gateway;

	if (ctl->sock.inherited)
		return 0;
	return listen_own(ctl->sock.path, NULL, conf->control_group,
			  conf->control_mode);
}

void
ctl_free(struct ctl *ctl)
{
	if (!ctl)
		return;
	/* The loop has ended: what is answered already goes out now. */
	while (!TAILQ_EMPTY(&ctl->clients)) {
		struct client *c = TAILQ_FIRST(&ctl->clients);
		struct evbuffer *output = bufferevent_get_output(c->bev);

		evbuffer_unfreeze(output, 1);
		evbuffer_write(output, bufferevent_getfd(c->bev));
		client_free(c);
	}
	if (ctl->accept)
		event_free(ctl->accept);
	if (ctl->resume)
		event_free(ctl->resume);
	if (ctl->tick)
		event_free(ctl->tick);
	if (ctl->ring_tick)
		event_free(ctl->ring_tick);
	listen_close(&ctl->sock);
	free(ctl);
}
