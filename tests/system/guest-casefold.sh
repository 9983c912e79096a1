# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Names without case under another kernel than that of this host, which may keep
# time in coarser steps (T31), on an ext4 disk, and in directories in which that
# kernel itself folds names (T16): the tests run inside the guest.

. "${top_srcdir:-.}/tests/functions.sh"
. "$top_srcdir/tests/system/vm.sh"

requires_root
requires mkfs.ext4 ldd
vm_needs || skip_all "$vm_why"
vm_kernel || skip_all "$vm_why"

cat >"$tmp/test.sh" <<GUEST
export SCALE=$(awk -v s="$SCALE" 'BEGIN { print s / 10 }')
GUEST
cat >>"$tmp/test.sh" <<'GUEST'
mkdir -p /disk /dev/shm
mount -t tmpfs none /dev/shm
mount -t tmpfs none /tmp
mount -t ext4 /dev/vda /disk || exit 1
for t in host oracle; do
	if /t/test-casefold-$t /disk >/tmp/out; then
		echo "VM: good: $t"
	else
		echo "VM: bad: $t"
	fi
	grep '^not ok\|^#\|^Bail\|T16\|T34' /tmp/out
done
GUEST

set -f
# shellcheck disable=SC2046 # no blanks in these paths
set -- $(for f in host oracle; do
	f=$top_builddir/tests/test-casefold-$f
	vm_with_libraries "$f" "/t/$(basename "$f")"
done | sort -u)
set +f
vm_initrd "$tmp/initrd" "$tmp/test.sh" "$@" || bail "$vm_why"
truncate -s 128M "$tmp/disk"
check "make an ext4 file system that can fold names" \
	mkfs.ext4 -q -F -O casefold "$tmp/disk"

at_exit vm_stop
vm_start "$tmp/console" "$tmp/initrd" -- \
	-drive "if=none,id=disk,format=raw,file=$tmp/disk,cache=unsafe" \
	-device virtio-blk-pci,drive=disk
if ! vm_wait "VM: script ended" $((240 + $(scaled 60))) || ! vm_wait_end 30; then
	note "$(vm_output | tail -n 40)"
	bail "$vm_why"
fi
vm_report
note "Linux $vm_release"
vm_output | sed -n 's/^\(ok .*T[13][64][ ,].*\)/# \1/p'
is "tests that ran" "$(wc -l <"$tmp/results")" 2
if vm_output | grep -q 'T16 # SKIP'; then
	skip "T16" "the guest's kernel does not fold names"
else
	check "T16: the kernel folded names" \
		grep -q 'T16 +F: the kernel finds it' "$tmp/console"
fi
finish
