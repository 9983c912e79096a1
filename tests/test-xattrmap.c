/* SPDX-License-Identifier: MIT */
/*
 * The rules of xattrmap: conf/ reads them, fuse/ applies them.  Among them
 * every example of virtiofsd's manual (of the one in C: virtiofsd(1), of the
 * one in Rust: doc/xattr-mapping.md; they have the same ones).
 */
#include "config.h"

#include <errno.h>

#include "fuse/fs.h"
#include "tests/conf-try.h"
#include "tests/tap.h"

static const struct conf_share *
load(const char *map)
{
	return try_key(map) ? NULL : try_conf->shares[0];
}

/* What the guest says, what the host gets. */
static void
client(const struct conf_share *s, const char *name, const char *want, int err)
{
	char buf[FS_XNAME_SIZE];
	const char *host = NULL;
	int got = fs_xattr_name(s, name, buf, &host);

	if (err)
		is_int(got, err, "guest's %s is refused", name);
	else
		is_str(got ? strerror(-got) : host, want, "guest's %s", name);
}

/* What the host lists, what the guest sees. */
static void
server(const struct conf_share *s, const char *name, const char *want)
{
	is_str(fs_xattr_shown(s, name), want, "host's %s", name);
}

/* 1: everything under a prefix; long, and short by map. */
static void
test_prefix_all(const char *map)
{
	const struct conf_share *s = load(map);

	client(s, "trusted.a", "user.virtiofs.trusted.a", 0);
	client(s, "user.virtiofs.a", "user.virtiofs.user.virtiofs.a", 0);
	client(s, "security.capability", "user.virtiofs.security.capability",
	       0);
	server(s, "user.virtiofs.trusted.a", "trusted.a");
	server(s, "user.virtiofs.", NULL);
	server(s, "trusted.a", NULL);
	server(s, "user.a", NULL);
	ok(fs_xattr_moves_caps(s), "capabilities are moved");
	ok(fs_has_xattr(s), "xattr is implied");
}

/* 2: trusted under a prefix, the others as they are. */
static void
test_prefix_trusted(const char *map)
{
	const struct conf_share *s = load(map);

	client(s, "trusted.a", "user.virtiofs.trusted.a", 0);
	client(s, "user.virtiofs.trusted.a", NULL, -EPERM);
	client(s, "user.a", "user.a", 0);
	client(s, "security.capability", "security.capability", 0);
	server(s, "user.virtiofs.trusted.a", "trusted.a");
	server(s, "trusted.a", NULL);
	server(s, "user.a", "user.a");
	ok(!fs_xattr_moves_caps(s), "capabilities stay");
}

/* 3: security hidden, the others as they are. */
static void
test_hide(void)
{
	const struct conf_share *s = load(
		"xattrmap = /bad/all/security./security./\n"
		"xattrmap = /ok/all///");

	client(s, "security.selinux", NULL, -EPERM);
	server(s, "security.selinux", NULL);
	client(s, "user.a", "user.a", 0);
	server(s, "user.a", "user.a");
}

/* What the manual advises for SELinux: the guest's labels beside the host's. */
static void
test_selinux(void)
{
	const struct conf_share *s = load(
		"xattrmap = :map:security.selinux:trusted.virtiofs.:");

	client(s, "security.selinux", "trusted.virtiofs.security.selinux", 0);
	client(s, "trusted.virtiofs.security.selinux", NULL, -EPERM);
	client(s, "security.capability", "security.capability", 0);
	client(s, "trusted.other", "trusted.other", 0);
	server(s, "trusted.virtiofs.security.selinux", "security.selinux");
	server(s, "security.selinux", NULL);
	server(s, "security.capability", "security.capability");
	ok(!fs_xattr_moves_caps(s), "capabilities stay");
}

static void
test_unsupported(void)
{
	const struct conf_share *s = load(
		"xattrmap = /unsupported/all/security.selinux/security.selinux/"
		"/ok/all///");

	client(s, "security.selinux", NULL, -EOPNOTSUPP);
	server(s, "security.selinux", NULL);
	client(s, "security.capability", "security.capability", 0);
	server(s, "trusted.b", "trusted.b");
}

