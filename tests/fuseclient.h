/* SPDX-License-Identifier: MIT */
/*
 * A guest for the tests of fuse/: makes requests as bytes, calls fs_serve() on
 * a temporary directory, and checks what every reply must be: its length
 * exact, its unique the request's, no byte written beyond it.
 */
#ifndef TESTS_FUSECLIENT_H
#define TESTS_FUSECLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "casefold/casefold.h"
#include "conf/share.h"
#include "fuse/fuse.h"
#include "fuse/wire.h"

#define FC_ROOM (1100 * 1024)

struct fc {
	struct conf_share set;
	struct fs_share *share;
	struct cf_share *fold;	/* with set.casefold */
	const char *cache_dir;	/* of it; NULL = none */
	struct cf_state *state;	/* with state_dir */
	const char *state_dir;	/* NULL = nothing is recorded, */
	bool state_xattr;	/* or in attributes */
	struct fs_session *session;
	struct fs_thread *thread;
	struct fs_counters counters;
	char dir[4096];		/* absolute; removed by fc_free */
	int fd;			/* of it */
	uint64_t unique;
	uint32_t uid, gid;	/* of requests */
	uint32_t groups[8];	/* sent as an extension if ngroups */
	unsigned ngroups;
	uint16_t extlen;	/* in the header of a request without any */
	uint32_t file_flags;	/* open(2)'s, sent with WRITE */
	size_t piece;		/* cut buffers into iovecs of this size */
	size_t room;		/* bytes for a whole reply; 0 = enough */
	bool patient;		/* look again at a parked request only when told */
	bool no_block;		/* give FS_DEFER to the test */
	_Atomic unsigned parked;	/* how often a request was */
	bool deferred;		/* the last call was, before it was done */
	bool broken;		/* a reply broke a rule: said with "#" */
	size_t reply_len;	/* of the last call, with the header */
	char out[FC_ROOM];	/* body of the last reply */
};

/*
 * A new directory below `where` (NULL: the build directory) and default
 * settings, which the test may change before fc_start().
 */
struct fc *fc_new(const char *where);
/* Share, session and thread, and INIT as a Linux guest with every flag. */
void fc_start(struct fc *c);
/* The same without INIT. */
void fc_open_share(struct fc *c);
void fc_stop(struct fc *c);	/* it may start again */
void fc_free(struct fc *c);
/* Another guest of the same share; fc_end() it before the first is freed. */
struct fc *fc_guest(struct fc *first);
void fc_end(struct fc *c);

struct fuse_init_out fc_init(struct fc *c, uint32_t minor, uint64_t flags);
/* As the Windows client does it. */
struct fuse_init_out fc_init_windows(struct fc *c);
#define FC_ALL_FLAGS (~(1ULL << 31))

/*
 * One request: header, `in`, then name and name2 with their NULs if not NULL.
 * Returns the length of the body, now in c->out, or -errno.
 */
ssize_t fc_call(struct fc *c, uint32_t opcode, uint64_t node, const void *in,
		size_t size, const char *name, const char *name2);
/* The same with any bytes after the header, whose len says `len`. */
ssize_t fc_raw(struct fc *c, uint32_t opcode, uint64_t node, const void *bytes,
	       size_t size, uint32_t len);

/* Do what was put off; an answer for each, in the order of the requests. */
void fc_together(struct fc *c, ssize_t *answers);

/* Node ids and handles, or -errno. */
int64_t fc_lookup(struct fc *c, uint64_t dir, const char *name);
int64_t fc_mkdir(struct fc *c, uint64_t dir, const char *name, uint32_t mode);
/* CREATE; *fh may be NULL: then it is released at once. */
int64_t fc_create(struct fc *c, uint64_t dir, const char *name, uint32_t flags,
		  uint32_t mode, uint64_t *fh);
int64_t fc_open(struct fc *c, uint64_t node, uint32_t flags);
int64_t fc_opendir(struct fc *c, uint64_t node);
int fc_release(struct fc *c, uint64_t node, uint64_t fh);
int fc_releasedir(struct fc *c, uint64_t node, uint64_t fh);
ssize_t fc_read(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
		uint32_t size);
ssize_t fc_write(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
		 const void *data, uint32_t size, uint32_t flags);
ssize_t fc_readdir(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset,
		   uint32_t size, bool plus);
int fc_getattr(struct fc *c, uint64_t node, struct fuse_attr *attr);
int fc_setattr(struct fc *c, uint64_t node, const struct fuse_setattr_in *in,
	       struct fuse_attr *attr);
int fc_unlink(struct fc *c, uint64_t dir, const char *name);
int fc_rmdir(struct fc *c, uint64_t dir, const char *name);
int fc_rename(struct fc *c, uint64_t dir, const char *name, uint64_t dir2,
	      const char *name2, uint32_t flags);
void fc_forget(struct fc *c, uint64_t node, uint64_t n);
struct fs_info fc_info(struct fc *c);

/* On the host. */
void fc_empty(struct fc *c);	/* removes all that is in the directory */
void fc_file(struct fc *c, const char *name, const char *text);
int fc_stat(struct fc *c, const char *name, struct stat *st);
unsigned fc_count_fds(void);	/* but for those of io_uring */

#endif
