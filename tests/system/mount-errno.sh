# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# What a file system cannot do, through a mounted share: the same errors as on
# the host, the first time and the next, on several file systems.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires mkfs.ext4 mkfs.xfs
fserrno=$top_builddir/tests/system/fserrno

# file_system NAME MKFS...: an image of one, mounted on $tmp/NAME.
file_system() {
	fs=$1
	shift
	mkdir "$tmp/$fs"
	truncate -s 320M "$tmp/$fs.img"
	"$@" "$tmp/$fs.img" >"$tmp/out" 2>&1 &&
		mount -o loop "$tmp/$fs.img" "$tmp/$fs" 2>>"$tmp/out" || {
		skip "$fs" "$(tail -n 1 "$tmp/out")"
		return 1
	}
	at_exit "umount -l '$tmp/$fs'"
	mkdir "$tmp/$fs/share"
	all="$all $fs"
}

all=
mkdir "$tmp/tmpfs"
mount -t tmpfs -o size=64m tmpfs "$tmp/tmpfs" ||
	skip_all "cannot mount a tmpfs"
at_exit "umount -l '$tmp/tmpfs'"
mkdir "$tmp/tmpfs/share"
all=tmpfs
file_system ext4 mkfs.ext4 -q -F
if file_system xfs mkfs.xfs -q -f; then
	mkdir "$tmp/xfs/low" "$tmp/xfs/up" "$tmp/xfs/work" "$tmp/overlay"
	options=lowerdir=$tmp/xfs/low,upperdir=$tmp/xfs/up,workdir=$tmp/xfs/work
	if mount -t overlay -o "$options" overlay "$tmp/overlay" \
		2>"$tmp/out"; then
		at_exit "umount -l '$tmp/overlay'"
		mkdir "$tmp/overlay/share"
		all="$all overlay"
	else
		skip overlay "$(cat "$tmp/out")"
	fi
fi

# What the host lets root do, the daemon must be allowed to.
cat >"$run/conf.d/shares.conf" <<END
[gateway]
modcaps = +sys_admin:+linux_immutable
[defaults]
xattr = yes
posix_acl = yes
allow_direct_io = yes
END
for fs in $all; do
	printf '[%s]\npath = %s\n' "$fs" "$tmp/$fs/share"
done >>"$run/conf.d/shares.conf"
mkdir "$tmp/tmpfs/never"
cat >>"$run/conf.d/shares.conf" <<END
[never]
path = $tmp/tmpfs/never
cache = never
allow_mmap = yes
END

start_gatewayd
for fs in $all never; do
	mount_share "$fs" "$tmp/mnt-$fs"
	host=$tmp/$fs/share
	[ "$fs" != never ] || host=$tmp/tmpfs/never
	"$fserrno" "$tmp/mnt-$fs" "$host" >"$tmp/out" 2>&1
	is "errors on $fs" $? 0 ||
		sed -n '/^not ok/,/^ok/p' "$tmp/out" | grep -v '^ok' |
		sed 's/^not ok [0-9]* -/#/;s/^/# /'
	note "$(grep -c '^ok' "$tmp/out") the same"
done
finish
