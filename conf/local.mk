# conf/
noinst_LIBRARIES += conf/libconf.a
conf_libconf_a_SOURCES = \
	conf/build.c conf/check.c conf/conf.h conf/dirs.c conf/dirs.h \
	conf/files.c conf/keys.c conf/keys.h conf/load.h conf/message.c \
	conf/parse.c conf/print.c conf/reader.c conf/reader.h conf/share.h \
	conf/text.c conf/text.h conf/value.c
conf_libconf_a_CPPFLAGS = $(AM_CPPFLAGS) $(INIH_CFLAGS)

check_PROGRAMS += tests/fuzz/replay-conf
TESTS += tests/fuzz/replay-conf tests/fuzz/test-replay.sh
tests_fuzz_replay_conf_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-conf.c
tests_fuzz_replay_conf_LDADD = conf/libconf.a $(INIH_LIBS)

EXTRA_DIST += conf/gatewayd.conf tests/fuzz/test-replay.sh \
	tests/fuzz/seeds/conf
