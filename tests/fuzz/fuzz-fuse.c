/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: FUSE requests into fs_serve(), on a directory of its own that
 * is emptied after each input.  tests/fuseclient.c checks every reply.
 *
 * An input is a row of requests, each of four bytes and a payload:
 *	0  opcode
 *	1  which known node (low 3 bits) and handle (next 3); 0x80: a made-up id
 *	2  length of the payload
 *	3  flags, see below
 * Node ids and handles that replies bring become known, so that a mutated
 * input still gets far.  They stay known when they are forgotten, which is what
 * a guest with FUSE_EXPORT_SUPPORT looks up "." of.  An opcode of 0xff is a
 * guest that leaves and comes back.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/fuseclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
	SMALL_ROOM = 1 << 0,	/* little room for the reply */
	WRONG_LEN = 1 << 1,	/* the header's len is not the request's */
	USE_FH = 1 << 2,	/* begin the payload with a known handle */
	PIECES = 1 << 3,	/* in many iovecs */
	LONG = 1 << 4,		/* the payload four times over */
	USE_NODE = 1 << 5,	/* begin the payload with a known node id */
	AS_USER = 1 << 6,	/* by uid 1000 */
	PAYLOAD_MAX = 1024,
	KNOWN = 8,
	COME_BACK = 0xff,	/* in the place of an opcode */
	FILE_MAX = 1 << 20,
};

/* Of users and groups. */
static struct conf_id_range to_host[] = {
	{ 1000, 1009, 2000, CONF_ID_RANGE },
	{ 1010, 0x2000, 99, CONF_ID_SQUASH },
	{ 0x10000, UINT32_MAX - 1, 0, CONF_ID_FORBID },
};
static struct conf_id_range to_guest[] = { { 2000, 2009, 1000, CONF_ID_RANGE } };

static struct fc *c;
static uint32_t minor;
static uint64_t offered;	/* flags of INIT */
static uint64_t nodes[KNOWN], handles[KNOWN];
static unsigned nnodes, nhandles;

static void
clean_up(void)
{
	fc_free(c);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct rlimit small = { FILE_MAX, FILE_MAX };

	(void)argc;
	(void)argv;
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	c = fc_new(access("/dev/shm", W_OK) ? NULL : "/dev/shm");
	c->set.max_fds = 16;
	c->set.max_open_files = 16;
	c->set.xattr = true;
	c->set.posix_acl = c->set.security_label = CONF_WHEN_AUTO;
	c->set.locks = CONF_LOCKS_REMOTE;
	c->set.lock_wait_us = 2000;
	c->set.export_support = true;
	c->set.export_nodes = 256;
	c->set.max_clients = 1;		/* who comes goes on with the session */
	c->set.uid_map = c->set.gid_map =
		(struct conf_idmap){ { to_host, 3 }, { to_guest, 1 } };
	fc_open_share(c);
	/* No file of ours gets larger, whatever a request says. */
	setrlimit(RLIMIT_FSIZE, &small);
	atexit(clean_up);
	return 0;
}

/* Remember what the reply gave us. */
static void
learn(uint32_t opcode, ssize_t n)
{
	struct fuse_entry_out e;
	struct fuse_open_out o;

	if (n == sizeof(e) || n == sizeof(e) + sizeof(o)) {
		memcpy(&e, c->out, sizeof(e));
		nodes[1 + nnodes++ % (KNOWN - 1)] = e.nodeid;
	}
	if (n == sizeof(e) + sizeof(o))
		memcpy(&o, c->out + sizeof(e), sizeof(o));
	else if (n == sizeof(o) &&
		 (opcode == FUSE_OPEN || opcode == FUSE_OPENDIR))
		memcpy(&o, c->out, sizeof(o));
	else
		return;
	handles[nhandles++ % KNOWN] = o.fh;
}

static void
come_back(void)
{
	fs_session_free(c->session);
	if (fs_session_new(c->share, &c->session))
		abort();
	c->room = c->piece = 0;
	fc_init(c, minor, offered);
}

static void
request(const uint8_t *head, const uint8_t *payload, size_t n)
{
	static char bytes[4 * PAYLOAD_MAX + 8];
	uint32_t opcode = head[0] % FS_OPCODES;
	unsigned flags = head[3];
	uint64_t node = nodes[head[1] & 7], fh = handles[head[1] >> 3 & 7];
	size_t size = 0;

	for (int i = flags & LONG ? 4 : 1; i > 0; i--, size += n)
		memcpy(bytes + size, payload, n);
	if ((flags & USE_FH) && size >= 8)
		memcpy(bytes, &fh, 8);
	else if ((flags & USE_NODE) && size >= 8)
		memcpy(bytes, &node, 8);
	if (head[1] & 0x80)
		node = head[1];
	c->room = flags & SMALL_ROOM ? (size_t)head[1] : 0;
	c->piece = flags & PIECES ? 1 + head[1] % 13 : 0;
	c->uid = c->gid = flags & AS_USER ? 1000 : 0;
	learn(opcode, fc_raw(c, opcode, node, bytes, size,
			     (uint32_t)(sizeof(struct fuse_in_header) + size +
					(flags & WRONG_LEN ? head[1] : 0))));
}

static void
describe(const uint8_t *data, size_t size)
{
	struct iovec v = { (void *)(uintptr_t)data, size };
	struct fs_req r = { .in = &v, .nin = 1, .in_len = size };
	char line[256];

	if (fs_describe(&r, line, sizeof(line)) < 0 ||
	    strlen(line) >= sizeof(line))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fs_info info;

	signal(SIGXFSZ, SIG_IGN);	/* libFuzzer catches it meanwhile */
	describe(data, size);
	memset(nodes, 0, sizeof(nodes));
	memset(handles, 0, sizeof(handles));
	nodes[0] = FUSE_ROOT_ID;
	nnodes = nhandles = 0;
	c->room = c->piece = 0;
	/* Before 7.38 a label is what stands behind the names. */
	minor = size & 1 ? 38 : 37;
	offered = FC_ALL_FLAGS;
	if (!(size & 2))
		offered &= ~(uint64_t)FUSE_EXPORT_SUPPORT;
	fc_init(c, minor, offered);
	while (size >= 4) {
		size_t n = data[2] < size - 4 ? data[2] : size - 4;

		if (data[0] == COME_BACK)
			come_back();
		else
			request(data, data + 4, n);
		data += 4 + n;
		size -= 4 + n;
	}
	c->room = c->piece = 0;
	/* A guest that asks for no handles ends what was remembered. */
	fc_init(c, 38, FC_ALL_FLAGS & ~(uint64_t)FUSE_EXPORT_SUPPORT);
	fs_thread_relax(c->thread);
	fc_empty(c);
	fs_share_info(c->share, &info);
	if (c->broken || info.nodes || info.handles || info.node_fds ||
	    info.remembered)
		abort();
	return 0;
}
