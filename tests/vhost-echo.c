/* SPDX-License-Identifier: MIT */
/* A device that echoes, see vhost-echo.h. */
#include "config.h"

#include "tests/vhost-echo.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct late {
	struct late *next;
	struct vh_queue *q;
	struct vh_chain c;
	struct iovec *iov;
};

struct server {
	struct echo *e;
	struct vh_queue *q;
	pthread_t thread;
	int wake;		/* eventfd: sync or stop */
	atomic_bool stop;
	atomic_uint nlate;	/* answers that others still owe */
	bool running;
	unsigned seen;
};

struct echo {
	struct echo_settings set;
	struct vh_conn *conn;
	pthread_t control, helper;
	int wake;		/* eventfd for the control thread */
	int result;
	char why[256];
	atomic_bool end, failed;
	atomic_uint nresets;
	atomic_uint stopped[VH_QUEUES_MAX];
	struct server server[VH_QUEUES_MAX];
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct late *late;
	bool no_more;
};

static void
signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof one) < 0)
		perror("eventfd");
}

static void
drain_fd(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof n) < 0 && errno != EAGAIN)
		perror("eventfd");
}

static size_t
gather(const struct vh_chain *c, char *buf)
{
	size_t n = 0;

	for (unsigned i = 0; i < c->nin; i++) {
		memcpy(buf + n, c->iov[i].iov_base, c->iov[i].iov_len);
		n += c->iov[i].iov_len;
	}
	return n;
}

static size_t
scatter(const struct vh_chain *c, const char *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = c->nin; i < c->nin + c->nout && done < len; i++) {
		size_t n = c->iov[i].iov_len;

		if (n > len - done)
			n = len - done;
		memcpy(c->iov[i].iov_base, buf + done, n);
		done += n;
	}
	return done;
}

static void
give_away(struct server *s, struct vh_chain *c)
{
	struct echo *e = s->e;
	struct late *l = malloc(sizeof *l);
	size_t len = (c->nin + c->nout) * sizeof *c->iov;

	vh_chain_hold(s->q, c);
	l->q = s->q;
	l->c = *c;
	l->c.iov = malloc(len + 1);
	memcpy(l->c.iov, c->iov, len);
	atomic_fetch_add(&s->nlate, 1);
	pthread_mutex_lock(&e->lock);
	l->next = e->late;
	e->late = l;
	pthread_cond_signal(&e->cond);
	pthread_mutex_unlock(&e->lock);
}

static void
wake_server(struct server *s)
{
	signal_fd(s->wake);
}

static void *
helper_main(void *arg)
{
	struct echo *e = arg;

	for (;;) {
		struct late *l;
		struct server *s;
		size_t len;
		char *buf;

		pthread_mutex_lock(&e->lock);
		while (!e->late && !e->no_more)
			pthread_cond_wait(&e->cond, &e->lock);
		l = e->late;
		if (l)
			e->late = l->next;
		pthread_mutex_unlock(&e->lock);
		if (!l)
			return NULL;
		buf = malloc(l->c.in_len + 1);
		len = gather(&l->c, buf);
		if (e->set.loose)
			usleep(100);
		s = vh_queue_data(l->q);
		vh_chain_finish(l->q, &l->c, buf, len);
		wake_server(s);
		atomic_fetch_sub(&s->nlate, 1);
		free(buf);
		free(l->c.iov);
		free(l);
	}
}

static int
serve_some(struct server *s, struct iovec *iov, char **buf, size_t *room)
{
	struct vh_used used[64];
	struct vh_chain c;
	unsigned n = 0;
	int r;

	while ((r = vh_queue_pop(s->q, &c, iov)) > 0) {
		if (s->e->set.late && ++s->seen % 3 == 0) {
			give_away(s, &c);
			continue;
		}
		if (c.in_len > *room) {
			*buf = realloc(*buf, c.in_len);
			*room = c.in_len;
		}
		used[n].head = c.head;
		used[n++].len = (uint32_t)scatter(&c, *buf, gather(&c, *buf));
		if (n == 64 || !s->e->set.batch) {
			vh_queue_complete(s->q, used, n);
			n = 0;
		}
	}
	vh_queue_complete(s->q, used, n);
	return r;
}

static bool
poll_ring(struct server *s)
{
	for (unsigned i = 0; i < s->e->set.poll; i++) {
		if (vh_queue_has_work(s->q))
			return true;
		if (atomic_load(&s->stop))
			break;
	}
	return false;
}

static void
wait_for_work(struct server *s)
{
	struct pollfd p[2] = {
		{ .fd = s->wake, .events = POLLIN },
		{ .fd = vh_queue_kick_fd(s->q), .events = POLLIN },
	};

	if (poll_ring(s) || !vh_queue_arm(s->q))
		return;
	poll(p, 2, p[1].fd < 0 ? 1 : -1);
	vh_queue_suppress(s->q);
	if (p[0].revents)
		drain_fd(s->wake);
	if (p[1].fd >= 0 && p[1].revents) {
		drain_fd(p[1].fd);
		vh_queue_kicked(s->q);
	}
}

