# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2016,SC2317
#
# Runs in the guest of systemd.sh, as a service: gatewayd as an admin meets it.

exec 2>&1
[ -f /test/installed ] || {
	echo "systemd-guest.sh is for the guest of systemd.sh"
	exit 1
}
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unit=gatewayd.service
config=$(grep '/gatewayd\.conf$' /test/installed)
examples=$(dirname "$(grep '/mknod\.conf$' /test/installed)")
dropins=/etc/systemd/system/$unit.d
shares=$(dirname "$config")/conf.d/shares.conf

say() {
	echo "VM: $*"
}

# good WORDS COMMAND...
good() {
	local words=$1
	shift
	if "$@" >/tmp/said 2>&1; then
		say "good: $words"
	else
		say "bad: $words"
		sed 's/^/  /' /tmp/said | tail -n 12
		journalctl -u gatewayd -o short-monotonic --no-pager -n 12 |
			sed 's/^/  /'
	fi
}

bad() {
	! "$@"
}

# is WORDS GOT WANT
is() {
	good "$1${2:+ ($2)}" test "$2" = "$3"
}

# prop NAME: a property of the unit.
prop() {
	systemctl show -P "$1" "$unit"
}

pid() {
	prop MainPID
}

# within SECONDS COMMAND...
within() {
	local tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		((tries-- > 0)) || return 1
		sleep 0.1
	done
}

active() {
	systemctl is-active -q gatewayd
}

# Is another process than $1 running, and ready?
replaced() {
	active && [ "$(pid)" != "$1" ] && gatewayctl read version
}

# What the unit has logged with priority $1 since this script began a part.
logged() {
	journalctl -u gatewayd -p "$1..$1" -o cat --no-pager ${since:+--since "$since"}
}

# journal PRIORITY PATTERN
journal() {
	logged "$1" | grep -q -e "$2"
}

mount_at() {
	mkdir -p "/mnt/$1"
	gatewayctl mount -f "$1" "/mnt/$1" >/tmp/mount."$1" 2>&1 &
	within 10 mountpoint -q "/mnt/$1"
}

unmount() {
	umount "/mnt/$1"
}

refused() {	# refused ERROR COMMAND...: it fails with these words
	local words=$1
	shift
	! "$@" >/tmp/refused 2>&1 && grep -q "$words" /tmp/refused
}

# bit NUMBER: is this capability in the permitted set?
has_cap() {
	local caps
	caps=$(sed -n 's/^CapPrm:\t//p' "/proc/$(pid)/status")
	((0x$caps >> $1 & 1))
}

of_process() {
	[ "$(sed -n "s/^$1:\t//p" "/proc/$(pid)/status")" = "$2" ]
}

restart() {
	systemctl reset-failed gatewayd 2>/dev/null
	systemctl restart gatewayd
}

# ---------------------------------------------------------------- the parts

prepare() {
	systemd-sysusers
	good "sysusers: the group gatewayd exists" getent group gatewayd
	# Package udev has it.
	getent group kvm >/dev/null || echo kvm:x:400: >>/etc/group
	mkdir -p /srv/data /tmp/data /home/data /usr/local/data
	echo home >/home/data/file
	echo tmp >/tmp/data/file
	cat >"$shares" <<-END
	[home]
	path = /home/data
	[tmp]
	path = /tmp/data
	[usr]
	path = /usr/local/data
	END
	good "systemd-analyze verify is silent" sh -c \
		'test -z "$(systemd-analyze verify --man=no gatewayd.service gatewayd@home.socket gatewayd-ctl.socket 2>&1 | tee /dev/stderr)"'
	say "note: $(systemd-analyze security --no-pager gatewayd 2>/dev/null |
		grep Overall | tr -cd ' -~')"
}

