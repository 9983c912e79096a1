/* SPDX-License-Identifier: MIT */
/*
 * The table of opcodes, and the one way that every request takes: copied,
 * checked against its row, run, answered, counted.  A handler starts with
 * checked arguments and returns a length or -errno; nothing else replies.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/later.h"
#include "fuse/owners.h"
#include "fuse/show.h"

#define IN(x) sizeof(struct fuse_##x##_in)
#define OUT(x) sizeof(struct fuse_##x##_out)
#define MAKES (FS_DIR | FS_NAME | FS_WRITES | FS_CALLER)
#define TAKES (FS_DIR | FS_WRITES)
#define OPENED (OUT(entry) + OUT(open))
#define OUT_MOST 128	/* as long as most answers, but for their data */

/* clang-format off */
static const struct fs_op fs_ops[FS_OPCODES] = {
	/*                      name           in              out          flags                                      run                 show */
	[FUSE_LOOKUP]       = { "LOOKUP",      0,              OUT(entry),  FS_DIR | FS_NAME | FS_DOTS,                fs_op_lookup,       NULL },
	[FUSE_FORGET]       = { "FORGET",      IN(forget),     0,           FS_NOREPLY | FS_NONODE | FS_EARLY,         fs_op_forget,       fs_show_forget },
	[FUSE_GETATTR]      = { "GETATTR",     IN(getattr),    OUT(attr),   FS_ANY_ID,                                 fs_op_getattr,      fs_show_getattr },
	[FUSE_SETATTR]      = { "SETATTR",     IN(setattr),    OUT(attr),   FS_WRITES,                                 fs_op_setattr,      fs_show_setattr },
	[FUSE_READLINK]     = { "READLINK",    0,              1,           FS_FD,                                     fs_op_readlink,     NULL },
	[FUSE_SYMLINK]      = { "SYMLINK",     0,              OUT(entry),  MAKES | FS_PATH,                           fs_op_symlink,      NULL },
	[FUSE_MKNOD]        = { "MKNOD",       IN(mknod),      OUT(entry),  MAKES,                                     fs_op_mknod,        fs_show_mknod },
	[FUSE_MKDIR]        = { "MKDIR",       IN(mkdir),      OUT(entry),  MAKES,                                     fs_op_mkdir,        fs_show_mkdir },
	[FUSE_UNLINK]       = { "UNLINK",      0,              0,           TAKES | FS_NAME,                           fs_op_unlink,       NULL },
	[FUSE_RMDIR]        = { "RMDIR",       0,              0,           TAKES | FS_NAME,                           fs_op_rmdir,        NULL },
	[FUSE_RENAME]       = { "RENAME",      IN(rename),     0,           TAKES | FS_NAME2,                          fs_op_rename,       fs_show_rename },
	[FUSE_LINK]         = { "LINK",        IN(link),       OUT(entry),  TAKES | FS_NAME,                           fs_op_link,         fs_show_link },
	[FUSE_OPEN]         = { "OPEN",        IN(open),       OUT(open),   0,                                         fs_op_open,         fs_show_open },
	[FUSE_READ]         = { "READ",        IN(read),       0,           FS_FILE_FH | FS_ANY_ID,                    fs_op_read,         fs_show_read },
	[FUSE_WRITE]        = { "WRITE",       IN(write),      OUT(write),  FS_FILE_FH | FS_ANY_ID | FS_WRITES | FS_DATA, fs_op_write,     fs_show_write },
	[FUSE_STATFS]       = { "STATFS",      0,              OUT(statfs), FS_FD | FS_ANY_ID,                         fs_op_statfs,       NULL },
	[FUSE_RELEASE]      = { "RELEASE",     IN(release),    0,           FS_NONODE | FS_ANY_ID,                     fs_op_release,      fs_show_fh },
	[FUSE_FSYNC]        = { "FSYNC",       IN(fsync),      0,           FS_FILE_FH | FS_ANY_ID | FS_SLOW,          fs_op_fsync,        fs_show_fsync },
	[FUSE_SETXATTR]     = { "SETXATTR",    FUSE_COMPAT_SETXATTR_IN_SIZE, 0, FS_FD | FS_XNAME | FS_VALUE | FS_WRITES,   fs_op_setxattr,     fs_show_setxattr },
	[FUSE_GETXATTR]     = { "GETXATTR",    IN(getxattr),   0,           FS_FD | FS_XNAME,                          fs_op_getxattr,     fs_show_getxattr },
	[FUSE_LISTXATTR]    = { "LISTXATTR",   IN(getxattr),   0,           FS_FD,                                     fs_op_listxattr,    fs_show_getxattr },
	[FUSE_REMOVEXATTR]  = { "REMOVEXATTR", 0,              0,           FS_FD | FS_XNAME | FS_WRITES,              fs_op_removexattr,  NULL },
	[FUSE_FLUSH]        = { "FLUSH",       IN(flush),      0,           FS_FILE_FH | FS_ANY_ID,                    fs_op_flush,        fs_show_fh },
	[FUSE_INIT]         = { "INIT",        16,             OUT(init),   FS_EARLY | FS_NONODE,                      fs_op_init,         fs_show_init },
	[FUSE_OPENDIR]      = { "OPENDIR",     IN(open),       OUT(open),   FS_DIR,                                    fs_op_opendir,      fs_show_open },
	[FUSE_READDIR]      = { "READDIR",     IN(read),       0,           FS_DIR_FH | FS_ANY_ID,                     fs_op_readdir,      fs_show_read },
	[FUSE_READDIRPLUS]  = { "READDIRPLUS", IN(read),       0,           FS_DIR_FH,                                 fs_op_readdirplus,  fs_show_read },
	[FUSE_RELEASEDIR]   = { "RELEASEDIR",  IN(release),    0,           FS_NONODE | FS_ANY_ID,                     fs_op_release,      fs_show_fh },
	[FUSE_FSYNCDIR]     = { "FSYNCDIR",    IN(fsync),      0,           FS_DIR_FH | FS_ANY_ID | FS_SLOW,           fs_op_fsync,        fs_show_fsync },
	[FUSE_GETLK]        = { "GETLK",       IN(lk),         OUT(lk),     FS_FILE_FH,                                fs_op_getlk,        fs_show_lk },
	[FUSE_SETLK]        = { "SETLK",       IN(lk),         0,           FS_FILE_FH,                                fs_op_setlk,        fs_show_lk },
	[FUSE_SETLKW]       = { "SETLKW",      IN(lk),         0,           FS_FILE_FH,                                fs_op_setlkw,       fs_show_lk },
	[FUSE_ACCESS]       = { "ACCESS",      IN(access),     0,           FS_FD,                                     fs_op_access,       fs_show_access },
	[FUSE_CREATE]       = { "CREATE",      IN(create),     OPENED,      MAKES,                                     fs_op_create,       fs_show_create },
	[FUSE_INTERRUPT]    = { "INTERRUPT",   IN(interrupt),  0,           FS_NOREPLY | FS_NONODE | FS_EARLY,         NULL,               NULL },
	[FUSE_IOCTL]        = { "IOCTL",       IN(ioctl),      OUT(ioctl),  FS_NONODE,                                 fs_op_ioctl,        fs_show_ioctl },
	[FUSE_DESTROY]      = { "DESTROY",     0,              0,           FS_NONODE | FS_EARLY,                      fs_op_destroy,      NULL },
	[FUSE_BATCH_FORGET] = { "BATCH_FORGET", IN(batch_forget), 0,        FS_NOREPLY | FS_NONODE | FS_EARLY | FS_DATA, fs_op_batch_forget, NULL },
	[FUSE_FALLOCATE]    = { "FALLOCATE",   IN(fallocate),  0,           FS_FILE_FH | FS_ANY_ID | FS_WRITES | FS_SLOW, fs_op_fallocate, fs_show_fallocate },
	[FUSE_RENAME2]      = { "RENAME2",     IN(rename2),    0,           TAKES | FS_NAME2,                          fs_op_rename2,      fs_show_rename2 },
	[FUSE_LSEEK]        = { "LSEEK",       IN(lseek),      OUT(lseek),  FS_FILE_FH | FS_ANY_ID,                    fs_op_lseek,        fs_show_lseek },
	[FUSE_COPY_FILE_RANGE] = { "COPY_FILE_RANGE", IN(copy_file_range), OUT(write), FS_FILE_FH | FS_WRITES | FS_SLOW, fs_op_copy,       fs_show_copy },
	[FUSE_SYNCFS]       = { "SYNCFS",      IN(syncfs),     0,           FS_FD | FS_SLOW,                           fs_op_syncfs,       NULL },
	[FUSE_TMPFILE]      = { "TMPFILE",     IN(create),     OPENED,      MAKES | FS_NAMELESS,                       fs_op_tmpfile,      fs_show_create },
	[FS_OP_STATX]       = { "STATX",       sizeof(struct fs_wire_statx_in), sizeof(struct fs_wire_statx_out), FS_ANY_ID, fs_op_statx,   NULL },
	[FS_OP_COPY_FILE_RANGE_64] = { "COPY_FILE_RANGE_64", IN(copy_file_range), sizeof(struct fs_wire_copy64_out), FS_FILE_FH | FS_WRITES | FS_SLOW, fs_op_copy64, fs_show_copy },
};
/* clang-format on */

