/* SPDX-License-Identifier: MIT */
/*
 * Statistics of a running daemon: what a guest did is found again in ops,
 * stats, stats.json, metrics, clients and handles, and stays when it leaves.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX (4 << 20)

static struct daemon d;
static char text[TEXT_MAX];

static struct guest *
connect_guest(const char *tag)
{
	struct guest_settings set = { .kind = GUEST_LINUX };
	struct fuse_init_out init;
	struct guest *g = NULL;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why) ||
	    guest_init(g, &init)) {
		ok(0, "a guest connects: %s", why ? why : "INIT");
		exit(tap_done());
	}
	return g;
}

static const char *
read_text(const char *file)
{
	char line[128];

	snprintf(line, sizeof(line), "read %s", file);
	if (daemon_ctl(&d, line, text, sizeof(text)))
		text[0] = '\0';
	return text;
}

/* KEY=N in the line of ops that begins with `op`; -1 if there is none. */
static double
op_number(const char *tag, const char *op, const char *key)
{
	char file[64], want[64], *line, *at;

	snprintf(file, sizeof(file), "shares/%s/ops", tag);
	read_text(file);
	memmove(text + 1, text, strlen(text) + 1);
	text[0] = '\n';
	snprintf(want, sizeof(want), "\n%s ", op);
	line = strstr(text, want);
	if (!line)
		return -1;
	line[1 + strcspn(line + 1, "\n")] = '\0';
	snprintf(want, sizeof(want), " %s=", key);
	at = strstr(line, want);
	return at ? strtod(at + strlen(want), NULL) : -1;
}

/* ---- JSON, as RFC 8259 has it ---- */

static bool json_value(const char **p);

static void
skip_space(const char **p)
{
	*p += strspn(*p, " \t\r\n");
}

static bool
json_string(const char **p)
{
	if (*(*p)++ != '"')
		return false;
	for (; **p != '"'; ++*p) {
		if ((unsigned char)**p < 0x20)
			return false;
		if (**p == '\\' && !strchr("\"\\/bfnrtu", *++*p))
			return false;
	}
	++*p;
	return true;
}

static bool
json_list(const char **p, char close)
{
	++*p;
	skip_space(p);
	if (**p == close)
		return ++*p;
	for (;;) {
		skip_space(p);
		if (close == '}') {
			if (!json_string(p) || *(*p)++ != ':')
				return false;
			skip_space(p);
		}
		if (!json_value(p))
			return false;
		skip_space(p);
		if (**p == close)
			return ++*p;
		if (*(*p)++ != ',')
			return false;
	}
}

static bool
json_value(const char **p)
{
	size_t n;

	if (**p == '{')
		return json_list(p, '}');
	if (**p == '[')
		return json_list(p, ']');
	if (**p == '"')
		return json_string(p);
	n = strcspn(*p, ",]} \n");
	if ((n == 4 && !strncmp(*p, "true", 4)) ||
	    (n == 5 && !strncmp(*p, "false", 5)) ||
	    (n && strspn(*p, "0123456789") == n)) {
		*p += n;
		return true;
	}
	return false;
}

static bool
is_json(const char *s)
{
	if (!json_value(&s))
		return false;
	skip_space(&s);
	return !*s;
}

/* ---- tests ---- */

static void
work(struct guest *g)
{
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	uint64_t dir, fh = 0;
	char buf[5000] = "";

	for (int i = 0; i < 3; i++)
		guest_lookup(g, GUEST_ROOT, "missing", &e);
	for (int i = 0; i < 100; i++)
		guest_getattr(g, GUEST_ROOT, 0, &a);
	guest_mkdir(g, GUEST_ROOT, "dir", 0755, &e);
	dir = e.nodeid;
	guest_create(g, dir, "a \"file\"", O_RDWR, 0644, &e, &fh);
	guest_write(g, e.nodeid, fh, 0, buf, sizeof(buf));
	guest_read(g, e.nodeid, fh, 0, buf, 100);
	guest_rmdir(g, GUEST_ROOT, "dir");
	guest_fsync(g, e.nodeid, fh, false);
}

