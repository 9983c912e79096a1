/* SPDX-License-Identifier: MIT */
/*
 * The file `metrics`: OpenMetrics 1.0 text.  All samples of a family stand
 * together, so every family goes over all shares.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/tree.h"
#include "gatewayd/view.h"

#define ULL unsigned long long
#define LE_FIRST 10	/* histogram bounds: 2^10 ns (a microsecond), */
#define LE_LAST 33	/* ... 2^33 ns (8.6 s) */

struct metrics {
	struct evbuffer *out;
	struct share_view *share;
	size_t nshares;
};

static void
family(struct metrics *m, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(m->out, "# TYPE %s %s\n# HELP %s %s\n", name, type,
			    name, help);
}

/* A label's value, escaped. */
static void
add_label(struct metrics *m, const char *name, const char *value)
{
	evbuffer_add_printf(m->out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			evbuffer_add(m->out, "\\", 1);
		if (*value == '\n')
			evbuffer_add(m->out, "\\n", 2);
		else
			evbuffer_add(m->out, value, 1);
	}
	evbuffer_add(m->out, "\"", 1);
}

/* "NAME_SUFFIX{tag="...",op="..."", without the closing brace. */
static void
begin(struct metrics *m, const char *name, const char *suffix,
      const struct share_view *v, uint32_t op)
{
	char buf[24];

	evbuffer_add_printf(m->out, "%s%s{", name, suffix);
	add_label(m, "tag", v->share->conf->tag);
	if (op == FS_OPCODES)
		return;
	evbuffer_add(m->out, ",", 1);
	add_label(m, "op", op_name(op, buf, sizeof(buf)));
}

static void
end(struct metrics *m, uint64_t value)
{
	evbuffer_add_printf(m->out, "} %llu\n", (ULL)value);
}

static const char *
suffix_of(enum value_kind kind)
{
	return kind == VALUE_COUNTER ? "_total" : "";
}

static const char *
type_of(enum value_kind kind)
{
	return kind == VALUE_COUNTER ? "counter" : "gauge";
}

static void
add_gateway(struct metrics *m, struct gw *gw)
{
	struct gw_view v;

	gw_view_init(&v, gw);
	family(m, "gatewayd_build", "info", "The version of the daemon.");
	evbuffer_add_printf(m->out, "gatewayd_build_info{version=\"%s\"} 1\n",
			    GW_VERSION);
	for (const struct gw_value *r = gw_values; r->name; r++) {
		if (!r->metric)
			continue;
		family(m, r->metric, type_of(r->kind), r->help);
		evbuffer_add_printf(m->out, "%s%s %llu\n", r->metric,
				    suffix_of(r->kind), (ULL)r->get(&v));
	}
}

/* What is told for each opcode is not told for the share, too. */
static bool
is_by_opcode(const struct share_value *r)
{
	return !strcmp(r->name, "requests") || !strcmp(r->name, "errors");
}

/* Times are seconds in OpenMetrics, and say so in their names. */
static bool
is_time(const struct share_value *r, char *name, size_t size)
{
	size_t n = strlen(r->metric);

	if (n < 3 || strcmp(r->metric + n - 3, "_us"))
		return false;
	snprintf(name, size, "%.*s_seconds", (int)n - 3, r->metric);
	return true;
}

static void
add_times(struct metrics *m, const struct share_value *r, const char *name)
{
	family(m, name, type_of(r->kind), r->help);
	for (size_t i = 0; i < m->nshares; i++) {
		begin(m, name, suffix_of(r->kind), &m->share[i], FS_OPCODES);
		evbuffer_add_printf(m->out, "} %.6f\n",
				    (double)r->get(&m->share[i]) / 1e6);
	}
}

static void
add_shares(struct metrics *m)
{
	char name[80];

	for (const struct share_value *r = share_values; r->name; r++) {
		if (!r->metric || is_by_opcode(r))
			continue;
		if (is_time(r, name, sizeof(name))) {
			add_times(m, r, name);
			continue;
		}
		family(m, r->metric, type_of(r->kind), r->help);
		for (size_t i = 0; i < m->nshares; i++) {
			begin(m, r->metric, suffix_of(r->kind), &m->share[i],
			      FS_OPCODES);
			end(m, r->get(&m->share[i]));
		}
	}
}

/* ---- by opcode ---- */

#define FOR_EACH_OP(m, v, i, op)                                             \
	for (struct share_view *v = (m)->share;                              \
	     v < (m)->share + (m)->nshares; v++)                             \
		for (uint32_t i = 0; i < FS_OPCODES; i++)                    \
			if ((op = v->ops.op[i]))

