/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what a client of the control socket sends.  The daemon is
 * there as a whole, but for main() and the guests, with two shares, of which
 * one records owners; the input goes through a real connection in one piece or
 * in several.  Every request must be answered, and in the form of
 * gatewayd-control(7).
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gatewayd/gw.h"

#define ANSWERS_MAX (16 << 20)
#define LOG_KEPT (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char dir[64] = "/dev/shm/gatewayd-fuzz-XXXXXX";
static char conf_file[80];
static struct gw gw = { .mail_fd = -1 };

static void
die(const char *what)
{
	fprintf(stderr, "fuzz-ctl: %s\n", what);
	exit(1);
}

static void
start_shares(void)
{
	for (size_t i = 0; i < gw.conf->nshares; i++)
		share_start(&gw, gw.conf->shares[i]);
	gw_run_start(&gw);
}

static void
make_files(void)
{
	static const char *const names[] = { "a", "b c", "d/f" };
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/shared", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/shared/d", dir);
	mkdir(path, 0755);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/shared/%s", dir, names[i]);
		f = fopen(path, "we");
		if (!f)
			die(path);
		fclose(f);
	}
}

static void
write_conf(void)
{
	FILE *f;

	if (access("/dev/shm", W_OK))
		snprintf(dir, sizeof(dir), "/tmp/gatewayd-fuzz-XXXXXX");
	if (!mkdtemp(dir))
		die("no directory for temporary files");
	snprintf(conf_file, sizeof(conf_file), "%s/gatewayd.conf", dir);
	f = fopen(conf_file, "we");
	if (!f)
		die(conf_file);
	fprintf(f,
		"[gateway]\nsocket_dir = %s\ncontrol_socket = %s/ctl\n"
		"state_dir = %s/state\n"
		"thread_pool_size = 1\nlog_level = error\n"
		"[defaults]\nreadonly = yes\nowners = host\n"
		"[one]\npath = %s/shared\nowners = store\n"
		"[a tag%%]\npath = %s/shared\n",
		dir, dir, dir, dir, dir);
	fclose(f);
	make_files();
}

static void
clean_up(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		fprintf(stderr, "fuzz-ctl: cannot remove %s\n", dir);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char why[512] = "", *messages = NULL;

	(void)argc;
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	write_conf();
	atexit(clean_up);
	gw.source.file = conf_file;
	if (conf_load(&gw.source, &gw.conf, &messages))
		die(messages ? messages : "configuration");
	free(messages);
	log_set_level(CONF_LOG_ERROR);
	if (lines_new(LOG_KEPT, &gw.log))
		die("no log");
	log_keep(gw.log);
	gw.state_dir = strdup(gw.conf->gateway.state_dir);
	if (!gw.state_dir || gw_init(&gw) || fs_budget_new(&gw.budget) ||
	    pool_new(&gw, 1, &gw.pool) ||
	    ctl_new(&gw, &gw.ctl, why, sizeof(why)))
		die(why);
	start_shares();
	return 0;
}

static int
dial(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/ctl", dir);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)))
		die("cannot connect");
	return fd;
}

/* Take what has arrived.  False at the end of the connection. */
static bool
take(int fd, char *answers, size_t *n)
{
	ssize_t got;

	while ((got = recv(fd, answers + *n, ANSWERS_MAX - *n, 0)) > 0)
		*n += (size_t)got;
	return got < 0 && errno == EAGAIN && *n < ANSWERS_MAX;
}

static bool
watches(const char *answers, size_t n)
{
	return memmem(answers, n, "ok stream\n", 10);
}

/* Read until the daemon has answered all, which may take a thread of its pool;
 * a watch goes on until the client leaves. */
static size_t
listen_to(int fd, char *answers, size_t n)
{
	int idle = 0;

	while (idle < 4) {
		size_t before = n;
		bool watch = watches(answers, n);

		event_base_loop(gw.base, watch ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
		if (!take(fd, answers, &n))
			break;
		idle = watch && n == before ? idle + 1 : 0;
	}
	return n;
}

/* Send the input in pieces of `piece` bytes. */
static size_t
converse(int fd, const uint8_t *data, size_t size, size_t piece, char *answers)
{
	size_t sent = 0, n = 0;

	while (sent < size) {
		size_t len = size - sent < piece ? size - sent : piece;
		ssize_t put = send(fd, data + sent, len, MSG_NOSIGNAL);

		if (put < 0 && errno != EAGAIN)
			return n;
		sent += put > 0 ? (size_t)put : 0;
		event_base_loop(gw.base, EVLOOP_NONBLOCK);
		if (!take(fd, answers, &n))
			return n;
	}
	shutdown(fd, SHUT_WR);
	return listen_to(fd, answers, n);
}

static void
bad_answer(const char *at, size_t left)
{
	fprintf(stderr, "fuzz-ctl: not an answer: \"%.*s\"\n",
		left < 100 ? (int)left : 100, at);
	abort();
}

/* "ok N" and N bytes, "ok stream" and lines, or "error NAME why". */
static void
check_answers(const char *p, size_t left)
{
	while (left) {
		const char *end = memchr(p, '\n', left);
		size_t line = end ? (size_t)(end - p) + 1 : 0, body = 0;

		if (!line)
			bad_answer(p, left);
		if (line == 10 && !memcmp(p, "ok stream\n", 10))
			return;
		if (line > 4 && !memcmp(p, "ok ", 3))
			body = strtoul(p + 3, NULL, 10);
		else if (line < 9 || memcmp(p, "error E", 7))
			bad_answer(p, left);
		if (body > left - line)
			bad_answer(p, left);
		p += line + body;
		left -= line + body;
	}
}

/* After "write ctl shutdown". */
static void
start_again(void)
{
	if (!gw.stopping)
		return;
	while (!TAILQ_EMPTY(&gw.shares)) {
		share_free(TAILQ_FIRST(&gw.shares));
		event_base_loop(gw.base, EVLOOP_NONBLOCK);
	}
	if (gw.stop_timer)
		event_free(gw.stop_timer);
	gw.stop_timer = NULL;
	gw.stopping = false;
	start_shares();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char answers[ANSWERS_MAX];
	size_t piece = size > 1 && data[0] >= 0x80 ? data[0] & 0x7f : size;
	size_t n;
	int fd = dial();

	n = converse(fd, data, size, piece ? piece : 1, answers);
	close(fd);
	for (int i = 0; i < 3; i++)
		event_base_loop(gw.base, EVLOOP_NONBLOCK);
	if (n < ANSWERS_MAX)
		check_answers(answers, n);
	start_again();
	return 0;
}
