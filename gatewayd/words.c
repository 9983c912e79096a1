/* SPDX-License-Identifier: MIT */
/*
 * The words that may be written to ctl and shares/TAG/ctl: two tables.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gatewayd/tree.h"

struct word {
	const char *word, *args;
	int (*run)(struct gw *gw, struct share *share, const char *rest,
		   struct evbuffer *out, struct answer **later, char *why,
		   size_t size);
	const char *help;
};

#define WORD(name)                                                           \
	static int word_##name(struct gw *gw, struct share *share,           \
			       const char *rest, struct evbuffer *out,       \
			       struct answer **later, char *why, size_t size)

/* ---- the daemon ---- */

WORD(shutdown)
{
	(void)later, (void)share, (void)rest, (void)out, (void)why, (void)size;
	gw_stop(gw, 0);
	return 0;
}

WORD(reload)
{
	bool dry = !strcmp(rest, "dry-run");

	(void)later, (void)share;
	if (*rest && !dry) {
		snprintf(why, size, "reload takes nothing or dry-run");
		return -EINVAL;
	}
	return reload(gw, dry, out, why, size);
}

WORD(clear_all)
{
	(void)later, (void)rest, (void)out, (void)why, (void)size;
	TAILQ_FOREACH(share, &gw->shares, link)
		if (share == share_find(gw, share->conf->tag))
			tag_clear(share);
	return 0;
}

/* ---- a share ---- */

WORD(enable)
{
	(void)later, (void)gw, (void)rest, (void)out;
	return tag_enable(share, why, size);
}

WORD(disable)
{
	(void)later, (void)gw, (void)rest, (void)out, (void)why, (void)size;
	tag_disable(share);
	return 0;
}

WORD(drain)
{
	uint64_t us = 0;
	int err = 0;

	(void)later, (void)gw, (void)out;
	if (*rest)
		err = conf_read_time(rest, &us);
	if (err)
		snprintf(why, size, "\"%.40s\" is not a time (10s, 5min)",
			 rest);
	return err ? err : tag_drain(share, us);
}

WORD(drop)
{
	unsigned long long id = 0;
	char *end;

	(void)later, (void)gw;
	if (*rest) {
		errno = 0;
		id = strtoull(rest, &end, 10);
		if (*end || errno || !id || *rest < '0' || *rest > '9') {
			snprintf(why, size, "\"%.40s\" is not a session",
				 rest);
			return -EINVAL;
		}
	}
	if (share_drop(share, id) == 0 && id) {
		snprintf(why, size, "no session %llu", id);
		return -ENOENT;
	}
	(void)out;
	return 0;
}

WORD(clear)
{
	(void)later, (void)gw, (void)rest, (void)out, (void)why, (void)size;
	tag_clear(share);
	return 0;
}

WORD(casefold)
{
	(void)later, (void)gw, (void)out;
	return fold_word(share, rest, why, size);
}

WORD(state)
{
	(void)gw, (void)out;
	return state_word(share, rest, later, why, size);
}

/* clang-format off */
static const struct word gw_words[] = {
	{ "reload",   "[dry-run]", word_reload,    "read the configuration again, or say what that would do" },
	{ "clear",    "",          word_clear_all, "reset maxima and percentiles of all shares" },
	{ "shutdown", "",          word_shutdown,  "end all sessions and stop" },
	{ NULL, NULL, NULL, NULL },
};

static const struct word share_words[] = {
	{ "enable",  "",          word_enable,  "listen, whatever the configuration says" },
	{ "disable", "",          word_disable, "do not listen any more; guests stay" },
	{ "drain",   "[TIME]",    word_drain,   "disable; guests that stay longer than TIME are dropped" },
	{ "drop",    "[SESSION]", word_drop,    "disconnect every guest, or the one of that number" },
	{ "casefold", "check|rebuild", word_casefold, "compare known names with the host, or forget them" },
	{ "state", "check|gc",    word_state,   "look for the file of each row; with gc, forget what has none" },
	{ "clear",   "",          word_clear,   "reset maxima and percentiles" },
	{ NULL, NULL, NULL, NULL },
};
/* clang-format on */

static const struct word *
table(struct share *share)
{
	return share ? share_words : gw_words;
}

void
words_list(struct share *share, struct evbuffer *out)
{
	for (const struct word *w = table(share); w->word; w++)
		evbuffer_add_printf(out, "%s%s%s: %s\n", w->word,
				    *w->args ? " " : "", w->args, w->help);
}

int
words_run(struct gw *gw, struct share *share, const char *text,
	  struct evbuffer *out, struct answer **later, char *why, size_t size)
{
	size_t n = strcspn(text, " \t");
	const char *rest = text + n + strspn(text + n, " \t");

	for (const struct word *w = table(share); w->word; w++) {
		if (strlen(w->word) != n || memcmp(w->word, text, n))
			continue;
		if (*w->args || !*rest)
			return w->run(gw, share, rest, out, later, why,
				      size);
		snprintf(why, size, "%s takes nothing more", w->word);
		return -EINVAL;
	}
	snprintf(why, size, "no such word \"%.40s\"; reading the file lists "
		 "its words", text);
	return -EINVAL;
}
