/* SPDX-License-Identifier: MIT */
/* What each key changes: in INIT, and in what is served after it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static uint64_t
agreed(void (*change)(struct conf_share *set))
{
	struct fc *c = fc_new(NULL);
	uint64_t flags;

	if (change)
		change(&c->set);
	fc_start(c);
	flags = fc_info(c).flags;
	fc_free(c);
	return flags;
}

/* clang-format off */
#define CHANGE(name, what) \
	static void name(struct conf_share *set) { what; }
CHANGE(wb, set->writeback = true)
CHANGE(wb_never, (set->writeback = true, set->cache = CONF_CACHE_NEVER))
CHANGE(map, set->allow_mmap = true)
CHANGE(map_never, (set->allow_mmap = true, set->cache = CONF_CACHE_NEVER))
CHANGE(map_data, (set->allow_mmap = true, set->cache = CONF_CACHE_METADATA))
CHANGE(rdp_never, set->cache = CONF_CACHE_NEVER)
CHANGE(rdp_yes, (set->cache = CONF_CACHE_NEVER, set->readdirplus = CONF_AUTO_YES))
CHANGE(rdp_no, set->readdirplus = CONF_AUTO_NO)
CHANGE(no_sub, set->announce_submounts = false)
CHANGE(no_kill, set->killpriv_v2 = CONF_AUTO_NO)
CHANGE(kill, set->killpriv_v2 = CONF_AUTO_YES)
CHANGE(no_idmap, set->allow_idmap = false)
CHANGE(lock, set->locks = CONF_LOCKS_REMOTE)
CHANGE(acl, set->posix_acl = CONF_WHEN_AUTO)
CHANGE(label, set->security_label = CONF_WHEN_AUTO)

static const struct {
	const char *words;
	void (*change)(struct conf_share *);
	uint64_t on, off;
} inits[] = {
	{ "defaults", NULL, FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_SUBMOUNTS | FUSE_CREATE_SUPP_GROUP | FUSE_ALLOW_IDMAP,
	  FUSE_WRITEBACK_CACHE | FUSE_DIRECT_IO_ALLOW_MMAP | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS |
	  FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SECURITY_CTX },
	{ "writeback", wb, FUSE_WRITEBACK_CACHE, 0 },
	{ "writeback, cache = never", wb_never, 0, FUSE_WRITEBACK_CACHE },
	{ "allow_mmap with a cache", map, 0, FUSE_DIRECT_IO_ALLOW_MMAP },
	{ "allow_mmap, cache = never", map_never, FUSE_DIRECT_IO_ALLOW_MMAP, 0 },
	{ "allow_mmap, cache = metadata", map_data, FUSE_DIRECT_IO_ALLOW_MMAP, 0 },
	{ "readdirplus = auto, cache = never", rdp_never, 0, FUSE_DO_READDIRPLUS },
	{ "readdirplus = yes", rdp_yes, FUSE_DO_READDIRPLUS, FUSE_READDIRPLUS_AUTO },
	{ "readdirplus = no", rdp_no, 0, FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO },
	{ "announce_submounts = no", no_sub, 0, FUSE_SUBMOUNTS },
	{ "allow_idmap = no", no_idmap, 0, FUSE_ALLOW_IDMAP },
	{ "killpriv_v2 = no", no_kill, 0, FUSE_HANDLE_KILLPRIV_V2 },
	{ "killpriv_v2 = yes", kill, FUSE_HANDLE_KILLPRIV_V2, 0 },
	{ "locks = remote", lock, FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS, 0 },
	{ "posix_acl = auto", acl, FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT, 0 },
	{ "security_label = auto", label, FUSE_SECURITY_CTX, 0 },
};
/* clang-format on */

static void
test_init(void)
{
	for (size_t i = 0; i < sizeof(inits) / sizeof(inits[0]); i++) {
		uint64_t flags = agreed(inits[i].change);

		ok((flags & inits[i].on) == inits[i].on &&
		   !(flags & inits[i].off), "INIT: %s", inits[i].words);
	}
}

