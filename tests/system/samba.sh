# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# DOS attributes and creation times beside Samba itself, which serves the same
# directory: each reads what the other wrote in user.DOSATTRIB.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires smbd smbclient setfattr getfattr

host=$tmp/host
m=$tmp/mnt
mkdir -p "$host" "$tmp/smb"
chmod 777 "$host"
touch "$host/probe"
setfattr -n user.probe -v 1 "$host/probe" 2>/dev/null ||
	skip_all "$host has no extended attributes"

# ---------------------------------------------------------------- Samba
cat >"$tmp/smb.conf" <<END
[global]
	server role = standalone server
	workgroup = TEST
	interfaces = 127.0.0.1/8
	bind interfaces only = yes
	disable netbios = yes
	load printers = no
	printcap name = /dev/null
	map to guest = Bad User
	guest account = root
	log file = $tmp/smb/log.%m
	private dir = $tmp/smb
	lock directory = $tmp/smb
	state directory = $tmp/smb
	cache directory = $tmp/smb
	pid directory = $tmp/smb
	ncalrpc dir = $tmp/smb/ncalrpc
	usershare path =
[s]
	path = $host
	guest ok = yes
	guest only = yes
	read only = no
	store dos attributes = yes
	ea support = yes
	map archive = no
END

smb() {
	timeout 20 smbclient -s "$tmp/smb.conf" -N -p "$port" //127.0.0.1/s \
		-c "$1" 2>&1
}

stop_smbd() {
	[ -z "${smbd_pid-}" ] || kill "$smbd_pid" 2>/dev/null
	wait "$smbd_pid" 2>/dev/null
	smbd_pid=
}

# A port that nobody has: smbd ends when it cannot have one.
start_smbd() {
	port=$((20000 + $$ % 20000))
	for smbd_try in 1 2 3; do
		port=$((port + 97))
		# In a group of its own, which it ends when it ends.
		$dies_with_us smbd --foreground --configfile="$tmp/smb.conf" \
			-p "$port" >"$tmp/smb/out" 2>&1 </dev/null &
		smbd_pid=$!
		tries=100
		until smb ls >"$tmp/ls" 2>&1; do
			tries=$((tries - 1))
			[ "$tries" -gt 0 ] && kill -0 "$smbd_pid" 2>/dev/null ||
				break
			sleep 0.1
		done
		! grep -q probe "$tmp/ls" || return 0
		stop_smbd
	done
	tail -n 20 "$tmp"/smb/out "$tmp"/smb/log.* 2>/dev/null
	bail "smbd does not serve: $(cat "$tmp/ls")"
}
at_exit stop_smbd
start_smbd
note "$(smbd --version), port $port"

cat >"$run/conf.d/s.conf" <<END
[s]
path = $host
xattr = yes
owners = store
END
start_gatewayd
mount_share s "$m"

# What Samba says of a file: its attributes, its creation time in seconds.
attributes() {
	smb "allinfo $1" | sed -n 's/^attributes: *\([A-Z]*\).*/\1/p'
}

created() {
	date -d "$(smb "allinfo $1" | sed -n 's/^create_time: *//p')" +%s
}

# What the guest reads: the bytes, as words of 32 bits.
words() {
	getfattr --only-values -n user.DOSATTRIB "$m/$1" 2>/dev/null |
		od -An -v -t u4 | tr -s ' \n' ' '
}

# guest_attributes FILE: behind version, version again and what is valid.
guest_attributes() {
	words "$1" | awk '{ print $4 }'
}

# The last eight bytes, a FILETIME, in seconds.
guest_created() {
	words "$1" | awk '{ t = $NF * 4294967296 + $(NF - 1)
		printf("%.0f\n", t / 10000000 - 11644473600) }'
}

# ---------------------------------------------------------------- Samba writes
echo text >"$host/samba"
is "Samba: setmode" "$(smb 'setmode samba +rsh')" ""
is "what Samba shows itself" "$(attributes samba)" RHS
is "gatewayd shows its attributes" "$(guest_attributes samba)" $((0x07))
# Parts of a second are rounded as each likes it.
differ=$(($(guest_created samba) - $(created samba)))
check "and its creation time" test "$((differ * differ))" -le 1
is "Samba: utimes" "$(smb 'utimes samba 2001:02:03-04:05:06 -1 -1 -1' |
	grep -v '^$')" ""
is "gatewayd shows the new one" "$(guest_created samba)" "$(created samba)"
is "which is that" "$(TZ=UTC0 date -d "@$(guest_created samba)" +%Y)" 2001

# ---------------------------------------------------------------- a guest does
# VALUE: version 4, attributes and time valid, 0x26, 2010-01-01T00:00:00Z
time=$(printf '%016x' $(((1262304000 + 11644473600) * 10000000)))
value=0x00000400040000001100000026000000
value=${value}0000000000000000
value=$value$(printf '%s' "$time" | sed 's/../& /g' |
	awk '{ for (i = NF; i; i--) printf("%s", $i) }')
echo text >"$m/guest"
check "a guest sets user.DOSATTRIB" setfattr -n user.DOSATTRIB -v "$value" \
	"$m/guest"
is "Samba shows its attributes" "$(attributes guest)" HSA
is "and its creation time" "$(created guest)" 1262304000
is "STATX of the guest has the time" "$(stat -c %W "$m/guest")" 1262304000
is "Samba changes one" "$(smb 'setmode guest -h')" ""
is "the guest sees it" "$(guest_attributes guest)" $((0x24))
is "the time is as it was" "$(guest_created guest)" 1262304000
check "the guest removes them" setfattr -x user.DOSATTRIB "$m/guest"
is "Samba shows none" "$(attributes guest)" ""

# What is set by a guest and read by Samba in every combination.
wrong=
for bits in 01 02 04 20 21 03 27; do
	setfattr -n user.DOSATTRIB -v \
		"$(echo "$value" | sed "s/1100000026/11000000$bits/")" \
		"$m/guest"
	want=$(printf %d "0x$bits" | awk '{ s = ""
		if ($1 % 2) s = s "R"; if (int($1 / 2) % 2) s = s "H"
		if (int($1 / 4) % 2) s = s "S"; if (int($1 / 32) % 2) s = s "A"
		print(s) }')
	[ "$(attributes guest)" = "$want" ] ||
		wrong="$wrong $bits:$(attributes guest)"
done
is "each attribute of a guest's is Samba's" "$wrong" ""
stop_smbd 2>/dev/null
finish
