/* SPDX-License-Identifier: MIT */
/*
 * The daemon's own structs.  main() makes one struct gw and hands it down.
 *
 * Threads: the control thread (libevent) owns everything here unless a comment
 * says otherwise.  Queue threads serve the rings of one session, pool threads
 * serve requests that may wait for a disk; both speak to the control thread by
 * gw_post().
 */
#ifndef GATEWAYD_GW_H
#define GATEWAYD_GW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/event.h>

#include "casefold/casefold.h"
#include "conf/conf.h"
#include "fuse/fuse.h"
#include "gatewayd/clock.h"
#include "gatewayd/kicks.h"
#include "gatewayd/lines.h"
#include "gatewayd/log.h"
#include "gatewayd/opstats.h"
#include "gatewayd/throttle.h"
#include "vhost/vhost.h"

struct activation;
struct ctl;
struct fold;
struct gw;
struct inflight;
struct job;
struct opening;
struct owners;
struct pool;
struct session;
struct share;

/* A message to the control thread; embedded in what it is about. */
struct gw_msg {
	STAILQ_ENTRY(gw_msg) link;
	void (*run)(struct gw *gw, struct gw_msg *msg);
	bool posted;			/* under gw->mail_lock */
};

/* Work on a thread of its own (aside.c); embedded in what it is about. */
struct aside {
	void (*run)(struct aside *a);	/* there */
	/* Then, on the control thread; may end the memory. */
	void (*done)(struct gw *gw, struct aside *a);
	struct gw *gw;
	struct gw_msg msg;
};

struct gw {
	struct event_base *base;
	struct conf_source source;	/* where the configuration comes from */
	struct conf *conf;		/* in use */
	TAILQ_HEAD(, share) shares;
	struct pool *pool;
	struct fs_budget *budget;	/* fds of all shares */
	char *cache_dir, *state_dir;	/* as they were at the start */
	struct cf_guards *guards;	/* of all shares with casefold */
	struct ctl *ctl;
	struct activation *activation;	/* sockets of the service manager, or NULL */
	struct event *signals[3];
	struct event *stop_timer;
	struct event *watchdog;		/* or NULL: nobody watches */
	struct event *hung_timer;	/* to look for requests that hang */
	struct event *trace_timer;	/* to copy traces to the log */
	unsigned hung_round;
	struct event *sweep;
	bool sweeping;			/* a sweep is not through yet */
	struct event *leave;
	time_t started;			/* CLOCK_MONOTONIC, seconds */
	bool stopping;
	bool ended;			/* gw_end() */
	int exit_status;

	pthread_mutex_t mail_lock;
	STAILQ_HEAD(, gw_msg) mail;	/* under mail_lock */
	int mail_fd;			/* eventfd */
	struct event *mail_event;

	struct gw_clock clock;		/* not changed after the start */
	atomic_ullong slow_ns;		/* longer requests are logged; 0 = none */
	struct lines *log;		/* the last lines of the log */
	struct {
		unsigned good, bad;	/* reloads */
		time_t when;		/* of the last good one, or the start */
		bool failed;		/* the last one */
	} reloads;

	unsigned nfiles;		/* answers in files (answer.c) */
	unsigned nlong;			/* long tasks (stateops.c) */
	atomic_int pollers;		/* threads that poll just now */
	atomic_int poll_max;		/* how many may */
	unsigned nthreads;		/* queue threads running */
	unsigned nasides;		/* aside_run() that is not done */
	TAILQ_HEAD(, opening) openings;
	LIST_HEAD(, owners) stores;
	struct event *opening_timer;
	unsigned nopening;		/* shares whose directory is not open yet */
	bool reload_waits;		/* one by SIGHUP, for a directory */
	uint64_t next_session;		/* number of the next session */
};

/* A listening socket and its name. */
struct gw_socket {
	int fd;				/* -1 when not listening */
	char *path;
	bool inherited;			/* name, owner and mode are not ours */
	dev_t dev;			/* of the name: is it still ours? */
	ino_t ino;
};

/* What an admin wants of a share, besides its configuration. */
enum tag_wish { TAG_AS_CONFIGURED, TAG_ENABLED, TAG_DISABLED };

