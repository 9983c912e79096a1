/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl against a server that answers from a script: what it asks, what
 * it prints, and its exit status.
 */
#include "config.h"

#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 10000

struct exchange {
	const char *request;	/* a line, expected */
	const char *reply;	/* bytes; NULL = close the connection */
};

struct test {
	const char *name;
	const char *args[8];	/* after "-s SOCKET" */
	struct exchange talk[8];	/* none: nobody listens */
	int status;
	const char *out;	/* all of standard output; NULL = any */
	const char *err;	/* part of standard error; NULL = any */
};

/* clang-format off */
static const struct test tests[] = {
	{ "read prints the bytes", { "read", "version" },
	  { { "read version", "ok 6\n0.1.0\n" } }, 0, "0.1.0\n", "" },
	{ "an empty file", { "read", "log" },
	  { { "read log", "ok 0\n" } }, 0, "", "" },
	{ "ls of the root", { "ls" },
	  { { "ls /", "ok 14\nversion\nshares" } }, 0, "version\nshares", "" },
	{ "ls of a directory", { "ls", "shares" },
	  { { "ls shares", "ok 3\na\nb" } }, 0, "a\nb", "" },
	{ "write joins its words", { "write", "ctl", "drop", "home" },
	  { { "write ctl drop home", "ok 0\n" } }, 0, "", "" },
	{ "watch prints until the end", { "watch", "log" },
	  { { "watch log", "ok stream\none\ntwo\n" }, { "", NULL } }, 0, "one\ntwo\n", "" },
	{ "a refusal is status 1", { "read", "nothing" },
	  { { "read nothing", "error ENOENT no such file\n" } }, 1, "", "no such file" },
	{ "a refusal without words", { "read", "nothing" },
	  { { "read nothing", "error ENOENT\n" } }, 1, "", "ENOENT" },
	{ "no permission is status 4", { "write", "ctl", "shutdown" },
	  { { "write ctl shutdown", "error EPERM only root may\n" } }, 4, "", "only root may" },
	{ "a reply cut short", { "read", "stats" },
	  { { "read stats", "ok 100\nabc" }, { "", NULL } }, 1, "", "closed the connection" },
	{ "no reply at all", { "read", "stats" },
	  { { "read stats", NULL } }, 1, "", "closed the connection" },
	{ "not a reply", { "read", "stats" },
	  { { "read stats", "HTTP/1.1 400 Bad Request\r\n" } }, 1, "", "not a reply" },
	{ "a count that is no number", { "read", "stats" },
	  { { "read stats", "ok 1x\n" } }, 1, "", "not a reply" },
	{ "a negative count", { "read", "stats" },
	  { { "read stats", "ok -1\n" } }, 1, "", "not a reply" },
	{ "a count beyond all reason", { "read", "stats" },
	  { { "read stats", "ok 99999999999999999999\n" } }, 1, "", "not a reply" },
	{ "status of one share", { "status", "a b" },
	  { { "read shares/a%20b/status", "ok 4\nx y\n" } }, 0, "x y\n", "" },
	{ "status of all", { "status" },
	  { { "ls shares", "ok 8\nhome\nw/\n" },
	    { "read shares/home/status",
	      "ok 57\ntag home\npath /srv/home\nstate serving\nsessions 2\nextra 1\n" },
	    { "read shares/home/stats", "ok 23\nrequests 4711\nerrors 3\n" },
	    { "read shares/w/status", "ok 29\npath /srv/w\nstate listening\n\n" },
	    { "read shares/w/stats", "ok 0\n" } }, 0,
	  "TAG              STATE      SESSIONS     REQUESTS PATH\n"
	  "home             serving           2         4711 /srv/home\n"
	  "w                listening         -            - /srv/w\n", "" },
	{ "nobody listens", { "read", "version" }, { { NULL, NULL } }, 3, "", "no gatewayd" },
	{ "no verb", { NULL }, { { NULL, NULL } }, 2, "", "usage" },
	{ "an unknown verb", { "frob" }, { { NULL, NULL } }, 2, "", "no verb \"frob\"" },
	{ "read without a path", { "read" }, { { NULL, NULL } }, 2, "", "usage" },
	{ "read with two", { "read", "a", "b" }, { { NULL, NULL } }, 2, "", "usage" },
	{ "write without a text", { "write", "ctl" }, { { NULL, NULL } }, 2, "", "usage" },
	{ "an unknown option", { "-x" }, { { NULL, NULL } }, 2, "", "usage" },
	{ "version", { "-V" }, { { NULL, NULL } }, 0, NULL, "" },
	{ "help", { "-h" }, { { NULL, NULL } }, 0, NULL, "" },
	{ "a path with a newline", { "read", "a\nread b" }, { { "", NULL } }, 2, "", "one word" },
	{ "a text with a newline", { "write", "ctl", "a\nb" }, { { "", NULL } }, 2, "", "one line" },
	{ "mount asks for the socket", { "mount", "no/such", "/" },
	  { { "read shares/no%2Fsuch/status", "error ENOENT no share\n" } }, 1, "", "no share" },
	{ "mount of a share without one", { "mount", "x", "/" },
	  { { "read shares/x/status", "ok 15\nstate disabled\n" } }, 1, "", "has no socket" },
	{ "mount without a directory", { "mount", "x" }, { { NULL, NULL } }, 2, "", "usage" },
	{ "mount with too many queues", { "mount", "--queues", "99", "x", "/" },
	  { { NULL, NULL } }, 2, "", "--queues" },
	{ "mount of a socket that is not there", { "mount", "--socket", "/nonexistent/s", "/" },
	  { { NULL, NULL } }, 1, "", "/nonexistent/s" },
	{ "mount on nothing", { "mount", "-f", "--socket", "/nonexistent/s", "/nonexistent/d" },
	  { { NULL, NULL } }, 1, "", "No such file" },
};
/* clang-format on */

