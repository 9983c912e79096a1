/* SPDX-License-Identifier: MIT */
/*
 * The table of keys.  One row per field of conf/share.h; the macros below do
 * not compile when a row and its field are of different types.  How a value
 * is read and printed is in value.c.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "conf/dirs.h"
#include "conf/keys.h"
#include "conf/share.h"
#include "conf/text.h"

/* offsetof() of a field that must be of the type `t`. */
#define FIELD(s, f, t) \
	(offsetof(struct s, f) + \
	 0 * sizeof(_Generic(&((struct s *)0)->f, t *: 1)))

#define STRING(s, f)	.type = CONF_STRING, .off = FIELD(s, f, char *)
#define PATH(s, f)	.type = CONF_PATH, .off = FIELD(s, f, char *)
#define USER(s, f)	.type = CONF_USER, .off = FIELD(s, f, char *)
#define GROUP(s, f)	.type = CONF_GROUP, .off = FIELD(s, f, char *)
#define OWNER(s, f)	.type = CONF_OWNER, .off = FIELD(s, f, char *)
#define CAPS(s, f)	.type = CONF_CAPS, .off = FIELD(s, f, char *)
#define BOOL(s, f)	.type = CONF_BOOL, .off = FIELD(s, f, bool)
#define UINT(s, f)	.type = CONF_UINT, .off = FIELD(s, f, unsigned)
#define MODE(s, f)	.type = CONF_MODE, .off = FIELD(s, f, unsigned), \
			.max = 0777
#define MASK(s, f)	.type = CONF_MODE, .off = FIELD(s, f, unsigned), \
			.max = 07777
#define CHOICE(s, f, c)	.type = CONF_CHOICE, .off = FIELD(s, f, unsigned), \
			.choices = c
#define NUMBER(s, f)	.type = CONF_NUMBER, .off = FIELD(s, f, uint64_t)
#define SIZE(s, f)	.type = CONF_SIZE, .off = FIELD(s, f, uint64_t)
#define TIME(s, f)	.type = CONF_TIME, .off = FIELD(s, f, uint64_t)
#define TIMEOUT(s, f)	.type = CONF_TIME, .off = FIELD(s, f, int64_t)
#define USERS(s, f)	.type = CONF_USERS, .off = FIELD(s, f, struct conf_list)
#define RULES(s, f)	.type = CONF_RULES, .off = FIELD(s, f, struct conf_list)
#define IDS(s, f)	.type = CONF_IDS, .off = FIELD(s, f, struct conf_list)

#define GATEWAY		.scope = CONF_IN_GATEWAY
#define SHARE		.scope = CONF_IN_SHARE | CONF_IN_DEFAULTS
#define SHARE_ONLY	.scope = CONF_IN_SHARE

#define SECONDS		INT64_C(1000000)
#define YEAR		(365 * 86400 * SECONDS)

static const struct conf_choice log_levels[] = {
	{ "error", CONF_LOG_ERROR },
	{ "warn", CONF_LOG_WARN },
	{ "warning", CONF_LOG_WARN },
	{ "info", CONF_LOG_INFO },
	{ "debug", CONF_LOG_DEBUG },
	{ NULL, 0 },
};

static const struct conf_choice guests[] = {
	{ "auto", CONF_GUEST_AUTO },
	{ "linux", CONF_GUEST_LINUX },
	{ "windows", CONF_GUEST_WINDOWS },
	{ NULL, 0 },
};

static const struct conf_choice caches[] = {
	{ "auto", CONF_CACHE_AUTO },
	{ "always", CONF_CACHE_ALWAYS },
	{ "metadata", CONF_CACHE_METADATA },
	{ "never", CONF_CACHE_NEVER },
	{ "none", CONF_CACHE_NEVER },
	{ NULL, 0 },
};

static const struct conf_choice inlines[] = {
	{ "auto", CONF_INLINE_AUTO },
	{ "yes", CONF_INLINE_YES },
	{ "no", CONF_INLINE_NO },
	{ NULL, 0 },
};

static const struct conf_choice handles[] = {
	{ "never", CONF_HANDLES_NEVER },
	{ "prefer", CONF_HANDLES_PREFER },
	{ "fallback", CONF_HANDLES_PREFER },
	{ "mandatory", CONF_HANDLES_MANDATORY },
	{ NULL, 0 },
};

