/* SPDX-License-Identifier: MIT */
/*
 * Directory watches: inotify tells of each name that comes or goes, and does
 * so before the system call that made the change returns.  So once the queue
 * was read empty, every completed change is known.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "casefold/index.h"

enum {
	EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
		 IN_DELETE_SELF | IN_ONLYDIR,
	READ_BUFFER = 64 << 10,
	RETRY_US = 10 * 1000000,	/* after the kernel refused a watch */
	TICKS = 1024,
};

int
cf_watch_init(struct cf_watch *watch, unsigned max)
{
	*watch = (struct cf_watch){ .fd = -1, .max = max, .nbuckets = 1024 };
	watch->full_us = -RETRY_US;
	watch->epoch = 1;	/* 0 is never valid */
	watch->by_wd = calloc(watch->nbuckets, sizeof(*watch->by_wd));
	if (!watch->by_wd)
		return -ENOMEM;
	pthread_mutex_init(&watch->lock, NULL);
	return 0;
}

/* Others need watches, too: half of what the user may have. */
static unsigned
kernel_max(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	unsigned n = 8192;

	if (f && fscanf(f, "%u", &n) != 1)
		n = 8192;
	if (f)
		fclose(f);
	return n / 2;
}

/* A user may have few of them (fs.inotify.max_user_instances): where there is
 * none now, there may be one later.  Under watch->lock. */
static bool
open_queue(struct cf_watch *watch)
{
	if (watch->fd >= 0)
		return true;
	if (!watch->max || cf_clock_us() - watch->full_us < RETRY_US)
		return false;
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->fd < 0)
		watch->full_us = cf_clock_us();
	return watch->fd >= 0;
}

void
cf_watch_open(struct cf_watch *watch)
{
	unsigned max = kernel_max();

	if (watch->max > max)
		watch->max = max;
	pthread_mutex_lock(&watch->lock);
	open_queue(watch);
	pthread_mutex_unlock(&watch->lock);
}

void
cf_watch_fini(struct cf_watch *watch)
{
	if (watch->fd >= 0)
		close(watch->fd);
	free(watch->by_wd);
	pthread_mutex_destroy(&watch->lock);
}

/* ------------------------------------------------------------------ */
/* Which directory a watch belongs to.  Under watch->lock. */

static struct cf_index **
bucket_of(struct cf_watch *watch, int wd)
{
	return &watch->by_wd[(unsigned)wd & (watch->nbuckets - 1)];
}

static struct cf_index *
find_wd(struct cf_watch *watch, int wd)
{
	struct cf_index *index = *bucket_of(watch, wd);

	while (index && index->wd != wd)
		index = index->wd_chain;
	return index;
}

static void
unlink_wd(struct cf_watch *watch, struct cf_index *index)
{
	struct cf_index **p = bucket_of(watch, index->wd);

	while (*p != index)
		p = &(*p)->wd_chain;
	*p = index->wd_chain;
	watch->n--;
	pthread_mutex_lock(&index->lock);
	index->wd = -1;
	pthread_mutex_unlock(&index->lock);
}

static void
link_wd(struct cf_watch *watch, struct cf_index *index, int wd)
{
	struct cf_index *old = find_wd(watch, wd);

	if (old)
		unlink_wd(watch, old);
	pthread_mutex_lock(&index->lock);
	index->wd = wd;
	index->epoch = watch->epoch;
	pthread_mutex_unlock(&index->lock);
	index->wd_chain = *bucket_of(watch, wd);
	*bucket_of(watch, wd) = index;
	watch->n++;
}

/* Twice the buckets, when there are as many watches. */
static void
grow(struct cf_watch *watch)
{
	unsigned old = watch->nbuckets;
	struct cf_index **from = watch->by_wd, *index;
	struct cf_index **to = calloc(2 * (size_t)old, sizeof(*to));

	if (!to)
		return;
	watch->by_wd = to;
	watch->nbuckets = 2 * old;
	for (unsigned i = 0; i < old; i++) {
		while ((index = from[i])) {
			from[i] = index->wd_chain;
			index->wd_chain = *bucket_of(watch, index->wd);
			*bucket_of(watch, index->wd) = index;
		}
	}
	free(from);
}

/* ------------------------------------------------------------------ */

void
cf_watch_remove(struct cf_share *share, struct cf_index *index)
{
	struct cf_watch *watch = &share->watch;

	pthread_mutex_lock(&watch->lock);
	if (index->wd >= 0) {
		inotify_rm_watch(watch->fd, index->wd);
		unlink_wd(watch, index);
	}
	pthread_mutex_unlock(&watch->lock);
}

