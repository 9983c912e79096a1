/* SPDX-License-Identifier: MIT */
/*
 * Folding of names, and the keyed hash of folded names.
 *
 * CF_NT is how Windows compares file names: each UTF-16 unit is replaced by its
 * upper case from one fixed table (fold_table.h), nothing is normalised, and no
 * character becomes two.  It must not be coarser: the Windows client tells open
 * files apart by that table.  Code points beyond U+FFFF stay as they are.
 */
#include "config.h"

#include "casefold/fold.h"

#include <endian.h>
#include <string.h>

#include "casefold/fold_table.h"

#define EACH_BYTE(b) (0x0101010101010101ull * (uint8_t)(b))

const char *
cf_fold_id(enum cf_mode mode)
{
	return mode == CF_NT ? "nt-7ff498a4" : "ascii-1";
}

/* The high bit of each byte that is 'a' to 'z'; all bytes must be ASCII. */
static inline uint64_t
small_letters(uint64_t w)
{
	return ((w + EACH_BYTE(0x80 - 'a')) ^ (w + EACH_BYTE(0x7f - 'z'))) &
	       EACH_BYTE(0x80);
}

/* Fold whole words of ASCII; returns the bytes done, a multiple of 8. */
static size_t
fold_words(const char *name, size_t len, char *out, bool *cased)
{
	size_t i;
	uint64_t w;

	for (i = 0; len - i >= 8; i += 8) {
		memcpy(&w, name + i, 8);
		if (w & EACH_BYTE(0x80))
			break;
		if (small_letters(w | EACH_BYTE(0x20)))
			*cased = true;
		w ^= small_letters(w) >> 2;
		memcpy(out + i, &w, 8);
	}
	return i;
}

static inline char
fold_ascii(char c, bool *cased)
{
	unsigned letter = ((unsigned)c | 0x20) - 'a';

	if (letter > 25)
		return c;
	*cased = true;
	return (char)((unsigned)c & ~0x20u);
}

static inline bool
is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/*
 * Length of the character that starts at s, and its code point; 0 if it is not
 * valid.  RFC 3629, section 4.
 */
static size_t
decode(const unsigned char *s, size_t len, uint32_t *code)
{
	uint32_t c = s[0];

	if (c < 0x80) {
		*code = c;
		return 1;
	}
	if (c < 0xc2 || len < 2 || !is_tail(s[1]))
		return 0;
	if (c < 0xe0) {
		*code = (c & 0x1f) << 6 | (s[1] & 0x3f);
		return 2;
	}
	if (len < 3 || !is_tail(s[2]))
		return 0;
	if (c < 0xf0) {
		*code = (c & 0xf) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3f);
		return *code < 0x800 || (*code >> 11) == 0x1b ? 0 : 3;
	}
	if (c > 0xf4 || len < 4 || !is_tail(s[3]))
		return 0;
	*code = (c & 7) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 |
		(s[3] & 0x3f);
	return *code < 0x10000 || *code > 0x10ffff ? 0 : 4;
}

/* For the basic plane, beyond ASCII. */
static size_t
encode(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | c >> 12);
	out[1] = (char)(0x80 | (c >> 6 & 0x3f));
	out[2] = (char)(0x80 | (c & 0x3f));
	return 3;
}

static uint32_t
upcase(uint32_t c, bool *cased)
{
	unsigned block = fold_index[c >> 6];

	if (!(fold_cased[block] >> (c & 63) & 1))
		return c;
	*cased = true;
	return (c + fold_delta[block][c & 63]) & 0xffff;
}

/* The rest of a name from its first byte that is not in a word of ASCII.
 * Returns the bytes written, or -1 for a name that is not UTF-8. */
static ptrdiff_t
fold_utf8(const char *name, size_t len, char *out, bool *cased)
{
	const unsigned char *s = (const unsigned char *)name;
	char *start = out;
	uint32_t c;
	size_t n;

	for (; len; s += n, len -= n) {
		if (*s < 0x80) {
			*out++ = fold_ascii((char)*s, cased);
			n = 1;
			continue;
		}
		n = decode(s, len, &c);
		if (!n)
			return -1;
		if (n == 4) {
			memcpy(out, s, n);
			out += n;
		} else {
			out += encode(upcase(c, cased), out);
		}
	}
	return out - start;
}

static size_t
fold_bytes(const char *name, size_t len, char *out, bool *cased)
{
	for (size_t i = 0; i < len; i++)
		out[i] = fold_ascii(name[i], cased);
	return len;
}

void
cf_fold(enum cf_mode mode, const char *name, size_t len,
	struct cf_folded *folded)
{
	char *out = folded->bytes;
	size_t done;
	ptrdiff_t n;

	folded->cased = false;
	done = fold_words(name, len, out, &folded->cased);
	if (mode == CF_ASCII) {
		n = (ptrdiff_t)fold_bytes(name + done, len - done, out + done,
					  &folded->cased);
	} else {
		n = fold_utf8(name + done, len - done, out + done,
			      &folded->cased);
	}
	if (n < 0) {
		memcpy(out, name, len);
		folded->cased = false;
		folded->len = len;
		return;
	}
	folded->len = done + (size_t)n;
}

bool
cf_fold_is(enum cf_mode mode, const struct cf_folded *folded, const char *name,
	   size_t len)
{
	struct cf_folded other;

	cf_fold(mode, name, len, &other);
	return other.len == folded->len &&
	       !memcmp(other.bytes, folded->bytes, other.len);
}

bool
cf_same_name(enum cf_mode mode, const char *a, const char *b)
{
	size_t alen = strlen(a), blen = strlen(b);
	struct cf_folded folded;

	if (alen > CF_NAME_MAX || blen > CF_NAME_MAX)
		return alen == blen && !memcmp(a, b, alen);
	cf_fold(mode, a, alen, &folded);
	return cf_fold_is(mode, &folded, b, blen);
}

/* ------------------------------------------------------------------ */
/* SipHash with one round per word and three at the end. */

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotate(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void
sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 = rotate(s->v2, 32);
}

static inline void
sip_word(struct sip *s, uint64_t w)
{
	s->v3 ^= w;
	sip_round(s);
	s->v0 ^= w;
}

uint64_t
cf_hash(const struct cf_key *key, const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t w, last = (uint64_t)len << 56;
	struct sip s = {
		.v0 = key->k0 ^ 0x736f6d6570736575ull,
		.v1 = key->k1 ^ 0x646f72616e646f6dull,
		.v2 = key->k0 ^ 0x6c7967656e657261ull,
		.v3 = key->k1 ^ 0x7465646279746573ull,
	};

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		sip_word(&s, le64toh(w));
	}
	for (size_t i = 0; i < len; i++)
		last |= (uint64_t)p[i] << (8 * i);
	sip_word(&s, last);
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
