// SPDX-License-Identifier: MIT
/*
 * The kernel backend: /dev/wxpool. Offsets in the device are offsets in the
 * window, so that neighbouring views merge.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/wxpool.h>

#include "internal.h"

#define DEVICE	"/dev/wxpool"

static int device_call(struct wxp *w, unsigned long op, void *arg)
{
	w->syscalls++;
	return ioctl(w->fd, op, arg) ? -errno : 0;
}

static int map_pages(struct wxp *w, uint32_t page, uint32_t nr, int prot)
{
	size_t offset = page * w->page_size;
	void *p;

	w->syscalls++;
	p = mmap(w->base + offset, nr * w->page_size, prot, MAP_SHARED | MAP_FIXED, w->fd,
		 (off_t)offset);
	return p == MAP_FAILED ? -errno : 0;
}

static int map_view(struct wxp *w, const struct run *run, int prot)
{
	return map_pages(w, run->page, run->nr, prot);
}

static int device_open(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	/* The node may be there, made at boot, without the module. */
	return errno == ENXIO || errno == ENODEV ? -ENOENT : -errno;
}

static int check_version(struct wxp *w)
{
	struct wxpool_info info = { .size = sizeof(info) };

	if (device_call(w, WXPOOL_IOC_INFO, &info))
		return -EPROTO;
	if (info.abi_version != WXPOOL_ABI_VERSION || info.page_size != w->page_size)
		return -EPROTO;
	return info.space < w->size ? -EINVAL : 0;
}

/* Executable views are refused where /dev is mounted noexec. */
static int check_exec(struct wxp *w)
{
	struct run run = { .page = 0, .nr = 1 };
	int ret = map_view(w, &run, PROT_READ | PROT_EXEC);

	if (ret == -EACCES)
		ret = -EPERM;
	return ret ? ret : window_map(w, 0, 1, PROT_NONE);
}

static int kernel_open(struct wxp *w)
{
	int ret = device_open();

	if (ret < 0)
		return ret;
	w->fd = ret;
	ret = check_version(w);
	if (!ret)
		ret = check_exec(w);
	if (!ret)
		ret = guard_open(w);
	if (ret)
		close(w->fd);
	return ret;
}

static int device_free(struct wxp *w, struct pool *pool)
{
	struct wxpool_free arg = { .size = sizeof(arg), .pool = pool->id };
	int ret = device_call(w, WXPOOL_IOC_FREE, &arg);

	if (!ret)
		pool->kept = arg.nr_kept != 0;
	return ret;
}

/* The library's own pool in a zone. */
static struct pool anchor_pool(const struct wxp *w, const struct zone *zone)
{
	return (struct pool){ .id = WXP_POOL_OWN + zone->page / w->zone_pages };
}

static void free_anchors(struct wxp *w, const struct zone *zone)
{
	struct pool pool;

	for (; zone; zone = zone->next) {
		pool = anchor_pool(w, zone);
		if (zone->anchor != NO_LINE)
			device_free(w, &pool);
	}
}

static void device_free_pools(struct wxp *w)
{
	struct pool *pool;
	size_t i;

	for (i = 0; i < w->nr_buckets; i++)
		for (pool = w->buckets[i]; pool; pool = pool->next)
			if (pool->on_device)
				device_free(w, pool);
	free_anchors(w, w->areas[WXP_R].zones);
	free_anchors(w, w->areas[WXP_RX].zones);
}

/* A child may keep the file open: what it does not use is freed here. */
static void kernel_close(struct wxp *w, bool forked)
{
	if (!forked)
		device_free_pools(w);
	close(w->fd);
}

/* Adds @run to the vector, as part of the last range where it fits on. */
static void add_range(struct wxp *w, struct wxpool_vec *vec, const struct run *run, uint32_t prot)
{
	struct wxpool_range *r = w->ranges + vec->nr_ranges;
	uint64_t offset = run->page * w->page_size;

	if (vec->nr_ranges && r[-1].prot == prot && r[-1].offset + r[-1].length == offset) {
		r[-1].length += run_bytes(w, run);
		return;
	}
	*r = (struct wxpool_range){
		.offset = offset,
		.length = run_bytes(w, run),
		.addr = (uintptr_t)w->base + offset,
		.prot = prot,
	};
	vec->nr_ranges++;
}

