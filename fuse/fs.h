/* SPDX-License-Identifier: MIT */
/*
 * The structs and functions that the files of fuse/ share.  Nothing outside
 * this folder includes it.
 *
 * Who may touch what: a set of settings never changes, but a share may go over
 * to another (fs_share_set); everything else is shared by the threads that
 * serve its sessions and is atomic or has a lock.
 * Locks are taken in this order and never the other way round:
 *
 *	handle.stream -> share.mounts_lock -> share.sessions_lock -> shard.lock
 *	-> budget.lock -> share.lru_lock -> table.lock
 *
 * share.locks_lock is taken alone; fs_req.resume() is called under it.
 */
#ifndef FUSE_FS_H
#define FUSE_FS_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "casefold/casefold.h"
#include "conf/share.h"
#include "fuse/fuse.h"
#include "fuse/nodes.h"
#include "fuse/sys.h"
#include "fuse/wire.h"

struct fs_look;
struct fs_ids;
struct fs_later;
struct fs_owner;
struct fs_text;

/* ------------------------------------------------------------------ */
/* share.c */

#define FS_OWNER_BUCKETS 256

struct fs_list {
	struct fs_node *head, *tail;
};

struct fs_share {
	const struct conf_share *_Atomic set;	/* fs_share_set() */
	int root_fd;		/* O_PATH */
	int proc_fd;		/* /proc/self/fd, or -1 */
	struct statx root_stx;
	struct fs_mount *root_mount;
	bool privileged;	/* may act as other users */
	struct fs_ids *ids;	/* ids.c; NULL: ids are the same on both sides */
	bool forbidden;		/* nothing may be changed */
	bool records;		/* owners.c: what the host cannot hold, */
	struct cf_state *state;	/* here; NULL: in an attribute */
	struct cf_share *fold;	/* names match ignoring case; or NULL */
	int marker_fd;		/* fold.c: what says so to Wine, or -1 */
	struct fs_handle_buf root_buf;	/* fold.c: handle of the root, */
	const struct file_handle *root_handle;	/* or NULL */
	_Atomic unsigned max_fds, max_open;

	pthread_mutex_t mounts_lock;
	_Atomic(struct fs_mount *) mounts;

	pthread_mutex_t sessions_lock;	/* held for memory's time only */
	struct fs_session *sessions;	/* all that there are */

	pthread_mutex_t lru_lock;	/* the lists; to change nfds */
	struct fs_list lru[2];		/* files, directories */
	unsigned sweep;			/* number of the present one */
	_Atomic unsigned nfds, nheld;	/* O_PATH fds of nodes; held ones */
	struct fs_budget *budget;	/* of all shares, or NULL */
	struct fs_share *next;		/* in its list */

	_Atomic unsigned nhandles, nnodes, nsessions, ndirbufs;
	_Atomic unsigned nidle;		/* forgotten nodes, remembered */
	_Atomic(struct fs_session *) left;	/* for who comes, or NULL */

	pthread_mutex_t locks_lock;	/* lock.c */
	struct fs_owner *owners[FS_OWNER_BUCKETS];
	struct fs_wait *waits;
	_Atomic unsigned nwaits;
};

int fs_open_proc(struct fs_share *share, int fd, int flags);

static inline bool
fs_is_readonly(const struct fs_share *share)
{
	return share->forbidden || share->set->readonly;
}

/* ------------------------------------------------------------------ */
/* session.c */

#define FS_SHARDS 64
#define FS_IDLE 32		/* forgotten nodes that a shard remembers, */
				/* and more with export_support */

struct fs_shard {
	pthread_mutex_t lock;
	struct fs_node **bucket;
	size_t nbuckets, count;
	struct fs_node **idle;	/* a ring, each with a reference */
	unsigned nidle, idle_at;	/* its size; the next place */
};

struct fs_session {
	struct fs_share *share;
	struct fs_session *next;	/* of the share; sessions_lock */
	_Atomic bool ready;
	_Atomic bool windows;
	_Atomic unsigned minor;
	_Atomic uint64_t flags;		/* INIT flags agreed on */
	_Atomic uint64_t nnodes, nhandles, nfds, nheld;
	_Atomic unsigned nowners, nwaits;	/* lock.c */
	_Atomic bool no_waits;
	bool cleared;			/* its guest has left, */
	bool freed;			/* the next may have it */
	struct fs_table nodes;
	struct fs_table handles;
	struct fs_shard shard[FS_SHARDS];
};

