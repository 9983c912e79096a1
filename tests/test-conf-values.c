/* SPDX-License-Identifier: MIT */
/* Keys, their other names, and values of every type. */
#include "config.h"

#include "tests/conf-try.h"

static void
test_defaults(void)
{
	const struct conf_share *s;

	is_int(try_text("[a]\npath = /usr\n"), 0, "a path is enough");
	s = try_share("a");
	is_str(s->tag, "a", "tag");
	is_str(s->path, "/usr", "path");
	is_str(s->comment, "", "comment");
	ok(s->enabled, "enabled");
	is_int(s->socket_mode, 0660, "socket_mode");
	is_str(s->socket_user, "", "socket_user");
	is_int(s->allow_uids.n, 0, "allow_uids");
	is_int(s->max_clients, 64, "max_clients");
	is_int(s->max_request_queues, 8, "max_request_queues");
	is_int(s->poll_us, 50, "poll_us");
	ok(!s->readonly && !s->advertise_tag, "readonly, advertise_tag");
	is_int(s->guest, CONF_GUEST_AUTO, "guest");
	is_int(s->cache, CONF_CACHE_AUTO, "cache");
	is_int(s->entry_timeout_us, -1, "entry_timeout");
	is_int(s->attr_timeout_us, -1, "attr_timeout");
	is_int(s->negative_timeout_us, 0, "negative_timeout");
	is_int(s->max_write, 1 << 20, "max_write");
	is_int(s->inline_io, CONF_INLINE_AUTO, "inline");
	is_int(s->io_uring, true, "io_uring");
	is_int(s->inode_file_handles, CONF_HANDLES_PREFER,
	       "inode_file_handles");
	is_int(try_conf->gateway.control_mode, 0660, "control_mode");
	is_int(try_conf->gateway.log_level, CONF_LOG_INFO, "log_level");
	is_int(try_conf->gateway.drain_timeout_us, 10000000, "drain_timeout");
	ok(!try_conf->gateway.poll_max_given, "poll_max");
}

static void
test_names(void)
{
	is_int(try_text("[a]\nShared-Dir = /usr\nREAD_ONLY = Yes\n"
			"available = off\nmax-clients = 3\n"),
	       0, "aliases, '-', case");
	is_str(try_share("a")->path, "/usr", "shared_dir");
	ok(try_share("a")->readonly, "read_only");
	ok(!try_share("a")->enabled, "available");
	is_int(try_share("a")->max_clients, 3, "max-clients");
	is_int(try_text("[a]\nsource = /usr\n"), 0, "source");
}

static void
test_unknown_keys(void)
{
	fails("[a]\npath = /usr\ncahce = auto\n",
	      "t:3: error: [a] cahce: unknown key (did you mean \"cache\"?)");
	fails("[a]\npath = /usr\nread_only_ = yes\n",
	      "t:3: error: [a] read_only_: unknown key (did you mean "
	      "\"read_only\"?)");
	fails("[a]\npath = /usr\nWritefront = yes\n",
	      "t:3: error: [a] Writefront: unknown key (gatewayd.conf(5) lists "
	      "them)");
	fails("[gateway]\nsocket_dri = /x\n",
	      "t:2: error: [gateway] socket_dri: unknown key (did you mean "
	      "\"socket_dir\"?)");
	fails("[a]\npath = /usr\nlog_level = debug\n",
	      "t:3: error: [a] log_level: key in the wrong section (want it in "
	      "[gateway])");
	fails("[gateway]\ncache = auto\n",
	      "t:2: error: [gateway] cache: key in the wrong section (want it "
	      "in [defaults] or in the section of a share)");
	fails("[defaults]\npath = /usr\n",
	      "t:2: error: [defaults] path: key in the wrong section (want it "
	      "in the section of a share)");
	fails("[defaults]\nsocket = /run/x\n",
	      "t:2: error: [defaults] socket: key in the wrong section (want "
	      "it in the section of a share)");
	fails("readonly = yes\n[a]\npath = /usr\n",
	      "t:1: error: readonly: key before the first section (want "
	      "[gateway], [defaults] or [TAG] above it)");
}

