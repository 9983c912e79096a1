# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Names without case on file systems in images: what the host changes is seen at
# once (T30), also where time is kept in whole seconds (T31) and on a mount that
# counts as remote (T36); and no answer is wrong that no moment of its request
# justifies, through the library and through the daemon (T34).  SCALE=100 asks a
# million times on each.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
tests=$top_builddir/tests

# run_test TEST DIR WHAT: its own points count as one here.
run_test() {
	if "$tests/$1" "$2" >"$tmp/$1.out" 2>&1; then
		ok "$3: $1"
		sed -n "s|^ok [0-9]* - \\(T34.*\\)|# \\1|p" "$tmp/$1.out"
	else
		not_ok "$3: $1" "$(grep -A 12 '^not ok\|^Bail' "$tmp/$1.out")"
	fi
}

# at_scale N COMMAND...
at_scale() {
	all=$SCALE
	SCALE=$1
	shift
	"$@"
	SCALE=$all
}

# Half of what make check does where it runs, since there are seven of them.
run_tests() {
	chmod 1777 "$1"
	at_scale 1 run_test test-casefold-host "$1" "$2"
	at_scale "$half" run_test test-casefold-oracle "$1" "$2"
	at_scale "$half" run_test test-casefold-guests "$1" "$2"
}
half=$(awk -v s="$SCALE" 'BEGIN { print s / 2 }')

# on_image FS MKFS-COMMAND...
on_image() {
	image_fs=$1
	image_is="$*"
	shift
	if ! command -v "$1" >/dev/null 2>&1; then
		skip "$image_fs" "$1 is not installed"
		return
	fi
	rm -f "$tmp/image"
	truncate -s 512M "$tmp/image"
	mkdir -p "$tmp/disk"
	if ! "$@" "$tmp/image" >"$tmp/mkfs.out" 2>&1; then
		skip "$image_is" "$(tail -n 1 "$tmp/mkfs.out")"
	elif ! mount -o loop "$tmp/image" "$tmp/disk" 2>"$tmp/mount.out"; then
		skip "$image_is" "$(tail -n 1 "$tmp/mount.out")"
	else
		run_tests "$tmp/disk" "$image_is"
		umount "$tmp/disk"
	fi
}
at_exit 'umount "$tmp/disk" 2>/dev/null'

on_image ext4 mkfs.ext4 -q
on_image "ext4 with casefold" mkfs.ext4 -q -O casefold
on_image "ext4 in seconds" mkfs.ext4 -q -I 128
on_image xfs mkfs.xfs -q
on_image btrfs mkfs.btrfs -q

mkdir -p "$tmp/disk"
mount -t tmpfs -o size=256m casefold "$tmp/disk"
run_tests "$tmp/disk" tmpfs
mkdir "$tmp/disk/low" "$tmp/disk/up" "$tmp/disk/work" "$tmp/merged"
if mount -t overlay -o \
	"lowerdir=$tmp/disk/low,upperdir=$tmp/disk/up,workdir=$tmp/disk/work" \
	casefold "$tmp/merged" 2>"$tmp/mount.out"; then
	run_tests "$tmp/merged" overlay
	umount "$tmp/merged"
else
	skip overlay "$(cat "$tmp/mount.out")"
fi
umount "$tmp/disk"

# T36: a share mounted by FUSE counts as remote: there each miss is a scan.
if [ -c /dev/fuse ]; then
	mkdir "$tmp/remote"
	cat >"$run/conf.d/remote.conf" <<-C
	[defaults]
	cache = never
	C
	start_gatewayd "remote:$tmp/remote"
	mount_share remote "$tmp/mnt"
	run_test test-casefold-host "$tmp/mnt" "T36 a remote file system"
	at_scale "$(awk -v s="$SCALE" 'BEGIN { print s / 10 }')" \
		run_test test-casefold-oracle "$tmp/mnt" "T36 a remote file system"
else
	skip "T36" "no /dev/fuse"
fi
finish
