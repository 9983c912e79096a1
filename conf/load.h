/* SPDX-License-Identifier: MIT */
/*
 * Private to conf/: what exists while a configuration is being read, and what
 * stands behind the structs of the door afterwards.
 *
 *	reader.c   lines of a file, by inih
 *	parse.c    lines to sections of settings
 *	files.c    which files there are, and the command line
 *	build.c    sections to structs, with defaults
 *	check.c    what only all settings together can tell
 *	advice.c   what the host makes of them
 *	message.c  the mistakes
 */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "conf/keys.h"

/* A place in a file; line is 0 where there is none. */
struct conf_at {
	int file;		/* in struct conf_files */
	int line;
};

enum { CONF_FILE_DEFAULT = -1 };	/* no file: the table's default */

struct conf_file {
	char *name;
	bool command_line;
};

/* The names of all files, for as long as anything has a place in them. */
struct conf_files {
	struct conf_file *v;
	size_t n;
	unsigned refs;
};

struct conf_files *conf_files_new(void);
struct conf_files *conf_files_get(struct conf_files *files);
void conf_files_put(struct conf_files *files);
/* Returns its number or -ENOMEM. */
int conf_files_add(struct conf_files *files, const char *name,
		   bool command_line);

/* Where the values of a struct came from; defaults have no mark, lists one
 * for each element, in order. */
struct conf_mark {
	const struct conf_key *key;
	struct conf_at at;
};

struct conf_marks {
	struct conf_mark *v;
	size_t n;
};

/* Number `i` of that key, or NULL. */
const struct conf_mark *conf_mark_find(const struct conf_marks *marks,
				       const struct conf_key *key, size_t i);

/* What stands behind a struct conf_share. */
struct conf_box {
	struct conf_share share;	/* first */
	struct conf_marks marks;
	struct conf_files *files;
};

/* What stands behind a struct conf. */
struct conf_whole {
	struct conf conf;	/* first */
	struct conf_marks marks;	/* of conf.gateway */
	struct conf_box *defaults;	/* as a share without a tag */
	struct conf_share **by_tag;	/* conf.shares, sorted */
	struct conf_files *files;
};

static inline struct conf_box *
conf_box(const struct conf_share *share)
{
	return (struct conf_box *)share;
}

static inline struct conf_whole *
conf_whole(const struct conf *conf)
{
	return (struct conf_whole *)conf;
}

/* One line of a section. */
struct conf_setting {
	const struct conf_key *key;
	char *text;
	struct conf_at at;
	bool bad;		/* said so; the default stands in */
	bool reset;		/* a list begins anew */
	bool done;		/* include: has been read */
};

struct conf_section {
	char *name;
	unsigned scope;		/* one CONF_IN_ bit */
	bool bad_tag;
	struct conf_at first;	/* the header, in the first file that has it */
	struct conf_at last;	/* and the latest */
	struct conf_setting *v;
	size_t n, room;
};

struct conf_message {
	struct conf_at at;
	bool warning;
	char *text;
};

struct conf_loader {
	struct conf_files *files;
	int file;		/* the one being read */

	struct conf_section gateway, defaults;
	struct conf_section lost;	/* below a header without sense */
	struct conf_section **shares;	/* in the order of the files */
	size_t nshares, room;
	void *by_name;			/* the same as a tsearch(3) tree */
	struct conf_section *section;	/* the one being read, or NULL */

	unsigned patience_ms;		/* with directories; 0 = long */
	bool advise;

	char **made;		/* default of each key with make_def, or NULL */

	struct conf_message *messages;
	size_t nmessages, messages_room;
	size_t nerrors, unsaid;
	int err;		/* of the first file that cannot be read */
	bool no_memory;
};

/* The latest setting of that key, or NULL. */
struct conf_setting *conf_setting_find(const struct conf_section *section,
				       const struct conf_key *key);

int conf_loader_init(struct conf_loader *l);
void conf_loader_fini(struct conf_loader *l);

/* parse.c: the text of file number l->file */
void conf_parse_text(struct conf_loader *l, const char *text, size_t size);
/* parse.c: one --share TAG:PATH */
void conf_parse_share(struct conf_loader *l, const char *arg);

/* files.c: everything `src` names */
void conf_read_source(struct conf_loader *l, const struct conf_source *src);

/* build.c: NULL without memory (l->no_memory) */
struct conf_whole *conf_build(struct conf_loader *l);

/* check.c; share number i is made of section number i */
void conf_check(struct conf_loader *l, struct conf_whole *whole);
/* Where share `i` says `key`, else where it begins. */
struct conf_at conf_at_key(const struct conf_loader *l,
			   const struct conf_whole *whole, size_t i,
			   const char *key);

/* advice.c: warnings for who asks; `looks` knows every share's path and the
 * directory of its socket */
struct conf_looks;
void conf_advise(struct conf_loader *l, const struct conf_whole *whole,
		 const struct conf_looks *looks);

/*
 * message.c: add "[section] key: words", `section` and `key` NULL for none.
 * The place may have no line or no file.
 */
enum conf_weight { CONF_ERROR, CONF_WARNING };
__attribute__((format(printf, 6, 7))) void
conf_say(struct conf_loader *l, enum conf_weight weight, struct conf_at at,
	 const char *section, const char *key, const char *fmt, ...);

/* All of them as text in the order of the files; NULL when there are none or
 * without memory. */
char *conf_messages(struct conf_loader *l);

#endif
