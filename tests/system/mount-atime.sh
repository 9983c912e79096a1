# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Times of access: who reads, runs or lists leaves one behind, unless the mount
# is noatime, nodiratime or read-only and the share has preserve_noatime.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse

mkdir "$tmp/share" "$tmp/mnt"
mnt=$tmp/mnt
cat >"$run/conf.d/atime.conf" <<END
[defaults]
cache = never
[kept]
path = $tmp/share
preserve_noatime = yes
[left]
path = $tmp/share
preserve_noatime = no
END

# age: everything was last read long ago, and written since, so that relatime
# sees a read.
age() {
	touch -m -d 2021-01-01 "$tmp/share/d" "$tmp/share/true"
	touch -a -d 2020-01-01 "$tmp/share/d" "$tmp/share/true"
}

# times: which of the two have been read since.
times() {
	for name in true d; do
		[ "$(stat -c %X "$tmp/share/$name")" -gt 1600000000 ] &&
			printf '%s ' "$name"
	done
	:
}

# over TAG OPTIONS WANT: run and list over such a mount.
over() {
	"$GATEWAYCTL" mount -o "$2" --socket "$(sock "$1")" "$mnt" ||
		bail "cannot mount"
	age
	is "$1, $2: it runs" "$("$mnt/true" && echo yes)" yes
	is "$1, $2: it lists" "$(ls "$mnt/d")" name
	is "$1, $2: read since" "$(times)" "$3"
	umount "$mnt"
}

mkdir "$tmp/share/d"
touch "$tmp/share/d/name"
cp /bin/true "$tmp/share/true"
age
"$tmp/share/true" && ls "$tmp/share/d" >"$tmp/list"
[ "$(times)" = "true d " ] || skip_all "the host's disk is mounted noatime"

at_exit 'umount -l "$mnt" 2>/dev/null'
start_gatewayd
over kept rw "true d "
over kept noatime ""
over kept nodiratime "true "
over kept ro ""
over left noatime "true d "
finish
