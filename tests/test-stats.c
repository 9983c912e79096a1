/* SPDX-License-Identifier: MIT */
/*
 * The pieces that statistics and traces are made of: histograms, counters by
 * opcode, rings of lines, JSON, the clock.
 */
#include "config.h"

#include "gatewayd/clock.h"
#include "gatewayd/json.h"
#include "gatewayd/lines.h"
#include "gatewayd/opstats.h"
#include "tests/tap.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>

/* ---- histograms ---- */

static void
test_buckets(void)
{
	uint64_t last = 0;
	bool good = true;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t from = hist_floor(i);

		good = good && (!i || from > last) && hist_bucket(from) == i;
		if (i + 1 < HIST_BUCKETS)
			good = good &&
			       hist_bucket(hist_floor(i + 1) - 1) == i;
		last = from;
	}
	ok(good, "every time has one bucket, in order");
	is_int(hist_bucket(0), 0, "nothing at all");
	is_int(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1, "and for ever");
}

static void
test_percentiles(void)
{
	struct hist h = { 0 };
	uint64_t p50, p99;

	is_int(hist_at(&h, 0.5), 0, "of nothing");
	for (unsigned i = 1; i <= 1000; i++)
		h.n[hist_bucket(i * 1000)]++;
	p50 = hist_at(&h, 0.5);
	p99 = hist_at(&h, 0.99);
	ok(p50 > 400000 && p50 < 600000, "p50 of 1 to 1000 us: %llu ns",
	   (unsigned long long)p50);
	ok(p99 > 900000 && p99 < 1060000, "p99: %llu ns",
	   (unsigned long long)p99);
	is_int(hist_count(&h), 1000, "how many");
	is_int(hist_below(&h, 1 << 19), 524, "below a power of two, exactly");
	is_int(hist_below(&h, 1ULL << 33), 1000, "below 8 s");
}

static void
test_clear(void)
{
	struct hist was = { 0 }, now;

	was.n[hist_bucket(1000000)] = 500;
	now = was;
	now.n[hist_bucket(2000)] = 10;
	hist_sub(&now, &was);
	is_int(hist_count(&now), 10, "what was there before is taken off");
	ok(hist_at(&now, 0.99) < 4000, "and the percentiles are of the rest");
	hist_sub(&was, &now);
	hist_sub(&now, &was);
	is_int(hist_count(&now), 10, "never below nothing");
}

/* ---- by opcode ---- */

static void
count(struct op_table *t, uint32_t opcode, int error, uint64_t ns)
{
	struct op_done d = {
		.opcode = opcode, .error = error, .bytes_in = 10,
		.bytes_out = 20, .ns = ns, .slow = ns > 1000000,
	};

	op_count(t, &d);
}

static void
test_ops(void)
{
	struct op_table t = { { NULL } }, sum = { { NULL } };
	const struct op_stats *s;
	char buf[24];

	count(&t, FUSE_LOOKUP, 0, 1000);
	count(&t, FUSE_LOOKUP, -ENOENT, 3000);
	count(&t, FUSE_LOOKUP, -ENOENT, 2000000);
	count(&t, 4096, -ENOSYS, 100);
	op_table_add(&sum, &t);
	op_table_add(&sum, &t);
	s = sum.op[FUSE_LOOKUP];
	is_int(s->count, 6, "requests");
	is_int(op_stats_errors(s), 4, "errors");
	is_int(s->bytes_in, 60, "bytes in");
	is_int(s->bytes_out, 120, "bytes out");
	is_int(s->slow, 2, "slow ones");
	is_int(s->max_ns, 2000000, "the longest");
	is_str(op_error_name(s, 0), "ENOENT", "an error has its name");
	is_int(s->errors[0], 4, "and its number");
	is_int(sum.op[0]->count, 2, "opcodes we do not know are together");
	is_str(op_name(0, buf, sizeof(buf)), "OTHER", "and have a name");
	is_str(op_name(60, buf, sizeof(buf)), "OPCODE_60", "as others do");
	ok(op_stats_at(s, 0.99) <= s->max_ns, "p99 is not above the maximum");
	op_table_clear_max(&sum);
	is_int(s->max_ns, 0, "the maximum can be cleared");
	op_table_fini(&sum);
	op_table_fini(&t);
}

static void
test_many_errors(void)
{
	struct op_table t = { { NULL } };
	uint64_t n = 0;

	for (int e = 1; e <= 40; e++)
		count(&t, FUSE_OPEN, -e, 100);
	for (unsigned i = 0; i < OP_ERRNOS; i++)
		n += t.op[FUSE_OPEN]->errors[i];
	is_int(n, 40, "no error is forgotten when there are too many kinds");
	is_str(op_error_name(t.op[FUSE_OPEN], OP_ERRNOS - 1), "other",
	       "the last are together");
	is_int(t.op[FUSE_OPEN]->errors[OP_ERRNOS - 1], 40 - (OP_ERRNOS - 1),
	       "so many");
	op_table_fini(&t);
}

/* ---- rings of lines ---- */

static const char *
text_of(struct evbuffer *b)
{
	static char text[1 << 20];
	size_t n = evbuffer_get_length(b);

	n = n < sizeof(text) ? n : sizeof(text) - 1;
	evbuffer_remove(b, text, n);
	text[n] = '\0';
	return text;
}

