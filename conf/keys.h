/* SPDX-License-Identifier: MIT */
/*
 * Private to conf/: the table of keys and what is known about a value of each
 * type.  A new key is one field in conf/share.h and one row in conf/keys.c;
 * parsing, checks, --print-config, the manual and the reload class follow.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "conf/conf.h"

enum conf_type {
	CONF_STRING,		/* char * */
	CONF_PATH,		/* char *, absolute, without "." and "//" */
	CONF_USER,		/* char *, "" or a user that exists */
	CONF_GROUP,		/* char *, "" or a group that exists */
	CONF_CAPS,		/* char *, +NAME and -NAME of capabilities */
	CONF_OWNER,		/* char *, "" or UID:GID */
	CONF_BOOL,		/* bool */
	CONF_UINT,		/* unsigned */
	CONF_MODE,		/* unsigned, octal */
	CONF_CHOICE,		/* unsigned, one of .choices */
	CONF_NUMBER,		/* uint64_t */
	CONF_SIZE,		/* uint64_t, bytes */
	CONF_TIME,		/* uint64_t or int64_t, microseconds */
	CONF_USERS,		/* struct conf_list of users, split at blanks */
	CONF_RULES,		/* struct conf_list of xattrmap rules */
	CONF_IDS,		/* struct conf_list of rules, split at blanks */
	CONF_FILES,		/* no field: include */
	CONF_NTYPES,
};

/* Which sections a key may stand in. */
enum {
	CONF_IN_GATEWAY = 1 << 0,
	CONF_IN_DEFAULTS = 1 << 1,
	CONF_IN_SHARE = 1 << 2,
};

struct conf_choice {
	const char *name;
	unsigned value;		/* the first name of a value is the one printed */
};

struct conf_key {
	const char *name;
	const char *alias[2];
	unsigned scope;		/* CONF_IN_ bits */
	enum conf_type type;
	size_t off;		/* in struct conf_gateway or struct conf_share */

	const char *def;	/* the default as it would be written */
	char *(*make_def)(void);	/* or made: allocated; NULL = no memory */
	const char *def_help;	/* then, and without any, what to tell people */

	int64_t min, max;	/* numbers, sizes (bytes), times (microseconds) */
	const struct conf_choice *choices;
	const char *word;	/* a word in place of a number, ... */
	int64_t word_value;	/* ... and the number it stands for */
	size_t given;		/* or a bool: a number was given; 0 = none */

	enum conf_reload reload;
	const char *help;
};

extern const struct conf_key conf_keys[];
extern const size_t conf_nkeys;

/* The row of that name or alias ('-' is '_', case is ignored), or NULL. */
const struct conf_key *conf_key_find(const char *name);

/* The name or alias nearest to `name` among those of `scope`, or NULL. */
const char *conf_key_nearest(const char *name, unsigned scope);

/* A key that must be there by its name. */
const struct conf_key *conf_key_get(const char *name);

/* Lists take more than one value; each line of a key appends. */
bool conf_key_is_list(const struct conf_key *key);

const char *conf_reload_name(enum conf_reload reload);

/* What is wrong and, in brackets, what would be right. */
enum { CONF_WHY = 320 };

/*
 * Read `text` into the field of `key` in the struct at `base`, or only check
 * it when `base` is NULL.  A list grows by what `text` holds.  Returns 0,
 * -ENOMEM, or -EINVAL and the reason in `why`.
 */
int conf_value_set(const struct conf_key *key, const char *text, void *base,
		   char why[CONF_WHY]);

/* How many values the field holds: 1 but for lists. */
size_t conf_value_count(const struct conf_key *key, const void *base);

/* Print value number `i` as conf_value_set() reads it, with a blank in front
 * unless it is empty. */
void conf_value_print(const struct conf_key *key, const void *base, size_t i,
		      FILE *out);

/* The values allowed, for the manual: "1 to 64"; "" when anything goes. */
enum { CONF_RANGE = 160 };
void conf_value_range(const struct conf_key *key, char buf[CONF_RANGE]);

void conf_value_fini(const struct conf_key *key, void *base);

#endif
