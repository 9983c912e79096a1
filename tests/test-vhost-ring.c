/* SPDX-License-Identifier: MIT */
/*
 * Split rings: chains, when to signal (against a model), indexes that wrap, all
 * sizes, stopping and starting.
 */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-ring.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- chains ---- */

/* Every second byte, so that no two pieces become one. */
static void
offer_pieces(void)
{
	for (unsigned i = 0; i < 255; i++)
		desc(i, DATA + i * 2, 1, N, i + 1);
	desc(255, TABLE, 1024 * 16, I, 0);
	for (unsigned i = 0; i < 1024; i++)
		entry(i, DATA + i * 2, 1, i < 1023 ? N : 0, i + 1);
	offer(0);
}

static void
test_good(void)
{
	struct vh_chain c;

	start(RAW_INDIRECT, 256, 0);
	desc(7, DATA, 40, N, 9);
	desc(9, DATA + 100, 60, N, 8);
	desc(8, DATA + 200, 16, N | W, 2);
	desc(2, DATA + 300, 4096, W, 0);
	offer(7);
	ok(vh_queue_has_work(q), "there is work");
	is_int(vh_queue_pop(q, &c, iov), 1, "four descriptors");
	is_int(c.head, 7, "head");
	is_int(c.nin * 10 + c.nout, 22, "pieces");
	is_int(c.in_len, 100, "bytes to read");
	is_int(c.out_len, 4112, "bytes to write");
	is_int((char *)c.iov[3].iov_base - (char *)c.iov[0].iov_base, 300,
	       "where they are");
	is_int(vh_queue_pop(q, &c, iov), 0, "no more");
	ok(!vh_queue_has_work(q), "no more work");
	answer(7, 17);
	is_int(used()->idx, 1, "answered");
	is_int(used()->ring[0].id, 7, "its head");
	is_int(used()->ring[0].len, 17, "its length");
	offer(7);
	is_int(vh_queue_pop(q, &c, iov), 1, "the same again");
	answer(7, 0);

	/* Direct descriptors, then a table longer than the ring. */
	desc(0, DATA, 40, N, 1);
	desc(1, TABLE, 1000 * 16, I | W, 0);
	for (unsigned i = 0; i < 1000; i++)
		entry(i, DATA + i * 16, 8, W | (i < 999 ? N : 0), i + 1);
	offer(0);
	is_int(vh_queue_pop(q, &c, iov), 1, "a table of 1000 on a ring of 256");
	is_int(c.nin, 1, "in");
	is_int(c.nout, 1000, "out");
	is_int(c.out_len, 8000, "bytes");
	table()[0].addr = 0;
	ok(c.iov[1].iov_len == 8, "it was copied");
	answer(0, 8000);

	/* Neighbours become one piece; but never one to read, one to write. */
	desc(0, DATA, 40, N, 1);
	desc(1, DATA + 40, 60, N, 2);
	desc(2, DATA + 100, 50, N | W, 3);
	desc(3, DATA + 150, 0, N | W, 4);
	desc(4, DATA + 150, 50, W, 0);
	offer(0);
	is_int(vh_queue_pop(q, &c, iov), 1, "neighbours");
	is_int(c.nin * 10 + c.nout, 11, "two pieces");
	is_int(c.iov[0].iov_len, 100, "the first");
	is_int(c.iov[1].iov_len, 100, "the second");
	answer(0, 0);
	end();

	start(RAW_INDIRECT, 256, 0);
	offer_pieces();
	is_int(vh_queue_pop(q, &c, iov), 1, "255 and 1024 pieces");
	is_int(c.nin, 1279, "are within the limit");
	end();
}

