/* SPDX-License-Identifier: MIT */
/* What only all settings and the host's directories together can tell. */
#include "config.h"

#include <time.h>

#include "tests/conf-try.h"

/* Load the text with "$D" as our directory, as file c.conf. */
static int
load(const char *text)
{
	try_write("c.conf", text);
	return try_file("c.conf");
}

/* Was "DIR/c.conf:REST" said?  "$D" in the rest is the directory. */
static int
said(const char *rest)
{
	char line[1000];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s/c.conf:", try_dir);

	while (*rest && n < sizeof(line) - sizeof(try_dir)) {
		if (!strncmp(rest, "$D", 2)) {
			n += (size_t)sprintf(line + n, "%s", try_dir);
			rest += 2;
		} else {
			line[n++] = *rest++;
		}
	}
	line[n] = 0;
	return try_said(line);
}

static void
link_to(const char *target, const char *name)
{
	char *from = try_path(target), *to = try_path(name);

	if (symlink(from, to))
		abort();
	free(from);
	free(to);
}

static void
test_paths(void)
{
	is_int(load("[none]\npath = $D/none\n[file]\npath = $D/c.conf\n"
		    "[below]\npath = $D/c.conf/x\n[no]\n"),
	       -EINVAL, "bad directories");
	ok(said("2: error: [none] path: $D/none: No such file or directory "
		"(want a directory that exists)"),
	   "one that does not exist");
	ok(said("4: error: [file] path: $D/c.conf: not a directory (want a "
		"directory that exists)"),
	   "one that is a file");
	ok(said("6: error: [below] path: $D/c.conf/x: Not a directory (want a "
		"directory that exists)"),
	   "one below a file");
	ok(said("7: error: [no] path: missing (want path = /some/directory)"),
	   "none at all");
	is_int(try_count_messages(), 4, "and nothing else");
	is_int(load("[off]\nenabled = no\npath = $D/none\n"), 0,
	       "a share that is off may lack its directory");
	ok(said("3: warning: [off] path: $D/none: No such file or directory "
		"(want a directory that exists)"),
	   "with a warning");
}

static void
test_socket_length(void)
{
	char text[400];
	int n = 107 - (int)strlen(try_dir) - 1;

	snprintf(text, sizeof(text), "[a]\npath = $D/s\nsocket = $D/%0*d\n", n,
		 0);
	is_int(load(text), 0, "a socket of 107 bytes");
	snprintf(text, sizeof(text), "[a]\npath = $D/s\nsocket = $D/%0*d\n",
		 n + 1, 0);
	is_int(load(text), -EINVAL, "and of 108");
	ok(strstr(try_messages, "c.conf:3: error: [a] socket: ") &&
		   strstr(try_messages, " has 108 bytes (want at most 107)"),
	   "which is too long");
	snprintf(text, sizeof(text),
		 "[gateway]\nsocket_dir = $D/%0*d\n[a]\npath = $D/s\n", n, 0);
	is_int(load(text), -EINVAL, "a long socket_dir");
	ok(strstr(try_messages, "c.conf:3: error: [a] socket: ") &&
		   strstr(try_messages, " has 114 bytes (want at most 107)"),
	   "is told at the share");
	snprintf(text, sizeof(text), "[gateway]\ncontrol_socket = /%0110d\n",
		 0);
	is_int(load(text), -EINVAL, "a long control socket");
	ok(strstr(try_messages,
		  "c.conf:2: error: [gateway] control_socket: ") &&
		   strstr(try_messages, " has 111 bytes (want at most 107)"),
	   "too");
}

static void
test_same_socket(void)
{
	link_to("run", "link");
	is_int(load("[gateway]\nsocket_dir = $D/run\n[a]\npath = $D/s\n"
		    "[b]\npath = $D/t\nsocket = $D/run/a.sock\n"
		    "[c]\npath = $D/u\nsocket = $D/link/a.sock\n"
		    "[d]\npath = $D/u\nsocket = $D/link/a.sock\nenabled = no\n"),
	       -EINVAL, "three shares on one socket");
	ok(said("7: error: [b] socket: $D/run/a.sock is also the socket of "
		"share [a] (want one of its own)"),
	   "the second");
	ok(said("10: error: [c] socket: $D/link/a.sock is also the socket of "
		"share [a] (want one of its own)"),
	   "and the third through a link, but not the one that is off");
	is_int(try_count_messages(), 2, "nothing else");
	is_int(load("[gateway]\nsocket_dir = $D/run\n"
		    "control_socket = $D/run/a.sock\n[a]\npath = $D/s\n"),
	       -EINVAL, "a share on the control socket");
	ok(said("4: error: [a] socket: $D/run/a.sock is also the socket of "
		"gatewayctl (want one of its own)"),
	   "is told");
}

