/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: mapping regions, and turning addresses of the guest and of
 * the front end into pointers.
 *
 * A table is a snapshot that never changes.  Each holds references on its
 * mappings, each user (connection, queue, held chain) one on its table, so a
 * region that the front end took away stays mapped until the last request
 * that uses it is done.  Every check of a range is a subtraction from numbers
 * that were checked before; nothing is added that could wrap.
 */
#include "config.h"

#include "vhost/vh.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

/* Unmapping this much takes so long that a thread of its own does it. */
#define BIG_MAP ((size_t)32 << 20)

struct vh_map {
	atomic_uint refs;
	void *base;
	size_t len;
	struct vh_guard *guard;
};

/* ---- mappings ---- */

/* Of the whole process, as the kernel's limit is. */
static atomic_uint nmaps, maps_most = UINT_MAX;

void
vh_limit_maps(unsigned most)
{
	atomic_store(&maps_most, most);
}

unsigned
vh_maps(void)
{
	return atomic_load(&nmaps);
}

static int
count_map(char why[VH_WHY_MAX])
{
	unsigned most = atomic_load(&maps_most);

	if (atomic_fetch_add(&nmaps, 1) < most)
		return 0;
	atomic_fetch_sub(&nmaps, 1);
	snprintf(why, VH_WHY_MAX, "all sessions together have %u mappings of "
		 "guest memory, no more can be had", most);
	return -ENOSPC;
}

static void
map_destroy(struct vh_map *map)
{
	vh_guard_free(map->guard);
	munmap(map->base, map->len);
	atomic_fetch_sub(&nmaps, 1);
	free(map);
}

static void *
map_destroy_thread(void *arg)
{
	map_destroy(arg);
	return NULL;
}

static void
map_put(struct vh_map *map)
{
	if (atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (map->len < BIG_MAP || !vh_run_aside(map_destroy_thread, map))
		map_destroy(map);
}

static int
no_stat(int err, char why[VH_WHY_MAX])
{
	snprintf(why, VH_WHY_MAX, "guest memory: stat: %s", strerror(-err));
	return err;
}

/* Is mount number `id` of a type that has no device but needs no server? */
static bool
is_disk_mount(uint64_t id)
{
	static const char *const types[] = { " - btrfs ", " - zfs ",
					     " - bcachefs " };
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char line[4096];

	while (f && !found && fgets(line, sizeof line, f)) {
		if (strtoull(line, NULL, 10) != id)
			continue;
		for (size_t i = 0; i < sizeof types / sizeof *types; i++)
			found |= strstr(line, types[i]) != NULL;
		break;
	}
	if (f)
		fclose(f);
	return found;
}

/*
 * A file that somebody serves, over FUSE or a network, could make us wait,
 * here and for every page.  Nothing asked here reaches a server: memory has
 * seals, a disk has a number.
 */
static int
check_kind(int fd, char why[VH_WHY_MAX])
{
	struct statx stx;

	if (fcntl(fd, F_GET_SEALS) >= 0)
		return 0;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		  STATX_TYPE | STATX_MNT_ID, &stx))
		return no_stat(-errno, why);
	if (!S_ISREG(stx.stx_mode)) {
		snprintf(why, VH_WHY_MAX, "guest memory is not a file; "
			 VH_NOT_SHARED);
		return -EINVAL;
	}
	if (stx.stx_dev_major || is_disk_mount(stx.stx_mnt_id))
		return 0;
	snprintf(why, VH_WHY_MAX, "guest memory must not be on a FUSE or "
		 "network file system");
	return -EINVAL;
}