const struct fs_op *
fs_op_get(uint32_t opcode)
{
	return opcode < FS_OPCODES && fs_ops[opcode].name ? &fs_ops[opcode]
							  : NULL;
}

const char *
fs_op_name(uint32_t opcode)
{
	const struct fs_op *op = fs_op_get(opcode);

	return op ? op->name : NULL;
}

/* ------------------------------------------------------------------ */
/* Nodes and handles. */

bool
fs_mount_defers(const struct fs_ctx *c, const struct fs_mount *m)
{
	if (c->may_block || c->share->set->inline_io == CONF_INLINE_YES)
		return false;
	return c->share->set->inline_io == CONF_INLINE_NO ||
	       (m->flags & FS_MOUNT_REMOTE);
}

bool
fs_disk_defers(const struct fs_ctx *c, const struct fs_mount *m)
{
	return !c->may_block && !(m->flags & FS_MOUNT_MEMORY);
}

static bool
must_defer(const struct fs_ctx *c, const struct fs_mount *m)
{
	return fs_mount_defers(c, m) ||
	       ((c->op->flags & FS_SLOW) && fs_disk_defers(c, m));
}

/* The handle that the request begins with; it must be of the header's node. */
static int
find_handle(struct fs_ctx *c)
{
	uint64_t id;

	memcpy(&id, c->t->in, sizeof(id));
	c->fh = fs_handle_get(c->s, id);
	if (!c->fh || fs_node_id(c->fh->node) != c->h.nodeid)
		return -EBADF;
	if (c->fh->dir != !!(c->op->flags & FS_DIR_FH))
		return c->fh->dir ? -EISDIR : -ENOTDIR;
	if ((c->fh->flags & O_PATH) && !(c->op->flags & FS_DIR_FH))
		return -EACCES;
	return must_defer(c, c->fh->node->mount) ? FS_DEFER : 0;
}

