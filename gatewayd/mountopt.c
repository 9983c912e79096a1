/* SPDX-License-Identifier: MIT */
/*
 * The words of "mount -o".  Those for mount(8) and for /etc/fstab are known
 * and mean nothing here; so do those that every one of our mounts has anyway,
 * because mount(8) gives them back when it remounts.
 */
#include "config.h"

#include "gatewayd/mountopt.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256	/* Linux 5.10 */
#endif

/* clang-format off */
static const struct {
	const char *word;
	unsigned long on, off;
} words[] = {
	{ "ro",			MS_RDONLY,	0 },
	{ "rw",			0,		MS_RDONLY },
	{ "nosuid",		MS_NOSUID,	0 },
	{ "suid",		0,		MS_NOSUID },
	{ "nodev",		MS_NODEV,	0 },
	{ "dev",		0,		MS_NODEV },
	/* mount(8) keeps "suid" and "dev" from its helpers. */
	{ "allow_suid",		0,		MS_NOSUID },
	{ "allow_dev",		0,		MS_NODEV },
	{ "noexec",		MS_NOEXEC,	0 },
	{ "exec",		0,		MS_NOEXEC },
	{ "nosymfollow",	MS_NOSYMFOLLOW,	0 },
	{ "symfollow",		0,		MS_NOSYMFOLLOW },
	{ "noatime",		MS_NOATIME,	0 },
	{ "atime",		0,		MS_NOATIME },
	{ "nodiratime",		MS_NODIRATIME,	0 },
	{ "diratime",		0,		MS_NODIRATIME },
	{ "relatime",		MS_RELATIME,	0 },
	{ "norelatime",		0,		MS_RELATIME },
	{ "strictatime",	MS_STRICTATIME,	0 },
	{ "nostrictatime",	0,		MS_STRICTATIME },
	{ "lazytime",		MS_LAZYTIME,	0 },
	{ "nolazytime",		0,		MS_LAZYTIME },
	{ "dirsync",		MS_DIRSYNC,	0 },
	{ "sync",		MS_SYNCHRONOUS,	0 },
	{ "async",		0,		MS_SYNCHRONOUS },
	{ "silent",		MS_SILENT,	0 },
	{ "loud",		0,		MS_SILENT },
	{ "remount",		MS_REMOUNT,	0 },
	{ "defaults",		0,		0 },
	{ "allow_other",	0,		0 },
	{ "default_permissions", 0,		0 },
	{ "auto",		0,		0 },
	{ "noauto",		0,		0 },
	{ "nofail",		0,		0 },
	{ "_netdev",		0,		0 },
	{ "nouser",		0,		0 },
};

/* What begins so: of fstab, and as /proc/mounts shows our mounts. */
static const char *const begins[] = {
	"x-", "X-", "comment=", "user_id=", "group_id=", "max_read=",
	"blksize=",
};
/* clang-format on */

#define N(table) (sizeof(table) / sizeof((table)[0]))

static int
apply(const char *word, size_t len, unsigned long *flags)
{
	for (size_t i = 0; i < N(words); i++) {
		if (strlen(words[i].word) != len ||
		    strncmp(words[i].word, word, len))
			continue;
		*flags = (*flags & ~words[i].off) | words[i].on;
		return 0;
	}
	for (size_t i = 0; i < N(begins); i++) {
		if (!strncmp(begins[i], word, strlen(begins[i])))
			return 0;
	}
	return -EINVAL;
}

int
gw_mount_flags(const char *at, unsigned long *flags, const char **bad,
	       size_t *len)
{
	*flags = MS_NOSUID | MS_NODEV;
	while (at && *at) {
		*len = strcspn(at, ",");
		if (*len && apply(at, *len, flags)) {
			*bad = at;
			return -EINVAL;
		}
		at += *len;
		at += *at == ',';
	}
	return 0;
}
