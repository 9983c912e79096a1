/* SPDX-License-Identifier: MIT */
/* READDIR and READDIRPLUS: every name once, whatever the size of a reply. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

enum { MANY = 2000 };

struct listing {
	unsigned n, dots, dup, bad, nodes, calls;
	unsigned char seen[MANY];
	uint64_t off[MANY + 2];		/* after each entry */
	uint64_t first_ino, dotdot_ino;
};

static void
note(struct listing *l, const struct fuse_dirent *d,
     const struct fuse_entry_out *e)
{
	char name[256];
	int i;

	memcpy(name, d->name, d->namelen);
	name[d->namelen] = '\0';
	l->off[l->n++] = d->off;
	if (name[0] == '.') {
		l->dots++;
		if (d->namelen == 2)
			l->dotdot_ino = d->ino;
		else
			l->first_ino = d->ino;
		l->bad += e && e->nodeid != 0;
		return;
	}
	l->bad += d->type != DT_REG && d->type != DT_UNKNOWN;
	if (e) {
		l->nodes += e->nodeid > 1;
		l->bad += e->attr.ino != d->ino || !S_ISREG(e->attr.mode);
	}
	if (sscanf(name, "file%d", &i) != 1 || i < 0 || i >= MANY)
		l->bad++;
	else if (l->seen[i]++)
		l->dup++;
}

/* Take one reply apart; the offset to go on from. */
static uint64_t
parse(struct fc *c, struct listing *l, size_t n, bool plus, uint64_t offset)
{
	size_t at = 0, fixed = plus ? sizeof(struct fuse_entry_out) : 0;

	while (at < n) {
		_Alignas(8) char copy[1024];
		const struct fuse_dirent *d = (void *)(copy + fixed);
		size_t size = n - at < sizeof(copy) ? n - at : sizeof(copy);

		memcpy(copy, c->out + at, size);
		if (size < fixed + FUSE_NAME_OFFSET ||
		    size < fixed + FUSE_DIRENT_SIZE(d)) {
			l->bad++;
			return offset;
		}
		note(l, d, plus ? (void *)copy : NULL);
		offset = d->off;
		at += fixed + FUSE_DIRENT_SIZE(d);
	}
	return offset;
}

/* The directory from `offset` on. */
static ssize_t
list(struct fc *c, uint64_t node, uint64_t fh, uint64_t offset, uint32_t size,
     bool plus, struct listing *l)
{
	ssize_t n;

	memset(l, 0, sizeof(*l));
	while ((n = fc_readdir(c, node, fh, offset, size, plus)) > 0 &&
	       l->n < MANY + 2) {
		offset = parse(c, l, (size_t)n, plus, offset);
		l->calls++;
	}
	return n;
}

static void
make_files(struct fc *c, int n)
{
	for (int i = 0; i < n; i++) {
		char name[32];

		/* Names of many lengths. */
		snprintf(name, sizeof(name), "file%d%.*s", i, i % 17,
			 "-----------------");
		fc_file(c, name, "");
	}
}

static struct listing l;

static void
test_many(const char *where, unsigned max_fds)
{
	static const uint32_t sizes[] = { 512, 4080, 4096, 32736, 131040 };
	struct fc *c = fc_new(where);
	int64_t fh;

	c->set.max_fds = max_fds;
	make_files(c, MANY);
	fc_start(c);
	fh = fc_opendir(c, 1);
	ok(fh > 0, "OPENDIR of %d files in %s", MANY, where ? where : ".");
	for (int i = 0; i < 10; i++) {
		bool plus = i % 2;
		ssize_t n = list(c, 1, (uint64_t)fh, 0, sizes[i / 2], plus, &l);

		ok(n == 0 && l.n == MANY + 2 && l.dots == 2 && !l.dup && !l.bad,
		   "%s in pieces of %u: %u calls", plus ? "plus" : "plain",
		   sizes[i / 2], l.calls);
		if (n || l.dup || l.bad || l.n != MANY + 2)
			printf("# %zd n=%u dots=%u dup=%u bad=%u\n", n, l.n,
			       l.dots, l.dup, l.bad);
		/* Without file handles, as many as there may be fds. */
		if (plus)
			is_int(l.nodes, c->counters.nodes_limit ? max_fds
								: MANY, "nodes");
	}
	is_int(l.dotdot_ino, l.first_ino, "nothing is above the root");
	ok(fc_info(c).node_fds <= max_fds, "fds within the budget");
	is_int(fc_readdir(c, 1, (uint64_t)fh, 0, 10, false), -EINVAL,
	       "a reply too small for one entry");
	is_int(fc_releasedir(c, 1, (uint64_t)fh), 0, "RELEASEDIR");
	ok(!c->broken, "replies are exact");
	fc_free(c);
}

