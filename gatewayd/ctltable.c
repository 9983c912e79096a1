/* SPDX-License-Identifier: MIT */
/* gatewayctl top: numbers that fit, and the two tables. */
#include "config.h"

#include "gatewayd/ctltop.h"
#include "gatewayd/gatewayctl.h"

#include <stdio.h>
#include <string.h>

/* Three digits, or four before the unit changes. */
static void
scaled(double n, double step, const char *const *unit, char *buf, size_t size)
{
	while (n >= 999.5 && unit[1]) {
		n /= step;
		unit++;
	}
	if (n >= 9.95 || n == (double)(unsigned long)n)
		snprintf(buf, size, "%.0f%s", n, *unit);
	else
		snprintf(buf, size, "%.1f%s", n, *unit);
}

void
top_number(double n, char *buf, size_t size)
{
	static const char *const units[] = { "", "k", "M", "G", "T", NULL };

	scaled(n, 1000, units, buf, size);
}

void
top_time(double us, char *buf, size_t size)
{
	static const char *const units[] = { "us", "ms", "s", NULL };

	scaled(us, 1000, units, buf, size);
}

double
top_average(const struct top_row *r)
{
	double n = r->rate[TOP_REQUESTS];

	return n > 0 ? r->rate[TOP_BUSY_US] / n : 0;
}

enum format { NUMBER, TIME, SHARE_OF_TIME };

static void
cell(int width, enum format format, double value)
{
	char buf[24];

	if (format == TIME)
		top_time(value, buf, sizeof(buf));
	else if (format == NUMBER)
		top_number(value, buf, sizeof(buf));
	else
		snprintf(buf, sizeof(buf), "%.0f%%", value);
	printf(" %*s", width, buf);
}

/* A name of any length in 16 columns. */
static void
name_cell(const char *name)
{
	char cut[128];
	size_t n = strlen(name);
	int pad;

	snprintf(cut, sizeof(cut), "%s", name);
	while (text_width(cut) > 16) {
		do
			n--;
		while (((unsigned char)cut[n] & 0xc0) == 0x80);
		cut[n] = '\0';
	}
	pad = 16 - text_width(cut);
	printf("%s%*s", cut, pad, "");
}

void
top_print_shares(const struct top_sample *s, size_t rows)
{
	printf("%-16s %6s %7s %6s %7s %7s %6s %6s %6s %4s\n", "TAG", "GUESTS",
	       "REQ/S", "ERR/S", "READ/S", "WRITE/S", "AVG", "P99", "MAX",
	       "INFL");
	for (size_t i = 0; i < s->nrows && i < rows; i++) {
		const struct top_row *r = &s->row[i];

		name_cell(r->name);
		cell(6, NUMBER, r->v[TOP_GUESTS]);
		cell(7, NUMBER, r->rate[TOP_REQUESTS]);
		cell(6, NUMBER, r->rate[TOP_ERRORS]);
		cell(7, NUMBER, r->rate[TOP_OUT]);
		cell(7, NUMBER, r->rate[TOP_IN]);
		cell(6, TIME, top_average(r));
		cell(6, TIME, r->v[TOP_P99_US]);
		cell(6, TIME, r->v[TOP_MAX_US]);
		cell(4, NUMBER, r->v[TOP_INFLIGHT]);
		printf("\n");
	}
}

void
top_print_ops(const struct top_sample *s, size_t rows)
{
	double busy = 0;

	for (size_t i = 0; i < s->nrows; i++)
		busy += s->row[i].rate[TOP_BUSY_US];
	printf("%-16s %7s %6s %7s %7s %6s %6s %6s %6s %4s\n", "OPERATION",
	       "REQ/S", "ERR/S", "IN/S", "OUT/S", "AVG", "P50", "P99", "MAX",
	       "TIME");
	for (size_t i = 0; i < s->nrows && i < rows; i++) {
		const struct top_row *r = &s->row[i];

		name_cell(r->name);
		cell(7, NUMBER, r->rate[TOP_REQUESTS]);
		cell(6, NUMBER, r->rate[TOP_ERRORS]);
		cell(7, NUMBER, r->rate[TOP_IN]);
		cell(7, NUMBER, r->rate[TOP_OUT]);
		cell(6, TIME, top_average(r));
		cell(6, TIME, r->v[TOP_P50_US]);
		cell(6, TIME, r->v[TOP_P99_US]);
		cell(6, TIME, r->v[TOP_MAX_US]);
		cell(4, SHARE_OF_TIME, busy > 0 ? 100 *
		     r->rate[TOP_BUSY_US] / busy : 0);
		printf("\n");
	}
}
