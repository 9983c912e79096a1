/* SPDX-License-Identifier: MIT */
/*
 * vhost-user messages that are wrong: their session ends with a line that
 * tells why, every descriptor they brought is closed, and a guest on another
 * tag works on meanwhile.
 */
#include "config.h"

#include "tests/hostile.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 8000

/* ------------------------------------------------------------------ */
/* One wrong message each. */

enum fd_kind {
	NO_FD, EVENT, PIPE, SOCKET, DIRECTORY, MEMORY, READ_ONLY,
};

struct message {
	uint32_t request, flags;
	uint32_t size;
	enum fd_kind kind;
	int nfds;
	union {
		uint64_t u64[9];
		uint32_t u32[18];
	} body;
};

static int
make_fd(enum fd_kind kind, const struct vm *vm)
{
	char path[64];
	int fds[2];

	switch (kind) {
	case EVENT:
		return eventfd(0, EFD_CLOEXEC);
	case PIPE:
		if (pipe(fds))
			return -1;
		close(fds[0]);
		return fds[1];
	case SOCKET:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case DIRECTORY:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case READ_ONLY:
		snprintf(path, sizeof(path), "/proc/self/fd/%d", vm->memfd);
		return open(path, O_RDONLY | O_CLOEXEC);
	case MEMORY:
	case NO_FD:
		break;
	}
	return dup(vm->memfd);
}

static void
send_message(struct vm *vm, const void *arg)
{
	const struct message *m = arg;
	int fds[VH_MSG_FDS];

	for (int i = 0; i < m->nfds; i++)
		fds[i] = make_fd(m->kind, vm);
	vm_send(vm, m->request, m->flags ? m->flags : VM_VERSION, &m->body,
		m->size, fds, m->nfds);
	for (int i = 0; i < m->nfds; i++)
		close(fds[i]);
}

#define MSG(...) send_message, &(const struct message){ .request = __VA_ARGS__ }
#define U64(...) .size = 8, .body.u64 = { __VA_ARGS__ }
#define STATE(i, n) .size = 8, .body.u32 = { i, n }
#define RING(i, d, u, a) .size = 40, .body.u64 = { i, d, u, a }
#define REGION(...) .size = 40, .body.u64 = { 0, __VA_ARGS__ }
#define TABLE(n, ...) .size = 8 + (n) * 32, .body.u64 = { n, __VA_ARGS__ }

