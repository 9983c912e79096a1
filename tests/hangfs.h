/* SPDX-License-Identifier: MIT */
/*
 * A FUSE file system whose server answers INIT and OPEN and nothing else, as
 * one whose server is gone: whoever asks it waits.  Its root, the only file,
 * is a directory or a regular file.  Needs root and /dev/fuse.
 */
#ifndef TESTS_HANGFS_H
#define TESTS_HANGFS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct hangfs {
	int fd;
	char path[256];
	pthread_t thread;
	atomic_uint waiting;		/* requests that got no answer */
};

static void
hangfs_answer(struct hangfs *h, uint64_t unique, const void *body, size_t size)
{
	char reply[256] = { 0 };
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + size),
		.unique = unique,
	};

	memcpy(reply, &out, sizeof(out));
	memcpy(reply + sizeof(out), body, size);
	if (write(h->fd, reply, out.len) < 0)
		printf("# hangfs: %s\n", strerror(errno));
}

static void *
hangfs_serve(void *arg)
{
	static const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 31,
		.max_write = 65536,
	};
	static const struct fuse_open_out opened;
	struct hangfs *h = arg;
	char *buf = malloc(1 << 20);
	struct fuse_in_header *in = (struct fuse_in_header *)buf;
	ssize_t n = 0;

	while (buf && (n >= 0 || errno == EINTR || errno == ENOENT)) {
		n = read(h->fd, buf, 1 << 20);
		if (n < (ssize_t)sizeof(*in))
			continue;
		if (in->opcode == FUSE_INIT)
			hangfs_answer(h, in->unique, &init, sizeof(init));
		else if (in->opcode == FUSE_OPEN || in->opcode == FUSE_OPENDIR)
			hangfs_answer(h, in->unique, &opened, sizeof(opened));
		else if (in->opcode != FUSE_FORGET)
			h->waiting++;
	}
	free(buf);
	return NULL;
}

/* `path` is there and of that type, S_IFDIR or S_IFREG.  0 or -errno. */
static int
hangfs_start(struct hangfs *h, const char *path, mode_t type)
{
	char options[128];

	memset(h, 0, sizeof(*h));
	snprintf(h->path, sizeof(h->path), "%s", path);
	h->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (h->fd < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=0,"
		 "group_id=0,allow_other", h->fd, type);
	if (mount("hangfs", path, "fuse.hangfs", MS_NOSUID | MS_NODEV,
		  options) ||
	    pthread_create(&h->thread, NULL, hangfs_serve, h)) {
		close(h->fd);
		return -errno;
	}
	return 0;
}

/* Who waits gets an error now. */
static void
hangfs_stop(struct hangfs *h)
{
	umount2(h->path, MNT_FORCE);
	umount2(h->path, MNT_DETACH);
	pthread_join(h->thread, NULL);
	close(h->fd);
}

#endif
