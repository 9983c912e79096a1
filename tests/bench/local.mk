# make bench: gatewayd beside other vhost-user-fs servers.  Built when asked
# for.  BENCH_FLAGS are those of bench.c; RUST_VIRTIOFSD=PATH adds a server.

EXTRA_PROGRAMS += tests/bench/bench
tests_bench_bench_SOURCES = tests/bench/bench.c tests/bench/bench.h \
	tests/bench/client.c tests/bench/client.h tests/bench/requests.c \
	tests/bench/floor.c
tests_bench_bench_LDADD = tests/libguest.a vhost/libvhost.a
CLEANFILES += tests/bench/bench
EXTRA_DIST += tests/bench/run

.PHONY: bench
bench: all tests/bench/bench tests/bench/bench-names \
		tests/bench/bench-stats tests/bench/bench-owners \
		tests/bench/scale
	top_builddir='$(abs_top_builddir)' BENCH_NAMES='$(BENCH_NAMES)' \
	$(SHELL) $(top_srcdir)/tests/bench/run $(BENCH_FLAGS)

# What names without case cost, by the size of the directory; the last row takes
# long to make: make bench BENCH_NAMES='100 10000 100000 1000000'
EXTRA_PROGRAMS += tests/bench/bench-names
tests_bench_bench_names_SOURCES = tests/bench/bench-names.c \
	tests/bench/bench.h tests/bench/client.c tests/bench/client.h \
	tests/bench/requests.c
tests_bench_bench_names_LDADD = tests/libguest.a vhost/libvhost.a
CLEANFILES += tests/bench/bench-names

# What statistics cost.
EXTRA_PROGRAMS += tests/bench/bench-stats
tests_bench_bench_stats_SOURCES = tests/bench/bench-stats.c gatewayd/clock.c \
	gatewayd/hist.c gatewayd/opstats.c
tests_bench_bench_stats_LDADD = fuse/libfuse.a $(CASEFOLD_LIBS) \
	conf/libconf.a $(INIH_LIBS)
CLEANFILES += tests/bench/bench-stats

# More of everything, and storage that hangs beside it; a part of make bench.
EXTRA_PROGRAMS += tests/bench/scale
tests_bench_scale_SOURCES = tests/bench/scale.c tests/bench/lane.c \
	tests/bench/lane.h gatewayd/hist.c gatewayd/hist.h
tests_bench_scale_LDADD = tests/libguest.a vhost/libvhost.a
CLEANFILES += tests/bench/scale

.PHONY: bench-scale
bench-scale: all tests/bench/scale
	top_builddir='$(abs_top_builddir)' tests/bench/scale $(BENCH_FLAGS)
# What recorded owners cost.
EXTRA_PROGRAMS += tests/bench/bench-owners
tests_bench_bench_owners_SOURCES = tests/bench/bench-owners.c
tests_bench_bench_owners_LDADD = $(fuse_test_ldadd)
CLEANFILES += tests/bench/bench-owners
