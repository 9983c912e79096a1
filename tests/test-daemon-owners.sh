#!/bin/sh
# SPDX-License-Identifier: MIT
# The store of owners: one for each tag that records, over reloads; a damaged
# one is kept, and its share served without changes.
. "${top_srcdir:-.}/tests/functions.sh"

mkdir "$tmp/one" "$tmp/two" "$tmp/three"
conf=$run/conf.d/shares.conf
cat >"$conf" <<END
[one]
path = $tmp/one
owners = store
[two]
path = $tmp/two
owners = host
[three]
path = $tmp/three
owners = store
END
mkdir -p "$run/state/three"
echo "this is no database" >"$run/state/three/state.db"
cp "$run/state/three/state.db" "$tmp/before"
LOG_ERRORS_EXPECTED=yes
start_gatewayd

field() {
	ctl read "shares/$1/$2" | sed -n "s/^$3 //p"
}

is "a share that records" "$(field one status owners)" store
is "one that does not" "$(field two status owners)" host
is "nothing is made before there is something to record" \
	"$(find "$run/state" -name 'state*' -path '*one*')" ""
is "it counts" "$(field one stats state_rows)" 0
check "also for OpenMetrics" sh -c "'$GATEWAYCTL' -s '$run/ctl' \
	read metrics | grep -q '^gatewayd_state_rows{.*one.*} 0'"

is "a share whose store is damaged is served" "$(field three status state)" \
	listening
check "the status says that nothing can be changed, and how to go on" \
	sh -c "'$GATEWAYCTL' -s '$run/ctl' read shares/three/status |
		grep -q '^readonly because .*damaged.*sqlite3 state.db'"
check "the log, too" grep -q "three: nothing can be changed.*damaged" "$log"
check "the file is kept as it is" cmp "$tmp/before" "$run/state/three/state.db"

sed -i '/^.one/a max_write = 64K' "$conf"
ctl write ctl reload >/dev/null
is "a new set of settings has the same store" "$(field one status owners)" \
	store
sed -i '/^.one/,/^owners/d' "$conf"
ctl write ctl reload >/dev/null
cat >>"$conf" <<END
[one]
path = $tmp/one
owners = store
END
is "removed and added at once" "$(ctl write ctl reload)" "one: added"
is "it records again" "$(field one status owners)" store
rm "$run/state/three/state.db"
sed -i '/^.three/a max_write = 64K' "$conf"
ctl write ctl reload >/dev/null
is "what was damaged is opened again with new settings" \
	"$(field three status readonly)" ""
finish
