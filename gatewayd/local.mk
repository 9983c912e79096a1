# gatewayd/: the daemon (the client is in client.mk)

# All but main(); a fuzz target has its own.
gw_sources = gatewayd/gw.h gatewayd/gw.c gatewayd/share.c gatewayd/reload.c \
	gatewayd/listen.c gatewayd/activate.c gatewayd/aside.c \
	gatewayd/opening.c gatewayd/session.c gatewayd/queue.c \
	gatewayd/kicks.h gatewayd/kicks.c gatewayd/serve.c gatewayd/serve.h \
	gatewayd/worker.c gatewayd/job.c gatewayd/job.h gatewayd/pool.c \
	gatewayd/fold.c gatewayd/ctlpriv.h \
	gatewayd/owners.c gatewayd/ctl.c gatewayd/ctlwatch.c \
	gatewayd/ctlsocket.c gatewayd/answer.h gatewayd/answer.c \
	gatewayd/stateops.c gatewayd/statehost.h gatewayd/statehost.c \
	gatewayd/tree.h gatewayd/tree.c gatewayd/watch.c gatewayd/words.c \
	gatewayd/view.h gatewayd/view.c gatewayd/clients.c \
	gatewayd/metrics.c gatewayd/json.h gatewayd/json.c gatewayd/clock.h \
	gatewayd/clock.c gatewayd/hist.h gatewayd/hist.c gatewayd/opstats.h \
	gatewayd/opstats.c gatewayd/lines.h gatewayd/lines.c gatewayd/tag.c \
	gatewayd/throttle.h gatewayd/throttle.c gatewayd/trace.c \
	gatewayd/peer.c gatewayd/inflight.c gatewayd/hung.c gatewayd/stats.c \
	gatewayd/log.h gatewayd/log.c gatewayd/privs.c gatewayd/notify.c \
	gatewayd/sweep.c gatewayd/chore.h gatewayd/chore.c

sbin_PROGRAMS += gatewayd/gatewayd
gatewayd_gatewayd_SOURCES = gatewayd/main.c $(gw_sources)
gatewayd_gatewayd_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) \
	-DGW_VERSION='"$(PACKAGE_VERSION)"'
gatewayd_gatewayd_LDADD = vhost/libvhost.a fuse/libfuse.a $(CASEFOLD_LIBS) \
	conf/libconf.a $(LIBEVENT_LIBS) $(INIH_LIBS)

include $(top_srcdir)/gatewayd/client.mk

# gatewayd.conf(5) is made from the key table.
dist_man_MANS += man/gatewayd.8 man/gatewayd-control.7
man_MANS = man/gatewayd.conf.5
EXTRA_DIST += man/gatewayd.conf.5.in
CLEANFILES += man/gatewayd.conf.5
man/gatewayd.conf.5: man/gatewayd.conf.5.in gatewayd/gatewayd$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) man && gatewayd/gatewayd$(EXEEXT) \
	--print-manual >$@.keys && sed -e '/@KEYS@/{r $@.keys' -e 'd;}' \
	$(top_srcdir)/man/gatewayd.conf.5.in >$@.tmp && rm -f $@.keys && mv \
	$@.tmp $@

EXTRA_DIST += conf/gatewayd.service.in
CLEANFILES += conf/gatewayd.service
systemdsystemunit_DATA = conf/gatewayd.service
dist_systemdsystemunit_DATA = conf/gatewayd@.socket conf/gatewayd-ctl.socket
conf/gatewayd.service: conf/gatewayd.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) conf && sed -e 's|@sbindir[@]|$(sbindir)|g' -e \
	's|@bindir[@]|$(bindir)|g' $(top_srcdir)/conf/gatewayd.service.in \
	>$@

# Drop-ins and the like, which an admin copies to where they say.
examplesdir = $(docdir)/examples
dist_examples_DATA = conf/examples/mknod.conf conf/examples/sys-admin.conf \
	conf/examples/apparmor-libvirt-qemu

# An installed configuration is the admin's: never overwritten.
EXTRA_DIST += conf/sysusers.conf
sysusersdir = $(prefix)/lib/sysusers.d
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(sysusersdir)'
	$(INSTALL_DATA) $(top_srcdir)/conf/sysusers.conf \
	'$(DESTDIR)$(sysusersdir)/gatewayd.conf'
	$(MKDIR_P) '$(DESTDIR)$(sysconfdir)/gatewayd/conf.d'
	test -e '$(DESTDIR)$(sysconfdir)/gatewayd/gatewayd.conf' || \
	$(INSTALL_DATA) $(top_srcdir)/conf/gatewayd.conf \
	'$(DESTDIR)$(sysconfdir)/gatewayd/gatewayd.conf'
uninstall-local:
	rm -f '$(DESTDIR)$(sysusersdir)/gatewayd.conf'
	cmp -s $(top_srcdir)/conf/gatewayd.conf \
	'$(DESTDIR)$(sysconfdir)/gatewayd/gatewayd.conf' && rm -f \
	'$(DESTDIR)$(sysconfdir)/gatewayd/gatewayd.conf' || :
	rmdir '$(DESTDIR)$(sysconfdir)/gatewayd/conf.d' \
	'$(DESTDIR)$(sysconfdir)/gatewayd' 2>/dev/null || :

daemon_scripts = tests/test-daemon-args.sh tests/test-daemon-control.sh \
	tests/test-daemon-service.sh tests/test-daemon-reload.sh \
	tests/test-daemon-activate.sh tests/test-daemon-caps.sh \
	tests/test-daemon-advice.sh tests/test-daemon-owners.sh \
	tests/test-daemon-rows.sh tests/test-daemon-unit.sh \
	tests/test-daemon-verbs.sh
TESTS += $(daemon_scripts)
EXTRA_DIST += $(daemon_scripts)
check_PROGRAMS += tests/launch
tests_launch_SOURCES = tests/launch.c

# The pieces of statistics, alone.
check_PROGRAMS += tests/test-stats
TESTS += tests/test-stats
tests_test_stats_SOURCES = tests/test-stats.c tests/tap.h gatewayd/clock.c \
	gatewayd/hist.c gatewayd/opstats.c gatewayd/lines.c gatewayd/json.c
tests_test_stats_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS)
tests_test_stats_LDADD = fuse/libfuse.a $(CASEFOLD_LIBS) $(LIBEVENT_LIBS)
