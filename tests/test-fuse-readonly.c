/* SPDX-License-Identifier: MIT */
/* readonly: every request that would change something is refused, changes
 * nothing, and all others are served. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

/* As they would work on a share that may be written. */
static const struct change {
	uint32_t opcode;
	size_t size;
	const char *name, *name2;
	bool file;		/* of the file, not of its directory */
} changes[] = {
	{ FUSE_SETATTR, sizeof(struct fuse_setattr_in), NULL, NULL, true },
	{ FUSE_SYMLINK, 0, "new", "to", false },
	{ FUSE_MKNOD, sizeof(struct fuse_mknod_in), "new", NULL, false },
	{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in), "new", NULL, false },
	{ FUSE_UNLINK, 0, "f", NULL, false },
	{ FUSE_RMDIR, 0, "d", NULL, false },
	{ FUSE_RENAME, sizeof(struct fuse_rename_in), "f", "g", false },
	{ FUSE_RENAME2, sizeof(struct fuse_rename2_in), "f", "g", false },
	{ FUSE_LINK, sizeof(struct fuse_link_in), "new", NULL, false },
	{ FUSE_WRITE, sizeof(struct fuse_write_in) + 1, NULL, NULL, true },
	{ FUSE_SETXATTR, FUSE_COMPAT_SETXATTR_IN_SIZE, "user.a", "v", true },
	{ FUSE_REMOVEXATTR, 0, "user.a", NULL, true },
	{ FUSE_CREATE, sizeof(struct fuse_create_in), "new", NULL, false },
	{ FUSE_TMPFILE, sizeof(struct fuse_create_in), "/", NULL, false },
	{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), NULL, NULL, true },
	{ FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), NULL,
	  NULL, true },
	{ FS_OP_COPY_FILE_RANGE_64, sizeof(struct fuse_copy_file_range_in),
	  NULL, NULL, true },
};

static uint64_t file, fh;

/* The fixed part. */
static void
put(char *p, uint32_t opcode)
{
	switch (opcode) {
	case FUSE_SETATTR:
		memcpy(p, &(uint32_t){ FATTR_SIZE }, 4);
		break;
	case FUSE_MKNOD:
		memcpy(p, &(uint32_t){ S_IFREG | 0644 }, 4);
		break;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		memcpy(p, &(uint64_t){ 1 }, 8);
		break;
	case FUSE_LINK:
		memcpy(p, &file, 8);
		break;
	case FUSE_SETXATTR:
		memcpy(p, &(uint32_t){ 1 }, 4);
		break;
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		memcpy(p, (uint32_t[]){ O_RDWR | O_CREAT, 0644 }, 8);
		break;
	case FUSE_WRITE:
		memcpy(p, &fh, 8);
		memcpy(p + 16, &(uint32_t){ 1 }, 4);
		break;
	case FUSE_FALLOCATE:
		memcpy(p, (uint64_t[]){ fh, 0, 10000 }, 24);
		break;
	case FUSE_COPY_FILE_RANGE:
	case FS_OP_COPY_FILE_RANGE_64:
		memcpy(p, (uint64_t[]){ fh, 0, file, fh, 100, 2, 0 }, 56);
		break;
	}
}

static ssize_t
change(struct fc *c, const struct change *ch)
{
	char bytes[256] = "";

	put(bytes, ch->opcode);
	return fc_call(c, ch->opcode, ch->file ? file : 1, bytes, ch->size,
		       ch->name, ch->name2);
}

/* Open the file, as long as that may be. */
static struct fc *
start(bool readonly)
{
	struct fc *c = fc_new(NULL);

	c->set.xattr = true;
	fc_file(c, "f", "hello");
	mkdirat(c->fd, "d", 0755);
	fc_start(c);
	file = (uint64_t)fc_lookup(c, 1, "f");
	fh = (uint64_t)fc_open(c, file, O_RDWR);
	c->set.readonly = readonly;
	return c;
}

static bool
is_as_it_was(struct fc *c)
{
	struct stat st;

	return !fc_stat(c, "f", &st) && st.st_size == 5 && st.st_nlink == 1 &&
	       !fc_stat(c, "d", &st) && fc_stat(c, "new", &st) == -ENOENT &&
	       fc_stat(c, "g", &st) == -ENOENT;
}

/* That it is the key that stops them. */
static void
test_writable(void)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct fc *c = start(false);
		ssize_t n = change(c, &changes[i]);

		ok(n >= 0 || n == -EOPNOTSUPP || n == -ENODATA,
		   "%s: done (%zd)", fs_op_name(changes[i].opcode), n);
		fc_free(c);
	}
}

static void
test_refused(struct fc *c)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		is_int(change(c, &changes[i]), -EROFS, "%s: refused",
		       fs_op_name(changes[i].opcode));
	ok(is_as_it_was(c), "nothing has changed");
}

/* What depends on how it is asked. */
static void
test_asked(struct fc *c)
{
	struct fuse_access_in want = { .mask = W_OK };

	is_int(fc_open(c, file, O_WRONLY), -EROFS, "OPEN to write");
	is_int(fc_open(c, file, O_RDWR), -EROFS, "OPEN to do both");
	is_int(fc_open(c, file, O_RDONLY | O_TRUNC), -EROFS, "OPEN to empty");
	is_int(fc_call(c, FUSE_ACCESS, file, &want, sizeof(want), NULL, NULL),
	       -EROFS, "ACCESS to write");
	want.mask = R_OK;
	is_int(fc_call(c, FUSE_ACCESS, file, &want, sizeof(want), NULL, NULL),
	       0, "ACCESS to read");
	ok(fc_open(c, file, O_RDONLY) > 0, "OPEN to read");
	is_int(fc_read(c, file, fh, 0, 10), 5, "READ");
	is_int(fc_getattr(c, file, NULL), 0, "GETATTR");
	ok(fc_opendir(c, 1) > 0, "OPENDIR");
	is_int(fc_call(c, FUSE_STATFS, 1, NULL, 0, NULL, NULL),
	       sizeof(struct fuse_statfs_out), "STATFS");
	is_int(fc_release(c, file, fh), 0, "RELEASE");
}

int
main(void)
{
	struct fc *c;

	test_writable();
	c = start(true);
	test_refused(c);
	test_asked(c);
	ok(!c->broken, "replies are exact");
	fc_free(c);
	return tap_done();
}
