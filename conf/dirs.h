/* SPDX-License-Identifier: MIT */
/* Private to conf/: defaults that depend on who runs the daemon. */
#ifndef CONF_DIRS_H
#define CONF_DIRS_H

/* All return allocated strings, NULL without memory. */
char *conf_default_file(void);
char *conf_default_socket_dir(void);
char *conf_default_cache_dir(void);
char *conf_default_state_dir(void);
char *conf_default_control_socket(void);
char *conf_default_control_group(void);
char *conf_default_socket_group(void);

#endif
