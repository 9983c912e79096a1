# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The bytes of one file, changed in all ways that there are, on shares with the
# defaults and with other keys.  FSBYTES_SEED repeats a run.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
fsbytes=$top_builddir/tests/system/fsbytes

memory=$(mktemp -d /dev/shm/gatewayd-test-XXXXXX) ||
	skip_all "no directory in memory"
at_exit "rm -rf '$memory'"
chmod 755 "$memory"
mkdir "$tmp/disk" "$tmp/host"

cat >"$run/conf.d/shares.conf" <<END
[plain]
path = $tmp/disk
[memory]
path = $memory
[direct]
path = $tmp/disk
cache = never
allow_mmap = yes
allow_direct_io = yes
[writeback]
path = $tmp/disk
cache = always
writeback = yes
END

# run WORDS OPERATIONS DIR [HOST]
run() {
	check "$1" timeout 600 "$fsbytes" -n "$(scaled "$2")" \
		${FSBYTES_SEED:+-s "$FSBYTES_SEED"} "$3/file" ${4:+"$4/file"}
	sed -n 's/^fsbytes: /# /p' "$tmp/check.out"
}

run "on the host" 3000 "$tmp/host"
start_gatewayd
for tag in plain memory direct writeback; do
	mount_share "$tag" "$tmp/mnt-$tag"
	host=$tmp/disk
	[ "$tag" != memory ] || host=$memory
	run "$tag" 3000 "$tmp/mnt-$tag" "$host"
done
"$fsbytes" -n 2000 -f "$tmp/mnt-plain/file" >"$tmp/out" 2>&1
is "a planted fault is found" $? 1 || note "$(cat "$tmp/out")"
finish
