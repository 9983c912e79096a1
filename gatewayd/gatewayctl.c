/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl: read and steer a running gatewayd by the files of its control
 * tree, and mount a share on this host.
 *
 * Exit status: 0 done, 1 refused or failed, 2 usage, 3 no daemon there,
 * 4 no permission.
 */
#include "config.h"

#include "gatewayd/ctlclient.h"
#include "gatewayd/mount.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	int (*run)(struct ctl *ctl, int argc, char **argv);
	const char *args;
	const char *help;
};

static int verb_ls(struct ctl *ctl, int argc, char **argv);
static int verb_read(struct ctl *ctl, int argc, char **argv);
static int verb_write(struct ctl *ctl, int argc, char **argv);
static int verb_watch(struct ctl *ctl, int argc, char **argv);
static int verb_status(struct ctl *ctl, int argc, char **argv);
static int verb_mount(struct ctl *ctl, int argc, char **argv);

/* clang-format off */
static const struct verb verbs[] = {
	{ "ls",     0,  1, verb_ls,     "[PATH]",       "list the files of the control tree" },
	{ "read",   1,  1, verb_read,   "PATH",         "print a file" },
	{ "write",  2, -1, verb_write,  "PATH TEXT...", "write a line to a file" },
	{ "watch",  1,  1, verb_watch,  "PATH",         "print the lines of a file as they come" },
	{ "status", 0,  1, verb_status, "[TAG]",        "show the shares, or all about one" },
	{ "mount",  1, -1, verb_mount,  "TAG DIR",      "mount a share here; \"mount -h\" tells more" },
};
/* clang-format on */

#define NVERBS (sizeof(verbs) / sizeof(verbs[0]))

static void
usage(FILE *to)
{
	fprintf(to, "usage: gatewayctl [-s CONTROL_SOCKET] VERB...\n"
		    "       gatewayctl -h | -V\n\n");
	for (size_t i = 0; i < NVERBS; i++)
		fprintf(to, "  %-7s %-14s %s\n", verbs[i].name, verbs[i].args,
			verbs[i].help);
}

static int
verb_usage(const struct verb *v)
{
	fprintf(stderr, "usage: gatewayctl %s %s\n", v->name, v->args);
	return USAGE;
}

/* ------------------------------------------------------------------ */
/* Asking the daemon. */

/* Say what went wrong with the socket; the exit status. */
static int
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

/* Print the daemon's own words; the exit status. */
static int
reply_refused(const struct gw_reply *r)
{
	fprintf(stderr, "gatewayctl: %s\n", *r->text ? r->text : r->name);
	if (!strcmp(r->name, "EPERM") || !strcmp(r->name, "EACCES"))
		return NO_PERMISSION;
	return FAILED;
}

/* One question; when DONE comes back, `r` is a reply that is no refusal. */
static int
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

static int
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

static int
verb_ls(struct ctl *ctl, int argc, char **argv)
{
	return ask_and_print(ctl, "ls", argc ? argv[0] : "/", NULL);
}

static int
verb_read(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	return ask_and_print(ctl, "read", argv[0], NULL);
}

static int
verb_watch(struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	return ask_and_print(ctl, "watch", argv[0], NULL);
}

