# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# A local disk that hangs below a share: READs and WRITEs that wait for it, many
# of them given to one thread of the pool, hold up nobody else, and are answered
# when it goes on.  The disk is an image on a file system that another gatewayd
# serves, which is stopped for a while.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires fio mkfs.ext4 losetup

mkdir "$tmp/below" "$tmp/disk" "$tmp/run2"
truncate -s 200M "$tmp/below/image"
cat >"$run/conf.d/below.conf" <<END
[below]
path = $tmp/below
cache = never
END
start_gatewayd
mount_share below "$tmp/mnt-below"
at_exit 'kill -CONT "$GATEWAYD_PID" 2>/dev/null
	umount -l "$tmp/disk" 2>/dev/null; losetup -d "$loop" 2>/dev/null'
loop=$(losetup --show -f --direct-io=on "$tmp/mnt-below/image") ||
	skip_all "no loop device"
mkfs.ext4 -q "$loop" && mount -o noatime "$loop" "$tmp/disk" ||
	bail "no disk"
mkdir "$tmp/disk/share"
fio --directory="$tmp/disk/share" --name=cold --size=32m --rw=write --bs=4k \
	--verify=crc32c --do_verify=0 --verify_state_save=0 >"$tmp/fio.out" 2>&1 ||
	bail "$(cat "$tmp/fio.out")"
seq 100000 >"$tmp/disk/share/warm"
sync

# The daemon that is tested.
cat >"$tmp/run2/conf" <<END
[gateway]
socket_dir = $tmp/run2
control_socket = $tmp/run2/ctl
state_dir = $tmp/run2/state
cache_dir = $tmp/run2/cache
[hung]
path = $tmp/disk/share
[direct]
path = $tmp/disk/share
allow_direct_io = yes
[other]
path = $tmp/below
END
$dies_with_us "$GATEWAYD" -c "$tmp/run2/conf" >"$tmp/run2/log" 2>&1 &
tested=$!
at_exit 'kill -KILL "$tested" 2>/dev/null'

# attach TAG
attach() {
	mkdir -p "$tmp/guest-$1"
	at_exit "umount -l '$tmp/guest-$1' 2>/dev/null"
	$dies_with_us "$GATEWAYCTL" mount -f --socket "$tmp/run2/$1.sock" \
		"$tmp/guest-$1" >"$tmp/run2/mount-$1.log" 2>&1 </dev/null &
	eval "client_$1=$!"
	check "$1: a guest" timeout 20 sh -c \
		'until mountpoint -q "$1"; do sleep 0.1; done' - \
		"$tmp/guest-$1" || bail "$(cat "$tmp/run2/mount-$1.log")"
}

on_tested() {
	timeout 5 "$GATEWAYCTL" -s "$tmp/run2/ctl" "$@"
}

number() {
	on_tested read "$1" | sed -n "s/^$2 \([0-9]*\).*/\1/p"
}

# waiting TAG WHAT
waiting() {
	on_tested read "shares/$1/inflight" | grep -c "$2"
}

# wait_for N TAG WHAT: until so many of them wait.
wait_for() {
	tries=200
	until [ "$(waiting "$2" "$3")" -ge "$1" ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}

chill() {
	dd if="$tmp/disk/share/cold.0.0" iflag=nocache count=0 status=none
}

# Many at a time, of what is not in memory; fio knows what it has written.
read_cold() {
	chill
	exec fio --directory="$tmp/guest-hung" --name=cold \
		--filename=cold.0.0 --size=32m --rw=randread --bs=4k \
		--ioengine=libaio --direct=1 --iodepth=64 --io_size=4m \
		--verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--output="$tmp/fio.out"
}

tries=100
until on_tested read version >/dev/null 2>&1; do
	tries=$((tries - 1))
	[ "$tries" -gt 0 ] || bail "$(cat "$tmp/run2/log")"
	sleep 0.1
done
attach hung
attach other
sum=$(cksum <"$tmp/disk/share/warm")
is "a file" "$(cksum <"$tmp/guest-hung/warm")" "$sum"
together=$(number shares/hung/stats reads_together)

kill -STOP "$GATEWAYD_PID"
read_cold &
reader=$!
check "READs wait for the disk" wait_for 60 hung READ
is "what is in memory is read" \
	"$(timeout 10 cksum <"$tmp/guest-hung/warm")" "$sum"
check "the other share answers" timeout 10 stat "$tmp/guest-other/image"
check "so does the control socket" on_tested read stats
check "and a reload" on_tested write ctl reload
kill -CONT "$GATEWAYD_PID"
check "then they are answered" wait_pid "$reader" 60
status=0
wait "$reader" || status=$?
is "fio is content" "$status" 0
is "none waits" "$(waiting hung READ)" 0
now=$(number shares/hung/stats reads_together)
if [ "$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null)" = 2 ]; then
	skip "some waited together" "io_uring is not allowed here"
else
	check "some waited together ($together, then $now)" \
		test "$now" -gt "$together"
fi

# The same with WRITEs.
write_direct() {
	exec fio --directory="$tmp/guest-direct" --name=direct \
		--filename=direct --size=16m --rw=randwrite --bs=4k \
		--ioengine=libaio --direct=1 --iodepth=64 --norandommap=0 \
		--verify=crc32c --do_verify=0 --verify_state_save=0 \
		--output="$tmp/fio.out"
}
attach direct
fio --directory="$tmp/disk/share" --name=direct --filename=direct --size=16m \
	--rw=write --bs=1m --output="$tmp/fio.out" && sync ||
	bail "$(cat "$tmp/fio.out")"
kill -STOP "$GATEWAYD_PID"
write_direct &
writer=$!
check "WRITEs wait for the disk" wait_for 60 direct WRITE
check "the other share answers" timeout 10 stat "$tmp/guest-other/image"
check "so does the control socket" on_tested read stats
kill -CONT "$GATEWAYD_PID"
check "then they are answered" wait_pid "$writer" 60
status=0
wait "$writer" || status=$?
is "fio is content" "$status" 0
if [ "$together" -eq "$now" ]; then
	skip "some waited together" "no READs did"
else
	check "some waited together" \
		test "$(number shares/direct/stats writes_together)" -gt 0
fi
check "the disk has what was written" fio --directory="$tmp/disk/share" \
	--name=direct --filename=direct --size=16m --rw=randwrite --bs=4k \
	--verify=crc32c --verify_only --verify_state_save=0 \
	--output="$tmp/fio.out"
umount "$tmp/guest-direct"

# A guest that leaves meanwhile.
kill -STOP "$GATEWAYD_PID"
read_cold 2>"$tmp/fio.err" &
reader=$!
check "READs wait for the disk again" wait_for 60 hung READ
# shellcheck disable=SC2154 # attach sets it
kill -KILL "$client_hung"
umount -l "$tmp/guest-hung"
check "the control socket answers" on_tested read stats
check "the other share, too" timeout 10 stat "$tmp/guest-other/image"
kill -CONT "$GATEWAYD_PID"
wait "$reader" 2>/dev/null
attach hung
is "who comes next reads" "$(timeout 10 cksum <"$tmp/guest-hung/warm")" "$sum"
umount "$tmp/guest-hung" "$tmp/guest-other"
kill -TERM "$tested"
check "the daemon ends" wait_pid "$tested" 30
status=0
wait "$tested" || status=$?
is "well" "$status" 0
is "its log has no error" "$(grep -c ' error: \|Sanitizer' "$tmp/run2/log")" 0
umount "$tmp/disk"
losetup -d "$loop"
finish