static void
test_counts(const char *tag)
{
	char file[64];
	double sum = 0;

	is_int(op_number(tag, "LOOKUP", "count"), 3, "%s: lookups", tag);
	is_int(op_number(tag, "LOOKUP", "errors"), 3, "failed");
	is_int(op_number(tag, "LOOKUP", "ENOENT"), 3, "with ENOENT");
	is_int(op_number(tag, "GETATTR", "count"), 100, "getattrs");
	is_int(op_number(tag, "GETATTR", "errors"), 0, "none failed");
	is_int(op_number(tag, "RMDIR", "ENOTEMPTY"), 1, "ENOTEMPTY");
	ok(op_number(tag, "WRITE", "in") > 5000, "bytes of requests");
	ok(op_number(tag, "READ", "out") > 100, "bytes of replies");
	is_int(op_number(tag, "FSYNC", "count"), 1,
	       "a request of the pool is counted once");
	ok(op_number(tag, "GETATTR", "max_us") >=
	   op_number(tag, "GETATTR", "p99_us"), "p99 is at most the maximum");
	ok(op_number(tag, "GETATTR", "p99_us") >=
	   op_number(tag, "GETATTR", "p50_us"), "p50 is at most p99");
	snprintf(file, sizeof(file), "shares/%s/ops", tag);
	read_text(file);
	for (const char *p = text; (p = strstr(p, " count=")); p++)
		sum += strtod(p + 7, NULL);
	snprintf(file, sizeof(file), "shares/%s/stats", tag);
	is_int(daemon_number(&d, file, "requests"), sum,
	       "requests are the sum of all operations");
	is_int(daemon_number(&d, file, "written_bytes"), 5000,
	       "bytes of data written");
}

static void
test_people(void)
{
	struct daemon_use use;
	char pid[32];

	read_text("shares/one/clients");
	snprintf(pid, sizeof(pid), " pid=%d ", (int)getpid());
	ok(strstr(text, pid), "a client's process");
	ok(strstr(text, " vm=\"deb,12\" "), "its virtual machine's name");
	ok(strstr(text, " guest=linux fuse=7."), "its dialect");
	ok(strstr(text, " memory=") && strstr(text, " queues="),
	   "memory and queues");
	read_text("shares/one/handles");
	ok(strstr(text, "/one/dir/a \\042file\\042\"\n") &&
	   strstr(text, " type=file "), "an open file, by its path");
	daemon_use(&d, &use);
	ok(labs(daemon_number(&d, "stats", "fds") - use.fds) <= 2,
	   "descriptors of the process");
	ok(daemon_number(&d, "stats", "fds_limit") > 100, "and their limit");
	ok(daemon_number(&d, "shares/one/stats", "handles") == 1 &&
	   daemon_number(&d, "shares/one/stats", "handles_limit") > 1,
	   "open files and their limit");
}

static void
test_formats(void)
{
	char path[128], cmd[600];
	const char *src = getenv("top_srcdir");
	FILE *f;
	int status;

	ok(is_json(read_text("stats.json")), "stats.json is JSON");
	ok(strstr(text, "\"vm\":\"deb,12\""), "with the guests in it");
	ok(is_json(read_text("shares/one/stats.json")), "a share's, too");
	ok(!is_json("{\"a\":01x}") && !is_json("{\"a\" 1}") && !is_json("[1,]"),
	   "(the test knows what is not)");

	snprintf(path, sizeof(path), "%s/metrics", d.work);
	f = fopen(path, "w");
	fputs(read_text("metrics"), f);
	fclose(f);
	ok(strstr(text, "gatewayd_request_errors_total{tag=\"one\",op=\"LOOKUP\""
		  ",errno=\"ENOENT\"} 3\n"), "metrics has errors by errno");
	snprintf(cmd, sizeof(cmd), "sh %s/tests/check-metrics.sh %s >%s.out "
		 "2>&1; s=$?; sed 's/^/# /' %s.out; exit $s", src ? src : ".",
		 path, path, path);
	fflush(stdout);
	status = system(cmd);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	if (status == 77) {
		ok(1, "metrics is OpenMetrics, as far as awk can tell");
		tap_skip("and promtool agrees", "promtool is not installed");
	} else {
		is_int(status, 0, "metrics is OpenMetrics, says promtool");
	}
}

