/* SPDX-License-Identifier: MIT */
/*
 * T34 through the whole daemon: guests and host threads make and remove names
 * at random while guests look names up.  A guest must get a file that was
 * there under a name of that class at some moment of its request, and may hear
 * that there is none, or that it cannot make one, only if there was a moment
 * for that, too.
 *
 * Each spelling belongs to one thread: half of them to the host, half to the
 * guests.  So a guest that makes its own spelling says what the others do.
 */
#include "config.h"

#include "tests/casefold-life.h"
#include "tests/casefold-test.h"
#include "tests/guest.h"
#include "tests/server.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	CLASSES = 6,
	SPELLINGS = 4,
	HOSTS = 2,		/* spellings 0 and 1 */
	MAKERS = 2,		/* guests: spellings 2 and 3 */
	ASKERS = 2,		/* guests that only look up */
	FILLERS = 600,		/* names that make cache.db worth it */
};

static const char *const spelling[CLASSES][SPELLINGS] = {
	{ "Alpha", "ALPHA", "alpha", "aLPHA" },
	{ "Beta.txt", "BETA.TXT", "beta.txt", "bETA.TXT" },
	{ "\xc3\x84pfel", "\xc3\x84PFEL", "\xc3\xa4pfel", "\xc3\xa4PFEL" },
	{ "d", "D", "d1", "D1" },	/* two classes */
	{ "SteamUI.dll", "STEAMUI.DLL", "steamui.dll", "steamui.DLL" },
	{ "\xd0\x96uk", "\xd0\x96UK", "\xd0\xb6uk", "\xd0\xb6UK" },
};

/* What a guest asked and heard. */
struct answer {
	int64_t request, reply;
	uint64_t ino;		/* of LOOKUP; 0 = ENOENT */
	short class, asked;
	bool make;		/* it was to make the name */
	bool refused;		/* which exists */
};

struct actor {
	pthread_t thread;
	int spelling;		/* its own, or -1 */
	enum guest_kind kind;
	unsigned seed;
	struct answer *v;
	size_t n;
	long changes, errors;
};

static struct life life[CLASSES][SPELLINGS];
static struct server server = { .kind = SERVER_GATEWAYD, .cpu = -1 };
static char work[] = "/tmp/test-casefold-guests.XXXXXX";
static int dir_fd, side_fd;
static atomic_bool stop;
static long per_guest;

static bool
is_variant(int class, int a, int b)
{
	return class != 3 || a / 2 == b / 2;
}

static void
trouble(struct actor *a, const char *what, const char *name, int err)
{
	if (a->errors++ < 5)
		printf("# %s \"%s\": %s\n", what, name,
		       err < 0 ? strerror(-err) : "?");
}

/* ------------------------------------------------------------------ */
/* The host. */

static void
host_come(struct actor *a, int class)
{
	const char *name = spelling[class][a->spelling];
	int64_t t = life_now();
	int kind = rand_r(&a->seed) % 3;
	char side[16];

	snprintf(side, sizeof(side), "s%d", a->spelling);
	if (kind == 0) {
		touch(dir_fd, name);
	} else if (kind == 1) {
		mkdirat(dir_fd, name, 0755);
	} else {
		touch(side_fd, side);
		t = life_now();
		renameat(side_fd, side, dir_fd, name);
	}
	life_put(&life[class][a->spelling], t, inode(dir_fd, name));
}

static void
host_go(struct actor *a, int class)
{
	const char *name = spelling[class][a->spelling];
	int64_t t = life_now();

	if (unlinkat(dir_fd, name, 0) && unlinkat(dir_fd, name, AT_REMOVEDIR))
		trouble(a, "host removes", name, -errno);
	life_put(&life[class][a->spelling], t, 0);
}

static void *
run_host(void *arg)
{
	struct actor *a = arg;
	struct timespec t = { 0, 0 };

	while (!stop) {
		int class = rand_r(&a->seed) % CLASSES;

		if (life_is_there(&life[class][a->spelling]))
			host_go(a, class);
		else
			host_come(a, class);
		a->changes++;
		t.tv_nsec = rand_r(&a->seed) % 150000;
		nanosleep(&t, NULL);
	}
	return NULL;
}

/* ------------------------------------------------------------------ */
/* Guests. */

struct seat {
	struct actor *a;
	struct guest *g;
	uint64_t dir, side;
};

