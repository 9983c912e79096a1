/* SPDX-License-Identifier: MIT */
/*
 * "gatewayctl mount": puts a vhost-user-fs socket into this host's tree of
 * files with mount(2) of type fuse, leaves a child behind that serves it
 * (bridge.c), and sees to it that the mount goes when the device does.
 */
#include "config.h"

#include "gatewayd/mount.h"

#include "gatewayd/bridge.h"
#include "gatewayd/mountopt.h"
#include "gatewayd/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

struct mounted {
	const struct gw_mount_settings *set;
	char *dir;		/* absolute */
	unsigned long flags;	/* of mount(2) */
	struct gw_bridge *bridge;
	int fuse_fd;
	int signal_fd;
	int parent;		/* pipe to who waits for the mount, or -1 */
	bool quiet;		/* standard error is gone: use syslog */
};

__attribute__((format(printf, 2, 3))) static void
say(const struct mounted *m, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (m->quiet)
		syslog(LOG_DAEMON | LOG_ERR, "%s: %s", m->set->dir, text);
	else
		fprintf(stderr, "gatewayctl: %s: %s\n", m->set->dir, text);
}

/* ------------------------------------------------------------------ */
/* Mounting. */

static int
mount_fuse(struct mounted *m)
{
	char data[160];
	int err;

	m->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (m->fuse_fd < 0) {
		err = -errno;
		say(m, "/dev/fuse: %s%s", strerror(-err),
		    err == -ENOENT ? " (modprobe fuse)" : "");
		return err;
	}
	/* Permissions are checked here by mode, as virtiofs does in a guest. */
	snprintf(data, sizeof(data),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,"
		 "default_permissions,max_read=%u", m->fuse_fd,
		 SLOT_DATA_MAX);
	if (mount(m->set->name, m->dir, "fuse.gatewayd", m->flags, data) < 0) {
		err = -errno;
		say(m, "cannot mount: %s%s", strerror(-err),
		    err == -EPERM ? " (mount needs root)" : "");
		return err;
	}
	return 0;
}

static int
connect_device(struct mounted *m)
{
	char *why = NULL;
	int err = gw_bridge_new(m->set->socket, m->set->nqueues, &m->bridge,
				&why);

	if (err)
		say(m, "%s: %s", m->set->socket, why ? why : strerror(-err));
	free(why);
	return err;
}

/* ------------------------------------------------------------------ */
/* Serving. */

/* Tell the parent how it went; it leaves, and with it our terminal. */
static void
tell_parent(struct mounted *m, int err)
{
	int null;

	if (m->parent < 0)
		return;
	if (write(m->parent, &err, sizeof(err)) < 0)
		say(m, "the parent is gone");
	close(m->parent);
	m->parent = -1;
	null = open("/dev/null", O_RDWR);
	if (null < 0)
		return;
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	openlog("gatewayctl", LOG_PID, LOG_DAEMON);
	m->quiet = true;
}

/* A signal asks for the end: by umount, and if somebody still uses the mount,
 * by taking it out of sight until they leave.  The threads go on meanwhile,
 * because umount writes back what is dirty. */
static void
unmount(struct mounted *m)
{
	if (umount2(m->dir, UMOUNT_NOFOLLOW) == 0)
		return;
	if (errno == EBUSY)
		say(m, "still in use: ends when the last user leaves");
	umount2(m->dir, UMOUNT_NOFOLLOW | MNT_DETACH);
}

/* The second signal does not wait. */
static bool
take_signal(struct mounted *m, int *nsignals)
{
	struct signalfd_siginfo si;

	if (read(m->signal_fd, &si, sizeof(si)) != sizeof(si))
		return true;
	if (++*nsignals > 1)
		return false;
	unmount(m);
	return true;
}

