# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# A real Linux guest whose share's storage hangs: the virtual machine is
# stopped for longer than its rings wait, continued, and the guest's request,
# which was under way all the time, is answered when the storage goes on: once
# while the machine runs again, once while it is stopped.

. "${top_srcdir:-.}/tests/functions.sh"
. "$top_srcdir/tests/system/vm.sh"

requires_root
requires_fuse
requires socat
vm_needs || skip_all "$vm_why"
vm_kernel || skip_all "$vm_why"

vm_words >"$tmp/test.sh"
cat >>"$tmp/test.sh" <<'GUEST'
mkdir /slow /fast
mount -t virtiofs slow /slow || say "bad: mount slow"
mount -t virtiofs fast /fast || say "bad: mount fast"
for round in 1 2; do
	say "reading $round"
	# Round after round, until one of them hangs and then goes on.
	while [ ! -e /fast/stalled-$round ]; do
		cat /slow/f$round | wc -c >/tmp/count
	done
	[ "$(cat /slow/f$round | wc -c)" = 65536 ] &&
		say "good: reading in round $round" ||
		say "bad: reading in round $round"
done
GUEST

give_up() {
	note "$(vm_output | tail -n 40)"
	note "$(tail -n 20 "$log")"
	bail "$vm_why"
}

# said WORD N: stallfs, told what to do by a fifo, has done it N times.
said() {
	stall_n=0
	until [ "$(grep -c "$1" "$tmp/stall.out")" -ge "$2" ]; do
		stall_n=$((stall_n + 1))
		[ "$stall_n" -lt 1200 ] || bail "stallfs has not $1"
		sleep 0.05
	done
}

qmp() {
	printf '{"execute":"qmp_capabilities"}\n{"execute":"%s"}\n' "$1" |
		timeout 60 socat -t 30 - "UNIX-CONNECT:$tmp/qmp" |
		grep -c '"return"'
}

stopped_queue() {
	grep -c "slow: .* stopped with requests outstanding" "$log"
}

# wait_until SECONDS COMMAND...
wait_until() {
	wait_n=$(($1 * 10))
	shift
	until "$@"; do
		wait_n=$((wait_n - 1))
		[ "$wait_n" -gt 0 ] || return 1
		sleep 0.1
	done
}

idle() {
	[ -z "$(ctl read shares/slow/inflight)" ]
}

mkdir "$tmp/slow" "$tmp/fast"
mkfifo "$tmp/stall.in"
: >"$tmp/stall.out"
"$top_builddir/tests/system/stallfs" "$tmp/slow" \
	<"$tmp/stall.in" >"$tmp/stall.out" &
stall_pid=$!
exec 9>"$tmp/stall.in"
# shellcheck disable=SC2317 # called at the end
end_stallfs() {
	exec 9>&-
	wait "$stall_pid" 2>/dev/null
}
at_exit end_stallfs
said mounted 1
start_gatewayd "slow:$tmp/slow" "fast:$tmp/fast"

vm_initrd "$tmp/initrd" "$tmp/test.sh" || bail "$vm_why"
at_exit vm_stop
vm_start "$tmp/console" "$tmp/initrd" "slow=$(sock slow)" \
	"fast=$(sock fast)" -- -qmp "unix:$tmp/qmp,server=on,wait=off"
for round in 1 2; do
	vm_wait "VM: reading $round" 120 || give_up
	echo stall >&9
	said stalled "$round"
	: >"$tmp/fast/stalled-$round"
	is "round $round: the machine is stopped" "$(qmp stop)" 2
	if [ "$round" -eq 2 ]; then
		echo release >&9
		said released "$round"
		check "round 2: the storage goes on while it is stopped" \
			wait_until 60 idle
	fi
	is "round $round: the machine is continued" "$(qmp cont)" 2
	if [ "$round" -eq 1 ]; then
		echo release >&9
		said released "$round"
	fi
	vm_wait "VM: \(good\|bad\): reading in round $round" 120 || give_up
done
vm_wait_end 60 || give_up
vm_report
check "rings stopped though requests were outstanding" \
	[ "$(stopped_queue)" -ge 1 ]
is "the guest ran every check" "$(wc -l <"$tmp/results")" 2
check "the daemon is still there" kill -0 "$GATEWAYD_PID"
finish
