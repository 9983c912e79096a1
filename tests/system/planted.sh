# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# Do the named checks find what they are for?  A copy of the tree gets one
# fault after the other, a sed command for one file each, and is built; the
# check named beside it must fail then.  For make check-long.

. "${top_srcdir:-.}/tests/functions.sh"

requires_root
requires_fuse
requires make cc
SCALE=1
export SCALE

# fault WHERE CHECK FILE SED: which test to run, which of its lines must be
# "not ok", what to break.  WHERE is a share and arguments of fscheck, or
# "test" and a program of make check, or "system" and a script.
faults() {
	# Directories.
	fault "plain -o dirs" "directory: seekdir" fuse/dir.c \
		's/if (lseek(h->fd, (off_t)offset, SEEK_SET) < 0)/if (0)/'
	fault "plain -o dirs" "directory: what stays is seen once" fuse/dir.c \
		's/return r->len ? 1 : err;/{ h->at += d->reclen; return 1; }/'
	fault "plain -o dirs" "directory: each once" fuse/dir.c \
		's/return r->len ? 1 : err;/{ h->at += d->reclen; return 1; }/'
	fault "plain -o dirs" "directory: rewinddir" fuse/dir.c \
		's/if (offset == h->pos && offset)/if (offset == h->pos || !offset)/'
	fault "system mount-many" "a directory of" fuse/dir.c \
		's/if (lseek(h->fd, (off_t)offset, SEEK_SET) < 0)/if (0)/'
	fault "system mount-submounts" "closed: all names" fuse/dir.c \
		's/if (err == -ENOENT || err == FS_DEFER)/if (err)/'
	fault "plain -m sub" "mounts: . and .. of the top" fuse/dir.c \
		's/if (up && fs_node_id/if (0 \&\& fs_node_id/'
	fault "plain -m sub" "mounts: . and .. of what is mounted" fuse/dir.c \
		's/return d->ino;/return up ? c->share->root_stx.stx_ino : d->ino;/'
	# Times.
	fault "plain -o times" "times: nanoseconds" fuse/attr.c \
		's/\(mtimensec = \)stx->.*;/\10;/'
	fault "plain -o times" "times: seconds" fuse/attr.c \
		's/\.tv_sec = (time_t)in->mtime,/.tv_sec = (time_t)in->atime,/'
	fault "plain -o times" "times: UTIME_NOW" fuse/attr.c \
		's/ts\[i\].tv_nsec = UTIME_NOW/ts[i].tv_nsec = UTIME_OMIT/'
	fault "plain -o times" "times: UTIME_OMIT" fuse/attr.c \
		's/ts\[i\].tv_nsec = UTIME_OMIT/ts[i].tv_nsec = UTIME_NOW/'
	fault "plain -o times" "times: chmod changes ctime" fuse/attr.c \
		's/\(a->ctime = \).*;/\1(uint64_t)stx->stx_mtime.tv_sec;/;s/\(a->ctimensec = \).*;/\1stx->stx_mtime.tv_nsec;/'
	fault "plain -o times" "times: of a link itself" fuse/attr.c \
		's/AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0/0) < 0/'
	fault "system mount-fscheck" "lazytime: fsync writes it down" \
		fuse/file.c 's/err = fsync(c->fh->fd);/err = 0;/'
	# Holes and room.
	fault "plain -o files" "sparse: SEEK_DATA" fuse/data.c \
		's/(int)in->whence);/SEEK_HOLE);/'
	fault "plain -o files" "sparse: SEEK_HOLE" fuse/data.c \
		's/(int)in->whence);/SEEK_DATA);/'
	fault "plain -o files" "fallocate: keeps it" fuse/data.c \
		's/fallocate(c->fh->fd, (int)in->mode,/fallocate(c->fh->fd, (int)in->mode \& ~FALLOC_FL_KEEP_SIZE,/'
	fault "plain -o files" "fallocate: PUNCH_HOLE" fuse/data.c \
		's/fallocate(c->fh->fd, (int)in->mode,/fallocate(c->fh->fd, (int)in->mode \& ~FALLOC_FL_KEEP_SIZE,/'
	fault "plain -o files" "fallocate: a hole where" fuse/data.c \
		's/fallocate(c->fh->fd, (int)in->mode,/fallocate(c->fh->fd, (int)in->mode \& FALLOC_FL_KEEP_SIZE,/'
	fault "plain -o files" "fallocate: ZERO_RANGE" fuse/data.c \
		's/fallocate(c->fh->fd, (int)in->mode,/fallocate(c->fh->fd, (int)in->mode \& ~FALLOC_FL_ZERO_RANGE,/'
	fault "memory -o files" "fallocate: works after one" fuse/data.c \
		's/(off_t)in->length) < 0 ? -errno : 0;/(off_t)in->length) < 0 ? -ENOSYS : 0;/'
	# Copies.
	fault "plain -o files" "copy_file_range: data" fuse/data.c \
		's/to_off = (loff_t)in->off_out;/to_off = 0;/'
	fault "plain -m sub" "copy_file_range: into" fuse/data.c \
		's/\t\t\tn = -errno;/\t\t\tn = errno == EXDEV ? -EIO : -errno;/'
	# READs together.
	fault "test test-fuse-together" "is short" fuse/later.c \
		's/if (res < 0 || (size_t)res < p->size)/if (res < 0)/'
	fault "test test-fuse-together" "then it is closed" fuse/later.c \
		's/fs_handle_put(p->fh);/;/'
	fault "test test-fuse-together" "what is on the disk only" fuse/later.c \
		's/if (res == -EAGAIN &&/if (0 \&\&/'
	fault "test test-fuse-together" "io_uring = no: at once" fuse/later.c \
		's/c->share->set->io_uring &&/true \&\&/'
	fault "test test-daemon-together" "all answers are right" \
		gatewayd/serve.c 's/^\tb->iov += c->nin + c->nout;/\t;/'
	fault "test test-daemon-together" "all are counted" fuse/later.c \
		's/fs_count(&p->counters->requests, 1);/;/'
	fault "test test-fuse-together" "its answer" fuse/later.c \
		's/^\tif (p->buf)$/\tif (0)/'
	fault "test test-daemon-together" "O_DIRECT: all answers" gatewayd/job.c \
		's/to.later\[nlater++\] = i;/to.later[nlater++] = n - 1 - i;/'
	fault "test test-fuse-together" "alone there, too" fuse/ops.c \
		's/req->flags |= c.together ? FS_MORE : 0;/req->flags |= FS_MORE;/'
	# WRITEs together.
	fault "test test-fuse-writes" "O_SYNC by fcntl" fuse/data.c \
		's/== O_DIRECT && !flags &&$/== O_DIRECT \&\&/'
	fault "test test-fuse-writes" "one that clears bits" fuse/data.c \
		's/ && !flags &&$/ \&\& !flags;/;s/^\t       !kills(c, in->write_flags);/;/'
	fault "test test-fuse-writes" "number 1" fuse/later.c \
		's/p->iov, 1, offset, flags/p->iov, 1, offset \& ~8191UL, flags/'
	fault "test test-fuse-writes" "from then on" fuse/later.c \
		's/if (res == -EOPNOTSUPP && p->nowait)/if (0)/'
	fault "test test-fuse-writes" "is not tried again" fuse/later.c \
		's/res == -EAGAIN && p->is_write/0/'
	fault "test test-daemon-together" "WRITEs together" fuse/data.c \
		's/return plain && /return 0 \&\& /'
	fault "test test-daemon-together" "O_DIRECT: all answers" \
		gatewayd/pool.c 's/if (!answered)$/if (0)/'
	# Sleeping.
	fault "test test-daemon-kicks" "never empty: the daemon sleeps" \
		gatewayd/kicks.c 's/EPOLLIN | EPOLLET/EPOLLIN/'
	fault "test test-daemon-kicks" "each kick of hiprio does" \
		gatewayd/worker.c 's/kicks_add(&t->kicks, \*hiprio);/;/'
	fault "test test-daemon-kicks" "is looked at" gatewayd/kicks.c \
		's/k->blind++;/;/'
	fault "test test-daemon-kicks" "in their time" gatewayd/kicks.c \
		's/ns == KICKS_FOREVER ? -1 : 0);/-1);/;s/!wait_until(k, ns)/0/'
	# Memory that is plugged in.
	fault "test test-vhost-mem" "one in it waits for the sync" vhost/ring.c \
		's/atomic_load_explicit(&q->news/0 \&\& &/'
	# How files are opened.
	fault "plain -o files" "O_APPEND: where the host's file ends" \
		fuse/data.c 's/flags |= RWF_APPEND;/;/'
	fault "plain -o files" "O_APPEND: if only fcntl" fuse/data.c \
		's/if ((in->flags & O_APPEND)/if ((c->fh->flags \& O_APPEND)/'
	fault "plain -o files" "O_APPEND: until fcntl" fuse/data.c \
		's/if ((in->flags & O_APPEND)/if ((c->fh->flags \& O_APPEND)/'
	fault "plain -o files" "O_TRUNC" fuse/file.c \
		's/fd = err ? err : open_node(c, c->node, &flags);/flags \&= ~O_TRUNC; &/'
	fault "direct -o files" "O_DIRECT: all bytes are right" fuse/data.c \
		's/off_t offset = (off_t)in->offset;/off_t offset = (off_t)in->offset \& ~4095;/'
	fault "direct -o files" "O_DIRECT: read" fuse/data.c \
		's/(off_t)(offset + done));$/(off_t)(offset + done) \& ~4095);/'
	fault "direct -o files" "O_DIRECT: to the end" fuse/data.c \
		's/if (done % 512).*/if (1)/;s/n = (ssize_t)fs_iov_write(c->req->out/done = done \& ~511UL; &/'
	fault "plain -o files" "beyond 4 GiB: data" fuse/data.c \
		's/\(pwritev2, c, n, \)offset + done,/\1(uint32_t)(offset + done),/'
	fault "plain -o files" "beyond 2 TiB: data" fuse/data.c \
		's/\(preadv2, c, n, \)offset + done,/\1(offset + done) \& ((1ULL << 41) - 1),/'
	fault "plain -o files" "beyond 2 TiB: size" fuse/attr.c \
		's/\(a->size = \)\(stx.*\);/\1\2 \& ((1ULL << 41) - 1);/'
	# Names.
	fault "test test-fuse-names" "RENAME2: NOREPLACE" fuse/name.c \
		's/rename_to(c, in->newdir, in->flags)/rename_to(c, in->newdir, in->flags \& ~RENAME_NOREPLACE)/'
	fault "plain -o names" "rename: both have changed" fuse/name.c \
		's/rename_to(c, in->newdir, in->flags)/rename_to(c, in->newdir, in->flags \& ~RENAME_EXCHANGE)/'
	fault "plain -o names" "rename: WHITEOUT as on the host" fuse/name.c \
		's/RENAME_WHITEOUT))/0))/'
	fault "plain -o names" "rename: WHITEOUT" fuse/name.c \
		's/rename_to(c, in->newdir, in->flags)/rename_to(c, in->newdir, in->flags \& ~RENAME_WHITEOUT)/'
	fault "plain -o names" "link: one file of two names" fuse/attr.c \
		's/\(a->nlink = \).*;/\11;/'
	fault "plain -o names" "link: of a symbolic link" fuse/name.c \
		's/if (S_ISDIR(c->node2->type))/if (!S_ISREG(c->node2->type))/'
	fault "plain -o names" "special: a fifo" fuse/name.c \
		's/(in->mode & S_IFMT) | mode,$/S_IFREG | mode,/'
	fault "plain -o names" "special: with its number" fuse/name.c \
		's/decode_dev(in->rdev)) < 0/decode_dev(in->rdev) + 1) < 0/'
	fault "plain -o names" "special: a large one" fuse/name.c \
		's/((dev >> 12) & 0xfff00)/0/'
	fault "test test-fuse-special" "" fuse/file.c \
		's/if (!S_ISREG(n->type))/if (S_ISDIR(n->type))/'
	fault "plain -o dirs" "names: of any bytes" fuse/decode.c \
		"s/memchr(s, '\/', len)/memchr(s, '\/', len) || memchr(s, 0xff, len)/"
	fault "plain -o others" "attributes: others work after it" fuse/xattr.c \
		's/^\tif (is_dos(c))$/\tif (err == -EOPNOTSUPP)\n\t\terr = -ENOSYS;\n&/'
	fault "plain -o others" "ioctl: an unknown one" fuse/ioctl.c \
		's/-ENOTTY/-EINVAL/'
	# Errors.
	fault "system mount-errno" "errors on" fuse/data.c \
		's/(off_t)in->length) < 0 ? -errno : 0;/(off_t)in->length) < 0 ? -ENOSYS : 0;/'
	fault "system mount-errno" "errors on" fuse/xattr.c \
		's/^\tif (n >= 0 || errno != ENOSYS)$/\tif (n < 0 \&\& errno == EOPNOTSUPP)\n\t\treturn -ENOSYS;\n&/'
	fault "system mount-errno" "errors on" fuse/name.c \
		's/^\t\terr = -errno;$/\t\terr = errno == EINVAL ? -ENOSYS : -errno;/'
	# Recorded owners: another file's, a change that was answered, one that
	# was synced, one older than a second.
	fault "test test-daemon-reuse" "T51 none after them" \
		casefold/state_read.c \
		's/cf_hash(&fs->state->key, buf, 12 + key->len)/cf_hash(\&fs->state->key, buf, 12)/;s/return a == b ||/return a + b != 1 ||/'
	fault "test test-daemon-loss" "T54 killed" casefold/state_row.c \
		's/^	return cf_db_run(stmt);/	return row->row.uid % 16 ? cf_db_run(stmt) : 0;/'
	fault "test test-daemon-loss" "T54 FSYNC lost nothing" \
		casefold/state_sync.c 's/if (fdatasync(s->wal_fd))/if (0)/'
	fault "test test-daemon-loss" "changes are missing" \
		casefold/state_sync.c 's/AGE_US = 700000/AGE_US = 3000000/'
	fault "test test-casefold-state-crash" "log: it has" \
		casefold/state_sync.c 's/if (!code && left && pages/if (0 \&\& pages/;s/LOG_FULL = 16384/LOG_FULL = 1 << 30/'
	# Nodes.
	fault "test test-fuse-node" "lookups stay as fast" fuse/node.c \
		's/^\t*set_gone(sh, n, true);/;/'
	fault "test test-fuse-node" "and is the same node" fuse/node.c \
		's/^\treturn find_in(.*hash ^ handle.*/\treturn NULL;/'
	fault "test test-fuse-node" "behind a guest: lookups stay" fuse/node.c \
		's/^\t\t\tset_gone(sh, n, true);/\t\t\t;/'
	fault "test test-fuse-export" "a file is found after" fuse/export.c \
		's/return n ? n : 1;/return FS_IDLE;/'
	fault "test test-fuse-export" "are found" fuse/export.c \
		's/return n ? n : 1;/return UINT32_MAX;/'
	fault "test test-fuse-export" "stays" fuse/idle.c \
		's/n->again = n->idle;/n->again = false;/'
	fault "test test-fuse-export" "are stale" fuse/lookup.c \
		's/if (!stx.stx_nlink \&\& fs_is_exported(c->s))/if (0)/'
	fault "test test-fuse-export" "is not kept open" fuse/node.c \
		's/^\tfs_nodefd_drop(n);/\t;/'
	fault "test test-fuse-export" "another has no such ids" fuse/export.c \
		's/\*base &= INT32_MAX;/*base = 0;/'
	fault "test test-fuse-export" "not one that asks for no" fuse/init.c \
		's/^\t\tfs_nodes_clear(s, true);/\t\t;/'
	fault "test test-fuse-export" "finds what it had" fuse/export.c \
		's/max_clients == 1 &&/max_clients == 0 \&\&/'
	fault "test test-fuse-export" "leaves: nothing is open" fuse/session.c \
		's/^\t\tfs_nodes_close(s);/\t\t;/'
	fault "test test-fuse-export" "nothing of a Linux guest" fuse/init.c \
		's/^\tif (fs_is_exported(s))/\tif (0)/'
	fault "test test-fuse-options" "who has entered it" fuse/ops.c \
		's/if (fs_is_closed(c, c->node->mount))/if (0)/'
	fault "test test-fuse-export" "nothing is above it" fuse/export.c \
		's/err = \(walk_up\|compare_paths\)(c, up);/err = 0;/'
	fault "test test-fuse-export" "above is not in the share" fuse/export.c \
		's/err = compare_paths(c, up);/err = 0;/'
	# What is mounted below.
	fault "test test-fuse-mounts" "and can be unmounted" fuse/mount.c \
		's/if (used && forget_idle(share, m, l))/if (0)/'
	fault "test test-fuse-mounts" "not left while it was used" \
		fuse/mount.c 's/m->fd < 0 || active ||/m->fd < 0 ||/'
	fault "test test-fuse-mounts" "which can be opened" fuse/mount.c \
		's/if (atomic_load(&m->used))/if (0)/'
	fault "test test-fuse-mounts" "export_support: is held" fuse/mount.c \
		's/if (fs_is_exported(s))/if (0)/'
	fault "system mount-umount" "closed: unmounted" gatewayd/sweep.c \
		's/more = fs_share_leave(.*/more = false, c->n = 0;/'
	fault "system mount-export" "with the way to it" fuse/lookup.c \
		's/? lookup_parent(c, e) : -EINVAL/? -EINVAL : -EINVAL/'
	fault "test test-fuse-node" "another guest may" fuse/budget.c \
		's/room \* 3;/room * 4;/'
	fault "system mount-many" "the daemon has fds left" \
		fuse/budget.c 's/if (spare(s) > spare(most))/if (0)/;s/return is_fair(share->max_fds.*/return true;/;s/^	       (!b || is_fair.*//;s/return b && atomic_load(&b->nfds) >= b->max_fds;/return false;/'
}

