/* SPDX-License-Identifier: MIT */
/*
 * casefold/fold.c: the table is the one Windows uses, every character and
 * every kind of bad UTF-8 folds as it should, and the hash is SipHash-1-3.
 */
#include "config.h"

#include "casefold/names.h"

#include <stdlib.h>

#include "tests/tap.h"

/* ------------------------------------------------------------------ */
/* MD5 (RFC 1321) of whole blocks, for the fingerprint of the table. */

static uint32_t
rol(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

/* floor(2^32 * abs(sin(i + 1))) without libm: a table, as in the RFC. */
static const uint32_t md5_k[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a,
	0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
	0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
	0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
	0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
	0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
	0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
	0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
	0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
	0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
	0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static void
md5_block(uint32_t state[4], const unsigned char *p)
{
	static const unsigned char turn[4][4] = {
		{ 7, 12, 17, 22 }, { 5, 9, 14, 20 },
		{ 4, 11, 16, 23 }, { 6, 10, 15, 21 },
	};
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
	uint32_t f, m;
	unsigned g;

	for (unsigned i = 0; i < 64; i++) {
		switch (i / 16) {
		case 0: f = (b & c) | (~b & d); g = i; break;
		case 1: f = (d & b) | (~d & c); g = (5 * i + 1) % 16; break;
		case 2: f = b ^ c ^ d; g = (3 * i + 5) % 16; break;
		default: f = c ^ (b | ~d); g = 7 * i % 16; break;
		}
		m = p[4 * g] | p[4 * g + 1] << 8 | p[4 * g + 2] << 16 |
		    (uint32_t)p[4 * g + 3] << 24;
		f += a + md5_k[i] + m;
		a = d;
		d = c;
		c = b;
		b += rol(f, turn[i / 16][i % 4]);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

/* Of `len` bytes, a multiple of 64. */
static void
md5_hex(const unsigned char *p, size_t len, char out[33])
{
	uint32_t state[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
	unsigned char end[64] = { 0x80 };

	for (size_t i = 0; i < len; i += 64)
		md5_block(state, p + i);
	for (int i = 0; i < 8; i++)
		end[56 + i] = (unsigned char)((uint64_t)len * 8 >> (8 * i));
	md5_block(state, end);
	for (int i = 0; i < 16; i++)
		sprintf(out + 2 * i, "%02x", state[i / 4] >> (8 * (i % 4)) & 0xff);
}

/* ------------------------------------------------------------------ */

static size_t
utf8(uint32_t c, char *out)
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
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static uint32_t
code_of(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	switch (len) {
	case 1: return p[0];
	case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3f);
	case 3: return (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3f);
	default: return 0x110000;
	}
}

/* The table seen through cf_fold(), one character at a time. */
static uint16_t table[65536];
static bool cased[65536];

static void
read_table(void)
{
	struct cf_folded f;
	char s[4];
	long bad = 0;

	for (uint32_t c = 0; c < 0x110000; c++) {
		if (c < 0x10000)
			table[c] = (uint16_t)c;
		if (c >> 11 == 0x1b)
			continue;
		cf_fold(CF_NT, s, utf8(c, s), &f);
		if (c < 0x10000) {
			table[c] = (uint16_t)code_of(f.bytes, f.len);
			cased[c] = f.cased;
			bad += code_of(f.bytes, f.len) > 0xffff;
		} else {
			bad += f.len != 4 || f.cased || memcmp(s, f.bytes, 4);
		}
	}
	is_int(bad, 0, "T2: each scalar value folds to one character, "
	       "those beyond U+FFFF to themselves");
}

static void
test_table(void)
{
	static unsigned char bytes[2 * 65536];
	static bool partner[65536];
	char md5[33];
	int n = 0, bad = 0;

	for (int c = 0; c < 65536; c++) {
		bytes[2 * c] = table[c] & 0xff;
		bytes[2 * c + 1] = (unsigned char)(table[c] >> 8);
		if (table[c] != c) {
			n++;
			partner[c] = partner[table[c]] = true;
		}
	}
	md5_hex(bytes, sizeof(bytes), md5);
	is_str(md5, "7ff498a44e45e77374cc7c962b1b92f2", "T1: MD5 of the table");
	is_int(n, 973, "T1: characters with an upper case");
	for (int c = 0; c < 65536; c++)
		bad += partner[c] != cased[c] || table[table[c]] != table[c];
	is_int(bad, 0, "T2: partners in case are known, folding twice is once");
}

/* ------------------------------------------------------------------ */

static const struct {
	const char *a, *b, *what;
	bool same;
} pairs[] = {
	{ "i", "I", "i, I", true },
	{ "\xc4\xb1", "I", "dotless i, I", false },
	{ "\xc4\xb0", "i", "I with dot, i", false },
	{ "\xc3\x9f", "SS", "sharp s, SS", false },
	{ "\xc3\x9f", "\xe1\xba\x9e", "sharp s, capital sharp s", false },
	{ "\xcf\x83", "\xce\xa3", "sigma, Sigma", true },
	{ "\xcf\x83", "\xcf\x82", "sigma, final sigma", false },
	{ "\xce\xa3", "\xcf\x82", "Sigma, final sigma", false },
	{ "k", "\xe2\x84\xaa", "k, Kelvin", false },
	{ "\xc3\xa5", "\xe2\x84\xab", "a with ring, Angstrom", false },
	{ "\xef\xac\x81", "fi", "ligature fi, fi", false },
	{ "\xea\xad\xb0", "\xe1\x8e\xa0", "Cherokee", false },
	{ "\xe1\x83\x90", "\xe1\xb2\x90", "Georgian", false },
	{ "\xf0\x90\x90\xa8", "\xf0\x90\x90\x80", "Deseret", false },
	{ "\xc7\x85", "\xc7\x84", "Dz titlecase, DZ", false },
	{ "\xc7\x86", "\xc7\x84", "dz, DZ", true },
	{ "\xc3\xa9", "\xc3\x89", "e acute", true },
	{ "\xd1\x80", "\xd0\xa0", "Cyrillic er", true },
	{ "\xc2\xb5", "\xce\xbc", "micro, mu", false },
	{ "\xc5\xbf", "s", "long s, s", false },
	{ "\xc3\xa9", "e\xcc\x81", "composed, decomposed", false },
	{ "SteamUI.dll", "steamui.DLL", "a file of Steam's", true },
	{ "[", "{", "no letters beside Z", false },
	{ "@", "`", "no letters before A", false },
};

static void
test_pairs(void)
{
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		is_int(cf_same_name(CF_NT, pairs[i].a, pairs[i].b),
		       pairs[i].same, "T4: %s", pairs[i].what);
	}
	ok(cf_same_name(CF_ASCII, "Quick.Brown.Fox.JUMPS",
			"qUICK.bROWN.fOX.jumps"), "ascii: letters");
	ok(!cf_same_name(CF_ASCII, "\xc3\xa9", "\xc3\x89"),
	   "ascii: nothing else");
	ok(cf_same_name(CF_ASCII, "\xff" "a", "\xff" "A"),
	   "ascii: any other byte is itself");
}

/* ------------------------------------------------------------------ */

static const struct {
	const char *bytes, *what;
} invalid[] = {
	{ "\x80", "a tail alone" },
	{ "a\xc3", "a head alone" },
	{ "a\xc3" "b", "a head without tail" },
	{ "a\xe2\x84", "two bytes of three" },
	{ "a\xe2\x84" "b", "two bytes of three, then a letter" },
	{ "a\xf0\x90\x90", "three bytes of four" },
	{ "\xc1\xa1", "a overlong in two bytes" },
	{ "\xe0\x81\xa1", "a overlong in three bytes" },
	{ "\xf0\x80\x81\xa1", "a overlong in four bytes" },
	{ "\xe0\x83\xa9", "e acute overlong" },
	{ "b\xed\xa0\x80", "a high surrogate" },
	{ "b\xed\xbf\xbf", "a low surrogate" },
	{ "\xed\xa0\x81\xed\xb0\xa8", "Deseret as two surrogates" },
	{ "z\xf4\x90\x80\x80", "beyond U+10FFFF" },
	{ "z\xf8\x88\x80\x80\x80", "five bytes" },
	{ "caf\xe9.txt", "Latin-1" },
	{ "averylongname.txt\xff", "a bad byte after many good ones" },
	{ "\xff" "averylongname.txt", "a bad byte before many good ones" },
};

static void
test_invalid(void)
{
	struct cf_folded f;
	size_t len;

	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
		len = strlen(invalid[i].bytes);
		cf_fold(CF_NT, invalid[i].bytes, len, &f);
		ok(f.len == len && !memcmp(f.bytes, invalid[i].bytes, len) &&
		   !f.cased, "T5: itself only: %s", invalid[i].what);
	}
}

/* The characters that grow: two bytes, whose upper case has three. */
static void
test_growth(void)
{
	char name[CF_NAME_MAX], c[4];
	struct cf_folded f, g;
	int grow = 0, bad = 0;
	size_t n;

	for (uint32_t u = 0x80; u < 0x800; u++) {
		if (table[u] < 0x800)
			continue;
		grow++;
		memset(name, 'q', sizeof(name));
		utf8(u, c);
		for (n = 1; n + 2 <= sizeof(name); n += 2)
			memcpy(name + n, c, 2);
		cf_fold(CF_NT, name, sizeof(name), &f);
		bad += f.len != 1 + 127 * 3 || !f.cased;
		if (f.len <= CF_NAME_MAX)
			cf_fold(CF_NT, f.bytes, f.len, &g);
	}
	is_int(grow, 5, "T6: characters that grow when folded");
	is_int(bad, 0, "T6: 255 bytes of them");
}

/* ------------------------------------------------------------------ */

static size_t
random_name(char *out, size_t max, bool valid)
{
	size_t len = 0, want = (size_t)(random() % (long)max) + 1;
	uint32_t c;

	while (len + 4 <= want) {
		switch (random() % 5) {
		case 0: c = (uint32_t)random() % 0x10000; break;
		case 1: c = (uint32_t)random() % 0x600; break;
		case 2: c = (uint32_t)random() % 0x110000; break;
		default: c = (uint32_t)random() % 0x80; break;
		}
		if (c >> 11 == 0x1b || c == 0 || c == '/')
			continue;
		len += utf8(c, out + len);
		if (!valid && random() % 8 == 0)
			out[random() % (long)len] ^= (char)(random() % 255 + 1);
	}
	return len;
}

/* Code units of a valid name, each upcased by the table. */
static size_t
upcase_utf16(const char *s, size_t len, uint16_t *out)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = 0, step;
	uint32_t c;

	for (; len; p += step, len -= step) {
		step = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
		if (step < 4) {
			out[n++] = table[code_of((const char *)p, step)];
			continue;
		}
		c = (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 |
		    (p[2] & 0x3fu) << 6 | (p[3] & 0x3f);
		out[n++] = table[0xd800 + ((c - 0x10000) >> 10)];
		out[n++] = table[0xdc00 + ((c - 0x10000) & 0x3ff)];
	}
	return n;
}

/* Another spelling of a name, of any length. */
static size_t
respell(const char *s, size_t len, char *out)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n = 0, step;
	uint32_t c, d;

	for (; len; p += step, len -= step) {
		step = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
		c = code_of((const char *)p, step);
		d = (uint32_t)random() % 0x10000;
		if (step < 4 && random() % 2) {
			n += utf8(table[c], out + n);
		} else if (step < 4 && table[d] == table[c] &&
			   d >> 11 != 0x1b) {
			n += utf8(d, out + n);
		} else {
			memcpy(out + n, p, step);
			n += step;
		}
	}
	return n;
}

static void
test_property(void)
{
	char a[CF_NAME_MAX], b[CF_FOLD_MAX];
	uint16_t ua[CF_FOLD_MAX], ub[CF_FOLD_MAX];
	struct cf_folded fa, fb;
	long count = tap_scaled(100000), bad = 0, same = 0;
	size_t na, nb, va, vb;
	bool folds, upper;

	for (long i = 0; i < count; i++) {
		na = random_name(a, 80, true);
		nb = i % 2 ? respell(a, na, b) : random_name(b, 80, true);
		va = upcase_utf16(a, na, ua);
		vb = upcase_utf16(b, nb, ub);
		upper = va == vb && !memcmp(ua, ub, 2 * va);
		cf_fold(CF_NT, a, na, &fa);
		cf_fold(CF_NT, b, nb, &fb);
		folds = fa.len == fb.len && !memcmp(fa.bytes, fb.bytes, fa.len);
		bad += folds != upper || folds != cf_fold_is(CF_NT, &fa, b, nb);
		same += folds;
	}
	ok(!bad && same > count / 4,
	   "T7: names fold alike if and only if their upcased UTF-16 is equal "
	   "(%ld of %ld alike)", same, count);
}

static void
test_idempotence(void)
{
	char a[CF_NAME_MAX];
	struct cf_folded f, g;
	long count = tap_scaled(200000), bad = 0;
	size_t n;

	for (long i = 0; i < count; i++) {
		n = random_name(a, 120, i % 2);
		for (size_t j = 0; j < n; j++) {
			if (a[j] == '/' || !a[j])
				a[j] = '_';
		}
		for (int mode = CF_NT; mode <= CF_ASCII; mode++) {
			cf_fold((enum cf_mode)mode, a, n, &f);
			cf_fold((enum cf_mode)mode, f.bytes, f.len, &g);
			bad += f.len != g.len ||
			       memcmp(f.bytes, g.bytes, f.len) ||
			       memchr(f.bytes, '/', f.len) ||
			       memchr(f.bytes, 0, f.len) || f.cased != g.cased;
		}
	}
	is_int(bad, 0, "T3: folding twice is once, no NUL or '/' appears "
	       "(%ld names)", count);
}

static void
test_hash(void)
{
	static const struct cf_key zero;
	struct cf_key key = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

	ok(cf_hash(&zero, "a", 1) == 0x407448d2b89b1813, "SipHash-1-3: 1 byte");
	ok(cf_hash(&zero, "abcdefgh", 8) == 0x3f7b849c0b8e35ea,
	   "SipHash-1-3: 8 bytes");
	ok(cf_hash(&zero, "hello world, this", 17) == 0x943e57635d2483aa,
	   "SipHash-1-3: 17 bytes");
	ok(cf_hash(&key, "", 0) == 0xabac0158050fc4dc,
	   "SipHash-1-3: a key, no bytes");
}

/* The longest run of slots that are taken. */
static uint32_t
longest_run(const struct cf_names *names)
{
	uint32_t run = 0, longest = 0;

	for (uint32_t i = 0; i < 2 * names->nslots; i++) {
		run = names->slots[i % names->nslots].at ? run + 1 : 0;
		if (run > longest && run <= names->nslots)
			longest = run;
	}
	return longest;
}

static uint32_t
hash_with(const struct cf_key *key, const char *name)
{
	struct cf_folded folded;

	cf_fold(CF_NT, name, strlen(name), &folded);
	return (uint32_t)(cf_fold_hash(key, &folded) >> 32);
}

/* I8: names that all fall on one slot under a key that somebody knows are as
 * good as any under the one that he does not. */
static void
test_crafted(void)
{
	struct cf_key known = { 1, 2 }, secret = { 0x1234567, 0x89abcdef };
	struct cf_names bad = { 0 }, good = { 0 };
	char name[32];
	int n = 0;

	for (unsigned i = 0; n < 2000; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		if (hash_with(&known, name) & 0x3ff)
			continue;
		cf_names_add(&bad, hash_with(&known, name), name,
			     strlen(name));
		cf_names_add(&good, hash_with(&secret, name), name,
			     strlen(name));
		n++;
	}
	ok(longest_run(&bad) > 500, "I8: crafted names would make long walks "
	   "(%u slots)", longest_run(&bad));
	ok(longest_run(&good) < 150, "I8: under another key they do not (%u)",
	   longest_run(&good));
	cf_names_fini(&bad);
	cf_names_fini(&good);
}

int
main(void)
{
	unsigned seed = (unsigned)(getenv("SEED") ? atol(getenv("SEED")) : 1);

	printf("# SEED=%u\n", seed);
	srandom(seed);
	read_table();
	test_table();
	test_pairs();
	test_invalid();
	test_growth();
	test_property();
	test_idempotence();
	test_hash();
	test_crafted();
	return tap_done();
}
