/* SPDX-License-Identifier: MIT */
/*
 * What the FUSE protocol gained after the linux/fuse.h of the oldest system we
 * build on (7.38 without its extensions): 7.38 .. 7.46.  Structs and opcodes
 * carry our prefix, so that a newer linux/fuse.h does not collide with them.
 * (What 7.42 .. 7.44 and 7.46 brought is never agreed on.)
 */
#ifndef FUSE_WIRE_H
#define FUSE_WIRE_H

#include <linux/fuse.h>

#define FS_PROTO_MAJOR 7
#define FS_PROTO_MINOR 46	/* newest minor whose requests we know */
#define FS_PROTO_MINOR_MIN 27	/* oldest guest we serve */

/* INIT flags; they are macros in linux/fuse.h too. */
#ifndef FUSE_CREATE_SUPP_GROUP
#define FUSE_CREATE_SUPP_GROUP	(1ULL << 34)
#endif
#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif
#ifndef FUSE_NO_EXPORT_SUPPORT
#define FUSE_NO_EXPORT_SUPPORT	(1ULL << 38)
#endif
#ifndef FUSE_ALLOW_IDMAP
#define FUSE_ALLOW_IDMAP	(1ULL << 40)
#endif

/* No caller: the guest kernel could not or need not say who asks. */
#define FS_ID_NONE ((uint32_t)-1)

/* Opcodes. */
enum {
	FS_OP_STATX = 52,		/* 7.39 */
	FS_OP_COPY_FILE_RANGE_64 = 53,	/* 7.45 */
};

/* Types of fuse_ext_header; those below 32 are security contexts. */
enum {
	FS_EXT_GROUPS = 32,		/* 7.38 */
};

struct fs_wire_groups {
	uint32_t nr_groups;
	uint32_t groups[];
};

struct fs_wire_statx_in {
	uint32_t getattr_flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fs_wire_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct fs_wire_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0;
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fs_wire_time atime;
	struct fs_wire_time btime;
	struct fs_wire_time ctime;
	struct fs_wire_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};

struct fs_wire_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec;
	uint32_t flags;
	uint64_t spare[2];
	struct fs_wire_statx stat;
};

struct fs_wire_copy64_out {
	uint64_t bytes_copied;
};

#endif
