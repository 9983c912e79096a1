/* SPDX-License-Identifier: MIT */
/*
 * What the files of gatewayctl share.  Verbs say what went wrong themselves
 * and return an exit status.
 */
#ifndef GATEWAYD_GATEWAYCTL_H
#define GATEWAYD_GATEWAYCTL_H

#include <stdbool.h>

#include "gatewayd/ctlclient.h"

enum {
	DONE = 0,
	FAILED = 1,
	USAGE = 2,
	NO_DAEMON = 3,
	NO_PERMISSION = 4,
};

struct ctl {
	char path[256];			/* of the control socket */
	struct gw_client client;	/* fd -1 until it is needed */
};

struct verb {
	const char *name;
	int min, max;			/* arguments; max -1 = any number */
	int (*run)(struct ctl *ctl, const struct verb *v, int argc,
		   char **argv);
	const char *args;
	const char *help;
};

/* ctlask.c.  One question; when DONE comes back, `r` is a reply that is no
 * refusal, to be freed with gw_reply_fini(). */
int ask(struct ctl *ctl, const char *verb, const char *path, const char *text,
	struct gw_reply *r);
int ask_and_print(struct ctl *ctl, const char *verb, const char *path,
		  const char *text);
/* The same into a file that is called `name`. */
int ask_and_write(struct ctl *ctl, const char *verb, const char *path,
		  const char *text, int fd, const char *name);
/* The file of a share, by its name in paths. */
int read_file(struct ctl *ctl, const char *share, const char *file,
	      struct gw_reply *r);
/* A tag's name in paths. */
int tag_name(const char *tag, char *name, size_t size);
/* The socket of a share, as its status file names it. */
int find_socket(struct ctl *ctl, const char *tag, char *path, size_t size);
/* Something is wrong with the connection: say it. */
int client_failed(const struct ctl *ctl, int err);
int verb_usage(const struct verb *v);
/* Columns that UTF-8 text takes, nearly: its characters. */
int text_width(const char *s);

/* Verbs with a file of their own; argv begins behind the verb. */
#define VERB(name) int verb_##name(struct ctl *ctl, const struct verb *v, \
				   int argc, char **argv)
VERB(status);		/* ctlstatus.c */
VERB(top);		/* ctltop.c */
VERB(libvirt_xml);	/* ctlguest.c */
VERB(qemu_args);
VERB(guest_cmds);
VERB(mount);		/* ctlmount.c */
VERB(state);		/* ctlstate.c */

/* ctlmount.c.  Were we started by mount(8), as mount.fuse.gatewayd? */
bool is_mount_helper(const char *argv0);
int run_mount_helper(struct ctl *ctl, int argc, char **argv);

#endif
