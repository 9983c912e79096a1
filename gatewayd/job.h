/* SPDX-License-Identifier: MIT */
/*
 * A request in the worker pool.  It owns private copies of the request and of
 * the room for the reply: the guest memory of a request that hangs can be taken
 * away (vh_chain_finish()).
 */
#ifndef GATEWAYD_JOB_H
#define GATEWAYD_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "fuse/fuse.h"
#include "vhost/vhost.h"

struct session;

struct job {
	union {
		STAILQ_ENTRY(job) link;	/* while it waits */
		TAILQ_ENTRY(job) run;	/* while it runs */
	};
	struct session *session;
	uint64_t since;		/* taken off the ring */
	uint64_t unique, nodeid;
	uint32_t opcode;
	struct vh_queue *queue;
	struct vh_chain chain;	/* iov is the job's copy */
	struct iovec in, out;	/* private */
	unsigned flags;

	/* A request that waits for something else than a disk. */
	TAILQ_ENTRY(job) sleeper;
	struct fs_wait *wait;
	uint64_t wake_us;
	bool slept;		/* its age says nothing about us */
	bool asleep;		/* under the lock: in pool.asleep */
	bool resumed;		/* under the lock: before it fell asleep */
};

/* Copies what it needs; free(3) ends it.  NULL: no memory. */
struct job *job_new(struct session *s, struct vh_queue *q,
		    const struct vh_chain *c, const struct fs_req *req);
/* Serve and answer it.  False: it waits for something else than a disk, until
 * wake_us or job_resume(). */
bool job_run(struct job *job, struct fs_thread *ft);
void job_resume(void *job);	/* pool.c; any thread */
/*
 * Serve and answer at most FS_TOGETHER_MAX that have FS_MORE, which wait at the
 * same time (fs_can_be_later()).  done() is called for each, when it was
 * answered, or has to be run alone and has FS_MORE no more.
 */
typedef void job_done(void *ctx, struct job *job, bool answered);
void job_run_together(struct job **jobs, unsigned n, struct fs_thread *ft,
		      job_done *done, void *ctx);

#endif
