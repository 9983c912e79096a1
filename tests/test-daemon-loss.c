/* SPDX-License-Identifier: MIT */
/*
 * T54: a daemon that records owners is killed, or the machine loses its power,
 * while a guest changes them.
 *
 * Killed at any moment: what was answered is there, and what was not is either
 * there or not, but never a set-user-id bit without its owner.
 *
 * Without power the database is what tests/lastsync.c kept, mixed at random
 * with blocks that were written later.  What a guest's FSYNC covered is there;
 * what is missing was answered less than a second before, and is the end of
 * what was done: nothing is out of order.
 *
 * 4 of each; 40 with SCALE=10.
 */
#include "config.h"

#include "tests/daemon.h"
#include "tests/guest.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WAIT_MS = 60000,
	FILES = 32,
	FIRST_ID = 100000,
	BLOCK = 4096,
	STEPS = 400000,		/* in one round, at most */
	PACE_US = 1000,		/* between two: each sync copies the log */
	BITS = S_ISUID | S_ISGID,
};

struct file {
	bool exists;
	uint32_t mode, uid, gid;
};

static struct daemon d;
static struct guest *guest;
static int dir_fd = -1;
static char state_dir[128], kept_dir[128];
static struct file files[FILES];

static void
give_up(const char *what, const char *why)
{
	ok(0, "%s: %s", what, why ? why : "");
	daemon_stop(&d);
	exit(tap_done());
}

static void
connect_guest(void)
{
	struct guest_settings set = {
		.kind = GUEST_LINUX, .vm.timeout_ms = WAIT_MS,
	};
	struct fuse_init_out init;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, "one", path), &set, &guest, &why) ||
	    guest_init(guest, &init))
		give_up("a guest", why ? why : guest_why(guest));
}

static const char *
name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof(name), "f%u", i);
	return name;
}

/* ------------------------------------------------------------------ */
/* The end comes after a while, from another thread. */

static _Atomic int64_t killed_ms;

static void *
kill_later(void *arg)
{
	usleep(*(useconds_t *)arg);
	killed_ms = test_now_ms();
	daemon_kill(&d);
	return NULL;
}

static void
start_again(void)
{
	guest_close(guest);
	if (daemon_again(&d))
		give_up("it starts again", "no");
	connect_guest();
}

/* Do step() until the daemon is gone, `us` from now. */
static void
work_until_killed(useconds_t us, bool (*step)(void))
{
	pthread_t killer;

	killed_ms = 0;
	if (pthread_create(&killer, NULL, kill_later, &us))
		give_up("pthread_create", "");
	while (step())
		;
	pthread_join(killer, NULL);
}

static struct file
look(unsigned i)
{
	struct fuse_entry_out e;
	struct file f = { 0 };

	if (guest_lookup(guest, GUEST_ROOT, name_of(i), &e) < 0)
		return f;
	guest_forget(guest, e.nodeid, 1);
	return (struct file){ true, e.attr.mode, e.attr.uid, e.attr.gid };
}

/* ------------------------------------------------------------------ */
/* Killed. */

enum kind { CREATE, DEVICE, UNLINK, CHOWN, CHMOD };
static struct {
	unsigned file;
	enum kind kind;
	struct file to;
} now;		/* what is asked for and not answered */

static const uint32_t modes[] = { 0644, 0755, 04755, 06755, 04711 };

static void
choose(void)
{
	const struct file *f = &files[now.file = (unsigned)random() % FILES];
	uint32_t mode = modes[(size_t)random() %
			      (sizeof(modes) / sizeof(modes[0]))];
	uint32_t uid = FIRST_ID + (uint32_t)random() % 1000000;

	now.to = *f;
	if (!f->exists) {
		now.kind = random() % 4 ? CREATE : DEVICE;
		now.to = (struct file){ true, S_IFREG | mode, uid, uid + 1 };
		if (now.kind == DEVICE)
			now.to.mode = S_IFCHR | 0640;
	} else if (random() % 8 == 0) {
		now.kind = UNLINK;
		now.to = (struct file){ 0 };
	} else if (S_ISREG(f->mode) && random() % 2) {
		now.kind = CHMOD;
		now.to.mode = S_IFREG | mode;
	} else {
		now.kind = CHOWN;
		now.to.uid = uid;
		now.to.gid = uid + 1;
		now.to.mode &= ~(uint32_t)BITS;
	}
}