static void
test_too_many_pieces(void)
{
	struct vh_chain c;

	start(0, 4096, 0);
	for (unsigned i = 0; i < 2049; i++)
		desc(i, DATA + i * 2, 1, i < 2048 ? N : 0, i + 1);
	offer(1);
	is_int(vh_queue_pop(q, &c, iov), 1, "2048 pieces");
	is_int(c.nin, 2048, "all of them");
	offer(0);
	is_int(vh_queue_pop(q, &c, iov), -EPROTO, "%s", vh_queue_why(q));
	end();
}

/* ---- kicks and signals ---- */

static bool
was_called(void)
{
	uint64_t n;

	return read(r.call[1], &n, sizeof n) == sizeof n;
}

static void
test_flags(void)
{
	struct vh_queue_stats st;
	struct vh_chain c;

	start(0, 16, 0);
	avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (unsigned i = 0; i < 16; i++)
		desc(i, DATA, 16, W, 0);
	ok(vh_queue_arm(q), "nothing there");
	offer(0);
	ok(!vh_queue_arm(q), "something there");
	vh_queue_suppress(q);
	is_int(used()->flags, VRING_USED_F_NO_NOTIFY, "suppressed");
	vh_queue_pop(q, &c, iov);
	answer(0, 0);
	ok(was_called(), "the first answer is always signalled");
	for (int i = 0; i < 3; i++) {
		offer(1);
		vh_queue_pop(q, &c, iov);
		answer(1, 0);
	}
	ok(!was_called(), "later ones only if wanted");
	avail()->flags = 0;
	offer(1);
	vh_queue_pop(q, &c, iov);
	answer(1, 0);
	ok(was_called(), "as here");
	ok(vh_queue_arm(q), "nothing there");
	is_int(used()->flags, 0, "armed");
	vh_queue_kicked(q);
	vh_queue_get_stats(q, &st);
	is_int(st.kicks, 1, "kicks");
	is_int(st.chains, 5, "chains");
	is_int(st.calls, 2, "calls");
	is_int(st.calls_suppressed, 3, "calls suppressed");
	is_int(st.batches, 5, "batches");
	raw_u64(&r, VH_SET_VRING_CALL, 1 | VH_VRING_NOFD);
	offer(1);
	vh_queue_pop(q, &c, iov);
	answer(1, 0);
	is_int(used()->idx, 6, "answered without a call fd");
	end();
}

/*
 * The rule, said plainly: signal if the answers now published include the one
 * whose index the driver wrote down.
 */
static bool
model_wants(uint16_t event, uint16_t old, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((uint16_t)(old + i) == event)
			return true;
	return false;
}

static void
test_event_idx(unsigned size, uint16_t base, long rounds)
{
	struct vh_used batch[64];
	unsigned seed = size + base, wrong = 0, calls = 0;
	struct vh_chain c;

	start(RAW_EVENT_IDX, size, base);
	for (unsigned i = 0; i < size; i++)
		desc(i, DATA + 16 * (i & 1023), 16, W, 0);
	for (long k = 0; k < rounds; k++) {
		unsigned most = size < 64 ? size : 64;
		unsigned n = 1 + (unsigned)rand_r(&seed) % most;
		uint16_t old = made;
		uint16_t event = (uint16_t)(old + rand_r(&seed) % 140 - 70);
		bool want = !k || model_wants(event, old, n);
		unsigned shown;		/* of them, before the signal */

		avail()->ring[size] = event;
		for (unsigned i = 0; i < n; i++)
			offer(i);
		for (unsigned i = 0; i < n; i++) {
			wrong += vh_queue_pop(q, &c, iov) != 1;
			batch[i] = (struct vh_used){ c.head, c.head };
		}
		wrong += vh_queue_pop(q, &c, iov) != 0;
		shown = k % 2 ? (unsigned)rand_r(&seed) % (n + 1) : 0;
		if (shown) {
			vh_queue_publish(q, batch, shown);
			wrong += used()->idx != (uint16_t)(old + shown);
			wrong += was_called();
		}
		vh_queue_complete(q, batch + shown, n - shown);
		wrong += used()->idx != made;
		wrong += used()->ring[(made - 1) & (size - 1)].id != n - 1;
		wrong += was_called() != want;
		calls += want;
		if (k % 3)
			continue;
		vh_queue_suppress(q);
		wrong += !vh_queue_arm(q);
		wrong += *avail_event() != made;
		wrong += used()->flags != 0;
	}
	is_int(wrong, 0, "EVENT_IDX, size %u from %u: %u of %ld signalled",
	       size, base, calls, rounds);
	end();
}

