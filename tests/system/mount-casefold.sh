# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Names without case under the host kernel's own FUSE client: what a Linux
# guest sees of a share with casefold = nt (T60), what the host does to it
# meanwhile, and what is left after a restart (T40, T41).

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse

mkdir "$tmp/share" "$tmp/plain"
cat >"$run/conf.d/casefold.conf" <<C
[folded]
path = $tmp/share
casefold = nt
wine_marker = yes
C
start_gatewayd "plain:$tmp/plain"
mount_share folded "$tmp/mnt"
m=$tmp/mnt
h=$tmp/share

# stat_of NAME
stat_of() {
	stat -c %n "$m/$1" 2>&1 | sed "s|.*: ||;s|$m/||"
}
gone='No such file or directory'

# The counter of that name.
count() {
	ctl read shares/folded/stats | sed -n "s/^casefold_$1 //p"
}

# ---- both spellings are one file
mkdir "$m/Dir"
echo text >"$m/Dir/File.Txt"
is "ls of both spellings" "$(cd "$m" && LC_ALL=C ls -d Dir dir DIR Dir | tr '\n' ' ')" \
	"DIR Dir Dir dir "
check "and of what is in it" ls -l "$m/Dir" "$m/dir" "$m/DIR"
is "one inode" "$(stat -c %i "$m/Dir/File.Txt")" \
	"$(stat -c %i "$m/dIR/fILE.tXT")"
is "its text by another spelling" "$(cat "$m/DIR/FILE.TXT")" text
is "written by another spelling" \
	"$(echo more >>"$m/dir/file.txt"; cat "$h/Dir/File.Txt")" "text
more"
is "the name keeps its case" "$(ls "$m/dir")" File.Txt
check "mkdir of another spelling is refused" sh -c "! mkdir '$m/dir'"
check "noclobber opens nothing" sh -c "! (set -C; : >'$m/Dir/FILE.txt')"
# shellcheck disable=SC2016 # for the other shell
is "a walk through all spellings" "$(cd "$m" && sh -c '
	for i in 1 2 3 4 5 6 7 8 9; do
		for d in Dir dir DIR dIr; do
			cat $d/FILE.txt >/dev/null && ls $d/file.TXT || exit 1
		done
	done' | sort -u | wc -l)" 4

# Four processes at once, each with its own spellings (T60).
for d in Dir dir DIR diR; do
	sh -c "cd '$m' && for i in \$(seq $(scaled 300)); do
		cat $d/file.txt >/dev/null || exit 1
		ls $d >/dev/null || exit 1
	done" &
	walkers="${walkers-} $!"
done
failed=0
for pid in $walkers; do
	wait "$pid" || failed=$((failed + 1))
done
is "four walkers at once" "$failed" 0

# Names of the host's directory, by a pattern that ignores case.
on_host() {
	find "$h" -mindepth 1 -maxdepth 1 -iname "$1" -printf '%f\n'
}

# ---- nothing stays in the dentry cache
: >"$m/One"
stat "$m/one" "$m/ONE" >/dev/null
rm "$m/oNE"
is "removed by one spelling, gone by the first" "$(stat_of One)" "$gone"
is "and by another" "$(stat_of one)" "$gone"
: >"$m/one"
is "made anew in another spelling" "$(stat_of ONE)" ONE
is "the host sees the new one" "$(on_host '*one*')" one
rm "$h/one"
is "what the host removes is gone" "$(stat_of ONE)" "$gone"
: >"$h/oNe"
is "what the host makes is there" "$(stat_of one)" one
mv "$h/oNe" "$h/Two"
is "what it renames is gone" "$(stat_of one)" "$gone"
is "and there" "$(stat_of tWO)" tWO
rmdir "$m/DIR" 2>/dev/null
check "rmdir of a directory that is not empty fails" test -d "$h/Dir"
rm "$m/two"

# ---- renames.  Linux itself takes two names of one inode for done already, so
# a change of case goes by way of another name.
: >"$m/Foo"
note "mv Foo foo: $(mv "$m/Foo" "$m/foo" 2>&1 && ls "$h")"
is "mv Foo foo loses nothing" "$(on_host foo | wc -l)" 1
mv "$m/FOO" "$m/x" && mv "$m/X" "$m/foo"
is "in two steps it changes the case" "$(on_host '*foo*')" foo
: >"$m/Bar"
mv -f "$m/bar" "$m/FOO"
is "mv onto another spelling replaces it" "$(on_host foo | wc -l)" 1
is "nothing else is left" "$(on_host '*bar*' | wc -l)" 0
mv "$m/dir" "$m/Moved"
is "a directory by another spelling" "$(cat "$m/moved/file.txt" | head -1)" text
mkdir "$m/Other"
mv "$m/MOVED/file.txt" "$m/OTHER/New"
is "to another directory" "$(ls "$h/Other")" New
rm -r "$m/MOVED" "$m/other" "$m/foo"
is "nothing is left" "$(ls -A "$h")" ""

is "T62: Wine's marker is found" "$(stat_of .ciopfs)" .ciopfs
is "but not listed" "$(ls -A "$m")" ""

if command -v lsattr >/dev/null 2>&1; then
	mkdir "$m/D"
	check "lsattr shows that a directory folds" sh -c \
		"lsattr -d '$m/D' | cut -d' ' -f1 | grep -q F"
	rmdir "$m/d"
