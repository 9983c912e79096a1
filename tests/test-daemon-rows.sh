#!/bin/sh
# SPDX-License-Identifier: MIT
# What is recorded of files as text: set row by row, exported, imported into a
# copy of the tree, checked, cleaned, copied; with a daemon that may open files
# by handle and with one that may not; and a damaged database.
. "${top_srcdir:-.}/tests/functions.sh"

n=$(scaled 1500)
mkdir "$tmp/one" "$tmp/two" "$tmp/plain"
conf=$run/conf.d/shares.conf
cat >"$conf" <<END
[gateway]
control_mode = 0666
[one]
path = $tmp/one
owners = store
[two]
path = $tmp/two
owners = store
[plain]
path = $tmp/plain
owners = host
END

# status STATUS WORDS ARGS...: gatewayctl ends with STATUS.
status() {
	status_want=$1 status_words=$2
	shift 2
	ctl "$@" >"$tmp/out" 2>"$tmp/err" <"${input:-/dev/null}"
	is "$status_words" "$?" "$status_want" || note "$(cat "$tmp/err")"
}

says() {
	check "$1" grep -qF -- "$2" "$tmp/${3:-out}"
}

# same WORDS FILE FILE: the same lines, in any order.
same() {
	sort "$2" >"$tmp/sorted.a"
	sort "$3" >"$tmp/sorted.b"
	check "$1" cmp "$tmp/sorted.a" "$tmp/sorted.b"
}

row() {
	ctl write "shares/$1/state" "$2"
}

start_gatewayd
# ---------------------------------------------------------------- by hand
mkdir "$tmp/one/dir"
touch "$tmp/one/dir/a" "$tmp/one/b" "$tmp/one/x y"
printf '' >"$tmp/one/quote\"tab	"
status 0 "an empty store" state export one
is "has no lines" "$(cat "$tmp/out")" ""
status 0 "check of it" state check one
says "finds nothing" "rows 0"
row one '"dir/a" uid=1000 gid=4711' && row one '"b" mode=04755' &&
	row one '"." uid=5' &&
	row one '"quote\042tab\011" rdev=1:3 dosattr=0x22'
status 0 "read" read shares/one/state
cat >"$tmp/want" <<'END'
"." uid=5
"b" mode=04755
"dir/a" uid=1000 gid=4711
"quote\042tab\011" rdev=1:3 dosattr=0x22
END
same "a line for each file" "$tmp/out" "$tmp/want"
row one '"b"'
status 0 "export" state export one
check "a path alone forgets what was recorded" sh -c \
	"! grep -q '^\"b\"' '$tmp/out'"
status 1 "a file that is not there" write shares/one/state '"none" uid=1'
says "is named" '"none": No such file or directory' err
status 1 "a path out of the share" write shares/one/state '"../two" uid=1'
status 1 "nonsense" write shares/one/state 'uid=1'
says "is explained" 'a line begins with "PATH"' err
status 1 "a wrong value" write shares/one/state '"b" uid=-1'
says "is explained, too" "uid=-1 is wrong (want a number)" err
status 1 "it cannot be watched" watch shares/one/state
status 1 "a share that records nothing" state export plain
says "says so" "nothing is recorded" err
status 1 "a share that is not there" state check none
says "is named" 'no share "none"' err
status 2 "a word that is not there" state frob one
status 2 "backup without a file" state backup one
check "the first line of a client is logged" grep -q \
	"write shares/one/state \"dir/a\".*: done uid=" "$log"
if [ "$(id -u)" = 0 ]; then
	setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$GATEWAYCTL" -s "$run/ctl" state export one >"$tmp/out"
	is "anybody who may connect may read" "$(grep -c . "$tmp/out")" 3
	echo '"b" uid=1' >"$tmp/in"
	setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$GATEWAYCTL" -s "$run/ctl" state import one \
		<"$tmp/in" >"$tmp/out" 2>&1
	is "but not write" "$?" 4
	says "and is told" "may read only"
else
	skip "permissions" "needs root for another user"
fi

# ---------------------------------------------------------------- many
# fill DIR: n files in directories, and what to import in $tmp/in.
fill() {
	mkdir -p "$1/many/1" "$1/many/2"
	seq "$n" | sed "s,^,$1/many/1/file ," | tr '\n' '\0' | xargs -0 touch
	seq "$n" | sed "s,^,$1/many/2/," | tr '\n' '\0' | xargs -0 touch
	{
		seq "$n" | sed 's,.*,"many/1/file &" uid=& gid=70000 mode=04755,'
		seq "$n" | sed 's,.*,"many/2/&" uid=& crtime=1999-12-31T23:59:59.1234567Z,'
	} >"$tmp/in"
}

