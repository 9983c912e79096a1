/* SPDX-License-Identifier: MIT */
/*
 * A share: one exported directory and what its sessions have in common.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuse/ids.h"

__attribute__((format(printf, 3, 4))) static void
say(char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	if (!why || !size)
		return;
	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
}

int
fs_open_proc(struct fs_share *share, int fd, int flags)
{
	char name[16];

	if (share->proc_fd < 0) {
		errno = ENOSYS;
		return -1;
	}
	snprintf(name, sizeof(name), "%d", fd);
	return openat(share->proc_fd, name, flags | O_CLOEXEC);
}

/* A budget may use up to 1/`part` of what this process may open. */
static unsigned
budget(unsigned asked, unsigned part)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur / part >= asked)
		return asked;
	return rl.rlim_cur / part > 16 ? (unsigned)(rl.rlim_cur / part) : 16;
}

static int
open_root(struct fs_share *share, char *why, size_t size)
{
	const char *path = share->set->path;
	struct fs_ctx c = { .share = share, .may_block = true };
	int err;

	share->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (share->root_fd < 0) {
		err = -errno;
		say(why, size, "cannot open directory %s: %s", path,
		    strerror(-err));
		return err;
	}
	err = fs_statx(&c, share->root_fd, "", &share->root_stx);
	if (!err)
		err = fs_mount_open(share, &share->root_stx, share->root_fd,
				    &share->root_mount);
	if (!err && share->set->inode_file_handles == CONF_HANDLES_MANDATORY &&
	    !(share->root_mount->flags & FS_MOUNT_HANDLES))
		err = -EOPNOTSUPP;
	if (err == -EOPNOTSUPP)
		say(why, size,
		    "inode_file_handles is mandatory, but files of %s cannot "
		    "be opened by handle", path);
	else if (err)
		say(why, size, "cannot examine %s: %s", path, strerror(-err));
	return err;
}

void
fs_share_set(struct fs_share *s, const struct conf_share *set)
{
	s->max_fds = budget(set->max_fds, 2);
	s->max_open = budget(set->max_open_files, 4);
	s->set = set;
}

int
fs_share_begin(struct fs_share *s, const struct conf_share *set)
{
	struct fs_ids *ids;
	int err = fs_ids_new(set, &ids);

	if (err)
		return err;
	fs_ids_free(s->ids);
	s->ids = ids;
	fs_share_set(s, set);
	return 0;
}

int
fs_share_new(const struct conf_share *set, struct fs_share **share, char *why,
	     size_t size)
{
	struct fs_share *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		say(why, size, "out of memory");
		return -ENOMEM;
	}
	s->root_fd = s->proc_fd = -1;
	s->marker_fd = -1;
	s->privileged = fs_cred_can_switch();
	pthread_mutex_init(&s->mounts_lock, NULL);
	pthread_mutex_init(&s->sessions_lock, NULL);
	pthread_mutex_init(&s->lru_lock, NULL);
	pthread_mutex_init(&s->locks_lock, NULL);
	err = fs_share_begin(s, set);
	if (err) {
		say(why, size, "out of memory");
		fs_share_free(s);
		return err;
	}
	s->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = open_root(s, why, size);
	if (err)
		fs_share_free(s);
	else
		*share = s;
	return err;
}

void
fs_share_free(struct fs_share *share)
{
	struct fs_session *left;

	if (!share)
		return;
	left = atomic_load(&share->left);
	if (left)
		fs_session_destroy(left);
	fs_budget_leave(share);
	fs_mounts_free(share);
	fs_ids_free(share->ids);
	if (share->proc_fd >= 0)
		close(share->proc_fd);
	if (share->root_fd >= 0)
		close(share->root_fd);
	if (share->marker_fd >= 0)
		close(share->marker_fd);
	pthread_mutex_destroy(&share->locks_lock);
	pthread_mutex_destroy(&share->lru_lock);
	pthread_mutex_destroy(&share->sessions_lock);
	pthread_mutex_destroy(&share->mounts_lock);
	free(share);
}

void
fs_share_info(struct fs_share *share, struct fs_info *info)
{
	memset(info, 0, sizeof(*info));
	info->ready = atomic_load(&share->nsessions) > 0;
	info->nodes = atomic_load(&share->nnodes);
	info->remembered = atomic_load(&share->nidle);
	info->handles = atomic_load(&share->nhandles);
	info->max_handles = atomic_load(&share->max_open);
	info->max_node_fds = atomic_load(&share->max_fds);
	pthread_mutex_lock(&share->lru_lock);
	info->node_fds = share->nfds;
	pthread_mutex_unlock(&share->lru_lock);
}