static void
test_lines(void)
{
	struct evbuffer *out = evbuffer_new();
	struct lines_at at = { 0 }, late = { 0 };
	struct lines *l = NULL;
	char big[4096];

	ok(!lines_new(4096, &l), "a ring of 4 KiB");
	lines_read(l, &at, 1000, out);
	is_str(text_of(out), "", "is empty");
	lines_add(l, "one", 3);
	lines_add(l, "", 0);
	lines_add(l, "two", 3);
	lines_read(l, &at, 1, out);
	is_str(text_of(out), "one\n\ntwo\n", "lines come in order");
	lines_read(l, &at, 1000, out);
	is_str(text_of(out), "", "and once");
	lines_read(l, &late, 1000, out);
	is_str(text_of(out), "one\n\ntwo\n", "each reader has all of them");
	for (int i = 0; i < 1000; i++) {
		char line[16];

		lines_add(l, line, (size_t)sprintf(line, "line %04d", i));
	}
	lines_read(l, &at, SIZE_MAX, out);
	ok(!strncmp(text_of(out), "lost 591\nline 0591\n", 19),
	   "a slow reader is told how many lines it lost");
	memset(big, 'x', sizeof(big));
	lines_add(l, big, sizeof(big));
	lines_read(l, &at, SIZE_MAX, out);
	is_int(strlen(text_of(out)), 2049, "a very long line is cut");
	lines_free(l);
	evbuffer_free(out);
}

#define WRITERS 4
#define EACH 20000

static void *
write_lines(void *arg)
{
	char line[32];

	for (int i = 0; i < EACH; i++)
		lines_add(arg, line,
			  (size_t)sprintf(line, "line %d of many", i));
	return NULL;
}

/* Every line arrives whole, or is counted as lost. */
static void
test_threads(void)
{
	struct evbuffer *out = evbuffer_new();
	struct lines_at at = { 0 };
	pthread_t thread[WRITERS];
	unsigned long lines = 0, bad = 0, lost = 0, n;
	struct lines *l = NULL;
	char *line;
	int i;

	lines_new(1 << 16, &l);
	lines_add(l, "begin", 5);
	lines_read(l, &at, SIZE_MAX, out);
	evbuffer_drain(out, evbuffer_get_length(out));
	for (i = 0; i < WRITERS; i++)
		pthread_create(&thread[i], NULL, write_lines, l);
	for (i = 0; i < WRITERS; ) {
		lines_read(l, &at, SIZE_MAX, out);
		i += pthread_tryjoin_np(thread[i], NULL) == 0;
	}
	lines_add(l, "end", 3);		/* flushes the count of the dropped */
	lines_read(l, &at, SIZE_MAX, out);
	while ((line = evbuffer_readln(out, NULL, EVBUFFER_EOL_LF))) {
		if (sscanf(line, "lost %lu", &n) == 1)
			lost += n;
		else if (strstr(line, " of many") || !strcmp(line, "end"))
			lines++;
		else
			bad++;
		free(line);
	}
	is_int(bad, 0, "no line is torn");
	is_int(lines + lost, WRITERS * EACH + 1,
	       "%lu lines arrived, %lu were told to be lost", lines, lost);
	lines_free(l);
	evbuffer_free(out);
}

/* ---- JSON ---- */

static void
test_json(void)
{
	struct evbuffer *out = evbuffer_new();
	struct json j = { .out = out, .first = true };

	json_open(&j, NULL, '{');
	json_str(&j, "a\"b", "x\\\n\x01y");
	json_str(&j, "utf8", "\xc3\xa4 \xff \xed\xa0\x80 \xf0\x9f\x90\x8d \xc3");
	json_open(&j, "v", '[');
	json_uint(&j, NULL, UINT64_MAX);
	json_bool(&j, NULL, true);
	json_open(&j, NULL, '[');
	json_close(&j, ']');
	json_close(&j, ']');
	json_close(&j, '}');
	is_str(text_of(out),
	       "{\"a\\\"b\":\"x\\\\\\u000a\\u0001y\",\n"
	       "\"utf8\":\"\xc3\xa4 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd"
	       "\xef\xbf\xbd \xf0\x9f\x90\x8d \xef\xbf\xbd\",\n"
	       "\"v\":[18446744073709551615,\ntrue,\n[]]}",
	       "escapes, bytes that are no UTF-8, commas");
	evbuffer_free(out);
}

/* ---- the clock ---- */

static void
test_clock(void)
{
	struct gw_clock c;
	uint64_t a, b, begin, took;
	bool grows = true;

	gw_clock_init(&c);
	a = gw_clock_ns(&c);
	begin = gw_clock_kernel();
	do {
		b = gw_clock_ns(&c);
		grows = grows && b >= a;
		a = b;
	} while (gw_clock_kernel() - begin < 20000000);
	ok(grows, "the clock never goes back");
	begin = gw_clock_kernel();
	a = gw_clock_ns(&c);
	while (gw_clock_kernel() - begin < 50000000)
		;
	took = gw_clock_ns(&c) - a;
	ok(took > 49000000, "50 ms are %llu ns", (unsigned long long)took);
}

int
main(void)
{
	test_buckets();
	test_percentiles();
	test_clear();
	test_ops();
	test_many_errors();
	test_lines();
	test_threads();
	test_json();
	test_clock();
	return tap_done();
}
