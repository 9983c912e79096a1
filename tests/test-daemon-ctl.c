/* SPDX-License-Identifier: MIT */
/*
 * Words written to ctl files: a share is disabled, enabled, drained, dropped,
 * and what a reload makes of that.
 */
#include "config.h"

#include "tests/guest.h"
#include "tests/stream.h"
#include "tests/tap.h"

#include <sys/stat.h>

#define WAIT_MS 5000

static struct daemon d;
static char text[1 << 20];

static struct guest *
try_connect(const char *tag)
{
	struct guest_settings set = {
		.kind = GUEST_LINUX, .vm.timeout_ms = WAIT_MS,
	};
	struct fuse_init_out init;
	struct guest *g = NULL;
	char path[128], *why = NULL;

	if (guest_open(daemon_socket(&d, tag, path), &set, &g, &why)) {
		free(why);
		return NULL;
	}
	if (guest_init(g, &init)) {
		guest_close(g);
		return NULL;
	}
	return g;
}

/* It takes a moment until the daemon has seen it. */
static void
leave(struct guest *g, const char *tag)
{
	guest_close(g);
	ok(daemon_has_sessions(&d, tag, 0, WAIT_MS), "the guest of %s leaves",
	   tag);
}

static bool
works(struct guest *g)
{
	struct fuse_attr_out a;

	return g && guest_getattr(g, GUEST_ROOT, 0, &a) >= 0;
}

static void
control(const char *line)
{
	ok(!daemon_ctl(&d, line, text, sizeof(text)), "%s", line);
}

/* The word is refused with that errno and a sentence that holds `why`. */
static void
refused(const char *line, const char *name, const char *why)
{
	int err = daemon_ctl(&d, line, text, sizeof(text));

	if (!ok(err == -EPROTO && strstr(text, name) && strstr(text, why),
		"%s: %s", line, name))
		printf("# got %s\n", text);
}

/* The state of a share as it is now. */
static const char *
state_of(const char *tag)
{
	char line[64], *at;

	snprintf(line, sizeof(line), "read shares/%s/status", tag);
	daemon_ctl(&d, line, text, sizeof(text));
	at = strstr(text, "\nstate ");
	if (at) {
		at += 7;
		at[strcspn(at, "\n")] = '\0';
	}
	return at;
}

/* Sessions come and go in their own time: wait for the state. */
static void
state_is(const char *tag, const char *want)
{
	int64_t end = test_now_ms() + WAIT_MS;
	const char *now = state_of(tag);

	while ((!now || strcmp(now, want)) && test_now_ms() < end) {
		poll(NULL, 0, 20);
		now = state_of(tag);
	}
	is_str(now, want, "%s is %s", tag, want);
}

static void
test_disable(void)
{
	struct guest *g = try_connect("one"), *h;

	ok(works(g), "a guest");
	control("write shares/one/ctl disable");
	state_is("one", "leaving");
	ok(works(g), "the guest that is there stays");
	ok(!try_connect("one"), "no other comes");
	control("write ctl reload");
	state_is("one", "leaving");
	ok(!try_connect("one"), "a reload of the same file keeps it so");
	leave(g, "one");
	state_is("one", "disabled");
	control("write shares/one/ctl disable");
	control("write shares/one/ctl enable");
	state_is("one", "listening");
	h = try_connect("one");
	ok(works(h), "enabled, it is served again");
	control("write shares/one/ctl enable");
	ok(works(h), "twice is fine");
	leave(h, "one");
}

/* Other settings make another struct share of it: the wish goes along. */
static void
test_reload(void)
{
	struct guest *g;

	control("write shares/one/ctl disable");
	daemon_keys(&d, "[one]\nmax_write = 64K\n[off]\nenabled = no\n");
	control("write ctl reload");
	ok(strstr(text, "one: max_write: changed"), "other settings");
	state_is("one", "disabled");
	daemon_keys(&d, "[one]\nmax_write = 64K\nreadonly = yes\n"
		    "[off]\nenabled = no\n");
	control("write ctl reload");
	state_is("one", "disabled");
	control("write shares/one/ctl enable");
	g = try_connect("one");
	ok(works(g), "enabled, with the settings of now");
	leave(g, "one");

	control("write shares/one/ctl disable");
	daemon_keys(&d, "[one]\nenabled = no\n[off]\nenabled = no\n");
	control("write ctl reload");
	daemon_keys(&d, "[off]\nenabled = no\n");
	control("write ctl reload");
	state_is("one", "listening");
	ok(1, "a key `enabled` that changes ends what an admin wanted");
}

static void
test_off(void)
{
	struct guest *g;

	state_is("off", "disabled");
	control("write shares/off/ctl enable");
	state_is("off", "listening");
	g = try_connect("off");
	ok(works(g), "enabled = no can be overruled");
	control("write ctl reload");
	ok(works(g), "and stays so over a reload");
	state_is("off", "serving");
	leave(g, "off");
	control("write shares/off/ctl disable");
	state_is("off", "disabled");
}