static const struct conf_choice autos[] = {
	{ "auto", CONF_AUTO },
	{ "yes", CONF_AUTO_YES },
	{ "no", CONF_AUTO_NO },
	{ NULL, 0 },
};

static const struct conf_choice casefolds[] = {
	{ "no", CONF_CASEFOLD_NO },
	{ "off", CONF_CASEFOLD_NO },
	{ "nt", CONF_CASEFOLD_NT },
	{ "yes", CONF_CASEFOLD_NT },
	{ "ascii", CONF_CASEFOLD_ASCII },
	{ NULL, 0 },
};

static const struct conf_choice traces[] = {
	{ "no", CONF_TRACE_NO },
	{ "off", CONF_TRACE_NO },
	{ "yes", CONF_TRACE_YES },
	{ "on", CONF_TRACE_YES },
	{ "log", CONF_TRACE_LOG },
	{ NULL, 0 },
};

static const struct conf_choice owners[] = {
	{ "auto", CONF_OWNERS_AUTO },
	{ "host", CONF_OWNERS_HOST },
	{ "store", CONF_OWNERS_STORE },
	{ NULL, 0 },
};

static const struct conf_choice stores[] = {
	{ "sqlite", CONF_STORE_SQLITE },
	{ "xattr", CONF_STORE_XATTR },
	{ NULL, 0 },
};

static const struct conf_choice locks[] = {
	{ "local", CONF_LOCKS_LOCAL },
	{ "remote", CONF_LOCKS_REMOTE },
	{ NULL, 0 },
};

static const struct conf_choice whens[] = {
	{ "never", CONF_WHEN_NEVER },
	{ "no", CONF_WHEN_NEVER },
	{ "auto", CONF_WHEN_AUTO },
	{ "yes", CONF_WHEN_AUTO },
	{ "always", CONF_WHEN_ALWAYS },
	{ NULL, 0 },
};

