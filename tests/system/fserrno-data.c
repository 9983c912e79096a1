/* SPDX-License-Identifier: MIT */
/* Room, copies, places and ends of a file. */
#include "config.h"

#include "tests/system/fserrno.h"

#include <linux/falloc.h>
#include <stdint.h>
#include <sys/types.h>

static int
falloc(long mode)
{
	int fd = open_file(O_RDWR);

	return closing(fd, E(fallocate(fd, (int)mode, 0, 4096)));
}

static int
falloc_odd(long mode)
{
	int fd = open_file(O_RDWR);

	return closing(fd, E(fallocate(fd, (int)mode, 100, 1000)));
}

static int
falloc_at(long offset)
{
	int fd = open_file(O_RDWR);

	return closing(fd, E(fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, 4096)));
}

static int
falloc_reader(long mode)
{
	int fd = open_file(O_RDONLY);

	return closing(fd, E(fallocate(fd, (int)mode, 0, 4096)));
}

static int
copy(long flags)
{
	int from = open_file(O_RDONLY);
	int to = open("copy", O_WRONLY | O_CREAT, 0644);
	loff_t in = 0, out = 0;
	int err = E(copy_file_range(from, &in, to, &out, 4096,
				    (unsigned)flags));

	close(from);
	return closing(to, err);
}

/* Within the file, to a place. */
static int
copy_within(long place)
{
	int fd = open_file(O_RDWR);
	loff_t in = 0, out = place;

	return closing(fd, E(copy_file_range(fd, &in, fd, &out, 4096, 0)));
}

static int
copy_to_flags(long flags)
{
	int from = open_file(O_RDONLY);
	int to = open("copy", (int)flags | O_CREAT, 0644);
	loff_t in = 0;
	int err = E(copy_file_range(from, &in, to, NULL, 4096, 0));

	close(from);
	return closing(to, err);
}

static int
copy_dir(long n)
{
	int from = open("d", O_RDONLY), to = open_file(O_WRONLY);
	int err = E(copy_file_range(from, NULL, to, NULL, 4096, 0));

	(void)n;
	close(from);
	return closing(to, err);
}

static int
seek(long whence)
{
	int fd = open_file(O_RDONLY);

	return closing(fd, E(lseek(fd, 100000, (int)whence)));
}

static int
seek_back(long whence)
{
	int fd = open_file(O_RDONLY);

	return closing(fd, E(lseek(fd, -1, (int)whence)));
}

/* Beyond what a file may have on some file systems. */
static int
write_far(long at)
{
	int fd = open_file(O_RDWR), err = E(pwrite(fd, "x", 1, at));

	if (!err)
		err = E(fsync(fd));
	return closing(fd, err);
}

static int
truncate_far(long at)
{
	return E(truncate("f", at));
}

static int
sync_it(long dir)
{
	int fd = dir ? open("d", O_RDONLY) : open_file(O_RDONLY);
	int err = E(fsync(fd));

	if (!err)
		err = E(fdatasync(fd));
	return closing(fd, err);
}

#define KEEP FALLOC_FL_KEEP_SIZE

/* clang-format off */
const struct probe fserrno_data[] = {
	{ "fallocate", falloc, 0, 0 },
	{ "fallocate: KEEP_SIZE", falloc, KEEP, 0 },
	{ "fallocate: PUNCH_HOLE", falloc, FALLOC_FL_PUNCH_HOLE | KEEP, 0 },
	{ "fallocate: PUNCH_HOLE alone", falloc, FALLOC_FL_PUNCH_HOLE, 0 },
	{ "fallocate: ZERO_RANGE", falloc, FALLOC_FL_ZERO_RANGE, 0 },
	{ "fallocate: ZERO_RANGE, KEEP_SIZE", falloc, FALLOC_FL_ZERO_RANGE | KEEP, 0 },
	{ "fallocate: COLLAPSE_RANGE", falloc, FALLOC_FL_COLLAPSE_RANGE, UNSUP },
	{ "fallocate: INSERT_RANGE", falloc, FALLOC_FL_INSERT_RANGE, UNSUP },
	{ "fallocate: UNSHARE_RANGE", falloc, FALLOC_FL_UNSHARE_RANGE, UNSUP },
	{ "fallocate: an unknown mode", falloc, 0x8000, 0 },
	{ "fallocate: PUNCH_HOLE and ZERO_RANGE", falloc, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | KEEP, 0 },
	{ "fallocate: in blocks", falloc_odd, 0, 0 },
	{ "fallocate: PUNCH_HOLE in blocks", falloc_odd, FALLOC_FL_PUNCH_HOLE | KEEP, 0 },
	{ "fallocate: ZERO_RANGE in blocks", falloc_odd, FALLOC_FL_ZERO_RANGE, 0 },
	{ "fallocate: before the file", falloc_at, -1, 0 },
	{ "fallocate: too far", falloc_at, INT64_MAX - 100, 0 },
	{ "fallocate: of a reader", falloc_reader, 0, 0 },
	{ "fallocate: PUNCH_HOLE of a reader", falloc_reader, FALLOC_FL_PUNCH_HOLE | KEEP, 0 },
	{ "copy_file_range", copy, 0, 0 },
	{ "copy_file_range: flags", copy, 1, 0 },
	{ "copy_file_range: onto itself", copy_within, 100, 0 },
	{ "copy_file_range: beside itself", copy_within, 8192, 0 },
	{ "copy_file_range: to a reader", copy_to_flags, O_RDONLY, 0 },
	{ "copy_file_range: to who appends", copy_to_flags, O_WRONLY | O_APPEND, 0 },
	{ "copy_file_range: of a directory", copy_dir, 0, 0 },
	{ "lseek: SEEK_DATA beyond the end", seek, SEEK_DATA, 0 },
	{ "lseek: SEEK_HOLE beyond the end", seek, SEEK_HOLE, 0 },
	{ "lseek: SEEK_DATA before the file", seek_back, SEEK_DATA, 0 },
	{ "lseek: SEEK_HOLE before the file", seek_back, SEEK_HOLE, 0 },
	{ "write: at 20 TiB", write_far, 20L << 40, 0 },
	{ "write: at 4 EiB", write_far, 1L << 62, 0 },
	{ "truncate: to 20 TiB", truncate_far, 20L << 40, 0 },
	{ "truncate: to 4 EiB", truncate_far, 1L << 62, 0 },
	{ "fsync", sync_it, 0, 0 },
	{ "fsync: of a directory", sync_it, 1, 0 },
	{ NULL, NULL, 0, 0 },
};
/* clang-format on */