/* clang-format off */
static const struct hostile_case messages[] = {
	{ "version 2", CONNECTED, MSG(VM_GET_FEATURES, .flags = 2), "flags 0x2", 0 },
	{ "a reply", CONNECTED, MSG(VM_GET_FEATURES, .flags = 5), "flags 0x5", 0 },
	{ "request 0", CONNECTED, MSG(0), "request 0: this message was not offered", 0 },
	{ "request 99", RUNNING, MSG(99, .size = 16), "request 99: this message", 0 },
	{ "request 2^32 - 1", NEGOTIATED, MSG(UINT32_MAX), "request 4294967295", 0 },
	{ "8 fds too many", CONNECTED, MSG(VM_GET_FEATURES, .kind = EVENT, .nfds = 8), "8 file descriptors, want 0 to 0", 0 },
	{ "a message too short", CONNECTED, MSG(VM_SET_FEATURES, .size = 4), "SET_FEATURES: 4 bytes", 0 },
	{ "a message too long", CONNECTED, MSG(VM_SET_FEATURES, .size = 12), "SET_FEATURES: 12 bytes", 0 },
	{ "features not offered", CONNECTED, MSG(VM_SET_FEATURES, U64(1ull << 60)), "SET_FEATURES: 0x1000000000000000 were not", 0 },
	{ "protocol features not offered", CONNECTED, MSG(VM_SET_PROTOCOL_FEATURES, U64(1ull << 63)), "SET_PROTOCOL_FEATURES: 0x8000000000000000 were not", 0 },
	{ "a log that was not offered", NEGOTIATED, MSG(VM_SET_LOG_BASE, .size = 16), "SET_LOG_BASE: this message was not offered", 0 },
	{ "queue 9 of 9", NEGOTIATED, MSG(VM_SET_VRING_NUM, STATE(9, 128)), "SET_VRING_NUM: queue 9 of 9", 0 },
	{ "a ring of 3", NEGOTIATED, MSG(VM_SET_VRING_NUM, STATE(1, 3)), "queue 1: 3 entries", 0 },
	{ "a ring of 65536", NEGOTIATED, MSG(VM_SET_VRING_NUM, STATE(1, 65536)), "queue 1: 65536 entries", 0 },
	{ "a ring of none", NEGOTIATED, MSG(VM_SET_VRING_NUM, STATE(1, 0)), "queue 1: 0 entries", 0 },
	{ "index 65536", NEGOTIATED, MSG(VM_SET_VRING_BASE, STATE(1, 65536)), "queue 1: index 65536", 0 },
	{ "a ring not aligned", NEGOTIATED, MSG(VM_SET_VRING_ADDR, RING(1, 0x1001, 0x2000, 0x3000)), "queue 1: its ring is not aligned", 0 },
	{ "a ring outside memory", RUNNING, MSG(VM_SET_VRING_ADDR, RING(1, 0x1000, 0x2000, 0x3000)), "queue 1: its ring is not in guest memory", 0 },
	{ "another size of a ring that runs", RUNNING, MSG(VM_SET_VRING_NUM, STATE(1, 64)), "SET_VRING_NUM: queue 1 runs", 0 },
	{ "another index of a ring that runs", RUNNING, MSG(VM_SET_VRING_BASE, STATE(1, 64)), "SET_VRING_BASE: queue 1 runs", 0 },
	{ "enable 2", RUNNING, MSG(VM_SET_VRING_ENABLE, STATE(1, 2)), "queue 1: 2 is neither", 0 },
	{ "no kick fd", NEGOTIATED, MSG(VM_SET_VRING_KICK, U64(1)), "SET_VRING_KICK: queue 1: no fd", 0 },
	{ "a kick fd that should not be", NEGOTIATED, MSG(VM_SET_VRING_KICK, U64(0x101), .kind = EVENT, .nfds = 1), "SET_VRING_KICK: queue 1: an fd that", 0 },
	{ "two call fds", NEGOTIATED, MSG(VM_SET_VRING_CALL, U64(1), .kind = EVENT, .nfds = 2), "SET_VRING_CALL: 2 file descriptors", 0 },
	{ "a pipe to call", RUNNING, MSG(VM_SET_VRING_CALL, U64(1), .kind = PIPE, .nfds = 1), "SET_VRING_CALL: queue 1: the fd is no eventfd", 0 },
	{ "a socket to kick", RUNNING, MSG(VM_SET_VRING_KICK, U64(1), .kind = SOCKET, .nfds = 1), "SET_VRING_KICK: queue 1: the fd is no eventfd", 0 },
	{ "memory as err fd", RUNNING, MSG(VM_SET_VRING_ERR, U64(1), .kind = MEMORY, .nfds = 1), "SET_VRING_ERR: queue 1: the fd is no eventfd", 0 },
	{ "memory not shared", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 4096)), "SET_MEM_TABLE: guest memory is not shared", 0 },
	{ "9 memory regions", NEGOTIATED, MSG(VM_SET_MEM_TABLE, .size = 40, .body.u64 = { 9 }), "9 memory regions, at most 8", 0 },
	{ "two regions of one fd", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(2, VM_BASE, 4096), .kind = MEMORY, .nfds = 1), "2 memory regions with 1 file", 0 },
	{ "a socket as memory", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 4096), .kind = SOCKET, .nfds = 1), "guest memory is not a file", 0 },
	{ "a directory as memory", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 4096), .kind = DIRECTORY, .nfds = 1), "guest memory is not a file", 0 },
	{ "an eventfd as memory", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 4096), .kind = EVENT, .nfds = 1), "guest memory is not a file", 0 },
	{ "memory to read only", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 4096), .kind = READ_ONLY, .nfds = 1), "guest memory cannot be mapped", 0 },
	{ "a region of no bytes", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 0), .kind = MEMORY, .nfds = 1), "impossible size of 0 bytes", 0 },
	{ "a region that wraps", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, UINT64_MAX - 4095, 8192), .kind = MEMORY, .nfds = 1), "impossible size", 0 },
	{ "a region outside its file", NEGOTIATED, MSG(VM_SET_MEM_TABLE, TABLE(1, VM_BASE, 1 << 30), .kind = MEMORY, .nfds = 1), "outside its file", 0 },
	{ "a region over another", WITH_MEMORY, MSG(VM_ADD_MEM_REG, REGION(VM_BASE + 4096, 4096, 0x1000, 0), .kind = MEMORY, .nfds = 1), "overlap", 0 },
	{ "a region that is not there", WITH_MEMORY, MSG(VM_REM_MEM_REG, REGION(VM_BASE, 4096, 0x1000, 0)), "there is no memory region", 0 },
};
/* clang-format on */