/* clang-format off */
const struct conf_key conf_keys[] = {
	{ .name = "socket_dir", GATEWAY, PATH(conf_gateway, socket_dir),
	  .make_def = conf_default_socket_dir, .reload = CONF_NEXT,
	  .def_help = "/run/gatewayd; $XDG_RUNTIME_DIR/gatewayd when not root",
	  .help = "Directory of the share sockets, each named TAG.sock." },
	{ .name = "cache_dir", GATEWAY, PATH(conf_gateway, cache_dir),
	  .make_def = conf_default_cache_dir, .reload = CONF_RESTART,
	  .def_help = "/var/cache/gatewayd; $XDG_CACHE_HOME/gatewayd when not root",
	  .help = "Where shares with casefold keep the names of big directories, in "
		  "TAG/cache.db.  Must be on a disk of this host and outside every "
		  "share; all of it may be deleted while the daemon is stopped." },
	{ .name = "state_dir", GATEWAY, PATH(conf_gateway, state_dir),
	  .make_def = conf_default_state_dir, .reload = CONF_RESTART,
	  .def_help = "/var/lib/gatewayd; $XDG_STATE_HOME/gatewayd when not root",
	  .help = "Where shares keep what guests set and the host cannot hold, in "
		  "TAG/state.db; see owners.  Must be on a disk of this host and "
		  "outside every share, and belongs into backups." },
	{ .name = "control_socket", GATEWAY, PATH(conf_gateway, control_socket),
	  .make_def = conf_default_control_socket, .reload = CONF_RESTART,
	  .def_help = "/run/gatewayd/ctl; $XDG_RUNTIME_DIR/gatewayd/ctl when not root",
	  .help = "Socket that gatewayctl talks to." },
	{ .name = "control_group", GATEWAY, GROUP(conf_gateway, control_group),
	  .make_def = conf_default_control_group, .reload = CONF_LIVE,
	  .def_help = "gatewayd where that group exists and the daemon is root, "
		      "else the daemon's own group",
	  .help = "Group of the control socket: who may read the daemon's state." },
	{ .name = "control_mode", GATEWAY, MODE(conf_gateway, control_mode),
	  .def = "0660", .reload = CONF_LIVE,
	  .help = "Mode of the control socket." },
	{ .name = "admin_group", GATEWAY, GROUP(conf_gateway, admin_group),
	  .def = "", .reload = CONF_LIVE,
	  .help = "Group whose members may steer the daemon through the control "
		  "socket, besides root and the daemon's own user." },
	{ .name = "log_level", GATEWAY, CHOICE(conf_gateway, log_level, log_levels),
	  .def = "info", .reload = CONF_LIVE,
	  .help = "Least important messages that are logged." },
	{ .name = "thread_pool_size", GATEWAY, UINT(conf_gateway, thread_pool_size),
	  .def = "auto", .max = 4096, .word = "auto", .reload = CONF_RESTART,
	  .help = "Worker threads, for all shares together; auto goes by the number "
		  "of CPUs." },
	{ .name = "max_threads", GATEWAY, UINT(conf_gateway, max_threads),
	  .def = "1024", .min = 1, .max = 65536, .reload = CONF_NEXT,
	  .help = "Most queue threads of all shares together; a guest that would "
		  "need more is refused." },
	{ .name = "poll_max", GATEWAY, UINT(conf_gateway, poll_max),
	  .given = FIELD(conf_gateway, poll_max_given, bool),
	  .def = "auto", .max = 4096, .word = "auto", .reload = CONF_LIVE,
	  .help = "Most threads that poll at one time; 0 = never poll, auto = half "
		  "the CPUs." },
	{ .name = "rlimit_nofile", GATEWAY, NUMBER(conf_gateway, rlimit_nofile),
	  .def = "1048576", .max = 1 << 30, .reload = CONF_RESTART,
	  .help = "Open files to ask the kernel for; 0 leaves the limit as it is." },
	{ .name = "modcaps", GATEWAY, CAPS(conf_gateway, modcaps),
	  .def = "", .reload = CONF_RESTART,
	  .help = "Capabilities to keep or to give up at start, as in "
		  "+sys_admin:-mknod; see capabilities(7).  None can be kept that "
		  "the service manager did not give." },
	{ .name = "drain_timeout", GATEWAY, TIME(conf_gateway, drain_timeout_us),
	  .def = "10s", .max = 86400 * SECONDS, .reload = CONF_LIVE,
	  .help = "How long a stop waits for requests in flight." },
	{ .name = "slow_request", GATEWAY, TIME(conf_gateway, slow_request_us),
	  .def = "1s", .max = 86400 * SECONDS, .reload = CONF_LIVE,
	  .help = "A request that took at least this long, waiting included, is "
		  "logged and counted as slow; 0 = never." },
	{ .name = "hung_request", GATEWAY, TIME(conf_gateway, hung_request_us),
	  .def = "60s", .max = 86400 * SECONDS, .reload = CONF_LIVE,
	  .help = "A request that is still not answered after this long counts as "
		  "hung, and the log tells so and when it has ended; 0 = never." },
	{ .name = "include", GATEWAY, .type = CONF_FILES,
	  .def = "", .reload = CONF_LIVE,
	  .help = "One more configuration file, or a glob pattern, to be read after "
		  "conf.d.  A relative name starts at the directory of the file it "
		  "stands in." },

	{ .name = "path", .alias = { "shared_dir", "source" }, SHARE_ONLY,
	  PATH(conf_share, path), .reload = CONF_NEXT,
	  .def_help = "none, must be given",
	  .help = "The directory to share, an absolute path." },
	{ .name = "comment", SHARE, STRING(conf_share, comment),
	  .def = "", .reload = CONF_LIVE,
	  .help = "A few words for people who list the shares." },
	{ .name = "enabled", .alias = { "available" }, SHARE,
	  BOOL(conf_share, enabled), .def = "yes", .reload = CONF_LIVE,
	  .help = "no = do not listen." },
	{ .name = "socket", SHARE_ONLY, PATH(conf_share, socket),
	  .reload = CONF_LIVE, .def_help = "SOCKET_DIR/TAG.sock",
	  .help = "Where the share listens, at most 107 bytes." },
	{ .name = "socket_user", SHARE, USER(conf_share, socket_user),
	  .def = "", .reload = CONF_LIVE,
	  .help = "Owner of the share's socket; empty = the daemon's own user." },
	{ .name = "socket_group", SHARE, GROUP(conf_share, socket_group),
	  .make_def = conf_default_socket_group, .reload = CONF_LIVE,
	  .def_help = "kvm where that group exists and the daemon is root, else the "
		      "daemon's own group",
	  .help = "Group of the share's socket: whose virtual machines may connect." },
	{ .name = "socket_mode", SHARE, MODE(conf_share, socket_mode),
	  .def = "0660", .reload = CONF_LIVE,
	  .help = "Mode of the share's socket." },
	{ .name = "allow_uids", SHARE, USERS(conf_share, allow_uids),
	  .def = "", .reload = CONF_LIVE,
	  .help = "Users, by name or number, whose processes may connect; a list.  "
		  "Empty = any whom the mode of the socket lets in." },
	{ .name = "max_clients", SHARE, UINT(conf_share, max_clients),
	  .def = "64", .min = 1, .max = 65536, .reload = CONF_LIVE,
	  .help = "Virtual machines connected at one time." },
	{ .name = "max_request_queues", SHARE, UINT(conf_share, max_request_queues),
	  .def = "8", .min = 1, .max = 64, .reload = CONF_NEXT,
	  .help = "Request queues offered to the guest." },
	{ .name = "advertise_tag", SHARE, BOOL(conf_share, advertise_tag),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "Tell the tag to the virtual machine monitor.  crosvm needs it; "
		  "QEMU 7.1 to 8.0 fails with it." },
	{ .name = "poll_us", SHARE, NUMBER(conf_share, poll_us),
	  .def = "50", .max = 100000, .reload = CONF_NEXT,
	  .help = "Longest time, in microseconds, that a queue is polled after a "
		  "request before its thread sleeps; 0 = never." },
	{ .name = "iops_limit", SHARE, UINT(conf_share, iops_limit),
	  .def = "0", .max = 10000000, .reload = CONF_LIVE,
	  .help = "Most requests a second of all guests of the share together; 0 = "
		  "any number.  After a pause the requests of a tenth of a second "
		  "are taken at once.  Requests over it wait in the guest's queue; "
		  "what a guest tells it has forgotten is not counted." },
	{ .name = "bandwidth_limit", SHARE, SIZE(conf_share, bandwidth_limit),
	  .def = "0", .max = INT64_C(1) << 40, .reload = CONF_LIVE,
	  .help = "Most bytes a second that all guests of the share together read "
		  "from files and write to them; 0 = any number.  Bursts as with "
		  "iops_limit; a request that is larger than that is served, and "
		  "the next waits for so much longer." },
	{ .name = "readonly", .alias = { "read_only" }, SHARE,
	  BOOL(conf_share, readonly), .def = "no", .reload = CONF_LIVE,
	  .help = "Refuse every change." },
	{ .name = "trace", SHARE, CHOICE(conf_share, trace, traces),
	  .def = "no", .reload = CONF_LIVE,
	  .help = "Keep a line for each request and each reply, for who watches "
		  "shares/TAG/trace in the control tree; log = and copy them to the "
		  "log." },
	{ .name = "guest", SHARE, CHOICE(conf_share, guest, guests),
	  .def = "auto", .reload = CONF_NEXT,
	  .help = "Which client is spoken to; auto tells them apart." },
	{ .name = "cache", SHARE, CHOICE(conf_share, cache, caches),
	  .def = "auto", .reload = CONF_NEXT,
	  .help = "What the guest may keep: auto = everything for a second, data "
		  "until the next open; always = everything; metadata = names and "
		  "attributes but no data; never = nothing." },
	{ .name = "entry_timeout", SHARE, TIMEOUT(conf_share, entry_timeout_us),
	  .def = "auto", .max = YEAR, .word = "auto", .word_value = -1,
	  .reload = CONF_LIVE,
	  .help = "How long the guest may trust a name; auto goes by cache." },
	{ .name = "attr_timeout", SHARE, TIMEOUT(conf_share, attr_timeout_us),
	  .def = "auto", .max = YEAR, .word = "auto", .word_value = -1,
	  .reload = CONF_LIVE,
	  .help = "How long the guest may trust attributes; auto goes by cache." },
	{ .name = "negative_timeout", SHARE, TIMEOUT(conf_share, negative_timeout_us),
	  .def = "0", .max = YEAR, .reload = CONF_LIVE,
	  .help = "How long the guest may trust that a name does not exist." },
	{ .name = "max_write", SHARE, SIZE(conf_share, max_write),
	  .def = "1M", .min = 4096, .max = 1 << 20, .reload = CONF_NEXT,
	  .help = "Most bytes of one write request." },
	{ .name = "max_fds", SHARE, UINT(conf_share, max_fds),
	  .def = "65536", .min = 16, .max = 1 << 30, .reload = CONF_NEXT,
	  .help = "Files and directories that the daemon keeps open for a guest that "
		  "only knows their names." },
	{ .name = "max_open_files", SHARE, UINT(conf_share, max_open_files),
	  .def = "65536", .min = 16, .max = 1 << 30, .reload = CONF_NEXT,
	  .help = "Files and directories that guests may have open." },
	{ .name = "inline", SHARE, CHOICE(conf_share, inline_io, inlines),
	  .def = "auto", .reload = CONF_NEXT,
	  .help = "May a queue thread itself do what a local disk answers at once; "
		  "no = everything goes to the worker threads." },
	{ .name = "io_uring", SHARE, BOOL(conf_share, io_uring),
	  .def = "yes", .reload = CONF_LIVE,
	  .help = "Reads that come together are done by one system call, and those that "
		  "wait for a disk wait at the same time, as do writes with O_DIRECT, "
		  "where the kernel and its administrator allow io_uring(7) and the "
		  "file system has RWF_NOWAIT." },
	{ .name = "inode_file_handles", SHARE,
	  CHOICE(conf_share, inode_file_handles, handles),
	  .def = "prefer", .reload = CONF_NEXT,
	  .help = "Reopen files by file handle instead of keeping them open: never, "
		  "where possible, or refuse to serve without." },
	{ .name = "writeback", SHARE, BOOL(conf_share, writeback),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "The guest may keep back what it writes and write it later.  Only "
		  "with cache = auto or always, and only when nobody else changes "
		  "the files." },
	{ .name = "allow_direct_io", .alias = { "direct_io" }, SHARE,
	  BOOL(conf_share, allow_direct_io), .def = "no", .reload = CONF_LIVE,
	  .help = "A guest's O_DIRECT goes past the host's cache, too." },
	{ .name = "allow_mmap", SHARE, BOOL(conf_share, allow_mmap),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "Shared memory maps of files with cache = never or metadata "
		  "(guests since Linux 6.6)." },
	{ .name = "allow_idmap", SHARE, BOOL(conf_share, allow_idmap),
	  .def = "yes", .reload = CONF_NEXT,
	  .help = "Guests may mount the share with mapped ids (since Linux 6.12).  "
		  "Such a guest says who acts only when something is made, so whether "
		  "a set-gid bit without group execution stays in a file that is "
		  "changed is decided without knowing the caller's group." },
	{ .name = "export_support", SHARE, BOOL(conf_share, export_support),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "Linux guests may open files by handle, which an NFS server in the "
		  "guest needs; see NFS." },
	{ .name = "export_nodes", SHARE, UINT(conf_share, export_nodes),
	  .def = "1000000", .min = 64, .max = 1 << 30, .reload = CONF_NEXT,
	  .help = "With export_support, how many files are remembered for each guest "
		  "after it has forgotten them; 200 bytes each." },
	{ .name = "preserve_noatime", SHARE, BOOL(conf_share, preserve_noatime),
	  .def = "no", .reload = CONF_LIVE,
	  .help = "A guest's O_NOATIME holds on the host, too." },
	{ .name = "readdirplus", SHARE, CHOICE(conf_share, readdirplus, autos),
	  .def = "auto", .reload = CONF_NEXT,
	  .help = "Attributes together with the names of a directory: when they are "
		  "likely to be wanted (but not with cache = never), always, or "
		  "never." },
	{ .name = "announce_submounts", SHARE,
	  BOOL(conf_share, announce_submounts), .def = "yes",
	  .reload = CONF_NEXT,
	  .help = "File systems mounted below the directory are such in the guest, "
		  "too; then equal inode numbers cannot be mistaken." },
	{ .name = "crossmnt", SHARE, BOOL(conf_share, crossmnt),
	  .def = "yes", .reload = CONF_LIVE,
	  .help = "no = file systems mounted below the directory are not entered, "
		  "nor used any more but for what is open." },
	{ .name = "killpriv_v2", SHARE, CHOICE(conf_share, killpriv_v2, autos),
	  .def = "auto", .reload = CONF_NEXT,
	  .help = "The daemon clears set-uid and set-gid bits of files that are "
		  "changed, which spares the guest a look before each write; auto = "
		  "where the daemon is privileged and the directory local." },
	{ .name = "casefold", SHARE, CHOICE(conf_share, casefold, casefolds),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "Do names match ignoring case: nt = as Windows compares them, "
		  "ascii = the letters A to Z only.  The exact name always wins, and "
		  "names keep the case they were made with." },
	{ .name = "casefold_memory", SHARE, SIZE(conf_share, casefold_memory),
	  .def = "64M", .min = 1 << 20, .max = INT64_C(1) << 40, .reload = CONF_NEXT,
	  .help = "With casefold, how much of the names of directories is kept in "
		  "memory." },
	{ .name = "casefold_disk", SHARE, SIZE(conf_share, casefold_disk),
	  .def = "256M", .max = INT64_C(1) << 40, .reload = CONF_NEXT,
	  .help = "With casefold, how much of them is kept in cache_dir over "
		  "restarts; 0 = nothing." },
	{ .name = "wine_marker", SHARE, BOOL(conf_share, wine_marker),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "With casefold, let Linux guests find a file .ciopfs in every "
		  "directory: Wine then knows that names match ignoring case." },
	{ .name = "xattr", SHARE, BOOL(conf_share, xattr),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "Extended attributes; xattrmap, posix_acl and security_label imply "
		  "it." },
	{ .name = "xattrmap", SHARE, RULES(conf_share, xattrmap),
	  .def = "", .reload = CONF_NEXT,
	  .help = "Other names on the host for the guest's extended attributes, in "
		  "the language of virtiofsd: rules of the form "
		  ":TYPE:SCOPE:KEY:PREPEND: or :map:KEY:PREPEND:, in one line or "
		  "several.  The first rule that matches decides; what none matches "
		  "is refused." },
	{ .name = "posix_acl", SHARE, CHOICE(conf_share, posix_acl, whens),
	  .def = "never", .reload = CONF_NEXT,
	  .help = "Access control lists: never, with guests that know them, or "
		  "refuse guests that do not." },
	{ .name = "security_label", SHARE,
	  CHOICE(conf_share, security_label, whens),
	  .def = "never", .reload = CONF_NEXT,
	  .help = "New files get the label of the guest's security module: never, "
		  "with guests that send it, or refuse guests that do not." },
	{ .name = "translate_uid", SHARE, IDS(conf_share, translate_uid),
	  .def = "", .reload = CONF_NEXT,
	  .help = "Other numbers on the host for the guest's users, in the language "
		  "of virtiofsd: map:GUEST:HOST:COUNT, guest:GUEST:HOST:COUNT, "
		  "host:HOST:GUEST:COUNT, squash-guest:GUEST:HOST:COUNT, "
		  "squash-host:HOST:GUEST:COUNT, forbid-guest:GUEST:COUNT.  What no "
		  "rule names stays what it is; see OWNERS." },
	{ .name = "translate_gid", SHARE, IDS(conf_share, translate_gid),
	  .def = "", .reload = CONF_NEXT,
	  .help = "The same for groups." },
	{ .name = "force_user", SHARE, USER(conf_share, force_user),
	  .def = "", .reload = CONF_NEXT,
	  .help = "Every user of the guest whom no rule of translate_uid names acts "
		  "as this user of the host, by name or number, and with this "
		  "user's own group unless force_group names another." },
	{ .name = "force_group", SHARE, GROUP(conf_share, force_group),
	  .def = "", .reload = CONF_NEXT,
	  .help = "The same for groups, with translate_gid." },
	{ .name = "create_mask", .alias = { "create_mode" }, SHARE,
	  MASK(conf_share, create_mask), .def = "07777", .reload = CONF_LIVE,
	  .help = "Bits of the mode that a new file may have; the others are taken "
		  "away." },
	{ .name = "directory_mask", .alias = { "directory_mode" }, SHARE,
	  MASK(conf_share, directory_mask), .def = "07777",
	  .reload = CONF_LIVE,
	  .help = "The same for new directories." },
	{ .name = "overflow_uid", SHARE, UINT(conf_share, overflow_uid),
	  .def = "auto", .max = UINT32_MAX - 1, .word = "auto",
	  .word_value = UINT32_MAX, .reload = CONF_NEXT,
	  .help = "What a guest sees as the user of files whose user has no number "
		  "in the user namespace of the daemon; auto = "
		  "/proc/sys/kernel/overflowuid of the host." },
	{ .name = "overflow_gid", SHARE, UINT(conf_share, overflow_gid),
	  .def = "auto", .max = UINT32_MAX - 1, .word = "auto",
	  .word_value = UINT32_MAX, .reload = CONF_NEXT,
	  .help = "The same for groups; auto = /proc/sys/kernel/overflowgid." },
	{ .name = "root_owner", SHARE, OWNER(conf_share, root_owner),
	  .def = "", .reload = CONF_NEXT,
	  .help = "UID:GID that a guest sees on the shared directory itself where it "
		  "would see overflow_uid or overflow_gid; empty = the daemon's own. "
		  " A Windows guest makes files as the owner it sees there." },
	{ .name = "owners", SHARE, CHOICE(conf_share, owners, owners),
	  .def = "auto", .reload = CONF_NEXT,
	  .help = "Owners that the host cannot give to a file: host = the guest gets "
		  "an error; store = they are recorded in state_dir and shown to "
		  "guests; auto = store where the daemon is not root or does not "
		  "have all ids, else host." },
	{ .name = "state_store", SHARE, CHOICE(conf_share, state_store, stores),
	  .def = "sqlite", .reload = CONF_NEXT,
	  .help = "Where that is recorded: sqlite = in state_dir; xattr = in an "
		  "extended attribute of the file, for file systems that several "
		  "hosts share." },
	{ .name = "sticky_owners", SHARE, BOOL(conf_share, sticky_owners),
	  .def = "no", .reload = CONF_NEXT,
	  .help = "Keep showing a recorded owner after the host gave the file "
		  "another one." },
	{ .name = "locks", SHARE, CHOICE(conf_share, locks, locks),
	  .def = "local", .reload = CONF_NEXT,
	  .help = "File locks of a guest: local = they hold within the guest; remote "
		  "= for other guests and the host, too.  Who changes one file in "
		  "several guests also wants cache = never." },
	{ .name = "lock_wait", SHARE, TIME(conf_share, lock_wait_us),
	  .def = "30s", .max = 86400 * SECONDS, .reload = CONF_LIVE,
	  .help = "How long a guest may wait for a remote lock before it is told "
		  "to try again (EAGAIN)." },
};
/* clang-format on */

