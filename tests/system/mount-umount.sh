# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# What the host has mounted inside of a share can be unmounted as soon as the
# guest has forgotten it, plainly, and not before; mounted again it is used
# again.  With export_support the guest has to leave.  Recorded owners stay.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires mkfs.ext4 setpriv
drops_caches

share=$tmp/share
mkdir -p "$share/memory" "$share/disk"
truncate -s 32M "$tmp/img"
mkfs.ext4 -q -F "$tmp/img" || skip_all "cannot make an image"

# mount_disk WHERE: memory is empty each time, disk is as it was.
mount_disk() {
	case $1 in
	memory) mount -t tmpfs -o size=8m tmpfs "$share/memory" ;;
	disk) mount -o loop "$tmp/img" "$share/disk" ;;
	esac
}

# unmount_in SECONDS WHERE...: plainly, once the guest has dropped its caches.
unmount_in() {
	seconds=$1
	shift
	timeout "$seconds" sh -c 'cd "$1" && shift && sync
		for disk; do
			until echo 2 >/proc/sys/vm/drop_caches &&
				umount "./$disk"; do
				sleep 0.2
			done
		done' - "$share" "$@"
}

at_exit 'while umount -l "$share/memory" || umount -l "$share/disk"; do
	:
done 2>/dev/null'
for disk in memory disk; do
	mount_disk "$disk" || skip_all "cannot mount a $disk"
done

# A daemon below can give no socket to another group, such as kvm.
cat >"$run/conf.d/shares.conf" <<END
[defaults]
socket_group = root
[share]
path = $share
[casefold]
path = $share
casefold = ascii
[export]
path = $share
export_support = yes
END
start_gatewayd
# But for the rings that its threads have made meanwhile.
fds() {
	find "/proc/$GATEWAYD_PID/fd" -mindepth 1 ! -lname '*io_uring*' | wc -l
}

# comes FILE: the guest sees it, in a second.
comes() {
	timeout 20 sh -c 'until test -s "$1"; do sleep 0.1; done' - "$1"
}

mounted() {
	for disk; do
		mountpoint -q "$share/$disk" || return 1
	done
}

# use TAG WORDS: files of all kinds are made and read.
use() {
	for disk in memory disk; do
		d=$tmp/mnt/$disk
		check "$1: $disk, $2: is used" sh -ec "mkdir -p '$d/dir'
			echo text >'$d/dir/file'
			ln -sf file '$d/dir/link'
			sync -f '$d/dir/file'
			ls -lR '$d' >/dev/null
			grep -q text '$d/dir/link'"
	done
}

nl='
'
for tag in share casefold; do
	mount_share "$tag" "$tmp/mnt"
	for round in first second; do
		use "$tag" "$round"
		exec 8<"$tmp/mnt/memory/dir/file" 9<"$tmp/mnt/disk/dir/file"
		for disk in memory disk; do
			check "$tag: $disk, $round: a file is open: refused" \
				sh -c "! umount '$share/$disk'"
		done
		if [ "$round" = second ]; then
			unmount_in 6 memory 2>"$tmp/err" &
			other=$!
			unmount_in 6 disk 2>"$tmp/err"
			wait "$other"
			check "$tag: however long it takes" \
				mounted memory disk
		fi
		is "$tag: $round: they are read" "$(cat <&8 && cat <&9)" \
			"text${nl}text"
		exec 8<&- 9<&-
		check "$tag: $round: closed: unmounted" \
			unmount_in 30 memory disk || bail "they stay"
		for disk in memory disk; do
			is "$tag: $disk, $round: the directory below is seen" \
				"$(ls "$tmp/mnt/$disk")" ""
			check "$tag: $disk, $round: mounted again" \
				mount_disk "$disk"
		done
		check "$tag: disk is as it was" comes "$tmp/mnt/disk/dir/file"
		is "$tag: memory is a new one" \
			"$(ls "$tmp/mnt/memory")" ""
		[ "$round" != first ] || before=$(fds)
	done
	check "$tag: it needs no more fds than at first" \
		test "$(fds)" -le "$before"
	unmount_share "$tmp/mnt"
done

mount_share export "$tmp/mnt"
use export first
unmount_in 6 disk 2>"$tmp/err"
is "export: refused, because the guest may have kept a handle" $? 124
unmount_share "$tmp/mnt"
check "export: unmounted when the guest has left" unmount_in 20 disk memory
stop_gatewayd

# Owners that the host cannot hold are found again: a daemon that may give files
# to nobody, but opens them by handle.
cat >"$tmp/gatewayd" <<END
#!/bin/sh
exec setpriv --bounding-set -chown,-setuid,-setgid \\
	--inh-caps -chown,-setuid,-setgid "$GATEWAYD" "\$@"
END
chmod 755 "$tmp/gatewayd"
GATEWAYD=$tmp/gatewayd
start_gatewayd
mount_disk disk
mount_share share "$tmp/mnt"
file=disk/dir/file
check "owners: one is changed" chown 4321:4322 "$tmp/mnt/$file"
for round in first second; do
	is "owners: $round: as it is on the host" \
		"$(stat -c %u:%g "$share/$file")" 0:0
	is "owners: $round: and in the guest" \
		"$(stat -c %u:%g "$tmp/mnt/$file")" 4321:4322
	check "owners: $round: unmounted" unmount_in 30 disk
	check "owners: $round: mounted again" mount_disk disk
	check "owners: $round: seen" comes "$tmp/mnt/$file"
done
finish
