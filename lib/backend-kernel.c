// SPDX-License-Identifier: MIT
/*
 * The kernel backend: /dev/wxpool. Offsets in the device are offsets in the window.
 *
 * Every operation names the context by its id: so if the program closes the descriptor,
 * and its number becomes another file's, nothing happens to that.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

#define DEVICE		"/dev/wxpool"

static int device_call(const struct window *w, unsigned long op, void *arg)
{
	return ioctl(w->fd, op, arg) ? -errno : 0;
}

static int kernel_info(struct window *w, struct wxpool_info *info)
{
	info->size = sizeof(*info);
	info->context = w->id;
	return device_call(w, WXPOOL_IOC_INFO, info);
}

/* Is the descriptor still the context's? A policy can refuse to tell. */
static int device_check(struct window *w)
{
	struct wxpool_info info = { .pool = 0 };
	int err = kernel_info(w, &info);

	return !err || err == -EACCES || err == -EPERM ? err : -EBADF;
}

static bool kernel_is_ours(struct window *w)
{
	return !device_check(w);
}

/* Is the descriptor another file's by now, for all that can be told? */
bool kernel_is_lost(struct window *w)
{
	return device_check(w) == -EBADF;
}

static int device_do(struct window *w, unsigned long op, void *arg)
{
	int err = device_call(w, op, arg);

	/* What another file says to our operations is no error of theirs. */
	return unlikely(err) && kernel_is_lost(w) ? -EBADF : err;
}

static int device_open(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	/* The node may be there, made at boot, without the module. */
	if (fd < 0)
		return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
	return backend_keep_fd(fd);
}

static int check_version(struct window *w)
{
	struct wxpool_info info = { .pool = 0 };
	int err = kernel_info(w, &info);

	if (err == -EACCES || err == -EPERM)
		return -EACCES;
	if (err || info.abi_version != WXPOOL_ABI_VERSION || info.page_size != w->page_size ||
	    info.line_size != WXP_LINE || info.space < MAX_WINDOW)
		return -EPROTO;
	w->id = info.context;
	w->features = info.features;
	return 0;
}

/*
 * A policy that refuses an operation does so before anybody looks at its arguments. A call without
 * any is no refusal in the module's trace.
 */
static int check_policy(struct window *w)
{
	static const unsigned long ops[] = {
		WXPOOL_IOC_INSTALL, WXPOOL_IOC_ALLOC, WXPOOL_IOC_PROTECT, WXPOOL_IOC_FREE,
	};
	unsigned int i;
	int err;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		err = device_call(w, ops[i], NULL);
		if (err == -EACCES || err == -EPERM)
			return -EACCES;
	}
	return 0;
}

static int kernel_open(struct window *w)
{
	int err;

	w->fd = device_open();
	if (w->fd < 0)
		return w->fd;
	err = check_version(w);
	return err ? err : check_policy(w);
}

/* @flags: of the context. Also for the views of an executor */
int kernel_code_prot(unsigned int flags)
{
	int prot = flags & WXP_EXEC_ONLY ? PROT_EXEC : PROT_READ | PROT_EXEC;

	return flags & WXP_BTI ? prot | arch_prot_bti() : prot;
}

static int map_final(struct window *w, size_t offset, size_t size)
{
	int prot = is_code(w, offset) ? kernel_code_prot(w->flags) : PROT_READ;

	return window_map(w, offset, size, prot, MAP_SHARED, w->fd);
}

/* What is compiled for others only is not even to be read here. */
static int kernel_map(struct window *w)
{
	size_t code = (size_t)w->areas[CODE].end * WXP_LINE;
	int err;

	if (w->flags & WXP_COMPILE_ONLY)
		return 0;
	err = map_final(w, 0, code);
	return err ? err : map_final(w, code, window_sealable(w) - code);
}

static int kernel_open_write(struct window *w)
{
	int err = device_check(w);
	void *p;

	if (err)
		return err;
	p = mmap(w->write, window_sealable(w), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 w->fd, 0);
	return p == MAP_FAILED ? -ENOMEM : 0;
}

