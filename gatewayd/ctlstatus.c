/* SPDX-License-Identifier: MIT */
/* gatewayctl status: the shares as a table of 80 columns. */
#include "config.h"

#include "gatewayd/gatewayctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

VERB(status)
{
	char tag[128], path[256];
	int status;

	(void)v;
	if (argc == 0)
		return print_shares(ctl);
	status = tag_name(argv[0], tag, sizeof(tag));
	if (status != DONE)
		return status;
	snprintf(path, sizeof(path), "shares/%s/status", tag);
	return ask_and_print(ctl, "read", path, NULL);
}