/* A guest whose file capabilities have another name must drop them itself. */
static void
test_moved_caps(void)
{
	struct conf_xattr_rule rule = { CONF_XATTR_PREFIX,
					CONF_XATTR_CLIENT | CONF_XATTR_SERVER,
					(char *)"", (char *)"user.g." };
	struct fc *c = fc_new(NULL);

	c->set.killpriv_v2 = CONF_AUTO_YES;
	c->set.xattr_rules.v = &rule;
	c->set.xattr_rules.n = 1;
	fc_start(c);
	ok(!(fc_info(c).flags & FUSE_HANDLE_KILLPRIV_V2),
	   "no killpriv_v2 when security.capability is moved");
	fc_free(c);
}

/* How the file "f" is open in this process. */
static int
host_flags(struct fc *c)
{
	struct stat want, st;

	fc_stat(c, "f", &want);
	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFL);

		if (flags >= 0 && !(flags & O_PATH) && !fstat(fd, &st) &&
		    st.st_ino == want.st_ino && st.st_dev == want.st_dev)
			return flags;
	}
	return 0;
}

static void
test_writeback(void)
{
	struct fuse_lseek_in seek = { .whence = SEEK_HOLE };
	struct fc *c = fc_new(NULL);
	uint64_t fh, id;

	c->set.writeback = true;
	fc_start(c);
	id = (uint64_t)fc_create(c, 1, "f", O_WRONLY | O_APPEND, 0644, &fh);
	c->file_flags = O_WRONLY | O_APPEND;
	fc_write(c, id, fh, 0, "0123456789", 10, 0);
	is_int(fc_write(c, id, fh, 2, "xx", 2, 0), 2,
	       "writeback: the guest knows where the end is");
	is_int(fc_read(c, id, fh, 0, 100), 10, "and reads what it only writes");
	ok(!memcmp(c->out, "01xx456789", 10), "data");
	seek.fh = fh;
	is_int(fc_call(c, FUSE_LSEEK, id, &seek, sizeof(seek), NULL, NULL),
	       -ENOSYS, "and alone knows where data is");
	fc_release(c, id, fh);
	fc_free(c);
}

static void
test_open_flags(void)
{
	struct fc *c = fc_new(NULL);
	int64_t fh;
	uint64_t id;

	fc_file(c, "f", "text");
	fc_start(c);
	id = (uint64_t)fc_lookup(c, 1, "f");
	fh = fc_open(c, id, O_RDONLY | O_NOATIME | O_DIRECT);
	ok(!(host_flags(c) & (O_NOATIME | O_DIRECT)),
	   "O_NOATIME and O_DIRECT stay with the guest");
	fc_release(c, id, (uint64_t)fh);
	c->set.preserve_noatime = true;
	fh = fc_open(c, id, O_RDONLY | O_NOATIME);
	ok(host_flags(c) & O_NOATIME, "preserve_noatime");
	fc_release(c, id, (uint64_t)fh);
	fc_free(c);
}

static void
truncateat(struct fc *c, const char *name, off_t size)
{
	int fd = openat(c->fd, name, O_WRONLY | O_CLOEXEC);

	if (ftruncate(fd, size) < 0)
		printf("# %s: %s\n", name, strerror(errno));
	close(fd);
}