fill "$tmp/one"
{
	echo "# a remark"
	echo
	cat "$tmp/in"
} >"$tmp/in.more"
input=$tmp/in.more status 0 "import" state import one
says "tells how many lines there were" "$((2 * n)) lines recorded, 0 refused"
{
	head -n 3 "$tmp/in"
	echo '"many/1/none" uid=1'
	echo '"b" gid=x'
} >"$tmp/in.bad"
input=$tmp/in.bad status 1 "import with mistakes" state import one
says "the others are recorded" "3 lines recorded, 2 refused"
says "a mistake has its line" 'line 4: "many/1/none": No such file' err
says "and its reason" 'line 5: gid=x is wrong' err
{
	echo '"many/1/file 1" uid=5;"b" uid=6'
	echo '"many/1/file 2 uid=5'
	echo '"many/1/file 3" uid=7'
	printf '"many/1/file 1"\tuid=5\n'
	echo '"none;" uid=1'
} >"$tmp/in.odd"
input=$tmp/in.odd status 1 "import of what could be several rows" \
	state import one
says "each line is one" "1 lines recorded, 4 refused"
says "not two" 'line 1: ";" is no field' err
says "nor does it take the next" 'line 2: the path has no "' err
says "a tab is no blank" 'line 4: fields stand apart by blanks' err
says "what is quoted is a path" 'line 5: "none;": No such file' err
status 0 "several rows in one write" write shares/one/state \
	'"b" uid=8;"none" uid=1; "many/1/file 3" uid=3 gid=70000 mode=04755;uid'
is "tell what was refused" "$(cat "$tmp/out")" \
	'2 ENOENT "none": No such file or directory
4 EINVAL a line begins with "PATH"'
row one '"b"'
status 1 "too many in one" write shares/one/state "$(seq 257 |
	sed 's/.*/"b";/' | tr -d '\n')"
says "are refused" "more than 256 rows" err
head -n 1 "$tmp/in" >"$tmp/in.first"
input=$tmp/in.first status 0 "import of one line" state import one
check "lines are counted in the log" grep -q \
	"write shares/one/state: and 4 more lines, 2 of them refused" "$log"
status 0 "export" state export one
cp "$tmp/out" "$tmp/one.out"
cat "$tmp/in" "$tmp/want" | grep -v '^"b"' >"$tmp/all"
same "has all of them" "$tmp/one.out" "$tmp/all"

cp -a "$tmp/one/." "$tmp/two/"
input=$tmp/one.out status 0 "import into a copy of the tree" state import two
says "every line finds its file" "$((2 * n + 3)) lines recorded, 0 refused"
status 0 "export of the copy" state export two
same "is the same" "$tmp/out" "$tmp/one.out"

status 0 "backup" state backup one "$tmp/copy.db"
status 1 "backup into a file that is there" state backup one "$tmp/copy.db"
mkdir -p "$run/state/three"
cp "$tmp/copy.db" "$run/state/three/state.db"
printf '[three]\npath = %s\nowners = store\n' "$tmp/one" >>"$conf"
ctl reload >"$tmp/out"
status 0 "a store made of the backup" state export three
cp "$tmp/out" "$tmp/three"
same "has it all" "$tmp/out" "$tmp/one.out"
is "nothing is left behind" "$(find "$run/state/one" -name "*copy*")" ""

# ---------------------------------------------------------------- check, gc
if [ "$(id -u)" = 0 ]; then
	inode=$(stat -c %i "$tmp/two/many/2/1")
	rm "$tmp/two/many/2/1" "$tmp/two/many/1/file 2"
	mv "$tmp/two/many/2/3" "$tmp/two/dir/moved"
	status 0 "check" state check two
	says "counts the files that are gone" "gone 2"
	says "names one" "inode $inode: gone"
	says "deletes nothing" "deleted 0"
	says "finds the others" "present $((2 * n + 1))"
	status 0 "gc" state gc two
	says "deletes their rows" "deleted 2"
	status 0 "check" state check two
	says "knows of no others" "rows $((2 * n + 1))"
	check "a file that was moved keeps what it has" sh -c \
		"'$GATEWAYCTL' -s '$run/ctl' state export two |
			grep -q '^\"dir/moved\" uid=3 '"
	check "results are logged" grep -q "two: state gc rows=.* deleted=2" \
		"$log"
else
	skip "check and gc" "files can only be opened by handle as root"
