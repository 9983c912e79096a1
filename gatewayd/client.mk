# gatewayctl: the client of the control socket, and the mount on this host.

bin_PROGRAMS += gatewayd/gatewayctl
gatewayd_gatewayctl_SOURCES = \
	gatewayd/gatewayctl.c gatewayd/gatewayctl.h gatewayd/ctlask.c \
	gatewayd/ctlstatus.c gatewayd/ctltop.h gatewayd/ctltop.c gatewayd/ctltable.c \
	gatewayd/ctlkeys.c \
	gatewayd/ctlguest.c \
	gatewayd/ctlmount.c gatewayd/ctlstate.c \
	gatewayd/ctlclient.c gatewayd/ctlclient.h \
	gatewayd/mount.c gatewayd/mount.h \
	gatewayd/mountopt.c gatewayd/mountopt.h \
	gatewayd/bridge.c gatewayd/bridge.h \
	gatewayd/slot.c gatewayd/slot.h
gatewayd_gatewayctl_LDADD = vhost/libvhost.a

dist_man_MANS += man/gatewayctl.1

# What mount(8) runs for "mount -t fuse.gatewayd", and for fstab.
install-exec-hook:
	$(MKDIR_P) '$(DESTDIR)$(sbindir)'
	ln -sf '$(bindir)/gatewayctl' \
		'$(DESTDIR)$(sbindir)/mount.fuse.gatewayd'
uninstall-hook:
	rm -f '$(DESTDIR)$(sbindir)/mount.fuse.gatewayd'
