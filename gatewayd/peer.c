/* SPDX-License-Identifier: MIT */
/*
 * Who is at the other end: the program, and the virtual machine's name from
 * its command line (QEMU's -name).  /proc/PID/cmdline is memory of that
 * process, and reading it can take as long as it likes: never done by the
 * control thread.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gatewayd/gw.h"

#define CMDLINE_MAX (32 << 10)

/* QEMU doubles a comma inside a value.  Names with anything odd are not
 * believed: they would spoil the line they stand in. */
static void
take_name(const char *value, char *vm, size_t size)
{
	size_t n = 0;

	for (; *value && n + 1 < size; value++) {
		unsigned char ch = (unsigned char)*value;

		if (ch == ',' && *++value != ',')
			break;
		vm[n++] = ch < 0x20 || ch == 0x7f || ch == '"' || ch == '\\' ?
			  '?' : (char)ch;
	}
	vm[n] = '\0';
}

/* "NAME,debug-threads=on", "guest=NAME,..." or "...,guest=NAME" */
static void
parse_name(const char *arg, char *vm, size_t size)
{
	const char *guest = strstr(arg, "guest=");

	if (guest && (guest == arg || guest[-1] == ','))
		take_name(guest + 6, vm, size);
	else if (!strchr(arg, '=') || strchr(arg, '=') > strchr(arg, ','))
		take_name(arg, vm, size);
}

static void
parse_cmdline(const char *args, size_t len, char *vm, size_t size)
{
	const char *end = args + len, *p, *next;

	for (p = args; p < end; p = next) {
		next = p + strlen(p) + 1;
		if ((!strcmp(p, "-name") || !strcmp(p, "--name")) && next < end)
			parse_name(next, vm, size);
	}
}

static ssize_t
read_file(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[48];
	size_t len = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (len + 1 < size &&
	       (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	buf[len] = '\0';
	return (ssize_t)len;
}

void
peer_look(struct session *s)
{
	char vm[sizeof(s->vm)] = "", program[sizeof(s->program)] = "";
	char buf[CMDLINE_MAX];
	bool known;
	ssize_t n;

	pthread_mutex_lock(&s->lock);
	known = s->peer_known;
	s->peer_known = true;
	pthread_mutex_unlock(&s->lock);
	if (known || s->peer.pid <= 0)
		return;
	if (read_file(s->peer.pid, "comm", buf, sizeof(program)) > 0) {
		buf[strcspn(buf, "\n")] = '\0';
		take_name(buf, program, sizeof(program));
	}
	n = read_file(s->peer.pid, "cmdline", buf, sizeof(buf));
	if (n > 0)
		parse_cmdline(buf, (size_t)n, vm, sizeof(vm));
	pthread_mutex_lock(&s->lock);
	memcpy(s->vm, vm, sizeof(vm));
	memcpy(s->program, program, sizeof(program));
	pthread_mutex_unlock(&s->lock);
	log_limited(&s->share->tag->comes, CONF_LOG_INFO,
		    "%s: session %llu is program=%s vm=\"%s\"",
		    s->share->tag->name, (unsigned long long)s->id, program,
		    vm);
}
