# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The checkers of the system tests, tried on a directory of this machine:
# they must find nothing there, and find each planted fault.

. "${top_srcdir:-.}/tests/functions.sh"
fsops=$top_builddir/tests/system/fsops

mkdir "$tmp/a"
check "fsops agrees with the host" "$fsops" -n "$(scaled 4000)" \
	--other-side "$tmp/a" "$tmp/a"
sed -n 's/^fsops: seed/# seed/p' "$tmp/check.out"
for fault in data mode name result; do
	rm -rf "$tmp/a"/*
	"$fsops" -n 3000 --plant-fault "$fault" "$tmp/a" >"$tmp/out" 2>&1
	is "fsops finds a planted fault: $fault" $? 1 ||
		note "$(cat "$tmp/out")"
done

mkdir "$tmp/b"
check "inodecycle agrees with the host" \
	"$top_builddir/tests/system/inodecycle" -n "$(scaled 50)" "$tmp/b" \
	"$tmp/b"
finish
