/* SPDX-License-Identifier: MIT */
/*
 * Locks that hold beyond one guest (locks = remote): GETLK, SETLK, SETLKW.
 *
 * A guest names the owner of a POSIX lock.  Each owner of locks on an inode
 * has a file description of its own on the host, whose OFD locks are the
 * owner's; so the host's kernel tells them all apart, those of its own
 * processes too, and closing the fd ends them.  A process's locks end with the
 * first FLUSH that names it.  The guest's own OFD locks look the same but for
 * that: Linux does not say when they end, so they do when the handle they were
 * set through is released.  flock(2) locks belong to the guest's file
 * descriptions, that is to our handles.
 *
 * SETLKW holds no thread while it waits.  It stands in its share's list of
 * waits and the request is parked: it is served again when a lock of that
 * inode was given up here, and from time to time, because nobody tells when a
 * process of the host gives one up.  virtio-fs does not tell either when a
 * guest's process is killed, so a wait ends after lock_wait with EAGAIN.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fuse/fs.h"

enum {
	TRY_FIRST_US = 1000,		/* the first look at a host's lock */
	TRY_LAST_US = 100000,		/* each is twice as late as the last */
	WAITS_MAX = 1024,		/* of a session */
};

struct fs_owner {		/* of locks on one inode */
	struct fs_owner *next;		/* in its bucket */
	struct fs_session *session;
	struct fs_node *node;		/* with a reference */
	uint64_t id;			/* as the guest numbers it */
	uint64_t fh;			/* handle it first locked through */
	_Atomic uint32_t pid;		/* as the guest numbers it */
	int fd;
	unsigned refs;			/* one for the bucket */
};

struct fs_wait {
	struct fs_wait *prev, *next;	/* of the share */
	struct fs_session *session;
	const struct fs_mount *mount;
	uint64_t dev, ino;
	uint64_t until_us, pause_us;
	bool woken;			/* since it was last tried */
	bool cancelled;
	void (*resume)(void *cookie);
	void *cookie;
};

/* ------------------------------------------------------------------ */
/* Waits. */

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Under locks_lock. */
static void
wake(struct fs_wait *w)
{
	w->woken = true;
	w->resume(w->cookie);
}

/* A lock of that inode was given up. */
static void
wake_inode(struct fs_share *share, const struct fs_node *n)
{
	if (!atomic_load_explicit(&share->nwaits, memory_order_acquire))
		return;
	pthread_mutex_lock(&share->locks_lock);
	for (struct fs_wait *w = share->waits; w; w = w->next) {
		if (w->ino == n->ino && w->dev == n->dev &&
		    w->mount == n->mount)
			wake(w);
	}
	pthread_mutex_unlock(&share->locks_lock);
}

static int
wait_new(struct fs_ctx *c, struct fs_wait **wait)
{
	struct fs_share *share = c->share;
	const struct fs_node *n = c->fh->node;
	struct fs_wait *w, **last;

	if (atomic_load(&c->s->no_waits))
		return -EAGAIN;
	if (atomic_fetch_add(&c->s->nwaits, 1) >= WAITS_MAX ||
	    !(w = calloc(1, sizeof(*w)))) {
		atomic_fetch_sub(&c->s->nwaits, 1);
		return -ENOLCK;
	}
	w->session = c->s;
	w->mount = n->mount;
	w->dev = n->dev;
	w->ino = n->ino;
	w->until_us = now_us() + share->set->lock_wait_us;
	w->pause_us = TRY_FIRST_US;
	w->resume = c->req->resume;
	w->cookie = c->req->cookie;
	pthread_mutex_lock(&share->locks_lock);
	/* Either this sees no_waits or who sets it sees the wait. */
	w->cancelled = atomic_load(&c->s->no_waits);
	for (last = &share->waits; *last; last = &(*last)->next)
		w->prev = *last;
	*last = w;
	atomic_fetch_add(&share->nwaits, 1);
	pthread_mutex_unlock(&share->locks_lock);
	*wait = w;
	return 0;
}

void
fs_wait_end(struct fs_wait *w)
{
	struct fs_session *s = w->session;
	struct fs_share *share = s->share;

	pthread_mutex_lock(&share->locks_lock);
	if (w->prev)
		w->prev->next = w->next;
	else
		share->waits = w->next;
	if (w->next)
		w->next->prev = w->prev;
	atomic_fetch_sub(&share->nwaits, 1);
	pthread_mutex_unlock(&share->locks_lock);
	atomic_fetch_sub(&s->nwaits, 1);
	free(w);
}

