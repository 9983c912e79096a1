/* SPDX-License-Identifier: MIT */
/*
 * The settings of shares and of the daemon as plain structs: no functions.
 * conf/ fills them in from the key table (conf/keys.c) and checks them; every
 * other folder only reads.  Times are microseconds (_us), sizes bytes.
 */
#ifndef CONF_SHARE_H
#define CONF_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* cache = : how long a guest may trust what it was told (virtiofsd's words) */
enum conf_trace {
	CONF_TRACE_NO,
	CONF_TRACE_YES,		/* for who reads the control file */
	CONF_TRACE_LOG,		/* and into the log */
};

enum conf_cache {
	CONF_CACHE_AUTO,	/* 1 s; data is revalidated at open */
	CONF_CACHE_ALWAYS,	/* a day; data is kept over opens */
	CONF_CACHE_METADATA,	/* a day for names and attributes, data never */
	CONF_CACHE_NEVER,
};

/* guest = : which client dialect is spoken */
enum conf_guest {
	CONF_GUEST_AUTO,	/* by the fingerprint of INIT */
	CONF_GUEST_LINUX,
	CONF_GUEST_WINDOWS,
};

/* inline = : may a queue thread itself do what a local disk answers fast */
enum conf_inline {
	CONF_INLINE_AUTO,	/* decided per mount */
	CONF_INLINE_YES,
	CONF_INLINE_NO,		/* everything goes to the worker pool */
};

/* inode_file_handles = */
enum conf_handles {
	CONF_HANDLES_NEVER,
	CONF_HANDLES_PREFER,
	CONF_HANDLES_MANDATORY,
};

/* readdirplus =, killpriv_v2 = */
enum conf_auto {
	CONF_AUTO,
	CONF_AUTO_YES,
	CONF_AUTO_NO,
};

/* casefold = : do names match ignoring case */
enum conf_casefold {
	CONF_CASEFOLD_NO,
	CONF_CASEFOLD_NT,	/* as Windows compares file names */
	CONF_CASEFOLD_ASCII,	/* A to Z only */
};

/* owners = : what becomes of owners that the host cannot hold */
enum conf_owners {
	CONF_OWNERS_AUTO,	/* store where the daemon cannot set any owner */
	CONF_OWNERS_HOST,	/* the guest gets an error */
	CONF_OWNERS_STORE,	/* they are recorded, and shown to guests */
};

/* state_store = : where */
enum conf_store {
	CONF_STORE_SQLITE,	/* in STATE_DIR/TAG/state.db */
	CONF_STORE_XATTR,	/* in an extended attribute of the file */
};

/* locks = */
enum conf_locks {
	CONF_LOCKS_LOCAL,	/* each guest keeps its own */
	CONF_LOCKS_REMOTE,	/* one guest's hold for others and the host */
};

/* A list of strings; n is 0 when the key was not given. */
struct conf_list {
	char **v;
	size_t n;
};

/* posix_acl =, security_label = */
enum conf_when {
	CONF_WHEN_NEVER,
	CONF_WHEN_AUTO,		/* with guests that offer it */
	CONF_WHEN_ALWAYS,	/* other guests are refused */
};

/* One rule of xattrmap =; the first that matches decides. */
enum conf_xattr_type {
	CONF_XATTR_PREFIX,	/* the host's name has `prepend` in front */
	CONF_XATTR_OK,		/* the same name on both sides */
	CONF_XATTR_BAD,		/* EPERM to the guest, hidden in lists */
	CONF_XATTR_UNSUPPORTED,	/* EOPNOTSUPP to the guest, hidden in lists */
};

enum {
	CONF_XATTR_CLIENT = 1 << 0,	/* matches a guest's name by `key` */
	CONF_XATTR_SERVER = 1 << 1,	/* matches a host's by `prepend` */
};

struct conf_xattr_rule {
	unsigned type;		/* enum conf_xattr_type */
	unsigned scope;		/* CONF_XATTR_CLIENT, CONF_XATTR_SERVER */
	char *key, *prepend;
};

struct conf_rules {
	struct conf_xattr_rule *v;
	size_t n;
};

/* What becomes of a range of ids in one direction; the rules of translate_uid
 * and translate_gid. */
enum conf_id_type {
	CONF_ID_RANGE,		/* first is `to`, first + 1 is `to` + 1 ... */
	CONF_ID_SQUASH,		/* all of them are `to` */
	CONF_ID_FORBID,		/* the guest must not use them */
};

struct conf_id_range {
	uint32_t first, last;
	uint32_t to;
	unsigned type;		/* enum conf_id_type */
};

struct conf_id_ranges {		/* sorted, none overlaps another */
	struct conf_id_range *v;
	size_t n;
};

struct conf_idmap {
	struct conf_id_ranges to_host, to_guest;
};

#define CONF_TAG_MAX 36		/* bytes; virtio 1.2, 5.11.4 */

/*
 * One share.  Owned by a struct conf and by every session that started with
 * it (conf_share_get, conf_share_put, on the control thread only); never
 * changed once the configuration is in use.
 */
struct conf_share {
	char *tag;
	char *path;		/* absolute */
	char *comment;		/* "" when not given */
	bool enabled;

