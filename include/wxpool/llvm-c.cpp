// SPDX-License-Identifier: MIT
// To be compiled into a program that uses LLVM's C API: see <wxpool/llvm-c.h>.
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/RTDyldObjectLinkingLayer.h>
#if LLVM_VERSION_MAJOR < 21
#include <llvm/ExecutionEngine/Orc/EPCEHFrameRegistrar.h>
#endif

#include <wxpool/llvm-c.h>
#include <wxpool/llvm.hpp>

using namespace llvm;
using namespace llvm::orc;

static ExecutionSession &unwrap(LLVMOrcExecutionSessionRef session)
{
	return *reinterpret_cast<ExecutionSession *>(session);
}

static LLVMOrcObjectLayerRef wrap(std::unique_ptr<ObjectLayer> layer)
{
	return reinterpret_cast<LLVMOrcObjectLayerRef>(layer.release());
}

/* From LLVM 21 on, LLJIT registers exception frames itself. */
static void registerFrames(ExecutionSession &session, ObjectLinkingLayer &layer)
{
#if LLVM_VERSION_MAJOR < 21
	if (auto registrar = EPCEHFrameRegistrar::Create(session))
		layer.addPlugin(std::make_unique<EHFrameRegistrationPlugin>(
			session, std::move(*registrar)));
	else
		session.reportError(registrar.takeError());
#else
	(void)session;
	(void)layer;
#endif
}

LLVMOrcObjectLayerRef wxp_llvm_jitlink_layer(LLVMOrcExecutionSessionRef session, struct wxp *wxp)
{
	auto layer = std::make_unique<ObjectLinkingLayer>(
		unwrap(session),
		std::make_unique<wxpool::JITLinkMemory>(wxpool::Context::borrow(wxp)));

	registerFrames(unwrap(session), *layer);
	return wrap(std::move(layer));
}

LLVMOrcObjectLayerRef wxp_llvm_rtdyld_layer(LLVMOrcExecutionSessionRef session, struct wxp *wxp)
{
	auto context = wxpool::Context::borrow(wxp);
	auto layer = std::make_unique<RTDyldObjectLinkingLayer>(
		unwrap(session), [context](auto &&...) {
			return std::make_unique<wxpool::RTDyldMemory>(context);
		});

	/* Objects have symbols that their modules do not, as those that exceptions need. */
	layer->setAutoClaimResponsibilityForObjectSymbols(true);
	return wrap(std::move(layer));
}

LLVMMCJITMemoryManagerRef wxp_llvm_mcjit_memory(struct wxp *wxp)
{
	RTDyldMemoryManager *memory = new wxpool::RTDyldMemory(wxpool::Context::borrow(wxp));

	return reinterpret_cast<LLVMMCJITMemoryManagerRef>(memory);
}

const char *wxp_llvm_mcjit_error(LLVMMCJITMemoryManagerRef memory)
{
	auto *manager = reinterpret_cast<RTDyldMemoryManager *>(memory);
	const auto &error = static_cast<wxpool::RTDyldMemory *>(manager)->getError();

	return error.empty() ? nullptr : error.c_str();
}
