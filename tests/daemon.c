/* SPDX-License-Identifier: MIT */
/* A daemon under test: see daemon.h. */
#include "config.h"

#include "tests/daemon.h"
#include "tests/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CTL_MS 10000
#define LOOK_MS 5		/* between two looks at what has no event */

int64_t
test_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ */
/* Start and stop. */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void
give_up(struct daemon *d, const char *why)
{
	char cmd[100];

	ok(0, "%s", why);
	snprintf(cmd, sizeof(cmd), "sed 's/^/# /' %s/log", d->work);
	if (system(cmd))
		printf("# no log\n");
	server_stop(&d->server);
	exit(tap_done());
}

void
daemon_keys(const struct daemon *d, const char *keys)
{
	char path[80];
	FILE *f;

	snprintf(path, sizeof(path), "%s/conf.d", d->work);
	mkdir(path, 0755);
	strcat(path, "/test.conf");
	f = fopen(path, "w");
	if (!f || fputs(keys ? keys : "", f) < 0 || fclose(f))
		ok(0, "write %s", path);
}

/* The first tag is the one that the server's own code configures. */
static void
write_sections(struct daemon *d, const char *const *tags)
{
	size_t size = 0;
	FILE *f = open_memstream(&d->sections, &size);

	for (int i = 0; f && tags[i]; i++) {
		char path[80];

		snprintf(path, sizeof(path), "%s/%s", d->work, tags[i]);
		mkdir(path, 0777);
		fprintf(f, "[%s]\npath = %s\n", tags[i], path);
	}
	if (f)
		fclose(f);
	d->server.extra = d->sections;
}

void
daemon_start(struct daemon *d, const char *const *tags, const char *keys)
{
	struct server *s = &d->server;
	int err;

	memset(d, 0, sizeof(*d));
	s->cpu = -1;
	if (!server_find(s) || s->kind != SERVER_GATEWAYD)
		tap_skip_all("gatewayd was not built");
	strcpy(d->work, "/tmp/gatewayd-test-XXXXXX");
	if (!mkdtemp(d->work))
		tap_skip_all("no directory for temporary files");
	chmod(d->work, 0755);
	strcpy(s->work, d->work);
	snprintf(s->share, sizeof(s->share), "%s/share", d->work);
	mkdir(s->share, 0777);
	write_sections(d, tags);
	daemon_keys(d, keys);
	err = server_start(s);
	if (err)
		give_up(d, "the daemon starts");
}

void
daemon_as_nobody(void)
{
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) || setresgid(65534, 65534, 65534) ||
	     setresuid(65534, 65534, 65534)))
		tap_skip_all("cannot become another user");
}

void
daemon_preload(const char *name)
{
	const char *build = getenv("top_builddir");
	const char *asan = getenv("ASAN_OPTIONS");
	char path[512], options[512];

	snprintf(path, sizeof(path), "%s/tests/%s", build ? build : ".", name);
	if (access(path, R_OK))
		tap_skip_all("a library of tests/ was not built");
	/* The runtime of a sanitizer wants to be first, and need not be. */
	snprintf(options, sizeof(options), "%s%sverify_asan_link_order=0",
		 asan ? asan : "", asan ? ":" : "");
	setenv("ASAN_OPTIONS", options, 1);
	setenv("LD_PRELOAD", path, 1);
}

void
daemon_kill(struct daemon *d)
{
	server_kill(&d->server);
}

int
daemon_again(struct daemon *d)
{
	return server_start(&d->server);
}

/* A guest can have taken every permission from its directories. */
static void
open_up(const struct daemon *d)
{
	char cmd[80];

	snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s", d->work);
	if (system(cmd))
		printf("# %s did not work\n", cmd);
}

/* Level error, and what sanitizers print. */
static const char *const complaints[] = {
	"gatewayd: error:", "Sanitizer", "runtime error:", "Assertion",
};

