/* SPDX-License-Identifier: MIT */
/*
 * INIT: what a guest and we agree on, and which dialect it speaks.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include "fuse/owners.h"

typedef bool wants_fn(const struct fs_share *share);

static bool
always(const struct fs_share *share)
{
	(void)share;
	return true;
}

static bool
readdirplus(const struct fs_share *share)
{
	const struct conf_share *set = share->set;

	if (set->readdirplus != CONF_AUTO)
		return set->readdirplus == CONF_AUTO_YES;
	return set->cache != CONF_CACHE_NEVER;
}

static bool
readdirplus_auto(const struct fs_share *share)
{
	return share->set->readdirplus == CONF_AUTO && readdirplus(share);
}

/* We must be able to drop CAP_FSETID.  A guest that relies on us expects
 * security.capability to go with the bits, which the host does under that
 * name only. */
static bool
killpriv(const struct fs_share *share)
{
	const struct conf_share *set = share->set;

	if (set->killpriv_v2 == CONF_AUTO_NO || fs_xattr_moves_caps(set))
		return false;
	return set->killpriv_v2 == CONF_AUTO_YES ||
	       (share->privileged &&
		!(share->root_mount->flags & FS_MOUNT_REMOTE));
}

/* Does the guest keep file data at all? */
static bool
caches(const struct fs_share *share)
{
	return share->set->cache == CONF_CACHE_AUTO ||
	       share->set->cache == CONF_CACHE_ALWAYS;
}

static bool
writeback(const struct fs_share *share)
{
	return share->set->writeback && caches(share);
}

static bool
direct_mmap(const struct fs_share *share)
{
	return share->set->allow_mmap && !caches(share);
}

static bool
idmap(const struct fs_share *share)
{
	return share->set->allow_idmap;
}

static bool
submounts(const struct fs_share *share)
{
	return share->set->announce_submounts;
}

static bool
security_label(const struct fs_share *share)
{
	return share->set->security_label != CONF_WHEN_NEVER;
}

static bool
exported(const struct fs_share *share)
{
	return share->set->export_support;
}

static bool
not_exported(const struct fs_share *share)
{
	return !share->set->export_support;
}

static bool
locks(const struct fs_share *share)
{
	return share->set->locks == CONF_LOCKS_REMOTE;
}

static bool
posix_acl(const struct fs_share *share)
{
	return share->set->posix_acl != CONF_WHEN_NEVER;
}

/* An option is used when the guest offers it and the function says so. */
/* clang-format off */
static const struct {
	uint64_t bit;
	wants_fn *wants;
} options[] = {
	{ FUSE_ASYNC_READ,		always },
	{ FUSE_POSIX_LOCKS,		locks },
	{ FUSE_ATOMIC_O_TRUNC,		always },
	{ FUSE_EXPORT_SUPPORT,		exported },
	{ FUSE_BIG_WRITES,		always },
	{ FUSE_DONT_MASK,		posix_acl },
	{ FUSE_FLOCK_LOCKS,		locks },
	{ FUSE_HAS_IOCTL_DIR,		always },
	{ FUSE_AUTO_INVAL_DATA,		always },
	{ FUSE_DO_READDIRPLUS,		readdirplus },
	{ FUSE_READDIRPLUS_AUTO,	readdirplus_auto },
	{ FUSE_ASYNC_DIO,		always },
	{ FUSE_WRITEBACK_CACHE,		writeback },
	{ FUSE_PARALLEL_DIROPS,		always },
	{ FUSE_POSIX_ACL,		posix_acl },
	{ FUSE_MAX_PAGES,		always },
	{ FUSE_SUBMOUNTS,		submounts },
	{ FUSE_HANDLE_KILLPRIV_V2,	killpriv },
	{ FUSE_SETXATTR_EXT,		posix_acl },
	{ FUSE_INIT_EXT,		always },
	{ FUSE_SECURITY_CTX,		security_label },
	{ FUSE_CREATE_SUPP_GROUP,	always },
	{ FUSE_DIRECT_IO_ALLOW_MMAP,	direct_mmap },
	{ FUSE_NO_EXPORT_SUPPORT,	not_exported },
	{ FUSE_ALLOW_IDMAP,		idmap },
};
/* clang-format on */

/* All that a Windows client has ever offered. */
#define WINDOWS_MINOR 31
#define WINDOWS_FLAGS (FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES)

enum {
	PAGE = 4096,
	/* A Windows client loses data when a file ends at a multiple of the
	 * size it reads in, so that size is one that files do not have. */
	WINDOWS_PAGES = 255,
	MAX_BACKGROUND = 65535,
};

/* Access lists need a guest that leaves the umask to us. */
static uint64_t
complete(uint64_t flags)
{
	if ((flags & FUSE_POSIX_ACL) && (flags & FUSE_DONT_MASK))
		return flags;
	return flags & ~(uint64_t)(FUSE_POSIX_ACL | FUSE_DONT_MASK);
}

