# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# A real Linux guest with two vhost-user-fs-pci devices of two tags, both
# served by one gatewayd.  Each side checks by checksum what the other wrote;
# the guest mounts what is mounted in a share, and lets go of it; then it
# reboots and mounts again.

. "${top_srcdir:-.}/tests/functions.sh"
. "$top_srcdir/tests/system/vm.sh"

requires_root
requires ldd
vm_needs || skip_all "$vm_why"
vm_kernel || skip_all "$vm_why"

# fill DIR: files of many sizes and SUMS, their checksums.
fill() {
	mkdir -p "$1/sub/deep" "$1/many"
	head -c 3000000 /dev/urandom >"$1/big"
	head -c 4096 /dev/urandom >"$1/page"
	head -c 4097 /dev/urandom >"$1/sub/page and a byte"
	: >"$1/sub/deep/empty"
	for i in $(seq 150); do
		echo "file $i of $1" >"$1/many/a-name-that-is-not-short-$i"
	done
	# shellcheck disable=SC2094 # SUMS is left out
	(cd "$1" && find . -type f ! -name SUMS -exec sha256sum {} + >SUMS)
}

vm_words >"$tmp/test.sh"
cat >>"$tmp/test.sh" <<'GUEST'
sums() (cd "$1" && sha256sum -c "$2")
count() [ "$(ls "$1" | wc -l)" -eq "$2" ]

write_all() {
	dd if=/dev/urandom of="$1/from-guest/big" bs=64k count=24 &&
	for i in $(seq 60); do
		echo "line $i" >"$1/from-guest/f$i" || return 1
	done
	echo more >>"$1/from-guest/f1" &&
	mv "$1/from-guest/f2" "$1/from-guest/renamed" &&
	rm "$1/from-guest/f3" &&
	ln "$1/from-guest/f4" "$1/from-guest/hard" &&
	ln -s f5 "$1/from-guest/soft" &&
	chmod 640 "$1/from-guest/f6" &&
	(cd "$1/from-guest" && sha256sum * >/tmp/sums) &&
	mv /tmp/sums "$1/GUEST_SUMS"
}

as_user() {
	start-stop-daemon -S -c user:user -x /bin/sh -- -c "$1"
}

first() {
	for tag in one two; do
		good "$tag: what the host wrote" sums /$tag SUMS
		good "$tag: 150 names in a directory" count /$tag/many 150
		mkdir /$tag/from-guest
		good "$tag: writing" write_all /$tag
		good "$tag: a user writes" as_user \
			"mkdir /$tag/open/d && echo mine >/$tag/open/d/file"
		good "$tag: read again" sums /$tag/from-guest ../GUEST_SUMS
	done
	good "one: a file system mounted in the share" /t/fscheck -m mounted /one /
	good "one: it has a device of its own" sh -c \
		'[ "$(stat -c %d /one)" != "$(stat -c %d /one/mounted)" ]'
	good "one: it is a mount of its own" umount /one/mounted
	echo 2 >/proc/sys/vm/drop_caches
	good "no tag three" sh -c '! mount -t virtiofs three /tmp'
	sync
	say "first part done"
	# The host now writes while both are mounted.
	for tag in one two; do
		n=0
		until [ -e /$tag/late/SUMS ] || [ $n -gt 300 ]; do
			n=$((n + 1))
			usleep 100000
		done
		good "$tag: what the host wrote meanwhile" sums /$tag/late SUMS
	done
	umount /two
	say "rebooting"
	sync
	reboot -f
}

second() {
	for tag in one two; do
		good "$tag: the host's files after reboot" sums /$tag SUMS
		good "$tag: our files after reboot" \
			sums /$tag/from-guest ../GUEST_SUMS
		echo again >/$tag/after-reboot
	done
	umount /one /two
}

mkdir /one /two
good "one: mount" mount -t virtiofs one /one
good "two: mount" mount -t virtiofs two /two
if [ -e /one/from-guest ]; then
	second
else
	first
fi
GUEST

give_up() {
	note "$(vm_output | tail -n 40)"
	note "$(tail -n 20 "$log")"
	bail "$vm_why"
}

# shellcheck disable=SC2317 # called by check
sums_of_guest() (
	cd "$1/from-guest" && sha256sum -c ../GUEST_SUMS
)

host_sees() {
	check "host: $1: what the guest wrote" \
		sums_of_guest "$tmp/$1"
	is "host: $1: number of files" "$(find "$tmp/$1/from-guest" | wc -l)" 63
	is "host: $1: symbolic link" "$(readlink "$tmp/$1/from-guest/soft")" f5
	is "host: $1: hard link" "$(stat -c %h "$tmp/$1/from-guest/f4")" 2
	is "host: $1: mode" "$(stat -c %a "$tmp/$1/from-guest/f6")" 640
	is "host: $1: owner" "$(stat -c %u:%g "$tmp/$1/open/d/file")" 1000:1000
}

for tag in one two; do
	fill "$tmp/$tag"
	mkdir -m 777 "$tmp/$tag/open"
done
mkdir "$tmp/one/mounted"
mount -t tmpfs -o size=4m tmpfs "$tmp/one/mounted" || skip_all "cannot mount a tmpfs"
at_exit "umount -l '$tmp/one/mounted' 2>/dev/null"
start_gatewayd "one:$tmp/one" "two:$tmp/two"

# shellcheck disable=SC2046 # no blanks in these paths
vm_initrd "$tmp/initrd" "$tmp/test.sh" $(vm_with_libraries \
	"$top_builddir/tests/system/fscheck" /t/fscheck) || bail "$vm_why"
at_exit vm_stop
vm_start "$tmp/console" "$tmp/initrd" "one=$(sock one)" "two=$(sock two)"
vm_wait "VM: first part done" 90 || give_up
host_sees one
host_sees two
# As README says: the guest has unmounted it, and remembers nothing of it.
check "host: one: what is mounted in it can be unmounted" timeout 60 sh -c \
	'until umount "$1"; do sleep 0.5; done' - "$tmp/one/mounted"
for tag in one two; do
	mkdir "$tmp/$tag/late"
	fill "$tmp/$tag/late.new"
	mv "$tmp/$tag/late.new/"[!S]* "$tmp/$tag/late"
	mv "$tmp/$tag/late.new/SUMS" "$tmp/$tag/late"
done
vm_wait "VM: rebooting" 60 || give_up
vm_wait "VM: script ended" 60 || give_up
vm_wait_end 30 || give_up
vm_report
is "the guest ran every check" "$(wc -l <"$tmp/results")" 24
is "host: one: written after the reboot" "$(cat "$tmp/one/after-reboot")" again
is "host: two: written after the reboot" "$(cat "$tmp/two/after-reboot")" again
check "the daemon is still there" kill -0 "$GATEWAYD_PID"
finish
