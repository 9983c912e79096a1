/* SPDX-License-Identifier: MIT */
/*
 * The control socket: who connects, and what they may do.  What they say is
 * ctl.c's business.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "gatewayd/ctlpriv.h"

#define CLIENTS_MAX 512
#define IDLE_S 300

/* ---- clients ---- */

static bool
in_group(int fd, const struct ucred *peer, gid_t gid)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);

	if (peer->gid == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static bool
may_write(struct gw *gw, int fd, const struct ucred *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	return gw->conf->gateway.admin_gid != (gid_t)-1 &&
	       in_group(fd, peer, gw->conf->gateway.admin_gid);
}

static int
client_new(struct ctl *ctl, int fd)
{
	struct timeval idle = { .tv_sec = IDLE_S };
	struct client *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(c->peer);

	if (!c)
		return -ENOMEM;
	c->ctl = ctl;
	c->bev = bufferevent_socket_new(ctl->gw->base, fd,
					BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		free(c);
		return -ENOMEM;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len) == 0)
		c->writer = may_write(ctl->gw, fd, &c->peer);
	TAILQ_INSERT_TAIL(&ctl->clients, c, link);
	ctl->nclients++;
	bufferevent_setcb(c->bev, ctl_on_read, ctl_on_write,
			  ctl_on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, CTL_LINE_MAX);
	bufferevent_set_timeouts(c->bev, NULL, &idle);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	return 0;
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *ctl = arg;

	(void)fd;
	(void)what;
	event_add(ctl->accept, NULL);
}

static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct timeval second = { .tv_sec = 1 };
	struct ctl *ctl = arg;
	int fd;

	(void)what;
	if (ctl->nclients >= CLIENTS_MAX)
		fd = -1, errno = EMFILE;
	else
		fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0 && client_new(ctl, fd)) {
		close(fd);
	} else if (fd < 0 && errno != EAGAIN && errno != EINTR &&
		   errno != ECONNABORTED) {
		event_del(ctl->accept);
		evtimer_add(ctl->resume, &second);
	}
}

static int
bind_socket(struct gw *gw, struct gw_socket *sock, char *why, size_t size)
{
	const struct conf_gateway *conf = &gw->conf->gateway;
	int err;

	if (activate_socket(gw, NULL, sock, &err))
		return err;
	return listen_unix(conf->control_socket, NULL, conf->control_group,
			   conf->control_mode, false, sock, why, size);
}

int
ctl_new(struct gw *gw, struct ctl **out, char *why, size_t size)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));
	int err;

	if (!ctl)
		return -ENOMEM;
	ctl->gw = gw;
	TAILQ_INIT(&ctl->clients);
	err = bind_socket(gw, &ctl->sock, why, size);
	if (err) {
		free(ctl);
		return err;
	}
	ctl->accept = event_new(gw->base, ctl->sock.fd, EV_READ | EV_PERSIST,
				on_accept, ctl);
	ctl->resume = evtimer_new(gw->base, on_resume, ctl);
	if (!ctl->accept || !ctl->resume || ctl_watch_init(ctl)) {
		ctl_free(ctl);
		return -ENOMEM;
	}
	event_add(ctl->accept, NULL);
	*out = ctl;
	return 0;
}

int
ctl_apply(struct ctl *ctl)
{
	const struct conf_gateway *conf = &ctl->gw->conf->gateway;

	if (ctl->sock.inherited)
		return 0;
	return listen_own(ctl->sock.path, NULL, conf->control_group,
			  conf->control_mode);
}

void
ctl_free(struct ctl *ctl)
{
	if (!ctl)
		return;
	/* The loop has ended: what is answered already goes out now. */
	while (!TAILQ_EMPTY(&ctl->clients)) {
		struct client *c = TAILQ_FIRST(&ctl->clients);
		struct evbuffer *output = bufferevent_get_output(c->bev);

		evbuffer_unfreeze(output, 1);
		evbuffer_write(output, bufferevent_getfd(c->bev));
		ctl_client_free(c);
	}
	if (ctl->accept)
		event_free(ctl->accept);
	if (ctl->resume)
		event_free(ctl->resume);
	if (ctl->tick)
		event_free(ctl->tick);
	if (ctl->ring_tick)
		event_free(ctl->ring_tick);
	listen_close(&ctl->sock);
	free(ctl);
}
