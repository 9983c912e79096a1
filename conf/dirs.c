/* SPDX-License-Identifier: MIT */
/*
 * Defaults that depend on who runs the daemon: root has the system's
 * directories, everybody else those of the XDG base directory specification.
 */
#include "config.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/dirs.h"
#include "conf/text.h"

__attribute__((format(printf, 1, 2))) static char *
print_string(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

/* The variable if it is an absolute path; the XDG specification says to take
 * no notice of others.  Nor do we of what could not stand in a file. */
static const char *
xdg(const char *name)
{
	const char *dir = getenv(name);

	if (!dir || dir[0] != '/' || strlen(dir) > PATH_MAX / 2 ||
	    strstr(dir, "..") || !conf_is_writable(dir))
		return NULL;
	return dir;
}

static const char *
home(void)
{
	const char *dir = xdg("HOME");
	struct passwd *pw = dir ? NULL : getpwuid(geteuid());

	return pw ? pw->pw_dir : dir ? dir : "/";
}

char *
conf_default_file(void)
{
	const char *dir = xdg("XDG_CONFIG_HOME");

	if (!geteuid())
		return strdup(SYSCONFDIR "/gatewayd/gatewayd.conf");
	if (dir)
		return print_string("%s/gatewayd/gatewayd.conf", dir);
	return print_string("%s/.config/gatewayd/gatewayd.conf", home());
}

char *
conf_default_socket_dir(void)
{
	const char *dir = xdg("XDG_RUNTIME_DIR");

	if (!geteuid())
		return strdup("/run/gatewayd");
	if (dir)
		return print_string("%s/gatewayd", dir);
	return print_string("/tmp/gatewayd-%lu", (unsigned long)geteuid());
}

char *
conf_default_cache_dir(void)
{
	const char *dir = xdg("XDG_CACHE_HOME");

	if (!geteuid())
		return strdup("/var/cache/gatewayd");
	if (dir)
		return print_string("%s/gatewayd", dir);
	return print_string("%s/.cache/gatewayd", home());
}

char *
conf_default_state_dir(void)
{
	const char *dir = xdg("XDG_STATE_HOME");

	if (!geteuid())
		return strdup("/var/lib/gatewayd");
	if (dir)
		return print_string("%s/gatewayd", dir);
	return print_string("%s/.local/state/gatewayd", home());
}

char *
conf_default_control_socket(void)
{
	char *dir = conf_default_socket_dir(), *path;

	path = dir ? print_string("%s/ctl", dir) : NULL;
	free(dir);
	return path;
}

/* The group for root where it exists; "" is the daemon's own. */
static char *
group_for_root(const char *name)
{
	return strdup(!geteuid() && getgrnam(name) ? name : "");
}

char *
conf_default_control_group(void)
{
	return group_for_root("gatewayd");
}

char *
conf_default_socket_group(void)
{
	return group_for_root("kvm");
}
