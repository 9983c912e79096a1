/* SPDX-License-Identifier: MIT */
/*
 * Bounded reads and writes of iovecs.  Every length that a guest states is
 * checked here against what is really there.
 */
#include "config.h"

#include <string.h>

#include "fuse/fs.h"

unsigned
fs_iov_slice(const struct iovec *v, unsigned n, size_t off, size_t len,
	     struct iovec *dst, unsigned max, size_t *got)
{
	unsigned ndst = 0;

	*got = 0;
	for (unsigned i = 0; i < n && ndst < max && *got < len; i++) {
		size_t part;

		if (off >= v[i].iov_len) {
			off -= v[i].iov_len;
			continue;
		}
		part = v[i].iov_len - off;
		if (part > len - *got)
			part = len - *got;
		dst[ndst].iov_base = (char *)v[i].iov_base + off;
		dst[ndst++].iov_len = part;
		*got += part;
		off = 0;
	}
	return ndst;
}

size_t
fs_iov_read_on(const struct iovec *v, unsigned n, size_t off, void *buf,
	       size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		struct iovec part;
		size_t got;

		if (fs_iov_slice(v + i, 1, off, len - done, &part, 1, &got)) {
			memcpy((char *)buf + done, part.iov_base, got);
			done += got;
			off = 0;
		} else {
			off -= v[i].iov_len;
		}
	}
	return done;
}

size_t
fs_iov_write_on(const struct iovec *v, unsigned n, size_t off,
		const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		struct iovec part;
		size_t got;

		if (fs_iov_slice(v + i, 1, off, len - done, &part, 1, &got)) {
			memcpy(part.iov_base, (const char *)buf + done, got);
			done += got;
			off = 0;
		} else {
			off -= v[i].iov_len;
		}
	}
	return done;
}