static void
test_offsets(void)
{
	struct fc *c = fc_new(NULL);
	static struct listing all;
	bool good = true;
	uint64_t fh;

	make_files(c, 100);
	fc_start(c);
	fh = (uint64_t)fc_opendir(c, 1);
	list(c, 1, fh, 0, 4096, false, &all);
	for (unsigned i = 0; i < all.n; i += 7) {
		list(c, 1, fh, all.off[i], 4096, i % 2, &l);
		good = good && l.n == all.n - i - 1;
	}
	ok(good, "every offset leads to what followed it");
	fc_readdir(c, 1, fh, 0, 200, false);
	fc_unlink(c, 1, "file5-----");
	fc_file(c, "file1999", "");
	list(c, 1, fh, 0, 4096, false, &l);
	ok(l.n == 102 && l.seen[1999] && !l.seen[5], "0 rewinds and reads anew");
	ok(fc_readdir(c, 1, fh, UINT64_MAX, 4096, false) <= 0,
	   "an impossible offset does no harm");
	list(c, 1, fh, 0, 4096, true, &l);
	is_int(l.n, 102, "nor does it stay");
	fc_free(c);
}

/* An entry that cannot be looked up must not end the listing. */
static void
test_failing(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t fh;

	make_files(c, 50);
	c->set.max_fds = 16;
	c->set.inode_file_handles = CONF_HANDLES_NEVER;
	fc_start(c);
	fh = (uint64_t)fc_opendir(c, 1);
	list(c, 1, fh, 0, 4096, true, &l);
	is_int(l.n, 52, "all names, though not all nodes");
	is_int(l.nodes, 12, "as many nodes as one guest may hold");
	is_int(c->counters.nodes_limit, 38, "the others are counted");
	is_int(fc_lookup(c, 1, "file1-"), l.seen[1] ? -ENFILE : 0,
	       "LOOKUP says ENFILE");
	fc_free(c);
}

static void
test_removed(void)
{
	struct fc *c = fc_new(NULL);
	uint64_t dir, fh;

	fc_start(c);
	dir = (uint64_t)fc_mkdir(c, 1, "dir", 0755);
	fc_create(c, dir, "file0", O_RDWR, 0644, NULL);
	fh = (uint64_t)fc_opendir(c, dir);
	list(c, dir, fh, 0, 4096, true, &l);
	is_int(l.n, 3, "a directory");
	fc_unlink(c, dir, "file0");
	list(c, dir, fh, 0, 4096, true, &l);
	is_int(l.n, 2, "emptied");
	is_int(fc_rmdir(c, 1, "dir"), 0, "removed while open");
	is_int(list(c, dir, fh, 0, 4096, true, &l), -ENOENT, "lists nothing");
	is_int(fc_releasedir(c, dir, fh), 0, "and closes");
	fc_free(c);
}

int
main(void)
{
	test_many(NULL, 4096);
	test_many(NULL, 16);
	if (!access("/dev/shm", W_OK))
		test_many("/dev/shm", 100);
	test_offsets();
	test_failing();
	test_removed();
	return tap_done();
}
