# fuse/
noinst_LIBRARIES += fuse/libfuse.a
fuse_libfuse_a_SOURCES = fuse/attr.c fuse/budget.c fuse/chown.c fuse/cred.c \
	fuse/data.c fuse/decode.c fuse/dir.c fuse/dosattr.c fuse/dosattr.h \
	fuse/export.c fuse/file.c fuse/fold.c fuse/fold.h fuse/fs.h fuse/fuse.h \
	fuse/handle.c fuse/idle.c fuse/ids.c fuse/ids.h fuse/init.c fuse/inode.h \
	fuse/io.c fuse/ioctl.c fuse/later.c fuse/later.h fuse/lock.c \
	fuse/lookup.c fuse/mount.c fuse/name.c fuse/node.c fuse/nodefd.c \
	fuse/nodes.h fuse/ops.c fuse/owners.c fuse/owners.h fuse/session.c fuse/share.c fuse/show.c fuse/show.h fuse/sys.h \
	fuse/table.c fuse/uring.c fuse/uring.h fuse/windows.c fuse/wire.h \
	fuse/xattr.c

# Tests: tests/fuseclient.h makes requests, each program tries one behaviour.
check_LIBRARIES += tests/libfuseclient.a
tests_libfuseclient_a_SOURCES = tests/fuseclient.c tests/fusecalls.c \
	tests/fuseclient.h

fuse_test_ldadd = tests/libfuseclient.a fuse/libfuse.a $(CASEFOLD_LIBS)

fuse_tests = tests/test-fuse-cache \
	tests/test-fuse-casefold tests/test-fuse-casefold-keys \
	tests/test-fuse-cred tests/test-fuse-dir tests/test-fuse-dosattr \
	tests/test-fuse-export \
	tests/test-fuse-file \
	tests/test-fuse-ids tests/test-fuse-init tests/test-fuse-lock \
	tests/test-fuse-lookup tests/test-fuse-malformed \
	tests/test-fuse-minor tests/test-fuse-mounts \
	tests/test-fuse-names tests/test-fuse-node tests/test-fuse-options \
	tests/test-fuse-overflow tests/test-fuse-owners \
	tests/test-fuse-readonly \
	tests/test-fuse-special tests/test-fuse-threads tests/test-fuse-together \
	tests/test-fuse-windows tests/test-fuse-writes tests/test-fuse-xattr \
	tests/test-xattrmap
check_PROGRAMS += $(fuse_tests)
TESTS += $(fuse_tests)
tests_test_fuse_cache_SOURCES = tests/test-fuse-cache.c
tests_test_fuse_cache_LDADD = $(fuse_test_ldadd)
tests_test_fuse_casefold_SOURCES = tests/test-fuse-casefold.c \
	tests/casefold-fuse.h
tests_test_fuse_casefold_keys_SOURCES = tests/test-fuse-casefold-keys.c \
	tests/casefold-fuse.h
tests_test_fuse_casefold_keys_LDADD = $(fuse_test_ldadd)
tests_test_fuse_casefold_LDADD = $(fuse_test_ldadd)
tests_test_fuse_cred_SOURCES = tests/test-fuse-cred.c
tests_test_fuse_cred_LDADD = $(fuse_test_ldadd)
tests_test_fuse_dir_SOURCES = tests/test-fuse-dir.c
tests_test_fuse_dir_LDADD = $(fuse_test_ldadd)
tests_test_fuse_dosattr_SOURCES = tests/test-fuse-dosattr.c \
	tests/fuserecords.h tests/fuseids.h tests/fusens.h
