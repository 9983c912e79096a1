# The pretend VM and its guests, servers to try them on, and their tests.

check_LIBRARIES += tests/libguest.a
tests_libguest_a_SOURCES = tests/vm.c tests/vm.h tests/guest.c tests/guest.h \
	tests/guestpriv.h tests/guestcalls.c tests/winguest.c \
	tests/winguest.h tests/server.c tests/server.h tests/daemon.c \
	tests/daemon.h tests/stallfs.c tests/stallfs.h tests/neighbour.c \
	tests/neighbour.h tests/hostile.c tests/hostile.h

check_PROGRAMS += tests/test-guest tests/test-ctlclient \
	tests/test-casefold-guests
TESTS += tests/test-guest tests/test-ctlclient tests/test-casefold-guests
tests_test_casefold_guests_SOURCES = tests/test-casefold-guests.c \
	tests/casefold-life.h tests/casefold-test.h tests/tap.h
tests_test_casefold_guests_LDADD = tests/libguest.a vhost/libvhost.a \
	$(CASEFOLD_LIBS)
tests_test_guest_SOURCES = tests/test-guest.c tests/tap.h
tests_test_guest_LDADD = tests/libguest.a vhost/libvhost.a
tests_test_ctlclient_SOURCES = tests/test-ctlclient.c tests/tap.h

# As root, with /dev/fuse: gatewayctl mount of a peer's socket.
SYSTEM_TESTS += tests/system/mount-peer.sh
EXTRA_DIST += tests/system/mount-peer.sh

# The whole daemon over its sockets, driven by pretend VMs.
whole_tests = tests/test-daemon-messages tests/test-daemon-rings \
	tests/test-daemon-stats tests/test-daemon-trace \
	tests/test-daemon-ctl tests/test-daemon-pipeline \
	tests/test-daemon-requests \
	tests/test-daemon-guests tests/test-daemon-clients \
	tests/test-daemon-hung tests/test-daemon-maps tests/test-daemon-top \
	tests/test-daemon-dead tests/test-daemon-queues \
	tests/test-daemon-windows tests/test-daemon-windows-life \
	tests/test-daemon-isolation tests/test-throttle \
	tests/test-daemon-casefold tests/test-daemon-state \
	tests/test-daemon-reuse tests/test-daemon-loss tests/test-daemon-store \
	tests/test-daemon-export tests/test-daemon-together \
	tests/test-daemon-kicks
check_PROGRAMS += $(whole_tests)
TESTS += $(whole_tests)
whole_test_ldadd = tests/libguest.a vhost/libvhost.a
tests_test_daemon_messages_SOURCES = tests/test-daemon-messages.c tests/tap.h
tests_test_daemon_messages_LDADD = $(whole_test_ldadd)
tests_test_daemon_rings_SOURCES = tests/test-daemon-rings.c tests/tap.h
tests_test_daemon_rings_LDADD = $(whole_test_ldadd)
tests_test_daemon_stats_SOURCES = tests/test-daemon-stats.c tests/tap.h
tests_test_daemon_stats_LDADD = $(whole_test_ldadd)
EXTRA_DIST += tests/check-metrics.sh
tests_test_daemon_trace_SOURCES = tests/test-daemon-trace.c tests/tap.h \
	tests/stream.h
tests_test_daemon_trace_LDADD = $(whole_test_ldadd)
tests_test_daemon_kicks_SOURCES = tests/test-daemon-kicks.c tests/tap.h
tests_test_daemon_kicks_LDADD = $(whole_test_ldadd)
tests_test_daemon_together_SOURCES = tests/test-daemon-together.c tests/tap.h \
	tests/uring.h
tests_test_daemon_together_LDADD = $(whole_test_ldadd)
tests_test_daemon_ctl_SOURCES = tests/test-daemon-ctl.c tests/tap.h \
	tests/stream.h
tests_test_daemon_ctl_LDADD = $(whole_test_ldadd)
tests_test_daemon_pipeline_SOURCES = tests/test-daemon-pipeline.c tests/tap.h \
	tests/stream.h
