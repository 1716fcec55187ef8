// SPDX-License-Identifier: MIT
/*
 * asmjit's JitAllocator: "asmjit" with its defaults, which are pages that are
 * writable and executable; "asmjit-dual" with its dual mapping. Read-only data
 * is allocated like code, writable data lies in plain memory.
 */
#include <asmjit/core.h>

extern "C" {
#include "area.h"
}
#include "measure.h"
#include "peer.h"

using namespace asmjit;

namespace {

JitAllocator *allocator;
struct area data;

const char *asmjit_open(size_t modules, size_t bytes, JitAllocatorOptions options)
{
	JitAllocator::CreateParams params;

	params.options = options;
	allocator = new JitAllocator(&params);
	area_init(&data, area_map_data(round_up(bytes + modules * 64, PAGE)), KIND(DATA), 64,
		  64, modules);
	return nullptr;
}

const char *default_open(size_t modules, size_t bytes)
{
	return asmjit_open(modules, bytes, JitAllocatorOptions::kNone);
}

const char *dual_open(size_t modules, size_t bytes)
{
	return asmjit_open(modules, bytes, JitAllocatorOptions::kUseDualMapping);
}

void load(struct module *mod)
{
	JitAllocator::Span spans[MAX_PARTS];

	area_place(&data, mod);
	for (unsigned int i = 0; i < mod->nr; i++) {
		struct part *p = &mod->parts[i];

		if (p->kind == DATA)
			continue;
		if (allocator->alloc(spans[i], p->size) != kErrorOk)
			die("JitAllocator::alloc() failed");
		p->at = static_cast<char *>(spans[i].rx());
	}
	lap(PH_ALLOC);
	for (unsigned int i = 0; i < mod->nr; i++) {
		struct part *p = &mod->parts[i];

		if (p->kind == DATA)
			memcpy(p->at, p->bytes, p->size);
		else if (allocator->write(spans[i], 0, p->bytes, p->size) != kErrorOk)
			die("JitAllocator::write() failed");
	}
	lap(PH_WRITE);
}

void unload(struct module *mod)
{
	for (unsigned int i = 0; i < mod->nr; i++)
		if (mod->parts[i].kind != DATA)
			allocator->release(mod->parts[i].at);
	area_give(&data, mod);
}

size_t held()
{
	return allocator->statistics().reservedSize() + round_up(data.held, PAGE);
}

void close()
{
	delete allocator;
	area_exit(&data);
}

} // namespace

extern "C" const struct peer peer_asmjit = {
	"asmjit", "asmjit's JitAllocator: writable and executable pages",
	default_open, load, unload, held, close,
};

extern "C" const struct peer peer_asmjit_dual = {
	"asmjit-dual", "asmjit's JitAllocator with its dual mapping",
	dual_open, load, unload, held, close,
};
