/* SPDX-License-Identifier: MIT */
/*
 * Nodes: the inodes that a guest knows, each under an id that never means
 * another inode.
 *
 * Whether an inode is that of a node is decided in inode.h; a node without a
 * handle holds its inode open, which keeps the number from being used again.
 *
 * A node whose inode is gone stays until the guest forgets it, which some
 * guests never do, while the host gives the number to one new inode after the
 * other.  So that these do not wait in line behind it, it moves to another
 * place of its shard, by handle, where it is found should it get a name again
 * (LINK of an O_TMPFILE, or a removal that we were wrong about).
 *
 * A node's references are ours (requests, open handles) and one for the guest
 * as long as its lookup count is not 0.  The count is whatever the guest makes
 * it and decides nothing else.  Forgotten nodes may be remembered (idle.c).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/inode.h"

static uint64_t
hash_of(uint64_t dev, uint64_t ino, const struct fs_mount *m)
{
	uint64_t h = ino * 0x9e3779b97f4a7c15ULL;

	if (m)
		dev += atomic_load_explicit(&m->id, memory_order_relaxed);
	h ^= dev * 0xc2b2ae3d27d4eb4fULL;
	return h ^ (h >> 29);
}

static struct fs_shard *
shard_of(struct fs_session *s, uint64_t hash)
{
	return &s->shard[hash % FS_SHARDS];
}

static struct fs_node **
bucket_of(struct fs_shard *sh, uint64_t hash)
{
	return &sh->bucket[(hash / FS_SHARDS) & (sh->nbuckets - 1)];
}

/* Decides about the shard. */
static uint64_t
node_hash(const struct fs_node *n)
{
	return hash_of(n->dev, n->ino, n->mount);
}

static uint64_t
handle_hash(const struct file_handle *h)
{
	uint64_t hash = (uint64_t)h->handle_type;

	for (unsigned i = 0; i < h->handle_bytes; i++)
		hash = (hash ^ h->f_handle[i]) * 0x100000001b3ULL;
	return hash ^ hash >> 32;
}

/* Decides about the bucket. */
static uint64_t
place_of(const struct fs_node *n)
{
	return n->gone ? node_hash(n) ^ handle_hash(n->handle) : node_hash(n);
}

/* Twice the buckets, when there are more nodes than buckets.  Under the lock;
 * without memory the chains just get longer. */
static int
shard_grow(struct fs_shard *sh)
{
	size_t nold = sh->nbuckets, nnew = nold ? nold * 2 : 16;
	struct fs_node **old = sh->bucket, **new;

	if (sh->count < nold)
		return 0;
	new = calloc(nnew, sizeof(*new));
	if (!new)
		return old ? 0 : -ENOMEM;
	sh->bucket = new;
	sh->nbuckets = nnew;
	for (size_t i = 0; i < nold; i++) {
		struct fs_node *n = old[i], *next;

		for (; n; n = next) {
			struct fs_node **b = bucket_of(sh, place_of(n));

			next = n->hash_next;
			n->hash_next = *b;
			*b = n;
		}
	}
	free(old);
	return 0;
}

static void
insert(struct fs_shard *sh, struct fs_node *n)
{
	struct fs_node **p = bucket_of(sh, place_of(n));

	n->hash_next = *p;
	*p = n;
	n->hashed = true;
	sh->count++;
}

static void
unhash(struct fs_shard *sh, struct fs_node *n)
{
	struct fs_node **p;

	if (!n->hashed)
		return;
	p = bucket_of(sh, place_of(n));
	while (*p != n)
		p = &(*p)->hash_next;
	*p = n->hash_next;
	n->hashed = false;
	sh->count--;
}

/* The inode of a node with a handle is gone, or is back.  Under the lock. */
static void
set_gone(struct fs_shard *sh, struct fs_node *n, bool gone)
{
	if (n->gone != gone && n->hashed) {
		unhash(sh, n);
		n->gone = gone;
		insert(sh, n);
	}
	atomic_store(&n->deleted, gone);
}

/* Nodes that guests hold. */
static void
count_nodes(struct fs_session *s, int by)
{
	atomic_fetch_add_explicit(&s->nnodes, (uint64_t)(int64_t)by,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&s->share->nnodes, (unsigned)by,
				  memory_order_relaxed);
}

