# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# More names than the daemon may have fds: 1024.  make check-long looks up two
# million files and reads directories of a million names.  Where the daemon
# cannot do without fds, the guest that uses them up is told so, and no other.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires setpriv
wants_caches
manynames=$top_builddir/tests/system/manynames

memory=$(mktemp -d /dev/shm/gatewayd-test-XXXXXX) ||
	skip_all "no directory in memory"
at_exit "rm -rf '$memory'"
chmod 755 "$memory"
mkdir "$memory/many" "$memory/held" "$tmp/disk"

write_config() {
	cat >"$run/conf.d/shares.conf" <<-END
	[many]
	path = $memory/many
	[disk]
	path = $tmp/disk
	[held]
	path = $memory/held
	$1
	END
}

# A few for every day, many once in a while.
nfiles=20000 nnames=10000
if [ "$(scaled 1)" -ge 10 ]; then
	nfiles=2000000 nnames=1000000
fi

fds() {
	find "/proc/$GATEWAYD_PID/fd" -mindepth 1 | wc -l
}

# status NAME: a line of the daemon's /proc/PID/status, in KiB.
status() {
	sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$GATEWAYD_PID/status"
}

value() {
	ctl read "shares/$1/stats" | sed -n "s/^$2 //p"
}

# shellcheck disable=SC3045 # dash, bash and busybox have it
ulimit -n 1024 || bail "ulimit"
write_config "inode_file_handles = never"
start_gatewayd
is "the daemon may have 1024 fds" \
	"$(awk '/^Max open files/ { print $5 }' "/proc/$GATEWAYD_PID/limits")" \
	1024
mount_share many "$tmp/mnt"
mount_share disk "$tmp/mnt-disk"
mount_share held "$tmp/mnt-held"

before=$(status VmRSS)
n=$nfiles
check "$n files are looked up" "$manynames" lookup -n "$n" "$tmp/mnt" \
	"$memory/many"
nodes=$(value many nodes)
rss=$(status VmRSS)
fds=$(fds)
note "$nodes nodes known, $fds fds, $((rss / 1024)) MiB resident," \
	"$(((rss - before) * 1024 / n)) bytes for each"
check "none was forgotten meanwhile" test "$nodes" -ge "$n"
check "with fewer than 1024 fds" test "$fds" -lt 1024
check "and fewer than 400 bytes of memory each" \
	test $(((rss - before) * 1024)) -lt $((n * 400 + 4000000))

for where in memory disk; do
	case $where in
	memory) mnt=$tmp/mnt dir=$memory/many ;;
	disk) mnt=$tmp/mnt-disk dir=$tmp/disk ;;
	esac
	check "a directory of $nnames names, $where" \
		"$manynames" dir -n "$nnames" "$mnt" "$dir"
	note "$(cat "$tmp/check.out")"
done
is "nothing was refused" "$(value many nodes_limit)$(value disk nodes_limit)" \
	00

# What is removed on the host goes from the disk, though nobody tells the guest.
if [ "$(scaled 1)" -ge 10 ]; then
	cat "$tmp/mnt/d00000/file000" >"$tmp/out"
	rm "$memory/many/d00000/file000"
	check "a removed file is let go" timeout 120 sh -c "
		while ls -l /proc/$GATEWAYD_PID/fd | grep -q file000.*deleted
		do sleep 1; done"
fi

# others_work WORDS: nobody else notices.
others_work() {
	check "$1: the other guest can open files" cmp \
		"$tmp/mnt/d00000/file500" "$memory/many/d00000/file500"
	check "$1: and make some" sh -c "echo new >'$tmp/mnt/new' &&
		rm '$tmp/mnt/new'"
	check "$1: the control socket answers" ctl read version
}

# use_up WORDS MOUNT: as many held fds as there may be.
use_up() {
	find "$2" -name 'f*' -size 0 >"$tmp/found" 2>"$tmp/err"
	check "$1: some files can be seen" test -s "$tmp/found"
	check "$1: then it is told that there are too many" \
		grep -q "Too many open files in system" "$tmp/err"
	check "$1: which is counted" test "$(value held nodes_limit)" -gt 0
	check "$1: the daemon has fds left" test "$(fds)" -lt 1000
	others_work "$1"
}

for i in $(seq 2000); do
	: >"$memory/held/f$i"
done
use_up "no handles" "$tmp/mnt-held"
unmount_share "$tmp/mnt-held"
mount_share held "$tmp/mnt-held"
check "a guest that comes after it gets fds again" \
	ls -l "$tmp/mnt-held/f1" "$tmp/mnt-held/f2"
unmount_all
stop_gatewayd

# The same without the right to open by handle.
cat >"$tmp/gatewayd" <<END
exec setpriv --bounding-set -dac_read_search --inh-caps -dac_read_search \\
	"$GATEWAYD" "\$@"
END
GATEWAYD=$tmp/gatewayd
{ echo "#!/bin/sh"; cat "$tmp/gatewayd"; } >"$tmp/wrapper"
mv "$tmp/wrapper" "$tmp/gatewayd"
chmod 755 "$tmp/gatewayd"
write_config ""
start_gatewayd
mount_share many "$tmp/mnt"
mount_share held "$tmp/mnt-held"
use_up "no capability" "$tmp/mnt-held"
finish
