/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl top: what guests do just now, from two readings of the counters.
 * On a terminal the screen is drawn again and again, and keys change what is
 * shown; elsewhere, and with -b, each table follows the other.
 */
#include "config.h"

#include "gatewayd/ctltop.h"
#include "gatewayd/gatewayctl.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static const char top_usage[] =
	"usage: gatewayctl top [-b] [-d SECONDS] [-n TABLES] [TAG]\n"
	"\n"
	"  -b          one table after the other, as into a pipe\n"
	"  -d SECONDS  between two tables; 2 by default\n"
	"  -n TABLES   stop after so many\n"
	"\n"
	"With TAG, a line for each operation of that share.\n"
	"Rates are of the time between two tables, percentiles and MAX since\n"
	"the start or \"gatewayctl clear\".\n"
	"\n"
	"Keys, on a terminal:\n";

struct top {
	struct ctl *ctl;
	struct top_view view;
	bool batch;
	double delay;
	long tables;			/* left to print; -1 = for ever */
	struct top_sample was, now;
	struct termios saved;
};

static volatile sig_atomic_t stopped;

static void
on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* ---- sampling ---- */

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const char *const share_fields[TOP_FIELDS] = {
	[TOP_REQUESTS] = "requests", [TOP_ERRORS] = "errors",
	[TOP_IN] = "written_bytes", [TOP_OUT] = "read_bytes",
	[TOP_BUSY_US] = "busy_us", [TOP_P50_US] = "p50_us",
	[TOP_P99_US] = "p99_us", [TOP_MAX_US] = "max_us",
	[TOP_GUESTS] = "sessions", [TOP_INFLIGHT] = "inflight",
	[TOP_HUNG] = "hung", [TOP_SLOW] = "slow",
};

static const char *const op_fields[TOP_FIELDS] = {
	[TOP_REQUESTS] = "count", [TOP_ERRORS] = "errors", [TOP_IN] = "in",
	[TOP_OUT] = "out", [TOP_BUSY_US] = "busy_us", [TOP_P50_US] = "p50_us",
	[TOP_P99_US] = "p99_us", [TOP_MAX_US] = "max_us", [TOP_SLOW] = "slow",
};

static void
sample_free(struct top_sample *s)
{
	free(s->row);
	memset(s, 0, sizeof(*s));
}

static struct top_row *
add_row(struct top_sample *s, const char *name)
{
	struct top_row *v = realloc(s->row, (s->nrows + 1) * sizeof(*v));

	if (!v)
		return NULL;
	s->row = v;
	v += s->nrows++;
	memset(v, 0, sizeof(*v));
	snprintf(v->name, sizeof(v->name), "%s", name);
	return v;
}

static double
field(const char *text, const char *name)
{
	char value[32];

	gw_client_field(text, name, value, sizeof(value));
	return strtod(value, NULL);
}

/* A tag as its owner wrote it. */
static void
decode_tag(const char *name, char *tag, size_t size)
{
	size_t n = 0;
	unsigned byte;

	while (*name && n + 1 < size) {
		if (sscanf(name, "%%%2X", &byte) == 1) {
			tag[n++] = (char)byte;
			name += 3;
		} else {
			tag[n++] = *name++;
		}
	}
	tag[n] = '\0';
}

static int
sample_share(struct top *t, const char *name)
{
	struct top_sample *s = &t->now;
	struct gw_reply r;
	char tag[128];
	struct top_row *row;
	int status = read_file(t->ctl, name, "stats", &r);

	if (status != DONE)
		return status;
	decode_tag(name, tag, sizeof(tag));
	row = add_row(s, tag);
	for (int i = 0; row && i < TOP_FIELDS; i++)
		row->v[i] = field(r.text, share_fields[i]);
	s->polls += field(r.text, "polls");
	s->poll_hits += field(r.text, "poll_hits");
	s->hung += field(r.text, "hung");
	s->slow += field(r.text, "slow");
	s->guests += (unsigned)field(r.text, "sessions");
	gw_reply_fini(&r);
	return row ? DONE : client_failed(t->ctl, -ENOMEM);
}