static void
ask(struct seat *s)
{
	struct actor *a = s->a;
	struct answer *w = &a->v[a->n++];
	struct fuse_entry_out e = { 0 };
	const char *name;
	int err;

	w->class = (short)(rand_r(&a->seed) % CLASSES);
	w->asked = (short)(rand_r(&a->seed) % SPELLINGS);
	name = spelling[w->class][w->asked];
	w->request = life_now();
	err = guest_lookup(s->g, s->dir, name, &e);
	w->reply = life_now();
	w->ino = err < 0 ? 0 : e.attr.ino;
	if (err < 0 && err != -ENOENT)
		trouble(a, "LOOKUP", name, err);
	else if (err >= 0 && e.entry_valid)
		trouble(a, "a name to keep", name, 0);
	if (err >= 0)
		guest_forget(s->g, e.nodeid, 1);
}

/* One of the ways to make a name; 0 and the inode, or an error. */
static int
make(struct seat *s, const char *name, uint64_t *ino)
{
	struct fuse_entry_out e = { 0 };
	uint64_t fh;
	int err;

	switch (rand_r(&s->a->seed) % 3) {
	case 0:
		err = guest_create(s->g, s->dir, name, O_RDWR | O_EXCL, 0644,
				   &e, &fh);
		if (err >= 0)
			guest_release(s->g, e.nodeid, fh);
		break;
	case 1:
		err = guest_mkdir(s->g, s->dir, name, 0755, &e);
		break;
	default:
		err = guest_symlink(s->g, s->dir, name, "target", &e);
	}
	*ino = e.attr.ino;
	if (err >= 0)
		guest_forget(s->g, e.nodeid, 1);
	return err < 0 ? err : 0;
}

/* Its file may be known by a name in other case only if that is exact: the
 * owner removes by its own spelling, which then is there. */
static void
take_away(struct seat *s, struct life *l, const char *name)
{
	int64_t t = life_now();
	int err = guest_unlink(s->g, s->dir, name);

	if (err == -EISDIR || err == -EACCES)
		err = guest_rmdir(s->g, s->dir, name);
	if (err)
		trouble(s->a, "guest removes", name, err);
	life_put(l, t, 0);
}

static void
change(struct seat *s)
{
	struct actor *a = s->a;
	int class = rand_r(&a->seed) % CLASSES;
	const char *name = spelling[class][a->spelling];
	struct life *l = &life[class][a->spelling];
	struct answer *w;
	uint64_t ino;
	int err;

	if (life_is_there(l)) {
		take_away(s, l, name);
		a->changes++;
		return;
	}
	w = &a->v[a->n++];
	w->make = true;
	w->class = (short)class;
	w->asked = (short)a->spelling;
	w->request = life_now();
	err = make(s, name, &ino);
	w->reply = life_now();
	w->refused = err == -EEXIST;
	if (!err)
		life_put(l, w->request, ino);
	else if (err != -EEXIST)
		trouble(a, "guest makes", name, err);
	a->changes += !err;
}

static void *
run_guest(void *arg)
{
	struct actor *a = arg;
	struct guest_settings set = { .kind = a->kind };
	struct fuse_init_out init;
	struct fuse_entry_out e = { 0 };
	struct seat s = { .a = a };
	char *why = NULL;

	if (guest_open(server.socket, &set, &s.g, &why)) {
		printf("# %s\n", why ? why : "");
		a->errors++;
		return NULL;
	}
	if (guest_init(s.g, &init) < 0 ||
	    guest_lookup(s.g, GUEST_ROOT, "dir", &e) < 0)
		a->errors++;
	s.dir = e.nodeid;
	while (!a->errors && a->n < (size_t)per_guest) {
		if (a->spelling >= 0 && rand_r(&a->seed) % 2)
			change(&s);
		else
			ask(&s);
	}
	guest_close(s.g);
	return NULL;
}

/* ------------------------------------------------------------------ */

/* What was asked for and could not be nowhere through all of the request. */
static bool
hides_one(const struct answer *w, bool also_own)
{
	for (int s = 0; s < SPELLINGS; s++) {
		if (is_variant(w->class, s, w->asked) &&
		    (also_own || s != w->asked) &&
		    life_was_throughout(&life[w->class][s], w->request,
					w->reply))
			return true;
	}
	return false;
}

/* Could one have been there; as that inode unless it is 0? */
static bool
shows_one(const struct answer *w, uint64_t ino, bool also_own)
{
	for (int s = 0; s < SPELLINGS; s++) {
		if (is_variant(w->class, s, w->asked) &&
		    (also_own || s != w->asked) &&
		    life_could_be(&life[w->class][s], true, ino, w->request,
				  w->reply))
			return true;
	}
	return false;
}

/* The exact name was there all the time, and another file was given. */
static bool
misses_exact(const struct answer *w)
{
	const struct life *l = &life[w->class][w->asked];

	return life_was_throughout(l, w->request, w->reply) &&
	       !life_could_be(l, true, w->ino, w->request, w->reply);
}

static bool
is_wrong(const struct answer *w)
{
	if (w->make)
		return w->refused ? !shows_one(w, 0, false) :
				    hides_one(w, false);
	if (!w->ino)
		return hides_one(w, true);
	return !shows_one(w, w->ino, true) || misses_exact(w);
}

