# gatewayd/