static inline bool
fs_session_has(struct fs_session *s, uint64_t flag)
{
	return atomic_load_explicit(&s->flags, memory_order_relaxed) & flag;
}

/* A guest begins anew on the same connection. */
void fs_session_restart(struct fs_session *s);
/* What fs_session_free() does to one that nobody goes on with. */
void fs_session_destroy(struct fs_session *s);

static inline bool
fs_is_windows(struct fs_session *s)
{
	return atomic_load_explicit(&s->windows, memory_order_relaxed);
}

/* ------------------------------------------------------------------ */
/* export.c: files are found by the ids that a guest has kept. */

static inline bool
fs_is_exported(struct fs_session *s)
{
	return fs_session_has(s, FUSE_EXPORT_SUPPORT);
}

/* How many forgotten nodes a shard of the session remembers. */
unsigned fs_export_idle(struct fs_session *s);
/* Generations of node ids begin here. */
int fs_export_base(const struct fs_share *share, uint32_t *base);
/* The session whose guest has left and is back as the next, or NULL. */
struct fs_session *fs_export_take(struct fs_share *share);
/* The guest has left: is the next one to have what this one knows? */
bool fs_export_keep(struct fs_session *s);
/* Then leave the session, cleared, for it; false: it stays the caller's. */
bool fs_export_leave(struct fs_session *s);
/* An O_PATH fd of what is above the directory `fd`, if that is in the share. */
int fs_export_parent(struct fs_ctx *c, int fd);

/* ------------------------------------------------------------------ */
/* cred.c: the identity a thread acts under. */

#define FS_GROUPS_MAX 32	/* supplementary groups of one request */

struct fs_cred {
	bool privileged;	/* can switch at all */
	bool own_fs;		/* umask is the thread's own */
	uint32_t mask;		/* it, then */
	bool switched;		/* not ourselves now */
	bool no_fsetid;		/* CAP_FSETID is dropped */
	uint32_t fsgid;		/* while not switched */
	uint32_t uid, gid;	/* while switched */
	uint32_t ngroups, groups[FS_GROUPS_MAX];
	uint32_t self_uid, self_gid;
	uint64_t permitted;	/* capabilities */
};

int fs_cred_init(struct fs_cred *cred);
/* Give the thread a umask, of 0, and a working directory of its own. */
int fs_cred_own_fs(struct fs_cred *cred);
bool fs_cred_can_switch(void);
/* For one request of a guest that leaves the umask to us; fs_cred_caller()
 * sets it back to 0. */
void fs_cred_umask(struct fs_cred *cred, uint32_t mask);
/* Become ourselves; with `kill`, writes clear suid and sgid bits. */
int fs_cred_self(struct fs_cred *cred, bool kill);
/* The same with `kill`, for a caller of this group: sgid stays on a file of
 * that group which the group may not execute, as if the caller wrote. */
int fs_cred_kill(struct fs_cred *cred, uint32_t gid);
/* Become the caller of a request. */
int fs_cred_caller(struct fs_cred *cred, uint32_t uid, uint32_t gid,
		   uint32_t ngroups, const uint32_t *groups);

/* ------------------------------------------------------------------ */
/* Threads. */

#define FS_IN_MAX 8192		/* a request without its file data */
#define FS_IN_PAD 64		/* zeros behind it */
#define FS_OUT_MAX (132 * 1024)	/* a reply that is not file data */
#define FS_DENTS_MAX 32768	/* directory entries read at once */
#define FS_IOV_MAX 1024		/* IOV_MAX */
#define FS_XNAME_SIZE 256	/* an attribute's name and its NUL */

struct fs_thread {
	struct fs_cred cred;
	bool in_proc;		/* works in /proc/self/fd (xattr.c) */
	struct fs_later *later;	/* later.c; NULL: none was put off yet */
	struct iovec iov[FS_IOV_MAX];
	_Alignas(8) char in[FS_IN_MAX + FS_IN_PAD];
	_Alignas(8) char out[FS_OUT_MAX];
	_Alignas(8) char dents[FS_DENTS_MAX];
};

/* ------------------------------------------------------------------ */
/* ops.c: one request on its way through. */

