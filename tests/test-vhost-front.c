/* SPDX-License-Identifier: MIT */
/*
 * The front end against the back end, in one process: requests cut into
 * random pieces are echoed; rings stop and start; several queues at once.
 */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-echo.h"
#include "vhost/front.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SLOT 8192	/* bytes of a request, and again of its reply */

static const uint64_t all_features =
	VH_BIT(VIRTIO_F_VERSION_1) | VH_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
	VH_BIT(VIRTIO_RING_F_EVENT_IDX);

struct job {
	struct vh_front *f;
	struct vh_front_queue *q;
	unsigned seed;
	long n;
	unsigned depth;		/* requests under way at once */
	char *mem;		/* [depth][2][SLOT] */
	unsigned stop_every;	/* requests between stops, 0 = never */
	long done;
	const char *wrong;
};

static unsigned
rnd(struct job *j, unsigned n)
{
	return (unsigned)rand_r(&j->seed) % n;
}

/* Cut `len` bytes at `p` into at most `max` pieces. */
static unsigned
cut(struct job *j, char *p, size_t len, struct iovec *iov, unsigned max)
{
	unsigned n = 0;

	while (len && n + 1 < max) {
		size_t part = 1 + rnd(j, (unsigned)len);

		if (rnd(j, 3) == 0)
			part = len;
		iov[n++] = (struct iovec){ p, part };
		p += part;
		len -= part;
	}
	if (len)
		iov[n++] = (struct iovec){ p, len };
	return n;
}

struct slot {
	bool used;
	size_t len, room;
};

static int
put_one(struct job *j, struct slot *s, unsigned i)
{
	char *in = j->mem + (size_t)i * 2 * SLOT, *out = in + SLOT;
	struct iovec iov[32];
	unsigned nin, nout;

	s->len = rnd(j, 4) ? 1 + rnd(j, 200) : 1 + rnd(j, SLOT);
	s->room = rnd(j, 8) ? s->len + rnd(j, (unsigned)(SLOT - s->len + 1))
			    : 1 + rnd(j, SLOT);
	for (size_t k = 0; k < s->len; k += 61)
		in[k] = (char)rnd(j, 256);
	memset(out, 0x55, SLOT);
	nin = cut(j, in, s->len, iov, 1 + rnd(j, 15));
	nout = cut(j, out, s->room, iov + nin, 1 + rnd(j, 15));
	return vh_front_submit(j->q, iov, nin, nout, i);
}

static const char *
check_one(struct job *j, const struct slot *s, unsigned i, uint32_t len)
{
	char *in = j->mem + (size_t)i * 2 * SLOT, *out = in + SLOT;
	size_t want = s->len < s->room ? s->len : s->room;

	if (!s->used)
		return "an answer to nothing";
	if (len != want)
		return "a wrong used.len";
	if (memcmp(in, out, want))
		return "wrong bytes";
	for (size_t k = want; k < SLOT; k++)
		if (out[k] != 0x55)
			return "bytes behind the answer";
	return NULL;
}

static void *
job_main(void *arg)
{
	struct job *j = arg;
	struct slot *slot = calloc(j->depth, sizeof *slot);
	long sent = 0;
	unsigned busy = 0;

	while (j->done < j->n && !j->wrong) {
		uint64_t cookie;
		uint32_t len;
		int r = 0;

		for (unsigned i = 0; i < j->depth && sent < j->n && !r; i++) {
			if (slot[i].used)
				continue;
			r = put_one(j, &slot[i], i);
			if (r == -ENOSPC && busy)
				break;
			slot[i].used = !r;
			busy += !r;
			sent += !r;
			if (r)
				j->wrong = "submit failed";
			if (rnd(j, 2) && vh_front_kick(j->q) < 0)
				j->wrong = "kick failed";
		}
		if (vh_front_kick(j->q) < 0)
			j->wrong = "kick failed";
		if (j->stop_every && rnd(j, j->stop_every) == 0 &&
		    (vh_front_stop(j->q) || vh_front_start(j->q)))
			j->wrong = "stop and start failed";
		r = vh_front_wait(j->q, &cookie, &len, 10000);
		if (r < 0) {
			j->wrong = strerror(-r);
			break;
		}
		do {
			j->wrong = check_one(j, &slot[cookie],
					     (unsigned)cookie, len);
			slot[cookie].used = false;
			busy--;
			j->done++;
		} while (!j->wrong &&
			 (r = vh_front_reap(j->q, &cookie, &len)) > 0);
	}
	free(slot);
	return NULL;
}

