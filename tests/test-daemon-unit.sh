#!/bin/sh
# SPDX-License-Identifier: MIT
# The systemd units: known keys, what they name exists, how much is shut off.
. "${top_srcdir:-.}/tests/functions.sh"
requires systemd-analyze

# As they are, but for the programs, which have not been installed.
units=$tmp/units
mkdir "$units"
abs=$(cd "$top_builddir" && pwd)
sed -e "s|^ExecStart=[^ ]*|ExecStart=$abs/gatewayd/gatewayd|" \
	-e "s|^ExecReload=[^ ]*|ExecReload=$abs/gatewayd/gatewayctl|" \
	"$top_builddir/conf/gatewayd.service" >"$units/gatewayd.service"
cp "$top_srcdir/conf/gatewayd-ctl.socket" "$units"
cp "$top_srcdir/conf/gatewayd@.socket" "$units/gatewayd@.socket"
for example in mknod sys-admin; do
	mkdir -p "$units/$example/gatewayd.service.d"
	cp "$units/gatewayd.service" "$units/$example"
	cp "$top_srcdir/conf/examples/$example.conf" \
		"$units/$example/gatewayd.service.d"
done

# verify UNIT
verify() {
	SYSTEMD_UNIT_PATH="$(dirname "$1"):" \
		systemd-analyze verify --man=no "$1" 2>"$tmp/said" || return
	[ ! -s "$tmp/said" ]
}

# 25 for an exposure of 2.5
exposure() {
	SYSTEMD_UNIT_PATH="$(dirname "$1"):" systemd-analyze security \
		--offline=true --no-pager "$1" 2>/dev/null |
		sed -n 's/.*exposure level for .*: \([0-9]*\)\.\([0-9]\) .*/\1\2/p'
}

systemd-analyze verify --man=no "$units/gatewayd-ctl.socket" \
	>/dev/null 2>"$tmp/said"
! grep -q 'unrecognized option\|Failed to' "$tmp/said" ||
	skip_all "this systemd-analyze cannot verify here: $(head -n 1 "$tmp/said")"

for unit in gatewayd.service gatewayd-ctl.socket gatewayd@one.socket \
	mknod/gatewayd.service sys-admin/gatewayd.service; do
	verify "$units/$unit"
	is "verify: $unit" "$?$(cat "$tmp/said")" 0
done

# limit UNIT TENTHS
limit() {
	got=$(exposure "$units/$1")
	note "exposure of $1: $got tenths"
	check "exposure of $1: at most $2 tenths" \
		test "${got:-1000}" -le "$2"
}

if systemd-analyze security --help 2>&1 | grep -q -e --offline; then
	limit gatewayd.service 30
	limit mknod/gatewayd.service 35
	limit sys-admin/gatewayd.service 35
else
	skip "exposure" "systemd-analyze is too old"
fi
finish
