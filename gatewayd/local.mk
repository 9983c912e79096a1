# gatewayd/: the daemon (the client is in client.mk)

sbin_PROGRAMS += gatewayd/gatewayd
gatewayd_gatewayd_SOURCES = gatewayd/main.c gatewayd/gw.h gatewayd/gw.c \
	gatewayd/share.c gatewayd/reload.c gatewayd/listen.c gatewayd/session.c gatewayd/queue.c \
	gatewayd/worker.c gatewayd/pool.c gatewayd/ctl.c gatewayd/tree.h \
	gatewayd/tree.c gatewayd/stats.c gatewayd/log.h gatewayd/log.c \
	gatewayd/privs.c gatewayd/notify.c
gatewayd_gatewayd_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) \
	-DGW_VERSION='"$(PACKAGE_VERSION)"'
gatewayd_gatewayd_LDADD = vhost/libvhost.a fuse/libfuse.a conf/libconf.a \
	$(LIBEVENT_LIBS) $(INIH_LIBS)

include $(top_srcdir)/gatewayd/client.mk

dist_man_MANS += man/gatewayd.8 man/gatewayd-control.7