/* ------------------------------------------------------------------ */
/* What vm_send() would not send. */

static void
send_28_fds(struct vm *vm, const void *arg)
{
	uint32_t header[3] = { VM_GET_FEATURES, VM_VERSION, 0 };
	int fds[28];

	(void)arg;
	for (int i = 0; i < 28; i++)
		fds[i] = dup(vm->memfd);
	hostile_send(vm, header, sizeof(header), fds, 28);
	for (int i = 0; i < 28; i++)
		close(fds[i]);
}

static void
send_claim(struct vm *vm, const void *arg)
{
	uint32_t header[3] = { VM_SET_FEATURES, VM_VERSION,
			       *(const uint32_t *)arg };

	hostile_send(vm, header, sizeof(header), &vm->memfd, 1);
}

/* The first bytes of a message, with an fd; then the front end leaves. */
static void
send_half(struct vm *vm, const void *arg)
{
	uint32_t msg[5] = { VM_SET_FEATURES, VM_VERSION, 8 };

	hostile_send(vm, msg, *(const size_t *)arg, &vm->memfd, 1);
	shutdown(vm->sock, SHUT_WR);
}

/* A TCP socket that nobody reads from, with data in it: whoever closes it
 * last waits. */
static int
slow_socket(int *peer)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 20 };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char full[1 << 16];

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(lfd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    listen(lfd, 1) ||
	    getsockname(lfd, (struct sockaddr *)&sin, &len) ||
	    connect(fd, (struct sockaddr *)&sin, sizeof(sin)))
		printf("# no TCP here\n");
	*peer = accept(lfd, NULL, NULL);
	close(lfd);
	while (send(fd, full, sizeof(full), MSG_DONTWAIT) > 0)
		continue;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return fd;
}

/* `how` it is sent: as an fd that the message may have, as one too many, with
 * too many others, with bytes that are never read. */
static void
test_slow_close(struct hostile *h, int how)
{
	static const char *const words[] = {
		"as a kick fd", "where none may be", "among 28 others",
		"with a message that is never read",
	};
	uint32_t msg[5] = { how == 0 ? VM_SET_VRING_KICK : VM_GET_FEATURES,
			    VM_VERSION, how == 0 ? 8 : 0, 1, 0 };
	uint32_t bad[3] = { 99, VM_VERSION, 0 };
	size_t len = how == 0 ? 20 : 12;
	int fds[28], peer, n = how == 2 ? 28 : 1;
	struct vm vm;

	if (hostile_connect(h, "bad9", NEGOTIATED, &vm))
		ok(0, "a slow socket: connect");
	fds[0] = slow_socket(&peer);
	for (int i = 1; i < n; i++)
		fds[i] = dup(vm.memfd);
	if (how == 3)
		hostile_send(&vm, bad, sizeof(bad), NULL, 0);
	hostile_send(&vm, msg, len, fds, n);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	ok(vm_is_hung_up(&vm, ANSWER_MS), "a socket that is slow to close, %s: "
	   "the session ends", words[how]);
	hostile_others_fine(h, words[how]);
	close(peer);
	vm_close(&vm);
}

