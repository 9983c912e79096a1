/* SPDX-License-Identifier: MIT */
/*
 * Split rings: malformed ones, indirect tables, when to signal (against a
 * model), indexes that wrap, all sizes.
 */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-raw.h"
#include "vhost/vh.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM (4u << 20)
#define DATA (3u << 20)		/* offset of memory for buffers */
#define TABLE (DATA + 0x80000)	/* and for indirect tables */

#define W VRING_DESC_F_WRITE
#define N VRING_DESC_F_NEXT
#define I VRING_DESC_F_INDIRECT

static struct raw r;
static struct vh_queue *q;
static unsigned ring_size;
static uint16_t made;		/* avail->idx as it should be */
static struct iovec iov[VH_IOV_MAX];

static struct vring_desc *
descs(void)
{
	return (void *)(r.mem + RAW_DESC(1));
}

static struct vring_desc *
table(void)
{
	return (void *)(r.mem + TABLE);
}

static struct vring_avail *
avail(void)
{
	return (void *)(r.mem + RAW_AVAIL(1));
}

static struct vring_used *
used(void)
{
	return (void *)(r.mem + RAW_USED(1));
}

static uint16_t *
avail_event(void)
{
	return (void *)&used()->ring[ring_size];
}

static void
start(uint64_t features, unsigned size, uint16_t base)
{
	raw_open(&r, 2, NULL);
	if (raw_setup(&r, RAW_FEATURES | features, MEM))
		abort();
	ring_size = size;
	made = base;
	avail()->idx = base;
	used()->idx = base;
	q = raw_ring(&r, 1, size, base);
	if (!q)
		abort();
}

static void
end(void)
{
	if (!raw_close(&r))
		ok(0, "not idle");
}

static void
desc(unsigned i, uint64_t off, uint32_t len, unsigned flags, unsigned next)
{
	descs()[i] = (struct vring_desc){ RAW_GPA + off, len, (uint16_t)flags,
					  (uint16_t)next };
}

static void
entry(unsigned i, uint64_t off, uint32_t len, unsigned flags, unsigned next)
{
	table()[i] = (struct vring_desc){ RAW_GPA + off, len, (uint16_t)flags,
					  (uint16_t)next };
}

static void
offer(unsigned head)
{
	avail()->ring[made++ & (ring_size - 1)] = (uint16_t)head;
	__atomic_store_n(&avail()->idx, made, __ATOMIC_RELEASE);
}

static void
answer(unsigned head, uint32_t len)
{
	vh_queue_complete(q, &(struct vh_used){ (uint16_t)head, len }, 1);
}

/* ---- malformed rings ---- */

static void
bad_loop(void)
{
	desc(0, DATA, 16, N, 1);
	desc(1, DATA, 16, N, 0);
	offer(0);
}

static void
bad_loop_to_self(void)
{
	desc(5, DATA, 16, N, 5);
	offer(5);
}

static void
bad_loop_all(void)
{
	for (unsigned i = 0; i < ring_size; i++)
		desc(i, DATA + 64 * i, 16, N, (i + 1) % ring_size);
	offer(0);
}

static void
bad_next(void)
{
	desc(0, DATA, 16, N, ring_size);
	offer(0);
}

static void
bad_next_far(void)
{
	desc(0, DATA, 16, N, 65535);
	offer(0);
}

static void
bad_head(void)
{
	offer(ring_size);
}

static void
bad_jump(void)
{
	made = (uint16_t)(made + ring_size);
	offer(0);
}

static void
bad_jump_back(void)
{
	made = (uint16_t)(made - 2);
	offer(0);
}

static void
bad_in_flight(void)
{
	struct vh_chain c;

	desc(3, DATA, 16, 0, 0);
	offer(3);
	vh_queue_pop(q, &c, iov);
	offer(3);
}

static void
bad_order(void)
{
	desc(0, DATA, 16, N | W, 1);
	desc(1, DATA, 16, 0, 0);
	offer(0);
}

