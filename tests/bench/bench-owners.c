/* SPDX-License-Identifier: MIT */
/*
 * What the store of owners adds to GETATTR and LOOKUP: without one, with an
 * empty one, with a million rows, and of a recorded file.  Every case is tried
 * in turn, several times; the best of each is told, in ns for one request.
 *
 * The argument is a directory for all of it; not as root, for whom nothing is
 * recorded.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuseclient.h"

/* A file so old is known by its birth time: see fuse/node.c, "aged". */
enum { AGE_US = 50000 };
enum { ROUNDS = 7, REQUESTS = 20000, ROWS = 1000000 };

enum { NONE, EMPTY, OTHERS, RECORDED, CASES };
static const char *const names[CASES] = {
	"no store", "empty store", "a million rows", "of a recorded file",
};

static struct fc *client[CASES];
static uint64_t node[CASES];
static double best[CASES][2];

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double
run(int i, bool lookup)
{
	struct fc *c = client[i];
	double begin = now();

	for (int n = 0; n < REQUESTS; n++) {
		if (lookup)
			fc_lookup(c, 1, i == RECORDED ? "r" : "f");
		else
			fc_getattr(c, node[i], NULL);
	}
	return (now() - begin) / REQUESTS;
}

/* Of files that are nowhere. */
static void
add_rows(struct fc *c)
{
	struct cf_state_row row = { .has = CF_STATE_UID, .uid = 1 };
	struct cf_state_fs *fs;

	if (cf_state_fs(c->state, c->fd, &fs) < 0)
		exit(1);
	for (uint64_t i = 0; i < ROWS; i++) {
		struct cf_state_file file = { .ino = (1ULL << 40) + i,
					      .btime_ns = 1, .fd = c->fd };

		row.uid = (uint32_t)i;
		if (cf_state_change(fs, &file, CF_STATE_UID, &row, NULL) < 0)
			exit(1);
		/* A log that nobody moves makes changes slow. */
		if (i % 1024 == 0)
			cf_state_work(c->state);
	}
}

static void
start(int i, const char *top)
{
	static char dir[CASES][256];
	struct fc *c = client[i] = fc_new(top);

	snprintf(dir[i], sizeof(dir[i]), "%s/state-%d", top, i);
	if (i != NONE)
		c->state_dir = dir[i];
	fc_start(c);
	fc_file(c, "f", "");
	usleep(AGE_US);
	node[i] = (uint64_t)fc_lookup(c, 1, "f");
	if (i == OTHERS)
		add_rows(c);
}

/* In the store of a million. */
static void
start_recorded(void)
{
	struct fuse_setattr_in in = { .valid = FATTR_UID, .uid = 77 };
	struct fc *c = client[RECORDED] = client[OTHERS];

	fc_file(c, "r", "");
	usleep(AGE_US);
	node[RECORDED] = (uint64_t)fc_lookup(c, 1, "r");
	if (fc_setattr(c, node[RECORDED], &in, NULL) < 0)
		printf("not recorded: run it without privileges\n");
}

int
main(int argc, char **argv)
{
	const char *top = argc > 1 ? argv[1] : "/tmp";

	for (int i = 0; i < RECORDED; i++)
		start(i, top);
	start_recorded();
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < CASES; i++) {
			for (int l = 0; l < 2; l++) {
				double ns = run(i, l);

				if (!r || ns < best[i][l])
					best[i][l] = ns;
			}
		}
	}
	for (int i = 0; i < CASES; i++)
		printf("%-20s getattr %6.0f  lookup %6.0f\n", names[i],
		       best[i][0], best[i][1]);
	for (int i = 0; i < RECORDED; i++)
		fc_free(client[i]);
	return 0;
}
