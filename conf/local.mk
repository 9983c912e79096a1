# conf/
check_PROGRAMS += tests/fuzz/replay-conf
TESTS += tests/fuzz/replay-conf tests/fuzz/test-replay.sh
tests_fuzz_replay_conf_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-conf.c

EXTRA_DIST += tests/fuzz/test-replay.sh tests/fuzz/seeds/conf