struct plan {
	const char *name;
	unsigned nqueues, size, depth;
	uint64_t features;
	struct echo_settings echo;
	unsigned stop_every;
	long n;
};

#define F(bit) VH_BIT(VIRTIO_RING_F_##bit)
#define V1 VH_BIT(VIRTIO_F_VERSION_1)

static const struct plan plans[] = {
	{ "one at a time", 2, 128, 1, 0, { .nqueues = 2 }, 0, 3000 },
	{ "polling", 2, 128, 4, 0, { .nqueues = 2, .poll = 200 }, 0, 5000 },
	{ "batches", 2, 256, 64, 0, { .nqueues = 2, .batch = true }, 0, 20000 },
	{ "without EVENT_IDX", 2, 128, 16, V1 | F(INDIRECT_DESC),
	  { .nqueues = 2, .batch = true }, 0, 10000 },
	{ "without INDIRECT_DESC", 2, 64, 16, V1 | F(EVENT_IDX),
	  { .nqueues = 2, .batch = true }, 0, 10000 },
	{ "plain, a ring of 32", 2, 32, 4, V1, { .nqueues = 2 }, 0, 5000 },
	{ "a ring of 1", 2, 1, 1, 0, { .nqueues = 2 }, 0, 500 },
	{ "a ring of 32768", 2, 32768, 64, 0, { .nqueues = 2, .batch = true },
	  0, 40000 },
	{ "late answers", 2, 128, 32, 0, { .nqueues = 2, .late = true }, 0,
	  10000 },
	{ "five queues, stopped and started", 5, 64, 16, 0,
	  { .nqueues = 5, .late = true, .batch = true }, 100, 3000 },
	{ "three queues, stopped before they have answered", 3, 64, 16, 0,
	  { .nqueues = 3, .late = true, .loose = true }, 20, 2000 },
	{ "two queues, stopped all the time", 2, 64, 16, V1,
	  { .nqueues = 3, .batch = true }, 3, 500 },
};

