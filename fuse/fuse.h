/* SPDX-License-Identifier: MIT */
/*
 * The door of fuse/: FUSE requests, as iovecs, onto a host directory.
 * Follows include/uapi/linux/fuse.h, protocol 7.27 and newer.  Knows nothing
 * of rings, sockets, threads or logs.
 *
 * Objects: a share (one exported directory, its settings, its mounts, its fd
 * budget) has sessions (one guest each: node ids, file handles, what INIT
 * agreed on).  Any number of threads may serve requests of one session at the
 * same time, each with its own struct fs_thread.
 */
#ifndef FUSE_FUSE_H
#define FUSE_FUSE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "conf/share.h"

struct cf_share;
struct cf_state;
struct fs_share;
struct fs_session;
struct fs_thread;
struct fs_wait;

#define FS_OPCODES 64		/* opcodes we count; more than the kernel has */

/* A counter is one line here; struct, text and manual follow. */
#define FS_STATS(X)                                                          \
	X(requests, "requests taken from the guest")                         \
	X(errors, "requests answered with an error")                         \
	X(malformed, "requests too short or inconsistent to be answered")    \
	X(deferred, "requests given to the worker pool")                     \
	X(reads_together, "READs begun with others by one system call")      \
	X(writes_together, "WRITEs begun with others by one system call")    \
	X(read_bytes, "bytes of file data read by the guest")                \
	X(written_bytes, "bytes of file data written by the guest")          \
	X(reopened, "nodes opened again by their file handle")               \
	X(nodes_limit, "lookups refused because an fd budget was used up")   \
	X(ids_overflow, "owners shown as overflow_uid or overflow_gid")      \
	X(ids_refused, "requests refused for a user or group")               \
	X(ids_recorded, "owners recorded because the host cannot hold them")  \
	X(ids_squashed, "users and groups that were squashed or forced")

/*
 * What one thread counted for one share.  Written by one thread without
 * atomics on the hot path (relaxed stores), read by anyone.
 */
struct fs_counters {
#define FS_COUNTER(name, help) uint64_t name;
	FS_STATS(FS_COUNTER)
#undef FS_COUNTER
};

/* Add `from` to `to` (both may be counting); print as "name value" lines. */
void fs_counters_add(struct fs_counters *to, const struct fs_counters *from);

/* "LOOKUP", or NULL for an opcode we do not know. */
const char *fs_op_name(uint32_t opcode);

/* ------------------------------------------------------------------ */
/* Shares and sessions. */

/*
 * Open the directory of `set` (borrowed until fs_share_free; never changes).
 * On error `why` (size bytes) holds a sentence.
 */
int fs_share_new(const struct conf_share *set, struct fs_share **share,
		 char *why, size_t size);
/*
 * Names of this share match ignoring case, by `fold` (borrowed until
 * fs_share_free).  Before its first session.
 */
void fs_share_fold(struct fs_share *share, struct cf_share *fold);
/* May freeing it take long: wait for a server that does not answer, or free
 * all that a guest has left behind? */
bool fs_share_ends_slowly(struct fs_share *share);
/*
 * What all shares of a process may keep open.  Before the first session of the
 * share; until fs_share_free.
 */
struct fs_budget;
int fs_budget_new(struct fs_budget **budget);
void fs_budget_free(struct fs_budget *budget);
void fs_share_budget(struct fs_share *share, struct fs_budget *budget);
/* Are there owners that the daemon cannot give to a file of this share? */
bool fs_share_lacks_owners(const struct fs_share *share);
/*
 * What the host cannot hold is recorded in `state` (borrowed until
 * fs_share_free), or in an attribute of the file if that is NULL.  Before its
 * first session.
 */
int fs_share_record(struct fs_share *share, struct cf_state *state);
bool fs_share_records(const struct fs_share *share);
/* An O_PATH descriptor of the directory; the share's. */
int fs_share_root(const struct fs_share *share);
/* Refuse every change, whatever the settings say.  Before its first session. */
void fs_share_forbid(struct fs_share *share);
/* After its last session was freed. */
void fs_share_free(struct fs_share *share);
/*
 * Go over to `set` before its first session.  The settings that it was opened
 * with may differ in all but path and inode_file_handles, and go.
 */
int fs_share_begin(struct fs_share *share, const struct conf_share *set);
/*
 * Go over to `set`, which differs from the settings before in live keys only.
 * Other threads may be serving; both stay valid until fs_share_free().
 */
void fs_share_set(struct fs_share *share, const struct conf_share *set);

/*
 * Take fds of files that were not used for one to three sweeps, at most `max`,
 * for the caller to close; *n are in fds.  True: there are more
 * to look at, call again with `begin` false.  [any thread]
 */
bool fs_share_sweep(struct fs_share *share, bool begin, int *fds, size_t max,
		    size_t *n);

/*
 * Let go of what the host has mounted below the directory and no guest has used
 * since the last call but one, so that the host may unmount it: what to close
 * are *n fds, as above.  True: call again soon.  Never blocks.  [any thread]
 */
bool fs_share_leave(struct fs_share *share, int *fds, size_t max, size_t *n);
/* Was there ever anything mounted below?  [any thread] */
bool fs_share_has_mounts(struct fs_share *share);

int fs_session_new(struct fs_share *share, struct fs_session **session);
/*
 * The guest has left: close every file, forget every node but those that the
 * next guest may ask for (export_support).  Takes as long as the storage does:
 * by a thread that may wait.  Others may ask for its info meanwhile.
 */
void fs_session_clear(struct fs_session *session);
/* No thread may be serving it.  Takes no time after fs_session_clear(). */
void fs_session_free(struct fs_session *session);
/*
 * The virtio device was reset: a Linux guest's handles and locks end, a
 * Windows guest keeps its state (it comes back without INIT).  No thread may
 * be serving it.
 */