static void
explain(const struct answer *w)
{
	printf("# %s \"%s\": %s inode %llu, %lld to %lld\n",
	       w->make ? "made" : "asked", spelling[w->class][w->asked],
	       w->refused ? "refused" : w->ino ? "found" : "no such name",
	       (unsigned long long)w->ino, (long long)w->request,
	       (long long)w->reply);
	for (int s = 0; s < SPELLINGS; s++)
		life_print(&life[w->class][s], spelling[w->class][s],
			   w->reply);
}

static void
fill(void)
{
	char name[32];

	for (int i = 0; i < FILLERS; i++) {
		snprintf(name, sizeof(name), "Filler %d", i);
		touch(dir_fd, name);
	}
}

static void
start(struct actor *a, int n, void *(*run)(void *), unsigned seed)
{
	for (int i = 0; i < n; i++) {
		a[i].seed = seed + (unsigned)i;
		if (run == run_guest)
			a[i].v = calloc((size_t)per_guest, sizeof(*a[i].v));
		pthread_create(&a[i].thread, NULL, run, &a[i]);
	}
}

static void
judge(const char *how, struct actor *a, int n)
{
	long answers = 0, wrong = 0, none = 0, refused = 0, changes = 0;

	for (int i = 0; i < n; i++) {
		changes += a[i].changes;
		wrong += a[i].errors;
		answers += (long)a[i].n;
		for (size_t k = 0; k < a[i].n; k++) {
			const struct answer *w = &a[i].v[k];

			none += !w->make && !w->ino;
			refused += w->refused;
			if (is_wrong(w) && wrong++ < 3)
				explain(w);
		}
		free(a[i].v);
	}
	is_int(wrong, 0, "T34, I1 to I3 %s: %ld answers (%ld none, %ld refused), "
	       "%ld changes by guests, wrong answers", how, answers, none,
	       refused, changes);
}

static void
run(const char *how, const char *where, enum guest_kind kind, unsigned seed)
{
	struct actor host[HOSTS] = { { .spelling = 0 }, { .spelling = 1 } };
	struct actor guest[MAKERS + ASKERS] = {
		{ .spelling = 2, .kind = GUEST_LINUX },
		{ .spelling = 3, .kind = kind },
		{ .spelling = -1, .kind = GUEST_LINUX },
		{ .spelling = -1, .kind = kind },
	};
	long changes = 0;

	if (begin_dir(where)) {
		tap_skip(how, strerror(errno));
		return;
	}
	memset(life, 0, sizeof(life));
	stop = false;
	dir_fd = new_dir("dir");
	side_fd = new_dir("side");
	fill();
	snprintf(server.share, sizeof(server.share), "%s", top_dir);
	is_int(server_start(&server), 0, "%s: the daemon starts", how);
	start(host, HOSTS, run_host, seed);
	start(guest, MAKERS + ASKERS, run_guest, seed + 100);
	for (int i = 0; i < MAKERS + ASKERS; i++)
		pthread_join(guest[i].thread, NULL);
	stop = true;
	for (int i = 0; i < HOSTS; i++) {
		pthread_join(host[i].thread, NULL);
		changes += host[i].changes;
	}
	is_int(host[0].errors + host[1].errors, 0,
	       "%s: %ld changes by the host, none failed", how, changes);
	judge(how, guest, MAKERS + ASKERS);
	is_int(server_stop(&server), 0, "%s: the daemon stops", how);
	for (int c = 0; c < CLASSES; c++) {
		for (int s = 0; s < SPELLINGS; s++)
			free(life[c][s].v);
	}
	close(dir_fd);
	close(side_fd);
	end_dir();
}

static void
remove_work(void)
{
	int fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	empty_dir(fd);
	close(fd);
	rmdir(work);
}

/* Where to, or on a disk and in memory. */
int
main(int argc, char **argv)
{
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);

	if (!server_find(&server) || server.kind != SERVER_GATEWAYD)
		tap_skip_all("gatewayd was not built");
	if (!mkdtemp(work))
		bail(work);
	snprintf(server.work, sizeof(server.work), "%s", work);
	server.extra = "casefold = nt\n";
	per_guest = tap_scaled(5000);
	printf("# SEED=%u\n", seed);
	for (int i = 1; i < argc; i++)
		run(argv[i], argv[i], i % 2 ? GUEST_LINUX : GUEST_WINDOWS_B,
		    seed);
	if (argc == 1) {
		run("on a disk", NULL, GUEST_LINUX, seed);
		run("in memory, a Windows guest among them", "/dev/shm",
		    GUEST_WINDOWS_B, seed);
	}
	remove_work();
	return tap_done();
}
