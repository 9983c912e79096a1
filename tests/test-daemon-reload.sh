#!/bin/sh
# SPDX-License-Identifier: MIT
# A new configuration onto the running daemon: all or nothing, nothing that
# has not changed is touched, and whoever asks is told.
. "${top_srcdir:-.}/tests/functions.sh"

mkdir "$tmp/one" "$tmp/two" "$tmp/three"
conf=$run/conf.d/shares.conf
cat >"$conf" <<END
[one]
path = $tmp/one
[two]
path = $tmp/two
END
LOG_ERRORS_EXPECTED=yes
start_gatewayd

inode() {
	stat -c %i "$run/$1.sock" 2>/dev/null
}

field() {
	ctl read "shares/$1/$2" | sed -n "s/^$3 //p"
}

one=$(inode one)
is "nothing has changed, nothing is said" "$(ctl write ctl reload)" ""

cat >>"$conf" <<END
[three]
path = $tmp/three
END
is "dry-run says what would change" "$(ctl write ctl reload dry-run)" \
	"three: added"
is "and changes nothing" "$(ctl ls shares | sort | tr -d '\n')" "one/two/"
is "a share is added" "$(ctl write ctl reload)" "three: added"
is "it listens" "$(field three status state)" listening
is "the others are not touched" "$(inode one)" "$one"

sed -i '/^.two/,/^path/d' "$conf"
is "a share is removed" "$(ctl write ctl reload)" "two: removed"
is "its socket is gone" "$(inode two)" ""
is "its files are gone" "$(ctl read shares/two/status 2>&1)" \
	'gatewayctl: no share "two"'

sed -i '/^.three/a readonly = yes' "$conf"
is "a live key" "$(ctl write ctl reload)" "three: readonly: changed, at once"
check "takes effect" sh -c "'$GATEWAYCTL' -s '$run/ctl' \
	read shares/three/config | grep -qx 'readonly = yes'"

sed -i '/^.one/a max_write = 64K' "$conf"
is "a key for the next connection" "$(ctl write ctl reload)" \
	"one: max_write: changed, for guests that connect from now on"
is "it still listens at its place" "$(field one status state)" listening

sed -i "/^.three/a socket = $run/other.sock" "$conf"
is "another socket" "$(ctl write ctl reload)" "three: socket: changed, at once"
check "it is there" test -S "$run/other.sock"
is "the old one is gone" "$(inode three)" ""

sed -i '/^.one/a enabled = no' "$conf"
ctl write ctl reload >/dev/null
is "a share can be disabled" "$(field one status state)" disabled
is "and does not listen" "$(inode one)" ""
sed -i '/^enabled/d' "$conf"
ctl write ctl reload >/dev/null
is "and enabled again" "$(field one status state)" listening

# Mistakes: every message arrives, nothing changes.
one=$(inode one)
before=$(ctl read config)
cat >>"$conf" <<END
reedonly = no
[four]
path = $tmp/none
END
ctl write ctl reload >"$tmp/out" 2>&1
is "mistakes are refused" "$?" 1
check "the first is named" grep -q "reedonly" "$tmp/out"
check "the second is named" grep -q "$tmp/none" "$tmp/out"
is "nothing has changed" "$(ctl read config)" "$before"
is "no socket was touched" "$(inode one)" "$one"
sed -i '/^reedonly/,$d' "$conf"

# The configuration is right but the host is not: still all or nothing.
: >"$run/five.sock"
cat >>"$conf" <<END
[four]
path = $tmp/two
[five]
path = $tmp/two
END
ctl write ctl reload >"$tmp/out" 2>&1
is "a socket that cannot be had is refused" "$?" 1
check "it is named" grep -q "five.sock" "$tmp/out"
is "the share beside it was not added" "$(ctl ls shares | sort | tr -d '\n')" \
	"one/three/"
is "and left no socket" "$(inode four)" ""
rm "$run/five.sock"

check "SIGHUP reloads too" kill -HUP "$GATEWAYD_PID"
tries=100
until [ -n "$(inode five)" ] || [ "$tries" -eq 0 ]; do
	tries=$((tries - 1))
	sleep 0.05
done
is "and adds the two" "$(ctl ls shares | sort | tr -d '\n')" \
	"five/four/one/three/"

sed -i '/^.gateway/a thread_pool_size = 7' "$run/gatewayd.conf"
is "a key for the next start" "$(ctl write ctl reload)" \
	"[gateway]: thread_pool_size: changed, at the next start"
finish
