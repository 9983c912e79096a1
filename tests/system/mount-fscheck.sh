# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# fscheck on a mounted share with the defaults, and with other keys; first on
# the host's own file system, where everything must pass as well.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
fscheck=$top_builddir/tests/system/fscheck

mkdir "$tmp/host"
memory=$(mktemp -d /dev/shm/gatewayd-test-XXXXXX 2>/dev/null) &&
	at_exit "rm -rf '$memory'" && chmod 755 "$memory"

cat >"$run/conf.d/shares.conf" <<END
[defaults]
xattr = yes
[plain]
path = $tmp/plain
[never]
path = $tmp/never
cache = never
allow_mmap = yes
allow_direct_io = yes
locks = remote
[always]
path = $tmp/always
cache = always
writeback = yes
posix_acl = yes
killpriv_v2 = no
inline = no
[memory]
path = ${memory:-$tmp/plain}
END
mkdir "$tmp/plain" "$tmp/never" "$tmp/always"

# run WORDS DIR [HOST]
run() {
	words=$1
	shift
	"$fscheck" "$@" >"$tmp/out" 2>&1
	status=$?
	is "$words" "$status" 0 || sed -n '/^not ok/,/^ok/p' "$tmp/out" |
		grep -v '^ok' | sed 's/^/# /'
	note "$(grep -c '^ok' "$tmp/out") good," \
		"$(grep -c '^ok.*# SKIP' "$tmp/out") skipped"
	grep '# SKIP' "$tmp/out" | sed 's/^/# /'
}

run "on the host" "$tmp/host"
start_gatewayd
for tag in plain never always ${memory:+memory}; do
	mount_share "$tag" "$tmp/mnt-$tag"
	eval "host=$tmp/$tag"
	[ "$tag" != memory ] || host=$memory
	run "on $tag" "$tmp/mnt-$tag" "$host"
done
finish
