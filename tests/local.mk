# Tests of the whole: layers, the daemon, system tests, fuzzing.

EXTRA_DIST += tests/tap.h tests/functions.sh tests/install.sh tests/tsan.supp
TESTS += tests/check-layers.sh tests/test-fsops.sh
EXTRA_DIST += tests/check-layers.sh tests/test-fsops.sh

# make check-system: root, the host's own FUSE client, a guest under QEMU.
# One after the other: they are heavy, and some measure time.
check_PROGRAMS += tests/system/fsops tests/system/inodecycle
tests_system_fsops_SOURCES = tests/system/fsops.c tests/system/fsops.h \
	tests/system/fsops-pick.c tests/system/fsops-check.c \
	tests/system/fsops-file.c tests/system/fsops-name.c \
	tests/system/fsops-shared.c tests/system/fsmodel.c \
	tests/system/fsmodel.h
check_PROGRAMS += tests/system/fscheck
tests_system_fscheck_SOURCES = tests/system/fscheck.c tests/system/fscheck.h \
	tests/system/fscheck-dir.c tests/system/fscheck-file.c \
	tests/system/fscheck-mount.c tests/system/fscheck-lock.c \
	tests/system/fscheck-user.c
tests_system_inodecycle_SOURCES = tests/system/inodecycle.c
check_PROGRAMS += tests/system/fserrno
tests_system_fserrno_SOURCES = tests/system/fserrno.c tests/system/fserrno.h \
	tests/system/fserrno-attr.c tests/system/fserrno-data.c \
	tests/system/fserrno-ioctl.c tests/system/fserrno-name.c
check_PROGRAMS += tests/system/fsbytes
tests_system_fsbytes_SOURCES = tests/system/fsbytes.c
check_PROGRAMS += tests/system/byhandle
tests_system_byhandle_SOURCES = tests/system/byhandle.c
check_PROGRAMS += tests/system/manynames
tests_system_manynames_SOURCES = tests/system/manynames.c

check_PROGRAMS += tests/system/stallfs
tests_system_stallfs_SOURCES = tests/system/stallfs.c tests/stallfs.c \
	tests/stallfs.h
SYSTEM_TESTS += tests/system/guest-stop-cont.sh

SYSTEM_TESTS += tests/system/mount-fscheck.sh \
	tests/system/mount-submounts.sh tests/system/mount-umount.sh \
	tests/system/mount-hung-disk.sh \
	tests/system/mount-many.sh \
	tests/system/mount-errno.sh \
	tests/system/mount-bytes.sh tests/system/mount-stress.sh \
	tests/system/mount-databases.sh tests/system/mount-inodes.sh \
	tests/system/mount-fsops.sh tests/system/mount-fio.sh \
	tests/system/mount-git.sh tests/system/mount-locks.sh \
	tests/system/mount-atime.sh tests/system/mount-export.sh \
	tests/system/mount-casefold.sh \
	tests/system/mount-ids.sh tests/system/casefold-fs.sh \
	tests/system/mount-owners.sh tests/system/mount-tar.sh \
	tests/system/mount-reload.sh tests/system/samba.sh \
	tests/system/guest-two-tags.sh \
	tests/system/guest-inode-identity.sh tests/system/guest-casefold.sh \
	tests/system/systemd.sh
# Only in check-long: they take minutes whatever SCALE says.
LONG_TESTS = tests/system/planted.sh tests/system/guest-nfs.sh
EXTRA_DIST += $(SYSTEM_TESTS) $(LONG_TESTS) tests/system/vm.sh tests/system/systemd-guest.sh
MOSTLYCLEANFILES += $(SYSTEM_TESTS:.sh=.log) $(SYSTEM_TESTS:.sh=.trs) \
	$(LONG_TESTS:.sh=.log) $(LONG_TESTS:.sh=.trs) system-suite.log \
	systemd-suite.log long-suite.log casefold-suite.log

check-system: all $(check_PROGRAMS)
	$(MAKE) $(AM_MAKEFLAGS) -j1 check-TESTS TESTS='$(SYSTEM_TESTS)' \
	TEST_SUITE_LOG=system-suite.log

# make check-systemd: gatewayd as a service of a real systemd.
check-systemd: all
	$(MAKE) $(AM_MAKEFLAGS) -j1 check-TESTS \
	TESTS='tests/system/systemd.sh' TEST_SUITE_LOG=systemd-suite.log

# make check-long: the counts of a release, an hour or so.  Each part is run,
# whatever those before it found.
check-long: all $(check_PROGRAMS)
	SCALE=$${SCALE-10}; export SCALE; err=0; \
	$(MAKE) $(AM_MAKEFLAGS) check || err=1; \
	$(MAKE) $(AM_MAKEFLAGS) check-system || err=1; \
	$(MAKE) $(AM_MAKEFLAGS) -j1 check-TESTS \
	TESTS='$(LONG_TESTS)' TEST_SUITE_LOG=long-suite.log || err=1; \
	SCALE=50 $(MAKE) $(AM_MAKEFLAGS) -j1 check-TESTS \
	TESTS=tests/system/casefold-fs.sh TEST_SUITE_LOG=casefold-suite.log || \
	err=1; exit $$err

# Lines of the control socket, into the whole daemon.
check_PROGRAMS += tests/fuzz/replay-ctl
TESTS += tests/fuzz/replay-ctl
EXTRA_DIST += tests/fuzz/seeds/ctl
tests_fuzz_replay_ctl_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-ctl.c \
	$(gw_sources)
tests_fuzz_replay_ctl_CPPFLAGS = $(gatewayd_gatewayd_CPPFLAGS)
tests_fuzz_replay_ctl_LDADD = $(gatewayd_gatewayd_LDADD)

# make check-fuzz: every replay-NAME program, built as a libFuzzer target.
EXTRA_DIST += tests/fuzz/run .ci/run
check-fuzz:
	top_srcdir='$(abs_top_srcdir)' $(SHELL) $(top_srcdir)/tests/fuzz/run \
	$(check_PROGRAMS)

clean-local: clean-fuzz
clean-fuzz:
	rm -rf fuzz-build

.PHONY: check-system check-systemd check-long check-fuzz clean-fuzz

include $(top_srcdir)/tests/guest.mk
include $(top_srcdir)/tests/bench/local.mk