static int
set_attributes(const char *name)
{
	struct fuse_setattr_in in = {
		.valid = now.kind == CHMOD ? FATTR_MODE : FATTR_UID | FATTR_GID,
		.mode = now.to.mode & 07777, .uid = now.to.uid,
		.gid = now.to.gid,
	};
	struct fuse_entry_out e;
	int err = guest_lookup(guest, GUEST_ROOT, name, &e);

	if (err >= 0)
		err = guest_setattr(guest, e.nodeid, &in, NULL);
	return err;
}

static int
ask(void)
{
	const char *name = name_of(now.file);
	struct fuse_entry_out e;
	uint64_t fh;
	int err;

	guest_as(guest, now.to.uid, now.to.gid);
	switch (now.kind) {
	case CREATE:
		err = guest_create(guest, GUEST_ROOT, name, O_RDWR,
				   now.to.mode & 07777, &e, &fh);
		if (err >= 0)
			err = guest_release(guest, e.nodeid, fh);
		return err;
	case DEVICE:
		return guest_mknod(guest, GUEST_ROOT, name, now.to.mode, 0x103,
				   &e);
	case UNLINK:
		return guest_unlink(guest, GUEST_ROOT, name);
	default:
		return set_attributes(name);
	}
}

static long answered, refused;

static bool
change(void)
{
	int err;

	choose();
	err = ask();
	if (err == GUEST_BROKEN)
		return false;
	refused += err < 0;
	answered += err >= 0;
	if (err >= 0)
		files[now.file] = now.to;
	return true;
}

static bool
same(const struct file *a, const struct file *b)
{
	return a->exists == b->exists &&
	       (!a->exists || (a->mode == b->mode && a->uid == b->uid &&
			       a->gid == b->gid));
}

/* May `f`, which was so, be as it is now, in the middle of that change? */
static bool
may_be(const struct file *was, const struct file *is)
{
	const struct file *to = &now.to;
	uint32_t perm = is->mode & 0777, bits = is->mode & BITS;

	if (same(is, was) || same(is, to))
		return true;
	if (!is->exists)
		return false;
	switch (now.kind) {
	case CREATE:		/* made, and not recorded */
	case DEVICE:
		return S_ISREG(is->mode) && !bits && is->uid == geteuid();
	case CHMOD:		/* the host has its part, or lost the bits */
		return is->uid == was->uid && is->gid == was->gid &&
		       (perm == (was->mode & 0777) ||
			perm == (to->mode & 0777)) &&
		       (!bits || bits == (was->mode & BITS) ||
			bits == (to->mode & BITS));
	case CHOWN:
		return is->uid == was->uid && is->gid == was->gid && !bits;
	default:
		return false;
	}
}

/* What is there now counts from here on. */
static long
compare(void)
{
	struct stat st;
	struct file f;
	long wrong = 0;

	for (unsigned i = 0; i < FILES; i++) {
		f = look(i);
		if (i == now.file ? !may_be(&files[i], &f) :
				    !same(&files[i], &f)) {
			printf("# %s%s: %d %o %u:%u, was %d %o %u:%u\n",
			       name_of(i), i == now.file ? " asked" : "",
			       f.exists, f.mode, f.uid, f.gid, files[i].exists,
			       files[i].mode, files[i].uid, files[i].gid);
			wrong++;
		}
		if (!fstatat(dir_fd, name_of(i), &st, AT_SYMLINK_NOFOLLOW) &&
		    (st.st_mode & BITS))
			wrong++;
		files[i] = f;
	}
	return wrong;
}

static void
test_killed(long rounds)
{
	long wrong = 0;

	for (long i = 0; i < rounds; i++) {
		work_until_killed((useconds_t)random() % 400000, change);
		start_again();
		wrong += compare();
	}
	is_int(refused, 0, "T54 %ld changes were answered", answered);
	is_int(wrong, 0, "T54 killed %ld times: none of them is lost, and no "
	       "bit is without its owner", rounds);
}

/* ------------------------------------------------------------------ */
/* Loss of power. */

