/* SPDX-License-Identifier: MIT */
/* JSON: see json.h. */
#include "gatewayd/json.h"

#include <string.h>

/* How many bytes of UTF-8 begin here; 0 when they are none. */
static size_t
utf8_length(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c = s[0] & (0xff >> (n + 1));

	if (n == 1)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static void
add_quoted(struct json *j, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	evbuffer_add(j->out, "\"", 1);
	while (*s) {
		size_t n = utf8_length(s);

		if (*s == '"' || *s == '\\')
			evbuffer_add_printf(j->out, "\\%c", *s);
		else if (*s < 0x20)
			evbuffer_add_printf(j->out, "\\u%04x", *s);
		else if (n)
			evbuffer_add(j->out, s, n);
		else
			evbuffer_add(j->out, "\xef\xbf\xbd", 3);
		s += n ? n : 1;
	}
	evbuffer_add(j->out, "\"", 1);
}

static void
add_key(struct json *j, const char *key)
{
	if (!j->first)
		evbuffer_add(j->out, ",\n", 2);
	j->first = false;
	if (!key)
		return;
	add_quoted(j, key);
	evbuffer_add(j->out, ":", 1);
}

void
json_open(struct json *j, const char *key, char bracket)
{
	add_key(j, key);
	evbuffer_add(j->out, &bracket, 1);
	j->first = true;
}

void
json_close(struct json *j, char bracket)
{
	evbuffer_add(j->out, &bracket, 1);
	j->first = false;
}

void
json_uint(struct json *j, const char *key, uint64_t value)
{
	add_key(j, key);
	evbuffer_add_printf(j->out, "%llu", (unsigned long long)value);
}

void
json_bool(struct json *j, const char *key, bool value)
{
	add_key(j, key);
	evbuffer_add_printf(j->out, value ? "true" : "false");
}

void
json_str(struct json *j, const char *key, const char *value)
{
	add_key(j, key);
	add_quoted(j, value);
}