static void
bad_address(void)
{
	desc(0, MEM, 1, 0, 0);
	offer(0);
}

static void
bad_address_below(void)
{
	desc(0, -UINT64_C(1), 1, 0, 0);
	offer(0);
}

static void
bad_address_end(void)
{
	desc(0, MEM - 16, 17, W, 0);
	offer(0);
}

static void
bad_address_wrap(void)
{
	descs()[0] = (struct vring_desc){ ~UINT64_C(0) - 10, 4096, W, 0 };
	offer(0);
}

static void
bad_nested(void)
{
	desc(0, TABLE, 32, I, 0);
	entry(0, DATA, 16, N, 1);
	entry(1, TABLE, 32, I, 0);
	offer(0);
}

static void
bad_table_empty(void)
{
	desc(0, TABLE, 0, I, 0);
	offer(0);
}

static void
bad_table_odd(void)
{
	desc(0, TABLE, 33, I, 0);
	offer(0);
}

static void
bad_table_long(void)
{
	for (unsigned i = 0; i < VH_INDIRECT_MAX + 1; i++)
		entry(i, DATA + 32 * i, 16, N, i + 1);
	desc(0, TABLE, (VH_INDIRECT_MAX + 1) * 16, I, 0);
	offer(0);
}

static void
bad_table_huge(void)
{
	desc(0, TABLE, 0xfffffff0, I, 0);
	offer(0);
}

static void
bad_table_outside(void)
{
	desc(0, MEM - 16, 32, I, 0);
	offer(0);
}

static void
bad_table_next(void)
{
	desc(0, TABLE, 32, I, 0);
	entry(0, DATA, 16, N, 2);
	offer(0);
}

static void
bad_table_loop(void)
{
	desc(0, TABLE, 32, I, 0);
	entry(0, DATA, 16, N, 1);
	entry(1, DATA, 16, N, 0);
	offer(0);
}

static void
bad_table_order(void)
{
	desc(0, DATA, 16, N | W, 1);
	desc(1, TABLE, 16, I, 0);
	entry(0, DATA, 16, 0, 0);
	offer(0);
}

static void
bad_table_goes_on(void)
{
	desc(0, TABLE, 16, I | N, 1);
	desc(1, DATA, 16, 0, 0);
	entry(0, DATA, 16, 0, 0);
	offer(0);
}

/* Every second byte, so that no two pieces become one. */
static void
bad_pieces(void)
{
	for (unsigned i = 0; i < 255; i++)
		desc(i, DATA + i * 2, 1, N, i + 1);
	desc(255, TABLE, 1024 * 16, I, 0);
	for (unsigned i = 0; i < 1024; i++)
		entry(i, DATA + i * 2, 1, i < 1023 ? N : 0, i + 1);
	offer(0);
}

static void
bad_total(void)
{
	desc(0, TABLE, 1024 * 16, I, 0);
	for (unsigned i = 0; i < 1024; i++)
		entry(i, 0, MEM, i < 1023 ? N : 0, i + 1);
	offer(0);
}

