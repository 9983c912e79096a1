/* SPDX-License-Identifier: MIT */
/*
 * The store when its file is damaged, its disk is full or cannot be written, or
 * another process has it.
 */
#include "config.h"

#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>

#include "tests/state-disk.h"

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
	ok(strstr(why, "damaged") && strstr(why, "sqlite3 state.db") &&
	   strstr(why, store_dir), "T58 says how to go on");
	ok(is_kept(0, &image[0]) && is_kept(1, &image[1]), "T58 kept");
}

/* Run the commands that the sentence has in quotes, in that directory; what
 * the last of them says is put into `said`.  How many there were. */
static int
do_as_told(const char *sentence, char *said, int size)
{
	char words[CF_STATE_WHY], cmd[CF_STATE_WHY + PATH_MAX + 16];
	int n = 0, len;
	char *end;
	FILE *f;

	snprintf(words, sizeof(words), "%s", sentence);
	for (char *p = words; (p = strstr(p, "\"sqlite3 ")); p = end + 1) {
		end = strchr(++p, '"');
		if (!end)
			break;
		*end = '\0';
		len = snprintf(cmd, sizeof(cmd), "cd '%s' && %s", store_dir, p);
		f = len < (int)sizeof(cmd) ? popen(cmd, "r") : NULL;
		if (!f)
			break;
		*said = '\0';
		while (fgets(said, size, f))
			;
		pclose(f);
		n++;
	}
	return n;
}

static void
move_file(const char *from, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];

	snprintf(a, sizeof(a), "%s/%s", store_dir, from);
	snprintf(b, sizeof(b), "%s/%s", store_dir, to);
	if (rename(a, b))
		printf("# %s: %s\n", a, strerror(errno));
}

/* As the sentence says, of the store that was refused last. */
static void
test_recover(const char *what, long least)
{
	char told[CF_STATE_WHY], said[128] = "";
	long good = 0;

	if (system("command -v sqlite3 >/dev/null")) {
		tap_skip("T58 recovery", "sqlite3 is not installed");
		return;
	}
	snprintf(told, sizeof(told), "%s", why);
	is_int(do_as_told(told, said, sizeof(said)), 2,
	       "T58 %s: the commands that are printed", what);
	ok(strstr(told, "new.db then takes the place of state.db"),
	   "T58 name it");
	move_file("new.db", "state.db");
	if (in_store_dir("state.db-wal"))
		move_file("state.db-wal", "old-wal");
	if (in_store_dir("state.db-shm"))
		move_file("state.db-shm", "old-shm");
	is_int(open_store_with(0, false), 0, "T58 what they make opens: %s",
	       why);
	if (!store)
		return;
	for (unsigned i = 0; i < MANY; i++)
		good += get_fake(i) == (long)i;
	ok(good > least && good < MANY, "T58 %ld of %d rows came back", good,
	   MANY);
	is_int(atol(said), good, "T58 as many as they said");
	is_int(set_fake(1, 1), 0, "T58 and it can be written");
	close_store();
}

