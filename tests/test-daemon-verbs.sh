#!/bin/sh
# SPDX-License-Identifier: MIT
# The verbs of gatewayctl on a running daemon: what they print, exit statuses.
. "${top_srcdir:-.}/tests/functions.sh"

mkdir "$tmp/one" "$tmp/two"
cat >"$run/conf.d/shares.conf" <<END
[one]
path = $tmp/one
[my share]
path = $tmp/two
socket = $run/a,b'c.sock
END
start_gatewayd

# status STATUS WORDS ARGS...: gatewayctl ends with STATUS.
status() {
	status_want=$1 status_words=$2
	shift 2
	ctl "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	is "$status_words" "$?" "$status_want"
}

says() {
	check "$1" grep -qF -- "$2" "$tmp/${3:-out}"
}

status 0 "status" status
is "status fits 80 columns" "$(awk 'length > 80' "$tmp/out")" ""
status 0 "status of one" status "my share"
says "by its tag" "tag my share"

# ---------------------------------------------------------------- words
status 0 "disable" disable one
is "it prints nothing" "$(cat "$tmp/out" "$tmp/err")" ""
is "the socket is gone" "$(test -e "$(sock one)" || echo gone)" gone
status 0 "enable" enable one
check "the socket is back" test -S "$(sock one)"
status 0 "drain with a time" drain one 5min
status 1 "drain until nonsense" drain one soon
says "the daemon says what is wrong" "is not a time" err
status 0 "enable, again" enable one
status 0 "drop" drop "my share"
status 1 "drop of nobody" drop one 7
says "and who that is" "no session 7" err
status 0 "clear" clear
status 0 "clear of one" clear one
status 1 "a share that is not there" disable none
says "is named" 'no share "none"' err
status 2 "too few arguments" disable
says "the usage" "usage: gatewayctl disable TAG" err
status 2 "too many" clear one two
status 2 "an unknown verb" frobnicate

# ---------------------------------------------------------------- reload
status 0 "reload of the same" reload
is "has nothing to say" "$(cat "$tmp/out")" ""
cp "$run/conf.d/shares.conf" "$tmp/good.conf"
mkdir "$tmp/three"
printf '[three]\npath = %s\n' "$tmp/three" >>"$run/conf.d/shares.conf"
status 0 "reload --dry-run" reload --dry-run
says "tells what would change" "three: added"
is "and does not" "$(test -e "$(sock three)" || echo gone)" gone
status 0 "reload" reload
says "tells what changes" "three: added"
check "and does it" test -S "$(sock three)"
status 2 "reload of what?" reload now
for i in $(seq 200); do
	printf '[bad%s]\npath = %s/none\nreedonly = yes\n' "$i" "$tmp"
done >>"$run/conf.d/shares.conf"
status 1 "reload of a bad file" reload
is "every message, each on a line" "$(grep -c 'error: \[bad' "$tmp/err")" 400
check "with file and line" \
	grep -q "shares.conf:[0-9]*: error: \[bad200\] path: " "$tmp/err"
is "nothing has changed" "$(ctl ls shares | wc -l)" 3
is "stats tell" "$(ctl read stats |
	awk '/^reloads_failed / || /^reload_good / { print $2 }' | tr '\n' ' ')" "1 0 "
cp "$tmp/good.conf" "$run/conf.d/shares.conf"
status 0 "reload of the good one" reload
is "stats tell that, too" \
	"$(ctl read stats | awk '$1 == "reload_good" { print $2 }')" 1
LOG_ERRORS_EXPECTED=yes

# ---------------------------------------------------------------- top
status 0 "top" top -b -n 2 -d 0.1
is "two tables" "$(grep -c '^TAG ' "$tmp/out")" 2
is "with all shares" "$(grep -cE '^(one|my share) ' "$tmp/out")" 4
is "of 80 columns" "$(awk 'length > 80' "$tmp/out")" ""
is "no escape sequences" "$(tr -d '\n -~' <"$tmp/out")" ""
status 0 "top of one" top -b -n 1 -d 0.1 one
says "its columns" "OPERATION"
status 1 "top of none" top -b -n 1 none
status 2 "top for how long?" top -d never
status 0 "top -h" top -h
says "the usage of top" "usage: gatewayctl top"

# ---------------------------------------------------------------- to paste
status 0 "libvirt-xml" libvirt-xml one "my share"
if command -v xmllint >/dev/null 2>&1; then
	check "is XML" xmllint --noout "$tmp/out"
fi
says "a tag" "<target dir='my share'/>"
says "a socket, escaped" "<source socket='$run/a,b&apos;c.sock'/>"
status 0 "qemu-args" qemu-args --mem 2G one "my share"
says "memory" "memory-backend-memfd,id=gwmem,size=2G,share=on"
eval "set -- $(tr '\n' ' ' <"$tmp/out")"
is "words for a shell" "$#" 14
is "QEMU wants commas twice" "${12}" \
	"socket,id=gw1,path=$run/a,,b'c.sock"
is "a tag is one word" "${14##*,}" "tag=my share"
status 0 "guest-cmds" guest-cmds one "my share"
says "mount" "mount -t virtiofs one /mnt/one"
says "mount of an odd tag" "mount -t virtiofs 'my share' '/mnt/my share'"
says "fstab" '# my\040share /mnt/my\040share virtiofs '
status 0 "guest-cmds --windows" guest-cmds --windows one
says "the launcher" 'start virtiofs "gateway1" "one" V:'
is "lines end as Windows wants" "$(grep -vc "$(printf '\r')\$" "$tmp/out")" 0
status 1 "of a share that is not there" guest-cmds none
status 2 "of none" guest-cmds --windows
status 2 "qemu-args of none" qemu-args --mem 1G

# ---------------------------------------------------------------- who may
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null 2>&1; then
	chmod 755 "$run"
	chmod 666 "$run/ctl"
	cp "$GATEWAYCTL" "$tmp/gatewayctl"
	as_nobody() {
		setpriv --reuid 65534 --regid 65534 --clear-groups \
			"$tmp/gatewayctl" -s "$run/ctl" "$@" \
			>"$tmp/out" 2>"$tmp/err"
	}
	as_nobody read stats
	is "another user may read" "$?" 0
	as_nobody disable one
	is "and not write" "$?" 4
	says "why" "may read only" err
	chmod 600 "$run/ctl"
	as_nobody read stats
	is "nor read where the socket's mode does not let him" "$?" 4
fi
ctl write ctl shutdown
wait_pid "$GATEWAYD_PID" 10
GATEWAYD_PID=
status 3 "no daemon" status
says "says so" "no gatewayd at" err
finish