static const struct {
	const char *what;
	void (*make)(void);
	uint64_t features;
	const char *why;
} bad[] = {
	{ "loop", bad_loop, 0, "a chain runs in a loop" },
	{ "loop to itself", bad_loop_to_self, 0, "a chain runs in a loop" },
	{ "loop of all", bad_loop_all, 0, "a chain runs in a loop" },
	{ "next", bad_next, 0, "a chain goes on at descriptor 256 of 256" },
	{ "next far", bad_next_far, 0,
	  "a chain goes on at descriptor 65535 of 256" },
	{ "head", bad_head, 0, "chain 256 of a ring of 256" },
	{ "jump", bad_jump, 0, "the driver's index jumps from 65500 to 221" },
	{ "jump back", bad_jump_back, 0,
	  "the driver's index jumps from 65500 to 65499" },
	{ "in flight", bad_in_flight, 0,
	  "chain 3 is offered again before it was answered" },
	{ "order", bad_order, 0, "a descriptor to read follows one to write" },
	{ "address", bad_address, 0,
	  "a descriptor points outside guest memory, to 0x40400000" },
	{ "address below", bad_address_below, 0,
	  "a descriptor points outside guest memory, to 0x3fffffff" },
	{ "address at the end", bad_address_end, 0,
	  "a descriptor points outside guest memory, to 0x40400000" },
	{ "address wraps", bad_address_wrap, 0,
	  "a descriptor points outside guest memory, to 0xfffffffffffffff5" },
	{ "nested", bad_nested, RAW_INDIRECT,
	  "an indirect table within an indirect table" },
	{ "empty table", bad_table_empty, RAW_INDIRECT,
	  "an indirect table of 0 bytes" },
	{ "odd table", bad_table_odd, RAW_INDIRECT,
	  "an indirect table of 33 bytes" },
	{ "long table", bad_table_long, RAW_INDIRECT,
	  "an indirect table of 16400 bytes" },
	{ "huge table", bad_table_huge, RAW_INDIRECT,
	  "an indirect table of 4294967280 bytes" },
	{ "table outside", bad_table_outside, RAW_INDIRECT,
	  "an indirect table lies outside guest memory, at 0x403ffff0" },
	{ "next in table", bad_table_next, RAW_INDIRECT,
	  "an indirect table of 2 entries goes on at 2" },
	{ "loop in table", bad_table_loop, RAW_INDIRECT,
	  "an indirect table runs in a loop" },
	{ "order in table", bad_table_order, RAW_INDIRECT,
	  "a descriptor to read follows one to write" },
	{ "table and next", bad_table_goes_on, RAW_INDIRECT,
	  "a chain goes on behind an indirect table" },
	{ "table not agreed", bad_table_loop, 0,
	  "an indirect table, which was not negotiated" },
	{ "total", bad_total, RAW_INDIRECT, "a chain is longer than 4 GiB" },
};

static void
test_bad(void)
{
	struct vh_chain c;
	char want[256];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		start(bad[i].features, 256, 65500);
		bad[i].make();
		is_int(vh_queue_pop(q, &c, iov), -EPROTO, "%s", bad[i].what);
		snprintf(want, sizeof want, "queue 1: %s", bad[i].why);
		is_str(vh_queue_why(q), want, "%s: why", bad[i].what);
		is_int(vh_queue_pop(q, &c, iov), -EPROTO, "%s: for good",
		       bad[i].what);
		is_int(vh_queue_sync(q), -EPROTO, "%s: for all", bad[i].what);
		end();
	}
}

static void
test_err_fd(void)
{
	int ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vh_chain c;
	uint64_t n = 0;

	start(0, 256, 0);
	raw_u64_fd(&r, VH_SET_VRING_ERR, 1, ev);
	bad_loop();
	is_int(vh_queue_pop(q, &c, iov), -EPROTO, "a broken ring");
	end();
	is_int(read(ev, &n, sizeof n), sizeof n, "is told to the front end");
	close(ev);
}

/* ---- good chains ---- */

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
	bad_pieces();
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
	uint64_t one = 1;

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
	if (write(r.kick[1], &one, sizeof one) != sizeof one)
		abort();
	vh_queue_drain_kick(q);
	vh_queue_drain_kick(q);
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

		avail()->ring[size] = event;
		for (unsigned i = 0; i < n; i++)
			offer(i);
		for (unsigned i = 0; i < n; i++) {
			wrong += vh_queue_pop(q, &c, iov) != 1;
			batch[i] = (struct vh_used){ c.head, c.head };
		}
		wrong += vh_queue_pop(q, &c, iov) != 0;
		vh_queue_complete(q, batch, n);
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
	ok(!vh_chain_finish(q, &held, "too late", 9), "of an earlier epoch");
	offer(1);
	is_int(vh_queue_pop(q, &c, iov), 1, "it goes on");
	is_int(c.head, 1, "where it was");
	answer(1, 2);
	is_int(used()->idx, 101, "and answers");
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

	test_bad();
	test_err_fd();
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
