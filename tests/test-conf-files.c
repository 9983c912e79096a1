/* SPDX-License-Identifier: MIT */
/* Which files are read, in which order, and what counts when they differ. */
#include "config.h"

#include <sys/wait.h>

#include "tests/conf-try.h"

static void
test_order(void)
{
	try_mkdir("order");
	try_mkdir("order/conf.d");
	try_write("order/gatewayd.conf", "[a]\npath = /usr\ncomment = main\n"
					 "allow_uids = 1\nmax_clients = 5\n");
	try_write("order/conf.d/B.conf", "[a]\ncomment = B\nallow_uids = 2\n");
	try_write("order/conf.d/a.conf", "[a]\ncomment = a\nallow_uids = 3\n"
					 "[b]\npath = /bin\n");
	try_write("order/conf.d/.hidden.conf", "[hidden]\npath = /\n");
	try_write("order/conf.d/z.conf.bak", "[bak]\npath = /\n");
	is_int(try_file("order/gatewayd.conf"), 0, "main file and conf.d");
	is_str(try_share("a")->comment, "a", "later files win, 'B' < 'a'");
	is_int(try_share("a")->max_clients, 5, "other values stay");
	is_int(try_share("a")->allow_uids.n, 3, "lists append");
	is_str(try_share("a")->allow_uids.v[2], "3", "in order");
	is_int(try_conf->nshares, 2, "hidden and other files are not read");
	is_str(try_conf->shares[0]->tag, "a", "shares in the order");
	is_str(try_conf->shares[1]->tag, "b", "of the files");
	ok(strstr(try_share("b")->file, "/order/conf.d/a.conf") != NULL,
	   "each knows its file");
	is_int(try_share("b")->line, 4, "and line");
	ok(!conf_find(try_conf, "hidden"), "no other share is found");

	try_write("order/conf.d/c.conf", "[a]\nallow_uids =\n");
	is_int(try_file("order/gatewayd.conf"), 0, "an empty value");
	is_int(try_share("a")->allow_uids.n, 0, "resets a list");
}

static void
test_defaults_anywhere(void)
{
	try_mkdir("def");
	try_mkdir("def/conf.d");
	try_write("def/gatewayd.conf", "[a]\npath = /usr\n[defaults]\n"
				       "readonly = yes\nallow_uids = 1 2\n"
				       "max_clients = 3\n[gateway]\n"
				       "socket_dir = /run/x/\n");
	try_write("def/conf.d/1.conf", "[b]\npath = /bin\nreadonly = no\n"
				       "allow_uids = 3\n[c]\npath = /etc\n"
				       "allow_uids =\nallow_uids = 4\n");
	try_write("def/conf.d/2.conf", "[defaults]\nmax_clients = 4\n");
	is_int(try_file("def/gatewayd.conf"), 0, "[defaults] below a share");
	ok(try_share("a")->readonly, "counts for it");
	ok(!try_share("b")->readonly, "unless it says otherwise");
	is_int(try_share("a")->max_clients, 4, "also from a later file");
	is_int(try_share("b")->allow_uids.n, 3, "a share's list appends");
	is_int(try_share("c")->allow_uids.n, 1, "or begins anew");
	is_str(try_share("a")->socket, "/run/x/a.sock",
	       "[gateway] below a share");
}

static void
test_same_section_in_two_files(void)
{
	try_mkdir("two");
	try_mkdir("two/conf.d");
	try_write("two/gatewayd.conf", "[a]\npath = /usr\n");
	try_write("two/conf.d/1.conf", "[a]\npath = /bin\npath = /etc\n");
	is_int(try_file("two/gatewayd.conf"), -EINVAL,
	       "a file may change another's key, but once");
	is_int(try_count_messages(), 1, "one mistake");
}

static void
test_missing_files(void)
{
	char *line;

	is_int(try_file("none.conf"), -ENOENT, "a named file must exist");
	if (asprintf(&line,
		     "%s/none.conf: error: cannot be read: No such file "
		     "or directory",
		     try_dir) < 0)
		abort();
	ok(try_said(line), "and it says so");
	free(line);
	is_int(try_file(""), -EISDIR, "a directory is no file");
	try_mkdir("odd");
	try_mkdir("odd/conf.d");
	try_mkdir("odd/conf.d/dir.conf");
	try_write("odd/gatewayd.conf", "");
	is_int(try_file("odd/gatewayd.conf"), -EISDIR, "nor in conf.d");
	is_int(try_shares(NULL, NULL), 0, "an empty file");
	is_int(try_conf->nshares, 0, "is a configuration without shares");
}

