// SPDX-License-Identifier: MIT
/*
 * A memfd with an executable and a writable mapping. "memfd-dual" keeps both
 * (asmjit's and others' way): no system call, and every page of code has a
 * writable alias for good. "memfd-remap" makes the writable one for each write
 * and takes it away after (.NET's way). Read-only data lies with the code,
 * writable data in plain memory.
 */
#include <unistd.h>

#include "area.h"
#include "measure.h"
#include "peer.h"

static struct area code, data;
static char *alias;
static int fd = -1;

static void *map_file(size_t size, size_t offset, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)offset);

	if (p == MAP_FAILED)
		die("mmap of a memfd failed: %m");
	return p;
}

static const char *memfd_open(size_t modules, size_t bytes, bool dual)
{
	size_t unit = dual ? 64 : PAGE;
	size_t size = round_up(bytes + modules * unit, PAGE);

	fd = memfd_create("wxbench", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		die("memfd failed: %m");
	area_init(&code, map_file(size, 0, PROT_READ | PROT_EXEC),
		  KIND(CODE) | KIND(RODATA), 64, unit, modules);
	area_init(&data, area_map_data(size), KIND(DATA), 64, 64, modules);
	alias = dual ? map_file(size, 0, PROT_READ | PROT_WRITE) : NULL;
	return NULL;
}

static const char *dual_open(size_t modules, size_t bytes)
{
	return memfd_open(modules, bytes, true);
}

static const char *remap_open(size_t modules, size_t bytes)
{
	return memfd_open(modules, bytes, false);
}

/* @rw: writable alias of @rx, which is in the code's area. */
static void write_by_alias(struct module *mod, char *rw, const char *rx)
{
	for (struct part *p = mod->parts; p < mod->parts + mod->nr; p++)
		memcpy(p->kind == DATA ? p->at : rw + (p->at - rx), p->bytes, p->size);
}

static void dual_load(struct module *mod)
{
	area_place(&code, mod);
	area_place(&data, mod);
	lap(PH_ALLOC);
	write_by_alias(mod, alias, code.base);
	lap(PH_WRITE);
}

static void remap_load(struct module *mod)
{
	size_t size = area_place(&code, mod), at;
	char *rw;

	area_place(&data, mod);
	at = (size_t)(area_first(&code, mod)->at - code.base);
	rw = map_file(size, at, PROT_READ | PROT_WRITE);
	lap(PH_ALLOC);
	write_by_alias(mod, rw, code.base + at);
	lap(PH_WRITE);
	munmap(rw, size);
	lap(PH_PROTECT);
}

static void memfd_unload(struct module *mod)
{
	area_give(&code, mod);
	area_give(&data, mod);
}

static size_t memfd_held(void)
{
	return round_up(code.held, PAGE) + round_up(data.held, PAGE);
}

static void memfd_close(void)
{
	area_exit(&code);
	area_exit(&data);
	close(fd);
}

const struct peer peer_memfd_dual = {
	.name = "memfd-dual",
	.about = "a memfd mapped twice, for good: executable and writable",
	.open = dual_open,
	.load = dual_load,
	.unload = memfd_unload,
	.held = memfd_held,
	.close = memfd_close,
};

const struct peer peer_memfd_remap = {
	.name = "memfd-remap",
	.about = "a memfd, whose writable mapping is made for each write",
	.open = remap_open,
	.load = remap_load,
	.unload = memfd_unload,
	.held = memfd_held,
	.close = memfd_close,
};
