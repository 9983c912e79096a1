/* SPDX-License-Identifier: MIT */
/*
 * launch NAME=PATH... -- COMMAND [ARGUMENT]...
 *
 * Runs a command as systemd does a service with socket units: each PATH a
 * listening socket, handed over from descriptor 3 on, and LISTEN_PID,
 * LISTEN_FDS, LISTEN_FDNAMES (sd_listen_fds(3)).  A PATH of "-" is /dev/null,
 * "+" a socket that does not listen.  LAUNCH_PID=N claims to be for process N.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3

static int
open_one(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (!strcmp(path, "-"))
		return open("/dev/null", O_RDWR);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || !strcmp(path, "+"))
		return fd;
	if (strlen(path) >= sizeof(sa.sun_path))
		return -1;
	strcpy(sa.sun_path, path);
	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	       listen(fd, 16) ? -1 : fd;
}

/* Whatever was open at that number is closed by that. */
static int
place(const char *path, int want)
{
	int fd = open_one(path);

	if (fd < 0) {
		perror(path);
		return -1;
	}
	if (fd == want)
		return 0;
	if (dup2(fd, want) != want)
		return -1;
	return close(fd);
}

int
main(int argc, char **argv)
{
	char names[4096] = "", number[24];
	const char *pid = getenv("LAUNCH_PID");
	int n = 0;

	for (argv++, argc--; argc > 0 && strcmp(*argv, "--"); argv++, argc--) {
		char *path = strchr(*argv, '=');

		if (!path || strlen(names) + strlen(*argv) >= sizeof(names))
			return 2;
		*path++ = '\0';
		if (place(path, FIRST_FD + n))
			return 1;
		sprintf(names + strlen(names), "%s%s", n++ ? ":" : "", *argv);
	}
	if (argc < 2)
		return 2;
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", pid ? pid : number, 1);
	snprintf(number, sizeof(number), "%d", n);
	setenv("LISTEN_FDS", number, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	execv(argv[1], argv + 1);
	perror(argv[1]);
	return 1;
}
