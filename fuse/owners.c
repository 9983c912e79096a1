/* SPDX-License-Identifier: MIT */
/*
 * What guests set and the host cannot hold, on a share that records it: owners
 * first of all.
 */
#include "config.h"

#include "fuse/ids.h"
#include "fuse/owners.h"

bool
fs_share_lacks_owners(const struct fs_share *share)
{
	return !share->privileged || fs_ids_limited(share->ids);
}

/* Without a descriptor of its own nothing of it can be recorded. */
void
fs_owners_mount(struct fs_share *share, struct fs_mount *m)
{
	if (share->state && m->fd >= 0 && !m->state)
		(void)cf_state_fs(share->state, m->fd, &m->state);
}

int
fs_share_record(struct fs_share *share, struct cf_state *state)
{
	share->records = true;
	share->state = state;
	for (struct fs_mount *m = share->mounts; m; m = m->next)
		fs_owners_mount(share, m);
	return 0;
}

bool
fs_share_records(const struct fs_share *share)
{
	return share->records;
}

int
fs_share_root(const struct fs_share *share)
{
	return share->root_fd;
}

void
fs_share_forbid(struct fs_share *share)
{
	share->forbidden = true;
}
