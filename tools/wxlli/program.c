// SPDX-License-Identifier: MIT
/*
 * The program: modules, the symbols between them, constructors, main.
 *
 * All modules share one engine, as in lli, so that they see each other's
 * symbols in every direction and weak definitions are merged. MCJIT would load
 * them whenever it finalizes, in an order of its own, and a memory manager
 * could not tell one from the other. A module is loaded, and nothing else
 * done, when the engine is asked for the address of a function that the IR
 * defines and the object does not: an available_externally one. Each module
 * gets such a LOAD_MARK, which costs no code, and is loaded through it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>

#include "wxlli.h"

#define LOAD_MARK "__wxlli_load_mark"

/* Its address names the program in __cxa_atexit(); nobody looks into it. */
static char dso_handle;

/* Something that runs before or after main. */
struct hook {
	unsigned int priority;
	unsigned int seq;
	void (*fn)(void);
};

struct hooks {
	struct hook *list;
	size_t nr;
};

static struct hooks ctors, dtors;

static const char *module_name(LLVMModuleRef mod)
{
	size_t len;

	return LLVMGetModuleIdentifier(mod, &len);
}

static void *xrealloc(void *ptr, size_t nr, size_t size)
{
	ptr = reallocarray(ptr, nr, size);
	if (!ptr)
		die("out of memory");
	return ptr;
}

/* LLVM's messages have several lines; the first says what is wrong where. */
static void first_line(char *msg)
{
	msg[strcspn(msg, "\n")] = '\0';
}

static LLVMMemoryBufferRef read_file(const char *path)
{
	LLVMMemoryBufferRef buf;
	char *msg = NULL;
	LLVMBool failed;

	if (!strcmp(path, "-"))
		failed = LLVMCreateMemoryBufferWithSTDIN(&buf, &msg);
	else
		failed = LLVMCreateMemoryBufferWithContentsOfFile(path, &buf,
								  &msg);
	if (failed)
		die("%s: %s", path, msg);
	return buf;
}

static void add_load_mark(LLVMContextRef ctx, LLVMModuleRef mod)
{
	LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(ctx), NULL,
					    0, 0);
	LLVMValueRef fn = LLVMAddFunction(mod, LOAD_MARK, type);
	LLVMBuilderRef b = LLVMCreateBuilderInContext(ctx);

	LLVMSetLinkage(fn, LLVMAvailableExternallyLinkage);
	LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(ctx, fn, ""));
	LLVMBuildRetVoid(b);
	LLVMDisposeBuilder(b);
}

/**
 * program_init() - prepare an empty program
 * @prog: the program
 * @mem: where its sections will go
 * @opt_level: 0 to 3
 */
void program_init(struct program *prog, struct memory *mem,
		  unsigned int opt_level)
{
	memset(prog, 0, sizeof(*prog));
	prog->mem = mem;
	prog->opt_level = opt_level;
	prog->context = LLVMContextCreate();

	LLVMLinkInMCJIT();
	LLVMInitializeNativeTarget();
	LLVMInitializeNativeAsmPrinter();
	LLVMInitializeNativeAsmParser();	/* for inline assembly */
	LLVMAddSymbol("__dso_handle", &dso_handle);
}

/**
 * program_add() - read and check a module, which is not loaded yet
 * @prog: the program
 * @path: IR or bitcode, "-" for standard input
 */
void program_add(struct program *prog, const char *path)
{
	LLVMMemoryBufferRef buf = read_file(path);
	LLVMModuleRef mod;
	char *msg = NULL;

	if (LLVMParseIRInContext(prog->context, buf, &mod, &msg)) {
		first_line(msg);
		/* The parser of .ll names the file itself, that of .bc not. */
		if (!strncmp(msg, path, strlen(path)))
			die("%s", msg);
		die("%s: %s", path, msg);
	}
	if (LLVMVerifyModule(mod, LLVMReturnStatusAction, &msg)) {
		first_line(msg);
		die("%s: invalid IR: %s", path, msg);
	}
	LLVMDisposeMessage(msg);
	LLVMSetModuleIdentifier(mod, path, strlen(path));
	add_load_mark(prog->context, mod);

	prog->modules = xrealloc(prog->modules, prog->nr_modules + 1,
				 sizeof(*prog->modules));
	prog->modules[prog->nr_modules++] = mod;
}

static LLVMValueRef find_symbol(LLVMModuleRef mod, const char *name)
{
	LLVMValueRef val = LLVMGetNamedFunction(mod, name);

	return val ? val : LLVMGetNamedGlobal(mod, name);
}

static bool is_local(LLVMValueRef val)
{
	LLVMLinkage linkage = LLVMGetLinkage(val);

	return linkage == LLVMInternalLinkage || linkage == LLVMPrivateLinkage;
}

