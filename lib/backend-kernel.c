// SPDX-License-Identifier: MIT
/*
 * The kernel backend: /dev/wxpool. Offsets in the device are offsets in the
 * window, so that neighbouring views merge.
 */
#include <errno.h>
#include <fcntl.h>
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

static int device_open(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	/* The node may be there, made at boot, without the module. */
	return errno == ENXIO || errno == ENODEV ? -ENOENT : -errno;
}

/* Not for memory, so that it does not count as a call. */
static bool kernel_info(const struct wxp *w, struct wxpool_info *info)
{
	info->size = sizeof(*info);
	info->context = w->context;
	return !ioctl(w->fd, WXPOOL_IOC_INFO, info);
}

static int check_version(struct wxp *w)
{
	struct wxpool_info info = { .pool = 0 };

	if (!kernel_info(w, &info))
		return -EPROTO;
	if (info.abi_version != WXPOOL_ABI_VERSION || info.page_size != w->page_size)
		return -EPROTO;
	w->context = info.context;
	return info.space < w->size ? -EINVAL : 0;
}

/* Executable views are refused where /dev is mounted noexec. */
static int check_exec(struct wxp *w)
{
	int ret = map_pages(w, 0, 1, PROT_READ | PROT_EXEC);

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

/*
 * A child may keep the file open: what it does not use is freed here. But the
 * program may have closed the descriptor, and its number be another file's.
 */
static void kernel_close(struct wxp *w, bool forked)
{
	struct wxpool_free arg = {
		.size = sizeof(arg),
		.flags = WXPOOL_FREE_ALL,
		.context = w->context,
	};
	struct wxpool_info info = { .pool = 0 };

	if (!kernel_info(w, &info))
		return;
	if (!forked)
		device_call(w, WXPOOL_IOC_FREE, &arg);
	close(w->fd);
}

/*
 * Maps first: what fails then has changed nothing, and views with a key have it
 * before there is anything that another thread could store to.
 */
static int kernel_grant(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	struct wxpool_alloc_range ranges[NR_PROTS];
	struct wxpool_alloc arg = {
		.size = sizeof(arg),
		.pool = pool->id,
		.context = w->context,
		.ranges = (uintptr_t)ranges,
		.nr_ranges = nr,
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; i < nr && !ret; i++) {
		ranges[i].offset = runs[i]->page * w->page_size;
		ranges[i].length = run_bytes(w, runs[i]);
		ret = map_pages(w, runs[i]->page, runs[i]->nr, PROT_READ | PROT_WRITE);
		if (!ret && w->key >= 0)
			ret = guard_lock(w, runs[i]->page, runs[i]->nr);
	}
	if (!ret)
		ret = device_call(w, WXPOOL_IOC_ALLOC, &arg);
	for (i = 0; i < nr && ret; i++)
		window_map(w, runs[i]->page, runs[i]->nr, PROT_NONE);
	pool->on_device |= !ret;
	return ret;
}

static int kernel_view(struct wxp *w, uint32_t page, uint32_t nr, enum wxp_prot prot)
{
	int ret = map_pages(w, page, nr, prot == WXP_RX ? PROT_READ | PROT_EXEC : PROT_READ);

	if (!ret)
		ret = guard_fix(w, page, nr);
	return ret == -EACCES ? -EPERM : ret;
}

static int kernel_seal(struct wxp *w, struct pool *pool, struct run **runs, unsigned int nr)
{
	struct wxpool_protect arg = {
		.size = sizeof(arg),
		.pool = pool->id,
		.context = w->context,
		.ranges = (uintptr_t)w->protects,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < nr; i++)
		if (runs[i]->state == RUN_OPEN)
			w->protects[arg.nr_ranges++] = (struct wxpool_protect_range){
				.offset = runs[i]->page * w->page_size,
				.length = run_bytes(w, runs[i]),
				.prot = device_prot(runs[i]->prot),
			};
	ret = arg.nr_ranges ? device_call(w, WXPOOL_IOC_PROTECT, &arg) : 0;
	for (i = 0; i < nr && !ret; i++)
		runs[i]->state = RUN_SEALED;
	for (i = 0; i < nr && !ret; i++) {
		ret = kernel_view(w, runs[i]->page, runs[i]->nr, runs[i]->prot);
		if (!ret)
			runs[i]->state = RUN_DONE;
	}
	return ret;
}

static int kernel_drop(struct wxp *w, struct pool *pool)
{
	struct wxpool_free arg = {
		.size = sizeof(arg),
		.context = w->context,
		.pools = (uintptr_t)&pool->id,
		.nr_pools = 1,
	};
	int ret = pool->on_device ? device_call(w, WXPOOL_IOC_FREE, &arg) : 0;

	if (!ret)
		pool->kept = arg.pages_kept || arg.lines_kept;
	return ret;
}

static int kernel_freeze(struct wxp *w)
{
	struct wxpool_freeze arg = { .size = sizeof(arg), .context = w->context };

	return device_call(w, WXPOOL_IOC_FREEZE, &arg);
}

static int kernel_install(struct wxp *w, struct pool *pool, struct wxpool_install_range *ranges,
			  unsigned int nr)
{
	struct wxpool_install arg;
	int ret;

	install_op(w, &arg, pool->id, ranges, nr);
	ret = device_call(w, WXPOOL_IOC_INSTALL, &arg);
	pool->on_device |= !ret;
	return ret;
}

static void kernel_unview(struct wxp *w, struct zone *zone)
{
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
	.info = kernel_info,
	.view = kernel_view,
	.unview = kernel_unview,
	.install = kernel_install,
	.freeze = kernel_freeze,
};
