# gatewayd/
include $(top_srcdir)/gatewayd/client.mk
