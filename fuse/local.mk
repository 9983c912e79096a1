# fuse/
noinst_LIBRARIES += fuse/libfuse.a
fuse_libfuse_a_SOURCES = \
	fuse/attr.c \
	fuse/cred.c \
	fuse/data.c \
	fuse/dir.c \
	fuse/file.c \
	fuse/fs.h \
	fuse/fuse.h \
	fuse/handle.c \
	fuse/init.c \
	fuse/io.c \
	fuse/lookup.c \
	fuse/mount.c \
	fuse/name.c \
	fuse/node.c \
	fuse/nodefd.c \
	fuse/ops.c \
	fuse/session.c \
	fuse/share.c \
	fuse/show.c \
	fuse/table.c \
	fuse/windows.c \
	fuse/wire.h

# Tests: tests/fuseclient.h makes requests, each program tries one behaviour.
check_LIBRARIES += tests/libfuseclient.a
tests_libfuseclient_a_SOURCES = tests/fuseclient.c tests/fuseclient.h

fuse_test_ldadd = tests/libfuseclient.a fuse/libfuse.a

fuse_tests = tests/test-fuse-file \
	tests/test-fuse-init \
	tests/test-fuse-lookup \
	tests/test-fuse-names
check_PROGRAMS += $(fuse_tests)
TESTS += $(fuse_tests)
tests_test_fuse_file_SOURCES = tests/test-fuse-file.c
tests_test_fuse_file_LDADD = $(fuse_test_ldadd)
tests_test_fuse_init_SOURCES = tests/test-fuse-init.c
tests_test_fuse_init_LDADD = $(fuse_test_ldadd)
tests_test_fuse_lookup_SOURCES = tests/test-fuse-lookup.c
tests_test_fuse_lookup_LDADD = $(fuse_test_ldadd)
tests_test_fuse_names_SOURCES = tests/test-fuse-names.c
tests_test_fuse_names_LDADD = $(fuse_test_ldadd)