/* A reference for the caller and one more lookup.  Under the shard's lock. */
static bool
look_up(struct fs_node *n)
{
	if (!fs_slot_ref(&n->slot))
		return false;	/* it is about to be freed */
	if (n->nlookup++ == 0) {
		fs_slot_ref(&n->slot);
		count_nodes(n->session, 1);
		fs_mount_count(n->session->share, n->mount, FS_MOUNT_KNOWN);
	}
	return true;
}

struct fs_node *
fs_node_find(struct fs_session *s, const struct fs_mount *m,
	     const struct statx *stx)
{
	uint64_t hash = hash_of(fs_statx_dev(stx), stx->stx_ino, m);
	struct fs_shard *sh = shard_of(s, hash);
	struct fs_node *n = NULL;

	pthread_mutex_lock(&sh->lock);
	if (sh->nbuckets)
		n = *bucket_of(sh, hash);
	for (; n; n = n->hash_next) {
		if (n->gone || !same_key(n, m, stx))
			continue;
		if (fs_nodefd_held(n) ||
		    (atomic_load_explicit(&n->aged, memory_order_relaxed) &&
		     same_birth(n, stx))) {
			if (look_up(n))
				break;
		}
	}
	pthread_mutex_unlock(&sh->lock);
	return n;
}

static struct fs_node *
find_in(struct fs_node *n, const struct fs_mount *m, const struct statx *stx,
	const struct file_handle *h)
{
	for (; n; n = n->hash_next) {
		if (!same_key(n, m, stx))
			continue;
		if (fs_nodefd_held(n) || same_handle(n, stx, h))
			return n;
	}
	return NULL;
}

/* The node with this handle, or that holds its fd.  Under the lock. */
static struct fs_node *
find_exact(struct fs_shard *sh, uint64_t hash, const struct fs_mount *m,
	   const struct statx *stx, const struct file_handle *h)
{
	struct fs_node *n = find_in(*bucket_of(sh, hash), m, stx, h);

	if (n || !h)
		return n;
	return find_in(*bucket_of(sh, hash ^ handle_hash(h)), m, stx, h);
}

/* A new inode has this number: the ones before it are gone, whoever removed
 * them.  Under the lock. */
static void
supersede(struct fs_shard *sh, uint64_t hash, const struct fs_mount *m,
	  const struct statx *stx)
{
	struct fs_node *n = *bucket_of(sh, hash), *next;

	for (; n; n = next) {
		next = n->hash_next;
		if (n->handle && !n->gone && same_number(n, m, stx))
			set_gone(sh, n, true);
	}
}

static int
copy_handle(struct fs_node *n, const struct file_handle *h)
{
	size_t size = sizeof(*h) + h->handle_bytes;

	n->handle = malloc(size);
	if (!n->handle)
		return -ENOMEM;
	memcpy(n->handle, h, size);
	return 0;
}

static struct fs_node *
node_new(struct fs_session *s, struct fs_mount *m, const struct statx *stx,
	 const struct timespec *now, const struct file_handle *h)
{
	struct fs_node *n = fs_table_new(&s->nodes);

	if (!n)
		return NULL;
	n->session = s;
	n->mount = m;
	n->dev = fs_statx_dev(stx);
	n->ino = stx->stx_ino;
	n->type = stx->stx_mode & S_IFMT;
	n->has_btime = stx->stx_mask & STATX_BTIME;
	n->btime_sec = stx->stx_btime.tv_sec;
	n->btime_nsec = stx->stx_btime.tv_nsec;
	atomic_store(&n->aged, is_aged(m, stx, now));
	if (h && copy_handle(n, h) < 0) {
		fs_table_free(&s->nodes, &n->slot);
		return NULL;
	}
	return n;
}

static void
node_free(struct fs_node *n)
{
	free(n->handle);
	n->handle = NULL;
	fs_table_free(&n->session->nodes, &n->slot);
}

static void
node_destroy(struct fs_node *n)
{
	fs_mount_count(n->session->share, n->mount, -FS_MOUNT_NODE);
	node_free(n);
}