static bool is_strong(LLVMValueRef val)
{
	return !LLVMIsDeclaration(val) &&
	       LLVMGetLinkage(val) == LLVMExternalLinkage;
}

/*
 * The engine keeps one table of names for local and global symbols of all
 * modules, so that one module's static function would take the place of
 * another's global one of the same name.
 */
static void rename_local(LLVMValueRef val, unsigned int module)
{
	size_t len, size;
	const char *name = LLVMGetValueName2(val, &len);
	char *unique;

	if (LLVMGetLinkage(val) != LLVMInternalLinkage)
		return;
	size = len + 24;
	unique = xrealloc(NULL, size, 1);
	snprintf(unique, size, "%s.module%u", name, module);
	LLVMSetValueName2(val, unique, strlen(unique));
	free(unique);
}

/* The last definition would silently win. */
static void check_duplicate(struct program *prog, unsigned int module,
			    LLVMValueRef val)
{
	size_t len;
	const char *name = LLVMGetValueName2(val, &len);

	if (!is_strong(val))
		return;
	for (unsigned int i = 0; i < module; i++) {
		LLVMValueRef other = find_symbol(prog->modules[i], name);

		if (other && is_strong(other))
			die("'%s' is defined in %s and in %s", name,
			    module_name(prog->modules[i]),
			    module_name(prog->modules[module]));
	}
}

/* A weak reference to what nobody defines is null, not an error. */
static void resolve_weak(struct program *prog, LLVMValueRef val)
{
	size_t len;
	const char *name = LLVMGetValueName2(val, &len);

	if (LLVMGetLinkage(val) != LLVMExternalWeakLinkage ||
	    LLVMSearchForAddressOfSymbol(name))
		return;
	for (unsigned int i = 0; i < prog->nr_modules; i++) {
		LLVMValueRef def = find_symbol(prog->modules[i], name);

		if (def && !LLVMIsDeclaration(def) && !is_local(def))
			return;
	}
	LLVMReplaceAllUsesWith(val, LLVMConstNull(LLVMTypeOf(val)));
}

static void link_symbol(struct program *prog, unsigned int module,
			LLVMValueRef val)
{
	check_duplicate(prog, module, val);
	resolve_weak(prog, val);
	if (prog->nr_modules > 1)
		rename_local(val, module);
}

static void link_module(struct program *prog, unsigned int module)
{
	LLVMModuleRef mod = prog->modules[module];
	const char *target = LLVMGetTarget(mod);
	LLVMValueRef val;

	if (*target && strcmp(target, LLVMGetTarget(prog->modules[0])))
		die("%s: made for %s, and %s is not", module_name(mod), target,
		    module_name(prog->modules[0]));
	for (val = LLVMGetFirstFunction(mod); val;
	     val = LLVMGetNextFunction(val))
		link_symbol(prog, module, val);
	for (val = LLVMGetFirstGlobal(mod); val; val = LLVMGetNextGlobal(val))
		link_symbol(prog, module, val);
}

static void create_engine(struct program *prog)
{
	struct LLVMMCJITCompilerOptions opts;
	LLVMModuleRef mod = prog->modules[0];
	char *name = strdup(module_name(mod)), *msg = NULL;

	/*
	 * The JIT's default code model, as lli's: 64-bit absolute addresses,
	 * so that nothing depends on where memory and libraries are.
	 */
	LLVMInitializeMCJITCompilerOptions(&opts, sizeof(opts));
	opts.OptLevel = prog->opt_level;
	opts.MCJMM = memory_manager(prog->mem);
	if (LLVMCreateMCJITCompilerForModule(&prog->engine, mod, &opts,
					     sizeof(opts), &msg)) {
		/* The module is gone. */
		first_line(msg);
		die("%s: %s", name ? name : "?", msg);
	}
	free(name);
}

static void load_module(struct program *prog, LLVMModuleRef mod)
{
	memory_begin_module(prog->mem, module_name(mod));
	if (!prog->engine)
		create_engine(prog);
	else
		LLVMAddModule(prog->engine, mod);
	LLVMGetFunctionAddress(prog->engine, LOAD_MARK);
	memory_end_module(prog->mem);
}

static void check_engine(struct program *prog)
{
	char *msg = NULL;

	if (LLVMExecutionEngineGetErrMsg(prog->engine, &msg)) {
		first_line(msg);
		die("%s", msg);
	}
	if (prog->mem->err)
		die("%s", prog->mem->errmsg);
}

static void *function_address(struct program *prog, LLVMValueRef fn)
{
	size_t len;
	const char *name = LLVMGetValueName2(fn, &len);
	uint64_t addr = LLVMGetFunctionAddress(prog->engine, name);

	check_engine(prog);
	if (!addr)
		die("function '%s' has no address", name);
	return (void *)(uintptr_t)addr;
}

