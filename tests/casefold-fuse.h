/* SPDX-License-Identifier: MIT */
/*
 * What the tests of fuse/ on shares that fold have in common: one client, its
 * last answer, and the host's names.
 */
#ifndef TESTS_CASEFOLD_FUSE_H
#define TESTS_CASEFOLD_FUSE_H

#include "tests/fuseclient.h"
#include "tests/tap.h"

static struct fc *c;

__attribute__((unused)) static uint64_t
ino(const char *name)
{
	struct stat st;

	return fc_stat(c, name, &st) < 0 ? 0 : st.st_ino;
}

__attribute__((unused)) static bool
there(const char *name)
{
	return ino(name);
}

__attribute__((unused)) static struct fuse_entry_out
entry(void)
{
	struct fuse_entry_out e;

	memcpy(&e, c->out, sizeof(e));
	return e;
}

__attribute__((unused)) static void
start(unsigned mode, bool windows)
{
	c = fc_new(NULL);
	c->set.casefold = mode;
	c->set.entry_timeout_us = 5000000;
	c->set.attr_timeout_us = 5000000;
	c->set.negative_timeout_us = 5000000;
	if (windows) {
		fc_open_share(c);
		fc_init_windows(c);
	} else {
		fc_start(c);
	}
}

__attribute__((unused)) static void
stop(void)
{
	ok(!c->broken, "no reply broke a rule");
	fc_free(c);
}

#endif
