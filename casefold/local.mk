# casefold/
noinst_LIBRARIES += casefold/libcasefold.a
casefold_libcasefold_a_SOURCES = casefold/casefold.h \
	casefold/fold.c casefold/fold.h casefold/fold_table.h
casefold_libcasefold_a_CPPFLAGS = $(AM_CPPFLAGS) $(SQLITE_CFLAGS)

CASEFOLD_LIBS = casefold/libcasefold.a $(SQLITE_LIBS)

check_PROGRAMS += tests/test-casefold-fold
TESTS += tests/test-casefold-fold
tests_test_casefold_fold_SOURCES = tests/test-casefold-fold.c tests/tap.h
tests_test_casefold_fold_LDADD = $(CASEFOLD_LIBS)

EXTRA_DIST += casefold/make-fold-table