fi

# What the kernel has forgotten the names of: the tree is walked.
# Another file system below the root is part of it.
cold() {
	truncate -s 256M "$tmp/disk" &&
		mkfs.ext4 -q -N 100000 "$tmp/disk" &&
		mkdir "$tmp/one/disk" &&
		mount -o loop "$tmp/disk" "$tmp/one/disk"
}
if [ "$(id -u)" = 0 ] && command -v mkfs.ext4 >/dev/null && cold 2>/dev/null
then
	at_exit "umount '$tmp/one/disk' 2>/dev/null"
	fill "$tmp/one/disk"
	sed 's,^",&disk/,' "$tmp/in" >"$tmp/in.disk"
	input=$tmp/in.disk status 0 "rows of a file system below" \
		state import one
	stop_gatewayd
	umount "$tmp/one/disk" && mount -o loop "$tmp/disk" "$tmp/one/disk"
	start_gatewayd
	status 0 "a check after both were started anew" state check one
	says "finds every file" "present $((4 * n + 3))"
	status 0 "and an export" state export one
	cat "$tmp/all" "$tmp/in.disk" >"$tmp/want"
	same "every path" "$tmp/out" "$tmp/want"
	stop_gatewayd
	umount "$tmp/one/disk"
	start_gatewayd
	status 0 "gc while it is not mounted" state gc one
	says "deletes nothing" "deleted 0"
	says "and says what it does not know" "unknown $((2 * n))"
else
	skip "a file system below, and cold" "needs root, loop, mkfs.ext4"
fi
stop_gatewayd

# ---------------------------------------------------------------- damage
# Where a page of rows is; the file was closed well.
LOG_ERRORS_EXPECTED=yes
damage() {
	dd if=/dev/zero of="$run/state/$1/state.db" bs=4096 seek=8 count=4 \
		conv=notrunc 2>/dev/null
}
damage two
cp "$run/state/two/state.db" "$tmp/before"
start_gatewayd
status 1 "check of a damaged database" state check two
says "says so, and how to go on" "is damaged and was left as it is" err
check "so does the status" sh -c "'$GATEWAYCTL' -s '$run/ctl' \
	read shares/two/status | grep -q '^readonly because.*damaged.*sqlite3 state.db'"
check "and the log" grep -q "two.*damaged" "$log"
check "the file is kept" cmp "$tmp/before" "$run/state/two/state.db"
# Before the daemon has read those pages.
damage three
status 1 "check of one that is damaged while it is used" state check three
says "says so, too" "is damaged and was left as it is" err
check "and so does the status" sh -c "'$GATEWAYCTL' -s '$run/ctl' \
	read shares/three/status | grep -q '^damaged .*sqlite3 state.db'"
# Whole, from memory, where the tree has to be walked; else not at all.
if ctl state export three >"$tmp/out" 2>"$tmp/err"; then
	same "it is exported whole" "$tmp/out" "$tmp/three"
else
	is "it is not exported in part" "$(cat "$tmp/out")" ""
	says "and it says why" "is damaged and was left as it is" err
fi
status 0 "another share goes on" state export one
stop_gatewayd

# ---------------------------------------------------------------- unprivileged
if [ "$(id -u)" = 0 ]; then
	cat >"$tmp/as-nobody" <<END
#!/bin/sh
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$GATEWAYD" "\$@"
END
	chmod 755 "$tmp/as-nobody"
	GATEWAYD=$tmp/as-nobody
	rm -rf "$run/state"
	mkdir "$tmp/one/secret"
	chmod 700 "$tmp/one/secret"
	chown -R nobody "$tmp/one/many" "$run" "$tmp/two"
else
	rm -rf "$run/state"
fi
LOG_ERRORS_EXPECTED=
start_gatewayd
input=$tmp/in status 0 "import by an ordinary user" state import one
status 0 "export" state export one
grep -v '^#' "$tmp/out" >"$tmp/one.out"
same "finds every file by walking" "$tmp/one.out" "$tmp/in"
[ "$(id -u)" != 0 ] || check "and names what it may not enter" \
	grep -q '^# secret: Permission denied' "$tmp/out"
rm -rf "$tmp/two/many"
cp -a "$tmp/one/many" "$tmp/two/"
input=$tmp/one.out status 0 "import into a copy" state import two
status 0 "export" state export two
same "is the same" "$tmp/out" "$tmp/in"
rm "$tmp/two/many/1/file 1"
status 0 "gc" state gc two
says "deletes nothing that it cannot look for" "deleted 0"
finish