static void
test_socket_dir(void)
{
	is_int(load("[a]\npath = $D/s\nsocket = $D/none/a\n"), -EINVAL,
	       "a socket in no directory");
	ok(said("3: error: [a] socket: $D/none: not a directory (want one that "
		"exists)"),
	   "is told");
	is_int(load("[gateway]\nsocket_dir = $D/new\n[a]\npath = $D/s\n"), 0,
	       "socket_dir is made by the daemon");
	is_int(load("[gateway]\nsocket_dir = $D/new\n[a]\npath = $D/s\n"
		    "socket = $D/new/b\n"),
	       0, "also for other sockets in it");
}

static void
test_sockets_outside_shares(void)
{
	link_to("s", "s-link");
	is_int(load("[gateway]\nsocket_dir = $D/s/run/x\n"
		    "control_socket = $D/s-link/ctl\n[a]\npath = $D/s\n"
		    "socket = $D/s-link/a.sock\n"),
	       -EINVAL, "sockets inside a share");
	ok(said("2: error: [gateway] socket_dir: $D/s/run/x lies inside share "
		"[a] (want sockets outside every share)"),
	   "a directory that does not exist yet");
	ok(said("3: error: [gateway] control_socket: $D/s-link/ctl lies inside "
		"share [a] (want sockets outside every share)"),
	   "the control socket, through a link");
	ok(said("6: error: [a] socket: $D/s-link/a.sock lies inside share [a] "
		"(want sockets outside every share)"),
	   "a share's own");
	is_int(load("[root]\npath = /\n"), -EINVAL, "the root directory");
	ok(strstr(try_messages, "c.conf:2: error: [gateway] socket_dir: "),
	   "holds the default directories: told at the share");
	is_int(load("[gateway]\ncache_dir = $D/s/x\nsocket_dir = $D/run\n"
		    "[a]\npath = $D/s\n[b]\npath = $D/t\ncasefold = nt\n"),
	       -EINVAL, "the cache inside a share");
	ok(said("2: error: [gateway] cache_dir: $D/s/x lies inside share [a] "
		"(want a directory outside every share)"),
	   "is told");
	is_int(load("[gateway]\ncache_dir = $D/s/x\nsocket_dir = $D/run\n"
		    "[a]\npath = $D/s\n"),
	       0, "unless nothing is kept there");
	is_int(load("[gateway]\nstate_dir = $D/s/x\nsocket_dir = $D/run\n"
		    "[a]\npath = $D/s\n[b]\npath = $D/t\nowners = store\n"),
	       -EINVAL, "the state inside a share");
	ok(said("2: error: [gateway] state_dir: $D/s/x lies inside share [a] "
		"(want a directory outside every share)"),
	   "is told");
	is_int(load("[gateway]\nstate_dir = $D/s/x\nsocket_dir = $D/run\n"
		    "[a]\npath = $D/s\n[b]\npath = $D/t\nowners = store\n"
		    "state_store = xattr\n"),
	       0, "unless no share must keep its own there");
	is_int(load("[gateway]\nsocket_dir = $D/s-not\n[a]\npath = $D/s\n"), 0,
	       "a name that only begins the same is outside");
}

static void
test_nesting(void)
{
	is_int(load("[in]\npath = $D/s/sub\n[out]\npath = $D/s-link\n"), 0,
	       "a share inside another");
	ok(said("2: warning: [in] path: $D/s/sub lies inside share [out] "
		"($D/s-link)"),
	   "is a warning");
	is_int(try_count_messages(), 1, "only one");
}

static void
test_twins(void)
{
	is_int(load("[rw]\npath = $D/s\n[ro]\npath = $D/s-link\nreadonly = yes\n"
		    "[rw2]\npath = $D/s\n"),
	       0, "two shares of one directory");
	ok(said("5: warning: [ro] readonly: yes, but share [rw] of the same "
		"directory is writable"),
	   "that differ in readonly: a warning");
	is_int(try_count_messages(), 1, "for one only");
}

static void
test_many_shares(void)
{
	enum { N = 1000 };
	struct timespec t0, t1;
	char *text = malloc(N * 60), *p = text;
	double s;

	if (!text)
		abort();
	for (int i = 0; i < N; i++)
		p += sprintf(p, "[share%d]\npath = /usr/lib\n", i);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	is_int(try_text(text), 0, "%d shares", N);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	s = (double)(t1.tv_sec - t0.tv_sec) +
	    (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
	printf("# %.3f s\n", s);
	ok(s < 5, "take no time");
	is_str(try_share("share999")->path, "/usr/lib",
	       "the last one is there");
	free(text);
}

int
main(void)
{
	try_begin();
	try_mkdir("s");
	try_mkdir("s/sub");
	try_mkdir("t");
	try_mkdir("u");
	try_mkdir("run");
	test_paths();
	test_socket_length();
	test_same_socket();
	test_socket_dir();
	test_sockets_outside_shares();
	test_nesting();
	test_twins();
	test_many_shares();
	return tap_done();
}