start_and_look() {
	good "start" systemctl start gatewayd
	good "it is active" active
	is "STATUS" "$(prop StatusText)" "Serving 3 shares, 0 guests"
	good "systemctl status" systemctl --no-pager status gatewayd
	systemctl --no-pager status gatewayd | head -n 12 | sed 's/^/VM: note: /'
	is "group of the control socket" "$(stat -c %G /run/gatewayd/ctl)" gatewayd
	is "group of a share's socket" "$(stat -c %G:%a /run/gatewayd/home.sock)" kvm:660
	is "state directory" "$(stat -c %a /var/lib/gatewayd)" 700
	is "cache directory" "$(stat -c %a /var/cache/gatewayd)" 700
	good "system calls are filtered" of_process Seccomp 2
	good "no new privileges" of_process NoNewPrivs 1
	good "capabilities: eight are left" of_process CapPrm 00000000800000df
	good "limit of open files" grep -q 'Max open files *1048576' "/proc/$(pid)/limits"
	good "nothing to complain about" test -z "$(logged err; logged warning)"
	good "the journal knows what is information" journal info '^home: listening'
}

sandbox() {
	good "mount: a share below /home" mount_at home
	is "it is not an empty one" "$(cat /mnt/home/file)" home
	good "mount: a share below /tmp" mount_at tmp
	is "it is the one of everybody" "$(cat /mnt/tmp/file)" tmp
	is "STATUS counts guests" "$(prop StatusText)" "Serving 3 shares, 2 guests"
	good "write" sh -c 'seq 100000 >/mnt/home/seq'
	good "read" sh -c 'seq 100000 | cmp - /mnt/home/seq'
	good "and it is there" sh -c 'seq 100000 | cmp - /home/data/seq'
	good "a user's file is the user's" sh -c \
		'mkdir -m 777 /mnt/home/open && setpriv --reuid 65534 --regid 65534 --clear-groups touch /mnt/home/open/f && test "$(stat -c %u /home/data/open/f)" = 65534'
	good "chown" sh -c 'chown 1000:1000 /mnt/home/file && test "$(stat -c %u /home/data/file)" = 1000'
	good "set-user-id bits" sh -c \
		'touch /mnt/home/suid && chmod 4755 /mnt/home/suid && test "$(stat -c %a /home/data/suid)" = 4755'
	good "set-group-id directories" mkdir -m 2775 /mnt/home/sgid
	good "no device nodes" refused "not permitted" mknod /mnt/home/null c 1 3
	good "but overlayfs whiteouts" mknod /mnt/home/whiteout c 0 0
	good "and fifos" mknod /mnt/home/fifo p
	good "files by handle, after the caches are gone" sh -c \
		'echo 3 >/proc/sys/vm/drop_caches; cat /mnt/home/seq | tail -n 1 | grep -q 100000'
	good "mount: a share below /usr" mount_at usr
	good "which the unit makes read-only" refused "Read-only" touch /mnt/usr/file
	good "umount" unmount usr
}

reloads() {
	printf '[late]\npath = /srv/data\n' >"$(dirname "$shares")/late.conf"
	good "reload" systemctl reload gatewayd
	good "it adds a share" test -S /run/gatewayd/late.sock
	good "which can be mounted" mount_at late
	good "umount" unmount late
	echo 'pth = /nowhere' >>"$(dirname "$shares")/late.conf"
	good "a bad reload fails" bad systemctl reload gatewayd
	good "it is active still" active
	is "STATUS" "$(prop StatusText)" "Reload failed, running the old configuration"
	good "the journal has the mistake, as an error" journal err \
		'^reload: .*late.conf:3: error: \[late\] pth: unknown key'
	good "the mounts go on" cmp /mnt/home/seq /home/data/seq
	rm "$(dirname "$shares")/late.conf"
	good "reload by signal" systemctl kill -s HUP gatewayd
	good "it removes the share" within 5 test ! -e /run/gatewayd/late.sock
	good "and says that it is ready" within 5 active
	is "STATUS" "$(prop StatusText)" "Serving 3 shares, 2 guests"
}

crash() {
	local old
	old=$(pid)
	kill -SEGV "$old"
	good "a crash: it is started again" within 15 replaced "$old"
	is "once" "$(prop NRestarts)" 1
	good "the journal knows of the signal" sh -c \
		'journalctl -u gatewayd -o cat --no-pager | grep -q "code=.*status=11/SEGV"'
	unmount home
	unmount tmp
	good "a guest can come back" mount_at home
	is "to its files" "$(tail -n 1 /mnt/home/seq)" 100000
	good "umount" unmount home
}

