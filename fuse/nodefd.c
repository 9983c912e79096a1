/* SPDX-License-Identifier: MIT */
/*
 * O_PATH fds of nodes.  A node that has a file handle owns no fd: it is opened
 * again when it is needed, and the fd stays in the share's LRU lists until
 * somebody else needs the room.  Directories leave last, because opening a
 * cold directory by handle makes the kernel look for its name.  A node without
 * a handle keeps its fd, which counts against the same budget.
 *
 * A node's fd lives in one word: fd + 1 (0: none), how many use it now, and
 *	HELD	it is not in a list and cannot be opened again,
 *	DOOMED	it is not in a list; the last user closes it.
 * Using an fd that is there is one compare-and-swap; only opening and closing
 * take the share's lru_lock.  A word that has an fd and neither flag belongs
 * to a listed node, and the other way round.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "fuse/fs.h"

#define FD_MASK 0xffffffffULL
#define PIN (1ULL << 32)
#define PINS (0xffffULL << 32)
#define HELD (1ULL << 62)
#define DOOMED (1ULL << 63)

enum { LOOK_AT = 64 };		/* nodes tried before one is evicted */

/* ------------------------------------------------------------------ */
/* Lists; under lru_lock. */

static struct fs_list *
list_of(struct fs_node *n)
{
	return &n->session->share->lru[S_ISDIR(n->type)];
}

static void
list_add(struct fs_node *n)
{
	struct fs_list *l = list_of(n);

	n->lru_prev = NULL;
	n->lru_next = l->head;
	if (l->head)
		l->head->lru_prev = n;
	else
		l->tail = n;
	l->head = n;
	n->listed = true;
	n->swept = n->session->share->sweep + 1;
}

static void
list_remove(struct fs_node *n)
{
	struct fs_list *l = list_of(n);

	if (n->lru_prev)
		n->lru_prev->lru_next = n->lru_next;
	else
		l->head = n->lru_next;
	if (n->lru_next)
		n->lru_next->lru_prev = n->lru_prev;
	else
		l->tail = n->lru_prev;
	n->listed = false;
}

/* An fd of `n` was closed or is about to be. */
static void
uncount(struct fs_node *n)
{
	atomic_fetch_sub(&n->session->share->nfds, 1);
	atomic_fetch_sub_explicit(&n->session->nfds, 1, memory_order_relaxed);
	fs_budget_count(n->session->share, -1, 0);
}

static void
count(struct fs_node *n)
{
	atomic_fetch_add(&n->session->share->nfds, 1);
	atomic_fetch_add_explicit(&n->session->nfds, 1, memory_order_relaxed);
	fs_budget_count(n->session->share, 1, 0);
}

static void
count_held(struct fs_node *n, int by)
{
	atomic_fetch_add(&n->session->share->nheld, (unsigned)by);
	atomic_fetch_add(&n->session->nheld, (uint64_t)(int64_t)by);
	fs_budget_count(n->session->share, 0, by);
}

/* Take the fd away from a listed node that nobody uses now; -1 if used. */
static int
take(struct fs_node *n)
{
	uint64_t w = atomic_load_explicit(&n->fdword, memory_order_relaxed);

	if ((w & PINS) || !atomic_compare_exchange_strong(&n->fdword, &w, 0))
		return -1;
	list_remove(n);
	uncount(n);
	return (int)((w & FD_MASK) - 1);
}

