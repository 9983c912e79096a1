/* SPDX-License-Identifier: MIT */
/* Private to conf/: the rules of translate_uid and translate_gid, virtiofsd's
 * language, and the other keys that say who is who. */
#ifndef CONF_IDMAP_H
#define CONF_IDMAP_H

#include "conf/keys.h"
#include "conf/share.h"

/*
 * Read one rule and add it to `map`, or only check it when that is NULL.  0,
 * -ENOMEM, or -EINVAL and the reason in `why`; `map` is as before then.
 */
int conf_idmap_add(const char *text, struct conf_idmap *map,
		   char why[CONF_WHY]);
void conf_idmap_fini(struct conf_idmap *map);

/* "UID:GID"; -1 each for "".  0, or -EINVAL and the reason in `why`. */
int conf_owner_scan(const char *text, uint32_t *uid, uint32_t *gid,
		    char why[CONF_WHY]);

/*
 * Fill in what these keys mean, from their values, which were checked one by
 * one.  Rules that overlap earlier ones are left out: conf_check() tells of
 * them.  0 or -ENOMEM.
 */
int conf_ids_read(struct conf_share *share);

#endif
