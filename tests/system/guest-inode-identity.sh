# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Inode identity on ext4 of Linux 6.1, where nearly every new file gets the
# inode number and the birth time of the one removed before: gatewayd runs
# inside the guest, on an ext4 disk, and is mounted there.

. "${top_srcdir:-.}/tests/functions.sh"
. "$top_srcdir/tests/system/vm.sh"

requires_root
requires mkfs.ext4 ldd
vm_needs || skip_all "$vm_why"
vm_kernel || skip_all "$vm_why"
case $vm_release in
6.1.*) ;;
*) skip_all "needs a 6.1 kernel for the guest, have $vm_release" ;;
esac

cycles=$(scaled 240)
VM_CPUS=1	# twice as many are six times as slow, emulated
echo "cycles=$cycles" >"$tmp/test.sh"
cat >>"$tmp/test.sh" <<'GUEST'
wait_for() {
	tries=100
	until "$@" || [ $tries -eq 0 ]; do
		tries=$((tries - 1))
		usleep 100000
	done
	"$@"
}

mkdir -p /disk /run/gw/conf.d /mnt
mount -t ext4 /dev/vda /disk || exit 1
mkdir -m 755 /disk/share
{
	echo "[gateway]"
	echo "socket_dir = /run/gw"
	echo "control_socket = /run/gw/ctl"
	# So that files that nobody uses are soon closed and not held fast.
	echo "[defaults]"
	echo "max_fds = 16"
} >/run/gw/gatewayd.conf
/t/gatewayd -c /run/gw/gatewayd.conf --share disk:/disk/share &
daemon=$!
wait_for test -S /run/gw/disk.sock
/t/gatewayctl mount -f --socket /run/gw/disk.sock /mnt &
wait_for grep -q ' /mnt ' /proc/mounts || exit 2
echo "VM: mounted"
/t/inodecycle -n "$cycles" --set-clock /mnt /disk/share
echo "VM: inodecycle ended with $?"
umount /mnt
kill -TERM $daemon
wait $daemon
echo "VM: gatewayd ended with $?"
GUEST

# Programs with the libraries that they need, as words for vm_initrd.
set -f
# shellcheck disable=SC2046 # no blanks in these paths
set -- $(for f in "$GATEWAYD" "$GATEWAYCTL" \
	"$top_builddir/tests/system/inodecycle"; do
	vm_with_libraries "$f" "/t/$(basename "$f")"
done | sort -u)
set +f
vm_initrd "$tmp/initrd" "$tmp/test.sh" "$@" || bail "$vm_why"
truncate -s 128M "$tmp/disk"
check "make an ext4 file system" mkfs.ext4 -q -F "$tmp/disk"

at_exit vm_stop
vm_start "$tmp/console" "$tmp/initrd" -- \
	-drive "if=none,id=disk,format=raw,file=$tmp/disk,cache=unsafe" \
	-device virtio-blk-pci,drive=disk
if ! vm_wait "VM: script ended" $((120 + $(scaled 60))) || ! vm_wait_end 30; then
	note "$(vm_output | tail -n 40)"
	bail "$vm_why"
fi

vm_output >"$tmp/said"
check "gatewayd was mounted in the guest" grep -q "^VM: mounted" "$tmp/said"
check "no file was taken for another" \
	grep -q "^VM: inodecycle ended with 0" "$tmp/said"
check "gatewayd ended well in the guest" \
	grep -q "^VM: gatewayd ended with 0" "$tmp/said"
[ "$tap_failed" -eq 0 ] || note "$(tail -n 40 "$tmp/said")"

# A test in which no number ever came back would show nothing.
grep "number came back" "$tmp/said" | sed 's/^/# /'
sed -n 's/\(.*\): number came back in \([0-9]*\) of.* \([0-9]*\) times.*/\2 \3 \1/p' \
	"$tmp/said" >"$tmp/counts"
while read -r n births words; do
	case $words in
	*batches)
		check "$words: inode numbers came back" \
			test "$n" -ge $((cycles / 10))
		;;
	*"for long, clock set back")
		check "$words: with the same birth time" \
			test "$births" -ge $((cycles / 32))
		;;
	*"clock set back")
		check "$words: with the same birth time" \
			test "$births" -ge $((cycles / 16))
		;;
	esac
done <"$tmp/counts"
is "parts that were tried" "$(wc -l <"$tmp/counts")" 14
finish
