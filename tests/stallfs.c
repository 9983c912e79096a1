/* SPDX-License-Identifier: MIT */
/*
 * Storage that hangs when it is told to (stallfs.h).  The serving process and
 * the test share a page with what is stalled and what is held.
 */
#include "config.h"

#include "tests/stallfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUF_SIZE (1 << 18)
#define WRITE_MAX (128 << 10)
#define OPCODES 64

/* What both processes see. */
struct page {
	_Atomic uint64_t stalled, delayed;
	atomic_uint delay_ms;
	atomic_uint held;
	atomic_uint answered[OPCODES];
};

struct stallfs {
	struct page *page;
	pid_t pid;
	int wake;		/* eventfd: look at the page again */
	char dir[200];
};

/* A request that waits. */
struct held {
	struct held *next;
	int64_t until;		/* of a delay; 0 = until it is released */
	size_t len;
	_Alignas(8) char bytes[];
};

struct server {
	struct page *page;
	int dev, wake;
	struct held *first, **last;
	_Alignas(8) char in[BUF_SIZE], out[BUF_SIZE];
};

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- answers: bytes of the body, or -errno ---- */

static bool
is_file(uint64_t node)
{
	return node > FUSE_ROOT_ID && node <= FUSE_ROOT_ID + STALLFS_FILES;
}

static void
fill_attr(uint64_t node, struct fuse_attr *a)
{
	memset(a, 0, sizeof(*a));
	a->ino = node;
	a->nlink = 1;
	a->mode = is_file(node) ? S_IFREG | 0644 : S_IFDIR | 0755;
	a->size = is_file(node) ? STALLFS_SIZE : 0;
	a->blocks = a->size / 512;
	a->blksize = 4096;
}

static int
do_init(void *out)
{
	struct fuse_init_out *o = out;

	o->major = FUSE_KERNEL_VERSION;
	o->minor = 31;
	o->max_write = WRITE_MAX;
	o->max_background = 64;
	o->congestion_threshold = 64;
	o->time_gran = 1;
	return sizeof(*o);
}

static int
do_lookup(const char *name, void *out)
{
	struct fuse_entry_out *o = out;
	unsigned n = (unsigned)(name[0] == 'f' ? name[1] - '0' : 99);

	if (n >= STALLFS_FILES || name[2])
		return -ENOENT;
	o->nodeid = FUSE_ROOT_ID + 1 + n;
	fill_attr(o->nodeid, &o->attr);
	return sizeof(*o);
}

static int
do_attr(uint64_t node, void *out)
{
	struct fuse_attr_out *o = out;

	fill_attr(node, &o->attr);
	return sizeof(*o);
}

static int
do_read(const struct fuse_read_in *in, void *out)
{
	uint64_t left = in->offset < STALLFS_SIZE ? STALLFS_SIZE - in->offset
						  : 0;
	uint32_t n = in->size < left ? in->size : (uint32_t)left;

	memset(out, 's', n);
	return (int)n;
}

static int
do_readdir(const struct fuse_read_in *in, char *out)
{
	size_t len = 0;

	for (uint64_t i = in->offset; i < STALLFS_FILES; i++) {
		struct fuse_dirent *d = (void *)(out + len);

		if (len + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + 2) > in->size)
			break;
		d->ino = FUSE_ROOT_ID + 1 + i;
		d->off = i + 1;
		d->namelen = 2;
		d->type = S_IFREG >> 12;
		d->name[0] = 'f';
		d->name[1] = (char)('0' + i);
		len += FUSE_DIRENT_SIZE(d);
	}
	return (int)len;
}

static int
do_statfs(void *out)
{
	struct fuse_statfs_out *o = out;

	o->st.bsize = o->st.frsize = 4096;
	o->st.blocks = o->st.bfree = o->st.bavail = 1 << 20;
	o->st.namelen = 255;
	return sizeof(*o);
}

