/* SPDX-License-Identifier: MIT */
/*
 * stallfs DIR: storage that hangs when it is told to (tests/stallfs.h), for
 * shell scripts.  A line of its input each: "stall" or "release"; it answers
 * "mounted", then "stalled" once a request waits and "released".  Ends with
 * its input.
 */
#include "config.h"

#include "tests/stallfs.h"

#include <stdio.h>
#include <string.h>

#define WAIT_MS 60000

int
main(int argc, char **argv)
{
	struct stallfs *fs;
	char line[80];
	int err = argc == 2 ? stallfs_start(argv[1], &fs) : -1;

	if (err) {
		fprintf(stderr, "stallfs: %s\n", strerror(-err));
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("mounted\n");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "stall\n")) {
			stallfs_stall(fs, STALLFS_ALL);
			if (stallfs_wait_held(fs, 1, WAIT_MS))
				printf("stalled\n");
		} else if (!strcmp(line, "release\n")) {
			stallfs_stall(fs, 0);
			printf("released\n");
		}
	}
	stallfs_stop(fs);
	return 0;
}
