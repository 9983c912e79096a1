/* SPDX-License-Identifier: MIT */
/* Private to conf/: the value of modcaps. */
#ifndef CONF_CAPS_H
#define CONF_CAPS_H

#include "conf/keys.h"

/* "+sys_admin:-mknod", or "".  0, or -EINVAL and why not. */
int conf_caps_scan(const char *text, struct conf_caps *caps,
		   char why[CONF_WHY]);

#endif
