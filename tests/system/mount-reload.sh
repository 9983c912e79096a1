# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Reloads under a writing guest: others are added, removed and changed, so are
# the live keys of its own share, and now and then the configuration is wrong.
# No request fails, no byte is lost, no guest is touched.  20 reloads in 6
# seconds; with SCALE=10, 200 in a minute.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires fio

reloads=$(scaled 20)
seconds=$(scaled 6)
conf=$run/conf.d/shares.conf
mkdir "$tmp/busy" "$tmp/beside" "$tmp/a" "$tmp/b"
LOG_ERRORS_EXPECTED=yes		# the reloads that are to be refused

# configuration I: what reload number I finds.
configuration() {
	echo "[busy]"
	echo "path = $tmp/busy"
	echo "comment = reload $1"
	echo "attr_timeout = $(($1 % 3))s"
	echo "entry_timeout = $(($1 % 2))s"
	[ $(($1 % 3)) -ne 1 ] || echo "preserve_noatime = yes"
	[ $(($1 % 4)) -ne 2 ] || echo "trace = yes"
	[ $(($1 % 5)) -ne 3 ] || echo "enabled = no"
	[ $(($1 % 5)) -ne 4 ] || echo "socket = $run/busy-moved.sock"
	# Its guest stays while it goes and comes back.
	if [ $(($1 % 4)) -ne 3 ]; then
		echo "[beside]"
		echo "path = $tmp/beside"
		echo "max_write = $((64 << ($1 % 2)))K"
	fi
	echo "[other-$(($1 / 2 % 3))]"
	echo "path = $tmp/a"
	echo "max_open_files = $((1000 + $1))"
	echo "[changing]"
	if [ $(($1 % 2)) -eq 0 ]; then
		echo "path = $tmp/a"
		echo "casefold = nt"
	else
		echo "path = $tmp/b"
		echo "readonly = yes"
	fi
}

# files DIR STOP: files with their sums until STOP is there; what was written
# is read back through the mount.  Ends with a line for each mistake.
files() {
	n=0
	until [ -e "$2" ]; do
		n=$((n + 1))
		dd if=/dev/urandom of="$2.src" bs=64k count=$((n % 7 + 1)) \
			2>/dev/null
		sum=$(sha256sum <"$2.src")
		cp "$2.src" "$1/new-$n" && mv "$1/new-$n" "$1/file-$n" ||
			echo "file-$n cannot be written"
		[ "$(sha256sum <"$1/file-$n")" = "$sum" ] ||
			echo "file-$n is read wrongly"
		echo "${sum%% *}  file-$n" >>"$2.sums"
	done
	rm -f "$2.src"
}

# One file that stays open all the time, each block verified; nothing is
# kept by the guest.
stream() {
	cd "$tmp" && fio --directory="$tmp/mnt-busy" --name=stream --thread \
		--ioengine=psync --rw=randwrite --bs=16k --size=32m \
		--direct=1 --time_based --runtime="$seconds" \
		--verify=crc32c --verify_backlog=64 --verify_fatal=1 \
		--randseed=4711
}

# Sessions of a share, by number, as one line.
sessions() {
	ctl read "shares/$1/clients" | sed -n 's/^session\.\([0-9]*\) .*/\1/p' |
		tr '\n' ' '
}

stat_of() {
	ctl read stats | sed -n "s/^$1 //p"
}

# A mistake in two places: both are said, nothing changes.
bad_reload() {
	before=$(ctl read config)
	{
		configuration "$1"
		echo "reedonly = no"
		echo "[broken]"
		echo "path = $tmp/none"
	} >"$conf"
	if ctl reload >"$tmp/out" 2>&1; then
		echo "reload $1 took a wrong configuration"
	fi
	grep -q reedonly "$tmp/out" && grep -q "$tmp/none" "$tmp/out" ||
		echo "reload $1 does not name both mistakes"
	[ "$(ctl read config)" = "$before" ] || echo "reload $1 changed it"
}

good_reload() {
	configuration "$1" >"$conf"
	ctl reload >"$tmp/out" 2>&1 || echo "reload $1: $(cat "$tmp/out")"
	grep -q "^busy: comment: changed, at once" "$tmp/out" ||
		echo "reload $1 does not say what has changed"
}

all_reloads() {
	pause=$(awk -v s="$seconds" -v n="$reloads" 'BEGIN { print s / n }')
	for i in $(seq "$reloads"); do
		if [ $((i % 10)) -eq 0 ]; then
			bad_reload "$i"
		else
			good_reload "$i"
		fi
		sleep "$pause"
	done
}

configuration 0 >"$conf"
start_gatewayd
mount_share busy "$tmp/mnt-busy"
mount_share beside "$tmp/mnt-beside"
busy=$(sessions busy)
beside=$(sessions beside)
check "two guests, $busy and $beside" test -n "$busy" -a -n "$beside"

files "$tmp/mnt-busy" "$tmp/stop-busy" >"$tmp/out-busy" 2>&1 &
pid_busy=$!
files "$tmp/mnt-beside" "$tmp/stop-beside" >"$tmp/out-beside" 2>&1 &
pid_beside=$!
stream >"$tmp/out-stream" 2>&1 &
pid_stream=$!

is "every reload does what it should" "$(all_reloads)" ""
stream_status=0
wait "$pid_stream" || stream_status=$?
is "the file that stayed open is right" "$stream_status" 0 ||
	note "$(cat "$tmp/out-stream")"
touch "$tmp/stop-busy" "$tmp/stop-beside"
wait "$pid_busy" "$pid_beside"
is "no file of the guest is wrong" "$(cat "$tmp/out-busy")" ""
is "nor of the one whose share went and came" "$(cat "$tmp/out-beside")" ""

bad=$((reloads / 10))
is "that many reloads" "$(stat_of reloads)" $((reloads - bad))
is "that many refused" "$(stat_of reloads_failed)" "$bad"
configuration 1 >"$conf"
check "one more brings all back" ctl reload
is "the guest was never gone" "$(sessions busy)" "$busy"
is "nor the one beside it" "$(sessions beside)" "$beside"
is "nobody came instead" "$(stat_of sessions)" 2

files_of_busy=$(wc -l <"$tmp/stop-busy.sums")
files_of_beside=$(wc -l <"$tmp/stop-beside.sums")
note "$(grep 'issued rwts' "$tmp/out-stream")"
note "$files_of_busy and $files_of_beside files while $reloads reloads"
check "both wrote all the time" \
	test "$files_of_busy" -ge 5 -a "$files_of_beside" -ge 5
for who in busy beside; do
	check "the guest finds every file ($who)" sh -c \
		"cd '$tmp/mnt-$who' && sha256sum -c --quiet '$tmp/stop-$who.sums'"
done
check "guest and host have the same in the file that stayed open" \
	cmp "$tmp/mnt-busy/stream.0.0" "$tmp/busy/stream.0.0"
unmount_all
for who in busy beside; do
	check "so does the host ($who)" sh -c \
		"cd '$tmp/$who' && sha256sum -c --quiet '$tmp/stop-$who.sums'"
done
printf X | dd of="$tmp/busy/file-1" bs=1 seek=1000 conv=notrunc 2>/dev/null
check "a spoiled byte is found" sh -c \
	"cd '$tmp/busy' && ! sha256sum -c --status '$tmp/stop-busy.sums'"
is "no error but of refused reloads" "$(bad_log_lines |
	grep -v -e 'error: reload: ' -e 'error: reload failed')" ""
finish
