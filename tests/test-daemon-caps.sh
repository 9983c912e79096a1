#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2317 # functions that check calls
#
# Which capabilities the daemon keeps: what serving needs, more or less what
# modcaps says, never more than it was given.
. "${top_srcdir:-.}/tests/functions.sh"
requires_root
requires setpriv

mkdir "$tmp/one"
daemon=$GATEWAYD

# Bits of capabilities(7).
chown=0 fowner=3 mknod=27 sys_admin=21 net_admin=12

# has NUMBER: is it in the permitted set of the daemon?
has() {
	caps=$(sed -n 's/^CapPrm:\t//p' "/proc/$GATEWAYD_PID/status")
	[ $((0x$caps >> $1 & 1)) -eq 1 ]
}

hasnt() {
	! has "$1"
}

for bit in $sys_admin $mknod; do
	caps=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
	[ $((0x$caps >> bit & 1)) -eq 1 ] ||
		skip_all "not all capabilities are ours to give"
done

start_gatewayd "one:$tmp/one"
check "what serving needs is kept" has $chown
check "so is mknod, when it was given" has $mknod
check "nothing else is" hasnt $sys_admin
check "nor that" hasnt $net_admin
stop_gatewayd

printf '[gateway]\nmodcaps = +sys_admin:-mknod:-fowner\n' >"$run/conf.d/caps.conf"
start_gatewayd "one:$tmp/one"
check "modcaps: one more is kept" has $sys_admin
check "modcaps: one is given up" hasnt $mknod
check "modcaps: and one that serving would need" hasnt $fowner
check "modcaps: nothing else is kept" hasnt $net_admin
stop_gatewayd

# As with the CapabilityBoundingSet= of gatewayd.service.
cat >"$tmp/bounded" <<END
#!/bin/sh
exec setpriv --bounding-set -sys_admin,-mknod --inh-caps -sys_admin,-mknod \
	"$daemon" "\$@"
END
chmod 755 "$tmp/bounded"
printf '[gateway]\nmodcaps = +sys_admin\n' >"$run/conf.d/caps.conf"
GATEWAYD=$tmp/bounded
start_gatewayd "one:$tmp/one"
check "what was not given is not kept" hasnt $sys_admin
check "nor is mknod" hasnt $mknod
check "the log says so" grep -q 'warn: modcaps: capability sys_admin was not' "$log"
finish
