/* SPDX-License-Identifier: MIT */
/* fscheck: locks between processes and open files, and when they end. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/fscheck.h"
#include "tests/tap.h"

/* 0 or -errno. */
static int
lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock fl = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &fl) < 0 ? -errno : 0;
}

/* What stands in the way of a lock to write? */
static int
holder(int fd, int cmd, off_t start, off_t len)
{
	struct flock fl = { .l_type = F_WRLCK, .l_start = start,
			    .l_len = len };

	return fcntl(fd, cmd, &fl) < 0 ? -errno : fl.l_type;
}

static int
open_lock(void)
{
	return open("lock", O_RDWR | O_CREAT, 0644);
}

/* May another process lock that? */
static int
from_another(int cmd)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(lock(open_lock(), cmd, F_WRLCK, 0, 10) ? 1 : 0);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static void
processes(void)
{
	int fd = open_lock(), fd2 = open_lock();

	is_int(lock(fd, F_SETLK, F_WRLCK, 5, 1), 0, "locks: a process");
	is_int(lock(fd2, F_SETLK, F_WRLCK, 0, 10), 0,
	       "locks: is not in its own way");
	is_int(from_another(F_SETLK), 1, "locks: but in another's");
	is_int(from_another(F_OFD_SETLK), 1, "locks: and an open file's");
	close(fd2);
	is_int(from_another(F_SETLK), 0, "locks: end when it closes any file");
	close(fd);
}

/* Each round takes the lock anew, so it must have ended with the last. */
static void
open_files(void)
{
	int fd, fd2, copy;

	for (int i = 0; i < 3; i++) {
		fd = open_lock();
		fd2 = open_lock();
		copy = dup(fd);
		is_int(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10), 0,
		       "locks: an open file");
		is_int(lock(fd2, F_OFD_SETLK, F_WRLCK, 5, 1), -EAGAIN,
		       "locks: is in another's way");
		is_int(holder(fd2, F_OFD_GETLK, 0, 30), F_WRLCK,
		       "locks: which can see that");
		is_int(holder(copy, F_OFD_GETLK, 0, 30), F_UNLCK,
		       "locks: but not in its own");
		close(fd);
		is_int(from_another(F_SETLK), 1, "locks: a copy keeps it");
		close(copy);
		is_int(lock(fd2, F_OFD_SETLK, F_WRLCK, 5, 1), 0,
		       "locks: the last one ends it");
		close(fd2);
	}
}

static void
whole_files(void)
{
	int fd = open_lock(), fd2 = open_lock();

	is_int(flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0, 0, "flock");
	is_int(flock(fd2, LOCK_SH | LOCK_NB) < 0 ? -errno : 0, -EWOULDBLOCK,
	       "flock: is in another's way");
	close(fd);
	is_int(flock(fd2, LOCK_SH | LOCK_NB) < 0 ? -errno : 0, 0,
	       "flock: ends with its file");
	close(fd2);
}

void
fscheck_locks(void)
{
	processes();
	open_files();
	whole_files();
}
