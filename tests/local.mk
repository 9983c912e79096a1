# Tests of the whole: layers, the daemon, system tests, bench.
EXTRA_DIST += tests/tap.h