static void
test_booleans(void)
{
	static const char *const yes[] = { "yes", "ON", "true", "1" };
	static const char *const no[] = { "no", "Off", "false", "0" };
	char line[40];

	for (int i = 0; i < 4; i++) {
		snprintf(line, sizeof(line), "readonly = %s", yes[i]);
		ok(!try_key(line) && try_share("a")->readonly, "%s", line);
		snprintf(line, sizeof(line), "enabled = %s", no[i]);
		ok(!try_key(line) && !try_share("a")->enabled, "%s", line);
	}
	fails("[a]\npath = /usr\nreadonly = y\n",
	      "t:3: error: [a] readonly: unknown value \"y\" (want yes or no)");
	fails("[a]\npath = /usr\nreadonly =\n",
	      "t:3: error: [a] readonly: unknown value \"\" (want yes or no)");
}

static void
test_choices(void)
{
	is_int(try_key("cache = none"), 0, "cache = none");
	is_int(try_share("a")->cache, CONF_CACHE_NEVER, "is never");
	is_int(try_key("inode_file_handles = fallback"), 0, "fallback");
	is_int(try_share("a")->inode_file_handles, CONF_HANDLES_PREFER,
	       "is prefer");
	is_int(try_key("guest = Windows"), 0, "case does not matter");
	is_int(try_share("a")->guest, CONF_GUEST_WINDOWS, "guest");
	fails("[a]\npath = /usr\ncache = sometimes\n",
	      "t:3: error: [a] cache: unknown value \"sometimes\" (want auto, "
	      "always, metadata or never)");
	fails("[a]\npath = /usr\ncache = alwas\n",
	      "t:3: error: [a] cache: unknown value \"alwas\" (did you mean "
	      "\"always\"? want auto, always, metadata or never)");
}

static void
test_numbers(void)
{
	is_int(try_key("max_request_queues = 64"), 0, "the most");
	is_int(try_share("a")->max_request_queues, 64, "is 64");
	fails("[a]\npath = /usr\nmax_request_queues = 65\n",
	      "t:3: error: [a] max_request_queues: 65 is out of range (want 1 "
	      "to 64)");
	fails("[a]\npath = /usr\nmax_request_queues = 0\n",
	      "t:3: error: [a] max_request_queues: 0 is out of range (want 1 "
	      "to 64)");
	fails("[a]\npath = /usr\nmax_clients = 99999999999999999999\n",
	      "t:3: error: [a] max_clients: 99999999999999999999 is out of "
	      "range (want 1 to 65536)");
	fails("[a]\npath = /usr\nmax_clients = -1\n",
	      "t:3: error: [a] max_clients: \"-1\" is not a number (want 1 "
	      "to 65536)");
	fails("[a]\npath = /usr\nmax_clients = 0x10\n",
	      "t:3: error: [a] max_clients: \"0x10\" is not a number (want "
	      "1 to 65536)");
	fails("[gateway]\npoll_max = many\n",
	      "t:2: error: [gateway] poll_max: \"many\" is not a number (want "
	      "0 to 4096, or auto)");
	fails("[gateway]\npoll_max = 4097\n",
	      "t:2: error: [gateway] poll_max: 4097 is out of range (want 0 to "
	      "4096, or auto)");
	is_int(try_text("[gateway]\npoll_max = 0\n"), 0, "poll_max = 0");
	ok(try_conf->gateway.poll_max_given && !try_conf->gateway.poll_max,
	   "means never");
	is_int(try_text("[gateway]\npoll_max = Auto\n"), 0, "poll_max = auto");
	ok(!try_conf->gateway.poll_max_given, "means half the CPUs");
}