/* Take the watch of the directory that was not asked for longest. */
static void
steal(struct cf_share *share)
{
	struct cf_index *victim = cf_index_get_watched(share);

	if (!victim)
		return;
	cf_watch_remove(share, victim);
	cf_index_put(victim);
}

static int
add_watch(struct cf_share *share, struct cf_index *index, int fd)
{
	struct cf_watch *watch = &share->watch;
	char path[32];
	int wd;

	if (index->wd >= 0) {
		/* Changes were lost, but not any more from here on. */
		pthread_mutex_lock(&index->lock);
		index->epoch = watch->epoch;
		pthread_mutex_unlock(&index->lock);
		return 0;
	}
	if (cf_clock_us() - watch->full_us < RETRY_US)
		return -EAGAIN;
	if (watch->n >= watch->max)
		return -ENOSPC;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(watch->fd, path, EVENTS);
	if (wd < 0)
		return -errno;
	link_wd(watch, index, wd);
	if (watch->n > watch->nbuckets)
		grow(watch);
	cf_count(share, watches, 1);
	return 0;
}

bool
cf_watch_add(struct cf_share *share, struct cf_index *index, int fd)
{
	struct cf_watch *watch = &share->watch;
	int err;

	if (!watch->max)
		return false;
	pthread_mutex_lock(&watch->lock);
	err = open_queue(watch) ? add_watch(share, index, fd) : -EAGAIN;
	pthread_mutex_unlock(&watch->lock);
	if (err != -ENOSPC)
		return !err;
	steal(share);
	pthread_mutex_lock(&watch->lock);
	err = add_watch(share, index, fd);
	if (err == -ENOSPC)
		watch->full_us = cf_clock_us();
	pthread_mutex_unlock(&watch->lock);
	return !err;
}

/* ------------------------------------------------------------------ */

static void
take_event(struct cf_share *share, const struct inotify_event *event)
{
	struct cf_watch *watch = &share->watch;
	struct cf_index *index;

	if (event->mask & IN_Q_OVERFLOW) {
		watch->epoch++;
		cf_count(share, overflows, 1);
		return;
	}
	index = find_wd(watch, event->wd);
	if (!index)
		return;
	cf_count(share, events, 1);
	if (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_UNMOUNT)) {
		pthread_mutex_lock(&index->lock);
		cf_index_forget(share, index);
		pthread_mutex_unlock(&index->lock);
		if (event->mask & IN_IGNORED)
			unlink_wd(watch, index);
		return;
	}
	/*
	 * RENAME_EXCHANGE reports a name that came before it reports that the
	 * same name went; so who moved away may be there.
	 */
	if (event->len)
		cf_index_change(share, index,
				event->mask & IN_DELETE ? CF_GONE :
				event->mask & IN_MOVED_FROM ? CF_DOUBTFUL :
				CF_ADDED,
				event->name, strlen(event->name));
}

/* Take up to `want` bytes of events.  Under watch->lock. */
static void
take_events(struct cf_share *share, int want)
{
	_Alignas(struct inotify_event) char buf[READ_BUFFER];
	const struct inotify_event *event;
	ssize_t n;

	while (want > 0) {
		n = read(share->watch.fd, buf, sizeof(buf));
		if (n <= 0)
			return;
		want -= (int)n;
		for (ssize_t at = 0; at < n;
		     at += (ssize_t)sizeof(*event) + event->len) {
			event = (const struct inotify_event *)(buf + at);
			take_event(share, event);
		}
	}
}

void
cf_watch_drain(struct cf_share *share)
{
	struct cf_watch *watch = &share->watch;
	int n = 0;

	if (watch->fd < 0)
		return;
	/*
	 * An empty queue is not enough: another thread may have read what was
	 * in it and not yet have told the directories.
	 */
	if (!ioctl(watch->fd, FIONREAD, &n) && !n && !watch->draining)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->draining = true;
	if (!ioctl(watch->fd, FIONREAD, &n))
		take_events(share, n);
	watch->draining = false;
	watch->quiet = 0;
	pthread_mutex_unlock(&watch->lock);
}

void
cf_watch_tick(struct cf_share *share)
{
	if (share->watch.fd >= 0 && ++share->watch.quiet >= TICKS)
		cf_watch_drain(share);
}
