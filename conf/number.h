/* SPDX-License-Identifier: MIT */
/* Private to conf/: values that are numbers underneath, for value.c. */
#ifndef CONF_NUMBER_H
#define CONF_NUMBER_H

#include "conf/keys.h"

enum { CONF_SHOWN = 48 };	/* a number as text */

/* Put down why a value is bad.  Returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int
conf_bad(char *why, const char *fmt, ...);

/* Digits only: no sign, no blanks, no hexadecimal.  *end is behind them.
 * -EINVAL when there are none, -ERANGE when there are too many. */
int conf_scan_digits(const char *text, int base, int64_t *n, const char **end);

bool conf_is_number(const struct conf_key *key);

/* The number, within the key's range, or -EINVAL and why not. */
int conf_number_scan(const struct conf_key *key, const char *text, int64_t *n,
		     char why[CONF_WHY]);

void conf_number_show(const struct conf_key *key, int64_t n,
		      char buf[CONF_SHOWN]);

#endif
