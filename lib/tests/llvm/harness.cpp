// SPDX-License-Identifier: MIT
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/CompileUtils.h>
#include <llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/DynamicLibrary.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>

#include "harness.hpp"

static const char *const ways[] = { "mcjit", "rtdyld", "jitlink", "epc" };
static Test *first, **last = &first;

Test::Test(const char *n, unsigned int w, void (*f)(Way way)) : name(n), ways(w), fn(f)
{
	*last = this;
	last = &next;
}

void fail(const char *file, int line, const std::string &what)
{
	printf("# %s:%d: %s\n", file, line, what.c_str());
	fflush(stdout);
	_exit(1);
}

void must(llvm::Error err)
{
	if (err)
		fail("error", 0, llvm::toString(std::move(err)));
}

std::unique_ptr<llvm::MemoryBuffer> compile(const std::string &text)
{
	llvm::LLVMContext llvm;
	llvm::SMDiagnostic wrong;
	auto target = must(llvm::orc::JITTargetMachineBuilder::detectHost());

	target.setRelocationModel(llvm::Reloc::PIC_).setCodeModel(llvm::CodeModel::Small);
	auto machine = must(target.createTargetMachine());
	auto m = llvm::parseAssemblyString(text, wrong, llvm);

	CHECK(m);
	m->setDataLayout(machine->createDataLayout());
	return must(llvm::orc::SimpleCompiler(*machine)(*m));
}

Calls calls;

extern "C" {
int __real_wxp_place(struct wxp *, uint32_t, const wxp_request *, size_t, wxp_span *);
int __wrap_wxp_place(struct wxp *wxp, uint32_t pool, const wxp_request *reqs, size_t nr,
		     wxp_span *spans)
{
	__atomic_fetch_add(&calls.place, 1, __ATOMIC_RELAXED);
	return __real_wxp_place(wxp, pool, reqs, nr, spans);
}

int __real_wxp_install(struct wxp *, uint32_t, const wxp_piece *, size_t);
int __wrap_wxp_install(struct wxp *wxp, uint32_t pool, const wxp_piece *pieces, size_t nr)
{
	__atomic_fetch_add(&calls.install, 1, __ATOMIC_RELAXED);
	return __real_wxp_install(wxp, pool, pieces, nr);
}

int __real_wxp_free_many(struct wxp *, const uint32_t *, size_t);
int __wrap_wxp_free_many(struct wxp *wxp, const uint32_t *pools, size_t nr)
{
	__atomic_fetch_add(&calls.free, 1, __ATOMIC_RELAXED);
	return __real_wxp_free_many(wxp, pools, nr);
}

int __real_wxp_sync_cores(struct wxp *);
int __wrap_wxp_sync_cores(struct wxp *wxp)
{
	__atomic_fetch_add(&calls.sync, 1, __ATOMIC_RELAXED);
	return __real_wxp_sync_cores(wxp);
}
}

static bool run(const Test &test, Way way)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(300);
		test.fn(way);
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status))
		printf("# signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	unsigned int nr = 0, failed = 0;
	const Test *test;
	bool ok;

	llvm::InitializeNativeTarget();
	llvm::InitializeNativeTargetAsmPrinter();
	llvm::InitializeNativeTargetAsmParser();
	llvm::sys::DynamicLibrary::LoadLibraryPermanently(nullptr);
	puts("TAP version 13");
	for (test = first; test; test = test->next) {
		for (int way = 0; way < NR_WAYS; way++) {
			if (!(test->ways & MASK(way)) || (argc > 1 && strcmp(argv[1], test->name)))
				continue;
			ok = run(*test, static_cast<Way>(way));
			failed += !ok;
			printf("%sok %u %s: %s\n", ok ? "" : "not ", ++nr, ways[way], test->name);
		}
	}
	printf("1..%u\n# %u passed, %u failed, 0 skipped\n", nr, nr - failed, failed);
	return failed || !nr;
}
