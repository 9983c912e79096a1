# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Owners that the host cannot hold, under the host kernel's own FUSE client: a
# daemon without privileges, and one in a user namespace of its own.  What
# people do on the mount is there after a restart (T50), also after a kill
# (T54), and none of it is on the host (T53).

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires setpriv unshare

chmod 755 "$tmp" "$run"
# as UID GID COMMAND...
as() {
	as_uid=$1 as_gid=$2
	shift 2
	setpriv --reuid "$as_uid" --regid "$as_gid" --clear-groups \
		--inh-caps=-all "$@"
}

# daemon HOW NAME: one with a directory of its own.
daemon() {
	how=$1
	d=$tmp/$2
	mkdir -p "$d/share" "$d/run"
	cat >"$d/conf" <<C
[gateway]
socket_dir = $d/run
control_socket = $d/run/ctl
state_dir = $d/state
[s]
path = $d/share
$([ "$how" = nobody ] || echo socket_group = root)
C
	chown -R 65534:65534 "$d"
	start_daemon
}

start_daemon() {
	rm -f "$d/ready"
	mkfifo "$d/ready"
	case $how in
	nobody)
		# shellcheck disable=SC2086
		$dies_with_us setpriv --reuid 65534 --regid 65534 \
			--clear-groups "$GATEWAYD" -c "$d/conf" --ready-fd 7 \
			7>"$d/ready" >>"$d/log" 2>&1 </dev/null &
		;;
	namespace)
		# shellcheck disable=SC2086
		setpriv --reuid 65534 --regid 65534 --clear-groups \
			unshare -Ur "$GATEWAYD" -c "$d/conf" \
			--ready-fd 7 7>"$d/ready" >>"$d/log" 2>&1 </dev/null &
		;;
	esac
	daemon_pid=$!
	timeout 20 cat "$d/ready" >/dev/null || bail "$(tail -5 "$d/log")"
	mkdir -p "$d/mnt"
	$dies_with_us "$GATEWAYCTL" mount -f --socket "$d/run/s.sock" "$d/mnt" \
		>>"$d/mountlog" 2>&1 </dev/null &
	mount_pid=$!
	tries=100
	until mountpoint -q "$d/mnt"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || bail "$(tail -5 "$d/mountlog" "$d/log")"
		sleep 0.1
	done
	m=$d/mnt
}

# end_daemon SIGNAL
end_daemon() {
	umount -l "$m"
	wait "$mount_pid" 2>/dev/null
	kill "-$1" "$daemon_pid" 2>/dev/null
	wait "$daemon_pid" 2>/dev/null
	daemon_pid=
}
tidy() {
	[ -z "${m-}" ] || umount -l "$m" 2>/dev/null
	[ -z "${daemon_pid-}" ] || kill -KILL "$daemon_pid" 2>/dev/null
}
at_exit tidy

own() {
	stat -c '%u:%g %a %F' "$m/$1"
}

for how in nobody namespace; do
	daemon $how $how
	chmod 1777 "$m"
	is "$how: the store is used" "$("$GATEWAYCTL" -s "$d/run/ctl" read \
		shares/s/status | sed -n 's/^owners //p')" store
	as 1000 1001 touch "$m/made"
	is "$how: a file is its maker's" "$(own made)" \
		"1000:1001 644 regular empty file"
	as 1000 1001 mkdir "$m/dir"
	as 1000 1001 ln -s made "$m/link"
	is "$how: a directory" "$(own dir)" "1000:1001 755 directory"
	is "$how: a link" "$(own link)" "1000:1001 777 symbolic link"
	echo text >"$m/suid"
	check "$how: chown" chown 31337:31338 "$m/suid"
	check "$how: chmod u+s" chmod 4755 "$m/suid"
	is "$how: both are seen" "$(own suid)" "31337:31338 4755 regular file"
	is "$how: on the host is neither" "$(stat -c '%u:%g %a' \
		"$d/share/suid")" "65534:65534 755"
	check "$how: a device" mknod -m 640 "$m/null" c 1 3
	is "$how: is one" "$(stat -c '%F %t:%T %a' "$m/null")" \
		"character special file 1:3 640"
	is "$how: not on the host" "$(stat -c %F "$d/share/null")" \
		"regular empty file"
	is "$how: its type in a listing" "$(find "$m" -type c -printf '%f')" \
		null
	as 31337 31338 sh -c "echo more >>'$m/suid'"
	is "$how: the owner may write" "$(cat "$m/suid")" "text
more"
	check "$how: another may not" sh -c "! setpriv --reuid 5 --regid 5 \
		--clear-groups sh -c 'echo x >>$m/suid' 2>/dev/null"
	chmod 4755 "$m/suid"
	echo 1 | as 5 5 tee -a "$m/dir/../suid" >/dev/null 2>&1
	is "$how: what was refused changed nothing" "$(own suid)" \
		"31337:31338 4755 regular file"
	(cd "$m" && tar -cf "$d/tar" made dir link suid null)

	end_daemon TERM
	start_daemon
	is "$how: after a restart" "$(own suid)" \
		"31337:31338 4755 regular file"
	is "$how: the device" "$(stat -c '%F %t:%T' "$m/null")" \
		"character special file 1:3"

	as 2000 2001 touch "$m/killed"
	chown 7:8 "$m/made"
	end_daemon KILL
	start_daemon
	is "$how: after a kill" "$(own killed) $(own made)" \
		"2000:2001 644 regular empty file 7:8 644 regular empty file"

	mkdir "$m/copy"
	check "$how: tar restores" tar -C "$m/copy" -xpf "$d/tar"
	is "$how: the owners" "$(own copy/suid) $(own copy/link)" \
		"31337:31338 4755 regular file 1000:1001 777 symbolic link"
	is "$how: and the device" "$(stat -c '%F %t:%T' "$m/copy/null")" \
		"character special file 1:3"
	rm -r "${m:?}"/*
	is "$how: all is removed, and the records" \
		"$("$GATEWAYCTL" -s "$d/run/ctl" read shares/s/stats |
		sed -n 's/^state_rows //p')" 0
	end_daemon TERM
	m=
done
finish