/* From now on a wake-up is one that the next try has not seen. */
static void
wait_try(struct fs_session *s, struct fs_wait *w)
{
	pthread_mutex_lock(&s->share->locks_lock);
	w->woken = false;
	pthread_mutex_unlock(&s->share->locks_lock);
}

/* The try failed.  FS_PARKED, 0 to try again at once, or -EAGAIN. */
static int
wait_on(struct fs_ctx *c, struct fs_wait *w)
{
	struct fs_share *share = c->share;
	uint64_t now = now_us();
	int err = FS_PARKED;

	pthread_mutex_lock(&share->locks_lock);
	if (w->cancelled || now >= w->until_us)
		err = -EAGAIN;
	else if (w->woken)
		err = 0;
	pthread_mutex_unlock(&share->locks_lock);
	c->req->wake_us = now + w->pause_us;
	if (c->req->wake_us > w->until_us)
		c->req->wake_us = w->until_us;
	if (w->pause_us < TRY_LAST_US)
		w->pause_us *= 2;
	return err;
}

/* Cancel the waits of a session; `all`: wake those of the others. */
static void
cancel(struct fs_session *s, bool all)
{
	struct fs_share *share = s->share;

	pthread_mutex_lock(&share->locks_lock);
	for (struct fs_wait *w = share->waits; w; w = w->next) {
		if (w->session == s)
			w->cancelled = true;
		if (w->session == s || all)
			wake(w);
	}
	pthread_mutex_unlock(&share->locks_lock);
}

void
fs_session_wait(struct fs_session *s, bool may)
{
	if (atomic_exchange(&s->no_waits, !may) == !may || may)
		return;
	cancel(s, false);
}

/* ------------------------------------------------------------------ */
/* Owners. */

static struct fs_owner **
bucket_of(struct fs_share *share, const struct fs_node *n, uint64_t id)
{
	uint64_t h = (n->ino ^ id) * 0x9e3779b97f4a7c15ULL;

	return &share->owners[(h >> 32) % FS_OWNER_BUCKETS];
}

/* Under locks_lock; no new reference. */
static struct fs_owner *
find_owner(struct fs_session *s, const struct fs_node *n, uint64_t id)
{
	struct fs_owner *o = *bucket_of(s->share, n, id);

	while (o && (o->id != id || o->node != n || o->session != s))
		o = o->next;
	return o;
}

static struct fs_owner *
owner_get(struct fs_session *s, const struct fs_node *n, uint64_t id)
{
	struct fs_owner *o;

	if (!atomic_load_explicit(&s->nowners, memory_order_relaxed))
		return NULL;
	pthread_mutex_lock(&s->share->locks_lock);
	o = find_owner(s, n, id);
	if (o)
		o->refs++;
	pthread_mutex_unlock(&s->share->locks_lock);
	return o;
}

static void
owner_free(struct fs_owner *o)
{
	struct fs_session *s = o->session;

	close(o->fd);
	wake_inode(s->share, o->node);
	fs_node_put(o->node);
	fs_budget_closed(s);
	atomic_fetch_sub(&s->nowners, 1);
	free(o);
}

static void
owner_put(struct fs_owner *o)
{
	pthread_mutex_t *lock = &o->session->share->locks_lock;
	bool last;

	pthread_mutex_lock(lock);
	last = --o->refs == 0;
	pthread_mutex_unlock(lock);
	if (last)
		owner_free(o);
}

/* Nobody finds it any more; its locks end with its last user. */
static void
owner_end(struct fs_owner *o)
{
	struct fs_share *share = o->session->share;
	struct fs_owner **p;
	bool found;

	pthread_mutex_lock(&share->locks_lock);
	p = bucket_of(share, o->node, o->id);
	while (*p && *p != o)
		p = &(*p)->next;
	found = *p;
	if (found)
		*p = o->next;
	pthread_mutex_unlock(&share->locks_lock);
	if (found)
		owner_put(o);
}

