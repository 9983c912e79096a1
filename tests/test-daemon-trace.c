/* SPDX-License-Identifier: MIT */
/*
 * Traces: a line for each request and each reply, switched on and off while a
 * guest works, by the control file and by the key; and the log as a file.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/stream.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>

#define WAIT_MS 5000

static struct daemon d;
static char text[4 << 20];

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

static void
control(const char *line)
{
	ok(!daemon_ctl(&d, line, text, sizeof(text)), "%s", line);
}

static bool
matches(const char *pattern, const char *string)
{
	regex_t re;
	bool good;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
		return false;
	good = regexec(&re, string, 0, NULL, 0) == 0;
	regfree(&re);
	return good;
}

/* The next line of a stream is such a one. */
static void
next_is(struct stream *s, const char *pattern, const char *words)
{
	const char *line = stream_line(s, WAIT_MS);

	if (!ok(line && matches(pattern, line), "%s", words))
		printf("# got  %s\n# want %s\n", line ? line : "(nothing)",
		       pattern);
}

/* Such a line comes sooner or later. */
static void
await(struct stream *s, const char *pattern, const char *words)
{
	const char *line;

	do
		line = stream_line(s, WAIT_MS);
	while (line && !matches(pattern, line));
	ok(line, "%s", words);
}

/* ---- what the lines say ---- */

static void
test_lines(struct guest *g)
{
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	struct stream s;

	guest_getattr(g, GUEST_ROOT, 0, &a);
	control("read shares/one/trace");
	is_str(text, "trace off\n", "off at first, and empty");
	is_int(stream_open(&s, &d, "watch shares/one/trace"), 0, "watch");
	next_is(&s, "^ok stream$", "a stream begins");
	control("write shares/one/trace on");

	guest_mkdir(g, GUEST_ROOT, "new", 0755, &e);
	next_is(&s, "^one u=[0-9]+ > MKDIR n=1 \"new\" mode=0755 s=[0-9]+$",
		"a request");
	next_is(&s, "^one u=[0-9]+ < ok [0-9]+us len=144 s=[0-9]+$",
		"its reply");
	guest_mkdir(g, GUEST_ROOT, "new", 0755, &e);
	next_is(&s, " > MKDIR ", "a request that fails");
	next_is(&s, "^one u=[0-9]+ < EEXIST [0-9]+us s=[0-9]+$", "its errno");
	guest_forget(g, 12345, 1);
	next_is(&s, " > FORGET n=12345 nlookup=1 s=", "a FORGET");
	next_is(&s, " < none [0-9]+us s=", "which has no reply");
	guest_lookup(g, GUEST_ROOT, "a\n\"b\"\x1b", &e);
	next_is(&s, " > LOOKUP n=1 \"a\\\\012\\\\042b\\\\042\\\\033\" s=",
		"a name cannot spoil the line");
	next_is(&s, " < ENOENT ", "(not there)");

	control("write shares/one/trace off");
	guest_getattr(g, GUEST_ROOT, 0, &a);
	is_str(stream_line(&s, 200), NULL, "off is off");
	control("read shares/one/trace");
	ok(strstr(text, "trace off\n") && strstr(text, "< EEXIST "),
	   "the last lines can still be read");
	ok(daemon_ctl(&d, "write shares/one/trace maybe", text,
		      sizeof(text)) == -EPROTO &&
	   strstr(text, "EINVAL") && strstr(text, "on, off or log"),
	   "it is on, off or log, nothing else");
	close(s.fd);
}

/* A request of the pool has one line each way. */
static void
test_pool(struct guest *g)
{
	struct fuse_entry_out e;
	struct stream s;

	control("write shares/pool/trace on");
	stream_open(&s, &d, "watch shares/pool/trace");
	next_is(&s, "^ok stream$", "a share that is served by the pool");
	guest_lookup(g, GUEST_ROOT, "none", &e);
	next_is(&s, "^pool u=[0-9]+ > LOOKUP n=1 \"none\" s=", "a request");
	next_is(&s, "^pool u=[0-9]+ < ENOENT [0-9]+us s=", "and its reply");
	is_str(stream_line(&s, 100), NULL, "once");
	close(s.fd);
	control("write shares/pool/trace off");
}

/* ---- the key ---- */

static void
test_key(struct guest *g)
{
	struct fuse_attr_out a;
	struct stream s;

	daemon_keys(&d, "[pool]\ninline = no\n[one]\ntrace = yes\n");
	control("write ctl reload");
	ok(strstr(text, "trace: changed, at once"), "trace = yes is live");
	stream_open(&s, &d, "watch shares/one/trace");
	next_is(&s, "^ok stream$", "watch");
	guest_getattr(g, GUEST_ROOT, 0, &a);
	await(&s, "> GETATTR n=1", "a guest that is there is traced");

	control("write shares/one/trace off");
	control("write ctl reload");
	control("read shares/one/trace");
	ok(!strncmp(text, "trace off\n", 10),
	   "a reload that does not change the key keeps what was written");
	/* Not a live key: another struct share. */
	daemon_keys(&d, "[pool]\ninline = no\n[one]\ntrace = yes\n"
		    "max_write = 64K\n");
	control("write shares/one/trace on");
	control("write ctl reload");
	guest_getattr(g, GUEST_ROOT, 0, &a);
	await(&s, " > GETATTR ", "the watch goes on over that");
	daemon_keys(&d, "[pool]\ninline = no\n");
	control("write ctl reload");
	control("read shares/one/trace");
	ok(!strncmp(text, "trace off\n", 10), "trace = no turns it off");
	close(s.fd);
}

