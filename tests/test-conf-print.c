/* SPDX-License-Identifier: MIT */
/*
 * What is printed reads back the same, for random configurations; and what
 * stands in the comments, the manual and the sample file.
 */
#include "config.h"

#include <time.h>

#include "tests/conf-try.h"

static unsigned seed;

static unsigned
pick(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

/* All that conf_print() or one of the others prints, allocated. */
static char *
print(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	conf_print(try_conf, out);
	fclose(out);
	return text;
}

/* Without the comments, in place. */
static char *
uncomment(char *text)
{
	char *to = text;

	for (char *from = text; *from;) {
		size_t n = strcspn(from, "\n") + 1;

		if (*from != '#') {
			memmove(to, from, n);
			to += n;
		}
		from += n;
	}
	*to = 0;
	return text;
}

/* Values that are good for keys: at random, some of them. */
static const struct {
	const char *section; /* g, d, s: gateway, defaults, share */
	const char *line;
} lines[] = {
	{ "g", "socket_dir = /run/some//where/." },
	{ "g", "control_socket = /run/ctl" },
	{ "g", "cache_dir = /x" },
	{ "g", "state_dir = /y" },
	{ "g", "control_group = root" },
	{ "g", "control-mode = 7" },
	{ "g", "admin_group = 12" },
	{ "g", "log_level = Warning" },
	{ "g", "thread_pool_size = 0" },
	{ "g", "thread_pool_size = 9" },
	{ "g", "max_threads = 00017" },
	{ "g", "poll_max = 0" },
	{ "g", "poll_max = 3" },
	{ "g", "rlimit_nofile = 0" },
	{ "g", "modcaps = +SYS_ADMIN:-cap_mknod" },
	{ "g", "drain_timeout = 1500ms" },
	{ "g", "include = nowhere" },
	{ "ds", "comment = x =;y# \xe2\x82\xac \"z\"" },
	{ "ds", "comment =" },
	{ "ds", "enabled = no" },
	{ "ds", "socket_user = root" },
	{ "ds", "socket_user =" },
	{ "ds", "socket_group = 0" },
	{ "ds", "socket_mode = 0" },
	{ "ds", "allow_uids = root,1 2" },
	{ "ds", "allow_uids =" },
	{ "ds", "max_clients = 1" },
	{ "ds", "max_request_queues = 2" },
	{ "ds", "advertise_tag = on" },
	{ "ds", "poll_us = 0" },
	{ "ds", "readonly = 1" },
	{ "ds", "guest = linux" },
	{ "ds", "cache = none" },
	{ "ds", "entry_timeout = 3600" },
	{ "ds", "attr_timeout = auto" },
	{ "ds", "negative_timeout = 1us" },
	{ "ds", "max_write = 131072" },
	{ "ds", "max_fds = 4096" },
	{ "ds", "max_open_files = 16" },
	{ "ds", "inline = yes" },
	{ "ds", "inode_file_handles = fallback" },
	{ "s", "translate_uid = map:1000:0:1 squash-guest:2000:99:10" },
	{ "s", "translate_gid = HOST,7,8,1" },
	{ "ds", "translate_gid =" },
	{ "ds", "force_user = root" },
	{ "ds", "force_group = 0" },
	{ "ds", "create_mask = 0644" },
	{ "ds", "directory-mode = 07777" },
	{ "ds", "overflow_uid = 0" },
	{ "ds", "overflow_gid = auto" },
	{ "ds", "root_owner = 1000:100" },
	{ "s", "socket = /run/other.%d.sock" },
};

enum { NLINES = sizeof(lines) / sizeof(lines[0]) };

static int
is_list(const char *line)
{
	return !strncmp(line, "allow_uids", 10) ||
	       !strncmp(line, "include", 7) ||
	       !strncmp(line, "translate_", 10);
}

static int
same_key(const char *a, const char *b)
{
	size_t n = strcspn(a, " ");

	return n == strcspn(b, " ") && !strncmp(a, b, n);
}

static void
random_keys(FILE *out, char section, int number)
{
	const char *last = "";

	for (int i = 0; i < NLINES; i++) {
		const char *line = lines[i].line;

		if (!strchr(lines[i].section, section) || pick(3))
			continue;
		if (same_key(last, line) && !is_list(line))
			continue;
		last = line;
		if (section == 's' && !strncmp(line, "socket = ", 9))
			fprintf(out, "socket = /run/other.%d.sock\n", number);
		else
			fprintf(out, "%s%s\n", pick(2) ? "\t" : "", line);
	}
}

static char *
random_conf(void)
{
	static const char *const tags[] = { "a",	"b c",	     "%41",
					    "\xc3\xa9", "d # e ; f", "g[h" };
	unsigned defaults = pick(8);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	if (pick(2)) {
		fputs("[gateway]\n", out);
		random_keys(out, 'g', 0);
	}
	for (unsigned i = 0; i < 6; i++) {
		if (i == defaults) {
			fputs("[defaults]\n", out);
			random_keys(out, 'd', 0);
		}
		if (!pick(3))
			continue;
		fprintf(out, "[%s]\npath = /usr%s\n", tags[i],
			pick(2) ? "/lib/" : "");
		random_keys(out, 's', (int)i);
	}
	fclose(out);
	return text;
}

static void
test_fixed_point(void)
{
	long rounds = tap_scaled(300), refused = 0, differ = 0;

	seed = (unsigned)time(NULL);
	printf("# seed %u\n", seed);
	for (long i = 0; i < rounds; i++) {
		char *text = random_conf(), *first, *second;

		if (try_text(text)) {
			refused++;
			printf("# %s\n", try_messages);
			free(text);
			continue;
		}
		first = print();
		if (i % 2)
			uncomment(first);
		refused += try_text(first) != 0;
		second = try_conf ? print() : strdup("");
		if (!second || strcmp(uncomment(first), uncomment(second)))
			differ++;
		free(text);
		free(first);
		free(second);
	}
	is_int(refused, 0, "%ld random configurations load, and load again",
	       rounds);
	is_int(differ, 0, "and print the same");
}

static void
test_values_survive(void)
{
	char *text;

	is_int(try_text("[defaults]\nallow_uids = 1\n[a]\npath = /usr\n"
			"entry_timeout = 90\nallow_uids = root\n"
			"max_write = 8K\n[gateway]\npoll_max = 0\n"),
	       0, "load");
	text = print();
	is_int(try_text(text), 0, "load again");
	is_int(try_share("a")->entry_timeout_us, 90000000, "a time");
	is_int(try_share("a")->allow_uids.n, 2, "a list has not doubled");
	is_int(try_share("a")->max_write, 8192, "a size");
	ok(try_conf->gateway.poll_max_given, "a number in place of a word");
	free(text);
}

static void
test_origins(void)
{
	static const char *const want[] = {
		"# t:2; live\nlog_level = debug\n",
		"# default; restart\nrlimit_nofile = 1048576\n",
		"[defaults]\n",
		"# t:4; live\nreadonly = yes\n",
		"[a]\n# t:6; next connection\npath = /usr\n",
		"# list; live\nallow_uids =\n# t:7; live\nallow_uids = 1\n",
		"# t:7; live\nallow_uids = 2\n# t:8; live\nallow_uids = 3\n",
		"# t:4; live\nreadonly = yes\n",
	};
	char *text, *at, *own;
	size_t size;
	FILE *out;

	is_int(try_text("[gateway]\nlog_level = debug\n[defaults]\n"
			"readonly = yes\n[a]\npath = /usr\nallow_uids = 1 2\n"
			"allow_uids = 3\n"),
	       0, "load");
	at = text = print();
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		char *found = strstr(at, want[i]);

		if (ok(found != NULL, "value number %zu has its origin", i))
			at = found + strlen(want[i]);
	}
	own = NULL;
	out = open_memstream(&own, &size);
	conf_print_share(try_share("a"), out);
	fclose(out);
	ok(!strncmp(own, "[a]\n", 4) && strstr(text, own) &&
		   !strstr(own, "[gateway]"),
	   "one share prints alone");
	free(own);
	free(text);
	is_int(try_shares("a:/usr", NULL), 0, "--share");
	text = print();
	ok(strstr(text, "# command line; next connection\npath = /usr\n"),
	   "is the origin \"command line\"");
	free(text);
}

