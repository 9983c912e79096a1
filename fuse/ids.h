/* SPDX-License-Identifier: MIT */
/* ids.c: users and groups on their way between guest and host. */
#ifndef FUSE_IDS_H
#define FUSE_IDS_H

#include "fuse/fs.h"

/* NULL in *ids: there is nothing to do.  Borrows `set`. */
int fs_ids_new(const struct conf_share *set, struct fs_ids **ids);
void fs_ids_free(struct fs_ids *ids);
/* Has our user namespace no number for some of the owners that files have? */
bool fs_ids_limited(const struct fs_ids *ids);
/* Act as the caller of the request.  -EPERM: its ids are forbidden,
 * -EOVERFLOW: the host cannot have them. */
int fs_ids_become(struct fs_ctx *c);
/* The host's number of the caller's group; FS_ID_NONE: nobody knows, or the
 * host cannot have it. */
uint32_t fs_ids_group(const struct fs_ctx *c);
/* Give what `fd` is the owner that SETATTR names; errors as above. */
int fs_ids_refused(const struct fs_ctx *c, int err);	/* counted */
/* The host's number of a user or group of the guest; errors as above. */
int fs_ids_to_host(const struct fs_ctx *c, bool group, uint32_t guest,
		   uint32_t *host);
int fs_ids_set_owner(struct fs_ctx *c, int fd,
		     const struct fuse_setattr_in *in);
void fs_ids_show(const struct fs_ctx *c, const struct statx *stx,
		 uint32_t *uid, uint32_t *gid);
/* The owner as the guest is to see it. */
static inline void
fs_ids_to_guest(const struct fs_ctx *c, const struct statx *stx, uint32_t *uid,
		uint32_t *gid)
{
	*uid = stx->stx_uid;
	*gid = stx->stx_gid;
	if (__builtin_expect(c->share->ids != NULL, 0))
		fs_ids_show(c, stx, uid, gid);
}
/* The value of an access list, in place; it only gets shorter. */
int fs_ids_acl_to_host(struct fs_ctx *c, void *value, size_t *size);
void fs_ids_acl_to_guest(struct fs_ctx *c, void *value, size_t *size);

enum {
	FS_ID_SAME,		/* no rule names it; *to is untouched */
	FS_ID_MOVED,
	FS_ID_SQUASHED,		/* and others with it */
};
/* The rule for `id`: one of these, or -EPERM. */
int fs_id_find(const struct conf_id_ranges *r, uint32_t id, uint32_t *to);

#endif
