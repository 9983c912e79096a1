# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Locks between two mounts of one share and the host (locks = remote): flock
# by flock(1), POSIX locks by sqlite3, which reads what others wrote only when
# nothing is cached; and a mount that is killed.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires flock sqlite3

mkdir "$tmp/share"
cat >"$run/conf.d/locks.conf" <<END
[locks]
path = $tmp/share
locks = remote
lock_wait = 20s
cache = never
END
start_gatewayd
mount_share locks "$tmp/one"
mount_share locks "$tmp/two"
touch "$tmp/share/lock"

# hold FILE: take the lock, say so, keep it until let_go.
hold() {
	rm -f "$tmp/go" "$tmp/held"
	mkfifo "$tmp/go" "$tmp/held"
	flock "$1" sh -c "echo >'$tmp/held'; read -r _ <'$tmp/go'" &
	holder=$!
	read -r _ <"$tmp/held"
}

let_go() {
	echo >"$tmp/go"
	wait "$holder"
}

is_free() {
	flock -n "$1" true
}

is_taken() {
	! is_free "$1"
}

hold "$tmp/one/lock"
check "one mount's lock holds for the other" is_taken "$tmp/two/lock"
check "and for the host" is_taken "$tmp/share/lock"
flock "$tmp/two/lock" touch "$tmp/entered" &
waiter=$!
flock "$tmp/two/lock" true &
waiter2=$!
sleep 0.3
is "who wants it waits" "$(ls "$tmp/entered" 2>/dev/null)" ""
# One may just look whether the host let go.
check "without a thread" test "$(ctl read stats | awk '
	/^pool_threads/ { n += $2 } /^pool_idle/ { n -= $2 }
	END { print n }')" -lt 2
check "and the mount is usable" ls "$tmp/two"
let_go
check "until it is given up" wait "$waiter"
check "and the next one" wait "$waiter2"
is "entered" "$(ls "$tmp/entered")" "$tmp/entered"

hold "$tmp/share/lock"
check "the host's lock holds for a mount" is_taken "$tmp/one/lock"
flock "$tmp/one/lock" true &
waiter=$!
sleep 0.2
let_go
check "who waits for the host is let in" wait "$waiter"

note "a mount that vanishes"
hold "$tmp/one/lock"
check "taken" is_taken "$tmp/two/lock"
flock "$tmp/one/lock" true 2>/dev/null &
waiter=$!
flock "$tmp/two/lock" true &
waiter2=$!
sleep 0.2
eval "kill -KILL \$mount_pid_$(printf %s "$tmp/one" | cksum | tr -dc 0-9)"
check "its lock has gone" wait "$waiter2"
umount -l "$tmp/one"
let_go 2>/dev/null
wait "$waiter"
mounts="$tmp/two"
mount_share locks "$tmp/three"

note "POSIX locks, by a database on two mounts and the host"
n=$(scaled 15)
sqlite3 "$tmp/share/db" "create table t (n); insert into t values (0);"
# shellcheck disable=SC2317
count_up() {
	for _ in $(seq "$n"); do
		sqlite3 -cmd ".timeout 60000" "$1/db" \
			"begin immediate; update t set n = n + 1; commit;" ||
			return 1
	done
}
for dir in two three share; do
	(count_up "$tmp/$dir" || touch "$tmp/failed-$dir") &
	eval "counter_$dir=\$!"
done
# shellcheck disable=SC2154
wait "$counter_two" "$counter_three" "$counter_share"
is "nobody failed" "$(find "$tmp" -name 'failed-*')" ""
is "nobody's change was lost" "$(sqlite3 "$tmp/two/db" "select n from t")" \
	$((3 * n))
check "the database is sound" sqlite3 "$tmp/share/db" "pragma integrity_check"
finish