static void
test_direct(void)
{
	static char data[65536];
	struct fc *c = fc_new(NULL);
	uint64_t fh, id;
	int64_t n;

	memset(data, 'd', sizeof(data));
	c->set.allow_direct_io = true;
	fc_start(c);
	c->piece = 777;		/* nothing is aligned */
	n = fc_create(c, 1, "f", O_RDWR | O_DIRECT, 0644, &fh);
	if (n < 0) {
		is_int(n, -EINVAL, "O_DIRECT is not possible here");
		fc_free(c);
		return;
	}
	id = (uint64_t)n;
	ok(host_flags(c) & O_DIRECT, "allow_direct_io");
	is_int(fc_write(c, id, fh, 0, data, sizeof(data), 0), sizeof(data),
	       "O_DIRECT write from any memory");
	is_int(fc_read(c, id, fh, 4096, sizeof(data)), sizeof(data) - 4096,
	       "O_DIRECT read up to the end");
	ok(!memcmp(c->out, data, sizeof(data) - 4096), "data");
	n = fc_write(c, id, fh, 65536, data, 100, 0);
	ok(n == -EINVAL || n == 100, "a part of a block: as the host has it");
	is_int(fc_write(c, id, fh, 65536, data, 100, FUSE_WRITE_CACHE), 100,
	       "but the guest's cache may end with one");
	is_int(fc_read(c, id, fh, 65536, 4096), 100, "which is read");
	fc_file(c, "f", "");
	truncateat(c, "f", 8192);
	c->file_flags = O_RDWR | O_APPEND | O_DIRECT;
	is_int(fc_write(c, id, fh, 0, data, 4096, 0), 4096,
	       "O_APPEND: goes where the host's file ends");
	is_int(fc_read(c, id, fh, 8192, 65536), 4096, "O_APPEND: that is there");
	c->file_flags = 0;
	fc_release(c, id, fh);
	fc_free(c);
}

static void
test_crossmnt(void)
{
	struct fc *c = fc_new(NULL);
	char *own = c->set.path;
	struct fuse_entry_out e;
	struct stat root, sub;

	stat("/", &root);
	stat("/proc", &sub);
	c->set.path = (char *)"/";
	if (root.st_dev == sub.st_dev)
		printf("# /proc is no mount\n");
	fc_start(c);
	ok(fc_lookup(c, 1, "proc") > 1, "a submount is entered");
	memcpy(&e, c->out, sizeof(e));
	ok(e.attr.flags & FUSE_ATTR_SUBMOUNT, "and announced");
	c->set.crossmnt = false;
	is_int(fc_lookup(c, 1, "proc"), -EACCES, "crossmnt = no");
	is_int(fc_getattr(c, e.nodeid, &e.attr), -EACCES,
	       "nor by one who has entered it before");
	ok(fc_lookup(c, 1, "usr") > 1 || fc_lookup(c, 1, "etc") > 1,
	   "other directories are");
	c->set.path = own;
	fc_free(c);

	c = fc_new(NULL);
	own = c->set.path;
	c->set.path = (char *)"/";
	c->set.crossmnt = false;
	fc_start(c);
	is_int(fc_lookup(c, 1, "proc"), -EACCES, "one that was never seen");
	c->set.path = own;
	fc_free(c);
}

static ssize_t
ioctl_call(struct fc *c, uint64_t id, uint64_t fh, unsigned long cmd,
	   const void *in, uint32_t in_size, uint32_t out_size)
{
	char bytes[sizeof(struct fuse_ioctl_in) + 64];
	struct fuse_ioctl_in arg = { .fh = fh, .cmd = (uint32_t)cmd,
				     .in_size = in_size, .out_size = out_size };

	memcpy(bytes, &arg, sizeof(arg));
	if (in_size)
		memcpy(bytes + sizeof(arg), in, in_size);
	return fc_call(c, FUSE_IOCTL, id, bytes, sizeof(arg) + in_size, NULL,
		       NULL);
}

