/* SPDX-License-Identifier: MIT */
/* Whose files are made, by whom, and with which bits (CVE-2022-0358). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static struct stat st;

static const char *
groups_of_thread(void)
{
	static char line[512];
	FILE *f = fopen("/proc/thread-self/status", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Groups:", 7))
			continue;
		fclose(f);
		for (size_t n = strlen(line); line[n - 1] <= ' '; n--)
			line[n - 1] = '\0';
		return line + 7 + strspn(line + 7, "\t ");
	}
	return "?";
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

int
main(void)
{
	test_umask();
	if (geteuid() != 0) {
		tap_skip("acting as other users", "needs root");
		return tap_done();
	}
	test_owner();
	test_override();
	test_setgid();
	test_mixed();
	test_extensions();
	test_kill();
	test_kill_sgid();
	return tap_done();
}