/* ---- into the log ---- */

static void
test_into_log(struct guest *g)
{
	long mark = daemon_log_mark(&d);
	struct fuse_attr_out a;
	struct fuse_entry_out e;

	control("write shares/one/trace log");
	guest_lookup(g, GUEST_ROOT, "for-the-log", &e);
	is_int(daemon_log_wait(&d, mark, "gatewayd: info: one u=",
			       "> LOOKUP n=1 \"for-the-log\" s=", 1, WAIT_MS),
	       1, "a request stands in the log");
	is_int(daemon_log_wait(&d, mark, "gatewayd: info: one u=",
			       " < ENOENT ", 1, WAIT_MS), 1, "and its reply");
	is_int(daemon_log_count(&d, mark, " one u=", ""), 2,
	       "and nothing from before");
	control("read shares/one/trace");
	ok(!strncmp(text, "trace log\n", 10) && strstr(text, "for-the-log"),
	   "they can be read as ever");
	control("read log");
	ok(!strstr(text, "for-the-log"), "and do not fill the file log");
	for (int i = 0; i < 20000; i++)
		guest_getattr(g, GUEST_ROOT, 0, &a);
	ok(daemon_log_wait(&d, mark, "info: one: trace: lost ", "", 1,
			   WAIT_MS) > 0 ||
	   daemon_log_count(&d, mark, "> GETATTR ", "") == 20000,
	   "what the log cannot take is counted");
	control("write shares/one/trace off");
	mark = daemon_log_mark(&d);
	guest_getattr(g, GUEST_ROOT, 0, &a);
	poll(NULL, 0, 200);
	is_int(daemon_log_count(&d, mark, "> GETATTR ", ""), 0, "off is off");

	daemon_keys(&d, "[pool]\ninline = no\n[one]\ntrace = log\n");
	control("write ctl reload");
	guest_getattr(g, GUEST_ROOT, 0, &a);
	ok(daemon_log_wait(&d, mark, "gatewayd: info: one u=", "> GETATTR n=1",
			   1, WAIT_MS) > 0, "trace = log does the same");
	daemon_keys(&d, "[pool]\ninline = no\n");
	control("write ctl reload");
}

/* ---- too much ---- */

static atomic_bool enough;

static void *
keep_busy(void *arg)
{
	struct fuse_attr_out a;
	long n = 0;

	while (!atomic_load(&enough)) {
		guest_getattr(arg, GUEST_ROOT, 0, &a);
		n++;
	}
	return (void *)n;
}

/* A client that does not read holds up neither the guest nor the others. */
static void
test_slow_reader(struct guest *g)
{
	unsigned long lines = 0, lost = 0, n;
	struct stream slow;
	pthread_t thread;
	void *count;
	char *line;

	control("write shares/one/trace on");
	stream_open(&slow, &d, "watch shares/one/trace");
	pthread_create(&thread, NULL, keep_busy, g);
	poll(NULL, 0, (int)tap_scaled(1000));
	ok(daemon_number(&d, "stats", "uptime_seconds") >= 0,
	   "others are served");
	atomic_store(&enough, true);
	pthread_join(thread, &count);
	ok((long)count > 1000, "the guest goes on: %ld requests", (long)count);
	control("write shares/one/trace off");
	stream_line(&slow, WAIT_MS);
	while ((line = stream_line(&slow, 1000))) {
		if (sscanf(line, "lost %lu", &n) == 1)
			lost += n;
		else
			lines += strstr(line, "GETATTR") ||
				 strstr(line, "< ok");
	}
	printf("# %lu lines, %lu lost, %ld requests\n", lines, lost,
	       (long)count);
	ok(lines + lost >= 2 * (unsigned long)(long)count,
	   "every line came, or was counted as lost");
	close(slow.fd);
}

/* ---- the log ---- */

static void
test_log(void)
{
	struct stream s;

	control("read log");
	ok(matches("(^|\n)2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z info: one: "
		   "listening ", text), "the log has the last lines");
	stream_open(&s, &d, "watch log");
	control("write shares/one/ctl disable");
	await(&s, "Z info: one: disabled", "and can be watched");
	close(s.fd);
}

int
main(void)
{
	static const char *const tags[] = { "one", "pool", NULL };
	struct guest *g, *h;

	daemon_start(&d, tags, "[pool]\ninline = no\n");
	g = connect_guest("one");
	h = connect_guest("pool");
	test_lines(g);
	test_pool(h);
	test_key(g);
	test_into_log(g);
	test_slow_reader(g);
	test_log();
	guest_close(g);
	guest_close(h);
	daemon_stop(&d);
	return tap_done();
}
