/* SPDX-License-Identifier: MIT */
/*
 * A store of many rows over the control socket: written by lines that do not
 * wait for each other, read by clients that are slow or leave, while a guest
 * and other clients go on; one task at a time; a reload in the middle.
 *
 * 10^4 rows of some 800 bytes, many times what sockets hold; SCALE=30 makes
 * them 3 * 10^5.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/stream.h"
#include "tests/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

enum {
	WAIT_MS = 60000,
	AHEAD = 50,		/* lines sent ahead of their answers */
	READERS = 16,		/* answers in files, see answer.c */
	FIRST = 1000,		/* rows at first: an export of 800 KiB */
};

static struct daemon d;
static struct guest *guest;
static char text[1 << 16], parent[700];

static void
control(const char *line)
{
	if (!ok(!daemon_ctl(&d, line, text, sizeof(text)), "%s", line))
		printf("# %s\n", text);
}

static void
name_of(long i, char path[800])
{
	snprintf(path, 800, "%s/file-%ld", parent, i);
}

/* Names of 200 bytes within each other. */
static void
make_parents(void)
{
	char path[1024];
	size_t n = 0;

	for (int i = 0; i < 3; i++) {
		n += (size_t)snprintf(parent + n, sizeof(parent) - n,
				      "%s%0200d", n ? "/" : "", i);
		snprintf(path, sizeof(path), "%s/one/%s", d.work, parent);
		mkdir(path, 0755);
	}
}

static bool
make_file(long i)
{
	char name[800], path[1024];
	int fd;

	name_of(i, name);
	snprintf(path, sizeof(path), "%s/one/%s", d.work, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool
send_all(int fd, const char *buf, size_t len)
{
	ssize_t n = 1;

	while (len && n > 0) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		buf += n;
		len -= n > 0 ? (size_t)n : 0;
	}
	return n > 0;
}

/* Rows [from, to), on one connection; how many answers were good. */
static long
write_rows(long from, long to)
{
	static struct stream s;
	char line[1024], name[800], *answer;
	long done = 0, got = from;

	if (stream_open(&s, &d, NULL))
		return 0;
	for (long i = from; i < to || got < to;) {
		if (i < to && i - got < AHEAD) {
			name_of(i, name);
			snprintf(line, sizeof(line),
				 "write shares/one/state \"%s\" uid=%ld\n",
				 name, 1000 + i);
			if (!make_file(i) || !send_all(s.fd, line, strlen(line)))
				break;
			i++;
			continue;
		}
		answer = stream_line(&s, WAIT_MS);
		if (!answer)
			break;
		done += !strcmp(answer, "ok 0");
		got++;
	}
	close(s.fd);
	return done;
}

/* ---- readers ---- */

/* Files of answers and sockets that the daemon has open.  (The store opens
 * connections to its database as it needs them.) */
static int
held(void)
{
	char dir[64], path[400], link[256];
	struct dirent *e;
	DIR *list;
	ssize_t len;
	int n = 0;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)d.server.pid);
	list = opendir(dir);
	while (list && (e = readdir(list))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		link[len < 0 ? 0 : len] = '\0';
		n += strstr(link, "(deleted)") || !strncmp(link, "socket:", 7);
	}
	if (list)
		closedir(list);
	return n;
}

static void
settles(int want, const char *when)
{
	int64_t end = test_now_ms() + WAIT_MS;
	int now = held();

	while (now > want && test_now_ms() < end) {
		poll(NULL, 0, 20);
		now = held();
	}
	if (!ok(now <= want, "%s nothing of theirs is left", when))
		printf("# %d files and sockets, before %d\n", now, want);
}

/* Ask for all rows; the bytes that "ok N" promises, or -1 with the answer in
 * `text`. */
static long long
ask(struct stream *s)
{
	const char *line;

	if (stream_open(s, &d, "read shares/one/state"))
		return -1;
	line = stream_line(s, WAIT_MS);
	snprintf(text, sizeof(text), "%s", line ? line : "nothing");
	return strncmp(text, "ok ", 3) ? -1 : atoll(text + 3);
}