/* It asks and asks, and never reads what it is answered. */
static void
never_read(struct vm *vm, const void *arg)
{
	uint32_t header[3] = { VM_GET_FEATURES, VM_VERSION, 0 };
	int64_t end = test_now_ms() + ANSWER_MS;
	struct pollfd pfd = { .fd = vm->sock, .events = POLLOUT };

	(void)arg;
	while (!vm_is_hung_up(vm, 0) && test_now_ms() < end)
		if (poll(&pfd, 1, 100) == 1 &&
		    hostile_send(vm, header, sizeof(header), NULL, 0))
			break;
}

/* clang-format off */
static const struct hostile_case streams[] = {
	{ "28 fds", CONNECTED, send_28_fds, NULL, "too many file descriptors", 0 },
	{ "a payload of 4097 bytes", CONNECTED, send_claim, &(const uint32_t){ 4097 }, "longer than any message", 0 },
	{ "a payload of 4 GiB", RUNNING, send_claim, &(const uint32_t){ UINT32_MAX }, "longer than any message", 0 },
	{ "one byte, then it leaves", CONNECTED, send_half, &(const size_t){ 1 }, "in the middle of a message", 0 },
	{ "a header, then it leaves", CONNECTED, send_half, &(const size_t){ 12 }, "in the middle of a message", 0 },
	{ "half a message, then it leaves", RUNNING, send_half, &(const size_t){ 16 }, "in the middle of a message", 0 },
	{ "replies that are never read", CONNECTED, never_read, NULL, "does not read its replies", 0 },
};
/* clang-format on */

/* ------------------------------------------------------------------ */
/* Every message in every size with every number of fds, first thing, half
 * way and while rings run: answered, or the session ends; never silence. */

static bool
is_answered_or_ended(struct vm *vm)
{
	struct vh_msg *reply = malloc(sizeof(*reply));
	int err = reply ? vm_send(vm, VM_GET_FEATURES, VM_VERSION, "", 0, NULL,
				  0) : -ENOMEM;

	while (!err) {
		err = vh_msg_recv(vm->sock, reply, ANSWER_MS);
		if (err)
			break;
		vh_msg_close_fds(reply);
		if (reply->request == VM_GET_FEATURES && reply->size == 8)
			break;
	}
	free(reply);
	return !err || err == -ENOTCONN || err == -ECONNRESET;
}

static bool
try_message(struct hostile *h, const char *tag, enum hostile_stage stage,
	    const struct message *m)
{
	struct vm vm;
	bool good = !hostile_connect(h, tag, stage, &vm);

	if (good) {
		send_message(&vm, m);
		good = is_answered_or_ended(&vm);
	}
	vm_close(&vm);
	if (!good)
		printf("# stage %d, request %u, %u bytes, %d fds: %s\n", stage,
		       m->request, m->size, m->nfds, vm.why);
	return good;
}

static void
test_every_message(struct hostile *h)
{
	static const enum hostile_stage stages[] = {
		CONNECTED, NEGOTIATED, RUNNING,
	};
	static const uint32_t sizes[] = { 0, 4, 8, 12, 40, 72 };
	static const uint64_t fill[] = { 0, 1, UINT64_MAX };
	unsigned tried = 0, bad = 0, seed = 1;
	long mark = daemon_log_mark(&h->daemon);

	for (uint32_t r = 0; r < 48; r++)
		for (unsigned i = 0; i < 3 * 6 * 3 && bad < 10; i++) {
			struct message m = {
				.request = r,
				.flags = rand_r(&seed) % 4 ? VM_VERSION :
					 VM_VERSION | VM_NEED_REPLY,
				.size = sizes[i / 3 % 6],
				.kind = (enum fd_kind)(EVENT +
					rand_r(&seed) % READ_ONLY),
				.nfds = rand_r(&seed) % 3,
			};

			for (int k = 0; k < 9; k++)
				m.body.u64[k] = fill[rand_r(&seed) % 3];
			bad += !try_message(h, "bad15", stages[i % 3], &m);
			tried++;
		}
	is_int(bad, 0, "%u messages at any time in any size: each is answered "
	       "or ends its session", tried);
	hostile_logged(h, "bad15", mark, tried);
	hostile_others_fine(h, "after them");
	daemon_settles(&h->daemon, &h->before, 5000, "after them");
}

