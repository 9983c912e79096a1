# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# What the shell tests share.  A test reads this file first:
#
#	. "${top_srcdir:-.}/tests/functions.sh"
#	requires_root
#	requires fio
#	start_gatewayd "one:$tmp/one"
#	check "the file is there" test -f "$tmp/one/file"
#	finish
#
# It prints TAP.  $tmp is a directory of its own that goes away with the test,
# and so does every process that it started here.  A test that cannot run here
# ends with status 77 and says what it lacks.

: "${top_srcdir:=.}" "${top_builddir:=.}" "${SCALE:=1}"
: "${GATEWAYD:=$top_builddir/gatewayd/gatewayd}"
: "${GATEWAYCTL:=$top_builddir/gatewayd/gatewayctl}"

tap_count=0
tap_failed=0
cleanup_list=
mounts=
running=no
tmp=

# ---------------------------------------------------------------- TAP

note() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

ok() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "$1"
}

# not_ok WORDS [WHY]
not_ok() {
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$1"
	[ -z "${2-}" ] || note "$2"
}

skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

# check WORDS COMMAND...: the command must succeed; what it says is shown if not.
check() {
	check_words=$1
	shift
	if "$@" >"$tmp/check.out" 2>&1; then
		ok "$check_words"
	else
		not_ok "$check_words" "status $? of: $*"
		tail -n 40 "$tmp/check.out" | sed 's/^/# /'
		return 1
	fi
}

# is WORDS GOT WANT
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "got  '$2'"
		note "want '$3'"
		return 1
	fi
}

skip_all() {
	printf '1..0 # SKIP %s\n' "$1"
	exit "${TAP_SKIP_STATUS-77}"	# make check reads the plan instead
}

# The test cannot go on; what ran so far counts, the rest has failed.
bail() {
	not_ok "went on to the end" "$1"
	finish
}

# Stop what runs, print the plan, end the test.
finish() {
	unmount_all
	[ -z "${GATEWAYD_PID-}" ] || stop_gatewayd
	printf '1..%d\n' "$tap_count"
	[ "$tap_failed" -eq 0 ]
	exit
}

# ---------------------------------------------------------------- needs

requires() {
	for requires_cmd; do
		command -v "$requires_cmd" >/dev/null 2>&1 ||
			skip_all "$requires_cmd is not installed"
	done
}

requires_root() {
	[ "$(id -u)" -eq 0 ] || skip_all "needs root"
}

requires_fuse() {
	[ -c /dev/fuse ] || modprobe fuse 2>/dev/null
	# shellcheck disable=SC2188 # opening it is all that is wanted
	(: <>/dev/fuse) 2>/dev/null || skip_all "/dev/fuse cannot be opened"
}

# The kernel's caches are everybody's: what one test drops another may count on.
# Those that drop them run at the same time, but not with those that do not
# want that.  No longer than 3 minutes is waited for.
caches() {
	command -v flock >/dev/null 2>&1 || return 0
	exec 4>>/tmp/gatewayd-test-caches.lock
	flock -w 180 "$1" 4 || note "another test drops or wants caches"
}

drops_caches() {
	caches -s
}

wants_caches() {
	caches -x
}

# scaled N: N times SCALE, at least 1.
scaled() {
	awk -v n="$1" -v s="$SCALE" 'BEGIN {
		n = int(n * (s > 0 ? s : 1)); print(n > 0 ? n : 1) }'
}

# ---------------------------------------------------------------- cleaning up

# at_exit COMMAND: run at the end, the last one first, however the test ends.
at_exit() {
	cleanup_list="$1
$cleanup_list"
}

run_cleanup() {
	trap - EXIT
	eval "$cleanup_list"
	[ -z "$tmp" ] || rm -rf "$tmp"
}

trap run_cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

tmp=$(mktemp -d "${TMPDIR:-/tmp}/gatewayd-test-XXXXXX") ||
	skip_all "no directory for temporary files"
chmod 755 "$tmp"

# Where processes started here shall not outlive a test that was killed.
if command -v setpriv >/dev/null 2>&1 && setpriv --pdeathsig KILL true 2>/dev/null
then
	dies_with_us='setpriv --pdeathsig KILL'
else
	dies_with_us=
fi

# wait_pid PID SECONDS: wait until the process is gone; fails if it stays.
wait_pid() {
	timeout "$2" tail -s 0.1 -f --pid="$1" /dev/null
}

# ---------------------------------------------------------------- the daemon
#
# One gatewayd in $run with its own control socket.  GATEWAYD_PID is its
# process, $log what it said.  Keys for [gateway] or more sections may be
# written to $run/conf.d/NAME.conf before the start.

