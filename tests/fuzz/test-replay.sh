#!/bin/sh
# SPDX-License-Identifier: MIT
# The replay program itself: it must see a missing directory, an empty one and
# a good one, and say so in TAP.  Uses the target "conf".
replay=${top_builddir:=.}/tests/fuzz/replay-conf
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
n=0

check() {	# check WORDS STATUS PATTERN ARGUMENT...
	words=$1 status=$2 pattern=$3
	shift 3
	n=$((n + 1))
	"$replay" "$@" >"$tmp/out" 2>&1
	if [ $? -eq "$status" ] && grep -q "$pattern" "$tmp/out"; then
		echo "ok $n - $words"
	else
		echo "not ok $n - $words"
		sed 's/^/# /' "$tmp/out"
	fi
}

mkdir "$tmp/empty" "$tmp/two"
echo '[a]' >"$tmp/two/one"
: >"$tmp/two/two"
check 'a missing directory fails' 1 '^not ok 1 ' "$tmp/none"
check 'an empty directory fails' 1 '^not ok 1 ' "$tmp/empty"
check 'each file of a directory is replayed' 0 '^1\.\.2$' "$tmp/two"
check 'a file can be named' 0 '^ok 1 ' "$tmp/two/one"
echo "1..$n"