/* The fd of one node of the list that was not used lately, or -1. */
static int
evict_from(struct fs_list *l)
{
	struct fs_node *n, *prev;
	int fd;

	for (int i = 0; i < LOOK_AT && l->tail; i++) {
		n = l->tail;
		if (!atomic_exchange_explicit(&n->used, false,
					      memory_order_relaxed)) {
			fd = take(n);
			if (fd >= 0)
				return fd;
		}
		list_remove(n);
		list_add(n);
	}
	n = l->tail;
	for (int i = 0; i < LOOK_AT && n; i++, n = prev) {
		prev = n->lru_prev;
		fd = take(n);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* What came since the sweep before, or was found in use then, is spared once.
 * Directories stay: they hold no space, and are dear to open. */
bool
fs_share_sweep(struct fs_share *share, bool begin, int *fds, size_t max,
	       size_t *count)
{
	struct fs_list *l = &share->lru[0];
	struct fs_node *n;
	bool more;

	*count = 0;
	pthread_mutex_lock(&share->lru_lock);
	share->sweep += begin;
	for (size_t i = 0; i < max; i++) {
		int fd = -1;

		n = l->tail;
		if (!n || n->swept >= share->sweep)
			break;
		if (!atomic_exchange_explicit(&n->used, false,
					      memory_order_relaxed))
			fd = take(n);
		if (fd >= 0) {
			fds[(*count)++] = fd;
		} else {
			list_remove(n);
			list_add(n);
		}
	}
	more = l->tail && l->tail->swept < share->sweep;
	pthread_mutex_unlock(&share->lru_lock);
	return more;
}

static int
evict(struct fs_share *share)
{
	int fd = evict_from(&share->lru[0]);

	return fd >= 0 ? fd : evict_from(&share->lru[1]);
}

int
fs_nodefd_evict(struct fs_share *share)
{
	int fd;

	pthread_mutex_lock(&share->lru_lock);
	fd = evict(share);
	pthread_mutex_unlock(&share->lru_lock);
	return fd;
}

bool
fs_nodefd_shrink(struct fs_share *share)
{
	bool any = false;

	for (int i = 0; i < 8; i++) {
		int fd = fs_budget_evict(share);

		if (fd < 0)
			break;
		close(fd);
		any = true;
	}
	return any;
}

bool
fs_nodefd_room(struct fs_session *s)
{
	struct fs_share *share = s->share;
	bool room;

	if (!fs_budget_may_hold(s))
		return false;
	pthread_mutex_lock(&share->lru_lock);
	room = share->nfds < share->max_fds || share->lru[0].head ||
	       share->lru[1].head;
	pthread_mutex_unlock(&share->lru_lock);
	return room;
}

/* ------------------------------------------------------------------ */

/*
 * Put `fd` into a node that has none, with `pins` users.  Over the budget, or
 * when the inode was removed, a node that can be opened again gets it for its
 * present users only.
 * -EEXIST: the node has an fd already.
 */
static int
install(struct fs_node *n, int fd, bool held, uint64_t pins)
{
	struct fs_share *share = n->session->share;
	uint64_t none = 0, w = (uint64_t)fd + 1 + pins * PIN;
	int victim = -1, err = 0;
	bool full, passing;

	fs_budget_make_room(share);
	pthread_mutex_lock(&share->lru_lock);
	if (share->nfds >= share->max_fds)
		victim = evict(share);
	full = share->nfds >= share->max_fds || fs_budget_full(share);
	passing = full || atomic_load(&n->deleted);
	if (held && (full || !fs_budget_may_hold(n->session)))
		err = -ENFILE;
	else if (!held && passing && !pins)
		err = -ENFILE;
	else if (held)
		w |= HELD;
	else if (passing)
		w |= DOOMED;
	if (!err && !atomic_compare_exchange_strong(&n->fdword, &none, w))
		err = -EEXIST;
	if (!err) {
		count(n);
		count_held(n, held);
		if (!(w & (HELD | DOOMED)))
			list_add(n);
	}
	pthread_mutex_unlock(&share->lru_lock);
	if (victim >= 0)
		close(victim);
	return err;
}

int
fs_nodefd_give(struct fs_node *n, int fd, bool held)
{
	int err = install(n, fd, held, 0);

	if (err)
		close(fd);
	return err;
}

bool
fs_nodefd_held(const struct fs_node *n)
{
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)&n->fdword,
				    memory_order_relaxed) & HELD;
}

/* The node's fd with one more user, or -1. */
static int
pin(struct fs_node *n)
{
	uint64_t w = atomic_load_explicit(&n->fdword, memory_order_relaxed);

	do {
		if (!(w & FD_MASK))
			return -1;
	} while (!atomic_compare_exchange_weak_explicit(
		&n->fdword, &w, w + PIN, memory_order_acquire,
		memory_order_relaxed));
	if (!atomic_load_explicit(&n->used, memory_order_relaxed))
		atomic_store_explicit(&n->used, true, memory_order_relaxed);
	return (int)((w & FD_MASK) - 1);
}