static void *
server_main(void *arg)
{
	struct server *s = arg;
	struct iovec *iov = malloc(VH_IOV_MAX * sizeof *iov);
	size_t room = 65536;
	char *buf = malloc(room);

	while (!atomic_load(&s->stop)) {
		if (vh_queue_sync(s->q) ||
		    serve_some(s, iov, &buf, &room) < 0) {
			atomic_store(&s->e->failed, true);
			break;
		}
		wait_for_work(s);
	}
	while (!s->e->set.loose && atomic_load(&s->nlate))
		usleep(50);
	vh_queue_signal(s->q);
	free(buf);
	free(iov);
	atomic_store(&s->e->stopped[vh_queue_index(s->q)], 1);
	signal_fd(s->e->wake);
	return NULL;
}

/* ---- the control thread ---- */

static int
on_start(void *ctx, struct vh_queue *q)
{
	struct echo *e = ctx;
	struct server *s = &e->server[vh_queue_index(q)];

	s->e = e;
	s->q = q;
	atomic_store(&s->stop, false);
	/* Kept over a stop: the helper may be using it. */
	if (!s->wake)
		s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vh_queue_set_data(q, s);
	s->running = true;
	return -pthread_create(&s->thread, NULL, server_main, s);
}

static void
on_wake(void *ctx, struct vh_queue *q)
{
	(void)ctx;
	signal_fd(((struct server *)vh_queue_data(q))->wake);
}

static void
on_stop(void *ctx, struct vh_queue *q)
{
	atomic_store(&((struct server *)vh_queue_data(q))->stop, true);
	on_wake(ctx, q);
}

static void
on_reset(void *ctx)
{
	atomic_fetch_add(&((struct echo *)ctx)->nresets, 1);
}

static const struct vh_ops ops = {
	.queue_start = on_start,
	.queue_stop = on_stop,
	.queue_wake = on_wake,
	.reset = on_reset,
};

/* Bury the servers that have stopped; how many still run. */
static unsigned
collect(struct echo *e)
{
	unsigned left = 0;

	for (unsigned i = 0; i < e->set.nqueues; i++) {
		struct server *s = &e->server[i];

		if (!s->running)
			continue;
		left++;
		if (!atomic_load(&s->stop) ||
		    !atomic_exchange(&e->stopped[i], 0))
			continue;
		pthread_join(s->thread, NULL);
		s->running = false;
		left--;
		vh_queue_stopped(s->q);
	}
	return left;
}

static const char *
why_of(struct echo *e)
{
	for (unsigned i = 0; i < e->set.nqueues; i++)
		if (e->server[i].q && *vh_queue_why(e->server[i].q))
			return vh_queue_why(e->server[i].q);
	return vh_conn_why(e->conn);
}

static void *
control_main(void *arg)
{
	struct echo *e = arg;
	int err = 0;

	while (!err && !atomic_load(&e->end) && !atomic_load(&e->failed)) {
		bool reads = vh_conn_wants_read(e->conn);
		struct pollfd p[2] = {
			{ .fd = e->wake, .events = POLLIN },
			{ .fd = reads ? vh_conn_fd(e->conn) : -1,
			  .events = POLLIN },
		};

		poll(p, 2, -1);
		drain_fd(e->wake);
		collect(e);
		err = vh_conn_process(e->conn);
	}
	if (!err && atomic_load(&e->failed))
		err = -EPROTO;
	e->result = err;
	snprintf(e->why, sizeof e->why, "%s", why_of(e));
	vh_conn_close(e->conn);
	while (collect(e))
		usleep(100);
	pthread_mutex_lock(&e->lock);
	e->no_more = true;
	pthread_cond_signal(&e->cond);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

struct echo *
echo_start(int fd, const struct echo_settings *set)
{
	struct vh_settings vs = { .nqueues = set->nqueues, .tag = set->tag };
	struct echo *e = calloc(1, sizeof *e);

	e->set = *set;
	e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->cond, NULL);
	if (vh_conn_new(fd, &vs, &ops, e, &e->conn))
		abort();
	pthread_create(&e->helper, NULL, helper_main, e);
	pthread_create(&e->control, NULL, control_main, e);
	return e;
}

void
echo_stats(struct echo *e, unsigned i, struct vh_queue_stats *st)
{
	vh_queue_get_stats(e->server[i].q, st);
}

unsigned
echo_resets(const struct echo *e)
{
	return atomic_load(&e->nresets);
}

int
echo_end(struct echo *e, char *why)
{
	int result;

	atomic_store(&e->end, true);
	signal_fd(e->wake);
	pthread_join(e->control, NULL);
	pthread_join(e->helper, NULL);
	while (!vh_conn_is_idle(e->conn))
		usleep(100);
	vh_conn_free(e->conn);
	result = e->result;
	if (why)
		strcpy(why, e->why);
	close(e->wake);
	for (unsigned i = 0; i < e->set.nqueues; i++)
		if (e->server[i].wake)
			close(e->server[i].wake);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->cond);
	free(e);
	return result;
}
