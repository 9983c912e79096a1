/* SPDX-License-Identifier: MIT */
/* Whose files are made, by whom, and with which bits (CVE-2022-0358). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static struct stat st;

/* A line of the thread's status, without what it is called. */
static const char *
status_of_thread(const char *what)
{
	static char line[512];
	FILE *f = fopen("/proc/thread-self/status", "re");
	size_t len = strlen(what);

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, what, len))
			continue;
		fclose(f);
		for (size_t n = strlen(line); line[n - 1] <= ' '; n--)
			line[n - 1] = '\0';
		return line + len + strspn(line + len, "\t ");
	}
	return "?";
}

static const char *
groups_of_thread(void)
{
	return status_of_thread("Groups:");
}

static void
test_owner(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_mknod_in mk = { .mode = S_IFREG | 0600 };
	uint64_t dir;

	chmod(c->dir, 0777);
	fc_start(c);
	c->uid = c->gid = 1000;
	fc_create(c, 1, "f", O_RDWR, 0644, NULL);
	fc_stat(c, "f", &st);
	ok(st.st_uid == 1000 && st.st_gid == 1000, "CREATE");
	dir = (uint64_t)fc_mkdir(c, 1, "d", 0700);
	fc_stat(c, "d", &st);
	ok(st.st_uid == 1000 && st.st_gid == 1000, "MKDIR");
	fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "l", "f");
	fc_stat(c, "l", &st);
	ok(st.st_uid == 1000 && st.st_gid == 1000, "SYMLINK");
	fc_call(c, FUSE_MKNOD, 1, &mk, sizeof(mk), "n", NULL);
	fc_stat(c, "n", &st);
	ok(st.st_uid == 1000 && st.st_gid == 1000, "MKNOD");
	fc_create(c, dir, "inside", O_RDWR, 0644, NULL);
	fc_stat(c, "d/inside", &st);
	ok(st.st_uid == 1000, "in its own directory");
	c->uid = c->gid = 0;
	fc_create(c, 1, "root", O_RDWR, 0644, NULL);
	fc_stat(c, "root", &st);
	ok(st.st_uid == 0 && st.st_gid == 0, "then root again");
	c->gid = 1000;
	fc_create(c, 1, "group", O_RDWR, 0644, NULL);
	fc_stat(c, "group", &st);
	ok(st.st_uid == 0 && st.st_gid == 1000, "root in another group");
	is_int(fc_unlink(c, 1, "f"), 0, "removing needs no identity");
	c->uid = 4294967294;
	ok(fc_create(c, 1, "big", O_RDWR, 0644, NULL) > 1, "a large uid");
	c->uid = FS_ID_NONE;
	is_int(fc_create(c, 1, "none", O_RDWR, 0644, NULL), -EPERM,
	       "no caller, no file");
	ok(fc_lookup(c, 1, "d") > 1, "others do not need one");
	fs_thread_relax(c->thread);
	ok(geteuid() == 0 && getegid() == 0, "relaxed: ourselves");
	fc_free(c);
}

/* The guest checked permissions; we do not check them again. */
static void
test_override(void)
{
	struct fc *c = fc_new(NULL);

	fc_start(c);
	chmod(c->dir, 0700);
	c->uid = c->gid = 1000;
	ok(fc_create(c, 1, "f", O_RDWR, 0600, NULL) > 1,
	   "in a directory that others may not write");
	fc_stat(c, "f", &st);
	is_int(st.st_uid, 1000, "owner");
	fc_free(c);
}

