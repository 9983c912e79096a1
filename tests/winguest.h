/* SPDX-License-Identifier: MIT */
/*
 * What applications do on a Windows guest, as the requests that the service
 * of virtio-win sends for it: no cache of names, every path walked from the
 * root, attributes asked for after each change, FORGET for deleted files only
 * (older clients) or never.
 *
 * Needs a guest of a Windows kind after guest_init().  Paths use '/'.  Calls
 * return as those of guest.h; a node id that comes back for a new file though
 * it is known fails as it does in that client.
 */
#ifndef TESTS_WINGUEST_H
#define TESTS_WINGUEST_H

#include "tests/guest.h"

struct win_map;			/* the client's own table of node ids */

struct win {
	struct guest *guest;
	struct win_map *map;
	bool forgets;		/* FORGET after a deletion (older clients) */
	uint32_t uid, gid;	/* what the root showed last: sent in CREATE */
	unsigned long requests;	/* LOOKUPs sent by walking */
};

struct win_file {
	uint64_t nodeid, fh;
	bool dir;
};

int win_init(struct win *w, struct guest *g);
void win_fini(struct win *w);

/* The service starts: INIT, STATFS, the root. */
int win_mount(struct win *w);

/* Every word of the path by LOOKUP; the root by LOOKUP "." */
int win_walk(struct win *w, const char *path, struct fuse_entry_out *out);

/* CreateFile of what exists: two walks and OPEN or OPENDIR. */
int win_open(struct win *w, const char *path, uint32_t accmode,
	     struct win_file *f);
/* CreateFile CREATE_NEW, CreateDirectory. */
int win_create(struct win *w, const char *path, struct win_file *f);
int win_mkdir(struct win *w, const char *path, struct win_file *f);
int win_close(struct win *w, struct win_file *f);

/* In pieces of max_pages and max_write; WRITE is followed by GETATTR. */
long win_read(struct win *w, struct win_file *f, uint64_t offset, void *buf,
	      size_t size);
long win_write(struct win *w, struct win_file *f, uint64_t offset,
	       const void *buf, size_t size);
int win_flush(struct win *w, struct win_file *f);

/* FindFirstFile and so on: `each` for every entry, "." and ".." too. */
int win_list(struct win *w, const char *path,
	     void (*each)(void *arg, const struct guest_dirent *d), void *arg);
int win_delete(struct win *w, const char *path, bool dir);
int win_rename(struct win *w, const char *from, const char *to, bool replace);

#endif