/* What all shares of one mount tag have in common, old ones and the new. */
struct tag {
	struct gw *gw;
	char *name;
	unsigned refs;			/* shares of that tag */
	enum tag_wish wish;
	struct event *drain_timer;	/* then guests that stayed are dropped */
	struct log_limit comes, leaves;	/* for lines about sessions */
	struct log_limit hangs, ends;	/* ... and about requests that hang */
	struct inflight *hung;		/* those that the log tells of */
	size_t nhung;
	unsigned hung_round;		/* of gw, when they were looked at */
	uint64_t sessions_total;
	uint64_t refused;		/* frontends turned away */
	struct op_table cleared;	/* the table as it was at `clear` */
	LIST_HEAD(, fold) folds;	/* fold.c: in use by its shares */
	struct cf_stats fold_past;	/* of those that ended */

	struct throttle throttle;	/* any thread's */
	struct owners *owners;		/* NULL: no share of it records any */

	atomic_bool tracing;
	struct lines *_Atomic trace;	/* NULL: it was never on */
	bool trace_logged;		/* it goes to the log, too */
	struct lines_at logged;		/* as far as this */

	/* Of threads that ended and of requests in the pool. */
	pthread_mutex_t lock;
	struct fs_counters past;	/* under lock */
	struct op_table past_ops;	/* under lock */
	uint64_t past_polls, past_poll_hits;	/* under lock */
};

/* One set of settings of a mount tag. */
struct share {
	TAILQ_ENTRY(share) link;
	struct gw *gw;
	struct tag *tag;		/* held */
	struct conf_share *conf;	/* held */
	struct fs_share *fs;		/* NULL when the directory failed */
	struct fold *fold;		/* NULL: names are as they are */
	bool records;			/* it uses tag->owners */
	char *failed;			/* why it is not served, or NULL */
	bool opening;			/* at the start: its directory is not open */
	bool retired;			/* replaced or removed; its guests may stay */
	struct conf_share **older;	/* held: settings that were live before */
	size_t nolder;
	struct gw_socket sock;
	struct event *listen_event;
	struct event *listen_retry;	/* accept goes on after EMFILE */
	TAILQ_HEAD(, session) sessions;
	unsigned nsessions;
	struct log_limit limit;		/* for what frontends and guests cause */

	/* The pool's own, under its lock. */
	STAILQ_HEAD(, job) jobs;	/* that wait */
	TAILQ_HEAD(, job) running;
	TAILQ_ENTRY(share) ready;
	bool is_ready;
	unsigned njobs, nrunning;
	size_t job_bytes;		/* of those that wait */
	TAILQ_HEAD(, qthread) full;	/* threads that wait for room */
};

/* A request queue's thread. */
struct qthread {
	struct session *session;
	struct vh_queue *queue;		/* its own */
	pthread_t thread;
	struct kicks kicks;		/* what it sleeps on */
	struct gw_msg msg;		/* "I have stopped" */
	bool joined;
	struct gw_clock clock;		/* a copy */
	uint64_t now;			/* its last look at the clock */
	unsigned held;			/* of its own: HOLD_..., worker.c, */
	uint64_t until;			/* and for how long, unless `full` */

	/* The pool's: it has no room for more.  The link under its lock. */
	TAILQ_ENTRY(qthread) full_link;
	atomic_bool full;

	/* Written by the thread, read by any. */
	struct fs_req req;		/* the present one: opcode, node, unique */
	atomic_ullong since;		/* when it was taken; 0 = none is served */
	struct fs_counters counters;
	struct op_table ops;
	atomic_ullong polls, poll_hits;	/* looks at the ring that found work */

	pthread_mutex_t lock;
	struct vh_queue *hiprio;	/* under lock: also to be served, or NULL */
	bool stop;			/* under lock */
	bool drop;			/* under lock: say that hiprio is given back */
	atomic_bool attention;		/* one of the above has changed */
};