/* A file description of its own.  A lock to write wants one to write. */
static int
open_again(struct fs_ctx *c)
{
	static const int modes[] = { O_RDWR, O_RDONLY, O_WRONLY };
	int err = fs_cred_self(&c->t->cred, false), fd = -1;

	for (int i = 0; i < 3 && fd < 0 && !err; i++) {
		fd = fs_open_proc(c->share, c->fh->fd, modes[i] | O_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			err = -ENOLCK;
	}
	if (err)
		return err;
	return fd < 0 ? -EBADF : fd;
}

/* The owner, found or made, with a reference. */
static int
owner_make(struct fs_ctx *c, const struct fuse_lk_in *in, struct fs_owner **out)
{
	struct fs_share *share = c->share;
	struct fs_node *n = c->fh->node;
	struct fs_owner *o = calloc(1, sizeof(*o)), *old, **b;
	int fd;

	if (!o)
		return -ENOLCK;
	if (!fs_budget_open(c->s)) {
		free(o);
		return -ENOLCK;
	}
	fd = open_again(c);
	if (fd < 0) {
		fs_budget_closed(c->s);
		free(o);
		return fd;
	}
	fs_slot_ref(&n->slot);
	atomic_fetch_add(&c->s->nowners, 1);
	o->session = c->s;
	o->node = n;
	o->id = in->owner;
	o->fh = fs_slot_id(&c->fh->slot);
	o->fd = fd;
	o->refs = 1;
	atomic_store(&c->fh->owned, true);
	pthread_mutex_lock(&share->locks_lock);
	old = find_owner(c->s, n, in->owner);
	if (!old) {
		b = bucket_of(share, n, in->owner);
		o->next = *b;
		*b = o;
	}
	*out = old ? old : o;
	(*out)->refs++;
	pthread_mutex_unlock(&share->locks_lock);
	if (old)
		owner_put(o);
	return 0;
}

void
fs_locks_flush(struct fs_ctx *c, uint64_t id)
{
	struct fs_owner *o = owner_get(c->s, c->fh->node, id);

	if (!o)
		return;
	owner_end(o);
	owner_put(o);
}

/* End the session's owners that lock through a handle, or with 0 all. */
static void
end_owners(struct fs_session *s, uint64_t fh)
{
	unsigned n = atomic_load(&s->nowners) ? FS_OWNER_BUCKETS : 0;

	for (unsigned i = 0; i < n; i++) {
		struct fs_owner *o;

		do {
			pthread_mutex_lock(&s->share->locks_lock);
			o = s->share->owners[i];
			while (o && (o->session != s || (fh && o->fh != fh)))
				o = o->next;
			if (o)
				o->refs++;
			pthread_mutex_unlock(&s->share->locks_lock);
			if (o) {
				owner_end(o);
				owner_put(o);
			}
		} while (o);
	}
}

void
fs_locks_clear(struct fs_session *s)
{
	end_owners(s, 0);
	/* Of handles that were closed, flocks have ended, too. */
	if (atomic_load(&s->share->nwaits))
		cancel(s, true);
}

void
fs_locks_release(struct fs_ctx *c, struct fs_handle *h, bool flocks)
{
	if (atomic_load(&h->owned))
		end_owners(c->s, fs_slot_id(&h->slot));
	if (flocks && atomic_exchange(&h->flocked, 0) && flock(h->fd, LOCK_UN) == 0)
		wake_inode(c->share, h->node);
}

/* ------------------------------------------------------------------ */
/* Requests. */

static bool
is_served(struct fs_ctx *c, const struct fuse_lk_in *in)
{
	return fs_session_has(c->s, in->lk_flags & FUSE_LK_FLOCK ?
				    FUSE_FLOCK_LOCKS : FUSE_POSIX_LOCKS);
}

static int
to_flock(const struct fuse_file_lock *lk, struct flock *fl)
{
	if (lk->start > INT64_MAX || lk->end < lk->start ||
	    (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK))
		return -EINVAL;
	*fl = (struct flock){ .l_type = (short)lk->type, .l_whence = SEEK_SET,
			      .l_start = (off_t)lk->start };
	if (lk->end < INT64_MAX)
		fl->l_len = (off_t)(lk->end - lk->start + 1);
	return 0;
}

static int
fcntl_lock(int fd, int cmd, struct flock *fl)
{
	int err;

	do {
		err = fcntl(fd, cmd, fl) < 0 ? -errno : 0;
	} while (err == -EINTR);
	return err == -EACCES ? -EAGAIN : err;
}

static int
set_posix(struct fs_ctx *c, const struct fuse_lk_in *in)
{
	struct fs_owner *o = owner_get(c->s, c->fh->node, in->owner);
	struct flock fl;
	int err = to_flock(&in->lk, &fl);

	if (!err && !o && fl.l_type == F_UNLCK)
		return 0;
	if (!err && !o)
		err = owner_make(c, in, &o);
	if (!err) {
		o->pid = in->lk.pid;
		err = fcntl_lock(o->fd, F_OFD_SETLK, &fl);
	}
	if (!err && fl.l_type == F_UNLCK && !fl.l_start && !fl.l_len)
		owner_end(o);
	else if (!err && fl.l_type != F_WRLCK)
		wake_inode(c->share, c->fh->node);
	if (o)
		owner_put(o);
	return err;
}

/* One that cannot be changed without waiting is given up. */
static int
set_flock(struct fs_ctx *c, const struct fuse_lk_in *in)
{
	static const int ops[] = { [F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX,
				   [F_UNLCK] = LOCK_UN };
	unsigned had, has;
	int err;

	if (in->lk.type > F_UNLCK)
		return -EINVAL;
	do {
		err = flock(c->fh->fd, ops[in->lk.type] | LOCK_NB) < 0 ? -errno
								       : 0;
	} while (err == -EINTR);
	has = err || in->lk.type == F_UNLCK ? 0 : 1 + (in->lk.type == F_WRLCK);
	had = atomic_exchange(&c->fh->flocked, has);
	if (has < had)
		wake_inode(c->share, c->fh->node);
	return err;
}

static int
set_lock(struct fs_ctx *c, const struct fuse_lk_in *in)
{
	if (!is_served(c, in))
		return -ENOSYS;
	return in->lk_flags & FUSE_LK_FLOCK ? set_flock(c, in)
					    : set_posix(c, in);
}

ssize_t
fs_op_setlk(struct fs_ctx *c, const void *in, void *out)
{
	(void)out;
	return set_lock(c, in);
}

ssize_t
fs_op_setlkw(struct fs_ctx *c, const void *in, void *out)
{
	struct fs_wait *w = c->req->wait;
	int err = w ? -EAGAIN : set_lock(c, in);

	(void)out;
	if (err != -EAGAIN)
		return err;
	if (!c->may_block)
		return FS_DEFER;
	if (!c->req->resume)
		return -EAGAIN;
	if (!w) {
		err = wait_new(c, &w);
		if (err)
			return err;
		c->req->wait = w;
	}
	do {
		wait_try(c->s, w);
		err = set_lock(c, in);
		if (err == -EAGAIN)
			err = wait_on(c, w);
		else
			break;
	} while (!err);
	return err;		/* dispatch ends the wait */
}

/*
 * Which of the guest's processes holds what `fl` says?  The one that meets
 * nothing there itself.
 */
static uint32_t
holder_pid(struct fs_ctx *c, const struct flock *fl, uint64_t asker)
{
	struct fs_node *n = c->fh->node;
	uint32_t pid = 0;

	pthread_mutex_lock(&c->share->locks_lock);
	for (unsigned i = 0; i < FS_OWNER_BUCKETS && !pid; i++) {
		struct fs_owner *o = c->share->owners[i];

		for (; o && !pid; o = o->next) {
			struct flock test = *fl;

			if (o->session != c->s || o->node != n ||
			    o->id == asker)
				continue;
			test.l_type = F_WRLCK;
			test.l_pid = 0;
			if (fcntl(o->fd, F_OFD_GETLK, &test) < 0 ||
			    test.l_type == F_UNLCK ||
			    test.l_start != fl->l_start ||
			    test.l_len != fl->l_len)
				pid = o->pid;
		}
	}
	pthread_mutex_unlock(&c->share->locks_lock);
	return pid;
}

ssize_t
fs_op_getlk(struct fs_ctx *c, const void *arg, void *reply)
{
	const struct fuse_lk_in *in = arg;
	struct fuse_lk_out *out = reply;
	struct fs_owner *o;
	struct flock fl;
	int err = to_flock(&in->lk, &fl);

	if (!is_served(c, in))
		return -ENOSYS;
	if (err || fl.l_type == F_UNLCK)
		return -EINVAL;
	o = owner_get(c->s, c->fh->node, in->owner);
	err = fcntl_lock(o ? o->fd : c->fh->fd, F_OFD_GETLK, &fl);
	if (o)
		owner_put(o);
	if (err)
		return err;
	out->lk.type = (uint32_t)fl.l_type;
	if (fl.l_type == F_UNLCK)
		return sizeof(*out);
	out->lk.start = (uint64_t)fl.l_start;
	out->lk.end = fl.l_len ? (uint64_t)(fl.l_start + fl.l_len - 1)
			       : INT64_MAX;
	/* Processes of the host and of other guests have no number here. */
	if (fl.l_pid < 0)
		out->lk.pid = holder_pid(c, &fl, in->owner);
	return sizeof(*out);
}
