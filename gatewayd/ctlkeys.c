/* SPDX-License-Identifier: MIT */
/* gatewayctl top: what keys do, and the orders that rows can have. */
#include "config.h"

#include "gatewayd/ctltop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- orders ---- */

#define ORDER(name, expr)                                                    \
	static double by_##name(const struct top_row *r)                     \
	{                                                                    \
		return expr;                                                 \
	}
ORDER(time, r->rate[TOP_BUSY_US])
ORDER(requests, r->rate[TOP_REQUESTS])
ORDER(errors, r->rate[TOP_ERRORS])
ORDER(in, r->rate[TOP_IN])
ORDER(out, r->rate[TOP_OUT])
ORDER(average, top_average(r))
ORDER(p99, r->v[TOP_P99_US])
ORDER(max, r->v[TOP_MAX_US])

/* The most first; the last one by name. */
static const struct order {
	const char *share, *op;		/* the column's name */
	double (*value)(const struct top_row *r);
} orders[] = {
	{ "time spent", "TIME", by_time },
	{ "REQ/S", "REQ/S", by_requests },
	{ "ERR/S", "ERR/S", by_errors },
	{ "READ/S", "OUT/S", by_out },
	{ "WRITE/S", "IN/S", by_in },
	{ "AVG", "AVG", by_average },
	{ "P99", "P99", by_p99 },
	{ "MAX", "MAX", by_max },
	{ "TAG", "OPERATION", NULL },
};
#define NORDERS (sizeof(orders) / sizeof(orders[0]))

static int
compare(const void *a, const void *b, void *arg)
{
	const struct top_row *x = a, *y = b;
	const struct top_view *v = arg;
	const struct order *o = &orders[v->order];
	double p = o->value ? o->value(x) : 0, q = o->value ? o->value(y) : 0;
	int n = p == q ? strcmp(x->name, y->name) : p < q ? 1 : -1;

	return v->reversed ? -n : n;
}

void
top_sort(const struct top_view *v, struct top_sample *s)
{
	if (s->nrows)
		qsort_r(s->row, s->nrows, sizeof(*s->row), compare, (void *)v);
}

void
top_print_view(const struct top_view *v)
{
	const struct order *o = &orders[v->order];

	printf("sorted by %s%s%s; h for help\n", v->tag[0] ? o->op : o->share,
	       v->reversed ? ", the other way round" : "",
	       v->paused ? "; paused" : "");
}

/* ---- keys ---- */

#define KEY(name)                                                            \
	static enum top_action key_##name(struct top_view *v,                \
					  const struct top_sample *s)

KEY(quit)
{
	(void)v, (void)s;
	return TOP_QUIT;
}

KEY(help)
{
	(void)s;
	v->help = !v->help;
	return TOP_DRAW;
}

KEY(refresh)
{
	(void)v, (void)s;
	return TOP_SAMPLE;
}

KEY(pause)
{
	(void)s;
	v->paused = !v->paused;
	return v->paused ? TOP_DRAW : TOP_SAMPLE;
}

KEY(reverse)
{
	(void)s;
	v->reversed = !v->reversed;
	return TOP_DRAW;
}

KEY(left)
{
	(void)s;
	v->order = (v->order + (unsigned)NORDERS - 1) % NORDERS;
	return TOP_DRAW;
}

KEY(right)
{
	(void)s;
	v->order = (v->order + 1) % NORDERS;
	return TOP_DRAW;
}

/* The first share's operations, and back. */
KEY(operations)
{
	if (!v->tag[0] && !s->nrows)
		return TOP_NOTHING;
	if (v->tag[0])
		v->tag[0] = '\0';
	else
		snprintf(v->tag, sizeof(v->tag), "%s", s->row[0].name);
	v->help = false;
	return TOP_SWITCH;
}

static const struct key {
	char key;
	const char *shown;
	enum top_action (*run)(struct top_view *v, const struct top_sample *s);
	const char *help;
} keys[] = {
	{ 'q', "q", key_quit, "end" },
	{ ' ', "space", key_refresh, "new numbers now" },
	{ 'p', "p", key_pause, "pause, and go on" },
	{ '<', "<", key_left, "sort by the column before" },
	{ '>', ">", key_right, "sort by the column after" },
	{ 'r', "r", key_reverse, "reverse the order" },
	{ 'o', "o", key_operations,
	  "operations of the first share of the table; the shares again" },
	{ 'h', "h", key_help, "show these keys" },
	{ '?', NULL, key_help, NULL },
	{ 'Q', NULL, key_quit, NULL },
};

void
top_print_keys(void)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].help)
			printf("  %-10s  %s\n", keys[i].shown, keys[i].help);
}

enum top_action
top_key(struct top_view *v, const struct top_sample *s, char key)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].key == key)
			return keys[i].run(v, s);
	return TOP_NOTHING;
}
