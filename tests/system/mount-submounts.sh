# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# File systems that the host has mounted inside of a share: entered, which a
# guest cannot tell unless they are announced (guest-two-tags.sh), and closed;
# first on the host itself.  One is mounted before the guest is, the other onto
# a directory that the guest knows.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
fscheck=$top_builddir/tests/system/fscheck

# tmpfs DIR: a small file system in memory, there.
tmpfs() {
	mkdir -p "$1"
	mount -t tmpfs -o size="${2:-8m}" tmpfs "$1" ||
		skip_all "cannot mount a tmpfs"
	at_exit "umount -l '$1'"
}

# on WORDS DIR [HOST]: fscheck of the mount points there.
on() {
	words=$1
	shift
	for sub in before after; do
		"$fscheck" -m "$sub" "$@" >"$tmp/out" 2>&1
		is "$words, $sub" $? 0 || sed -n '/^not ok/,/^ok/p' "$tmp/out" |
			grep -v '^ok' | sed 's/^/# /'
	done
}

# sees DIR: the guest has noticed what is mounted there.
sees() {
	timeout 60 sh -c 'until [ "$(stat -f -c %b "$1")" = "$2" ]; do
		sleep 0.1
	done' - "$1" "$(stat -f -c %b "$tmp/share/after")"
}

tmpfs "$tmp/share" 64m
tmpfs "$tmp/share/before"
cat >"$run/conf.d/shares.conf" <<END
[open]
path = $tmp/share
[closed]
path = $tmp/share
crossmnt = no
readdirplus = yes
END
start_gatewayd
mount_share open "$tmp/mnt-open"
mount_share closed "$tmp/mnt-closed"
mkdir "$tmp/share/after"
is "a directory" "$(ls "$tmp/mnt-open/after")" ""
tmpfs "$tmp/share/after" 4m
check "becomes another file system" sees "$tmp/mnt-open/after"
for i in 1 2 3 4 5; do
	: >"$tmp/share/file$i"
done

on "on the host" "$tmp/share"
on "through the mount" "$tmp/mnt-open" "$tmp/share"

# Entries that cannot be looked at do not end a listing.
is "closed: all names are listed" "$(ls -x -w 0 "$tmp/mnt-closed")" \
	"after  before  file1  file2  file3  file4  file5"
is "closed: and can be looked at, but for two" \
	"$(find "$tmp/mnt-closed" -type f 2>/dev/null | wc -l)" 5
for sub in before after; do
	is "closed: $sub" \
		"$(LC_ALL=C ls "$tmp/mnt-closed/$sub" 2>&1 >/dev/null |
			sed 's/.*: //')" "Permission denied"
done
ctl read shares/closed/ops >"$tmp/ops"
check "READDIRPLUS was asked" grep -q READDIRPLUS "$tmp/ops"
finish