/* 70,000 chains, through the wrap of the indexes, in every size. */
static void
test_wrap(unsigned size)
{
	unsigned wrong = 0, in_flight = 0, first = 0;
	uint16_t heads[64];
	struct vh_chain c;
	long total = tap_scaled(70000);

	start(0, size, 60000);
	for (unsigned i = 0; i < size; i++)
		desc(i, DATA + 16 * (i & 1023), 16, W, 0);
	avail()->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (long k = 0; k < total; k++) {
		if (in_flight == (size < 64 ? size : 64)) {
			answer(heads[first++ & 63], 1);
			in_flight--;
		}
		offer((unsigned)k & (size - 1));
		wrong += vh_queue_pop(q, &c, iov) != 1;
		wrong += c.head != (k & (size - 1));
		heads[(first + in_flight++) & 63] = c.head;
	}
	for (; in_flight; in_flight--)
		answer(heads[first++ & 63], 1);
	wrong += used()->idx != made;
	is_int(wrong, 0, "%ld chains on a ring of %u", total, size);
	end();
}

/* ---- stop and start ---- */

static void
test_restart(void)
{
	struct iovec iov2[VH_IOV_MAX];
	struct vh_chain c, held;
	struct vhost_vring_state s;
	struct vh_msg m;

	start(0, 16, 100);
	desc(0, DATA, 16, W, 0);
	desc(1, DATA + 64, 16, W, 0);
	offer(0);
	offer(1);
	vh_queue_pop(q, &c, iov);
	vh_queue_pop(q, &held, iov2);
	vh_chain_hold(q, &held);
	answer(0, 3);
	raw_state(&r, VH_GET_VRING_BASE, 1, 0);
	vh_msg_recv(r.fd, &m, 0);
	memcpy(&s, m.payload.bytes, sizeof s);
	is_int(s.num, 102, "the next chain's index");
	answer(1, 5);
	is_int(used()->idx, 101, "a stopped ring takes no answer");
	vh_conn_close(r.conn);
	ok(!vh_conn_is_idle(r.conn), "not idle while a chain is held");
	ok(!vh_chain_finish(q, &held, "too late", 9), "too late");
	ok(vh_conn_is_idle(r.conn), "idle");
	is_int(used()->idx, 101, "nothing was answered");
	is_int(r.mem[DATA + 64], 0, "nothing was written");
	end();

	start(0, 16, 100);
	desc(0, DATA, 16, W, 0);
	desc(1, DATA + 64, 16, W, 0);
	offer(0);
	vh_queue_pop(q, &held, iov2);
	vh_chain_hold(q, &held);
	raw_state(&r, VH_GET_VRING_BASE, 1, 0);
	q = raw_ring(&r, 1, 16, 101);
	is_int(vh_chain_finish(q, &held, "of before", 10), VH_SIGNAL_DUE,
	       "taken before it was stopped, answered after");
	is_int(used()->idx, 101, "once");
	offer(1);
	is_int(vh_queue_pop(q, &c, iov), 1, "it goes on");
	is_int(c.head, 1, "where it was");
	answer(1, 2);
	is_int(used()->idx, 102, "and answers");
	end();

	start(0, 16, 100);
	desc(0, DATA, 16, W, 0);
	offer(0);
	vh_queue_pop(q, &held, iov2);
	vh_chain_hold(q, &held);
	raw_state(&r, VH_GET_VRING_BASE, 1, 0);
	is_int(vh_chain_finish(q, &held, "kept", 5), VH_KEPT,
	       "answered while it is stopped");
	is_int(used()->idx, 100, "not yet");
	is_int(r.mem[DATA], 0, "nothing is written");
	q = raw_ring(&r, 1, 16, 101);
	is_int(vh_queue_sync(q), 0, "when it is served again");
	is_int(used()->idx, 101, "it is answered");
	is_str((char *)r.mem + DATA, "kept", "with its bytes");
	end();

	start(0, 16, 100);
	desc(0, DATA, 16, W, 0);
	offer(0);
	vh_queue_pop(q, &held, iov2);
	vh_chain_hold(q, &held);
	raw_state(&r, VH_GET_VRING_BASE, 1, 0);
	q = raw_ring(&r, 1, 16, 100);
	is_int(vh_chain_finish(q, &held, "dropped", 8), VH_LATE,
	       "another base: the front end offers it again");
	is_int(vh_queue_pop(q, &c, iov), 1, "as it does");
	answer(0, 2);
	is_int(used()->idx, 101, "it is answered once");
	end();

	/* A finished chain longer than its room is cut to it. */
	start(0, 16, 0);
	desc(0, DATA, 3, W | N, 1);
	desc(1, DATA + 64, 2, W, 0);
	offer(0);
	vh_queue_pop(q, &held, iov2);
	vh_chain_hold(q, &held);
	ok(vh_chain_finish(q, &held, "abcdefgh", 8), "finish");
	is_int(used()->ring[0].len, 5, "cut to the room there is");
	ok(!memcmp(r.mem + DATA, "abc\0", 4), "the first piece");
	ok(!memcmp(r.mem + DATA + 64, "de\0", 3), "the second piece");
	end();
}

