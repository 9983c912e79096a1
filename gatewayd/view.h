/* SPDX-License-Identifier: MIT */
/*
 * Everything that is counted or measured, gathered for one reading and named
 * once: stats, stats.json and metrics all print these tables.
 */
#ifndef GATEWAYD_VIEW_H
#define GATEWAYD_VIEW_H

#include "gatewayd/gw.h"

struct share_view {
	struct share *share;
	struct fs_counters counters;
	struct fs_info info;
	struct cf_stats fold;
	struct cf_info fold_info;
	struct cf_state_stats state;
	struct cf_state_info state_info;
	struct op_table ops;		/* since the start */
	struct op_stats recent;		/* of all opcodes, since `clear` */
	struct inflight *inflight;
	size_t ninflight, nhung;
	uint64_t slow, busy_ns;
	uint64_t polls, poll_hits;
};

struct gw_view {
	struct gw *gw;
	struct fs_counters counters;
	struct pool_info pool;
	unsigned nshares, nsessions;
	uint64_t fds, fds_limit;
};

enum value_kind { VALUE_COUNTER, VALUE_GAUGE };

/* A value with a name; `metric` is NULL where OpenMetrics has it otherwise. */
struct share_value {
	const char *name;
	enum value_kind kind;
	const char *metric;
	const char *help;
	uint64_t (*get)(const struct share_view *v);
};
struct gw_value {
	const char *name;
	enum value_kind kind;
	const char *metric;
	const char *help;
	uint64_t (*get)(const struct gw_view *v);
};

extern const struct share_value share_values[];	/* end: name is NULL */
extern const struct gw_value gw_values[];

/* 0 or -ENOMEM. */
int share_view_init(struct share_view *v, struct share *share);
void share_view_fini(struct share_view *v);
void gw_view_init(struct gw_view *v, struct gw *gw);

/* One opcode since `clear`: its counters since the start, its histogram and
 * maximum since then.  False when it was never used. */
bool share_view_op(const struct share_view *v, uint32_t opcode,
		   struct op_stats *op);

/* Which shares are shown: one for each tag. */
struct share *view_next_share(struct gw *gw, struct share *after);

#endif