static void
test_pipes_do_not_block(void)
{
	char *fifo;

	try_mkdir("fifo");
	try_mkdir("fifo/conf.d");
	try_write("fifo/gatewayd.conf", "");
	fifo = try_path("fifo/conf.d/x.conf");
	is_int(mkfifo(fifo, 0600), 0, "a pipe in conf.d");
	free(fifo);
	alarm(20);
	is_int(try_file("fifo/gatewayd.conf"), -EINVAL, "is refused");
	alarm(0);
}

static void
test_endless_file(void)
{
	struct conf_source src = { .file = "/dev/zero" };

	try_forget();
	is_int(conf_load(&src, &try_conf, &try_messages), -EFBIG,
	       "a file without end is refused");
}

static void
test_include(void)
{
	try_mkdir("inc");
	try_mkdir("inc/more");
	try_write("inc/gatewayd.conf", "[gateway]\ninclude = more/*.conf\n"
				       "include = $D/inc/one file\n"
				       "[a]\npath = /usr\ncomment = main\n");
	try_write("inc/more/2.conf", "[a]\ncomment = two\n");
	try_write("inc/more/1.conf", "[a]\ncomment = one\n[gateway]\n"
				     "include = deep/x\n");
	try_write("inc/one file", "[b]\npath = /bin\n");
	try_mkdir("inc/more/deep");
	try_write("inc/more/deep/x", "[c]\npath = /etc\n[gateway]\n"
				     "include = ../../gatewayd.conf\n");
	is_int(try_file("inc/gatewayd.conf"), 0, "include");
	is_str(try_share("a")->comment, "two", "a pattern, in order");
	is_str(try_share("b")->path, "/bin", "a name with a blank");
	is_str(try_share("c")->path, "/etc", "relative to the including file");
	ok(try_messages &&
		   strstr(try_messages, "/inc/more/deep/x:4: warning: "
					"[gateway] include: ") &&
		   strstr(try_messages, "has been read before"),
	   "a circle is a warning");

	try_write("inc/gatewayd.conf", "[gateway]\ninclude = none*\n"
				       "include = nofile\n");
	is_int(try_file("inc/gatewayd.conf"), -ENOENT,
	       "a name must exist, a pattern need not match");
	ok(strstr(try_messages, "/inc/gatewayd.conf:3: error: [gateway] "
				"include: "),
	   "with the include's line");
	is_int(try_text("[gateway]\ninclude = /no/such/file\n"), 0,
	       "a text alone reads no file");
}

static void
test_include_reset(void)
{
	try_mkdir("reset");
	try_mkdir("reset/conf.d");
	try_write("reset/gatewayd.conf", "[gateway]\ninclude = nofile\n");
	try_write("reset/conf.d/x.conf", "[gateway]\ninclude =\n");
	is_int(try_file("reset/gatewayd.conf"), 0,
	       "an include is read after conf.d, which may drop it");
}

static void
test_command_line(void)
{
	char *cwd = getcwd(NULL, 0), *real;

	is_int(try_shares("a:/usr", "b:/bin"), 0, "--share twice");
	is_str(try_share("a")->path, "/usr", "the first");
	is_str(try_share("b")->path, "/bin", "the second");
	is_int(chdir(try_dir), 0, "in the test's directory");
	try_mkdir("here");
	is_int(try_shares("a:here", "b:here/.."), 0, "relative paths");
	real = realpath("here", NULL);
	is_str(try_share("a")->path, real, "are made absolute");
	free(real);
	is_int(try_shares("a:none", NULL), -EINVAL, "no such directory");
	ok(try_said("--share a:none: error: [a] path: none: No such file or "
		    "directory (want TAG:DIRECTORY)"),
	   "says the argument");
	is_int(try_shares("a:/no/where", NULL), -EINVAL, "nor absolute");
	ok(try_said("--share a:/no/where: error: [a] path: /no/where: No such "
		    "file or directory (want a directory that exists)"),
	   "says the argument");
	is_int(try_shares("a", NULL), -EINVAL, "no path");
	ok(try_said("--share a: error: no path (want TAG:DIRECTORY)"),
	   "says so");
	is_int(try_shares("a:", NULL), -EINVAL, "an empty path");
	ok(try_said("--share a:: error: [a] path: empty path (want "
		    "TAG:DIRECTORY)"),
	   "says so");
	is_int(try_shares(":/usr", NULL), -EINVAL, "an empty tag");
	ok(try_said("--share :/usr: error: [] tag: empty (want 1 to 36 bytes)"),
	   "says so");
	is_int(try_shares("a:/usr", "a:/bin"), -EINVAL, "a tag twice");
	ok(try_said("--share a:/bin: error: [a] tag stands twice on the "
		    "command line"),
	   "says so");
	is_int(try_shares("gateway:/usr", "defaults:/usr"), -EINVAL,
	       "names of sections");
	is_int(try_count_messages(), 2, "are no tags");
	is_int(try_shares("a:/usr #x", "b:/a\nb"), -EINVAL,
	       "a path that could not be printed");
	is_int(try_count_messages(), 2, "one line each");
	ok(!chdir(cwd), "back");
	free(cwd);
}