/* LOOKUP of ".", by which a guest asks for a node whose id it has kept. */
static bool
is_by_id(const struct fs_ctx *c)
{
	return (c->op->flags & FS_DOTS) && c->name[0] == '.' && !c->name[1] &&
	       fs_is_exported(c->s);
}

static int
find_node(struct fs_ctx *c)
{
	unsigned flags = c->op->flags;

	c->node = fs_node_get(c->s, c->h.nodeid);
	if (!c->node)
		return -ESTALE;
	if (fs_is_closed(c, c->node->mount))
		return -EACCES;
	if ((flags & FS_DIR) && !S_ISDIR(c->node->type) && !is_by_id(c))
		return -ENOTDIR;
	if (must_defer(c, c->node->mount))
		return FS_DEFER;
	return flags & (FS_DIR | FS_FD) ? fs_node_pin(c, c->node, &c->fd) : 0;
}

int
fs_ctx_node2(struct fs_ctx *c, uint64_t id, bool dir)
{
	c->node2 = fs_node_get(c->s, id);
	if (!c->node2)
		return -ESTALE;
	if (fs_is_closed(c, c->node2->mount))
		return -EACCES;
	if (dir && !S_ISDIR(c->node2->type))
		return -ENOTDIR;
	if (must_defer(c, c->node2->mount))
		return FS_DEFER;
	return fs_node_pin(c, c->node2, &c->fd2);
}

