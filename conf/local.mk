# conf/
noinst_LIBRARIES += conf/libconf.a
conf_libconf_a_SOURCES = conf/advice.c conf/build.c conf/caps.c conf/caps.h \
	conf/check.c conf/conf.h conf/diff.c conf/dirs.c conf/dirs.h \
	conf/files.c conf/idmap.c conf/idmap.h conf/keys.c conf/keys.h \
	conf/load.h conf/look.c conf/look.h conf/message.c conf/number.c \
	conf/number.h conf/parse.c conf/print.c conf/reader.c conf/reader.h \
	conf/share.h conf/text.c conf/text.h conf/value.c conf/xattrmap.c \
	conf/xattrmap.h
conf_libconf_a_CPPFLAGS = $(AM_CPPFLAGS) $(INIH_CFLAGS)
conf_libs = conf/libconf.a $(INIH_LIBS)

check_PROGRAMS += tests/test-conf-check tests/test-conf-files \
	tests/test-conf-idmap tests/test-conf-look tests/test-conf-inih \
	tests/test-conf-print tests/test-conf-values tests/fuzz/replay-conf
TESTS += tests/test-conf-check tests/test-conf-files tests/test-conf-idmap \
	tests/test-conf-look tests/test-conf-inih tests/test-conf-print \
	tests/test-conf-values tests/fuzz/replay-conf \
	tests/fuzz/test-replay.sh

tests_test_conf_check_SOURCES = tests/test-conf-check.c tests/conf-try.h
tests_test_conf_check_LDADD = $(conf_libs)
tests_test_conf_files_SOURCES = tests/test-conf-files.c tests/conf-try.h
tests_test_conf_files_LDADD = $(conf_libs)
tests_test_conf_idmap_SOURCES = tests/test-conf-idmap.c tests/conf-try.h
tests_test_conf_idmap_LDADD = fuse/libfuse.a $(CASEFOLD_LIBS) $(conf_libs)
tests_test_conf_look_SOURCES = tests/test-conf-look.c tests/conf-try.h \
	tests/stallfs.c tests/stallfs.h
tests_test_conf_look_LDADD = $(conf_libs)
tests_test_conf_inih_SOURCES = tests/test-conf-inih.c tests/conf-try.h
tests_test_conf_inih_LDADD = $(conf_libs)
tests_test_conf_print_SOURCES = tests/test-conf-print.c tests/conf-try.h
tests_test_conf_print_LDADD = $(conf_libs)
tests_test_conf_values_SOURCES = tests/test-conf-values.c tests/conf-try.h
tests_test_conf_values_LDADD = $(conf_libs)
tests_fuzz_replay_conf_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-conf.c
tests_fuzz_replay_conf_LDADD = $(conf_libs)

EXTRA_DIST += conf/gatewayd.conf tests/fuzz/test-replay.sh \
	tests/fuzz/seeds/conf
