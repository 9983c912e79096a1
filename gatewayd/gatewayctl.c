/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl: read and steer a running gatewayd by the files of its control
 * tree, and mount a share on this host.
 *
 * Exit status: 0 done, 1 refused or failed, 2 usage, 3 no daemon there,
 * 4 no permission.
 */
#include "config.h"

#include "gatewayd/gatewayctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static VERB(file);
static VERB(write);
static VERB(reload);
static VERB(word);
static VERB(clear);

/* clang-format off */
static const struct verb verbs[] = {
	{ "ls",          0,  1, verb_file,        "[PATH]",        "list the files of the control tree" },
	{ "read",        1,  1, verb_file,        "PATH",          "print a file" },
	{ "watch",       1,  1, verb_file,        "PATH",          "print the lines of a file as they come" },
	{ "write",       2, -1, verb_write,       "PATH TEXT...",  "write a line to a file" },
	{ "status",      0,  1, verb_status,      "[TAG]",         "show the shares, or all about one" },
	{ "top",         0, -1, verb_top,         "[TAG]",         "show what guests do; \"top -h\" tells more" },
	{ "reload",      0,  1, verb_reload,      "[--dry-run]",   "read the configuration again" },
	{ "enable",      1,  1, verb_word,        "TAG",           "listen, whatever the configuration says" },
	{ "disable",     1,  1, verb_word,        "TAG",           "do not listen any more; guests stay" },
	{ "drain",       1,  2, verb_word,        "TAG [TIME]",    "disable; drop guests that stay longer" },
	{ "drop",        1,  2, verb_word,        "TAG [SESSION]", "disconnect every guest, or one" },
	{ "clear",       0,  1, verb_clear,       "[TAG]",         "reset maxima and percentiles" },
	{ "libvirt-xml", 1, -1, verb_libvirt_xml, "TAG...",        "print what a libvirt domain needs" },
	{ "qemu-args",   1, -1, verb_qemu_args,   "[--mem SIZE] TAG...", "print options of QEMU" },
	{ "guest-cmds",  1, -1, verb_guest_cmds,  "[--windows] TAG...",  "print what to run in the guest" },
	{ "state",       2,  3, verb_state,       "WORD TAG [FILE]", "export, import, check, gc or backup of owners" },
	{ "mount",       1, -1, verb_mount,       "TAG DIR",       "mount a share here; \"mount -h\" tells more" },
};
/* clang-format on */

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void
usage(FILE *to)
{
	fprintf(to, "usage: gatewayctl [-s CONTROL_SOCKET] VERB...\n"
		    "       gatewayctl -h | -V\n\n");
	for (size_t i = 0; i < NVERBS; i++)
		fprintf(to, "  %-11s %-19s %s\n", verbs[i].name,
			verbs[i].args, verbs[i].help);
}

int
verb_usage(const struct verb *v)
{
	fprintf(stderr, "usage: gatewayctl %s %s\n", v->name, v->args);
	return USAGE;
}

/* ls, read and watch are verbs of the control socket, too. */
static VERB(file)
{
	return ask_and_print(ctl, v->name, argc ? argv[0] : "/", NULL);
}

static VERB(write)
{
	size_t len = 1;
	char *text;
	int status;

	(void)v;
	for (int i = 1; i < argc; i++)
		len += strlen(argv[i]) + 1;
	text = calloc(1, len);
	if (!text)
		return client_failed(ctl, -ENOMEM);
	for (int i = 1; i < argc; i++) {
		strcat(text, argv[i]);
		if (i + 1 < argc)
			strcat(text, " ");
	}
	status = ask_and_print(ctl, "write", argv[0], text);
	free(text);
	return status;
}

static VERB(reload)
{
	if (argc && strcmp(argv[0], "--dry-run"))
		return verb_usage(v);
	return ask_and_print(ctl, "write", "ctl",
			     argc ? "reload dry-run" : "reload");
}

/* A word of a share's ctl file, by the name of the verb. */
static VERB(word)
{
	char name[128], path[256], text[128];
	int status = tag_name(argv[0], name, sizeof(name));

	if (status != DONE)
		return status;
	snprintf(path, sizeof(path), "shares/%s/ctl", name);
	snprintf(text, sizeof(text), "%s%s%.64s", v->name,
		 argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
	return ask_and_print(ctl, "write", path, text);
}

static VERB(clear)
{
	return argc ? verb_word(ctl, v, argc, argv) :
		      ask_and_print(ctl, "write", "ctl", "clear");
}

static int
run_verb(struct ctl *ctl, int argc, char **argv)
{
	for (size_t i = 0; i < NVERBS; i++) {
		const struct verb *v = &verbs[i];

		if (strcmp(v->name, argv[0]))
			continue;
		argc--;
		if (argc < v->min || (v->max >= 0 && argc > v->max))
			return verb_usage(v);
		return v->run(ctl, v, argc, argv + 1);
	}
	fprintf(stderr, "gatewayctl: no verb \"%s\"\n", argv[0]);
	usage(stderr);
	return USAGE;
}

/* The control socket's path, or the usual one. */
static int
set_path(struct ctl *ctl, const char *path)
{
	int err = 0;

	if (!path)
		err = gw_client_path(ctl->path, sizeof(ctl->path));
	else if (strlen(path) < sizeof(ctl->path))
		strcpy(ctl->path, path);
	else
		err = -ENAMETOOLONG;
	if (err)
		fprintf(stderr, "gatewayctl: the socket's path is too long\n");
	return err ? USAGE : DONE;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .client.fd = -1 };
	const char *path = NULL;
	int ch, status;

	if (is_mount_helper(argv[0])) {
		status = set_path(&ctl, NULL);
		return status ? status : run_mount_helper(&ctl, argc, argv);
	}
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};

	while ((ch = getopt_long(argc, argv, "+s:Vh", longs, NULL)) >= 0) {
		switch (ch) {
		case 's':
			path = optarg;
			break;
		case 'V':
			printf("gatewayctl %s\n", PACKAGE_VERSION);
			return DONE;
		case 'h':
			usage(stdout);
			return DONE;
		default:
			usage(stderr);
			return USAGE;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return USAGE;
	}
	status = set_path(&ctl, path);
	if (status)
		return status;
	status = run_verb(&ctl, argc - optind, argv + optind);
	gw_client_fini(&ctl.client);
	return status;
}
