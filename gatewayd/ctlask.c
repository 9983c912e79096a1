/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl: questions to the daemon, and the words about what went wrong.
 */
#include "config.h"

#include "gatewayd/gatewayctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WHOLE_MAX = 1 << 20 };	/* longer replies are printed as they come */

int
client_failed(const struct ctl *ctl, int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENOTSOCK:
		fprintf(stderr, "gatewayctl: no gatewayd at %s\n", ctl->path);
		return NO_DAEMON;
	case -EACCES:
	case -EPERM:
		fprintf(stderr, "gatewayctl: %s: %s\n", ctl->path,
			strerror(-err));
		return NO_PERMISSION;
	case -EINVAL:
		fprintf(stderr, "gatewayctl: a path is one word, and a text "
				"is one line\n");
		return USAGE;
	case -ENOTCONN:
		fprintf(stderr, "gatewayctl: gatewayd closed the connection\n");
		return FAILED;
	case -EPROTO:
		fprintf(stderr, "gatewayctl: %s: not a reply of gatewayd\n",
			ctl->path);
		return FAILED;
	default:
		fprintf(stderr, "gatewayctl: %s: %s\n", ctl->path,
			strerror(-err));
		return FAILED;
	}
}

/* Print the daemon's own words; "\\n" stands between lines. */
static int
reply_refused(const struct gw_reply *r)
{
	const char *text = *r->text ? r->text : r->name;

	while (*text) {
		const char *end = strstr(text, "\\n");
		size_t n = end ? (size_t)(end - text) : strlen(text);

		fprintf(stderr, "gatewayctl: %.*s\n", (int)n, text);
		text += end ? n + 2 : n;
	}
	if (!strcmp(r->name, "EPERM") || !strcmp(r->name, "EACCES"))
		return NO_PERMISSION;
	return FAILED;
}

/* Without the bytes of the reply. */
static int
ask_head(struct ctl *ctl, const char *verb, const char *path, const char *text,
	 struct gw_reply *r)
{
	int err = 0;

	if (ctl->client.fd < 0)
		err = gw_client_init(&ctl->client, ctl->path);
	if (!err)
		err = gw_client_send(&ctl->client, verb, path, text);
	if (!err)
		err = gw_client_head(&ctl->client, r);
	if (err) {
		gw_client_fini(&ctl->client);
		return client_failed(ctl, err);
	}
	if (r->refused) {
		err = reply_refused(r);
		gw_reply_fini(r);
		return err;
	}
	return DONE;
}

static int
take_body(struct ctl *ctl, struct gw_reply *r)
{
	int err = gw_client_body(&ctl->client, r);

	if (!err)
		return DONE;
	gw_client_fini(&ctl->client);
	return client_failed(ctl, err);
}

int
ask(struct ctl *ctl, const char *verb, const char *path, const char *text,
    struct gw_reply *r)
{
	int status = ask_head(ctl, verb, path, text, r);

	return status != DONE || r->stream ? status : take_body(ctl, r);
}

/* Where it is printed. */
struct to {
	int fd;
	const char *name;
};

static int
print_bytes(const struct to *to, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(to->fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			fprintf(stderr, "gatewayctl: %s: %s\n", to->name,
				strerror(errno));
			return FAILED;
		}
		buf += n;
		len -= (size_t)n;
	}
	return DONE;
}

/* Print `len` bytes, or what comes until the other side ends the stream. */
static int
print_more(struct ctl *ctl, const struct to *to, bool stream, size_t len)
{
	char buf[16384];
	int n = 1;

	while (stream || len) {
		n = gw_client_more(&ctl->client, buf,
				   stream || len > sizeof(buf) ? sizeof(buf) :
								 len);
		if (n <= 0)
			break;
		if (print_bytes(to, buf, (size_t)n) != DONE)
			return FAILED;
		len -= stream ? 0 : (size_t)n;
	}
	if (n == 0 && !stream)
		n = -ENOTCONN;
	return n < 0 ? client_failed(ctl, n) : DONE;
}

int
ask_and_write(struct ctl *ctl, const char *verb, const char *path,
	      const char *text, int fd, const char *name)
{
	struct to to = { fd, name };
	struct gw_reply r;
	int status = ask_head(ctl, verb, path, text, &r);

	if (status != DONE)
		return status;
	if (r.stream || r.len > WHOLE_MAX)
		return print_more(ctl, &to, r.stream, r.len);
	status = take_body(ctl, &r);
	if (status == DONE)
		status = print_bytes(&to, r.text, r.len);
	gw_reply_fini(&r);
	return status;
}

int
ask_and_print(struct ctl *ctl, const char *verb, const char *path,
	      const char *text)
{
	return ask_and_write(ctl, verb, path, text, STDOUT_FILENO,
			     "standard output");
}

int
read_file(struct ctl *ctl, const char *share, const char *file,
	  struct gw_reply *r)
{
	char path[256];

	snprintf(path, sizeof(path), "shares/%s/%s", share, file);
	return ask(ctl, "read", path, NULL, r);
}

int
tag_name(const char *tag, char *name, size_t size)
{
	if (!gw_client_tag(tag, name, size))
		return DONE;
	fprintf(stderr, "gatewayctl: no tag is that long\n");
	return FAILED;
}

int
find_socket(struct ctl *ctl, const char *tag, char *path, size_t size)
{
	struct gw_reply r;
	char name[128];
	int status = tag_name(tag, name, sizeof(name));

	if (status == DONE)
		status = read_file(ctl, name, "status", &r);
	if (status != DONE)
		return status;
	if (!gw_client_field(r.text, "socket", path, size)) {
		fprintf(stderr, "gatewayctl: %s has no socket\n", tag);
		status = FAILED;
	}
	gw_reply_fini(&r);
	return status;
}

int
text_width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}
