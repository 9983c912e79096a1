/* SPDX-License-Identifier: MIT */
/*
 * gatewayctl libvirt-xml, qemu-args, guest-cmds: what a person pastes into a
 * virtual machine's settings, and into the guest.
 */
#include "config.h"

#include "gatewayd/gatewayctl.h"

#include <stdio.h>
#include <string.h>

/* Print with what the reader of it would misread written otherwise. */
static void
put_escaped(const char *s, const char *odd, const char *const *instead)
{
	for (; *s; s++) {
		const char *at = strchr(odd, *s);

		if (at)
			fputs(instead[at - odd], stdout);
		else
			putchar(*s);
	}
}

static void
put_xml(const char *s)
{
	static const char *const instead[] = { "&amp;", "&lt;", "&gt;",
					       "&apos;", "&quot;" };

	put_escaped(s, "&<>'\"", instead);
}

/* fstab(5): fields are separated by blanks. */
static void
put_fstab(const char *s)
{
	static const char *const instead[] = { "\\040", "\\011", "\\134" };

	put_escaped(s, " \t\\", instead);
}

static bool
is_plain(const char *s)
{
	return *s && !strpbrk(s, " \t'\"\\$`!&|;<>()[]{}*?#~");
}

/* A word of a shell. */
static void
put_shell(const char *s)
{
	static const char *const instead[] = { "'\\''" };

	if (is_plain(s)) {
		fputs(s, stdout);
		return;
	}
	putchar('\'');
	put_escaped(s, "'", instead);
	putchar('\'');
}

/* For each tag: its socket, and what `fn` prints of both. */
static int
for_each_tag(struct ctl *ctl, int argc, char **argv,
	     void (*fn)(int i, const char *tag, const char *sock))
{
	char sock[4096];

	for (int i = 0; i < argc; i++) {
		int status = find_socket(ctl, argv[i], sock, sizeof(sock));

		if (status != DONE)
			return status;
		fn(i, argv[i], sock);
	}
	return DONE;
}

static void
nothing(int i, const char *tag, const char *sock)
{
	(void)i, (void)tag, (void)sock;
}

/* ---- libvirt ---- */

static void
print_filesystem(int i, const char *tag, const char *sock)
{
	(void)i;
	printf("    <filesystem type='mount'>\n"
	       "      <driver type='virtiofs' queue='1024'/>\n"
	       "      <source socket='");
	put_xml(sock);
	printf("'/>\n      <target dir='");
	put_xml(tag);
	printf("'/>\n    </filesystem>\n");
}

VERB(libvirt_xml)
{
	int status = for_each_tag(ctl, argc, argv, nothing);

	(void)v;
	if (status != DONE)
		return status;
	printf("<domain>\n"
	       "  <memoryBacking>\n"
	       "    <source type='memfd'/>\n"
	       "    <access mode='shared'/>\n"
	       "  </memoryBacking>\n"
	       "  <devices>\n");
	status = for_each_tag(ctl, argc, argv, print_filesystem);
	printf("  </devices>\n"
	       "</domain>\n");
	return status;
}

/* ---- QEMU ---- */

/* In a value of QEMU's a comma is written twice. */
static void
qemu_value(const char *s, char *to, size_t size)
{
	size_t n = 0;

	for (; *s && n + 3 < size; s++) {
		if (*s == ',')
			to[n++] = ',';
		to[n++] = *s;
	}
	to[n] = '\0';
}

static void
print_device(int i, const char *tag, const char *sock)
{
	char value[4200], word[4400];

	qemu_value(sock, value, sizeof(value));
	snprintf(word, sizeof(word), "socket,id=gw%d,path=%s", i, value);
	printf("-chardev ");
	put_shell(word);
	qemu_value(tag, value, sizeof(value));
	snprintf(word, sizeof(word),
		 "vhost-user-fs-pci,queue-size=1024,chardev=gw%d,tag=%s", i,
		 value);
	printf("\n-device ");
	put_shell(word);
	printf("\n");
}

VERB(qemu_args)
{
	const char *mem = "4G";
	int status;

	if (!strcmp(argv[0], "--mem")) {
		if (argc < 3 || !is_plain(argv[1]))
			return verb_usage(v);
		mem = argv[1];
		argc -= 2;
		argv += 2;
	}
	status = for_each_tag(ctl, argc, argv, nothing);
	if (status != DONE)
		return status;
	printf("-m %s\n"
	       "-object memory-backend-memfd,id=gwmem,size=%s,share=on\n"
	       "-machine memory-backend=gwmem\n", mem, mem);
	return for_each_tag(ctl, argc, argv, print_device);
}

/* ---- in the guest ---- */

static void
print_mount(int i, const char *tag, const char *sock)
{
	char dir[64];

	(void)i;
	(void)sock;
	snprintf(dir, sizeof(dir), "/mnt/%s", tag);
	printf("mkdir -p ");
	put_shell(dir);
	printf(" && mount -t virtiofs ");
	put_shell(tag);
	putchar(' ');
	put_shell(dir);
	printf("\n# for /etc/fstab:\n# ");
	put_fstab(tag);
	putchar(' ');
	put_fstab(dir);
	printf(" virtiofs defaults,nofail 0 0\n");
}

/* cmd.exe, with lines that end as its files do. */
static void
print_launch(int i, const char *tag, const char *sock)
{
	(void)sock;
	printf("%%LAUNCH%% start virtiofs \"gateway%d\" \"%s\" %c:\r\n", i + 1,
	       tag, 'V' + i <= 'Z' ? 'V' + i : 'H' + (i - 5) % 14);
}

static int
print_windows(struct ctl *ctl, int argc, char **argv)
{
	int status = for_each_tag(ctl, argc, argv, nothing);

	if (status != DONE)
		return status;
	printf("@echo off\r\n"
	       "rem Run as administrator, once for this start of Windows;\r\n"
	       "rem for every start: schtasks /create /tn gatewayd "
	       "/ru SYSTEM /sc onstart /tr THIS_FILE\r\n"
	       "rem The service that mounts the first share only is not "
	       "needed beside this:\r\n"
	       "sc stop VirtioFsSvc\r\n"
	       "sc config VirtioFsSvc start= disabled\r\n"
	       "set WINFSP=C:\\Program Files (x86)\\WinFsp\\bin\r\n"
	       "set LAUNCH=\"%%WINFSP%%\\launchctl-x64.exe\"\r\n"
	       "call \"%%WINFSP%%\\fsreg.bat\" virtiofs "
	       "\"C:\\Program Files\\Virtio-Win\\VioFS\\virtiofs.exe\" "
	       "\"-t %%%%1 -m %%%%2\"\r\n");
	return for_each_tag(ctl, argc, argv, print_launch);
}

VERB(guest_cmds)
{
	bool windows = !strcmp(argv[0], "--windows");

	argc -= windows;
	argv += windows;
	if (!argc)
		return verb_usage(v);
	return windows ? print_windows(ctl, argc, argv) :
			 for_each_tag(ctl, argc, argv, print_mount);
}