/* What a session keeps per queue. */
struct squeue {
	struct session *session;
	struct vh_queue *queue;
	struct qthread *thread;		/* that serves it, or NULL; changed under
					 * session->lock */
	struct event *stop_timer;	/* a stop that takes too long */
	unsigned inflight;		/* session->lock: requests of it in the pool */
	bool running;			/* between queue_start and vh_queue_stopped */
	bool held_back;			/* running, but the session is clearing */
	bool stopping;			/* queue_stop was asked */
	bool released;			/* session->lock: and no thread serves it */
	struct gw_msg drained;		/* a pool thread: inflight became 0 */
	struct gw_msg dropped;		/* a queue thread: hiprio is given back */
};

/* One connected front end. */
struct session {
	TAILQ_ENTRY(session) link;
	struct share *share;
	struct conf_share *conf;	/* held: as it was when it connected */
	uint64_t id;
	struct vh_conn *conn;
	struct fs_session *fs;
	struct event *event;		/* the socket is readable */
	struct event *silent;		/* until the rest of what is to come */
	struct ucred peer;
	time_t since;
	bool heard;
	bool ending;			/* changed under lock */
	bool clearing;			/* its files are being closed, aside */
	bool closing, cleared;		/* for its end; and it is done */
	struct aside clear;
	struct squeue queue[VH_QUEUES_MAX];

	pthread_mutex_t lock;
	bool peer_known;		/* under lock: the next two are set */
	char vm[80], program[32];	/* under lock: "" when it has none */
	unsigned njobs;			/* under lock: requests in the pool */
	bool stuck;			/* under lock: none has ended since a
					 * ring's stop waited for them in vain */
	char broken[160];		/* under lock: why a queue thread gave up */
	struct gw_msg broken_msg;
	struct gw_msg idle_msg;		/* the last cut-loose job has ended */
};

/* ---- gw.c: the loop and its mail ---- */
int gw_init(struct gw *gw);
void gw_fini(struct gw *gw);
void gw_post(struct gw *gw, struct gw_msg *msg);	/* any thread */
void gw_unpost(struct gw *gw, struct gw_msg *msg);	/* before it is freed */
void gw_stop(struct gw *gw, int status);	/* begin an orderly end */
void gw_check_stopped(struct gw *gw);	/* a session has gone */
void gw_run(struct gw *gw);		/* until it has ended */
/* Until every share is served that can be, or for some seconds. */
void gw_run_start(struct gw *gw);
void gw_apply(struct gw *gw);		/* settings other threads look at */
void gw_status(struct gw *gw);		/* tell systemd how many there are */

/* ---- aside.c ---- */
/* Call a->run on another thread, then a->done on this. */
void aside_run(struct gw *gw, struct aside *a);

/* ---- opening.c ---- */
/*
 * Open the directory of `conf`, and its store: 0 when that is done, well or
 * not, -EINPROGRESS: ask again when told, or -errno with a sentence in
 * why[size].
 */
int opening_begin(struct gw *gw, struct conf_share *conf, char *why,
		  size_t size);
/* What came of it, for owners_new(), too; -EAGAIN before it is done. */
int opening_take(struct gw *gw, struct conf_share *conf, struct fs_share **fs,
		 struct owners **owners, char *why, size_t size);
/* owners_begin() may say something else now. */
void openings_go_on(struct gw *gw, const char *tag);
/* Who wanted what is done has gone, or wants something else. */
void openings_drop(struct gw *gw);
void openings_fini(struct gw *gw);

/* ---- share.c ---- */
/* share_prepare() can go to work: as opening_begin(). */
int share_open_ahead(struct gw *gw, struct conf_share *conf,
		     const struct share *old, char *why, size_t size);
/*
 * With its directory open already, open the socket of `conf`; nobody is
 * accepted and the share is not in gw->shares yet.  `old` is the share whose
 * place it will take, or NULL: a socket of the same name is then taken over.
 */
int share_prepare(struct gw *gw, struct conf_share *conf, struct share *old,
		  struct share **share, char *why, size_t size);
/* Put it to use; `old` goes the way of share_retire(). */
void share_commit(struct share *share, struct share *old);
/* At start: a share that fails is kept, as failed; one whose directory is not
 * open yet is served when it is. */
