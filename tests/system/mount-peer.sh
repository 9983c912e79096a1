# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# gatewayctl mount on its own, with QEMU's virtiofsd behind it: options, the
# ways it ends, and that nobody hangs when the server dies.

. "${top_srcdir:-.}/tests/functions.sh"

: "${VIRTIOFSD:=/usr/lib/qemu/virtiofsd}"

requires_root
requires_fuse
requires setpriv
[ -x "$VIRTIOFSD" ] || skip_all "$VIRTIOFSD is not installed"
[ -x "$GATEWAYCTL" ] || bail "$GATEWAYCTL has not been built"

mkdir "$tmp/share" "$tmp/mnt"
mnt=$tmp/mnt
client='' server=''
at_exit 'kill -9 $client $server 2>/dev/null; umount -l "$mnt" 2>/dev/null'

# serve: a server for one connection.
serve() {
	rm -f "$tmp/sock"
	setpriv --pdeathsig KILL "$VIRTIOFSD" --socket-path="$tmp/sock" \
		-o source="$tmp/share" -o sandbox=chroot >"$tmp/log" 2>&1 &
	server=$!
	serve_tries=100
	until [ -S "$tmp/sock" ] || [ $serve_tries -eq 0 ]; do
		serve_tries=$((serve_tries - 1))
		sleep 0.1
	done
}

# attach OPTION...: mount in the foreground, so that its end can be seen.
attach() {
	setpriv --pdeathsig KILL "$GATEWAYCTL" mount -f "$@" \
		--socket "$tmp/sock" "$mnt" 2>"$tmp/err" &
	client=$!
	attach_tries=100
	until grep -q " $mnt fuse" /proc/mounts; do
		attach_tries=$((attach_tries - 1))
		[ $attach_tries -gt 0 ] || bail "cannot mount: $(cat "$tmp/err")"
		sleep 0.1
	done
}

# ended WORDS STATUS: the client ends by itself, with this status.
ended() {
	ended_status=0
	wait_pid "$client" 10 || not_ok "$1" "it is still there"
	wait "$client" || ended_status=$?
	is "$1: exit status" "$ended_status" "$2"
	is "$1: no mount is left" "$(mountpoint -q "$mnt" && echo mounted)" ""
	client=
}

note "umount"
serve
attach
echo hello >"$mnt/file"
is "a file arrives" "$(cat "$tmp/share/file")" hello
check "it is mounted as it should be" grep -q \
	"^$tmp/sock $mnt fuse.gatewayd rw,nosuid,nodev,relatime" /proc/mounts
check "umount" umount "$mnt"
ended "umount" 0
is "it said nothing" "$(cat "$tmp/err")" ""
check "the server saw the end" wait_pid "$server" 10

note "options"
serve
attach -o ro,dev --queues 4
if touch "$mnt/other" 2>/dev/null; then
	not_ok "ro is kept"
else
	ok "ro is kept"
fi
check "dev is kept" grep -q "$mnt fuse.gatewayd ro,nosuid,relatime" \
	/proc/mounts

note "remounting, as mount(8) asks its helper to"
ln -s "$GATEWAYCTL" "$tmp/mount.fuse.gatewayd"
helper=$tmp/mount.fuse.gatewayd
status=0
"$helper" "$tmp/sock" "$mnt" -o remount,ro,nosymfollow,user_id=0,x-mine \
	-o remount,rw,noexec,noatime,allow_other,user_id=0,comment=mine ||
	status=$?
is "remount: exit status" "$status" 0
check "remount: the flags are others" grep -q \
	"$mnt fuse.gatewayd rw,nosuid,nodev,noexec,noatime,user_id" /proc/mounts
is "remount: the same files" "$(cat "$mnt/file")" hello
check "remount: nothing on top" test \
	"$(grep -c " $mnt fuse" /proc/mounts)" -eq 1

note "SIGTERM"
kill -TERM "$client"
ended "SIGTERM" 0

note "SIGTERM while in use"
serve
attach
exec 9<"$mnt/file"
kill -TERM "$client"
until ! mountpoint -q "$mnt"; do sleep 0.1; done
is "an open file can still be read" "$(cat <&9)" hello
exec 9<&-
ended "SIGTERM, after the last user" 0

note "in the background"
serve
check "mount returns" timeout 10 "$GATEWAYCTL" mount --socket "$tmp/sock" "$mnt"
is "and is usable at once" "$(cat "$mnt/file")" hello
check "umount" umount "$mnt"
check "the server saw the end" wait_pid "$server" 10

note "as a helper of mount(8)"
serve
check "the helper mounts" timeout 10 "$helper" "$tmp/sock" "$mnt" -n \
	-o rw,nofail,nodiratime,noexec -t fuse.gatewayd
is "the helper's mount is usable" "$(cat "$mnt/file")" hello
check "with its options" grep -q \
	"$mnt fuse.gatewayd rw,nosuid,nodev,noexec,nodiratime" /proc/mounts
check "umount" umount "$mnt"
check "the server saw the end" wait_pid "$server" 10
serve
check "the helper mounts as for a local disk" timeout 10 "$helper" \
	"$tmp/sock" "$mnt" -o rw,allow_suid,allow_dev
check "with programs of other users, and devices" grep -q \
	"$mnt fuse.gatewayd rw,relatime" /proc/mounts
check "umount" umount "$mnt"
check "the server saw the end" wait_pid "$server" 10
status=0
"$helper" "$tmp/none" "$mnt" 2>"$tmp/err" || status=$?
is "without a server: mount(8)'s exit status" "$status" 32
status=0
"$helper" "$tmp/sock" 2>"$tmp/err" || status=$?
is "without a directory: mount(8)'s exit status" "$status" 1

note "the server dies while files are written"
serve
attach
dd if=/dev/zero of="$mnt/big" bs=1M count=100000 2>"$tmp/dd" &
writer=$!
until [ -s "$tmp/share/big" ]; do sleep 0.1; done
kill -KILL "$server"
check "the writer does not hang" wait_pid "$writer" 10
wait "$writer" && not_ok "the writer is told"
ended "the server died" 1
check "it says why" grep -q "the device closed the connection" "$tmp/err"
rm -f "$tmp/share/big"

note "no server"
status=0
"$GATEWAYCTL" mount --socket "$tmp/none" "$mnt" 2>"$tmp/err" || status=$?
is "no server: exit status" "$status" 1
check "no server: it says so" grep -q "$tmp/none" "$tmp/err"
serve
status=0
"$GATEWAYCTL" mount -o frob --socket "$tmp/sock" "$mnt" 2>"$tmp/err" ||
	status=$?
is "an unknown option: exit status" "$status" 1
check "an unknown option: it says so" grep -q frob "$tmp/err"
finish