static void
test_setgid(void)
{
	struct fc *c = fc_new(NULL);
	gid_t groups[] = { 0, 4, 27 };
	uint64_t d;

	setgroups(3, groups);
	fc_start(c);
	is_str(groups_of_thread(), "", "the daemon's groups are dropped");
	mkdirat(c->fd, "d", 0777);
	fchmodat(c->fd, "d", 03777, 0);
	d = (uint64_t)fc_lookup(c, 1, "d");
	c->uid = c->gid = 1000;
	fc_create(c, d, "f", O_RDWR, 02755, NULL);
	fc_stat(c, "d/f", &st);
	is_int(st.st_gid, 0, "a setgid directory gives its group");
	is_int(st.st_mode & 07777, 0755, "but not the setgid bit with it");
	fc_mkdir(c, d, "sub", 0755);
	fc_stat(c, "d/sub", &st);
	ok((st.st_mode & S_ISGID) && st.st_gid == 0, "a directory inherits it");
	fs_thread_relax(c->thread);
	fchownat(c->fd, "d", 0, 777, 0);
	fchmodat(c->fd, "d", 03777, 0);
	c->ngroups = 1;
	c->groups[0] = 777;
	fc_create(c, d, "mine", O_RDWR, 02755, NULL);
	fc_stat(c, "d/mine", &st);
	ok(st.st_gid == 777 && (st.st_mode & 07777) == 02755,
	   "a member of the group keeps the bit (0%o)", st.st_mode);
	c->ngroups = 0;
	fc_create(c, d, "not", O_RDWR, 02755, NULL);
	fc_stat(c, "d/not", &st);
	is_int(st.st_mode & 07777, 0755, "only for that request");
	fs_thread_relax(c->thread);
	is_str(groups_of_thread(), "", "no groups stay");
	fc_free(c);
}

static void
test_mixed(void)
{
	struct fc *c = fc_new(NULL);
	long bad = 0;

	chmod(c->dir, 0777);
	fc_start(c);
	for (unsigned i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%u", i);
		c->uid = i % 3 * 500;
		c->gid = i % 5 * 300;
		c->ngroups = i % 4;
		for (unsigned g = 0; g < c->ngroups; g++)
			c->groups[g] = 100 + g;
		bad += fc_create(c, 1, name, O_RDWR, 0644, NULL) <= 1;
		fs_thread_relax(c->thread);
		bad += *groups_of_thread() != '\0';
		fc_stat(c, name, &st);
		bad += st.st_uid != c->uid || st.st_gid != c->gid;
	}
	is_int(bad, 0, "1000 files of many users");
	fc_free(c);
}

/* From now on that system call with that argument fails with EAGAIN; for good,
 * so in a child. */
static void
forbid(unsigned nr, unsigned arg, uint32_t value)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 (uint32_t)offsetof(struct seccomp_data, args) +
			 arg * 8 + (__BYTE_ORDER == __BIG_ENDIAN ? 4 : 0)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) {
		printf("# seccomp: %s\n", strerror(errno));
		fflush(stdout);
		_exit(99);
	}
}

/* A caller whom the thread cannot become, in one step or the other. */
static const struct step {
	const char *words;
	unsigned nr, arg, value;
} steps[] = {
	{ "its groups", SYS_setgroups, 0, 3 },
	{ "its group", SYS_setresgid, 1, 2345 },
	{ "its user", SYS_setresuid, 1, 1234 },
};

/* Nothing may be left of the caller.  The number of what is wrong. */
static int
cannot_become(struct fc *c, const struct step *step)
{
	char caps[64];

	fs_thread_relax(c->thread);
	snprintf(caps, sizeof(caps), "%s", status_of_thread("CapEff:"));
	forbid(step->nr, step->arg, step->value);
	c->uid = 1234;
	c->gid = 2345;
	c->ngroups = 3;
	c->groups[0] = 100;
	c->groups[1] = 101;
	c->groups[2] = 102;
	if (fc_create(c, 1, "never", O_RDWR, 0644, NULL) != -EAGAIN)
		return 1;
	if (fc_stat(c, "never", &st) != -ENOENT)
		return 2;
	if (geteuid() || getegid() || *groups_of_thread())
		return 3;
	if (strcmp(status_of_thread("CapEff:"), caps))
		return 4;
	c->uid = c->gid = c->ngroups = 0;
	if (fc_create(c, 1, "root", O_RDWR, 0644, NULL) <= 1 ||
	    fc_stat(c, "root", &st) || st.st_uid || st.st_gid)
		return 5;
	c->uid = c->gid = 1000;
	if (fc_create(c, 1, "other", O_RDWR, 0644, NULL) <= 1 ||
	    fc_stat(c, "other", &st) || st.st_uid != 1000 || st.st_gid != 1000)
		return 6;
	return 0;
}

