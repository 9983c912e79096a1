# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# fscheck on a mounted share with the defaults, and with other keys, of several
# file systems; first on the host's own, where everything must pass as well.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires mkfs.ext4 debugfs
fscheck=$top_builddir/tests/system/fscheck

mkdir "$tmp/host"
memory=$(mktemp -d /dev/shm/gatewayd-test-XXXXXX 2>/dev/null) &&
	at_exit "rm -rf '$memory'" && chmod 755 "$memory"

# Times that the host does not write for a day, unless it must.
mkdir "$tmp/lazy"
truncate -s 256M "$tmp/image"
mkfs.ext4 -q -F -O ^has_journal "$tmp/image"
mount -o loop,lazytime "$tmp/image" "$tmp/lazy" 2>/dev/null &&
	at_exit "umount -l '$tmp/lazy'" && lazy=lazy

cat >"$run/conf.d/shares.conf" <<END
[defaults]
xattr = yes
[plain]
path = $tmp/plain
[never]
path = $tmp/never
cache = never
allow_mmap = yes
allow_direct_io = yes
locks = remote
[always]
path = $tmp/always
cache = always
writeback = yes
posix_acl = yes
killpriv_v2 = no
inline = no
[memory]
path = ${memory:-$tmp/plain}
[lazy]
path = $tmp/lazy
END
mkdir "$tmp/plain" "$tmp/never" "$tmp/always"

# run WORDS [-w] DIR [HOST]
run() {
	words=$1
	shift
	"$fscheck" "$@" >"$tmp/out" 2>&1
	status=$?
	is "$words" "$status" 0 || sed -n '/^not ok/,/^ok/p' "$tmp/out" |
		grep -v '^ok' | sed 's/^/# /'
	note "$(grep -c '^ok' "$tmp/out") good," \
		"$(grep -c '^ok.*# SKIP' "$tmp/out") skipped"
	grep '# SKIP' "$tmp/out" | sed 's/^/# /'
}

run "on the host" "$tmp/host"
start_gatewayd
for tag in plain never always ${memory:+memory} ${lazy-}; do
	mount_share "$tag" "$tmp/mnt-$tag"
	eval "host=$tmp/$tag"
	[ "$tag" != memory ] || host=$memory
	if [ "$tag" = always ]; then
		run "on $tag" -w "$tmp/mnt-$tag" "$host"
	else
		run "on $tag" "$tmp/mnt-$tag" "$host"
	fi
done

# mtime_on_disk FILE: as it is in the image, in seconds.
mtime_on_disk() {
	printf '%d\n' "$(debugfs -R "stat $1" "$tmp/image" 2>/dev/null |
		sed -n 's/.*mtime: \(0x[0-9a-f]*\):.*/\1/p')"
}

if [ -n "${lazy-}" ]; then
	file=$tmp/mnt-lazy/file
	echo text >"$file"
	touch -d @1000000000 "$file"
	sync "$file" "$tmp/image"
	is "lazytime: a time that was set is on the disk" \
		"$(mtime_on_disk file)" 1000000000
	printf T | dd of="$file" conv=notrunc status=none
	now=$(stat -c %Y "$tmp/lazy/file")
	check "lazytime: writing changes it" test "$now" -gt 1000000000
	is "lazytime: as is seen" "$(stat -c %Y "$file")" "$now"
	note "on the disk before fsync: $(mtime_on_disk file)"
	sync "$file" "$tmp/image"
	is "lazytime: fsync writes it down" "$(mtime_on_disk file)" "$now"
else
	skip "lazytime" "no loop devices"
fi
finish