# ------------------------------------------------------------------

src=$tmp/src build=$tmp/build
memory=$(mktemp -d /dev/shm/gatewayd-test-XXXXXX) ||
	skip_all "no directory in memory"
at_exit "rm -rf '$memory'"
chmod 755 "$memory"
mkdir "$src" "$build" "$tmp/plain" "$tmp/mnt"
for dir in build-aux casefold conf fuse gatewayd man tests vhost; do
	cp -R "$top_srcdir/$dir" "$src/" || bail "cannot copy the tree"
done
cp "$top_srcdir"/* "$src/" 2>/dev/null
programs="tests/system/fscheck tests/system/fserrno tests/system/manynames
	tests/system/byhandle tests/lastsync.so $(
	sed -n 's|^	fault "test \(test-[^"]*\)".*|tests/\1|p' "$0" | sort -u)"
# shellcheck disable=SC2086 # words
(cd "$build" && "$src/configure" CFLAGS="-O1 -g0" && make -j2 all $programs) \
	>"$tmp/build.log" 2>&1 ||
	bail "$(tail -n 20 "$tmp/build.log")"
GATEWAYD=$build/gatewayd/gatewayd GATEWAYCTL=$build/gatewayd/gatewayctl
export GATEWAYD GATEWAYCTL

# TAP of the checks of a share, into $tmp/tap.
on_share() {
	share=$1
	shift
	case $share in
	memory) host=$memory ;;
	*) host=$tmp/plain ;;
	esac
	mkdir -p "$host"
	[ "$1" != -m ] || {
		mkdir -p "$host/sub" &&
			mount -t tmpfs -o size=8m tmpfs "$host/sub"
	}
	cat >"$run/conf.d/shares.conf" <<-END
	[share]
	path = $host
	xattr = yes
	$([ "$share" != direct ] || printf 'cache = never\nallow_direct_io = yes')
	END
	start_gatewayd
	mount_share share "$tmp/mnt"
	timeout 120 "$build/tests/system/fscheck" "$@" "$tmp/mnt" "$host" \
		>"$tmp/tap" 2>&1
	umount -l "$tmp/mnt"
	mounts=
	kill_gatewayd
	[ "$1" != -m ] || umount -l "$host/sub"
	rm -rf "${host:?}"/*
}

run_checks() {
	# shellcheck disable=SC2086 # words
	set -- $1
	case $1 in
	test)
		(cd "$build" && top_builddir=$build timeout 300 "tests/$2") \
			>"$tmp/tap" 2>&1
		;;
	system)
		top_srcdir=$src top_builddir=$build timeout 600 sh \
			"$src/tests/system/$2.sh" >"$tmp/tap" 2>&1
		;;
	*) on_share "$@" ;;
	esac
}

fault() {
	# PLANTED is a pattern of checks to try.
	printf '%s\n' "$1: $2" | grep -q -e "${PLANTED-}" || return
	cp "$src/$3" "$tmp/good"
	sed -i "$4" "$src/$3"
	if cmp -s "$src/$3" "$tmp/good"; then
		not_ok "$1: $2" "nothing was changed in $3: $4"
		return
	fi
	# shellcheck disable=SC2086 # words
	if ! make -C "$build" all $programs >"$tmp/build.log" 2>&1; then
		not_ok "$1: $2" "$(tail -n 20 "$tmp/build.log")"
	else
		run_checks "$1"
		check "$1: $2" grep -q "^not ok.*$2" "$tmp/tap"
	fi
	cp "$tmp/good" "$src/$3"
}

# What is not broken passes.
for where in "plain -o times" "plain -o dirs" "direct -o files" \
	"memory -o files" "plain -o names" "plain -o others" "plain -m sub"; do
	run_checks "$where"
	is "without a fault: $where" "$(grep -c '^not ok' "$tmp/tap")" 0 ||
		note "$(cat "$tmp/tap")"
done
faults
finish
