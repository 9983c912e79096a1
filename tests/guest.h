/* SPDX-License-Identifier: MIT */
/*
 * A FUSE client in a pretend virtual machine (tests/vm.h), for tests: a call
 * per request, which waits for the answer, and a raw call for everything else.
 *
 * Two personalities.  Linux: header, arguments and pages in pieces of their
 * own, an indirect table per request, many requests in flight, FORGET with
 * nothing to write into.  Windows: as the virtio-win driver and its service
 * do: pieces that never cross a page, one indirect table for the whole device,
 * one request in flight, FORGET with 16 bytes to write into, garbage in every
 * field that this client leaves unset.
 *
 * Calls return what the device answered: 0 or more, or its -errno.  When an
 * answer breaks the rules (length not exact, bytes written behind its end,
 * another unique), or none comes, they return GUEST_BROKEN and guest_why()
 * tells why.  A guest belongs to one thread.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include "tests/vm.h"

#include <linux/fuse.h>

#define GUEST_BROKEN (-10000)		/* no errno of anybody */
#define GUEST_ROOT 1			/* node id */
#define GUEST_DATA_MAX (1u << 20)	/* bytes of one READ or WRITE */

enum guest_kind {
	GUEST_LINUX,
	GUEST_WINDOWS_A,	/* READ into one buffer (drivers to 2025) */
	GUEST_WINDOWS_B,	/* READ into header and user pages (2026) */
};

struct guest;

struct guest_settings {
	enum guest_kind kind;
	struct vm_settings vm;	/* mem_size 0 = what the slots need */
	unsigned nslots;	/* requests in flight; 0 = 16; Windows: 1 */
};

int guest_open(const char *path, const struct guest_settings *set,
	       struct guest **guest, char **why);
void guest_close(struct guest *g);	/* hangs up, without DESTROY */

struct vm *guest_vm(struct guest *g);	/* to misbehave with */
const char *guest_why(const struct guest *g);
enum guest_kind guest_kind(const struct guest *g);
/* Whose requests the next ones are. */
void guest_as(struct guest *g, uint32_t uid, uint32_t gid);
/* The next requests go to queue `q`. */
void guest_use_queue(struct guest *g, unsigned q);
/* Wait this long for an answer; -1 as the machine was opened. */
void guest_set_timeout(struct guest *g, int ms);
/* What INIT agreed. */
uint32_t guest_max_write(const struct guest *g);
uint32_t guest_max_pages(const struct guest *g);

/* ------------------------------------------------------------------ */
/* Raw requests. */

#define GUEST_PIECES 4

struct guest_req {
	uint32_t opcode;
	uint64_t nodeid;
	struct iovec in[GUEST_PIECES];	/* behind the header; len 0 = end */
	size_t room;		/* bytes behind the answer's header */
	bool no_reply;		/* nothing to write into */
	uint32_t len;		/* of the header; 0 = the true one */
	uint64_t unique;	/* 0 = the next one */
};

/* Send and wait; `out` takes up to `room` bytes of payload.  Bytes of
 * payload, -errno of the device, or GUEST_BROKEN. */
int guest_call(struct guest *g, const struct guest_req *req, void *out);

/* The same in two steps: an id, or GUEST_BROKEN when no slot is free; each id
 * must be waited for once.  Several may be out (Linux). */
int guest_send(struct guest *g, const struct guest_req *req);
int guest_wait(struct guest *g, int id, void *out);

/* ------------------------------------------------------------------ */
/* Requests.  Names are NUL-terminated; sizes and modes as the kernel's. */

int guest_init(struct guest *g, struct fuse_init_out *out);
/* INIT with flags of the caller's choice. */
int guest_init_flags(struct guest *g, uint64_t flags,
		     struct fuse_init_out *out);
int guest_destroy(struct guest *g);
int guest_lookup(struct guest *g, uint64_t parent, const char *name,
		 struct fuse_entry_out *out);
int guest_forget(struct guest *g, uint64_t nodeid, uint64_t nlookup);
int guest_batch_forget(struct guest *g, const struct fuse_forget_one *v,
		       uint32_t n);
/* fh 0 = by node id */
int guest_getattr(struct guest *g, uint64_t nodeid, uint64_t fh,
		  struct fuse_attr_out *out);
int guest_setattr(struct guest *g, uint64_t nodeid,
		  const struct fuse_setattr_in *in, struct fuse_attr_out *out);
int guest_readlink(struct guest *g, uint64_t nodeid, char *buf, size_t size);
int guest_symlink(struct guest *g, uint64_t parent, const char *name,
		  const char *target, struct fuse_entry_out *out);
int guest_mknod(struct guest *g, uint64_t parent, const char *name,
		uint32_t mode, uint32_t rdev, struct fuse_entry_out *out);
int guest_mkdir(struct guest *g, uint64_t parent, const char *name,
		uint32_t mode, struct fuse_entry_out *out);
int guest_unlink(struct guest *g, uint64_t parent, const char *name);
int guest_rmdir(struct guest *g, uint64_t parent, const char *name);
int guest_rename(struct guest *g, uint64_t from, const char *name, uint64_t to,
		 const char *new_name);
int guest_rename2(struct guest *g, uint64_t from, const char *name,
		  uint64_t to, const char *new_name, uint32_t flags);
int guest_link(struct guest *g, uint64_t nodeid, uint64_t parent,
	       const char *name, struct fuse_entry_out *out);
int guest_create(struct guest *g, uint64_t parent, const char *name,
		 uint32_t flags, uint32_t mode, struct fuse_entry_out *out,
		 uint64_t *fh);
int guest_open_file(struct guest *g, uint64_t nodeid, uint32_t flags,
		    uint64_t *fh);
int guest_read(struct guest *g, uint64_t nodeid, uint64_t fh, uint64_t offset,
	       void *buf, uint32_t size);
int guest_write(struct guest *g, uint64_t nodeid, uint64_t fh, uint64_t offset,
		const void *buf, uint32_t size);
int guest_release(struct guest *g, uint64_t nodeid, uint64_t fh);
int guest_flush(struct guest *g, uint64_t nodeid, uint64_t fh);
int guest_fsync(struct guest *g, uint64_t nodeid, uint64_t fh, bool datasync);
int guest_fallocate(struct guest *g, uint64_t nodeid, uint64_t fh,
		    uint64_t offset, uint64_t length, uint32_t mode);
int guest_statfs(struct guest *g, struct fuse_statfs_out *out);
int guest_access(struct guest *g, uint64_t nodeid, uint32_t mask);
int guest_opendir(struct guest *g, uint64_t nodeid, uint64_t *fh);
int guest_releasedir(struct guest *g, uint64_t nodeid, uint64_t fh);
int guest_fsyncdir(struct guest *g, uint64_t nodeid, uint64_t fh);
/* READDIR, or READDIRPLUS when `plus`: bytes of entries. */
int guest_readdir(struct guest *g, uint64_t nodeid, uint64_t fh,
		  uint64_t offset, bool plus, void *buf, uint32_t size);

struct guest_dirent {
	const struct fuse_entry_out *entry;	/* NULL from READDIR */
	uint64_t ino, off;
	uint32_t type;
	char name[256];
};

/* Take the entry at *pos: 1, 0 at the end, GUEST_BROKEN when it is no entry. */
int guest_dirent(const void *buf, size_t len, bool plus, size_t *pos,
		 struct guest_dirent *d);

/* Look up each word of a path below the root; "" is the root itself, which
 * is not looked up (out->nodeid only). */
int guest_walk(struct guest *g, const char *path, struct fuse_entry_out *out);

#endif
