/* SPDX-License-Identifier: MIT */
/*
 * What --check-config warns of though it is no mistake of the configuration:
 * what gatewayd.service may not write, sockets that nobody can get at, disks
 * that are not mounted.
 */
#include "config.h"

#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/load.h"
#include "conf/look.h"
#include "conf/text.h"

/* Is `path` that directory or below it? */
static bool
is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

/* ProtectSystem=full of gatewayd.service. */
static void
advise_writing(struct conf_loader *l, const struct conf_whole *whole, size_t i,
	       const struct conf_look *look)
{
	static const char *const protected[] = { "/usr", "/boot", "/efi",
						 "/etc" };
	const struct conf_share *share = whole->conf.shares[i];

	if (share->readonly || !share->enabled || !look->real)
		return;
	for (size_t k = 0; k < sizeof(protected) / sizeof(*protected); k++)
		if (is_below(look->real, protected[k]))
			conf_say(l, CONF_WARNING,
				 conf_at_key(l, whole, i, "path"), share->tag,
				 "path", "gatewayd.service may not write below "
				 "%s (want readonly = yes, or ReadWritePaths= "
				 "in a drop-in)", protected[k]);
}

/* A mount point is another device than the directory above it, unless a
 * directory is mounted ("bind"). */
static bool
is_mounted(const struct conf_look *look)
{
	return look->nup < 2 || look->up[0].dev != look->up[1].dev;
}

/* The disk that is to be there is not: guests would fill the one below. */
static void
advise_mounting(struct conf_loader *l, const struct conf_whole *whole,
		size_t i, const struct conf_look *look)
{
	const struct conf_share *share = whole->conf.shares[i];
	FILE *f = look->whole && !is_mounted(look) ?
		  setmntent("/etc/fstab", "re") : NULL;
	struct mntent *m;

	while (f && (m = getmntent(f)))
		if (!strcmp(m->mnt_dir, look->real) && !hasmntopt(m, "bind") &&
		    !hasmntopt(m, "rbind"))
			conf_say(l, CONF_WARNING,
				 conf_at_key(l, whole, i, "path"), share->tag,
				 "path", "nothing is mounted there, though "
				 "/etc/fstab says what should be");
	if (f)
		endmntent(f);
}

/* Who may write to the socket must be able to get there. */
static void
advise_socket(struct conf_loader *l, const struct conf_whole *whole, size_t i,
	      const struct conf_look *dir)
{
	const struct conf_share *share = whole->conf.shares[i];
	gid_t gid = conf_group_number(share->socket_group);
	char echo[CONF_ECHO];

	if (!share->enabled || gid == (gid_t)-1 || gid == 0 ||
	    !(share->socket_mode & 020))
		return;
	for (size_t k = 0; k < dir->nup; k++) {
		const struct conf_dir_id *d = &dir->up[k];

		if (d->mode & 01 || (d->mode & 010 && d->gid == gid))
			continue;
		conf_say(l, CONF_WARNING, conf_at_key(l, whole, i, "socket"),
			 share->tag, "socket", "group \"%s\" cannot get to %s: "
			 "a directory above it does not let it through",
			 share->socket_group, conf_echo(echo, share->socket));
		return;
	}
}

void
conf_advise(struct conf_loader *l, const struct conf_whole *whole,
	    const struct conf_looks *looks)
{
	if (geteuid())
		return;		/* nobody runs the service but root */
	for (size_t i = 0; i < whole->conf.nshares; i++) {
		const struct conf_share *share = whole->conf.shares[i];
		const struct conf_look *look;
		char *dir = strdup(share->socket);

		if (!dir) {
			l->no_memory = true;
			return;
		}
		*strrchr(dir, '/') = '\0';
		advise_socket(l, whole, i, conf_looks_find(looks, *dir ? dir :
							   "/"));
		free(dir);
		if (!share->path)
			continue;
		look = conf_looks_find(looks, share->path);
		advise_writing(l, whole, i, look);
		advise_mounting(l, whole, i, look);
	}
}
