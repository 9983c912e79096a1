/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets that the service manager made and handed over:
 * sd_listen_fds(3) without libsystemd.  The name of each says what it is for:
 * "ctl" is the control socket, any other is the tag of a share.
 *
 * They stay open and keep their names in the file system as long as the
 * daemon runs, whatever a reload removes or brings back: they are the service
 * manager's.  A share that listens on one holds a duplicate.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gatewayd/gw.h"

#define FIRST_FD 3
#define CONTROL "ctl"
#define FDS_MAX 65536

struct inherited {
	char *name;
	char *path;
	int fd;
};

struct activation {
	size_t n;
	struct inherited v[];
};

/* A whole number, all of the text; -1 when it is not. */
static long
number(const char *text)
{
	char *end;
	long n;

	if (!text || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	n = strtol(text, &end, 10);
	return *end || errno ? -1 : n;
}

static bool
has_option(int fd, int option, int want)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return !getsockopt(fd, SOL_SOCKET, option, &value, &len) &&
	       value == want;
}

/* Its path, allocated; NULL when it is no socket for us, and why. */
static char *
socket_path(int fd, const char **why)
{
	struct sockaddr_un sa;
	socklen_t len = sizeof(sa);

	*why = "is not a listening unix stream socket with a path";
	if (!has_option(fd, SO_DOMAIN, AF_UNIX) ||
	    !has_option(fd, SO_TYPE, SOCK_STREAM) ||
	    !has_option(fd, SO_ACCEPTCONN, 1) ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) ||
	    len <= offsetof(struct sockaddr_un, sun_path) ||
	    sa.sun_path[0] != '/')
		return NULL;
	*why = strerror(ENOMEM);
	return strndup(sa.sun_path,
		       len - offsetof(struct sockaddr_un, sun_path));
}

static const struct inherited *
find(const struct activation *a, const char *name)
{
	for (size_t i = 0; a && i < a->n; i++)
		if (!strcmp(a->v[i].name, name))
			return &a->v[i];
	return NULL;
}

/* Keep it, or close it and say why; takes `name`. */
static void
take(struct gw *gw, struct activation *a, int fd, char *name)
{
	struct inherited in = { name, NULL, fd };
	const char *why = strerror(ENOMEM);

	if (name && strcmp(name, CONTROL) && !conf_find(gw->conf, name))
		why = "no share has that tag";
	else if (name && find(a, name))
		why = "is the second one of that name";
	else if (name)
		in.path = socket_path(fd, &why);
	if (in.path && !fcntl(fd, F_SETFD, FD_CLOEXEC) &&
	    !fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) {
		a->v[a->n++] = in;
		return;
	}
	log_warn("socket \"%s\" of the service manager is not used: %s",
		 name ? name : "", why);
	close(fd);
	free(in.path);
	free(name);
}

/* The next of "one:two:three", allocated; "" behind the last. */
static char *
next_name(const char **names)
{
	size_t n = strcspn(*names, ":");
	char *name = strndup(*names, n);

	*names += n + ((*names)[n] == ':');
	return name;
}

int
activate(struct gw *gw)
{
	const char *names = getenv("LISTEN_FDNAMES");
	long n = number(getenv("LISTEN_FDS"));

	if (number(getenv("LISTEN_PID")) != getpid() || n <= 0 || n > FDS_MAX)
		return 0;
	gw->activation = calloc(1, sizeof(*gw->activation) +
				(size_t)n * sizeof(gw->activation->v[0]));
	if (!gw->activation)
		return -ENOMEM;
	for (int fd = FIRST_FD; fd < FIRST_FD + n; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			take(gw, gw->activation, fd,
			     names ? next_name(&names) : strdup("unknown"));
	return 0;
}

bool
activate_socket(struct gw *gw, const char *tag, struct gw_socket *sock,
		int *err)
{
	const struct inherited *in = find(gw->activation, tag ? tag : CONTROL);

	if (!in || (tag && !strcmp(tag, CONTROL)))
		return false;
	*sock = (struct gw_socket){ .fd = -1, .inherited = true };
	*err = 0;
	sock->path = strdup(in->path);
	if (sock->path)
		sock->fd = fcntl(in->fd, F_DUPFD_CLOEXEC, 0);
	if (sock->fd < 0) {
		*err = sock->path ? -errno : -ENOMEM;
		free(sock->path);
		sock->path = NULL;
	}
	return true;
}

void
activate_fini(struct gw *gw)
{
	struct activation *a = gw->activation;

	for (size_t i = 0; a && i < a->n; i++) {
		close(a->v[i].fd);
		free(a->v[i].name);
		free(a->v[i].path);
	}
	free(a);
	gw->activation = NULL;
}
