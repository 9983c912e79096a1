/* SPDX-License-Identifier: MIT */
/* A guest for the tests of fuse/: see fuseclient.h. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuseclient.h"

enum {
	POISON = 0xa5,
	PIECES_MAX = 2048,
	HEAD = sizeof(struct fuse_out_header),
};

static void
die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
defaults(struct conf_share *set, char *path)
{
	*set = (struct conf_share){
		.tag = "test",
		.path = path,
		.comment = "",
		.enabled = true,
		.entry_timeout_us = -1,
		.attr_timeout_us = -1,
		.max_write = 1 << 20,
		.max_fds = 4096,
		.max_open_files = 1024,
		.lock_wait_us = 10000000,
		.announce_submounts = true,
		.allow_idmap = true,
		.crossmnt = true,
		.forced_uid = UINT32_MAX,
		.forced_gid = UINT32_MAX,
		.overflow_uid = UINT32_MAX,
		.overflow_gid = UINT32_MAX,
		.root_uid = UINT32_MAX,
		.root_gid = UINT32_MAX,
		.create_mask = 07777,
		.directory_mask = 07777,
		.inode_file_handles = CONF_HANDLES_PREFER,
		.io_uring = true,
	};
}

struct fc *
fc_new(const char *where)
{
	struct fc *c = calloc(1, sizeof(*c));
	char cwd[2048];

	if (!c || !getcwd(cwd, sizeof(cwd)))
		die("fc_new");
	snprintf(c->dir, sizeof(c->dir), "%s/tmp.fuse-XXXXXX",
		 where ? where : cwd);
	if (!mkdtemp(c->dir) || chmod(c->dir, 0755) < 0)
		die(c->dir);
	c->fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	defaults(&c->set, c->dir);
	return c;
}

static void
open_fold(struct fc *c)
{
	struct cf_settings set;

	cf_settings_init(&set, c->set.casefold == CONF_CASEFOLD_ASCII ?
			 CF_ASCII : CF_NT);
	set.tag = c->set.tag;
	set.cache_dir = c->cache_dir;
	if (cf_share_new(&set, NULL, &c->fold) < 0)
		die("cf_share_new");
	fs_share_fold(c->share, c->fold);
}

static void
open_state(struct fc *c)
{
	struct cf_state_settings set;
	char why[CF_STATE_WHY];

	cf_state_settings_init(&set);
	set.dir = c->state_dir;
	if (cf_state_open(&set, NULL, &c->state, why) < 0)
		die(why);
	fs_share_record(c->share, c->state);
}

void
fc_open_share(struct fc *c)
{
	char why[256] = "";

	if (fs_share_new(&c->set, &c->share, why, sizeof(why)) < 0)
		die(why);
	if (c->set.casefold)
		open_fold(c);
	if (c->state_dir)
		open_state(c);
	if (c->state_xattr)
		fs_share_record(c->share, NULL);
	if (fs_session_new(c->share, &c->session) < 0)
		die("fs_session_new");
	if (fs_thread_new(&c->thread) < 0)
		die("fs_thread_new");
}

void
fc_start(struct fc *c)
{
	fc_open_share(c);
	fc_init(c, FS_PROTO_MINOR, FC_ALL_FLAGS);
}

struct fc *
fc_guest(struct fc *first)
{
	struct fc *c = calloc(1, sizeof(*c));

	if (!c)
		die("fc_guest");
	c->share = first->share;
	c->fd = first->fd;
	if (fs_session_new(c->share, &c->session) < 0)
		die("fs_session_new");
	if (fs_thread_new(&c->thread) < 0)
		die("fs_thread_new");
	return c;
}

void
fc_end(struct fc *c)
{
	fs_session_free(c->session);
	fs_thread_free(c->thread);
	free(c);
}

static void
remove_tree(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
				     O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!unlinkat(fd, e->d_name, 0))
			continue;
		fchmodat(fd, e->d_name, 0700, 0);
		remove_tree(fd, e->d_name);
		unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

void
fc_empty(struct fc *c)
{
	fchmod(c->fd, 0755);
	remove_tree(c->fd, ".");
}

void
fc_stop(struct fc *c)
{
	fs_session_free(c->session);
	fs_share_free(c->share);
	cf_share_free(c->fold);
	cf_state_put(c->state);
	fs_thread_free(c->thread);
	c->session = NULL;
	c->share = NULL;
	c->fold = NULL;
	c->state = NULL;
	c->thread = NULL;
}

void
fc_free(struct fc *c)
{
	fc_stop(c);
	fc_empty(c);
	close(c->fd);
	rmdir(c->dir);
	free(c);
}

/* ------------------------------------------------------------------ */

