/* SPDX-License-Identifier: MIT */
/*
 * wxlli: run LLVM IR on memory from libwxpool.
 *
 * wxlli.c	options, the order of things
 * program.c	modules, symbols, constructors, main
 * memory.c	the memory manager: one pool per module
 */
#ifndef WXLLI_H
#define WXLLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <llvm-c/Core.h>
#include <llvm-c/ExecutionEngine.h>

#include <wxpool.h>

/**
 * struct memory - what stands between MCJIT and libwxpool
 * @wxp: the context
 * @protect: whether finalizing protects; without, memory stays as it is
 * @pool: pool of the module being loaded, 0 between modules
 * @module: its name, for messages
 * @nr_pools: pools in use are 1 to @nr_pools
 * @nr_sections: sections in these
 * @bytes: what they asked for
 * @nr_finalize: how often MCJIT finalized
 * @nr_protect: pools given to wxp_protect(), summed over these
 * @err: first error of the library, or 0; nothing may run after one
 * @errmsg: the same in words, one line
 */
struct memory {
	struct wxp *wxp;
	bool protect;
	uint32_t pool;
	const char *module;
	uint32_t nr_pools;
	unsigned int nr_sections;
	size_t bytes;
	unsigned int nr_finalize;
	unsigned int nr_protect;
	int err;
	char errmsg[512];
};

int memory_open(struct memory *mem, enum wxp_backend backend, bool protect);
LLVMMCJITMemoryManagerRef memory_manager(struct memory *mem);
void memory_begin_module(struct memory *mem, const char *name);
void memory_end_module(struct memory *mem);
void memory_print_stats(struct memory *mem, const char *when);
void memory_close(struct memory *mem);

/**
 * struct program - all modules of a program, loaded into one engine
 * @context: what their IR lives in
 * @engine: MCJIT, once the first module is there
 * @modules: the modules, the one with main() first; @engine owns them
 * @nr_modules: their number
 * @mem: where their sections go
 * @opt_level: 0 to 3, for code generation
 */
struct program {
	LLVMContextRef context;
	LLVMExecutionEngineRef engine;
	LLVMModuleRef *modules;
	unsigned int nr_modules;
	struct memory *mem;
	unsigned int opt_level;
};

typedef int (*program_main_t)(int argc, char **argv, char **envp);

void program_init(struct program *prog, struct memory *mem,
		  unsigned int opt_level);
void program_add(struct program *prog, const char *path);
void program_load(struct program *prog);
void program_run_constructors(struct program *prog);
program_main_t program_find_main(struct program *prog, const char *entry);
void program_run_destructors(struct program *prog);
void program_free(struct program *prog);

/** die() - print one line "wxlli: ..." and end the process with status 1 */
void die(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

#endif /* WXLLI_H */
