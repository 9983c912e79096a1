#!/bin/sh
# SPDX-License-Identifier: MIT
# The control socket: verbs, replies, half-closed clients, bad input.
. "${top_srcdir:-.}/tests/functions.sh"
requires socat

mkdir "$tmp/one" "$tmp/two"
start_gatewayd "one:$tmp/one" "my share:$tmp/two"

# raw TEXT: what the socket answers to these bytes.
raw() {
	printf '%b' "$1" | timeout 10 socat -t 5 - "UNIX-CONNECT:$run/ctl"
}

is "ls /" "$(ctl ls / | sort | tr '\n' ' ')" \
	"config ctl log metrics shares/ stats stats.json version "
is "ls shares: a tag is encoded" "$(ctl ls shares | tr '\n' ' ')" "one/ my%20share/ "
is "ls of a share" "$(ctl ls shares/one | sort | tr '\n' ' ')" \
	"casefold clients config ctl handles inflight ops state state.db stats stats.json status trace "
is "status of a share" \
	"$(ctl read 'shares/my%20share/status' | sed -n 's/^path //p')" "$tmp/two"
is "state is listening" \
	"$(ctl read shares/one/status | sed -n 's/^state //p')" listening
is "a reply counts its bytes" "$(raw 'read version\n' | head -1)" \
	"ok $(raw 'read version\n' | tail -n +2 | wc -c)"
is "several requests on one connection" \
	"$(raw 'read version\nread version\nnonsense\n' | grep -cE '^(ok|error)')" 3
is "a last line without a newline is answered" \
	"$(raw 'read version' | grep -c '^ok')" 1
is "CRLF is fine" "$(raw 'read version\r\n' | grep -c '^ok')" 1
is "an unknown verb" "$(raw 'frobnicate x\n' | cut -d' ' -f1,2)" "error EINVAL"
is "an unknown file" "$(raw 'read nothing\n' | cut -d' ' -f1,2)" "error ENOENT"
is "an unknown share is named" "$(raw 'read shares/none/stats\n')" \
	'error ENOENT no share "none"'
is "a file that cannot be written" \
	"$(raw 'write version x\n' | cut -d' ' -f1,2)" "error EACCES"
is "an unknown word" "$(raw 'write ctl dance\n' | cut -d' ' -f1,2)" \
	"error EINVAL"
is "binary rubbish" "$(raw 'read \001\002\n' | cut -d' ' -f1,2)" "error EINVAL"
is "a line of 1 MiB" \
	"$(head -c 1048576 /dev/zero | tr '\0' x |
		timeout 10 socat -t 5 - "UNIX-CONNECT:$run/ctl" | cut -d' ' -f1,2)" \
	"error EMSGSIZE"
is "everything arrives though the client half-closed" \
	"$(awk 'BEGIN { for (i = 0; i < 2000; i++) print "read config" }' |
		timeout 20 socat -t 10 - "UNIX-CONNECT:$run/ctl" | grep -c '^ok')" 2000

check "config of a share reads back" sh -c \
	"'$GATEWAYCTL' -s '$run/ctl' read config >'$tmp/c.conf' &&
	 '$GATEWAYD' -t -c '$tmp/c.conf'"

# Many clients, some of which never read.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	awk 'BEGIN { for (i = 0; i < 20000; i++) print "read config" }' |
		timeout 5 socat -u - "UNIX-CONNECT:$run/ctl" 2>/dev/null &
done
is "clients that do not read hold up nobody" \
	"$(timeout 3 "$GATEWAYCTL" -s "$run/ctl" read version | cut -d' ' -f1)" \
	gatewayd

timeout 3 "$GATEWAYCTL" -s "$run/ctl" watch stats >"$tmp/watch"
check "watch prints the file and goes on" grep -q '^uptime_seconds' "$tmp/watch"

check "shutdown" ctl write ctl shutdown
check "it ends" wait_pid "$GATEWAYD_PID" 10
wait "$GATEWAYD_PID"
is "with status 0" "$?" 0
GATEWAYD_PID=
check "the write was logged" grep -q 'write ctl shutdown: done uid=' "$log"
is "the sockets are gone" "$(find "$run" -type s)" ""
finish