static unsigned
cut(const struct fc *c, void *buf, size_t size, struct iovec *v)
{
	size_t piece = c->piece ? c->piece : size;
	unsigned n = 0;

	for (size_t off = 0; off < size && n < PIECES_MAX; off += piece, n++) {
		v[n].iov_base = (char *)buf + off;
		v[n].iov_len = size - off < piece ? size - off : piece;
	}
	return n;
}

static void
complain(struct fc *c, const char *what, uint32_t opcode)
{
	const char *name = fs_op_name(opcode);

	c->broken = true;
	printf("# %s: %s\n", name ? name : "unknown opcode", what);
}

/* Take the reply apart. */
static ssize_t
check_reply(struct fc *c, const struct fs_req *r, ssize_t n,
	    const unsigned char *out)
{
	struct fuse_out_header h;
	size_t room = r->out_len;

	c->reply_len = n < 0 ? 0 : (size_t)n;
	if (n < 0)
		return n;
	if ((size_t)n > room) {
		complain(c, "more than the room", r->opcode);
		return -EPROTO;
	}
	for (size_t i = (size_t)n; i < room && i < (size_t)n + 4096; i++) {
		if (out[i] == POISON)
			continue;
		/* A read that failed half way may have left data. */
		if (r->opcode != FUSE_READ)
			complain(c, "written beyond the reply", r->opcode);
		break;
	}
	if (n == 0)
		return 0;
	memcpy(&h, out, HEAD);
	if (h.len != (size_t)n || h.unique != r->unique ||
	    (h.error && n != HEAD) || h.error > 0)
		complain(c, "bad header", r->opcode);
	memcpy(c->out, out + HEAD, (size_t)n - HEAD);
	return h.error ? h.error : n - HEAD;
}

/* As much room as a kernel would give. */
static size_t
room_for(const struct fc *c, const char *in, size_t size)
{
	struct fuse_in_header h;
	struct fuse_read_in r;

	if (c->room)
		return c->room;
	if (size < sizeof(h) + sizeof(r))
		return 8192;
	memcpy(&h, in, sizeof(h));
	memcpy(&r, in + sizeof(h), sizeof(r));
	if (h.opcode != FUSE_READ && h.opcode != FUSE_READDIR &&
	    h.opcode != FUSE_READDIRPLUS)
		return 8192;
	return r.size < FC_ROOM - HEAD ? HEAD + r.size : FC_ROOM;
}

/* A request that waits, as a worker pool would keep it. */
struct sleeper {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool resumed;
};

static void
resume(void *cookie)
{
	struct sleeper *sl = cookie;

	pthread_mutex_lock(&sl->lock);
	sl->resumed = true;
	pthread_cond_signal(&sl->cond);
	pthread_mutex_unlock(&sl->lock);
}

static void
sleep_until(struct sleeper *sl, uint64_t us)
{
	struct timespec ts = { .tv_sec = (time_t)(us / 1000000),
			       .tv_nsec = (long)(us % 1000000 * 1000) };

	pthread_mutex_lock(&sl->lock);
	while (!sl->resumed &&
	       pthread_cond_clockwait(&sl->cond, &sl->lock, CLOCK_MONOTONIC,
				      &ts) != ETIMEDOUT)
		;
	sl->resumed = false;
	pthread_mutex_unlock(&sl->lock);
}

static void
keep_answer(void *ctx, unsigned i, ssize_t n)
{
	ssize_t *answers = ctx;

	answers[i] = n;
}

void
fc_together(struct fc *c, ssize_t *answers)
{
	fs_together(c->thread, keep_answer, answers);
}

/* With FS_MORE: as one of several that wait. */
static ssize_t
serve_once(struct fc *c, struct fs_req *r, unsigned flags)
{
	ssize_t n;

	r->flags = flags;
	n = fs_serve(c->session, c->thread, r);
	if (n != FS_LATER)
		return n;
	if (!(flags & FS_MORE) ||
	    (r->opcode != FUSE_READ && r->opcode != FUSE_WRITE))
		complain(c, "is put off", r->opcode);
	fc_together(c, &n);
	if (n != FS_ALONE)
		return n;
	r->flags = flags & ~(unsigned)FS_MORE;
	return fs_serve(c->session, c->thread, r);
}

