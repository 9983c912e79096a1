/* SPDX-License-Identifier: MIT */
/*
 * Where the processes of fsops meet, in one directory:
 *
 *	vN	process N replaces it by rename; whoever reads it must see one
 *		version whole, and never an older one than before
 *	log	all append records to it; none may be lost or torn
 *	lock	made with O_EXCL; only one may hold it
 *	fN	made, renamed and removed by all at once; any order is right,
 *		but only certain answers are
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/fsops.h"

#define VERSION_MAX 30000	/* bytes */

struct version {
	uint64_t number;
	uint32_t id;
	uint32_t size;		/* of all, this included */
};

struct record {
	uint32_t id, check;
	uint64_t number;
};

static uint32_t
record_check(const struct record *rec)
{
	return (uint32_t)(rec->number * 2654435761u) ^ ~rec->id;
}

static unsigned char
version_byte(const struct version *v, size_t i)
{
	return (unsigned char)(v->number * 31 + v->id * 7 + i * 3 + (i >> 8));
}

static void
write_version(struct run *r)
{
	static unsigned char buf[VERSION_MAX];
	struct version v = { ++r->version, r->id, 0 };
	char name[32], tmp[32];
	int fd;

	v.size = (uint32_t)sizeof(v) + below(r, VERSION_MAX - sizeof(v));
	for (size_t i = sizeof(v); i < v.size; i++)
		buf[i] = version_byte(&v, i);
	memcpy(buf, &v, sizeof(v));
	snprintf(name, sizeof(name), "v%u", r->id);
	snprintf(tmp, sizeof(tmp), "v%u.new", r->id);
	note(r, "shared: write %s number %llu", name,
	     (unsigned long long)v.number);
	fd = openat(r->sharedfd, tmp,
		    O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	expect(r, fd, 0, "open");
	expect(r, write(fd, buf, v.size) == (ssize_t)v.size ? 0 : -1, 0,
	       "write");
	expect(r, close(fd), 0, "close");
	expect(r, renameat(r->sharedfd, tmp, r->sharedfd, name), 0, "rename");
}

static void
check_version(struct run *r, unsigned id, const unsigned char *buf,
	      size_t len)
{
	struct version v;

	if (len < sizeof(v))
		fail(r, "shared: v%u has %zu bytes", id, len);
	memcpy(&v, buf, sizeof(v));
	if (v.id != id || v.size != len)
		fail(r, "shared: v%u is not whole: %zu bytes, says %u", id,
		     len, v.size);
	for (size_t i = sizeof(v); i < len; i++)
		if (buf[i] != version_byte(&v, i))
			fail(r, "shared: v%u is not whole at %zu", id, i);
	if (v.number < r->seen[id])
		fail(r, "shared: v%u went back from %llu to %llu", id,
		     (unsigned long long)r->seen[id],
		     (unsigned long long)v.number);
	r->seen[id] = v.number;
}

static void
read_version(struct run *r)
{
	static unsigned char buf[VERSION_MAX + 1];
	unsigned id = below(r, r->nprocs);
	char name[32];
	ssize_t len;
	int fd;

	snprintf(name, sizeof(name), "v%u", id);
	note(r, "shared: read %s", name);
	fd = openat(r->sharedfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !r->seen[id])
		return;
	expect(r, fd, 0, "open");
	len = pread(fd, buf, sizeof(buf), 0);
	expect(r, len, 0, "read");
	close(fd);
	check_version(r, id, buf, (size_t)len);
}

static void
append_record(struct run *r)
{
	struct record rec = { .id = r->id, .number = r->nlogged++ };
	int fd;

	rec.check = record_check(&rec);
	note(r, "shared: append to log");
	fd = openat(r->sharedfd, "log",
		    O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0644);
	expect(r, fd, 0, "open");
	expect(r, write(fd, &rec, sizeof(rec)) == sizeof(rec) ? 0 : -1, 0,
	       "append");
	expect(r, close(fd), 0, "close");
}

static void
take_lock(struct run *r)
{
	int fd;

	note(r, "shared: take lock");
	fd = openat(r->sharedfd, "lock",
		    O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return;
	expect(r, fd, 0, "create");
	if (__atomic_add_fetch(&r->common->inside, 1, __ATOMIC_SEQ_CST) != 1)
		fail(r, "shared: two processes made lock with O_EXCL");
	__atomic_sub_fetch(&r->common->inside, 1, __ATOMIC_SEQ_CST);
	close(fd);
	expect(r, unlinkat(r->sharedfd, "lock", 0), 0, "unlink");
}

/* Operations on names that everybody changes. */
static void
fight(struct run *r)
{
	char a[32], b[32];
	struct stat st;
	int ret, fd;

	snprintf(a, sizeof(a), "f%u", below(r, 4));
	snprintf(b, sizeof(b), "f%u", below(r, 4));
	note(r, "shared: fight over %s and %s", a, b);
	switch (below(r, 6)) {
	case 0:
		ret = fd = openat(r->sharedfd, a, O_CREAT | O_RDWR | O_CLOEXEC,
				  0644);
		if (fd >= 0)
			close(fd);
		break;
	case 1:
		ret = mkdirat(r->sharedfd, a, 0755);
		break;
	case 2:
		ret = unlinkat(r->sharedfd, a, below(r, 2) ? AT_REMOVEDIR : 0);
		break;
	case 3:
		ret = linkat(r->sharedfd, a, r->sharedfd, b, 0);
		break;
	case 4:
		ret = fstatat(r->sharedfd, a, &st, AT_SYMLINK_NOFOLLOW);
		break;
	default:
		ret = renameat(r->sharedfd, a, r->sharedfd, b);
	}
	if (ret < 0 && errno != ENOENT && errno != EEXIST && errno != EISDIR &&
	    errno != ENOTDIR && errno != ENOTEMPTY && errno != EPERM)
		fail(r, "shared: impossible answer: %s", strerror(errno));
}

void
shared_step(struct run *r)
{
	static void (*const steps[])(struct run *r) = {
		write_version, read_version, read_version,
		append_record, take_lock,    fight,
	};

	steps[below(r, sizeof(steps) / sizeof(steps[0]))](r);
}

static void
bad_log(const char *why, unsigned long at)
{
	fprintf(stderr, "fsops: shared log, record %lu: %s\n", at, why);
	exit(1);
}

/* Called when all have ended: each record is there once, in the order in
 * which its process appended it. */
void
shared_verify(int sharedfd, unsigned nprocs, const uint64_t *nlogged)
{
	uint64_t *next = calloc(nprocs, sizeof(*next));
	int fd = openat(sharedfd, "log", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	struct record rec;
	unsigned long n = 0;

	if (!next)
		bad_log("out of memory", 0);
	for (; f && fread(&rec, sizeof(rec), 1, f) == 1; n++) {
		if (rec.id >= nprocs || rec.check != record_check(&rec))
			bad_log("torn", n);
		if (rec.number != next[rec.id])
			bad_log("lost, double or out of order", n);
		next[rec.id]++;
	}
	for (unsigned i = 0; i < nprocs; i++)
		if (next[i] != nlogged[i])
			bad_log("the last ones are missing", n);
	if (f)
		fclose(f);
	free(next);
}
