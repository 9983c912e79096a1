# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034
#
# Debian packages, for ./quickstart, ./runtests and .ci/run: install what is
# missing, after saying so.

build_packages="build-essential autoconf automake pkg-config
	libevent-dev libsqlite3-dev libinih-dev"
guest_packages="qemu-system-x86 busybox-static"
test_packages="git fio e2fsprogs xfsprogs btrfs-progs mmdebstrap sqlite3 socat
	stress-ng $guest_packages"
# Not on everybody's machine: postgresql and samba start servers when they are
# installed.
ci_packages="clang libclang-rt-dev shellcheck postgresql attr samba smbclient"

missing_packages() {
	for install_pkg; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$install_pkg" \
			2>/dev/null | grep -q '^.i' || printf '%s ' "$install_pkg"
	done
}

# install_packages PACKAGE...: 0 when all are there.
install_packages() {
	install_missing=$(missing_packages "$@")
	[ -n "$install_missing" ] || return 0
	install_cmd="apt-get install -y --no-install-recommends $install_missing"
	if [ "$(id -u)" -eq 0 ]; then
		install_as=
	elif command -v sudo >/dev/null 2>&1; then
		install_as="sudo "
	else
		echo "These Debian packages are missing. Install them as root:" >&2
		echo "  $install_cmd" >&2
		return 1
	fi
	echo "Installing what is missing: $install_missing" | fold -s -w 78
	# A machine that was just set up has no package lists yet.
	install_log=$(mktemp)
	# shellcheck disable=SC2086 # words
	if ${install_as}apt-get update -q >"$install_log" 2>&1 &&
		${install_as}env DEBIAN_FRONTEND=noninteractive \
			$install_cmd >>"$install_log" 2>&1; then
		rm -f "$install_log"
		return 0
	fi
	tail -n 15 "$install_log" >&2
	rm -f "$install_log"
	echo "apt-get could not install them; the command was:" >&2
	echo "  $install_as$install_cmd" >&2
	return 1
}

# build_tree SOURCE BUILD [CONFIGURE-ARGUMENT...]: configure if need be, make.
# What the tools say goes to BUILD/build.log and is shown when they fail.
build_tree() {
	build_src=$1
	build_dir=$2
	shift 2
	mkdir -p "$build_dir" || return 1
	if build_steps "$@" >"$build_dir/build.log" 2>&1; then
		return 0
	fi
	tail -n 30 "$build_dir/build.log" >&2
	echo "The build failed; all of it is in $build_dir/build.log" >&2
	return 1
}

build_steps() (
	if [ ! -f "$build_src/configure" ]; then
		(cd "$build_src" && autoreconf -i) || exit 1
	fi
	cd "$build_dir" || exit 1
	if [ ! -f config.status ]; then
		"$build_src/configure" "$@" || exit 1
	fi
	make -j"$(nproc)"
)
