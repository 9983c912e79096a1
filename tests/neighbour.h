/* SPDX-License-Identifier: MIT */
/*
 * A guest that behaves: on a thread of its own it writes, reads back, renames,
 * lists and removes files, and checks every answer, until it is told to stop.
 * Whatever others do to the daemon meanwhile, it must see no error.
 */
#ifndef TESTS_NEIGHBOUR_H
#define TESTS_NEIGHBOUR_H

struct neighbour;

/* `name`: of its directory in the share, so that several can share a tag.
 * Ends the test when it cannot connect. */
struct neighbour *neighbour_start(const char *socket, const char *name);
/* Rounds done so far. */
unsigned long neighbour_rounds(struct neighbour *n);
/* Wait until it has done `more` further rounds: false after ten seconds. */
int neighbour_goes_on(struct neighbour *n, unsigned long more);
/* Test points: it saw no error, and its slowest request took less than
 * `most_ms`. */
void neighbour_stop(struct neighbour *n, int most_ms);

#endif
