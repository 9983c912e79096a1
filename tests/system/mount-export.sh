# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Files opened by handle on a mounted share, as an NFS server of the guest does
# it: export_support.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
drops_caches
byhandle=$top_builddir/tests/system/byhandle

cat >"$run/conf.d/shares.conf" <<END
[none]
path = $tmp/share
[export]
path = $tmp/share
export_support = yes
[only]
path = $tmp/share
export_support = yes
max_clients = 1
END
mkdir -p "$tmp/share/a/b/c"
names=$(seq 1 20)
for i in $names; do echo "text $i" >"$tmp/share/a/b/$i"; done

# Inodes that nobody uses are forgotten by the guest.
forget() {
	sync
	echo 2 >/proc/sys/vm/drop_caches
}

# nodes TAG: how many of them the guest holds.
nodes() {
	ctl read "shares/$1/stats" | awk '$1 == "nodes" { print $2 }'
}

start_gatewayd
mnt=$tmp/mnt
mount_share none "$mnt"
"$byhandle" save "$tmp/list" "$mnt/a/b/1" 2>"$tmp/err" &&
	forget && "$byhandle" open "$tmp/list" "$mnt" >"$tmp/out" 2>"$tmp/err"
check "without export_support there is none" \
	grep -q "Stale file handle\|not supported" "$tmp/out" "$tmp/err"
unmount_share "$mnt"

# found WORDS WANT: what the handles of the list lead to.
found() {
	"$byhandle" open "$tmp/list" "$mnt" >"$tmp/out" 2>&1
	is "$1" "$(cat "$tmp/out")" "$2"
}

mount_share export "$mnt"
texts=$(for i in $names; do echo "text $i"; done)
# shellcheck disable=SC2046,SC2086 # words
(cd "$mnt/a/b" && "$byhandle" save "$tmp/list" $names)
"$byhandle" save "$tmp/dirs" "$mnt/a/b/c" "$mnt/a/b" "$mnt"
forget
check "the guest has forgotten them" test "$(nodes export)" -lt 20
found "each handle finds its file" "$texts"
forget
"$byhandle" list "$tmp/dirs" "$mnt" >"$tmp/out" 2>&1
is "a directory, with the way to it" "$(sed -n 1p "$tmp/out")" "$mnt/a/b/c:"
is "one with files" "$(sed -n 2p "$tmp/out" | wc -w)" 22
is "the top" "$(sed -n 3p "$tmp/out")" "$mnt: a"
mv "$mnt/a/b" "$mnt/other"
forget
found "after a rename of what they are in" "$texts"
mv "$tmp/share/other/7" "$tmp/share/seven"
rm "$mnt/other/8"
rm "$tmp/share/other/9"
echo other >"$mnt/other/9"
echo "text new" >"$mnt/other/1"
forget
found "moved, removed, replaced and changed" "$(echo "$texts" |
	sed 's/^text [89]$/Stale file handle/;s/^text 1$/text new/')"
"$byhandle" list "$tmp/dirs" "$mnt" >"$tmp/out" 2>&1
is "a directory at its new place" "$(sed -n 1p "$tmp/out")" "$mnt/other/c:"
mv "$tmp/share/other" "$tmp/outside"
forget
"$byhandle" list "$tmp/dirs" "$mnt" >"$tmp/out" 2>&1
is "one that is outside now" "$(sed -n 1p "$tmp/out")" "Stale file handle"
mv "$tmp/outside" "$tmp/share/other"
unmount_share "$mnt"
mount_share export "$mnt"
"$byhandle" open "$tmp/list" "$mnt" >"$tmp/out" 2>&1
is "another guest has other handles" "$(sort -u "$tmp/out")" "Stale file handle"
unmount_share "$mnt"

mount_share only "$mnt"
# shellcheck disable=SC2046,SC2086 # words
(cd "$mnt/other" && "$byhandle" save "$tmp/list" 2 3 c/../4)
unmount_share "$mnt"
tries=50
until [ "$(ctl read shares/only/stats | awk '$1 == "sessions" { print $2 }')" \
	-eq 0 ] || [ $tries -eq 0 ]; do
	tries=$((tries - 1))
	sleep 0.1
done
mount_share only "$mnt"
found "the only guest has the same when it comes back" "text 2
text 3
text 4"
finish