static void
test_clear(struct guest *g)
{
	struct fuse_attr_out a;
	double count = op_number("one", "GETATTR", "count");

	ok(op_number("one", "GETATTR", "max_us") > 0, "before clear");
	ok(!daemon_ctl(&d, "write shares/one/ctl clear", text, sizeof(text)),
	   "clear");
	is_int(op_number("one", "GETATTR", "count"), count, "counters stay");
	ok(op_number("one", "GETATTR", "max_us") == 0, "the maximum is gone");
	ok(op_number("one", "GETATTR", "p99_us") == 0, "percentiles, too");
	ok(op_number("two", "GETATTR", "max_us") > 0, "not those of others");
	is_int(daemon_number(&d, "shares/one/stats", "max_us"), 0,
	       "nor is there one of the share");
	guest_getattr(g, GUEST_ROOT, 0, &a);
	ok(op_number("one", "GETATTR", "max_us") > 0, "it begins anew");
	ok(!daemon_ctl(&d, "write ctl clear", text, sizeof(text)) &&
	   op_number("two", "GETATTR", "max_us") == 0, "clear of all");
}

static void
test_slow(struct guest *g)
{
	long mark = daemon_log_mark(&d);
	struct fuse_attr_out a;

	is_int(daemon_number(&d, "shares/one/stats", "slow"), 0,
	       "nothing took an hour");
	daemon_keys(&d, "[gateway]\nslow_request = 1us\nhung_request = 1us\n");
	ok(!daemon_ctl(&d, "write ctl reload", text, sizeof(text)),
	   "slow_request = 1us at once");
	for (int i = 0; i < 200; i++)
		guest_getattr(g, GUEST_ROOT, 0, &a);
	ok(daemon_number(&d, "shares/one/stats", "slow") > 0,
	   "now all are slow");
	ok(daemon_log_count(&d, mark, "one: slow request op=GETATTR n=1 u=",
			    "vm=\"deb,12\"") > 0, "and logged, by name");
	ok(daemon_log_count(&d, mark, "slow request", "") <= 12,
	   "but not each of them");
	ok(op_number("one", "GETATTR", "slow") > 0, "by operation");
}

static void
test_leave(struct guest *g)
{
	double count = op_number("one", "GETATTR", "count");
	long requests = daemon_number(&d, "shares/one/stats", "requests");

	guest_close(g);
	ok(daemon_has_sessions(&d, "one", 0, 5000), "the guest leaves");
	is_int(op_number("one", "GETATTR", "count"), count,
	       "what it did is still counted");
	is_int(daemon_number(&d, "shares/one/stats", "requests"), requests,
	       "all of it");
	is_int(daemon_number(&d, "shares/one/stats", "sessions_total"), 1,
	       "one guest was there");
	daemon_keys(&d, "[one]\nmax_write = 64K\n");
	ok(!daemon_ctl(&d, "write ctl reload", text, sizeof(text)),
	   "the share gets other settings");
	is_int(op_number("one", "GETATTR", "count"), count,
	       "counters outlive that");
}

int
main(int argc, char **argv)
{
	static const char *const tags[] = { "one", "two", NULL };
	struct guest *g, *h;

	if (argc == 1)		/* as QEMU would be called */
		execl("/proc/self/exe", argv[0], "-name",
		      "guest=deb,,12,debug-threads=on", NULL);
	daemon_start(&d, tags, "[gateway]\nslow_request = 1h\n"
		     "[defaults]\nmax_fds = 1000\n[two]\ninline = no\n");
	g = connect_guest("one");
	h = connect_guest("two");
	work(g);
	work(h);
	test_counts("one");
	test_counts("two");
	ok(daemon_number(&d, "shares/two/stats", "deferred") > 100,
	   "those of the other share by the pool");
	test_people();
	test_formats();
	test_clear(g);
	test_slow(g);
	test_leave(g);
	guest_close(h);
	daemon_stop(&d);
	return tap_done();
}
