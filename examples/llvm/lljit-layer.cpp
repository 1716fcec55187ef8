// SPDX-License-Identifier: MIT
// LLJIT with RuntimeDyld: create the object layer with wxpool's memory managers. Without
// its own layer LLJIT does not choose how code is addressed.
#include <llvm/AsmParser/Parser.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/ExecutionEngine/Orc/RTDyldObjectLinkingLayer.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/SourceMgr.h>
#include <llvm/Support/TargetSelect.h>
#include <wxpool/llvm.hpp>

#include "module.h"

using namespace llvm::orc;

int main()
{
	llvm::ExitOnError must("lljit-layer: ");
	auto llvm = std::make_unique<llvm::LLVMContext>();
	llvm::SMDiagnostic wrong;

	llvm::InitializeNativeTarget();
	llvm::InitializeNativeTargetAsmPrinter();

	auto context = must(wxpool::Context::open());
	auto target = must(JITTargetMachineBuilder::detectHost());

	target.setRelocationModel(llvm::Reloc::PIC_).setCodeModel(llvm::CodeModel::Small);
	auto jit = must(LLJITBuilder()
		.setJITTargetMachineBuilder(target)
		.setObjectLinkingLayerCreator([&](ExecutionSession &session, auto &&...) {
			return std::make_unique<RTDyldObjectLinkingLayer>(
				session, [context](auto &&...) {
					return std::make_unique<wxpool::RTDyldMemory>(context);
				});
		})
		.create());
	auto module = llvm::parseAssemblyString(module_text, wrong, *llvm);

	must(jit->addIRModule(ThreadSafeModule(std::move(module), std::move(llvm))));
	auto answer = must(jit->lookup("answer")).toPtr<int (*)(int)>();

	llvm::outs() << "The answer is " << answer(4) << ".\n";
	return 0;
}