static struct step {
	unsigned file;
	uint32_t uid;
	int64_t at_ms;		/* when it was answered */
} *steps;
static long nsteps, synced;
static bool syncing;		/* the guest calls FSYNC now and then */
static int64_t held_ms;		/* the longest between two answers */
static uint64_t nodes[FILES], file_fh, dir_fh;

/* FSYNC of one file, or FSYNCDIR; either is for all of the share's records. */
static int
sync_all(void)
{
	return random() % 2 ? guest_fsync(guest, nodes[0], file_fh, false) :
			      guest_fsyncdir(guest, GUEST_ROOT, dir_fh);
}

static bool
own(void)
{
	struct step *s = &steps[nsteps];
	struct fuse_setattr_in in = { .valid = FATTR_UID | FATTR_GID };

	s->file = (unsigned)random() % FILES;
	s->uid = in.uid = FIRST_ID + (uint32_t)random() % 1000000;
	in.gid = in.uid + 1;
	usleep(PACE_US);
	if (nsteps == STEPS)
		return !killed_ms;
	if (syncing && random() % 150 == 0) {
		if (sync_all() < 0)
			return false;
		synced = nsteps;
	}
	if (guest_setattr(guest, nodes[s->file], &in, NULL) < 0)
		return false;
	s->at_ms = test_now_ms();
	if (nsteps && s->at_ms - s[-1].at_ms > held_ms)
		held_ms = s->at_ms - s[-1].at_ms;
	nsteps++;
	return true;
}

struct image {
	char *data;
	size_t size;
};

static struct image
read_file(const char *dir, const char *name)
{
	struct image m = { NULL, 0 };
	char path[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return m;
	m.data = fstat(fd, &st) ? NULL : malloc((size_t)st.st_size + 1);
	if (!m.data || read(fd, m.data, (size_t)st.st_size) != st.st_size)
		give_up("read", path);
	m.size = (size_t)st.st_size;
	close(fd);
	return m;
}

static void
write_file(const char *dir, const char *name, const struct image *m)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, m->data, m->size) != (ssize_t)m->size)
		give_up("write", path);
	close(fd);
}

static void
remove_file(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
}

/* The last synced, and of what came later some blocks, or all, or none; nothing
 * perhaps, while the directory was not synced. */
static void
lose_file(const char *name)
{
	struct image was = read_file(kept_dir, name);
	struct image is = read_file(state_dir, name);
	int part = (int)(random() % 4);
	char path[256];
	size_t n;

	snprintf(path, sizeof(path), "%s/%s.named", kept_dir, name);
	if (access(path, F_OK) && random() % 2) {
		remove_file(state_dir, name);
		goto out;
	}

	was.data = realloc(was.data, was.size + is.size + 1);
	for (size_t at = 0; at < is.size; at += BLOCK) {
		if (part == 0 || (part > 1 && random() % part))
			continue;
		n = is.size - at < BLOCK ? is.size - at : BLOCK;
		if (at > was.size)
			memset(was.data + was.size, 0, at - was.size);
		memcpy(was.data + at, is.data + at, n);
		if (was.size < at + n)
			was.size = at + n;
	}
	write_file(state_dir, name, &was);
	write_file(kept_dir, name, &was);
out:
	free(was.data);
	free(is.data);
}

static void
lose_power(void)
{
	lose_file("state.db");
	lose_file("state.db-wal");
	if (random() % 2)
		remove_file(state_dir, "state.db-shm");
}

/* How many of the steps are in what came back, at least and at most; -1 if it
 * is of no moment. */
static long
steps_back(const uint32_t before[FILES], uint32_t got[FILES])
{
	uint32_t want[FILES];
	long last = -1;
	int differ = 0;

	memcpy(want, before, sizeof(want));
	for (unsigned f = 0; f < FILES; f++) {
		struct file is = look(f);

		got[f] = is.gid == is.uid + 1 ? is.uid : 0;
		differ += got[f] != want[f];
	}
	/* The one behind the last was asked for, and not answered. */
	for (long i = 0; i <= nsteps; i++) {
		const struct step *s = &steps[i];

		if (!differ)
			last = i;
		if (i == STEPS)
			break;
		differ -= got[s->file] != want[s->file];
		want[s->file] = s->uid;
		differ += got[s->file] != want[s->file];
	}
	return differ ? last : nsteps + 1;
}

