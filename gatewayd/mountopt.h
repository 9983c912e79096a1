/* SPDX-License-Identifier: MIT */
/* The words of "mount -o", as mount(2) and mount(8) know them. */
#ifndef GATEWAYD_MOUNTOPT_H
#define GATEWAYD_MOUNTOPT_H

#include <stddef.h>

/*
 * The flags of mount(2) that `words`, separated by commas, stand for; NULL is
 * no word.  nosuid and nodev are on until taken back.  -EINVAL: *bad and *len
 * are a word that is unknown.
 */
int gw_mount_flags(const char *words, unsigned long *flags, const char **bad,
		   size_t *len);

#endif
