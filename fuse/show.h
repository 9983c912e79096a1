/* SPDX-License-Identifier: MIT */
/*
 * Requests as text, for traces: the column `show` of the opcode table.  Each
 * prints the arguments of one kind of request.
 */
#ifndef FUSE_SHOW_H
#define FUSE_SHOW_H

#include <stddef.h>

struct fs_text {
	char *buf;
	size_t size, len;	/* len counts what did not fit, too */
};
void fs_show_access(struct fs_text *t, const void *in);
void fs_show_copy(struct fs_text *t, const void *in);
void fs_show_create(struct fs_text *t, const void *in);
void fs_show_fallocate(struct fs_text *t, const void *in);
void fs_show_fh(struct fs_text *t, const void *in);
void fs_show_forget(struct fs_text *t, const void *in);
void fs_show_fsync(struct fs_text *t, const void *in);
void fs_show_getattr(struct fs_text *t, const void *in);
void fs_show_ioctl(struct fs_text *t, const void *in);
void fs_show_init(struct fs_text *t, const void *in);
void fs_show_link(struct fs_text *t, const void *in);
void fs_show_lseek(struct fs_text *t, const void *in);
void fs_show_mkdir(struct fs_text *t, const void *in);
void fs_show_mknod(struct fs_text *t, const void *in);
void fs_show_open(struct fs_text *t, const void *in);
void fs_show_read(struct fs_text *t, const void *in);
void fs_show_rename(struct fs_text *t, const void *in);
void fs_show_rename2(struct fs_text *t, const void *in);
void fs_show_lk(struct fs_text *t, const void *in);
void fs_show_getxattr(struct fs_text *t, const void *in);
void fs_show_setxattr(struct fs_text *t, const void *in);
void fs_show_setattr(struct fs_text *t, const void *in);
void fs_show_write(struct fs_text *t, const void *in);

#endif
