# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Users and groups by other numbers under the host kernel's own FUSE client:
# what people do on a mount, what they then see, what the host has.  The same
# is asked of the Rust virtiofsd where there is one that knows the rules
# (VIRTIOFSD_RUST=PROGRAM).

. "${top_srcdir:-.}/tests/functions.sh"

: "${VIRTIOFSD_RUST:=/usr/libexec/virtiofsd}"

requires_root
requires_fuse
requires setpriv tar

# Rules as both take them: KEY RULE.
map='uid map:1000:5000:10
gid map:1000:6000:10
uid forbid-guest:3000:1
gid forbid-guest:3000:1'
squash='uid squash-guest:0:1001:4294967295
gid squash-guest:0:100:4294967295
uid host:1001:1000:1
gid host:100:1000:1'

# section TAG RULES [LINE...]: a share for gatewayd.
section() {
	mkdir "$tmp/$1"
	chmod 1777 "$tmp/$1"
	printf '[%s]\npath = %s\n' "$1" "$tmp/$1"
	printf '%s\n' "$2" | sed -n 's/^\([ug]id\) /translate_\1 = /p'
	shift 2
	[ $# -eq 0 ] || printf '%s\n' "$@"
}

# as UID GID COMMAND...
as() {
	as_uid=$1 as_gid=$2
	shift 2
	setpriv --reuid "$as_uid" --regid "$as_gid" --clear-groups \
		--inh-caps=-all "$@"
}

# What several people do in a directory; which of it fails is part of it.
work() (
	cd "$1" || exit
	for who in 0 1000 1001 1009 1010 3000 70000; do
		as $who $who touch "file-$who" 2>/dev/null
		as $who $who mkdir "dir-$who" 2>/dev/null
		as $who $who ln -s x "link-$who" 2>/dev/null
		as $who $who mkfifo "fifo-$who" 2>/dev/null
		as $who $who sh -c "echo $who >dir-$who/inside" 2>/dev/null
	done
	touch given forbidden left
	chown 1002:1003 given
	chown 3000 forbidden 2>/dev/null || echo "chown 3000 fails"
	chgrp 3000 forbidden 2>/dev/null || echo "chgrp 3000 fails"
	chown -h 1004:1005 link-0
	chgrp 1001 left
	echo more 2>/dev/null >>dir-1000/inside
)

# A line for each name: who it is.
list() {
	(cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G\n' |
		LC_ALL=C sort)
}

# owner FILE
owner() {
	stat -c %u:%g "$1" 2>/dev/null || echo none
}

{
	section map "$map"
	section squash "$squash"
	section forced "" 'force_user = 4242' 'force_group = 4343' \
		'create_mask = 0640' 'directory_mask = 0750'
} >"$run/conf.d/ids.conf"
start_gatewayd
for tag in map squash forced; do
	mount_share $tag "$tmp/mnt-$tag"
	work "$tmp/mnt-$tag" >"$tmp/$tag.said"
	list "$tmp/mnt-$tag" >"$tmp/$tag.guest"
	list "$tmp/$tag" >"$tmp/$tag.host"
done
m=$tmp/mnt-map h=$tmp/map

note "map"
is "a file of the guest's 1000" "$(owner "$h/file-1000")" 5000:6000
is "shown as his" "$(owner "$m/file-1000")" 1000:1000
is "the end of the range" "$(owner "$h/dir-1009")" 5009:6009
is "behind it" "$(owner "$h/link-1010")" 1010:1010
is "root" "$(owner "$h/file-0")" 0:0
is "a forbidden user makes nothing" "$(owner "$h/file-3000")" none
is "chown" "$(owner "$h/given")" 5002:6003
is "chown of a link" "$(owner "$h/link-0")" 5004:6005
is "chgrp" "$(owner "$h/left")" 0:6001
is "chown to a forbidden one fails" "$(cat "$tmp/map.said")" \
	"chown 3000 fails
chgrp 3000 fails"
check "it is the owner whom the kernel lets in" \
	as 1000 1000 sh -c "echo x >>'$m/dir-1000/inside'"
check "and not who has his number on the host" \
	sh -c "! setpriv --reuid 5000 --regid 6000 --clear-groups \
		touch '$m/dir-1000/new' 2>/dev/null"
is "only what was forbidden was refused" \
	"$(ctl read shares/map/stats | sed -n 's/^ids_refused //p')" 6

note "squash"
is "all files are the daemon's" \
	"$(cut -d' ' -f4 "$tmp/squash.host" | sort -u)" 1001:100
is "and shown as the user's" \
	"$(cut -d' ' -f4 "$tmp/squash.guest" | sort -u)" 1000:1000
check "tar restores what many users had" sh -c "
	tar -C '$m' -cf - . | tar -C '$tmp/mnt-squash' -xpf -"

note "force"
is "all files are one user's" \
	"$(cut -d' ' -f4 "$tmp/forced.host" | sort -u)" 4242:4343
is "and shown so" "$(cut -d' ' -f4 "$tmp/forced.guest" | sort -u)" 4242:4343
is "masks" "$(stat -c %a "$tmp/forced/file-0" "$tmp/forced/dir-0" | tr '\n' ' ')" \
	"640 750 "

note "the Rust virtiofsd"
if ! "$VIRTIOFSD_RUST" --help 2>/dev/null | grep -q translate-uid; then
	skip "compared with it" "$VIRTIOFSD_RUST is none that translates"
	finish
fi
for tag in map squash; do
	eval "rules=\$$tag"
	set -- "--shared-dir=$tmp/peer-$tag" "--socket-path=$run/peer-$tag.sock"
	# shellcheck disable=SC2046,SC2154 # words; rules is set above
	set -- "$@" $(printf '%s\n' "$rules" |
		sed 's/^\([ug]id\) /--translate-\1=/')
	mkdir "$tmp/peer-$tag"
	chmod 1777 "$tmp/peer-$tag"
	# shellcheck disable=SC2086
	$dies_with_us "$VIRTIOFSD_RUST" --sandbox=none "$@" \
		>"$run/peer.log" 2>&1 &
	tries=100
	until [ -S "$run/peer-$tag.sock" ] || [ $tries -eq 0 ]; do
		tries=$((tries - 1))
		sleep 0.1
	done
	mount_share "peer-$tag" "$tmp/mnt-peer-$tag"
	work "$tmp/mnt-peer-$tag" >"$tmp/peer-$tag.said"
	list "$tmp/mnt-peer-$tag" >"$tmp/peer-$tag.guest"
	list "$tmp/peer-$tag" >"$tmp/peer-$tag.host"
	for what in said guest host; do
		check "$tag: the same $what" \
			diff "$tmp/peer-$tag.$what" "$tmp/$tag.$what"
	done
done
finish
