/* SPDX-License-Identifier: MIT */
/*
 * Starts and stops a vhost-user-fs server (tests/server.h).  A virtiofsd is
 * handed a socket that listens already, gatewayd tells by --ready-fd: nobody
 * sleeps to wait.
 */
#include "config.h"

#include "tests/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 30000	/* storage that hangs takes 5 s of it */
#define STOP_MS 5000
#define NARGS 12

int
server_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

/* A listening socket at s->socket, which the child inherits. */
static int
listen_for(struct server *s)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, s->socket);
	unlink(s->socket);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    listen(fd, 4) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int
write_config(const struct server *s, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -errno;
	fprintf(f, "[gateway]\nsocket_dir = %s\ncontrol_socket = %s/ctl\n"
		   "cache_dir = %s/cache\nstate_dir = %s/state\n"
		   "[share]\npath = %s\nsocket = %s\n%s",
		s->work, s->work, s->work, s->work, s->share, s->socket,
		s->extra ? s->extra : "");
	return fclose(f) ? -errno : 0;
}

/* In the child: become the server.  `fd` is its listening socket, or where it
 * tells that it is ready. */
__attribute__((noreturn)) static void
become(const struct server *s, int fd)
{
	char log[128], conf[128], number[16], fd_arg[32], source[280];
	const char *argv[3][NARGS] = {
		[SERVER_GATEWAYD] = { s->program, "-c", conf, "--ready-fd",
				      number },
		[SERVER_VIRTIOFSD_C] = { s->program, fd_arg, "-o", source,
					 "-o", "sandbox=chroot" },
		[SERVER_VIRTIOFSD_RUST] = { s->program, fd_arg, "--shared-dir",
					    s->share, "--sandbox=chroot" },
	};
	int out;

	snprintf(log, sizeof(log), "%s/log", s->work);
	snprintf(conf, sizeof(conf), "%s/gatewayd.conf", s->work);
	snprintf(number, sizeof(number), "%d", fd);
	snprintf(fd_arg, sizeof(fd_arg), "--fd=%d", fd);
	snprintf(source, sizeof(source), "source=%s", s->share);
	out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (out >= 0) {
		dup2(out, 1);
		dup2(out, 2);
	}
	server_pin(s->cpu);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* not to outlive the test */
	execv(s->program, (char **)argv[s->kind]);
	fprintf(stderr, "%s: %s\n", s->program, strerror(errno));
	_exit(127);
}

/* It writes a byte when it is ready, and closes the pipe when it dies. */
static int
wait_ready(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char ch;

	if (poll(&pfd, 1, START_MS) != 1)
		return -ETIMEDOUT;
	return read(fd, &ch, 1) == 1 ? 0 : -ECHILD;
}

int
server_start(struct server *s)
{
	char conf[128];
	int fds[2] = { -1, -1 }, err = 0;

	snprintf(s->socket, sizeof(s->socket), "%s/share.sock", s->work);
	snprintf(conf, sizeof(conf), "%s/gatewayd.conf", s->work);
	if (s->kind != SERVER_GATEWAYD) {
		fds[1] = listen_for(s);
		err = fds[1] < 0 ? fds[1] : 0;
	} else {
		err = write_config(s, conf);
		if (!err && pipe(fds) < 0)
			err = -errno;
	}
	if (err)
		return err;
	s->pid = fork();
	if (s->pid == 0) {
		if (fds[0] >= 0)
			close(fds[0]);
		become(s, fds[1]);
	}
	close(fds[1]);
	if (s->pid < 0) {
		s->pid = 0;
		err = -EAGAIN;
	} else if (fds[0] >= 0) {
		err = wait_ready(fds[0]);
	}
	if (fds[0] >= 0)
		close(fds[0]);
	if (err)
		server_stop(s);
	return err;
}

/* Wait for the child to end; false after `ms`. */
static bool
wait_end(pid_t pid, int ms, int *status)
{
	struct pollfd pfd = {
		.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN,
	};
	bool ended = pfd.fd < 0 || poll(&pfd, 1, ms) == 1;

	if (pfd.fd >= 0)
		close(pfd.fd);
	return ended && waitpid(pid, status, 0) == pid;
}

/* Not for ever: a thread that waits for storage which hangs does not end. */
int
server_kill(struct server *s)
{
	int status = SIGKILL;

	if (s->pid <= 0)
		return 0;
	kill(s->pid, SIGKILL);
	wait_end(s->pid, STOP_MS, &status);
	s->pid = 0;
	return status;
}

int
server_stop(struct server *s)
{
	int status = 0;

	if (s->pid <= 0)
		return 0;
	kill(s->pid, SIGTERM);
	if (wait_end(s->pid, STOP_MS, &status))
		s->pid = 0;
	else
		status = server_kill(s);
	unlink(s->socket);
	return status;
}

bool
server_is_alive(struct server *s)
{
	int status;

	if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG) == s->pid)
		s->pid = 0;
	return s->pid > 0;
}

int64_t
server_cpu_ns(const struct server *s)
{
	struct timespec ts;
	clockid_t clock;

	if (s->pid <= 0 || clock_getcpuclockid(s->pid, &clock) ||
	    clock_gettime(clock, &ts) < 0)
		return 0;
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

bool
server_find(struct server *s)
{
	const char *build = getenv("top_builddir");

	snprintf(s->program, sizeof(s->program), "%s/gatewayd/gatewayd",
		 build ? build : ".");
	s->kind = SERVER_GATEWAYD;
	if (access(s->program, X_OK) == 0)
		return true;
	/* It wants to chroot. */
	strcpy(s->program, "/usr/lib/qemu/virtiofsd");
	s->kind = SERVER_VIRTIOFSD_C;
	return geteuid() == 0 && access(s->program, X_OK) == 0;
}
