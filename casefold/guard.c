/* SPDX-License-Identifier: MIT */
/*
 * Guards: one thread at a time makes a name of one class in a directory.  All
 * shares of a process may have the same guards, for two of them may show the
 * same directory.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "casefold/index.h"

enum {
	BUCKETS = 256,
};

struct bucket {
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct cf_held *held;
};

struct cf_guards {
	struct cf_key key;	/* the same for all shares; theirs differ */
	struct bucket bucket[BUCKETS];
};

int
cf_guards_new(struct cf_guards **guards)
{
	struct cf_guards *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	if (getrandom(&g->key, sizeof(g->key), 0) != sizeof(g->key)) {
		free(g);
		return -EIO;
	}
	for (int i = 0; i < BUCKETS; i++) {
		pthread_mutex_init(&g->bucket[i].lock, NULL);
		pthread_cond_init(&g->bucket[i].freed, NULL);
	}
	*guards = g;
	return 0;
}

void
cf_guards_free(struct cf_guards *g)
{
	for (int i = 0; g && i < BUCKETS; i++) {
		pthread_mutex_destroy(&g->bucket[i].lock);
		pthread_cond_destroy(&g->bucket[i].freed);
	}
	free(g);
}

void
cf_held_init(const struct cf_guards *g, const struct cf_dir *dir,
	     const struct cf_folded *folded, struct cf_held *held)
{
	uint64_t which[2] = { dir->dev, dir->ino };

	*held = (struct cf_held){
		.dir = cf_hash(&g->key, which, sizeof(which)),
		.name = cf_fold_hash(&g->key, folded),
	};
}

static struct bucket *
bucket_of(struct cf_guards *g, const struct cf_held *held)
{
	return &g->bucket[(held->dir ^ held->name) % BUCKETS];
}

static bool
is_held(const struct bucket *bucket, const struct cf_held *held)
{
	const struct cf_held *h = bucket->held;

	while (h && (h->dir != held->dir || h->name != held->name))
		h = h->next;
	return h;
}

int
cf_hold(struct cf_guards *g, struct cf_held *held, bool nowait)
{
	struct bucket *bucket = bucket_of(g, held);
	int err = 0;

	pthread_mutex_lock(&bucket->lock);
	while (is_held(bucket, held) && !err) {
		if (nowait)
			err = -EAGAIN;
		else
			pthread_cond_wait(&bucket->freed, &bucket->lock);
	}
	if (!err) {
		held->next = bucket->held;
		bucket->held = held;
		held->held = true;
	}
	pthread_mutex_unlock(&bucket->lock);
	return err;
}

void
cf_let_go(struct cf_guards *g, struct cf_held *held)
{
	struct bucket *bucket;
	struct cf_held **p;

	if (!held->held)
		return;
	bucket = bucket_of(g, held);
	pthread_mutex_lock(&bucket->lock);
	p = &bucket->held;
	while (*p != held)
		p = &(*p)->next;
	*p = held->next;
	held->held = false;
	pthread_cond_broadcast(&bucket->freed);
	pthread_mutex_unlock(&bucket->lock);
}
