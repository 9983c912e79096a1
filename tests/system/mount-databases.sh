# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Databases on a mounted share: SQLite with several writers, with a rollback
# journal and with a WAL, which wants shared maps and locks; PostgreSQL with
# checksums of its pages, through a crash and a recovery.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse

mkdir "$tmp/share" "$tmp/writeback"
chmod 777 "$tmp/share" "$tmp/writeback"
cat >"$run/conf.d/shares.conf" <<END
[plain]
path = $tmp/share
[writeback]
path = $tmp/writeback
cache = always
writeback = yes
END
start_gatewayd
mount_share plain "$tmp/mnt"
mount_share writeback "$tmp/mnt-writeback"

# ---------------------------------------------------------------- SQLite

# writer DB N: N transactions; each adds a row and moves one between accounts.
writer() {
	for i in $(seq "$2"); do
		echo "BEGIN IMMEDIATE;
			INSERT INTO log(who, n) VALUES ($$, $i);
			UPDATE accounts SET value = value - $i WHERE id = $i % 10;
			UPDATE accounts SET value = value + $i WHERE id = $i % 7;
			COMMIT;"
	done | sqlite3 -bail -cmd ".timeout 60000" "$1"
}

# ask DB SQL
ask() {
	sqlite3 -cmd ".timeout 60000" "$1" "$2"
}

sqlite() {
	words=$1 db=$2 host=$3 mode=$4
	n=$(scaled 60)
	ask "$db" "PRAGMA page_size = 4096; PRAGMA journal_mode = $mode;
		CREATE TABLE log(who INTEGER, n INTEGER, text DEFAULT
			(hex(randomblob(300))));
		CREATE INDEX by_text ON log(text);
		CREATE TABLE accounts(id INTEGER PRIMARY KEY, value INTEGER);
		INSERT INTO accounts VALUES (0,0),(1,0),(2,0),(3,0),(4,0),(5,0),
			(6,0),(7,0),(8,0),(9,0);" >"$tmp/out" 2>&1
	is "$words: journal" "$(ask "$db" "PRAGMA journal_mode")" "$mode" ||
		note "$(cat "$tmp/out")"
	pids=
	for w in 1 2 3; do
		(writer "$db" "$n") >>"$tmp/out" 2>&1 &
		pids="$pids $!"
	done
	bad=0
	for pid in $pids; do
		wait "$pid" || bad=$((bad + 1))
	done
	is "$words: 3 writers" "$bad" 0 || note "$(cat "$tmp/out")"
	is "$words: all that was written is there" \
		"$(ask "$db" "SELECT count(*), sum(n) FROM log")" \
		"$((n * 3))|$((n * (n + 1) / 2 * 3))"
	is "$words: nothing was lost" \
		"$(ask "$db" "SELECT sum(value) FROM accounts")" 0
	is "$words: integrity" "$(ask "$db" "PRAGMA integrity_check")" ok
	ask "$db" "PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
	sync "$db"
	is "$words: on the host, too" "$(ask "$host" \
		"PRAGMA integrity_check; SELECT count(*) FROM log")" \
		"$(printf 'ok\n%d' $((n * 3)))"
}

if command -v sqlite3 >/dev/null; then
	sqlite "SQLite, rollback" "$tmp/mnt/a.db" "$tmp/share/a.db" delete
	sqlite "SQLite, WAL" "$tmp/mnt/b.db" "$tmp/share/b.db" wal
	sqlite "SQLite, WAL, writeback" "$tmp/mnt-writeback/c.db" \
		"$tmp/writeback/c.db" wal
else
	skip "SQLite" "sqlite3 is not installed"
fi

# ---------------------------------------------------------------- PostgreSQL

# pg PROGRAM ARGUMENT...: as the user it wants, on a socket in $tmp/pg.
pg() {
	pg_program=$1
	shift
	(cd / && setpriv --reuid postgres --regid postgres --init-groups \
		env PATH="$bin:$PATH" LC_ALL=C PGHOST="$tmp/pg" \
		PGDATABASE=postgres "$bin/$pg_program" "$@") </dev/null
}

pg_start() {
	pg pg_ctl -D "$data" -w -t 120 -l "$data/log" -o \
		"-c listen_addresses='' -c unix_socket_directories='$tmp/pg' \
		-c max_wal_size=256MB -c shared_buffers=16MB" start
}

postgres() {
	data=$1/pgdata
	mkdir "$tmp/pg" && chown postgres "$tmp/pg"
	check "PostgreSQL: initdb" pg initdb -D "$data" -k -N -A trust || return
	at_exit 'pg pg_ctl -D "$data" -m immediate stop >/dev/null 2>&1'
	check "PostgreSQL: start" pg_start || {
		note "$(tail -n 20 "$data/log")"
		return
	}
	check "PostgreSQL: tables" pg pgbench -q -i -s 1
	check "PostgreSQL: 4 clients" pg pgbench -c 4 -j 2 -T "$(scaled 4)"
	note "$(grep tps "$tmp/check.out")"
	moved="SELECT (SELECT sum(abalance) FROM pgbench_accounts) =
			(SELECT sum(delta) FROM pgbench_history) AND
		(SELECT sum(bbalance) FROM pgbench_branches) =
			(SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT count(*) FROM pgbench_history)"
	before=$(pg psql -At -c "$moved")
	is "PostgreSQL: the books are right" "${before%%|*}" t
	# A crash: what was committed is there after it.
	check "PostgreSQL: stop at once" pg pg_ctl -D "$data" -m immediate stop
	check "PostgreSQL: recovery" pg_start
	is "PostgreSQL: the books are the same" "$(pg psql -At -c "$moved")" \
		"$before"
	check "PostgreSQL: an index, and all tables written anew" pg psql \
		-c "CREATE INDEX ON pgbench_accounts(filler, aid)" \
		-c "VACUUM FULL"
	check "PostgreSQL: stop" pg pg_ctl -D "$data" -w stop
	check "PostgreSQL: checksums" pg pg_checksums --check -D "$data"
}

bin=$(for dir in /usr/lib/postgresql/*/bin /usr/bin /usr/local/bin; do
	[ ! -x "$dir/pg_checksums" ] || [ ! -x "$dir/postgres" ] || echo "$dir"
done | head -n 1)
if [ -n "$bin" ] && id postgres >/dev/null 2>&1; then
	postgres "$tmp/mnt"
else
	skip "PostgreSQL" "it is not installed"
fi
finish
