# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# gatewayd under a real systemd: a Debian image, made once and cached, booted
# under QEMU, with what "make install" installs put into it.  What is tried
# there stands in systemd-guest.sh.

. "${top_srcdir:-.}/tests/functions.sh"
. "$top_srcdir/tests/system/vm.sh"

requires_root
requires mmdebstrap mkfs.ext4 ldd
vm_needs || skip_all "$vm_why"
vm_kernel || skip_all "$vm_why"
! ldd "$GATEWAYD" | grep -q 'lib[a-z]*san\.' ||
	skip_all "the image has no sanitizers"

# The host's own Debian, so that its programs run there.
. /etc/os-release
[ "${ID-}" = debian ] || skip_all "needs a Debian host to make its image"

# The packages that hold the libraries of gatewayd.
library_packages() {
	{ ldd "$GATEWAYD"; ldd "$GATEWAYCTL"; } |
		awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
		while read -r library; do
			dpkg-query -S "$library" 2>/dev/null ||
				dpkg-query -S "$(readlink -f "$library")"
		done | sed 's/:.*//' | sort -u | tr '\n' ,
}

# Set $image, an ext4 file system with systemd and those packages.
have_image() {
	packages=usr-is-merged,systemd-sysv,$(library_packages)
	image=$VM_CACHE/$VERSION_CODENAME-$(echo "$packages" | cksum | cut -d ' ' -f 1).ext4
	[ ! -f "$image" ] || return 0
	# shellcheck disable=SC2016 # $1 is the root directory
	mmdebstrap --quiet --mode=root --variant=essential --format=directory \
		--include="${packages%,}" \
		--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
		--aptopt='Apt::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook='rm -rf "$1"/var/lib/apt/lists/*' \
		"$VERSION_CODENAME" "$tmp/root" >"$tmp/mmdebstrap.log" 2>&1 &&
	mkfs.ext4 -q -O ^has_journal -d "$tmp/root" "$tmp/image" 512M \
		>>"$tmp/mmdebstrap.log" 2>&1 &&
	cp --sparse=always "$tmp/image" "$image.$$" && mv "$image.$$" "$image"
	made=$?
	rm -rf "$tmp/root" "$tmp/image" "$image.$$"
	return $made
}

have_image || {
	note "$(tail -n 20 "$tmp/mmdebstrap.log")"
	skip_all "cannot make an image of $VERSION_CODENAME"
}

# All that is put into the image before systemd starts.
payload=$tmp/payload
mkdir -p "$payload/etc/systemd/system" "$payload/home/data" "$payload/test"
check "make install" env MAKEFLAGS= make -s -C "$top_builddir" install \
	DESTDIR="$payload" || finish
cp "$top_srcdir/tests/system/systemd-guest.sh" "$payload/test"
(cd "$payload" && find . -name gatewayd.conf -path '*etc*' ! -name '*.d' ;
	cd "$payload" && find . -name mknod.conf) | sed 's|^\.||' \
	>"$payload/test/installed"
echo 0123456789abcdef0123456789abcdef >"$payload/etc/machine-id"
cat >"$payload/etc/systemd/system/check.target" <<'END'
[Unit]
Requires=basic.target check.service
After=basic.target
AllowIsolate=yes
END
cat >"$payload/etc/systemd/system/check.service" <<'END'
[Unit]
After=basic.target
[Service]
ExecStart=/bin/bash /test/systemd-guest.sh
ExecStopPost=/bin/systemctl poweroff --force --force
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
END
(cd "$payload" && tar -cf "$tmp/payload.tar" --owner=0 --group=0 .)

cat >"$tmp/pid1.sh" <<'END'
mkdir /image
mount -t ext4 /dev/vda /image
tar -xf /payload.tar -C /image
exec switch_root /image /lib/systemd/systemd
END

vm_initrd "$tmp/initrd" "$tmp/pid1.sh" "$tmp/pid1.sh:/pid1.sh" \
	"$tmp/payload.tar:/payload.tar" || bail "$vm_why"
at_exit vm_stop
VM_MEMORY=512M
VM_APPEND="systemd.unit=check.target systemd.show_status=no loglevel=4"
began=$(date +%s)
vm_start "$tmp/console" "$tmp/initrd" -- -no-reboot \
	-drive "file=$image,format=raw,if=none,id=image,snapshot=on" \
	-device virtio-blk-pci,drive=image
vm_wait_end 300 || {
	note "$(vm_output | tail -n 60)"
	bail "$vm_why"
}
note "the guest ran for $(($(date +%s) - began)) s"
vm_report
vm_output | sed -n 's/^VM: note: //p' >"$tmp/notes"
note "$(cat "$tmp/notes")"
check "the guest ran to the end" grep -q '^VM: all done' "$tmp/console"
finish
