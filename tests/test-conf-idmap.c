/* SPDX-License-Identifier: MIT */
/*
 * The rules of translate_uid and translate_gid: conf/ reads them, fuse/ looks
 * ids up in them.  Among them the examples of virtiofsd's manual.  And the
 * other keys that say who is who.
 */
#include "config.h"

#include <errno.h>
#include <pwd.h>

#include "fuse/ids.h"
#include "tests/conf-try.h"
#include "tests/tap.h"

#define NONE UINT32_MAX

static const struct conf_share *
load(const char *lines)
{
	if (try_key(lines))
		printf("Bail out! %s: %s\n", lines,
		       try_messages ? try_messages : "?");
	return try_conf ? try_conf->shares[0] : NULL;
}

/* NONE: the guest must not use it. */
static void
leads(const struct conf_id_ranges *r, const char *whose, uint32_t id,
      uint32_t want)
{
	uint32_t to = id;
	int err = fs_id_find(r, id, &to);

	is_int(err < 0 ? NONE : to, want, "%s %u", whose, id);
}

static void
guest(const struct conf_idmap *map, uint32_t id, uint32_t want)
{
	leads(&map->to_host, "guest's", id, want);
}

static void
host(const struct conf_idmap *map, uint32_t id, uint32_t want)
{
	leads(&map->to_guest, "host's", id, want);
}

/* Each rule of the manual alone: independent directions, the rest unchanged. */
static void
test_words(void)
{
	const struct conf_idmap *m;

	m = &load("translate_uid = guest:1000:5000:10")->uid_map;
	guest(m, 999, 999);
	guest(m, 1000, 5000);
	guest(m, 1009, 5009);
	guest(m, 1010, 1010);
	host(m, 5000, 5000);
	m = &load("translate_uid = host:1000:5000:10")->uid_map;
	host(m, 999, 999);
	host(m, 1009, 5009);
	host(m, 1010, 1010);
	guest(m, 5000, 5000);
	m = &load("translate_uid = squash-guest:1000:99:10")->uid_map;
	guest(m, 999, 999);
	guest(m, 1000, 99);
	guest(m, 1009, 99);
	guest(m, 1010, 1010);
	host(m, 99, 99);
	m = &load("translate_uid = squash-host:1000:99:10")->uid_map;
	host(m, 1000, 99);
	host(m, 1009, 99);
	host(m, 1010, 1010);
	guest(m, 99, 99);
	m = &load("translate_uid = forbid-guest:1000:10")->uid_map;
	guest(m, 999, 999);
	guest(m, 1000, NONE);
	guest(m, 1009, NONE);
	guest(m, 1010, 1010);
	host(m, 1000, 1000);
	m = &load("translate_uid = map:1000:5000:10")->uid_map;
	guest(m, 1009, 5009);
	host(m, 5009, 1009);
	guest(m, 5000, 5000);
	host(m, 1000, 1000);
}

/* virtiofsd runs as 1001:100, and the guest's user is 1000:1000. */
static void
test_examples(void)
{
	const struct conf_share *s = load(
		"translate_uid = squash-guest:0:1001:4294967295\n"
		"translate_gid = squash-guest:0:100:4294967295\n"
		"translate_uid = host:1001:1000:1\n"
		"translate_gid = host:100:1000:1");

	guest(&s->uid_map, 0, 1001);
	guest(&s->uid_map, 4294967294, 1001);
	guest(&s->gid_map, 31337, 100);
	host(&s->uid_map, 1001, 1000);
	host(&s->gid_map, 100, 1000);
	host(&s->uid_map, 0, 0);
	host(&s->gid_map, 1000, 1000);
	/* One user, whose number differs. */
	s = load("translate_uid = map:1000:1001:1");
	guest(&s->uid_map, 1000, 1001);
	host(&s->uid_map, 1001, 1000);
	guest(&s->uid_map, 1001, 1001);
	/* Nobody but 1000 and 2000. */
	s = load("translate_uid = forbid-guest:0:1000 map:1000:1000:1 "
		 "forbid-guest:1001:999 map:2000:2000:1\n"
		 "translate_uid = forbid-guest:2001:4294965294");
	guest(&s->uid_map, 0, NONE);
	guest(&s->uid_map, 999, NONE);
	guest(&s->uid_map, 1000, 1000);
	guest(&s->uid_map, 1001, NONE);
	guest(&s->uid_map, 2000, 2000);
	guest(&s->uid_map, 4294967294, NONE);
	host(&s->uid_map, 0, 0);
}

/* In any order, with any separator, in either case. */
static void
test_spelling(void)
{
	const struct conf_idmap *m;

	m = &load("translate_gid = map:30:3:1 MAP,10,1,1 Squash_Guest|20|2|1")
		     ->gid_map;
	guest(m, 10, 1);
	guest(m, 20, 2);
	guest(m, 30, 3);
	host(m, 1, 10);
	host(m, 2, 2);
	host(m, 3, 30);
	is_int(load("translate_uid = map:1:2:3\ntranslate_uid =")
		       ->uid_map.to_host.n, 0, "an empty value empties");
	is_int(try_text("[defaults]\ntranslate_uid = map:1:2:3\n"
			"[a]\npath = /usr\ntranslate_uid = map:9:9:1\n"), 0,
	       "defaults and a share");
	guest(&try_share("a")->uid_map, 3, 4);
	guest(&try_share("a")->uid_map, 9, 9);
}

#define BAD(value, words)                                                     \
	fails("[a]\npath = /usr\ntranslate_uid = " value "\n",                \
	      "t:3: error: [a] translate_uid: " words)

