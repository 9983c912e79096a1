/* SPDX-License-Identifier: MIT */
/*
 * The door of conf/: reads INI files into the structs of conf/share.h, reports
 * every mistake, and prints a configuration back.  Knows inih; nothing else in
 * the program does.  gatewayd.conf(5) describes the format, conf/keys.c is the
 * table of keys.
 *
 * Not thread safe: the control thread alone calls these.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdio.h>

#include "conf/share.h"

/*
 * A whole configuration, made in one go by conf_load() and not changed after.
 * The shares stand in the order of the files.
 */
struct conf {
	struct conf_gateway gateway;
	struct conf_share **shares;
	size_t nshares;
};

/* What the command line says. */
struct conf_source {
	const char *file;	/* -c FILE; NULL = the default file, which may be missing */
	const char *const *shares;	/* --share TAG:PATH, with NULL at the end, or NULL */
	/* How long to wait for directories that do not answer; they make
	 * warnings.  0 = 2 s. */
	unsigned patience_ms;
	bool advise;		/* warn of what will not work as a service */
};

/*
 * Read `src`: the main file, then conf.d/NAME.conf beside it in C-locale
 * order, then the shares of the command line.  With no file given the default
 * is SYSCONFDIR/gatewayd/gatewayd.conf for root and
 * $XDG_CONFIG_HOME/gatewayd/gatewayd.conf for others; a default file that does
 * not exist is an empty one, a file that was named must exist.
 *
 * Every mistake of every file is written to *messages, one line each, as
 * "FILE:LINE: error: [TAG] key: what is wrong (what would be right)";
 * warnings as "...: warning: ...".  *messages is allocated (NULL when there is
 * nothing to say) and the caller frees it.
 *
 * Returns 0 and *conf, or -EINVAL for mistakes, -ENOMEM, or the errno of a
 * file that cannot be read (said in *messages too).
 */
int conf_load(const struct conf_source *src, struct conf **conf,
	      char **messages);

/*
 * The same for one text in memory, called `name` in messages.  No file is
 * read: includes are checked but not followed.
 */
int conf_load_text(const char *name, const char *text, size_t size,
		   struct conf **conf, char **messages);

/* Frees it once no share of it is held any more; NULL is fine. */
void conf_free(struct conf *conf);

/* A share outlives its configuration while somebody holds it. */
struct conf_share *conf_share_get(struct conf_share *share);
void conf_share_put(struct conf_share *share);

/* The share of that tag, borrowed from `conf`; NULL if there is none. */
struct conf_share *conf_find(const struct conf *conf, const char *tag);

/*
 * Print every key of `conf`, with origin and reload class in a # line above
 * each; the lines that are not comments read back to the same configuration.
 * conf_print_share() prints the section of one share.
 */
void conf_print(const struct conf *conf, FILE *out);
void conf_print_share(const struct conf_share *share, FILE *out);

/* The key table as the body of gatewayd.conf(5): mdoc list items. */
void conf_print_manual(FILE *out);

/* When a changed value is put to use. */
enum conf_reload {
	CONF_LIVE,		/* at once */
	CONF_NEXT,		/* by the guest's next connection */
	CONF_RESTART,
};

/*
 * Call `fn` for each key whose value differs.  Returns how many do, or
 * -ENOMEM.
 */
typedef void conf_diff_fn(void *ctx, const char *key, enum conf_reload when);
int conf_share_diff(const struct conf_share *a, const struct conf_share *b,
		    conf_diff_fn *fn, void *ctx);
int conf_gateway_diff(const struct conf_gateway *a,
		      const struct conf_gateway *b, conf_diff_fn *fn,
		      void *ctx);

/* A time as keys take it ("10s", "5min") in microseconds; 0 or -EINVAL. */
int conf_read_time(const char *text, uint64_t *us);

/*
 * The number of a user or group that was accepted, by name or number; -1 for
 * "" and when it has gone since.
 */
uid_t conf_user_number(const char *user);
gid_t conf_group_number(const char *group);

/* The name of capability number `cap`, as modcaps has it. */
const char *conf_cap_name(unsigned cap);

/*
 * A tag as it stands in a path: bytes up to 0x20, '%' and '/' become %XX.
 * Returns an allocated string or NULL.
 */
char *conf_tag_encode(const char *tag);

#endif