/* Let go of all that a request got hold of. */
static void
let_go(struct fs_ctx *c)
{
	if (c->fh)
		fs_handle_put(c->fh);
	if (c->fd >= 0)
		fs_node_unpin(c->node);
	if (c->fd2 >= 0)
		fs_node_unpin(c->node2);
	if (c->node)
		fs_node_put(c->node);
	if (c->node2)
		fs_node_put(c->node2);
}

int
fs_ctx_become(struct fs_ctx *c)
{
	struct fs_cred *cred = &c->t->cred;

	if (c->op->flags & FS_CALLER)
		return fs_ids_become(c);
	return c->op->flags & FS_ANY_ID ? 0 : fs_cred_self(cred, false);
}

/* The group of a caller.  Where the guest does not name it (ALLOW_IDMAP) it is
 * taken for that of the file, as when Linux clears the bits itself; a handle
 * looks for that once. */
static uint32_t
caller_group(struct fs_ctx *c, struct fs_handle *h, int fd)
{
	uint64_t group = h ? atomic_load(&h->group) : 0;
	uint32_t gid = fs_ids_group(c);
	struct stat st;

	if (gid != FS_ID_NONE)
		return gid;
	if (!group && fstat(fd, &st) == 0)
		group = (uint64_t)st.st_gid + 1;
	if (h)
		atomic_store(&h->group, group);
	return (uint32_t)(group - 1);
}

int
fs_ctx_write(struct fs_ctx *c, struct fs_node *n, struct fs_handle *h, int fd,
	     bool kill)
{
	int err;

	if (!kill || !fs_owners_none(c, n->mount, n->ino)) {
		err = fs_cred_self(&c->t->cred, false);
		if (!err && kill)
			err = fs_kill_bits(c, n, fd);
		if (err || !kill)
			return err;
	}
	return fs_cred_kill(&c->t->cred, caller_group(c, h, fd));
}

/* ------------------------------------------------------------------ */
/* Dispatch. */

static bool
is_served(struct fs_ctx *c)
{
	if (atomic_load_explicit(&c->s->ready, memory_order_acquire) ||
	    (c->op->flags & FS_EARLY))
		return true;
	return c->h.opcode == FUSE_LOOKUP && c->h.nodeid == FUSE_ROOT_ID &&
	       fs_init_resume(c->s);
}

/* The checks, in the order that ARCHITECTURE.md gives. */
static int
check(struct fs_ctx *c)
{
	size_t room = c->req->out_len;
	unsigned flags;
	int err;

	if (!c->op)
		return -ENOSYS;
	flags = c->op->flags;
	if (!is_served(c))
		return -EIO;
	err = fs_decode(c);
	if (err)
		return err;
	if ((flags & FS_WRITES) && fs_is_readonly(c->share))
		return -EROFS;
	if (flags & (FS_FILE_FH | FS_DIR_FH))
		err = find_handle(c);
	else if (!(flags & FS_NONODE))
		err = find_node(c);
	if (err)
		return err;
	if (!(flags & FS_NOREPLY) &&
	    room - sizeof(struct fuse_out_header) < c->op->out)
		return -EINVAL;
	return fs_ctx_become(c);
}

static ssize_t
run(struct fs_ctx *c)
{
	_Alignas(8) char out[sizeof(struct fs_wire_statx_out)];
	struct fs_req *r = c->req;
	ssize_t n = check(c);
	const size_t head = sizeof(struct fuse_out_header);

	if (n || !c->op->run)
		return n;
	fs_zero(out, OUT_MOST);
	if (c->op->out > OUT_MOST)
		memset(out, 0, c->op->out);
	c->body = out;
	n = c->op->run(c, c->t->in, out);
	if (n <= 0 || !c->body)
		return n;
	if ((size_t)n > r->out_len - head)
		return -EINVAL;
	fs_iov_write(r->out, r->nout, head, c->body, (size_t)n);
	return n;
}