/* Serve until the mount or the device is gone. */
static int
serve(struct mounted *m)
{
	struct pollfd pfd[2] = {
		{ .fd = gw_bridge_event_fd(m->bridge), .events = POLLIN },
		{ .fd = m->signal_fd, .events = POLLIN },
	};
	int nsignals = 0;

	for (;;) {
		uint64_t count;

		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (pfd[0].revents &&
		    read(pfd[0].fd, &count, sizeof(count)) < 0)
			continue;
		if (pfd[1].revents && !take_signal(m, &nsignals))
			return -EINTR;
		switch (gw_bridge_state(m->bridge)) {
		case GW_BRIDGE_STARTING:
			break;
		case GW_BRIDGE_SERVING:
			tell_parent(m, 0);
			break;
		case GW_BRIDGE_BROKEN:
			say(m, "%s: %s; unmounted", m->set->socket,
			    gw_bridge_why(m->bridge));
			umount2(m->dir, UMOUNT_NOFOLLOW | MNT_DETACH);
			return -ENOTCONN;
		case GW_BRIDGE_ENDED:
			return 0;
		}
	}
}

static int
open_signals(struct mounted *m)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signal_fd < 0 ? -errno : 0;
}

static int
mount_and_serve(struct mounted *m)
{
	int err;

	m->fuse_fd = m->signal_fd = -1;
	m->dir = realpath(m->set->dir, NULL);
	if (!m->dir) {
		err = -errno;
		say(m, "%s", strerror(-err));
		return err;
	}
	err = open_signals(m);
	if (!err)
		err = connect_device(m);
	if (err)
		goto free_dir;
	err = mount_fuse(m);
	if (err)
		goto free_bridge;
	if (chdir("/") < 0)	/* not to keep our start directory busy */
		say(m, "chdir: %s", strerror(errno));
	/* The kernel leaves times of access to the server. */
	gw_bridge_noatime(m->bridge, m->flags & (MS_NOATIME | MS_RDONLY),
			  m->flags & (MS_NOATIME | MS_NODIRATIME | MS_RDONLY));
	err = gw_bridge_start(m->bridge, m->fuse_fd);
	if (err)
		say(m, "cannot start: %s", strerror(-err));
	else
		err = serve(m);
	if (err && err != -ENOTCONN)
		umount2(m->dir, UMOUNT_NOFOLLOW | MNT_DETACH);

free_bridge:
	gw_bridge_free(m->bridge);
	if (m->fuse_fd >= 0)
		close(m->fuse_fd);
free_dir:
	if (m->signal_fd >= 0)
		close(m->signal_fd);
	free(m->dir);
	return err;
}

/* The parent's wait: the child's word, or its silence. */
static int
wait_for_child(int fd)
{
	int err;
	ssize_t n;

	do
		n = read(fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(fd);
	return n == sizeof(err) ? err : -EIO;
}

/* A mount that is there already gets other flags; its client goes on. */
static int
remount(const struct mounted *m)
{
	int err = 0;

	if (mount(NULL, m->set->dir, NULL, m->flags, NULL) < 0)
		err = -errno;
	if (err)
		say(m, "cannot remount: %s", strerror(-err));
	return err;
}

int
gw_mount(const struct gw_mount_settings *set)
{
	struct mounted m = { .set = set, .parent = -1 };
	const char *bad;
	int fds[2], err;
	size_t len;
	pid_t pid;

	if (gw_mount_flags(set->options, &m.flags, &bad, &len)) {
		say(&m, "no mount option \"%.*s\"", (int)len, bad);
		return -EINVAL;
	}
	if (m.flags & MS_REMOUNT)
		return remount(&m);
	if (set->foreground)
		return mount_and_serve(&m);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		err = -errno;
		close(fds[0]);
		close(fds[1]);
		say(&m, "fork: %s", strerror(-err));
		return err;
	}
	if (pid > 0) {
		close(fds[1]);
		return wait_for_child(fds[0]);
	}
	close(fds[0]);
	setsid();
	m.parent = fds[1];
	err = mount_and_serve(&m);
	tell_parent(&m, err);
	_exit(err ? 1 : 0);
}