static void
test_manual(void)
{
	char *text, *man = NULL, item[100];
	int missing = 0;
	size_t size;
	FILE *out = open_memstream(&man, &size);

	conf_print_manual(out);
	fclose(out);
	is_int(try_shares("a:/usr", NULL), 0, "a configuration");
	text = uncomment(print());
	for (char *p = strtok(text, "\n"); p; p = strtok(NULL, "\n")) {
		if (*p == '[')
			continue;
		snprintf(item, sizeof(item), ".It Ic %.*s Li = Ar ",
			 (int)strcspn(p, " "), p);
		missing += !strstr(man, item);
	}
	is_int(missing, 0, "every key stands in the manual");
	ok(strstr(man, "Allowed: 1 to 64.\nDefault: 8.\n"), "with its range");
	ok(strstr(man, "Allowed: auto, always, metadata or never.\n"),
	   "or its words");
	ok(!strstr(man, "(null)") && !strstr(man, "\n\n"), "and good roff");
	free(man);
	free(text);
}

static void
test_tag_encode(void)
{
	static const char *const pairs[][2] = {
		{ "media", "media" },	    { "a b", "a%20b" },
		{ "100%", "100%25" },	    { "a/b\n", "a%2Fb%0A" },
		{ "\xc3\xa9", "\xc3\xa9" }, { "", "" },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char *path = conf_tag_encode(pairs[i][0]);

		is_str(path, pairs[i][1], "tag number %zu in a path", i);
		free(path);
	}
}

/* Sample lines with the '#' gone, so that all of them are keys that exist. */
static void
test_sample(void)
{
	const char *top = getenv("top_srcdir");
	char path[4096], line[1000], *text = NULL;
	struct conf_source src = { .file = path };
	FILE *in, *out;
	size_t size;
	int n = 0;

	snprintf(path, sizeof(path), "%s/conf/gatewayd.conf", top ? top : ".");
	try_forget();
	is_int(conf_load(&src, &try_conf, &try_messages), 0,
	       "the sample file loads");
	is_int(try_conf ? try_conf->nshares : 1, 0, "and is all comments");
	in = fopen(path, "re");
	out = open_memstream(&text, &size);
	if (!ok(in && out, "it can be read"))
		return;
	while (fgets(line, sizeof(line), in)) {
		n++;
		if (line[0] == '#' && line[1] != ' ' && line[1] != '\n')
			fputs(line + 1, out);
		else
			fputs(line, out);
	}
	fclose(in);
	fclose(out);
	ok(n <= 60, "it is short: %d lines", n);
	try_text(text);
	for (char *m = try_messages; m && *m; m += strcspn(m, "\n") + 1)
		if (!strstr(m, "a directory that exists") &&
		    !strstr(m, "unknown user") && !strstr(m, "unknown group"))
			ok(0, "%.*s", (int)strcspn(m, "\n"), m);
	ok(!try_messages || !strstr(try_messages, "unknown key"),
	   "its lines are keys that exist");
	free(text);
}

int
main(void)
{
	test_fixed_point();
	test_values_survive();
	test_origins();
	test_manual();
	test_tag_encode();
	test_sample();
	try_forget();
	return tap_done();
}
