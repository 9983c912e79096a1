# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Inode numbers that come back, on several file systems of this host: files,
# directories and links are made and removed, through a mounted share and
# behind its back, and none is ever taken for another.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires mkfs.ext4 mkfs.xfs

# file_system NAME MKFS...: an image of one, mounted on $tmp/NAME.
file_system() {
	fs=$1
	shift
	mkdir "$tmp/$fs"
	truncate -s 320M "$tmp/$fs.img"
	"$@" "$tmp/$fs.img" >"$tmp/out" 2>&1 &&
		mount -o loop "$tmp/$fs.img" "$tmp/$fs" 2>>"$tmp/out" || {
		skip "$fs" "$(tail -n 1 "$tmp/out")"
		return
	}
	at_exit "umount -l '$tmp/$fs'"
	all="$all $fs"
}

all=
file_system ext4 mkfs.ext4 -q -F
file_system xfs mkfs.xfs -q -f
mkdir "$tmp/tmpfs"
mount -t tmpfs -o size=64m,inode32 tmpfs "$tmp/tmpfs" &&
	at_exit "umount -l '$tmp/tmpfs'" && all="$all tmpfs"

{
	# So that files that nobody uses are soon closed and not held fast.
	echo "[defaults]"
	echo "max_fds = 16"
	for fs in $all; do
		printf '[%s]\npath = %s\n' "$fs" "$tmp/$fs"
	done
} >"$run/conf.d/shares.conf"
start_gatewayd
for fs in $all; do
	mount_share "$fs" "$tmp/mnt-$fs"
	check "$fs: no file is taken for another" timeout 900 \
		"$top_builddir/tests/system/inodecycle" -n "$(scaled 400)" \
		"$tmp/mnt-$fs" "$tmp/$fs"
	grep "number came back" "$tmp/check.out" >"$tmp/said"
	sed 's/^/# /' "$tmp/said"
	# A test in which no number ever came back would show nothing; those
	# of a tmpfs only do after four thousand million, and xfs gives them
	# back when it has time.
	if [ "$fs" = ext4 ] || grep -q "came back in [1-9]" "$tmp/said"; then
		check "$fs: numbers came back" \
			grep -q "came back in [1-9]" "$tmp/said"
	else
		skip "$fs: numbers came back" "none did in this run"
	fi
done
finish
