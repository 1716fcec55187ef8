// SPDX-License-Identifier: MIT
/*
 * Memory that is writable and executable at once. "memcpy" only copies: the
 * limit. "pkey" lets the thread write only while it copies, by a protection
 * key, where the CPU has them. Read-only data lies with the code, writable data
 * in other memory.
 */
#include "area.h"
#include "measure.h"
#include "peer.h"

static struct area code, data;
static int key = -1;

static const char *rwx_open(size_t modules, size_t bytes)
{
	size_t size = round_up(bytes + modules * 64, PAGE);
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		die("mmap of %zu bytes failed: %m", size);
	area_init(&code, base, KIND(CODE) | KIND(RODATA), 64, 64, modules);
	area_init(&data, area_map_data(size), KIND(DATA), 64, 64, modules);
	if (key >= 0 && pkey_mprotect(base, size, PROT_READ | PROT_WRITE | PROT_EXEC, key))
		die("pkey_mprotect failed: %m");
	return NULL;
}

static void place(struct module *mod)
{
	area_place(&code, mod);
	area_place(&data, mod);
	lap(PH_ALLOC);
}

static void memcpy_load(struct module *mod)
{
	place(mod);
	write_parts(mod);
	lap(PH_WRITE);
}

static void rwx_unload(struct module *mod)
{
	area_give(&code, mod);
	area_give(&data, mod);
}

static size_t rwx_held(void)
{
	return round_up(code.held, PAGE) + round_up(data.held, PAGE);
}

static void rwx_close(void)
{
	area_exit(&code);
	area_exit(&data);
}

static const char *pkey_open(size_t modules, size_t bytes)
{
	key = pkey_alloc(0, PKEY_DISABLE_WRITE);
	return key < 0 ? "no-protection-keys" : rwx_open(modules, bytes);
}

static void pkey_load(struct module *mod)
{
	place(mod);
	pkey_set(key, 0);
	write_parts(mod);
	lap(PH_WRITE);
	pkey_set(key, PKEY_DISABLE_WRITE);
	lap(PH_PROTECT);
}

const struct peer peer_memcpy = {
	.name = "memcpy",
	.about = "only a copy, to memory that is writable and executable",
	.open = rwx_open,
	.load = memcpy_load,
	.unload = rwx_unload,
	.held = rwx_held,
	.close = rwx_close,
};

const struct peer peer_pkey = {
	.name = "pkey",
	.about = "the same, opened and closed by a protection key",
	.open = pkey_open,
	.load = pkey_load,
	.unload = rwx_unload,
	.held = rwx_held,
	.close = rwx_close,
};
