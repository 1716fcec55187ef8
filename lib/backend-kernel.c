// SPDX-License-Identifier: MIT
/*
 * The kernel backend: /dev/wxpool. Offsets in the device are offsets in the
 * window, so that neighbouring views merge.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/wxpool.h>

#include "internal.h"

#define DEVICE	"/dev/wxpool"

_Static_assert(MAX_BATCH <= WXPOOL_MAX_RANGES, "a batch is one call");

static int device_call(struct wxp *w, unsigned long op, void *arg)
{
	w->syscalls++;
	return ioctl(w->fd, op, arg) ? -errno : 0;
}

static int map_view(struct wxp *w, const struct run *run, int prot)
{
	size_t offset = run->page * w->page_size;
	void *p;

	w->syscalls++;
	p = mmap(w->base + offset, run_bytes(w, run), prot, MAP_SHARED | MAP_FIXED, w->fd,
		 (off_t)offset);
	return p == MAP_FAILED ? -errno : 0;
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
	if (!ret) {
		w->priv = calloc(MAX_BATCH, sizeof(struct wxpool_range));
		ret = w->priv ? 0 : -ENOMEM;
	}
	if (ret)
		close(w->fd);
	return ret;
}

static void device_free_pools(struct wxp *w)
{
	struct wxpool_free arg = { .size = sizeof(arg) };
	struct pool *pool;
	size_t i;

	for (i = 0; i < w->nr_buckets; i++) {
		for (pool = w->buckets[i]; pool; pool = pool->next) {
			arg.pool = pool->id;
			if (pool->on_device)
				device_call(w, WXPOOL_IOC_FREE, &arg);
		}
	}
}

/* A child may keep the file open: what it does not use is freed here. */
static void kernel_close(struct wxp *w, bool forked)
{
	if (!forked)
		device_free_pools(w);
	close(w->fd);
	free(w->priv);
}

static int device_free(struct wxp *w, struct pool *pool)
{
	struct wxpool_free arg = { .size = sizeof(arg), .pool = pool->id };
	int ret = device_call(w, WXPOOL_IOC_FREE, &arg);

	if (!ret)
		pool->kept = arg.nr_kept != 0;
	return ret;
}

/* Adds @run to the vector, as part of the last range where it fits on. */
static void add_range(struct wxp *w, struct wxpool_vec *vec, const struct run *run, uint32_t prot)
{
	struct wxpool_range *r = (struct wxpool_range *)w->priv + vec->nr_ranges;
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
		.ranges = (uintptr_t)w->priv,
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

static int kernel_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	struct wxpool_vec vec;
	unsigned int i;
	int ret;

	vec_init(w, &vec, pool);
	for (i = 0; i < nr; i++)
		add_range(w, &vec, runs[i], 0);
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

/* Maps what is sealed, but lacks its view. */
static int finish_seal(struct wxp *w, struct run **runs, unsigned int nr)
{
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++) {
		if (runs[i]->state != RUN_SEALED)
			continue;
		ret = map_view(w, runs[i],
			       runs[i]->prot == WXP_RX ? PROT_READ | PROT_EXEC : PROT_READ);
		if (ret)
			return ret == -EACCES ? -EPERM : ret;
		runs[i]->state = RUN_DONE;
	}
	return 0;
}

static int kernel_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	struct wxpool_vec vec;
	unsigned int i;
	int ret;

	vec_init(w, &vec, pool);
	for (i = 0; i < nr; i++)
		if (runs[i]->state == RUN_OPEN)
			add_range(w, &vec, runs[i], runs[i]->prot == WXP_RX ? WXPOOL_PROT_X :
									      WXPOOL_PROT_R);
	if (vec.nr_ranges) {
		ret = device_call(w, WXPOOL_IOC_PROTECT, &vec);
		if (ret)
			return ret;
	}
	for (i = 0; i < nr; i++)
		if (runs[i]->state == RUN_OPEN)
			runs[i]->state = vec.map_error ? RUN_SEALED : RUN_DONE;
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
		((struct wxpool_range *)w->priv)->addr = 0;
		if (device_call(w, WXPOOL_IOC_ALLOC, &vec))
			return false;
	}
	return true;
}

/* The device refuses pages that a child has kept. */
static bool kernel_probe(struct wxp *w, struct pool *pool)
{
	struct pool scratch = { .id = unused_id(w) };
	bool ok = probe_runs(w, &scratch, pool->bins[WXP_R].fresh) &&
		  probe_runs(w, &scratch, pool->bins[WXP_R].done) &&
		  probe_runs(w, &scratch, pool->bins[WXP_RX].fresh) &&
		  probe_runs(w, &scratch, pool->bins[WXP_RX].done) &&
		  probe_runs(w, &scratch, pool->stuck);

	/* Where the first range failed there is nothing to free. */
	device_free(w, &scratch);
	return ok && !scratch.kept;
}

/*
 * What the device itself says, as children end without our notice. It looks
 * after that in its calls: freeing a pool that is not there is a harmless one.
 */
static uint64_t kernel_kept(struct wxp *w)
{
	struct pool nobody = { .id = unused_id(w) };
	unsigned long long nr = 0;
	char line[64];
	FILE *info;

	device_free(w, &nobody);
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", w->fd);
	info = fopen(line, "re");
	if (!info)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), info))
		if (sscanf(line, "wxpool-kept: %llu", &nr) == 1)
			break;
	fclose(info);
	return nr;
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
};