static char dir[] = "/tmp/test-ctlclient.XXXXXX";
static char sock_path[64], out_path[64], err_path[64];

static int
listen_at(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sun.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    listen(fd, 1) < 0) {
		perror(path);
		exit(99);
	}
	return fd;
}

static pid_t
start(const struct test *t)
{
	const char *build = getenv("top_builddir");
	const char *argv[16] = { "gatewayctl", "-s", sock_path };
	char prog[512];
	pid_t pid;

	snprintf(prog, sizeof(prog), "%s/gatewayd/gatewayctl",
		 build ? build : ".");
	for (int i = 0; t->args[i]; i++)
		argv[3 + i] = t->args[i];
	pid = fork();
	if (pid == 0) {
		dup2(open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
		dup2(open(err_path, O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
		execv(prog, (char **)argv);
		_exit(126);
	}
	return pid;
}

/* One request line; false at the end of the connection. */
static bool
get_line(int fd, char *line, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t n = 0;

	while (n + 1 < size && poll(&pfd, 1, WAIT_MS) == 1 &&
	       read(fd, line + n, 1) == 1) {
		if (line[n] == '\n') {
			line[n] = '\0';
			return true;
		}
		n++;
	}
	line[n] = '\0';
	return false;
}

static bool
serve(const struct test *t, int listener)
{
	struct pollfd pfd = { .fd = listener, .events = POLLIN };
	bool good = true;
	int fd = poll(&pfd, 1, WAIT_MS) == 1 ? accept(listener, NULL, NULL) : -1;

	for (int i = 0; fd >= 0 && t->talk[i].request; i++) {
		const struct exchange *x = &t->talk[i];
		char line[256];

		if (*x->request &&
		    (!get_line(fd, line, sizeof(line)) ||
		     strcmp(line, x->request))) {
			printf("# asked \"%s\"\n# want  \"%s\"\n", line,
			       x->request);
			good = false;
			break;
		}
		if (!x->reply)
			break;
		if (send(fd, x->reply, strlen(x->reply), MSG_NOSIGNAL) < 0)
			good = false;
		if (!t->talk[i + 1].request)
			shutdown(fd, SHUT_WR);
	}
	if (fd >= 0)
		close(fd);
	return good && fd >= 0;
}

static void
slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

static void
run(const struct test *t)
{
	int listener = t->talk[0].request ? listen_at(sock_path) : -1;
	char out[4096], err[4096];
	bool asked = true;
	int status = -1;
	pid_t pid = start(t);

	if (listener >= 0) {
		asked = serve(t, listener);
		close(listener);
		unlink(sock_path);
	}
	waitpid(pid, &status, 0);
	slurp(out_path, out, sizeof(out));
	slurp(err_path, err, sizeof(err));
	ok(asked, "%s: it asks what it should", t->name);
	is_int(WIFEXITED(status) ? WEXITSTATUS(status) : -1, t->status,
	       "%s: exit status", t->name);
	if (t->out)
		is_str(out, t->out, "%s: standard output", t->name);
	if (t->err && !*t->err)
		is_str(err, "", "%s: nothing on standard error", t->name);
	else if (t->err && !ok(strstr(err, t->err), "%s: says why", t->name))
		printf("# %s\n", err);
}

/* A socket that we may not connect to: status 4. */
static void
run_forbidden(void)
{
	static const struct test t = {
		.name = "a socket for others", .args = { "read", "version" },
	};
	int listener, status = -1;
	pid_t pid;

	if (geteuid() == 0) {
		tap_skip(t.name, "root may connect to any socket");
		return;
	}
	listener = listen_at(sock_path);
	chmod(sock_path, 0);
	pid = start(&t);
	waitpid(pid, &status, 0);
	is_int(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 4, "%s", t.name);
	close(listener);
	unlink(sock_path);
}

int
main(void)
{
	if (!mkdtemp(dir)) {
		perror(dir);
		return 99;
	}
	snprintf(sock_path, sizeof(sock_path), "%s/ctl", dir);
	snprintf(out_path, sizeof(out_path), "%s/out", dir);
	snprintf(err_path, sizeof(err_path), "%s/err", dir);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		run(&tests[i]);
	run_forbidden();
	unlink(out_path);
	unlink(err_path);
	rmdir(dir);
	return tap_done();
}
