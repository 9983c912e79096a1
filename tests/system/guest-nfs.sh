# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# A real Linux guest exports a share again by its own NFS server and is its
# client, too: files are found by handle after the guest has forgotten them,
# and after it has unmounted the share and mounted it again.  For
# make check-long.  The NFS programs are the host's, shared as a second tag.

. "${top_srcdir:-.}/tests/functions.sh"
. "$top_srcdir/tests/system/vm.sh"

requires_root
for program in exportfs rpc.nfsd rpc.mountd mount.nfs4; do
	[ -x "/usr/sbin/$program" ] || skip_all "no /usr/sbin/$program"
done
VM_CACHE=$VM_CACHE/nfs
VM_MEMORY=512M
vm_modules="$vm_modules nfsd nfs nfsv4"
vm_needs || skip_all "$vm_why"
vm_kernel || skip_all "$vm_why"

vm_words >"$tmp/test.sh"
cat >>"$tmp/test.sh" <<'GUEST'
prepare() {
	for module in nfsd nfs nfsv4; do
		modprobe $module || return 1
	done
	ip link set lo up
	mkdir -p /share /client /host /run /var/lib/nfs/v4recovery
	touch /var/lib/nfs/etab /var/lib/nfs/rmtab
	printf 'udp 17 UDP\ntcp 6 TCP\n' >/etc/protocols
	for net in "udp tpi_clts" "tcp tpi_cots_ord"; do
		echo "$net v inet ${net%% *} - -"
	done >/etc/netconfig
	echo 'local tpi_cots_ord - loopback - - -' >>/etc/netconfig
	echo '127.0.0.1 localhost' >/etc/hosts
	echo 'nfs 2049/tcp' >/etc/services
	echo '/share 127.0.0.1(rw,fsid=1,no_subtree_check,no_root_squash)' \
		>/etc/exports
	mount -t virtiofs host /host && mount -t nfsd nfsd /proc/fs/nfsd &&
	echo 10 >/proc/fs/nfsd/nfsv4leasetime &&
	echo 10 >/proc/fs/nfsd/nfsv4gracetime &&
	ln -s /host/lib64 /lib64 &&
	ln -s /host/lib/x86_64-linux-gnu /lib
}

export_it() {
	/host/sbin/exportfs -ra && /host/sbin/rpc.nfsd -N 3 4
}

# Inodes and names that nobody uses.
forget() {
	for i in 1 2; do
		sync
		echo 3 >/proc/sys/vm/drop_caches
		sleep 1
	done
}

write_all() {
	for i in $(seq 300); do
		echo "from the client $i" >f$i || return 1
	done
}

read_all() {
	for i in $(seq 300); do
		[ "$(cat f$i)" = "from the client $i" ] || return 1
	done
}

good "programs of the host" prepare
good "mount" mount -t virtiofs share /share
good "export" export_it
/host/sbin/rpc.mountd -N 3 </dev/null >/dev/null 2>&1 &
sleep 1
good "mount by NFS" /host/sbin/mount.nfs4 127.0.0.1:/share /client \
	-o vers=4.2,noac,lookupcache=none
good "what the host wrote" grep -q "from the host" /client/a/b/file
cd /client/a/b || say "bad: the directory"
good "write files" write_all
exec 5<f5 6>>f6
forget
good "all are read, after the guest forgot them" read_all
read -r line <&5
good "one that was open" [ "$line" = "from the client 5" ]
echo more >&6
good "writing to another" [ "$(wc -l <f6)" -eq 2 ]
# The client must not ask while nobody answers.
cd /
/host/sbin/rpc.nfsd 0
/host/sbin/exportfs -ua
sleep 1
good "umount below the client" umount /share
good "mount again" mount -t virtiofs share /share
good "export again" export_it
good "the client goes on" timeout 60 grep -q "from the client 78" \
	/client/a/b/f78
echo more >&6
good "with what it has open, too" [ "$(wc -l </share/a/b/f6)" -eq 3 ]
GUEST

mkdir -p "$tmp/share/a/b"
echo "from the host" >"$tmp/share/a/b/file"
cat >"$run/conf.d/shares.conf" <<END
[share]
path = $tmp/share
export_support = yes
[host]
path = /usr
readonly = yes
END
start_gatewayd
vm_initrd "$tmp/initrd" "$tmp/test.sh" || bail "$vm_why"
at_exit vm_stop
vm_start "$tmp/console" "$tmp/initrd" share="$(sock share)" host="$(sock host)"
vm_wait_end 300 || note "$vm_why"
vm_report
check "the guest came to the end" grep -q "good with what it has open" \
	"$tmp/results" || note "$(vm_output | tail -n 40)"
finish
