// SPDX-License-Identifier: MIT
/*
 * The memory manager of wxlli under an engine that finalizes several times,
 * with something new each time and with nothing new. Prints TAP.
 *
 * finalize secure|portable|fast
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <llvm-c/IRReader.h>
#include <llvm-c/Target.h>

#include "wxlli.h"

static struct memory mem;
static LLVMContextRef ctx;
static LLVMExecutionEngineRef engine;
static unsigned int nr, bad;

/* What the library asks of the system: the linker puts these in the place of its calls. */
static unsigned int calls;

int __real_ioctl(int fd, unsigned long op, void *arg);
int __wrap_ioctl(int fd, unsigned long op, void *arg);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset);

int __wrap_ioctl(int fd, unsigned long op, void *arg)
{
	calls++;
	return __real_ioctl(fd, op, arg);
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	calls++;
	return __real_mmap(addr, len, prot, flags, fd, offset);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	calls++;
	return __real_pwrite(fd, buf, len, offset);
}

__attribute__((format(printf, 2, 3)))
static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u - ", good ? "" : "not ", ++nr);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	bad += !good;
}

static struct wxp_stats stats(void)
{
	struct wxp_stats st = { .size = sizeof(st) };

	if (wxp_get_stats(mem.wxp, 0, &st)) {
		puts("Bail out! no statistics");
		exit(1);
	}
	return st;
}

static LLVMModuleRef parse(const char *ir)
{
	LLVMMemoryBufferRef buf;
	LLVMModuleRef mod;
	char *msg;

	buf = LLVMCreateMemoryBufferWithMemoryRangeCopy(ir, strlen(ir), "ir");
	if (LLVMParseIRInContext(ctx, buf, &mod, &msg)) {
		printf("Bail out! %s\n", msg);
		exit(1);
	}
	return mod;
}

static void create_engine(LLVMModuleRef mod)
{
	struct LLVMMCJITCompilerOptions opts;
	char *msg;

	LLVMInitializeMCJITCompilerOptions(&opts, sizeof(opts));
	opts.MCJMM = memory_manager(&mem);
	if (LLVMCreateMCJITCompilerForModule(&engine, mod, &opts, sizeof(opts),
					     &msg)) {
		printf("Bail out! %s\n", msg);
		exit(1);
	}
}

/* Loads a module into a pool of its own, finalizes, runs its function. */
static int load_and_run(const char *name, const char *ir)
{
	LLVMModuleRef mod = parse(ir);
	int (*fn)(void);

	memory_begin_module(&mem, name);
	if (engine)
		LLVMAddModule(engine, mod);
	else
		create_engine(mod);
	fn = (int (*)(void))(uintptr_t)LLVMGetFunctionAddress(engine, name);
	memory_end_module(&mem);
	return fn && !mem.err ? fn() : -1;
}

static int run(const char *name)
{
	return ((int (*)(void))(uintptr_t)
		LLVMGetFunctionAddress(engine, name))();
}

static const char first_ir[] =
	"@v = global i32 7\n"
	"@c = constant [4 x i32] [i32 1, i32 2, i32 3, i32 4]\n"
	"define i32 @first() {\n"
	"  %v = load i32, ptr @v\n"
	"  ret i32 %v\n"
	"}\n";

static const char second_ir[] =
	"@v = external global i32\n"
	"declare i32 @first()\n"
	"define i32 @second() {\n"
	"  %a = call i32 @first()\n"
	"  store i32 20, ptr @v\n"
	"  %b = call i32 @first()\n"
	"  %s = add i32 %a, %b\n"
	"  ret i32 %s\n"
	"}\n";

static void test_growth(bool sealed)
{
	struct wxp_stats one, two;
	unsigned int before;

	before = calls;
	ok(load_and_run("first", first_ir) == 7, "the first module runs");
	ok(calls > before || !sealed, "that took system calls");
	one = stats();
	ok(one.pools == 1 && one.open == 0, "one pool, nothing open");
	ok(one.code > 0 && one.constants > 0 && one.variables > 0,
	   "code, constants and variables are counted");
	ok(one.sealed == one.code + one.constants, "code and constants are sealed");

	before = calls;
	ok(run("first") == 7, "finalized again, the first module runs");
	ok(mem.nr_finalize == 2 && calls == before,
	   "finalizing with nothing new makes no system call");

	ok(load_and_run("second", second_ir) == 27,
	   "a module loaded later calls the first and writes its data");
	two = stats();
	ok(two.pools == 2 && two.open == 0, "two pools, nothing open");
	ok(two.code == 2 * one.code, "the second module was sealed beside the first");
	ok(run("first") == 20, "the first module still runs");
}

static void test_free(void)
{
	struct wxp_stats st;

	LLVMDisposeExecutionEngine(engine);
	st = stats();
	ok(st.pools == 0 && st.code + st.constants + st.variables == 0,
	   "disposing of the engine frees all pools");
	ok(st.open + st.sealed + st.installed + st.retired == 0, "and all memory");
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	enum wxp_backend backend;
	int err;

	backend = !strcmp(name, "secure") ? WXP_BACKEND_KERNEL :
		  !strcmp(name, "portable") ? WXP_BACKEND_PORTABLE :
		  WXP_BACKEND_FAST;
	err = memory_open(&mem, backend, true);
	if (err) {
		printf("Bail out! %s\n", wxp_strerror(err));
		return 1;
	}
	ctx = LLVMContextCreate();
	LLVMLinkInMCJIT();
	LLVMInitializeNativeTarget();
	LLVMInitializeNativeAsmPrinter();
	test_growth(backend != WXP_BACKEND_FAST);
	test_free();
	memory_close(&mem);
	LLVMContextDispose(ctx);
	printf("1..%u\n", nr);
	return bad > 0;
}