/* What the file behind a region allows; `page` is its page size. */
static int
check_file(int fd, const struct vh_wire_region *r, uint64_t *page,
	   char why[VH_WHY_MAX])
{
	struct statfs fs;
	struct stat st;
	int err = check_kind(fd, why);

	if (err)
		return err;
	*page = (uint64_t)sysconf(_SC_PAGESIZE);
	if (fstatfs(fd, &fs) || fstat(fd, &st))
		return no_stat(-errno, why);
	if (r->mmap_offset > (uint64_t)st.st_size ||
	    r->size > (uint64_t)st.st_size - r->mmap_offset) {
		snprintf(why, VH_WHY_MAX, "a memory region of %" PRIu64
			 " bytes at offset %" PRIu64
			 " is outside its file of %" PRIu64 " bytes",
			 r->size, r->mmap_offset, (uint64_t)st.st_size);
		return -EINVAL;
	}
	if (fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		*page = (uint64_t)fs.f_bsize;
	return 0;
}

/* Map the file's pages that hold the region (hugetlbfs wants whole ones). */
static int
map_new(int fd, const struct vh_wire_region *r, struct vh_map **out,
	char **host, char why[VH_WHY_MAX])
{
	struct vh_map *map;
	uint64_t page, before, len;
	int err;

	err = check_file(fd, r, &page, why);
	if (!err)
		err = count_map(why);
	if (err)
		return err;
	/* r->size + r->mmap_offset is within a file: far from wrapping. */
	before = r->mmap_offset & (page - 1);
	len = (r->size + before + page - 1) & ~(page - 1);
	map = malloc(sizeof *map);
	if (!map)
		goto no_memory;
	map->len = len;
	map->base = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE, fd,
			 (off_t)(r->mmap_offset - before));
	if (map->base == MAP_FAILED) {
		err = -errno;
		snprintf(why, VH_WHY_MAX,
			 "guest memory cannot be mapped: %s%s", strerror(-err),
			 err == -EACCES || err == -EPERM
				 ? " (share it for reading and writing)" : "");
		free(map);
		atomic_fetch_sub(&nmaps, 1);
		return err;
	}
	if (vh_guard_new(map->base, len, &map->guard))
		goto unmap;
	madvise(map->base, len, MADV_DONTDUMP);
	/* Where the front end lets us: then it cannot be truncated at all. */
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
	map->refs = 1;
	*host = (char *)map->base + before;
	*out = map;
	return 0;
unmap:
	munmap(map->base, map->len);
	free(map);
no_memory:
	atomic_fetch_sub(&nmaps, 1);
	snprintf(why, VH_WHY_MAX, "out of memory");
	return -ENOMEM;
}

/* ---- tables ---- */

struct vh_mem *
vh_mem_get(struct vh_mem *mem)
{
	atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
	return mem;
}

void
vh_mem_put(struct vh_mem *mem)
{
	if (!mem ||
	    atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < mem->n; i++)
		map_put(mem->region[i].map);
	free(mem);
}

static struct vh_mem *
mem_alloc(unsigned n)
{
	struct vh_mem *mem = malloc(sizeof *mem + n * sizeof *mem->region);

	if (mem) {
		mem->refs = 1;
		mem->n = 0;
	}
	return mem;
}

static bool
overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b ? b - a < alen : a - b < blen;
}

static int
check_region(const struct vh_mem *mem, const struct vh_wire_region *r,
	     char why[VH_WHY_MAX])
{
	if (!r->size || r->size > (uint64_t)PTRDIFF_MAX ||
	    r->size > UINT64_MAX - r->guest_addr ||
	    r->size > UINT64_MAX - r->user_addr) {
		snprintf(why, VH_WHY_MAX, "a memory region has an impossible "
			 "size of %" PRIu64 " bytes", r->size);
		return -EINVAL;
	}
	for (unsigned i = 0; i < mem->n; i++) {
		const struct vh_region *o = &mem->region[i];

		if (!overlap(r->guest_addr, r->size, o->gpa, o->size) &&
		    !overlap(r->user_addr, r->size, o->uva, o->size))
			continue;
		snprintf(why, VH_WHY_MAX, "memory regions at guest address "
			 "0x%" PRIx64 " and 0x%" PRIx64 " overlap",
			 r->guest_addr, o->gpa);
		return -EINVAL;
	}
	return 0;
}

/* Put a region into its place in the order. */
static void
insert(struct vh_mem *mem, const struct vh_region *r)
{
	unsigned i = mem->n++;

	for (; i && mem->region[i - 1].gpa > r->gpa; i--)
		mem->region[i] = mem->region[i - 1];
	mem->region[i] = *r;
}

