/* SPDX-License-Identifier: MIT */
/*
 * What a guest knows and has open: ids, mounts, nodes, their fds, open files,
 * and how many of them there may be.  Part of fuse/fs.h.
 */
#ifndef FUSE_NODES_H
#define FUSE_NODES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct file_handle;
struct cf_state_fs;
struct fs_ctx;
struct fs_node;
struct fs_session;
struct fs_shard;
struct fs_share;

/* ------------------------------------------------------------------ */
/* table.c: ids.  An id is generation << 32 | index; memory of a slot stays
 * where it is until the table ends, so that an id can be checked without a
 * lock. */

struct fs_slot {
	_Atomic uint64_t word;	/* generation << 32 | references */
	uint32_t index;
	uint32_t next;		/* in the list of free slots; 0 ends it */
};

#define FS_TABLE_CHUNKS 24	/* chunk k has 256 << k slots */

struct fs_table {
	pthread_mutex_t lock;
	size_t size;		/* of a slot, which begins with fs_slot */
	uint32_t end;		/* one more than the largest index in use */
	uint32_t base;		/* generation of a slot that is used first */
	uint32_t free;
	_Atomic(char *) chunk[FS_TABLE_CHUNKS];
};

int fs_table_init(struct fs_table *t, size_t size);
void fs_table_fini(struct fs_table *t);
/* A zeroed slot with no references, seen by nobody yet; NULL: no memory. */
void *fs_table_new(struct fs_table *t);
/* Let others find it, with `refs` references. */
void fs_slot_publish(struct fs_slot *slot, uint32_t refs);
/* The slot of `id` with one more reference, or NULL. */
void *fs_table_get(struct fs_table *t, uint64_t id);
/* One more reference unless there are none. */
bool fs_slot_ref(struct fs_slot *slot);
/* True: that was the last one and the caller frees the slot. */
bool fs_slot_put(struct fs_slot *slot);
/* Ends the id for good; the next user of the slot gets another one. */
void fs_table_free(struct fs_table *t, struct fs_slot *slot);
uint64_t fs_slot_id(const struct fs_slot *slot);
/* For walking over all: one past the last index, and the slot at `index`. */
uint32_t fs_table_end(struct fs_table *t);
struct fs_slot *fs_table_at(struct fs_table *t, uint32_t index);

/* ------------------------------------------------------------------ */
/* mount.c: what we know of each mount below the share's directory. */

enum {
	FS_MOUNT_REMOTE = 1 << 0,	/* another machine or process answers */
	FS_MOUNT_MEMORY = 1 << 1,	/* never waits for a disk */
	FS_MOUNT_STACKED = 1 << 2,	/* overlay: birth times change */
	FS_MOUNT_HANDLES = 1 << 3,	/* nodes are reopened by file handle */
};

/* Its memory lives as long as the share.  All but `used` and `active` changes
 * only under mounts_lock while `used` is 0. */
struct fs_mount {
	_Atomic uint64_t id;	/* stx_mnt_id */
	_Atomic uint64_t dev;
	_Atomic unsigned flags;
	int fd;			/* for open_by_handle_at and syncfs, or -1; */
				/* for who has a reference or a node of it */
	_Atomic(struct cf_state_fs *) state;	/* owners.c; NULL: none */
	_Atomic bool no_nowait;	/* RWF_NOWAIT does not work here */
	_Atomic bool active;	/* since fs_share_leave() last looked */
	_Atomic uint64_t used;	/* nodes and references << 32 | of them, known
				 * to guests; the root's is not counted */
	struct fs_mount *next;
};

#define FS_MOUNT_NODE (1ULL << 32)
#define FS_MOUNT_KNOWN 1ULL

/* Known mount of `stx`, or NULL.  Unless something is held of it, it may become
 * another at any time. */
struct fs_mount *fs_mount_find(struct fs_share *share, const struct statx *stx);
/* The same with a reference, which counts as a known node; NULL: none such is
 * in use. */
struct fs_mount *fs_mount_get(struct fs_share *share, const struct statx *stx);
/* The same, looking at one that is not in use through `fd` (O_PATH); may
 * block. */
int fs_mount_open(struct fs_share *share, const struct statx *stx, int fd,
		  struct fs_mount **mount);