void fs_session_reset(struct fs_session *session);

/*
 * May requests of the session be parked?  `false` ends those that are, with
 * EAGAIN, by way of their resume().  [any thread]
 */
void fs_session_wait(struct fs_session *session, bool may);

/* For status: gauges of one session and of the whole share. */
struct fs_info {
	bool ready;			/* INIT was answered */
	unsigned minor;			/* FUSE protocol agreed on */
	uint64_t flags;			/* INIT flags agreed on */
	bool windows;			/* the Windows dialect is spoken */
	uint64_t nodes;			/* node ids the guest holds */
	uint64_t remembered;		/* of a share: those it has forgotten */
	uint64_t handles;		/* open files and directories */
	uint64_t node_fds;		/* O_PATH fds open for nodes */
	uint64_t max_handles, max_node_fds;	/* budgets of the share */
};
void fs_session_info(struct fs_session *session, struct fs_info *info);
void fs_share_info(struct fs_share *share, struct fs_info *info);

/* What a guest has open.  Others may be serving. */
struct fs_handle_info {
	uint64_t fh, nodeid;
	bool dir;
	int flags;			/* open(2)'s */
	const char *path;		/* on the host, or "" */
};
void fs_session_handles(struct fs_session *session,
			void (*fn)(void *ctx, const struct fs_handle_info *h),
			void *ctx);

/* ------------------------------------------------------------------ */
/* Threads: scratch memory and the identity that a thread acts under. */

int fs_thread_new(struct fs_thread **thread);	/* called by the thread itself */
void fs_thread_free(struct fs_thread *thread);
/* Become ourselves again; call before sleeping and before other work. */
void fs_thread_relax(struct fs_thread *thread);

/* ------------------------------------------------------------------ */
/* Requests. */

enum {
	FS_MAY_BLOCK = 1 << 0,	/* this thread may wait for a disk */
	FS_HIPRIO = 1 << 1,	/* it came on the hiprio queue */
	FS_MORE = 1 << 2,	/* there are more: it may be put off (FS_LATER) */
};

struct fs_req {
	const struct iovec *in;	/* the request; guest memory or a copy */
	unsigned nin;
	size_t in_len;
	const struct iovec *out;	/* room for the reply */
	unsigned nout;
	size_t out_len;
	unsigned flags;
	struct fs_counters *counters;	/* of the calling thread, for this share */

	/*
	 * For requests that wait for something other than a disk; NULL: they
	 * fail with EAGAIN.  resume() may be called by any thread, before
	 * fs_serve() has returned, and more than once; it must not call back.
	 */
	void (*resume)(void *cookie);
	void *cookie;
	struct fs_wait *wait;	/* NULL at first; kept while it is parked */
	uint64_t wake_us;	/* set when it is parked */

	/* Filled in for traces and the caller, valid after fs_serve(); these
	 * three may be read by another thread, atomically, while it serves. */
	uint32_t opcode;
	uint64_t unique, nodeid;
	int error;		/* 0 or the -errno answered, as Linux numbers it */
};

/* Not errno values that a system call returns here. */
#define FS_DEFER (-EINPROGRESS)
#define FS_GONE (-EFAULT)
#define FS_PARKED (-EALREADY)
#define FS_LATER (-ENOTUNIQ)
#define FS_ALONE (-EREMCHG)

/*
 * Serve one request.  Returns the bytes of the reply, which is in `out`
 * already (0: no reply, the chain is just given back), or
 *   FS_DEFER  it may block and FS_MAY_BLOCK is not set: nothing was done yet;
 *             call again with FS_MAY_BLOCK from a thread that may wait.
 *             The iovecs must then be private copies, not guest memory.
 *             FS_MORE is then in req->flags if it may be put off there.
 *   FS_GONE   guest memory went away while it was used: end the session.
 *   FS_PARKED it waits: call again with the same `wait` when resume() was
 *             called, or at wake_us (CLOCK_MONOTONIC) at the latest.  Only
 *             with FS_MAY_BLOCK.
 *   FS_LATER  it is put off until fs_together(); only with FS_MORE.  The iovecs
 *             of `out` must stay as they are until then.
 */
ssize_t fs_serve(struct fs_session *session, struct fs_thread *thread,
		 struct fs_req *req);

/* Is it of a kind that is put off?  A look at what the guest may still change,
 * to know whether FS_MORE is worth finding out about. */
bool fs_may_be_later(const struct fs_req *req);
/* Can this thread put anything off?  To be asked before FS_MORE is given
 * together with FS_MAY_BLOCK. */
bool fs_can_be_later(struct fs_thread *thread);

/*
 * Do what was put off, at most FS_TOGETHER_MAX requests.  done() is called for
 * each as it is done, in any order; `answer` is what fs_serve() would have
 * returned for the i-th of them, or FS_ALONE: call it again, without FS_MORE.
 * With FS_MAY_BLOCK for all or for none of them.
 */
#define FS_TOGETHER_MAX 16
#define FS_LATER_PIECES 40	/* of such a request, in and out */
typedef void fs_later_done(void *ctx, unsigned i, ssize_t answer);
void fs_together(struct fs_thread *thread, fs_later_done *done, void *ctx);

/* Bytes of file data that a request has moved when its reply has `len` bytes;
 * with the room for it, the most it can.  After fs_serve(). */
size_t fs_req_data(const struct fs_req *req, size_t len);

/*
 * One line for a trace: "u=4412 > MKDIR n=982 "new" mode=0755".  Reads the
 * request, changes nothing.  Returns the length as snprintf does.
 */
int fs_describe(const struct fs_req *req, char *buf, size_t size);

#endif