static void
make_files(uint32_t uids[FILES])
{
	struct fuse_entry_out e;
	uint64_t fh;

	for (unsigned i = 0; i < FILES; i++) {
		if (files[i].exists)
			guest_unlink(guest, GUEST_ROOT, name_of(i));
		uids[i] = FIRST_ID + i;
		guest_as(guest, uids[i], uids[i] + 1);
		if (guest_create(guest, GUEST_ROOT, name_of(i), O_RDWR, 0644,
				 &e, &fh) < 0)
			give_up("create", guest_why(guest));
		guest_release(guest, e.nodeid, fh);
	}
}

static void
find_files(void)
{
	struct fuse_entry_out e;

	for (unsigned i = 0; i < FILES; i++) {
		if (guest_lookup(guest, GUEST_ROOT, name_of(i), &e) < 0)
			give_up("lookup", guest_why(guest));
		nodes[i] = e.nodeid;
	}
	if (guest_open_file(guest, nodes[0], O_RDWR, &file_fh) < 0 ||
	    guest_opendir(guest, GUEST_ROOT, &dir_fh) < 0)
		give_up("open", guest_why(guest));
}

static void
test_power(long rounds)
{
	uint32_t uids[FILES], got[FILES];
	long wrong = 0, unsynced = 0, old = 0, total = 0, missing = 0, back, i;
	int64_t oldest = 0, age;

	steps = calloc(STEPS + 1, sizeof(*steps));
	make_files(uids);
	find_files();
	if (sync_all() < 0)
		give_up("sync", guest_why(guest));
	/* By chance all may have come to the disk, a few times in a row. */
	for (i = 0; i < rounds || (!missing && i < 5 * rounds); i++) {
		nsteps = synced = held_ms = 0;
		syncing = i % 2;
		work_until_killed((useconds_t)random() % 1500000 +
				  (syncing ? 0 : 1100000), own);
		lose_power();
		start_again();
		back = steps_back(uids, got);
		total += nsteps;
		wrong += back < 0;
		unsynced += back >= 0 && back < synced;
		if (back >= 0 && back < nsteps) {
			age = killed_ms - steps[back].at_ms;
			oldest = age > oldest ? age : oldest;
			/* A machine that is late for us is for the daemon. */
			old += age > 1000 + held_ms;
			if (age > 1000)
				printf("# %ld ms; no answer for %ld ms\n",
				       (long)age, (long)held_ms);
			missing += nsteps - back;
		}
		memcpy(uids, got, sizeof(uids));
		find_files();
	}
	is_int(wrong, 0, "T54 power lost %ld times in %ld changes: what came "
	       "back is of one moment", i, total);
	is_int(unsynced, 0, "T54 FSYNC lost nothing");
	is_int(old, 0, "T54 %ld changes are missing, the oldest of %ld ms",
	       missing, (long)oldest);
	ok(missing > 0, "T54 something is missing: it was a loss of power");
	free(steps);
}

/* ------------------------------------------------------------------ */

static void
preload(void)
{
	daemon_preload("lastsync.so");
	setenv("LASTSYNC_OF", state_dir, 1);
	setenv("LASTSYNC_TO", kept_dir, 1);
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);
	long rounds = tap_scaled(4);
	char path[128];

	printf("# SEED=%u\n", seed);
	srandom(seed);
	umask(0);
	daemon_as_nobody();
	daemon_start(&d, tags, "[one]\nowners = store\n");
	snprintf(state_dir, sizeof(state_dir), "%s/state/one", d.work);
	snprintf(kept_dir, sizeof(kept_dir), "%s/kept", d.work);
	snprintf(path, sizeof(path), "%s/one", d.work);
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdir(kept_dir, 0700);
	connect_guest();
	test_killed(rounds);
	daemon_kill(&d);
	remove_file(state_dir, "state.db");
	remove_file(state_dir, "state.db-wal");
	remove_file(state_dir, "state.db-shm");
	preload();
	start_again();
	test_power(rounds);
	unsetenv("LD_PRELOAD");
	guest_close(guest);
	close(dir_fd);
	daemon_stop(&d);
	return tap_done();
}
