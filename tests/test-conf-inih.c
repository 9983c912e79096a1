/* SPDX-License-Identifier: MIT */
/* What libinih does to lines when nobody watches it, and must not here. */
#include "config.h"

#include "tests/conf-try.h"

static char *
repeat(const char *before, char c, size_t n, const char *after)
{
	size_t a = strlen(before), b = strlen(after);
	char *s = malloc(a + n + b + 1);

	if (!s)
		abort();
	memcpy(s, before, a);
	memset(s + a, c, n);
	memcpy(s + a + n, after, b + 1);
	return s;
}

/* inih reads 200 bytes at a time and takes the rest for new lines.  Where it
 * cannot be told to read more, a long line is a mistake. */
static void
test_long_line_is_not_cut(void)
{
	char *s = repeat("[a]\npath = /usr\ncomment = ", 'x', 600, "\n");
	int err = try_text(s);

	if (err)
		ok(try_said("t:3: error: [a] comment: line of 610 bytes is too "
			    "long (want at most 197)"),
		   "600 bytes are refused with file and line");
	else
		is_int(strlen(try_share("a")->comment), 600,
		       "600 bytes are read whole");
	free(s);

	s = repeat("[a]\npath = /usr\ncomment = ", 'x', 9000,
		   "\nreadonly = yes\nfoo = 1\n");
	is_int(try_text(s), -EINVAL, "9000 bytes are refused");
	is_int(try_count_messages(), 2, "nothing but that and the line behind");
	ok(strstr(try_messages, "t:3: error: [a] comment: line of 9010 bytes "
				"is too long"),
	   "with file and line");
	ok(try_said("t:5: error: [a] foo: unknown key (gatewayd.conf(5) lists "
		    "them)"),
	   "and lines are still counted");
	free(s);
}

static void
test_piece_of_long_line_is_no_key(void)
{
	char *s = repeat("[a]\npath = /usr\n# ", 'x', 197, "readonly = yes\n");

	is_int(try_text(s), 0, "a long comment is no mistake");
	ok(!try_share("a")->readonly, "and no part of it is a key");
	free(s);
}

static void
test_line_of_one_mib(void)
{
	char *s = repeat("[a]\npath = /", 'x', 1 << 20, "\n");

	is_int(try_text(s), -EINVAL, "a line of 1 MiB is refused");
	is_int(try_count_messages(), 1, "in one message");
	free(s);
	s = repeat("[a]\n", 'x', 1 << 20, "");
	is_int(try_text(s), -EINVAL, "so is one without '='");
	ok(strlen(try_messages) < 300, "in a short message");
	free(s);
	s = repeat("[", 'x', 1 << 20, "]\n");
	is_int(try_text(s), -EINVAL, "so is a section's name");
	ok(strlen(try_messages) < 500, "in a short message");
	free(s);
}

static void
test_section_name_is_not_cut(void)
{
	char *s = repeat("[", 'x', 80, "]\npath = /usr\n");

	is_int(try_text(s), -EINVAL, "80 bytes are refused, not cut to 49");
	ok(strstr(try_messages, "tag: too long (want at most 36 bytes)"),
	   "for their length");
	free(s);
}

static void
test_indented_key_is_a_key(void)
{
	is_int(try_text("[a]\n\tcomment = x\n\tpath = /usr\n  readonly=yes\n"),
	       0, "indented keys load");
	is_str(try_share("a")->path, "/usr", "a key behind a tab");
	is_str(try_share("a")->comment, "x", "nothing is added to a value");
	ok(try_share("a")->readonly, "a key behind blanks");
	fails("[a]\npath = /usr\ncomment = x\n  more words\n",
	      "t:4: error: [a] more words: no '=' (want key = value)");
}

static void
test_value_is_not_cut_at_semicolon(void)
{
	fails("[a]\npath = /a ; b\n",
	      "t:2: error: [a] path: ';' after a value (put comments on lines "
	      "of their own)");
	is_int(try_count_messages(), 1, "and only that");
	fails("[a]\npath = /a # b\n",
	      "t:2: error: [a] path: '#' after a value (put comments on lines "
	      "of their own)");
	fails("[a]\npath = /a\ncomment = \"x\t; y\"\n",
	      "t:3: error: [a] comment: ';' after a value (put comments on "
	      "lines of their own)");
	fails("[a]\npath = /a\ncomment =#x\n",
	      "t:3: error: [a] comment: '#' after a value (put comments on "
	      "lines of their own)");
	fails("[a] ; b\n",
	      "t:1: error: [a] text after ']' (put comments on lines of their "
	      "own)");
	is_int(try_key("comment = a;b#c"), 0, "without a blank it is text");
	is_str(try_share("a")->comment, "a;b#c", "of the value");
}

static void
test_quotes_are_text(void)
{
	is_int(try_key("comment = \"x y\""), 0, "quotes load");
	is_str(try_share("a")->comment, "\"x y\"", "and are nothing special");
}

static void
test_key_without_value_is_told(void)
{
	fails("[a]\nreadonly\npath = /usr\nguest\n",
	      "t:2: error: [a] readonly: no '=' (want key = value)");
	ok(try_said("t:4: error: [a] guest: no '=' (want key = value)"),
	   "each of them");
	fails("[a]\n = x\n",
	      "t:2: error: [a] a value without a key (want key = value)");
}

