// SPDX-License-Identifier: MIT
// MCJIT: give the engine wxpool's memory manager, and ask that for errors.
#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/MCJIT.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/TargetSelect.h>
#include <wxpool/llvm.hpp>

#include "module.h"

int main()
{
	llvm::ExitOnError must("mcjit: ");
	llvm::LLVMContext llvm;
	llvm::SMDiagnostic wrong;

	llvm::InitializeNativeTarget();
	llvm::InitializeNativeTargetAsmPrinter();

	auto memory = std::make_unique<wxpool::RTDyldMemory>(must(wxpool::Context::open()));
	auto &errors = *memory;
	std::unique_ptr<llvm::ExecutionEngine> engine(
		llvm::EngineBuilder(llvm::parseAssemblyString(module_text, wrong, llvm))
			.setMCJITMemoryManager(std::move(memory))
			.create());
	uint64_t address = engine->getFunctionAddress("answer");

	if (!errors.getError().empty()) {
		llvm::errs() << errors.getError() << "\n";
		return 1;
	}
	llvm::outs() << "The answer is " << reinterpret_cast<int (*)(int)>(address)(4) << ".\n";
	return 0;
}