static int
map_region(struct vh_mem *mem, const struct vh_wire_region *w, int fd,
	   char why[VH_WHY_MAX])
{
	struct vh_region r = {
		.gpa = w->guest_addr, .size = w->size, .uva = w->user_addr,
	};
	int err;

	err = check_region(mem, w, why);
	if (!err)
		err = map_new(fd, w, &r.map, &r.host, why);
	if (!err)
		insert(mem, &r);
	return err;
}

/* Take over old's regions, all but `skip` (NULL = all). */
static void
share_regions(struct vh_mem *mem, const struct vh_mem *old,
	      const struct vh_region *skip)
{
	for (unsigned i = 0; old && i < old->n; i++) {
		if (&old->region[i] == skip)
			continue;
		mem->region[mem->n] = old->region[i];
		atomic_fetch_add_explicit(&mem->region[mem->n++].map->refs, 1,
					  memory_order_relaxed);
	}
}

int
vh_mem_new(const struct vh_wire_region *r, const int *fds, unsigned n,
	   struct vh_mem **out, char why[VH_WHY_MAX])
{
	struct vh_mem *mem = mem_alloc(n);
	int err = mem ? 0 : -ENOMEM;

	if (err)
		snprintf(why, VH_WHY_MAX, "out of memory");
	for (unsigned i = 0; i < n && !err; i++)
		err = map_region(mem, &r[i], fds[i], why);
	if (err)
		vh_mem_put(mem);
	else
		*out = mem;
	return err;
}

int
vh_mem_add(const struct vh_mem *old, const struct vh_wire_region *r, int fd,
	   struct vh_mem **out, char why[VH_WHY_MAX])
{
	unsigned n = old ? old->n : 0;
	struct vh_mem *mem;
	int err;

	if (n >= VH_MEM_SLOTS) {
		snprintf(why, VH_WHY_MAX, "more than %d memory regions",
			 VH_MEM_SLOTS);
		return -ENOSPC;
	}
	mem = mem_alloc(n + 1);
	if (!mem) {
		snprintf(why, VH_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
	share_regions(mem, old, NULL);
	err = map_region(mem, r, fd, why);
	if (err)
		vh_mem_put(mem);
	else
		*out = mem;
	return err;
}

int
vh_mem_del(const struct vh_mem *old, const struct vh_wire_region *r,
	   struct vh_mem **out, char why[VH_WHY_MAX])
{
	const struct vh_region *skip = NULL;
	struct vh_mem *mem;

	for (unsigned i = 0; old && i < old->n && !skip; i++)
		if (old->region[i].gpa == r->guest_addr &&
		    old->region[i].uva == r->user_addr &&
		    old->region[i].size == r->size)
			skip = &old->region[i];
	if (!skip) {
		snprintf(why, VH_WHY_MAX, "there is no memory region of %"
			 PRIu64 " bytes at guest address 0x%" PRIx64, r->size,
			 r->guest_addr);
		return -EINVAL;
	}
	mem = mem_alloc(old->n);
	if (!mem) {
		snprintf(why, VH_WHY_MAX, "out of memory");
		return -ENOMEM;
	}
	share_regions(mem, old, skip);
	*out = mem;
	return 0;
}

/* ---- looking things up ---- */

const struct vh_region *
vh_mem_find(const struct vh_mem *mem, uint64_t gpa)
{
	unsigned lo = 0, hi = mem->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct vh_region *r = &mem->region[mid];

		if (gpa < r->gpa)
			hi = mid;
		else if (gpa - r->gpa < r->size)
			return r;
		else
			lo = mid + 1;
	}
	return NULL;
}

void *
vh_mem_user(const struct vh_mem *mem, uint64_t uva, uint64_t len)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct vh_region *r = &mem->region[i];

		if (uva >= r->uva && uva - r->uva < r->size)
			return len <= r->size - (uva - r->uva)
				       ? r->host + (uva - r->uva) : NULL;
	}
	return NULL;
}

uint64_t
vh_mem_size(const struct vh_mem *mem)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < mem->n; i++)
		size += mem->region[i].size;
	return size;
}

bool
vh_mem_is_broken(const struct vh_mem *mem)
{
	for (unsigned i = 0; i < mem->n; i++)
		if (vh_guard_is_broken(mem->region[i].map->guard))
			return true;
	return false;
}
