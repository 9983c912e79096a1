/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's requests, laid out as Linux lays them out: header,
 * arguments, data in pages; and what is noted from their answers.
 */
#include "config.h"

#include "tests/bench/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

int
bench_failed(struct bench_client *c, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, c->why_size, fmt, ap);
	va_end(ap);
	return err;
}

/* ------------------------------------------------------------------ */
/* Building requests. */

/* The header; the arguments follow it, and count themselves in. */
void
bench_begin(struct bench_client *c, struct slot *s, uint32_t opcode,
	    uint64_t nodeid)
{
	memset(s->in, 0, sizeof(*s->in));
	s->in->len = sizeof(*s->in);
	s->in->opcode = opcode;
	s->in->unique = ++c->unique * 2;
	s->in->nodeid = nodeid;
}

void
bench_add_arg(struct slot *s, const void *arg, size_t len)
{
	memcpy((char *)s->in + s->in->len, arg, len);
	s->in->len += (uint32_t)len;
}

void
bench_add_name(struct slot *s, const char *name)
{
	bench_add_arg(s, name, strlen(name) + 1);
}

static unsigned
add_pages(struct iovec *iov, unsigned char *p, size_t len)
{
	unsigned n = 0;

	for (; len > 0; len -= iov[n++].iov_len) {
		iov[n].iov_base = p + n * PAGE;
		iov[n].iov_len = len < PAGE ? len : PAGE;
	}
	return n;
}

int
bench_submit(struct bench_client *c, struct slot *s, size_t in_data, size_t out,
       size_t out_data)
{
	struct iovec iov[4 + 2 * (BENCH_IO_MAX / PAGE)];
	size_t arg = s->in->len - sizeof(*s->in);
	unsigned n = 0, nin;
	int err;

	s->in->len += (uint32_t)in_data;
	iov[n++] = (struct iovec){ s->in, sizeof(*s->in) };
	if (arg)
		iov[n++] = (struct iovec){ s->in + 1, arg };
	nin = n += add_pages(iov + n, s->data, in_data);
	iov[n++] = (struct iovec){ s->out, sizeof(*s->out) };
	if (out)
		iov[n++] = (struct iovec){ s->out + 1, out };
	n += add_pages(iov + n, s->data, out_data);
	err = vh_front_submit(c->queue, iov, nin, n - nin,
			      (uint64_t)(s - c->slot));
	if (err)
		return bench_failed(c, err, "submit: %s", strerror(-err));
	err = vh_front_kick(c->queue);
	return err < 0 ? bench_failed(c, err, "kick: %s", strerror(-err)) : 0;
}

static uint32_t
next_random(struct slot *s)
{
	s->random = s->random * 1664525 + 1013904223;
	return s->random >> 8;
}

static int
send_getattr(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_getattr_in in = { 0 };

	(void)op;
	s->file = next_random(s) % c->nfiles;
	bench_begin(c, s, FUSE_GETATTR, c->nodeid[s->file]);
	bench_add_arg(s, &in, sizeof(in));
	return bench_submit(c, s, 0, sizeof(struct fuse_attr_out), 0);
}

static int
send_lookup(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	char name[32];

	s->file = next_random(s) % c->nfiles;
	snprintf(name, sizeof(name), op->file,
		 op->fresh ? (unsigned)c->created++ : s->file);
	bench_begin(c, s, FUSE_LOOKUP, FUSE_ROOT_ID);
	bench_add_name(s, name);
	return bench_submit(c, s, 0, sizeof(struct fuse_entry_out), 0);
}

static int
send_open(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_open_in in = { .flags = O_RDONLY };

	(void)op;
	s->nodeid = c->nodeid[next_random(s) % c->nfiles];
	bench_begin(c, s, FUSE_OPEN, s->nodeid);
	bench_add_arg(s, &in, sizeof(in));
	return bench_submit(c, s, 0, sizeof(struct fuse_open_out), 0);
}

static int
send_release(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_release_in in = { .fh = s->fh };

	(void)op;
	bench_begin(c, s, FUSE_RELEASE, s->nodeid);
	bench_add_arg(s, &in, sizeof(in));
	return bench_submit(c, s, 0, 0, 0);
}

static int
send_create(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_create_in in = {
		.flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 0644,
	};
	char name[32];

	s->file = (uint32_t)c->created++;
	snprintf(name, sizeof(name), op->file ? op->file : "new%u", s->file);
	bench_begin(c, s, FUSE_CREATE, FUSE_ROOT_ID);
	bench_add_arg(s, &in, sizeof(in));
	bench_add_name(s, name);
	return bench_submit(c, s, 0, sizeof(struct fuse_entry_out) +
		      sizeof(struct fuse_open_out), 0);
}

static int
send_unlink(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	char name[32];

	(void)op;
	snprintf(name, sizeof(name), "new%u", s->file);
	bench_begin(c, s, FUSE_UNLINK, FUSE_ROOT_ID);
	bench_add_name(s, name);
	return bench_submit(c, s, 0, 0, 0);
}

static uint64_t
random_offset(struct slot *s, uint32_t io)
{
	return (uint64_t)(next_random(s) % (BENCH_DATA_SIZE / io)) * io;
}

static int
send_read(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_read_in in = {
		.fh = c->data_fh, .offset = random_offset(s, op->io),
		.size = op->io,
	};

	bench_begin(c, s, FUSE_READ, c->data_nodeid);
	bench_add_arg(s, &in, sizeof(in));
	return bench_submit(c, s, 0, 0, op->io);
}

static int
send_write(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_write_in in = {
		.fh = c->data_fh, .offset = random_offset(s, op->io),
		.size = op->io,
	};

	bench_begin(c, s, FUSE_WRITE, c->data_nodeid);
	bench_add_arg(s, &in, sizeof(in));
	return bench_submit(c, s, op->io, sizeof(struct fuse_write_out), 0);
}