/* Another may be at it just then, until his ends. */
static long long
ask_until(struct stream *s)
{
	int64_t end = test_now_ms() + WAIT_MS;
	long long n = ask(s);

	while (n < 0 && strstr(text, "EBUSY") && test_now_ms() < end) {
		close(s->fd);
		poll(NULL, 0, 20);
		n = ask(s);
	}
	return n;
}

/* Read what was promised; how many rows of `uid` or of any, if -1, it has. */
static long
take(struct stream *s, long long len, long uid)
{
	char want[32];
	long rows = 0;

	snprintf(want, sizeof(want), " uid=%ld", uid);
	while (len > 0) {
		const char *line = stream_line(s, WAIT_MS);
		const char *field = line ? strstr(line, "\" uid=") : NULL;

		if (!line)
			return -1;
		len -= (long long)strlen(line) + 1;
		rows += field && (uid < 0 || !strcmp(field + 1, want));
	}
	return len ? -1 : rows;
}

static bool
guest_works(void)
{
	struct fuse_attr_out a;

	return guest_getattr(guest, GUEST_ROOT, 0, &a) >= 0;
}

/* What the guest sees as the owner of a row's file. */
static long
owner_seen(long i)
{
	struct fuse_entry_out e;
	struct fuse_attr_out a;
	char name[800];

	name_of(i, name);
	if (guest_walk(guest, name, &e) < 0 ||
	    guest_getattr(guest, e.nodeid, 0, &a) < 0)
		return -1;
	return a.attr.uid;
}

/* Readers that do not read: as many as there are files for. */
static void
test_many_readers(void)
{
	static struct stream readers[READERS], other;
	int before = held(), good = 0;

	for (int i = 0; i < READERS; i++)
		good += ask_until(&readers[i]) > 0;
	is_int(good, READERS, "answers for %d that do not read", READERS);
	ok(ask(&other) < 0 && strstr(text, "error EBUSY") &&
	   strstr(text, "try again later"), "one more is told to wait");
	close(other.fd);
	control("read shares/one/status");
	control("write shares/one/ctl state check");
	ok(guest_works(), "a guest does not notice");
	for (int i = 0; i < READERS; i++)
		close(readers[i].fd);
	settles(before, "when they have left");
}

static void
test_slow_reader(long rows)
{
	static struct stream slow, fast;
	struct daemon_use before, during;
	int had = held();
	char line[1024], name[800];
	long long n, m;
	int good = 0;

	daemon_use(&d, &before);
	n = ask_until(&slow);
	ok(n > rows * 600, "an export of %lld bytes", n);
	is_int(owner_seen(7), 1007, "a guest sees what was written");
	name_of(7, name);
	snprintf(line, sizeof(line), "write shares/one/state \"%s\" uid=1",
		 name);
	is_int(daemon_ctl(&d, line, text, sizeof(text)), 0,
	       "a row is set meanwhile");
	is_int(owner_seen(7), 1, "and seen at once");
	for (int i = 0; i < 200; i++)
		good += guest_works() &&
			!daemon_ctl(&d, "read shares/one/status", text,
				    sizeof(text));
	is_int(good, 200, "a guest and another client go on");
	m = ask_until(&fast);
	is_int(take(&fast, m, -1), rows, "another reads all of it");
	daemon_use(&d, &during);
	if (TAP_SANITIZED)
		tap_skip("the daemon keeps little of it in memory",
			 "built with sanitizers");
	else
		ok((during.rss_kib - before.rss_kib) * 1024ll < n / 2,
		   "the daemon keeps little of it in memory: %ld KiB more",
		   during.rss_kib - before.rss_kib);
	is_int(take(&slow, n, 1007), 1, "the first is as of its beginning");
	ok(send_all(slow.fd, "read version\n", 13) &&
	   stream_line(&slow, WAIT_MS) && stream_line(&slow, WAIT_MS),
	   "and its connection can be used on");
	close(slow.fd);
	m = ask_until(&slow);
	is_int(take(&slow, m, 1), 1, "the next has the row that was set");
	close(slow.fd);
	close(fast.fd);
	settles(had, "after them");
}

