# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# tar of /usr/include onto a mounted share and back, compared byte by byte and
# in all that stat shows; then all of it removed.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires tar diff

# What a tree looks like, a line for each name; sizes of files only.
list() {
	(cd "$1" && find . -mindepth 1 \
		-printf '%P %y %m %U:%G %T@ %l ' \( -type f -printf '%n %s\n' \
		-o -printf '\n' \) | LC_ALL=C sort)
}

# shellcheck disable=SC2016 # for the inner shell
there='tar -C /usr -cf - include | tar -C "$1" -xpf -'
# shellcheck disable=SC2016
back='tar -C "$1" -cf - include | tar -C /usr -df -'

mkdir "$tmp/share"
start_gatewayd "tar:$tmp/share"
mount_share tar "$tmp/mnt"

check "tar there" sh -c "$there" - "$tmp/mnt"
check "the same bytes through the mount" \
	diff -r --no-dereference /usr/include "$tmp/mnt/include"
check "the same bytes on the host" \
	diff -r --no-dereference /usr/include "$tmp/share/include"
list "$tmp/mnt/include" >"$tmp/list.mnt"
list "$tmp/share/include" >"$tmp/list.share"
list /usr/include >"$tmp/list.orig"
check "the same attributes through the mount as on the host" \
	cmp "$tmp/list.mnt" "$tmp/list.share"
is "as many names as the original" "$(wc -l <"$tmp/list.share")" \
	"$(wc -l <"$tmp/list.orig")"
check "tar back finds no difference" sh -c "$back" - "$tmp/mnt"
check "rm -r" rm -r "$tmp/mnt/include"
is "nothing is left on the host" "$(ls -A "$tmp/share")" ""
finish