static int
verb_write(struct ctl *ctl, int argc, char **argv)
{
	size_t len = 1;
	char *text;
	int status;

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

/* ------------------------------------------------------------------ */
/* status: the shares as a table of 80 columns. */

struct column {
	const char *title, *field;
	int width;		/* < 0: to the left; 0: what is left of 80 */
};

static const struct column columns[] = {
	{ "TAG", "tag", -16 },	     { "STATE", "state", -10 },
	{ "SESSIONS", "sessions", 8 }, { "REQUESTS", "requests", 12 },
	{ "PATH", "path", 0 },
};

#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))
#define LINE_WIDTH 80

/* Columns that UTF-8 text takes, nearly: its characters. */
static int
text_width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* Print a cell that begins at `used`; returns where the next one begins.  The
 * last cell loses its beginning on a terminal that it does not fit. */
static int
print_cell(const struct column *col, const char *text, int used)
{
	int wide = text_width(text);
	int pad = abs(col->width) - wide;

	pad = pad > 0 ? pad : 0;
	if (col->width == 0 && wide > LINE_WIDTH - used && isatty(1)) {
		for (wide -= LINE_WIDTH - used - 3; wide > 0; text++)
			wide -= ((unsigned char)text[1] & 0xc0) != 0x80;
		printf("...%s\n", text);
	} else if (col->width == 0) {
		printf("%s\n", text);
	} else {
		printf("%*s%s%*s ", col->width > 0 ? pad : 0, "", text,
		       col->width < 0 ? pad : 0, "");
	}
	return used + wide + pad + 1;
}

static int
read_file(struct ctl *ctl, const char *share, const char *file,
	  struct gw_reply *r)
{
	char path[256];

	snprintf(path, sizeof(path), "shares/%s/%s", share, file);
	return ask(ctl, "read", path, NULL, r);
}

/* What status does not hold, stats may. */
static int
print_share(struct ctl *ctl, const char *share)
{
	struct gw_reply status, stats;
	int used = 0, err;

	err = read_file(ctl, share, "status", &status);
	if (err)
		return err;
	err = read_file(ctl, share, "stats", &stats);
	if (err)
		goto free_status;
	for (size_t i = 0; i < NCOLUMNS; i++) {
		const char *field = columns[i].field;
		char value[4200];

		if (!gw_client_field(status.text, field, value,
				     sizeof(value)) &&
		    !gw_client_field(stats.text, field, value, sizeof(value)))
			snprintf(value, sizeof(value), "%s", i ? "-" : share);
		used = print_cell(&columns[i], value, used);
	}
	gw_reply_fini(&stats);
free_status:
	gw_reply_fini(&status);
	return err;
}

static int
print_shares(struct ctl *ctl)
{
	struct gw_reply list;
	int used = 0;
	int status = ask(ctl, "ls", "shares", NULL, &list);

	if (status != DONE)
		return status;
	if (!list.text)
		return client_failed(ctl, -EPROTO);
	for (size_t i = 0; i < NCOLUMNS; i++)
		used = print_cell(&columns[i], columns[i].title, used);
	for (char *save, *name = strtok_r(list.text, " \n", &save); name;
	     name = strtok_r(NULL, " \n", &save)) {
		int err;

		name[strcspn(name, "/")] = '\0';
		err = print_share(ctl, name);
		status = status == DONE ? err : status;
		if (ctl->client.fd < 0)
			break;
	}
	gw_reply_fini(&list);
	return status;
}

static int
verb_status(struct ctl *ctl, int argc, char **argv)
{
	char tag[128], path[256];

	if (argc == 0)
		return print_shares(ctl);
	if (gw_client_tag(argv[0], tag, sizeof(tag))) {
		fprintf(stderr, "gatewayctl: no tag is that long\n");
		return FAILED;
	}
	snprintf(path, sizeof(path), "shares/%s/status", tag);
	return ask_and_print(ctl, "read", path, NULL);
}

/* ------------------------------------------------------------------ */
/* mount */

static const char mount_usage[] =
	"usage: gatewayctl mount [-f] [-o OPTIONS] [--queues N] TAG DIR\n"
	"       gatewayctl mount [...] --socket PATH DIR\n"
	"\n"
	"  -f            stay in the foreground; a signal unmounts\n"
	"  -o OPTIONS    ro, nosuid, nodev, noexec, noatime, and their opposites\n"
	"  --queues N    use up to N request queues, each with a thread\n"
	"  --socket PATH any vhost-user-fs socket instead of a share by its tag\n"
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

/* The socket of a share, as the daemon's status file names it. */
static int
find_socket(struct ctl *ctl, const char *tag, char *path, size_t size)
{
	struct gw_reply r;
	char name[128];
	int status;

	if (gw_client_tag(tag, name, sizeof(name))) {
		fprintf(stderr, "gatewayctl: no tag is that long\n");
		return FAILED;
	}
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

static int
verb_mount(struct ctl *ctl, int argc, char **argv)
{
	struct gw_mount_settings set = { .nqueues = 1 };
	char path[4096];
	bool help = false;
	int err;

	/* argv[-1] is the verb: getopt begins behind the program's name. */
	err = parse_mount(argc + 1, argv - 1, &set, &help);
	if (err)
		return err;
	if (help) {
		fputs(mount_usage, stdout);
		return DONE;
	}
	if (!set.socket) {
		err = find_socket(ctl, set.name, path, sizeof(path));
		if (err)
			return err;
		set.socket = path;
	}
	gw_client_fini(&ctl->client);
	err = gw_mount(&set);
	if (err == -EACCES || err == -EPERM)
		return NO_PERMISSION;
	return err ? FAILED : DONE;
}

/* ------------------------------------------------------------------ */

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
		return v->run(ctl, argc, argv + 1);
	}
	fprintf(stderr, "gatewayctl: no verb \"%s\"\n", argv[0]);
	usage(stderr);
	return USAGE;
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .client.fd = -1 };
	const char *path = NULL;
	int ch, status;

	while ((ch = getopt(argc, argv, "+s:Vh")) >= 0) {
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
	status = 0;
	if (!path)
		status = gw_client_path(ctl.path, sizeof(ctl.path));
	else if (strlen(path) < sizeof(ctl.path))
		strcpy(ctl.path, path);
	else
		status = -ENAMETOOLONG;
	if (status) {
		fprintf(stderr, "gatewayctl: the socket's path is too long\n");
		return USAGE;
	}
	status = run_verb(&ctl, argc - optind, argv + optind);
	gw_client_fini(&ctl.client);
	return status;
}
