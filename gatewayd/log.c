/* SPDX-License-Identifier: MIT */
/* The log: see log.h.  Each line is one write(2), so lines never mix. */
#include "gatewayd/log.h"
#include "gatewayd/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_BURST 10
#define LOG_EVERY_US 1000000

static int log_fd = 2;
static _Atomic enum conf_log log_level = CONF_LOG_INFO;
static struct lines *_Atomic log_lines;

static const struct {
	const char *name;
	int priority;		/* as in syslog(3) */
} levels[] = {
	[CONF_LOG_ERROR] = { "error", 3 },
	[CONF_LOG_WARN] = { "warn", 4 },
	[CONF_LOG_INFO] = { "info", 6 },
	[CONF_LOG_DEBUG] = { "debug", 7 },
};

int
log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY,
		      0640);

	if (fd < 0)
		return -errno;
	log_fd = fd;
	return 0;
}

void
log_keep(struct lines *lines)
{
	atomic_store(&log_lines, lines);
}

void
log_set_level(enum conf_log level)
{
	log_level = level;
}

/* Is standard error the journal?  systemd.exec(5), $JOURNAL_STREAM. */
bool
log_is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!env || log_fd != 2 || sscanf(env, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return !fstat(2, &st) && st.st_dev == dev && st.st_ino == ino;
}

/* A guest's or a client's bytes must not forge lines. */
static void
clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* For who reads the file `log`: with the time, which the journal adds. */
static void
keep(enum conf_log level, const char *text)
{
	struct lines *lines = atomic_load(&log_lines);
	time_t now = time(NULL);
	char line[1100];
	struct tm tm;
	size_t n;

	if (!lines)
		return;
	gmtime_r(&now, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ ", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, "%s: %s",
			      levels[level].name, text);
	lines_add(lines, line, n);
}

static void
put(enum conf_log level, const char *text)
{
	char line[1024];
	ssize_t done;
	int n;

	if (log_is_journal())
		n = snprintf(line, sizeof(line), "<%d>%s\n",
			     levels[level].priority, text);
	else
		n = snprintf(line, sizeof(line), "gatewayd: %s: %s\n",
			     levels[level].name, text);
	done = write(log_fd, line, (size_t)n);
	(void)done;		/* where could that be reported? */
}

static void
vlog(enum conf_log level, unsigned skipped, const char *fmt, va_list ap)
{
	char text[960];
	int n;

	if (level > log_level)
		return;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (skipped && n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n,
			 " (%u like it not shown)", skipped);
	clean(text);
	keep(level, text);
	put(level, text);
}

void
log_copy(const char *fmt, ...)
{
	char text[960];
	va_list ap;

	if (log_level < CONF_LOG_INFO)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	put(CONF_LOG_INFO, text);
}

bool
log_has_room(void)
{
	struct pollfd fd = { .fd = log_fd, .events = POLLOUT };

	return poll(&fd, 1, 0) > 0 && fd.revents & POLLOUT;
}

#define DEFINE_LOG(name, level)                                              \
	void name(const char *fmt, ...)                                      \
	{                                                                    \
		va_list ap;                                                  \
									     \
		va_start(ap, fmt);                                           \
		vlog(level, 0, fmt, ap);                                     \
		va_end(ap);                                                  \
	}

DEFINE_LOG(log_error, CONF_LOG_ERROR)
DEFINE_LOG(log_warn, CONF_LOG_WARN)
DEFINE_LOG(log_info, CONF_LOG_INFO)
DEFINE_LOG(log_debug, CONF_LOG_DEBUG)

/* conf_load() says which is which: "FILE:LINE: warning: ...". */
static enum conf_log
level_of(const char *line, size_t n)
{
	static const char mark[] = ": warning: ";

	return memmem(line, n, mark, sizeof(mark) - 1) ? CONF_LOG_WARN :
							 CONF_LOG_ERROR;
}

void
log_messages(const char *prefix, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if (level_of(text, n) == CONF_LOG_WARN)
			log_warn("%s%.*s", prefix, (int)n, text);
		else
			log_error("%s%.*s", prefix, (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static uint64_t
clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* A token bucket in one number: the time at which it would be empty. */
static bool
limit_passes(struct log_limit *limit)
{
	unsigned long long now = clock_us(), next, from, most;

	most = (limit->burst ? limit->burst : LOG_BURST) - 1;
	next = atomic_load(&limit->next_us);
	do {
		from = next > now ? next : now;
		if (from - now > most * LOG_EVERY_US) {
			atomic_fetch_add(&limit->skipped, 1);
			return false;
		}
	} while (!atomic_compare_exchange_weak(&limit->next_us, &next,
					       from + LOG_EVERY_US));
	return true;
}

void
log_limited(struct log_limit *limit, enum conf_log level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level || !limit_passes(limit))
		return;
	va_start(ap, fmt);
	vlog(level, atomic_exchange(&limit->skipped, 0), fmt, ap);
	va_end(ap);
}
