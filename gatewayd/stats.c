/* SPDX-License-Identifier: MIT */
/*
 * Counters as text and as JSON.  Text is "name value" lines; counters only
 * grow and keep their names.  In JSON the names are the same.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gatewayd/json.h"
#include "gatewayd/tree.h"
#include "gatewayd/view.h"

#define ULL unsigned long long

static void
add(struct evbuffer *out, const char *name, uint64_t value)
{
	evbuffer_add_printf(out, "%s %llu\n", name, (ULL)value);
}

int
stats_share(struct share *share, struct evbuffer *out)
{
	struct share_view v;
	int err = share_view_init(&v, share);

	if (err)
		return err;
	for (const struct share_value *r = share_values; r->name; r++)
		add(out, r->name, r->get(&v));
	share_view_fini(&v);
	return 0;
}

void
stats_gateway(struct gw *gw, struct evbuffer *out)
{
	struct gw_view v;

	gw_view_init(&v, gw);
	for (const struct gw_value *r = gw_values; r->name; r++)
		add(out, r->name, r->get(&v));
}

/* ---- by opcode ---- */

static void
add_op(struct evbuffer *out, const char *name, const struct op_stats *op)
{
	evbuffer_add_printf(out, "%s count=%llu errors=%llu slow=%llu in=%llu "
			    "out=%llu busy_us=%llu p50_us=%.1f p99_us=%.1f "
			    "max_us=%.1f", name, (ULL)op->count,
			    (ULL)op_stats_errors(op), (ULL)op->slow,
			    (ULL)op->bytes_in, (ULL)op->bytes_out,
			    (ULL)op->ns / 1000,
			    (double)op_stats_at(op, 0.5) / 1e3,
			    (double)op_stats_at(op, 0.99) / 1e3,
			    (double)op->max_ns / 1e3);
	for (unsigned i = 0; i < OP_ERRNOS; i++)
		if (op->errors[i])
			evbuffer_add_printf(out, " %s=%llu",
					    op_error_name(op, i),
					    (ULL)op->errors[i]);
	evbuffer_add(out, "\n", 1);
}

int
stats_ops(struct share *share, struct evbuffer *out)
{
	struct share_view v;
	struct op_stats op;
	char buf[24];
	int err = share_view_init(&v, share);

	if (err)
		return err;
	for (uint32_t i = 0; i < FS_OPCODES; i++)
		if (share_view_op(&v, i, &op))
			add_op(out, op_name(i, buf, sizeof(buf)), &op);
	share_view_fini(&v);
	return 0;
}

/* ---- JSON ---- */

static void
json_op(struct json *j, const char *name, const struct op_stats *op)
{
	json_open(j, name, '{');
	json_uint(j, "count", op->count);
	json_uint(j, "slow", op->slow);
	json_uint(j, "bytes_in", op->bytes_in);
	json_uint(j, "bytes_out", op->bytes_out);
	json_uint(j, "busy_ns", op->ns);
	json_uint(j, "p50_ns", op_stats_at(op, 0.5));
	json_uint(j, "p99_ns", op_stats_at(op, 0.99));
	json_uint(j, "max_ns", op->max_ns);
	json_open(j, "errors", '{');
	for (unsigned i = 0; i < OP_ERRNOS; i++)
		if (op->errors[i])
			json_uint(j, op_error_name(op, i), op->errors[i]);
	json_close(j, '}');
	json_close(j, '}');
}

static int
json_share(struct json *j, const char *key, struct share *share)
{
	struct share_view v;
	struct op_stats op;
	char buf[24];
	int err = share_view_init(&v, share);

	if (err)
		return err;
	json_open(j, key, '{');
	json_str(j, "tag", share->conf->tag);
	json_str(j, "state", share_state(share));
	json_str(j, "path", share->conf->path);
	json_str(j, "socket", share->sock.path ? share->sock.path :
		 share->conf->socket);
	json_bool(j, "trace", atomic_load(&share->tag->tracing));
	for (const struct share_value *r = share_values; r->name; r++)
		json_uint(j, r->name, r->get(&v));
	json_open(j, "ops", '{');
	for (uint32_t i = 0; i < FS_OPCODES; i++)
		if (share_view_op(&v, i, &op))
			json_op(j, op_name(i, buf, sizeof(buf)), &op);
	json_close(j, '}');
	clients_json(share, j);
	json_close(j, '}');
	share_view_fini(&v);
	return 0;
}

int
stats_share_json(struct share *share, struct evbuffer *out)
{
	struct json j = { .out = out, .first = true };
	int err = json_share(&j, NULL, share);

	evbuffer_add(out, "\n", 1);
	return err;
}

int
stats_json(struct gw *gw, struct evbuffer *out)
{
	struct json j = { .out = out, .first = true };
	struct share *share = NULL;
	struct gw_view v;
	int err = 0;

	gw_view_init(&v, gw);
	json_open(&j, NULL, '{');
	json_str(&j, "version", GW_VERSION);
	for (const struct gw_value *r = gw_values; r->name; r++)
		json_uint(&j, r->name, r->get(&v));
	json_open(&j, "share", '{');
	while (!err && (share = view_next_share(gw, share)))
		err = json_share(&j, share->conf->tag, share);
	json_close(&j, '}');
	json_close(&j, '}');
	evbuffer_add(out, "\n", 1);
	return err;
}
