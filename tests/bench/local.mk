# make bench: gatewayd beside other vhost-user-fs servers.  Built when asked
# for.  BENCH_FLAGS are those of bench.c; RUST_VIRTIOFSD=PATH adds a server.

EXTRA_PROGRAMS += tests/bench/bench
tests_bench_bench_SOURCES = \
	tests/bench/bench.c tests/bench/bench.h \
	tests/bench/client.c tests/bench/floor.c
tests_bench_bench_LDADD = tests/libguest.a vhost/libvhost.a
CLEANFILES += tests/bench/bench
EXTRA_DIST += tests/bench/run

.PHONY: bench
bench: all tests/bench/bench
	top_builddir='$(abs_top_builddir)' $(SHELL) \
		$(top_srcdir)/tests/bench/run $(BENCH_FLAGS)