static void
test_sizes(void)
{
	static const struct {
		const char *line;
		uint64_t size;
	} good[] = {
		{ "max_write = 4096", 4096 },
		{ "max_write = 64K", 65536 },
		{ "max_write = 64k", 65536 },
		{ "max_write = 1M", 1048576 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		is_int(try_key(good[i].line), 0, "%s", good[i].line);
		is_int(try_share("a")->max_write, good[i].size, "its size");
	}
	fails("[a]\npath = /usr\nmax_write = 2M\n",
	      "t:3: error: [a] max_write: 2M is out of range (want 4K to 1M)");
	fails("[a]\npath = /usr\nmax_write = 9999999999999G\n",
	      "t:3: error: [a] max_write: 9999999999999G is out of range (want "
	      "4K to 1M)");
	fails("[a]\npath = /usr\nmax_write = 64 K\n",
	      "t:3: error: [a] max_write: \"64 K\" is not a size (want bytes, "
	      "or a number with K, M or G, for example 64K)");
}

static void
test_times(void)
{
	static const struct {
		const char *line;
		int64_t us;
	} good[] = {
		{ "entry_timeout = 0", 0 },
		{ "entry_timeout = 5", 5000000 },
		{ "entry_timeout = 5s", 5000000 },
		{ "entry_timeout = 100ms", 100000 },
		{ "entry_timeout = 7us", 7 },
		{ "entry_timeout = 2min", 120000000 },
		{ "entry_timeout = 1d", INT64_C(86400000000) },
		{ "entry_timeout = auto", -1 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		is_int(try_key(good[i].line), 0, "%s", good[i].line);
		is_int(try_share("a")->entry_timeout_us, good[i].us, "in us");
	}
	fails("[a]\npath = /usr\nentry_timeout = 5m\n",
	      "t:3: error: [a] entry_timeout: \"5m\" is not a time (want "
	      "auto, seconds, or a number with a unit, for example 100ms, 5s or "
	      "2min)");
	fails("[a]\npath = /usr\nentry_timeout = 999d\n",
	      "t:3: error: [a] entry_timeout: 999d is out of range (want 0 to "
	      "365d, or auto)");
}

static void
test_modes(void)
{
	is_int(try_key("socket_mode = 600"), 0, "socket_mode = 600");
	is_int(try_share("a")->socket_mode, 0600, "is octal");
	fails("[a]\npath = /usr\nsocket_mode = 0680\n",
	      "t:3: error: [a] socket_mode: \"0680\" is not a mode (want octal "
	      "digits, for example 0660)");
	fails("[a]\npath = /usr\nsocket_mode = 1777\n",
	      "t:3: error: [a] socket_mode: 1777 is out of range (want 0000 to "
	      "0777)");
}

static void
test_users_and_groups(void)
{
	const struct conf_share *s;

	is_int(try_key("socket_user = root"), 0, "a user");
	is_str(try_share("a")->socket_user, "root", "by name");
	is_int(try_key("socket_group = 4000000000"), 0, "a number");
	fails("[a]\npath = /usr\nsocket_user = no-such-user\n",
	      "t:3: error: [a] socket_user: unknown user \"no-such-user\" "
	      "(want the name or number of a user)");
	fails("[gateway]\nadmin_group = no-such-group\n",
	      "t:2: error: [gateway] admin_group: unknown group "
	      "\"no-such-group\" (want the name or number of a group)");
	fails("[a]\npath = /usr\nsocket_user = 4294967295\n",
	      "t:3: error: [a] socket_user: unknown user \"4294967295\" (want "
	      "the name or number of a user)");
	is_int(try_key("allow_uids = root, 7\nallow_uids = 8"), 0, "a list");
	s = try_share("a");
	is_int(s->allow_uids.n, 3, "of three");
	ok(s->allowed_uid[0] == 0 && s->allowed_uid[1] == 7 &&
		   s->allowed_uid[2] == 8,
	   "as numbers");
	is_int(try_key("allow_uids = 1\nallow_uids =\nallow_uids = 2"), 0,
	       "an empty value resets");
	is_int(try_share("a")->allow_uids.n, 1, "what was before it");
	is_str(try_share("a")->allow_uids.v[0], "2", "not what follows");
	fails("[a]\npath = /usr\nallow_uids = root bob-nobody\n",
	      "t:3: error: [a] allow_uids: unknown user \"bob-nobody\" (want "
	      "the name or number of a user)");
}

static void
test_paths(void)
{
	is_int(try_text("[a]\npath = //usr/./lib//\n"), 0, "an untidy path");
	is_str(try_share("a")->path, "/usr/lib", "is tidied");
	fails("[a]\npath = usr\n",
	      "t:2: error: [a] path: \"usr\" is not an absolute path (want "
	      "/...)");
	fails("[a]\npath =\n",
	      "t:2: error: [a] path: \"\" is not an absolute path (want "
	      "/...)");
	fails("[a]\npath = /usr/../etc\n",
	      "t:2: error: [a] path: \"/usr/../etc\" has a \"..\" (want the "
	      "plain path)");
	fails("[a]\npath = /usr/..\n",
	      "t:2: error: [a] path: \"/usr/..\" has a \"..\" (want the plain "
	      "path)");
	is_int(try_text("[a]\npath = /usr\nsocket = /run/..x\n"), 0,
	       "dots in a name");
}

static void
test_tags(void)
{
	fails("[]\npath = /usr\n",
	      "t:1: error: [] tag: empty (want 1 to 36 bytes)");
	fails("[0123456789012345678901234567890123456]\npath = /usr\n",
	      "t:1: error: [0123456789012345678901234567890123456] tag: too "
	      "long (want at most 36 bytes)");
	is_int(try_text(
		       "[012345678901234567890123456789012345]\npath = /usr\n"),
	       0, "36 bytes");
	fails("[a/b]\npath = /usr\n",
	      "t:1: error: [a/b] tag: '/', ':' or ']' in it (want none of "
	      "these)");
	fails("[a:b]\npath = /usr\n",
	      "t:1: error: [a:b] tag: '/', ':' or ']' in it (want none of "
	      "these)");
	fails("[a]b]\npath = /usr\n",
	      "t:1: error: [a] text after ']' (put comments on lines of their "
	      "own)");
	fails("[.a]\npath = /usr\n",
	      "t:1: error: [.a] tag: begins with '.' (want another first "
	      "character)");
	fails("[a\tb]\npath = /usr\n",
	      "t:1: error: [a?b] tag: control character or invalid UTF-8 (want "
	      "UTF-8 text)");
	fails("[ a ]\npath = /usr\n",
	      "t:1: error: [ a ] tag: blank at the start or end (want [TAG])");
	fails("[a\npath = /usr\n",
	      "t:1: error: [a] ']' is missing (want [NAME])");
	fails("[gatway]\nlog_level = info\n",
	      "t:1: error: [gatway] path: missing (want path = "
	      "/some/directory, or did you mean [gateway]?)");
	is_int(try_text("[\xc3\xa9 #1 ;x]\npath = /usr\n"), 0,
	       "UTF-8, blanks and signs");
	is_str(try_share("\xc3\xa9 #1 ;x")->path, "/usr", "are a tag");
	ok(strstr(try_share("\xc3\xa9 #1 ;x")->socket,
		  "/\xc3\xa9%20#1%20;x.sock") != NULL,
	   "and a socket");
}

static void
test_all_mistakes_at_once(void)
{
	is_int(try_text("[b]\npath = usr\n[a]\ncahce = 1\nmax_fds = x\n"),
	       -EINVAL, "four mistakes");
	is_int(try_said("t:2: error: [b] path: \"usr\" is not an absolute path "
			"(want /...)"),
	       1, "are told in the order of lines");
	is_int(try_said("t:3: error: [a] path: missing (want path = "
			"/some/directory)"),
	       2, "second");
	is_int(try_count_messages(), 4, "all of them");
}

static void
test_capabilities(void)
{
	const struct conf_caps *caps;

	is_int(try_text("[gateway]\nmodcaps = +sys_admin:-CAP_MKNOD, "
			"+lease -lease\n"), 0, "capabilities");
	caps = &try_conf->gateway.caps;
	ok(caps->add == UINT64_C(1) << 21, "the one that is kept");
	ok(caps->drop == (UINT64_C(1) << 27 | UINT64_C(1) << 28),
	   "those that are given up: the last word counts");
	is_int(try_text("[gateway]\nmodcaps =\n"), 0, "none");
	ok(!try_conf->gateway.caps.add && !try_conf->gateway.caps.drop,
	   "none is changed");
	is_str(conf_cap_name(21), "sys_admin", "a name");
	is_str(conf_cap_name(63), "?", "a number without a name");
	fails("[gateway]\nmodcaps = +sys_amdin\n",
	      "t:2: error: [gateway] modcaps: unknown capability \"+sys_amdin\" (did "
	      "you mean \"sys_admin\"?)");
	fails("[gateway]\nmodcaps = -mknod:sys_admin\n",
	      "t:2: error: [gateway] modcaps: \"sys_admin\" is not understood (want "
	      "+NAME or -NAME of capabilities(7), with ':' between them)");
	fails("[gateway]\nmodcaps = +\n",
	      "t:2: error: [gateway] modcaps: \"+\" is not understood (want "
	      "+NAME or -NAME of capabilities(7), with ':' between them)");
}

int
main(void)
{
	test_defaults();
	test_names();
	test_unknown_keys();
	test_booleans();
	test_choices();
	test_numbers();
	test_sizes();
	test_times();
	test_modes();
	test_users_and_groups();
	test_capabilities();
	test_paths();
	test_tags();
	test_all_mistakes_at_once();
	try_forget();
	return tap_done();
}
