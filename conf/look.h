/* SPDX-License-Identifier: MIT */
/*
 * Private to conf/: what directories of the host are, without waiting for a
 * disk or a server that does not answer.  Threads of their own look; one that
 * gets no answer in time is left behind, and its path is not asked for again
 * as long as it waits.
 */
#ifndef CONF_LOOK_H
#define CONF_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct conf_dir_id {
	dev_t dev;
	ino_t ino;
	mode_t mode;
	gid_t gid;
};

struct conf_look {
	const char *path;
	bool answered;		/* else the rest says nothing */
	int err;		/* of stat(path): 0 or -errno */
	bool is_dir;
	char *real;		/* what exists of it, without symbolic links */
	bool whole;		/* `real` is all of it */
	/* What `real` is, then each directory above it; less than that when
	 * some cannot be looked at. */
	struct conf_dir_id *up;
	size_t nup;
};

struct conf_looks;

struct conf_looks *conf_looks_new(void);	/* NULL without memory */
/* Look at this path, too.  -ENOMEM. */
int conf_looks_add(struct conf_looks *looks, const char *path);
/* Look at all of them, for so long at most. */
void conf_looks_run(struct conf_looks *looks, unsigned ms);
/* Then: what came of it.  The path must have been added. */
const struct conf_look *conf_looks_find(const struct conf_looks *looks,
					const char *path);
void conf_looks_free(struct conf_looks *looks);	/* NULL is fine */

#endif