static int
run(const struct fuse_in_header *h, const void *arg, void *out)
{
	switch (h->opcode) {
	case FUSE_INIT:
		return do_init(out);
	case FUSE_LOOKUP:
		return do_lookup(arg, out);
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return do_attr(h->nodeid, out);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		((struct fuse_open_out *)out)->open_flags =
			h->opcode == FUSE_OPEN ? FOPEN_DIRECT_IO : 0;
		return sizeof(struct fuse_open_out);
	case FUSE_READ:
		return do_read(arg, out);
	case FUSE_WRITE:
		((struct fuse_write_out *)out)->size =
			((const struct fuse_write_in *)arg)->size;
		return sizeof(struct fuse_write_out);
	case FUSE_READDIR:
		return do_readdir(arg, out);
	case FUSE_STATFS:
		return do_statfs(out);
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_DESTROY:
		return 0;
	}
	return -ENOSYS;
}

static void
answer(struct server *s, const char *request)
{
	const struct fuse_in_header *h = (const void *)request;
	struct fuse_out_header *o = (void *)s->out;
	int n;

	memset(s->out, 0, 512);
	n = run(h, h + 1, o + 1);
	o->unique = h->unique;
	o->error = n < 0 ? n : 0;
	o->len = (uint32_t)(sizeof(*o) + (n > 0 ? (size_t)n : 0));
	/* ENOENT: the kernel has given the request up. */
	if (write(s->dev, s->out, o->len) >= 0)
		atomic_fetch_add(&s->page->answered[h->opcode % OPCODES], 1);
}

/* ---- holding ---- */

static bool
is_in(uint64_t set, uint32_t opcode)
{
	return opcode != FUSE_INIT && (set >> (opcode % OPCODES) & 1);
}

static bool
may_go(const struct server *s, const struct held *w, int64_t now)
{
	const struct fuse_in_header *h = (const void *)w->bytes;

	return !is_in(atomic_load(&s->page->stalled), h->opcode) &&
	       w->until <= now;
}

/* Answer what need not wait any longer; ms until the next delay ends. */
static int
release(struct server *s)
{
	struct held **p = &s->first, *w;
	int64_t now = now_ms();
	int next = -1;

	while ((w = *p)) {
		if (may_go(s, w, now)) {
			answer(s, w->bytes);
			*p = w->next;
			free(w);
			atomic_fetch_sub(&s->page->held, 1);
			continue;
		}
		if (w->until > now && (next < 0 || w->until - now < next))
			next = (int)(w->until - now);
		p = &w->next;
	}
	s->last = p;
	return next;
}

static void
hold(struct server *s, size_t len, int64_t until)
{
	struct held *w = malloc(sizeof(*w) + len);

	if (!w)
		_exit(1);
	w->next = NULL;
	w->until = until;
	w->len = len;
	memcpy(w->bytes, s->in, len);
	*s->last = w;
	s->last = &w->next;
	atomic_fetch_add(&s->page->held, 1);
}

static void
take(struct server *s, size_t len)
{
	const struct fuse_in_header *h = (const void *)s->in;

	if (h->opcode == FUSE_FORGET || h->opcode == FUSE_BATCH_FORGET ||
	    h->opcode == FUSE_INTERRUPT)
		return;
	if (is_in(atomic_load(&s->page->stalled), h->opcode))
		hold(s, len, 0);
	else if (is_in(atomic_load(&s->page->delayed), h->opcode))
		hold(s, len, now_ms() + (int64_t)atomic_load(
			&s->page->delay_ms));
	else
		answer(s, s->in);
}

/* The test has ended without a word: leave no mount behind. */
static volatile sig_atomic_t orphaned;

static void
on_orphaned(int sig)
{
	(void)sig;
	orphaned = 1;
}

