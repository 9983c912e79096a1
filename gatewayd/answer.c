/* SPDX-License-Identifier: MIT */
/*
 * Answers that take a while; see answer.h.  One task on a pool thread at a
 * time, which has the fields below "while it runs" to itself.
 */
#include "gatewayd/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 16 };	/* answers in files, of all clients */

struct answer {
	struct gw *gw;
	const struct answer_work *work;
	void *arg;		/* NULL: it has ended */
	struct gw_msg done;	/* pool thread: the task has ended */
	void (*ready)(void *arg);
	void *ready_arg;
	bool running;
	bool dropped;
	atomic_bool cancelled;

	/* While it runs, the task's. */
	struct pool_task task;
	char *dir;		/* NULL: no file */
	int fd;			/* of what does not fit, or -1 */
	uint64_t size;		/* of all of it */
	uint64_t off;		/* of the piece, in the file */
	size_t len;		/* of the piece */
	int err;
	char why[ANSWER_WHY];
	char *piece;		/* NULL until it is needed */
	struct answer_counts counts;
};

static struct answer *
of_task(struct pool_task *task)
{
	return (struct answer *)((char *)task - offsetof(struct answer, task));
}

/* ---- the pool thread ---- */

static bool
have_piece(struct answer *a)
{
	if (!a->piece)
		a->piece = malloc(ANSWER_PIECE);
	return a->piece;
}

