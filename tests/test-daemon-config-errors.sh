#!/bin/sh
# SPDX-License-Identifier: MIT
# Configurations and sockets that cannot be had: exit status, message, and
# that one share which cannot be served keeps no other from it.
. "${top_srcdir:-.}/tests/functions.sh"
LOG_ERRORS_EXPECTED=yes

mkdir "$tmp/dir"
conf=$tmp/test.conf

# config TEXT: with the sockets in this test's directory.
config() {
	printf '[gateway]\nsocket_dir = %s\ncontrol_socket = %s/ctl\n%b' \
		"$run" "$run" "$1" >"$conf"
}

# status STATUS WORDS ARGS...: the daemon ends with STATUS.
status() {
	status_want=$1 status_words=$2
	shift 2
	timeout 20 "$GATEWAYD" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	is "$status_words" "$?" "$status_want" || note "$(cat "$tmp/err")"
}

says() {
	check "$1" grep -q -- "$2" "$tmp/err" || note "$(head -5 "$tmp/err")"
}

share="[one]\npath = $tmp/dir\n"

config "$share"
awk 'BEGIN { for (i = 0; i < 16384; i++)
	printf "# %061d\n", i }' >>"$conf"
status 0 "1 MiB of comments is fine" -t -c "$conf"
config "$share"
awk 'BEGIN { for (i = 0; i < 64; i++) printf "comment = %020000d\n", i
	}' >>"$conf"
status 78 "1 MiB of lines too long" -c "$conf"
says "the first has file and line" "^$conf:6: error: "
config "$share"
head -c 17000000 /dev/zero | tr '\0' '#' >>"$conf"
status 78 "16 MiB are too many" -c "$conf"
config "${share}comment = a\0000b\n"
status 78 "a NUL" -c "$conf"
says "it has file and line" "^$conf:6: error: "
config "$share"
sed 's/$/\r/' "$conf" >"$tmp/crlf.conf"
status 0 "CRLF is fine" -t -c "$tmp/crlf.conf"
head -c 100000 /dev/urandom >"$tmp/random.conf"
status 78 "random bytes" -c "$tmp/random.conf"
check "no control bytes reach the terminal" \
	test -z "$(LC_ALL=C tr -d '[:print:]\n\t\200-\377' <"$tmp/err")"

long=$(printf '%0120d' 0)
config "${share}[two]\npath = $tmp/dir\nsocket = $run/$long\n"
status 78 "a socket path of more than 107 bytes" -c "$conf"
says "is told with its line" "^$conf:8: error: \[two\] socket: "
config "${share}[two]\npath = $tmp/dir\nsocket = relative\n"
status 78 "a relative socket path" -c "$conf"
config "${share}[two]\npath = $tmp/dir\nsocket = $run/one.sock\n"
status 78 "two shares with one socket" -c "$conf"
config "${share}[two]\npath = $tmp/dir\nsocket = $tmp/dir/in.sock\n"
status 78 "a socket within a share" -c "$conf"
config "${share}[two]\\npath = $tmp/dir\\nsocket = $tmp/none/a.sock\\n"
status 78 "a socket in a directory that is missing" -c "$conf"
says "is told with its line" "^$conf:8: error: \\[two\\] socket: $tmp/none"
config "${share}[two]\\npath = $tmp/dir\\nsocket = $conf/a.sock\\n"
status 78 "a socket below a file" -c "$conf"

# What shows only when it starts: that share fails, the other is served.
start_gatewayd "one:$tmp/dir"
first=$GATEWAYD_PID
is "one daemon listens" "$(ctl read shares/one/status |
	sed -n 's/^state //p')" listening
printf '[gateway]\nsocket_dir = %s\ncontrol_socket = %s/ctl\n' \
	"$run" "$run" >"$conf"
status 1 "its control socket is not taken away" -c "$conf" \
	--share "one:$tmp/dir"
says "the message says why" "$run/ctl: another process listens"
check "the first goes on" ctl read version

mkdir "$run/2"
: >"$run/file"
printf '[gateway]\nsocket_dir = %s\ncontrol_socket = %s/ctl\n' \
	"$run/2" "$run/2" >"$conf"
cat >>"$conf" <<END
[used]
path = $tmp/dir
socket = $run/one.sock
[file]
path = $tmp/dir
socket = $run/file
[fine]
path = $tmp/dir
END
mkfifo "$run/2/ready"
# shellcheck disable=SC2086 # two words or none
$dies_with_us "$GATEWAYD" -c "$conf" --ready-fd 7 7>"$run/2/ready" \
	2>"$tmp/err" </dev/null &
second=$!
at_exit "kill -KILL $second 2>/dev/null"
check "a second daemon gets ready" test -n "$(timeout 20 head -c 1 \
	"$run/2/ready" | od -An -tx1)"
state() {
	"$GATEWAYCTL" -s "$run/2/ctl" read "shares/$1/status" |
		sed -n 's/^state //p'
}
is "a socket in use: the share fails" "$(state used)" failed
is "a file in its place: the share fails" "$(state file)" failed
is "the rest is served" "$(state fine)" listening
says "the log tells of the first" \
	"used: not served: socket $run/one.sock: another process listens"
says "of the second" "file: not served: socket $run/file: there is a file"
check "the file is still there" test -f "$run/file"
kill -TERM $second
check "it stops" wait_pid $second 15
GATEWAYD_PID=$first
check "the first one's socket is still there" test -S "$run/one.sock"
finish
