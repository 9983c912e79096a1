/* SPDX-License-Identifier: MIT */
/*
 * For tests of a daemon that is not the host's root: fn() in another process,
 * in a user namespace or without privileges.
 */
#ifndef TESTS_FUSENS_H
#define TESTS_FUSENS_H

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/fuseids.h"
#include "tests/tap.h"

static void
write_file(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("# %s: %s\n", file, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void
write_map(pid_t pid, const char *kind, const char *text)
{
	char file[64];

	snprintf(file, sizeof(file), "/proc/%d/%s", (int)pid, kind);
	write_file(file, text);
}

struct pipes {
	int ready[2], go[2], result[2];
};

static void
child(struct fc *c, bool unshares, void (*fn)(struct fc *), struct pipes *p)
{
	int result[3] = { 0 };
	char ch;

	close(p->go[1]);
	if (unshares && unshare(CLONE_NEWUSER) < 0)
		result[2] = errno;
	if (write(p->ready[1], "", 1) < 0 || read(p->go[0], &ch, 1) < 0)
		_exit(1);
	if (!result[2])
		fn(c);
	result[0] = tap_count;
	result[1] = tap_failed;
	_exit(write(p->result[1], result, sizeof(result)) < 0);
}

/* Run fn() in a user namespace with those maps; "" = as we are. */
__attribute__((unused)) static void
run(struct fc *c, const char *uids, const char *gids, void (*fn)(struct fc *),
    const char *what)
{
	int result[3] = { tap_count, tap_failed + 1, 0 }, status;
	struct pipes p;
	pid_t pid;
	char ch;

	if (pipe(p.ready) < 0 || pipe(p.go) < 0 || pipe(p.result) < 0)
		exit(99);
	printf("# %s\n", what);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(c, *uids, fn, &p);
	close(p.ready[1]);
	close(p.result[1]);
	if (read(p.ready[0], &ch, 1) == 1 && *uids) {
		if (!ids_all_ours())
			write_map(pid, "setgroups", "deny");
		write_map(pid, "uid_map", uids);
		write_map(pid, "gid_map", gids);
	}
	close(p.go[1]);
	if (read(p.result[0], result, sizeof(result)) < 0)
		perror("read");
	waitpid(pid, &status, 0);
	tap_count = result[0];
	tap_failed = result[1];
	if (result[2])
		tap_skip(what, strerror(result[2]));
	else if (status)
		ok(0, "%s: ended with status %d", what, status);
	close(p.ready[0]);
	close(p.go[0]);
	close(p.result[0]);
}

/* Become a user without privileges, unless we are one. */
__attribute__((unused)) static void
become_nobody(uid_t uid, gid_t gid)
{
	if (ids_all_ours() &&
	    (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	     setresuid(uid, uid, uid) < 0))
		perror("setresuid");
}

#endif
