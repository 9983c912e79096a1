/* SPDX-License-Identifier: MIT */
/* GETLK, SETLK, SETLKW: between the processes of one guest, between guests,
 * and against processes of the host. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

enum { ALL = -1, NONE = F_UNLCK };

struct file {
	struct fc *c;
	uint64_t id, fh;
};

static struct file
open_file(struct fc *c, const char *name, uint32_t flags)
{
	struct file f = { .c = c };

	f.id = (uint64_t)fc_lookup(c, 1, name);
	f.fh = (uint64_t)fc_open(c, f.id, flags);
	return f;
}

static ssize_t
call(struct file f, uint32_t op, uint64_t owner, uint32_t type, uint64_t start,
     uint64_t end, uint32_t flags)
{
	struct fuse_lk_in in = {
		.fh = f.fh, .owner = owner, .lk_flags = flags,
		.lk = { .start = start, .type = type,
			.end = end == (uint64_t)ALL ? INT64_MAX : end,
			.pid = (uint32_t)owner * 10 },
	};

	return fc_call(f.c, op, f.id, &in, sizeof(in), NULL, NULL);
}

static int
lock(struct file f, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
	return (int)call(f, FUSE_SETLK, owner, type, start, end, 0);
}

static int
lock_whole(struct file f, uint32_t type)
{
	return (int)call(f, FUSE_SETLK, 0, type, 0, (uint64_t)ALL,
			 FUSE_LK_FLOCK);
}

/* What stands in the way? */
static struct fuse_file_lock
look(struct file f, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
	struct fuse_lk_out out = { .lk.type = 99 };

	if (call(f, FUSE_GETLK, owner, type, start, end, 0) == sizeof(out))
		memcpy(&out, f.c->out, sizeof(out));
	return out.lk;
}

static void
flush(struct file f, uint64_t owner)
{
	struct fuse_flush_in in = { .fh = f.fh, .lock_owner = owner };

	fc_call(f.c, FUSE_FLUSH, f.id, &in, sizeof(in), NULL, NULL);
}

/* A thread that waits for a lock. */
struct waiter {
	struct file f;
	uint64_t owner;
	uint32_t flags;
	int err;
	_Atomic bool done;
	pthread_t thread;
};

static void *
wait_main(void *arg)
{
	struct waiter *w = arg;

	w->err = (int)call(w->f, FUSE_SETLKW, w->owner, F_WRLCK, 0,
			   (uint64_t)ALL, w->flags);
	w->done = true;
	return NULL;
}

static void
wait_begin(struct waiter *w, struct file f, uint64_t owner, uint32_t flags)
{
	*w = (struct waiter){ .f = f, .owner = owner, .flags = flags };
	f.c->parked = 0;
	pthread_create(&w->thread, NULL, wait_main, w);
	while (!f.c->parked && !w->done)
		poll(NULL, 0, 1);
}

static int
wait_result(struct waiter *w)
{
	pthread_join(w->thread, NULL);
	return w->err;
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct fc *
start(uint64_t wait_us)
{
	struct fc *c = fc_new(NULL);

	c->set.locks = CONF_LOCKS_REMOTE;
	c->set.lock_wait_us = wait_us;
	fc_file(c, "f", "some text");
	fc_start(c);
	return c;
}

static void
test_local(void)
{
	struct fc *c = fc_new(NULL);
	struct file f;

	fc_file(c, "f", "");
	fc_start(c);
	ok(!(fc_info(c).flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS)),
	   "locks = local is not agreed on");
	f = open_file(c, "f", O_RDWR);
	is_int(lock(f, 1, F_WRLCK, 0, 9), -ENOSYS, "and not served");
	fc_free(c);
}