/* Who leaves while it is made, or in the middle of it, leaves nothing behind. */
static void
test_leave(void)
{
	static struct stream s;
	int before = held();

	for (int i = 0; i < 20; i++) {
		stream_open(&s, &d, "read shares/one/state");
		if (i % 2)
			poll(NULL, 0, i);
		close(s.fd);
	}
	ok(ask_until(&s) > 0, "clients left; the next is served");
	shutdown(s.fd, SHUT_WR);
	stream_line(&s, WAIT_MS);
	close(s.fd);
	settles(before, "when all have left");
}

/* Two at once: each time, at least one of them is served. */
static void
test_busy(void)
{
	static struct stream a, b;
	int busy = 0, bad = 0;

	for (int i = 0; i < 100 && !busy; i++) {
		const char *x, *y;

		stream_open(&a, &d, "write shares/one/ctl state check");
		stream_open(&b, &d, "write shares/one/ctl state gc");
		x = stream_line(&a, WAIT_MS);
		y = stream_line(&b, WAIT_MS);
		bad += !x || !y || (strncmp(x, "ok", 2) && strncmp(y, "ok", 2));
		busy = (x && strstr(x, "error EBUSY busy: ")) ||
		       (y && strstr(y, "error EBUSY busy: "));
		close(a.fd);
		close(b.fd);
	}
	is_int(bad, 0, "one of check and gc is served");
	ok(busy, "the other is told that one is under way");
}

/* The share stops recording while somebody reads, and while a check runs. */
static void
test_reload(long rows)
{
	static struct stream slow, check;
	long long n = ask_until(&slow);
	const char *line;

	stream_open(&check, &d, "write shares/one/ctl state check");
	daemon_keys(&d, "[one]\nowners = host\n");
	control("write ctl reload");
	ok(daemon_ctl(&d, "read shares/one/state", text, sizeof(text)) &&
	   strstr(text, "EOPNOTSUPP"), "it records no more");
	line = stream_line(&check, WAIT_MS);
	ok(line && (!strncmp(line, "ok ", 3) || !strncmp(line, "error ", 6)),
	   "a check that ran is answered");
	daemon_keys(&d, "[one]\nowners = store\n");
	control("write ctl reload");
	is_int(take(&slow, n, -1), rows, "who was reading gets it all");
	close(slow.fd);
	close(check.fd);
	n = ask_until(&slow);
	is_int(take(&slow, n, -1), rows, "and so does the next");
	close(slow.fd);
}

int
main(void)
{
	static const char *const tags[] = { "one", NULL };
	static struct stream late;
	struct guest_settings set = {
		.kind = GUEST_LINUX, .vm.timeout_ms = WAIT_MS,
	};
	long rows = tap_scaled(10000);
	struct fuse_init_out init;
	char path[128], *why = NULL;

	daemon_start(&d, tags, "[one]\nowners = store\n");
	make_parents();
	if (guest_open(daemon_socket(&d, "one", path), &set, &guest, &why) ||
	    guest_init(guest, &init))
		tap_skip_all(why ? why : "no guest");
	is_int(write_rows(0, FIRST), FIRST, "%d rows are written", FIRST);
	test_many_readers();
	if (rows < FIRST)
		rows = FIRST;
	is_int(write_rows(FIRST, rows), rows - FIRST, "%ld more",
	       rows - FIRST);
	test_slow_reader(rows);
	test_leave();
	test_busy();
	guest_close(guest);
	daemon_has_sessions(&d, "one", 0, WAIT_MS);
	test_reload(rows);
	ok(ask_until(&late) > 0, "somebody reads when the daemon stops");
	daemon_stop(&d);
	close(late.fd);
	return tap_done();
}