static bool
run_jobs(struct vh_front *f, const struct plan *p, const char **wrong)
{
	unsigned n = vh_front_nqueues(f);
	pthread_t thread[VH_QUEUES_MAX];
	struct job job[VH_QUEUES_MAX];
	size_t size;
	char *mem = vh_front_mem(f, &size);

	*wrong = NULL;
	for (unsigned i = 0; i < n; i++) {
		job[i] = (struct job){
			.f = f,
			.q = vh_front_queue(f, i),
			.seed = 7 + i,
			.n = tap_scaled(p->n),
			.depth = p->depth,
			.mem = mem + (size_t)i * p->depth * 2 * SLOT,
			.stop_every = p->stop_every,
		};
		pthread_create(&thread[i], NULL, job_main, &job[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(thread[i], NULL);
		if (job[i].wrong)
			*wrong = job[i].wrong;
	}
	return !*wrong;
}

static void
test_plan(const struct plan *p)
{
	struct vh_front_settings set = {
		.nqueues = p->nqueues,
		.queue_size = p->size,
		.mem_size = (size_t)p->nqueues * p->depth * 2 * SLOT,
		.features = p->features,
	};
	struct vh_front *f = NULL;
	struct vh_queue_stats st;
	char *why = NULL, end[256];
	const char *wrong;
	struct echo *e;
	int sv[2], r;

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv);
	e = echo_start(sv[0], &p->echo);
	r = vh_front_new(sv[1], &set, &f, &why);
	if (!ok(!r, "%s: connects", p->name)) {
		printf("# %s\n", why);
		r = echo_end(e, end);
		printf("# %d %s\n", r, end);
		free(why);
		return;
	}
	is_int(vh_front_nqueues(f), p->nqueues, "%s: queues", p->name);
	ok((vh_front_features(f) & all_features) ==
	   (p->features ? p->features : all_features), "%s: features", p->name);
	if (!ok(run_jobs(f, p, &wrong), "%s: all answers are right", p->name))
		printf("# %s\n", wrong);
	echo_stats(e, 1, &st);
	ok(st.chains >= (uint64_t)tap_scaled(p->n), "%s: chains are counted",
	   p->name);
	printf("# %llu chains, %llu kicks, %llu calls, %llu suppressed, "
	       "%llu batches\n", (long long)st.chains, (long long)st.kicks,
	       (long long)st.calls, (long long)st.calls_suppressed,
	       (long long)st.batches);
	vh_front_free(f);
	/* It may see the hang-up or our wish first. */
	r = echo_end(e, end);
	if (!ok(!r || r == -ENOTCONN, "%s: ends well", p->name))
		printf("# %d %s\n", r, end);
}

/* ---- connecting by path ---- */

static void
test_paths(void)
{
	struct vh_front_settings set = { .nqueues = 2, .queue_size = 100 };
	char long_path[200], *why;
	struct vh_front *f;

	memset(long_path, 'x', sizeof long_path - 1);
	long_path[sizeof long_path - 1] = '\0';
	is_int(vh_front_connect(long_path, &set, &f, &why), -ENAMETOOLONG,
	       "a path that is too long");
	free(why);
	is_int(vh_front_connect("/nonexistent/s", &set, &f, &why), -ENOENT,
	       "a path that is not there");
	is_str(why, "/nonexistent/s: No such file or directory", "why");
	free(why);
}

static void
test_listener(void)
{
	struct vh_front_settings set = { .nqueues = 9, .queue_size = 64,
		.mem_size = 1 << 20 };
	struct echo_settings es = { .nqueues = 3 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char *why = NULL;
	struct vh_front *f;
	struct echo *e;
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	struct {
		int fd;
	} a;
	pthread_t t;

	snprintf(sa.sun_path, sizeof sa.sun_path, "/tmp/vhost-front-%d.sock",
		 (int)getpid());
	unlink(sa.sun_path);
	if (bind(l, (void *)&sa, sizeof sa) || listen(l, 1)) {
		ok(0, "bind %s", sa.sun_path);
		return;
	}
	(void)t;
	/* The kernel completes connect() from the backlog, so one thread can
	 * do both; only the messages need the other side. */
	a.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connect(a.fd, (void *)&sa, sizeof sa);
	fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	e = echo_start(fd, &es);
	if (ok(!vh_front_new(a.fd, &set, &f, &why), "connects by path")) {
		is_int(vh_front_nqueues(f), 3, "no more queues than offered");
		vh_front_free(f);
	}
	free(why);
	echo_end(e, NULL);
	close(l);
	unlink(sa.sun_path);
}

static void
test_bad_chains(void)
{
	struct vh_front_settings set = { .nqueues = 2, .queue_size = 4,
		.mem_size = 65536 };
	struct echo_settings es = { .nqueues = 2 };
	struct vh_front *f = NULL;
	struct vh_front_queue *q;
	struct iovec iov[8];
	uint64_t cookie;
	uint32_t len;
	size_t size;
	char *mem;
	struct echo *e;
	int sv[2];

	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv);
	e = echo_start(sv[0], &es);
	vh_front_new(sv[1], &set, &f, NULL);
	q = vh_front_queue(f, 1);
	mem = vh_front_mem(f, &size);
	iov[0] = (struct iovec){ &size, sizeof size };
	is_int(vh_front_submit(q, iov, 1, 0, 0), -EFAULT, "memory not shared");
	iov[0] = (struct iovec){ mem + size - 4, 8 };
	is_int(vh_front_submit(q, iov, 1, 0, 0), -EFAULT, "over the end");
	is_int(vh_front_submit(q, iov, 0, 0, 0), -EINVAL, "no pieces");
	is_int(vh_front_reap(q, &cookie, &len), 0, "nothing to reap");
	vh_front_free(f);
	echo_end(e, NULL);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
		test_plan(&plans[i]);
	test_paths();
	test_listener();
	test_bad_chains();
	return tap_done();
}
