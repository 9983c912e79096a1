# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# fio with checksums on a mounted share, with several engines; then the same
# bytes verified once more on the host.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires fio

mkdir "$tmp/share" "$tmp/direct"
cat >"$run/conf.d/shares.conf" <<END
[fio]
path = $tmp/share
[direct]
path = $tmp/direct
allow_direct_io = yes
END
start_gatewayd
mount_share fio "$tmp/mnt"
mount_share direct "$tmp/mnt-direct"

# job DIR NAME ARGUMENT...
job() {
	job_dir=$1 job_name=$2
	shift 2
	(cd "$tmp" && fio --directory="$job_dir" --name="$job_name" --thread \
		--verify=crc32c --verify_fatal=1 --randseed=4711 "$@")
}

size=$(scaled 16)m
big="--ioengine=psync --rw=write --bs=1m --size=$(scaled 64)m"

check "random reads and writes, psync" job "$tmp/mnt" psync \
	--ioengine=psync --rw=randrw --bs=4k --size="$size" --numjobs=2
check "mixed sizes, fsync between" job "$tmp/mnt" mixed \
	--ioengine=psync --rw=randwrite --bsrange=512-128k --size="$size" \
	--fsync=64
check "libaio, depth 16" job "$tmp/mnt" libaio \
	--ioengine=libaio --iodepth=16 --rw=randwrite --bs=16k --size="$size"
# O_DIRECT on the mount, and on the host as well.
for mnt in mnt mnt-direct; do
	check "$mnt: O_DIRECT, psync" job "$tmp/$mnt" direct \
		--ioengine=psync --direct=1 --rw=randrw --bsrange=4k-64k \
		--size="$size"
	check "$mnt: O_DIRECT, libaio, depth 16" job "$tmp/$mnt" aio \
		--ioengine=libaio --direct=1 --iodepth=16 --rw=randwrite \
		--bs=16k --size="$size"
done
check "mmap" job "$tmp/mnt" mmap \
	--ioengine=mmap --rw=randwrite --bs=4k --size="$(scaled 8)m"
# shellcheck disable=SC2086 # several arguments
check "sequential, 1 MiB" job "$tmp/mnt" big $big
# shellcheck disable=SC2086
check "the host reads the same" job "$tmp/share" big $big --verify_only

# A checker that finds nothing wrong must be able to.
printf X | dd of="$tmp/share/big.0.0" bs=1 seek=70001 conv=notrunc 2>/dev/null
# shellcheck disable=SC2086
if job "$tmp/share" big $big --verify_only >"$tmp/out" 2>&1; then
	not_ok "a spoiled byte is found"
else
	ok "a spoiled byte is found"
fi
finish
