/* SPDX-License-Identifier: MIT */
/*
 * The whole store: as text and back after a copy of the tree, checked, cleaned;
 * lines that are wrong; rows as extended attributes.
 */
#include "config.h"

#include "tests/state-test.h"

static char text[64][1024];
static int nlines;

static int
keep_line(void *arg, const char *line)
{
	(void)arg;
	if (line && nlines < 64)
		snprintf(text[nlines++], sizeof(text[0]), "%s", line);
	return 0;
}

static int
compare_lines(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
export(bool walk)
{
	int err;

	nlines = 0;
	err = walk ? cf_state_export_tree(store, files_fd, keep_line, NULL) :
		     cf_state_export(store, &host, keep_line, NULL);
	is_int(err, 0, "export");
	qsort(text, (size_t)nlines, sizeof(text[0]), compare_lines);
}

static const char *const names[] = {
	".", "a \"b\\\n", "dir", "dir/link", "dir/\303\244", "fifo",
};

static const char *const lines[] = {
	"\".\" uid=0",
	("\"a \\042b\\134\\012\" uid=1000 gid=1001 mode=0104755 rdev=8:1 "
	 "dosattr=0x22 crtime=2024-02-29T12:34:56.7890123Z"),
	"\"dir\" mode=01000",
	"\"dir/link\" crtime=1601-01-01T00:00:00.0000000Z",
	"\"dir/\303\244\" gid=4294967294",
	"\"fifo\" mode=020644 rdev=4095:1048575",
};
enum { NLINES = sizeof(lines) / sizeof(lines[0]) };

static void
same_lines(const char *what)
{
	is_int(nlines, NLINES, "%s: as many lines", what);
	for (int i = 0; i < NLINES && i < nlines; i++)
		is_str(text[i], lines[i], "%s: %s", what, names[i]);
}

static void
import_all(void)
{
	for (int i = 0; i < NLINES; i++)
		is_int(cf_state_import(store, files_fd, lines[i], why), 0,
		       "import %s", lines[i]);
}

/* ---- many lines ---- */

enum { MANY = 1000 };
static struct {
	int n, wrong;
	char why[CF_STATE_WHY];		/* of the last */
	size_t last;
} told;

static void
tell(void *arg, size_t i, int err, const char *reason)
{
	bool bad = i % 100 == 50;

	(void)arg;
	told.n++;
	told.wrong += bad ? err >= 0 : err;
	if (err) {
		snprintf(told.why, sizeof(told.why), "%s", reason);
		told.last = i;
	}
}

/* Every hundredth is wrong, every third is of a file that was there before. */
static void
test_many(void)
{
	static const struct cf_state_told calls = { tell, NULL };
	static char line[MANY][64];
	char *list[MANY], name[16];
	long wrong = 0;

	open_store();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "m%d", i - i % 3 / 2);
		if (i % 3 != 2)
			make_file(name);
		snprintf(line[i], sizeof(line[i]), "\"%s\" uid=%d gid=%d",
			 i % 100 == 50 ? "none" : name, i, i + 1);
		list[i] = line[i];
	}
	is_int(cf_state_import_many(store, files_fd, list, MANY, &calls), 0,
	       "%d lines at once", MANY);
	is_int(told.n, MANY, "each is told of");
	is_int(told.wrong, 0, "each for itself");
	is_int((long)told.last, MANY - 50, "the last that was refused");
	is_str(told.why, "\"none\": No such file or directory", "and why");
	for (int i = 0; i < MANY; i++) {
		/* What stands later counts. */
		if (i % 100 == 50 || (i % 3 == 1 && (i + 1) % 100 != 50))
			continue;
		snprintf(name, sizeof(name), "m%d", i - i % 3 / 2);
		wrong += uid_of(name) != i;
	}
	is_int(wrong, 0, "each is recorded");
	ok(store_stats().commits < MANY / 50, "in %llu transactions",
	   (unsigned long long)store_stats().commits);
	close_store();
	open_store();
	is_int(uid_of("m0"), 0, "and kept");
	close_store();
	remove_store();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		unlinkat(files_fd, name, 0);
	}
}

