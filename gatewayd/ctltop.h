/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl top: ctltop.c samples the daemon, ctltable.c prints, ctlkeys.c
 * knows keys and orders.
 */
#ifndef GATEWAYD_CTLTOP_H
#define GATEWAYD_CTLTOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is sampled of a share or an opcode.  The first TOP_RATES only grow. */
enum top_field {
	TOP_REQUESTS, TOP_ERRORS, TOP_IN, TOP_OUT, TOP_BUSY_US,
	TOP_P50_US, TOP_P99_US, TOP_MAX_US, TOP_GUESTS, TOP_INFLIGHT,
	TOP_HUNG, TOP_SLOW, TOP_FIELDS,
};
#define TOP_RATES (TOP_BUSY_US + 1)

struct top_row {
	char name[128];
	double v[TOP_FIELDS];
	double rate[TOP_RATES];		/* a second, since the last sample */
};

struct top_sample {
	double when;			/* seconds */
	char uptime[24];
	unsigned guests;
	double polls, poll_hits, hung, slow;
	struct top_row *row;
	size_t nrows;
};

/* What the person at the keyboard wants to see. */
struct top_view {
	char tag[128];			/* whose operations; "" = all shares */
	unsigned order;			/* in ctlkeys.c */
	bool reversed, paused, help;
};

enum top_action {
	TOP_NOTHING, TOP_DRAW,		/* the same numbers again */
	TOP_SAMPLE,			/* new ones, now */
	TOP_SWITCH,			/* of something else */
	TOP_QUIT,
};

/* A key; `s` is what is shown now. */
enum top_action top_key(struct top_view *v, const struct top_sample *s,
			char key);
void top_sort(const struct top_view *v, struct top_sample *s);
void top_print_keys(void);
/* "sorted by REQ/S" */
void top_print_view(const struct top_view *v);

/* The average time of a request, in microseconds. */
double top_average(const struct top_row *r);

/* A line of 80 columns for each row; `rows` at most. */
void top_print_shares(const struct top_sample *s, size_t rows);
void top_print_ops(const struct top_sample *s, size_t rows);

/* At most 5 characters: "48.2k"; "1.2ms". */
void top_number(double n, char *buf, size_t size);
void top_time(double us, char *buf, size_t size);

#endif