void share_start(struct gw *gw, struct conf_share *conf);
void share_opened(struct gw *gw, const char *tag);	/* it may be */
/* Free it, aside if that may take long. */
void share_close_fs(struct gw *gw, struct fs_share *fs);
/* Take over settings that differ in live keys only. */
int share_apply(struct share *share, struct conf_share *conf, char *why,
		size_t size);
/* Let go of the directory if it does not listen and has no guest: it can
 * then be unmounted. */
void share_rest(struct share *share);
/* Stop listening; freed when its last guest has left. */
void share_retire(struct share *share);
void share_close(struct share *share);	/* listener gone, sessions ended */
void share_free(struct share *share);	/* no session is left */
void share_discard(struct share *share);	/* one that was only prepared */
/* The share in use of that tag, else one whose guests have stayed. */
struct share *share_find(struct gw *gw, const char *tag);
/* Shares of one tag: the one in use and those it replaced. */
struct share *share_of_tag(struct gw *gw, struct share *after,
			   const char *tag);
/* May it listen: as the admin wants, else as `conf` says.  `old` has its
 * place now, or is NULL. */
bool share_is_wanted(const struct conf_share *conf, const struct share *old);
/* End every session of its tag, or the one numbered `id` unless 0; how many. */
unsigned share_drop(struct share *share, uint64_t id);
/* Sum of all that was ever counted for its tag. */
void share_counters(struct share *share, struct fs_counters *sum);
void share_ops(struct share *share, struct op_table *sum);
void share_each_thread(struct share *share,
		       void (*fn)(struct qthread *t, void *ctx), void *ctx);
unsigned share_sessions(struct share *share);	/* of its tag */
const char *share_state(struct share *share);

/* ---- tag.c ---- */
struct tag *tag_get(struct gw *gw, const char *name);	/* made when needed */
void tag_put(struct tag *tag);
int tag_trace(struct tag *tag, enum conf_trace trace);
void tag_limit(struct share *share);	/* as it is configured */
/* TOP/TAG, allocated; and `path` with all that is above it, which `key` says. */
char *tag_dir(const char *top, const char *tag);
void tag_make_dirs(const char *key, const char *path);
/* What a share's ctl file can do; -errno with a sentence in why[size].
 * enable may put another struct share in its place. */
int tag_enable(struct share *share, char *why, size_t size);
void tag_disable(struct share *share);
/* Disable it, and drop who is still there after that time; 0 = never. */
int tag_drain(struct share *share, uint64_t us);
void tag_clear(struct share *share);	/* maxima and percentiles */

/* ---- trace.c ---- */
/* Copy what is new of a trace to the log, as much as that takes at once; from
 * now on, and again and again by a timer. */
int trace_log_init(struct gw *gw);
void trace_log_begin(struct tag *tag);
void trace_log(struct tag *tag);
void trace_request(struct session *s, const struct fs_req *req);
void trace_reply(struct session *s, const struct fs_req *req, size_t len,
		 uint64_t ns);

/* ---- peer.c ---- */
/* Find out what the front end's process is; may wait for it. */
void peer_look(struct session *s);

/* ---- inflight.c ---- */
/* A request that is being served, or waits for the pool. */
struct inflight {
	uint64_t session, unique, nodeid;
	uint64_t since_ns, age_ns;	/* since when, by gw_clock; how long */
	uint32_t opcode;
	unsigned queue;
	enum { IN_QUEUE, IN_POOL, IN_WAITING, IN_LOCK } where;
};
/* Those of a tag, allocated; -ENOMEM. */
int inflight_list(struct share *share, struct inflight **list, size_t *n);
/* Is it older than hung_request?  One that waits for a lock never is. */
bool inflight_is_hung(const struct gw *gw, const struct inflight *r);
/* A request is done that took longer than slow_request. */
void inflight_slow(struct session *s, const struct fs_req *req, uint64_t ns);

/* ---- hung.c ---- */
int hung_init(struct gw *gw);		/* begin to look for requests that hang */

