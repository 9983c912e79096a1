# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Random file operations against a model, through the host kernel's own FUSE
# client; what was written is compared on the host as well.  FSOPS_SEED
# repeats a run.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
fsops=$top_builddir/tests/system/fsops

mkdir "$tmp/disk"
set -- "disk:$tmp/disk"
if memory=$(mktemp -d /dev/shm/gatewayd-test-XXXXXX 2>/dev/null); then
	at_exit "rm -rf '$memory'"
	chmod 755 "$memory"
	set -- "$@" "memory:$memory"
fi
start_gatewayd "$@"
mount_share disk "$tmp/mnt"

# run WORDS MOUNT HOST OPERATIONS [ARGUMENT...]
run() {
	words=$1 mnt=$2 host=$3 n=$4
	shift 4
	check "$words" "$fsops" -n "$n" ${FSOPS_SEED:+-s "$FSOPS_SEED"} \
		--other-side "$host" "$@" "$mnt"
	sed -n 's/^fsops: seed/# seed/p' "$tmp/check.out"
	rm -rf "${mnt:?}"/*
}

n=$(scaled 15000)
run "$n operations on a disk" "$tmp/mnt" "$tmp/disk" "$n"
run "one process" "$tmp/mnt" "$tmp/disk" "$(scaled 3000)" -p 1
is "nothing is left on the host" "$(ls -A "$tmp/disk")" ""

if [ -n "$memory" ]; then
	mount_share memory "$tmp/mnt2"
	n=$(scaled 20000)
	run "$n operations in memory" "$tmp/mnt2" "$memory" "$n"
fi

# Two guests of one share: what one writes, the other reads.
mount_share disk "$tmp/mnt3"
cp -r "$top_srcdir/tests" "$tmp/mnt/copy"
check "a second mount shows what the first wrote" \
	diff -r "$top_srcdir/tests" "$tmp/mnt3/copy"
rm -rf "$tmp/mnt3/copy"

# A test that finds nothing wrong must be able to.
for fault in data mode name result; do
	rm -rf "${tmp:?}/mnt"/*
	"$fsops" -n 3000 --plant-fault "$fault" "$tmp/mnt" >"$tmp/out" 2>&1
	is "a planted fault is found: $fault" $? 1 || note "$(cat "$tmp/out")"
done
finish
