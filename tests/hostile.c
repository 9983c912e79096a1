/* SPDX-License-Identifier: MIT */
/* Front ends that misbehave: see hostile.h. */
#include "config.h"

#include "tests/hostile.h"

#include "tests/neighbour.h"
#include "tests/tap.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define MEM_SIZE (1u << 20)
#define END_MS 8000		/* by then a broken session has ended */
#define SLOW_MS 8000		/* no request of others takes as long */

void
hostile_begin(struct hostile *h, const char *keys)
{
	const char *tags[HOSTILE_TAGS + 2] = { "good" };
	static char names[HOSTILE_TAGS][16];
	char path[128];

	for (int i = 0; i < HOSTILE_TAGS; i++) {
		snprintf(names[i], sizeof(names[i]), "bad%d", i);
		tags[i + 1] = names[i];
	}
	h->cases = 0;
	daemon_start(&h->daemon, tags, keys);
	h->neighbour = neighbour_start(daemon_socket(&h->daemon, "good", path),
				       "neighbour");
	ok(neighbour_goes_on(h->neighbour, 10), "the neighbour works");
	daemon_use(&h->daemon, &h->before);
}

void
hostile_others_fine(struct hostile *h, const char *when)
{
	char text[256];
	int err = daemon_ctl(&h->daemon, "read version", text, sizeof(text));
	int going = neighbour_goes_on(h->neighbour, 2);

	ok(!err && going, "%s: the others are served, the control socket "
	   "answers", when);
}

void
hostile_end(struct hostile *h)
{
	daemon_settles(&h->daemon, &h->before, END_MS, "at the end");
	ok(neighbour_goes_on(h->neighbour, 10), "the neighbour still works");
	neighbour_stop(h->neighbour, SLOW_MS);
	daemon_stop(&h->daemon);
}

int
hostile_connect(struct hostile *h, const char *tag, enum hostile_stage stage,
		struct vm *vm)
{
	struct vm_settings set = { .mem_size = MEM_SIZE, .timeout_ms = 8000,
				   .unsealed = true };
	char path[128];
	int err = vm_connect(vm, daemon_socket(&h->daemon, tag, path), &set);

	if (!err && stage >= NEGOTIATED)
		err = vm_negotiate(vm);
	if (!err && stage >= WITH_MEMORY)
		err = vm_share_memory(vm);
	if (!err && stage >= RUNNING)
		err = vm_start(vm);
	return err;
}

const char *
hostile_tag(struct hostile *h, char tag[16])
{
	snprintf(tag, 16, "bad%u", h->cases++ / HOSTILE_PER_TAG % HOSTILE_TAGS);
	return tag;
}

/* How the session on `tag` ended, once the log tells. */
static void
check_line(struct hostile *h, const struct hostile_case *c, const char *tag,
	   long mark)
{
	char prefix[32];
	int ended, left;

	snprintf(prefix, sizeof(prefix), "%s: session", tag);
	if (c->end == LEAVES)
		left = daemon_log_wait(&h->daemon, mark, prefix, " left pid=", 1,
				       END_MS);
	else
		daemon_log_wait(&h->daemon, mark, prefix,
				c->end == EITHER ? " pid=" : " ended: ",
				c->end == EITHER ? 2 : 1, END_MS);
	ended = daemon_log_count(&h->daemon, mark, prefix, " ended: ");
	left = daemon_log_count(&h->daemon, mark, prefix, " left pid=");
	if (!ok(c->end == EITHER ? ended + left == 1 :
		c->end == LEAVES ? left == 1 && !ended :
		ended == 1 && !left &&
		daemon_log_count(&h->daemon, mark, prefix, c->says) == 1,
		"%s: %s", c->name, c->end == LEAVES ? "left" : c->says))
		printf("# %d ended, %d left: %s\n", ended, left,
		       daemon_log_line(&h->daemon, mark, prefix, " ended: "));
}

void
hostile_try(struct hostile *h, const struct hostile_case *c)
{
	long mark = daemon_log_mark(&h->daemon);
	char tag[16];
	struct vm vm;
	int err = hostile_connect(h, hostile_tag(h, tag), c->stage, &vm);

	if (err) {
		ok(0, "%s: connect: %s", c->name, vm.why);
		vm_close(&vm);
		if (server_is_alive(&h->daemon.server))
			return;
		daemon_stop(&h->daemon);
		exit(tap_done());
	}
	c->run(&vm, c->arg);
	if (c->end == IS_CLOSED && !vm_is_hung_up(&vm, END_MS))
		ok(0, "%s: the daemon hangs up", c->name);
	vm_close(&vm);
	check_line(h, c, tag, mark);
	if (h->cases % HOSTILE_PER_TAG == 0)
		hostile_others_fine(h, tag);
}

/* "(N like it not shown)" stands at the next line of its kind that is shown,
 * so one more session that breaks and one that leaves are sent after the
 * rest. */
static long
count_logged(struct hostile *h, const char *prefix, long mark)
{
	char path[80], line[1024], *p;
	long n = 0, skipped;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log", h->daemon.work);
	f = fopen(path, "r");
	if (!f || fseek(f, mark, SEEK_SET))
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (!strstr(line, prefix) || (!strstr(line, " ended: ") &&
					      !strstr(line, " left pid=")))
			continue;
		p = strstr(line, " (");
		skipped = p ? strtol(p + 2, &p, 10) : 0;
		if (p && strncmp(p, " like it", 8))
			skipped = 0;
		n += skipped + 1;
	}
	fclose(f);
	return n;
}

static void
send_two(struct hostile *h, const char *tag)
{
	struct vm vm;

	hostile_connect(h, tag, CONNECTED, &vm);
	vm_close(&vm);

	if (!hostile_connect(h, tag, CONNECTED, &vm)) {
		vm_send(&vm, VM_GET_FEATURES, 7, "", 0, NULL, 0);
		vm_is_hung_up(&vm, END_MS);
	}
	vm_close(&vm);
}

void
hostile_logged(struct hostile *h, const char *tag, long mark, long n)
{
	int64_t end = test_now_ms() + END_MS;
	char prefix[32];
	long have, extra = 0;

	snprintf(prefix, sizeof(prefix), "%s: ", tag);
	do {
		send_two(h, tag);
		extra += 2;
		have = count_logged(h, prefix, mark);
		if (have < n + extra)
			poll(NULL, 0, 300);
	} while (have < n + extra && test_now_ms() < end);
	is_int(have - extra, n, "%s: the log tells of each session once", tag);
}

int
hostile_send(struct vm *vm, const void *bytes, size_t len, const int *fds,
	     int nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} u;
	struct iovec iov = { (void *)bytes, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		struct cmsghdr *c = &u.align;

		memset(&u, 0, sizeof(u));
		mh.msg_control = &u;
		mh.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	return sendmsg(vm->sock, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
