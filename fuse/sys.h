/* SPDX-License-Identifier: MIT */
/*
 * System calls of the hot path, made where they are needed.  Behind a system
 * call many kernels and hypervisors leave the processor without an idea of
 * where to return to, so each function on the way back costs; the C library's
 * are two, and some of them are cancellation points, too.
 */
#ifndef FUSE_SYS_H
#define FUSE_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* What call `nr` returns, or -errno. */
static inline __attribute__((always_inline)) long
fs_sys(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__) && defined(__LP64__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "+a"(nr)
			 : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return nr;
#elif defined(__aarch64__) && defined(__LP64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4),
			   "r"(x5)
			 : "memory");
	return x0;
#else
	long r = syscall(nr, a, b, c, d, e, f);

	return r < 0 ? -errno : r;
#endif
}

/* These are named like the C library's, and return -errno. */

/* Of the descriptor itself: what statx("") tells, too, which looks at the empty
 * name first. */
static inline int
fs_fstat(int fd, struct stat *st)
{
#ifdef __LP64__		/* elsewhere the kernel's struct is another one */
	return (int)fs_sys(SYS_fstat, fd, (long)st, 0, 0, 0, 0);
#else
	return fstat(fd, st) < 0 ? -errno : 0;
#endif
}

static inline int
fs_close(int fd)
{
	return (int)fs_sys(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline int
fs_openat(int dir, const char *name, int flags, mode_t mode)
{
	return (int)fs_sys(SYS_openat, dir, (long)name, flags | O_LARGEFILE,
			   mode, 0, 0);
}

static inline int
fs_unlinkat(int dir, const char *name, int flags)
{
	return (int)fs_sys(SYS_unlinkat, dir, (long)name, flags, 0, 0, 0);
}

static inline int
fs_open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
	return (int)fs_sys(SYS_open_by_handle_at, mount, (long)handle,
			   flags | O_LARGEFILE, 0, 0, 0);
}

static inline int
fs_name_to_handle_at(int fd, const char *name, struct file_handle *handle,
		     int *mount_id, int flags)
{
	return (int)fs_sys(SYS_name_to_handle_at, fd, (long)name, (long)handle,
			   (long)mount_id, flags, 0);
}

#endif
