// SPDX-License-Identifier: MIT
/*
 * The memory manager that MCJIT calls: every module has a pool of its own.
 *
 * MCJIT tells a memory manager neither which module a section belongs to nor
 * when the next one begins, so program.c says it, by loading the modules one
 * after the other between memory_begin_module() and memory_end_module().
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wxlli.h"

__attribute__((format(printf, 3, 4)))
static void memory_fail(struct memory *mem, int err, const char *fmt, ...)
{
	va_list ap;

	if (mem->err)
		return;
	mem->err = err;
	va_start(ap, fmt);
	vsnprintf(mem->errmsg, sizeof(mem->errmsg), fmt, ap);
	va_end(ap);
}

static const char *prot_name(enum wxp_prot prot)
{
	switch (prot) {
	case WXP_RX:
		return "code";
	case WXP_R:
		return "read-only data";
	default:
		return "data";
	}
}

/*
 * IR may ask for more than the library's alignment, which takes a request that is
 * larger by what the start may have to move. All memory is written where it will be
 * used.
 */
static int alloc_aligned(struct memory *mem, size_t size, size_t align,
			 enum wxp_prot prot, void **ptr)
{
	size_t more = align > WXP_MAX_ALIGN ? align - WXP_MAX_ALIGN : 0;
	struct wxp_mem at;
	int err;

	err = wxp_alloc(mem->wxp, mem->pool, size + more, align - more, prot, &at);
	if (err)
		return err;
	*ptr = at.write;
	if (more)
		*ptr = (void *)(((uintptr_t)at.write + align - 1) & ~(uintptr_t)(align - 1));
	return 0;
}

/* NULL makes MCJIT report a fatal error: wxlli.c has a handler for that. */
static uint8_t *alloc_section(struct memory *mem, size_t size, size_t align,
			      enum wxp_prot prot)
{
	void *ptr = NULL;
	int err;

	if (!mem->pool) {
		memory_fail(mem, -EINVAL, "a section was loaded outside of any module");
		return NULL;
	}
	err = alloc_aligned(mem, size, align, prot, &ptr);
	if (!err) {
		mem->nr_sections++;
		mem->bytes += size;
		return ptr;
	}
	memory_fail(mem, err, "%s: cannot allocate %zu bytes of %s: %s",
		    mem->module, size, prot_name(prot), wxp_strerror(err));
	return NULL;
}

static uint8_t *alloc_code(void *opaque, uintptr_t size, unsigned int align,
			   unsigned int id, const char *name)
{
	(void)id;
	(void)name;
	return alloc_section(opaque, size, align, WXP_RX);
}

static uint8_t *alloc_data(void *opaque, uintptr_t size, unsigned int align,
			   unsigned int id, const char *name, LLVMBool readonly)
{
	(void)id;
	(void)name;
	return alloc_section(opaque, size, align, readonly ? WXP_R : WXP_RW);
}

/*
 * MCJIT finalizes whenever it is asked to run something. The library does only
 * what is new since the last time. MCJIT ignores what this returns, hence
 * program.c looks at mem->err before it runs anything.
 */
static LLVMBool finalize(void *opaque, char **msg)
{
	struct memory *mem = opaque;
	uint32_t pool;
	int err;

	(void)msg;
	mem->nr_finalize++;
	if (!mem->protect)
		return 0;
	for (pool = 1; pool <= mem->nr_pools; pool++) {
		err = wxp_protect(mem->wxp, pool);
		if (err == -ENOENT)
			continue;	/* a module without any section */
		mem->nr_protect++;
		if (err) {
			memory_fail(mem, err, "cannot protect pool %u: %s",
				    pool, wxp_strerror(err));
			return 1;
		}
	}
	return 0;
}

/* MCJIT is gone, and with it every use of what it loaded. */
static void destroy(void *opaque)
{
	struct memory *mem = opaque;
	uint32_t pool;

	for (pool = 1; pool <= mem->nr_pools; pool++)
		wxp_free(mem->wxp, pool);
	mem->nr_pools = 0;
	mem->nr_sections = 0;
	mem->bytes = 0;
}

/**
 * memory_open() - open the context
 * @mem: receives it
 * @backend: insisted on, unless WXP_BACKEND_AUTO
 * @protect: whether to call wxp_protect() at all
 *
 * MCJIT's C interface has one address for a section, hence WXP_ONE_ADDRESS.
 *
 * Return: 0 or a negative errno of wxp_open().
 */
int memory_open(struct memory *mem, enum wxp_backend backend, bool protect)
{
	struct wxp_options opts = {
		.size = sizeof(opts),
		.backend = backend,
		.flags = WXP_ONE_ADDRESS,
	};

	memset(mem, 0, sizeof(*mem));
	mem->protect = protect;
	return wxp_open(&mem->wxp, &opts);
}

/** memory_manager() - the object that MCJIT takes, which owns the pools */
LLVMMCJITMemoryManagerRef memory_manager(struct memory *mem)
{
	return LLVMCreateSimpleMCJITMemoryManager(mem, alloc_code, alloc_data,
						  finalize, destroy);
}

/** memory_begin_module() - sections belong to a new pool from now on */
void memory_begin_module(struct memory *mem, const char *name)
{
	mem->pool = ++mem->nr_pools;
	mem->module = name;
}

/** memory_end_module() - no section is expected from now on */
void memory_end_module(struct memory *mem)
{
	mem->pool = 0;
	mem->module = NULL;
}

static void print_row(const char *when, const char *name, uint64_t value)
{
	fprintf(stderr, "wxlli: %s: %-15s %llu\n", when, name,
		(unsigned long long)value);
}

static void print_held(const struct wxp_stats *st, const char *when)
{
	print_row(when, "pools", st->pools);
	print_row(when, "code", st->code);
	print_row(when, "constants", st->constants);
	print_row(when, "variables", st->variables);
	print_row(when, "installed", st->installed);
	print_row(when, "open", st->open);
	print_row(when, "sealed", st->sealed);
	print_row(when, "retired", st->retired);
	print_row(when, "free", st->free);
	print_row(when, "largest", st->largest);
	print_row(when, "tables", st->tables);
	print_row(when, "charged", st->charged);
	print_row(when, "huge", st->huge);
}

/**
 * memory_print_stats() - write the counters to stderr, one "name value" a line
 * @mem: the memory
 * @when: begins each line, to tell several calls apart
 */
void memory_print_stats(struct memory *mem, const char *when)
{
	struct wxp_stats st = { .size = sizeof(st) };
	int err = wxp_get_stats(mem->wxp, 0, &st);

	if (err) {
		fprintf(stderr, "wxlli: no statistics: %s\n", wxp_strerror(err));
		return;
	}
	print_held(&st, when);
	print_row(when, "sections", mem->nr_sections);
	print_row(when, "bytes requested", mem->bytes);
	print_row(when, "finalize calls", mem->nr_finalize);
	print_row(when, "protect calls", mem->nr_protect);
}

/** memory_close() - give the context back */
void memory_close(struct memory *mem)
{
	wxp_close(mem->wxp);
	mem->wxp = NULL;
}