const size_t conf_nkeys = sizeof(conf_keys) / sizeof(conf_keys[0]);

static bool
same_name(const char *a, const char *b)
{
	while (*a && conf_fold(*a) == conf_fold(*b))
		a++, b++;
	return !*a && !*b;
}

const struct conf_key *
conf_key_find(const char *name)
{
	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (same_name(name, k->name) ||
		    (k->alias[0] && same_name(name, k->alias[0])) ||
		    (k->alias[1] && same_name(name, k->alias[1])))
			return k;
	}
	return NULL;
}

const struct conf_key *
conf_key_get(const char *name)
{
	const struct conf_key *k = conf_key_find(name);

	assert(k);
	return k;
}

const char *
conf_key_nearest(const char *name, unsigned scope)
{
	struct conf_nearest near = { .word = name };

	for (size_t i = 0; i < conf_nkeys; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (!(k->scope & scope))
			continue;
		conf_nearest_try(&near, k->name);
		conf_nearest_try(&near, k->alias[0]);
		conf_nearest_try(&near, k->alias[1]);
	}
	return near.best;
}

bool
conf_key_is_list(const struct conf_key *key)
{
	return key->type == CONF_USERS || key->type == CONF_RULES ||
	       key->type == CONF_IDS || key->type == CONF_FILES;
}

const char *
conf_reload_name(enum conf_reload reload)
{
	static const char *const names[] = {
		[CONF_LIVE] = "live",
		[CONF_NEXT] = "next connection",
		[CONF_RESTART] = "restart",
	};

	return names[reload];
}
