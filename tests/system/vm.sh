# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034
#
# A small Linux guest: Debian's own kernel, a busybox initrd made here, QEMU.
# Used by the system tests and by ./quickstart, so it needs nothing but a
# shell.  Functions return 0, or 1 with a sentence in $vm_why.
#
#	vm_needs
#	vm_kernel
#	vm_words
#	vm_initrd INITRD SCRIPT [FILE:NAME]...
#	vm_start CONSOLE INITRD TAG=SOCKET... [-- QEMU-ARGUMENT...]
#	vm_wait "words on the console" SECONDS
#	vm_stop
#
# The guest runs SCRIPT with busybox as its shell and tools, then switches
# itself off.  A FILE:/pid1.sh is read by its first process before that.  Everything it prints goes to the file CONSOLE.

: "${VM_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/gatewayd-tests}"
: "${VM_ACCEL:=tcg,thread=multi}"	# KVM: VM_ACCEL=kvm
: "${VM_MEMORY:=256M}" "${VM_CPUS:=2}"
vm_modules="virtio_pci virtio_blk fuse virtiofs"
vm_why=
vm_pid=

vm_needs() {
	[ "$(uname -m)" = x86_64 ] || {
		vm_why="the small guest needs an x86_64 machine"
		return 1
	}
	for vm_tool in qemu-system-x86_64 busybox; do
		command -v "$vm_tool" >/dev/null 2>&1 || {
			vm_why="$vm_tool is not installed"
			return 1
		}
	done
	# A busybox that wants libraries would not start in the initrd.
	if head -c 4096 "$(command -v busybox)" | grep -q ld-linux; then
		vm_why="busybox is not static (package busybox-static)"
		return 1
	fi
}

