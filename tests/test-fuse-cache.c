/* SPDX-License-Identifier: MIT */
/*
 * What a guest may keep, and for how long: cache, entry_timeout, attr_timeout
 * and negative_timeout, in every reply that says so.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

enum {
	ASKED = FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR,
	NOFLUSH = 1 << 5,
};

struct timeout {
	uint64_t s;
	uint32_t ns;
};

static const struct mode {
	const char *words;
	unsigned cache;
	uint64_t seconds;
	uint32_t file, dir;	/* flags of OPEN and OPENDIR */
} modes[] = {
	{ "auto", CONF_CACHE_AUTO, 1, 0, 0 },
	{ "always", CONF_CACHE_ALWAYS, 86400, FOPEN_KEEP_CACHE,
	  FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR },
	{ "metadata", CONF_CACHE_METADATA, 86400, FOPEN_DIRECT_IO,
	  FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR },
	{ "never", CONF_CACHE_NEVER, 0, FOPEN_DIRECT_IO, 0 },
};

static bool
is_entry(const struct fc *c, size_t at, struct timeout entry,
	 struct timeout attr)
{
	struct fuse_entry_out e;

	memcpy(&e, c->out + at, sizeof(e));
	return e.nodeid > 1 && e.entry_valid == entry.s &&
	       e.entry_valid_nsec == entry.ns && e.attr_valid == attr.s &&
	       e.attr_valid_nsec == attr.ns;
}

static bool
is_attr(const struct fc *c, struct timeout attr)
{
	struct fuse_attr_out a;

	memcpy(&a, c->out, sizeof(a));
	return a.attr_valid == attr.s && a.attr_valid_nsec == attr.ns;
}

static bool
is_statx(const struct fc *c, struct timeout attr)
{
	struct fs_wire_statx_out a;

	memcpy(&a, c->out, sizeof(a));
	return a.attr_valid == attr.s && a.attr_valid_nsec == attr.ns;
}

static uint32_t
open_flags(struct fc *c, uint32_t opcode, uint64_t id)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out o = { 0 };

	if (fc_call(c, opcode, id, &in, sizeof(in), NULL, NULL) < 0)
		return ~0U;
	memcpy(&o, c->out, sizeof(o));
	return o.open_flags;
}

/* Replies with an entry. */
static void
check_entries(struct fc *c, const char *words, struct timeout entry,
	      struct timeout attr)
{
	struct fuse_mknod_in node = { .mode = S_IFREG | 0644 };
	struct fuse_mkdir_in dir = { .mode = 0755 };
	struct fuse_link_in link = { 0 };
	uint64_t fh;
	ssize_t n;

	link.oldnodeid = (uint64_t)fc_lookup(c, 1, "f");
	ok(is_entry(c, 0, entry, attr), "%s: LOOKUP", words);
	fc_create(c, 1, "c", O_RDWR, 0644, &fh);
	ok(is_entry(c, 0, entry, attr), "%s: CREATE", words);
	fc_call(c, FUSE_MKNOD, 1, &node, sizeof(node), "n", NULL);
	ok(is_entry(c, 0, entry, attr), "%s: MKNOD", words);
	fc_call(c, FUSE_MKDIR, 1, &dir, sizeof(dir), "d", NULL);
	ok(is_entry(c, 0, entry, attr), "%s: MKDIR", words);
	fc_call(c, FUSE_SYMLINK, 1, NULL, 0, "s", "to");
	ok(is_entry(c, 0, entry, attr), "%s: SYMLINK", words);
	fc_call(c, FUSE_LINK, 1, &link, sizeof(link), "l", NULL);
	ok(is_entry(c, 0, entry, attr), "%s: LINK", words);
	fh = (uint64_t)fc_opendir(c, 1);
	n = fc_readdir(c, 1, fh, 0, 4096, true);
	for (size_t at = 0; n > 0 && at < (size_t)n;) {
		struct fuse_direntplus *d = (void *)(c->out + at);

		if (d->dirent.name[0] == 'f') {
			ok(is_entry(c, at, entry, attr), "%s: READDIRPLUS",
			   words);
			return;
		}
		at += FUSE_DIRENTPLUS_SIZE(d);
	}
	ok(0, "%s: READDIRPLUS", words);
}