static void
test_ioctl(void)
{
	struct fc *c = fc_new(NULL);
	size_t head = sizeof(struct fuse_ioctl_out);
	struct fsxattr x;
	uint64_t fh, id;
	ssize_t n;
	int flags;

	fc_start(c);
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0644, &fh);
	is_int(ioctl_call(c, id, fh, FIBMAP, NULL, 0, 4), -ENOTTY,
	       "IOCTL: an unknown command");
	is_int(ioctl_call(c, id, 999, FS_IOC_GETFLAGS, NULL, 0, 4), -EBADF,
	       "no handle");
	is_int(ioctl_call(c, 1, fh, FS_IOC_GETFLAGS, NULL, 0, 4), -EBADF,
	       "another node's handle");
	n = ioctl_call(c, id, fh, FS_IOC_GETFLAGS, NULL, 0, 4);
	if (n == -ENOTTY || n == -EOPNOTSUPP) {
		tap_skip("flags of inodes", "not on this file system");
		fc_free(c);
		return;
	}
	is_int(n, head + 4, "GETFLAGS");
	memcpy(&flags, c->out + head, 4);
	is_int(ioctl_call(c, id, fh, FS_IOC_GETFLAGS, NULL, 0, 3), -EINVAL,
	       "no room");
	flags |= FS_NOATIME_FL | FS_NODUMP_FL;
	is_int(ioctl_call(c, id, fh, FS_IOC_SETFLAGS, &flags, 4, 0), head,
	       "SETFLAGS");
	is_int(ioctl_call(c, id, fh, FS_IOC_SETFLAGS, &flags, 3, 0), -EINVAL,
	       "too short");
	ioctl_call(c, id, fh, FS_IOC_GETFLAGS, NULL, 0, 4);
	ok(!memcmp(&flags, c->out + head, 4), "are set");
	flags |= FS_PROJINHERIT_FL;
	is_int(ioctl_call(c, id, fh, FS_IOC_SETFLAGS, &flags, 4, 0), -EPERM,
	       "not the project's");
	n = ioctl_call(c, id, fh, FS_IOC_FSGETXATTR, NULL, 0, sizeof(x));
	if (n == (ssize_t)(head + sizeof(x))) {
		ok(1, "FSGETXATTR");
		memcpy(&x, c->out + head, sizeof(x));
		is_int(ioctl_call(c, id, fh, FS_IOC_FSSETXATTR, &x, sizeof(x),
				  0), head, "FSSETXATTR");
		x.fsx_projid++;
		is_int(ioctl_call(c, id, fh, FS_IOC_FSSETXATTR, &x, sizeof(x),
				  0), -EPERM, "not the project's number");
	} else {
		is_int(n, -ENOTTY, "FSGETXATTR is not there");
	}
	c->set.readonly = true;
	is_int(ioctl_call(c, id, fh, FS_IOC_SETFLAGS, &flags, 4, 0), -EROFS,
	       "nothing is set on a read-only share");
	fc_release(c, id, fh);
	fh = (uint64_t)fc_opendir(c, 1);
	is_int(ioctl_call(c, 1, fh, FS_IOC_GETFLAGS, NULL, 0, 4), head + 4,
	       "of directories, too");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

/* ------------------------------------------------------------------ */
/* Labels. */

static size_t
put_label(char *p, const char *name, const char *value)
{
	struct fuse_secctx_header head = { .nr_secctx = 1 };
	struct fuse_secctx ctx = { .size = (uint32_t)strlen(value) };
	size_t n = sizeof(head) + sizeof(ctx), len = strlen(name) + 1;

	head.size = (uint32_t)((n + len + ctx.size + 7) & ~7UL);
	memset(p, 0, head.size);
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), &ctx, sizeof(ctx));
	memcpy(p + n, name, len);
	memcpy(p + n + len, value, ctx.size);
	return head.size;
}

/* One request to make `name`, with a label behind the names. */
static ssize_t
make(struct fc *c, uint32_t op, const void *arg, size_t size, const char *name,
     const char *target, const char *label_name)
{
	char bytes[1024], *p = bytes;
	struct fuse_in_header h = { .opcode = op, .nodeid = 1, .unique = 1 };
	struct iovec in = { .iov_base = bytes }, out = { c->out, 8192 };
	struct fs_req r = { .in = &in, .nin = 1, .out = &out, .nout = 1,
			    .out_len = 8192, .counters = &c->counters };
	struct fuse_out_header oh;
	size_t ext;

	p += sizeof(h);
	if (size)
		memcpy(p, arg, size);
	p += size;
	p = stpcpy(p, name) + 1;
	if (target)
		p = stpcpy(p, target) + 1;
	ext = put_label(p, label_name, "a_label");
	p += ext;
	h.len = (uint32_t)(p - bytes);
	if (fc_info(c).minor >= 38)
		h.total_extlen = (uint16_t)(ext / 8);
	memcpy(bytes, &h, sizeof(h));
	in.iov_len = r.in_len = h.len;
	fs_serve(c->session, c->thread, &r);
	memcpy(&oh, c->out, sizeof(oh));
	return oh.error;
}