tests_test_fuse_dosattr_LDADD = $(fuse_test_ldadd)
tests_test_fuse_export_SOURCES = tests/test-fuse-export.c
tests_test_fuse_export_LDADD = $(fuse_test_ldadd)
tests_test_fuse_file_SOURCES = tests/test-fuse-file.c
tests_test_fuse_file_LDADD = $(fuse_test_ldadd)
tests_test_fuse_ids_SOURCES = tests/test-fuse-ids.c tests/fuseids.h
tests_test_fuse_ids_LDADD = $(fuse_test_ldadd)
tests_test_fuse_init_SOURCES = tests/test-fuse-init.c
tests_test_fuse_init_LDADD = $(fuse_test_ldadd)
tests_test_fuse_lock_SOURCES = tests/test-fuse-lock.c
tests_test_fuse_lock_LDADD = $(fuse_test_ldadd)
tests_test_fuse_lookup_SOURCES = tests/test-fuse-lookup.c
tests_test_fuse_lookup_LDADD = $(fuse_test_ldadd)
tests_test_fuse_malformed_SOURCES = tests/test-fuse-malformed.c
tests_test_fuse_malformed_LDADD = $(fuse_test_ldadd)
tests_test_fuse_minor_SOURCES = tests/test-fuse-minor.c
tests_test_fuse_minor_LDADD = $(fuse_test_ldadd)
tests_test_fuse_mounts_SOURCES = tests/test-fuse-mounts.c
tests_test_fuse_mounts_LDADD = $(fuse_test_ldadd)
tests_test_fuse_names_SOURCES = tests/test-fuse-names.c
tests_test_fuse_names_LDADD = $(fuse_test_ldadd)
tests_test_fuse_node_SOURCES = tests/test-fuse-node.c
tests_test_fuse_node_LDADD = $(fuse_test_ldadd)
tests_test_fuse_options_SOURCES = tests/test-fuse-options.c
tests_test_fuse_options_LDADD = $(fuse_test_ldadd)
tests_test_fuse_overflow_SOURCES = tests/test-fuse-overflow.c \
	tests/fuseids.h tests/fusens.h
tests_test_fuse_overflow_LDADD = $(fuse_test_ldadd)
tests_test_fuse_owners_SOURCES = tests/test-fuse-owners.c \
	tests/fuserecords.h tests/fuseids.h tests/fusens.h
tests_test_fuse_owners_LDADD = $(fuse_test_ldadd)
tests_test_fuse_readonly_SOURCES = tests/test-fuse-readonly.c
tests_test_fuse_readonly_LDADD = $(fuse_test_ldadd)
tests_test_fuse_special_SOURCES = tests/test-fuse-special.c
tests_test_fuse_special_LDADD = $(fuse_test_ldadd)
tests_test_fuse_together_SOURCES = tests/test-fuse-together.c tests/uring.h
tests_test_fuse_together_LDADD = $(fuse_test_ldadd)
tests_test_fuse_writes_SOURCES = tests/test-fuse-writes.c tests/uring.h
tests_test_fuse_writes_LDADD = $(fuse_test_ldadd)
tests_test_fuse_threads_SOURCES = tests/test-fuse-threads.c
tests_test_fuse_threads_LDADD = $(fuse_test_ldadd)
tests_test_fuse_windows_SOURCES = tests/test-fuse-windows.c
tests_test_fuse_windows_LDADD = $(fuse_test_ldadd)
tests_test_fuse_xattr_SOURCES = tests/test-fuse-xattr.c
tests_test_fuse_xattr_LDADD = $(fuse_test_ldadd)
tests_test_xattrmap_SOURCES = tests/test-xattrmap.c tests/conf-try.h
tests_test_xattrmap_LDADD = fuse/libfuse.a $(CASEFOLD_LIBS) $(conf_libs)

check_PROGRAMS += tests/fuzz/replay-fuse
TESTS += tests/fuzz/replay-fuse
tests_fuzz_replay_fuse_SOURCES = tests/fuzz/replay.c tests/fuzz/fuzz-fuse.c
tests_fuzz_replay_fuse_LDADD = $(fuse_test_ldadd)
EXTRA_DIST += tests/fuzz/seeds/fuse
