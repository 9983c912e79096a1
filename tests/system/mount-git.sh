# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# git on a mounted share: init, add, commit, fsck, repack, clone.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires git

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Test GIT_AUTHOR_EMAIL=test@example.org
export GIT_COMMITTER_NAME=Test GIT_COMMITTER_EMAIL=test@example.org

mkdir "$tmp/share"
start_gatewayd "git:$tmp/share"
mount_share git "$tmp/mnt"
repo=$tmp/mnt/repo
commits=$(scaled 15)

# shellcheck disable=SC2317 # called by check
in_repo() {
	git -C "$repo" "$@"
}

# shellcheck disable=SC2317
commit_lines() {
	for i in $(seq "$commits"); do
		echo "line $i" >>"$repo/src/log" || return 1
		in_repo add -A && in_repo commit -q -m "Line $i" || return 1
	done
}

check "git init" git init -q "$repo"
check "copy sources there" cp -rL /usr/include/linux "$repo/src"
check "git add" in_repo add .
check "git commit" in_repo commit -q -m "All of it"
check "git sees nothing changed" in_repo diff --exit-code
check "more commits" commit_lines
is "number of commits" "$(in_repo rev-list --count HEAD)" $((commits + 1))
check "git mv" in_repo mv src/fuse.h src/fuse-moved.h
check "git stash" in_repo stash -q
check "git fsck" in_repo fsck --full --strict
check "git gc" in_repo gc -q
check "git fsck after gc" in_repo fsck --full --strict
check "git clone" git clone -q "$repo" "$tmp/mnt/clone"
check "the clone is the same" diff -r "$repo/src" "$tmp/mnt/clone/src"
check "git fsck on the host" git -c safe.directory='*' \
	--git-dir "$tmp/share/repo/.git" fsck --full --strict
finish