static void
test_labels(uint32_t minor)
{
	struct conf_xattr_rule rule = { CONF_XATTR_PREFIX,
					CONF_XATTR_CLIENT | CONF_XATTR_SERVER,
					(char *)"security.",
					(char *)"user.virtiofs." };
	static const char on_host[] = "user.virtiofs.security.selinux";
	struct fuse_mkdir_in dir = { .mode = 0755 };
	struct fuse_create_in file = { .mode = 0600, .flags = O_RDWR };
	struct fuse_mknod_in fifo = { .mode = S_IFREG | 0600 };
	struct fc *c = fc_new(NULL);
	char path[5000], value[20] = "";
	struct stat st;

	c->set.security_label = CONF_WHEN_AUTO;
	c->set.xattr_rules.v = &rule;
	c->set.xattr_rules.n = 1;
	fc_open_share(c);
	fc_init(c, minor, FC_ALL_FLAGS);
	is_int(make(c, FUSE_MKDIR, &dir, sizeof(dir), "d", NULL,
		    "security.selinux"), 0, "7.%u: MKDIR with a label", minor);
	snprintf(path, sizeof(path), "%s/d", c->dir);
	is_int(getxattr(path, on_host, value, 20), 7, "it is set");
	is_str(value, "a_label", "as it was sent");
	is_int(make(c, FUSE_CREATE, &file, sizeof(file), "f", NULL,
		    "security.selinux"), 0, "CREATE");
	snprintf(path, sizeof(path), "%s/f", c->dir);
	is_int(getxattr(path, on_host, value, 20), 7, "it is set");
	is_int(make(c, FUSE_MKNOD, &fifo, sizeof(fifo), "n", NULL,
		    "security.selinux"), 0, "MKNOD");
	snprintf(path, sizeof(path), "%s/n", c->dir);
	is_int(getxattr(path, on_host, value, 20), 7, "it is set");
	is_int(make(c, FUSE_MKDIR, &dir, sizeof(dir), "no", NULL, "trusted.x"),
	       -EPERM, "a label that cannot be");
	is_int(fc_stat(c, "no", &st), -ENOENT, "makes nothing");
	is_int(make(c, FUSE_CREATE, &file, sizeof(file), "no", NULL,
		    "trusted.x"), -EPERM, "nor does CREATE");
	is_int(fc_stat(c, "no", &st), -ENOENT, "make a file");
	/* user's attributes are not for links. */
	is_int(make(c, FUSE_SYMLINK, NULL, 0, "l", "to", "security.selinux"),
	       -EPERM, "a link cannot have this one");
	is_int(fc_stat(c, "l", &st), -ENOENT, "and is not made");
	fc_free(c);
}

static void
test_label_always(void)
{
	struct fc *c = fc_new(NULL);

	c->set.security_label = CONF_WHEN_ALWAYS;
	fc_open_share(c);
	fc_init(c, 45, FC_ALL_FLAGS & ~(uint64_t)FUSE_SECURITY_CTX);
	ok(!fc_info(c).ready, "security_label = always refuses other guests");
	fc_free(c);
}

int
main(void)
{
	test_init();
	test_moved_caps();
	test_writeback();
	test_open_flags();
	test_direct();
	test_crossmnt();
	test_ioctl();
	test_labels(45);
	test_labels(37);
	test_label_always();
	return tap_done();
}
