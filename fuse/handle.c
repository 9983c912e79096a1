/* SPDX-License-Identifier: MIT */
/*
 * Files and directories that a guest has open.  Ids begin with 1; 0 is never
 * one.  A released handle closes when the last request that uses it is done.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/fs.h"

int
fs_handle_new(struct fs_session *s, struct fs_handle **handle)
{
	struct fs_handle *h;

	if (!fs_budget_open(s))
		return -ENFILE;
	h = fs_table_new(&s->handles);
	if (!h) {
		fs_budget_closed(s);
		return -ENOMEM;
	}
	h->session = s;
	h->fd = -1;
	pthread_mutex_init(&h->stream, NULL);
	*handle = h;
	return 0;
}

void
fs_handle_free_buf(struct fs_handle *h)
{
	if (!h->buf)
		return;
	free(h->buf);
	h->buf = NULL;
	h->at = h->len = 0;
	atomic_fetch_sub(&h->session->share->ndirbufs, 1);
}

void
fs_handle_cancel(struct fs_handle *h)
{
	struct fs_session *s = h->session;

	pthread_mutex_destroy(&h->stream);
	fs_table_free(&s->handles, &h->slot);
	fs_budget_closed(s);
}

uint64_t
fs_handle_open(struct fs_handle *h, struct fs_node *node, int fd, int flags)
{
	uint64_t id = fs_slot_id(&h->slot);

	h->node = node;
	h->fd = fd;
	h->flags = flags;
	h->dir = S_ISDIR(node->type);
	atomic_store(&h->open, true);
	atomic_fetch_add_explicit(&h->session->nhandles, 1,
				  memory_order_relaxed);
	fs_slot_publish(&h->slot, 1);
	return id;
}

struct fs_handle *
fs_handle_get(struct fs_session *s, uint64_t id)
{
	struct fs_handle *h = id ? fs_table_get(&s->handles, id) : NULL;

	if (h && !atomic_load_explicit(&h->open, memory_order_acquire)) {
		fs_handle_put(h);
		return NULL;
	}
	return h;
}

void
fs_handle_put(struct fs_handle *h)
{
	if (!fs_slot_put(&h->slot))
		return;
	fs_handle_free_buf(h);
	fs_close(h->fd);
	fs_node_put(h->node);
	fs_handle_cancel(h);
}

void
fs_handle_release(struct fs_handle *h)
{
	if (!atomic_exchange(&h->open, false))
		return;
	atomic_fetch_sub_explicit(&h->session->nhandles, 1,
				  memory_order_relaxed);
	fs_handle_put(h);
}

struct fs_handle *
fs_handle_of_node(struct fs_session *s, struct fs_node *n, bool writable)
{
	uint32_t end = fs_table_end(&s->handles);

	for (uint32_t i = 1; i < end; i++) {
		struct fs_handle *h = (void *)fs_table_at(&s->handles, i);

		if (!h || !fs_slot_ref(&h->slot))
			continue;
		if (atomic_load(&h->open) && h->node == n &&
		    !(h->flags & O_PATH) &&
		    (!writable || (h->flags & O_ACCMODE) != O_RDONLY))
			return h;
		fs_handle_put(h);
	}
	return NULL;
}

void
fs_handles_clear(struct fs_session *s)
{
	uint32_t end = fs_table_end(&s->handles);

	for (uint32_t i = 1; i < end; i++) {
		struct fs_handle *h = (void *)fs_table_at(&s->handles, i);

		if (!h || !fs_slot_ref(&h->slot))
			continue;
		fs_handle_release(h);
		fs_handle_put(h);
	}
}

/* Where an open file is now; asks no disk. */
static void
path_of(struct fs_session *s, int fd, char *path, size_t size)
{
	char name[16];
	ssize_t n;

	snprintf(name, sizeof(name), "%d", fd);
	n = readlinkat(s->share->proc_fd, name, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
}

/*
 * Look without a reference: to give one back may mean to close the file, which
 * can take long.  What was seen is true if the handle is still open after it;
 * neither slots nor nodes leave their memory.
 */
static bool
peek(struct fs_handle *h, struct fs_handle_info *info, char *path, size_t size)
{
	uint64_t id = fs_slot_id(&h->slot);

	if (!atomic_load(&h->open))
		return false;
	*info = (struct fs_handle_info){
		.fh = id,
		.nodeid = fs_node_id(h->node),
		.dir = h->dir,
		.flags = h->flags,
		.path = path,
	};
	path_of(h->session, h->fd, path, size);
	return atomic_load(&h->open) && fs_slot_id(&h->slot) == id;
}

void
fs_session_handles(struct fs_session *s,
		   void (*fn)(void *ctx, const struct fs_handle_info *h),
		   void *ctx)
{
	uint32_t end = fs_table_end(&s->handles);
	char path[PATH_MAX];

	for (uint32_t i = 1; i < end; i++) {
		struct fs_handle *h = (void *)fs_table_at(&s->handles, i);
		struct fs_handle_info info;

		if (!h || !peek(h, &info, path, sizeof(path)))
			continue;
		fn(ctx, &info);
	}
}
