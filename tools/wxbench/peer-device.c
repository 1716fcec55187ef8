// SPDX-License-Identifier: MIT
/*
 * /dev/wxpool without the library: one ioctl for each step. Writable data has
 * a place in plain memory, which is reused without being cleared, as a module
 * fills all of it.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/wxpool.h>

#include "area.h"
#include "measure.h"
#include "peer.h"

#define LINE		((size_t)64)
#define HUGE		((size_t)2 << 20)
#define NR_KINDS	3

static int fd = -1;
static struct area areas[NR_KINDS];	/* by enum kind */
static size_t starts[NR_KINDS];		/* offset of each in the device */
static uint32_t install_flags;

static void call(unsigned long op, void *arg, const char *name)
{
	if (ioctl(fd, op, arg))
		die("%s on /dev/wxpool failed: %m", name);
}

/* At an address that can be mapped by huge pages. */
static char *map_views(enum kind kind, size_t size, size_t offset, bool views)
{
	int prot = kind == CODE ? PROT_READ | PROT_EXEC : PROT_READ;
	char *p = mmap(NULL, size + HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu bytes failed: %m", size);
	p = (char *)round_up((size_t)p, HUGE);
	if (views && mmap(p, size, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) != p)
		die("mmap of /dev/wxpool failed: %m");
	return p;
}

static const char *device_open(size_t modules, size_t bytes, bool views)
{
	size_t align = views ? LINE : 16, unit = views ? LINE : PAGE;
	size_t size = round_up(bytes + modules * unit, HUGE);
	char *base;

	fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "no-module";
	for (int k = 0; k < NR_KINDS; k++) {
		starts[k] = (size_t)k * size;
		base = k == DATA ? area_map_data(size) : map_views(k, size, starts[k], views);
		area_init(&areas[k], base, KIND(k), align, unit, modules);
	}
	return NULL;
}

static const char *inplace_open(size_t modules, size_t bytes)
{
	return device_open(modules, bytes, false);
}

static const char *install_open(size_t modules, size_t bytes)
{
	return device_open(modules, bytes, true);
}

static const char *huge_open(size_t modules, size_t bytes)
{
	install_flags = WXPOOL_INSTALL_HUGE;
	return device_open(modules, bytes, true);
}

static struct wxpool_range *add_range(struct wxpool_vec *vec, const struct part *p)
{
	struct wxpool_range *r = (struct wxpool_range *)(uintptr_t)vec->ranges;

	r += vec->nr_ranges++;
	*r = (struct wxpool_range){
		.offset = starts[p->kind] + (size_t)(p->at - areas[p->kind].base),
		.prot = p->kind == CODE ? WXPOOL_PROT_X : WXPOOL_PROT_R,
	};
	return r;
}

/* The module's pages of one kind, whose view goes where they are. */
static void add_pages(struct wxpool_vec *vec, struct module *mod, enum kind kind)
{
	size_t size = area_place(&areas[kind], mod);
	struct wxpool_range *r;

	if (!size)
		return;
	r = add_range(vec, area_first(&areas[kind], mod));
	r->length = size;
	r->addr = (uintptr_t)areas[kind].base + (r->offset - starts[kind]);
	r->prot = 0;
}

static void inplace_load(struct module *mod)
{
	struct wxpool_range ranges[2];
	struct wxpool_vec vec = {
		.size = sizeof(vec), .pool = mod->id, .ranges = (uintptr_t)ranges,
	};

	add_pages(&vec, mod, CODE);
	add_pages(&vec, mod, RODATA);
	area_place(&areas[DATA], mod);
	call(WXPOOL_IOC_ALLOC, &vec, "ALLOC");
	lap(PH_ALLOC);
	write_parts(mod);
	lap(PH_WRITE);
	ranges[0].prot = WXPOOL_PROT_X;
	ranges[1].prot = WXPOOL_PROT_R;
	call(WXPOOL_IOC_PROTECT, &vec, "PROTECT");
	lap(PH_PROTECT);
	if (vec.map_error)
		die("no view from /dev/wxpool");
}

static void install_load(struct module *mod)
{
	struct wxpool_range ranges[MAX_PARTS], *r;
	struct wxpool_vec vec = {
		.size = sizeof(vec), .pool = mod->id, .ranges = (uintptr_t)ranges,
		.flags = install_flags,
	};

	for (int k = 0; k < NR_KINDS; k++)
		area_place(&areas[k], mod);
	lap(PH_ALLOC);
	for (struct part *p = mod->parts; p < mod->parts + mod->nr; p++) {
		if (p->kind == DATA) {
			memcpy(p->at, p->bytes, p->size);
			continue;
		}
		r = add_range(&vec, p);
		r->length = p->size;
		r->addr = (uintptr_t)p->bytes;
	}
	lap(PH_WRITE);
	call(WXPOOL_IOC_INSTALL, &vec, "INSTALL");
	lap(PH_PROTECT);
}

static void device_unload(struct module *mod)
{
	struct wxpool_free arg = { .size = sizeof(arg), .pool = mod->id };

	call(WXPOOL_IOC_FREE, &arg, "FREE");
	for (int k = 0; k < NR_KINDS; k++)
		area_give(&areas[k], mod);
}

static size_t device_held(void)
{
	size_t sum = 0;

	for (int k = 0; k < NR_KINDS; k++)
		sum += round_up(areas[k].held, PAGE);
	return sum;
}

static void device_close(void)
{
	for (int k = 0; k < NR_KINDS; k++)
		area_exit(&areas[k]);
	close(fd);
}

const struct peer peer_device_inplace = {
	.name = "device-inplace",
	.about = "/dev/wxpool: ALLOC, write, PROTECT, FREE",
	.open = inplace_open,
	.load = inplace_load,
	.unload = device_unload,
	.held = device_held,
	.close = device_close,
};

const struct peer peer_device_install = {
	.name = "device-install",
	.about = "/dev/wxpool: INSTALL, FREE",
	.open = install_open,
	.load = install_load,
	.unload = device_unload,
	.held = device_held,
	.close = device_close,
};

const struct peer peer_device_huge = {
	.name = "device-huge",
	.about = "/dev/wxpool: INSTALL into huge pages, FREE",
	.open = huge_open,
	.load = install_load,
	.unload = device_unload,
	.held = device_held,
	.close = device_close,
};
