/* SPDX-License-Identifier: MIT */
/*
 * Sessions that map as much guest memory as each of them may, until the
 * process can have no more: the one that asks for more ends, nobody else.
 */
#include "config.h"

#include "tests/hostile.h"
#include "tests/tap.h"

#define SESSIONS 200
#define REGIONS 508			/* and the one of the machine itself */
#define MAPS_MOST 100000		/* more would take too long */
#define END_MS 20000

static struct vm vm[SESSIONS];

/* How many regions were added before the session ended. */
static int
fill(struct vm *v)
{
	uint64_t region[5] = { 0, 0, 4096, 0, 0 };
	int n = 0;

	while (n < REGIONS) {
		region[1] = region[3] = (uint64_t)(n + 1) * 4096;
		if (vm_send(v, VM_ADD_MEM_REG, VM_VERSION, region,
			    sizeof(region), &v->memfd, 1))
			break;
		n++;
	}
	/* The answer comes after all that. */
	return vm_get_u64(v, VM_GET_FEATURES, &(uint64_t){ 0 }) ? -1 : n;
}

static void
test_all(struct hostile *h, long most)
{
	long mark = daemon_log_mark(&h->daemon), have;
	int n = 0, full = 0;
	char tag[16];

	for (; n < SESSIONS; n++) {
		snprintf(tag, sizeof(tag), "bad%d", n % HOSTILE_TAGS);
		if (hostile_connect(h, tag, WITH_MEMORY, &vm[n]) ||
		    fill(&vm[n]) < 0)
			break;
		full++;
	}
	have = daemon_number(&h->daemon, "stats", "memory_maps");
	printf("# %d sessions, %ld mappings, %ld may be\n", full, have, most);
	ok(full >= most / (REGIONS + 2) - 1 && full < SESSIONS,
	   "%d sessions have all that they may", full);
	ok(vm_is_hung_up(&vm[n], END_MS), "then one ends");
	snprintf(tag, sizeof(tag), "bad%d: ", n % HOSTILE_TAGS);
	is_int(daemon_log_wait(&h->daemon, mark, tag, "ADD_MEM_REG: all "
			       "sessions together have", 1, END_MS), 1,
	       "and the log says why");
	hostile_others_fine(h, "with all these mappings");
	for (int i = 0; i <= n && i < SESSIONS; i++)
		vm_close(&vm[i]);
}

int
main(void)
{
	struct hostile h;
	long most;

	hostile_begin(&h, NULL);
	most = daemon_number(&h.daemon, "stats", "memory_maps_limit");
	ok(most > 0, "%ld mappings may be", most);
	if (most <= MAPS_MOST)
		test_all(&h, most);
	else
		tap_skip("as many as there may be", "too many for a test");
	hostile_end(&h);
	return tap_done();
}
