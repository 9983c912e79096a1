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

enum { WINDOW = 64 };	/* lines on their way that have no answer yet */

struct import {
	struct ctl *ctl;
	char path[256];			/* shares/TAG/state */
	unsigned long number;		/* of the line that was read last */
	unsigned long sent, answered;	/* lines that say something */
	unsigned long of[WINDOW];	/* their numbers */
	unsigned long done, refused;
	int status;			/* other than DONE: stop */
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
is_fatal(const struct gw_reply *r)
{
	static const char *const always[] = { "EROFS", "ENOSPC", "EDQUOT",
					      "EIO" };

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (!strcmp(r->name, always[i]))
			return true;
	/* Words about one file begin with its path. */
	return (!strcmp(r->name, "EPERM") || !strcmp(r->name, "EOPNOTSUPP")) &&
	       r->text[0] != '"';
}

static void
take_answer(struct import *im)
{
	unsigned long number = im->of[im->answered % WINDOW];
	struct gw_reply r;
	int err = gw_client_recv(&im->ctl->client, &r);

	im->answered++;
	if (err) {
		im->status = client_failed(im->ctl, err);
		gw_client_fini(&im->ctl->client);
		return;
	}
	if (!r.refused) {
		im->done++;
	} else {
		im->refused++;
		fprintf(stderr, "gatewayctl: line %lu: %s\n", number,
			*r.text ? r.text : r.name);
		if (im->status == DONE && is_fatal(&r))
			im->status = strcmp(r.name, "EPERM") ? FAILED :
							       NO_PERMISSION;
	}
	gw_reply_fini(&r);
}

static void
send_line(struct import *im, const char *line)
{
	int err;

	if (im->sent - im->answered == WINDOW)
		take_answer(im);
	if (im->status != DONE)
		return;
	err = gw_client_send(&im->ctl->client, "write", im->path, line);
	if (err) {
		im->status = client_failed(im->ctl, err);
		gw_client_fini(&im->ctl->client);
		return;
	}
	im->of[im->sent++ % WINDOW] = im->number;
}

static void
import_line(struct import *im, char *line, size_t len)
{
	im->number++;
	while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (strlen(line) != len || strchr(line, '\r')) {
		fprintf(stderr, "gatewayctl: line %lu: it is not text\n",
			im->number);
		im->refused++;
		return;
	}
	line += strspn(line, " \t");
	if (*line && *line != '#')
		send_line(im, line);
}

static int
state_import(struct ctl *ctl, const char *name, const char *file)
{
	struct import im = { .ctl = ctl };
	struct gw_reply r;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	(void)file;
	/* Connects, and a share that is not there is named once. */
	im.status = read_file(ctl, name, "status", &r);
	if (im.status != DONE)
		return im.status;
	gw_reply_fini(&r);
	snprintf(im.path, sizeof(im.path), "shares/%s/state", name);
	while (im.status == DONE && (n = getline(&line, &size, stdin)) > 0)
		import_line(&im, line, (size_t)n);
	free(line);
	if (ferror(stdin)) {
		fprintf(stderr, "gatewayctl: standard input: %s\n",
			strerror(errno));
		im.status = FAILED;
	}
	while (im.answered < im.sent && ctl->client.fd >= 0)
		take_answer(&im);
	printf("%lu lines recorded, %lu refused\n", im.done, im.refused);
	if (im.status == DONE && im.refused)
		return FAILED;
	return im.status;
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
