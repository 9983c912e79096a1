/* SPDX-License-Identifier: MIT */
/*
 * Answers that come while their ring is stopped.  The front end was told that
 * the chain is taken, so nobody will offer it again; its guest still waits for
 * it.  They are kept and given when the ring goes on where it was, as it does
 * when a virtual machine is stopped and continued.  A ring that is set up
 * anew, a reset and the end of the connection drop them.
 *
 * While a ring is stopped nothing of guest memory is written: it may be on
 * its way to a file or another host.
 */
#include "config.h"

#include "vhost/vh.h"

#include <stdlib.h>
#include <string.h>

struct vh_late {
	struct vh_late *next;
	struct vh_chain chain;	/* its iov follows */
	size_t len;
	bool have;		/* bytes, behind the iov */
};

static size_t
iov_bytes(const struct vh_chain *c)
{
	return (c->nin + c->nout) * sizeof *c->iov;
}

int
vh_late_keep(struct vh_queue *q, const struct vh_chain *c, const void *buf,
	     size_t len)
{
	struct vh_late *l = malloc(sizeof *l + iov_bytes(c) + (buf ? len : 0));

	if (!l)
		return -1;
	l->chain = *c;
	l->chain.iov = (struct iovec *)(l + 1);
	l->len = len;
	l->have = buf;
	memcpy(l->chain.iov, c->iov, iov_bytes(c));
	if (buf)
		memcpy((char *)l->chain.iov + iov_bytes(c), buf, len);
	pthread_mutex_lock(&q->lock);
	l->next = q->late;
	q->late = l;
	pthread_mutex_unlock(&q->lock);
	atomic_store_explicit(&q->news, true, memory_order_release);
	return 0;
}

static struct vh_late *
take_all(struct vh_queue *q)
{
	struct vh_late *l;

	pthread_mutex_lock(&q->lock);
	l = q->late;
	q->late = NULL;
	pthread_mutex_unlock(&q->lock);
	return l;
}

void
vh_late_give(struct vh_queue *q)
{
	struct vh_late *l = take_all(q), *next;

	for (; l; l = next) {
		char *buf = (char *)l->chain.iov + iov_bytes(&l->chain);

		next = l->next;
		vh_chain_finish(q, &l->chain, l->have ? buf : NULL, l->len);
		free(l);
	}
	vh_queue_signal(q);
}

void
vh_late_drop(struct vh_queue *q)
{
	struct vh_late *l = take_all(q), *next;

	for (; l; l = next) {
		next = l->next;
		vh_mem_put(l->chain.mem);
		atomic_fetch_sub_explicit(&q->holds, 1, memory_order_release);
		free(l);
	}
}
