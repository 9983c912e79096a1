/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl mount: its arguments, and those of a helper of mount(8); mount.c
 * does it.
 */
#include "config.h"

#include "gatewayd/gatewayctl.h"
#include "gatewayd/mount.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char mount_usage[] =
	"usage: gatewayctl mount [-f] [-o OPTIONS] [--queues N] TAG DIR\n"
	"       gatewayctl mount [...] --socket PATH DIR\n"
	"\n"
	"  -f            stay in the foreground; a signal unmounts\n"
	"  -o OPTIONS    as mount(8)'s: ro, nosuid, noexec; suid, dev, ...\n"
	"  --queues N    use up to N request queues, each with a thread\n"
	"  --socket PATH any vhost-user-fs socket, instead of a tag\n"
	"\n"
	"\"umount DIR\" ends it.\n";

enum { OPT_SOCKET = 256, OPT_QUEUES };

static const struct option mount_options[] = {
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "queues", required_argument, NULL, OPT_QUEUES },
	{ "foreground", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int
parse_queues(const char *text, unsigned *n)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v < 1 || v > GW_MOUNT_QUEUES_MAX) {
		fprintf(stderr, "gatewayctl: --queues: %s is not a number "
				"from 1 to %d\n", text, GW_MOUNT_QUEUES_MAX);
		return USAGE;
	}
	*n = (unsigned)v;
	return DONE;
}

/* DONE with *help set when only the usage was asked for. */
static int
parse_mount(int argc, char **argv, struct gw_mount_settings *set, bool *help)
{
	int ch;

	optind = 0;	/* a second scan, glibc's way to begin anew */
	while ((ch = getopt_long(argc, argv, "+fo:h", mount_options,
				 NULL)) >= 0) {
		switch (ch) {
		case 'f':
			set->foreground = true;
			break;
		case 'o':
			set->options = optarg;
			break;
		case OPT_SOCKET:
			set->socket = optarg;
			break;
		case OPT_QUEUES:
			if (parse_queues(optarg, &set->nqueues) != DONE)
				return USAGE;
			break;
		case 'h':
			*help = true;
			return DONE;
		default:
			return USAGE;
		}
	}
	if (argc - optind != (set->socket ? 1 : 2)) {
		fputs(mount_usage, stderr);
		return USAGE;
	}
	set->dir = argv[argc - 1];
	set->name = set->socket ? set->socket : argv[optind];
	return DONE;
}

/* Look for the share's socket, if it is not known, and mount it. */
static int
do_mount(struct ctl *ctl, struct gw_mount_settings *set)
{
	char path[4096];
	int err;

	if (!set->socket) {
		err = find_socket(ctl, set->name, path, sizeof(path));
		if (err)
			return err;
		set->socket = path;
	}
	gw_client_fini(&ctl->client);
	err = gw_mount(set);
	if (err == -EACCES || err == -EPERM)
		return NO_PERMISSION;
	return err ? FAILED : DONE;
}

VERB(mount)
{
	struct gw_mount_settings set = { .nqueues = 1 };
	bool help = false;
	int err;

	(void)v;
	/* argv[-1] is the verb: getopt begins behind the program's name. */
	err = parse_mount(argc + 1, argv - 1, &set, &help);
	if (err)
		return err;
	if (help) {
		fputs(mount_usage, stdout);
		return DONE;
	}
	return do_mount(ctl, &set);
}

/* ------------------------------------------------------------------ */
/* mount.fuse.gatewayd TAG|SOCKET DIR [-sfnv] [-o OPTIONS] [-t TYPE], with the
 * exit status that mount(8) expects of its helpers. */

enum { HELPER_USAGE = 1, HELPER_FAILED = 32 };

bool
is_mount_helper(const char *argv0)
{
	const char *base = argv0 ? strrchr(argv0, '/') : NULL;

	base = base ? base + 1 : argv0;
	return base && !strncmp(base, "mount.", 6);
}

int
run_mount_helper(struct ctl *ctl, int argc, char **argv)
{
	struct gw_mount_settings set = { .nqueues = 1 };
	bool fake = false;
	int ch;

	while ((ch = getopt(argc, argv, "sfnvo:t:")) >= 0) {
		if (ch == '?')
			return HELPER_USAGE;
		if (ch == 'o')
			set.options = optarg;
		if (ch == 'f')
			fake = true;
	}
	if (argc - optind != 2) {
		fprintf(stderr, "usage: %s TAG|SOCKET DIR [-o OPTIONS]\n",
			argv[0]);
		return HELPER_USAGE;
	}
	set.name = argv[optind];
	set.dir = argv[optind + 1];
	if (set.name[0] == '/')
		set.socket = set.name;
	if (fake)
		return DONE;
	return do_mount(ctl, &set) == DONE ? DONE : HELPER_FAILED;
}