watchdog() {
	local old pings
	mkdir -p "$dropins"
	printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' >"$dropins/test.conf"
	systemctl daemon-reload
	good "restart" restart
	old=$(pid)
	pings=$(prop WatchdogTimestampMonotonic)
	sleep 3
	good "watchdog: the loop says that it runs" \
		test "$(prop WatchdogTimestampMonotonic)" -gt "$pings"
	is "it was left alone" "$(pid)" "$old"
	kill -STOP "$old"
	good "watchdog: a stopped process is replaced" within 20 replaced "$old"
	good "the journal says so" sh -c \
		'journalctl -u gatewayd -o cat --no-pager | grep -qi "watchdog timeout"'
	rm "$dropins/test.conf"
	systemctl daemon-reload
	systemctl stop gatewayd
}

bad_start() {
	since="@$(date +%s)"
	printf '[home]\nreadonly = perhaps\n' >"$(dirname "$shares")/zz.conf"
	systemctl reset-failed gatewayd
	good "a bad configuration: start fails" bad systemctl start gatewayd
	is "with status 78" "$(prop ExecMainStatus)" 78
	sleep 1
	is "it is failed" "$(prop ActiveState)" failed
	is "and not started again" "$(prop NRestarts)" 0
	good "the journal has the mistake, as an error" journal err \
		'zz.conf:2: error: \[home\] readonly: '
	rm "$(dirname "$shares")/zz.conf"
	since=
}

stop() {
	good "start" restart
	systemctl stop gatewayd
	is "stop: the result" "$(prop Result)" success
	is "stop: the exit status" "$(prop ExecMainStatus)" 0
	good "stop: the journal says so" journal info '^stopped$'
	is "stop: no socket is left" "$(ls -A /run/gatewayd)" ""
}

drop_ins() {
	cp "$examples/mknod.conf" "$examples/sys-admin.conf" "$dropins"
	printf '[gateway]\nmodcaps = +sys_admin\n' >"$(dirname "$shares")/caps.conf"
	systemctl daemon-reload
	good "drop-ins: start" restart
	good "sys-admin.conf: the capability is there" has_cap 21
	good "mknod.conf: mount" mount_at home
	good "mknod.conf: a device node" mknod /mnt/home/null c 1 3
	is "on the host" "$(stat -c %t:%T /home/data/null)" 1:3
	good "mknod.conf: a block device" mknod /mnt/home/disk b 8 0
	good "umount" unmount home
	rm "$dropins"/*.conf
	systemctl daemon-reload
	good "without them: start" restart
	good "the log says what is missing" journal warning \
		'^modcaps: capability sys_admin was not given'
	good "and it is not there" bad has_cap 21
	rm "$(dirname "$shares")/caps.conf"
	systemctl stop gatewayd
}

activation() {
	local inode
	good "sockets: start" systemctl start gatewayd@home.socket gatewayd-ctl.socket
	inode=$(stat -c %i /run/gatewayd/home.sock)
	is "the daemon is not needed yet" "$(systemctl is-active gatewayd)" inactive
	is "owner and mode" "$(stat -c %G:%a /run/gatewayd/home.sock)" kvm:660
	good "gatewayctl starts it" gatewayctl read version
	good "it is active" within 10 active
	good "mount through the socket" mount_at home
	is "STATUS" "$(prop StatusText)" "Serving 3 shares, 1 guests"
	good "reload" systemctl reload gatewayd
	good "umount" unmount home
	good "stop" systemctl stop gatewayd
	is "the socket is still there" "$(stat -c %i /run/gatewayd/home.sock)" "$inode"
	good "a front end starts it" mount_at home
	is "and is served" "$(tail -n 1 /mnt/home/seq)" 100000
	good "umount" unmount home
	good "stop all" systemctl stop gatewayd@home.socket gatewayd-ctl.socket gatewayd
	is "no socket is left" "$(ls -A /run/gatewayd)" ""
}

for part in prepare start_and_look sandbox reloads crash watchdog bad_start \
	stop drop_ins activation; do
	from=$(cut -d ' ' -f 1 /proc/uptime)
	$part
	say "note: $part: from $from to $(cut -d ' ' -f 1 /proc/uptime) s"
done
is "no line of the journal has a bare priority" \
	"$(journalctl -u gatewayd -o cat --no-pager | grep -c '^<[0-9]>')" 0
say "all done"
sync
