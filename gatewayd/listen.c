/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets: bound so that nobody meets them half made, accepted
 * again and again, held back for a second when descriptors run out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gatewayd/gw.h"

#define LISTEN_BACKLOG 128

__attribute__((format(printf, 4, 5))) static int
fail(int err, char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return err;
}

static int
set_address(struct sockaddr_un *sa, const char *path)
{
	if (strlen(path) >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	strcpy(sa->sun_path, path);
	return 0;
}

/* Does anybody answer at that address?  0, or -errno why we may not take it. */
static int
check_free(const struct sockaddr_un *sa)
{
	struct stat st;
	int fd, err;

	if (lstat(sa->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	err = err && errno == ECONNREFUSED ? 0 : -EADDRINUSE;
	close(fd);
	return err;
}

/* Make the directories above `path` that are missing. */
static int
make_parents(const char *path)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;
	int err;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (!mkdir(dir, 0755) || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	err = make_parents(dir);
	if (err)
		return err;
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

int
listen_own(const char *path, const char *user, const char *group,
	   unsigned mode)
{
	uid_t uid = user ? conf_user_number(user) : (uid_t)-1;
	gid_t gid = group ? conf_group_number(group) : (gid_t)-1;

	return chown(path, uid, gid) || chmod(path, mode) ? -errno : 0;
}

int
listen_unix(const char *path, const char *user, const char *group,
	    unsigned mode, bool replace, struct gw_socket *sock, char *why,
	    size_t size)
{
	struct sockaddr_un sa, final;
	struct stat st;
	char temp[sizeof(sa.sun_path) + 8];
	int n, err;

	if (set_address(&final, path))
		return fail(-ENAMETOOLONG, why, size, "socket %s: the path is "
			    "longer than %zu bytes", path,
			    sizeof(sa.sun_path) - 1);
	err = make_parents(path);
	if (err)
		return fail(err, why, size, "socket %s: its directory: %s",
			    path, strerror(-err));
	err = replace ? 0 : check_free(&final);
	if (err)
		return fail(err, why, size, err == -EADDRINUSE ?
			    "socket %s: another process listens there" :
			    err == -EEXIST ? "socket %s: there is a file of "
			    "that name" : "socket %s: cannot be looked at",
			    path);
	/* The temporary name is shorter than the name: it always fits. */
	snprintf(temp, sizeof(temp), "%s", path);
	n = (int)(strrchr(temp, '/') ? strrchr(temp, '/') + 1 - temp : 0);
	snprintf(temp + n, sizeof(temp) - (size_t)n, ".%x",
		 (unsigned)getpid() & 0xffffff);
	if (set_address(&sa, temp))
		return fail(-ENAMETOOLONG, why, size, "socket %s: the path "
			    "is too long", path);
	unlink(temp);

	n = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n < 0)
		return fail(-errno, why, size, "socket: %s", strerror(errno));
	if (bind(n, (struct sockaddr *)&sa, sizeof(sa))) {
		err = fail(-errno, why, size, "socket %s: %s", path,
			   strerror(errno));
		goto close_fd;
	}
	err = listen_own(temp, user, group, mode);
	if (!err && (lstat(temp, &st) || listen(n, LISTEN_BACKLOG) ||
		     rename(temp, path)))
		err = -errno;
	if (err) {
		fail(err, why, size, "socket %s: its owner \"%s\", group "
		     "\"%s\" and mode %o: %s", path, user ? user : "",
		     group ? group : "", mode, strerror(-err));
		goto unlink_temp;
	}
	*sock = (struct gw_socket){
		.fd = n,
		.path = strdup(path),
		.dev = st.st_dev,
		.ino = st.st_ino,
	};
	return 0;

unlink_temp:
	unlink(temp);
close_fd:
	close(n);
	return err;
}

static bool
may_connect(const struct share *share, uid_t uid)
{
	if (share->conf->allow_uids.n == 0)
		return true;
	for (size_t i = 0; i < share->conf->allow_uids.n; i++)
		if (share->conf->allowed_uid[i] == uid)
			return true;
	return false;
}

static void
refuse(struct share *share, const struct ucred *peer, const char *why)
{
	share->tag->refused++;
	log_limited(&share->limit, CONF_LOG_WARN,
		    "%s: front end refused: %s pid=%d uid=%u",
		    share->conf->tag, why, (int)peer->pid, peer->uid);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct share *share = arg;

	(void)fd;
	(void)what;
	event_add(share->listen_event, NULL);
}

/* Level-triggered accept would spin on EMFILE: look again in a second. */
static void
pause_accept(struct share *share, int err)
{
	struct timeval tv = { .tv_sec = 1 };

	log_limited(&share->limit, CONF_LOG_ERROR,
		    "%s: accept: %s; trying again in a second",
		    share->conf->tag, strerror(err));
	event_del(share->listen_event);
	evtimer_add(share->listen_retry, &tv);
}

static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct share *share = arg;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			pause_accept(share, errno);
		return;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	if (!may_connect(share, peer.uid)) {
		refuse(share, &peer, "allow_uids does not name it");
		close(fd);
	} else if (share->nsessions >= share->conf->max_clients) {
		refuse(share, &peer, "max_clients are connected");
		close(fd);
	} else if (session_start(share, fd, &peer)) {
		refuse(share, &peer, "out of memory or descriptors");
	}
}

int
share_bind(struct gw *gw, const struct conf_share *c, const struct share *old,
	   struct gw_socket *sock, char *why, size_t size)
{
	bool ours = old && old->sock.fd >= 0 &&
		    !strcmp(old->conf->socket, c->socket);
	int err;

	if (activate_socket(gw, c->tag, sock, &err)) {
		if (err)
			return fail(err, why, size, "socket of the service "
				    "manager: %s", strerror(-err));
		if (strcmp(sock->path, c->socket))
			log_warn("%s: listening on %s, as the service manager "
				 "says, not on %s", c->tag, sock->path,
				 c->socket);
		return 0;
	}
	return listen_unix(c->socket, c->socket_user, c->socket_group,
			   c->socket_mode, ours, sock, why, size);
}

int
share_accept(struct share *share)
{
	share->listen_event = event_new(share->gw->base, share->sock.fd,
					EV_READ | EV_PERSIST, on_accept, share);
	share->listen_retry = evtimer_new(share->gw->base, on_retry, share);
	if (!share->listen_event || !share->listen_retry)
		return -ENOMEM;
	event_add(share->listen_event, NULL);
	return 0;
}

void
listen_close(struct gw_socket *sock)
{
	struct stat st;

	if (sock->fd < 0)
		return;
	if (sock->path && !sock->inherited && !lstat(sock->path, &st) &&
	    st.st_dev == sock->dev && st.st_ino == sock->ino)
		unlink(sock->path);
	close(sock->fd);
	free(sock->path);
	*sock = (struct gw_socket){ .fd = -1 };
}

void
share_unlisten(struct share *share)
{
	if (share->listen_event)
		event_free(share->listen_event);
	if (share->listen_retry)
		event_free(share->listen_retry);
	share->listen_event = share->listen_retry = NULL;
	listen_close(&share->sock);
}
