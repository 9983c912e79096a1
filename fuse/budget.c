/* SPDX-License-Identifier: MIT */
/*
 * File descriptors that all shares of the process have together, so that one
 * never leaves another without.  A share's own max_fds and max_open_files are
 * looked after in nodefd.c and handle.c.
 *
 * Nodes may use half of the process's limit.  Fds that can be opened again are
 * only a cache: the share that has the most of them makes room.  Of those that
 * must be held, and of open files, which may use three eighths of the limit, a
 * guest has at most three quarters of what the others leave, so that there is
 * always something for the next one.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuse/fs.h"

struct fs_budget {
	pthread_mutex_t lock;		/* the list */
	struct fs_share *shares;
	_Atomic unsigned nshares;
	_Atomic unsigned nfds, nheld, nopen;
	unsigned max_fds, max_open;
};

int
fs_budget_new(struct fs_budget **budget)
{
	struct fs_budget *b = calloc(1, sizeof(*b));
	unsigned most = 1U << 30;
	struct rlimit rl;

	if (!b)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	if (!getrlimit(RLIMIT_NOFILE, &rl) && rl.rlim_cur < most)
		most = (unsigned)rl.rlim_cur;
	b->max_fds = most / 2;
	b->max_open = most / 8 * 3;
	*budget = b;
	return 0;
}

void
fs_budget_free(struct fs_budget *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	free(b);
}

void
fs_share_budget(struct fs_share *share, struct fs_budget *b)
{
	pthread_mutex_lock(&b->lock);
	share->budget = b;
	share->next = b->shares;
	b->shares = share;
	atomic_fetch_add(&b->nshares, 1);
	pthread_mutex_unlock(&b->lock);
}

void
fs_budget_leave(struct fs_share *share)
{
	struct fs_budget *b = share->budget;
	struct fs_share **p;

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	for (p = &b->shares; *p != share; p = &(*p)->next)
		;
	*p = share->next;
	atomic_fetch_sub(&b->nshares, 1);
	pthread_mutex_unlock(&b->lock);
}

/* ------------------------------------------------------------------ */
/* Fds of nodes. */

void
fs_budget_count(struct fs_share *share, int fds, int held)
{
	struct fs_budget *b = share->budget;

	if (!b)
		return;
	atomic_fetch_add(&b->nfds, (unsigned)fds);
	atomic_fetch_add(&b->nheld, (unsigned)held);
}

bool
fs_budget_full(const struct fs_share *share)
{
	struct fs_budget *b = share->budget;

	return b && atomic_load(&b->nfds) >= b->max_fds;
}

/* At most three quarters of what others leave? */
static bool
is_fair(unsigned max, unsigned all, uint64_t mine)
{
	int64_t room = (int64_t)max - all + (int64_t)mine;

	return ((int64_t)mine + 1) * 4 <= room * 3;
}

bool
fs_budget_may_hold(struct fs_session *s)
{
	struct fs_share *share = s->share;
	struct fs_budget *b = share->budget;
	uint64_t mine = atomic_load(&s->nheld);

	return is_fair(share->max_fds, atomic_load(&share->nheld), mine) &&
	       (!b || is_fair(b->max_fds, atomic_load(&b->nheld), mine));
}

/* What a share could close. */
static unsigned
spare(struct fs_share *share)
{
	unsigned nfds = atomic_load(&share->nfds);
	unsigned nheld = atomic_load(&share->nheld);

	return nfds > nheld ? nfds - nheld : 0;
}

int
fs_budget_evict(struct fs_share *share)
{
	struct fs_budget *b = share->budget;
	struct fs_share *most = share;
	int fd;

	if (!b)
		return fs_nodefd_evict(share);
	pthread_mutex_lock(&b->lock);
	for (struct fs_share *s = b->shares; s; s = s->next) {
		if (spare(s) > spare(most))
			most = s;
	}
	fd = fs_nodefd_evict(most);
	pthread_mutex_unlock(&b->lock);
	return fd;
}

void
fs_budget_make_room(struct fs_share *share)
{
	struct fs_budget *b = share->budget;
	int fd = -1;

	if (!fs_budget_full(share))
		return;
	/* One that has its part looks no further. */
	if ((uint64_t)spare(share) * atomic_load(&b->nshares) > b->max_fds)
		fd = fs_nodefd_evict(share);
	if (fd < 0)
		fd = fs_budget_evict(share);
	if (fd >= 0)
		close(fd);
}

/* ------------------------------------------------------------------ */
/* Open files. */

bool
fs_budget_open(struct fs_session *s)
{
	struct fs_share *share = s->share;
	struct fs_budget *b = share->budget;
	uint64_t mine = atomic_load(&s->nhandles) + atomic_load(&s->nowners);

	if (atomic_fetch_add(&share->nhandles, 1) >= share->max_open) {
		atomic_fetch_sub(&share->nhandles, 1);
		return false;
	}
	if (!b)
		return true;
	if (is_fair(b->max_open, atomic_fetch_add(&b->nopen, 1), mine))
		return true;
	fs_budget_closed(s);
	return false;
}

void
fs_budget_closed(struct fs_session *s)
{
	atomic_fetch_sub(&s->share->nhandles, 1);
	if (s->share->budget)
		atomic_fetch_sub(&s->share->budget->nopen, 1);
}
