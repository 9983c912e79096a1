/* SPDX-License-Identifier: MIT */
/*
 * fserrno DIR HOST: what cannot be done says why as the file system itself
 * does.  DIR is a mounted share, HOST its directory on the host.  Each probe is
 * done in both, and the errors must be the same; then all of them again, for
 * Linux remembers some errors of a share for ever, and takes others then for
 * all that may come.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/system/fserrno.h"
#include "tests/tap.h"

static const struct probe *const tables[] = {
	fserrno_data, fserrno_attrs, fserrno_names, fserrno_ioctls,
};

static char sides[2][4096];	/* DIR, HOST */

static int
make_place(const char *place)
{
	static const char zeros[8192];
	int fd;

	if (mkdir(place, 0755) || chdir(place))
		return -errno;
	fd = open_file(O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0 || pwrite(fd, zeros, sizeof(zeros), 0) != sizeof(zeros))
		return closing(fd, -EIO);
	close(fd);
	if (mkdir("d", 0755) || symlink("f", "l") || mkfifo("p", 0644))
		return -errno;
	return 0;
}

/* The probe on one side. */
static int
result(const struct probe *p, int side, int number, int round)
{
	char place[64];
	int err = E(chdir(sides[side]));

	snprintf(place, sizeof(place), "%d.%d.%d", number, round, side);
	if (!err)
		err = make_place(place);
	if (err) {
		printf("# %s: %s\n", place, strerror(-err));
		return -1000 - side;
	}
	return p->run(p->n);
}

static void
compare(const struct probe *p, int number, int round)
{
	int there = result(p, 1, number, round);
	int here = result(p, 0, number, round);

	if (!ok(here == there || (p->client && here == p->client), "%s%s",
		p->words, round ? ", again" : ""))
		printf("# %s, on the host %s\n", strerror(-here),
		       strerror(-there));
	else if (here != there)
		printf("# the client's own error; on the host: %s\n",
		       strerror(-there));
}

static void
compare_all(int round)
{
	struct probe p;
	char words[400];
	int n = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct probe *t = tables[i]; t->words; t++)
			compare(t, n++, round);
	for (unsigned i = 0; fserrno_xattr(i, &p, words, sizeof(words)); i++)
		compare(&p, n++, round);
}

int
main(int argc, char **argv)
{
	if (argc != 3 || !realpath(argv[1], sides[0]) ||
	    !realpath(argv[2], sides[1])) {
		fprintf(stderr, "usage: fserrno DIR HOST\n");
		return 2;
	}
	umask(022);
	alarm(300);
	for (int round = 0; round < 2; round++)
		compare_all(round);
	return tap_done();
}
