# vhost/
noinst_LIBRARIES += vhost/libvhost.a
vhost_libvhost_a_SOURCES = \
	vhost/vhost.h vhost/vh.h vhost/wire.h vhost/front.h \
	vhost/msg.c vhost/reqs.c vhost/conn.c vhost/mem.c vhost/sigbus.c \
	vhost/queue.c vhost/ring.c vhost/late.c vhost/front.c vhost/front_ring.c

vhost_tests = tests/test-vhost-msg tests/test-vhost-reqs \
	tests/test-vhost-mem tests/test-vhost-limits tests/test-vhost-ring \
	tests/test-vhost-badring tests/test-vhost-front
check_PROGRAMS += $(vhost_tests)
TESTS += $(vhost_tests)

vhost_raw = tests/vhost-raw.c tests/vhost-raw.h tests/tap.h
vhost_echo = tests/vhost-echo.c tests/vhost-echo.h

tests_test_vhost_msg_SOURCES = tests/test-vhost-msg.c $(vhost_raw)
tests_test_vhost_msg_LDADD = vhost/libvhost.a
tests_test_vhost_reqs_SOURCES = tests/test-vhost-reqs.c $(vhost_raw)
tests_test_vhost_reqs_LDADD = vhost/libvhost.a
tests_test_vhost_mem_SOURCES = tests/test-vhost-mem.c $(vhost_raw)
tests_test_vhost_mem_LDADD = vhost/libvhost.a
tests_test_vhost_limits_SOURCES = tests/test-vhost-limits.c tests/stallfs.c \
	tests/stallfs.h $(vhost_raw)
tests_test_vhost_limits_LDADD = vhost/libvhost.a
tests_test_vhost_ring_SOURCES = tests/test-vhost-ring.c \
	tests/vhost-ring.h $(vhost_raw)
tests_test_vhost_ring_LDADD = vhost/libvhost.a
tests_test_vhost_badring_SOURCES = tests/test-vhost-badring.c \
	tests/vhost-ring.h $(vhost_raw)
tests_test_vhost_badring_LDADD = vhost/libvhost.a
tests_test_vhost_front_SOURCES = tests/test-vhost-front.c $(vhost_echo) \
	tests/tap.h
tests_test_vhost_front_LDADD = vhost/libvhost.a

vhost_replays = tests/fuzz/replay-msg tests/fuzz/replay-ring
check_PROGRAMS += $(vhost_replays)
TESTS += $(vhost_replays)
EXTRA_DIST += tests/fuzz/seeds/msg tests/fuzz/seeds/ring

tests_fuzz_replay_msg_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-msg.c \
	$(vhost_raw)
tests_fuzz_replay_msg_LDADD = vhost/libvhost.a
tests_fuzz_replay_ring_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-ring.c \
	$(vhost_raw)
tests_fuzz_replay_ring_LDADD = vhost/libvhost.a
