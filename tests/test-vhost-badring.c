/* SPDX-License-Identifier: MIT */
/*
 * Malformed rings: each is found, said in a sentence, and ends the queue.
 */
#include "config.h"

#include "tests/tap.h"
#include "tests/vhost-ring.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

int
main(void)
{
	int fds = raw_count_fds();

	test_bad();
	test_err_fd();
	is_int(raw_count_fds(), fds, "no fd is left after all that");
	return tap_done();
}