/* ---- reload.c ---- */
/*
 * Read the configuration again and make it so, all or nothing; `dry`: only
 * say.  What changes, or every message about why not, is added to `out` and
 * logged.  0 or -errno with a sentence in why[size]; -EINPROGRESS: nothing
 * was done yet, and it is to be asked for again by ctl_go_on().
 */
int reload(struct gw *gw, bool dry, struct evbuffer *out, char *why,
	   size_t size);
void reload_on_signal(struct gw *gw);
void reload_go_on(struct gw *gw);	/* that, if it waits */

/* ---- listen.c ---- */
/*
 * Bind a listening unix socket at `path` so that nobody meets it half made:
 * bound to a temporary name, owner and mode set, then renamed.  Replaces a
 * socket that nobody listens on; with `replace`, one of our own too.
 * 0 or -errno with a sentence in why[size].
 */
int listen_unix(const char *path, const char *user, const char *group,
		unsigned mode, bool replace, struct gw_socket *sock, char *why,
		size_t size);
/* Close it and remove its name, unless that is somebody else's by now. */
void listen_close(struct gw_socket *sock);
/*
 * Bind the socket of `conf`, or take the one that the service manager made for
 * its tag.  It may replace one that the share `old` has.
 */
int share_bind(struct gw *gw, const struct conf_share *conf,
	       const struct share *old, struct gw_socket *sock, char *why,
	       size_t size);
int share_accept(struct share *share);	/* begin to; sock is bound */
void share_unlisten(struct share *share);
/* Give owner and mode of `conf` to the socket that is there. */
int listen_own(const char *path, const char *user, const char *group,
	       unsigned mode);

/* ---- activate.c: sockets of the service manager ---- */
/*
 * Keep those named "ctl" or by a tag of gw->conf, close others with a
 * warning.  0 or -ENOMEM.
 */
int activate(struct gw *gw);
void activate_fini(struct gw *gw);
/*
 * A duplicate of the one for `tag`, NULL = the control socket, in *sock; or
 * *err is why not.  False if there is none.
 */
bool activate_socket(struct gw *gw, const char *tag, struct gw_socket *sock,
		     int *err);

/* ---- session.c ---- */
int session_start(struct share *share, int fd, const struct ucred *peer);
/* End it: `why` is logged when it is not NULL. */
void session_end(struct session *s, const char *why);
/* Free it if it has ended and nothing uses it any more. */
void session_reap(struct session *s);
/* Close its files, because it has ended or its device was reset: aside, and
 * nothing of it is served meanwhile. */
void session_clear(struct session *s);
/* Watch the socket, or not while a reply is held back. */
void session_watch(struct session *s);
/* Any thread: this session cannot go on. */
void session_broken(struct session *s, const char *why);
/* Any thread: a request of queue `index` goes to the pool, has ended. */
void session_job_begin(struct session *s, unsigned index);
void session_job_end(struct session *s, unsigned index);
/* Any thread, before session_job_end: the thread of queue `index` is to
 * signal what was answered. */
void session_signal(struct session *s, unsigned index);

/* ---- queue.c: started and stopped rings ---- */
extern const struct vh_ops session_vh_ops;
void squeue_init(struct session *s);
void squeue_fini(struct session *s);
bool squeue_is_idle(const struct session *s);
/* Serve what was held back while its files were closed. */
void squeue_go_on(struct session *s);

/* ---- worker.c: queue threads ---- */
int qthread_start(struct session *s, struct vh_queue *q, struct vh_queue *hiprio,
		  struct qthread **t);
void qthread_attend(struct qthread *t);		/* look at your fields */
void qthread_wake(struct qthread *t);		/* look at your rings */
void qthread_interrupt(struct qthread *t);	/* out of a system call */
void qthread_join(struct qthread *t);		/* after its message came */
void qthread_free(struct qthread *t);
/* ---- pool.c: requests that may wait ---- */
int pool_new(struct gw *gw, unsigned size, struct pool **pool);
/* Ends idle threads; false if some are stuck in a request. */
bool pool_free(struct pool *pool);
/*
 * Give the request `req` in `c`, which `t` has taken off `q`, to the pool;
 * copies what it needs.  -ENOMEM, 0, or 1: so many of the share wait now that the
 * thread is to take no more.  t->full becomes false and the thread is woken
 * when it may again.
 */