static int
sample_shares(struct top *t)
{
	struct gw_reply list;
	int status = ask(t->ctl, "ls", "shares", NULL, &list);

	if (status != DONE)
		return status;
	for (char *save, *name = strtok_r(list.text, "\n", &save);
	     name && status == DONE; name = strtok_r(NULL, "\n", &save)) {
		name[strcspn(name, "/")] = '\0';
		status = sample_share(t, name);
		/* It may have been removed since. */
		if (status == FAILED && t->ctl->client.fd >= 0)
			status = DONE;
	}
	gw_reply_fini(&list);
	return status;
}

/* "LOOKUP count=1 errors=0 ..." */
static int
take_op(struct top_sample *s, char *line)
{
	char *save, *word = strtok_r(line, " ", &save);
	struct top_row *row = word ? add_row(s, word) : NULL;

	while (row && (word = strtok_r(NULL, " ", &save))) {
		size_t n = strcspn(word, "=");

		for (int i = 0; word[n] && i < TOP_FIELDS; i++)
			if (op_fields[i] && strlen(op_fields[i]) == n &&
			    !memcmp(word, op_fields[i], n))
				row->v[i] = strtod(word + n + 1, NULL);
	}
	return row ? DONE : FAILED;
}

static int
sample_ops(struct top *t)
{
	struct gw_reply r;
	char name[128], *save;
	int status = tag_name(t->view.tag, name, sizeof(name));

	if (status == DONE)
		status = sample_share(t, name);
	if (status == DONE)
		status = read_file(t->ctl, name, "ops", &r);
	if (status != DONE)
		return status;
	t->now.nrows = 0;		/* the share's own row */
	for (char *line = strtok_r(r.text, "\n", &save);
	     line && status == DONE; line = strtok_r(NULL, "\n", &save))
		status = take_op(&t->now, line);
	gw_reply_fini(&r);
	return status;
}

static int
take_sample(struct top *t)
{
	struct gw_reply r;
	int status;

	sample_free(&t->was);
	t->was = t->now;
	memset(&t->now, 0, sizeof(t->now));
	status = ask(t->ctl, "read", "stats", NULL, &r);
	if (status != DONE)
		return status;
	gw_client_field(r.text, "uptime_seconds", t->now.uptime,
			sizeof(t->now.uptime));
	gw_reply_fini(&r);
	t->now.when = now();
	return t->view.tag[0] ? sample_ops(t) : sample_shares(t);
}

/* ---- what changed ---- */

static const struct top_row *
find_row(const struct top_sample *s, const char *name)
{
	for (size_t i = 0; i < s->nrows; i++)
		if (!strcmp(s->row[i].name, name))
			return &s->row[i];
	return NULL;
}

static void
find_rates(struct top *t)
{
	double seconds = t->now.when - t->was.when;

	for (size_t i = 0; i < t->now.nrows; i++) {
		struct top_row *r = &t->now.row[i];
		const struct top_row *w = find_row(&t->was, r->name);

		for (int k = 0; k < TOP_RATES; k++) {
			double more = r->v[k] - (w ? w->v[k] : 0);

			/* A daemon that was started anew counts from 0. */
			r->rate[k] = seconds > 0 && more > 0 ? more / seconds :
							       0;
		}
	}
}

/* ---- printing ---- */

static void
print_summary(const struct top *t)
{
	const struct top_sample *s = &t->now;
	double rate = 0, polls = s->polls - t->was.polls;
	unsigned long up = strtoul(s->uptime, NULL, 10);
	char number[24], slow[24];

	for (size_t i = 0; i < s->nrows; i++)
		rate += s->row[i].rate[TOP_REQUESTS];
	top_number(rate, number, sizeof(number));
	top_number(s->slow, slow, sizeof(slow));
	printf("up %lud %02lu:%02lu  guests %u  requests/s %s  slow %s  "
	       "hung %.0f  polls that hit %.0f%%\n", up / 86400,
	       up / 3600 % 24, up / 60 % 60, s->guests, number, slow, s->hung,
	       polls > 0 ? 100 * (s->poll_hits - t->was.poll_hits) / polls : 0);
	if (t->view.tag[0])
		printf("%.79s\n", t->view.tag);
	if (!t->batch)
		top_print_view(&t->view);
}