static void
test_empty_section_is_seen(void)
{
	fails("[one]\n[two]\npath = /usr\n",
	      "t:1: error: [one] path: missing (want path = "
	      "/some/directory)");
	fails("[two]\npath = /usr\n\n[one]",
	      "t:4: error: [one] path: missing (want path = "
	      "/some/directory)");
	is_int(try_text("[gateway]\n[defaults]\n"), 0,
	       "these two may be empty");
}

static void
test_doubles_are_told(void)
{
	fails("[a]\npath = /usr\nreadonly = no\nread-only = yes\n",
	      "t:4: error: [a] readonly: key stands twice in this section "
	      "(first in line 3)");
	fails("[a]\npath = /usr\n[b]\npath = /bin\n[a]\n",
	      "t:5: error: [a] section stands twice in this file (first in "
	      "line 1)");
	fails("[gateway]\n[gateway]\n",
	      "t:2: error: [gateway] section stands twice in this file (first "
	      "in line 1)");
}

static void
test_colon_is_no_equals(void)
{
	fails("[a]\nfoo:bar = 1\n",
	      "t:2: error: [a] foo: ':' where '=' belongs (want key = value)");
	fails("[a]\npath: /usr\n",
	      "t:2: error: [a] path: ':' where '=' belongs (want key = value)");
	is_int(try_count_messages(), 1, "and the path is not missing too");
	is_int(try_key("comment = :map::user.:=x"), 0, "in a value it may be");
	is_str(try_share("a")->comment, ":map::user.:=x", "as it is");
}

static void
test_crlf_bom_and_last_line(void)
{
	is_int(try_text("\xef\xbb\xbf[a]\r\npath = /usr\r\n\r\ncomment = x"), 0,
	       "BOM, CRLF and a last line without newline");
	is_str(try_share("a")->path, "/usr", "CR is no part of a value");
	is_str(try_share("a")->comment, "x", "the last line counts");
	is_int(try_share("a")->line, 1, "lines count from 1");
	fails("[a]\npath = /usr\rreadonly = yes\n",
	      "t:2: error: [a] path: control character (want plain text)");
}

static void
test_bad_bytes(void)
{
	static const char nul[] = "[a]\npath = /usr\0/x\n# \0\n[b\0]\nfoo = 1";

	is_int(try_bytes(nul, sizeof(nul) - 1), -EINVAL, "NUL is refused");
	ok(try_said("t:2: error: [a] path: NUL byte (want UTF-8 text)"),
	   "in a value");
	ok(try_said("t:3: error: [a] NUL byte (want UTF-8 text)"),
	   "in a comment");
	ok(try_said("t:4: error: NUL byte (want UTF-8 text)"), "in a header");
	is_int(try_bytes("\0", 1), -EINVAL, "one NUL alone");
	fails("[a]\npath = /caf\xe9\n",
	      "t:2: error: [a] path: invalid UTF-8 (want UTF-8 text)");
	fails("[a]\npath = /\xc0\xaf\n",
	      "t:2: error: [a] path: invalid UTF-8 (want UTF-8 text)");
	fails("[a]\npath = /\xed\xa0\x80\n",
	      "t:2: error: [a] path: invalid UTF-8 (want UTF-8 text)");
	fails("[a]\npath = /\xf4\x90\x80\x80\n",
	      "t:2: error: [a] path: invalid UTF-8 (want UTF-8 text)");
	is_int(try_key("comment = \xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f"), 0,
	       "good UTF-8 of every length");
	fails("[a]\npath = /x\x1b[2J\n",
	      "t:2: error: [a] path: control character (want plain text)");
	fails("[a]\npath = /x\xc2\x9b\n",
	      "t:2: error: [a] path: control character (want plain text)");
}

static void
test_every_length_around_the_limits(void)
{
	int cut = 0;

	for (size_t n = 180; n < 9000; n += n < 210 || n > 8150 ? 1 : 97) {
		char *s = repeat("[a]\npath = /usr\ncomment = ", 'x', n,
				 "\nreadonly = yes\n");
		int err = try_text(s);

		if (err ? try_count_messages() != 1
			: strlen(try_share("a")->comment) != n ||
				    !try_share("a")->readonly)
			cut++;
		free(s);
	}
	is_int(cut, 0, "a line is whole or refused, never cut");
}

static void
test_file_of_one_mib(void)
{
	size_t n = 0;
	char *s = malloc((1 << 20) + 100);

	if (!s)
		abort();
	for (int i = 0; n < 1 << 20; i++)
		n += (size_t)sprintf(s + n, "[s%d]\npath = /usr\n", i);
	is_int(try_bytes(s, n), 0, "a good file of 1 MiB");
	is_str(try_share("s40000")->path, "/usr", "is read to its end");
	for (size_t i = 0; i < n; i++)
		s[i] = i % 2 ? '\n' : 'x';
	is_int(try_bytes(s, n), -EINVAL, "a bad file of 1 MiB");
	ok(try_count_messages() <= 1001, "does not fill the log");
	free(s);
}

int
main(void)
{
	test_long_line_is_not_cut();
	test_piece_of_long_line_is_no_key();
	test_line_of_one_mib();
	test_section_name_is_not_cut();
	test_indented_key_is_a_key();
	test_value_is_not_cut_at_semicolon();
	test_quotes_are_text();
	test_key_without_value_is_told();
	test_empty_section_is_seen();
	test_doubles_are_told();
	test_colon_is_no_equals();
	test_crlf_bom_and_last_line();
	test_bad_bytes();
	test_every_length_around_the_limits();
	test_file_of_one_mib();
	try_forget();
	return tap_done();
}