enum {
	FS_EARLY = 1 << 0,	/* allowed before INIT */
	FS_NAME = 1 << 1,	/* one name follows the fixed part */
	FS_NAME2 = 1 << 2,	/* two names follow it */
	FS_WRITES = 1 << 3,	/* EROFS on a read-only share */
	FS_NOREPLY = 1 << 4,	/* never answered */
	FS_PATH = 1 << 5,	/* then a link target: may hold '/' */
	FS_VALUE = 1 << 6,	/* bytes of stated length follow the name */
	FS_NONODE = 1 << 7,	/* the header's node id means nothing */
	FS_DIR = 1 << 8,	/* the node is a directory; its fd is wanted */
	FS_FD = 1 << 9,		/* the node's fd is wanted */
	FS_FILE_FH = 1 << 10,	/* the handle of a file comes first */
	FS_DIR_FH = 1 << 11,	/* the handle of a directory comes first */
	FS_CALLER = 1 << 12,	/* acts as the caller (makes an inode) */
	FS_ANY_ID = 1 << 13,	/* does not care whom it acts as */
	FS_SLOW = 1 << 14,	/* may wait for a disk */
	FS_DATA = 1 << 15,	/* what follows the fixed part stays in place */
	FS_DOTS = 1 << 16,	/* "." and ".." are names */
	FS_XNAME = 1 << 17,	/* one attribute's name: may hold '/' */
	FS_NAMELESS = 1 << 18,	/* "/" is a name: Linux's for what has none */
};

struct fs_op {
	const char *name;
	uint16_t in;		/* fewest bytes after the header */
	uint16_t out;		/* room that a good reply needs */
	unsigned flags;
	/* Returns the length of the reply's body or -errno. */
	ssize_t (*run)(struct fs_ctx *c, const void *in, void *out);
	void (*show)(struct fs_text *t, const void *in);
};

struct fs_make {		/* chown.c */
	unsigned has;		/* CF_STATE_ bits of what to record */
	uint32_t uid, gid, mode, rdev;
	bool inherits;		/* the directory's group */
};

struct fs_ctx {
	const struct fs_op *op;
	bool may_block;
	bool late;		/* something was done: no FS_DEFER */
	bool together;		/* FS_DEFER: who may wait may put it off */
	bool make_as_self;	/* the host does not have the caller */
	struct fs_make make;	/* whose what is made is to be */

	const char *name, *name2;
	size_t value_at;		/* FS_VALUE: where, after the header */
	const char *label_name, *label;	/* of what is made, or NULL */
	size_t label_size;
	uint32_t ngroups;

	struct fs_node *node, *node2;	/* each with a reference */
	struct fs_handle *fh;		/* with a reference */
	const void *body;	/* of the reply; NULL: it stands there already */

	/* From here on nothing is 0 to begin with. */
	_Alignas(64) struct fs_session *s;
	struct fs_share *share;
	struct fs_thread *t;
	struct fs_req *req;
	int fd, fd2;			/* pinned fds of the nodes, or -1 */
	size_t in_len;		/* bytes after the header, copied or not */
	struct fuse_in_header h;	/* our copy */
	uint32_t groups[FS_GROUPS_MAX];
};

const struct fs_op *fs_op_get(uint32_t opcode);

/* Find and pin a second node; dispatch lets go of it. */
int fs_ctx_node2(struct fs_ctx *c, uint64_t id, bool dir);

/* Act as whom the row of the request names. */
int fs_ctx_become(struct fs_ctx *c);
/* Act as ourselves on the node that is open as `fd`, of h unless that is NULL;
 * with `kill`, writing clears suid and sgid bits as if the caller wrote. */
int fs_ctx_write(struct fs_ctx *c, struct fs_node *n, struct fs_handle *h,
		 int fd, bool kill);

/* crossmnt = no: what is mounted there is seen but not entered. */
static inline bool
fs_is_closed(const struct fs_ctx *c, const struct fs_mount *m)
{
	const struct fs_mount *root = c->share->root_mount;

	return m != root && m->id != root->id && !c->share->set->crossmnt;
}

/* Would work on this mount hold up a thread that must not wait? */
bool fs_mount_defers(const struct fs_ctx *c, const struct fs_mount *m);
/* Same for work that waits for a disk even on a local mount. */
bool fs_disk_defers(const struct fs_ctx *c, const struct fs_mount *m);

static inline void
fs_count(uint64_t *counter, uint64_t n)
{
	uint64_t old = __atomic_load_n(counter, __ATOMIC_RELAXED);

	__atomic_store_n(counter, old + n, __ATOMIC_RELAXED);
}