/* ------------------------------------------------------------------ */

/* Leave after the n-th step of a good beginning. */
static int
steps(struct vm *vm, int n)
{
	int err = 0;

	for (int i = 0; i < n && !err; i++) {
		unsigned q = (unsigned)(i - 2) % 2;

		if (i == 0)
			err = vm_negotiate(vm);
		else if (i == 1)
			err = vm_share_memory(vm);
		else if (i < 4)
			err = vm_ring_start(vm, q);
		else if (i < 6)
			vm_ring_kick(&vm->ring[q]);
		else
			err = vm_ring_stop(vm, q) < 0;
	}
	return err;
}

static void
test_leave_at_every_step(struct hostile *h)
{
	long mark = daemon_log_mark(&h->daemon);
	int bad = 0, tried = 0;

	for (int n = 0; n <= 8; n++)
		for (int k = 0; k < 5; k++) {
			struct vm vm;

			bad += hostile_connect(h, "bad14", CONNECTED, &vm) ||
			       steps(&vm, n);
			tried++;
			vm_close(&vm);
		}
	/* Only the hiprio ring runs, or was asked to stop. */
	for (int k = 0; k < 10; k++) {
		struct { uint32_t index, num; } state = { 0, 0 };
		struct vm vm;

		bad += hostile_connect(h, "bad14", WITH_MEMORY, &vm) ||
		       vm_ring_start(&vm, 0);
		if (k % 2)
			bad += vm_send(&vm, VM_GET_VRING_BASE, VM_VERSION,
				       &state, sizeof(state), NULL, 0) != 0;
		else
			bad += vm_get_u64(&vm, VM_GET_FEATURES,
					  &(uint64_t){ 0 }) != 0;
		tried++;
		vm_close(&vm);
	}
	is_int(bad, 0, "%d sessions left, at every step of the beginning",
	       tried);
	hostile_logged(h, "bad14", mark, tried);
	hostile_others_fine(h, "after them");
}

/* The log is not flooded by one tag. */
static void
test_log_is_bounded(struct hostile *h)
{
	long mark = daemon_log_mark(&h->daemon);
	int64_t begin = test_now_ms();
	int shown;

	for (int i = 0; i < 100; i++) {
		struct vm vm;

		if (!hostile_connect(h, "bad13", CONNECTED, &vm))
			vm_send(&vm, 99, VM_VERSION, "", 0, NULL, 0);
		vm_is_hung_up(&vm, ANSWER_MS);
		vm_close(&vm);
	}
	shown = daemon_log_count(&h->daemon, mark, "bad13: ", " ended: ");
	ok(shown <= 11 + (test_now_ms() - begin) / 1000,
	   "100 sessions that end badly make %d lines", shown);
	hostile_logged(h, "bad13", mark, 100);
}

/* Nor by one that comes and goes for ever. */
static void
test_comings_are_bounded(struct hostile *h)
{
	long mark = daemon_log_mark(&h->daemon);
	int64_t begin = test_now_ms();
	int came, left, most;

	for (int i = 0; i < 1000; i++) {
		struct vm vm;

		hostile_connect(h, "bad9", CONNECTED, &vm);
		vm_close(&vm);
	}
	ok(daemon_has_sessions(&h->daemon, "bad9", 0, ANSWER_MS),
	   "1000 sessions came and went");
	most = 101 + (int)(test_now_ms() - begin) / 1000;
	came = daemon_log_count(&h->daemon, mark, "bad9: ", " connected pid=");
	left = daemon_log_count(&h->daemon, mark, "bad9: ", " left pid=");
	ok(came <= most && left <= most, "they make %d and %d lines, not more "
	   "than %d each", came, left, most);
	hostile_logged(h, "bad9", mark, 1000);
}