void
daemon_stop(struct daemon *d)
{
	int bad = 0, status;

	ok(server_is_alive(&d->server), "the daemon is still there");
	status = server_stop(&d->server);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	   "and stops when asked, with status 0");
	for (size_t i = 0; i < sizeof(complaints) / sizeof(*complaints); i++)
		bad += daemon_log_count(d, 0, complaints[i], "");
	if (d->forgiven)
		bad -= daemon_log_count(d, 0, complaints[0], d->forgiven);
	is_int(bad, 0, "its log complains of nothing");
	if (tap_failed) {
		char cmd[128];

		snprintf(cmd, sizeof(cmd), "grep -v ': info:' %s/log | "
			 "head -n 200 | sed 's/^/# /'", d->work);
		if (system(cmd))
			printf("# no log\n");
	}
	free(d->sections);
	open_up(d);
	nftw(d->work, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
daemon_socket(const struct daemon *d, const char *tag, char path[128])
{
	snprintf(path, 128, "%s/%s.sock", d->work, tag);
	return path;
}

const char *
daemon_file(const struct daemon *d, const char *tag, const char *name,
	    char path[512])
{
	snprintf(path, 512, "%s/%s/%s", d->work, tag, name);
	return path;
}

/* ------------------------------------------------------------------ */
/* The control socket. */

static int
ctl_connect(const struct daemon *d)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/ctl", d->work);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		close(fd);
		fd = -1;
	}
	return fd < 0 ? -errno : fd;
}

/* All until the other side closes; -ETIMEDOUT when it does not in time. */
static int
read_all(int fd, char *buf, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int64_t end = test_now_ms() + CTL_MS;
	size_t have = 0;
	ssize_t n;

	do {
		int64_t left = end - test_now_ms();

		if (left <= 0 || poll(&pfd, 1, (int)left) != 1)
			return -ETIMEDOUT;
		n = read(fd, buf + have, size - 1 - have);
		have += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	buf[have] = '\0';
	return 0;
}

int
daemon_ctl(const struct daemon *d, const char *line, char *buf, size_t size)
{
	size_t len = strlen(line);
	int fd = ctl_connect(d), err;
	char *body;

	buf[0] = '\0';
	if (fd < 0)
		return fd;
	if (send(fd, line, len, MSG_NOSIGNAL) != (ssize_t)len ||
	    send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		err = -EPIPE;
	else
		err = shutdown(fd, SHUT_WR) ? -errno : read_all(fd, buf, size);
	close(fd);
	if (err)
		return err;
	if (strncmp(buf, "ok ", 3))
		return -EPROTO;
	body = strchr(buf, '\n');
	body = body ? body + 1 : buf + strlen(buf);
	memmove(buf, body, strlen(body) + 1);
	return 0;
}

long
daemon_number(const struct daemon *d, const char *file, const char *name)
{
	static __thread char text[1 << 16];
	char line[128], want[64];
	const char *p;

	snprintf(line, sizeof(line), "read %s", file);
	if (daemon_ctl(d, line, text + 1, sizeof(text) - 1))
		return -1;
	text[0] = '\n';
	snprintf(want, sizeof(want), "\n%s ", name);
	p = strstr(text, want);
	if (!p)
		return -1;
	p += strlen(want);
	return strtol(strncmp(p, "count=", 6) ? p : p + 6, NULL, 10);
}

bool
daemon_has_sessions(const struct daemon *d, const char *tag, long n, int ms)
{
	int64_t end = test_now_ms() + ms;
	char file[80];

	snprintf(file, sizeof(file), "shares/%s/status", tag);
	while (daemon_number(d, file, "sessions") != n) {
		if (test_now_ms() > end)
			return false;
		poll(NULL, 0, LOOK_MS);
	}
	return true;
}

/* ------------------------------------------------------------------ */
/* The log. */

static FILE *
open_log(const struct daemon *d, long mark)
{
	char path[80];
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", d->work);
	f = fopen(path, "r");
	if (f)
		fseek(f, mark, mark < 0 ? SEEK_END : SEEK_SET);
	return f;
}

long
daemon_log_mark(const struct daemon *d)
{
	FILE *f = open_log(d, -1);
	long at = 0;

	if (f && !fseek(f, 0, SEEK_END))
		at = ftell(f);
	if (f)
		fclose(f);
	return at;
}

/* Lines with both strings; the first is kept in line[1024]. */
static int
scan_log(const struct daemon *d, long mark, const char *one, const char *two,
	 char *first)
{
	FILE *f = open_log(d, mark);
	char line[1024];
	int n = 0;

	first[0] = '\0';
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, one) && strstr(line, two) && n++ == 0)
			strcpy(first, line);
	if (f)
		fclose(f);
	first[strcspn(first, "\n")] = '\0';
	return n;
}