/* Four threads answer held chains while the fds change. */
static struct vh_chain many[4096];
static struct iovec many_iov[4096];

static void *
finisher(void *arg)
{
	unsigned first = *(unsigned *)arg;

	for (unsigned i = first; i < 4096; i += 4)
		vh_chain_finish(q, &many[i], &i, sizeof i);
	return NULL;
}

static void
test_many_threads(void)
{
	unsigned first[4] = { 0, 1, 2, 3 }, wrong = 0;
	pthread_t t[4];

	start(RAW_EVENT_IDX, 4096, 65000);
	for (unsigned i = 0; i < 4096; i++) {
		desc(i, DATA + 16 * i, 16, W, 0);
		offer(i);
	}
	for (unsigned i = 0; i < 4096; i++) {
		wrong += vh_queue_pop(q, &many[i], iov) != 1;
		many_iov[i] = iov[0];
		many[i].iov = &many_iov[i];
		vh_chain_hold(q, &many[i]);
	}
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, finisher, &first[i]);
	for (int i = 0; i < 300; i++)
		raw_u64_fd(&r, VH_SET_VRING_CALL, 1, r.call[1]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	wrong += used()->idx != made;
	for (unsigned i = 0; i < 4096; i++)
		wrong += *(unsigned *)(r.mem + DATA + 16 * i) != i;
	is_int(wrong, 0, "4096 chains answered by four threads");
	end();
}

int
main(void)
{
	int fds = raw_count_fds();

	test_good();
	test_too_many_pieces();
	test_flags();
	test_event_idx(1, 0, tap_scaled(2000));
	test_event_idx(8, 65530, tap_scaled(20000));
	test_event_idx(64, 1000, tap_scaled(10000));
	test_event_idx(1024, 40000, tap_scaled(3000));
	test_event_idx(32768, 65535, tap_scaled(3000));
	for (unsigned size = 1; size <= VH_RING_MAX; size *= 2)
		test_wrap(size);
	test_restart();
	test_many_threads();
	is_int(raw_count_fds(), fds, "no fd is left after all that");
	return tap_done();
}
