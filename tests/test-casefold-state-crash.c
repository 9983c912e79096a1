/* SPDX-License-Identifier: MIT */
/*
 * The store when things go wrong: a daemon that is killed, a machine that loses
 * its power, a file that is damaged, a disk that is full or cannot be written.
 *
 * Loss of power is simulated: fsync() and fdatasync() below note what a file
 * held, and fsync() of a directory which names it had.  What comes back after
 * the loss is that, mixed at random with blocks that were written later.
 */
#include "config.h"

#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/state-test.h"

enum { FILES = 40, BLOCK = 4096, NAMES = 2 };

static const char *const db_names[NAMES] = { "state.db", "state.db-wal" };

static struct image {
	char *data;
	size_t size;
	bool named;		/* the directory was synced with it */
} safe[NAMES];
static bool noting, disk_fails;
static int64_t clock_ns;	/* added to the clock */

/* ------------------------------------------------------------------ */
/* In place of the C library's. */

static int
path_in_store(int fd)
{
	char link[64], path[PATH_MAX];
	size_t len = strlen(store_dir);
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < (ssize_t)len || memcmp(path, store_dir, len))
		return -1;
	path[n] = '\0';
	for (int i = 0; i < NAMES; i++) {
		if (path[len] == '/' && !strcmp(path + len + 1, db_names[i]))
			return i;
	}
	return path[len] ? -1 : NAMES;
}

static void
read_image(int i, struct image *image)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", store_dir, db_names[i]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	free(image->data);
	image->data = NULL;
	image->size = 0;
	if (fd < 0 || fstat(fd, &st))
		return;
	image->data = malloc((size_t)st.st_size + 1);
	image->size = (size_t)st.st_size;
	if (pread(fd, image->data, image->size, 0) != (ssize_t)image->size)
		bail("pread");
	/* Not closed: that would drop the locks that SQLite has on it. */
	fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int
note_sync(int fd)
{
	int i = noting ? path_in_store(fd) : -1;

	if (i == NAMES) {
		for (int k = 0; k < NAMES; k++)
			safe[k].named = in_store_dir(db_names[k]);
	} else if (i >= 0) {
		read_image(i, &safe[i]);
	}
	return 0;
}

int
fsync(int fd)
{
	return note_sync(fd);
}

int
fdatasync(int fd)
{
	if (disk_fails) {
		errno = EIO;
		return -1;
	}
	return note_sync(fd);
}

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	int64_t ns;

	if (syscall(SYS_clock_gettime, clock, t))
		return -1;
	ns = t->tv_nsec + clock_ns;
	t->tv_sec += ns / 1000000000;
	t->tv_nsec = ns % 1000000000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (t)
		*t = now.tv_sec;
	return now.tv_sec;
}

/* ------------------------------------------------------------------ */

static struct cf_state_file
fake_file(unsigned i)
{
	static struct {
		struct file_handle h;
		unsigned char bytes[8];
	} handle[FILES];

	handle[i % FILES].h.handle_bytes = 8;
	handle[i % FILES].h.handle_type = 1;
	memcpy(handle[i % FILES].h.f_handle, &(uint64_t){ i }, 8);
	return (struct cf_state_file){
		.ino = 1000 + i, .btime_ns = 1 + i, .fd = -1,
		.handle = &handle[i % FILES].h,
	};
}

static int
set_fake(unsigned i, long uid)
{
	struct cf_state_row row = { .has = uid < 0 ? 0 : CF_STATE_UID,
				    .uid = (uint32_t)uid };
	struct cf_state_file file = fake_file(i);

	return cf_state_change(store_fs, &file, CF_STATE_UID, &row, NULL);
}

static long
get_fake(unsigned i)
{
	struct cf_state_file file = fake_file(i);
	struct cf_state_row row;
	int n = cf_state_find(store_fs, &file, &row);

	return n < 0 ? -1000 + n : n ? (long)row.uid : -1;
}

/* ------------------------------------------------------------------ */
/* T54: kill -9. */

