/* SPDX-License-Identifier: MIT */
/*
 * Users and groups on their way between guest and host: the one place where an
 * id of the one becomes an id of the other.  Both directions are asked in the
 * same order:
 *
 *	to the host	a rule of translate_uid or translate_gid; then
 *			force_user or force_group; else the number stays.
 *			Then the host must have it: -EOVERFLOW if the daemon's
 *			user namespace does not, -EPERM if a rule forbids it.
 *	to the guest	a rule; then, where the kernel has shown us its own
 *			overflow id because our user namespace has no number
 *			for the owner, overflow_uid or overflow_gid, and on the
 *			shared directory itself root_owner; else it stays.
 *
 * Ids come in with the caller of a request that makes an inode, with SETATTR
 * and with access lists; they go out with attributes and access lists.  A
 * share where nothing of this can happen has no struct fs_ids and pays for one
 * test of a pointer.
 *
 * A share that records owners (owners.c, chown.c) does so where this says
 * -EOVERFLOW or the host -EPERM, and shows what it recorded in place of what
 * fs_ids_show() fills in.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/owners.h"

enum id_kind {
	USERS,
	GROUPS,
	KINDS,
};

struct ids {			/* of one kind */
	const struct conf_idmap *map;	/* the settings' own */
	uint32_t forced;	/* FS_ID_NONE: nobody */
	/* What the kernel shows for owners without a number in our user
	 * namespace; FS_ID_NONE: all have one. */
	uint32_t hidden;
	struct conf_id_ranges ours;	/* numbers of that namespace, then */
	uint32_t overflow;	/* what the guest sees for it */
	uint32_t root;		/* and on the shared directory */
};

struct fs_ids {
	struct ids kind[KINDS];
};

/* ------------------------------------------------------------------ */
/* What a share does with ids, found out once. */

static const struct {
	const char *map, *overflow;
} files[KINDS] = {
	[USERS] = { "/proc/self/uid_map", "/proc/sys/kernel/overflowuid" },
	[GROUPS] = { "/proc/self/gid_map", "/proc/sys/kernel/overflowgid" },
};