static void
test_posix(void)
{
	struct fc *c = start(1000000), *d = fc_guest(c);
	struct file f = open_file(c, "f", O_RDWR), g;
	struct fuse_file_lock lk;
	unsigned fds;

	fc_init(d, 38, FC_ALL_FLAGS);
	g = open_file(d, "f", O_RDWR);
	fds = fc_count_fds();
	is_int(lock(f, 1, F_WRLCK, 10, 19), 0, "owner 1 locks [10, 19]");
	is_int(lock(f, 1, F_WRLCK, 15, 30), 0, "and more");
	is_int(lock(f, 2, F_RDLCK, 30, 40), -EAGAIN, "owner 2 may not read 30");
	is_int(lock(f, 2, F_WRLCK, 31, 40), 0, "but write 31");
	is_int(lock(g, 1, F_RDLCK, 0, 10), -EAGAIN,
	       "another guest's owner 1 may not read 10");
	is_int(lock(g, 1, F_RDLCK, 0, 9), 0, "but 9");
	lk = look(f, 2, F_RDLCK, 0, (uint64_t)ALL);
	ok(lk.type == F_WRLCK && lk.start == 10 && lk.end == 30,
	   "GETLK shows the range");
	is_int(lk.pid, 10, "and the process");
	lk = look(f, 1, F_RDLCK, 0, 30);
	is_int(lk.type, NONE, "an owner's own lock is not in its way");
	lk = look(f, 1, F_WRLCK, 0, 5);
	ok(lk.type == F_RDLCK && lk.start == 0 && lk.end == 9 && lk.pid == 0,
	   "another guest's lock has no process");
	lk = look(g, 7, F_RDLCK, 41, (uint64_t)ALL);
	is_int(lk.type, NONE, "nothing there");
	is_int(lock(f, 1, F_UNLCK, 15, 20), 0, "unlock the middle");
	is_int(lock(g, 1, F_WRLCK, 15, 20), 0, "it is free");
	is_int(lock(g, 1, F_WRLCK, 15, 21), -EAGAIN, "the rest is not");
	is_int(lock(f, 9, F_UNLCK, 0, 100), 0, "unlock what is not locked");
	is_int(lock(f, 1, 7, 0, 100), -EINVAL, "no such lock");
	is_int(lock(f, 1, F_WRLCK, 5, 4), -EINVAL, "no such range");
	is_int(lock(f, 1, F_WRLCK, 1ULL << 63, 1ULL << 63), -EINVAL,
	       "no such offset");
	is_int(lock(f, 1, F_WRLCK, 1000, (uint64_t)ALL), 0, "to the end");
	lk = look(g, 1, F_WRLCK, 5000, 5000);
	ok(lk.start == 1000 && lk.end == INT64_MAX, "which is 2^63 - 1");
	flush(f, 1);
	is_int(lock(g, 1, F_WRLCK, 0, 30), 0, "FLUSH ends an owner's locks");
	is_int(lock(g, 1, F_WRLCK, 35, 35), -EAGAIN, "not another's");
	is_int(lock(f, 2, F_UNLCK, 0, (uint64_t)ALL), 0, "unlock all");
	is_int(lock(g, 1, F_UNLCK, 0, (uint64_t)ALL), 0, "unlock all");
	is_int(fc_count_fds(), fds, "no fd is left");
	fc_end(d);
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

/* The guest's OFD locks: their owner is an open file, which no FLUSH names. */
static void
test_release(void)
{
	struct fc *c = start(1000000);
	struct file f = open_file(c, "f", O_RDWR), g = open_file(c, "f", O_RDWR);
	unsigned fds = fc_count_fds();

	is_int(lock(f, 70, F_WRLCK, 0, 9), 0, "an open file locks");
	is_int(lock(g, 71, F_WRLCK, 5, 5), -EAGAIN, "another may not");
	is_int(lock(g, 71, F_WRLCK, 10, 19), 0, "but elsewhere");
	flush(f, 1);
	is_int(lock(g, 71, F_WRLCK, 5, 5), -EAGAIN, "a process closes it");
	fc_release(c, f.id, f.fh);
	is_int(lock(g, 71, F_WRLCK, 0, 9), 0, "RELEASE ends its locks");
	f = open_file(c, "f", O_RDWR);
	is_int(lock(f, 72, F_RDLCK, 19, 19), -EAGAIN, "not the other's");
	fc_release(c, g.id, g.fh);
	fc_release(c, f.id, f.fh);
	is_int(fc_count_fds(), fds - 2, "no fd is left");
	fc_free(c);
}

static void
test_modes(void)
{
	struct fc *c = start(1000000);
	struct file r = open_file(c, "f", O_RDONLY);
	int n = 0;

	is_int(lock(r, 1, F_RDLCK, 0, 9), 0, "read lock of a file for reading");
	while (n < 2000 && lock(r, 100 + (uint64_t)n, F_RDLCK, 0, 1) == 0)
		n++;
	ok(n < 1024, "owners count as open files: %d", n);
	is_int(lock(r, 100 + (uint64_t)n, F_RDLCK, 0, 1), -ENOLCK,
	       "then ENOLCK");
	fc_release(c, r.id, r.fh);
	is_int(lock(r, 1, F_RDLCK, 0, 9), -EBADF, "no lock of a closed file");
	fc_free(c);
}

static void
test_flock(void)
{
	struct fc *c = start(1000000), *d = fc_guest(c);
	struct file f = open_file(c, "f", O_RDWR), g = open_file(c, "f", 0), h;
	struct fuse_release_in rel = { 0 };

	fc_init(d, 38, FC_ALL_FLAGS);
	h = open_file(d, "f", O_RDWR);
	is_int(lock_whole(f, F_RDLCK), 0, "LOCK_SH");
	is_int(lock_whole(g, F_RDLCK), 0, "LOCK_SH twice");
	is_int(lock_whole(h, F_WRLCK), -EAGAIN, "no LOCK_EX beside it");
	is_int(lock(h, 1, F_WRLCK, 0, 9), 0, "POSIX locks are others");
	is_int(lock_whole(f, F_UNLCK), 0, "LOCK_UN");
	is_int(lock_whole(h, F_WRLCK), -EAGAIN, "one is left");
	rel.fh = g.fh;
	rel.release_flags = FUSE_RELEASE_FLOCK_UNLOCK;
	fc_call(c, FUSE_RELEASE, g.id, &rel, sizeof(rel), NULL, NULL);
	is_int(lock_whole(h, F_WRLCK), 0, "RELEASE ends it");
	is_int(lock_whole(f, F_RDLCK), -EAGAIN, "LOCK_EX holds");
	fc_end(d);
	is_int(lock_whole(f, F_WRLCK), 0, "a guest that leaves holds nothing");
	fc_free(c);
}

static void
test_wait(void)
{
	struct fc *c = start(20000000), *d = fc_guest(c);
	struct file f = open_file(c, "f", O_RDWR), g;
	struct fuse_release_in rel = { 0 };
	double t = seconds();
	struct waiter w;

	/* Whoever is not told waits for ten seconds. */
	c->patient = d->patient = true;
	fc_init(d, 38, FC_ALL_FLAGS);
	g = open_file(d, "f", O_RDWR);
	wait_begin(&w, g, 1, 0);
	ok(w.done, "SETLKW of a free lock does not wait");
	is_int(wait_result(&w), 0, "and succeeds");
	is_int(lock(g, 1, F_UNLCK, 0, (uint64_t)ALL), 0, "unlock");

	is_int(lock(f, 1, F_WRLCK, 5, 5), 0, "one byte is locked");
	wait_begin(&w, g, 1, 0);
	poll(NULL, 0, 30);
	ok(!w.done, "SETLKW waits");
	is_int(lock(f, 1, F_UNLCK, 5, 5), 0, "unlock");
	is_int(wait_result(&w), 0, "it has the lock");
	is_int(lock(f, 1, F_RDLCK, 5, 5), -EAGAIN, "alone");

	wait_begin(&w, f, 3, 0);
	poll(NULL, 0, 5);
	flush(g, 1);
	is_int(wait_result(&w), 0, "FLUSH lets the next one in");
	flush(f, 3);

	is_int(lock_whole(f, F_WRLCK), 0, "LOCK_EX");
	wait_begin(&w, g, 1, FUSE_LK_FLOCK);
	ok(!w.done, "flock waits");
	is_int(lock_whole(f, F_UNLCK), 0, "LOCK_UN");
	is_int(wait_result(&w), 0, "it has the lock");

	wait_begin(&w, f, 1, FUSE_LK_FLOCK);
	ok(!w.done, "the other way round");
	rel.fh = g.fh;
	rel.release_flags = FUSE_RELEASE_FLOCK_UNLOCK;
	fc_call(d, FUSE_RELEASE, g.id, &rel, sizeof(rel), NULL, NULL);
	is_int(wait_result(&w), 0, "until RELEASE");
	lock_whole(f, F_UNLCK);

	g = open_file(d, "f", O_RDWR);
	is_int(lock_whole(g, F_WRLCK), 0, "LOCK_EX");
	wait_begin(&w, f, 1, FUSE_LK_FLOCK);
	fc_end(d);
	is_int(wait_result(&w), 0, "a guest that leaves lets the others in");
	ok(seconds() - t < 5, "all of them were told at once");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

static void
test_cancel(void)
{
	struct fc *c = start(20000000), *d = fc_guest(c);
	struct file f = open_file(c, "f", O_RDWR), g;
	struct waiter w;
	double t;

	fc_init(d, 38, FC_ALL_FLAGS);
	g = open_file(d, "f", O_RDWR);
	lock(f, 1, F_WRLCK, 0, 9);
	wait_begin(&w, g, 1, 0);
	fs_session_wait(d->session, false);
	is_int(wait_result(&w), -EAGAIN, "a ring that stops ends waits");
	is_int(call(g, FUSE_SETLKW, 1, F_WRLCK, 0, 9, 0), -EAGAIN,
	       "and begins none");
	is_int(call(g, FUSE_SETLKW, 1, F_WRLCK, 10, 10, 0), 0,
	       "a free lock can be had");
	fs_session_wait(d->session, true);
	wait_begin(&w, g, 1, 0);
	fc_release(d, g.id, g.fh);
	lock(f, 1, F_UNLCK, 0, 9);
	is_int(wait_result(&w), -EBADF, "closed meanwhile");
	fc_end(d);
	fc_free(c);

	c = start(200000);
	f = open_file(c, "f", O_RDWR);
	lock(f, 1, F_WRLCK, 0, 9);
	t = seconds();
	is_int(call(f, FUSE_SETLKW, 2, F_WRLCK, 0, 9, 0), -EAGAIN,
	       "lock_wait ends a wait");
	t = seconds() - t;
	ok(t >= 0.19 && t < 5, "in time: %.3f s", t);
	fc_free(c);
}

/* A child of the host's holds the lock until told to let go. */
static void
test_host(void)
{
	struct fc *c = start(20000000);
	struct file f = open_file(c, "f", O_RDWR);
	struct flock fl = { .l_type = F_WRLCK, .l_len = 10 };
	struct fuse_file_lock lk;
	int to[2], from[2], fd;
	struct waiter w;
	pid_t pid;
	char ch;

	if (pipe(to) || pipe(from))
		return;
	pid = fork();
	if (!pid) {
		fd = openat(c->fd, "f", O_RDWR);
		if (fcntl(fd, F_SETLK, &fl) || flock(fd, LOCK_EX) ||
		    write(from[1], "x", 1) != 1 || read(to[0], &ch, 1) != 1)
			_exit(1);
		_exit(0);
	}
	if (read(from[0], &ch, 1) != 1)
		printf("# no child\n");
	is_int(lock(f, 1, F_WRLCK, 9, 9), -EAGAIN, "a host process's lock");
	is_int(lock(f, 1, F_WRLCK, 10, 10), 0, "beside it");
	is_int(lock_whole(f, F_RDLCK), -EAGAIN, "its flock");
	lk = look(f, 1, F_WRLCK, 0, 9);
	ok(lk.type == F_WRLCK && lk.start == 0 && lk.end == 9 && !lk.pid,
	   "GETLK shows it without its process");
	wait_begin(&w, f, 1, 0);
	poll(NULL, 0, 50);
	ok(!w.done, "SETLKW waits for it");
	if (write(to[1], "x", 1) != 1)
		printf("# no child\n");
	is_int(wait_result(&w), 0, "until the host lets go");
	waitpid(pid, NULL, 0);
	fd = openat(c->fd, "f", O_RDWR);
	is_int(fcntl(fd, F_SETLK, &fl), -1, "and the host waits for guests");
	close(fd);
	fc_free(c);
}

/* Many waiters of many guests: each has the lock once, alone. */
static struct {
	struct fc *c;
	_Atomic int inside, worst, served;
} crowd[8];

static void *
crowd_main(void *arg)
{
	struct fc *c = arg;
	struct file f = open_file(c, "f", O_RDWR);
	long n = tap_scaled(100);

	for (long i = 0; i < n; i++) {
		uint32_t flags = i & 1 ? FUSE_LK_FLOCK : 0;
		_Atomic int *inside = &crowd[i & 1].inside;

		if (call(f, FUSE_SETLKW, 1, F_WRLCK, 0, (uint64_t)ALL, flags))
			continue;
		if (atomic_fetch_add(inside, 1))
			crowd[0].worst = 1;
		crowd[0].served++;
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
		atomic_fetch_sub(inside, 1);
		call(f, FUSE_SETLK, 1, F_UNLCK, 0, (uint64_t)ALL, flags);
	}
	return NULL;
}

static void
test_crowd(void)
{
	struct fc *c = start(60000000);
	pthread_t thread[8];
	double t = seconds();

	for (int i = 0; i < 8; i++) {
		crowd[i].c = fc_guest(c);
		fc_init(crowd[i].c, 38, FC_ALL_FLAGS);
		pthread_create(&thread[i], NULL, crowd_main, crowd[i].c);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(thread[i], NULL);
		fc_end(crowd[i].c);
	}
	is_int(crowd[0].served, 8 * tap_scaled(100), "each got every lock");
	is_int(crowd[0].worst, 0, "alone");
	printf("# %.2f s\n", seconds() - t);
	fc_free(c);
}

int
main(void)
{
	alarm(100);
	test_local();
	test_posix();
	test_release();
	test_modes();
	test_flock();
	test_wait();
	test_cancel();
	test_host();
	test_crowd();
	return tap_done();
}