static int
send_readdir(struct bench_client *c, struct slot *s, const struct bench_op *op)
{
	struct fuse_read_in in = {
		.fh = s->dir_fh, .offset = s->dir_off, .size = BENCH_DIR_SIZE,
	};

	(void)op;
	bench_begin(c, s, FUSE_READDIRPLUS, FUSE_ROOT_ID);
	bench_add_arg(s, &in, sizeof(in));
	return bench_submit(c, s, 0, 0, BENCH_DIR_SIZE);
}

/* ------------------------------------------------------------------ */
/* FORGET. */

static int
reap_forgets(struct bench_client *c)
{
	uint64_t cookie;
	uint32_t len;
	int n;

	while ((n = vh_front_reap(c->hiprio, &cookie, &len)) > 0)
		c->free_forget[c->nfree_forgets++] = (unsigned)cookie;
	return n < 0 ? bench_failed(c, n, "hiprio ring: %s", strerror(-n)) : 0;
}

int
bench_wait_forget(struct bench_client *c)
{
	uint64_t cookie;
	uint32_t len;
	int n = vh_front_wait(c->hiprio, &cookie, &len, 5000);

	if (n <= 0)
		return bench_failed(c, n ? n : -ETIMEDOUT, "FORGET: no answer");
	c->free_forget[c->nfree_forgets++] = (unsigned)cookie;
	return 0;
}

int
bench_forget(struct bench_client *c, uint64_t nodeid, uint64_t nlookup)
{
	struct {
		struct fuse_in_header ih;
		struct fuse_forget_in in;
	} req = {
		.ih = { .len = sizeof(req), .opcode = FUSE_FORGET,
			.unique = ++c->unique * 2, .nodeid = nodeid },
		.in = { nlookup },
	};
	struct iovec iov;
	unsigned i;
	int err = reap_forgets(c);

	while (!err && c->nfree_forgets == 0)
		err = bench_wait_forget(c);
	if (err)
		return err;
	i = c->free_forget[--c->nfree_forgets];
	iov.iov_base = c->forgets + i * FORGET_SIZE;
	iov.iov_len = sizeof(req);
	memcpy(iov.iov_base, &req, sizeof(req));
	err = vh_front_submit(c->hiprio, &iov, 1, 0, i);
	if (!err)
		err = vh_front_kick(c->hiprio);
	return err < 0 ? bench_failed(c, err, "FORGET: %s", strerror(-err)) : 0;
}

/* ------------------------------------------------------------------ */
/* Answers.  Each returns how much was done, or -errno. */

static int
got_nothing(struct bench_client *c, struct slot *s, size_t len)
{
	(void)c, (void)s, (void)len;
	return 1;
}

static int
got_lookup(struct bench_client *c, struct slot *s, size_t len)
{
	(void)len;
	if (!s->out->error)
		c->nlookup[s->file]++;
	return 1;
}

static int
got_open(struct bench_client *c, struct slot *s, size_t len)
{
	const struct fuse_open_out *out = (void *)(s->out + 1);

	(void)c, (void)len;
	s->fh = out->fh;
	return 1;
}

static int
got_create(struct bench_client *c, struct slot *s, size_t len)
{
	const struct fuse_entry_out *entry = (void *)(s->out + 1);
	const struct fuse_open_out *open = (const void *)(entry + 1);

	(void)c, (void)len;
	s->nodeid = entry->nodeid;
	s->fh = open->fh;
	return 1;
}

static int
forget_file(struct bench_client *c, struct slot *s)
{
	int err = bench_forget(c, s->nodeid, 1);

	return err ? err : 1;
}

/* The kernel drops the inode of a file that is gone. */
static int
got_unlink(struct bench_client *c, struct slot *s, size_t len)
{
	(void)len;
	return forget_file(c, s);
}

static int
got_release(struct bench_client *c, struct slot *s, size_t len)
{
	(void)len;
	return c->run->op->keep ? forget_file(c, s) : 1;
}

/* Entries were looked up.  The number of a file is in its name. */
static int
got_readdir(struct bench_client *c, struct slot *s, size_t len)
{
	size_t at = 0, need = sizeof(struct fuse_entry_out) + FUSE_NAME_OFFSET;
	int count = 0;

	if (len == 0)
		s->dir_off = 0;
	while (len - at >= need) {
		struct fuse_direntplus *d = (void *)(s->data + at);
		unsigned n;

		if (d->dirent.name[0] == 'f' &&
		    sscanf(d->dirent.name + 1, "%3u", &n) == 1)
			c->nlookup[n]++;
		else if (d->dirent.name[0] == 'd')
			c->data_nlookup++;
		s->dir_off = d->dirent.off;
		at += FUSE_DIRENTPLUS_SIZE(d);
		count++;
	}
	return count;
}

static const struct kind kinds[] = {
	{ FUSE_GETATTR, send_getattr, got_nothing },
	{ FUSE_LOOKUP, send_lookup, got_lookup },
	{ FUSE_OPEN, send_open, got_open },
	{ FUSE_RELEASE, send_release, got_release },
	{ FUSE_CREATE, send_create, got_create },
	{ FUSE_UNLINK, send_unlink, got_unlink },
	{ FUSE_READ, send_read, got_nothing },
	{ FUSE_WRITE, send_write, got_nothing },
	{ FUSE_READDIRPLUS, send_readdir, got_readdir },
};

const struct kind *
bench_kind(uint32_t opcode)
{
	const struct kind *k = kinds;

	while (k->opcode != opcode)
		k++;
	return k;
}
