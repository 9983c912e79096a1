/* SPDX-License-Identifier: MIT */
/*
 * The client's side of the control socket: one request line, one reply.
 *
 *	VERB PATH [TEXT]\n	->	ok N\n and N bytes
 *					ok stream\n and lines without end
 *					error NAME why\n
 */
#ifndef GATEWAYD_CTLCLIENT_H
#define GATEWAYD_CTLCLIENT_H

#include <stdbool.h>
#include <stddef.h>

struct gw_client {
	int fd;			/* -1 when closed */
	char buf[4096];		/* read ahead: [off, have) is not used yet */
	size_t off, have;
};

struct gw_reply {
	bool refused;		/* the daemon said "error NAME why" */
	bool stream;		/* "ok stream": lines follow on the socket */
	char name[32];		/* NAME, as EPERM */
	char *text;		/* the bytes, or why; NUL added; allocated */
	size_t len;
};

/* The control socket of this user; 0 or -ENAMETOOLONG. */
int gw_client_path(char *path, size_t size);

/* Connect to the control socket `path`; 0 or -errno. */
int gw_client_init(struct gw_client *c, const char *path);
void gw_client_fini(struct gw_client *c);

/*
 * Send one request and read its reply.  `text` may be NULL.  0 when there is a
 * reply, a refusal included: then free it with gw_reply_fini().
 * -EINVAL: path or text cannot stand in a line.  -ENOTCONN: the daemon left.
 * -EPROTO: that was no reply.
 */
int gw_client_ask(struct gw_client *c, const char *verb, const char *path,
		  const char *text, struct gw_reply *r);
void gw_reply_fini(struct gw_reply *r);

/* The two halves of it: several requests may be sent before the first reply
 * is read. */
int gw_client_send(struct gw_client *c, const char *verb, const char *path,
		   const char *text);
int gw_client_recv(struct gw_client *c, struct gw_reply *r);
/* The reply without its bytes: `len` of them are read with gw_client_more(),
 * or all at once with gw_client_body(). */
int gw_client_head(struct gw_client *c, struct gw_reply *r);
int gw_client_body(struct gw_client *c, struct gw_reply *r);

/* More of a stream, or of a long reply: bytes read into `buf`, 0 at its end,
 * or -errno. */
int gw_client_more(struct gw_client *c, char *buf, size_t size);

/*
 * Find `name` in text made of "name value" lines: copies the value, cut to
 * fit.  False, and an empty value, when there is no such line.
 */
bool gw_client_field(const char *text, const char *name, char *value,
		     size_t size);

/* A tag as it stands in a path: bytes up to 0x20, '%' and '/' as %XX.
 * 0 or -ENAMETOOLONG. */
int gw_client_tag(const char *tag, char *name, size_t size);

#endif