static int hook_cmp(const void *a, const void *b)
{
	const struct hook *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void add_hook(struct program *prog, struct hooks *hooks,
		     LLVMValueRef entry)
{
	LLVMValueRef priority = LLVMGetAggregateElement(entry, 0);
	LLVMValueRef fn = LLVMGetAggregateElement(entry, 1);
	struct hook *h;

	if (LLVMIsNull(fn))
		return;
	if (!LLVMIsAFunction(fn))
		die("a constructor that is not a function is not supported");
	hooks->list = xrealloc(hooks->list, hooks->nr + 1, sizeof(*h));
	h = &hooks->list[hooks->nr];
	h->priority = (unsigned int)LLVMConstIntGetZExtValue(priority);
	h->seq = (unsigned int)hooks->nr++;
	h->fn = (void (*)(void))function_address(prog, fn);
}

/* Sorted as a linker does: by priority, then in the order of the modules. */
static void collect_hooks(struct program *prog, struct hooks *hooks,
			  const char *array)
{
	for (unsigned int i = 0; i < prog->nr_modules; i++) {
		LLVMValueRef var = LLVMGetNamedGlobal(prog->modules[i], array);
		LLVMValueRef init = var ? LLVMGetInitializer(var) : NULL;
		uint64_t nr;

		if (!init)
			continue;
		nr = LLVMGetArrayLength2(LLVMTypeOf(init));
		for (unsigned int j = 0; j < nr; j++)
			add_hook(prog, hooks, LLVMGetAggregateElement(init, j));
	}
	if (hooks->nr)
		qsort(hooks->list, hooks->nr, sizeof(*hooks->list), hook_cmp);
}

/**
 * program_load() - compile and load all modules, resolve, protect
 * @prog: the program, with one module at least
 *
 * Finds what runs before and after main, so that nothing needs the engine at
 * exit, where the process may be a forked child.
 */
void program_load(struct program *prog)
{
	unsigned int i;

	for (i = 0; i < prog->nr_modules; i++)
		link_module(prog, i);
	for (i = 0; i < prog->nr_modules; i++)
		load_module(prog, prog->modules[i]);
	collect_hooks(prog, &ctors, "llvm.global_ctors");
	collect_hooks(prog, &dtors, "llvm.global_dtors");
}

/** program_run_constructors() - what runs before main, lowest priority first */
void program_run_constructors(struct program *prog)
{
	(void)prog;
	for (size_t i = 0; i < ctors.nr; i++)
		ctors.list[i].fn();
}

/** program_run_destructors() - what runs at exit, in the opposite order */
void program_run_destructors(struct program *prog)
{
	(void)prog;
	for (size_t i = dtors.nr; i > 0; i--)
		dtors.list[i - 1].fn();
}

static bool is_int(LLVMTypeRef type)
{
	return LLVMGetTypeKind(type) == LLVMIntegerTypeKind &&
	       LLVMGetIntTypeWidth(type) == 32;
}

/* int or void, of (), (int), (int, char **) or (int, char **, char **) */
static bool is_main_type(LLVMTypeRef type)
{
	LLVMTypeRef ret = LLVMGetReturnType(type), params[3];
	unsigned int nr = LLVMCountParamTypes(type);

	if (nr > 3 || LLVMIsFunctionVarArg(type) ||
	    !(is_int(ret) || LLVMGetTypeKind(ret) == LLVMVoidTypeKind))
		return false;
	LLVMGetParamTypes(type, params);
	for (unsigned int i = 1; i < nr; i++)
		if (LLVMGetTypeKind(params[i]) != LLVMPointerTypeKind)
			return false;
	return nr == 0 || is_int(params[0]);
}

static LLVMValueRef find_entry(struct program *prog, const char *entry)
{
	LLVMModuleRef mod = prog->modules[0];
	LLVMValueRef fn = LLVMGetNamedFunction(mod, entry);

	if (!fn || LLVMIsDeclaration(fn))
		die("%s: no function '%s'", module_name(mod), entry);
	if (!is_main_type(LLVMGlobalGetValueType(fn)))
		die("%s: '%s' is not an int (int, char **, char **)",
		    module_name(mod), entry);
	return fn;
}

/**
 * program_find_main() - where the program begins
 * @prog: the program, loaded
 * @entry: name of the function, usually "main"
 */
program_main_t program_find_main(struct program *prog, const char *entry)
{
	LLVMValueRef fn = find_entry(prog, entry);

	return (program_main_t)function_address(prog, fn);
}

/**
 * program_free() - forget all modules, which frees their pools
 * @prog: the program; none of its code may run any more
 *
 * The engine takes the unwinder's entries of the code away first.
 */
void program_free(struct program *prog)
{
	LLVMDisposeExecutionEngine(prog->engine);
	LLVMContextDispose(prog->context);
	free(prog->modules);
	free(ctors.list);
	free(dtors.list);
}
