/* SPDX-License-Identifier: MIT */
/*
 * The control socket: one request a line, "VERB PATH [TEXT]"; replies
 * "ok N" and N bytes, "error NAME why", or "ok stream" and lines until the
 * client leaves.  What the files hold is tree.c's business.
 *
 * A client that sends and closes its writing side gets everything it asked
 * for.  A client that does not read holds up nobody: its requests wait.
 * ctlwatch.c has the streams, ctlsocket.c who connects.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/answer.h"
#include "gatewayd/ctlpriv.h"
#include "gatewayd/tree.h"

#define WHY_MAX (60 << 10)	/* every message about a configuration */

/* ---- the log of writes ---- */

static void
log_write(struct client *c, const char *path, const char *text, const char *how)
{
	log_info("control: write %s %.200s: %.*s uid=%u pid=%d", path, text,
		 (int)strcspn(how, "\n"), how, c->peer.uid, (int)c->peer.pid);
}

/* The lines of it that were not logged one by one. */
static void
end_run(struct client *c)
{
	struct ctl_run *r = &c->run;

	if (r->done + r->refused)
		log_info("control: write %s: and %lu more lines, %lu of them "
			 "refused uid=%u pid=%d", r->path, r->done + r->refused,
			 r->refused, c->peer.uid, (int)c->peer.pid);
	free(r->path);
	memset(r, 0, sizeof(*r));
}

/* The first line of a run is logged as any other, the others are counted. */
static void
log_small(struct client *c, const char *why)
{
	struct answer_counts n = *answer_counts(c->answer);

	if (!c->run.path || strcmp(c->run.path, c->asked)) {
		end_run(c);
		if (n.done + n.refused > 1)
			c->text[strcspn(c->text, ";")] = '\0';
		log_write(c, c->asked, c->text, n.first ? "done" :
			  why ? why : "refused");
		c->run.path = strdup(c->asked);
		n.done -= n.first;
		n.refused -= !n.first && n.refused;
	}
	c->run.done += n.done;
	c->run.refused += n.refused;
}

static void
end_answer(struct client *c)
{
	if (c->answer)
		answer_drop(c->answer);
	free(c->asked);
	free(c->text);
	c->answer = NULL;
	c->asked = c->text = NULL;
	c->answering = false;
}

void
ctl_client_free(struct client *c)
{
	ctl_watch_end(c);
	if (c->asked)
		log_write(c, c->asked, c->text, "the client has left");
	end_answer(c);
	end_run(c);
	TAILQ_REMOVE(&c->ctl->clients, c, link);
	c->ctl->nclients--;
	bufferevent_free(c->bev);
	free(c->path);
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

static void serve_lines(struct client *c);

/* It has come: "ok N", or an error. */
static void
begin_answer(struct client *c)
{
	const char *why;
	uint64_t len;
	int err = answer_result(c->answer, &len, &why);

	if (c->asked && answer_is_small(c->answer))
		log_small(c, err ? why : NULL);
	else if (c->asked)
		log_write(c, c->asked, c->text, err ? why : "done");
	free(c->asked);
	c->asked = NULL;
	if (err)
		reply_error(c, err, why);
	else
		evbuffer_add_printf(bufferevent_get_output(c->bev),
				    "ok %llu\n", (unsigned long long)len);
	c->answering = true;
	if (err || !answer_fetch(c->answer)) {
		end_answer(c);
		serve_lines(c);
	}
}

/* There is a result, or a piece of it. */
static void
on_answer(void *arg)
{
	struct client *c = arg;

	if (!c->answering)
		begin_answer(c);
	else if (answer_take(c->answer, bufferevent_get_output(c->bev)))
		ctl_client_free(c);	/* "ok N" was promised */
}

static void
wait_answer(struct client *c, struct answer *answer)
{
	c->answer = answer;
	answer_watch(answer, on_answer, c);
}

/* ---- the four verbs ---- */

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
	struct answer *later = NULL;
	int err = body ? tree_read(c->ctl->gw, r->path, body, &later, why,
				   size) : -ENOMEM;

	if (later)
		wait_answer(c, later);
	else if (!err)
		reply_ok(c, body);
	if (body)
		evbuffer_free(body);
	return err;
}

/* It waits for a directory: done again by ctl_go_on(). */
static int
put_off(struct client *c, const struct request *r)
{
	c->path = strdup(r->path);
	c->text = strdup(r->text);
	if (c->path && c->text)
		return 0;
	free(c->path);
	free(c->text);
	c->path = c->text = NULL;
	return -ENOMEM;
}

