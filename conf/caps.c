/* SPDX-License-Identifier: MIT */
/*
 * modcaps: "+sys_admin:-mknod", which capabilities(7) the daemon keeps in
 * addition, and which it gives up.
 */
#include "config.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "conf/caps.h"
#include "conf/number.h"
#include "conf/text.h"

/* clang-format off */
static const char *const names[] = {
	[CAP_CHOWN] = "chown",
	[CAP_DAC_OVERRIDE] = "dac_override",
	[CAP_DAC_READ_SEARCH] = "dac_read_search",
	[CAP_FOWNER] = "fowner",
	[CAP_FSETID] = "fsetid",
	[CAP_KILL] = "kill",
	[CAP_SETGID] = "setgid",
	[CAP_SETUID] = "setuid",
	[CAP_SETPCAP] = "setpcap",
	[CAP_LINUX_IMMUTABLE] = "linux_immutable",
	[CAP_NET_BIND_SERVICE] = "net_bind_service",
	[CAP_NET_BROADCAST] = "net_broadcast",
	[CAP_NET_ADMIN] = "net_admin",
	[CAP_NET_RAW] = "net_raw",
	[CAP_IPC_LOCK] = "ipc_lock",
	[CAP_IPC_OWNER] = "ipc_owner",
	[CAP_SYS_MODULE] = "sys_module",
	[CAP_SYS_RAWIO] = "sys_rawio",
	[CAP_SYS_CHROOT] = "sys_chroot",
	[CAP_SYS_PTRACE] = "sys_ptrace",
	[CAP_SYS_PACCT] = "sys_pacct",
	[CAP_SYS_ADMIN] = "sys_admin",
	[CAP_SYS_BOOT] = "sys_boot",
	[CAP_SYS_NICE] = "sys_nice",
	[CAP_SYS_RESOURCE] = "sys_resource",
	[CAP_SYS_TIME] = "sys_time",
	[CAP_SYS_TTY_CONFIG] = "sys_tty_config",
	[CAP_MKNOD] = "mknod",
	[CAP_LEASE] = "lease",
	[CAP_AUDIT_WRITE] = "audit_write",
	[CAP_AUDIT_CONTROL] = "audit_control",
	[CAP_SETFCAP] = "setfcap",
	[CAP_MAC_OVERRIDE] = "mac_override",
	[CAP_MAC_ADMIN] = "mac_admin",
	[CAP_SYSLOG] = "syslog",
	[CAP_WAKE_ALARM] = "wake_alarm",
	[CAP_BLOCK_SUSPEND] = "block_suspend",
	[CAP_AUDIT_READ] = "audit_read",
	[CAP_PERFMON] = "perfmon",
	[CAP_BPF] = "bpf",
	[CAP_CHECKPOINT_RESTORE] = "checkpoint_restore",
};
/* clang-format on */

#define NNAMES (sizeof(names) / sizeof(names[0]))

const char *
conf_cap_name(unsigned cap)
{
	return cap < NNAMES ? names[cap] : "?";
}

/* The n bytes at `s` without "cap_", in small letters; false if too long. */
static bool
fold_name(const char *s, size_t n, char *to, size_t size)
{
	size_t skip = 0;

	if (n >= size)
		return false;
	for (size_t i = 0; i < n; i++)
		to[i] = (char)conf_fold(s[i]);
	to[n] = 0;
	if (!strncmp(to, "cap_", 4))
		skip = 4;
	memmove(to, to + skip, n - skip + 1);
	return true;
}

static int
bad_word(const char *s, size_t n, const char *nearest, char *why)
{
	char word[CONF_ECHO], echo[CONF_ECHO];

	snprintf(word, sizeof(word), "%.*s", (int)(n < 70 ? n : 70), s);
	if (nearest)
		return conf_bad(why, "unknown capability \"%s\" (did you mean "
				"\"%s\"?)", conf_echo(echo, word), nearest);
	return conf_bad(why, "\"%s\" is not understood (want +NAME or -NAME "
			"of capabilities(7), with ':' between them)",
			conf_echo(echo, word));
}

static int
add_word(const char *s, size_t n, struct conf_caps *caps, char *why)
{
	struct conf_nearest near = { 0 };
	char name[32];
	uint64_t bit;

	if (n < 2 || !strchr("+-", s[0]) ||
	    !fold_name(s + 1, n - 1, name, sizeof(name)))
		return bad_word(s, n, NULL, why);
	near.word = name;
	for (size_t i = 0; i < NNAMES; i++) {
		conf_nearest_try(&near, names[i]);
		if (strcmp(names[i], name))
			continue;
		bit = UINT64_C(1) << i;
		caps->add = s[0] == '+' ? caps->add | bit : caps->add & ~bit;
		caps->drop = s[0] == '-' ? caps->drop | bit : caps->drop & ~bit;
		return 0;
	}
	return bad_word(s, n, near.best, why);
}

int
conf_caps_scan(const char *text, struct conf_caps *caps, char why[CONF_WHY])
{
	static const char between[] = ": \t,";
	int err = 0;

	*caps = (struct conf_caps){ 0 };
	for (text += strspn(text, between); *text && !err;
	     text += strspn(text, between)) {
		size_t n = strcspn(text, between);

		err = add_word(text, n, caps, why);
		text += n;
	}
	return err;
}
