# casefold/
noinst_LIBRARIES += casefold/libcasefold.a
casefold_libcasefold_a_SOURCES = casefold/casefold.h \
	casefold/cache.c casefold/cache.h casefold/cache_db.h \
	casefold/cache_write.c casefold/db.c casefold/db.h casefold/dirs.c \
	casefold/find.c casefold/fold.c casefold/fold.h casefold/fold_table.h \
	casefold/guard.c \
	casefold/index.c casefold/index.h casefold/keep.c casefold/names.c casefold/names.h \
	casefold/read.c casefold/scan.c casefold/scan.h casefold/share.c \
	casefold/state.c casefold/state.h casefold/state_cache.c \
	casefold/state_db.h casefold/state_each.c casefold/state_import.c \
	casefold/state_open.c \
	casefold/state_read.c casefold/state_row.c casefold/state_set.c casefold/state_set.h \
	casefold/state_sync.c casefold/state_text.c casefold/state_tree.c \
	casefold/state_xattr.c casefold/watch.c
casefold_libcasefold_a_CPPFLAGS = $(AM_CPPFLAGS) $(SQLITE_CFLAGS)

CASEFOLD_LIBS = casefold/libcasefold.a $(SQLITE_LIBS)

check_PROGRAMS += tests/test-casefold-fold
TESTS += tests/test-casefold-fold
tests_test_casefold_fold_SOURCES = tests/test-casefold-fold.c tests/tap.h
tests_test_casefold_fold_LDADD = $(CASEFOLD_LIBS)

EXTRA_DIST += casefold/make-fold-table

check_PROGRAMS += tests/test-casefold-find
TESTS += tests/test-casefold-find
tests_test_casefold_find_SOURCES = tests/test-casefold-find.c \
	tests/casefold-test.h tests/tap.h
tests_test_casefold_find_LDADD = $(CASEFOLD_LIBS)

check_PROGRAMS += tests/test-casefold-host
TESTS += tests/test-casefold-host
tests_test_casefold_host_SOURCES = tests/test-casefold-host.c \
	tests/casefold-test.h tests/tap.h
tests_test_casefold_host_LDADD = $(CASEFOLD_LIBS)

check_PROGRAMS += tests/test-casefold-limits
TESTS += tests/test-casefold-limits
tests_test_casefold_limits_SOURCES = tests/test-casefold-limits.c \
	tests/casefold-test.h tests/tap.h
tests_test_casefold_limits_LDADD = $(CASEFOLD_LIBS)

check_PROGRAMS += tests/test-casefold-oracle
TESTS += tests/test-casefold-oracle
tests_test_casefold_oracle_SOURCES = tests/test-casefold-oracle.c \
	tests/casefold-life.h tests/casefold-test.h tests/tap.h
tests_test_casefold_oracle_LDADD = $(CASEFOLD_LIBS)

check_PROGRAMS += tests/test-casefold-cache
TESTS += tests/test-casefold-cache
tests_test_casefold_cache_SOURCES = tests/test-casefold-cache.c \
	tests/casefold-test.h tests/tap.h
tests_test_casefold_cache_CPPFLAGS = $(AM_CPPFLAGS) $(SQLITE_CFLAGS)
tests_test_casefold_cache_LDADD = $(CASEFOLD_LIBS)

# The store of owners and attributes.
state_tests = tests/test-casefold-state tests/test-casefold-state-text \
	tests/test-casefold-state-crash tests/test-casefold-state-damage \
	tests/test-casefold-state-threads
state_test_headers = tests/state-test.h tests/casefold-test.h tests/tap.h
check_PROGRAMS += $(state_tests)
TESTS += $(state_tests)
tests_test_casefold_state_SOURCES = tests/test-casefold-state.c \
	$(state_test_headers)
tests_test_casefold_state_LDADD = $(CASEFOLD_LIBS)
tests_test_casefold_state_text_SOURCES = tests/test-casefold-state-text.c \
	$(state_test_headers)
tests_test_casefold_state_text_LDADD = $(CASEFOLD_LIBS)
tests_test_casefold_state_crash_SOURCES = tests/test-casefold-state-crash.c \
	tests/state-disk.h $(state_test_headers)
tests_test_casefold_state_crash_LDADD = $(CASEFOLD_LIBS)
tests_test_casefold_state_damage_SOURCES = \
	tests/test-casefold-state-damage.c tests/state-disk.h \
	$(state_test_headers)
tests_test_casefold_state_damage_CPPFLAGS = $(AM_CPPFLAGS) $(SQLITE_CFLAGS)
tests_test_casefold_state_damage_LDADD = $(CASEFOLD_LIBS)
tests_test_casefold_state_threads_SOURCES = \
	tests/test-casefold-state-threads.c $(state_test_headers)
tests_test_casefold_state_threads_LDADD = $(CASEFOLD_LIBS)

EXTRA_PROGRAMS += tests/bench/bench-state
tests_bench_bench_state_SOURCES = tests/bench/bench-state.c \
	$(state_test_headers)
tests_bench_bench_state_LDADD = $(CASEFOLD_LIBS)

check_PROGRAMS += tests/fuzz/replay-fold
TESTS += tests/fuzz/replay-fold
tests_fuzz_replay_fold_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-fold.c
tests_fuzz_replay_fold_LDADD = $(CASEFOLD_LIBS)

# What names cost: make tests/bench/bench-casefold, and run it.
EXTRA_PROGRAMS += tests/bench/bench-casefold
tests_bench_bench_casefold_SOURCES = tests/bench/bench-casefold.c \
	tests/casefold-test.h
tests_bench_bench_casefold_LDADD = $(CASEFOLD_LIBS)

EXTRA_DIST += tests/fuzz/seeds/fold
