#!/bin/sh
# SPDX-License-Identifier: MIT
# What --check-config warns of besides mistakes: what the service may not
# write, sockets that nobody can get at, disks that are not mounted.
. "${top_srcdir:-.}/tests/functions.sh"

requires_root		# only root's configuration is the service's

mkdir "$tmp/dir" "$tmp/private" "$tmp/disk"
chmod 700 "$tmp/private"
cat >"$tmp/c.conf" <<END
[gateway]
socket_dir = $tmp
control_socket = $tmp/ctl
[defaults]
socket_group = 12345
[system]
path = /usr/lib
[fine]
path = /usr/share
readonly = yes
[behind]
path = $tmp/dir
socket = $tmp/private/x.sock
[disk]
path = $tmp/disk
END

check_config() {
	timeout 20 "$GATEWAYD" -t -c "$tmp/c.conf" 2>&1 |
		grep -v -e ' lies inside share ' -e 'share .* same directory'
}

check_config >"$tmp/out"
check "what the service may not write" grep -qF \
	"$tmp/c.conf:7: warning: [system] path: gatewayd.service may not write" \
	"$tmp/out"
check "a socket that its group cannot get at" grep -qF \
	"$tmp/c.conf:13: warning: [behind] socket: group \"12345\" cannot get to" \
	"$tmp/out"
is "and nothing else" "$(grep -c . "$tmp/out")" 2
check "these are no mistakes" "$GATEWAYD" -t -c "$tmp/c.conf"
is "at the start nobody is warned" \
	"$("$GATEWAYD" -T -c "$tmp/c.conf" 2>&1 >/dev/null |
		grep -e 'may not write' -e 'cannot get')" ""

# fstab LINE: what is said with this as /etc/fstab, of the share on the disk.
fstab() {
	echo "$1" >"$tmp/fstab"
	unshare -m sh -c "mount --bind '$tmp/fstab' /etc/fstab &&
		$2 '$GATEWAYD' -t -c '$tmp/c.conf' 2>&1" |
		sed -n 's/.*\[disk\] //p'
}

if [ -e /etc/fstab ] && unshare -m true 2>/dev/null; then
	is "a disk that is not mounted" \
		"$(fstab "/dev/none $tmp/disk ext4 defaults 0 2")" \
		"path: nothing is mounted there, though /etc/fstab says what should be"
	is "one that is" "$(fstab "none $tmp/disk tmpfs defaults 0 0" \
		"mount -t tmpfs none '$tmp/disk' &&")" ""
	is "a directory that is mounted cannot be told from one that is not" \
		"$(fstab "/srv $tmp/disk none bind 0 0")" ""
else
	skip "a disk that is not mounted" "cannot have an /etc/fstab of our own"
fi
finish
