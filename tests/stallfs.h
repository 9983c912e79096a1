/* SPDX-License-Identifier: MIT */
/*
 * Storage that hangs when it is told to: a FUSE file system served by a
 * process of the test's own, straight on /dev/fuse.  It has files "f0" to "f7"
 * of STALLFS_SIZE bytes, which can be read and written (what is written is
 * forgotten), and answers every kind of request at once, unless that kind is
 * stalled: then requests of it wait until it is released.  The kernel keeps
 * neither names nor attributes nor data of it.
 */
#ifndef TESTS_STALLFS_H
#define TESTS_STALLFS_H

#include <stdbool.h>
#include <stdint.h>

#define STALLFS_FILES 8
#define STALLFS_SIZE 65536
#define STALLFS_ALL UINT64_MAX

struct stallfs;

/* Let only this process and its children see what it mounts from now on: who
 * else looks at it hangs, too.  0 or -errno. */
int stallfs_hide(void);
/* Mount it on the directory `dir`; 0 or -errno.  Needs root. */
int stallfs_start(const char *dir, struct stallfs **fs);
/* From now on stall these: bits by FUSE opcode; 0 releases all. */
void stallfs_stall(struct stallfs *fs, uint64_t opcodes);
/* Each answer comes so much later; 0 = at once. */
void stallfs_delay(struct stallfs *fs, uint64_t opcodes, unsigned ms);
/* Requests that wait now. */
unsigned stallfs_held(const struct stallfs *fs);
/* Wait until at least n do. */
bool stallfs_wait_held(const struct stallfs *fs, unsigned n, int ms);
/* Requests of that opcode that were answered. */
unsigned stallfs_answered(const struct stallfs *fs, unsigned opcode);
/* Release all and unmount. */
void stallfs_stop(struct stallfs *fs);

#endif
