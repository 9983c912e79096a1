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

static ssize_t
serve_slowly(struct fc *c, struct fs_req *r)
{
	struct sleeper sl = { PTHREAD_MUTEX_INITIALIZER,
			      PTHREAD_COND_INITIALIZER, false };
	ssize_t n;

	r->flags = FS_MAY_BLOCK;
	r->resume = resume;
	r->cookie = &sl;
	while ((n = fs_serve(c->session, c->thread, r)) == FS_PARKED) {
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
	n = fs_serve(c->session, c->thread, &r);
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

struct fuse_init_out
fc_init(struct fc *c, uint32_t minor, uint64_t flags)
{
	struct fuse_init_in in = { .major = 7, .minor = minor,
				   .max_readahead = 131072,
				   .flags = (uint32_t)flags,
				   .flags2 = (uint32_t)(flags >> 32) };
	struct fuse_init_out out = { 0 };
	ssize_t n = fc_call(c, FUSE_INIT, 0, &in, sizeof(in), NULL, NULL);

	if (n == sizeof(out))
		memcpy(&out, c->out, sizeof(out));
	return out;
}

struct fuse_init_out
fc_init_windows(struct fc *c)
{
	struct fuse_init_in in = { .major = 7, .minor = 31,
				   .flags = FUSE_DO_READDIRPLUS |
					    FUSE_MAX_PAGES };
	struct fuse_init_out out = { 0 };
	ssize_t n;

	c->room = 80;
	n = fc_call(c, FUSE_INIT, 1, &in, 16, NULL, NULL);
	c->room = 0;
	if (n == sizeof(out))
		memcpy(&out, c->out, sizeof(out));
	return out;
}

static int64_t
entry_id(const struct fc *c, ssize_t n)
{
	struct fuse_entry_out e;

	if (n < 0)
		return n;
	memcpy(&e, c->out, sizeof(e));
	return (int64_t)e.nodeid;
}

int64_t
fc_lookup(struct fc *c, uint64_t dir, const char *name)
{
	return entry_id(c, fc_call(c, FUSE_LOOKUP, dir, NULL, 0, name, NULL));
}

int64_t
fc_mkdir(struct fc *c, uint64_t dir, const char *name, uint32_t mode)
{
	struct fuse_mkdir_in in = { .mode = mode };

	return entry_id(c, fc_call(c, FUSE_MKDIR, dir, &in, sizeof(in), name,
				   NULL));
}

int64_t
fc_create(struct fc *c, uint64_t dir, const char *name, uint32_t flags,
	  uint32_t mode, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = mode };
	ssize_t n = fc_call(c, FUSE_CREATE, dir, &in, sizeof(in), name, NULL);
	struct fuse_open_out o;
	int64_t id = entry_id(c, n);

	if (n < 0)
		return n;
	memcpy(&o, c->out + sizeof(struct fuse_entry_out), sizeof(o));
	if (fh)
		*fh = o.fh;
	else
		fc_release(c, (uint64_t)id, o.fh);
	return id;
}

static int64_t
open_any(struct fc *c, uint32_t opcode, uint64_t node, uint32_t flags)
{
	struct fuse_open_in in = { .flags = flags };
	ssize_t n = fc_call(c, opcode, node, &in, sizeof(in), NULL, NULL);
	struct fuse_open_out o;

	if (n < 0)
		return n;
	memcpy(&o, c->out, sizeof(o));
	return (int64_t)o.fh;
}

int64_t
fc_open(struct fc *c, uint64_t node, uint32_t flags)
{
	return open_any(c, FUSE_OPEN, node, flags);
}

int64_t
fc_opendir(struct fc *c, uint64_t node)
{
	return open_any(c, FUSE_OPENDIR, node, O_DIRECTORY);
}

static int
release_any(struct fc *c, uint32_t opcode, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return (int)fc_call(c, opcode, node, &in, sizeof(in), NULL, NULL);
}

int
fc_release(struct fc *c, uint64_t node, uint64_t fh)
{
	return release_any(c, FUSE_RELEASE, node, fh);
}

int
fc_releasedir(struct fc *c, uint64_t node, uint64_t fh)
{
	return release_any(c, FUSE_RELEASEDIR, node, fh);
}

ssize_t
fc_read(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
	uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return fc_call(c, FUSE_READ, node, &in, sizeof(in), NULL, NULL);
}

ssize_t
fc_write(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
	 const void *data, uint32_t size, uint32_t flags)
{
	struct fuse_write_in in = { .fh = fh, .offset = offset, .size = size,
				    .write_flags = flags,
				    .flags = c->file_flags };
	char *bytes = malloc(sizeof(in) + size);
	struct fuse_write_out out;
	ssize_t n;

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), data, size);
	n = fc_raw(c, FUSE_WRITE, node, bytes, sizeof(in) + size,
		   (uint32_t)(sizeof(struct fuse_in_header) + sizeof(in)) +
		   size);
	free(bytes);
	if (n < 0)
		return n;
	memcpy(&out, c->out, sizeof(out));
	return out.size;
}

ssize_t
fc_readdir(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
	   uint32_t size, bool plus)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = size };

	return fc_call(c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in,
		       sizeof(in), NULL, NULL);
}

static int
attr_reply(struct fc *c, ssize_t n, struct fuse_attr *attr)
{
	struct fuse_attr_out out;

	if (n < 0)
		return (int)n;
	memcpy(&out, c->out, sizeof(out));
	if (attr)
		*attr = out.attr;
	return 0;
}

int
fc_getattr(struct fc *c, uint64_t node, struct fuse_attr *attr)
{
	struct fuse_getattr_in in = { 0 };

	return attr_reply(c, fc_call(c, FUSE_GETATTR, node, &in, sizeof(in),
				     NULL, NULL), attr);
}

int
fc_setattr(struct fc *c, uint64_t node, const struct fuse_setattr_in *in,
	   struct fuse_attr *attr)
{
	return attr_reply(c, fc_call(c, FUSE_SETATTR, node, in, sizeof(*in),
				     NULL, NULL), attr);
}

int
fc_unlink(struct fc *c, uint64_t dir, const char *name)
{
	return (int)fc_call(c, FUSE_UNLINK, dir, NULL, 0, name, NULL);
}

int
fc_rmdir(struct fc *c, uint64_t dir, const char *name)
{
	return (int)fc_call(c, FUSE_RMDIR, dir, NULL, 0, name, NULL);
}

int
fc_rename(struct fc *c, uint64_t dir, const char *name, uint64_t dir2,
	  const char *name2, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = dir2, .flags = flags };

	return (int)fc_call(c, FUSE_RENAME2, dir, &in, sizeof(in), name,
			    name2);
}

void
fc_forget(struct fc *c, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	fc_call(c, FUSE_FORGET, node, &in, sizeof(in), NULL, NULL);
}

struct fs_info
fc_info(struct fc *c)
{
	struct fs_info info;

	fs_session_info(c->session, &info);
	return info;
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
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 3;		/* ".", ".." and the directory itself */
}