tests_test_daemon_pipeline_LDADD = $(whole_test_ldadd)
tests_test_daemon_state_SOURCES = tests/test-daemon-state.c tests/tap.h \
	tests/stream.h
tests_test_daemon_state_LDADD = $(whole_test_ldadd)
tests_test_daemon_requests_SOURCES = tests/test-daemon-requests.c tests/tap.h
tests_test_daemon_requests_LDADD = $(whole_test_ldadd)
tests_test_daemon_guests_SOURCES = tests/test-daemon-guests.c tests/tap.h
tests_test_daemon_guests_LDADD = $(whole_test_ldadd)
tests_test_daemon_clients_SOURCES = tests/test-daemon-clients.c tests/tap.h \
	tests/stream.h
tests_test_daemon_clients_LDADD = $(whole_test_ldadd)
tests_test_daemon_hung_SOURCES = tests/test-daemon-hung.c tests/tap.h \
	tests/stream.h
tests_test_daemon_hung_LDADD = $(whole_test_ldadd)
tests_test_daemon_maps_SOURCES = tests/test-daemon-maps.c tests/tap.h
tests_test_daemon_maps_LDADD = $(whole_test_ldadd)
tests_test_daemon_top_SOURCES = tests/test-daemon-top.c tests/tap.h
tests_test_daemon_top_LDADD = $(whole_test_ldadd)
tests_test_daemon_isolation_SOURCES = tests/test-daemon-isolation.c \
	tests/tap.h tests/stream.h
tests_test_daemon_isolation_LDADD = $(whole_test_ldadd)
tests_test_throttle_SOURCES = tests/test-throttle.c gatewayd/throttle.c \
	gatewayd/throttle.h tests/tap.h
tests_test_throttle_LDADD = $(whole_test_ldadd)
tests_test_daemon_dead_SOURCES = tests/test-daemon-dead.c tests/tap.h
tests_test_daemon_dead_LDADD = $(whole_test_ldadd)
tests_test_daemon_queues_SOURCES = tests/test-daemon-queues.c tests/tap.h
tests_test_daemon_queues_LDADD = $(whole_test_ldadd)
tests_test_daemon_windows_SOURCES = tests/test-daemon-windows.c tests/tap.h
tests_test_daemon_windows_LDADD = $(whole_test_ldadd)
tests_test_daemon_casefold_SOURCES = tests/test-daemon-casefold.c tests/tap.h
tests_test_daemon_casefold_LDADD = $(whole_test_ldadd)
tests_test_daemon_reuse_SOURCES = tests/test-daemon-reuse.c tests/tap.h
tests_test_daemon_reuse_LDADD = $(whole_test_ldadd)
tests_test_daemon_export_SOURCES = tests/test-daemon-export.c tests/tap.h
tests_test_daemon_export_LDADD = $(whole_test_ldadd)
tests_test_daemon_loss_SOURCES = tests/test-daemon-loss.c tests/tap.h
tests_test_daemon_loss_LDADD = $(whole_test_ldadd)
tests_test_daemon_store_SOURCES = tests/test-daemon-store.c tests/tap.h
tests_test_daemon_store_LDADD = $(whole_test_ldadd)
# Preloaded into the daemon; never with the runtime of a sanitizer in it.
check_DATA = tests/lastsync.so
CLEANFILES += tests/lastsync.so
EXTRA_DIST += tests/lastsync.c
tests/lastsync.so: tests/lastsync.c
	$(AM_V_CCLD)$(MKDIR_P) tests && $(CC) $(CPPFLAGS) -std=gnu11 -pthread \
	$(WARN_CFLAGS) $(CFLAGS) -fPIC -shared -o $@ \
	$(top_srcdir)/tests/lastsync.c
tests_test_daemon_windows_life_SOURCES = tests/test-daemon-windows-life.c \
	tests/tap.h
tests_test_daemon_windows_life_LDADD = $(whole_test_ldadd)

TESTS += tests/test-daemon-config-errors.sh
EXTRA_DIST += tests/test-daemon-config-errors.sh
