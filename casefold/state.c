/* SPDX-License-Identifier: MIT */
/*
 * The store's life, its file systems, its counters.  state_open.c opens the
 * file, state_row.c reads and changes rows, state_sync.c brings them to the
 * disk, state_each.c goes over all of them.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "casefold/state_db.h"

void
cf_state_settings_init(struct cf_state_settings *set)
{
	*set = (struct cf_state_settings){
		.root_fd = -1,
		.memory = 128 << 20,
	};
}

void
cf_state_tell(struct cf_state *s, const char *fmt, ...)
{
	char text[CF_STATE_WHY];
	va_list ap;

	if (!s->calls.trouble)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->calls.trouble(s->calls.arg, text);
}

/* ------------------------------------------------------------------ */
/* File systems. */

/* Where two files never have one number.  Not overlayfs, nor bcachefs with its
 * snapshots; nor what is not known. */
static bool
is_single(int64_t type)
{
	static const uint32_t types[] = {
		BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC,
		TMPFS_MAGIC, XFS_SUPER_MAGIC,
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i] == (uint32_t)type)
			return true;
	}
	return false;
}

struct cf_state_fs *
cf_state_add_fs(struct cf_state *s, const unsigned char *id, unsigned len,
		int64_t type)
{
	struct cf_state_fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return NULL;
	fs->state = s;
	fs->number = s->nfs++;
	fs->type = type;
	fs->single = is_single(type);
	fs->id_len = len;
	memcpy(fs->id, id, len);
	fs->next = s->fs;
	s->fs = fs;
	return fs;
}

static struct cf_state_fs *
find_fs(struct cf_state *s, const unsigned char *id, unsigned len)
{
	struct cf_state_fs *fs = s->fs;

	while (fs && (fs->id_len != len || memcmp(fs->id, id, len)))
		fs = fs->next;
	return fs;
}

/* A file system that was met first under a kernel before 6.9 keeps its name. */
static struct cf_state_fs *
find_fs_of(struct cf_state *s, int fd, const unsigned char *id, unsigned len)
{
	struct cf_state_fs *fs = find_fs(s, id, len);
	unsigned char old[CF_FSID_MAX];
	int n;

	if (fs)
		return fs;
	n = cf_fs_old_id(fd, old);
	return n > 0 ? find_fs(s, old, (unsigned)n) : NULL;
}

int
cf_state_fs(struct cf_state *s, int fd, struct cf_state_fs **fs)
{
	unsigned char id[CF_FSID_MAX];
	struct statfs st;
	int flags = fcntl(fd, F_GETFL), len;

	if (flags < 0 || (flags & O_PATH))
		return -EBADF;
	len = cf_fs_id(fd, id);
	if (len < 0)
		return len;
	if (fstatfs(fd, &st))
		return -errno;
	pthread_mutex_lock(&s->fs_lock);
	*fs = find_fs_of(s, fd, id, (unsigned)len);
	if (!*fs)
		*fs = cf_state_add_fs(s, id, (unsigned)len,
				      (int64_t)st.f_type);
	pthread_mutex_unlock(&s->fs_lock);
	return *fs ? 0 : -ENOMEM;
}

/* Rows, but none of this file system: it was moved to another disk. */
static void
warn_of_move(struct cf_state *s, int root_fd)
{
	unsigned char id[CF_FSID_MAX];
	int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), len;

	if (fd < 0)
		return;
	len = cf_fs_id(fd, id);
	if (len > 0 && !find_fs_of(s, fd, id, (unsigned)len))
		cf_state_tell(s, "%s was written for files on another file "
			      "system and applies to none of this one; import "
			      "an export that was made there", s->path);
	close(fd);
}

/* ------------------------------------------------------------------ */
/* Life. */

static int
init(struct cf_state *s, const struct cf_state_settings *set,
     const struct cf_state_calls *calls)
{
	s->refs = 1;
	s->lock_fd = s->wal_fd = -1;
	s->readonly = set->readonly;
	s->weak = set->weak;
	if (calls)
		s->calls = *calls;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->fs_lock, NULL);
	pthread_mutex_init(&s->read_lock, NULL);
	pthread_mutex_init(&s->sync_lock, NULL);
	cf_rows_init(&s->rows, set->memory);
	if (getrandom(&s->key, sizeof(s->key), 0) != sizeof(s->key))
		return -EIO;
	s->dir = strdup(set->dir);
	if (!s->dir || asprintf(&s->path, "%s/state.db", set->dir) < 0)
		return -ENOMEM;
	return 0;
}

static void
destroy(struct cf_state *s)
{
	struct cf_state_fs *next;

	cf_state_disconnect(s);
	for (struct cf_state_fs *fs = s->fs; fs; fs = next) {
		next = fs->next;
		cf_inos_fini(&fs->inos);
		free(fs);
	}
	cf_rows_fini(&s->rows);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->fs_lock);
	pthread_mutex_destroy(&s->read_lock);
	pthread_mutex_destroy(&s->sync_lock);
	free(s->dir);
	free(s->path);
	free(s);
}

int
cf_state_open(const struct cf_state_settings *set,
	      const struct cf_state_calls *calls, struct cf_state **state,
	      char why[CF_STATE_WHY])
{
	struct cf_state *s = calloc(1, sizeof(*s));
	int err;

	snprintf(why, CF_STATE_WHY, "out of memory");
	if (!s)
		return -ENOMEM;
	err = init(s, set, calls);
	if (!err)
		err = cf_state_load(s, why);
	if (err) {
		destroy(s);
		return err;
	}
	if (s->nrows && set->root_fd >= 0)
		warn_of_move(s, set->root_fd);
	*why = '\0';
	*state = s;
	return 0;
}

struct cf_state *
cf_state_get(struct cf_state *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
cf_state_put(struct cf_state *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	if (s->writing && !cf_state_sync(s) && !s->broken) {
		pthread_mutex_lock(&s->lock);
		if (!cf_state_set_meta(s, "clean", "1", 1))
			sqlite3_wal_checkpoint_v2(s->writer, NULL,
						  SQLITE_CHECKPOINT_TRUNCATE,
						  NULL, NULL);
		pthread_mutex_unlock(&s->lock);
	}
	destroy(s);
}

/* ------------------------------------------------------------------ */
/* How much. */

void
cf_state_count(uint64_t *counter, uint64_t n)
{
	__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

void
cf_state_stats(struct cf_state *s, struct cf_state_stats *stats)
{
#define TAKE(name, help) \
	stats->name = __atomic_load_n(&s->stats.name, __ATOMIC_RELAXED);
	CF_STATE_STATS(TAKE)
#undef TAKE
	stats->hits += cf_rows_hits(&s->rows);
}

void
cf_state_info(struct cf_state *s, struct cf_state_info *info)
{
	*info = (struct cf_state_info){
		.rows = s->nrows,
		.memory = cf_rows_memory(&s->rows),
		.unsynced = s->written - s->synced,
		.exists = s->exists,
		.writable = !s->readonly && !s->still && !s->broken,
		.damaged = s->broken,
	};
	for (struct cf_state_fs *fs = s->fs; fs; fs = fs->next)
		info->memory += cf_inos_memory(&fs->inos);
}