/* T57: the copy has other inodes. */
static void
test_copy(bool handles)
{
	struct cf_state_row row;
	char cmd[2 * PATH_MAX];

	make_file("a \"b\\\n");
	if (mkdirat(files_fd, "dir", 0700) ||
	    symlinkat("x", files_fd, "dir/link") ||
	    mkfifoat(files_fd, "fifo", 0600))
		bail("files");
	make_file("dir/\303\244");
	open_store();
	import_all();
	is_int(find_row("fifo", &row), 1, "T57 recorded");
	ok(row.has & CF_STATE_HOST && row.huid == getuid(),
	   "T57 with the owner on the host");
	if (handles) {
		export(false);
		same_lines("T57 exported");
	}
	export(true);
	same_lines("T57 exported by walking");
	close_store();

	snprintf(cmd, sizeof(cmd), "cp -a '%s/files' '%s/copy'", top_dir,
		 top_dir);
	if (system(cmd))
		bail("cp");
	close(files_fd);
	files_fd = openat(top_fd, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	remove_store();
	open_store();
	export(true);
	is_int(nlines, 0, "T57 the copy has none");
	import_all();
	export(true);
	same_lines("T57 after import into the copy");
	is_int(cf_state_import(store, files_fd, "\"dir\"", why), 0,
	       "a path alone");
	is_int(find_row("dir", &row), 0, "deletes the row");
	close_store();
}

static void
test_bad_lines(void)
{
	static const struct {
		const char *line, *says;
		int err;
	} bad[] = {
		{ "dir uid=1", "begins with \"PATH\"", -EINVAL },
		{ "\"dir uid=1", "no \" at its end", -EINVAL },
		{ "\"\" uid=1", "below the root", -EINVAL },
		{ "\"/etc/passwd\" uid=1", "below the root", -EINVAL },
		{ "\"../state\" uid=1", "\"../state\": ", -EXDEV },
		{ "\"dir/link/x\" uid=1", "\"dir/link/x\": ", -ELOOP },
		{ "\"nothing\" uid=1", "\"nothing\": No such file", -ENOENT },
		{ "\"d\\9\" uid=1", "three octal", -EINVAL },
		{ "\"d\\000\" uid=1", "three octal", -EINVAL },
		{ "\"d\\777\" uid=1", "three octal", -EINVAL },
		{ "\"dir\"uid=1", "apart by blanks", -EINVAL },
		{ "\"dir\" uid", "\"uid\" is no field", -EINVAL },
		{ "\"dir\" user=1", "\"user=1\" is no field", -EINVAL },
		{ "\"dir\" uid=1 uid=1", "there twice", -EINVAL },
		{ "\"dir\" uid=", "want a number", -EINVAL },
		{ "\"dir\" uid=-1", "want a number", -EINVAL },
		{ "\"dir\" uid=4294967295", "want a number", -EINVAL },
		{ "\"dir\" uid=1x", "want a number", -EINVAL },
		{ "\"dir\" mode=0888", "octal", -EINVAL },
		{ "\"dir\" mode=0200000", "octal", -EINVAL },
		{ "\"dir\" rdev=8", "MAJOR:MINOR", -EINVAL },
		{ "\"dir\" rdev=4096:0", "MAJOR:MINOR", -EINVAL },
		{ "\"dir\" dosattr=22", "0x", -EINVAL },
		{ "\"dir\" dosattr=0x100000000", "0x", -EINVAL },
		{ "\"dir\" crtime=2023-02-29T00:00:00.0000000Z", "YYYY",
		  -EINVAL },
		{ "\"dir\" crtime=2023-02-28T00:00:00Z", "YYYY", -EINVAL },
		{ "\"dir\" crtime=2023-02-28T00:00:00.0000000Zaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "is no field",
		  -EINVAL },
	};
	char long_line[3 * PATH_MAX];

	open_store();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		*why = '\0';
		is_int(cf_state_import(store, files_fd, bad[i].line, why),
		       bad[i].err, "%s", bad[i].line);
		if (!ok(strstr(why, bad[i].says), "says so: %s", why))
			printf("# want %s\n", bad[i].says);
	}
	memset(long_line, 'a', sizeof(long_line) - 1);
	long_line[0] = '"';
	long_line[sizeof(long_line) - 1] = '\0';
	is_int(cf_state_import(store, files_fd, long_line, why), -EINVAL,
	       "a path that is too long");
	is_int(cf_state_import(store, files_fd, "  # words", why), 0,
	       "a comment");
	is_int(cf_state_import(store, files_fd, "", why), 0, "an empty line");
	ok(uid_of("dir") == -1, "nothing was recorded");
	close_store();
}

