#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-metrics.sh FILE: is it OpenMetrics 1.0 text, as far as awk can tell; and
# what promtool (Debian package prometheus) thinks of it, where it is
# installed.  Status 0: it is; 1: it is not; 77: it is, but there is no promtool.
: "${PROMTOOL:=promtool}"
file=${1:?FILE}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

awk '
function bad(why) { print FILENAME ":" NR ": " why ": " $0; failed = 1 }
ended { bad("behind # EOF") }
$0 == "# EOF" { ended = 1; next }
/^# TYPE / {
	name = $3; type = $4
	if (name in seen)
		bad("family comes twice")
	if (name ~ /_(us|ms|ns)(_|$)/)
		bad("unit")
	if (name ~ /_total$/ || type !~ /^(counter|gauge|histogram|info)$/)
		bad("type")
	seen[name] = 1; next
}
/^# HELP / {
	if ($3 != name || NF < 4)
		bad("help")
	next
}
/^#/ || NF < 2 { bad("line"); next }
{
	metric = $0
	sub(/[{ ].*/, "", metric)
	want = type == "counter" ? "_total" : type == "info" ? "_info" : ""
	if (type == "histogram") {
		if (metric !~ "^" name "_(bucket|count|sum)$")
			bad("not a sample of " name)
	} else if (metric != name want)
		bad("not a sample of " name)
	if ($NF !~ /^[0-9.]+$/)
		bad("value")
	series = $0
	sub(/ [^ ]*$/, "", series)
	if (series in samples)
		bad("comes twice")
	samples[series] = 1
	# Buckets of one histogram only grow.
	if (metric ~ /_bucket$/) {
		labels = series
		sub(/,le=.*/, "", labels)
		if (labels == was && $NF < before)
			bad("bucket is less than the one before")
		was = labels; before = $NF + 0
	}
}
END { if (!ended) bad("no # EOF"); exit failed }
' "$file" || exit 1

command -v "$PROMTOOL" >/dev/null 2>&1 || exit 77

# Its OpenMetrics parser wants a time with each sample; any will do.
sed '/^#/!s/$/ 1700000000.000/' "$file" >"$dir/timed"
"$PROMTOOL" tsdb create-blocks-from openmetrics "$dir/timed" "$dir/blocks" \
	>"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }

# "check metrics" reads the older text format, where the name of a counter's
# family ends in _total and there is no type "info".
awk '$1 == "#" && $2 == "TYPE" {
	s = $4 == "counter" ? "_total" : $4 == "info" ? "_info" : ""
	suffix[$3] = s
	print $1, $2, $3 s, $4 == "info" ? "gauge" : $4; next
}
$1 == "#" && $2 == "HELP" {
	$3 = $3 suffix[$3]; print; next
}
{ print }' "$file" >"$dir/plain"
"$PROMTOOL" check metrics <"$dir/plain" || exit 1