static void
test_errors(void)
{
	BAD("swap:1:2:3", "unknown rule \"swap:1:2:3\" (want map, guest, host, "
	    "squash-guest, squash-host or forbid-guest)");
	BAD(":1:2:3:", "unknown rule \":1:2:3:\" (want map, guest, host, "
	    "squash-guest, squash-host or forbid-guest)");
	BAD("map:1:2", "\"map:1:2\" does not end after 3 numbers (want "
	    "map:GUEST:HOST:COUNT)");
	BAD("map:1:2:3:", "\"map:1:2:3:\" does not end after 3 numbers (want "
	    "map:GUEST:HOST:COUNT)");
	BAD("map:1,2:3", "\"map:1,2:3\" does not end after 3 numbers (want "
	    "map:GUEST:HOST:COUNT)");
	BAD("map", "\"map\" does not end after 3 numbers (want "
	    "map:GUEST:HOST:COUNT)");
	BAD("forbid-guest:1:2:3", "\"forbid-guest:1:2:3\" does not end after 2 "
	    "numbers (want forbid-guest:GUEST:COUNT)");
	BAD("host:1:x:3", "\"host:1:x:3\": number 2 is not one from 0 to "
	    "4294967295 (want host:HOST:GUEST:COUNT)");
	BAD("host:1:2:4294967296", "\"host:1:2:4294967296\": number 3 is not "
	    "one from 0 to 4294967295 (want host:HOST:GUEST:COUNT)");
	BAD("guest:1:2:0", "\"guest:1:2:0\" is about no id at all (want a count "
	    "of 1 or more)");
	BAD("forbid-guest:2001:4294967295", "\"forbid-guest:2001:4294967295\" "
	    "goes beyond the last id, 4294967294 (want a count of at most "
	    "4294965294 from 2001 on; the last number is a count)");
	BAD("guest:0:10:4294967295", "\"guest:0:10:4294967295\" goes beyond "
	    "the last id, 4294967294 (want a count of at most 4294967285 from "
	    "10 on; the last number is a count)");
	BAD("squash-guest:0:4294967295:1", "\"squash-guest:0:4294967295:1\" "
	    "goes beyond the last id, 4294967294 (want a count of at most 0 "
	    "from 4294967295 on; the last number is a count)");
	/* What people write who take the count for the end of the range. */
	BAD("map:2000:2000:1 forbid-guest:1001:1999",
	    "guest ids 1001 to 2999 overlap 2000 to 2000 of a rule before "
	    "(want each in one rule; the last number is a count)");
	BAD("host:5:0:1 map:0:0:10",
	    "host ids 0 to 9 overlap 5 to 5 of a rule before "
	    "(want each in one rule; the last number is a count)");
	fails("[defaults]\ntranslate_gid = map:1:1:5\n[a]\npath = /usr\n"
	      "translate_gid = map:5:9:1\n",
	      "t:5: error: [a] translate_gid: guest ids 5 to 5 overlap 1 to 5 "
	      "of a rule before (want each in one rule; the last number is a "
	      "count)");
	is_int(try_key("translate_uid = map:0:5:5 map:5:0:5"), 0,
	       "side by side is no overlap");
	is_int(try_key("translate_uid = map:0:1000:1\nposix_acl = yes"), 0,
	       "with access lists, too");
}

static void
test_others(void)
{
	const struct passwd *pw = getpwnam("daemon");
	const struct conf_share *s = load("");

	ok(s->forced_uid == NONE && s->forced_gid == NONE &&
	   s->overflow_uid == NONE && s->overflow_gid == NONE &&
	   s->root_uid == NONE && s->root_gid == NONE, "nothing is the default");
	ok(s->create_mask == 07777 && s->directory_mask == 07777, "nor masked");
	s = load("force_user = 4000000000\nforce_group = 77");
	ok(s->forced_uid == 4000000000 && s->forced_gid == 77, "by number");
	s = load("force_user = 4000000000");
	ok(s->forced_gid == NONE, "a number without a user has no group");
	if (pw) {
		s = load("force_user = daemon");
		ok(s->forced_uid == pw->pw_uid && s->forced_gid == pw->pw_gid,
		   "a user brings his own group");
		s = load("force_user = daemon\nforce_group = 77");
		ok(s->forced_gid == 77, "unless another is named");
	}
	s = load("create_mask = 0644\ndirectory_mode = 0755\n"
		 "overflow_uid = 0\noverflow_gid = 4294967294\n"
		 "root_owner = 1000:0");
	ok(s->create_mask == 0644 && s->directory_mask == 0755, "masks");
	ok(s->overflow_uid == 0 && s->overflow_gid == 4294967294, "overflow");
	ok(s->root_uid == 1000 && s->root_gid == 0, "root_owner");
	fails("[a]\npath = /usr\nroot_owner = me:1\n",
	      "t:3: error: [a] root_owner: \"me:1\" is not an owner (want "
	      "UID:GID, two numbers)");
	is_int(try_key("root_owner = 1:2:3"), -EINVAL, "no third number");
	is_int(try_key("root_owner = 1"), -EINVAL, "nor one");
	is_int(try_key("root_owner = 1:4294967295"), -EINVAL, "nor -1");
	is_int(try_key("overflow_uid = 4294967295"), -EINVAL, "nor there");
	is_int(try_key("create_mask = 10000"), -EINVAL, "bits of a mode");
	is_int(try_key("force_user = no-such-user-here"), -EINVAL,
	       "a user who exists");
}

int
main(void)
{
	test_words();
	test_examples();
	test_spelling();
	test_errors();
	test_others();
	conf_free(try_conf);
	try_conf = NULL;
	return tap_done();
}
