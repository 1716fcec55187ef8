// SPDX-License-Identifier: MIT
/*
 * /dev/wxpool without the library: one ioctl for each step. The views are made
 * once and show all of the device's space that is in use: X and R, and for
 * modules that are written in place a W view at another address. Writable data
 * has a place in plain memory, which is reused without being cleared, as a
 * module fills all of it.
 */
#include <fcntl.h>
#include <unistd.h>

#include <linux/wxpool.h>

#include "area.h"
#include "measure.h"
#include "peer.h"

#define NR_SEALED	2	/* CODE and RODATA */

static int fd = -1;
static char *views[NR_SEALED];		/* X and R: offset 0 of the device in each */
static char *writable;			/* the W view */
static struct area areas[NR_SEALED];	/* what is of one kind only */
static struct area both;		/* modules whose pages of both kinds adjoin */
static struct area data;
static uint32_t install_flags;

/* At an address that can be mapped by huge pages. */
static char *map_view(size_t size, int prot)
{
	char *p = mmap(NULL, size + BLOCK, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap of %zu bytes failed: %m", size);
	p = (char *)round_up((size_t)p, BLOCK);
	if (mmap(p, size, prot, MAP_SHARED | MAP_FIXED, fd, 0) != p)
		die("mmap of /dev/wxpool failed: %m");
	return p;
}

static const char *device_open(size_t modules, size_t bytes, bool in_place)
{
	size_t align = in_place ? 16 : LINE, unit = in_place ? PAGE : LINE;
	size_t size = round_up(bytes + modules * unit, BLOCK);

	fd = open("/dev/wxpool", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return "no-module";
	views[CODE] = map_view(3 * size, PROT_READ | PROT_EXEC);
	views[RODATA] = map_view(3 * size, PROT_READ);
	if (in_place)
		writable = map_view(3 * size, PROT_READ | PROT_WRITE);
	area_init(&areas[CODE], views[CODE], KIND(CODE), align, unit, modules);
	area_init(&areas[RODATA], views[RODATA] + size, KIND(RODATA), align, unit, modules);
	area_init(&both, views[CODE] + 2 * size, KIND(CODE) | KIND(RODATA), PAGE, PAGE, modules);
	area_init(&data, area_map_data(size), KIND(DATA), align, unit, modules);
	return NULL;
}

static const char *inplace_open(size_t modules, size_t bytes)
{
	return device_open(modules, bytes, true);
}

static const char *install_open(size_t modules, size_t bytes)
{
	return device_open(modules, bytes, false);
}

static const char *huge_open(size_t modules, size_t bytes)
{
	install_flags = WXPOOL_INSTALL_BLOCKS;
	return device_open(modules, bytes, false);
}

/*
 * Code and read-only data share no page, and no block. They lie side by side if
 * they have whole pages of their own, so that there is one range to be unmapped.
 */
static bool adjoining(const struct module *mod)
{
	unsigned int kinds = 0;

	for (const struct part *p = mod->parts; p < mod->parts + mod->nr; p++) {
		if (p->kind != DATA && p->size % PAGE)
			return false;
		kinds |= KIND(p->kind);
	}
	return !install_flags && !(~kinds & both.kinds);
}

/* From the X view, in which places of both kinds are given out, to the R view. */
static void move_rodata(struct module *mod, const char *from, const char *to)
{
	for (struct part *p = mod->parts; p < mod->parts + mod->nr; p++)
		if (p->kind == RODATA)
			p->at = (char *)to + (p->at - from);
}

static void place(struct module *mod)
{
	if (adjoining(mod)) {
		area_place(&both, mod);
		move_rodata(mod, views[CODE], views[RODATA]);
	} else {
		area_place(&areas[CODE], mod);
		area_place(&areas[RODATA], mod);
	}
	area_place(&data, mod);
}

static void give(struct module *mod)
{
	if (adjoining(mod)) {
		move_rodata(mod, views[RODATA], views[CODE]);
		area_give(&both, mod);
	} else {
		area_give(&areas[CODE], mod);
		area_give(&areas[RODATA], mod);
	}
	area_give(&data, mod);
}

static size_t offset_of(const struct part *p)
{
	return (size_t)(p->at - views[p->kind]);
}

static uint32_t prot_of(enum kind kind)
{
	return kind == CODE ? WXPOOL_PROT_X : WXPOOL_PROT_R;
}

/*
 * The module's pages of one kind, whose parts are in a row; returns how many
 * ranges they are: one, if any.
 */
static uint32_t pages_of(const struct module *mod, enum kind kind, struct wxpool_protect_range *r)
{
	const struct part *first = area_first(&areas[kind], mod);
	size_t end = 0;

	if (!first)
		return 0;
	for (const struct part *p = first; p < mod->parts + mod->nr; p++)
		if (p->kind == kind)
			end = offset_of(p) + p->size;
	*r = (struct wxpool_protect_range){
		.offset = offset_of(first),
		.length = round_up(end - offset_of(first), PAGE),
		.prot = prot_of(kind),
	};
	return 1;
}

/* The same pages in as few ranges as ALLOC needs. */
static uint32_t hulls_of(const struct wxpool_protect_range *pages, uint32_t nr,
			 struct wxpool_alloc_range *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < nr; i++) {
		if (n && r[n - 1].offset + r[n - 1].length == pages[i].offset)
			r[n - 1].length += pages[i].length;
		else
			r[n++] = (struct wxpool_alloc_range){ pages[i].offset, pages[i].length };
	}
	return n;
}

static void inplace_load(struct module *mod)
{
	struct wxpool_protect_range pages[NR_SEALED];
	struct wxpool_alloc_range hulls[NR_SEALED];
	struct wxpool_protect protect = {
		.size = sizeof(protect), .pool = mod->id, .ranges = (uintptr_t)pages,
	};
	struct wxpool_alloc alloc = {
		.size = sizeof(alloc), .pool = mod->id, .ranges = (uintptr_t)hulls,
	};

	place(mod);
	protect.nr_ranges = pages_of(mod, CODE, pages);
	protect.nr_ranges += pages_of(mod, RODATA, pages + protect.nr_ranges);
	alloc.nr_ranges = hulls_of(pages, protect.nr_ranges, hulls);
	device_call(fd, WXPOOL_IOC_ALLOC, &alloc, "ALLOC");
	lap(PH_ALLOC);
	for (struct part *p = mod->parts; p < mod->parts + mod->nr; p++)
		memcpy(p->kind == DATA ? p->at : writable + offset_of(p), p->bytes, p->size);
	lap(PH_WRITE);
	device_call(fd, WXPOOL_IOC_PROTECT, &protect, "PROTECT");
	lap(PH_PROTECT);
}

static void install_load(struct module *mod)
{
	struct wxpool_install_range ranges[MAX_PARTS];
	struct wxpool_install arg = {
		.size = sizeof(arg), .pool = mod->id, .ranges = (uintptr_t)ranges,
		.flags = install_flags,
	};

	place(mod);
	lap(PH_ALLOC);
	for (struct part *p = mod->parts; p < mod->parts + mod->nr; p++) {
		if (p->kind == DATA) {
			memcpy(p->at, p->bytes, p->size);
			continue;
		}
		ranges[arg.nr_ranges++] = (struct wxpool_install_range){
			.offset = offset_of(p),
			.length = p->size,
			.source = (uintptr_t)p->bytes,
			.prot = prot_of(p->kind),
		};
	}
	lap(PH_WRITE);
	device_call(fd, WXPOOL_IOC_INSTALL, &arg, "INSTALL");
	lap(PH_PROTECT);
}

static void device_unload(struct module *mod)
{
	struct wxpool_free arg = {
		.size = sizeof(arg), .pools = (uintptr_t)&mod->id, .nr_pools = 1,
	};

	device_call(fd, WXPOOL_IOC_FREE, &arg, "FREE");
	give(mod);
}

static size_t device_held(void)
{
	return round_up(areas[CODE].held, PAGE) + round_up(areas[RODATA].held, PAGE) +
	       both.held + round_up(data.held, PAGE);
}

static void device_close(void)
{
	area_exit(&areas[CODE]);
	area_exit(&areas[RODATA]);
	area_exit(&both);
	area_exit(&data);
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
	.about = "/dev/wxpool: INSTALL into blocks, FREE",
	.open = huge_open,
	.load = install_load,
	.unload = device_unload,
	.held = device_held,
	.close = device_close,
};
