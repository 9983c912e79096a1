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
git="git -C $repo"
commits=$(scaled 15)

check "git init" git init -q "$repo"
check "copy sources there" cp -rL /usr/include/linux "$repo/src"
check "git add" $git add .
check "git commit" $git commit -q -m "All of it"
check "git sees nothing changed" $git diff --exit-code
for i in $(seq "$commits"); do
	echo "line $i" >>"$repo/src/log" && $git add -A &&
		$git commit -q -m "Line $i" || break
done >"$tmp/out" 2>&1
is "more commits" "$($git rev-list --count HEAD)" $((commits + 1)) ||
	note "$(cat "$tmp/out")"
check "git mv" $git mv src/fuse.h src/fuse-moved.h
check "git stash" $git stash -q
check "git fsck" $git fsck --full --strict
check "git gc" $git gc -q
check "git fsck after gc" $git fsck --full --strict
check "git clone" git clone -q "$repo" "$tmp/mnt/clone"
check "the clone is the same" diff -r "$repo/src" "$tmp/mnt/clone/src"
check "git fsck on the host" git -c safe.directory='*' \
	--git-dir "$tmp/share/repo/.git" fsck --full --strict
finish