/* With one address: maps W views, or the final ones; undone if the last one fails. */
static int map_open(struct window *w, const struct wxpool_protect_range *r, uint32_t nr, bool open)
{
	uint32_t i;
	int err;

	if (!has_one_address(w))
		return 0;
	err = device_check(w);
	if (err)
		return err;
	for (i = 0; i < nr && !err; i++)
		err = open ? window_map(w, r[i].offset, r[i].length, PROT_READ | PROT_WRITE,
					MAP_SHARED, w->fd) :
			     map_final(w, r[i].offset, r[i].length);
	if (err && i > 1)
		map_open(w, r, i - 1, !open);
	return err;
}

#define MAX_ALLOC	2

/* Maps first, so that what fails then has changed nothing. */
static int kernel_alloc(struct window *w, uint32_t pool, const struct wxpool_protect_range *r,
			uint32_t nr)
{
	struct wxpool_alloc_range ranges[MAX_ALLOC];
	struct wxpool_alloc arg = {
		.size = sizeof(arg),
		.pool = pool,
		.context = w->id,
		.ranges = (uintptr_t)ranges,
		.nr_ranges = nr,
	};
	int err = map_open(w, r, nr, true);
	uint32_t i;

	assert(nr <= MAX_ALLOC);
	if (err)
		return err;
	for (i = 0; i < nr; i++)
		ranges[i] = (struct wxpool_alloc_range){ r[i].offset, r[i].length };
	err = device_do(w, WXPOOL_IOC_ALLOC, &arg);
	if (err)
		map_open(w, r, nr, false);
	return err;
}

static int kernel_protect(struct window *w, uint32_t pool, struct wxpool_protect_range *r,
			  uint32_t nr)
{
	struct wxpool_protect arg = {
		.size = sizeof(arg),
		.pool = pool,
		.context = w->id,
		.ranges = (uintptr_t)r,
		.nr_ranges = nr,
	};
	int err = map_open(w, r, nr, false);

	if (err)
		return err;
	err = device_do(w, WXPOOL_IOC_PROTECT, &arg);
	if (err)
		map_open(w, r, nr, true);
	return err;
}

void kernel_install_arg(const struct window *w, struct wxpool_install *arg, uint32_t pool,
			const struct wxpool_install_range *ranges, uint32_t nr)
{
	*arg = (struct wxpool_install){
		.size = sizeof(*arg),
		.pool = pool,
		.context = w->id,
		.ranges = (uintptr_t)ranges,
		.nr_ranges = nr,
		.flags = w->flags & WXP_HUGE ? WXPOOL_INSTALL_BLOCKS : 0,
	};
}

static int kernel_install(struct window *w, uint32_t pool, struct wxpool_install_range *ranges,
			  uint32_t nr)
{
	struct wxpool_install arg;

	kernel_install_arg(w, &arg, pool, ranges, nr);
	return device_do(w, WXPOOL_IOC_INSTALL, &arg);
}

/* No pools: all */
static int kernel_free(struct window *w, const uint32_t *pools, uint32_t nr, bool *kept)
{
	struct wxpool_free arg = {
		.size = sizeof(arg),
		.flags = nr ? 0 : WXPOOL_FREE_ALL,
		.context = w->id,
		.pools = (uintptr_t)pools,
		.nr_pools = nr,
	};
	int err = device_do(w, WXPOOL_IOC_FREE, &arg);

	*kept = arg.pages_kept || arg.lines_kept;
	return err;
}

/* With one address: what was open is a final view again. */
static int kernel_clear(struct window *w, uint32_t line, uint32_t nr)
{
	return map_final(w, (size_t)line * WXP_LINE, (size_t)nr * WXP_LINE);
}

static int kernel_freeze(struct window *w)
{
	struct wxpool_freeze arg = { .size = sizeof(arg), .context = w->id };

	return device_do(w, WXPOOL_IOC_FREEZE, &arg);
}

const struct backend wxp_kernel = {
	.name = "kernel",
	.flags = HARDENED,
	.open = kernel_open,
	.map = kernel_map,
	.open_write = kernel_open_write,
	.alloc = kernel_alloc,
	.protect = kernel_protect,
	.install = kernel_install,
	.clear = kernel_clear,
	.free = kernel_free,
	.freeze = kernel_freeze,
	.info = kernel_info,
	.is_ours = kernel_is_ours,
};