# Sets vm_kernel_dir: a directory with vmlinuz and lib/modules.  The package
# is downloaded once and unpacked into the cache, never installed.
vm_kernel() {
	mkdir -p "$VM_CACHE" || {
		vm_why="cannot make $VM_CACHE"
		return 1
	}
	vm_kernel_dir=$(vm_cached_kernel)
	[ -n "$vm_kernel_dir" ] || vm_fetch_kernel || return 1
	vm_release=$(basename "$vm_kernel_dir"/lib/modules/*)
}

vm_cached_kernel() {
	for vm_dir in "$VM_CACHE"/linux-image-*; do
		[ -f "$vm_dir/vmlinuz" ] && printf '%s\n' "$vm_dir"
	done | sort -V | tail -n 1
}

# linux-image-cloud-amd64 is empty and depends on the kernel of the day.
vm_kernel_package() {
	apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

vm_fetch_kernel() {
	vm_package=$(vm_kernel_package)
	if [ -z "$vm_package" ] && [ "$(id -u)" -eq 0 ]; then
		apt-get update >/dev/null 2>&1
		vm_package=$(vm_kernel_package)
	fi
	[ -n "$vm_package" ] || {
		vm_why="apt knows no linux-image-cloud-amd64 (apt-get update?)"
		return 1
	}
	vm_tmp=$(mktemp -d "$VM_CACHE/new-XXXXXX") || {
		vm_why="cannot write to $VM_CACHE"
		return 1
	}
	if vm_unpack_kernel "$vm_package" "$vm_tmp"; then
		# Somebody else may have been quicker; theirs is as good.
		mv -T "$vm_tmp/out" "$VM_CACHE/$vm_package" 2>/dev/null
	fi
	rm -rf "$vm_tmp"
	vm_kernel_dir=$(vm_cached_kernel)
	[ -n "$vm_kernel_dir" ] || {
		vm_why="cannot download $vm_package"
		return 1
	}
}

vm_unpack_kernel() (
	cd "$2" || exit 1
	apt-get -q -o APT::Sandbox::User=root download "$1" >log 2>&1 || {
		[ "$(id -u)" -eq 0 ] && apt-get update >/dev/null 2>&1 &&
			apt-get -q -o APT::Sandbox::User=root \
				download "$1" >log 2>&1
	} || exit 1
	dpkg -x linux-image-*.deb all || exit 1
	vm_rel=$(basename all/lib/modules/*)
	busybox depmod -b "$PWD/all" "$vm_rel" || exit 1
	mkdir -p "out/lib/modules/$vm_rel" || exit 1
	mv all/boot/vmlinuz-* out/vmlinuz || exit 1
	cd "all/lib/modules/$vm_rel" || exit 1
	for vm_mod in $vm_modules; do
		# shellcheck disable=SC2046 # a line of modules.dep is words
		cp --parents $(grep "/$vm_mod\.ko" modules.dep | head -n 1 |
			tr -d :) "$2/out/lib/modules/$vm_rel" || exit 1
	done
	cp modules.dep "$2/out/lib/modules/$vm_rel"
)

# The first program of the guest.
vm_init() {
	cat <<-'INIT'
	#!/bin/busybox sh
	/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /proc /sys /dev /tmp /etc
	/bin/busybox --install -s
	export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs dev /dev
	echo root:x:0:0::/:/bin/sh >/etc/passwd
	echo user:x:1000:1000::/:/bin/sh >>/etc/passwd
	printf 'root:x:0:\nuser:x:1000:\n' >/etc/group
	exec </dev/null >/dev/ttyS0 2>&1
	for module in virtio_pci virtio_blk virtiofs; do
		modprobe $module || echo "VM: cannot load $module"
	done
	[ ! -f /pid1.sh ] || . /pid1.sh
	echo "VM: Linux $(uname -r) is up"
	sh /test.sh
	echo "VM: script ended, status $?"
	sync
	poweroff -f
	INIT
}

# vm_initrd INITRD SCRIPT [FILE:NAME]...: NAME is where FILE stands in the
# guest, with its directories.
vm_initrd() {
	vm_out=$1
	vm_root=$(mktemp -d "${TMPDIR:-/tmp}/gatewayd-initrd-XXXXXX") || {
		vm_why="no directory for temporary files"
		return 1
	}
	chmod 755 "$vm_root"
	vm_fill_initrd "$@" && (
		cd "$vm_root" && find . | busybox cpio -o -H newc 2>/dev/null
	) >"$vm_out"
	vm_status=$?
	rm -rf "$vm_root"
	[ $vm_status -eq 0 ] || vm_why="cannot build the initrd"
	return $vm_status
}

vm_fill_initrd() {
	mkdir -p "$vm_root/bin" &&
		cp "$(command -v busybox)" "$vm_root/bin/busybox" &&
		cp -R "$vm_kernel_dir/lib" "$vm_root/lib" &&
		vm_init >"$vm_root/init" && chmod 755 "$vm_root/init" &&
		cp "$2" "$vm_root/test.sh" || return 1
	shift 2
	for vm_file; do
		vm_dest=$vm_root/${vm_file##*:}
		mkdir -p "$(dirname "$vm_dest")" &&
			cp -L "${vm_file%:*}" "$vm_dest" || return 1
	done
}

# The words that tests speak with in a guest, to begin SCRIPT with.
vm_words() {
	cat <<-'WORDS'
	say() { echo "VM: $*"; }
	# good WORDS COMMAND...
	good() {
		words=$1
		shift
		if "$@" >/tmp/out 2>&1; then say "good: $words"
		else say "bad: $words"; head -n 5 /tmp/out; fi
	}
	WORDS
}

# A program of the host and the libraries it needs, as FILE:NAME words.
vm_with_libraries() {
	printf '%s\n' "$1:$2"
	ldd "$1" | awk '$1 ~ /^\// { print $1 ":" $1 }
		$2 == "=>" && $3 ~ /^\// { print $3 ":" $3 }'
}

vm_start() {
	vm_console=$1
	vm_initrd_file=$2
	shift 2
	vm_n=0
	vm_left=$#
	# Turn TAG=SOCKET words into arguments, behind those that stay.
	while [ "$vm_left" -gt 0 ]; do
		vm_word=$1
		shift
		vm_left=$((vm_left - 1))
		if [ "$vm_word" = -- ]; then
			break
		fi
		vm_socket=$(printf %s "${vm_word#*=}" | sed 's/,/,,/g')
		set -- "$@" \
			-chardev "socket,id=fs$vm_n,path=$vm_socket" -device \
			"vhost-user-fs-pci,queue-size=1024,chardev=fs$vm_n,tag=${vm_word%%=*}"
		vm_n=$((vm_n + 1))
	done
	: >"$vm_console"
	# shellcheck disable=SC2086 # no word or several
	${dies_with_us-} qemu-system-x86_64 \
		-nodefaults -no-user-config -display none \
		-machine pc,memory-backend=mem -accel "$VM_ACCEL" -cpu max -smp "$VM_CPUS" \
		-m "$VM_MEMORY" \
		-object "memory-backend-memfd,id=mem,size=$VM_MEMORY,share=on" \
		-kernel "$vm_kernel_dir/vmlinuz" -initrd "$vm_initrd_file" \
		-append "console=ttyS0 quiet panic=5 ${VM_APPEND-}" \
		-chardev "file,id=console,path=$vm_console,append=on" \
		-serial chardev:console "$@" \
		</dev/null >"$vm_console.qemu" 2>&1 &
	vm_pid=$!
}

# Wait until the console shows the words (a basic regular expression).
vm_wait() {
	timeout "$2" tail -n +1 -s 0.2 -f --pid="$vm_pid" "$vm_console" |
		grep -q -m 1 -e "$1" && return 0
	if kill -0 "$vm_pid" 2>/dev/null; then
		vm_why="the guest did not say \"$1\" within $2 s"
	else
		vm_why="QEMU ended before the guest said \"$1\""
	fi
	return 1
}

# Wait until the guest has switched itself off.
vm_wait_end() {
	if timeout "$1" tail -f -s 0.2 --pid="$vm_pid" /dev/null; then
		wait "$vm_pid" 2>/dev/null
		vm_pid=
		return 0
	fi
	vm_why="the guest did not switch itself off within $1 s"
	return 1
}

vm_stop() {
	[ -n "$vm_pid" ] || return 0
	kill -KILL "$vm_pid" 2>/dev/null
	wait "$vm_pid" 2>/dev/null
	vm_pid=
}

# What the guest and QEMU said, without carriage returns.
vm_output() {
	tr -d '\r' <"$vm_console"
	[ ! -s "$vm_console.qemu" ] || sed 's/^/qemu: /' "$vm_console.qemu"
}

# For tests: one test point for each check of the guest, "VM: good: WORDS" or
# "VM: bad: WORDS" and lines about why.  They are in $tmp/results then.
vm_report() {
	# shellcheck disable=SC2154 # of functions.sh
	vm_output | sed -n 's/^VM: \(good\|bad\): /\1 /p' >"$tmp/results"
	while read -r vm_verdict vm_words; do
		if [ "$vm_verdict" = good ]; then
			ok "guest: $vm_words"
		else
			not_ok "guest: $vm_words" \
				"$(vm_output | grep -A 24 -F "bad: $vm_words" |
					sed '2,${/^VM: /,$d}')"
		fi
	done <"$tmp/results"
}