/* A file that ends with its descriptor. */
static int
open_file(struct answer *a)
{
	char *path;
	int fd = open(a->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	if (asprintf(&path, "%s/answer-XXXXXX", a->dir) < 0)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	else
		unlink(path);
	free(path);
	return fd;
}

static int
write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		buf += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

/* Write what is in memory. */
static int
flush(struct answer *a)
{
	int err;

	if (!a->dir)
		return -EMSGSIZE;
	if (a->fd < 0)
		a->fd = open_file(a);
	err = a->fd < 0 ? a->fd : write_all(a->fd, a->piece, a->len);
	a->len = 0;
	return err;
}

bool
answer_is_wanted(const struct answer *a)
{
	return !atomic_load(&a->cancelled);
}

void
answer_count(struct answer *a, size_t i, bool done)
{
	struct answer_counts *n = &a->counts;

	if (!i)
		n->first = done;
	n->done += done;
	n->refused += !done;
}

int
answer_put(struct answer *a, const char *line)
{
	size_t n = strlen(line);
	int err = 0;

	if (!answer_is_wanted(a))
		return -ECANCELED;
	if (n + 1 > ANSWER_PIECE)
		return -EMSGSIZE;
	if (!have_piece(a))
		return -ENOMEM;
	if (n + 1 > ANSWER_PIECE - a->len)
		err = flush(a);
	if (err)
		return err;
	memcpy(a->piece + a->len, line, n);
	a->piece[a->len + n] = '\n';
	a->len += n + 1;
	a->size += n + 1;
	return 0;
}

int
answer_reset(struct answer *a)
{
	a->len = 0;
	a->size = 0;
	if (a->fd < 0)
		return 0;
	return ftruncate(a->fd, 0) || lseek(a->fd, 0, SEEK_SET) < 0 ? -errno :
								       0;
}

int
answer_file(struct answer *a, int fd)
{
	struct stat st;
	int err = fstat(fd, &st) ? -errno : 0;

	if (a->fd >= 0)
		close(a->fd);
	a->fd = fd;
	a->len = 0;
	a->size = err ? 0 : (uint64_t)st.st_size;
	return err;
}

static void
run_work(struct pool_task *task)
{
	struct answer *a = of_task(task);

	a->err = a->work->run(a, a->arg, a->why);
	/* A file is given away from its beginning, by answer_fetch(). */
	if (!a->err && a->fd >= 0 && a->len)
		a->err = flush(a);
	if (a->err && !*a->why)
		snprintf(a->why, sizeof(a->why), "%s", strerror(-a->err));
	gw_post(a->gw, &a->done);
}

static void
run_fetch(struct pool_task *task)
{
	struct answer *a = of_task(task);
	uint64_t left = a->size - a->off;
	size_t want = left < ANSWER_PIECE ? (size_t)left : ANSWER_PIECE;
	ssize_t n;

	errno = ENOMEM;
	do
		n = have_piece(a) ? pread(a->fd, a->piece, want,
					  (off_t)a->off) : -1;
	while (n < 0 && errno == EINTR);
	a->err = n < 0 ? -errno : n == 0 ? -EIO : 0;
	a->len = n < 0 ? 0 : (size_t)n;
	gw_post(a->gw, &a->done);
}

/* ---- the control thread ---- */

static void
free_answer(struct answer *a)
{
	gw_unpost(a->gw, &a->done);
	if (a->dir)
		a->gw->nfiles--;
	if (a->fd >= 0)
		close(a->fd);
	free(a->piece);
	free(a->dir);
	free(a);
}

static void
on_done(struct gw *gw, struct gw_msg *msg)
{
	struct answer *a = (struct answer *)((char *)msg -
					     offsetof(struct answer, done));

	(void)gw;
	a->running = false;
	if (a->arg) {
		a->work->end(a->arg, a->err, a->why);
		a->arg = NULL;
	}
	if (a->dropped)
		free_answer(a);
	else if (a->ready)
		a->ready(a->ready_arg);
}

static void
run(struct answer *a, void (*fn)(struct pool_task *task))
{
	a->running = true;
	a->task.run = fn;
	pool_run(a->gw->pool, &a->task);
}

static struct answer *
make(struct gw *gw, const struct answer_work *work, const char *dir)
{
	struct answer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->gw = gw;
	a->work = work;
	a->fd = -1;
	a->done.run = on_done;
	if (!dir)
		return a;
	a->dir = strdup(dir);
	if (!a->dir) {
		free(a);
		return NULL;
	}
	gw->nfiles++;
	return a;
}

int
answer_new(struct gw *gw, const struct answer_work *work, void *arg,
	   const char *dir, struct answer **answer, char *why, size_t size)
{
	struct answer *a;
	int err = -ENOMEM;

	if (dir && gw->nfiles >= FILES_MAX) {
		snprintf(why, size, "%d large answers are being read by "
			 "others; try again later", FILES_MAX);
		err = -EBUSY;
		goto end;
	}
	a = make(gw, work, dir);
	if (!a)
		goto end;
	a->arg = arg;
	*answer = a;
	run(a, run_work);
	return 0;
end:
	work->end(arg, err, why);
	return err;
}

void
answer_watch(struct answer *a, void (*ready)(void *arg), void *arg)
{
	a->ready = ready;
	a->ready_arg = arg;
}

int
answer_result(const struct answer *a, uint64_t *len, const char **why)
{
	*len = a->size;
	*why = a->why;
	return a->err;
}

bool
answer_fetch(struct answer *a)
{
	if (a->off == a->size)
		return false;
	if (a->running)
		return true;
	if (a->fd >= 0)
		run(a, run_fetch);
	else
		a->ready(a->ready_arg);		/* it is in memory */
	return true;
}

int
answer_take(struct answer *a, struct evbuffer *out)
{
	if (a->err)
		return a->err;
	if (evbuffer_add(out, a->piece, a->len))
		return -ENOMEM;
	a->off += a->len;
	a->len = 0;
	return 0;
}

bool
answer_is_small(const struct answer *a)
{
	return a->work->small;
}

const struct answer_counts *
answer_counts(const struct answer *a)
{
	return &a->counts;
}

void
answer_drop(struct answer *a)
{
	a->ready = NULL;
	a->dropped = true;
	atomic_store(&a->cancelled, true);
	if (!a->running)
		free_answer(a);
}