static int
do_write(struct client *c, struct request *r, char *why, size_t size)
{
	struct answer *later = NULL;
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
	err = tree_write(c->ctl->gw, r->path, r->text, body, &later, why, size);
	if (err == -EINPROGRESS) {
		evbuffer_free(body);
		return put_off(c, r);
	}
	if (later) {
		wait_answer(c, later);
		c->asked = strdup(r->path);
		c->text = strndup(r->text, 200);
	} else {
		log_write(c, r->path, r->text, err ? why : "done");
	}
	if (!err && !later)
		reply_ok(c, body);
	evbuffer_free(body);
	return err;
}

static const struct verb {
	const char *name;
	int (*run)(struct client *c, struct request *r, char *why, size_t size);
} verbs[] = {
	{ "ls", do_ls },
	{ "read", do_read },
	{ "write", do_write },
	{ "watch", ctl_watch },
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

/* As long as the input is full and nothing is taken from it, libevent would
 * call ctl_on_read() without end. */
static void
pause_if_full(struct client *c)
{
	bool full = evbuffer_get_length(bufferevent_get_input(c->bev)) >=
		    CTL_LINE_MAX;

	if (c->eof)
		return;
	if (full)
		bufferevent_disable(c->bev, EV_READ);
	else if (!(bufferevent_get_enabled(c->bev) & EV_READ))
		bufferevent_enable(c->bev, EV_READ);
}

/* Answer what is complete, as long as the client reads; one after the other. */
static void
answer_lines(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer *out = bufferevent_get_output(c->bev);
	size_t n;

	while (!c->watch && !c->path && !c->answer &&
	       evbuffer_get_length(out) < OUTPUT_HIGH) {
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
	if (c->path || c->answer ||
	    (evbuffer_get_length(out) >= OUTPUT_HIGH && !c->watch))
		return;
	if (evbuffer_get_length(in) >= CTL_LINE_MAX)
		c->skipping = true;
	if (c->skipping || c->watch)
		evbuffer_drain(in, evbuffer_get_length(in));
	if (c->skipping && c->eof) {
		reply_error(c, -EMSGSIZE, "the line is longer than 64 KiB");
		c->skipping = false;
	}
}

static void
serve_lines(struct client *c)
{
	answer_lines(c);
	pause_if_full(c);
}

static void
finish_if_done(struct client *c)
{
	if (c->eof && !c->watch && !c->path && !c->answer &&
	    evbuffer_get_length(bufferevent_get_output(c->bev)) == 0 &&
	    evbuffer_get_length(bufferevent_get_input(c->bev)) == 0)
		ctl_client_free(c);
}

void
ctl_on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	serve_lines(arg);
}

/* The output has drained. */
void
ctl_on_write(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	(void)bev;
	if (c->watch && tree_watch_is_ring(c->watch))
		ctl_watch_tick(c);
	if (c->answering && !answer_fetch(c->answer))
		end_answer(c);
	serve_lines(c);
	finish_if_done(c);
}

void
ctl_on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	(void)bev;
	if (!(what & BEV_EVENT_EOF) || c->eof) {
		ctl_client_free(c);		/* an error, or silent for too long */
		return;
	}
	/* Half-closed, perhaps: what was asked for is still answered. */
	c->eof = true;
	bufferevent_disable(c->bev, EV_READ);
	if (c->answer && ctl_has_left(c)) {
		ctl_client_free(c);
		return;
	}
	ctl_set_ticking(c, true);
	serve_lines(c);
	finish_if_done(c);
}

static void
go_on(struct client *c)
{
	struct request r = { c->path, c->text };
	char why[WHY_MAX] = "";
	int err;

	c->path = c->text = NULL;
	err = do_write(c, &r, why, sizeof(why));
	if (err)
		reply_error(c, err, why[0] ? why : strerror(-err));
	free(r.path);
	free(r.text);
	if (c->path)
		return;
	serve_lines(c);
	finish_if_done(c);
}

bool
ctl_go_on(struct ctl *ctl)
{
	struct client *c, *next;
	bool waits = false;

	for (c = TAILQ_FIRST(&ctl->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->path)
			go_on(c);
	}
	TAILQ_FOREACH(c, &ctl->clients, link)
		waits |= c->path != NULL;
	return waits;
}
