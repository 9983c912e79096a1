/* SPDX-License-Identifier: MIT */
/*
 * JSON (RFC 8259) into an evbuffer: commas, quotes and escapes.  Every value
 * of an object has a key; inside an array the key is NULL.
 */
#ifndef GATEWAYD_JSON_H
#define GATEWAYD_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/buffer.h>

struct json {
	struct evbuffer *out;
	bool first;		/* no comma before the next value */
};

void json_open(struct json *j, const char *key, char bracket);	/* { or [ */
void json_close(struct json *j, char bracket);
void json_uint(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);
/* Bytes that are not UTF-8 become U+FFFD. */
void json_str(struct json *j, const char *key, const char *value);

#endif
