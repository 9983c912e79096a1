/* SPDX-License-Identifier: MIT */
/*
 * Test Anything Protocol for C tests.  A test calls the checks below and ends
 * with "return tap_done();".  tap_skip_all() ends a test that lacks something
 * on this machine and says what.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Built with a sanitizer that uses memory of its own? */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAP_SANITIZED 1
#elif defined(__has_feature)
#define TAP_SANITIZED \
	(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define TAP_SANITIZED 0
#endif

/* Weak: one count for all files of a test. */
__attribute__((weak)) int tap_count;
__attribute__((weak)) int tap_failed;

__attribute__((format(printf, 4, 5), unused)) static int
tap_check(int good, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!good) {
		printf("# at %s:%d\n", file, line);
		tap_failed++;
	}
	fflush(stdout);
	return good;
}

/* ok(condition, "words %d", ...): one test point. */
#define ok(cond, ...) tap_check(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

/* is_int(got, want, "words"): numbers must be equal; both are printed. */
#define is_int(got, want, ...)                                               \
	do {                                                                 \
		long long got_ = (long long)(got), want_ = (long long)(want); \
		if (!tap_check(got_ == want_, __FILE__, __LINE__,            \
			       __VA_ARGS__))                                 \
			printf("# got %lld, want %lld\n", got_, want_);      \
	} while (0)

/* is_str(got, want, "words"): strings must be equal; NULL equals NULL. */
#define is_str(got, want, ...)                                               \
	do {                                                                 \
		const char *got_ = (got), *want_ = (want);                   \
		int same_ = (!got_ || !want_) ? got_ == want_                \
					      : !strcmp(got_, want_);        \
		if (!tap_check(same_, __FILE__, __LINE__, __VA_ARGS__))      \
			printf("# got  \"%s\"\n# want \"%s\"\n",             \
			       got_ ? got_ : "(null)",                       \
			       want_ ? want_ : "(null)");                    \
	} while (0)

__attribute__((noreturn, unused)) static void
tap_skip_all(const char *why)
{
	const char *status = getenv("TAP_SKIP_STATUS");

	printf("1..0 # SKIP %s\n", why);
	exit(status ? atoi(status) : 77);	/* make check reads the plan */
}

/* One test point that this machine cannot run. */
__attribute__((unused)) static void
tap_skip(const char *what, const char *why)
{
	printf("ok %d - %s # SKIP %s\n", ++tap_count, what, why);
}

__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

/* Stress counts are multiplied by SCALE (default 1). */
__attribute__((unused)) static long
tap_scaled(long n)
{
	const char *s = getenv("SCALE");
	double f = s ? strtod(s, NULL) : 1;

	n = (long)((double)n * (f > 0 ? f : 1));
	return n > 0 ? n : 1;
}

#endif