/* And one that the thread cannot stop being: then it serves nobody. */
static int
cannot_return(struct fc *c, const struct step *step)
{
	struct fuse_setattr_in set = { .valid = FATTR_MODE, .mode = 0 };
	int64_t id;

	(void)step;
	c->uid = c->gid = 1000;
	id = fc_create(c, 1, "mine", O_RDWR, 0644, NULL);
	if (id <= 1 || geteuid() != 1000)
		return 1;
	forbid(SYS_setresuid, 1, 0);
	if (fc_setattr(c, (uint64_t)id, &set, NULL) != -EAGAIN)
		return 2;
	c->uid = c->gid = 0;
	if (fc_create(c, 1, "root", O_RDWR, 0644, NULL) != -EAGAIN)
		return 3;
	c->uid = 1001;
	if (fc_create(c, 1, "else", O_RDWR, 0644, NULL) != -EAGAIN)
		return 4;
	if (fc_stat(c, "root", &st) != -ENOENT ||
	    fc_stat(c, "else", &st) != -ENOENT)
		return 5;
	return 0;
}

static int
in_child(int (*run)(struct fc *c, const struct step *step),
	 const struct step *step)
{
	struct fc *c = fc_new(NULL);
	int status = -1;
	pid_t pid;

	chmod(c->dir, 0777);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		fc_start(c);
		_exit(run(c, step));
	}
	waitpid(pid, &status, 0);
	fc_empty(c);
	close(c->fd);
	rmdir(c->dir);
	free(c);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static void
test_rollback(void)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		is_int(in_child(cannot_become, &steps[i]), 0,
		       "rollback: a caller who cannot get %s",
		       steps[i].words);
	is_int(in_child(cannot_return, NULL), 0,
	       "rollback: one who cannot be left serves nobody else");
}

static void
test_extensions(void)
{
	struct fc *c = fc_new(NULL);

	chmod(c->dir, 0777);
	fc_start(c);
	c->uid = 1000;
	c->ngroups = 8;
	ok(fc_create(c, 1, "f", O_RDWR, 0644, NULL) > 1, "eight groups");
	fc_init(c, 38, FC_ALL_FLAGS & ~FUSE_CREATE_SUPP_GROUP);
	is_int(fc_create(c, 1, "g", O_RDWR, 0644, NULL), -EINVAL,
	       "none if that was not agreed on");
	fc_free(c);
}

/* Writing and truncating clear suid and sgid bits when the guest says so. */
static void
test_kill(void)
{
	struct fc *c = fc_new(NULL);
	struct fuse_setattr_in set = { .valid = FATTR_SIZE };
	struct fuse_init_out out;
	uint64_t id, fh;

	fc_open_share(c);
	out = fc_init(c, 38, FC_ALL_FLAGS);
	ok(out.flags & FUSE_HANDLE_KILLPRIV_V2, "HANDLE_KILLPRIV_V2");
	id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 06755, &fh);
	fc_write(c, id, fh, 0, "x", 1, 0);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 06755, "not by a plain write");
	fc_write(c, id, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 0755, "by a killing write");
	fchmodat(c->fd, "f", 06755, 0);
	fc_write(c, id, fh, 0, "x", 1, 0);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 06755, "and not after it");
	fc_setattr(c, id, &set, NULL);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 06755, "truncate");
	set.valid |= FATTR_KILL_SUIDGID;
	fc_setattr(c, id, &set, NULL);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 0755, "truncate and kill");
	fchmodat(c->fd, "f", 06755, 0);
	set.valid = FATTR_UID;
	set.uid = 1000;
	fc_setattr(c, id, &set, NULL);
	fc_stat(c, "f", &st);
	ok(st.st_uid == 1000 && (st.st_mode & 07777) == 0755, "chown");
	fc_free(c);
}