static size_t
screen_rows(const struct top *t)
{
	struct winsize w;

	if (t->batch || ioctl(1, TIOCGWINSZ, &w) || w.ws_row < 6)
		return SIZE_MAX;
	return w.ws_row - (t->view.tag[0] ? 5U : 4U);
}

static int
print_table(struct top *t)
{
	top_sort(&t->view, &t->now);
	if (!t->batch)
		printf("\033[H\033[J");
	print_summary(t);
	if (t->view.help)
		top_print_keys();
	else if (t->view.tag[0])
		top_print_ops(&t->now, screen_rows(t));
	else
		top_print_shares(&t->now, screen_rows(t));
	if (t->batch && t->tables != 1)
		printf("\n");
	if (fflush(stdout) == 0)
		return DONE;
	fprintf(stderr, "gatewayctl: standard output: %s\n", strerror(errno));
	return FAILED;
}

/* Until the next sample is due, or a key wants it.  Even who pauses wants to
 * see a table. */
static enum top_action
wait_for(struct top *t, double seconds, bool first)
{
	bool paused = t->view.paused && !first;
	struct pollfd fd = { .fd = t->batch ? -1 : 0, .events = POLLIN };
	double end = now() + seconds, left;
	enum top_action what;
	char key;

	while (!stopped) {
		left = end - now();
		if (left <= 0 && !paused)
			return TOP_SAMPLE;
		if (poll(&fd, 1, paused ? -1 : (int)(left * 1000) + 1) <= 0)
			continue;
		if (read(0, &key, 1) != 1)
			return TOP_QUIT;
		what = top_key(&t->view, &t->now, key);
		paused = t->view.paused && !first;
		if (what == TOP_DRAW)
			print_table(t);
		else if (what != TOP_NOTHING)
			return what;
	}
	return TOP_QUIT;
}

/* The first table comes soon; it needs two samples. */
static int
run(struct top *t)
{
	int status = take_sample(t);
	bool first = true;

	while (status == DONE && t->tables) {
		enum top_action what = wait_for(t, first && t->delay > 0.5 ?
						   0.5 : t->delay, first);

		if (what == TOP_QUIT)
			break;
		first = what == TOP_SWITCH;
		if (first)
			sample_free(&t->now);
		status = take_sample(t);
		if (status != DONE || first)
			continue;
		find_rates(t);
		status = print_table(t);
		t->tables -= t->tables > 0;
	}
	sample_free(&t->was);
	sample_free(&t->now);
	return status;
}

/* Keys come one by one and are not shown. */
static void
set_terminal(struct top *t)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct termios raw;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (t->batch || tcgetattr(0, &t->saved)) {
		t->batch = true;
		return;
	}
	raw = t->saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(0, TCSANOW, &raw);
}

/* ---- arguments ---- */

static bool
take_number(const char *text, double *n)
{
	char *end;

	*n = strtod(text, &end);
	return end != text && !*end && *n > 0 && *n <= 86400;
}

/* DONE, USAGE, or -1 when only the usage was asked for. */
static int
parse(struct top *t, int argc, char **argv)
{
	double n;
	int ch;

	optind = 0;
	while ((ch = getopt(argc, argv, "+bd:n:h")) >= 0) {
		if (ch == 'b') {
			t->batch = true;
		} else if (ch == 'd' && take_number(optarg, &n)) {
			t->delay = n < 0.1 ? 0.1 : n;
		} else if (ch == 'n' && take_number(optarg, &n)) {
			t->tables = (long)n;
		} else if (ch == 'h') {
			fputs(top_usage, stdout);
			top_print_keys();
			return -1;
		} else {
			fputs(top_usage, stderr);
			return USAGE;
		}
	}
	if (argc - optind > 1) {
		fputs(top_usage, stderr);
		return USAGE;
	}
	if (argc > optind)
		snprintf(t->view.tag, sizeof(t->view.tag), "%s", argv[optind]);
	return DONE;
}

VERB(top)
{
	struct top t = {
		.ctl = ctl, .delay = 2, .tables = -1, .batch = !isatty(1),
	};
	int status = parse(&t, argc + 1, argv - 1);

	(void)v;
	if (status)
		return status < 0 ? DONE : status;
	set_terminal(&t);
	status = run(&t);
	if (!t.batch)
		tcsetattr(0, TCSANOW, &t.saved);
	return status;
}