/* Answer with a body of n bytes, which is in its place, or with -errno. */
static ssize_t
reply(struct fs_ctx *c, ssize_t n)
{
	struct fs_req *r = c->req;
	struct fuse_out_header h = { .unique = c->h.unique };

	h.len = (uint32_t)(sizeof(h) + (n > 0 ? (size_t)n : 0));
	if (n < 0)
		h.error = fs_is_windows(c->s) ? fs_win_error((int)n) : (int)n;
	fs_iov_write(r->out, r->nout, 0, &h, sizeof(h));
	return h.len;
}

static void
count(const struct fs_req *r)
{
	fs_count(&r->counters->requests, 1);
	if (r->error)
		fs_count(&r->counters->errors, 1);
}

/* The header, once and for all; -errno if there is nothing to answer. */
static int
take_header(struct fs_ctx *c)
{
	struct fs_req *r = c->req;

	if (fs_iov_read(r->in, r->nin, 0, &c->h, sizeof(c->h)) < sizeof(c->h))
		return -EINVAL;
	__atomic_store_n(&r->opcode, c->h.opcode, __ATOMIC_RELAXED);
	__atomic_store_n(&r->unique, c->h.unique, __ATOMIC_RELAXED);
	__atomic_store_n(&r->nodeid, c->h.nodeid, __ATOMIC_RELAXED);
	c->op = fs_op_get(c->h.opcode);
	if (r->out_len < sizeof(struct fuse_out_header) &&
	    !(c->op && (c->op->flags & FS_NOREPLY)))
		return -EINVAL;
	return 0;
}

ssize_t
fs_serve(struct fs_session *session, struct fs_thread *thread,
	 struct fs_req *req)
{
	struct fs_ctx c;
	ssize_t n;

	fs_zero(&c, offsetof(struct fs_ctx, s));
	c.s = session;
	c.share = session->share;
	c.t = thread;
	c.req = req;
	c.may_block = req->flags & FS_MAY_BLOCK;
	c.fd = c.fd2 = -1;
	__atomic_store_n(&req->opcode, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&req->unique, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&req->nodeid, 0, __ATOMIC_RELAXED);
	req->error = take_header(&c);
	if (req->error) {
		fs_count(&req->counters->malformed, 1);
		return 0;
	}
	if (c.h.len >= sizeof(c.h) && c.h.len <= req->in_len) {
		c.in_len = c.h.len - sizeof(c.h);
		n = run(&c);
		let_go(&c);
	} else {
		fs_count(&req->counters->malformed, 1);
		n = -EINVAL;
	}
	if (n == FS_PARKED || n == FS_LATER)
		return n;
	if (req->wait) {
		fs_wait_end(req->wait);
		req->wait = NULL;
	}
	if (n == FS_DEFER) {
		req->flags &= ~(unsigned)FS_MORE;
		req->flags |= c.together ? FS_MORE : 0;
		fs_count(&req->counters->deferred, 1);
		return FS_DEFER;
	}
	if (n == FS_GONE)
		return FS_GONE;
	req->error = n < 0 ? (int)n : 0;
	count(req);
	if (c.op && (c.op->flags & FS_NOREPLY))
		return 0;
	return reply(&c, n);
}

/* ------------------------------------------------------------------ */
/* Threads and counters. */

int
fs_thread_new(struct fs_thread **thread)
{
	struct fs_thread *t = malloc(sizeof(*t));
	int err = t ? fs_cred_init(&t->cred) : -ENOMEM;

	if (err) {
		free(t);
		return err;
	}
	t->in_proc = false;
	t->later = NULL;
	*thread = t;
	return 0;
}

void
fs_thread_free(struct fs_thread *thread)
{
	if (!thread)
		return;
	fs_thread_relax(thread);
	fs_later_free(thread->later);
	free(thread);
}

void
fs_thread_relax(struct fs_thread *thread)
{
	(void)fs_cred_self(&thread->cred, false);
}

void
fs_counters_add(struct fs_counters *to, const struct fs_counters *from)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*t); i++)
		fs_count(&t[i], __atomic_load_n(&f[i], __ATOMIC_RELAXED));
}