static void
add_op_counts(struct metrics *m)
{
	const struct op_stats *op;

	family(m, "gatewayd_requests", "counter", "Requests of guests.");
	FOR_EACH_OP(m, v, i, op) {
		begin(m, "gatewayd_requests", "_total", v, i);
		end(m, op->count);
	}
	family(m, "gatewayd_request_errors", "counter",
	       "Requests answered with an error.");
	FOR_EACH_OP(m, v, i, op)
		for (unsigned k = 0; k < OP_ERRNOS; k++) {
			if (!op->errors[k])
				continue;
			begin(m, "gatewayd_request_errors", "_total", v, i);
			evbuffer_add(m->out, ",", 1);
			add_label(m, "errno", op_error_name(op, k));
			end(m, op->errors[k]);
		}
}

static void
add_op_bytes(struct metrics *m)
{
	const struct op_stats *op;

	family(m, "gatewayd_request_bytes", "counter",
	       "Bytes of requests, headers included.");
	FOR_EACH_OP(m, v, i, op) {
		begin(m, "gatewayd_request_bytes", "_total", v, i);
		end(m, op->bytes_in);
	}
	family(m, "gatewayd_reply_bytes", "counter",
	       "Bytes of replies, headers included.");
	FOR_EACH_OP(m, v, i, op) {
		begin(m, "gatewayd_reply_bytes", "_total", v, i);
		end(m, op->bytes_out);
	}
}

static void
add_histogram(struct metrics *m, const struct share_view *v, uint32_t i,
	      const struct op_stats *op)
{
	static const char name[] = "gatewayd_request_duration_seconds";
	uint64_t all = hist_count(&op->hist);
	char le[24];

	for (int k = LE_FIRST; k <= LE_LAST; k++) {
		snprintf(le, sizeof(le), "%.9f", (double)(1ULL << k) / 1e9);
		begin(m, name, "_bucket", v, i);
		evbuffer_add(m->out, ",", 1);
		add_label(m, "le", le);
		end(m, hist_below(&op->hist, 1ULL << k));
	}
	begin(m, name, "_bucket", v, i);
	evbuffer_add_printf(m->out, ",le=\"+Inf\"");
	end(m, all);
	begin(m, name, "_count", v, i);
	end(m, all);
	begin(m, name, "_sum", v, i);
	evbuffer_add_printf(m->out, "} %.9f\n", (double)op->ns / 1e9);
}

static void
add_ops(struct metrics *m)
{
	const struct op_stats *op;

	add_op_counts(m);
	add_op_bytes(m);
	family(m, "gatewayd_request_duration_seconds", "histogram",
	       "From the moment a request is taken off its ring until it is "
	       "answered.");
	FOR_EACH_OP(m, v, i, op)
		add_histogram(m, v, i, op);
}

/* ---- guests ---- */

static void
add_client(struct metrics *m, struct session *s)
{
	char text[32], vm[sizeof(s->vm)];
	struct fs_info fs;

	fs_session_info(s->fs, &fs);
	pthread_mutex_lock(&s->lock);
	memcpy(vm, s->vm, sizeof(vm));
	pthread_mutex_unlock(&s->lock);
	evbuffer_add_printf(m->out, "gatewayd_client_info{");
	add_label(m, "tag", s->share->conf->tag);
	snprintf(text, sizeof(text), "%llu", (ULL)s->id);
	evbuffer_add(m->out, ",", 1);
	add_label(m, "session", text);
	evbuffer_add(m->out, ",", 1);
	add_label(m, "vm", vm);
	snprintf(text, sizeof(text), "%d", (int)s->peer.pid);
	evbuffer_add(m->out, ",", 1);
	add_label(m, "pid", text);
	snprintf(text, sizeof(text), "7.%u", fs.minor);
	evbuffer_add(m->out, ",", 1);
	add_label(m, "fuse", text);
	evbuffer_add_printf(m->out, "} 1\n");
}

static void
add_clients(struct metrics *m, struct gw *gw)
{
	struct share *share;
	struct session *s;

	family(m, "gatewayd_client", "info", "A guest that is connected.");
	TAILQ_FOREACH(share, &gw->shares, link)
		TAILQ_FOREACH(s, &share->sessions, link)
			add_client(m, s);
}

static int
look_at_shares(struct metrics *m, struct gw *gw)
{
	struct share *share = NULL;
	size_t n = 0;
	int err = 0;

	while ((share = view_next_share(gw, share)))
		n++;
	m->share = calloc(n ? n : 1, sizeof(*m->share));
	if (!m->share)
		return -ENOMEM;
	while (!err && (share = view_next_share(gw, share))) {
		err = share_view_init(&m->share[m->nshares], share);
		m->nshares += !err;
	}
	return err;
}

int
metrics_gateway(struct gw *gw, struct evbuffer *out)
{
	struct metrics m = { .out = out };
	int err = look_at_shares(&m, gw);

	if (!err) {
		add_gateway(&m, gw);
		add_shares(&m);
		add_ops(&m);
		add_clients(&m, gw);
		evbuffer_add_printf(out, "# EOF\n");
	}
	for (size_t i = 0; i < m.nshares; i++)
		share_view_fini(&m.share[i]);
	free(m.share);
	return err;
}
