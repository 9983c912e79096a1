#!/bin/sh
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016,SC2034,SC2094 # for at_exit; stat does not read
#
# The daemon as a service: what it tells systemd, how it logs under the
# journal, how it ends.
. "${top_srcdir:-.}/tests/functions.sh"
requires socat stat

mkdir "$tmp/one"
cat >"$run/gatewayd.conf" <<END
[gateway]
socket_dir = $run
control_socket = $run/ctl
END

# Each datagram becomes lines of $tmp/notify.
socat -u "UNIX-RECV:$tmp/notify.sock" "CREATE:$tmp/notify" &
listener=$!
at_exit "kill $listener 2>/dev/null"
until [ -S "$tmp/notify.sock" ]; do sleep 0.05; done

# Standard error is what JOURNAL_STREAM names: systemd.exec(5).
: >"$log"
mkfifo "$run/ready"
JOURNAL_STREAM=$(stat -c '%d:%i' "$log") NOTIFY_SOCKET=$tmp/notify.sock \
	WATCHDOG_USEC=100000 "$GATEWAYD" -c "$run/gatewayd.conf" --share "one:$tmp/one" \
	--ready-fd 7 7>"$run/ready" 2>"$log" </dev/null &
GATEWAYD_PID=$!
at_exit kill_gatewayd
timeout 20 head -c 1 "$run/ready" >/dev/null

# told WORDS PATTERN: systemd was told, within 5 s.
told() {
	told_tries=100
	until grep -qa "$2" "$tmp/notify"; do
		told_tries=$((told_tries - 1))
		[ "$told_tries" -gt 0 ] || break
		sleep 0.05
	done
	check "$1" grep -qa "$2" "$tmp/notify"
}

told "systemd is told that it is ready" '^READY=1'
told "and how many shares there are" 'STATUS=Serving 1 shares, 0 guests'
told "and, again and again, that the loop runs" 'WATCHDOG=1'

echo 'readonly = maybe' >>"$run/gatewayd.conf"
kill -HUP "$GATEWAYD_PID"
told "a reload begins and ends" 'RELOADING=1'
told "the clock of the reload is told" 'MONOTONIC_USEC=[0-9]'
told "a reload that failed shows in the status" 'STATUS=Reload failed'

kill -TERM "$GATEWAYD_PID"
check "it ends" wait_pid "$GATEWAYD_PID" 10
wait "$GATEWAYD_PID"
is "with status 0" "$?" 0
GATEWAYD_PID=
told "systemd is told that it stops" 'STOPPING=1'
told "and how long that may take" 'EXTEND_TIMEOUT_USEC=15000000'

is "every line has a priority" "$(grep -cv '^<[0-7]>' "$log")" 0
check "a mistake in the configuration is an error" \
	grep -q '^<3>reload: .*gatewayd.conf:4: error: ' "$log"
check "what is normal is information" grep -q '^<6>one: listening' "$log"

# A mistake at the start has its priority too; nobody is to try again.
JOURNAL_STREAM=$(stat -c '%d:%i' "$log") \
	"$GATEWAYD" -c "$run/gatewayd.conf" 2>"$log" </dev/null
is "a bad configuration ends it with status 78" "$?" 78
is "what it said is an error" \
	"$(grep -c '^<3>.*gatewayd.conf:4: error: ' "$log"),$(wc -l <"$log")" 1,1

# watched PID: a daemon in an environment for that process; it is used a bit.
watched() {
	: >"$tmp/notify"
	rm -f "$run/ready"
	mkfifo "$run/ready"
	NOTIFY_SOCKET=$tmp/notify.sock WATCHDOG_USEC=2000 sh -c \
		'WATCHDOG_PID='"$1"' exec "$@"' - "$GATEWAYD" \
		-c "$run/gatewayd.conf" --share "one:$tmp/one" \
		--ready-fd 7 7>"$run/ready" 2>"$log" </dev/null &
	GATEWAYD_PID=$!
	timeout 20 head -c 1 "$run/ready" >/dev/null
	for _ in 1 2 3 4 5 6 7 8 9 10; do ctl read version >/dev/null; done
	kill -TERM "$GATEWAYD_PID"
	wait "$GATEWAYD_PID"
	GATEWAYD_PID=
	told "it has run: $1" 'STOPPING=1'
}

sed -i '/^readonly/d' "$run/gatewayd.conf"
watched '$$'
check "it is this process that is watched" grep -q 'WATCHDOG=1' "$tmp/notify"
watched 1
is "it is another process that is watched" \
	"$(grep -c 'WATCHDOG=1' "$tmp/notify")" 0
finish