/* The backup takes the place of what was refused. */
static void
test_take_backup(struct image image[NAMES])
{
	char path[PATH_MAX];

	remove_store();
	open_store();
	set_fake(1, 77);
	snprintf(path, sizeof(path), "%s/state.db.bak", store_dir);
	is_int(cf_state_backup(store, path), 0, "T58 a backup");
	close_store();
	for (int i = 0; i < NAMES; i++)
		put_image(i, &image[i]);
	is_int(open_store_with(0, false), -EIO, "T58 damage beside a backup");
	move_file("state.db.bak", "state.db");
	move_file("state.db-wal", "old-wal");
	is_int(open_store_with(0, false), 0, "T58 the backup opens: %s", why);
	if (store)
		is_int(get_fake(1), 77, "T58 with what it had");
	close_store();
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
	test_recover("a page of zeros", MANY / 2);
	memset(image[0].data + 7 * page, 0x5a, page);
	test_refused(image, "two pages of rubbish");
	/* What is between them is not found. */
	test_recover("two pages", MANY / 20);
	test_take_backup(image);
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
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* As root, or as the root of a user namespace. */
static bool
own_mounts(void)
{
	char uids[64], gids[64];

	snprintf(uids, sizeof(uids), "0 %u 1", geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1", getegid());
	if (unshare(CLONE_NEWNS) &&
	    (unshare(CLONE_NEWUSER | CLONE_NEWNS) ||
	     !write_text("/proc/self/setgroups", "deny") ||
	     !write_text("/proc/self/uid_map", uids) ||
	     !write_text("/proc/self/gid_map", gids)))
		return false;
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

/* ---- many rows, in one transaction that does not fit ---- */

enum { AT_ONCE = 120 };
static struct { int n, good, nospace; } told;

static void
tell(void *arg, size_t i, int err, const char *text)
{
	(void)arg;
	(void)text;
	told.n++;
	told.good += !err && i < AT_ONCE;
	told.nospace += err == -ENOSPC;
}

static int
import_rows(char *line[AT_ONCE], unsigned uid)
{
	static const struct cf_state_told calls = { tell, NULL };
	int err;

	memset(&told, 0, sizeof(told));
	for (int i = 0; i < AT_ONCE; i++) {
		free(line[i]);
		if (asprintf(&line[i], "\"many%d\" uid=%u", i, uid) < 0)
			bail("asprintf");
	}
	err = cf_state_import_many(store, files_fd, line, AT_ONCE, &calls);
	return err;
}

/* How many have that uid, for who asks now and for who opens it next. */
static int
count_uid(long uid)
{
	char name[16];
	int n = 0;

	for (int i = 0; i < AT_ONCE; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		n += uid_of(name) == uid;
	}
	return n;
}

static void
test_full_import(void)
{
	char path[PATH_MAX], *line[AT_ONCE] = { NULL }, name[16];
	static const char buf[4096];
	int fd, n, rows;

	for (int i = 0; i < AT_ONCE; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		make_file(name);
	}
	if (mount("tmpfs", store_dir, "tmpfs", 0, "size=1m")) {
		tap_skip("full: many", "no tmpfs can be mounted");
		return;
	}
	open_store();
	is_int(import_rows(line, 7), 0, "many: imported");
	ok(told.n == AT_ONCE && told.good == AT_ONCE, "many: each is told of");
	is_int(count_uid(7), AT_ONCE, "many: each is there");
	is_int(store_stats().commits < 10, 1, "many: in few transactions");
	snprintf(path, sizeof(path), "%s/ballast", store_dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	while (write(fd, buf, sizeof(buf)) > 0)
		;
	/* What is left of the log has no room for it. */
	for (n = 100; n < 400 && !import_rows(line, (unsigned)n); n++)
		;
	ok(n < 400 && told.nospace == 1, "many: full is said once, after %d",
	   told.n);
	rows = count_uid(n);
	is_int(rows, told.good, "many: what was told is recorded");
	is_int(rows + count_uid(n - 1 < 100 ? 7 : n - 1), AT_ONCE,
	       "many: the others are as before");
	is_int((long)store_info().rows, AT_ONCE, "many: and counted");
	unlink(path);
	close(fd);
	close_store();
	open_store();
	is_int(count_uid(n), rows, "many: so it is on the disk");
	is_int((long)store_info().rows, AT_ONCE, "many: with as many rows");
	is_int(import_rows(line, 8), 0, "many: room again");
	is_int(count_uid(8), AT_ONCE, "many: all are there");
	close_store();
	umount2(store_dir, MNT_DETACH);
	for (int i = 0; i < AT_ONCE; i++)
		free(line[i]);
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
	test_damage();
	test_flips(false);
	test_flips(true);
	test_held();
	if (own_mounts()) {
		test_full();
		test_full_import();
		test_readonly();
	} else {
		tap_skip("full and read-only disks", "no mounts of our own");
	}
	end_store();
	return tap_done();
}
