/* SPDX-License-Identifier: MIT */
/*
 * The client's side of the control socket (DESIGN of the lines: see
 * ctlclient.h).  What the daemon sends is checked like any other input: the
 * socket may belong to another program.
 */
#include "config.h"

#include "gatewayd/ctlclient.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_LEN (128 << 10)		/* longest reply line we take */
#define BODY_MAX ((size_t)256 << 20)	/* more than this is not kept in memory */

int
gw_client_path(char *path, size_t size)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	int n;

	if (geteuid() == 0)
		n = snprintf(path, size, "/run/gatewayd/ctl");
	else if (dir && dir[0] == '/')
		n = snprintf(path, size, "%s/gatewayd/ctl", dir);
	else
		n = snprintf(path, size, "/run/user/%u/gatewayd/ctl",
			     (unsigned)geteuid());
	return (size_t)n < size ? 0 : -ENAMETOOLONG;
}

int
gw_client_init(struct gw_client *c, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int err;

	c->fd = -1;
	c->off = c->have = 0;
	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	if (connect(c->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		err = -errno;
		gw_client_fini(c);
		return err;
	}
	return 0;
}

void
gw_client_fini(struct gw_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static int
send_all(int fd, const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE ? -ENOTCONN : -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A path is one word; a text is the rest of the line. */
static bool
fits_line(const char *path, const char *text)
{
	if (strpbrk(path, " \t\r\n"))
		return false;
	return !text || !strpbrk(text, "\r\n");
}

int
gw_client_send(struct gw_client *c, const char *verb, const char *path,
	       const char *text)
{
	char *line;
	int n, err;

	if (!fits_line(path, text))
		return -EINVAL;
	n = asprintf(&line, "%s%s%s%s%s\n", verb, *path ? " " : "", path,
		     text ? " " : "", text ? text : "");
	if (n < 0)
		return -ENOMEM;
	err = send_all(c->fd, line, (size_t)n);
	free(line);
	return err;
}

static ssize_t
recv_some(int fd, char *buf, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	return n;
}

int
gw_client_more(struct gw_client *c, char *buf, size_t size)
{
	size_t n = c->have - c->off;

	if (n == 0)
		return (int)recv_some(c->fd, buf, size);
	if (n > size)
		n = size;
	memcpy(buf, c->buf + c->off, n);
	c->off += n;
	return (int)n;
}

/* Read one line, without its newline. */
static int
recv_line(struct gw_client *c, char *line, size_t size)
{
	size_t len = 0;

	for (;;) {
		char ch;
		ssize_t n;

		if (c->off == c->have) {
			n = recv_some(c->fd, c->buf, sizeof(c->buf));
			if (n < 0)
				return (int)n;
			if (n == 0)
				return len ? -EPROTO : -ENOTCONN;
			c->off = 0;
			c->have = (size_t)n;
		}
		ch = c->buf[c->off++];
		if (ch == '\n')
			break;
		if (ch == '\0' || len + 1 >= size)
			return -EPROTO;
		line[len++] = ch;
	}
	line[len] = '\0';
	return 0;
}

/* Read exactly `len` bytes, growing as they come: `len` is only a promise. */
static int
recv_body(struct gw_client *c, size_t len, char **body)
{
	size_t room = 0, have = 0;
	char *buf = NULL;
	int err;

	do {
		int n;

		if (have == room) {
			size_t more = room ? room * 2 : 4096;
			char *bigger;

			more = more > len ? len : more;
			bigger = realloc(buf, more + 1);
			err = -ENOMEM;
			if (!bigger)
				goto free_buf;
			buf = bigger;
			room = more;
		}
		n = have < len ? gw_client_more(c, buf + have, room - have) : 0;
		err = n < 0 ? n : -ENOTCONN;
		if (have < len && n <= 0)
			goto free_buf;
		have += (size_t)n;
	} while (have < len);
	buf[len] = '\0';
	*body = buf;
	return 0;

free_buf:
	free(buf);
	return err;
}

/* "error NAME why" */
static int
parse_error(const char *words, struct gw_reply *r)
{
	size_t n = strcspn(words, " ");

	if (n == 0 || n >= sizeof(r->name))
		return -EPROTO;
	memcpy(r->name, words, n);
	r->name[n] = '\0';
	words += n;
	r->text = strdup(*words == ' ' ? words + 1 : words);
	if (!r->text)
		return -ENOMEM;
	r->len = strlen(r->text);
	r->refused = true;
	return 0;
}

/* The N of "ok N". */
static int
parse_count(const char *word, size_t *count)
{
	unsigned long long n;
	char *end;

	if (*word < '0' || *word > '9')
		return -EPROTO;
	errno = 0;
	n = strtoull(word, &end, 10);
	if (errno || *end || n > SIZE_MAX / 2)
		return -EPROTO;
	*count = (size_t)n;
	return 0;
}

int
gw_client_head(struct gw_client *c, struct gw_reply *r)
{
	char line[LINE_LEN];
	int err;

	memset(r, 0, sizeof(*r));
	err = recv_line(c, line, sizeof(line));
	if (err)
		return err;
	if (!strncmp(line, "error ", 6))
		return parse_error(line + 6, r);
	if (!strcmp(line, "ok stream")) {
		r->stream = true;
		return 0;
	}
	if (strncmp(line, "ok ", 3))
		return -EPROTO;
	return parse_count(line + 3, &r->len);
}

int
gw_client_body(struct gw_client *c, struct gw_reply *r)
{
	if (r->len > BODY_MAX)
		return -EPROTO;
	return recv_body(c, r->len, &r->text);
}

int
gw_client_recv(struct gw_client *c, struct gw_reply *r)
{
	int err = gw_client_head(c, r);

	return err || r->refused || r->stream ? err : gw_client_body(c, r);
}

int
gw_client_ask(struct gw_client *c, const char *verb, const char *path,
	      const char *text, struct gw_reply *r)
{
	int err = gw_client_send(c, verb, path, text);

	return err ? err : gw_client_recv(c, r);
}

void
gw_reply_fini(struct gw_reply *r)
{
	free(r->text);
	r->text = NULL;
}

bool
gw_client_field(const char *text, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);

	value[0] = '\0';
	while (text && *text) {
		size_t line = strcspn(text, "\n");

		if (line > len && !strncmp(text, name, len) &&
		    text[len] == ' ') {
			snprintf(value, size, "%.*s", (int)(line - len - 1),
				 text + len + 1);
			return true;
		}
		text += line;
		text += *text == '\n';
	}
	return false;
}

int
gw_client_tag(const char *tag, char *name, size_t size)
{
	size_t n = 0;

	for (; *tag; tag++) {
		unsigned char ch = (unsigned char)*tag;
		bool plain = ch > 0x20 && ch != '%' && ch != '/';

		if (n + (plain ? 1 : 3) >= size)
			return -ENAMETOOLONG;
		if (plain)
			name[n++] = (char)ch;
		else
			n += (size_t)snprintf(name + n, size - n, "%%%02X", ch);
	}
	name[n] = '\0';
	return 0;
}
