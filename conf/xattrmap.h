/* SPDX-License-Identifier: MIT */
/* Private to conf/: the rules of xattrmap, virtiofsd's language. */
#ifndef CONF_XATTRMAP_H
#define CONF_XATTRMAP_H

#include "conf/keys.h"
#include "conf/share.h"

/*
 * Read the rules in `text` and append them to `rules`, or only check them when
 * it is NULL.  *last: the text ends with a "map" rule, after which no other
 * may come.  0, -ENOMEM, or -EINVAL and the reason in `why`.
 */
int conf_rules_add(const char *text, struct conf_rules *rules, bool *last,
		   char why[CONF_WHY]);
void conf_rules_fini(struct conf_rules *rules);

#endif