/* Not executable by its group, sgid is left to who is of the group. */
static void
test_kill_sgid(void)
{
	static const struct {
		uint32_t caller, group;
		mode_t mode;
		const char *words;
	} cases[] = {
		{ 777, 777, 02744, "sgid without x: a member keeps it" },
		{ 778, 777, 0744, "sgid without x: another does not" },
		{ 778, 0, 0744, "sgid without x: nor are we members" },
		{ UINT32_MAX, 777, 02744, "sgid without x: or who knows" },
	};
	struct fc *c = fc_new(NULL);
	struct fuse_setattr_in set = { .valid = FATTR_SIZE |
						FATTR_KILL_SUIDGID };
	struct fuse_open_in trunc = {
		.flags = O_RDWR | O_TRUNC,
		.open_flags = FUSE_OPEN_KILL_SUIDGID,
	};
	struct fuse_create_in create = {
		.flags = O_RDWR | O_CREAT | O_TRUNC,
		.open_flags = FUSE_OPEN_KILL_SUIDGID,
	};
	static const char *const ways[] = { "write", "truncate", "open",
					    "create" };
	uint64_t id, fh;

	fc_open_share(c);
	fc_init(c, 38, FC_ALL_FLAGS);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int how = 0; how < 4; how++) {
			fs_thread_relax(c->thread);
			c->gid = 0;
			unlinkat(c->fd, "f", 0);
			id = (uint64_t)fc_create(c, 1, "f", O_RDWR, 0600, &fh);
			fs_thread_relax(c->thread);
			fchownat(c->fd, "f", 0, cases[i].group, 0);
			fchmodat(c->fd, "f", 06744, 0);
			c->gid = cases[i].caller;
			if (how == 0)
				fc_write(c, id, fh, 0, "x", 1,
					 FUSE_WRITE_KILL_SUIDGID);
			else if (how == 1)
				fc_setattr(c, id, &set, NULL);
			else if (how == 2)
				fc_call(c, FUSE_OPEN, id, &trunc,
					sizeof(trunc), NULL, NULL);
			else if (cases[i].caller == UINT32_MAX)
				continue;	/* makes nothing */
			else
				fc_call(c, FUSE_CREATE, 1, &create,
					sizeof(create), "f", NULL);
			fc_stat(c, "f", &st);
			is_int(st.st_mode & 07777, cases[i].mode, "%s (%s)",
			       cases[i].words, ways[how]);
		}
	}
	fc_free(c);
}

/* The process has a umask; guests' files do not know it. */
static void
test_umask(void)
{
	struct fc *c;

	umask(077);
	c = fc_new(NULL);
	fc_start(c);
	fc_create(c, 1, "f", O_RDWR, 0666, NULL);
	fc_stat(c, "f", &st);
	is_int(st.st_mode & 07777, 0666, "the umask does not count");
	fc_free(c);
}

/* With access lists the guest leaves its umask to us, else it has applied it. */
static void
test_guest_umask(bool ours)
{
	static const struct {
		const char *name;
		mode_t want[2];
	} made[] = {
		{ "f", { 0666, 0640 } },
		{ "n", { 0666, 0640 } },
		{ "d", { 0777, 0750 } },
		{ "t", { 0666, 0640 } },
	};
	struct fuse_create_in create = { .flags = O_RDWR | O_CREAT,
					 .mode = 0666, .umask = 027 };
	struct fuse_mknod_in node = { .mode = S_IFREG | 0666, .umask = 027 };
	struct fuse_mkdir_in dir = { .mode = 0777, .umask = 027 };
	struct fc *c = fc_new(NULL);
	struct fuse_entry_out e;

	c->set.posix_acl = ours ? CONF_WHEN_AUTO : CONF_WHEN_NEVER;
	fc_start(c);
	fc_call(c, FUSE_CREATE, 1, &create, sizeof(create), "f", NULL);
	fc_call(c, FUSE_MKNOD, 1, &node, sizeof(node), "n", NULL);
	fc_call(c, FUSE_MKDIR, 1, &dir, sizeof(dir), "d", NULL);
	create.flags = O_RDWR;
	if (fc_call(c, FUSE_TMPFILE, 1, &create, sizeof(create), "/",
		    NULL) > 0) {
		memcpy(&e, c->out, sizeof(e));
		fc_call(c, FUSE_LINK, 1, &e.nodeid, sizeof(e.nodeid), "t",
			NULL);
	}
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
		if (fc_stat(c, made[i].name, &st) < 0)
			tap_skip("umask: TMPFILE", "not on this file system");
		else
			is_int(st.st_mode & 0777, made[i].want[ours],
			       "umask of the guest, %sours to apply: %s",
			       ours ? "" : "not ", made[i].name);
	}
	fc_free(c);
}

int
main(void)
{
	test_umask();
	test_guest_umask(false);
	test_guest_umask(true);
	if (geteuid() != 0) {
		tap_skip("acting as other users", "needs root");
		return tap_done();
	}
	test_owner();
	test_override();
	test_setgid();
	test_mixed();
	test_rollback();
	test_extensions();
	test_kill();
	test_kill_sgid();
	return tap_done();
}
