/* SPDX-License-Identifier: MIT */
/*
 * A session: what one guest knows and has open.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/fs.h"

static int
session_new(struct fs_share *share, struct fs_session **session)
{
	struct fs_session *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->share = share;
	for (int i = 0; i < FS_SHARDS; i++)
		pthread_mutex_init(&s->shard[i].lock, NULL);
	fs_table_init(&s->nodes, sizeof(struct fs_node));
	fs_table_init(&s->handles, sizeof(struct fs_handle));
	err = fs_node_add_root(s);
	if (!err)
		err = fs_export_base(share, &s->nodes.base);
	if (err) {
		fs_session_destroy(s);
		return err;
	}
	pthread_mutex_lock(&share->sessions_lock);
	s->next = share->sessions;
	share->sessions = s;
	pthread_mutex_unlock(&share->sessions_lock);
	*session = s;
	return 0;
}

int
fs_session_new(struct fs_share *share, struct fs_session **session)
{
	struct fs_session *s = fs_export_take(share);
	int err = s ? 0 : session_new(share, &s);

	if (err)
		return err;
	atomic_fetch_add(&share->nsessions, 1);
	*session = s;
	return 0;
}

void
fs_session_clear(struct fs_session *s)
{
	bool keep = fs_export_keep(s);

	fs_handles_clear(s);
	fs_locks_clear(s);
	fs_nodes_clear(s, !keep);
	if (keep)
		fs_nodes_close(s);
	s->cleared = true;
}

void
fs_session_restart(struct fs_session *s)
{
	fs_handles_clear(s);
	fs_locks_clear(s);
	fs_nodes_clear(s, !fs_is_exported(s));
}

void
fs_session_destroy(struct fs_session *s)
{
	struct fs_session **p = &s->share->sessions;

	pthread_mutex_lock(&s->share->sessions_lock);
	while (*p && *p != s)
		p = &(*p)->next;
	if (*p)
		*p = s->next;
	pthread_mutex_unlock(&s->share->sessions_lock);
	fs_nodes_clear(s, true);
	for (int i = 0; i < FS_SHARDS; i++) {
		free(s->shard[i].bucket);
		pthread_mutex_destroy(&s->shard[i].lock);
	}
	fs_table_fini(&s->handles);
	fs_table_fini(&s->nodes);
	free(s);
}

void
fs_session_free(struct fs_session *s)
{
	if (!s)
		return;
	if (!s->cleared)
		fs_session_clear(s);
	atomic_fetch_sub(&s->share->nsessions, 1);
	if (!fs_export_leave(s))
		fs_session_destroy(s);
}

void
fs_session_reset(struct fs_session *s)
{
	if (fs_is_windows(s) || !atomic_load(&s->ready))
		return;
	fs_session_restart(s);
	atomic_store(&s->ready, false);
}

void
fs_session_info(struct fs_session *s, struct fs_info *info)
{
	memset(info, 0, sizeof(*info));
	info->ready = atomic_load(&s->ready);
	info->minor = atomic_load(&s->minor);
	info->flags = atomic_load(&s->flags);
	info->windows = atomic_load(&s->windows);
	info->nodes = atomic_load(&s->nnodes);
	info->handles = atomic_load(&s->nhandles);
	info->node_fds = atomic_load(&s->nfds);
}
