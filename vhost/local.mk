# vhost/
noinst_LIBRARIES += vhost/libvhost.a
vhost_libvhost_a_SOURCES = \
	vhost/vhost.h vhost/vh.h vhost/wire.h vhost/front.h \
	vhost/msg.c vhost/reqs.c vhost/conn.c vhost/mem.c vhost/sigbus.c \
	vhost/ring.c vhost/front.c vhost/front_ring.c

check_PROGRAMS += tests/test-vhost-front
TESTS += tests/test-vhost-front

tests_test_vhost_front_SOURCES = tests/test-vhost-front.c \
	tests/vhost-echo.c tests/vhost-echo.h tests/tap.h
tests_test_vhost_front_LDADD = vhost/libvhost.a