static void
serve(struct server *s, const char *dir)
{
	struct pollfd fds[] = {
		{ .fd = s->dev, .events = POLLIN },
		{ .fd = s->wake, .events = POLLIN },
	};
	uint64_t n;

	while (!orphaned) {
		ssize_t len;

		fds[0].revents = fds[1].revents = 0;
		if (poll(fds, 2, release(s)) < 0 && errno != EINTR)
			_exit(1);
		if (fds[1].revents && read(s->wake, &n, sizeof(n)) < 0)
			_exit(1);
		if (!fds[0].revents)
			continue;
		len = read(s->dev, s->in, sizeof(s->in));
		if (len < 0 && errno == ENODEV)
			_exit(0);		/* unmounted */
		if (len > 0)
			take(s, (size_t)len);
	}
	umount2(dir, MNT_DETACH);
	_exit(1);
}

static void
serve_main(struct stallfs *fs, int ready)
{
	struct server *s = calloc(1, sizeof(*s));
	char opts[100];
	struct sigaction sa = { .sa_handler = on_orphaned };

	setsid();
	sigaction(SIGTERM, &sa, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (!s)
		_exit(1);
	s->page = fs->page;
	s->wake = fs->wake;
	s->last = &s->first;
	s->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,"
		 "group_id=0,allow_other", s->dev);
	if (s->dev < 0 || mount("stallfs", fs->dir, "fuse.stallfs",
				MS_NOSUID | MS_NODEV, opts))
		_exit(1);
	if (write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
	serve(s, fs->dir);
}

/* ---- the test's side ---- */

static int
start_server(struct stallfs *fs)
{
	int ready[2];
	char c;
	bool good;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	fs->pid = fork();
	if (fs->pid == 0) {
		close(ready[0]);
		serve_main(fs, ready[1]);
	}
	close(ready[1]);
	good = fs->pid > 0 && read(ready[0], &c, 1) == 1;
	close(ready[0]);
	return good ? 0 : -ENODEV;
}

int
stallfs_hide(void)
{
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	return 0;
}

int
stallfs_start(const char *dir, struct stallfs **out)
{
	struct stallfs *fs = calloc(1, sizeof(*fs));
	int err;

	if (!fs)
		return -ENOMEM;
	snprintf(fs->dir, sizeof(fs->dir), "%s", dir);
	fs->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fs->page = mmap(NULL, sizeof(*fs->page), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	err = fs->wake < 0 || fs->page == MAP_FAILED ? -ENOMEM
						     : start_server(fs);
	if (err)
		free(fs);
	else
		*out = fs;
	return err;
}

static void
wake(struct stallfs *fs)
{
	uint64_t one = 1;

	if (write(fs->wake, &one, sizeof(one)) < 0)
		perror("stallfs");
}

void
stallfs_stall(struct stallfs *fs, uint64_t opcodes)
{
	atomic_store(&fs->page->stalled, opcodes);
	wake(fs);
}

void
stallfs_delay(struct stallfs *fs, uint64_t opcodes, unsigned ms)
{
	atomic_store(&fs->page->delay_ms, ms);
	atomic_store(&fs->page->delayed, ms ? opcodes : 0);
}

unsigned
stallfs_held(const struct stallfs *fs)
{
	return atomic_load(&fs->page->held);
}

bool
stallfs_wait_held(const struct stallfs *fs, unsigned n, int ms)
{
	int64_t end = now_ms() + ms;

	while (stallfs_held(fs) < n && now_ms() < end)
		poll(NULL, 0, 5);
	return stallfs_held(fs) >= n;
}

unsigned
stallfs_answered(const struct stallfs *fs, unsigned opcode)
{
	return atomic_load(&fs->page->answered[opcode % OPCODES]);
}

void
stallfs_stop(struct stallfs *fs)
{
	stallfs_stall(fs, 0);
	umount2(fs->dir, MNT_DETACH);
	kill(fs->pid, SIGKILL);
	waitpid(fs->pid, NULL, 0);
	munmap(fs->page, sizeof(*fs->page));
	close(fs->wake);
	free(fs);
}