/* Close the fd of a doomed word that has no users left. */
static void
bury(struct fs_node *n, uint64_t w)
{
	struct fs_share *share = n->session->share;

	if (!(w & DOOMED) || (w & PINS) || !(w & FD_MASK))
		return;
	pthread_mutex_lock(&share->lru_lock);
	if (!atomic_compare_exchange_strong(&n->fdword, &w, 0)) {
		pthread_mutex_unlock(&share->lru_lock);
		return;		/* somebody uses it again and will be last */
	}
	uncount(n);
	pthread_mutex_unlock(&share->lru_lock);
	close((int)((w & FD_MASK) - 1));
}

void
fs_node_unpin(struct fs_node *n)
{
	uint64_t w = atomic_fetch_sub_explicit(&n->fdword, PIN,
					       memory_order_acq_rel) - PIN;

	if (w & DOOMED)
		bury(n, w);
}

void
fs_nodefd_drop(struct fs_node *n)
{
	struct fs_share *share = n->session->share;
	uint64_t w = atomic_load_explicit(&n->fdword, memory_order_relaxed);

	if (!(w & FD_MASK))
		return;
	pthread_mutex_lock(&share->lru_lock);
	if (n->listed)
		list_remove(n);
	w = atomic_load(&n->fdword);
	while (w & FD_MASK) {
		if (atomic_compare_exchange_weak(&n->fdword, &w,
						 (w & ~HELD) | DOOMED))
			break;
	}
	if (w & HELD)
		count_held(n, -1);
	pthread_mutex_unlock(&share->lru_lock);
	bury(n, (w & ~HELD) | DOOMED);
}

int
fs_nodefd_take(struct fs_node *n)
{
	struct fs_share *share = n->session->share;
	int fd = -1;

	pthread_mutex_lock(&share->lru_lock);
	if (n->listed)
		fd = take(n);
	pthread_mutex_unlock(&share->lru_lock);
	return fd;
}

#define CREATING_TRIES 20

/*
 * The kernel answers ENOMEM, too, while somebody makes a new inode with the
 * number of this one, which is gone: a moment later that is ESTALE.
 */
static bool
is_being_made(int err, int *tries)
{
	if (err != -ENOMEM || ++*tries > CREATING_TRIES)
		return false;
	sched_yield();
	return true;
}

static int
open_by_handle(struct fs_ctx *c, struct fs_node *n, int flags)
{
	int err = fs_cred_self(&c->t->cred, c->t->cred.no_fsetid), fd;
	int tries = 0;

	if (err)
		return err;
	do {
		fd = fs_open_by_handle_at(n->mount->fd, n->handle,
					  flags | O_CLOEXEC);
		err = fd < 0 ? fd : 0;
	} while (is_being_made(err, &tries) ||
		 ((err == -EMFILE || err == -ENFILE) &&
		  fs_nodefd_shrink(c->share)));
	/* The next LOOKUP must not find it for what has its number now: its
	 * birth time, too, if somebody set the clock back. */
	if (err == -ESTALE)
		fs_node_nameless(n);
	return err ? err : fd;
}

int
fs_node_pin(struct fs_ctx *c, struct fs_node *n, int *fd)
{
	int err;

	do {
		int opened;

		*fd = pin(n);
		if (*fd >= 0)
			return 0;
		if (!n->handle)
			return -ESTALE;
		if (S_ISDIR(n->type) && fs_disk_defers(c, n->mount))
			return FS_DEFER;
		opened = open_by_handle(c, n, O_PATH);
		if (opened < 0)
			return opened;
		fs_count(&c->req->counters->reopened, 1);
		*fd = opened;
		err = install(n, opened, false, 1);
		if (err) {
			close(opened);
			*fd = -1;
		}
	} while (err == -EEXIST);
	return err;
}

int
fs_node_open(struct fs_ctx *c, struct fs_node *n, int flags)
{
	int fd, opened, err;

	if (n->handle && !S_ISDIR(n->type))
		return open_by_handle(c, n, flags);
	err = fs_node_pin(c, n, &fd);
	if (err)
		return err;
	err = fs_cred_self(&c->t->cred, c->t->cred.no_fsetid);
	if (err) {
		fs_node_unpin(n);
		return err;
	}
	do {
		if (S_ISDIR(n->type))
			opened = openat(fd, ".", flags | O_CLOEXEC);
		else
			opened = fs_open_proc(c->share, fd, flags);
		err = opened < 0 ? -errno : 0;
	} while ((err == -EMFILE || err == -ENFILE) &&
		 fs_nodefd_shrink(c->share));
	fs_node_unpin(n);
	return err ? err : opened;
}