int pool_submit(struct pool *pool, struct qthread *t, struct vh_queue *q,
		struct vh_chain *c, const struct fs_req *req);
/* Before the thread is freed. */
void pool_forget(struct pool *pool, struct qthread *t);
/* Add the requests of one share to list[*n], which has room for `max`; *n
 * counts those that did not fit, too. */
void pool_inflight(struct pool *pool, struct share *share, uint64_t now,
		   struct inflight *list, size_t max, size_t *n);
/* Work that may wait, of the daemon's own; any thread may ask. */
struct pool_task {
	STAILQ_ENTRY(pool_task) link;
	void (*run)(struct pool_task *task);	/* may end the task's memory */
};
void pool_run(struct pool *pool, struct pool_task *task);
struct pool_info {
	unsigned threads, idle, size;
	unsigned waiting;
};
void pool_info(struct pool *pool, struct pool_info *info);
void pool_share_init(struct share *share);

/* ---- fold.c: a share with casefold ---- */
int fold_new(struct share *share);	/* if it is configured; fs is open */
void fold_discard(struct share *share);
/* The share has taken the place of the one before. */
void fold_commit(struct share *share);
/* False: its end has begun; gw_check_stopped() is called when it is done. */
bool fold_close(struct share *share);
/* Of all shares of the tag. */
void fold_counters(const struct tag *tag, struct cf_stats *sum);
void fold_info(struct share *share, struct cf_info *info);
/* check or rebuild; what comes of it is logged, and shown. */
int fold_word(struct share *share, const char *word, char *why, size_t size);
void fold_show(struct share *share, struct evbuffer *out);

/* ---- owners.c: a share that records what the host cannot hold ---- */
/*
 * Open the store of a share of these settings, if it is to have one: 0 when that
 * is done, well or not, and *owners is used until owners_new() or
 * owners_release(), or NULL; -EINPROGRESS: openings_go_on() is called; or
 * -errno.
 */
int owners_begin(struct gw *gw, const struct conf_share *conf,
		 struct fs_share *fs, struct owners **owners);
/* The share records there; fs is open.  0 or -errno. */
int owners_new(struct share *share, struct owners *owners);
/* No more.  While gw->stores is not empty, one is still open; when the last is
 * not gw_check_stopped() is called. */
void owners_close(struct share *share);
/*
 * Use the store of its tag until owners_release(), which may come after the
 * share has ended; -errno and a sentence if there is none.  With `alone`,
 * -EBUSY while somebody else does so alone.
 */
int owners_use(struct share *share, bool alone, struct owners **owners,
	       struct cf_state **state, char *why, size_t size);
void owners_release(struct owners *o, bool alone);
/* Any thread, while it uses it: it is time to end. */
bool owners_hurry(struct owners *o);
void owners_stats(struct share *share, struct cf_state_stats *stats);
void owners_info(struct share *share, struct cf_state_info *info);
/* For status: "owners ..." lines. */
void owners_show(struct share *share, struct evbuffer *out);

/* ---- privs.c ---- */
void privs_raise_nofile(uint64_t want);
/* How many mappings of guest memory there may be, of all that a process may
 * have. */
unsigned privs_maps_limit(void);
/* Keep what serving needs, more or less what `mod` says. */
int privs_drop(const struct conf_caps *mod);

/* ---- notify.c ---- */
void notify_systemd(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* From now on tell systemd twice in $WATCHDOG_USEC that the loop runs. */
int notify_watchdog(struct gw *gw);

/* ---- sweep.c: fds that are not used ---- */
int sweep_start(struct gw *gw);

/* ---- ctl.c, tree.c, stats.c ---- */
int ctl_new(struct gw *gw, struct ctl **ctl, char *why, size_t size);
void ctl_free(struct ctl *ctl);
/* Do requests again that wait; true: some still do. */
bool ctl_go_on(struct ctl *ctl);
int ctl_apply(struct ctl *ctl);	/* owner and mode from the configuration */

uint64_t now_us(void);			/* CLOCK_MONOTONIC */

#endif