static int
compare_ranges(const void *a, const void *b)
{
	const struct conf_id_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static int
add_range(struct conf_id_ranges *r, uint32_t first, uint32_t count)
{
	struct conf_id_range *v = realloc(r->v, (r->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	r->v = v;
	v[r->n++] = (struct conf_id_range){ .first = first, .to = first,
					    .last = first + count - 1 };
	return 0;
}

/* The numbers that our user namespace has; they do not overlap.  *all: it has
 * every one, or does not tell. */
static int
read_namespace(const char *file, struct conf_id_ranges *r, bool *all)
{
	FILE *f = fopen(file, "re");
	uint32_t first, outside, count, sum = 0;
	int err = 0;

	*all = true;
	if (!f)
		return 0;
	while (!err &&
	       fscanf(f, "%u %u %u", &first, &outside, &count) == 3) {
		err = add_range(r, first, count);
		sum += count;
	}
	fclose(f);
	*all = sum == UINT32_MAX;
	if (!err && r->n)
		qsort(r->v, r->n, sizeof(*r->v), compare_ranges);
	return err;
}

static uint32_t
read_overflow(const char *file)
{
	FILE *f = fopen(file, "re");
	uint32_t id = 65534;

	if (f) {
		if (fscanf(f, "%u", &id) != 1)
			id = 65534;
		fclose(f);
	}
	return id;
}

/* `shown`, `root`: as configured or FS_ID_NONE; `self`: whom we are. */
static int
ids_init(struct ids *ids, enum id_kind kind, uint32_t shown, uint32_t root,
	 uint32_t self)
{
	bool all;
	int err = read_namespace(files[kind].map, &ids->ours, &all);

	ids->hidden = all ? FS_ID_NONE : read_overflow(files[kind].overflow);
	ids->overflow = shown == FS_ID_NONE ? ids->hidden : shown;
	ids->root = root;
	if (root != FS_ID_NONE || all)
		return err;
	/* We may be without a number there ourselves. */
	if (self == ids->hidden)
		self = 0;
	ids->root = self;
	fs_id_find(&ids->map->to_guest, self, &ids->root);
	return err;
}

static bool
does_nothing(const struct ids *ids)
{
	return !ids->map->to_host.n && !ids->map->to_guest.n &&
	       ids->forced == FS_ID_NONE && ids->hidden == FS_ID_NONE;
}

int
fs_ids_new(const struct conf_share *set, struct fs_ids **out)
{
	struct fs_ids *ids = calloc(1, sizeof(*ids));
	struct ids *users, *groups;
	int err;

	*out = NULL;
	if (!ids)
		return -ENOMEM;
	users = &ids->kind[USERS];
	users->map = &set->uid_map;
	users->forced = set->forced_uid;
	groups = &ids->kind[GROUPS];
	groups->map = &set->gid_map;
	groups->forced = set->forced_gid;
	err = ids_init(users, USERS, set->overflow_uid, set->root_uid,
		       geteuid());
	if (!err)
		err = ids_init(groups, GROUPS, set->overflow_gid,
			       set->root_gid, getegid());
	if (err || (does_nothing(users) && does_nothing(groups)))
		fs_ids_free(ids);
	else
		*out = ids;
	return err;
}

void
fs_ids_free(struct fs_ids *ids)
{
	if (!ids)
		return;
	for (int i = 0; i < KINDS; i++)
		free(ids->kind[i].ours.v);
	free(ids);
}

bool
fs_ids_limited(const struct fs_ids *ids)
{
	return ids && (ids->kind[USERS].hidden != FS_ID_NONE ||
		       ids->kind[GROUPS].hidden != FS_ID_NONE);
}

/* ------------------------------------------------------------------ */
/* One id. */

int
fs_id_find(const struct conf_id_ranges *r, uint32_t id, uint32_t *to)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t i = (low + high) / 2;
		const struct conf_id_range *v = &r->v[i];

		if (id < v->first) {
			high = i;
		} else if (id > v->last) {
			low = i + 1;
		} else if (v->type == CONF_ID_FORBID) {
			return -EPERM;
		} else {
			bool squash = v->type == CONF_ID_SQUASH;

			*to = v->to + (squash ? 0 : id - v->first);
			return squash ? FS_ID_SQUASHED : FS_ID_MOVED;
		}
	}
	return FS_ID_SAME;
}

/* 0 and the host's id, -EPERM, or -EOVERFLOW: the host cannot have it. */
static int
to_host(const struct fs_ctx *c, enum id_kind kind, uint32_t guest,
	uint32_t *host)
{
	const struct ids *ids = &c->share->ids->kind[kind];
	uint32_t id = guest, same;
	int how = fs_id_find(&ids->map->to_host, guest, &id);

	if (how < 0)
		return how;
	if (how == FS_ID_SAME && ids->forced != FS_ID_NONE) {
		id = ids->forced;
		how = FS_ID_SQUASHED;
	}
	if (ids->hidden != FS_ID_NONE && !fs_id_find(&ids->ours, id, &same))
		return -EOVERFLOW;
	if (how == FS_ID_SQUASHED)
		fs_count(&c->req->counters->ids_squashed, 1);
	*host = id;
	return 0;
}

static uint32_t
to_guest(const struct fs_ctx *c, enum id_kind kind, uint32_t host, bool root)
{
	const struct ids *ids = &c->share->ids->kind[kind];
	uint32_t id = host;

	if (fs_id_find(&ids->map->to_guest, host, &id) || host != ids->hidden ||
	    ids->hidden == FS_ID_NONE)
		return id;
	fs_count(&c->req->counters->ids_overflow, 1);
	return root ? ids->root : ids->overflow;
}

int
fs_ids_to_host(const struct fs_ctx *c, bool group, uint32_t guest,
	       uint32_t *host)
{
	*host = guest;
	return c->share->ids ? to_host(c, group ? GROUPS : USERS, guest, host)
			     : 0;
}

int
fs_ids_refused(const struct fs_ctx *c, int err)
{
	if (err == -EPERM || err == -EOVERFLOW)
		fs_count(&c->req->counters->ids_refused, 1);
	return err;
}

/* ------------------------------------------------------------------ */
/* Owners. */

static bool
is_root(const struct fs_share *share, const struct statx *stx)
{
	const struct statx *root = &share->root_stx;

	return stx->stx_ino == root->stx_ino &&
	       stx->stx_mnt_id == root->stx_mnt_id &&
	       fs_statx_dev(stx) == fs_statx_dev(root);
}

void
fs_ids_show(const struct fs_ctx *c, const struct statx *stx, uint32_t *uid,
	    uint32_t *gid)
{
	bool root = is_root(c->share, stx);

	*uid = to_guest(c, USERS, stx->stx_uid, root);
	*gid = to_guest(c, GROUPS, stx->stx_gid, root);
}

/* Groups only give rights: one that cannot be had is left out. */
static uint32_t
take_groups(const struct fs_ctx *c, uint32_t gid,
	    uint32_t groups[FS_GROUPS_MAX])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->ngroups; i++) {
		uint32_t host;

		if (!to_host(c, GROUPS, c->groups[i], &host) && host != gid)
			groups[n++] = host;
	}
	return n;
}