static uint64_t
agree(const struct fs_share *share, uint64_t offered)
{
	uint64_t flags = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if ((offered & options[i].bit) && options[i].wants(share))
			flags |= options[i].bit;
	}
	return complete(flags);
}

/* A key says "always" and the guest cannot. */
static bool
is_refused(const struct fs_share *share, uint64_t flags)
{
	const struct conf_share *set = share->set;

	return (set->posix_acl == CONF_WHEN_ALWAYS &&
		!(flags & FUSE_POSIX_ACL)) ||
	       (set->security_label == CONF_WHEN_ALWAYS &&
		!(flags & FUSE_SECURITY_CTX));
}

static bool
is_windows(const struct fs_share *share, const struct fuse_init_in *in,
	   size_t len)
{
	if (share->set->guest != CONF_GUEST_AUTO)
		return share->set->guest == CONF_GUEST_WINDOWS;
	return len == 16 && in->minor == WINDOWS_MINOR &&
	       in->max_readahead == 0 &&
	       (in->flags == WINDOWS_FLAGS || in->flags == FUSE_DO_READDIRPLUS);
}

bool
fs_init_resume(struct fs_session *s)
{
	if (s->share->set->guest == CONF_GUEST_LINUX)
		return false;
	/* Of the guest that was here before, which was another. */
	if (fs_is_exported(s))
		fs_nodes_clear(s, true);
	atomic_store(&s->windows, true);
	atomic_store(&s->minor, WINDOWS_MINOR);
	atomic_store(&s->flags, WINDOWS_FLAGS);
	atomic_store(&s->ready, true);
	return true;
}

static void
answer(struct fs_session *s, const struct fuse_init_in *in, uint64_t flags,
       struct fuse_init_out *out)
{
	bool windows = fs_is_windows(s);
	uint64_t max_write = s->share->set->max_write;
	uint64_t pages = (max_write + PAGE - 1) / PAGE;

	out->major = FS_PROTO_MAJOR;
	out->minor = atomic_load(&s->minor);
	out->max_readahead = in->max_readahead;
	out->flags = (uint32_t)flags;
	out->flags2 = (uint32_t)(flags >> 32);
	out->max_background = MAX_BACKGROUND;
	out->congestion_threshold = MAX_BACKGROUND / 4 * 3;
	out->max_write = (uint32_t)max_write;
	out->time_gran = 1;
	if (windows && pages > WINDOWS_PAGES)
		pages = WINDOWS_PAGES;
	if (windows || (flags & FUSE_MAX_PAGES))
		out->max_pages = (uint16_t)(pages < UINT16_MAX ? pages
							       : UINT16_MAX);
}

/* To close files may take as long as the storage does. */
static bool
clear_defers(const struct fs_ctx *c)
{
	return !c->may_block && atomic_load(&c->s->nhandles) > 0;
}

ssize_t
fs_op_init(struct fs_ctx *c, const void *arg, void *reply)
{
	struct fs_session *s = c->s;
	struct fuse_init_in in = { 0 };
	struct fuse_init_out *out = reply;
	uint64_t offered;

	/* A guest older than 7.36 sends the first 16 bytes only. */
	memcpy(&in, arg, c->in_len < sizeof(in) ? c->in_len : sizeof(in));
	if (in.major > FS_PROTO_MAJOR) {
		out->major = FS_PROTO_MAJOR;
		out->minor = FS_PROTO_MINOR;
		return sizeof(*out);	/* it asks again with our major */
	}
	if (in.major < FS_PROTO_MAJOR || in.minor < FS_PROTO_MINOR_MIN)
		return -EPROTO;
	/* A guest that starts anew has not always said goodbye. */
	if (clear_defers(c))
		return FS_DEFER;
	fs_session_restart(s);
	offered = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		offered |= (uint64_t)in.flags2 << 32;
	offered = agree(c->share, offered);
	if (is_refused(c->share, offered))
		return -EOPNOTSUPP;
	if (fs_is_exported(s) && !(offered & FUSE_EXPORT_SUPPORT))
		fs_nodes_clear(s, true);
	atomic_store(&s->windows, is_windows(c->share, &in, c->in_len));
	atomic_store(&s->minor,
		     in.minor < FS_PROTO_MINOR ? in.minor : FS_PROTO_MINOR);
	atomic_store(&s->flags, offered);
	atomic_store_explicit(&s->ready, true, memory_order_release);
	answer(s, &in, offered, out);
	return sizeof(*out);
}

ssize_t
fs_op_destroy(struct fs_ctx *c, const void *in, void *out)
{
	int err;

	(void)in;
	(void)out;
	if (clear_defers(c))
		return FS_DEFER;
	err = fs_owners_sync(c);
	if (err == FS_DEFER)
		return err;
	atomic_store(&c->s->ready, false);
	fs_session_restart(c->s);
	return err;
}