/* Make the node and put it into the shard, whose lock is held.  Takes fd
 * unless it returns 0 for a node with a handle: then *fd is left.  What the
 * caller holds of the mount is the node's from then on. */
static int
add_new(struct fs_session *s, struct fs_shard *sh, struct fs_node *n, int *fd)
{
	int err = shard_grow(sh);

	if (!err && !n->handle) {
		err = fs_nodefd_give(n, *fd, true);
		*fd = -1;
	}
	if (err)
		return err;
	insert(sh, n);
	n->nlookup = 1;
	count_nodes(s, 1);
	fs_slot_publish(&n->slot, 2);
	return 0;
}

int
fs_node_add(struct fs_ctx *c, struct fs_mount *m, const struct statx *stx,
	    const struct timespec *now, const struct file_handle *h, int fd,
	    struct fs_node **node)
{
	struct fs_session *s = c->s;
	uint64_t hash = hash_of(fs_statx_dev(stx), stx->stx_ino, m);
	struct fs_shard *sh = shard_of(s, hash);
	struct fs_node *n = NULL;
	bool made = false;
	int err = 0;

	pthread_mutex_lock(&sh->lock);
	if (sh->nbuckets)
		n = find_exact(sh, hash, m, stx, h);
	if (n && look_up(n)) {
		if (!atomic_load(&n->aged) && is_aged(m, stx, now))
			atomic_store(&n->aged, true);
		if (n->gone && stx->stx_nlink)
			set_gone(sh, n, false);
	} else {
		if (sh->nbuckets && h)
			supersede(sh, hash, m, stx);
		n = node_new(s, m, stx, now, h);
		err = n ? add_new(s, sh, n, &fd) : -ENOMEM;
		if (err && n)
			node_free(n);
		made = !err;
	}
	pthread_mutex_unlock(&sh->lock);
	if (!made)
		fs_mount_put(s->share, m);
	if (err == -ENFILE)
		fs_count(&c->req->counters->nodes_limit, 1);
	if (fd >= 0 && !err && n->handle)
		fs_nodefd_give(n, fd, false);
	else if (fd >= 0)
		close(fd);
	if (!err)
		*node = n;
	return err;
}

int
fs_node_add_root(struct fs_session *s)
{
	struct fs_share *share = s->share;
	static const struct timespec never;
	uint64_t hash = hash_of(fs_statx_dev(&share->root_stx),
				share->root_stx.stx_ino, share->root_mount);
	struct fs_shard *sh = shard_of(s, hash);
	struct fs_node *n = node_new(s, share->root_mount, &share->root_stx,
				     &never, NULL);

	if (!n || shard_grow(sh) < 0)
		return -ENOMEM;
	/* Held, but the share's: not counted and never dropped. */
	atomic_store(&n->fdword, ((uint64_t)share->root_fd + 1) | 1ULL << 62);
	insert(sh, n);
	fs_slot_publish(&n->slot, 1);
	return 0;
}

struct fs_node *
fs_node_get(struct fs_session *s, uint64_t id)
{
	return fs_table_get(&s->nodes, id);
}

void
fs_node_put(struct fs_node *n)
{
	struct fs_shard *sh;

	if (!fs_slot_put(&n->slot))
		return;
	sh = shard_of(n->session, node_hash(n));
	pthread_mutex_lock(&sh->lock);
	unhash(sh, n);
	pthread_mutex_unlock(&sh->lock);
	fs_nodefd_drop(n);
	node_destroy(n);
}

int
fs_node_put_locked(struct fs_shard *sh, struct fs_node *n)
{
	int fd;

	if (!fs_slot_put(&n->slot))
		return -1;
	unhash(sh, n);
	fd = fs_nodefd_take(n);
	node_destroy(n);
	return fd;
}

void
fs_node_count(struct fs_node *n)
{
	struct fs_shard *sh = shard_of(n->session, node_hash(n));

	pthread_mutex_lock(&sh->lock);
	look_up(n);
	pthread_mutex_unlock(&sh->lock);
}