int
fs_ids_become(struct fs_ctx *c)
{
	struct fs_cred *cred = &c->t->cred;
	uint32_t uid = c->h.uid, gid = c->h.gid;
	uint32_t groups[FS_GROUPS_MAX], n;
	int err;

	if (!c->share->ids || uid == FS_ID_NONE || gid == FS_ID_NONE)
		return fs_cred_caller(cred, uid, gid, c->ngroups, c->groups);
	err = to_host(c, USERS, uid, &uid);
	if (!err)
		err = to_host(c, GROUPS, gid, &gid);
	/* Whom we cannot become makes no difference if we cannot switch, nor
	 * where it will be recorded. */
	if (err == -EOVERFLOW && cred->privileged &&
	    fs_owners_can(c, c->node->mount)) {
		c->make_as_self = true;
		uid = cred->self_uid;
		gid = cred->self_gid;
		return fs_cred_caller(cred, uid, gid, 0, NULL);
	}
	if (err == -EOVERFLOW && !cred->privileged)
		err = 0;
	if (err)
		return fs_ids_refused(c, err);
	n = take_groups(c, gid, groups);
	return fs_cred_caller(cred, uid, gid, n, groups);
}

uint32_t
fs_ids_group(const struct fs_ctx *c)
{
	uint32_t gid = c->h.gid;

	if (c->share->ids && gid != FS_ID_NONE && to_host(c, GROUPS, gid, &gid))
		return FS_ID_NONE;
	return gid;
}

int
fs_ids_set_owner(struct fs_ctx *c, int fd, const struct fuse_setattr_in *in)
{
	bool sets_uid = in->valid & FATTR_UID, sets_gid = in->valid & FATTR_GID;
	uint32_t uid = sets_uid ? in->uid : FS_ID_NONE;
	uint32_t gid = sets_gid ? in->gid : FS_ID_NONE;
	int err = 0;

	if ((sets_uid && uid == FS_ID_NONE) || (sets_gid && gid == FS_ID_NONE))
		return -EINVAL;
	if (c->share->ids && sets_uid)
		err = to_host(c, USERS, uid, &uid);
	if (c->share->ids && sets_gid && !err)
		err = to_host(c, GROUPS, gid, &gid);
	if (err)
		return fs_ids_refused(c, err);
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

/* ------------------------------------------------------------------ */
/* Access lists: a header, then entries of which some name a user or group. */

typedef int entry_fn(const struct fs_ctx *c, enum id_kind kind, uint32_t id,
		     uint32_t *to);

static int
entry_to_host(const struct fs_ctx *c, enum id_kind kind, uint32_t id,
	      uint32_t *to)
{
	*to = id;
	return id == FS_ID_NONE ? 0 : to_host(c, kind, id, to);
}

/* Here the kernel shows -1 for what our user namespace does not have. */
static int
entry_to_guest(const struct fs_ctx *c, enum id_kind kind, uint32_t id,
	       uint32_t *to)
{
	const struct ids *ids = &c->share->ids->kind[kind];

	*to = to_guest(c, kind, id == FS_ID_NONE ? ids->hidden : id, false);
	return 0;
}

/*
 * Neighbours that become the same user or group become one entry, which may
 * do what any of them may.  Tools write entries in the order of their ids, so
 * those are neighbours that one rule squashes.
 */
static int
convert_entries(const struct fs_ctx *c, struct posix_acl_xattr_entry *e,
		size_t *n, entry_fn *convert)
{
	size_t to = 0;

	for (size_t i = 0; i < *n; i++) {
		struct posix_acl_xattr_entry now = e[i];
		unsigned tag = le16toh(now.e_tag);
		uint32_t id;
		int err;

		if (tag == ACL_USER || tag == ACL_GROUP) {
			err = convert(c, tag == ACL_USER ? USERS : GROUPS,
				      le32toh(now.e_id), &id);
			if (err)
				return err;
			now.e_id = htole32(id);
			if (to && e[to - 1].e_tag == now.e_tag &&
			    e[to - 1].e_id == now.e_id) {
				e[to - 1].e_perm |= now.e_perm;
				continue;
			}
		}
		e[to++] = now;
	}
	*n = to;
	return 0;
}

/* What is no list is left to the kernel to refuse. */
static int
convert_acl(const struct fs_ctx *c, void *value, size_t *size,
	    entry_fn *convert)
{
	struct posix_acl_xattr_header *head = value;
	size_t n;
	int err;

	if (!c->share->ids || *size < sizeof(*head) ||
	    (*size - sizeof(*head)) % sizeof(struct posix_acl_xattr_entry) ||
	    le32toh(head->a_version) != POSIX_ACL_XATTR_VERSION)
		return 0;
	n = (*size - sizeof(*head)) / sizeof(struct posix_acl_xattr_entry);
	err = convert_entries(c, (void *)(head + 1), &n, convert);
	if (err)
		return fs_ids_refused(c, err);
	*size = sizeof(*head) + n * sizeof(struct posix_acl_xattr_entry);
	return 0;
}

int
fs_ids_acl_to_host(struct fs_ctx *c, void *value, size_t *size)
{
	return convert_acl(c, value, size, entry_to_host);
}

void
fs_ids_acl_to_guest(struct fs_ctx *c, void *value, size_t *size)
{
	(void)convert_acl(c, value, size, entry_to_guest);
}
