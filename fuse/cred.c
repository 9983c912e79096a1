/* SPDX-License-Identifier: MIT */
/*
 * The identity a thread acts under.  The system calls are made raw, because
 * glibc's would change every thread of the process.  The identity stays until
 * a request needs another one, so a run of requests by one user switches once.
 *
 * While a thread acts as another user its effective capabilities are those of
 * CAP_DAC_OVERRIDE alone: the guest has checked permissions already, perhaps
 * by access lists that we do not see.  What the guest's groups are is only
 * known when it says so (FUSE_CREATE_SUPP_GROUP); the daemon's own groups are
 * dropped when a thread is made.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/fs.h"

#define CAP(n) (1ULL << (n))

struct caps {
	uint64_t effective, permitted, inheritable;
};

static int
get_caps(struct caps *caps)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	caps->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	caps->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	caps->inheritable = data[0].inheritable |
			    (uint64_t)data[1].inheritable << 32;
	return 0;
}

static int
set_effective(uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)effective,
		  .permitted = (uint32_t)permitted },
		{ .effective = (uint32_t)(effective >> 32),
		  .permitted = (uint32_t)(permitted >> 32) },
	};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int
set_groups(uint32_t n, const uint32_t *groups)
{
	return syscall(SYS_setgroups, (size_t)n, groups) < 0 ? -errno : 0;
}

static int
set_egid(uint32_t gid)
{
	return syscall(SYS_setresgid, -1, gid, -1) < 0 ? -errno : 0;
}

static int
set_euid(uint32_t uid)
{
	return syscall(SYS_setresuid, -1, uid, -1) < 0 ? -errno : 0;
}

/* While we are not switched.  Cannot fail but for a group that our user
 * namespace does not have, and then the old one stays. */
static void
set_fsgid(struct fs_cred *cred, uint32_t gid)
{
	if (cred->fsgid == gid)
		return;
	syscall(SYS_setfsgid, gid);
	cred->fsgid = gid;
}

static bool
can_switch(const struct caps *caps)
{
	uint64_t need = CAP(CAP_SETUID) | CAP(CAP_SETGID);

	return geteuid() == 0 && (caps->effective & need) == need;
}

bool
fs_cred_can_switch(void)
{
	struct caps caps;

	return !get_caps(&caps) && can_switch(&caps);
}

int
fs_cred_init(struct fs_cred *cred)
{
	struct caps caps;
	int err = get_caps(&caps);

	memset(cred, 0, sizeof(*cred));
	if (err)
		return err;
	cred->privileged = can_switch(&caps);
	cred->permitted = caps.permitted;
	cred->self_uid = geteuid();
	cred->self_gid = cred->fsgid = getegid();
	if (!cred->privileged)
		return 0;
	/* In a user namespace setgroups may be denied; so be it. */
	err = set_groups(0, NULL);
	return err == -EPERM ? 0 : err;
}

static uint64_t
own_caps(const struct fs_cred *cred, bool kill)
{
	return kill ? cred->permitted & ~CAP(CAP_FSETID) : cred->permitted;
}

/* Back to ourselves.  On error the thread stays marked as switched, so that
 * no request is served under a wrong identity. */
static int
switch_back(struct fs_cred *cred)
{
	int err = set_euid(cred->self_uid);

	if (!err)
		err = set_effective(cred->permitted, cred->permitted);
	if (!err)
		err = set_egid(cred->self_gid);
	if (!err && cred->ngroups)
		err = set_groups(0, NULL);
	if (err)
		return err;
	cred->ngroups = 0;
	cred->switched = cred->no_fsetid = false;
	return 0;
}

int
fs_cred_self(struct fs_cred *cred, bool kill)
{
	int err = 0;

	if (!cred->privileged)
		return 0;
	if (cred->switched)
		err = switch_back(cred);
	if (!kill)
		set_fsgid(cred, cred->self_gid);
	if (!err && cred->no_fsetid != kill) {
		err = set_effective(cred->permitted, own_caps(cred, kill));
		if (!err)
			cred->no_fsetid = kill;
	}
	return err;
}

/* The host asks whether we are in the file's group; who must be is the caller.
 * Its other groups are not known, and sgid is rather cleared than kept. */
int
fs_cred_kill(struct fs_cred *cred, uint32_t gid)
{
	int err = fs_cred_self(cred, true);

	if (!err && cred->privileged && gid != FS_ID_NONE)
		set_fsgid(cred, gid);
	return err;
}

/* The umask of the process is not for files that guests make. */
int
fs_cred_own_fs(struct fs_cred *cred)
{
	if (cred->own_fs)
		return 0;
	if (unshare(CLONE_FS) < 0)
		return -errno;
	umask(0);
	cred->mask = 0;
	cred->own_fs = true;
	return 0;
}

void
fs_cred_umask(struct fs_cred *cred, uint32_t mask)
{
	mask &= 0777;
	if (cred->mask == mask)
		return;
	umask(mask);
	cred->mask = mask;
}

static bool
is_now(const struct fs_cred *cred, uint32_t uid, uint32_t gid, uint32_t ngroups,
       const uint32_t *groups)
{
	return cred->switched && cred->uid == uid && cred->gid == gid &&
	       cred->ngroups == ngroups &&
	       !memcmp(cred->groups, groups, ngroups * sizeof(*groups));
}

static int
switch_to(struct fs_cred *cred)
{
	int err = 0;

	if (cred->ngroups)
		err = set_groups(cred->ngroups, cred->groups);
	if (!err)
		err = set_egid(cred->gid);
	if (!err)
		err = set_euid(cred->uid);
	if (!err && cred->uid != cred->self_uid)
		err = set_effective(cred->permitted, cred->permitted &
						     CAP(CAP_DAC_OVERRIDE));
	return err;
}

int
fs_cred_caller(struct fs_cred *cred, uint32_t uid, uint32_t gid,
	       uint32_t ngroups, const uint32_t *groups)
{
	int err = fs_cred_own_fs(cred);

	if (err)
		return err;
	fs_cred_umask(cred, 0);
	if (uid == FS_ID_NONE || gid == FS_ID_NONE)
		return -EPERM;
	if (!cred->privileged || is_now(cred, uid, gid, ngroups, groups))
		return 0;
	err = fs_cred_self(cred, false);
	if (err || (uid == cred->self_uid && gid == cred->self_gid && !ngroups))
		return err;
	cred->uid = uid;
	cred->gid = gid;
	cred->ngroups = ngroups;
	memcpy(cred->groups, groups, ngroups * sizeof(*groups));
	cred->switched = true;
	err = switch_to(cred);
	if (!err)
		return 0;
	(void)switch_back(cred);
	/* An id that our user namespace does not have. */
	return err == -EINVAL ? -EOVERFLOW : err;
}
