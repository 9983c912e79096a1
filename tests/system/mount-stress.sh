# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# stress-ng's stressors of file systems on a mounted share, all at once, with
# their own checks: nothing hangs, nothing is wrong, nothing stays behind.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires stress-ng

# What does not work in --temp-path but on the machine; fanotify, getdent and
# io look at all of it, and wait where another test has stopped a file system.
others=bind-mount,binderfs,procfs,eventfd,ioprio,fanotify,getdent,io

seconds=$(scaled 8)
mkdir "$tmp/share"
cat >"$run/conf.d/shares.conf" <<END
[stress]
path = $tmp/share
xattr = yes
END
start_gatewayd
mount_share stress "$tmp/mnt"

# It ends its children itself; a minute more means that one of them hangs.
timeout -k 5 $((seconds * 2 + 120)) stress-ng --class filesystem --all 1 \
	--exclude "$others" --timeout "$seconds" --verify --temp-path "$tmp/mnt" \
	--log-brief --hdd-bytes 16m --iomix-bytes 16m --copy-file-bytes 128m \
	--fallocate-bytes 16m --sync-file-bytes 16m --readahead-bytes 16m \
	>"$tmp/out" 2>&1
status=$?
is "stress-ng for $seconds s" $status 0 || note "$(cat "$tmp/out")"
check "none of them failed" sh -c "! grep -i 'fail\|error:' '$tmp/out'"
note "$(tail -n 2 "$tmp/out")"
is "nothing is left on the host" "$(ls -A "$tmp/share")" ""
check "the share still works" sh -c "echo text >'$tmp/mnt/file' &&
	grep -q text '$tmp/share/file'"
finish
