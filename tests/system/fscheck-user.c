/* SPDX-License-Identifier: MIT */
/* fscheck: users, groups and modes (CVE-2022-0358 among them).  Needs root. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/fscheck.h"
#include "tests/tap.h"

enum { USER = 12345, GROUP = 12346, OTHER = 12347 };

/* Run as a user of that group and one more; the exit status. */
static int
as_user(gid_t extra, int (*run)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		if (setgroups(extra != 0, &extra) || setgid(GROUP) ||
		    setuid(USER))
			_exit(99);
		_exit(run());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int
make_all(void)
{
	int bad = 0;

	umask(027);
	bad |= mkdir("u/dir", 0777) != 0;
	bad |= open("u/file", O_WRONLY | O_CREAT | O_EXCL, 0666) < 0;
	bad |= mkfifo("u/fifo", 0666) != 0;
	bad |= symlink("to", "u/link") != 0;
	bad |= open("u/sgid", O_WRONLY | O_CREAT | O_EXCL, 02755) < 0;
	return bad;
}

static bool
is(const char *name, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat st;

	if (lstat(name, &st))
		return printf("# %s: %s\n", name, strerror(errno)), false;
	if (st.st_uid == uid && st.st_gid == gid &&
	    (S_ISLNK(st.st_mode) || (st.st_mode & 07777) == mode))
		return true;
	printf("# %s: %u:%u %o\n", name, st.st_uid, st.st_gid, st.st_mode);
	return false;
}

static void
owners(void)
{
	mkdir("u", 0755);
	chmod("u", 0777);
	is_int(as_user(0, make_all), 0, "users: make files");
	ok(is("u/dir", USER, GROUP, 0750), "users: a directory is theirs");
	ok(is("u/file", USER, GROUP, 0640), "users: a file");
	ok(is("u/fifo", USER, GROUP, 0640), "users: a fifo");
	ok(is("u/link", USER, GROUP, 0777), "users: a link");
}

/* In a directory of a group that the maker is not in, that has the sgid bit:
 * what is made belongs to the group, and must not be sgid itself. */
static void
sgid(void)
{
	mkdir("s", 0755);
	if (chown("s", 0, OTHER) || chmod("s", 02777))
		perror("s");
	if (rename("u", "u.old") || rename("s", "u"))
		perror("rename");
	is_int(as_user(0, make_all), 0, "sgid directory: make files");
	ok(is("u/dir", USER, OTHER, 02750), "sgid directory: a directory");
	ok(is("u/file", USER, OTHER, 0640), "sgid directory: a file");
	ok(is("u/sgid", USER, OTHER, 0750),
	   "sgid directory: no sgid file of a foreign group");
	rename("u", "s.old");
	mkdir("u", 0755);
	if (chown("u", 0, OTHER) || chmod("u", 02777))
		perror("u");
	is_int(as_user(OTHER, make_all), 0, "sgid directory: as a member");
	ok(is("u/sgid", USER, OTHER, 02750),
	   "sgid directory: a member may make a sgid file");
}

static int
write_suid(void)
{
	int fd = open("k", O_WRONLY);

	return fd < 0 || write(fd, "x", 1) != 1;
}

static int
truncate_suid(void)
{
	return truncate("k", 0);
}

/* The mode and nothing else, as stat(1) asks for it: a file system may keep
 * that when it asks again for size and times. */
static int
mode_alone(const char *name)
{
	struct statx stx = { 0 };

	statx(AT_FDCWD, name, 0, STATX_MODE, &stx);
	return stx.stx_mode & 07777;
}

static int
chmod_foreign(void)
{
	return chmod("k", 0777) == 0 || errno != EPERM;
}

static int
chmod_sgid(void)
{
	return chmod("k", 02755);
}

/* Not executable by its group, sgid says something else, and stays for a
 * member of it. */
static void
sgid_without_exec(void)
{
	struct stat st;

	if (chown("k", USER, GROUP) || chmod("k", 06766))
		perror("k");
	is_int(as_user(0, truncate_suid), 0, "sgid: a member truncates");
	stat("k", &st);
	is_int(st.st_mode & 07777, 02766, "sgid: stays without group exec");
	is_int(as_user(0, write_suid), 0, "sgid: a member writes");
	stat("k", &st);
	is_int(st.st_mode & 07777, 02766, "sgid: stays, too");
}

static void
kill_bits(void)
{
	struct stat st;

	close(open("k", O_WRONLY | O_CREAT, 0666));
	chmod("k", 06777);
	is_int(as_user(0, write_suid), 0, "suid: a user writes");
	stat("k", &st);
	is_int(st.st_mode & 07777, 0777, "suid: a write takes the bits");
	chmod("k", 06777);
	as_user(0, write_suid);
	is_int(mode_alone("k"), 0777, "suid: seen by who asks for the mode");
	chmod("k", 06777);
	is_int(as_user(0, truncate_suid), 0, "suid: a user truncates");
	stat("k", &st);
	is_int(st.st_mode & 07777, 0777, "suid: which takes them, too");
	chmod("k", 06777);
	write_suid();
	stat("k", &st);
	is_int(st.st_mode & 07777, 06777, "suid: root's write does not");
	if (chown("k", USER, GROUP))
		perror("k");
	stat("k", &st);
	is_int(st.st_mode & 07777, 0777, "suid: chown takes them");
	sgid_without_exec();
	if (chown("k", USER, OTHER))
		perror("k");
	is_int(as_user(0, chmod_sgid), 0, "sgid: of a foreign group");
	stat("k", &st);
	is_int(st.st_mode & 07777, 0755, "sgid: is not set");
	is_int(as_user(OTHER, chmod_sgid), 0, "sgid: of a group of one's own");
	stat("k", &st);
	is_int(st.st_mode & 07777, 02755, "sgid: is set");
	if (chown("k", 0, 0))
		perror("k");
	is_int(as_user(0, chmod_foreign), 0, "chmod: not of what is another's");
}

static int
write_in_group(void)
{
	return open("g/new", O_WRONLY | O_CREAT, 0644) < 0;
}

static void
groups(void)
{
	mkdir("g", 0755);
	if (chown("g", 0, OTHER) || chmod("g", 0770))
		perror("g");
	is_int(as_user(0, write_in_group), 1, "groups: not a member");
	is_int(as_user(OTHER, write_in_group), 0,
	       "groups: a member by a supplementary group");
}

void
fscheck_users(void)
{
	if (geteuid()) {
		tap_skip("users", "needs root");
		return;
	}
	owners();
	sgid();
	kill_bits();
	groups();
}
