// SPDX-License-Identifier: MIT
/*
 * The system calls that LLVM 19 makes for one module, as strace shows them for
 * "llvm-smm" and "llvm-mcjit" with code, read-only and writable data, and
 * nothing else of LLVM: each kind has a mapping of its own, close to the one
 * before, for which the alignment is added before the size is rounded to pages;
 * then code and read-only data are protected; all three are unmapped.
 */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "measure.h"
#include "peer.h"

#define ALIGN	16

static atomic_size_t held;

static const char *replay_open(size_t modules, size_t bytes)
{
	(void)modules;
	(void)bytes;
	return NULL;
}

static size_t mapped(const struct part *p)
{
	return round_up(p->size + ALIGN, PAGE);
}

static void replay_load(struct module *mod)
{
	struct part *p;
	char *near = NULL;

	for (p = mod->parts; p < mod->parts + mod->nr; p++) {
		p->at = mmap(near, mapped(p), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p->at == MAP_FAILED)
			die("mmap of %zu bytes failed: %m", mapped(p));
		held += mapped(p);
		if (!near)
			near = p->at + mapped(p);
	}
	lap(PH_ALLOC);
	write_parts(mod);
	lap(PH_WRITE);
	for (p = mod->parts; p < mod->parts + mod->nr; p++)
		if (p->kind != DATA)
			protect(p->at, round_up(p->size, PAGE), p->kind);
	lap(PH_PROTECT);
}

static void replay_unload(struct module *mod)
{
	static const enum kind order[] = { CODE, DATA, RODATA };

	for (size_t k = 0; k < ARRAY_SIZE(order); k++) {
		for (unsigned int i = 0; i < mod->nr; i++) {
			if (mod->parts[i].kind != order[k])
				continue;
			munmap(mod->parts[i].at, mapped(&mod->parts[i]));
			held -= mapped(&mod->parts[i]);
		}
	}
}

static size_t replay_held(void)
{
	return held;
}

static void replay_close(void)
{
}

const struct peer peer_llvm_replay = {
	.name = "llvm-replay",
	.about = "the system calls of llvm-smm and llvm-mcjit for one module",
	.open = replay_open,
	.load = replay_load,
	.unload = replay_unload,
	.held = replay_held,
	.close = replay_close,
};