static void
test_max_clients(struct hostile *h)
{
	static struct vm vm[65];
	long mark = daemon_log_mark(&h->daemon);
	int good = 0;

	for (int i = 0; i < 64; i++)
		good += !hostile_connect(h, "bad12", RUNNING, &vm[i]);
	is_int(good, 64, "64 front ends at once");
	ok(daemon_has_sessions(&h->daemon, "bad12", 64, ANSWER_MS),
	   "are 64 sessions");
	ok(hostile_connect(h, "bad12", NEGOTIATED, &vm[64]) != 0,
	   "one more is turned away");
	vm_close(&vm[64]);
	is_int(daemon_log_wait(&h->daemon, mark, "bad12: front end refused: ",
			       "max_clients", 1, ANSWER_MS), 1,
	       "and the log says so");
	vm_close(&vm[63]);
	ok(daemon_has_sessions(&h->daemon, "bad12", 63, ANSWER_MS),
	   "one leaves");
	ok(hostile_connect(h, "bad12", RUNNING, &vm[63]) == 0,
	   "then another may come");
	hostile_others_fine(h, "with 64 of them");
	for (int i = 0; i < 64; i++)
		vm_close(&vm[i]);
	daemon_settles(&h->daemon, &h->before, ANSWER_MS, "when they left");
}

/* Another byte of a message each second: as good as silence. */
static void
test_drip(struct hostile *h)
{
	uint32_t msg[26] = { VM_ADD_MEM_REG, VM_VERSION, 40 };
	const char *byte = (const char *)msg;
	int64_t begin = test_now_ms(), ms;
	long mark = daemon_log_mark(&h->daemon);
	struct vm vm;

	hostile_connect(h, "bad8", RUNNING, &vm);
	do {
		hostile_send(&vm, byte++, 1, NULL, 0);
	} while (!vm_is_hung_up(&vm, 500) && byte < (char *)msg + 50);
	ms = test_now_ms() - begin;
	ok(vm_is_hung_up(&vm, 60000), "half a message, a byte at a time: the "
	   "session ends");
	ok(ms > 9000, "after %lld ms", (long long)ms);
	is_int(daemon_log_wait(&h->daemon, mark, "bad8: session ",
			       "did not end it in 10 s", 1, ANSWER_MS), 1,
	       "and the log says so");
	vm_close(&vm);
	hostile_others_fine(h, "after it");
}

/* Half a message, and then nothing: waits for nobody. */
static void
test_silence(struct hostile *h, struct vm *silent, int64_t since)
{
	uint32_t half[3] = { VM_SET_FEATURES, VM_VERSION, 8 };
	long mark = daemon_log_mark(&h->daemon);
	struct vm vm;

	hostile_connect(h, "bad11", CONNECTED, &vm);
	hostile_send(&vm, half, sizeof(half), &vm.memfd, 1);
	hostile_others_fine(h, "half a message, then silence");
	vm_close(&vm);
	is_int(daemon_log_wait(&h->daemon, mark, "bad11: session ",
			       "in the middle of a message", 1, ANSWER_MS), 1,
	       "which ends when it leaves");

	ok(vm_is_hung_up(silent, 60000), "one that says nothing is closed");
	since = test_now_ms() - since;
	ok(since > 9000, "after %lld ms", (long long)since);
	is_int(daemon_log_wait(&h->daemon, 0, "bad10: session ",
			       "said nothing for 10 s", 1, ANSWER_MS), 1,
	       "and the log says so");
	vm_close(silent);
	h->before.fds--;
}

int
main(void)
{
	struct hostile h;
	struct vm silent;
	int64_t since;

	hostile_begin(&h, NULL);
	since = test_now_ms();
	ok(!hostile_connect(&h, "bad10", CONNECTED, &silent), "silence begins");
	h.before.fds++;
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
		hostile_try(&h, &messages[i]);
	for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++)
		hostile_try(&h, &streams[i]);
	for (int how = 0; how < 4; how++)
		test_slow_close(&h, how);
	test_leave_at_every_step(&h);
	test_every_message(&h);
	test_log_is_bounded(&h);
	test_comings_are_bounded(&h);
	test_max_clients(&h);
	test_drip(&h);
	test_silence(&h, &silent, since);
	hostile_end(&h);
	return tap_done();
}