static void vec_init(struct wxp *w, struct wxpool_vec *vec, const struct pool *pool)
{
	*vec = (struct wxpool_vec){
		.size = sizeof(*vec),
		.pool = pool->id,
		.ranges = (uintptr_t)w->ranges,
	};
}

/*
 * The device has granted the pages, but not mapped them all. Single pages
 * cannot be given back: unless the pool is new, they have to wait in it.
 */
static int finish_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++)
		ret = map_view(w, runs[i], PROT_READ | PROT_WRITE);
	if (!ret)
		return 0;
	if (!pool->on_device && !device_free(w, pool))
		return ret;
	pool->on_device = true;
	for (i = 0; i < nr; i++)
		runs[i]->state = RUN_STUCK;
	return ret;
}

/*
 * Views with a key are made before their pages, as long as there is nothing that
 * another thread could store to.
 */
static int map_locked(struct wxp *w, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		ret = map_view(w, runs[i], PROT_READ | PROT_WRITE);
		if (!ret)
			ret = guard_lock(w, runs[i]->page, runs[i]->nr);
	}
	return ret;
}

static int kernel_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	struct wxpool_vec vec;
	unsigned int i;
	int ret;

	vec_init(w, &vec, pool);
	for (i = 0; i < nr; i++)
		add_range(w, &vec, runs[i], 0);
	if (w->key >= 0) {
		ret = map_locked(w, runs, nr);
		if (ret)
			return ret;
		for (i = 0; i < vec.nr_ranges; i++)
			w->ranges[i].addr = 0;
	}
	ret = device_call(w, WXPOOL_IOC_ALLOC, &vec);
	if (!ret && vec.map_error)
		ret = finish_grant(w, pool, runs, nr);
	if (!ret)
		pool->on_device = true;
	return ret;
}

static int kernel_unstick(struct wxp *w, struct run *run)
{
	return map_view(w, run, PROT_READ | PROT_WRITE);
}

static int kernel_view(struct wxp *w, uint32_t page, uint32_t nr, enum wxp_prot prot)
{
	int ret = map_pages(w, page, nr, prot == WXP_RX ? PROT_READ | PROT_EXEC : PROT_READ);

	if (!ret)
		ret = guard_fix(w, page, nr);
	return ret == -EACCES ? -EPERM : ret;
}

/* Maps what is sealed, but lacks its view, and has the views stay. */
static int finish_seal(struct wxp *w, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		if (runs[i]->state == RUN_SEALED)
			ret = kernel_view(w, runs[i]->page, runs[i]->nr, runs[i]->prot);
		else
			ret = guard_fix(w, runs[i]->page, runs[i]->nr);
		if (!ret)
			runs[i]->state = RUN_DONE;
	}
	return ret;
}

static int kernel_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	struct wxpool_vec vec;
	unsigned int i;
	int ret;

	vec_init(w, &vec, pool);
	for (i = 0; i < nr; i++)
		if (runs[i]->state == RUN_OPEN)
			add_range(w, &vec, runs[i], device_prot(runs[i]->prot));
	if (vec.nr_ranges) {
		ret = device_call(w, WXPOOL_IOC_PROTECT, &vec);
		if (ret)
			return ret;
	}
	for (i = 0; i < nr; i++)
		if (runs[i]->state == RUN_OPEN)
			runs[i]->state = vec.map_error ? RUN_SEALED : RUN_VIEWED;
	return finish_seal(w, runs, nr);
}

static int kernel_drop(struct wxp *w, struct pool *pool)
{
	return pool->on_device ? device_free(w, pool) : 0;
}

/* A number that no pool has. */
static uint32_t unused_id(const struct wxp *w)
{
	uint32_t id = UINT32_MAX;

	while (pool_find(w, id))
		id--;
	return id;
}

static bool probe_runs(struct wxp *w, const struct pool *scratch, const struct run *run)
{
	struct wxpool_vec vec;

	for (; run; run = run->next) {
		vec_init(w, &vec, scratch);
		add_range(w, &vec, run, 0);
		w->ranges->addr = 0;
		if (device_call(w, WXPOOL_IOC_ALLOC, &vec))
			return false;
	}
	return true;
}