static void
test_command_line_wins(void)
{
	const char *const shares[] = { "a:/bin", NULL };
	char *path = try_path("cmd.conf");
	struct conf_source src = { .file = path, .shares = shares };

	try_write("cmd.conf", "[a]\npath = /usr\ncomment = x\n");
	try_forget();
	is_int(conf_load(&src, &try_conf, &try_messages), 0,
	       "--share with a tag of the file");
	is_str(try_share("a")->path, "/bin", "changes its path");
	is_str(try_share("a")->comment, "x", "and nothing else");
	free(path);
}

static int
check_user_defaults(void)
{
	struct conf_source src = { .file = NULL };
	struct conf *conf = NULL;
	char *messages = NULL, want[80];
	int bad = 0;

	unsetenv("XDG_RUNTIME_DIR");
	setenv("XDG_CONFIG_HOME", try_dir, 1);
	if (conf_load(&src, &conf, &messages) || !conf_find(conf, "mine"))
		return 1;
	snprintf(want, sizeof(want), "/tmp/gatewayd-%u", (unsigned)geteuid());
	bad |= strcmp(conf->gateway.socket_dir, want) ? 2 : 0;
	bad |= strcmp(conf_find(conf, "mine")->socket_group, "") ? 4 : 0;
	conf_free(conf);
	free(messages);
	setenv("XDG_RUNTIME_DIR", "/run/user/x", 1);
	setenv("HOME", try_dir, 1);
	setenv("XDG_CONFIG_HOME", "relative", 1);
	if (conf_load(&src, &conf, &messages) || !conf_find(conf, "home"))
		return bad | 8;
	bad |= strcmp(conf->gateway.socket_dir, "/run/user/x/gatewayd") ? 16
									: 0;
	bad |= strcmp(conf->gateway.control_socket, "/run/user/x/gatewayd/ctl")
		       ? 32
		       : 0;
	conf_free(conf);
	free(messages);
	return bad;
}

/* In a child, as somebody else if we are root. */
static void
test_user_defaults(void)
{
	int status = -1;
	pid_t pid;

	try_mkdir("gatewayd");
	try_write("gatewayd/gatewayd.conf", "[mine]\npath = /usr\n");
	try_mkdir(".config");
	try_mkdir(".config/gatewayd");
	try_write(".config/gatewayd/gatewayd.conf", "[home]\npath = /usr\n");
	if (chmod(try_dir, 0755))
		abort();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!geteuid() && (setgid(65534) || setuid(65534)))
			_exit(100);
		_exit(check_user_defaults());
	}
	waitpid(pid, &status, 0);
	is_int(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0,
	       "who is not root has the XDG directories");
}

static void
test_references(void)
{
	struct conf_share *held;

	is_int(try_shares("a:/usr", "b:/bin"), 0, "two shares");
	held = conf_share_get(conf_find(try_conf, "a"));
	try_forget();
	is_str(held->path, "/usr", "a held share outlives its configuration");
	ok(held->file && held->tag, "with its names");
	conf_share_put(held);
}

int
main(void)
{
	try_begin();
	test_order();
	test_defaults_anywhere();
	test_same_section_in_two_files();
	test_missing_files();
	test_pipes_do_not_block();
	test_endless_file();
	test_include();
	test_include_reset();
	test_command_line();
	test_command_line_wins();
	test_user_defaults();
	test_references();
	return tap_done();
}
