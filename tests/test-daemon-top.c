/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl top on a terminal: what it draws fits in 80 columns, and keys
 * change what it shows.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#define WAIT_MS 15000

static struct daemon d;
static atomic_bool enough;
static char screen[1 << 16];	/* the last one drawn, and what follows */
static size_t have;

static void *
keep_busy(void *arg)
{
	struct guest *g = arg;
	struct fuse_attr_out a;
	struct fuse_entry_out e;

	while (!atomic_load(&enough)) {
		guest_getattr(g, GUEST_ROOT, 0, &a);
		guest_getattr(g, GUEST_ROOT, 0, &a);
		guest_lookup(g, GUEST_ROOT, "none", &e);
	}
	return NULL;
}

static struct guest *
connect_guest(const char *tag, pthread_t *thread)
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
	pthread_create(thread, NULL, keep_busy, g);
	return g;
}

/* gatewayctl on a terminal of 80 columns and 24 rows; its side of it. */
static int
start_top(pid_t *pid)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	const char *build = getenv("top_builddir");
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	char prog[300], ctl[80];

	if (fd < 0 || grantpt(fd) || unlockpt(fd))
		tap_skip_all("no terminal can be had");
	snprintf(prog, sizeof(prog), "%s/gatewayd/gatewayctl",
		 build ? build : ".");
	snprintf(ctl, sizeof(ctl), "%s/ctl", d.work);
	*pid = fork();
	if (*pid)
		return fd;
	setsid();
	slave = open(ptsname(fd), O_RDWR);
	ioctl(slave, TIOCSWINSZ, &size);
	for (int i = 0; i < 3; i++)
		dup2(slave, i);
	execl(prog, prog, "-s", ctl, "top", "-d", "0.3", NULL);
	_exit(126);
}

/* Read on; what stood before the last clearing of the screen is forgotten. */
static bool
read_screen(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	static const char clear[] = "\033[H\033[J";
	char *p;
	ssize_t n;

	if (poll(&pfd, 1, ms) != 1)
		return false;
	if (have > sizeof(screen) / 2)
		have = 0;
	n = read(fd, screen + have, sizeof(screen) - 1 - have);
	if (n <= 0)
		return false;
	have += (size_t)n;
	screen[have] = '\0';
	while ((p = strstr(screen + 1, clear))) {
		have -= (size_t)(p - screen);
		memmove(screen, p, have + 1);
	}
	return true;
}

/* Wait until a screen has one string and, unless it is NULL, not another. */
static void
await(int fd, const char *what, const char *gone, const char *words)
{
	int64_t end = test_now_ms() + WAIT_MS;
	bool good = false;

	while (!good && test_now_ms() < end) {
		read_screen(fd, 100);
		good = strstr(screen, what) && strstr(screen, "\r\n") &&
		       (!gone || !strstr(screen, gone));
	}
	if (!ok(good, "%s", words))
		printf("# %.2000s\n", screen);
}

static void
press(int fd, char key)
{
	have = 0;
	screen[0] = '\0';
	if (write(fd, &key, 1) != 1)
		ok(0, "a key");
}

static size_t
longest_line(void)
{
	size_t most = 0, n;

	for (const char *p = screen + strlen("\033[H\033[J"); *p; p += n) {
		n = strcspn(p, "\r\n");
		if (n > most)
			most = n;
		n += strspn(p + n, "\r\n");
	}
	return most;
}

/* Is the row of one before that of the other? */
static bool
is_before(const char *one, const char *other)
{
	const char *p = strstr(screen, one), *q = strstr(screen, other);

	return p && q && p < q;
}

static void
test_keys(int fd)
{
	await(fd, "\nTAG ", NULL, "shares");
	await(fd, "\ntwo ", NULL, "all of them");
	is_int(longest_line() <= 80, 1, "in %zu columns", longest_line());
	ok(strstr(screen, "sorted by time spent; h for help"), "it says how");
	press(fd, '<');
	await(fd, "sorted by TAG;", NULL, "another order");
	await(fd, "\ntwo ", NULL, "(drawn)");
	ok(is_before("\none ", "\ntwo "), "by name");
	press(fd, 'r');
	await(fd, "the other way round", NULL, "reversed");
	await(fd, "\none ", NULL, "(drawn)");
	ok(is_before("\ntwo ", "\none "), "by name, backwards");
	press(fd, 'o');
	await(fd, "\nOPERATION ", "\nTAG ", "the operations of the first");
	await(fd, "\nGETATTR ", NULL, "(drawn)");
	ok(strstr(screen, "\ntwo\r\n"), "which is named");
	is_int(longest_line() <= 80, 1, "in %zu columns", longest_line());
	press(fd, 'h');
	await(fd, "new numbers now", "\nOPERATION ", "help");
	press(fd, 'h');
	await(fd, "\nOPERATION ", "new numbers", "and away");
	press(fd, 'p');
	await(fd, "; paused", NULL, "pause");
	while (read_screen(fd, 1500))
		continue;
	press(fd, 'x');
	ok(!read_screen(fd, 1000), "then nothing is drawn");
	press(fd, ' ');
	await(fd, "\nOPERATION ", NULL, "space draws anew");
	press(fd, 'o');
	await(fd, "\nTAG ", "\nOPERATION ", "the shares again");
	press(fd, 'p');
	await(fd, "\nTAG ", "; paused", "it goes on");
}

int
main(void)
{
	static const char *const tags[] = { "one", "two", NULL };
	struct guest *g[2];
	pthread_t thread[2];
	pid_t pid = 0;
	int fd, status = -1;

	daemon_start(&d, tags, NULL);
	g[0] = connect_guest("one", &thread[0]);
	g[1] = connect_guest("two", &thread[1]);
	fd = start_top(&pid);
	test_keys(fd);
	press(fd, 'q');
	while (read_screen(fd, WAIT_MS))
		continue;
	waitpid(pid, &status, 0);
	is_int(status, 0, "q ends it, with status 0");
	close(fd);
	atomic_store(&enough, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(thread[i], NULL);
		guest_close(g[i]);
	}
	daemon_stop(&d);
	return tap_done();
}