run=$tmp/run
log=$run/log
mkdir -p "$run/conf.d"

sock() {
	printf '%s\n' "$run/$1.sock"
}

# start_gatewayd TAG:PATH...
start_gatewayd() {
	[ -x "$GATEWAYD" ] || bail "$GATEWAYD has not been built"
	{
		echo "[gateway]"
		echo "socket_dir = $run"
		echo "cache_dir = $run/cache"
		echo "state_dir = $run/state"
		echo "control_socket = $run/ctl"
	} >"$run/gatewayd.conf"
	for start_share; do
		shift
		set -- "$@" --share "$start_share"
	done
	rm -f "$run/ready"
	mkfifo "$run/ready"
	# shellcheck disable=SC2086 # two words or none
	$dies_with_us "$GATEWAYD" -c "$run/gatewayd.conf" --ready-fd 7 "$@" \
		7>"$run/ready" >"$log" 2>&1 </dev/null &
	GATEWAYD_PID=$!
	if [ "$running" = no ]; then
		running=yes
		at_exit 'kill_gatewayd'
	fi
	if [ -z "$(timeout 20 head -c 1 "$run/ready" | od -An -tx1)" ]; then
		kill_gatewayd
		note "$(tail -n 40 "$log")"
		bail "gatewayd did not get ready"
	fi
}

kill_gatewayd() {
	[ -n "${GATEWAYD_PID-}" ] || return 0
	kill -KILL "$GATEWAYD_PID" 2>/dev/null
	wait "$GATEWAYD_PID" 2>/dev/null
	GATEWAYD_PID=
}

# Lines that a healthy daemon never logs: level error, sanitizer reports.
bad_log_lines() {
	grep -E '^<[0-3]>|^gatewayd: error: |(ERROR|WARNING): [A-Za-z]*Sanitizer|runtime error:|Assertion' \
		"$log"
}

# stop_gatewayd: two test points, that SIGTERM ends it in time and with
# status 0, and that its log is clean.
stop_gatewayd() {
	stop_status=0
	kill -TERM "$GATEWAYD_PID" 2>/dev/null
	if wait_pid "$GATEWAYD_PID" 60; then
		wait "$GATEWAYD_PID" || stop_status=$?
		GATEWAYD_PID=
		is "gatewayd stops when asked, with status 0" "$stop_status" 0 ||
			note "$(tail -n 20 "$log")"
	else
		not_ok "gatewayd stops when asked" "still there after 60 s"
		note "$(tail -n 20 "$log")"
		kill_gatewayd
	fi
	if [ -n "${LOG_ERRORS_EXPECTED-}" ]; then
		:
	elif stop_bad=$(bad_log_lines); then
		not_ok "gatewayd logged no error" "$stop_bad"
	else
		ok "gatewayd logged no error"
	fi
}

# ctl VERB...: gatewayctl on the control socket of this test's daemon.
ctl() {
	"$GATEWAYCTL" -s "$run/ctl" "$@"
}

# mount_share TAG DIR: as a user does with gatewayctl mount.
mount_share() {
	mkdir -p "$2"
	[ -n "$mounts" ] || at_exit unmount_all
	mounts="$2 $mounts"
	# shellcheck disable=SC2086
	$dies_with_us "$GATEWAYCTL" mount -f --socket "$(sock "$1")" "$2" \
		>"$run/mount-$1.log" 2>&1 </dev/null &
	mount_pid=$!
	mount_tries=100
	until mountpoint -q "$2"; do
		mount_tries=$((mount_tries - 1))
		if [ "$mount_tries" -eq 0 ] || ! kill -0 "$mount_pid"; then
			note "$(tail -n 20 "$run/mount-$1.log")"
			note "$(tail -n 20 "$log")"
			bail "cannot mount $1"
		fi
		sleep 0.1
	done
	eval "mount_pid_$(printf %s "$2" | cksum | tr -dc 0-9)=$mount_pid"
}

# unmount_share DIR: the mount ends, and so does its client.
unmount_share() {
	check "umount ends the mount" umount "$1" || umount -l "$1"
	eval "mount_pid=\$mount_pid_$(printf %s "$1" | cksum | tr -dc 0-9)"
	check "the mount client has ended" wait_pid "$mount_pid" 60
}

unmount_all() {
	for mount_dir in $mounts; do
		! mountpoint -q "$mount_dir" || unmount_share "$mount_dir"
	done
	mounts=
}
