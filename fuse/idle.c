/* SPDX-License-Identifier: MIT */
/*
 * Nodes that are remembered although the guest has forgotten them: a few,
 * because guests forget and look up the same files again and again; with
 * export_support as many as it says, because their ids are still good.  Each
 * shard has a ring of them, in which who was forgotten once more is spared.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "fuse/fs.h"

/* A larger ring, if there may be one. */
static bool
grow_idle(struct fs_shard *sh, unsigned max)
{
	unsigned n = sh->nidle ? sh->nidle * 2 : FS_IDLE;
	struct fs_node **idle;

	if (n > max)
		n = max;
	if (n <= sh->nidle)
		return false;
	idle = realloc(sh->idle, n * sizeof(struct fs_node *));
	if (!idle)
		return false;
	memset(idle + sh->nidle, 0,
	       (n - sh->nidle) * sizeof(struct fs_node *));
	sh->idle = idle;
	sh->nidle = n;
	return true;
}

enum { SPARED = 8 };		/* nodes passed by for one that must go */

/* The place of who was remembered longest, or not yet used; NULL: none. */
static struct fs_node **
idle_place(struct fs_session *s, struct fs_shard *sh)
{
	struct fs_node **place = NULL;

	for (int i = 0; i <= SPARED; i++) {
		if (sh->idle_at == sh->nidle &&
		    !grow_idle(sh, fs_export_idle(s)))
			sh->idle_at = 0;
		if (!sh->nidle)
			return NULL;
		place = &sh->idle[sh->idle_at++];
		if (!*place || !(*place)->again)
			break;
		(*place)->again = false;
	}
	return place;
}

struct fs_node *
fs_idle_add(struct fs_shard *sh, struct fs_node *n)
{
	struct fs_node **place, *old;

	n->again = n->idle;
	if (n->idle || !n->handle || atomic_load(&n->deleted))
		return n;
	place = idle_place(n->session, sh);
	if (!place)
		return n;
	old = *place;
	if (old)
		old->idle = false;
	else
		atomic_fetch_add(&n->session->share->nidle, 1);
	*place = n;
	n->idle = true;
	return old;
}

void
fs_idle_clear(struct fs_session *s, struct fs_shard *sh)
{
	struct fs_node **idle;
	unsigned n;

	pthread_mutex_lock(&sh->lock);
	idle = sh->idle;
	n = sh->nidle;
	for (unsigned i = 0; i < n; i++) {
		if (idle[i])
			idle[i]->idle = false;
	}
	sh->idle = NULL;
	sh->nidle = sh->idle_at = 0;
	pthread_mutex_unlock(&sh->lock);
	for (unsigned i = 0; i < n; i++) {
		if (!idle[i])
			continue;
		atomic_fetch_sub(&s->share->nidle, 1);
		fs_node_put(idle[i]);
	}
	free(idle);
}

bool
fs_idle_leave(struct fs_session *s, struct fs_shard *sh,
	      const struct fs_mount *m, int *fds, size_t max, size_t *count)
{
	if (pthread_mutex_trylock(&sh->lock))
		return false;
	for (unsigned i = 0; i < sh->nidle && *count < max; i++) {
		struct fs_node *n = sh->idle[i];
		int fd;

		if (!n || n->mount != m || n->nlookup)
			continue;
		sh->idle[i] = NULL;
		n->idle = false;
		atomic_fetch_sub(&s->share->nidle, 1);
		fd = fs_node_put_locked(sh, n);
		if (fd >= 0)
			fds[(*count)++] = fd;
	}
	pthread_mutex_unlock(&sh->lock);
	return *count == max;
}
