/* SPDX-License-Identifier: MIT */
/* What is counted and measured: see view.h.  A new value is one line here. */
#include "gatewayd/view.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- a share's ---- */

/* clang-format off */
#define SHARE_VALUES(X) \
	X(sessions,         GAUGE,   "gatewayd_clients",          share_sessions(v->share),      "Guests that are connected.") \
	X(sessions_total,   COUNTER, "gatewayd_sessions",         v->share->tag->sessions_total, "Guests that ever connected.") \
	X(sessions_refused, COUNTER, "gatewayd_sessions_refused", v->share->tag->refused,        "Front ends turned away.") \
	X(nodes,            GAUGE,   "gatewayd_inodes",           v->info.nodes,                 "Files and directories that guests know.") \
	X(nodes_remembered, GAUGE,   "gatewayd_inodes_remembered", v->info.remembered,           "Those that guests have forgotten and may ask for again.") \
	X(handles,          GAUGE,   "gatewayd_open_handles",     v->info.handles,               "Files and directories that guests have open.") \
	X(handles_limit,    GAUGE,   "gatewayd_open_handles_limit", v->info.max_handles,         "Most that they may have open.") \
	X(node_fds,         GAUGE,   "gatewayd_fds",              v->info.node_fds,              "Descriptors kept open for nodes.") \
	X(node_fds_limit,   GAUGE,   "gatewayd_fds_limit",        v->info.max_node_fds,          "Most that may be kept open.") \
	X(casefold_directories, GAUGE, "gatewayd_casefold_directories", v->fold_info.directories, "Directories whose names are known.") \
	X(casefold_memory,  GAUGE,   "gatewayd_casefold_memory",  v->fold_info.memory,           "Bytes that they take.") \
	X(casefold_watching, GAUGE,  "gatewayd_casefold_watching", v->fold_info.watches,         "Directories that are watched.") \
	X(casefold_db_bytes, GAUGE,  "gatewayd_casefold_db_bytes", v->fold_info.db_bytes,        "Bytes of cache.db.") \
	X(state_rows,       GAUGE,   "gatewayd_state_rows",       v->state_info.rows,            "Files with something recorded in state.db.") \
	X(state_memory,     GAUGE,   "gatewayd_state_memory",     v->state_info.memory,          "Bytes that these take in memory.") \
	X(state_unsynced,   GAUGE,   "gatewayd_state_unsynced",   v->state_info.unsynced,        "Changes that a power loss would undo.") \
	X(inflight,         GAUGE,   "gatewayd_inflight_requests", v->ninflight,                 "Requests being served, or waiting for the worker pool.") \
	X(hung,             GAUGE,   "gatewayd_hung_requests",    v->nhung,                      "Requests under way for longer than hung_request.") \
	X(slow,             COUNTER, "gatewayd_slow_requests",    v->slow,                       "Requests that took longer than slow_request.") \
	X(throttle_waits,   COUNTER, "gatewayd_throttle_waits",   atomic_load(&v->share->tag->throttle.waits), "Times a queue waited because of iops_limit or bandwidth_limit.") \
	X(polls,            COUNTER, "gatewayd_polls",            v->polls,                      "Times a ring was looked at before its thread slept.") \
	X(poll_hits,        COUNTER, "gatewayd_poll_hits",        v->poll_hits,                  "Times that found a request.") \
	X(busy_us,          COUNTER, NULL,                        v->busy_ns / 1000,             "Time spent on requests, in microseconds.") \
	X(p50_us,           GAUGE,   NULL,                        op_stats_at(&v->recent, 0.5) / 1000,  "Time that half of the requests stay below, since clear.") \
	X(p99_us,           GAUGE,   NULL,                        op_stats_at(&v->recent, 0.99) / 1000, "Time that 99 of 100 requests stay below.") \
	X(max_us,           GAUGE,   NULL,                        v->recent.max_ns / 1000,       "Longest time of a request.")

/* clang-format on */

#define GET(name, kind, metric, expr, help)                                  \
	static uint64_t get_##name(const struct share_view *v)               \
	{                                                                    \
		return (uint64_t)(expr);                                     \
	}
SHARE_VALUES(GET)
#undef GET