bool fs_mount_is_used(const struct fs_share *share, const struct fs_mount *m);
/* Add to m->used. */
void fs_mount_count(struct fs_share *share, struct fs_mount *m, uint64_t by);
static inline void
fs_mount_put(struct fs_share *share, struct fs_mount *m)
{
	fs_mount_count(share, m, -(FS_MOUNT_NODE + FS_MOUNT_KNOWN));
}
void fs_mounts_free(struct fs_share *share);

#define FS_HANDLE_MAX 128	/* MAX_HANDLE_SZ */

struct fs_handle_buf {		/* room for any struct file_handle */
	_Alignas(8) unsigned char bytes[8 + FS_HANDLE_MAX];
};

/* The file handle of what `fd` is, in `buf`; NULL if it has none. */
struct file_handle *fs_handle_of(int fd, struct fs_handle_buf *buf);
bool fs_handle_equal(const struct file_handle *a, const struct file_handle *b);

/* ------------------------------------------------------------------ */
/* node.c: inodes that a guest knows. */

struct fs_node {
	struct fs_slot slot;
	struct fs_session *session;
	struct fs_mount *mount;
	uint64_t dev, ino;
	int64_t btime_sec;
	uint32_t btime_nsec;
	uint16_t type;			/* S_IFMT bits */
	bool hashed;			/* in its shard; shard.lock */
	bool gone;			/* there by handle; shard.lock */
	bool has_btime;
	bool idle;			/* in its shard's ring; shard.lock */
	bool again;			/* forgotten once more since */
	_Atomic bool aged;		/* ino and btime name it alone */
	_Atomic bool deleted;		/* has no name; do not keep it */
	struct file_handle *handle;	/* NULL: its fd is held */
	uint64_t nlookup;		/* what the guest holds; shard.lock */
	struct fs_node *hash_next;	/* shard.lock */

	/* nodefd.c */
	_Atomic uint64_t fdword;
	_Atomic bool used;		/* since the LRU last looked */
	bool listed;			/* in share.lru; lru_lock */
	unsigned swept;			/* spared until then; lru_lock */
	struct fs_node *lru_prev, *lru_next;
};

struct fs_node *fs_node_get(struct fs_session *s, uint64_t id);
void fs_node_put(struct fs_node *n);
/* The same under shard.lock.  The fd that is left to close, or -1. */
int fs_node_put_locked(struct fs_shard *sh, struct fs_node *n);
static inline uint64_t
fs_node_id(const struct fs_node *n)
{
	return fs_slot_id(&n->slot);
}

int fs_node_add_root(struct fs_session *s);
/*
 * The node that `stx` certainly is, with a reference and one more lookup of
 * the guest, or NULL when only its file handle could tell.
 */
struct fs_node *fs_node_find(struct fs_session *s, const struct fs_mount *m,
			     const struct statx *stx);
/*
 * The node of the inode open as `fd` (O_PATH, taken, also on error; -1 when
 * the caller has none to give, then `h` names it), found or made, counted as
 * above.  Takes the reference of `m`, too.  `now` is the coarse clock as read
 * before `stx` was.
 */
int fs_node_add(struct fs_ctx *c, struct fs_mount *m, const struct statx *stx,
		const struct timespec *now, const struct file_handle *h,
		int fd, struct fs_node **node);
/* The guest looked `n` up once more; a reference for the caller. */
void fs_node_count(struct fs_node *n);
void fs_node_forget(struct fs_node *n, uint64_t nlookup);
/* A name was removed of the inode that `stx` describes as it was before. */
void fs_node_removed(struct fs_session *s, const struct statx *stx);
/* The inode has no name left: do not keep it alive. */
void fs_node_nameless(struct fs_node *n);
/* The guest knows none any more; `all`: nor do we. */
void fs_nodes_clear(struct fs_session *s, bool all);
/* Close the fds of those that can be opened again. */
void fs_nodes_close(struct fs_session *s);

/* ------------------------------------------------------------------ */
/* idle.c: nodes that the guest has forgotten. */

/* Remember `n` with the guest's reference.  Returns the node that must go for
 * it, or n itself: what holds an fd or has no name is not worth it.  Under
 * shard.lock. */
