/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl state: what is recorded of a share's files, as text and back.
 * The daemon does it all; this is what stands at the other end of a pipe.
 */
#include "config.h"

#include "gatewayd/gatewayctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ROWS = 256,		/* in a request, at most: the daemon's limit */
	BYTES = 32 << 10,
	WINDOW = 4,		/* requests on their way */
};

struct batch {
	size_t n, len;
	unsigned long number[ROWS];	/* of the lines */
	char rows[BYTES];		/* with a ';' between them */
};

struct import {
	struct ctl *ctl;
	char path[256];			/* shares/TAG/state */
	unsigned long number;		/* of the line that was read last */
	unsigned long sent, answered;	/* requests */
	unsigned long done, refused;	/* lines */
	int status;			/* other than DONE: stop */
	struct batch batch[WINDOW];
};

static int
state_export(struct ctl *ctl, const char *name, const char *file)
{
	char path[256];

	(void)file;
	snprintf(path, sizeof(path), "shares/%s/state", name);
	return ask_and_print(ctl, "read", path, NULL);
}

/* ---- import ---- */

/* Would every line be refused like this one? */
static bool
is_fatal(const char *name, const char *why)
{
	static const char *const always[] = { "EROFS", "ENOSPC", "EDQUOT",
					      "EIO" };

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (!strcmp(name, always[i]))
			return true;
	/* Words about one file begin with its path. */
	return (!strcmp(name, "EPERM") || !strcmp(name, "EOPNOTSUPP")) &&
	       why[0] != '"';
}

static void
refuse(struct import *im, unsigned long number, const char *name,
       const char *why)
{
	im->refused++;
	fprintf(stderr, "gatewayctl: line %lu: %s\n", number,
		*why ? why : name);
	if (im->status == DONE && is_fatal(name, why))
		im->status = strcmp(name, "EPERM") ? FAILED : NO_PERMISSION;
}

/* A line for each row that was refused: its place in the request, the error's
 * name, why.  Behind one that is fatal no row was tried. */
static void
take_refused(struct import *im, const struct batch *b, char *text)
{
	char *save = NULL, *end, *why;
	unsigned long last = b->n, bad = 0, i;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		i = strtoul(line, &end, 10);
		if (i < 1 || i > b->n || *end != ' ')
			continue;
		end++;
		why = end + strcspn(end, " ");
		if (*why)
			*why++ = '\0';
		refuse(im, b->number[i - 1], end, why);
		bad++;
		if (is_fatal(end, why))
			last = i;
	}
	im->done += last - bad;
}

static void
take_answer(struct import *im)
{
	struct batch *b = &im->batch[im->answered++ % WINDOW];
	struct gw_reply r;
	int err = gw_client_recv(&im->ctl->client, &r);

	if (err) {
		im->status = client_failed(im->ctl, err);
		gw_client_fini(&im->ctl->client);
	} else if (r.refused) {
		refuse(im, b->number[0], r.name, r.text);
		im->refused += b->n - 1;
	} else {
		take_refused(im, b, r.text);
	}
	if (!err)
		gw_reply_fini(&r);
	b->n = b->len = 0;
}

/* The batch is full, or the last. */
static void
send_batch(struct import *im)
{
	struct batch *b = &im->batch[im->sent % WINDOW];
	int err;

	if (!b->n || im->status != DONE)
		return;
	b->rows[b->len] = '\0';
	err = gw_client_send(&im->ctl->client, "write", im->path, b->rows);
	if (err) {
		im->status = client_failed(im->ctl, err);
		gw_client_fini(&im->ctl->client);
		return;
	}
	im->sent++;
	if (im->sent - im->answered == WINDOW)
		take_answer(im);
}

static void
add_row(struct import *im, const char *line, size_t len)
{
	struct batch *b = &im->batch[im->sent % WINDOW];

	if (b->n == ROWS || (b->n && len + 2 > BYTES - b->len)) {
		send_batch(im);
		b = &im->batch[im->sent % WINDOW];
	}
	if (im->status != DONE)
		return;
	if (len + 2 > BYTES) {
		refuse(im, im->number, "EINVAL", "it is too long");
		return;
	}
	if (b->n)
		b->rows[b->len++] = ';';
	memcpy(b->rows + b->len, line, len);
	b->len += len;
	b->number[b->n++] = im->number;
}