int
daemon_log_count(const struct daemon *d, long mark, const char *one,
		 const char *two)
{
	char line[1024];

	return scan_log(d, mark, one, two, line);
}

int
daemon_log_wait(const struct daemon *d, long mark, const char *one,
		const char *two, int n, int ms)
{
	int64_t end = test_now_ms() + ms;
	int have;

	while ((have = daemon_log_count(d, mark, one, two)) < n &&
	       test_now_ms() < end)
		poll(NULL, 0, LOOK_MS);
	return have;
}

const char *
daemon_log_line(const struct daemon *d, long mark, const char *one,
		const char *two)
{
	static char line[1024];

	scan_log(d, mark, one, two, line);
	return line;
}

/* ------------------------------------------------------------------ */
/* What it uses. */

/* Rings of io_uring come with threads and go with them, those of the worker pool
 * late; so do the kernel's helpers of theirs. */
static bool
is_of_ring(int dir, const char *name)
{
	char path[300], text[32] = "";
	int fd;

	if (readlinkat(dir, name, text, sizeof(text) - 1) > 0)
		return !strcmp(text, "anon_inode:[io_uring]");
	snprintf(path, sizeof(path), "%s/comm", name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return !strncmp(text, "iou-", 4);
}

static int
count_entries(const struct daemon *d, const char *what)
{
	char path[64];
	struct dirent *e;
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)d->server.pid, what);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += !is_of_ring(dirfd(dir), e->d_name);
	if (dir)
		closedir(dir);
	return n - 2;		/* "." and ".." */
}

static FILE *
open_proc(const struct daemon *d, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)d->server.pid, name);
	return fopen(path, "r");
}

void
daemon_use(const struct daemon *d, struct daemon_use *use)
{
	char line[512];
	FILE *f;

	memset(use, 0, sizeof(*use));
	use->fds = count_entries(d, "fd");
	use->threads = count_entries(d, "task") -
		       (int)daemon_number(d, "stats", "pool_threads");
	f = open_proc(d, "maps");
	while (f && fgets(line, sizeof(line), f))
		use->memory += strstr(line, "/memfd:guest") != NULL;
	if (f)
		fclose(f);
	f = open_proc(d, "status");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &use->rss_kib) != 1 &&
		    sscanf(line, "RssAnon: %ld", &use->anon_kib) == 1)
			break;
	if (f)
		fclose(f);
}

long
daemon_cpu_ms(const struct daemon *d)
{
	unsigned long user = 0, sys = 0;
	FILE *f = open_proc(d, "stat");
	int n = 0;

	if (f) {
		n = fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u "
			   "%*u %*u %*u %lu %lu", &user, &sys);
		fclose(f);
	}
	return n == 2 ? (long)(user + sys) * 1000 / sysconf(_SC_CLK_TCK) : -1;
}

/* For whoever looks into a failure. */
static void
show_fds(const struct daemon *d)
{
	char cmd[80];

	snprintf(cmd, sizeof(cmd), "ls -l /proc/%d/fd | grep -v socket: | "
		 "cut -c 30- | sed 's/^/# /'", (int)d->server.pid);
	if (system(cmd))
		printf("# cannot list them\n");
}

bool
daemon_settles(const struct daemon *d, const struct daemon_use *want, int ms,
	       const char *when)
{
	int64_t end = test_now_ms() + ms;
	struct daemon_use now;
	bool good;

	for (;;) {
		daemon_use(d, &now);
		good = now.fds <= want->fds && now.threads <= want->threads &&
		       now.memory <= want->memory;
		if (good || test_now_ms() > end)
			break;
		poll(NULL, 0, 4 * LOOK_MS);
	}
	if (!ok(good, "%s: descriptors, threads, mappings are as before", when))
		printf("# fds %d, before %d; threads %d, %d; memory %d, %d\n",
		       now.fds, want->fds, now.threads, want->threads,
		       now.memory, want->memory);
	if (!good)
		show_fds(d);
	return good;
}