/* The device refuses pages that a child has kept. */
static bool kernel_probe(struct wxp *w, struct pool *pool)
{
	struct pool scratch = { .id = unused_id(w) };
	bool ok = probe_runs(w, &scratch, pool->regions->bins[WXP_R].fresh) &&
		  probe_runs(w, &scratch, pool->regions->bins[WXP_R].done) &&
		  probe_runs(w, &scratch, pool->regions->bins[WXP_RX].fresh) &&
		  probe_runs(w, &scratch, pool->regions->bins[WXP_RX].done) &&
		  probe_runs(w, &scratch, pool->regions->stuck);

	/* Where the first range failed there is nothing to free. */
	device_free(w, &scratch);
	return ok && !scratch.kept;
}

/* What the device itself says, in the line that begins with @name. */
static uint64_t device_says(const struct wxp *w, const char *name)
{
	uint64_t nr = 0;
	char line[64];
	FILE *info;

	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", w->fd);
	info = fopen(line, "re");
	if (!info)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), info))
		if (!strncmp(line, name, strlen(name)))
			nr = strtoull(line + strlen(name), NULL, 10);
	fclose(info);
	return nr;
}

/*
 * Children end without our notice. The device looks after that in its calls:
 * freeing a pool that is not there is a harmless one.
 */
static uint64_t kernel_kept(struct wxp *w)
{
	struct pool nobody = { .id = unused_id(w) };

	device_free(w, &nobody);
	return device_says(w, "wxpool-kept:");
}

static uint64_t kernel_huge(struct wxp *w)
{
	uint64_t nr = w->areas[WXP_RX].zones || w->areas[WXP_R].zones ?
		      device_says(w, "wxpool-huge:") : 0;

	return nr == UINT64_MAX ? 0 : nr;
}

static int kernel_freeze(struct wxp *w)
{
	struct wxpool_freeze arg = { .size = sizeof(arg) };

	return device_call(w, WXPOOL_IOC_FREEZE, &arg);
}

static int kernel_install(struct wxp *w, struct pool *pool, struct wxpool_range *ranges,
			  unsigned int nr)
{
	struct wxpool_vec vec;
	int ret;

	install_vec(w, &vec, pool->id, ranges, nr);
	ret = device_call(w, WXPOOL_IOC_INSTALL, &vec);
	if (!ret)
		pool->on_device = true;
	return ret;
}

/* Making and clearing 2 MiB for each module that comes and goes takes long. */
static void kernel_anchor(struct wxp *w, struct zone *zone)
{
	struct pool pool = anchor_pool(w, zone);
	static const char nothing;
	struct wxpool_range range = {
		.length = 1,
		.addr = (uintptr_t)&nothing,
		.prot = device_prot(zone->prot),
	};
	uint32_t line = w->frozen ? NO_LINE : lines_spare(w, zone);

	if (line == NO_LINE)
		return;
	range.offset = (uint64_t)(zone->start + line) * WXP_LINE;
	if (kernel_install(w, &pool, &range, 1)) {
		space_give(&zone->lines, line, 1);
		return;
	}
	zone->anchor = line;
	w->nr_loose--;
}

static void kernel_unview(struct wxp *w, struct zone *zone)
{
	struct pool pool = anchor_pool(w, zone);

	if (zone->anchor != NO_LINE)
		device_free(w, &pool);
	window_map(w, zone->page, zone->ready, PROT_NONE);
}

const struct wxp_ops wxp_kernel_ops = {
	.name = "kernel",
	.unused = PROT_NONE,
	.open = kernel_open,
	.close = kernel_close,
	.grant = kernel_grant,
	.seal = kernel_seal,
	.drop = kernel_drop,
	.unstick = kernel_unstick,
	.probe = kernel_probe,
	.kept = kernel_kept,
	.huge = kernel_huge,
	.view = kernel_view,
	.unview = kernel_unview,
	.install = kernel_install,
	.freeze = kernel_freeze,
	.anchor = kernel_anchor,
};
