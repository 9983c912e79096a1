/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl: questions to the daemon, and the words about what went wrong.
 */
#include "config.h"

#include "gatewayd/gatewayctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

int
ask(struct ctl *ctl, const char *verb, const char *path, const char *text,
    struct gw_reply *r)
{
	int err = 0;

	if (ctl->client.fd < 0)
		err = gw_client_init(&ctl->client, ctl->path);
	if (!err)
		err = gw_client_ask(&ctl->client, verb, path, text, r);
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
print_bytes(const char *buf, size_t len)
{
	if (fwrite(buf, 1, len, stdout) != len || fflush(stdout)) {
		fprintf(stderr, "gatewayctl: standard output: %s\n",
			strerror(errno));
		return FAILED;
	}
	return DONE;
}

/* Print lines until the other side ends the stream. */
static int
print_stream(struct ctl *ctl)
{
	char buf[4096];
	int n;

	while ((n = gw_client_more(&ctl->client, buf, sizeof(buf))) > 0)
		if (print_bytes(buf, (size_t)n) != DONE)
			return FAILED;
	return n < 0 ? client_failed(ctl, n) : DONE;
}

int
ask_and_print(struct ctl *ctl, const char *verb, const char *path,
	      const char *text)
{
	struct gw_reply r;
	int status = ask(ctl, verb, path, text, &r);

	if (status != DONE)
		return status;
	status = r.stream ? print_stream(ctl) : print_bytes(r.text, r.len);
	gw_reply_fini(&r);
	return status;
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