fi

# ---- real programs
if command -v git >/dev/null 2>&1; then
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
	export GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.org
	export GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.org
	git init -q "$tmp/repo"
	cp -rL "$top_srcdir/tests" "$top_srcdir/fuse" "$tmp/repo"
	git -C "$tmp/repo" add -A && git -C "$tmp/repo" commit -qm all
	check "git clone" git clone -q "$tmp/repo" "$m/Clone"
	is "git knows that case is ignored" \
		"$(git -C "$m/clone" config core.ignorecase)" true
	check "git status by another spelling" \
		git -C "$m/CLONE" diff --exit-code
	check "git fsck" git -C "$m/clone" fsck --strict
	check "the same files" diff -r -x .git "$tmp/repo" "$m/cLONE"
	check "and removed" rm -rf "$m/clone"
else
	skip "git clone" "git is not installed"
fi
(cd /usr/include && tar cf - linux asm-generic) | (cd "$m" && tar xf -)
for d in linux asm-generic; do	# xt_MARK.h and xt_mark.h are one here
	is "tar of $d" "$(find "$m/$d" -type f | wc -l)" \
		"$(cd "/usr/include/$d" && find . -type f |
			tr '[:upper:]' '[:lower:]' | sort -u | wc -l)"
done
rm -rf "$m/LINUX" "$m/ASM-generic"
is "all removed" "$(ls -A "$h")" ""

# ---- counters and words
check "hits were counted" test "$(count hits)" -gt 0
check "misses were counted" test "$(count misses)" -gt 0
: >"$h/Same"
: >"$h/same"
is "two names that differ in case" "$(stat_of SAME)" SAME
check "are counted" test "$(count collisions)" -gt 0
check "and logged" grep -q 'differ only in case: "Same" and "same"' "$log"
rm "$h/Same" "$h/same"


check "nor the words" sh -c \
	"! '$GATEWAYCTL' -s '$run/ctl' write shares/plain/ctl casefold check"

# wait_for PATTERN FILE-OF-THE-SHARE
wait_for() {
	for _ in $(seq 100); do
		! ctl read "shares/folded/$2" | grep -q "$1" || return 0
		sleep 0.1
	done
	ctl read "shares/folded/$2"
	return 1
}

mkdir "$h/Big"
(cd "$h/Big" && seq -f 'Name %g' 5000 | xargs -d '\n' touch)
is "a name in a big directory" "$(stat_of 'big/nAME 4711')" 'big/nAME 4711'
check "it goes to cache.db" wait_for '^casefold_db_writes [1-9]' stats
check "which lies where it should" test -s "$run/cache/folded/cache.db"
check "casefold check" ctl write shares/folded/ctl casefold check
check "which finds nothing missing" \
	wait_for 'checked .* missing=0 .* db_damaged=0' casefold
check "and looked at the directory" sh -c \
	"'$GATEWAYCTL' -s '$run/ctl' read shares/folded/casefold |
	 grep -q 'names=5[0-9][0-9][0-9] '"
before=$(count scans)
check "casefold rebuild" ctl write shares/folded/ctl casefold rebuild
check "is logged" sh -c "for i in 1 2 3 4 5 6 7 8 9; do
	grep -q 'casefold rebuild: done' '$log' && exit; sleep 0.2; done; exit 1"
is "and then" "$(stat_of 'BIG/name 1')" 'BIG/name 1'
check "the directory was read again" test "$(count scans)" -gt "$before"
check "and written again" wait_for '^casefold_db_writes [2-9]' stats

# ---- a restart (T40): the first miss needs no scan
unmount_share "$m"
mounts=
stop_gatewayd
start_gatewayd "plain:$tmp/plain"
mount_share folded "$m"
is "T40: after a restart" "$(stat_of 'bIG/name 4999')" 'bIG/name 4999'
is "no such name" "$(stat_of 'bIG/name 5001')" "$gone"
check "from cache.db" test "$(count warm)" -eq 1
unmount_share "$m"
mounts=
stop_gatewayd
: >"$h/Big/Name 5001"
start_gatewayd "plain:$tmp/plain"
mount_share folded "$m"
is "T41: changed meanwhile" "$(stat_of 'bIG/name 5001')" 'bIG/name 5001'

# ---- switched off and on, and other settings
check "disable" ctl write shares/folded/ctl disable
is "a guest that stays does not mind" "$(stat_of 'bIG/name 5')" 'bIG/name 5'
hits=$(count hits)
unmount_share "$m"
mounts=
check "enable" ctl write shares/folded/ctl enable
mount_share folded "$m"
is "found again" "$(stat_of 'bIG/name 6')" 'bIG/name 6'
check "and counted on" test "$(count hits)" -gt "$hits"
sed -i 's/casefold = nt/casefold = no/' "$run/conf.d/casefold.conf"
check "reload" ctl write ctl reload
is "who is there keeps what was" "$(stat_of 'bIG/name 7')" 'bIG/name 7'
unmount_share "$m"
mounts=
mount_share folded "$m"
is "who comes has the new" "$(stat_of 'bIG/name 7')" "$gone"
is "the exact name" "$(stat_of 'Big/Name 7')" 'Big/Name 7'
check "counters stay" test "$(count hits)" -gt "$hits"
finish
