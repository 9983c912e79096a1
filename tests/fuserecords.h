/* SPDX-License-Identifier: MIT */
/*
 * For the tests of what the host cannot hold: a share that has a store, and
 * what is recorded there.
 */
#ifndef TESTS_FUSERECORDS_H
#define TESTS_FUSERECORDS_H

#include "tests/fuseids.h"
#include "tests/fusens.h"

static char state_dir[64];	/* of the share that try() makes */

__attribute__((unused)) static uint64_t
rows(struct fc *c)
{
	struct cf_state_info info;

	if (!c->state)
		return 0;
	cf_state_info(c->state, &info);
	return info.rows;
}

__attribute__((unused)) static void
again(struct fc *c)
{
	fc_stop(c);
	fc_start(c);
}

__attribute__((unused)) static int
give(struct fc *c, uint64_t id, uint32_t uid, uint32_t gid)
{
	struct fuse_setattr_in in = { .uid = uid, .gid = gid };

	if (uid != FS_ID_NONE)
		in.valid |= FATTR_UID;
	if (gid != FS_ID_NONE)
		in.valid |= FATTR_GID;
	return fc_setattr(c, id, &in, NULL);
}

/* fn() as run() calls it, on a share with a file of another and a directory. */
__attribute__((unused)) static void
try(const char *uids, const char *gids, uid_t owner, void (*fn)(struct fc *),
    const char *what)
{
	struct fc *c = fc_new("/tmp");
	char command[128], top[] = "/tmp/tmp.state-XXXXXX";

	fc_file(c, "foreign", "");
	mkdirat(c->fd, "sub", 0777);
	if (!mkdtemp(top) || chmod(top, 0777) < 0)
		perror(top);
	snprintf(state_dir, sizeof(state_dir), "%s/test", top);
	if (geteuid() == 0) {
		if (fchownat(c->fd, "foreign", 4321, 4321, 0) < 0 ||
		    fchownat(c->fd, "sub", owner, owner, 0) < 0 ||
		    fchown(c->fd, owner, owner) < 0)
			perror("chown");

	}
	run(c, uids, gids, fn, what);
	fc_free(c);
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	if (system(command))
		printf("# cannot remove %s\n", top);
}

#endif
