/* SPDX-License-Identifier: MIT */
/*
 * All that is given up at start: supplementary groups and every capability
 * that serving files does not need.  And the one limit that is raised.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gatewayd/gw.h"

/*
 * What a file server for many users needs (capabilities(7)).  MKNOD stays
 * where the service manager left it to us (gatewayd.service does not): guests
 * may then make device nodes, which nobody can open through a share that is
 * mounted nodev.  Everything else has to be asked for with modcaps.
 */
static const unsigned kept[] = {
	CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
	CAP_FSETID, CAP_SETGID, CAP_SETUID, CAP_SETFCAP, CAP_MKNOD,
};

static unsigned long long
read_sysctl(const char *path, unsigned long long otherwise)
{
	unsigned long long n;
	FILE *f = fopen(path, "re");

	if (!f)
		return otherwise;
	if (fscanf(f, "%llu", &n) != 1)
		n = otherwise;
	fclose(f);
	return n;
}

/* The rest is for stacks of threads and for malloc(). */
unsigned
privs_maps_limit(void)
{
	unsigned long long n = read_sysctl("/proc/sys/vm/max_map_count",
					   65530);

	return n < UINT_MAX ? (unsigned)(n / 4 * 3) : UINT_MAX;
}

void
privs_raise_nofile(uint64_t want)
{
	unsigned long long most = read_sysctl("/proc/sys/fs/nr_open", 1048576);
	struct rlimit rl, old;

	if (!want || getrlimit(RLIMIT_NOFILE, &old))
		return;
	rl.rlim_cur = want < most ? want : most;
	rl.rlim_max = old.rlim_max > rl.rlim_cur ? old.rlim_max : rl.rlim_cur;
	if (!setrlimit(RLIMIT_NOFILE, &rl))
		return;
	rl.rlim_max = old.rlim_max;
	if (rl.rlim_cur > rl.rlim_max)
		rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl))
		rl = old;
	if (rl.rlim_cur < want)
		log_info("at most %llu files can be open (rlimit_nofile asks "
			 "for %llu)", (unsigned long long)rl.rlim_cur,
			 (unsigned long long)want);
}

/* Asked for and not to be had: someone has to change the unit. */
static void
say_missing(const struct conf_caps *mod, uint64_t permitted)
{
	for (unsigned i = 0; i < 64; i++)
		if ((mod->add & ~permitted) >> i & 1)
			log_warn("modcaps: capability %s was not given to us "
				 "(CapabilityBoundingSet= of gatewayd.service)",
				 conf_cap_name(i));
}

int
privs_drop(const struct conf_caps *mod)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];
	uint64_t keep = 0;

	/* Not setgroups(3): it waits for every thread, and one may be looking
	 * at a directory that does not answer (conf/look.c). */
	if (geteuid() == 0 && syscall(SYS_setgroups, 0, NULL) && errno != EPERM)
		return -errno;
	if (syscall(SYS_capget, &head, caps))
		return -errno;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		keep |= UINT64_C(1) << kept[i];
	keep = (keep | mod->add) & ~mod->drop;
	say_missing(mod, (uint64_t)caps[1].permitted << 32 | caps[0].permitted);
	for (int i = 0; i < 2; i++) {
		caps[i].permitted &= (uint32_t)(keep >> 32 * i);
		caps[i].effective = caps[i].permitted;
		caps[i].inheritable = 0;
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capset, &head, caps))
		return -errno;
	return 0;
}