static bool
has_comment(const char *says)
{
	for (int i = 0; i < nlines; i++) {
		if (text[i][0] == '#' && strstr(text[i], says))
			return true;
	}
	return false;
}

static void
test_gc(bool handles)
{
	struct cf_state_check k;

	if (!handles) {
		tap_skip("check and gc", "files cannot be opened by handle");
		return;
	}
	open_store();
	make_file("gone");
	make_file("moved");
	set_uid("gone", 1);
	set_uid("moved", 2);
	unlinkat(files_fd, "gone", 0);
	renameat(files_fd, "moved", top_fd, "moved");
	is_int(cf_state_check(store, &host, &k), 0, "check");
	ok(!k.damaged && k.gone == 1 && !k.unknown &&
	   k.present == k.rows - 1 && !k.deleted,
	   "one is gone (rows %llu)", (unsigned long long)k.rows);
	export(false);
	ok(has_comment(": gone"), "export says that it is gone");
	ok(has_comment(": not below the root"), "and that one was moved away");
	is_int(cf_state_gc(store, &host, &k), 0, "gc");
	is_int(k.deleted, 1, "one is deleted");
	is_int(cf_state_gc(store, &host, &k), 0, "gc again");
	is_int(k.deleted + k.gone, 0, "nothing to delete");
	is_int(store_info().rows, k.rows, "the others stay");
	renameat(top_fd, "moved", files_fd, "moved");
	is_int(uid_of("moved"), 2, "the moved file has its owner");
	close_store();
}

static void
test_xattr(void)
{
	const struct cf_state_row rows[] = {
		{ .has = 0 },
		{ .has = CF_STATE_UID, .uid = 0xfffffffe },
		{ .has = CF_STATE_CRTIME | CF_STATE_HOST, .crtime = INT64_MAX,
		  .huid = 1, .hgid = 2 },
		{ CF_STATE_FACTS | CF_STATE_HOST, 1, 2, 3, 4, 5, 6, 7, 8 },
	};
	unsigned char buf[CF_STATE_XATTR_MAX], copy[CF_STATE_XATTR_MAX];
	struct cf_state_row row;
	int wrong = 0;
	size_t len;

	for (int i = 0; i < 4; i++) {
		len = cf_state_xattr_pack(&rows[i], buf);
		is_int(cf_state_xattr_unpack(buf, len, &row), 0, "xattr %d", i);
		ok(!memcmp(&row, &rows[i], sizeof(row)), "xattr: the same");
		for (size_t n = 0; n < len; n++)
			wrong += cf_state_xattr_unpack(buf, n, &row) != -EIO;
		for (size_t n = 0; n < len * 8; n++) {
			memcpy(copy, buf, len);
			copy[n / 8] ^= (unsigned char)(1 << n % 8);
			wrong += cf_state_xattr_unpack(copy, len, &row) >= 0;
		}
	}
	is_int(wrong, 0, "xattr: what is damaged is refused");
}

int
main(void)
{
	bool handles;

	begin_store(NULL);
	handles = has_handles();
	if (!handles)
		printf("# files cannot be opened by handle\n");
	test_many();
	test_copy(handles);
	test_bad_lines();
	test_gc(handles);
	test_xattr();
	end_store();
	return tap_done();
}