/* Each of the single rules that the manual explains, with nothing after it:
 * what no rule matches is refused. */
static void
test_single(void)
{
	const struct conf_share *s;

	s = load("xattrmap = :prefix:client:trusted.:user.virtiofs.:");
	client(s, "trusted.a", "user.virtiofs.trusted.a", 0);
	client(s, "user.a", NULL, -EPERM);
	server(s, "user.virtiofs.trusted.a", NULL);
	s = load("xattrmap = :prefix:server::user.virtiofs.:");
	server(s, "user.virtiofs.a", "a");
	server(s, "user.a", NULL);
	client(s, "user.a", NULL, -EPERM);
	s = load("xattrmap = :prefix:all:trusted.:user.virtiofs.:");
	client(s, "trusted.a", "user.virtiofs.trusted.a", 0);
	server(s, "user.virtiofs.trusted.a", "trusted.a");
	s = load("xattrmap = :ok:client:user.::");
	client(s, "user.a", "user.a", 0);
	client(s, "trusted.a", NULL, -EPERM);
	server(s, "user.a", NULL);
	s = load("xattrmap = :ok:server::security.:");
	server(s, "security.a", "security.a");
	server(s, "user.a", NULL);
	s = load("xattrmap = :ok:all:::");
	client(s, "a", "a", 0);
	server(s, "a", "a");
	s = load("xattrmap = :bad:server::security.::ok:all:::");
	server(s, "security.a", NULL);
	client(s, "security.a", "security.a", 0);
	s = load("xattrmap =");
	client(s, "user.a", "user.a", 0);
	server(s, "user.a", "user.a");
	ok(!fs_has_xattr(s), "no rules: nothing is implied");
}

static void
test_long(void)
{
	const struct conf_share *s = load("xattrmap = :map::user.virtiofs.:");
	char name[260], buf[FS_XNAME_SIZE];
	const char *host = NULL;
	size_t most = 255 - strlen("user.virtiofs.");

	memset(name, 'n', sizeof(name));
	name[most] = 0;
	is_int(fs_xattr_name(s, name, buf, &host), 0, "the longest name");
	is_int(strlen(host), 255, "has 255 bytes on the host");
	name[most] = 'n';
	name[most + 1] = 0;
	client(s, name, NULL, -ERANGE);
}

static void
refuse(const char *map, const char *words)
{
	bool refused = !load(map);

	if (!ok(refused && try_messages && strstr(try_messages, words),
		"%s", map))
		printf("# %s\n", try_messages ? try_messages : "accepted");
}

static void
test_mistakes(void)
{
	refuse("xattrmap = :prefx:all:a:b:", "rule 1: unknown type \"prefx\"");
	refuse("xattrmap = :ok:all:::bad:both:::",
	       "rule 2: unknown type \"ad:\"");
	refuse("xattrmap = :ok:all::: :bad:both:::",
	       "rule 2: unknown scope \"both\"");
	refuse("xattrmap = :prefix:all:a:b", "rule 1: no ':' after its prepend");
	refuse("xattrmap = :prefix:all", "rule 1: no ':' after its scope");
	refuse("xattrmap = :map:a:b::ok:all:::", "rule 2 stands after a map");
	refuse("xattrmap = :map:a:b:\nxattrmap = :ok:all:::",
	       "t:4: error: [a] xattrmap: stands after a map rule");
}

int
main(void)
{
	test_prefix_all("xattrmap = :prefix:all::user.virtiofs.::bad:all:::");
	test_prefix_all("xattrmap = :map::user.virtiofs.:");
	test_prefix_trusted("xattrmap = /prefix/all/trusted./user.virtiofs./\n"
			    "xattrmap = /bad/server//trusted./\n"
			    "xattrmap = /bad/client/user.virtiofs.//\n"
			    "xattrmap = /ok/all///");
	test_prefix_trusted("xattrmap = /map/trusted./user.virtiofs./");
	test_hide();
	test_selinux();
	test_unsupported();
	test_single();
	test_long();
	test_mistakes();
	return tap_done();
}
