#!/bin/sh
# SPDX-License-Identifier: MIT
# The command line of the daemon: exit statuses, messages, --share without a
# file, a configuration with no share.
. "${top_srcdir:-.}/tests/functions.sh"

# status STATUS WORDS ARGS...: the daemon ends with STATUS.
status() {
	status_want=$1 status_words=$2
	shift 2
	timeout 20 "$GATEWAYD" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	is "$status_words" "$?" "$status_want"
}

says() {
	check "$1" grep -qF -- "$2" "$tmp/err"
}

status 0 "--version" --version
is "--version is one line" "$(wc -l <"$tmp/out")" 1
status 0 "--help" --help
is "--help fits 80 columns" "$(awk 'length > 80' "$tmp/out")" ""
status 2 "an unknown option is a usage error" --no-such-option
status 2 "an argument too many is a usage error" extra
says "and it is quoted" '"extra"'
status 2 "--ready-fd wants an open descriptor" --ready-fd 99

mkdir "$tmp/dir"
: >"$tmp/file"
status 78 "a directory that does not exist" -t --share "a:$tmp/none"
says "it is named" "$tmp/none"
status 78 "a file instead of a directory" -t --share "a:$tmp/file"
status 78 "an empty tag" -t --share ":$tmp/dir"
status 78 "a tag of 37 bytes" -t \
	--share "1234567890123456789012345678901234567:$tmp/dir"
status 78 "a tag twice" -t --share "a:$tmp/dir" --share "a:$tmp"
status 78 "a file that was named must exist" -t -c "$tmp/none.conf"

cat >"$tmp/bad.conf" <<END
[gateway]
control_socket = $tmp/ctl
socket_dir = $tmp
[one]
path = $tmp/none
reedonly = yes
[two]
readonly = perhaps
END
status 78 "mistakes end it before it starts" -c "$tmp/bad.conf"
check "the first mistake has file and line" \
	grep -q "^$tmp/bad.conf:5: error: \[one\] path: " "$tmp/err"
check "an unknown key gets a suggestion" \
	grep -q "^$tmp/bad.conf:6: error: \[one\] reedonly: .*readonly" "$tmp/err"
check "the other share's mistakes are reported too" \
	grep -q "^$tmp/bad.conf:8: error: \[two\] readonly: " "$tmp/err"

start_gatewayd
is "no share: it waits" "$(ctl read stats | awk '$1 == "shares" { print $2 }')" 0
finish
