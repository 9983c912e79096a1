# gatewayctl: the client of the control socket, and the mount on this host.

bin_PROGRAMS += gatewayd/gatewayctl
gatewayd_gatewayctl_SOURCES = \
	gatewayd/gatewayctl.c \
	gatewayd/ctlclient.c gatewayd/ctlclient.h \
	gatewayd/mount.c gatewayd/mount.h \
	gatewayd/bridge.c gatewayd/bridge.h
gatewayd_gatewayctl_LDADD = vhost/libvhost.a
