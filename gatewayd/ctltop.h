/* SPDX-License-Identifier: MIT */
/* gatewayctl top: ctltop.c samples the daemon, ctltable.c prints. */
#ifndef GATEWAYD_CTLTOP_H
#define GATEWAYD_CTLTOP_H

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

/* A line of 80 columns for each row, the busiest first; `rows` at most. */
void top_print_shares(const struct top_sample *s, size_t rows);
void top_print_ops(const struct top_sample *s, size_t rows);

/* At most 5 characters: "48.2k"; "1.2ms". */
void top_number(double n, char *buf, size_t size);
void top_time(double us, char *buf, size_t size);

#endif