	char *socket;		/* absolute; SOCKET_DIR/TAG.sock when not given */
	char *socket_user;	/* "" = our own */
	char *socket_group;	/* "" = kvm as root where it exists, else ours */
	unsigned socket_mode;
	struct conf_list allow_uids;	/* empty = any */
	uid_t *allowed_uid;	/* allow_uids as numbers, allow_uids.n of them */

	unsigned max_clients;	/* sessions at one time */
	unsigned max_request_queues;
	bool advertise_tag;	/* offer VHOST_USER_PROTOCOL_F_CONFIG */
	uint64_t poll_us;	/* longest look at a ring before sleeping */
	unsigned iops_limit;	/* requests a second, of all guests; 0 = any */
	uint64_t bandwidth_limit;	/* bytes read and written; 0 = any */

	unsigned trace;		/* enum conf_trace, from the start; switched by
				 * the control file */
	bool readonly;
	unsigned guest;		/* enum conf_guest */
	unsigned cache;		/* enum conf_cache */
	int64_t entry_timeout_us;	/* -1 = by cache */
	int64_t attr_timeout_us;	/* -1 = by cache */
	int64_t negative_timeout_us;
	uint64_t max_write;	/* bytes, 4096 .. 1 MiB */
	unsigned max_fds;	/* O_PATH fds that nodes keep open */
	unsigned max_open_files;	/* files and directories guests have open */
	unsigned inline_io;	/* enum conf_inline; the key is "inline" */
	bool io_uring;		/* reads, and writes, together */
	unsigned inode_file_handles;	/* enum conf_handles */

	bool writeback;
	bool allow_direct_io;
	bool allow_mmap;	/* without a cache */
	bool allow_idmap;
	bool export_support;	/* guests may find files by what they had as id */
	unsigned export_nodes;	/* that many of those a guest has forgotten */
	bool preserve_noatime;
	bool announce_submounts;
	bool crossmnt;
	unsigned readdirplus;	/* enum conf_auto */
	unsigned killpriv_v2;	/* enum conf_auto */
	bool xattr;		/* or any of the keys that need it */
	struct conf_list xattrmap;	/* as written */
	struct conf_rules xattr_rules;	/* the same, read */
	unsigned posix_acl;	/* enum conf_when */
	unsigned security_label;	/* enum conf_when */

	struct conf_list translate_uid, translate_gid;	/* as written */
	struct conf_idmap uid_map, gid_map;	/* the same, read */
	char *force_user, *force_group;	/* "" = nobody is forced */
	uint32_t forced_uid, forced_gid;	/* the same; -1 = none */
	uint32_t overflow_uid, overflow_gid;	/* -1 = the kernel's own */
	char *root_owner;	/* "UID:GID"; "" = the daemon's own */
	uint32_t root_uid, root_gid;	/* the same; -1 */
	unsigned create_mask, directory_mask;
	unsigned owners;	/* enum conf_owners */
	unsigned state_store;	/* enum conf_store */
	bool sticky_owners;	/* recorded owners survive a chown of the host */
	bool state_inside;	/* state_dir lies inside some share */

	unsigned casefold;	/* enum conf_casefold */
	uint64_t casefold_memory;	/* bytes of names in memory */
	uint64_t casefold_disk;	/* bytes of cache.db; 0 = there is none */
	bool wine_marker;	/* tell Wine that names are folded */
	unsigned locks;		/* enum conf_locks */
	uint64_t lock_wait_us;	/* how long SETLKW waits */

	/* Where it was configured; for messages.  conf's own. */
	char *file;
	int line;
	unsigned refs;
};

/* Sets of capabilities(7): bit n is capability number n. */
struct conf_caps {
	uint64_t add;		/* kept besides those that serving needs */
	uint64_t drop;		/* given up at start */
};

/* The daemon itself: section [gateway]. */
struct conf_gateway {
	char *socket_dir;
	char *cache_dir;	/* of TAG/cache.db, all of which can be lost */
	char *state_dir;	/* of TAG/state.db, which cannot */
	char *control_socket;
	char *control_group;	/* "" = our own group */
	unsigned control_mode;
	char *admin_group;	/* "" = none but root and the daemon's user */
	gid_t admin_gid;	/* its number; (gid_t)-1 when there is none */
	unsigned log_level;	/* enum conf_log */
	unsigned thread_pool_size;	/* workers; 0 = by the number of CPUs */
	unsigned max_threads;	/* queue threads of all shares together */
	unsigned poll_max;	/* threads that poll at one time; 0 = half the CPUs */
	bool poll_max_given;	/* "poll_max = 0" means never poll */
	uint64_t rlimit_nofile;	/* 0 = leave as it is */
	char *modcaps;		/* as written; "" = nothing */
	struct conf_caps caps;	/* what it means */
	uint64_t drain_timeout_us;	/* how long a stop waits for requests */
	uint64_t slow_request_us;	/* longer ones are logged; 0 = none */
	uint64_t hung_request_us;	/* longer ones count as hung; 0 = none */
};

enum conf_log {
	CONF_LOG_ERROR,
	CONF_LOG_WARN,
	CONF_LOG_INFO,
	CONF_LOG_DEBUG,
};

#endif