/* Linux 6.8: an id that is never given to another mount. */
#define FS_STATX_MNT_ID_UNIQUE 0x4000U

/* statx of a name, or of `fd` itself when name is "".  0 or -errno. */
static inline int
fs_statx(const struct fs_ctx *c, int fd, const char *name, struct statx *stx)
{
	const long wanted = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID |
			    FS_STATX_MNT_ID_UNIQUE;
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	if (!*name)
		flags |= AT_EMPTY_PATH;
	/* The name may lead onto a mount whose server does not answer: it goes
	 * to the pool once that is known.  Unless this thread may wait for it. */
	if (!c->may_block && c->share->set->inline_io != CONF_INLINE_YES)
		flags |= AT_STATX_DONT_SYNC;
	return (int)fs_sys(SYS_statx, fd, (long)name, flags, wanted, (long)stx,
			   0);
}

/* decode.c */
int fs_decode(struct fs_ctx *c);

/* init.c */
ssize_t fs_op_init(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_destroy(struct fs_ctx *c, const void *in, void *out);
/* A Windows guest that resumed: it goes on without INIT. */
bool fs_init_resume(struct fs_session *s);

/* lookup.c */
int fs_walk(struct fs_ctx *c, struct fs_node *dir, int dirfd, const char *name,
	    bool fresh, struct statx *stx, struct fs_node **node);
/* The node of a file just made and open as `fd` (borrowed). */
int fs_walk_fd(struct fs_ctx *c, int fd, struct statx *stx,
	       struct fs_node **node);
int fs_entry_fill(struct fs_ctx *c, struct fs_node *n, int fd,
		  const struct statx *stx, struct fuse_entry_out *e);
/* Look `name` up, which this request made, and fill in the reply.  `made`: not
 * only the name, but the inode, too. */
ssize_t fs_reply_entry(struct fs_ctx *c, const char *name, bool made,
		       struct fuse_entry_out *e);
ssize_t fs_op_lookup(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_forget(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_batch_forget(struct fs_ctx *c, const void *in, void *out);
uint64_t fs_statx_dev(const struct statx *stx);

/* attr.c */
/* Of node `n`; `fd` is open on it, or -1.  0, -errno or FS_DEFER. */
int fs_attr_fill(struct fs_ctx *c, struct fs_node *n, int fd,
		 const struct statx *stx, struct fuse_attr *attr);
void fs_timeout(int64_t us, unsigned cache, uint64_t *sec, uint32_t *nsec);
/* chmod of an O_PATH fd. */
int fs_chmod_path(struct fs_ctx *c, int fd, mode_t mode);
ssize_t fs_op_getattr(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_setattr(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_statx(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_access(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_statfs(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_syncfs(struct fs_ctx *c, const void *in, void *out);

/* file.c */
ssize_t fs_op_open(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_create(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_tmpfile(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_release(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_flush(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_fsync(struct fs_ctx *c, const void *in, void *out);
/* What OPEN and OPENDIR answer besides the handle. */
uint32_t fs_open_flags(struct fs_ctx *c, const struct fs_node *n, bool dir);

/* data.c */
void *fs_aligned(size_t size);	/* for O_DIRECT */
ssize_t fs_op_read(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_write(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_fallocate(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_lseek(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_copy(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_copy64(struct fs_ctx *c, const void *in, void *out);

/* dir.c */
ssize_t fs_op_opendir(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_readdir(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_readdirplus(struct fs_ctx *c, const void *in, void *out);

/* lock.c */
ssize_t fs_op_getlk(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_setlk(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_setlkw(struct fs_ctx *c, const void *in, void *out);
/* A guest's process closed the file of c->fh: its POSIX locks end. */
void fs_locks_flush(struct fs_ctx *c, uint64_t owner);
/* The handle is released: locks through it end, and flocks if the guest says
 * so. */
void fs_locks_release(struct fs_ctx *c, struct fs_handle *h, bool flocks);
void fs_locks_clear(struct fs_session *s);
void fs_wait_end(struct fs_wait *w);

/* name.c */
ssize_t fs_op_mknod(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_mkdir(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_symlink(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_link(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_readlink(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_unlink(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_rmdir(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_rename(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_rename2(struct fs_ctx *c, const void *in, void *out);

/* xattr.c */
ssize_t fs_op_setxattr(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_getxattr(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_listxattr(struct fs_ctx *c, const void *in, void *out);
ssize_t fs_op_removexattr(struct fs_ctx *c, const void *in, void *out);
/* Of what `fd` is, which may be O_PATH, under the host's name. */
#define FS_STATE_XATTR "user.gatewayd.state"
int fs_xattr_set(struct fs_ctx *c, int fd, const char *name, const void *value,
		 size_t size, int flags);
ssize_t fs_xattr_get(struct fs_ctx *c, int fd, const char *name, void *value,
		     size_t size);
int fs_xattr_remove(struct fs_ctx *c, int fd, const char *name);
/* Give what was just made and is open as `fd` the guest's label. */
int fs_set_label(struct fs_ctx *c, int fd);
bool fs_has_xattr(const struct conf_share *set);
/* What the host calls the guest's attribute `name`: that itself or buf. */
int fs_xattr_name(const struct conf_share *set, const char *name,
		  char buf[FS_XNAME_SIZE], const char **host);
/* What the guest sees of the host's attribute `name`, a part of it; NULL:
 * nothing. */
const char *fs_xattr_shown(const struct conf_share *set, const char *name);
/* Is security.capability something else on the host? */
bool fs_xattr_moves_caps(const struct conf_share *set);

/* ioctl.c */
ssize_t fs_op_ioctl(struct fs_ctx *c, const void *in, void *out);

/* windows.c: what a Windows guest needs otherwise. */
int fs_win_error(int err);		/* -errno as its client numbers it */
uint32_t fs_win_mode(uint32_t mode, uint32_t wanted);
bool fs_win_shows(uint32_t mode);	/* a kind of file it can handle? */
void fs_win_attr(struct fs_share *share, const struct statx *stx,
		 const struct fs_look *look, struct fuse_attr *attr);
size_t fs_win_name(const char *name, size_t len, char *out, size_t size);
int fs_win_rename(struct fs_ctx *c, int from_fd, const char *from, int to_fd,
		  const char *to);

/* ------------------------------------------------------------------ */
/* io.c: bounded reads and writes of iovecs. */

/* memcpy() of what is short most often, without a call. */
static inline void
fs_copy(void *to, const void *from, size_t n)
{
	char *d = to;
	const char *s = from;

	if (n > 160) {
		memcpy(d, s, n);
	} else if (n >= 16) {
		for (size_t i = 16; i < n; i += 16)
			memcpy(d + i - 16, s + i - 16, 16);
		memcpy(d + n - 16, s + n - 16, 16);
	} else if (n >= 8) {
		memcpy(d, s, 8);
		memcpy(d + n - 8, s + n - 8, 8);
	} else if (n >= 4) {
		memcpy(d, s, 4);
		memcpy(d + n - 4, s + n - 4, 4);
	} else {
		for (size_t i = 0; i < n; i++)
			d[i] = s[i];
	}
}

/* memset() to 0 of 64, 128 ... bytes: what compilers make of one of that size
 * takes longer to begin than all of it. */
static inline void
fs_zero(void *p, size_t n)
{
	for (char *at = p; n; at += 64, n -= 64)
		memset(at, 0, 64);
}

/* The next two where it is not all in the first piece. */
size_t fs_iov_read_on(const struct iovec *v, unsigned n, size_t off, void *buf,
		      size_t len);
size_t fs_iov_write_on(const struct iovec *v, unsigned n, size_t off,
		       const void *buf, size_t len);

/* Copy from `off` on, at most len bytes; returns how many there were. */
static inline size_t
fs_iov_read(const struct iovec *v, unsigned n, size_t off, void *buf,
	    size_t len)
{
	if (!n || off > v->iov_len || len > v->iov_len - off)
		return fs_iov_read_on(v, n, off, buf, len);
	fs_copy(buf, (const char *)v->iov_base + off, len);
	return len;
}

static inline size_t
fs_iov_write(const struct iovec *v, unsigned n, size_t off, const void *buf,
	     size_t len)
{
	if (!n || off > v->iov_len || len > v->iov_len - off)
		return fs_iov_write_on(v, n, off, buf, len);
	fs_copy((char *)v->iov_base + off, buf, len);
	return len;
}

/* The pieces of [off, off + len) as at most max iovecs in dst; *got bytes. */
unsigned fs_iov_slice(const struct iovec *v, unsigned n, size_t off, size_t len,
		      struct iovec *dst, unsigned max, size_t *got);

#endif
