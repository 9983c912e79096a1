/* SPDX-License-Identifier: MIT */
/* Devices, fifos and sockets: made, seen, renamed, removed, but never opened
 * (CVE-2020-35517, CVE-2023-2861). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuseclient.h"
#include "tests/tap.h"

static void
make_socket(struct fc *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* The path is short however long the directory's is. */
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/special",
		 c->fd);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		printf("# bind: %s\n", strerror(errno));
	close(fd);
}

static void
test_one(const char *what, int open_error)
{
	struct fc *c = fc_new(NULL);
	struct fuse_setattr_in set = { .valid = FATTR_SIZE };
	struct fuse_mknod_in mk = { .mode = S_IFIFO | 0600 };
	struct fuse_attr a;
	struct stat st;
	uint64_t id;

	fc_start(c);
	if (!strcmp(what, "a device"))
		mk.mode = S_IFCHR | 0600, mk.rdev = 1 << 8 | 3;
	if (!strcmp(what, "a link"))
		symlinkat("/dev/null", c->fd, "special");
	else if (!strcmp(what, "a socket"))
		make_socket(c);
	else if (fc_call(c, FUSE_MKNOD, 1, &mk, sizeof(mk), "special", NULL) ==
		 -EPERM) {
		tap_skip(what, "may not be made here");
		fc_free(c);
		return;
	}
	id = (uint64_t)fc_lookup(c, 1, "special");
	is_int(fc_getattr(c, id, &a), 0, "%s is looked at", what);
	fc_stat(c, "special", &st);
	is_int(a.mode, st.st_mode, "mode");
	is_int(fc_open(c, id, O_RDONLY), open_error, "OPEN");
	is_int(fc_open(c, id, O_RDWR | O_TRUNC), open_error, "to write");
	is_int(fc_opendir(c, id), -ENOTDIR, "OPENDIR");
	is_int(fc_create(c, 1, "special", O_RDWR, 0644, NULL), open_error,
	       "CREATE over it");
	is_int(fc_create(c, 1, "special", O_RDWR | O_EXCL, 0644, NULL),
	       -EEXIST, "with O_EXCL");
	is_int(fc_setattr(c, id, &set, NULL), -EINVAL, "truncate");
	is_int(fc_read(c, id, 1, 0, 10), -EBADF, "READ with a made-up handle");
	set.valid = FATTR_MTIME;
	set.mtime = 5;
	is_int(fc_setattr(c, id, &set, &a), 0, "its times change");
	is_int(fc_rename(c, 1, "special", 1, "other", 0), 0, "RENAME2");
	is_int(fc_unlink(c, 1, "other"), 0, "UNLINK");
	fc_free(c);
}

int
main(void)
{
	alarm(20);		/* opening a fifo would wait for ever */
	test_one("a fifo", -ENXIO);
	test_one("a socket", -ENXIO);
	test_one("a device", -ENXIO);
	test_one("a link", -ENXIO);
	return tap_done();
}