/* Replies with attributes. */
static void
check_attributes(struct fc *c, const char *words, struct timeout attr)
{
	struct fuse_getattr_in get = { 0 };
	struct fuse_setattr_in set = { .valid = FATTR_MODE, .mode = 0600 };
	struct fs_wire_statx_in statx = { 0 };
	uint64_t id = (uint64_t)fc_lookup(c, 1, "f");

	fc_call(c, FUSE_GETATTR, id, &get, sizeof(get), NULL, NULL);
	ok(is_attr(c, attr), "%s: GETATTR", words);
	fc_call(c, FUSE_SETATTR, id, &set, sizeof(set), NULL, NULL);
	ok(is_attr(c, attr), "%s: SETATTR", words);
	fc_call(c, FS_OP_STATX, id, &statx, sizeof(statx), NULL, NULL);
	ok(is_statx(c, attr), "%s: STATX", words);
}

static struct fc *
start(const struct mode *m)
{
	struct fc *c = fc_new(NULL);

	c->set.cache = m->cache;
	fc_file(c, "f", "text");
	return c;
}

static void
test_mode(const struct mode *m)
{
	struct timeout t = { m->seconds, 0 };
	struct fuse_create_in in = { .flags = O_RDWR | O_CREAT, .mode = 0644 };
	struct fuse_open_out o;
	struct fc *c = start(m);
	uint64_t id;

	fc_start(c);
	check_entries(c, m->words, t, t);
	check_attributes(c, m->words, t);
	id = (uint64_t)fc_lookup(c, 1, "f");
	is_int(open_flags(c, FUSE_OPEN, id) & ASKED, m->file, "%s: OPEN",
	       m->words);
	is_int(open_flags(c, FUSE_OPENDIR, 1) & ASKED, m->dir, "%s: OPENDIR",
	       m->words);
	fc_call(c, FUSE_CREATE, 1, &in, sizeof(in), "new", NULL);
	memcpy(&o, c->out + sizeof(struct fuse_entry_out), sizeof(o));
	is_int(o.open_flags & ASKED, m->file, "%s: CREATE opens", m->words);
	is_int(fc_lookup(c, 1, "none"), -ENOENT, "%s: no negative entries",
	       m->words);
	fc_free(c);
}

/* Keys of their own count for more than cache does. */
static void
test_keys(const struct mode *m)
{
	struct timeout entry = { 3, 500000000 }, attr = { 0, 250000 };
	struct fuse_entry_out e;
	struct fc *c = start(m);
	char words[40];

	snprintf(words, sizeof(words), "%s and timeouts", m->words);
	c->set.entry_timeout_us = 3500000;
	c->set.attr_timeout_us = 250;
	c->set.negative_timeout_us = 1500000;
	fc_start(c);
	check_entries(c, words, entry, attr);
	check_attributes(c, words, attr);
	is_int(fc_lookup(c, 1, "none"), 0, "%s: a negative entry", words);
	memcpy(&e, c->out, sizeof(e));
	ok(e.entry_valid == 1 && e.entry_valid_nsec == 500000000,
	   "%s: for how long", words);
	fc_free(c);
}

/* FLUSH is asked for where it has something to do. */
static void
test_flush(void)
{
	struct fc *c = start(&modes[0]);

	fc_start(c);
	ok(open_flags(c, FUSE_OPEN, (uint64_t)fc_lookup(c, 1, "f")) & NOFLUSH,
	   "no FLUSH of a local file");
	ok(!(open_flags(c, FUSE_OPENDIR, 1) & NOFLUSH),
	   "which is said of files only");
	fc_free(c);
	c = start(&modes[0]);
	c->set.locks = CONF_LOCKS_REMOTE;
	fc_start(c);
	ok(!(open_flags(c, FUSE_OPEN, (uint64_t)fc_lookup(c, 1, "f")) &
	     NOFLUSH), "but with remote locks, which it ends");
	fc_free(c);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		test_mode(&modes[i]);
		test_keys(&modes[i]);
	}
	test_flush();
	return tap_done();
}
