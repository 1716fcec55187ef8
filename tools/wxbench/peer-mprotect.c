// SPDX-License-Identifier: MIT
/*
 * Plain mappings: "mprotect" has one for each part, as a JIT does that knows
 * only one function at a time; "mprotect-packed" has one for the whole module
 * and as few mprotect() calls as there are protections: the best that can be
 * done with these calls.
 */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "measure.h"
#include "peer.h"

static atomic_size_t held;

static const char *plain_open(size_t modules, size_t bytes)
{
	(void)modules;
	(void)bytes;
	return NULL;
}

static size_t plain_held(void)
{
	return held;
}

static void plain_close(void)
{
}

static void separate_load(struct module *mod)
{
	struct part *p;

	for (p = mod->parts; p < mod->parts + mod->nr; p++)
		p->at = map_anonymous(round_up(p->size, PAGE));
	lap(PH_ALLOC);
	write_parts(mod);
	lap(PH_WRITE);
	for (p = mod->parts; p < mod->parts + mod->nr; p++) {
		if (p->kind != DATA)
			protect(p->at, round_up(p->size, PAGE), p->kind);
		held += round_up(p->size, PAGE);
	}
	lap(PH_PROTECT);
}

static void separate_unload(struct module *mod)
{
	struct part *p;

	for (p = mod->parts; p < mod->parts + mod->nr; p++) {
		munmap(p->at, round_up(p->size, PAGE));
		held -= round_up(p->size, PAGE);
	}
}

/* Places the parts of @kind one after the other; returns the end. */
static size_t place(struct module *mod, enum kind kind, size_t end)
{
	struct part *p;

	for (p = mod->parts; p < mod->parts + mod->nr; p++) {
		if (p->kind != kind)
			continue;
		end = round_up(end, 16);
		p->at = (char *)mod->priv + end;
		end += p->size;
	}
	return round_up(end, PAGE);
}

static size_t bytes_of(const struct module *mod, enum kind kind)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < mod->nr; i++)
		if (mod->parts[i].kind == kind)
			sum += round_up(mod->parts[i].size, 16);
	return round_up(sum, PAGE);
}

static void packed_load(struct module *mod)
{
	size_t code, rodata;

	mod->priv_size = bytes_of(mod, CODE) + bytes_of(mod, RODATA) + bytes_of(mod, DATA);
	mod->priv = map_anonymous(mod->priv_size);
	code = place(mod, CODE, 0);
	rodata = place(mod, RODATA, code);
	place(mod, DATA, rodata);
	lap(PH_ALLOC);
	write_parts(mod);
	lap(PH_WRITE);
	protect(mod->priv, code, CODE);
	if (rodata > code)
		protect((char *)mod->priv + code, rodata - code, RODATA);
	held += mod->priv_size;
	lap(PH_PROTECT);
}

static void packed_unload(struct module *mod)
{
	munmap(mod->priv, mod->priv_size);
	held -= mod->priv_size;
}

const struct peer peer_mprotect = {
	.name = "mprotect",
	.about = "mmap() and mprotect() for each function or section",
	.open = plain_open,
	.load = separate_load,
	.unload = separate_unload,
	.held = plain_held,
	.close = plain_close,
};

const struct peer peer_mprotect_packed = {
	.name = "mprotect-packed",
	.about = "one mmap() for each load, one mprotect() for each protection",
	.open = plain_open,
	.load = packed_load,
	.unload = packed_unload,
	.held = plain_held,
	.close = plain_close,
};