static void
test_drop(void)
{
	struct guest *g = try_connect("one"), *h = try_connect("one");
	struct guest *other = try_connect("two");
	unsigned long long id;
	char line[64], *at;

	daemon_ctl(&d, "read shares/one/clients", text, sizeof(text));
	at = strstr(text, "session.");
	id = at ? strtoull(at + 8, NULL, 10) : 0;
	snprintf(line, sizeof(line), "write shares/one/ctl drop %llu", id);
	control(line);
	ok(daemon_has_sessions(&d, "one", 1, WAIT_MS), "one of two is gone");
	guest_set_timeout(g, 300);
	guest_set_timeout(h, 300);
	is_int(works(g) + works(h), 1, "the other still works");
	control("write shares/one/ctl drop");
	ok(daemon_has_sessions(&d, "one", 0, WAIT_MS), "drop: none is left");
	state_is("one", "listening");
	ok(works(other), "a guest of another share did not notice");
	guest_close(g);
	guest_close(h);
	guest_close(other);
	g = try_connect("one");
	ok(works(g), "one that comes again is served");
	leave(g, "one");
	refused("write shares/one/ctl drop 99999", "ENOENT", "99999");
	refused("write shares/one/ctl drop all", "EINVAL", "not a session");
	refused("write shares/one/ctl drop -1", "EINVAL", "not a session");
}

static void
test_drain(void)
{
	struct guest *g = try_connect("one");

	control("write shares/one/ctl drain 300ms");
	state_is("one", "leaving");
	ok(works(g), "draining, a guest is still served");
	ok(daemon_has_sessions(&d, "one", 0, WAIT_MS),
	   "then those that stayed are dropped");
	state_is("one", "disabled");
	guest_close(g);
	control("write shares/one/ctl enable");

	g = try_connect("one");
	control("write shares/one/ctl drain 400ms");
	control("write shares/one/ctl enable");
	poll(NULL, 0, 600);
	ok(works(g), "enable ends a drain");
	control("write shares/one/ctl drain");
	poll(NULL, 0, 200);
	ok(works(g), "without a time guests stay as long as they like");
	leave(g, "one");
	control("write shares/one/ctl enable");
	refused("write shares/one/ctl drain soon", "EINVAL", "not a time");
}

/* A share that has left the configuration. */
static void
test_removed(void)
{
	struct guest *g;
	char conf[200];
	FILE *f;

	snprintf(conf, sizeof(conf), "%s/conf.d/extra.conf", d.work);
	f = fopen(conf, "w");
	fprintf(f, "[extra]\npath = %s/one\n", d.work);
	fclose(f);
	control("write ctl reload");
	g = try_connect("extra");
	ok(works(g), "a share that was added is served");
	unlink(conf);
	control("write ctl reload");
	ok(works(g), "removed, it keeps its guest");
	state_is("extra", "leaving");
	refused("write shares/extra/ctl enable", "ENOENT", "not configured");
	control("write shares/extra/ctl drop");
	ok(daemon_has_sessions(&d, "extra", -1, WAIT_MS),
	   "dropped, it is gone");
	guest_close(g);
}

static void
test_words(void)
{
	control("read ctl");
	ok(strstr(text, "reload [dry-run]: ") && strstr(text, "shutdown: "),
	   "ctl lists its words");
	control("read shares/one/ctl");
	ok(strstr(text, "enable: ") && strstr(text, "drain [TIME]: "),
	   "a share's, too");
	refused("write ctl", "EINVAL", "no such word");
	refused("write ctl enable", "EINVAL", "no such word");
	refused("write shares/one/ctl reload", "EINVAL", "no such word");
	refused("write shares/one/ctl enable now", "EINVAL", "nothing more");
	refused("write shares/none/ctl enable", "ENOENT", "no share");
	refused("write shares/one/stats 0", "EACCES", "only be read");
	ok(daemon_log_count(&d, 0, "control: write shares/one/ctl disable: "
			    "done uid=", "pid=") > 0,
	   "every write is logged with user and process");
}

/* A failed share, enabled when its directory is there. */
static void
test_failed(void)
{
	char conf[200], dir[200];
	FILE *f;

	snprintf(conf, sizeof(conf), "%s/conf.d/late.conf", d.work);
	snprintf(dir, sizeof(dir), "%s/late", d.work);
	f = fopen(conf, "w");
	fprintf(f, "[late]\nenabled = no\npath = %s\n", dir);
	fclose(f);
	mkdir(dir, 0755);
	control("write ctl reload");
	rmdir(dir);
	refused("write shares/late/ctl enable", "ENOENT", "late");
	state_is("late", "disabled");
	mkdir(dir, 0755);
	control("write shares/late/ctl enable");
	state_is("late", "listening");
}

int
main(void)
{
	static const char *const tags[] = { "one", "two", "off", NULL };
	struct daemon_use before;

	daemon_start(&d, tags, "[off]\nenabled = no\n");
	daemon_use(&d, &before);
	test_disable();
	test_reload();
	test_off();
	test_drop();
	test_drain();
	test_removed();
	daemon_settles(&d, &before, WAIT_MS, "after all that");
	test_words();
	test_failed();
	daemon_stop(&d);
	return tap_done();
}
