/* SPDX-License-Identifier: MIT */
/*
 * Requests that hang: a share whose directory is itself a mount of another
 * gatewayd's, which is stopped for a while.  They are seen in inflight and in
 * the gauge, nobody else waits, and the time they took is counted.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/stream.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define WAIT_MS 10000
#define NREQUESTS 20		/* more than threads of the pool for one share */

static struct daemon disk, d;
static char text[1 << 20];
static pid_t mounter;

static struct guest *
connect_guest(const char *tag)
{
	struct guest_settings set = { .kind = GUEST_LINUX, .nslots = 32 };
	struct fuse_init_out init;
	struct guest *g = NULL;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why) ||
	    guest_init(g, &init)) {
		ok(0, "a guest connects: %s", why ? why : "INIT");
		exit(tap_done());
	}
	return g;
}

static dev_t
device(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_dev;
}

/* Mount the first daemon's share, as a slow disk. */
static void
mount_disk(const char *dir)
{
	const char *build = getenv("top_builddir");
	char prog[300], sock[128];
	dev_t before;
	int64_t end;

	snprintf(prog, sizeof(prog), "%s/gatewayd/gatewayctl",
		 build ? build : ".");
	mkdir(dir, 0755);
	before = device(dir);
	mounter = fork();
	if (mounter == 0) {
		execl(prog, prog, "mount", "-f", "--socket",
		      daemon_socket(&disk, "inner", sock), dir, NULL);
		_exit(126);
	}
	end = test_now_ms() + WAIT_MS;
	while (device(dir) == before && test_now_ms() < end)
		poll(NULL, 0, 10);
	ok(device(dir) != before, "a mount that can hang");
}

static void
unmount_disk(const char *dir)
{
	int status;

	kill(mounter, SIGTERM);
	waitpid(mounter, &status, 0);
	ok(WIFEXITED(status), "the mount ends");
	rmdir(dir);
}

static void
test_hang(struct guest *g, struct guest *other)
{
	struct guest_req req = { .opcode = FUSE_LOOKUP, .nodeid = GUEST_ROOT,
				 .room = sizeof(struct fuse_entry_out) };
	struct fuse_attr_out a;
	int id[NREQUESTS], n = 0, good = 0;
	char name[NREQUESTS][16];
	int64_t end;

	kill(disk.server.pid, SIGSTOP);
	waitpid(disk.server.pid, NULL, WUNTRACED);
	for (int i = 0; i < NREQUESTS; i++) {
		req.in[0].iov_base = name[i];
		req.in[0].iov_len = (size_t)sprintf(name[i], "n%d", i) + 1;
		id[i] = guest_send(g, &req);
	}
	end = test_now_ms() + WAIT_MS;
	while (daemon_number(&d, "shares/outer/stats", "hung") < NREQUESTS &&
	       test_now_ms() < end)
		poll(NULL, 0, 20);
	is_int(daemon_number(&d, "shares/outer/stats", "hung"), NREQUESTS,
	       "all of them hang");
	is_int(daemon_number(&d, "shares/local/stats", "hung"), 0,
	       "none of another share");
	daemon_ctl(&d, "read shares/outer/inflight", text, sizeof(text));
	for (const char *p = text; (p = strstr(p, " op=LOOKUP n=1 u=")); p++)
		n++;
	is_int(n, NREQUESTS, "inflight names them");
	ok(strtoul(strstr(text, "age_us=") + 7, NULL, 10) >= 200000,
	   "and how old they are");
	ok(strstr(text, " in=pool\n") && strstr(text, " in=waiting\n"),
	   "some run, some wait for a thread");
	good = guest_getattr(other, GUEST_ROOT, 0, &a) >= 0;
	ok(good, "a guest of another share is served");
	ok(daemon_ctl(&d, "read metrics", text, sizeof(text)) == 0 &&
	   strstr(text, "gatewayd_hung_requests{tag=\"outer\"} 20\n"),
	   "metrics has the gauge");

	ok(daemon_log_wait(&d, 0, "outer: hung request op=LOOKUP n=1 u=",
			   " session=", 10, WAIT_MS) >= 10,
	   "the log tells of them");
	poll(NULL, 0, 500);	/* it looks again */
	n = daemon_log_count(&d, 0, "outer: hung request op=", " age_ms=");
	kill(disk.server.pid, SIGCONT);
	ok(n < NREQUESTS, "each once, and not of all: %d lines", n);
	n = 0;
	for (int i = 0; i < NREQUESTS; i++)
		n += guest_wait(g, id[i], &a) == -ENOENT;
	is_int(n, NREQUESTS, "they end when the disk comes back");
	/* The guest has its answer a moment before the job has ended. */
	end = test_now_ms() + WAIT_MS;
	while (daemon_number(&d, "shares/outer/stats", "hung") > 0 &&
	       test_now_ms() < end)
		poll(NULL, 0, 20);
	is_int(daemon_number(&d, "shares/outer/stats", "hung"), 0,
	       "nothing hangs now");
	ok(daemon_log_wait(&d, 0, "outer: hung request has ended op=LOOKUP ",
			   " age_ms=", 10, WAIT_MS) >= 10,
	   "the log tells that they ended");
	ok(daemon_number(&d, "shares/outer/stats", "max_us") >= 200000,
	   "the time they waited is counted");
	is_int(daemon_number(&d, "shares/outer/stats", "slow"), NREQUESTS,
	       "all were slow");
	ok(daemon_log_count(&d, 0, "outer: slow request op=LOOKUP n=1 ",
			    " us=") > 0, "and the log tells");
}

int
main(void)
{
	static const char *const inner[] = { "inner", NULL };
	static const char *const tags[] = { "outer", "local", NULL };
	struct guest *g, *other;
	char dir[64], keys[300];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (geteuid() != 0 || fd < 0)
		tap_skip_all("needs root and /dev/fuse");
	close(fd);
	daemon_start(&disk, inner, NULL);
	snprintf(dir, sizeof(dir), "%s/mnt", disk.work);
	mount_disk(dir);
	snprintf(keys, sizeof(keys), "[gateway]\nhung_request = 200ms\n"
		 "slow_request = 100ms\n[outer]\npath = %s\n", dir);
	daemon_start(&d, tags, keys);
	g = connect_guest("outer");
	other = connect_guest("local");
	test_hang(g, other);
	guest_close(g);
	guest_close(other);
	daemon_stop(&d);
	unmount_disk(dir);
	daemon_stop(&disk);
	return tap_done();
}