/* As the pool would. */
static ssize_t
serve_slowly(struct fc *c, struct fs_req *r)
{
	struct sleeper sl = { PTHREAD_MUTEX_INITIALIZER,
			      PTHREAD_COND_INITIALIZER, false };
	ssize_t n;

	r->resume = resume;
	r->cookie = &sl;
	while ((n = serve_once(c, r, FS_MAY_BLOCK | (r->flags & FS_MORE))) ==
	       FS_PARKED) {
		c->parked++;
		sleep_until(&sl, r->wake_us + (c->patient ? 10000000 : 0));
	}
	if (r->wait)
		complain(c, "a wait is left", r->opcode);
	return n;
}

/* Serve `size` bytes of `in`; taken. */
static ssize_t
serve(struct fc *c, char *in, size_t size)
{
	static __thread struct iovec iin[PIECES_MAX], iout[PIECES_MAX];
	size_t room = room_for(c, in, size);
	unsigned char *out = malloc(room);
	struct fs_req r = { .in = iin, .in_len = size, .out = iout,
			    .out_len = room, .counters = &c->counters };
	ssize_t n;

	memset(out, POISON, room);
	r.nin = cut(c, in, size, iin);
	r.nout = cut(c, out, room, iout);
	/* Every other one as if more waited. */
	n = serve_once(c, &r, c->unique & 1 ? FS_MORE : 0);
	c->deferred = n == FS_DEFER;
	if (n == FS_DEFER && !c->no_block) {
		n = serve_slowly(c, &r);
		if (n == FS_DEFER)
			complain(c, "deferred for ever", r.opcode);
	}
	n = check_reply(c, &r, n, out);
	free(out);
	free(in);
	return n;
}

static struct fuse_in_header
header(struct fc *c, uint32_t opcode, uint64_t node, size_t len)
{
	return (struct fuse_in_header){
		.len = (uint32_t)len, .opcode = opcode, .nodeid = node,
		.unique = ++c->unique, .uid = c->uid, .gid = c->gid,
		.pid = 1,
	};
}

ssize_t
fc_raw(struct fc *c, uint32_t opcode, uint64_t node, const void *bytes,
       size_t size, uint32_t len)
{
	struct fuse_in_header h = header(c, opcode, node, len);
	char *in = malloc(sizeof(h) + size);

	memcpy(in, &h, sizeof(h));
	if (size)
		memcpy(in + sizeof(h), bytes, size);
	return serve(c, in, sizeof(h) + size);
}

static size_t
put_groups(const struct fc *c, char *p)
{
	struct fuse_ext_header ext = { .type = FS_EXT_GROUPS };
	uint32_t n = c->ngroups;

	if (!n)
		return 0;
	ext.size = (uint32_t)((sizeof(ext) + 4 + 4 * n + 7) & ~7UL);
	if (!p)
		return ext.size;
	memset(p, 0, ext.size);
	memcpy(p, &ext, sizeof(ext));
	memcpy(p + sizeof(ext), &n, 4);
	memcpy(p + sizeof(ext) + 4, c->groups, 4 * n);
	return ext.size;
}

ssize_t
fc_call(struct fc *c, uint32_t opcode, uint64_t node, const void *arg,
	size_t size, const char *name, const char *name2)
{
	size_t n1 = name ? strlen(name) + 1 : 0;
	size_t n2 = name2 ? strlen(name2) + 1 : 0;
	size_t ext = name ? put_groups(c, NULL) : 0;
	size_t len = sizeof(struct fuse_in_header) + size + n1 + n2 + ext;
	struct fuse_in_header h = header(c, opcode, node, len);
	char *in = malloc(len), *p = in + sizeof(h);

	h.total_extlen = ext ? (uint16_t)(ext / 8) : c->extlen;
	memcpy(in, &h, sizeof(h));
	if (size)
		memcpy(p, arg, size);
	p += size;
	if (n1)
		memcpy(p, name, n1);
	p += n1;
	if (n2)
		memcpy(p, name2, n2);
	if (ext)
		put_groups(c, p + n2);
	return serve(c, in, len);
}

/* ------------------------------------------------------------------ */

void
fc_file(struct fc *c, const char *name, const char *text)
{
	int fd = openat(c->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(name);
	close(fd);
}

int
fc_stat(struct fc *c, const char *name, struct stat *st)
{
	return fstatat(c->fd, name, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

unsigned
fc_count_fds(void)
{
	static const char ring[] = "anon_inode:[io_uring]";
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	char to[sizeof(ring)];
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += readlinkat(dirfd(d), e->d_name, to, sizeof(to)) !=
			     sizeof(ring) - 1 ||
		     memcmp(to, ring, sizeof(ring) - 1);
	if (d)
		closedir(d);
	return n - 3;		/* ".", ".." and the directory itself */
}