/* How a line could be taken for more or less than one row, if at all. */
static enum { ROW, OPEN, SEVERAL }
form_of(const char *line)
{
	bool inside = false;

	for (; *line; line++) {
		inside ^= *line == '"';
		if (*line == ';' && !inside)
			return SEVERAL;
	}
	return inside ? OPEN : ROW;
}

static void
import_line(struct import *im, char *line, size_t len)
{
	size_t blank;

	im->number++;
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (strlen(line) != len || strchr(line, '\r')) {
		refuse(im, im->number, "EINVAL", "it is not text");
		return;
	}
	blank = strspn(line, " \t");
	line += blank;
	if (!*line || *line == '#')
		return;
	switch (form_of(line)) {
	case ROW:
		add_row(im, line, len - blank);
		break;
	case OPEN:		/* alone, to be told what is wrong with it */
		send_batch(im);
		add_row(im, line, len - blank);
		send_batch(im);
		break;
	case SEVERAL:
		refuse(im, im->number, "EINVAL", "\";\" is no field");
		break;
	}
}

static void
import_all(struct import *im)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while (im->status == DONE && (n = getline(&line, &size, stdin)) > 0)
		import_line(im, line, (size_t)n);
	free(line);
	if (ferror(stdin)) {
		fprintf(stderr, "gatewayctl: standard input: %s\n",
			strerror(errno));
		im->status = FAILED;
	}
	send_batch(im);
	while (im->answered < im->sent && im->ctl->client.fd >= 0)
		take_answer(im);
	printf("%lu lines recorded, %lu refused\n", im->done, im->refused);
	if (im->status == DONE && im->refused)
		im->status = FAILED;
}

static int
state_import(struct ctl *ctl, const char *name, const char *file)
{
	struct import *im = calloc(1, sizeof(*im));
	struct gw_reply r;
	int status;

	(void)file;
	if (!im)
		return FAILED;
	im->ctl = ctl;
	/* Connects, and a share that is not there is named once. */
	im->status = read_file(ctl, name, "status", &r);
	if (im->status == DONE) {
		gw_reply_fini(&r);
		snprintf(im->path, sizeof(im->path), "shares/%s/state", name);
		import_all(im);
	}
	status = im->status;
	free(im);
	return status;
}

/* ---- the others ---- */

static int
say_word(struct ctl *ctl, const char *name, const char *word)
{
	char path[256];

	snprintf(path, sizeof(path), "shares/%s/ctl", name);
	return ask_and_print(ctl, "write", path, word);
}

static int
state_check(struct ctl *ctl, const char *name, const char *file)
{
	(void)file;
	return say_word(ctl, name, "state check");
}

static int
state_gc(struct ctl *ctl, const char *name, const char *file)
{
	(void)file;
	return say_word(ctl, name, "state gc");
}

/* Into a new file, which goes again unless it becomes whole. */
static int
state_backup(struct ctl *ctl, const char *name, const char *file)
{
	char path[256];
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int status, err;

	if (fd < 0) {
		fprintf(stderr, "gatewayctl: %s: %s\n", file, strerror(errno));
		return FAILED;
	}
	snprintf(path, sizeof(path), "shares/%s/state.db", name);
	status = ask_and_write(ctl, "read", path, NULL, fd, file);
	err = status == DONE && fsync(fd) ? errno : 0;
	if (close(fd) && !err)
		err = errno;
	if (err && status == DONE) {
		fprintf(stderr, "gatewayctl: %s: %s\n", file, strerror(err));
		status = FAILED;
	}
	if (status != DONE)
		unlink(file);
	return status;
}

VERB(state)
{
	static const struct {
		const char *name;
		int (*run)(struct ctl *ctl, const char *name, const char *file);
		int argc;
	} words[] = {
		{ "export", state_export, 2 }, { "import", state_import, 2 },
		{ "check", state_check, 2 },   { "gc", state_gc, 2 },
		{ "backup", state_backup, 3 },
	};
	char name[128];
	int status;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(argv[0], words[i].name) || argc != words[i].argc)
			continue;
		status = tag_name(argv[1], name, sizeof(name));
		return status != DONE ? status :
		       words[i].run(ctl, name, argc > 2 ? argv[2] : NULL);
	}
	return verb_usage(v);
}