static void
write_until_killed(int fd)
{
	open_store();
	for (uint32_t n = 0;; n++) {
		if (set_fake(n % FILES, n) ||
		    write(fd, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

/* How many were answered. */
static uint32_t
kill_after(uint32_t wanted)
{
	uint32_t n, last = 0;
	int p[2], status;
	pid_t pid;

	if (pipe(p))
		bail("pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(p[0]);
		write_until_killed(p[1]);
	}
	close(p[1]);
	while (read(p[0], &n, sizeof(n)) == sizeof(n)) {
		last = n + 1;
		if (last >= wanted)
			kill(pid, SIGKILL);
	}
	close(p[0]);
	waitpid(pid, &status, 0);
	return last;
}

static void
test_killed(void)
{
	long rounds = tap_scaled(20), wrong = 0;
	uint32_t n, want;

	for (long i = 0; i < rounds; i++) {
		remove_store();
		n = kill_after(1 + (uint32_t)random() % 2000);
		open_store();
		for (uint32_t f = 0; f < FILES; f++) {
			/* The last write to f below n; one more may be there. */
			if (f == n % FILES && get_fake(f) == (long)n)
				continue;
			want = n ? (n - 1 - (n - 1 + FILES - f) % FILES) : 0;
			if (n <= f)
				wrong += get_fake(f) != -1;
			else
				wrong += get_fake(f) != (long)want;
		}
		close_store();
	}
	is_int(wrong, 0, "T54 killed %ld times, nothing answered is lost",
	       rounds);
	remove_store();
}

/* ------------------------------------------------------------------ */
/* T54: loss of power. */

enum { STEPS = 4000 };
static struct step {
	unsigned file;
	long uid;
	int64_t at_ns;
} steps[STEPS];

/* What the disk may hold of a file. */
static void
write_lost(const char *dir, int i, bool all)
{
	struct image now = { 0 };
	char path[PATH_MAX];
	size_t n;
	int fd;

	read_image(i, &now);
	if (!safe[i].named && (random() & 1))
		goto out;
	snprintf(path, sizeof(path), "%s/%s", dir, db_names[i]);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (pwrite(fd, safe[i].data, safe[i].size, 0) < 0)
		bail("pwrite");
	for (size_t at = 0; !all && at < now.size; at += BLOCK) {
		if (random() & 1)
			continue;
		n = now.size - at < BLOCK ? now.size - at : BLOCK;
		if (pwrite(fd, now.data + at, n, (off_t)at) < 0)
			bail("pwrite");
	}
	close(fd);
out:
	free(now.data);
}

/* Is what came back the work of the first p steps, with min <= p <= n? */
static bool
is_prefix(int min, int n)
{
	long want[FILES], got[FILES];

	for (unsigned f = 0; f < FILES; f++) {
		want[f] = -1;
		got[f] = get_fake(f);
	}
	for (int p = 0; p <= n; p++) {
		if (p >= min && !memcmp(want, got, sizeof(want)))
			return true;
		if (p < n)
			want[steps[p].file] = steps[p].uid;
	}
	return false;
}

static bool
lose_power(int min, int n)
{
	struct cf_state *was = store;
	struct cf_state_fs *fs = store_fs;
	char dir[sizeof(store_dir)], lost[sizeof(store_dir)];
	bool good;
	int err;

	snprintf(lost, sizeof(lost), "%s/lost", top_dir);
	mkdir(lost, 0700);
	noting = false;
	for (int i = 0; i < NAMES; i++)
		write_lost(lost, i, random() % 3 == 0);
	strcpy(dir, store_dir);
	strcpy(store_dir, lost);
	err = open_store_with(0, false);
	good = !err && is_prefix(min, n);
	if (!good)
		printf("# seed: %s, %d to %d steps\n", err ? why : "lost", min,
		       n);
	if (!err)
		close_store();
	remove_store();
	strcpy(store_dir, dir);
	store = was;
	store_fs = fs;
	noting = true;
	return good;
}

static int
older_than(int n, int64_t ns)
{
	int i = n;

	while (i > 0 && steps[i - 1].at_ns > clock_ns - ns)
		i--;
	return i;
}

static void
test_power(void)
{
	int synced = 0, wrong = 0, failed = 0, losses = 0, min, next_ms = -1;
	int64_t next_ns = 0;

	noting = true;
	open_store();
	for (int i = 0; i < STEPS; i++) {
		steps[i] = (struct step){
			.file = (unsigned)random() % FILES,
			.uid = random() % 8 ? i : -1, .at_ns = clock_ns,
		};
		failed += set_fake(steps[i].file, steps[i].uid) != 0;
		if (random() % 500 == 0) {
			failed += cf_state_sync(store) != 0;
			synced = i + 1;
		}
		/* As a daemon calls it, and a tenth of a second late. */
		clock_ns += random() % 20000000;
		if (next_ms < 0 || clock_ns >= next_ns) {
			next_ms = cf_state_work(store);
			next_ns = clock_ns + (next_ms + 100) * 1000000ll;
		}
		if (random() % 50)
			continue;
		min = older_than(i + 1, 1000000000);
		wrong += !lose_power(min > synced ? min : synced, i + 1);
		losses++;
	}
	ok(store_stats().checkpoints > 0 && store_stats().syncs > 5,
	   "T54 synced %llu times, moved the log %llu times",
	   (unsigned long long)store_stats().syncs,
	   (unsigned long long)store_stats().checkpoints);
	is_int(failed, 0, "T54 all recorded");
	is_int(wrong, 0, "T54 power lost %d times: what was synced is there, "
	       "and what is older than a second", losses);
	close_store();
	noting = false;
	remove_store();
}

/* ------------------------------------------------------------------ */
/* T58: damage. */

enum { MANY = 3000 };

static void
put_image(int i, const struct image *image)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", store_dir, db_names[i]);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (write(fd, image->data, image->size) != (ssize_t)image->size)
		bail(path);
	close(fd);
}

static bool
is_kept(int i, const struct image *image)
{
	struct image now = { 0 };
	bool same;

	read_image(i, &now);
	same = now.size == image->size &&
	       !memcmp(now.data, image->data, now.size);
	free(now.data);
	return same;
}

/* Rows, in state.db alone, or `log`, in state.db-wal too. */
static void
make_images(struct image image[NAMES], bool log)
{
	remove_store();
	open_store();
	for (unsigned i = 0; i < MANY; i++)
		set_fake(i, i);
	for (int i = 0; log && i < NAMES; i++)
		read_image(i, &image[i]);
	close_store();
	for (int i = 0; !log && i < NAMES; i++)
		read_image(i, &image[i]);
}

static void
put_images(const struct image image[NAMES])
{
	remove_store();
	for (int i = 0; i < NAMES; i++)
		put_image(i, &image[i]);
}

static void
test_refused(struct image image[NAMES], const char *what)
{
	put_images(image);
	is_int(open_store_with(0, false), -EIO, "T58 refused: %s", what);
	ok(strstr(why, "damaged") && strstr(why, ".recover") &&
	   strstr(why, store_dir), "T58 says how to go on");
	ok(is_kept(0, &image[0]) && is_kept(1, &image[1]), "T58 kept");
}

/* As the sentence says. */
static void
test_recover(void)
{
	char cmd[4 * PATH_MAX];
	int good = 0, n;

	if (system("sqlite3 :memory: 'SELECT * FROM sqlite_dbpage' "
		   ">/dev/null 2>&1")) {
		tap_skip("T58 recovery", "there is no sqlite3 with .recover");
		return;
	}
	n = snprintf(cmd, sizeof(cmd),
		     "cd '%s' && sqlite3 state.db .recover | sqlite3 new.db && "
		     "mv new.db state.db && rm -f state.db-wal state.db-shm",
		     store_dir);
	if (n >= (int)sizeof(cmd) || system(cmd))
		bail("sqlite3");
	is_int(open_store_with(0, false), 0, "T58 opens after .recover: %s",
	       why);
	if (!store)
		return;
	for (unsigned i = 0; i < MANY; i++)
		good += get_fake(i) == (long)i;
	ok(good > MANY / 2 && good < MANY, "T58 %d of %d rows came back", good,
	   MANY);
	is_int(set_fake(1, 1), 0, "T58 and it can be written");
	close_store();
}

/* A consistent copy, made while rows change, can take the file's place. */
static void
test_backup(void)
{
	char path[PATH_MAX], to[PATH_MAX];

	snprintf(path, sizeof(path), "%s/copy.db", store_dir);
	snprintf(to, sizeof(to), "%s/state.db", store_dir);
	open_store();
	set_fake(1, 1);
	is_int(cf_state_backup(store, path), 0, "backup");
	is_int(cf_state_backup(store, path), -EEXIST, "not over a file");
	set_fake(1, 2);
	close_store();
	rename(path, to);
	open_store();
	is_int(get_fake(1), 1, "what it had is back");
	close_store();
	remove_store();

	/* Once a week: the file was made long ago, it seems. */
	open_store();
	set_fake(1, 3);
	clock_ns += 8 * 86400 * 1000000000ll;
	is_int(cf_state_work(store), -1, "work");
	ok(in_store_dir("state.db.bak") && !in_store_dir("state.db.new"),
	   "a week later there is a backup");
	close_store();
	remove_store();
}

static void
test_damage(void)
{
	struct image image[NAMES] = { 0 };
	size_t page = 4096, size;

	make_images(image, false);
	size = image[0].size;
	image[0].size = 3 * page + 100;
	test_refused(image, "cut off");
	image[0].size = size;
	image[0].data[5] ^= 1;
	test_refused(image, "no database");
	image[0].data[5] ^= 1;
	image[0].data[71] ^= 1;		/* application_id */
	test_refused(image, "another program's");
	image[0].data[71] ^= 1;
	image[0].data[63] = 9;		/* user_version */
	put_images(image);
	is_int(open_store_with(0, false), -EPROTO, "T58 of a later version");
	ok(strstr(why, "later version"), "T58 says so: %s", why);
	ok(is_kept(0, &image[0]), "T58 kept");
	image[0].data[63] = 1;
	memset(image[0].data + size - 2 * page, 0, page);
	test_refused(image, "a page of zeros");
	test_recover();
	for (int i = 0; i < NAMES; i++)
		free(image[i].data);
}

/* Whatever a disk makes of it: refused or served, and no crash. */
static void
test_flips(bool log)
{
	struct image image[NAMES] = { 0 };
	long n = tap_scaled(150), refused = 0, wrong = 0;
	size_t at, span;
	int err;

	make_images(image, log);
	for (long i = 0; i < n; i++) {
		struct image *m = &image[log ? 1 : 0];
		char old;

		/* Half of them where the structure is. */
		span = (random() & 1) && m->size > 16384 ? 16384 : m->size;
		at = (size_t)random() % span;
		old = m->data[at];
		m->data[at] ^= (char)(1 << random() % 8);
		put_images(image);
		err = open_store_with(0, false);
		if (err) {
			refused++;
			wrong += !*why;
		} else {
			for (unsigned k = 0; k < MANY; k += 17) {
				get_fake(k);
				set_fake(k, 1);
			}
			close_store();
		}
		m->data[at] = old;
	}
	is_int(wrong, 0, "T58 %ld bits flipped in %s, %ld refused", n,
	       db_names[log], refused);
	for (int i = 0; i < NAMES; i++)
		free(image[i].data);
	remove_store();
}

/* ------------------------------------------------------------------ */
/* Full, and not to be written. */

/* What failed once may be lost, whatever the disk says next. */
static void
test_sync_error(void)
{
	troubles = 0;
	open_store();
	set_fake(1, 1);
	disk_fails = true;
	is_int(cf_state_sync(store), -EIO, "disk error: said");
	is_int(troubles, 1, "disk error: told");
	disk_fails = false;
	is_int(cf_state_sync(store), -EIO, "disk error: stays");
	clock_ns += 2000000000;
	is_int(cf_state_work(store), -1, "disk error: not again and again");
	is_int(set_fake(1, 2), 0, "disk error: it goes on");
	ok(store_info().unsynced > 0, "disk error: not safe");
	close_store();
	open_store();
	is_int(get_fake(1), 2, "disk error: the page cache has it");
	is_int(cf_state_sync(store), 0, "disk error: over after a start");
	close_store();
	remove_store();
}

/* Another process has it, or will not let go of it. */
static void
test_held(void)
{
	sqlite3 *db;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/state.db", store_dir);
	open_store();
	set_fake(1, 1);
	if (sqlite3_open(path, &db) ||
	    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL))
		bail("sqlite3");
	is_int(set_fake(1, 2), -EBUSY, "held by another: a change waits, then fails");
	is_int(get_fake(1), 1, "held by another: it was not made");
	is_int(set_fake(1, 1), 0, "held by another: nothing to change");
	is_int(cf_state_sync(store), 0, "held by another: sync");
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	is_int(set_fake(1, 2), 0, "let go");
	sqlite3_close(db);
	close_store();
	remove_store();
}

static bool
own_mounts(void)
{
	char map[64];
	int fd;

	if (!unshare(CLONE_NEWNS))
		return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	snprintf(map, sizeof(map), "0 %u 1", geteuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return false;
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, strlen(map)) < 0)
		return false;
	close(fd);
	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static void
test_full(void)
{
	char path[PATH_MAX], buf[4096] = { 0 };
	unsigned n = 0, wrong = 0;
	int err = 0, fd;

	mkdir(store_dir, 0700);
	if (mount("none", store_dir, "tmpfs", 0, "size=512k")) {
		tap_skip("full disk", "tmpfs cannot be mounted");
		return;
	}
	snprintf(path, sizeof(path), "%s/ballast", store_dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	for (int i = 0; i < 32; i++)
		if (write(fd, buf, sizeof(buf)) < 0)
			bail("ballast");
	open_store();
	while (n < 100000 && !(err = set_fake(n, n)))
		n++;
	is_int(err, -ENOSPC, "full after %u rows", n);
	is_int(get_fake(n), -1, "full: what was refused is not there");
	for (unsigned i = 0; i < n; i++)
		wrong += get_fake(i) != (long)i;
	is_int(wrong, 0, "full: what was recorded is");
	is_int(cf_state_sync(store), 0, "full: sync");
	unlink(path);
	close(fd);
	is_int(set_fake(n, n), 0, "room again");
	close_store();
	open_store();
	is_int(get_fake(n), n, "and it is kept");
	close_store();
	umount2(store_dir, MNT_DETACH);
}

static void
test_readonly(void)
{
	unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY;

	open_store();
	set_fake(1, 1);
	close_store();
	if (open_store_with(0, true))
		bail(why);
	is_int(get_fake(1), 1, "readonly store: read");
	is_int(set_fake(1, 2), -EROFS, "readonly store: not written");
	close_store();

	if (mount(store_dir, store_dir, NULL, MS_BIND, NULL) ||
	    mount(NULL, store_dir, NULL, flags, NULL)) {
		tap_skip("read-only disk", "it cannot be mounted so");
		return;
	}
	is_int(open_store_with(0, false), 0, "read-only disk: %s", why);
	if (store) {
		is_int(get_fake(1), 1, "read-only disk: read");
		is_int(set_fake(1, 2), -EROFS, "read-only disk: not written");
		ok(!store_info().writable, "read-only disk: told");
		close_store();
	}
	umount2(store_dir, MNT_DETACH);
	open_store();
	is_int(set_fake(1, 2), 0, "writable again");
	close_store();
	remove_store();
}

int
main(void)
{
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);

	printf("# SEED=%u\n", seed);
	srandom(seed);
	begin_store(NULL);
	test_killed();
	test_power();
	test_sync_error();
	test_held();
	test_backup();
	test_damage();
	test_flips(false);
	test_flips(true);
	if (own_mounts()) {
		test_full();
		test_readonly();
	} else {
		tap_skip("full and read-only disks", "no mounts of our own");
	}
	end_store();
	return tap_done();
}
