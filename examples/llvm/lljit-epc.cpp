// SPDX-License-Identifier: MIT
// LLJIT with JITLink: give its executor process control wxpool's memory manager.
#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#if LLVM_VERSION_MAJOR >= 21
#include <llvm/ExecutionEngine/Orc/SelfExecutorProcessControl.h>
#endif
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/TargetSelect.h>
#include <wxpool/llvm.hpp>

#include "module.h"

using namespace llvm::orc;

int main()
{
	llvm::ExitOnError must("lljit-epc: ");
	auto llvm = std::make_unique<llvm::LLVMContext>();
	llvm::SMDiagnostic wrong;

	llvm::InitializeNativeTarget();
	llvm::InitializeNativeTargetAsmPrinter();

	auto memory = std::make_unique<wxpool::JITLinkMemory>(must(wxpool::Context::open()));
	auto jit = must(LLJITBuilder()
		.setExecutorProcessControl(must(SelfExecutorProcessControl::Create(
			nullptr, std::make_unique<InPlaceTaskDispatcher>(), std::move(memory))))
		.create());
	auto module = llvm::parseAssemblyString(module_text, wrong, *llvm);

	must(jit->addIRModule(ThreadSafeModule(std::move(module), std::move(llvm))));
	auto answer = must(jit->lookup("answer")).toPtr<int (*)(int)>();

	llvm::outs() << "The answer is " << answer(4) << ".\n";
	return 0;
}