#define GET(name, help)                                                      \
	static uint64_t get_##name(const struct share_view *v)               \
	{                                                                    \
		return v->counters.name;                                     \
	}
FS_STATS(GET)
#undef GET

#define GET(name, help)                                                      \
	static uint64_t get_fold_##name(const struct share_view *v)          \
	{                                                                    \
		return v->fold.name;                                         \
	}
CF_STATS(GET)
#undef GET

#define GET(name, help)                                                      \
	static uint64_t get_state_##name(const struct share_view *v)         \
	{                                                                    \
		return v->state.name;                                        \
	}
CF_STATE_STATS(GET)
#undef GET

const struct share_value share_values[] = {
#define ROW(name, help)                                                      \
	{ #name, VALUE_COUNTER, "gatewayd_" #name, help, get_##name },
	FS_STATS(ROW)
#undef ROW
#define ROW(name, help)                                                      \
	{ "casefold_" #name, VALUE_COUNTER, "gatewayd_casefold_" #name, help, \
	  get_fold_##name },
	CF_STATS(ROW)
#undef ROW
#define ROW(name, help)                                                      \
	{ "state_" #name, VALUE_COUNTER, "gatewayd_state_" #name, help,       \
	  get_state_##name },
	CF_STATE_STATS(ROW)
#undef ROW
#define ROW(name, kind, metric, expr, help)                                  \
	{ #name, VALUE_##kind, metric, help, get_##name },
	SHARE_VALUES(ROW)
#undef ROW
	{ NULL, 0, NULL, NULL, NULL },
};

static void
add_polls(struct qthread *t, void *ctx)
{
	struct share_view *v = ctx;

	v->polls += atomic_load(&t->polls);
	v->poll_hits += atomic_load(&t->poll_hits);
}

static void
count_hung(struct share_view *v)
{
	for (size_t i = 0; i < v->ninflight; i++)
		v->nhung += inflight_is_hung(v->share->gw, &v->inflight[i]);
}

bool
share_view_op(const struct share_view *v, uint32_t opcode, struct op_stats *op)
{
	const struct op_stats *all = v->ops.op[opcode];
	const struct op_stats *was = v->share->tag->cleared.op[opcode];

	if (!all)
		return false;
	*op = *all;
	if (was)
		hist_sub(&op->hist, &was->hist);
	return true;
}

int
share_view_init(struct share_view *v, struct share *share)
{
	struct tag *tag = share->tag;
	struct op_stats op;
	int err;

	memset(v, 0, sizeof(*v));
	v->share = share;
	err = inflight_list(share, &v->inflight, &v->ninflight);
	if (err)
		return err;
	count_hung(v);
	share_counters(share, &v->counters);
	fold_counters(tag, &v->fold);
	fold_info(share, &v->fold_info);
	owners_stats(share, &v->state);
	owners_info(share, &v->state_info);
	share_ops(share, &v->ops);
	if (share->fs)
		fs_share_info(share->fs, &v->info);
	pthread_mutex_lock(&tag->lock);
	v->polls = tag->past_polls;
	v->poll_hits = tag->past_poll_hits;
	pthread_mutex_unlock(&tag->lock);
	share_each_thread(share, add_polls, v);
	for (uint32_t i = 0; i < FS_OPCODES; i++) {
		if (!share_view_op(v, i, &op))
			continue;
		v->slow += op.slow;
		v->busy_ns += op.ns;
		hist_add(&v->recent.hist, &op.hist);
		if (op.max_ns > v->recent.max_ns)
			v->recent.max_ns = op.max_ns;
	}
	return 0;
}

void
share_view_fini(struct share_view *v)
{
	op_table_fini(&v->ops);
	free(v->inflight);
}

/* ---- the daemon's ---- */

/* clang-format off */
#define GW_VALUES(X) \
	X(uptime_seconds, GAUGE,   "gatewayd_uptime_seconds",   now_us() / 1000000 - (uint64_t)v->gw->started, "Since the start.") \
	X(shares,         GAUGE,   "gatewayd_shares",           v->nshares,               "Shares that are configured, or still have guests.") \
	X(sessions,       GAUGE,   NULL,                        v->nsessions,             "Guests that are connected.") \
	X(queue_threads,  GAUGE,   "gatewayd_queue_threads",    v->gw->nthreads,          "Threads that serve rings.") \
	X(polling,        GAUGE,   "gatewayd_polling_threads",  v->gw->pollers,           "Threads that poll just now.") \
	X(pool_threads,   GAUGE,   "gatewayd_pool_threads",     v->pool.threads,          "Threads of the worker pool.") \
	X(pool_idle,      GAUGE,   "gatewayd_pool_idle_threads", v->pool.idle,            "Those without work.") \
	X(pool_size,      GAUGE,   "gatewayd_pool_threads_limit", v->pool.size,           "Most threads of the worker pool.") \
	X(pool_waiting,   GAUGE,   "gatewayd_pool_waiting",     v->pool.waiting,          "Requests that wait for a thread of the pool.") \
	X(fds,            GAUGE,   "process_open_fds",          v->fds,                   "Descriptors that the daemon has open.") \
	X(fds_limit,      GAUGE,   "process_max_fds",           v->fds_limit,             "Most that it may have open.") \
	X(memory_maps,    GAUGE,   "gatewayd_memory_maps",      vh_maps(),                "Mappings of guest memory.") \
	X(memory_maps_limit, GAUGE, "gatewayd_memory_maps_limit", privs_maps_limit(),     "Most that there may be, of all guests together.") \
	X(reloads,        COUNTER, "gatewayd_config_reloads",   v->gw->reloads.good,      "Reloads of the configuration.") \
	X(reloads_failed, COUNTER, "gatewayd_config_reload_failures", v->gw->reloads.bad, "Reloads that changed nothing, because of a mistake.") \
	X(reload_good,    GAUGE,   "gatewayd_config_last_reload_successful", !v->gw->reloads.failed, "1 unless the last reload failed.") \
	X(reload_seconds, GAUGE,   "gatewayd_config_last_reload_success_timestamp_seconds", v->gw->reloads.when, "When the configuration in use was read.")
/* clang-format on */

#define GET(name, kind, metric, expr, help)                                  \
	static uint64_t gw_get_##name(const struct gw_view *v)               \
	{                                                                    \
		(void)v;                                                     \
		return (uint64_t)(expr);                                     \
	}
GW_VALUES(GET)
#undef GET

#define GET(name, help)                                                      \
	static uint64_t gw_get_##name(const struct gw_view *v)               \
	{                                                                    \
		return v->counters.name;                                     \
	}
FS_STATS(GET)
#undef GET

const struct gw_value gw_values[] = {
#define ROW(name, kind, metric, expr, help)                                  \
	{ #name, VALUE_##kind, metric, help, gw_get_##name },
	GW_VALUES(ROW)
#undef ROW
#define ROW(name, help) { #name, VALUE_COUNTER, NULL, help, gw_get_##name },
	FS_STATS(ROW)
#undef ROW
	{ NULL, 0, NULL, NULL, NULL },
};

struct share *
view_next_share(struct gw *gw, struct share *after)
{
	struct share *share = after ? TAILQ_NEXT(after, link) :
				      TAILQ_FIRST(&gw->shares);

	while (share && share != share_find(gw, share->conf->tag))
		share = TAILQ_NEXT(share, link);
	return share;
}

/* Linux 6.2 and newer tell it by stat; before, the names are counted. */
static uint64_t
count_fds(void)
{
	struct stat st;
	uint64_t n = 0;
	DIR *dir;

	if (!stat("/proc/self/fd", &st) && st.st_size > 0)
		return (uint64_t)st.st_size;
	dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n > 3 ? n - 3 : 0;	/* ".", "..", and this one */
}

void
gw_view_init(struct gw_view *v, struct gw *gw)
{
	struct share *share = NULL;
	struct fs_counters c;
	struct rlimit limit;

	memset(v, 0, sizeof(*v));
	v->gw = gw;
	while ((share = view_next_share(gw, share))) {
		share_counters(share, &c);
		fs_counters_add(&v->counters, &c);
		v->nshares++;
		v->nsessions += share_sessions(share);
	}
	pool_info(gw->pool, &v->pool);
	v->fds = count_fds();
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		v->fds_limit = limit.rlim_cur;
}