struct fs_node *fs_idle_add(struct fs_shard *sh, struct fs_node *n);
/* Remember none; takes shard.lock. */
void fs_idle_clear(struct fs_session *s, struct fs_shard *sh);
/* Remember none of that mount; fds to close are added to the *count ones in
 * `fds`, which has room for `max`.  True: it was not enough.  Does nothing when
 * shard.lock is taken: its owner may wait for a disk. */
bool fs_idle_leave(struct fs_session *s, struct fs_shard *sh,
		   const struct fs_mount *m, int *fds, size_t max,
		   size_t *count);

/* ------------------------------------------------------------------ */
/* nodefd.c: O_PATH fds of nodes, within the share's budget. */

/* The node's fd, valid until unpin.  FS_DEFER: opening it may block. */
int fs_node_pin(struct fs_ctx *c, struct fs_node *n, int *fd);
void fs_node_unpin(struct fs_node *n);
/* Give `fd` (taken, also on error) to a node that has none.  `held`: it
 * cannot be opened again, so keep it; -ENFILE when the budget is used up. */
int fs_nodefd_give(struct fs_node *n, int fd, bool held);
bool fs_nodefd_held(const struct fs_node *n);
void fs_nodefd_drop(struct fs_node *n);
/* Take the fd away from a node that has no references, or -1. */
int fs_nodefd_take(struct fs_node *n);
/* Open the inode for I/O.  Its type is known to be right. */
int fs_node_open(struct fs_ctx *c, struct fs_node *n, int flags);
/* Room for one more fd that the session holds? */
bool fs_nodefd_room(struct fs_session *s);
/* The fd of a node that was not used lately, taken from it, or -1. */
int fs_nodefd_evict(struct fs_share *share);
/* The process ran out of fds: close some that can be opened again. */
bool fs_nodefd_shrink(struct fs_share *share);

/* ------------------------------------------------------------------ */
/* budget.c: fds of all shares together. */

void fs_budget_leave(struct fs_share *share);
/* A node's fd was opened (1) or closed (-1); it is held, or no longer. */
void fs_budget_count(struct fs_share *share, int fds, int held);
/* Have nodes as many as they may? */
bool fs_budget_full(const struct fs_share *share);
/* Then close one; no lru_lock is held. */
void fs_budget_make_room(struct fs_share *share);
/* An fd to close of whoever has the most, or -1. */
int fs_budget_evict(struct fs_share *share);
/* May the session hold one more? */
bool fs_budget_may_hold(struct fs_session *s);
/* Count one more open file or lock owner, if there may be one. */
bool fs_budget_open(struct fs_session *s);
void fs_budget_closed(struct fs_session *s);

/* ------------------------------------------------------------------ */
/* handle.c: files and directories that a guest has open. */

struct fs_handle {
	struct fs_slot slot;
	struct fs_session *session;
	struct fs_node *node;		/* with a reference */
	int fd;
	int flags;			/* open(2)'s */
	bool dir;
	_Atomic bool open;		/* not released yet */
	_Atomic unsigned flocked;	/* 1: shared, 2: alone (lock.c) */
	_Atomic bool owned;		/* locks were set through it */
	_Atomic unsigned alone;		/* so many WRITEs are not put off */
	_Atomic uint64_t group;		/* gid + 1, or 0 (fs_ctx_write) */

	/* Directory stream. */
	pthread_mutex_t stream;
	uint64_t pos;			/* of the entry at `at` */
	char *buf;			/* entries read ahead, or NULL */
	unsigned at, len;
};

/* Reserve a handle before the file is opened; -ENFILE over the budget. */
int fs_handle_new(struct fs_session *s, struct fs_handle **h);
void fs_handle_cancel(struct fs_handle *h);
/* Put a reserved handle to use; takes fd and a reference of node.  Its id. */
uint64_t fs_handle_open(struct fs_handle *h, struct fs_node *node, int fd,
			int flags);
/* The open handle `id`, with a reference, or NULL. */
struct fs_handle *fs_handle_get(struct fs_session *s, uint64_t id);
void fs_handle_put(struct fs_handle *h);
/* End it for the guest; it closes with the last user. */
void fs_handle_release(struct fs_handle *h);
/* Any open handle of that node; one that can be written to if asked. */
struct fs_handle *fs_handle_of_node(struct fs_session *s, struct fs_node *n,
				    bool writable);
void fs_handles_clear(struct fs_session *s);
void fs_handle_free_buf(struct fs_handle *h);

#endif
