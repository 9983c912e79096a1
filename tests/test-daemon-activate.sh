#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2317 # functions that check calls
#
# Sockets that the service manager made: used by name, kept over reloads,
# their names in the file system never removed.
. "${top_srcdir:-.}/tests/functions.sh"
requires socat

daemon=$GATEWAYD
mkdir "$tmp/one" "$tmp/two" "$tmp/three"

# launched WORD...: start_gatewayd with these sockets, see tests/launch.c.
launched() {
	{
		echo '#!/bin/sh'
		printf 'exec "%s"' "$top_builddir/tests/launch"
		printf ' "%s"' "$@" -- "$daemon"
		# shellcheck disable=SC2016 # for that script
		echo ' "$@"'
	} >"$tmp/launched"
	chmod 755 "$tmp/launched"
	GATEWAYD=$tmp/launched
	start_gatewayd
}

# answers SOCKET: is GET_FEATURES (number 1, version 1, no body) answered?
answers() {
	[ "$(printf '\1\0\0\0\1\0\0\0\0\0\0\0' |
		timeout 5 socat -t 2 - "UNIX-CONNECT:$1" | wc -c)" -eq 20 ]
}

inode() {
	stat -c %i "$1" 2>/dev/null
}

field() {
	ctl read "shares/$1/status" | sed -n "s/^$2 //p"
}

cat >"$run/conf.d/shares.conf" <<END
[one]
path = $tmp/one
socket = $tmp/one.sock
[two]
path = $tmp/two
END
launched "ctl=$run/ctl" "one=$tmp/one.sock" "one=$tmp/again.sock" \
	"nobody=$tmp/nobody.sock"
ctl_inode=$(inode "$run/ctl")
one=$(inode "$tmp/one.sock")

check "the control socket is the one that was given" ctl read version
check "so is the share's" answers "$tmp/one.sock"
check "a share without one has its own" answers "$run/two.sock"
check "a second one of a name is refused" grep -q \
	'warn: socket "one" .* second one' "$log"
check "one of an unknown name is refused" grep -q \
	'warn: socket "nobody" .* no share has that tag' "$log"
if [ -d "/proc/$GATEWAYD_PID/fd" ]; then
	is "and both are closed" "$(for fd in 5 6; do
		readlink "/proc/$GATEWAYD_PID/fd/$fd"; done | grep -c socket)" 0
fi
is "nothing is said about the socket's path" "$(grep -c 'as the service' "$log")" 0

# The share is replaced, its mode changed, it is off, on, gone, back.
sed -i "s|^path = $tmp/one|path = $tmp/three|" "$run/conf.d/shares.conf"
ctl write ctl reload >/dev/null
is "a reload replaces the share" "$(field one path)" "$tmp/three"
check "it listens there still" answers "$tmp/one.sock"
echo 'socket_mode = 0600' >"$tmp/mode"
sed -i '/^\[one\]/r '"$tmp/mode" "$run/conf.d/shares.conf"
mode=$(stat -c %a "$tmp/one.sock")
check "a reload changes keys of the socket" ctl write ctl reload
is "which are not ours to change" "$(stat -c %a "$tmp/one.sock")" "$mode"
sed -i 's/^\[one\]/&\nenabled = no/' "$run/conf.d/shares.conf"
check "a reload switches it off" ctl write ctl reload
is "it is off" "$(field one state)" disabled
sed -i '/^enabled/d' "$run/conf.d/shares.conf"
check "a reload switches it on" ctl write ctl reload
check "it listens there again" answers "$tmp/one.sock"
cp "$run/conf.d/shares.conf" "$tmp/saved"
sed -i '/^\[one\]/,/^\[two\]/{/^\[two\]/!d}' "$run/conf.d/shares.conf"
check "a reload removes it" ctl write ctl reload
is "it is gone" "$(ctl ls shares)" two/
cp "$tmp/saved" "$run/conf.d/shares.conf"
check "a reload brings it back" ctl write ctl reload
check "it listens there once more" answers "$tmp/one.sock"
is "through the very same socket" "$(inode "$tmp/one.sock")" "$one"
stop_gatewayd
is "the share's socket keeps its name" "$(inode "$tmp/one.sock")" "$one"
is "so does the control socket" "$(inode "$run/ctl")" "$ctl_inode"
check "our own has gone" test ! -e "$run/two.sock"

# What is no socket for us is closed; another path than configured is said.
rm "$run/ctl" "$tmp/again.sock"
launched "ctl=-" "two=+" "one=$tmp/again.sock"
is "what is no listening socket is refused" \
	"$(grep -c 'is not a listening unix stream socket' "$log")" 2
check "the control socket is our own" test -S "$run/ctl"
check "the share's too" answers "$run/two.sock"
check "another path than that of the configuration is told" grep -q \
	"warn: one: listening on $tmp/again.sock" "$log"
is "and shown" "$(field one socket)" "$tmp/again.sock"
check "it is used" answers "$tmp/again.sock"
stop_gatewayd

# A variable meant for another process.
rm "$run/ctl" "$tmp/again.sock" 2>/dev/null
LAUNCH_PID=1
export LAUNCH_PID
rm "$tmp/one.sock"
launched "one=$tmp/again.sock"
check "sockets for another process are not touched" answers "$tmp/one.sock"
finish