void
fs_node_forget(struct fs_node *n, uint64_t nlookup)
{
	struct fs_shard *sh = shard_of(n->session, node_hash(n));
	struct fs_node *last = NULL;

	pthread_mutex_lock(&sh->lock);
	if (n->nlookup > 0 && nlookup >= n->nlookup) {
		n->nlookup = 0;
		count_nodes(n->session, -1);
		fs_mount_count(n->session->share, n->mount, -FS_MOUNT_KNOWN);
		last = fs_idle_add(sh, n);
	} else if (n->nlookup > 0) {
		n->nlookup -= nlookup;
	}
	pthread_mutex_unlock(&sh->lock);
	if (last)
		fs_node_put(last);
}

void
fs_nodes_clear(struct fs_session *s, bool all)
{
	uint32_t end = fs_table_end(&s->nodes);

	for (uint32_t i = 1; i < end; i++) {
		struct fs_node *n = (void *)fs_table_at(&s->nodes, i);

		if (!n || !fs_slot_ref(&n->slot))
			continue;
		fs_node_forget(n, UINT64_MAX);
		fs_node_put(n);
	}
	for (int i = 0; all && i < FS_SHARDS; i++)
		fs_idle_clear(s, &s->shard[i]);
}

void
fs_nodes_close(struct fs_session *s)
{
	uint32_t end = fs_table_end(&s->nodes);

	for (uint32_t i = 1; i < end; i++) {
		struct fs_node *n = (void *)fs_table_at(&s->nodes, i);

		if (!n || !fs_slot_ref(&n->slot))
			continue;
		if (n->handle)
			fs_nodefd_drop(n);
		fs_node_put(n);
	}
}

/* A held inode without names: let go of it, nothing finds it again. */
static void
let_go(struct fs_node *n)
{
	struct fs_shard *sh = shard_of(n->session, node_hash(n));

	pthread_mutex_lock(&sh->lock);
	unhash(sh, n);
	pthread_mutex_unlock(&sh->lock);
	fs_nodefd_drop(n);
}

void
fs_node_nameless(struct fs_node *n)
{
	struct fs_shard *sh = shard_of(n->session, node_hash(n));

	if (fs_node_id(n) == FUSE_ROOT_ID || atomic_load(&n->deleted))
		return;
	if (!n->handle) {
		atomic_store(&n->deleted, true);
		let_go(n);
		return;
	}
	pthread_mutex_lock(&sh->lock);
	set_gone(sh, n, true);
	pthread_mutex_unlock(&sh->lock);
	fs_nodefd_drop(n);
}

/* Has the inode that this node holds open no names any more? */
static bool
held_is_nameless(struct fs_node *n)
{
	uint64_t w = atomic_load(&n->fdword);
	struct stat st;

	return (uint32_t)w && !fstat((int)(uint32_t)w - 1, &st) &&
	       st.st_nlink == 0;
}

/* Can `n` be the inode that is removed, and not one that had its number
 * before?  Of those there may be many, when the guest forgets nothing. */
static bool
may_be_removed(const struct fs_node *n, const struct fs_mount *m,
	       const struct statx *stx)
{
	if (!same_key(n, m, stx) || atomic_load(&n->deleted) ||
	    fs_node_id(n) == FUSE_ROOT_ID)
		return false;
	return !n->handle || !other_birth(n, stx);
}

void
fs_node_removed(struct fs_session *s, const struct statx *stx)
{
	struct fs_mount *m = fs_mount_find(s->share, stx);
	uint64_t hash = hash_of(fs_statx_dev(stx), stx->stx_ino, m);
	struct fs_shard *sh = shard_of(s, hash);
	struct fs_node *found[8], *n = NULL;
	int nfound = 0;

	if (!m)
		return;
	pthread_mutex_lock(&sh->lock);
	if (sh->nbuckets)
		n = *bucket_of(sh, hash);
	for (; n && nfound < 8; n = n->hash_next) {
		if (may_be_removed(n, m, stx) && fs_slot_ref(&n->slot))
			found[nfound++] = n;
	}
	pthread_mutex_unlock(&sh->lock);
	for (int i = 0; i < nfound; i++) {
		n = found[i];
		if (n->handle ? S_ISDIR(n->type) || stx->stx_nlink <= 1
			      : held_is_nameless(n))
			fs_node_nameless(n);
		else if (n->handle)
			fs_nodefd_drop(n);
		fs_node_put(n);
	}
}
